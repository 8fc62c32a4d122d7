/* One wrapper per inline function that the Rust side calls, in alphabetical order. */
#include "shim.h"

#include <unistd.h>

#include <rte_ip.h>
#include <rte_memzone.h>
#include <rte_prefetch.h>

const char *shim_eal_pmd_path(void)
{
#ifdef RTE_EAL_PMD_PATH
	return RTE_EAL_PMD_PATH;
#else
	return "";
#endif
}

int shim_eth_link(uint16_t port, uint32_t *speed_mbps, bool *full_duplex, bool *up)
{
	struct rte_eth_link link = {0};
	int rc = rte_eth_link_get_nowait(port, &link);

	*speed_mbps = link.link_speed;
	*full_duplex = link.link_duplex == RTE_ETH_LINK_FULL_DUPLEX;
	*up = link.link_status == RTE_ETH_LINK_UP;
	return rc;
}

int shim_eth_pause_off(uint16_t port)
{
	struct rte_eth_fc_conf conf = {0};
	int rc = rte_eth_dev_flow_ctrl_get(port, &conf);

	if (rc != 0 || conf.mode == RTE_ETH_FC_NONE)
		return rc;
	/* Everything else as it was: drivers refuse some combinations. */
	conf.mode = RTE_ETH_FC_NONE;
	return rte_eth_dev_flow_ctrl_set(port, &conf);
}

void shim_fill_ipv4_cksum(struct rte_mbuf *mbuf)
{
	struct rte_ipv4_hdr *ip = rte_pktmbuf_mtod_offset(mbuf, struct rte_ipv4_hdr *, mbuf->l2_len);

	ip->hdr_checksum = 0;
	ip->hdr_checksum = ~rte_raw_cksum(ip, mbuf->l3_len);
	mbuf->ol_flags &= ~RTE_MBUF_F_TX_IP_CKSUM;
}

void shim_prefetch_data(const struct rte_mbuf *mbuf, uint32_t n)
{
	const char *data = rte_pktmbuf_mtod(mbuf, const char *);
	uint32_t len = RTE_MIN(n, (uint32_t)mbuf->data_len);

	for (uint32_t at = 0; at < len; at += RTE_CACHE_LINE_SIZE)
		rte_prefetch0(data + at);
}

int shim_rte_errno(void)
{
	return rte_errno;
}

uint16_t shim_rte_eth_rx_burst(uint16_t port, uint16_t queue, struct rte_mbuf **mbufs, uint16_t n)
{
	return rte_eth_rx_burst(port, queue, mbufs, n);
}

uint16_t shim_rte_eth_tx_burst(uint16_t port, uint16_t queue, struct rte_mbuf **mbufs, uint16_t n)
{
	return rte_eth_tx_burst(port, queue, mbufs, n);
}

uint16_t shim_rte_eth_tx_prepare(uint16_t port, uint16_t queue, struct rte_mbuf **mbufs, uint16_t n)
{
	return rte_eth_tx_prepare(port, queue, mbufs, n);
}

uint64_t shim_rte_rdtsc_precise(void)
{
	return rte_rdtsc_precise();
}

unsigned int shim_rte_lcore_id(void)
{
	return rte_lcore_id();
}

uint16_t shim_rte_mbuf_ext_refcnt_read(const struct rte_mbuf *mbuf)
{
	return rte_mbuf_ext_refcnt_read(mbuf->shinfo);
}

uint16_t shim_rte_mbuf_refcnt_update(struct rte_mbuf *mbuf, int16_t by)
{
	return rte_mbuf_refcnt_update(mbuf, by);
}

struct rte_mbuf *shim_rte_pktmbuf_alloc(struct rte_mempool *pool)
{
	return rte_pktmbuf_alloc(pool);
}

int shim_rte_pktmbuf_alloc_bulk(struct rte_mempool *pool, struct rte_mbuf **mbufs, unsigned int n)
{
	return rte_pktmbuf_alloc_bulk(pool, mbufs, n);
}

void shim_rte_pktmbuf_attach(struct rte_mbuf *indirect, struct rte_mbuf *to)
{
	rte_pktmbuf_attach(indirect, to);
}

int shim_rte_pktmbuf_chain(struct rte_mbuf *head, struct rte_mbuf *tail)
{
	return rte_pktmbuf_chain(head, tail);
}

void shim_rte_pktmbuf_free(struct rte_mbuf *mbuf)
{
	rte_pktmbuf_free(mbuf);
}

int shim_rte_pktmbuf_linearize(struct rte_mbuf *mbuf)
{
	return rte_pktmbuf_linearize(mbuf);
}

void shim_set_tx_offload(struct rte_mbuf *mbuf, uint64_t l2_len, uint64_t l3_len, uint64_t l4_len, uint64_t tso_segsz)
{
	mbuf->tx_offload = rte_mbuf_tx_offload(l2_len, l3_len, l4_len, tso_segsz, 0, 0, 0);
}

uint32_t shim_tx_header_len(const struct rte_mbuf *mbuf)
{
	return mbuf->l2_len + mbuf->l3_len + mbuf->l4_len;
}

struct rte_mempool *shim_umem_pool(const char *name, unsigned int n, unsigned int cache, uint16_t data_room, int socket,
				   const char *ops)
{
	/* Elements as they are, without room between them to spread them over memory channels. */
	const unsigned int flags = RTE_MEMPOOL_F_NO_SPREAD;
	const unsigned int element = sizeof(struct rte_mbuf) + data_room;
	struct rte_pktmbuf_pool_private of_pool = {.mbuf_data_room_size = data_room};
	char zone[RTE_MEMZONE_NAMESIZE];
	const struct rte_memzone *memory = NULL;
	struct rte_mempool *pool;
	size_t page;
	int rc;

	if (rte_mempool_calc_obj_size(element, flags, NULL) != SHIM_UMEM_CHUNK) {
		rte_errno = EINVAL;
		return NULL;
	}
	pool = rte_mempool_create_empty(name, n, element, cache, sizeof(of_pool), socket, flags);
	if (pool == NULL)
		return NULL;
	rc = rte_mempool_set_ops_byname(pool, ops, NULL);
	if (rc == 0)
		rc = rte_mempool_get_page_size(pool, &page);
	if (rc != 0)
		goto fail;
	rte_pktmbuf_pool_init(pool, &of_pool);
	/* The name that DPDK would give it. */
	if (snprintf(zone, sizeof(zone), RTE_MEMPOOL_MZ_FORMAT "_0", name) >= (int)sizeof(zone)) {
		rc = -ENAMETOOLONG;
		goto fail;
	}
	memory = rte_memzone_reserve_aligned(zone, (size_t)n * SHIM_UMEM_CHUNK, socket, 0, sysconf(_SC_PAGESIZE));
	if (memory == NULL) {
		rc = -rte_errno;
		goto fail;
	}
	rc = rte_mempool_populate_virt(pool, memory->addr, memory->len, page, NULL, NULL);
	if (rc != (int)n) {
		rc = rc < 0 ? rc : -ENOBUFS;
		goto fail;
	}
	rte_mempool_obj_iter(pool, rte_pktmbuf_init, NULL);
	return pool;
fail:
	rte_mempool_free(pool);
	rte_memzone_free(memory);
	rte_errno = -rc;
	return NULL;
}
