//! Compares what a broker hands out with the book of what was sent.

use std::collections::HashMap;
use std::fmt;

use crate::ledger::{Answered, Id, Ledger};
use crate::session::{Failure, Session, Stored};

/// Faults named in a report; beyond it they are only counted.
const NAMED: usize = 10;

/// What a check found; everything but `stored` has to be 0.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// Messages read.
    pub stored: usize,
    /// Acknowledged and not there.
    pub lost: usize,
    /// There more than once.
    pub duplicated: usize,
    /// Behind a later message of the same sender in the same queue.
    pub order_breaks: usize,
    /// At another place than the acknowledgement said.
    pub moved: usize,
    /// Queue offsets missing or repeated.
    pub gaps: usize,
    /// Never sent, or with another body.
    pub foreign: usize,
    /// The first faults in words.
    pub examples: Vec<String>,
}

impl Verdict {
    /// Whether all is well.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.lost + self.duplicated + self.order_breaks + self.moved + self.gaps + self.foreign == 0
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { stored, lost, duplicated, order_breaks, moved, gaps, foreign, examples } = self;
        write!(
            f,
            "stored {stored} lost {lost} duplicated {duplicated} order-breaks {order_breaks} moved {moved} gaps {gaps} \
             foreign {foreign} {}",
            examples.join("; ")
        )
    }
}

/// Reads queues, once or from where it stopped the last time, and remembers what it saw.
#[derive(Default)]
pub struct Check {
    seen: HashMap<Id, (String, i32, i64)>,
    newest: HashMap<(u32, String, i32), u64>,
    next: HashMap<(String, i32), i64>,
    verdict: Verdict,
}

impl Check {
    /// Reads on in the queues 0 to `queues` of a topic, in which order is kept (`ordered`) or not promised.
    ///
    /// # Errors
    /// The broker does not answer or refuses.
    pub async fn read(
        &mut self,
        broker: &Session,
        ledger: &Ledger,
        topic: &str,
        queues: i32,
        ordered: bool,
    ) -> Result<(), Failure> {
        for queue in 0..queues {
            let next = self.next.get(&(topic.to_owned(), queue)).copied().unwrap_or(0);
            let records = broker.read_queue(topic, queue, next).await?;
            self.enter(ledger, topic, queue, &records, ordered);
        }
        Ok(())
    }

    fn enter(&mut self, ledger: &Ledger, topic: &str, queue: i32, records: &[Stored], ordered: bool) {
        let place = (topic.to_owned(), queue);
        let mut next = self.next.get(&place).copied().unwrap_or(0);
        for record in records {
            let at = format!("{topic} {queue} at {}", record.offset);
            if record.offset != next {
                self.verdict.gaps += 1;
                self.name(|| format!("{at} follows {}", next - 1));
            }
            next = record.offset + 1;
            self.verdict.stored += 1;
            let known = Id::of(&record.body).and_then(|id| Some((id, ledger.entry(id)?)));
            let Some((id, entry)) = known.filter(|(_, entry)| entry.topic.as_ref() == topic && entry.queue == queue)
            else {
                self.verdict.foreign += 1;
                self.name(|| format!("{at} was never sent there: {:.40}", String::from_utf8_lossy(&record.body)));
                continue;
            };
            if ordered && matches!(entry.answered, Answered::Stored { offset } if offset != record.offset) {
                self.verdict.moved += 1;
                self.name(|| format!("{id:?}, {at}, was acknowledged as {:?}", entry.answered));
            }
            if let Some(before) = self.seen.insert(id, (topic.to_owned(), queue, record.offset)) {
                self.verdict.duplicated += 1;
                self.name(|| format!("{id:?}, {at}, is also at {before:?}, answered {:?}", entry.answered));
                continue;
            }
            let newest = self.newest.entry((id.sender, topic.to_owned(), queue)).or_insert(id.sequence);
            if ordered && *newest > id.sequence {
                let newest = *newest;
                self.verdict.order_breaks += 1;
                self.name(|| format!("{id:?}, {at}, comes after {newest}"));
            } else {
                *newest = id.sequence;
            }
        }
        self.next.insert(place, next);
    }

    fn name(&mut self, fault: impl FnOnce() -> String) {
        if self.verdict.examples.len() < NAMED {
            self.verdict.examples.push(fault());
        }
    }

    /// Whether a message was read.
    #[must_use]
    pub fn saw(&self, id: Id) -> bool {
        self.seen.contains_key(&id)
    }

    /// What was found, with everything acknowledged that was not read as lost.
    #[must_use]
    pub fn verdict(&self, ledger: &Ledger) -> Verdict {
        let mut verdict = self.verdict.clone();
        for (id, entry) in ledger.all_acknowledged() {
            if !self.saw(id) {
                verdict.lost += 1;
                if verdict.examples.len() < NAMED {
                    verdict.examples.push(format!("{id:?} is lost: {entry:?}"));
                }
            }
        }
        verdict
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::session::Receipt;

    const TOPIC: &str = "T";

    /// A book of five acknowledged messages of one sender in one queue, and what a faultless broker hands out.
    fn five() -> (Ledger, Vec<Stored>) {
        let (ledger, topic) = (Ledger::default(), Arc::from(TOPIC));
        let mut all = Vec::new();
        for offset in 0..5 {
            let (id, message) = ledger.next(1, &topic, 0, 10, 0);
            ledger.stored(&[id], &Receipt { queue: 0, offset, physical: vec![] });
            all.push(Stored { offset, physical: 0, body: message.body, properties: message.properties });
        }
        (ledger, all)
    }

    fn verdict(ledger: &Ledger, records: &[Stored]) -> Verdict {
        let mut check = Check::default();
        check.enter(ledger, TOPIC, 0, records, true);
        Verdict { examples: Vec::new(), ..check.verdict(ledger) }
    }

    #[test]
    fn a_faultless_broker_is_found_faultless() {
        let (ledger, all) = five();
        assert_eq!(verdict(&ledger, &all), Verdict { stored: 5, ..Verdict::default() });
    }

    #[test]
    fn a_lost_end_and_a_lost_middle_are_found() {
        let (ledger, mut all) = five();
        all.pop();
        assert_eq!(verdict(&ledger, &all), Verdict { stored: 4, lost: 1, ..Verdict::default() });
        all.remove(1);
        assert_eq!(verdict(&ledger, &all), Verdict { stored: 3, lost: 2, gaps: 1, ..Verdict::default() });
    }

    #[test]
    fn duplicates_swaps_and_strangers_are_found() {
        let (ledger, mut all) = five();
        let again = Stored { offset: 5, ..all[4].clone() };
        all.push(again);
        assert_eq!(verdict(&ledger, &all), Verdict { stored: 6, duplicated: 1, moved: 1, ..Verdict::default() });
        all.pop();
        let (first, second) = (all[0].body.clone(), all[1].body.clone());
        (all[0].body, all[1].body) = (second, first);
        assert_eq!(verdict(&ledger, &all), Verdict { stored: 5, moved: 2, order_breaks: 1, ..Verdict::default() });
        all[0].body = Id { sender: 9, sequence: 9 }.body(3);
        all[1].body = "1 0 abc".into();
        assert_eq!(verdict(&ledger, &all), Verdict { stored: 5, lost: 2, foreign: 2, ..Verdict::default() });
    }
}
