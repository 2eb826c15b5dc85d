//! Which messages of a queue are held, and up to where all are done.

use std::collections::BTreeMap;

/// Offsets of one queue between the oldest message that is not done and the next one to fetch.
///
/// ```text
///    done      commit                       next
///  ────────────│ held  done  held  held  done │ not fetched
/// ```
#[derive(Debug, Clone)]
pub struct Window {
    next: i64,
    /// Size of each message that is not done, by offset.
    held: BTreeMap<i64, usize>,
    bytes: usize,
}

impl Window {
    /// A window that starts at an offset.
    #[must_use]
    pub fn new(start: i64) -> Self {
        Self { next: start, held: BTreeMap::new(), bytes: 0 }
    }

    /// The first offset not fetched yet.
    #[must_use]
    pub fn next(&self) -> i64 {
        self.next
    }

    /// Takes a fetched message in; false: it lies before the window's end and is known already.
    pub fn receive(&mut self, offset: i64, size: usize) -> bool {
        if offset < self.next {
            return false;
        }
        self.next = offset.saturating_add(1);
        self.held.insert(offset, size);
        self.bytes = self.bytes.saturating_add(size);
        true
    }

    /// Everything before `next` was fetched; what lies between was filtered out.
    pub fn scanned_to(&mut self, next: i64) {
        self.next = self.next.max(next);
    }

    /// A message is done; tells its size, or `None` when it is not held.
    pub fn done(&mut self, offset: i64) -> Option<usize> {
        let size = self.held.remove(&offset)?;
        self.bytes = self.bytes.saturating_sub(size);
        Some(size)
    }

    /// The offset to store: the oldest message that is not done, else the next one.
    #[must_use]
    pub fn commit(&self) -> i64 {
        self.held.keys().next().copied().unwrap_or(self.next)
    }

    /// Forgets everything and goes on at another offset; tells how many messages and bytes were held.
    pub fn reset(&mut self, next: i64) -> (usize, usize) {
        let before = (self.held.len(), self.bytes);
        *self = Self::new(next);
        before
    }

    /// Messages that are not done.
    #[must_use]
    pub fn held(&self) -> usize {
        self.held.len()
    }

    /// Bytes of messages that are not done.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Offsets between the oldest message that is not done and the newest fetched.
    #[must_use]
    pub fn span(&self) -> i64 {
        self.next.saturating_sub(self.commit())
    }
}

#[cfg(test)]
mod tests;
