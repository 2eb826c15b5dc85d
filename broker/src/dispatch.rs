//! Hands each request to its handler.

use std::sync::Arc;

use orbitmq_common::net::connection::{Handler, Outcome};
use orbitmq_common::net::peer::Peer;
use orbitmq_common::protocol::code::{request, response};
use orbitmq_common::protocol::frame::Frame;

use crate::broker::Broker;
use crate::handler::admin::{
    clean, clone, correction, entries, figures, forbidden, group, lag, producers, progress, replication, settings,
    status, subscription, system, timers, topic, traffic,
};
use crate::handler::{
    ack, assignment, end_transaction, heartbeat, invisible, lock, metadata, notification, offset, peek, pop, pull,
    query, recall, relay, reply, resume_check, send, send_back,
};
use crate::refusal::Refusal;

/// Handles the requests of all connections.
pub struct Dispatch {
    broker: Arc<Broker>,
}

impl Dispatch {
    /// For a broker.
    #[must_use]
    pub fn new(broker: Arc<Broker>) -> Self {
        Self { broker }
    }

    fn outcome(&self, peer: &Arc<Peer>, frame: &Frame) -> Result<Outcome, Refusal> {
        let broker = &self.broker;
        if is_for_masters(frame.code) && !broker.role.is_master() {
            return Err(broker.not_master());
        }
        if matches!(frame.code, request::PULL_MESSAGE | request::LITE_PULL_MESSAGE) && !broker.role.is_readable() {
            let remark =
                "this broker does not know yet which of its messages will stay: read from the master, or try again";
            return Err(Refusal::new(response::SERVICE_NOT_AVAILABLE, remark));
        }
        match frame.code {
            request::PULL_MESSAGE | request::LITE_PULL_MESSAGE => return Ok(pull::call(broker, frame)),
            request::UPDATE_CONSUMER_OFFSET => return offset::update(broker, frame),
            request::GET_MAX_OFFSET => return offset::max(broker, frame),
            request::QUERY_MESSAGE => return query::query(broker, frame),
            request::RECALL_MESSAGE => return recall::call(broker, peer, frame),
            request::CONSUMER_SEND_MSG_BACK => return send_back::call(broker, frame),
            request::END_TRANSACTION => return end_transaction::call(broker, frame),
            request::RESUME_CHECK_HALF_MESSAGE => return resume_check::call(broker, frame),
            request::POP_MESSAGE => return pop::call(broker, frame),
            request::ACK_MESSAGE => return ack::call(broker, frame),
            request::BATCH_ACK_MESSAGE => return ack::batch(broker, frame),
            request::CHANGE_MESSAGE_INVISIBLETIME => return invisible::call(broker, frame),
            request::NOTIFICATION => return notification::call(broker, frame),
            request::QUERY_ASSIGNMENT => return assignment::query(broker, frame),
            request::SET_MESSAGE_REQUEST_MODE => return assignment::set(broker, frame),
            request::SEND_REPLY_MESSAGE | request::SEND_REPLY_MESSAGE_V2 => return reply::call(broker, peer, frame),
            request::GET_CONSUMER_RUNNING_INFO => return relay::running_info(broker, frame),
            request::CONSUME_MESSAGE_DIRECTLY => return relay::consume_directly(broker, frame),
            request::UPDATE_AND_CREATE_TOPIC => return topic::create(broker, frame),
            request::UPDATE_AND_CREATE_TOPIC_LIST => return topic::create_list(broker, frame),
            request::DELETE_TOPIC_IN_BROKER => return topic::delete(broker, frame),
            request::UPDATE_AND_CREATE_SUBSCRIPTIONGROUP => return group::create(broker, frame),
            request::UPDATE_AND_CREATE_SUBSCRIPTIONGROUP_LIST => return group::create_list(broker, frame),
            request::DELETE_SUBSCRIPTIONGROUP => return group::delete(broker, frame),
            request::UPDATE_AND_GET_GROUP_FORBIDDEN => return forbidden::call(broker, frame),
            request::CLONE_GROUP_OFFSET => return clone::call(broker, frame),
            request::INVOKE_BROKER_TO_GET_CONSUMER_STATUS => return status::call(broker, frame),
            request::UPDATE_BROKER_CONFIG => return settings::update(broker, frame),
            request::CLEAN_EXPIRED_CONSUMEQUEUE => return Ok(clean::queues(broker, frame)),
            request::CLEAN_UNUSED_TOPIC => return Ok(clean::topics(broker, frame)),
            request::DELETE_EXPIRED_COMMITLOG => return Ok(clean::log(broker, frame)),
            request::FOLLOW_METADATA => return metadata::follow(broker, frame),
            request::INVOKE_BROKER_TO_RESET_OFFSET => return progress::reset(broker, frame),
            request::PROMOTE => return replication::promote(broker, frame),
            _ => {}
        }
        self.answer(peer, frame).map(Outcome::Answer)
    }

    fn answer(&self, peer: &Arc<Peer>, frame: &Frame) -> Result<Frame, Refusal> {
        let broker = self.broker.as_ref();
        match frame.code {
            request::QUERY_CONSUMER_OFFSET => offset::query(broker, frame),
            request::GET_MIN_OFFSET => offset::min(broker, frame),
            request::GET_EARLIEST_MSG_STORETIME => offset::earliest(broker, frame),
            request::SEARCH_OFFSET_BY_TIMESTAMP => offset::search(broker, frame),
            request::HEART_BEAT => heartbeat::beat(broker, peer, frame),
            request::UNREGISTER_CLIENT => heartbeat::leave(broker, peer, frame),
            request::GET_CONSUMER_LIST_BY_GROUP => heartbeat::list(broker, frame),
            request::CHECK_CLIENT_CONFIG => heartbeat::check(broker, frame),
            request::LOCK_BATCH_MQ => lock::lock(broker, frame),
            request::UNLOCK_BATCH_MQ => lock::unlock(broker, frame),
            request::VIEW_MESSAGE_BY_ID => query::view(broker, frame),
            request::GET_ALL_TOPIC_CONFIG => topic::list(broker, frame),
            request::GET_TOPIC_CONFIG => topic::one(broker, frame),
            request::GET_TOPIC_STATS_INFO => topic::figures(broker, frame),
            request::QUERY_TOPIC_CONSUME_BY_WHO => topic::readers(broker, frame),
            request::GET_ALL_SUBSCRIPTIONGROUP_CONFIG => group::list(broker, frame),
            request::GET_SUBSCRIPTIONGROUP_CONFIG => group::one(broker, frame),
            request::GET_CONSUMER_CONNECTION_LIST => group::consumers(broker, frame),
            request::GET_PRODUCER_CONNECTION_LIST => group::producers(broker, frame),
            request::GET_ALL_PRODUCER_INFO => Ok(producers::call(broker, frame)),
            request::GET_CONSUME_STATS => progress::figures(broker, frame),
            request::GET_BROKER_CONSUME_STATS => lag::all(broker, frame),
            request::QUERY_CONSUME_TIME_SPAN => lag::in_time(broker, frame),
            request::QUERY_CORRECTION_OFFSET => correction::call(broker, frame),
            request::QUERY_CONSUME_QUEUE => entries::call(broker, frame),
            request::QUERY_TOPICS_BY_CONSUMER => subscription::topics(broker, frame),
            request::QUERY_SUBSCRIPTION_BY_CONSUMER => subscription::one(broker, frame),
            request::GET_SYSTEM_TOPIC_LIST_FROM_BROKER => Ok(system::call(broker, frame)),
            request::VIEW_BROKER_STATS_DATA => traffic::call(broker, frame),
            request::GET_ALL_CONSUMER_OFFSET => Ok(progress::all(broker, frame)),
            request::GET_ALL_DELAY_OFFSET => Ok(progress::delay(broker, frame)),
            request::GET_TIMER_CHECK_POINT => Ok(timers::checkpoint(broker, frame)),
            request::GET_TIMER_METRICS => Ok(timers::metrics(frame)),
            request::GET_ALL_MESSAGE_REQUEST_MODE => Ok(assignment::all(broker, frame)),
            request::PEEK_MESSAGE => peek::call(broker, frame),
            request::POLLING_INFO => notification::info(broker, frame),
            request::GET_BROKER_RUNTIME_INFO => Ok(figures::runtime(broker, frame)),
            request::GET_BROKER_CONFIG => Ok(settings::get(broker, frame)),
            request::GET_BROKER_HA_STATUS => Ok(replication::status(broker, frame)),
            request::HELLO => Ok(broker.advertised.answer_hello(frame)),
            code => {
                let name = request::name(code).unwrap_or("unknown");
                let remark = format!(
                    "request kind {code} ({name}) is not understood by this broker: it is meant for a name server or a newer broker, or \
                     the feature is not there (docs/differences.md)"
                );
                Err(Refusal::new(response::REQUEST_CODE_NOT_SUPPORTED, remark))
            }
        }
    }
}

impl Handler for Dispatch {
    fn call(&self, peer: &Arc<Peer>, frame: Frame) -> Outcome {
        match frame.code {
            request::SEND_MESSAGE | request::SEND_MESSAGE_V2 | request::SEND_BATCH_MESSAGE => {
                send::call(&self.broker, peer, frame)
            }
            _ => self.outcome(peer, &frame).unwrap_or_else(|refusal| Outcome::Answer(refusal.answer(&frame))),
        }
    }

    fn closed(&self, peer: &Arc<Peer>) {
        // Before the others hear of it and ask for them.
        for (group, client) in self.broker.members.only_by(peer) {
            self.broker.locks.release(&group, &client);
        }
        self.broker.members.gone(peer);
    }
}

/// What changes more than a slave may change: settings, and who holds a queue. Sends look for themselves; offsets of groups are
/// stored at slaves too, while their master is away.
fn is_for_masters(code: i32) -> bool {
    matches!(
        code,
        request::UPDATE_AND_CREATE_TOPIC
            | request::UPDATE_AND_CREATE_TOPIC_LIST
            | request::DELETE_TOPIC_IN_BROKER
            | request::UPDATE_AND_CREATE_SUBSCRIPTIONGROUP
            | request::UPDATE_AND_CREATE_SUBSCRIPTIONGROUP_LIST
            | request::DELETE_SUBSCRIPTIONGROUP
            | request::UPDATE_AND_GET_GROUP_FORBIDDEN
            | request::CLONE_GROUP_OFFSET
            | request::CLEAN_UNUSED_TOPIC
            | request::INVOKE_BROKER_TO_RESET_OFFSET
            | request::SET_MESSAGE_REQUEST_MODE
            | request::ACK_MESSAGE
            | request::BATCH_ACK_MESSAGE
            | request::CHANGE_MESSAGE_INVISIBLETIME
            | request::LOCK_BATCH_MQ
            | request::UNLOCK_BATCH_MQ
    )
}
