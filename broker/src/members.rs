//! Who is connected: producers and consumers by group, what they subscribe to, and notices when a group changes.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use hashbrown::{HashMap, HashSet};
use orbitmq_common::clock::now_ms;
use orbitmq_common::net::peer::Peer;
use orbitmq_common::protocol::body::examine::ProducerInfo;
use orbitmq_common::protocol::body::heartbeat::{
    ConsumeFromWhere, ConsumeType, ConsumerData, MessageModel, SubscriptionData,
};
use orbitmq_common::protocol::code::request;
use orbitmq_common::protocol::frame::Frame;
use orbitmq_common::protocol::header::group::ConsumerGroupRequest;
use parking_lot::RwLock;

use crate::config::filtering::OnConflict;
use crate::conflict::{Conflict, News, Wants};
use crate::filters::Filters;
use crate::members::member::Member;
use crate::meta::removed::Removed;
use crate::subscription::Subscription;

pub mod member;

/// A client that sends no heartbeat for so long is gone.
const EXPIRY: Duration = Duration::from_secs(120);

/// A consumer group that has members.
#[derive(Debug, Clone, Default)]
pub struct ConsumerGroup {
    members: HashMap<u64, Member>,
    subscriptions: BTreeMap<String, Arc<Subscription>>,
    wants: Wants,
    /// How messages reach it.
    pub consume_type: ConsumeType,
    /// Sharing or broadcasting.
    pub message_model: MessageModel,
    /// Where it starts.
    pub consume_from_where: ConsumeFromWhere,
    fingerprint: i32,
}

impl ConsumerGroup {
    /// The members.
    pub fn members(&self) -> impl Iterator<Item = &Member> {
        self.members.values()
    }

    /// The subscriptions by topic.
    pub fn subscriptions(&self) -> impl Iterator<Item = &SubscriptionData> {
        self.subscriptions.values().map(|subscription| &subscription.data)
    }

    /// Two members that want different things, if there are such.
    #[must_use]
    pub fn conflict(&self) -> Option<&Conflict> {
        self.wants.conflict()
    }

    /// Takes over what a member says. True: something changed.
    fn update(&mut self, data: ConsumerData, filters: &Filters) -> bool {
        self.consume_type = data.consume_type;
        self.message_model = data.message_model;
        self.consume_from_where = data.consume_from_where;
        let listed: HashSet<String> = data.subscription_data_set.iter().map(|sub| sub.topic.clone()).collect();
        let mut changed = false;
        for sub in data.subscription_data_set {
            let known = self.subscriptions.get(&sub.topic);
            if known.is_some_and(|known| known.data.sub_version >= sub.sub_version) {
                continue;
            }
            changed |= known.is_none_or(|known| {
                known.data.sub_string != sub.sub_string || known.data.expression_type != sub.expression_type
            });
            self.subscriptions.insert(sub.topic.clone(), Arc::new(Subscription::new(sub, filters)));
        }
        let before = self.subscriptions.len();
        self.subscriptions.retain(|topic, _| listed.contains(topic));
        changed || self.subscriptions.len() != before
    }
}

/// All connected clients.
#[derive(Debug, Default)]
pub struct Members {
    consumers: RwLock<HashMap<String, ConsumerGroup>>,
    producers: RwLock<HashMap<String, HashMap<u64, Member>>>,
    filters: Arc<Filters>,
    on_conflict: OnConflict,
    conflicts: AtomicU64,
    /// Consumer groups whose last member has left.
    pub emptied: Removed,
}

impl Members {
    /// Nobody yet.
    #[must_use]
    pub fn new(filters: Arc<Filters>, on_conflict: OnConflict) -> Self {
        Self { filters, on_conflict, ..Self::default() }
    }

    /// Notes a consumer's heartbeat. The group's members are told when it changed and `notify` asks for it.
    ///
    /// # Errors
    /// It wants something else than another member, and such are refused: nothing is noted.
    pub fn consumer_seen(
        &self,
        member: &Member,
        data: ConsumerData,
        fingerprint: i32,
        without_sub: bool,
        notify: bool,
    ) -> Result<(), Conflict> {
        let name = data.group_name.clone();
        let clustering = data.message_model == MessageModel::Clustering;
        let (changed, news) = {
            let mut consumers = self.consumers.write();
            if self.on_conflict == OnConflict::Refuse
                && !without_sub
                && let Some(group) = consumers.get_mut(&name)
                && let Some(conflict) = group.wants.against(&member.client_id, &data)
            {
                if let Some(known) = group.members.get_mut(&member.peer.id()) {
                    known.seen = member.seen;
                }
                let is_new = group.wants.refuse(&member.client_id, &conflict);
                drop(consumers);
                if is_new {
                    self.conflicts.fetch_add(1, Ordering::Relaxed);
                    tracing::warn!(group = name, client = member.client_id, "{conflict}; the client is refused");
                }
                return Err(conflict);
            }
            let group = consumers.entry_ref(name.as_str()).or_default();
            let is_new = group.members.insert(member.peer.id(), member.clone()).is_none();
            let news =
                if without_sub { News::None } else { group.wants.told(member.peer.id(), &member.client_id, &data) };
            let updated = !without_sub && group.update(data, &self.filters);
            if fingerprint != 0 {
                group.fingerprint = fingerprint;
            }
            (is_new || updated, news)
        };
        self.tell_conflict(&name, news);
        // The connection may have ended while its heartbeat was on the way.
        if member.peer.is_closed() {
            self.gone(&member.peer);
        } else if changed && clustering && notify {
            self.tell_group(&name);
        }
        Ok(())
    }

    fn tell_conflict(&self, group: &str, news: News) {
        match news {
            News::Found(conflict) => {
                self.conflicts.fetch_add(1, Ordering::Relaxed);
                tracing::warn!(
                    group,
                    "{conflict}; the newest subscription counts for all of them, and each misses messages"
                );
            }
            News::Over => tracing::info!(group, "all members of the group want the same again"),
            News::None => {}
        }
    }

    /// How often members have wanted different things, and groups whose members do so now.
    #[must_use]
    pub fn conflicts(&self) -> (u64, Vec<(String, Conflict)>) {
        let consumers = self.consumers.read();
        let now = consumers.iter().filter_map(|(name, group)| Some((name.clone(), group.conflict()?.clone())));
        (self.conflicts.load(Ordering::Relaxed), now.collect())
    }

    /// Whether a heartbeat without subscriptions, known by its fingerprint, can be trusted.
    #[must_use]
    pub fn fingerprint_differs(&self, group: &str, fingerprint: i32) -> bool {
        self.consumers.read().get(group).is_some_and(|group| group.fingerprint != fingerprint)
    }

    /// Notes a producer's heartbeat.
    pub fn producer_seen(&self, member: &Member, group: &str) {
        self.producers.write().entry_ref(group).or_default().insert(member.peer.id(), member.clone());
        if member.peer.is_closed() {
            self.gone(&member.peer);
        }
    }

    /// A client leaves a consumer group.
    pub fn consumer_left(&self, peer: &Peer, group: &str) {
        if self.remove_consumer(peer.id(), group) {
            self.tell_group(group);
        }
    }

    fn remove_consumer(&self, id: u64, name: &str) -> bool {
        let mut consumers = self.consumers.write();
        let Some(group) = consumers.get_mut(name) else { return false };
        let removed = group.members.remove(&id).is_some();
        let news = group.wants.left(id);
        let is_empty = group.members.is_empty();
        if is_empty {
            consumers.remove(name);
        }
        drop(consumers);
        if is_empty {
            self.emptied.note(name);
        }
        self.tell_conflict(name, news);
        removed
    }

    /// A client leaves a producer group.
    pub fn producer_left(&self, peer: &Peer, group: &str) {
        let mut producers = self.producers.write();
        if let Some(members) = producers.get_mut(group) {
            members.remove(&peer.id());
            if members.is_empty() {
                producers.remove(group);
            }
        }
    }

    /// Consumer groups that a client is in by this connection alone, with its id in each.
    #[must_use]
    pub fn only_by(&self, peer: &Peer) -> Vec<(String, String)> {
        let id = peer.id();
        let consumers = self.consumers.read();
        let alone = consumers.iter().filter_map(|(name, group)| {
            let client = &group.members.get(&id)?.client_id;
            let others = group.members.iter().any(|(other, member)| *other != id && member.client_id == *client);
            (!others).then(|| (name.clone(), client.clone()))
        });
        alone.collect()
    }

    /// A connection has ended: its client leaves every group.
    pub fn gone(&self, peer: &Peer) {
        let id = peer.id();
        self.producers.write().retain(|_, members| {
            members.remove(&id);
            !members.is_empty()
        });
        let groups: Vec<String> = {
            let consumers = self.consumers.read();
            consumers
                .iter()
                .filter(|(_, group)| group.members.contains_key(&id))
                .map(|(name, _)| name.clone())
                .collect()
        };
        for group in groups {
            if self.remove_consumer(id, &group) {
                self.tell_group(&group);
            }
        }
    }

    /// Closes the connections of clients that fell silent.
    pub fn expire(&self) {
        let silent = |member: &&Member| member.seen.elapsed() > EXPIRY;
        let mut peers: Vec<Arc<Peer>> = Vec::new();
        for group in self.consumers.read().values() {
            peers.extend(group.members.values().filter(silent).map(|member| Arc::clone(&member.peer)));
        }
        for members in self.producers.read().values() {
            peers.extend(members.values().filter(silent).map(|member| Arc::clone(&member.peer)));
        }
        for peer in peers {
            tracing::info!(peer = %peer.remote(), "no heartbeat for {EXPIRY:?}; connection closed");
            peer.close();
        }
    }

    /// Tells all members of a group to look at its membership again.
    fn tell_group(&self, name: &str) {
        let members: Vec<Member> =
            self.consumers.read().get(name).map(|group| group.members.values().cloned().collect()).unwrap_or_default();
        for member in members {
            let notice = Frame::request(request::NOTIFY_CONSUMER_IDS_CHANGED, member.encoding)
                .with_fields(&ConsumerGroupRequest { consumer_group: name.into() })
                .oneway();
            if let Err(error) = member.peer.tell(notice) {
                tracing::debug!(group = name, peer = %member.peer.remote(), %error, "a member could not be told");
            }
        }
    }

    /// A group as it is now.
    #[must_use]
    pub fn consumer_group(&self, name: &str) -> Option<ConsumerGroup> {
        self.consumers.read().get(name).cloned()
    }

    /// A group's model, if it has members.
    #[must_use]
    pub fn message_model(&self, group: &str) -> Option<MessageModel> {
        self.consumers.read().get(group).map(|group| group.message_model)
    }

    /// A group's subscription to a topic, if the group has members and reads the topic.
    #[must_use]
    pub fn subscription(&self, group: &str, topic: &str) -> Option<Arc<Subscription>> {
        self.consumers.read().get(group)?.subscriptions.get(topic).cloned()
    }

    /// Ids of a group's members, in order.
    #[must_use]
    pub fn consumer_ids(&self, group: &str) -> Vec<String> {
        let consumers = self.consumers.read();
        let Some(group) = consumers.get(group) else { return Vec::new() };
        let mut ids: Vec<String> = group.members.values().map(|member| member.client_id.clone()).collect();
        ids.sort_unstable();
        ids.dedup();
        ids
    }

    /// Groups that subscribe to a topic.
    #[must_use]
    pub fn groups_reading(&self, topic: &str) -> Vec<String> {
        let consumers = self.consumers.read();
        consumers
            .iter()
            .filter(|(_, group)| group.subscriptions.contains_key(topic))
            .map(|(name, _)| name.clone())
            .collect()
    }

    /// One member of a consumer group.
    #[must_use]
    pub fn consumer(&self, group: &str, client_id: &str) -> Option<Member> {
        self.consumers.read().get(group)?.members.values().find(|member| member.client_id == client_id).cloned()
    }

    /// One connected member of a producer group, another one with each turn.
    #[must_use]
    pub fn producer(&self, group: &str, turn: usize) -> Option<Member> {
        let producers = self.producers.read();
        let members = producers.get(group)?;
        let first = turn.checked_rem(members.len())?;
        let mut from_first = members.values().cycle().skip(first).take(members.len());
        from_first.find(|member| !member.peer.is_closed()).cloned()
    }

    /// A connected producer, by the id of its client.
    #[must_use]
    pub fn producer_client(&self, client_id: &str) -> Option<Member> {
        let producers = self.producers.read();
        producers.values().flat_map(HashMap::values).find(|member| member.client_id == client_id).cloned()
    }

    /// Every connected producer as administrators see it, by group.
    #[must_use]
    pub fn producers(&self) -> BTreeMap<String, Vec<ProducerInfo>> {
        let now = now_ms();
        let producers = self.producers.read();
        let shown = producers.iter().map(|(group, members)| {
            (group.clone(), members.values().map(|member| member.producer_info(now)).collect())
        });
        shown.collect()
    }

    /// Whether the group's members subscribe to topics, but not to this one.
    #[must_use]
    pub fn reads_only_others(&self, group: &str, topic: &str) -> bool {
        let consumers = self.consumers.read();
        let subscriptions = consumers.get(group).map(|group| &group.subscriptions);
        subscriptions.is_some_and(|known| !known.is_empty() && !known.contains_key(topic))
    }

    /// Members of a producer group.
    #[must_use]
    pub fn producer_group(&self, name: &str) -> Vec<Member> {
        self.producers.read().get(name).map(|members| members.values().cloned().collect()).unwrap_or_default()
    }
}
