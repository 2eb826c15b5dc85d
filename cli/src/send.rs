//! `orbitmq send`: one message.

use std::io::Read;

use clap::Args;
use orbitmq_common::message::message::Message;
use orbitmq_producer::Producer;
use serde::Serialize;

use crate::failure::Failure;
use crate::report::{Report, pairs};
use crate::session::Session;

/// Longest body that is read from standard input.
const LONGEST: u64 = 16 << 20;

/// Send one message.
#[derive(Debug, Args)]
pub struct Arguments {
    /// Topic to send to.
    topic: String,
    /// The body; "-" reads it from standard input.
    body: String,
    /// A key to find the message by; may be given several times.
    #[arg(long)]
    key: Vec<String>,
    /// A tag that consumers may filter by.
    #[arg(long)]
    tag: Option<String>,
    /// Deliver later: level 1 (one second) to 18 (two hours).
    #[arg(long, value_name = "LEVEL", default_value_t = 0, value_parser = clap::value_parser!(u8).range(0..=18))]
    delay_level: u8,
    /// Messages with the same sharding key go to the same queue, in order.
    #[arg(long, value_name = "KEY")]
    sharding_key: Option<String>,
    /// A property of your own; may be given several times.
    #[arg(long, value_name = "NAME=VALUE", value_parser = property)]
    property: Vec<(String, String)>,
    /// Also write a trace where "mqadmin queryMsgTraceById" looks for it.
    #[arg(long)]
    trace: bool,
}

fn property(text: &str) -> Result<(String, String), String> {
    let pair = text.split_once('=').filter(|(name, value)| !name.is_empty() && !value.is_empty());
    pair.map(|(name, value)| (name.to_owned(), value.to_owned())).ok_or_else(|| "expected name=value".to_owned())
}

#[derive(Debug, Serialize)]
struct Sent {
    message_id: String,
    offset_id: String,
    topic: String,
    broker: String,
    queue: i32,
    offset: i64,
    status: &'static str,
}

/// Sends the message and waits until it is stored.
pub async fn run(arguments: Arguments, session: Session) -> Result<Report, Failure> {
    let body = body(&arguments.body)?;
    let mut message = Message::new(arguments.topic, body).delay_level(arguments.delay_level);
    message.keys = arguments.key;
    message.tag = arguments.tag;
    message.sharding_key = arguments.sharding_key;
    message.properties = arguments.property;
    // Asked first, for its errors name the cure.
    session.masters().await?;
    let builder = Producer::builder().nameservers(session.nameservers()).group("orbitmq-cli");
    let builder = if arguments.trace { builder.trace() } else { builder };
    let producer = builder.build().await?;
    let outcome = producer.send(message).await;
    producer.close().await;
    let receipt = outcome?;
    let sent = Sent {
        message_id: receipt.message_id,
        offset_id: receipt.offset_message_id,
        topic: receipt.topic,
        broker: receipt.broker,
        queue: receipt.queue_id,
        offset: receipt.queue_offset,
        status: "stored",
    };
    let text = pairs([
        ("message id", sent.message_id.clone()),
        ("offset id", sent.offset_id.clone()),
        ("place", format!("{} at {}, queue {} offset {}", sent.topic, sent.broker, sent.queue, sent.offset)),
        ("status", sent.status.to_owned()),
    ]);
    Report::new(&sent, text)
}

fn body(given: &str) -> Result<Vec<u8>, Failure> {
    if given != "-" {
        return Ok(given.as_bytes().to_vec());
    }
    let mut body = Vec::new();
    let read = std::io::stdin().lock().take(LONGEST + 1).read_to_end(&mut body);
    read.map_err(|error| Failure::other(format!("standard input cannot be read: {error}")))?;
    if body.len() as u64 > LONGEST {
        return Err(Failure::other(format!("standard input holds more than {LONGEST} bytes: split the message")));
    }
    Ok(body)
}
