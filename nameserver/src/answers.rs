//! Encoded route answers, kept as long as no route has changed: routes are read far more often than written.

use std::collections::HashMap;
use std::net::IpAddr;

use bytes::Bytes;
use orbitmq_common::net::network::Network;
use parking_lot::RwLock;

/// The answers for one topic.
#[derive(Debug)]
struct Views {
    /// The networks that see addresses of their own, the longest prefix first; mostly none.
    networks: Vec<Network>,
    /// By the longest of them that contains the asker: of two networks that do, the shorter contains the longer, so the
    /// longest one tells all of them.
    answers: Vec<(Option<Network>, Bytes)>,
}

fn view(networks: &[Network], asker: IpAddr) -> Option<Network> {
    networks.iter().find(|network| network.contains(asker)).copied()
}

#[derive(Debug, Default)]
struct Kept {
    /// The table's version that all of them show.
    version: u64,
    by_topic: HashMap<String, Views>,
}

/// Answers by topic and by the asker's network. Only topics that exist are kept, so the table's size bounds this one.
#[derive(Debug, Default)]
pub struct Answers {
    kept: RwLock<Kept>,
}

impl Answers {
    /// The answer for a topic that shows this version of the table as `asker` sees it.
    pub fn get(&self, topic: &str, version: u64, asker: IpAddr) -> Option<Bytes> {
        let kept = self.kept.read();
        if kept.version != version {
            return None;
        }
        let views = kept.by_topic.get(topic)?;
        let own = view(&views.networks, asker);
        views.answers.iter().find(|(seen_from, _)| *seen_from == own).map(|(_, answer)| answer.clone())
    }

    /// Keeps an answer for `asker` built after `version` was read.
    pub fn put(&self, topic: &str, version: u64, networks: Vec<Network>, asker: IpAddr, answer: Bytes) {
        let own = view(&networks, asker);
        let mut kept = self.kept.write();
        if kept.version < version {
            *kept = Kept { version, by_topic: HashMap::new() };
        }
        if kept.version != version {
            return;
        }
        match kept.by_topic.get_mut(topic) {
            Some(views) if views.networks == networks => {
                views.answers.retain(|(seen_from, _)| *seen_from != own);
                views.answers.push((own, answer));
            }
            _ => drop(kept.by_topic.insert(topic.to_owned(), Views { networks, answers: vec![(own, answer)] })),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn answers_end_with_their_version() {
        let (answers, asker) = (Answers::default(), ip("10.0.0.1"));
        answers.put("T", 3, Vec::new(), asker, Bytes::from_static(b"3"));
        assert_eq!(answers.get("T", 3, ip("192.168.0.1")).as_deref(), Some(&b"3"[..]), "one answer for everybody");
        assert_eq!(answers.get("T", 4, asker), None);
        answers.put("U", 4, Vec::new(), asker, Bytes::from_static(b"4"));
        answers.put("T", 3, Vec::new(), asker, Bytes::from_static(b"late"));
        assert_eq!(answers.get("T", 4, asker), None, "a late builder does not bring an old answer back");
        assert_eq!(answers.get("U", 4, asker).as_deref(), Some(&b"4"[..]));
    }

    #[test]
    fn each_network_has_its_own_answer() {
        let answers = Answers::default();
        let networks: Vec<Network> = ["10.1.0.0/16", "10.0.0.0/8"].map(|text| text.parse().unwrap()).into();
        let put = |from: &str, answer: &'static [u8]| {
            answers.put("T", 1, networks.clone(), ip(from), Bytes::from_static(answer));
        };
        put("10.1.0.1", b"near");
        assert_eq!(answers.get("T", 1, ip("10.2.0.1")), None);
        put("10.2.0.1", b"ten");
        put("11.0.0.1", b"far");
        for (from, answer) in [("10.1.9.9", &b"near"[..]), ("10.9.9.9", b"ten"), ("::1", b"far")] {
            assert_eq!(answers.get("T", 1, ip(from)).as_deref(), Some(answer), "{from}");
        }
    }
}
