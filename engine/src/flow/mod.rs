//! A flow, from SYN to the end, as a pure state machine.
