//! What bindgen takes from the headers; all the rest stays out.

/// Non-inline functions that the safe crate calls; the shim's own are allowed by their prefix.
pub(crate) const FUNCTIONS: &[&str] = &[
    "rte_bus_name",
    "rte_dev_bus",
    "rte_dev_event_callback_register",
    "rte_dev_name",
    "rte_eal_cleanup",
    "rte_eal_hotplug_add",
    "rte_eal_hotplug_remove",
    "rte_eal_init",
    "rte_eth_allmulticast_enable",
    "rte_eth_dev_adjust_nb_rx_tx_desc",
    "rte_eth_dev_callback_register",
    "rte_eth_dev_close",
    "rte_eth_dev_configure",
    "rte_eth_dev_get_mtu",
    "rte_eth_dev_get_name_by_port",
    "rte_eth_dev_get_port_by_name",
    "rte_eth_dev_info_get",
    "rte_eth_dev_is_valid_port",
    "rte_eth_dev_set_link_down",
    "rte_eth_dev_set_link_up",
    "rte_eth_dev_set_mtu",
    "rte_eth_dev_socket_id",
    "rte_eth_dev_start",
    "rte_eth_dev_stop",
    "rte_eth_find_next",
    "rte_eth_macaddr_get",
    "rte_eth_promiscuous_enable",
    "rte_eth_rx_queue_setup",
    "rte_eth_stats_get",
    "rte_eth_stats_reset",
    "rte_eth_tx_queue_setup",
    "rte_eth_xstats_get",
    "rte_eth_xstats_get_names",
    "rte_log_set_global_level",
    "rte_log_set_level_pattern",
    "rte_mempool_avail_count",
    "rte_mempool_in_use_count",
    "rte_mempool_lookup",
    "rte_pktmbuf_copy",
    "rte_pktmbuf_pool_create_by_ops",
    "rte_thread_register",
    "rte_thread_unregister",
    "rte_version",
];

/// What the feature `ring` adds.
pub(crate) const RING_FUNCTIONS: &[&str] = &["rte_eth_from_rings", "rte_ring_create", "rte_ring_free"];

/// Constants: those that bindgen can evaluate itself, and all that the shim evaluates for it.
pub(crate) const CONSTANTS: &[&str] = &[
    "LCORE_ID_ANY",
    "RING_F_.*",
    "RTE_ETH_NAME_MAX_LEN",
    "RTE_MAX_ETHPORTS",
    "RTE_PKTMBUF_HEADROOM",
    "SHIM_.*",
];
