//! Traces: what became of a message, in the form that RocketMQ's clients write and its tools read. An entry ends with 0x02, the
//! fields in it are separated by 0x01; what is absent is written `null`, as Java does.

use std::fmt::Write;

use crate::message::property;

/// What a producer sent, as its entry names it by number.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Kind {
    /// A plain message.
    #[default]
    Normal = 0,
    /// The half of a transaction.
    Half = 1,
    /// A message for a later time.
    Delayed = 3,
}

impl Kind {
    /// What the properties say.
    #[must_use]
    pub fn of(properties: &str) -> Self {
        let has = |name| property::get(properties, name).is_some();
        let later = [property::DELAY, property::TIMER_DELAY_SEC, property::TIMER_DELAY_MS, property::TIMER_DELIVER_MS];
        if property::get(properties, property::TRANSACTION_PREPARED) == Some("true") {
            Self::Half
        } else if later.into_iter().any(has) {
            Self::Delayed
        } else {
            Self::Normal
        }
    }
}

/// One entry. Times are ms since the epoch, costs ms.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trace<'a> {
    /// A message was sent.
    Sent {
        /// When.
        time: i64,
        /// The brokers' region.
        region: &'a str,
        /// The producer's group.
        group: &'a str,
        /// The topic.
        topic: &'a str,
        /// The message's id.
        id: &'a str,
        /// Its tag.
        tags: Option<&'a str>,
        /// Its keys, blanks between them.
        keys: Option<&'a str>,
        /// `ip:port` of the broker.
        store_host: &'a str,
        /// Bytes of the body.
        body_length: usize,
        /// How long it took.
        cost: u64,
        /// What it is.
        kind: Kind,
        /// The id that tells where it is stored.
        offset_id: &'a str,
        /// Whether it is as safe as it should be.
        ok: bool,
    },
    /// A consumer begins with a message.
    Began {
        /// When.
        time: i64,
        /// The brokers' region.
        region: &'a str,
        /// The consumer's group.
        group: &'a str,
        /// Ties it to its end.
        request: &'a str,
        /// The message's id.
        id: &'a str,
        /// How often it was given back before.
        retries: i32,
        /// Its keys, blanks between them.
        keys: Option<&'a str>,
    },
    /// A consumer ends with a message.
    Ended {
        /// When.
        time: i64,
        /// The consumer's group.
        group: &'a str,
        /// Ties it to its beginning.
        request: &'a str,
        /// The message's id.
        id: &'a str,
        /// How long it took.
        cost: u64,
        /// Whether it is done.
        ok: bool,
        /// Its keys, blanks between them.
        keys: Option<&'a str>,
    },
}

/// What Java's clients call the ends: 0 done, 4 given back.
const FAILED: u8 = 4;

impl Trace<'_> {
    /// The message's id and its keys: the trace is found by each of them.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        let (Self::Sent { id, keys, .. } | Self::Began { id, keys, .. } | Self::Ended { id, keys, .. }) = self;
        let keys = keys.unwrap_or_default().split(' ').filter(|key| !key.is_empty());
        std::iter::once(*id).chain(keys)
    }

    /// Appends the entry.
    pub fn write(&self, out: &mut String) {
        let or_null = |text: &Option<&str>| text.filter(|text| !text.is_empty()).unwrap_or("null").to_owned();
        // Writing to a String cannot fail.
        let _ = match self {
            Self::Sent {
                time,
                region,
                group,
                topic,
                id,
                tags,
                keys,
                store_host,
                body_length,
                cost,
                kind,
                offset_id,
                ok,
            } => {
                let (tags, keys, kind) = (or_null(tags), or_null(keys), *kind as u8);
                write!(
                    out,
                    "Pub\x01{time}\x01{region}\x01{group}\x01{topic}\x01{id}\x01{tags}\x01{keys}\x01{store_host}\x01{body_length}\x01{cost}\x01{kind}\x01{offset_id}\x01{ok}\x02"
                )
            }
            Self::Began { time, region, group, request, id, retries, keys } => {
                let keys = or_null(keys);
                write!(
                    out,
                    "SubBefore\x01{time}\x01{region}\x01{group}\x01{request}\x01{id}\x01{retries}\x01{keys}\x02"
                )
            }
            Self::Ended { time, group, request, id, cost, ok, keys } => {
                let (keys, code) = (or_null(keys), if *ok { 0 } else { FAILED });
                write!(
                    out,
                    "SubAfter\x01{request}\x01{id}\x01{cost}\x01{ok}\x01{keys}\x01{code}\x01{time}\x01{group}\x02"
                )
            }
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_have_the_fields_that_tools_count() {
        let sent = Trace::Sent {
            time: 5,
            region: "DefaultRegion",
            group: "p",
            topic: "T",
            id: "ID",
            tags: None,
            keys: Some("k1 k2"),
            store_host: "1.2.3.4:10911",
            body_length: 3,
            cost: 2,
            kind: Kind::of("DELAY\u{1}3\u{2}"),
            offset_id: "OFF",
            ok: true,
        };
        let began = Trace::Began { time: 6, region: "r", group: "g", request: "R", id: "ID", retries: 1, keys: None };
        let ended = Trace::Ended { time: 7, group: "g", request: "R", id: "ID", cost: 4, ok: false, keys: Some("") };
        let mut text = String::new();
        [&sent, &began, &ended].into_iter().for_each(|trace| trace.write(&mut text));
        let entries: Vec<Vec<&str>> =
            text.split_terminator('\u{2}').map(|entry| entry.split('\u{1}').collect()).collect();
        assert_eq!(
            entries[0],
            [
                "Pub",
                "5",
                "DefaultRegion",
                "p",
                "T",
                "ID",
                "null",
                "k1 k2",
                "1.2.3.4:10911",
                "3",
                "2",
                "3",
                "OFF",
                "true"
            ]
        );
        assert_eq!(entries[1], ["SubBefore", "6", "r", "g", "R", "ID", "1", "null"]);
        assert_eq!(entries[2], ["SubAfter", "R", "ID", "4", "false", "null", "4", "7", "g"]);
        assert_eq!(sent.keys().collect::<Vec<_>>(), ["ID", "k1", "k2"]);
        assert_eq!(ended.keys().collect::<Vec<_>>(), ["ID"]);
    }
}
