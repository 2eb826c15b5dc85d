//! Which of a service's nodes a call goes to.

use std::cmp::Reverse;
use std::sync::Arc;

use crate::node::Node;
use crate::service::Address;

/// How the node of a call is chosen. A node that left two calls in a row without an answer is passed over for 5 s while there
/// are others, but for a [`Choice::Fixed`] one.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Choice {
    /// Any.
    Random,
    /// One after the other, in turn over all calls of this caller to the service.
    #[default]
    RoundRobin,
    /// The same node for the same key, from every caller. When nodes come or go, only keys of those nodes move.
    ConsistentHash(String),
    /// The one at which the fewest calls of this caller are now; of several, any.
    LeastActive,
    /// The node of this name.
    Fixed(String),
}

impl Choice {
    /// One of `nodes` that was not tried. `turn`: rises from call to call.
    pub(crate) fn pick(&self, nodes: &[Arc<Node>], tried: &[Address], turn: usize) -> Option<Arc<Node>> {
        let fresh = || nodes.iter().filter(|node| !tried.contains(&node.address));
        if let Self::Fixed(name) = self {
            // Of several runs the newest: an earlier one is on its way out.
            return fresh().filter(|node| node.address.node() == name).max_by_key(|node| &node.address).cloned();
        }
        let sound: Vec<&Arc<Node>> = fresh().filter(|node| !node.is_suspect()).collect();
        let candidates = if sound.is_empty() { fresh().collect() } else { sound };
        let at = |index: usize| candidates.get(index.checked_rem(candidates.len())?).copied();
        let any = || at(fastrand::usize(..));
        let picked = match self {
            Self::Random => any(),
            Self::RoundRobin => at(turn),
            Self::ConsistentHash(key) => candidates.iter().max_by_key(|node| weight(key, node.address.node())).copied(),
            Self::LeastActive => {
                let least = candidates.iter().map(|node| node.active()).min()?;
                let first = fastrand::usize(..candidates.len());
                let mut around = candidates.iter().cycle().skip(first).take(candidates.len());
                around.find(|node| node.active() <= least).copied().or_else(any)
            }
            Self::Fixed(_) => None,
        };
        picked.cloned()
    }
}

/// FNV-1a over key and node, stirred so that all bits depend on all bytes; then the name, so that no two nodes are equal.
/// Stable: callers must agree on it.
fn weight<'n>(key: &str, node: &'n str) -> (u64, Reverse<&'n str>) {
    let bytes = key.bytes().chain([0xff]).chain(node.bytes());
    let mut hash =
        bytes.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    hash = (hash ^ (hash >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    hash = (hash ^ (hash >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    (hash ^ (hash >> 33), Reverse(node))
}

#[cfg(test)]
mod tests;
