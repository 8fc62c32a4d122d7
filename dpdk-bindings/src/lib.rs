//! Safe wrapper of the parts of DPDK that wireglass uses.
