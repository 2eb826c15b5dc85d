//! Checks of choosing queues.

use std::collections::HashMap;

use orbitmq_common::protocol::body::route::{BrokerData, QueueData, TopicRoute};

use super::*;

fn route(brokers: &[&str], queues: i32) -> Route {
    let mut answer = TopicRoute::default();
    for name in brokers {
        answer.broker_datas.push(BrokerData {
            broker_addrs: [(0, format!("{name}:1"))].into(),
            broker_name: (*name).to_owned(),
            cluster: "c".to_owned(),
            enable_acting_master: false,
            zone_name: None,
        });
        answer.queue_datas.push(QueueData {
            broker_name: (*name).to_owned(),
            perm: 6,
            read_queue_nums: queues,
            topic_sys_flag: 0,
            write_queue_nums: queues,
        });
    }
    Route::new("t", &answer)
}

#[test]
fn keys_go_where_java_sends_them() {
    let place = |key: &str, count| by_hash(&route(&["b"], count).writable, key).unwrap().id;
    for (key, of_four, of_seven) in [
        ("order-7", 0, 0),
        ("", 0, 0),
        ("a", 1, 6),
        ("polygenelubricants", 0, 0),
        ("ключ", 2, 4),
        ("user-123456", 1, 4),
    ] {
        assert_eq!((place(key, 4), place(key, 7)), (of_four, of_seven), "{key}");
    }
    assert!(by_hash(&[], "a").is_none());
}

#[test]
fn turns_are_even_and_go_around_brokers_that_fail() {
    let (route, avoided) = (route(&["a", "b", "c"], 2), Avoided::default());
    let mut taken: HashMap<Queue, usize> = HashMap::new();
    for _ in 0..600 {
        *taken.entry(Choice::Turn.pick(&route, &avoided, None).unwrap()).or_default() += 1;
    }
    assert_eq!((taken.len(), taken.values().all(|count| *count == 100)), (6, true));
    avoided.failed(&"a".into());
    for _ in 0..20 {
        assert_eq!(Choice::Turn.pick(&route, &avoided, Some("b")).unwrap().broker.as_ref(), "c");
        assert_ne!(Choice::Turn.pick(&route, &avoided, None).unwrap().broker.as_ref(), "a");
    }
    for broker in ["b", "c"] {
        avoided.failed(&broker.into());
    }
    assert_ne!(Choice::Turn.pick(&route, &avoided, Some("c")).unwrap().broker.as_ref(), "c");
}

#[test]
fn the_only_broker_is_used_whatever_it_did() {
    let (route, avoided) = (route(&["a"], 2), Avoided::default());
    avoided.failed(&"a".into());
    assert!(Choice::Turn.pick(&route, &avoided, Some("a")).is_some());
    let other = Queue { broker: "z".into(), id: 0 };
    assert!(Choice::Fixed(other).pick(&route, &avoided, None).is_none());
    assert!(Choice::Turn.pick(&self::route(&[], 2), &avoided, None).is_none());
}

#[test]
fn consistent_hashing_moves_few_keys() {
    let (before, after) = (route(&["a", "b", "c", "d"], 2).writable, route(&["a", "b", "c"], 2).writable);
    let mut counts: HashMap<Queue, usize> = HashMap::new();
    for n in 0..8000 {
        let message = Message::new("t", "").sharding_key(format!("key-{n}"));
        let (old, new) =
            (ConsistentHash.choose(&before, &message).unwrap(), ConsistentHash.choose(&after, &message).unwrap());
        assert!(old == new || old.broker.as_ref() == "d");
        *counts.entry(old).or_default() += 1;
    }
    assert!(counts.values().all(|count| (700..1300).contains(count)), "{counts:?}");
}
