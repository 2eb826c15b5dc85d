//! What an administrator has closed (16): topics, groups, the broker. Clients of ours read these remarks for signs of a change of
//! masters, so none of those words is here.

use orbitmq_common::protocol::body::route::perm;
use orbitmq_common::protocol::body::topic::TopicConfig;
use orbitmq_common::protocol::code::response;

use crate::refusal::Refusal;

/// What somebody wants to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Get messages.
    Read,
    /// Send messages.
    Write,
}

impl Access {
    fn bit(self) -> i32 {
        if self == Self::Read { perm::READ } else { perm::WRITE }
    }

    fn word(self) -> &'static str {
        if self == Self::Read { "readable" } else { "writable" }
    }
}

/// Permission bits in words.
fn words(bits: i32) -> &'static str {
    match (bits & perm::READ != 0, bits & perm::WRITE != 0) {
        (true, true) => "open to readers and writers",
        (true, false) => "open to readers alone",
        (false, true) => "open to writers alone",
        (false, false) => "closed to everybody",
    }
}

/// Whether a topic's own permission allows it.
///
/// # Errors
/// It does not.
pub fn topic(config: &TopicConfig, access: Access) -> Result<(), Refusal> {
    if config.perm & access.bit() != 0 {
        return Ok(());
    }
    let (topic, bits) = (&config.topic_name, config.perm);
    let remark = format!(
        "topic '{topic}' is not {} at this broker (perm {bits}: {}); an administrator has closed it: open it with 'orbitmq topic create \
         {topic} --perm rw' or updateTopicPerm",
        access.word(),
        words(bits)
    );
    Err(Refusal::new(response::NO_PERMISSION, remark))
}

/// Whether the broker as a whole may be read.
///
/// # Errors
/// It may not.
pub fn broker(bits: i32) -> Result<(), Refusal> {
    if bits & perm::READ != 0 {
        return Ok(());
    }
    let remark = format!(
        "this broker as a whole is not readable (brokerPermission = {bits}: {}), whatever its topics allow; an administrator has closed \
         it: set brokerPermission = 6 with updateBrokerConfig",
        words(bits)
    );
    Err(Refusal::new(response::NO_PERMISSION, remark))
}

/// A group that is stopped.
#[must_use]
pub fn stopped(group: &str) -> Refusal {
    let remark = format!(
        "group '{group}' may not consume (consumeEnable = false); an administrator has stopped it: let it with 'orbitmq group create \
         {group}' or updateSubGroup"
    );
    Refusal::new(response::NO_PERMISSION, remark)
}

/// A group that may read other topics, but not this one.
#[must_use]
pub fn forbidden(group: &str, topic: &str) -> Refusal {
    let remark = format!(
        "group '{group}' may not read topic '{topic}', though it may read others; an administrator has forbidden this one \
         (updateAndGetGroupForbidden takes that back)"
    );
    Refusal::new(response::NO_PERMISSION, remark)
}

/// A group whose members may not each get all messages.
#[must_use]
pub fn broadcasting(group: &str) -> Refusal {
    let remark = format!(
        "group '{group}' may not broadcast (consumeBroadcastEnable = false): consume in clustering mode, or allow it with updateSubGroup"
    );
    Refusal::new(response::NO_PERMISSION, remark)
}
