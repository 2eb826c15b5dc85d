//! Copies that are missing, and slaves that are asked for what only a master does.

use std::sync::atomic::Ordering;
use std::time::Duration;

use orbitmq_broker::config::Config;
use orbitmq_broker::config::replication::{Acknowledge, RoleSetting};
use orbitmq_broker::replica::role::MasterAddress;

use crate::daemons::{Broker, sending, until};
use crate::table::names;

fn replicated(config: &mut Config) {
    config.acknowledge = Acknowledge::Replica;
    config.store.replicated = true;
    config.min_in_sync = 2;
    config.acknowledge_timeout = Duration::from_millis(500);
    config.in_sync_timeout = Duration::from_secs(20);
}

#[tokio::test(flavor = "multi_thread")]
async fn copies_that_are_missing() {
    let master = Broker::start(replicated).await;
    let alone = master.send(&sending("T"), b"x").await;
    names(&alone, 14, &["too few copies"]);
    let remark = alone.remark.unwrap();
    assert!(remark.starts_with("1 of 2 copies are in sync") && remark.contains("no slave is connected"), "{remark}");

    let address = MasterAddress { client: master.node.bound().to_string(), ha: master.node.ha_bound().to_string() };
    let slave = Broker::start(|config| {
        replicated(config);
        config.role = RoleSetting::Slave;
        config.id = 1;
        config.master = Some(address);
    })
    .await;
    until("the slave is in sync", async || master.send(&sending("T"), b"x").await.code == 0).await;
    let wrong = slave.send(&sending("T"), b"x").await;
    names(&wrong, 14, &["a slave was asked"]);
    assert!(wrong.remark.unwrap().contains(&master.node.bound().to_string()));
    until("the slave knows the topic", async || slave.node.broker().topics.get("T").is_some()).await;
    let behind = slave.pull("T", "g", 1_000).await;
    names(&behind, 20, &["a slave has not copied that far"]);
    assert!(behind.remark.unwrap().contains("and not 1000; its master at"));

    slave.disk.stands_still.store(true, Ordering::SeqCst);
    let late = master.send(&sending("T"), b"x").await;
    names(&late, 12, &["a slave is behind"]);
    let remark = late.remark.unwrap();
    assert!(remark.contains("slave 1 at 127.0.0.1") && remark.contains("bytes behind"), "{remark}");
    slave.disk.stands_still.store(false, Ordering::SeqCst);
    slave.stop().await;
    master.stop().await;
}
