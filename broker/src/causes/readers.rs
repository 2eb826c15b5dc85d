//! Consumers that are not there, or have not said what they want (24, 25, 206, and 1 for a group without members).

use orbitmq_common::plain::ago;
use orbitmq_common::protocol::code::response;

use crate::broker::Broker;
use crate::refusal::Refusal;

/// Names that a remark lists.
const LISTED: usize = 3;

/// The first of some names, and how many more there are.
fn some(names: &[String]) -> String {
    let shown = names.iter().take(LISTED).map(|name| format!("'{name}'")).collect::<Vec<_>>().join(", ");
    match names.len().saturating_sub(LISTED) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

impl Broker {
    /// Why nobody of a group is connected here.
    #[must_use]
    pub fn nobody_of(&self, group: &str) -> String {
        let cause = match self.members.emptied.since(group) {
            Some(since) => format!("its last member left {}: start its consumers again", ago(since)),
            None if self.groups.get(group).is_some() => {
                "none has sent a heartbeat since this broker's start: start its consumers, or look whether they reach this broker at \
                 the address that name servers tell"
                    .to_owned()
            }
            None => format!("nobody has ever named such a group here{}", {
                orbitmq_common::plain::did_you_mean(self.groups.meant(group).as_deref())
            }),
        };
        format!("no consumer of group '{group}' is connected to this broker: {cause}")
    }

    /// The refusal of what needs a certain member of a group (206).
    #[must_use]
    pub fn not_connected(&self, group: &str, client: &str) -> Refusal {
        let members = self.members.consumer_ids(group);
        let remark = if members.is_empty() {
            self.nobody_of(group)
        } else {
            format!(
                "no consumer '{client}' of group '{group}' is connected to this broker; members are {}: name one of them",
                some(&members)
            )
        };
        Refusal::new(response::CONSUMER_NOT_ONLINE, remark)
    }

    /// The refusal of a pull that relies on a subscription that is not known (24).
    #[must_use]
    pub fn not_subscribed(&self, group: &str, topic: &str) -> Refusal {
        let prefix = format!("group '{group}' has not subscribed to '{topic}' at this broker");
        let remark = match self.members.consumer_group(group) {
            None => format!("{prefix}: {}", self.nobody_of(group)),
            Some(known) => {
                let topics: Vec<String> = known.subscriptions().map(|data| data.topic.clone()).collect();
                let members = known.members().count();
                format!(
                    "{prefix}: its {members} member(s) subscribe to {}; the newest heartbeat counts for all of them, so each must list \
                     the same topics",
                    if topics.is_empty() { "nothing".to_owned() } else { some(&topics) }
                )
            }
        };
        Refusal::new(response::SUBSCRIPTION_NOT_EXIST, remark)
    }

    /// The refusal of a pull by a newer subscription than the one known (25): clients send a heartbeat then.
    #[must_use]
    pub fn subscription_is_older(&self, group: &str, topic: &str, known: i64, asked: i64) -> Refusal {
        let remark = format!(
            "the subscription of group '{group}' to '{topic}' known here (version {known}) is older than the reader's ({asked}): send a \
             heartbeat; if that does not help, another member of the group goes on with the old one"
        );
        Refusal::new(response::SUBSCRIPTION_NOT_LATEST, remark)
    }
}
