/* What Rust needs from DPDK and bindgen cannot give: inline functions, macros, and names or layouts
 * that differ between DPDK releases. bindgen reads this header, and nothing else. */
#ifndef DPDK_SYS_SHIM_H
#define DPDK_SYS_SHIM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <linux/bpf.h>
#include <rte_bus.h>
#include <rte_cycles.h>
#include <rte_dev.h>
#include <rte_eal.h>
#include <rte_errno.h>
#include <rte_eth_ring.h>
#include <rte_ethdev.h>
#include <rte_ether.h>
#include <rte_lcore.h>
#include <rte_log.h>
#include <rte_mbuf.h>
#include <rte_mempool.h>
#include <rte_version.h>

#ifndef RTE_MBUF_REFCNT_ATOMIC
#error "DPDK was built without atomic mbuf reference counts (mbuf_refcnt_atomic=false); mbufs cross threads here"
#endif

/* Fields of struct rte_mbuf by offset: 24.11 regrouped them into anonymous unions, which bindgen numbers anew. */
static const uint32_t SHIM_MBUF_BUF_ADDR = offsetof(struct rte_mbuf, buf_addr);
static const uint32_t SHIM_MBUF_BUF_LEN = offsetof(struct rte_mbuf, buf_len);
static const uint32_t SHIM_MBUF_DATA_LEN = offsetof(struct rte_mbuf, data_len);
static const uint32_t SHIM_MBUF_DATA_OFF = offsetof(struct rte_mbuf, data_off);
static const uint32_t SHIM_MBUF_HASH_RSS = offsetof(struct rte_mbuf, hash.rss);
static const uint32_t SHIM_MBUF_NB_SEGS = offsetof(struct rte_mbuf, nb_segs);
static const uint32_t SHIM_MBUF_NEXT = offsetof(struct rte_mbuf, next);
static const uint32_t SHIM_MBUF_OL_FLAGS = offsetof(struct rte_mbuf, ol_flags);
static const uint32_t SHIM_MBUF_PKT_LEN = offsetof(struct rte_mbuf, pkt_len);
static const uint32_t SHIM_MBUF_PORT = offsetof(struct rte_mbuf, port);
static const uint32_t SHIM_MBUF_REFCNT = offsetof(struct rte_mbuf, refcnt);
static const uint32_t SHIM_MBUF_SHINFO = offsetof(struct rte_mbuf, shinfo);
static const uint32_t SHIM_MBUF_VLAN_TCI = offsetof(struct rte_mbuf, vlan_tci);

/* Macros with casts or calls in them, which bindgen does not evaluate. */
static const uint64_t SHIM_MBUF_F_EXTERNAL = RTE_MBUF_F_EXTERNAL;
static const uint64_t SHIM_MBUF_F_INDIRECT = RTE_MBUF_F_INDIRECT;
static const uint64_t SHIM_MBUF_F_RX_IP_CKSUM_BAD = RTE_MBUF_F_RX_IP_CKSUM_BAD;
static const uint64_t SHIM_MBUF_F_RX_IP_CKSUM_GOOD = RTE_MBUF_F_RX_IP_CKSUM_GOOD;
static const uint64_t SHIM_MBUF_F_RX_IP_CKSUM_MASK = RTE_MBUF_F_RX_IP_CKSUM_MASK;
static const uint64_t SHIM_MBUF_F_RX_IP_CKSUM_NONE = RTE_MBUF_F_RX_IP_CKSUM_NONE;
static const uint64_t SHIM_MBUF_F_RX_L4_CKSUM_BAD = RTE_MBUF_F_RX_L4_CKSUM_BAD;
static const uint64_t SHIM_MBUF_F_RX_L4_CKSUM_GOOD = RTE_MBUF_F_RX_L4_CKSUM_GOOD;
static const uint64_t SHIM_MBUF_F_RX_L4_CKSUM_MASK = RTE_MBUF_F_RX_L4_CKSUM_MASK;
static const uint64_t SHIM_MBUF_F_RX_L4_CKSUM_NONE = RTE_MBUF_F_RX_L4_CKSUM_NONE;
static const uint64_t SHIM_MBUF_F_RX_RSS_HASH = RTE_MBUF_F_RX_RSS_HASH;
static const uint64_t SHIM_MBUF_F_RX_VLAN_STRIPPED = RTE_MBUF_F_RX_VLAN_STRIPPED;
static const uint64_t SHIM_MBUF_F_TX_IPV4 = RTE_MBUF_F_TX_IPV4;
static const uint64_t SHIM_MBUF_F_TX_IPV6 = RTE_MBUF_F_TX_IPV6;
static const uint64_t SHIM_MBUF_F_TX_IP_CKSUM = RTE_MBUF_F_TX_IP_CKSUM;
static const uint64_t SHIM_MBUF_F_TX_L4_MASK = RTE_MBUF_F_TX_L4_MASK;
static const uint64_t SHIM_MBUF_F_TX_OFFLOAD_MASK = RTE_MBUF_F_TX_OFFLOAD_MASK;
static const uint64_t SHIM_MBUF_F_TX_TCP_CKSUM = RTE_MBUF_F_TX_TCP_CKSUM;
static const uint64_t SHIM_MBUF_F_TX_TCP_SEG = RTE_MBUF_F_TX_TCP_SEG;
static const uint64_t SHIM_MBUF_F_TX_UDP_CKSUM = RTE_MBUF_F_TX_UDP_CKSUM;
static const uint64_t SHIM_MBUF_F_TX_VLAN = RTE_MBUF_F_TX_VLAN;

/* The largest chunk that the kernel takes where pages have 4 KB, and one that lies in one page everywhere. */
static const uint32_t SHIM_UMEM_CHUNK = 4096;
/* The kernel keeps this much free in front of a frame that it gives to an XDP program: <linux/bpf.h>. */
static const uint32_t SHIM_XDP_PACKET_HEADROOM = XDP_PACKET_HEADROOM;

static const uint64_t SHIM_RSS_TCP_UDP_IP = RTE_ETH_RSS_IP | RTE_ETH_RSS_TCP | RTE_ETH_RSS_UDP;

static const uint64_t SHIM_RX_IPV4_CKSUM = RTE_ETH_RX_OFFLOAD_IPV4_CKSUM;
static const uint64_t SHIM_RX_RSS_HASH = RTE_ETH_RX_OFFLOAD_RSS_HASH;
static const uint64_t SHIM_RX_SCATTER = RTE_ETH_RX_OFFLOAD_SCATTER;
static const uint64_t SHIM_RX_TCP_CKSUM = RTE_ETH_RX_OFFLOAD_TCP_CKSUM;
static const uint64_t SHIM_RX_UDP_CKSUM = RTE_ETH_RX_OFFLOAD_UDP_CKSUM;
static const uint64_t SHIM_RX_VLAN_STRIP = RTE_ETH_RX_OFFLOAD_VLAN_STRIP;

static const uint64_t SHIM_TX_IPV4_CKSUM = RTE_ETH_TX_OFFLOAD_IPV4_CKSUM;
static const uint64_t SHIM_TX_MULTI_SEGS = RTE_ETH_TX_OFFLOAD_MULTI_SEGS;
static const uint64_t SHIM_TX_TCP_CKSUM = RTE_ETH_TX_OFFLOAD_TCP_CKSUM;
static const uint64_t SHIM_TX_TCP_TSO = RTE_ETH_TX_OFFLOAD_TCP_TSO;
static const uint64_t SHIM_TX_UDP_CKSUM = RTE_ETH_TX_OFFLOAD_UDP_CKSUM;
static const uint64_t SHIM_TX_VLAN_INSERT = RTE_ETH_TX_OFFLOAD_VLAN_INSERT;

/* Directory from which a shared DPDK loads its drivers; "" if it was built without one. */
const char *shim_eal_pmd_path(void);
/* struct rte_eth_link became a union in 24.11. Returns what rte_eth_link_get_nowait() returns. */
int shim_eth_link(uint16_t port, uint32_t *speed_mbps, bool *full_duplex, bool *up);
/* Neither sends nor heeds PAUSE frames from now on. Returns 0, or what rte_eth_dev_flow_ctrl_get() or _set() returns. */
int shim_eth_pause_off(uint16_t port);
/* Fills in the IPv4 header checksum where the tx_offload word says that the header is, and takes the request for it back. */
void shim_fill_ipv4_cksum(struct rte_mbuf *mbuf);
int shim_rte_errno(void);
uint16_t shim_rte_eth_rx_burst(uint16_t port, uint16_t queue, struct rte_mbuf **mbufs, uint16_t n);
uint16_t shim_rte_eth_tx_burst(uint16_t port, uint16_t queue, struct rte_mbuf **mbufs, uint16_t n);
uint16_t shim_rte_eth_tx_prepare(uint16_t port, uint16_t queue, struct rte_mbuf **mbufs, uint16_t n);
uint64_t shim_rte_rdtsc_precise(void);
unsigned int shim_rte_lcore_id(void);
/* Has the first `n` bytes of the data fetched into the cache. */
void shim_prefetch_data(const struct rte_mbuf *mbuf, uint32_t n);
/* Reference count of the external buffer that a mbuf with RTE_MBUF_F_EXTERNAL is attached to. */
uint16_t shim_rte_mbuf_ext_refcnt_read(const struct rte_mbuf *mbuf);
uint16_t shim_rte_mbuf_refcnt_update(struct rte_mbuf *mbuf, int16_t by);
struct rte_mbuf *shim_rte_pktmbuf_alloc(struct rte_mempool *pool);
int shim_rte_pktmbuf_alloc_bulk(struct rte_mempool *pool, struct rte_mbuf **mbufs, unsigned int n);
void shim_rte_pktmbuf_attach(struct rte_mbuf *indirect, struct rte_mbuf *to);
int shim_rte_pktmbuf_chain(struct rte_mbuf *head, struct rte_mbuf *tail);
void shim_rte_pktmbuf_free(struct rte_mbuf *mbuf);
int shim_rte_pktmbuf_linearize(struct rte_mbuf *mbuf);
/* rte_mbuf_tx_offload() without tunnels: packs the lengths into the mbuf's tx_offload word. */
void shim_set_tx_offload(struct rte_mbuf *mbuf, uint64_t l2_len, uint64_t l3_len, uint64_t l4_len, uint64_t tso_segsz);
/* Length of the headers that the tx_offload word describes: l2 + l3 + l4. */
uint32_t shim_tx_header_len(const struct rte_mbuf *mbuf);
/* rte_pktmbuf_pool_create_by_ops() whose elements, of SHIM_UMEM_CHUNK bytes with this room, lie one behind the other from the start of a
 * page: net_af_xdp makes a UMEM of the pool's first byte and as many bytes as its elements have. NULL and rte_errno on failure. */
struct rte_mempool *shim_umem_pool(const char *name, unsigned int n, unsigned int cache, uint16_t room, int socket, const char *ops);

#endif
