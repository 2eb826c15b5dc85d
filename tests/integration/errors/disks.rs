//! Disks that are full, broken, slow, or have too much to do.

use std::sync::atomic::Ordering;
use std::time::Duration;

use orbitmq_common::protocol::frame::Frame;

use crate::daemons::{Broker, DEADLINE, sending, until};
use crate::table::names;

#[tokio::test(flavor = "multi_thread")]
async fn full_and_broken_disks() {
    let broker = Broker::start(|_| {}).await;
    broker.stores("T", b"first").await;
    broker.disk.is_full.store(true, Ordering::SeqCst);
    let mut answer = Frame::clone(&broker.send(&sending("T"), &[1; 50_000]).await);
    for _ in 0..100 {
        if answer.code != 0 {
            break;
        }
        answer = broker.send(&sending("T"), &[1; 50_000]).await;
    }
    names(&answer, 14, &["the disk is full"]);
    assert!(answer.remark.unwrap().contains("0 are free"));
    broker.disk.is_full.store(false, Ordering::SeqCst);
    until("the disk has space again", async || broker.send(&sending("T"), b"x").await.code == 0).await;

    broker.disk.is_broken.store(true, Ordering::SeqCst);
    let broken = broker.send(&sending("T"), b"x").await;
    names(&broken, 14, &["a write or a flush has failed"]);
    assert!(broken.remark.unwrap().contains("scripted damage"));
    names(&broker.send(&sending("T"), b"x").await, 14, &["a write or a flush has failed"]);
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn slow_and_busy_disks() {
    let broker = Broker::start(|config| {
        config.store.max_unflushed = 100_000;
        config.acknowledge_timeout = Duration::from_millis(700);
    })
    .await;
    broker.stores("T", b"first").await;
    broker.disk.stands_still.store(true, Ordering::SeqCst);
    // The first one is on its way to the disk, the second waits, the third does not fit.
    let started = |body: &[u8]| broker.link.start(broker.message("T", body), DEADLINE);
    let waiting = [started(b"x"), started(&[1; 90_000])];
    until("the disk stands still", async || broker.node.broker().store.pace().running.is_some()).await;
    let busy = broker.send(&sending("T"), &[1; 90_000]).await;
    names(&busy, 2, &["more arrives than the disk takes"]);
    let remark = busy.remark.unwrap();
    assert!(remark.starts_with("[REJECTREQUEST]") && remark.contains("and 100000 may (max_in_flight)"), "{remark}");
    let long = || broker.node.broker().store.pace().running.is_some_and(|running| running > Duration::from_millis(500));
    until("it stands still for long", async || long()).await;
    names(&broker.send(&sending("T"), &[1; 90_000]).await, 2, &["the disk stands still"]);
    for answer in waiting {
        names(&answer.await.unwrap(), 10, &["the disk is too slow"]);
    }
    broker.disk.stands_still.store(false, Ordering::SeqCst);
    until("the disk goes on", async || broker.send(&sending("T"), b"x").await.code == 0).await;
    broker.stop().await;
}
