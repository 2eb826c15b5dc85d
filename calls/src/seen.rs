//! Requests that came lately: a send that was tried again may bring one twice.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;

/// Requests that are remembered.
const KEPT: usize = 65_536;

#[derive(Debug, Default)]
pub(crate) struct Seen {
    ids: HashSet<Arc<str>>,
    order: VecDeque<Arc<str>>,
}

impl Seen {
    /// Whether the request comes for the first time.
    pub(crate) fn is_new(&mut self, id: &str) -> bool {
        if self.ids.contains(id) {
            return false;
        }
        let id: Arc<str> = id.into();
        self.ids.insert(Arc::clone(&id));
        self.order.push_back(id);
        if self.order.len() > KEPT
            && let Some(oldest) = self.order.pop_front()
        {
            self.ids.remove(&oldest);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_new_once_and_memory_is_bounded() {
        let mut seen = Seen::default();
        assert!(seen.is_new("a") && !seen.is_new("a") && seen.is_new("b"));
        for number in 0..KEPT {
            assert!(seen.is_new(&number.to_string()));
        }
        assert_eq!((seen.ids.len(), seen.order.len()), (KEPT, KEPT));
        assert!(seen.is_new("a"), "long forgotten");
    }
}
