//! Checks of sharing queues, against what RocketMQ's Java client 5.5.0 printed for the same lists.

use std::collections::HashSet;

use proptest::prelude::*;

use super::*;

/// Lines `queues members way member=broker:id,… member=…`.
const JAVA: &str = include_str!("java.txt");

fn queues(count: i32) -> Vec<Queue> {
    let broker = |id: i32| if id % 2 == 0 { "room1@b0" } else { "room2@b1" };
    let mut queues: Vec<Queue> = (0..count).map(|id| Queue { broker: broker(id).into(), id: id / 2 }).collect();
    queues.sort();
    queues
}

fn members(count: u32) -> Vec<String> {
    let mut members: Vec<String> = (0..count).map(|n| format!("10.0.0.{n}@{}", 100 + n * 7)).collect();
    members.sort();
    members
}

fn all() -> [(&'static str, Box<dyn Assign>); 4] {
    [
        ("average", Box::new(Average)),
        ("circle", Box::new(Circle)),
        ("hash", Box::new(ConsistentHash)),
        ("room", Box::new(MachineRoom::new(["room1"]))),
    ]
}

#[test]
fn every_way_gives_what_java_gives() {
    let mut lines = 0;
    for line in JAVA.lines() {
        let words: Vec<&str> = line.split(' ').collect();
        let (queues, members) = (queues(words[0].parse().unwrap()), members(words[1].parse().unwrap()));
        let (_, way) = all().into_iter().find(|(name, _)| *name == words[2]).unwrap();
        let ours: Vec<String> = members
            .iter()
            .map(|own| {
                let own_queues = way.assign("T", own, &members, &queues);
                let texts: Vec<String> =
                    own_queues.iter().map(|queue| format!("{}:{}", queue.broker, queue.id)).collect();
                format!("{own}={}", texts.join(","))
            })
            .collect();
        assert_eq!(ours, &words[3..], "{line}");
        lines += 1;
    }
    assert_eq!(lines, 24);
}

proptest! {
    #[test]
    fn every_queue_has_one_member(count in 0..40_i32, people in 1..12_u32) {
        let (queues, members) = (queues(count), members(people));
        for (name, way) in all() {
            let mut seen = HashSet::new();
            for own in &members {
                for queue in way.assign("T", own, &members, &queues) {
                    prop_assert!(seen.insert(queue), "{name}: a queue was given twice");
                }
            }
            let expected = if name == "room" { queues.iter().filter(|q| q.broker.starts_with("room1@")).count() } else { queues.len() };
            prop_assert_eq!(seen.len(), expected, "{}", name);
        }
    }
}

#[test]
fn a_stranger_gets_nothing() {
    for (name, way) in all() {
        assert!(way.assign("T", "stranger", &members(3), &queues(8)).is_empty(), "{name}");
        assert!(way.assign("T", "stranger", &[], &queues(8)).is_empty(), "{name}");
    }
}
