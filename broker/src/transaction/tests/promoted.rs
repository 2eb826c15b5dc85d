//! Checks that a slave that becomes master goes on with its master's half messages.

use std::path::Path;
use std::time::Duration;

use orbitmq_common::protocol::code::{request, response};
use orbitmq_common::protocol::header::replica::PromoteRequest;

use super::whole::{DEADLINE, Sender, impatient, start};
use crate::config::Config;
use crate::config::replication::{Acknowledge, RoleSetting};
use crate::node::Node;
use crate::replica::role::MasterAddress;

fn replicated(config: &mut Config) {
    impatient(config);
    config.transactions.check_max = 1_000;
    config.acknowledge = Acknowledge::Replica;
    config.store.replicated = true;
}

async fn slave_of(master: &Node, dir: &Path) -> Node {
    start(dir, |config| {
        replicated(config);
        config.role = RoleSetting::Slave;
        config.id = 1;
        config.min_in_sync = 1;
        config.master = Some(MasterAddress { client: master.bound().to_string(), ha: master.ha_bound().to_string() });
    })
    .await
}

async fn until(what: &str, holds: impl Fn() -> bool) {
    let end = tokio::time::Instant::now() + DEADLINE;
    while !holds() {
        assert!(tokio::time::Instant::now() < end, "waited in vain: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slave_that_is_made_master_ends_what_its_master_began() {
    let (dir, beside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let master = start(dir.path(), replicated).await;
    let slave = slave_of(&master, beside.path()).await;
    until("a slave in sync", || master.broker().in_sync.copies() == 2).await;
    let sender = Sender::new(&master).await;
    let (open, committed, rolled_back) =
        (sender.half("open", "").await, sender.half("committed", "").await, sender.half("rolled back", "").await);
    assert_eq!(sender.commit(&committed).await.code, response::SUCCESS);
    assert_eq!(sender.roll_back(&rolled_back).await.code, response::SUCCESS);
    until("questions counted at the slave", || slave.broker().asked.get(0) >= 2).await;

    let mut beside = Sender::new(&slave).await;
    assert_eq!(beside.commit(&open).await.code, response::SLAVE_NOT_AVAILABLE);
    master.stop().await;
    let log_end = slave.broker().store.end().cast_signed();
    let promote = beside.link.request(request::PROMOTE).with_fields(&PromoteRequest { log_end });
    let answer = beside.link.call(promote, DEADLINE).await.unwrap();
    assert_eq!(answer.code, response::SUCCESS, "{:?}", answer.remark);
    beside.be_known().await;
    let (fields, _) = beside.question().await;
    assert_eq!((fields.tran_state_table_offset, fields.commit_log_offset), (open.offset, open.physical));
    assert_eq!(slave.broker().transactions.open(), 1);
    for (sent, code) in [(&open, 0), (&committed, 0), (&rolled_back, response::ILLEGAL_OPERATION)] {
        let answer = beside.commit(sent).await;
        assert_eq!(answer.code, code, "{:?}", answer.remark);
    }
    beside.wait_for("T", &["committed", "open"]).await;
    slave.stop().await;
}
