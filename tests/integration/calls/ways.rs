//! Ways to call, and to choose the node.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use orbitmq_calls::{BuildError, CallError, Caller, Choice, Method, Provider, Refusal};
use orbitmq_tests::wait::until;
use tokio::sync::oneshot;

use crate::cluster::{BREAK, Cluster, DOUBLE, HOLD, PATIENCE, WHO};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_is_awaited_held_called_back_or_sent() {
    let cluster = Cluster::start().await;
    let (provider, node) = cluster.node("n1").await;
    let caller = cluster.caller_of(1).await;

    assert_eq!(caller.call(DOUBLE, &21).await.unwrap(), 42);
    // Held: all are under way before the first is awaited.
    let pending: Vec<_> = (0..50_u64).map(|number| caller.call(DOUBLE, &number).start()).collect();
    for (number, pending) in (0..50_u64).zip(pending) {
        assert_eq!(pending.await.unwrap(), 2 * number);
    }
    let (done, result) = oneshot::channel();
    caller.call(DOUBLE, &4).then(move |result| drop(done.send(result)));
    assert_eq!(result.await.unwrap().unwrap(), 8);
    assert_eq!(caller.call(WHO, &()).oneway().await.unwrap(), "n1");
    let came = async || (node.calls.load(Ordering::Relaxed) == 1).then_some(());
    until("the oneway call is done", PATIENCE, came).await;

    // A held call that is dropped is given up; one that is slow is stopped at its deadline, here and there.
    drop(caller.call(HOLD, &()).start());
    let (began, within) = (Instant::now(), Duration::from_millis(400));
    let error = caller.call(HOLD, &()).within(within).await.unwrap_err();
    assert!(matches!(error, CallError::NoAnswer { .. }) || error.refusal() == Some(Refusal::Overdue), "{error}");
    assert!(error.may_have_run() && began.elapsed() >= within / 2);
    let stopped = async || (node.held.load(Ordering::Relaxed) >= 1 && provider.counts().overdue >= 1).then_some(());
    until("the handler is stopped at the deadline", PATIENCE, stopped).await;
    assert!(node.ended.load(Ordering::Relaxed) >= 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_goes_wrong_is_said() {
    let cluster = Cluster::start().await;
    let (_provider, _) = cluster.node("n1").await;
    let caller = cluster.caller_of(1).await;

    let error = caller.call(DOUBLE, &2_000_000).await.unwrap_err();
    let fault = error.fault().unwrap();
    assert_eq!((fault.code, fault.text.as_str()), (7, "too large"));
    let unknown: Method<u64, u64> = Method::new("greeting", "triple");
    let error = caller.call(unknown, &1).await.unwrap_err();
    assert_eq!((error.refusal(), error.may_have_run()), (Some(Refusal::NoMethod), false));
    assert!(error.to_string().contains("double"), "{error}");
    let other_type: Method<String, u64> = Method::new("greeting", "double");
    let error = caller.call(other_type, &"one".to_owned()).await.unwrap_err();
    assert_eq!(error.refusal(), Some(Refusal::Unreadable), "{error}");
    let other_result: Method<u64, String> = Method::new("greeting", "double");
    let error = caller.call(other_result, &1).await.unwrap_err();
    assert!(matches!(error, CallError::Unreadable { .. }), "{error}");
    let error = caller.call(BREAK, &()).await.unwrap_err();
    assert_eq!((error.refusal(), error.may_have_run()), (Some(Refusal::Panicked), true));

    let hasty = cluster.caller().find_within(Duration::from_millis(200)).build().await.unwrap();
    let nobody: Method<(), ()> = Method::new("nobody", "offers");
    let error = hasty.call(nobody, &()).await.unwrap_err();
    assert!(matches!(&error, CallError::NoProvider { cause: Some(_), .. }), "{error}");
    let bad: Method<(), ()> = Method::new("org.example", "x");
    assert!(matches!(hasty.call(bad, &()).await.unwrap_err(), CallError::Name(_)));
    let two = cluster.provider("n2").0.offer(nobody, |(), _| async { Ok(()) });
    assert!(matches!(two.build().await.unwrap_err(), BuildError::Methods(_)));
    let none = Provider::builder().nameservers([cluster.nameserver.address()]).build().await;
    assert!(matches!(none.unwrap_err(), BuildError::Methods(_)));

    let pending = caller.call(HOLD, &()).start();
    caller.close().await;
    assert!(matches!(pending.await.unwrap_err(), CallError::Closed));
}

async fn nodes_of(caller: &Caller, calls: usize, choice: impl Fn(usize) -> Choice) -> BTreeMap<String, usize> {
    let mut nodes = BTreeMap::new();
    for number in 0..calls {
        *nodes.entry(caller.call(WHO, &()).choice(choice(number)).await.unwrap()).or_default() += 1;
    }
    nodes
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_are_chosen_as_told() {
    let cluster = Cluster::start().await;
    let nodes = [cluster.node("n1").await, cluster.node("n2").await, cluster.node("n3").await];
    let (caller, other) = (cluster.caller_of(3).await, cluster.caller_of(3).await);
    let even: BTreeMap<String, usize> = ["n1", "n2", "n3"].map(|name| (name.to_owned(), 4)).into();

    assert_eq!(nodes_of(&caller, 12, |_| Choice::RoundRobin).await, even);
    assert_eq!(nodes_of(&caller, 100, |_| Choice::Random).await.len(), 3);
    let fixed = nodes_of(&caller, 5, |_| Choice::Fixed("n2".to_owned())).await;
    assert_eq!(fixed, BTreeMap::from([("n2".to_owned(), 5)]));

    // A key has its node, whoever calls.
    let keyed = |caller: &Caller, key: usize| {
        let call = caller.call(WHO, &()).choice(Choice::ConsistentHash(format!("key-{key}")));
        async move { call.await.unwrap() }
    };
    let mut seen = BTreeMap::new();
    for key in 0..30 {
        let node = keyed(&caller, key).await;
        assert_eq!(node, keyed(&other, key).await);
        seen.insert(node, key);
    }
    assert_eq!(seen.len(), 3);

    // One that is busy with a call of this caller gets none while others have fewer.
    let held = caller.call(HOLD, &()).choice(Choice::Fixed("n1".to_owned())).start();
    nodes[0].1.until_held(1).await;
    let least = nodes_of(&caller, 20, |_| Choice::LeastActive).await;
    assert!(!least.contains_key("n1"), "{least:?}");
    nodes[0].1.release.notify_one();
    assert_eq!(held.await.unwrap(), "n1");

    let hasty = cluster.caller().find_within(Duration::from_millis(200)).build().await.unwrap();
    assert_eq!(hasty.call(WHO, &()).choice(Choice::Fixed("n3".to_owned())).await.unwrap(), "n3");
    let error = hasty.call(WHO, &()).choice(Choice::Fixed("n9".to_owned())).await.unwrap_err();
    assert!(matches!(&error, CallError::NoNode { known, .. } if known == "n1, n2, n3"), "{error}");

    let mut answers = caller.call(WHO, &()).broadcast().await.unwrap();
    answers.sort_by(|a, b| a.node.cmp(&b.node));
    let answers: Vec<(String, String)> = answers.into_iter().map(|one| (one.node, one.result.unwrap())).collect();
    assert_eq!(answers, ["n1", "n2", "n3"].map(|name| (name.to_owned(), name.to_owned())));
}
