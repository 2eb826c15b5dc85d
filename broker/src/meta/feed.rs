//! Recent changes of metadata in their order, for those who follow them.

use std::collections::VecDeque;

use bytes::Bytes;

use crate::meta::tree::Tree;

/// Bytes of changes that are kept. Whoever is behind by more gets everything anew.
const KEPT: usize = 8 << 20;
/// What a change costs beside its key and value.
const OVERHEAD: usize = 96;
/// Bytes of changes that are handed out at once; one always is.
const PAGE: usize = 1 << 20;

/// One change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// Where.
    pub tree: Tree,
    /// Which row.
    pub key: Bytes,
    /// The new value; `None`: the row is gone.
    pub value: Option<Bytes>,
}

impl Change {
    fn size(&self) -> usize {
        OVERHEAD + self.key.len() + self.value.as_ref().map_or(0, Bytes::len)
    }
}

/// The changes. Older ones of a key stay beside newer ones, so that what is handed out is always a state that once was:
/// who has everything up to a number has no row older than that.
#[derive(Debug, Default)]
pub struct Feed {
    /// Nothing is kept before somebody follows.
    begun: bool,
    /// Changes up to this one are no longer here.
    floor: u64,
    recent: VecDeque<(u64, Change)>,
    bytes: usize,
}

impl Feed {
    /// Begins to keep changes, with the one after `newest`, unless that has begun already.
    pub fn begin(&mut self, newest: u64) {
        if !self.begun {
            (self.begun, self.floor) = (true, newest);
        }
    }

    /// Notes a change; numbers rise.
    pub fn push(&mut self, number: u64, change: Change) {
        if !self.begun || !change.tree.replicates() {
            return;
        }
        self.bytes += change.size();
        self.recent.push_back((number, change));
        while self.bytes > KEPT
            && let Some((number, change)) = self.recent.pop_front()
        {
            self.floor = number;
            self.bytes -= change.size();
        }
    }

    /// Whether every change after `number` is here.
    pub fn reaches(&self, number: u64) -> bool {
        self.begun && number >= self.floor
    }

    /// Changes after `since` up to `last`, or the first of them, with the number up to which these are all.
    pub fn since(&self, since: u64, last: u64) -> (u64, Vec<Change>) {
        let start = self.recent.partition_point(|(number, _)| *number <= since);
        let (mut bytes, mut changes) = (0, Vec::new());
        for (number, change) in self.recent.range(start..).take_while(|(number, _)| *number <= last) {
            bytes += change.size();
            changes.push(change.clone());
            if bytes >= PAGE {
                return (*number, changes);
            }
        }
        (last.max(since), changes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(tree: Tree, key: &str, size: usize) -> Change {
        Change { tree, key: Bytes::copy_from_slice(key.as_bytes()), value: Some(vec![0; size].into()) }
    }

    #[test]
    fn a_stretch_of_history_is_handed_out_in_order_and_ends_where_it_says() {
        let mut feed = Feed::default();
        feed.push(1, change(Tree::Topics, "before anybody follows", 1));
        feed.begin(1);
        assert!(feed.reaches(1) && !feed.reaches(0));
        for number in 2..=9 {
            let tree = if number == 5 { Tree::About } else { Tree::Offsets };
            feed.push(number, change(tree, &number.to_string(), 1));
        }
        let keys =
            |(number, changes): (u64, Vec<Change>)| (number, changes.iter().map(|c| c.key.clone()).collect::<Vec<_>>());
        assert_eq!(keys(feed.since(3, 7)), (7, vec!["4".into(), "6".into(), "7".into()]));
        assert_eq!(keys(feed.since(9, 9)), (9, vec![]));
        // What is stored may be behind what a follower has been told, while writing fails.
        assert_eq!(keys(feed.since(9, 0)), (9, vec![]));
    }

    #[test]
    fn much_is_handed_out_in_pieces_and_the_oldest_is_let_go() {
        let mut feed = Feed::default();
        feed.begin(0);
        for number in 1..=100 {
            feed.push(number, change(Tree::Topics, "same", 200 << 10));
        }
        assert!(!feed.reaches(50) && feed.reaches(62), "8 MiB are kept");
        let (mut at, mut pieces) = (62, 0);
        while at < 100 {
            let (number, changes) = feed.since(at, 100);
            assert_eq!(u64::try_from(changes.len()).unwrap(), number - at);
            (at, pieces) = (number, pieces + 1);
        }
        assert_eq!(pieces, 7);
    }
}
