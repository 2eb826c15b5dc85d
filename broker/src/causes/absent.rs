//! Topics, groups and queues that are not there.

use orbitmq_common::plain::{ago, did_you_mean};
use orbitmq_common::protocol::body::topic::TopicConfig;
use orbitmq_common::protocol::code::response;

use crate::broker::Broker;
use crate::refusal::Refusal;

impl Broker {
    /// The refusal of what needs a topic that is not here (17). `cure`: what to do if it should be.
    #[must_use]
    pub fn no_topic(&self, topic: &str, cure: &str) -> Refusal {
        let cause = match self.topics.removed.since(topic) {
            Some(since) => format!("it was deleted {}", ago(since)),
            None if self.is_slave() => {
                "this broker is a slave, and its master has not told it of such a topic".to_owned()
            }
            None => format!("it was never created here{}", did_you_mean(self.topics.meant(topic).as_deref())),
        };
        let broker = &self.config.name;
        let remark = format!("topic '{topic}' does not exist at this broker ('{broker}'): {cause}; {cure}");
        Refusal::new(response::TOPIC_NOT_EXIST, remark)
    }

    /// The refusal of what needs a group that is not here (26). `how`: in what way the group was named, such as 'pulling'.
    #[must_use]
    pub fn no_group(&self, group: &str, how: &str) -> Refusal {
        let cause = match self.groups.removed.since(group) {
            Some(since) => format!("it was deleted {}", ago(since)),
            None => format!("it was never created here{}", did_you_mean(self.groups.meant(group).as_deref())),
        };
        let creates = if self.tuned.auto_create_groups() {
            "start its consumers, or create it with 'orbitmq group create' or updateSubGroup"
        } else {
            "(auto_create_groups = false) create it with 'orbitmq group create' or updateSubGroup"
        };
        let broker = &self.config.name;
        let remark = format!(
            "group '{group}' does not exist at this broker ('{broker}') and is not created by {how}: {cause}; {creates}"
        );
        Refusal::new(response::SUBSCRIPTION_GROUP_NOT_EXIST, remark)
    }
}

/// What is said of a queue number that a topic does not have.
#[must_use]
pub fn no_queue(config: &TopicConfig, queue: i32, count: i32, what: &str) -> String {
    let topic = &config.topic_name;
    if count <= 0 {
        return format!(
            "topic '{topic}' has no queue {what} here at all: give it some with 'orbitmq topic create {topic} --queues'"
        );
    }
    format!(
        "topic '{topic}' has no queue {queue} {what} here, only 0 to {}: the route it was chosen by is old or another broker's; ask \
         a name server for the route again, or give the topic more queues",
        count - 1
    )
}
