//! Sends a message to the new master by way of the name servers, as any client would, and reads it back.

use std::time::Duration;

use orbitmq_common::clock::now_ms;
use orbitmq_common::message::message::{Message, decode_all};
use orbitmq_common::name::DEFAULT_TOPIC;
use orbitmq_common::protocol::body::route::perm;
use orbitmq_common::protocol::code::{request, response};
use orbitmq_common::protocol::header::admin::{CreateTopicRequest, TopicRequest};
use orbitmq_common::protocol::header::nameserver::NameServerTopicRequest;
use orbitmq_producer::Producer;

use super::copy;
use super::pair::Pair;
use crate::failure::Failure;
use crate::session::Question;

const TOPIC: &str = "orbitmq-migrate-probe";
/// How long name servers may take to tell of the topic, and the broker to hand out the message.
const WITHIN: Duration = Duration::from_secs(10);
const LOOK_AGAIN: Duration = Duration::from_millis(20);
const LARGEST_BODY: usize = 1 << 20;

/// Sends and reads. The topic is there only meanwhile.
///
/// # Errors
/// Something of it does not work.
pub async fn run(pair: &Pair<'_>) -> Result<(), Failure> {
    let fields = CreateTopicRequest {
        topic: TOPIC.into(),
        default_topic: DEFAULT_TOPIC.into(),
        read_queue_nums: 1,
        write_queue_nums: 1,
        perm: perm::READ | perm::WRITE,
        ..CreateTopicRequest::default()
    };
    pair.session.broker(&pair.new, &Question::new(request::UPDATE_AND_CREATE_TOPIC, &fields)).await?;
    let probed = match tokio::time::timeout(WITHIN, send_and_read(pair)).await {
        Ok(probed) => probed,
        Err(_) => Err(Failure::other(format!("no message went through the new master within {WITHIN:?}"))),
    };
    let fields = TopicRequest { topic: TOPIC.into() };
    pair.session.broker(&pair.new, &Question::new(request::DELETE_TOPIC_IN_BROKER, &fields)).await?;
    let fields = NameServerTopicRequest { topic: TOPIC.into(), cluster_name: None };
    pair.session.all_nameservers(&Question::new(request::DELETE_TOPIC_IN_NAMESRV, &fields)).await?;
    probed
}

async fn send_and_read(pair: &Pair<'_>) -> Result<(), Failure> {
    loop {
        match pair.session.route(TOPIC).await {
            Ok(route) if !route.queue_datas.is_empty() => break,
            Ok(_) => {}
            Err(failure) if failure.code() == Some(response::TOPIC_NOT_EXIST) => {}
            Err(failure) => return Err(failure),
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
    let body = format!("probe of {} at {}", pair.new, now_ms());
    let producer = Producer::builder().nameservers(pair.session.nameservers()).group("orbitmq-cli").build().await?;
    let sent = producer.send(Message::new(TOPIC, body.clone())).await;
    producer.close().await;
    let sent = sent?;
    loop {
        let answer = copy::pull_from(pair, &pair.new, TOPIC, sent.queue_id, sent.queue_offset).await?;
        if answer.code == response::SUCCESS {
            let read = decode_all(&answer.body, LARGEST_BODY).next();
            return match read {
                Some(Ok(message)) if message.body == body.as_bytes() => Ok(()),
                other => Err(Failure::answer(&pair.new, format!("another message than was sent: {other:?}"))),
            };
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
}
