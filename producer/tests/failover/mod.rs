//! What a producer does when another broker becomes the master of a name, and when a broker does not vouch for a message.
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use orbitmq_producer::{Message, Producer, ProducerBuilder, SendError, Unconfirmed};

use crate::fake::{Broker, NameServer, Reply, Running};

const TOPIC: &str = "t";
/// Time in which a producer follows a change that name servers know; generous, for machines under load.
const SOON: Duration = Duration::from_millis(1500);

/// A broker group `b`: member `one` is the master.
struct Group {
    names: Arc<NameServer>,
    name_server: Running,
    one: (Arc<Broker>, Running),
    two: (Arc<Broker>, Running),
}

fn group(one: impl FnMut(usize) -> Reply + Send + 'static) -> Group {
    let names = Arc::new(NameServer::default());
    let name_server = Running::start(Arc::<NameServer>::clone(&names));
    let running = |broker: Arc<Broker>| (Arc::clone(&broker), Running::start(broker));
    let group =
        Group { names, name_server, one: running(Broker::new(one)), two: running(Broker::new(|_| Reply::Store)) };
    group.members(&[(0, &group.one.1.address), (1, &group.two.1.address)]);
    group
}

impl Group {
    fn members(&self, members: &[(i64, &str)]) {
        self.names.route_members(TOPIC, &[("b", members)], 2);
    }

    /// No known route is asked for again without a sign.
    fn builder(&self) -> ProducerBuilder {
        Producer::builder()
            .nameservers([&self.name_server.address])
            .group("g")
            .send_timeout(Duration::from_secs(20))
            .try_timeout(Duration::from_secs(10))
            .route_refresh(Duration::from_secs(3600))
    }
}

fn message(text: &str) -> Message {
    Message::new(TOPIC, text.to_owned())
}

async fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let waited = async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), waited).await.unwrap_or_else(|_| panic!("{what} never happened"));
}

#[tokio::test]
async fn sends_wait_while_a_broker_has_no_master_and_go_to_the_new_one() {
    let group = group(|_| Reply::Store);
    let producer = group.builder().retries(0).build().await.unwrap();
    producer.send(message("before")).await.unwrap();
    let (one, two) = (group.one.1.address.clone(), group.two.1.address.clone());
    group.names.route_members(TOPIC, &[("b", &[(1, &two)])], 2);
    group.one.1.stop().await;
    let sends: Vec<_> = (0..20)
        .map(|n| {
            let producer = producer.clone();
            tokio::spawn(async move { producer.send(message(&n.to_string())).await })
        })
        .collect();
    // Every send has found that there is no master.
    let asked = || group.names.asked.load(Ordering::SeqCst);
    let before = asked();
    until("questions about the route", || asked() >= before + 5).await;
    assert!(sends.iter().all(|send| !send.is_finished()), "nothing fails while its deadline lasts");
    group.names.route_members(TOPIC, &[("b", &[(0, &two), (1, &one)])], 2);
    let promoted = Instant::now();
    for send in sends {
        send.await.unwrap().unwrap();
    }
    assert!(promoted.elapsed() < SOON, "{:?}", promoted.elapsed());
    assert_eq!(group.two.0.stored.lock().len(), 20);
}

#[tokio::test]
async fn a_master_that_hangs_is_left_when_another_one_takes_over() {
    let group = group(|_| Reply::Silence);
    let (one, two) = (group.one.1.address.clone(), group.two.1.address.clone());
    for (retries, stored) in [(1, true), (0, false)] {
        group.members(&[(0, &one), (1, &two)]);
        let producer = group.builder().retries(retries).build().await.unwrap();
        let before = group.one.0.sends();
        let sending = tokio::spawn({
            let producer = producer.clone();
            async move { producer.send(message("m")).await }
        });
        until("a send", || group.one.0.sends() > before).await;
        group.members(&[(0, &two), (1, &one)]);
        let promoted = Instant::now();
        let outcome = sending.await.unwrap();
        assert!(promoted.elapsed() < SOON, "{:?}", promoted.elapsed());
        match outcome {
            Ok(_) => assert!(stored),
            // Who wants no duplicates learns that it may be stored.
            Err(error) => assert!(!stored && error.maybe_stored(), "{error}"),
        }
    }
    assert_eq!(group.two.0.stored.lock().len(), 1);
}

#[tokio::test]
async fn a_broker_that_is_not_the_master_any_more_is_asked_no_matter_how_often_until_the_route_changes() {
    for (code, remark) in
        [(14, "the lease is over"), (16, "this broker is not the master"), (16, "a SLAVE takes no messages")]
    {
        let group = group(move |_| Reply::Refuse(code, remark));
        let (one, two) = (group.one.1.address.clone(), group.two.1.address.clone());
        let producer = group.builder().retries(0).build().await.unwrap();
        let sending = tokio::spawn({
            let producer = producer.clone();
            async move { producer.send(message("m")).await }
        });
        until("refusals", || group.one.0.sends() >= 3).await;
        group.members(&[(0, &two), (1, &one)]);
        let promoted = Instant::now();
        sending.await.unwrap().unwrap();
        assert!(promoted.elapsed() < SOON, "{:?}", promoted.elapsed());
    }
    let group_of_fenced = group(|_| Reply::Refuse(14, "no lease; the message may be stored all the same"));
    let producer = group_of_fenced.builder().retries(0).build().await.unwrap();
    assert!(producer.send(message("m")).await.unwrap_err().maybe_stored());
    assert_eq!(group_of_fenced.one.0.sends(), 1, "a second try could store it twice");
    let group = group(|_| Reply::Refuse(16, "the topic may not be written"));
    let producer = group.builder().retries(1).build().await.unwrap();
    assert!(producer.send(message("m")).await.is_err());
    assert_eq!(group.one.0.sends(), 2, "other refusals count as before");
}

#[tokio::test]
async fn what_a_broker_does_not_vouch_for_is_no_success_and_is_not_sent_again() {
    for (code, why) in
        [(10, Unconfirmed::FlushTimeout), (11, Unconfirmed::SlaveMissing), (12, Unconfirmed::SlaveTimeout)]
    {
        let group = group(move |_| Reply::StoreBut(code));
        let producer = group.builder().build().await.unwrap();
        let error = producer.send(message("m")).await.unwrap_err();
        assert!(error.maybe_stored() && !error.is_retryable(), "{error}");
        assert!(error.to_string().contains(&why.to_string()), "{error}");
        let SendError::Unconfirmed { why: told, receipts, .. } = error else { panic!("{error}") };
        assert_eq!((told, receipts.len(), receipts[0].queue_offset), (why, 1, 0));
        assert_eq!(group.one.0.sends(), 1);

        let error = producer.send_batch(vec![message("a"), message("b")]).await.unwrap_err();
        assert!(matches!(&error.cause, SendError::Unconfirmed { receipts, .. } if receipts.len() == 2), "{error}");
    }
}

#[tokio::test]
async fn slaves_know_the_group_before_they_are_promoted() {
    let group = group(|_| Reply::Store);
    let producer = group.builder().build().await.unwrap();
    producer.send(message("m")).await.unwrap();
    until("heartbeats", || [&group.one, &group.two].iter().all(|one| one.0.beats.load(Ordering::SeqCst) > 0)).await;
}
