//! The rules of registration, one by one.

use std::sync::OnceLock;

use orbitmq_common::net::network::Addresses;
use orbitmq_common::protocol::body::topic::{TopicConfig, TopicTable};
use proptest::prelude::*;

use super::*;
use crate::routes::queues::queue_data;

const CONNECTION: u64 = 7;
const ASKER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 168, 0, 9));

/// No addresses for certain networks.
static ALIKE: OnceLock<Addresses> = OnceLock::new();

fn topics(counter: i64, names: &[&str]) -> TopicTable {
    let mut table = TopicTable::default();
    table.data_version.counter = counter;
    for name in names {
        table.topic_config_table.insert((*name).to_owned(), TopicConfig::new(*name, 4, perm::READ | perm::WRITE));
    }
    table
}

fn who(id: i64, addr: &'static str) -> Identity<'static> {
    Identity { cluster: "c", name: "b0", addr, id }
}

fn registration<'a>(who: Identity<'a>, topics: &'a TopicTable) -> Registration<'a> {
    Registration {
        who,
        ha_addr: "ha:1",
        zone: None,
        lease: None,
        acting: None,
        topics,
        forget_unnamed: false,
        connection: CONNECTION,
        from: ASKER,
        networks: ALIKE.get_or_init(Addresses::default),
    }
}

fn perms(table: &RouteTable, topic: &str) -> Vec<i32> {
    table.route(topic, false, ASKER).unwrap().route.queue_datas.iter().map(|queue| queue.perm).collect()
}

#[test]
fn a_master_is_routed_and_its_slave_learns_of_it() {
    let (table, now) = (RouteTable::default(), Instant::now());
    let all = topics(1, &["A", "B"]);
    assert_eq!(table.register(&registration(who(0, "m:1"), &all), now), Ok(Registered::default()));
    let slave = table.register(&registration(who(1, "s:1"), &all), now).unwrap();
    assert_eq!((slave.master_addr.as_deref(), slave.ha_addr.as_deref()), (Some("m:1"), Some("ha:1")));
    let route = table.route("A", false, ASKER).unwrap().route;
    assert_eq!(route.queue_datas.len(), 1);
    assert_eq!(route.broker_datas[0].broker_addrs.len(), 2);
    assert_eq!(table.route("C", false, ASKER), None);
    assert_eq!(table.topics().topic_list, ["A", "B"]);
}

#[test]
fn a_newcomer_with_a_single_topic_is_refused_and_a_known_broker_is_not() {
    let (table, now) = (RouteTable::default(), Instant::now());
    let (single, all) = (topics(2, &["C"]), topics(1, &["A", "B"]));
    let refused = table.register(&registration(who(0, "m:1"), &single), now);
    assert!(matches!(refused, Err(RegisterError::SingleTopic { .. })));
    assert_eq!(table.broker_count(), 0);
    table.register(&registration(who(0, "m:1"), &all), now).unwrap();
    table.register(&registration(who(0, "m:1"), &single), now).unwrap();
    assert_eq!(table.topics().topic_list, ["A", "B", "C"], "an update adds and deletes nothing");
}

#[test]
fn unnamed_topics_are_forgotten_on_request() {
    let (table, now) = (RouteTable::default(), Instant::now());
    table.register(&registration(who(0, "m:1"), &topics(1, &["A", "B"])), now).unwrap();
    let fewer = topics(2, &["B", "C"]);
    table.register(&Registration { forget_unnamed: true, ..registration(who(0, "m:1"), &fewer) }, now).unwrap();
    assert_eq!(table.topics().topic_list, ["B", "C"]);
}

#[test]
fn a_slave_that_becomes_master_leaves_its_old_id() {
    let (table, now) = (RouteTable::default(), Instant::now());
    let all = topics(1, &["A", "B"]);
    table.register(&registration(who(1, "s:1"), &all), now).unwrap();
    assert_eq!(table.route("A", false, ASKER), None, "an old slave alone brings no queues");
    table.register(&registration(who(0, "s:1"), &all), now).unwrap();
    let group = table.member_group("c", "b0", ASKER);
    assert_eq!(group.broker_addrs.into_iter().collect::<Vec<_>>(), [(0, "s:1".to_owned())]);
    assert!(table.route("A", false, ASKER).is_some());
}

#[test]
fn of_two_with_one_id_the_newer_wins_unless_its_state_version_is_lower() {
    let (table, now) = (RouteTable::default(), Instant::now());
    let mut high = topics(1, &["A", "B"]);
    high.data_version.state_version = 5;
    let low = topics(1, &["A", "B"]);
    table.register(&registration(who(0, "old:1"), &high), now).unwrap();
    let refused = table.register(&registration(who(0, "new:1"), &low), now);
    assert!(matches!(refused, Err(RegisterError::Outranked { theirs: 5, ours: 0, .. })), "{refused:?}");
    table.register(&registration(who(0, "new:1"), &high), now).unwrap();
    assert_eq!(table.member_group("c", "b0", ASKER).broker_addrs[&0], "new:1");
    assert_eq!(table.heartbeat(who(0, "old:1"), None, None, now), Pulse::Displaced { by: "new:1".to_owned() });
    assert!(!table.unregister("b0", "old:1"), "the loser's goodbye does not touch the winner");
    assert!(table.unregister("b0", "new:1"));
    assert_eq!(table.heartbeat(who(0, "old:1"), None, None, now), Pulse::Unknown, "the place is free again");
}

#[test]
fn an_address_is_one_broker() {
    let (table, now) = (RouteTable::default(), Instant::now());
    let all = topics(1, &["A", "B"]);
    table.register(&registration(who(0, "m:1"), &all), now).unwrap();
    let renamed = Identity { name: "b1", ..who(0, "m:1") };
    table.register(&registration(renamed, &all), now).unwrap();
    assert_eq!(table.cluster_info(ASKER).broker_addr_table.keys().collect::<Vec<_>>(), ["b1"]);
    let other = Identity { cluster: "d", name: "b1", ..who(1, "x:1") };
    let refused = table.register(&registration(other, &all), now);
    assert!(matches!(refused, Err(RegisterError::OtherCluster { .. })));
    // Alone in its group, a broker may move to another cluster.
    table.register(&registration(Identity { cluster: "d", ..renamed }, &all), now).unwrap();
    assert_eq!(table.cluster_info(ASKER).cluster_addr_table.keys().collect::<Vec<_>>(), ["d"]);
}

#[test]
fn an_acting_slave_takes_no_writes() {
    let (table, now) = (RouteTable::default(), Instant::now());
    let all = topics(1, &["A", "B"]);
    let acting = |who| Registration { acting: Some(true), ..registration(who, &all) };
    table.register(&acting(who(0, "m:1")), now).unwrap();
    table.register(&acting(who(2, "s:1")), now).unwrap();
    assert_eq!(perms(&table, "A"), [6]);
    table.unregister("b0", "m:1");
    assert_eq!(perms(&table, "A"), [perm::READ]);
    let shown = table.route("A", true, ASKER).unwrap().route.broker_datas[0].broker_addrs.clone();
    assert_eq!(shown.into_iter().collect::<Vec<_>>(), [(0, "s:1".to_owned())]);
    let true_ids = table.route("A", false, ASKER).unwrap().route.broker_datas[0].broker_addrs.clone();
    assert!(true_ids.contains_key(&2));
    // A slave that comes first brings queues without the write permission.
    let table = RouteTable::default();
    table.register(&acting(who(1, "s:1")), now).unwrap();
    assert_eq!(perms(&table, "A"), [perm::READ]);
}

#[test]
fn brokers_without_a_master_stay_routed() {
    let (table, now) = (RouteTable::default(), Instant::now());
    let all = topics(1, &["A", "B"]);
    table.register(&registration(who(0, "m:1"), &all), now).unwrap();
    table.register(&registration(who(1, "s:1"), &all), now).unwrap();
    table.unregister("b0", "m:1");
    assert_eq!(perms(&table, "A"), [6]);
    assert!(!table.route("A", true, ASKER).unwrap().route.broker_datas[0].broker_addrs.contains_key(&0));
    table.unregister("b0", "s:1");
    assert_eq!(table.route("A", false, ASKER), None);
    assert!(table.topics().topic_list.is_empty());
}

#[test]
fn write_permission_stays_wiped_until_the_data_change() {
    let (table, now) = (RouteTable::default(), Instant::now());
    let all = topics(1, &["A", "B"]);
    table.register(&registration(who(0, "m:1"), &all), now).unwrap();
    assert_eq!(table.set_writable("b0", false), 2);
    assert_eq!(table.set_writable("nobody", false), 0);
    table.register(&registration(who(0, "m:1"), &all), now).unwrap();
    assert_eq!(perms(&table, "A"), [perm::READ]);
    assert_eq!(table.set_writable("b0", true), 2);
    assert_eq!(perms(&table, "A"), [6]);
    table.set_writable("b0", false);
    table.register(&registration(who(0, "m:1"), &topics(2, &["A", "B"])), now).unwrap();
    assert_eq!(perms(&table, "A"), [6]);
}

#[test]
fn leases_end_one_by_one() {
    let (table, now) = (RouteTable::default(), Instant::now());
    let all = topics(1, &["A", "B"]);
    let lease = Duration::from_millis(200);
    let short = Registration { lease: Some(lease), ..registration(who(0, "m:1"), &all) };
    table.register(&short, now).unwrap();
    table.register(&registration(Identity { name: "b1", ..who(0, "n:1") }, &all), now).unwrap();
    assert_eq!(table.next_deadline(), Some(now + lease));
    assert!(table.expire(now + lease - Duration::from_millis(1)).is_empty());
    assert_eq!(table.heartbeat(who(0, "m:1"), None, None, now + lease), Pulse::Alive { stale: false });
    assert!(table.expire(now + lease).is_empty());
    assert_eq!(table.expire(now + 2 * lease), ["m:1"]);
    assert_eq!(table.heartbeat(who(0, "m:1"), None, None, now + 2 * lease), Pulse::Unknown);
    assert_eq!(table.next_deadline(), Some(now + members::DEFAULT_LEASE));
    assert!(table.data_version("c", "n:1", now + members::DEFAULT_LEASE).is_some(), "asking renews");
    assert!(table.expire(now + members::DEFAULT_LEASE).is_empty());
}

#[test]
fn a_closed_connection_takes_its_brokers_and_no_others() {
    let (table, now) = (RouteTable::default(), Instant::now());
    let all = topics(1, &["A", "B"]);
    table.register(&registration(who(0, "m:1"), &all), now).unwrap();
    table.register(&registration(Identity { name: "b1", ..who(0, "n:1") }, &all), now).unwrap();
    // Registered anew on another connection before the old one ended.
    table.register(&Registration { connection: 8, ..registration(who(0, "m:1"), &all) }, now).unwrap();
    assert_eq!(table.disconnect(CONNECTION), ["n:1"]);
    assert_eq!(table.broker_count(), 1);
    assert!(table.disconnect(99).is_empty());
}

#[test]
fn a_heartbeat_tells_a_broker_that_its_data_are_stale() {
    let (table, now) = (RouteTable::default(), Instant::now());
    let all = topics(1, &["A", "B"]);
    table.register(&registration(who(0, "m:1"), &all), now).unwrap();
    let same = all.data_version.to_string();
    assert_eq!(table.heartbeat(who(0, "m:1"), None, Some(&same), now), Pulse::Alive { stale: false });
    assert_eq!(table.heartbeat(who(0, "m:1"), None, Some("0.0.2"), now), Pulse::Alive { stale: true });
}

#[test]
fn topics_are_added_and_deleted_by_hand() {
    let (table, now) = (RouteTable::default(), Instant::now());
    let all = topics(1, &["A", "B"]);
    table.register(&registration(who(0, "m:1"), &all), now).unwrap();
    table.register(&registration(Identity { cluster: "d", name: "b1", ..who(0, "n:1") }, &all), now).unwrap();
    let queue = |broker: &str| queue_data(broker, &TopicConfig::new("X", 2, 6));
    assert_eq!(table.register_topic("X", vec![queue("b0"), queue("nobody")]), Err("nobody".to_owned()));
    table.register_topic("X", vec![queue("b0"), queue("b1")]).unwrap();
    assert_eq!(table.topics_of_cluster("d").topic_list, ["A", "B", "X"]);
    assert!(table.delete_topic("X", Some("d")));
    assert_eq!(table.topics_of_cluster("d").topic_list, ["A", "B"]);
    assert!(table.route("X", false, ASKER).is_some());
    assert!(!table.delete_topic("X", Some("nowhere")));
    assert!(table.delete_topic("X", None));
    assert_eq!(table.route("X", false, ASKER), None);
}

#[test]
fn each_network_sees_its_own_addresses() {
    let (table, now) = (RouteTable::default(), Instant::now());
    let all = topics(1, &["A", "B"]);
    let networks: Addresses = "10.0.0.0/8=10.1.1.1:5,10.9.0.0/16=docker:6".parse().unwrap();
    let master = Registration { networks: &networks, ..registration(who(0, "m:1"), &all) };
    table.register(&master, now).unwrap();
    let (ten, docker): (IpAddr, IpAddr) = ("10.2.0.1".parse().unwrap(), "10.9.0.1".parse().unwrap());
    for (asker, addr, ha_addr) in
        [(ASKER, "m:1", "ha:1"), (ten, "10.1.1.1:5", "10.1.1.1:1"), (docker, "docker:6", "docker:1")]
    {
        let seen = table.route("A", false, asker).unwrap();
        assert_eq!(seen.route.broker_datas[0].broker_addrs[&0], addr);
        assert_eq!(seen.networks.iter().map(ToString::to_string).collect::<Vec<_>>(), ["10.9.0.0/16", "10.0.0.0/8"]);
        assert_eq!(table.cluster_info(asker).broker_addr_table["b0"].broker_addrs[&0], addr);
        assert_eq!(table.member_group("c", "b0", asker).broker_addrs[&0], addr);
        assert_eq!(table.system_topics(asker).broker_addr.as_deref(), Some(addr));
        let slave = Registration { from: asker, ..registration(who(1, "s:1"), &all) };
        let told = table.register(&slave, now).unwrap();
        assert_eq!((told.master_addr.as_deref(), told.ha_addr.as_deref()), (Some(addr), Some(ha_addr)));
    }
    let version = table.version();
    table.register(&master, now).unwrap();
    assert_eq!(table.version(), version);
    table.register(&registration(who(0, "m:1"), &all), now).unwrap();
    assert!(table.version() > version, "answers that showed the old addresses are outdated");
    assert_eq!(table.route("A", false, ten).unwrap().networks, []);
}

#[test]
fn the_version_rises_with_changes_only() {
    let (table, now) = (RouteTable::default(), Instant::now());
    let all = topics(1, &["A", "B"]);
    table.register(&registration(who(0, "m:1"), &all), now).unwrap();
    let version = table.version();
    table.register(&registration(who(0, "m:1"), &all), now).unwrap();
    table.heartbeat(who(0, "m:1"), None, None, now);
    assert_eq!(table.version(), version);
    table.register(&registration(who(0, "m:1"), &topics(2, &["A", "B", "C"])), now).unwrap();
    assert!(table.version() > version);
    let version = table.version();
    table.unregister("b0", "m:1");
    assert!(table.version() > version);
}

#[test]
fn system_topics_and_units_are_listed() {
    let (table, now) = (RouteTable::default(), Instant::now());
    let mut all = topics(1, &["A", "B", "C"]);
    for (name, flag) in [("A", 1), ("B", 2), ("C", 3)] {
        all.topic_config_table.get_mut(name).unwrap().topic_sys_flag = flag;
    }
    table.register(&registration(who(0, "m:1"), &all), now).unwrap();
    let system = table.system_topics(ASKER);
    assert_eq!(
        (system.topic_list, system.broker_addr.as_deref()),
        (vec!["c".to_owned(), "b0".to_owned()], Some("m:1"))
    );
    assert_eq!(table.topics_where(|flag| flag & 1 != 0).topic_list, ["A", "C"]);
}

/// One step of a random history.
#[derive(Debug, Clone)]
enum Step {
    Register { name: usize, id: i64, addr: usize, topics: usize, state_version: i64 },
    Unregister { name: usize, addr: usize },
    Disconnect { connection: u64 },
    Expire { after: u64 },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        (0..3_usize, 0..3_i64, 0..4_usize, 0..4_usize, 0..2_i64).prop_map(|(name, id, addr, topics, state_version)| {
            Step::Register { name, id, addr, topics, state_version }
        }),
        (0..3_usize, 0..4_usize).prop_map(|(name, addr)| Step::Unregister { name, addr }),
        (0..4_u64).prop_map(|connection| Step::Disconnect { connection }),
        (0..150_000_u64).prop_map(|after| Step::Expire { after }),
    ]
}

proptest! {
    #[test]
    fn no_history_leaves_a_ghost(steps in proptest::collection::vec(step(), 0..60)) {
        let (table, mut now) = (RouteTable::default(), Instant::now());
        let names = ["b0", "b1", "b2"];
        let addrs = ["h:1", "h:2", "h:3", "h:4"];
        for step in steps {
            match step {
                Step::Register { name, id, addr, topics: count, state_version } => {
                    let mut table_of_topics = topics(1, &["A", "B", "C"][..count.min(3)]);
                    table_of_topics.data_version.state_version = state_version;
                    let who = Identity { cluster: "c", name: names[name], addr: addrs[addr], id };
                    let connection = addr as u64;
                    let _ = table.register(&Registration { connection, ..registration(who, &table_of_topics) }, now);
                }
                Step::Unregister { name, addr } => { table.unregister(names[name], addrs[addr]); }
                Step::Disconnect { connection } => { table.disconnect(connection); }
                Step::Expire { after } => {
                    now += Duration::from_millis(after);
                    table.expire(now);
                }
            }
            // Whoever is in a group is alive, and the other way round; only groups with members have queues.
            let info = table.cluster_info(ASKER);
            let mut members: Vec<_> =
                info.broker_addr_table.values().flat_map(|group| group.broker_addrs.values().cloned()).collect();
            members.sort();
            let mut live: Vec<_> = table.state.read().members.live.keys().cloned().collect();
            live.sort();
            prop_assert_eq!(members, live);
            for topic in table.topics().topic_list {
                let route = table.route(&topic, false, ASKER).unwrap().route;
                prop_assert_eq!(route.queue_datas.len(), route.broker_datas.len());
            }
        }
        table.expire(now + Duration::from_secs(200_000));
        prop_assert_eq!(table.broker_count(), 0);
        prop_assert!(table.topics().topic_list.is_empty());
        prop_assert!(table.cluster_info(ASKER).broker_addr_table.is_empty());
    }
}
