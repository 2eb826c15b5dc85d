//! Nodes that end, stop or are full, and brokers that die.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use orbitmq_calls::{CallError, Caller, Choice, Policy, Refusal};
use orbitmq_tests::daemon::Daemon;
use orbitmq_tests::wait::{time_until, until};

use crate::cluster::{Cluster, HOLD, PATIENCE, WHO, knows};

const ELSEWHERE: Policy = Policy::RetryElsewhere { attempts: 3 };

fn fixed(node: &str) -> Choice {
    Choice::Fixed(node.to_owned())
}

/// A key that belongs to a node.
async fn key_of(caller: &Caller, node: &str) -> Choice {
    for key in 0..1000 {
        let choice = Choice::ConsistentHash(key.to_string());
        if caller.call(WHO, &()).choice(choice.clone()).await.unwrap() == node {
            return choice;
        }
    }
    panic!("no key of {node}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_ends_is_left_at_once() {
    let cluster = Cluster::start().await;
    let (first, one) = cluster.node("n1").await;
    let (_second, two) = cluster.node("n2").await;
    let caller = cluster.caller_of(2).await;

    let key = key_of(&caller, "n1").await;
    let fails = caller.call(HOLD, &()).choice(fixed("n1")).start();
    let goes_on = caller.call(HOLD, &()).choice(key).policy(ELSEWHERE).start();
    one.until_held(2).await;
    let began = Instant::now();
    // Nothing more is said or done by it, as if it was killed.
    drop(first);
    let error = fails.await.unwrap_err();
    assert!(matches!(&error, CallError::Gone { node } if node == "n1"), "{error}");
    assert!(error.may_have_run());
    two.until_held(1).await;
    assert!(began.elapsed() < PATIENCE / 2, "long before the deadline");
    two.release.notify_one();
    assert_eq!(goes_on.await.unwrap(), "n2");
    for _ in 0..10 {
        assert_eq!(caller.call(WHO, &()).await.unwrap(), "n2");
    }

    // The next run of the node has calls of its own, and none of those before.
    let (again, node) = cluster.node("n1").await;
    knows(&caller, 2).await;
    assert_eq!(caller.call(WHO, &()).choice(fixed("n1")).await.unwrap(), "n1");
    assert_eq!((again.counts().done, again.counts().overdue, node.held.load(Ordering::Relaxed)), (1, 0, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn full_nodes_say_so_and_what_is_overdue_is_not_done() {
    let cluster = Cluster::start().await;
    let (builder, full) = cluster.provider("full");
    let provider = builder.concurrency(1).waiting(1).build().await.unwrap();
    let (_free, _) = cluster.node("zz").await;
    let caller = cluster.caller_of(2).await;
    let at_full = || caller.call(WHO, &()).choice(fixed("full"));

    let held = caller.call(HOLD, &()).choice(fixed("full")).start();
    full.until_held(1).await;
    // It has to wait for the one that is held, and longer than it may.
    at_full().within(Duration::from_millis(300)).oneway().await.unwrap();
    until("the waiting request is dropped", PATIENCE, async || (provider.counts().overdue == 1).then_some(())).await;

    let waits = at_full().start();
    until("two are in hand", PATIENCE, async || (provider.counts().in_hand == 2).then_some(())).await;
    assert_eq!(at_full().await.unwrap_err().refusal(), Some(Refusal::Busy));
    let key = key_of_full(&caller).await;
    assert_eq!(caller.call(WHO, &()).choice(key).policy(ELSEWHERE).await.unwrap(), "zz");
    full.release.notify_one();
    assert_eq!((held.await.unwrap().as_str(), waits.await.unwrap().as_str()), ("full", "full"));
    assert_eq!(provider.counts().overdue, 1);
}

/// A key of the full node: one for which a call without retries is refused.
async fn key_of_full(caller: &Caller) -> Choice {
    for key in 0..1000 {
        let choice = Choice::ConsistentHash(key.to_string());
        if caller.call(WHO, &()).choice(choice.clone()).await.is_err() {
            return choice;
        }
    }
    panic!("no key of the full node");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_stops_ends_what_it_has_and_loses_nothing() {
    let cluster = Cluster::start().await;
    let (first, one) = cluster.node("n1").await;
    let (_second, _) = cluster.node("n2").await;
    let caller = cluster.caller_of(2).await;

    let held = caller.call(HOLD, &()).choice(fixed("n1")).start();
    one.until_held(1).await;
    let stopping = first.clone();
    let stopped = tokio::spawn(async move { stopping.close().await });
    let refuses = async || {
        let at_it = caller.call(WHO, &()).choice(fixed("n1")).within(Duration::from_secs(5)).await;
        at_it.is_err_and(|error| error.refusal() == Some(Refusal::Closing))
    };
    time_until("it refuses further requests", PATIENCE, refuses).await;
    // Even calls that fail fast go elsewhere: it has done nothing for them.
    for _ in 0..10 {
        assert_eq!(caller.call(WHO, &()).await.unwrap(), "n2");
    }
    one.release.notify_one();
    assert_eq!(held.await.unwrap(), "n1");
    stopped.await.unwrap();
    knows(&caller, 1).await;
    drop(first);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_go_on_when_a_broker_dies() {
    let mut cluster = Cluster::start().await;
    let (_provider, _) = cluster.node("n1").await;
    let (_other, _) = cluster.node("n2").await;
    let caller = cluster.caller_of(2).await;
    let works = async || {
        for _ in 0..10 {
            let called = caller.call(WHO, &()).within(Duration::from_secs(5)).policy(ELSEWHERE).await;
            if called.is_err() {
                return false;
            }
        }
        true
    };
    assert!(works().await);
    for round in 0..2 {
        cluster.brokers[round].kill();
        time_until("calls go through the other broker", PATIENCE, works).await;
        cluster.brokers[round].start();
        knows(&caller, 2).await;
        time_until("calls go through both", PATIENCE, works).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_in_hand_outlive_a_restart_of_all_brokers() {
    let mut cluster = Cluster::start().await;
    let nodes = [cluster.node("n1").await, cluster.node("n2").await];
    let caller = cluster.caller_of(2).await;
    let held = [caller.call(HOLD, &()).start(), caller.call(HOLD, &()).start()];
    for (_, node) in &nodes {
        node.until_held(1).await;
    }
    cluster.brokers.iter_mut().for_each(Daemon::kill);
    for broker in &mut cluster.brokers {
        broker.start();
    }
    // Found, asked and answered again, through either broker.
    knows(&caller, 2).await;
    for (_, node) in &nodes {
        node.release.notify_one();
    }
    let mut answers = Vec::new();
    for call in held {
        answers.push(call.await.unwrap());
    }
    answers.sort();
    assert_eq!(answers, ["n1", "n2"]);
    assert_eq!(nodes.map(|(_, node)| node.held.load(Ordering::Relaxed)), [1, 1], "each once");
}
