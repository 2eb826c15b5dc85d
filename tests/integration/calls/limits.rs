//! Limits at the caller, and over all nodes.

use std::time::{Duration, Instant};

use orbitmq_calls::{CallError, Choice, Limit, Policy, Refusal, WhenOver};

use crate::cluster::{Cluster, DOUBLE, WHO, knows};

/// Nothing comes back while a test runs.
const HOUR: Duration = Duration::from_secs(3600);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_caller_keeps_its_own_limit() {
    let cluster = Cluster::start().await;
    let (_provider, _) = cluster.node("n1").await;
    let evenly = cluster.caller().limit(Limit::per_second(50).burst(5), WhenOver::Wait).build().await.unwrap();
    let began = Instant::now();
    let pending: Vec<_> = (0..30_u64).map(|number| evenly.call(DOUBLE, &number).start()).collect();
    for call in pending {
        call.await.unwrap();
    }
    assert!(
        began.elapsed() >= Duration::from_millis(495),
        "25 calls beyond the burst, 20 ms each: {:?}",
        began.elapsed()
    );

    let strict = cluster.caller().limit(Limit::every(HOUR).burst(3), WhenOver::Refuse).build().await.unwrap();
    for _ in 0..3 {
        strict.call(WHO, &()).await.unwrap();
    }
    let error = strict.call(WHO, &()).await.unwrap_err();
    assert!(matches!(error, CallError::OwnLimit(wait) if wait > HOUR / 2), "{error}");
    // Waiting in vain is not waited.
    let patient = cluster.caller().limit(Limit::every(HOUR), WhenOver::Wait).build().await.unwrap();
    patient.call(WHO, &()).await.unwrap();
    assert!(matches!(patient.call(WHO, &()).await.unwrap_err(), CallError::OwnLimit(_)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn callers_of_one_name_share_a_limit_at_all_nodes() {
    let cluster = Cluster::start().await;
    let limited = |name: &str| cluster.provider(name).0.limit_each_caller(Limit::every(HOUR).burst(10));
    let limited = |name: &str| limited(name).limit_caller("batch", Limit::every(HOUR));
    let first = limited("n1").build().await.unwrap();
    let second = limited("n2").build().await.unwrap();
    let caller = |name: &str| cluster.caller().name(name);
    let (one, two) = (caller("tester").build().await.unwrap(), caller("tester").build().await.unwrap());
    let (other, batch) = (caller("other").build().await.unwrap(), caller("batch").build().await.unwrap());
    for caller in [&one, &two, &other, &batch] {
        knows(caller, 2).await;
    }
    // Both nodes count two nodes from here on: the first one looks each second.
    orbitmq_tests::wait::until("the first node knows the second", crate::cluster::PATIENCE, async || {
        (first.peers() == 2 && second.peers() == 2).then_some(())
    })
    .await;

    let policy = Policy::RetryElsewhere { attempts: 2 };
    let mut passed = 0;
    for _ in 0..10 {
        for caller in [&one, &two] {
            match caller.call(WHO, &()).policy(policy).await {
                Ok(_) => passed += 1,
                Err(error) => assert_eq!(error.refusal(), Some(Refusal::Limited), "{error}"),
            }
        }
    }
    assert_eq!(passed, 10, "five at each node, whoever calls");
    assert!(first.counts().limited + second.counts().limited > 0);
    // Who stays at one node has that node's part.
    let at_one = || other.call(WHO, &()).choice(Choice::Fixed("n1".to_owned())).policy(policy);
    for _ in 0..5 {
        at_one().await.unwrap();
    }
    assert_eq!(at_one().await.unwrap_err().refusal(), Some(Refusal::Limited));
    let mut passed = 0;
    for _ in 0..5 {
        passed += usize::from(batch.call(WHO, &()).policy(policy).await.is_ok());
    }
    assert_eq!(passed, 2, "a limit of its own; each node grants one");
}
