//! Marks that wait until what they speak of is confirmed.

use crate::meta::marks::{Mark, Marks};

/// The mark that waits, a newer one, and the last that was noted.
#[derive(Debug, Default)]
pub struct Marking {
    first: Option<Mark>,
    newer: Option<Mark>,
    noted: Option<Mark>,
}

impl Marking {
    /// Has a mark noted once the log is confirmed up to where it says. While one waits, the newest of those behind it counts.
    pub fn add(&mut self, mark: Mark) {
        if self.first.is_none() { self.first = Some(mark) } else { self.newer = Some(mark) }
    }

    /// The log offset whose confirmation is waited for.
    pub fn awaited(&self) -> Option<u64> {
        self.first.map(|mark| mark.log)
    }

    /// The newest, noted or not.
    pub fn newest(&self) -> Option<Mark> {
        self.newer.or(self.first).or(self.noted)
    }

    /// Notes what is confirmed.
    pub fn settle(&mut self, confirmed: u64, marks: &Marks) {
        while let Some(mark) = self.first.take_if(|mark| mark.log <= confirmed) {
            if self.noted != Some(mark) {
                marks.set(mark);
                self.noted = Some(mark);
            }
            self.first = self.newer.take();
        }
    }
}
