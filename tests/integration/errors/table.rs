//! Codes, their causes, and the words by which a remark names each.

use orbitmq_common::protocol::frame::Frame;

/// Code, cause as `docs/errors.md` has it, words of the remark.
pub const TABLE: &[(i32, &str, &str)] = &[
    (1, "nobody of the group was ever connected", "none has sent a heartbeat since this broker's start"),
    (1, "the last member left", "its last member left"),
    (1, "no such group", "nobody has ever named such a group here"),
    (1, "the message is deleted", "retention lets the oldest go"),
    (1, "the id is another broker's", "is not acknowledged yet"),
    (2, "the disk stands still", "the disk is slow: the flush at hand takes"),
    (2, "more arrives than the disk takes", "more arrives than the disk takes"),
    (2, "too many half messages", "half messages are open"),
    (10, "the disk is too slow", "the disk has not stored it within"),
    (12, "a slave is behind", "not every slave of the in-sync set has confirmed it"),
    (13, "no body", "has no body"),
    (13, "the body is too large", "max_message_size"),
    (13, "the properties are too long", "is the most a record holds"),
    (13, "the batch does not parse", "the batch does not parse"),
    (14, "the disk is full", "the disk is full"),
    (14, "a write or a flush has failed", "closed for writing until a restart has recovered"),
    (14, "too few copies", "copies are in sync (min_in_sync)"),
    (14, "a slave was asked", "this broker is not master of"),
    (16, "the topic is closed to writers", "is not writable at this broker"),
    (16, "the topic is closed to readers", "is not readable at this broker"),
    (16, "the broker is closed to readers", "this broker as a whole is not readable"),
    (16, "the group is stopped", "consumeEnable = false"),
    (16, "the group may not read the topic", "though it may read others"),
    (16, "the group may not broadcast", "consumeBroadcastEnable = false"),
    (16, "the topic is the system's", "belongs to the system"),
    (16, "members subscribe differently", "subscription_conflicts = refuse"),
    (16, "no transactions", "reject_transactions"),
    (17, "deleted", "it was deleted"),
    (17, "never created", "never created"),
    (17, "another topic is meant", "did you mean"),
    (17, "sending creates no topics", "auto_create_topics"),
    (17, "no template is named", "names no topic to take settings from"),
    (17, "no broker is registered", "no broker is registered here at all"),
    (17, "its broker is silent", "no sign of life"),
    (17, "its broker's connection ended", "its connection to this name server ended"),
    (17, "its broker was stopped", "it was stopped"),
    (17, "the name is impossible", "no topic can have this name"),
    (17, "no consumer of its group yet", "has sent a heartbeat to a broker yet"),
    (20, "a slave has not copied that far", "this slave has offsets"),
    (21, "the offset is deleted", "what was before it is deleted"),
    (21, "the offset is none", "which is none"),
    (21, "the topic was created anew", "and created anew since"),
    (21, "the offset is another store's", "store was lost or set back"),
    (21, "an administrator has reset it", "an administrator has reset"),
    (22, "the queue is new to the group", "so this one is new to it"),
    (22, "the group never read the topic", "so it has never read this one"),
    (22, "the group never stored an offset", "it has never stored an offset"),
    (22, "there is no such topic", "does not exist at this broker"),
    (22, "the time is deleted", "all that was stored before"),
    (22, "no message has the key", "correct the key or the time"),
    (22, "no such setting", "No config item"),
    (23, "the filter does not parse", "expected"),
    (24, "nobody of the group is connected", "is connected to this broker"),
    (24, "members subscribe to other topics", "member(s) subscribe to"),
    (25, "the reader's subscription is newer", "is older than the reader's"),
    (26, "the group was deleted", "it was deleted"),
    (26, "the group was never created", "it was never created here"),
    (26, "another group is meant", "did you mean"),
    (29, "no such queue", "the route it was chosen by is old"),
    (206, "another client is connected", "members are"),
    (206, "no client is connected", "none has sent a heartbeat"),
];

/// Checks that an answer has this code, and that its remark names these of the code's causes and no others.
pub fn names(answer: &Frame, code: i32, causes: &[&str]) {
    let remark = answer.remark.as_deref().unwrap_or_default();
    assert_eq!(answer.code, code, "{remark}");
    assert!(remark.len() < 2048, "a remark has bounds: {remark}");
    let of_code: Vec<_> = TABLE.iter().filter(|(of, _, _)| *of == code).collect();
    for cause in causes {
        assert!(of_code.iter().any(|(_, known, _)| known == cause), "{code} has no cause '{cause}' in the table");
    }
    for (_, cause, words) in of_code {
        assert_eq!(remark.contains(words), causes.contains(cause), "{code} '{cause}': {remark}");
    }
}

#[test]
fn the_page_about_errors_has_every_cause() {
    let page = include_str!("../../../docs/errors.md");
    for (code, cause, _) in TABLE {
        let row = page.lines().any(|line| line.starts_with(&format!("| {code} |")) && line.contains(cause));
        assert!(row, "docs/errors.md has no row for {code} '{cause}'");
    }
}
