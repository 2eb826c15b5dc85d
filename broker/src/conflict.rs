//! Members of one group that want different things: the group can have but one of them, and loses messages of the other.

use std::collections::BTreeSet;
use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::{Duration, Instant};

use hashbrown::HashMap;
use orbitmq_common::name;
use orbitmq_common::protocol::body::heartbeat::{ConsumerData, MessageModel, SubscriptionData};

/// Topics that a difference names at most.
const NAMED: usize = 3;
/// Characters of an expression that a difference shows at most.
const SHOWN: usize = 100;
/// Refused clients that are kept in mind, and for how long: they come again with each heartbeat.
const REFUSED: usize = 32;
const REFUSED_FOR: Duration = Duration::from_secs(120);

/// Two members that want different things.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conflict {
    /// Ids of the clients.
    pub clients: [String; 2],
    /// What the first wants against what the second wants.
    pub difference: String,
}

impl fmt::Display for Conflict {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [first, second] = &self.clients;
        write!(out, "clients '{first}' and '{second}' of one group want different things: {}", self.difference)
    }
}

/// What a member's word changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum News {
    /// Nothing about conflicts.
    None,
    /// Two members want different things, which is new.
    Found(Conflict),
    /// All want the same again.
    Over,
}

/// What a member wants, in one spelling.
#[derive(Debug, PartialEq, Eq)]
struct Wanted {
    model: MessageModel,
    /// Topic and expression, by topic.
    topics: Vec<(String, String)>,
}

#[derive(Debug, Clone)]
struct Told {
    client_id: String,
    /// Of what was told, as it was told: most heartbeats tell nothing new.
    hash: u64,
    wanted: Arc<Wanted>,
}

/// What the members of one group want.
#[derive(Debug, Clone, Default)]
pub struct Wants {
    by_connection: HashMap<u64, Told>,
    conflict: Option<Conflict>,
    refused: Vec<Refused>,
}

/// A client that may not join.
#[derive(Debug, Clone)]
struct Refused {
    client_id: String,
    conflict: Conflict,
    seen: Instant,
}

impl Wants {
    /// The conflict there is, or that there would be, had the client not been refused.
    #[must_use]
    pub fn conflict(&self) -> Option<&Conflict> {
        let refused = self.refused.iter().rev().find(|refused| refused.seen.elapsed() < REFUSED_FOR);
        self.conflict.as_ref().or(refused.map(|refused| &refused.conflict))
    }

    /// Notes that a client is refused. True: for this for the first time.
    pub fn refuse(&mut self, client_id: &str, conflict: &Conflict) -> bool {
        let known = self.refused.iter_mut().find(|refused| refused.client_id == client_id);
        if let Some(known) = known {
            known.seen = Instant::now();
            let is_new = known.conflict != *conflict;
            known.conflict.clone_from(conflict);
            return is_new;
        }
        if self.refused.len() >= REFUSED {
            self.refused.remove(0);
        }
        let (client_id, conflict, seen) = (client_id.to_owned(), conflict.clone(), Instant::now());
        self.refused.push(Refused { client_id, conflict, seen });
        true
    }

    /// How a member that says this would differ from another.
    #[must_use]
    pub fn against(&self, client_id: &str, data: &ConsumerData) -> Option<Conflict> {
        let told = Told { client_id: client_id.to_owned(), hash: 0, wanted: Arc::new(Wanted::of(data)) };
        self.by_connection.values().filter_map(|other| differ(other, &told)).min_by(|a, b| a.clients.cmp(&b.clients))
    }

    /// Notes what a member says.
    pub fn told(&mut self, connection: u64, client_id: &str, data: &ConsumerData) -> News {
        self.refused.retain(|refused| refused.client_id != client_id);
        let hash = hash(data);
        if self.by_connection.get(&connection).is_some_and(|told| told.hash == hash && told.client_id == client_id) {
            return News::None;
        }
        let wanted = Wanted::of(data);
        let same = self.by_connection.values().find(|told| *told.wanted == wanted);
        let wanted = same.map_or_else(|| Arc::new(wanted), |told| Arc::clone(&told.wanted));
        self.by_connection.insert(connection, Told { client_id: client_id.to_owned(), hash, wanted });
        self.look()
    }

    /// Forgets a member.
    pub fn left(&mut self, connection: u64) -> News {
        if self.by_connection.remove(&connection).is_some() { self.look() } else { News::None }
    }

    /// A conflict that lasts is no news, whoever else comes and goes.
    fn look(&mut self) -> News {
        let mut members: Vec<&Told> = self.by_connection.values().collect();
        members.sort_unstable_by(|a, b| a.client_id.cmp(&b.client_id));
        let known = self.conflict.as_ref();
        let (mut found, mut lasts) = (None, false);
        if let Some((first, others)) = members.split_first()
            && others.iter().any(|other| !Arc::ptr_eq(&other.wanted, &first.wanted))
        {
            found = others.iter().find_map(|other| differ(first, other));
            lasts = known.is_some_and(|known| {
                let [first, second] =
                    known.clients.each_ref().map(|id| members.iter().find(|told| told.client_id == *id));
                first.zip(second).and_then(|(first, second)| differ(first, second)).as_ref() == Some(known)
            });
        }
        match found {
            _ if lasts => News::None,
            Some(new) => {
                self.conflict = Some(new.clone());
                News::Found(new)
            }
            None if self.conflict.take().is_some() => News::Over,
            None => News::None,
        }
    }
}

/// How two members differ. A client that has connected anew does not differ from itself.
fn differ(first: &Told, second: &Told) -> Option<Conflict> {
    if Arc::ptr_eq(&first.wanted, &second.wanted)
        || first.client_id == second.client_id
        || first.wanted == second.wanted
    {
        return None;
    }
    let difference = first.wanted.difference(&second.wanted, &second.client_id);
    Some(Conflict { clients: [first.client_id.clone(), second.client_id.clone()], difference })
}

impl Wanted {
    fn of(data: &ConsumerData) -> Self {
        // Members read what their group gave back as they need it: those that pop differ there from those that pull.
        let own = data.subscription_data_set.iter().filter(|sub| !sub.topic.starts_with(name::RETRY_PREFIX));
        let mut topics: Vec<(String, String)> = own.map(|sub| (sub.topic.clone(), expression(sub))).collect();
        topics.sort_unstable();
        Self { model: data.message_model, topics }
    }

    fn difference(&self, other: &Self, other_id: &str) -> String {
        let mut parts = Vec::new();
        if self.model != other.model {
            parts.push(format!("{:?} against {:?}", self.model, other.model));
        }
        let find = |wanted: &Self, topic: &str| {
            wanted.topics.iter().find(|(one, _)| one == topic).map(|(_, expression)| expression.clone())
        };
        let topics: BTreeSet<&String> = self.topics.iter().chain(&other.topics).map(|(topic, _)| topic).collect();
        let mut more = 0_usize;
        for topic in topics {
            let part = match (find(self, topic), find(other, topic)) {
                (Some(one), Some(two)) if one == two => continue,
                _ if parts.len() >= NAMED => {
                    more += 1;
                    continue;
                }
                (Some(one), Some(two)) => format!("topic '{topic}': {one} against {two}"),
                (Some(one), None) => format!("topic '{topic}': {one} against no subscription"),
                (None, Some(two)) => format!("topic '{topic}': only '{other_id}' subscribes, {two}"),
                (None, None) => continue,
            };
            parts.push(part);
        }
        if more > 0 {
            parts.push(format!("and {more} more topics"));
        }
        parts.join("; ")
    }
}

/// One spelling for all that mean the same.
fn expression(sub: &SubscriptionData) -> String {
    let text = sub.sub_string.trim();
    if !matches!(sub.expression_type.as_str(), "" | "TAG") {
        let shown: String = text.chars().take(SHOWN).collect();
        let rest = if shown.len() < text.len() { format!("… ({:x})", fingerprint(text)) } else { String::new() };
        return format!("{} {shown}{rest}", sub.expression_type);
    }
    let tags: BTreeSet<&str> = text.split("||").map(str::trim).filter(|tag| !tag.is_empty()).collect();
    if tags.is_empty() || text == "*" {
        return "everything".to_owned();
    }
    format!("tags {}", tags.into_iter().collect::<Vec<_>>().join(" || "))
}

fn fingerprint(value: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

fn hash(data: &ConsumerData) -> u64 {
    let mut hasher = DefaultHasher::new();
    (data.message_model == MessageModel::Broadcasting).hash(&mut hasher);
    for sub in &data.subscription_data_set {
        (&sub.topic, &sub.expression_type, &sub.sub_string).hash(&mut hasher);
    }
    hasher.finish()
}

#[cfg(test)]
mod tests;
