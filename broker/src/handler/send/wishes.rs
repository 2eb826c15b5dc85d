//! What the properties of a message ask for, and the properties that are stored.

use orbitmq_common::clock::now_ms;
use orbitmq_common::message::property;
use orbitmq_common::protocol::code::response;

use crate::broker::Broker;
use crate::refusal::Refusal;
use crate::timer::wish::Wish;

/// What the properties of a message ask for.
#[derive(Default)]
pub(super) struct Wishes {
    pub(super) unique_key: Option<String>,
    pub(super) delay: u32,
    /// When it is due, ms since the epoch; `None`: at once, or as the delay level says.
    pub(super) due: Option<i64>,
    pub(super) no_wait: bool,
    /// Whether it is half of a transaction.
    pub(super) half: bool,
}

impl Wishes {
    /// The key by which the message is known when it is sent again. An empty one tells nothing apart.
    pub(super) fn key(&self) -> Option<&str> {
        self.unique_key.as_deref().filter(|key| !key.is_empty())
    }
}

/// The properties to store, and what they ask for. What is never stored is left out, a missing unique key is added.
pub(super) fn read_properties(broker: &Broker, given: &str) -> Result<(String, Wishes), Refusal> {
    let mut out = String::with_capacity(given.len() + 160);
    let mut wishes = Wishes::default();
    let mut timer = Wish::default();
    for (name, value) in property::iter(given) {
        match name {
            property::UNIQ_KEY => wishes.unique_key = Some(value.to_owned()),
            property::WAIT => wishes.no_wait = value.eq_ignore_ascii_case("false"),
            property::DELAY => {
                wishes.delay = delay_level(broker, value);
                continue;
            }
            property::REAL_TOPIC | property::REAL_QUEUE_ID | property::POP_CK => continue,
            property::MSG_REGION | property::TRACE_ON | property::CLUSTER | property::CRC32 => continue,
            property::TRANSACTION_PREPARED => wishes.half = value.eq_ignore_ascii_case("true"),
            property::TIMER_OUT_MS | property::TIMER_ROLL_TIMES => {
                timer.note(name, value);
                continue;
            }
            property::TIMER_DEL_UNIQKEY => {
                let remark = "a message is taken back with RECALL_MESSAGE (370), not by sending another one";
                return Err(Refusal::new(response::MESSAGE_ILLEGAL, remark));
            }
            _ if timer.note(name, value) => {}
            _ if name.starts_with(property::TRANSIENT_PREFIX) => continue,
            _ => {}
        }
        push(&mut out, name, value);
    }
    // A delay level counts before a time.
    if wishes.delay == 0 {
        wishes.due = due(broker, timer)?;
    }
    if wishes.unique_key.is_none() {
        let key = broker.ids.next_id();
        push(&mut out, property::UNIQ_KEY, &key);
        wishes.unique_key = Some(key);
    }
    Ok((out, wishes))
}

fn due(broker: &Broker, timer: Wish<'_>) -> Result<Option<i64>, Refusal> {
    let settings = &broker.config.timers;
    let due = timer.due(now_ms(), settings.max_delay);
    match due.map_err(|error| Refusal::new(response::MESSAGE_ILLEGAL, error.to_string()))? {
        Some(_) if !settings.enabled => {
            let remark = "this broker takes no messages for a time of their own (timers = false); use a delay level";
            Err(Refusal::new(response::MESSAGE_ILLEGAL, remark))
        }
        due => Ok(due),
    }
}

/// Levels beyond the last one mean the last one.
fn delay_level(broker: &Broker, text: &str) -> u32 {
    let levels = u32::try_from(broker.config.store.delay_levels.len()).unwrap_or(0);
    text.trim().parse::<i64>().map_or(0, |level| u32::try_from(level.max(0)).unwrap_or(u32::MAX).min(levels))
}

/// Adds a property.
pub(super) fn push(out: &mut String, name: &str, value: &str) {
    out.push_str(name);
    out.push(property::NAME_END);
    out.push_str(value);
    out.push(property::VALUE_END);
}
