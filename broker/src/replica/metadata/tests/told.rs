//! Offsets that a slave has told its master.

use super::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_offset_that_the_master_was_told_and_set_back_or_forgot_is_the_masters() {
    let (here, there) = dirs();
    let master = start(here.path(), 0, None).await;
    let slave = start(there.path(), 1, None).await;
    slave.broker().offsets.follow();
    let client = Client::new(ClientOptions { encoding: Some(Encoding::Json), ..ClientOptions::default() });
    let link = client.link(&master.bound().to_string()).await.unwrap();
    let mut copied = Copied::default();
    let (from, to) = (&master.broker().offsets, &slave.broker().offsets);
    master.broker().topics.put(topic("T", 8));
    master.broker().groups.put(GroupConfig::new("G"));
    for queue in 0..3 {
        from.commit("T", "G", queue, 10);
    }
    copied.copy(&slave.broker(), &link).await.unwrap();
    for queue in 0..4 {
        to.commit("T", "G", queue, 20);
    }
    handover::tell(&slave.broker(), &link).await.unwrap();
    assert_eq!([0, 1, 2, 3].map(|queue| from.get("T", "G", queue)), [Some(20); 4]);

    // One goes back without a reset that waits, one has gone on there before the slave hears of it.
    from.reset("T", "G", 0, 12);
    assert_eq!(from.take_reset("T", "G", 0), Some(12));
    from.commit("T", "G", 1, 21);
    to.commit("T", "G", 0, 25);
    handover::tell(&slave.broker(), &link).await.unwrap();
    copied.copy(&slave.broker(), &link).await.unwrap();
    until_equal(&master.broker(), &slave.broker()).await;
    assert_eq!([0, 1, 2].map(|queue| to.get("T", "G", queue)), [Some(12), Some(21), Some(20)]);

    to.commit("T", "G", 2, 30);
    handover::tell(&slave.broker(), &link).await.unwrap();
    from.remove_group("G");
    copied.copy(&slave.broker(), &link).await.unwrap();
    until_equal(&master.broker(), &slave.broker()).await;
    assert_eq!(slave.broker().db.load(Tree::Taken).unwrap(), Vec::new());
    slave.stop().await;
    master.stop().await;
}
