//! Each cause of a missing route is named, and none for another.

use std::net::{IpAddr, Ipv4Addr};

use orbitmq_common::net::network::Addresses;
use orbitmq_common::protocol::body::topic::{TopicConfig, TopicTable};

use super::*;
use crate::routes::RouteTable;
use crate::routes::members::Identity;
use crate::routes::registration::Registration;

const SECOND: Duration = Duration::from_secs(1);

fn enters(table: &RouteTable, name: &str, addr: &str, topics: &[(&str, i32)], connection: u64, now: Instant) -> bool {
    let mut all = TopicTable::default();
    for (topic, perm) in topics {
        all.topic_config_table.insert((*topic).to_owned(), TopicConfig::new(*topic, 4, *perm));
    }
    let registration = Registration {
        who: Identity { cluster: "c", name, addr, id: 0 },
        ha_addr: "ha:1",
        zone: None,
        lease: Some(5 * SECOND),
        acting: None,
        topics: &all,
        forget_unnamed: false,
        connection,
        from: IpAddr::V4(Ipv4Addr::LOCALHOST),
        networks: &Addresses::default(),
    };
    table.register(&registration, now).is_ok()
}

fn said(table: &RouteTable, topic: &str, now: Instant) -> String {
    table.absence(topic, now).to_string()
}

#[test]
fn without_brokers_the_reason_for_that_is_named() {
    let (table, now) = (RouteTable::default(), Instant::now());
    assert!(said(&table, "T", now + SECOND).contains("has just started (1s ago)"));
    let late = said(&table, "T", now + 90 * SECOND);
    assert!(late.contains("none has registered since this name server started 90s ago"), "{late}");
    assert!(late.contains("'nameserver' setting"), "{late}");
    assert!(!enters(&table, "a", "h:1", &[("T", 6)], 1, now), "one topic, as an update names them");
    let refused = said(&table, "T", now + 5 * SECOND);
    assert!(refused.contains("one was refused 5s ago: 'a' with id 0 at h:1: register broker failed"), "{refused}");
}

#[test]
fn topics_whose_brokers_left_name_them_and_why() {
    let (table, now) = (RouteTable::default(), Instant::now());
    let topics = [("T", 6), ("U", 6)];
    assert!(enters(&table, "a", "h:1", &topics, 1, now));
    table.expire(now + 6 * SECOND);
    let silent = said(&table, "T", now + 10 * SECOND);
    assert!(
        silent.contains("broker 'a' at h:1 left 4s ago: it gave no sign of life within its lease of 5s"),
        "{silent}"
    );
    let other = said(&table, "V", now + 10 * SECOND);
    assert!(other.contains("no broker is registered here at all; broker 'a' at h:1 left 4s ago"), "{other}");

    assert!(enters(&table, "a", "h:1", &topics, 2, now));
    assert_eq!(table.disconnect(2), ["h:1"]);
    assert!(said(&table, "T", Instant::now()).contains("its connection to this name server ended"));
    assert!(enters(&table, "a", "h:1", &topics, 3, now));
    table.unregister("a", "h:1");
    assert!(said(&table, "T", Instant::now()).contains("it was stopped"));
    assert!(enters(&table, "a", "h:1", &topics, 3, now));
    assert!(enters(&table, "b", "h:1", &[("V", 6), ("W", 6)], 3, now));
    let renamed = said(&table, "T", now);
    assert!(renamed.contains("it came back under the name 'b'") && renamed.contains("1 other broker"), "{renamed}");
}

#[test]
fn topics_that_nobody_ever_had_are_told_from_deleted_ones() {
    let (table, now) = (RouteTable::default(), Instant::now());
    let late = now + 60 * SECOND;
    assert!(enters(&table, "a", "h:1", &[("Orders", 6), (DEFAULT_TOPIC, 7)], 1, now));
    let case = said(&table, "orders", late);
    assert!(case.contains("never created") && case.contains("did you mean 'Orders'?"), "{case}");
    assert!(case.contains("or send to it first") && !case.contains("only"), "{case}");
    assert!(said(&table, "payments", now + SECOND).contains("started only 1s ago"));
    assert!(enters(&table, "a", "h:1", &[("Orders", 6), (DEFAULT_TOPIC, 6)], 1, now));
    let known = said(&table, "payments", late);
    assert!(known.contains("or send to it first") && !known.contains("mean"), "the version is the same: {known}");

    assert!(table.delete_topic("Orders", None));
    let deleted = said(&table, "Orders", Instant::now() + 60 * SECOND);
    assert!(deleted.starts_with("it was deleted 60s ago"), "{deleted}");
    assert!(said(&table, "no such", late).contains("holds ' '"));
    assert!(said(&table, "%RETRY%stock", late).contains("no consumer of group 'stock'"));
    assert!(said(&table, "%DLQ%stock", late).contains("group 'stock' has no dead letters"));
}

#[test]
fn where_sending_creates_nothing_the_remark_says_so() {
    let (table, now) = (RouteTable::default(), Instant::now());
    for topics in [[("Orders", 6), (DEFAULT_TOPIC, 6)], [("Orders", 6), ("Others", 6)]] {
        assert!(enters(&table, "a", "h:1", &topics, 1, now));
        let closed = said(&table, "payments", now);
        assert!(closed.contains("sending does not create topics here (auto_create_topics"), "{closed}");
    }
}
