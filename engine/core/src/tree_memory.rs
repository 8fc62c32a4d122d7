//! What ordered maps hold. Streams of peers' choice are kept in them: without a hash, nobody can look for numbers that collide.

use std::collections::BTreeMap;

/// Entries of a full node of the standard library's map, and of the emptiest one.
const NODE: usize = 11;
const LEAST: usize = 5;
/// A node's own fields, and its share of the edges above it.
const OVERHEAD: usize = 32;

/// Bytes of memory that the map holds at most beside its own size, without what its entries hold.
pub(crate) fn tree_memory<K, V>(map: &BTreeMap<K, V>) -> usize {
    let node = NODE * (size_of::<K>() + size_of::<V>()) + OVERHEAD;
    map.len().div_ceil(LEAST) * node
}
