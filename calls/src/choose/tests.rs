use std::collections::{BTreeMap, BTreeSet};

use super::*;

fn nodes(names: &[&str]) -> Vec<Arc<Node>> {
    names.iter().map(|name| Arc::new(Node::new(Address::new(name)))).collect()
}

fn name(picked: Option<Arc<Node>>) -> String {
    picked.unwrap().address.node().to_owned()
}

#[test]
fn each_way_chooses_as_it_says() {
    let nodes = nodes(&["a", "b", "c"]);
    let turns: Vec<String> = (0..6).map(|turn| name(Choice::RoundRobin.pick(&nodes, &[], turn))).collect();
    assert_eq!(turns, ["a", "b", "c", "a", "b", "c"]);
    let random: BTreeSet<String> = (0..500).map(|turn| name(Choice::Random.pick(&nodes, &[], turn))).collect();
    assert_eq!(random.len(), 3);
    let busy = [nodes[0].enter(), nodes[2].enter()];
    assert_eq!(name(Choice::LeastActive.pick(&nodes, &[], 0)), "b");
    drop(busy);
    assert_eq!(name(Choice::Fixed("c".to_owned()).pick(&nodes, &[], 0)), "c");
    assert!(Choice::Fixed("d".to_owned()).pick(&nodes, &[], 0).is_none());
}

#[test]
fn keys_stay_when_other_nodes_go() {
    let all = nodes(&["a", "b", "c", "d"]);
    let of = |nodes: &[Arc<Node>]| -> BTreeMap<u32, String> {
        (0..1000).map(|key| (key, name(Choice::ConsistentHash(key.to_string()).pick(nodes, &[], 0)))).collect()
    };
    let (before, after) = (of(&all), of(&all[..3]));
    assert!(before.iter().all(|(key, node)| node == "d" || after[key] == *node));
    for node in ["a", "b", "c", "d"] {
        let share = before.values().filter(|of| *of == node).count();
        assert!((150..350).contains(&share), "{node}: {share}");
    }
}

#[tokio::test]
async fn tried_and_silent_nodes_are_passed_over() {
    let nodes = nodes(&["a", "b"]);
    let tried = [nodes[0].address.clone()];
    for choice in [Choice::Random, Choice::RoundRobin, Choice::LeastActive, Choice::ConsistentHash("k".to_owned())] {
        assert_eq!(name(choice.pick(&nodes, &tried, 0)), "b");
        nodes[0].was_silent();
        assert!(!nodes[0].is_suspect(), "once may be chance");
        nodes[0].was_silent();
        assert_eq!(name(choice.pick(&nodes, &[], 0)), "b");
        // Better a silent one than none.
        assert_eq!(name(choice.pick(&nodes[..1], &[], 0)), "a");
        nodes[0].answered();
        assert!(choice.pick(&nodes[..1], &tried, 0).is_none());
        assert!(choice.pick(&[], &[], 0).is_none());
    }
}

#[test]
fn of_two_runs_the_newest_counts() {
    let nodes = nodes(&["a", "a"]);
    let newest = Choice::Fixed("a".to_owned()).pick(&nodes, &[], 0).unwrap();
    assert_eq!(newest.address, nodes[1].address);
}
