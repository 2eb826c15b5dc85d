//! Checks of what a route means to clients.

use super::*;

fn answer() -> TopicRoute {
    let broker = |name: &str, addresses: &[(i64, &str)]| BrokerData {
        broker_addrs: addresses.iter().map(|(id, address)| (*id, (*address).to_owned())).collect(),
        broker_name: name.to_owned(),
        cluster: "c".to_owned(),
        enable_acting_master: false,
        zone_name: None,
    };
    let queues = |name: &str, perm, read, write| QueueData {
        broker_name: name.to_owned(),
        perm,
        read_queue_nums: read,
        topic_sys_flag: 0,
        write_queue_nums: write,
    };
    TopicRoute {
        broker_datas: vec![
            broker("b", &[(0, "b0"), (1, "b1")]),
            broker("a", &[(0, "a0")]),
            broker("orphan", &[(1, "o1"), (2, "o2")]),
        ],
        queue_datas: vec![
            queues("orphan", 6, 1, 1),
            queues("b", 6, 2, 1),
            queues("a", 4, 2, 2),
            queues("gone", 6, 9, 9),
        ],
        ..TopicRoute::default()
    }
}

fn names(queues: &[Queue]) -> Vec<String> {
    queues.iter().map(|queue| format!("{}{}", queue.broker, queue.id)).collect()
}

#[test]
fn writing_needs_a_master_and_permission_reading_only_permission() {
    let route = Route::new("t", &answer());
    assert_eq!(names(&route.writable), ["b0"]);
    assert_eq!(names(&route.readable), ["a0", "a1", "b0", "b1", "orphan0"]);
    assert_eq!((route.master("b"), route.master("orphan"), route.master("gone")), (Some("b0"), None, None));
    let orphan = route.broker("orphan").unwrap();
    assert_eq!(orphan.readers(2).collect::<Vec<_>>(), ["o2", "o1"]);
    assert_eq!((orphan.reader(0), orphan.reader(2), orphan.reader(7)), (Some("o1"), Some("o2"), Some("o1")));
}

#[test]
fn a_fixed_layout_overrides_the_writable_queues() {
    let fixed = TopicRoute { order_topic_conf: Some("b:2;a:1;orphan:3;x:9;nonsense".to_owned()), ..answer() };
    assert_eq!(names(&Route::new("t", &fixed).writable), ["b0", "b1", "a0"]);
}

#[test]
fn an_unchanged_route_stays_the_same_one() {
    let table = RouteTable::default();
    let (first, changed) = table.put(Route::new("t", &answer()));
    assert!(changed);
    let (second, changed) = table.put(Route::new("t", &answer()));
    assert!(!changed && Arc::ptr_eq(&first, &second));
    assert_eq!(table.addresses(false), ["a0", "b0"]);
    assert_eq!(table.addresses(true), ["a0", "b0", "b1", "o1", "o2"]);
}
