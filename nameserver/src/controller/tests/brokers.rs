//! Masters, leases and in-sync sets.

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn the_first_to_come_is_master_and_the_rest_follow() {
    let cluster = Cluster::start(3).await;
    let view = cluster.renew(&renewal(1)).await;
    assert_eq!((master(&view), view.epoch, view.set_epoch, view.in_sync.as_slice()), (Some(1), 1, 1, &[1][..]));
    assert_eq!(view.lease_ms, 500);
    assert_eq!(view.master.as_ref().unwrap().ha_address, "127.0.0.1:11912");
    let view = cluster.renew(&renewal(2)).await;
    assert_eq!((master(&view), view.epoch, view.replicas.len()), (Some(1), 1, 2));
    assert_eq!(view.in_sync, [1]);

    let answer = cluster.change_set(&set(&view, &[1, 2])).await;
    let changed: GroupView = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!((changed.in_sync.as_slice(), changed.set_epoch), (&[1, 2][..], 2));
    let moved = Renewal { address: "127.0.0.1:20911".to_owned(), ..renewal(2) };
    let view = cluster.renew(&moved).await;
    assert_eq!(view.replicas[1].address, moved.address);
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn followers_name_the_leader() {
    let cluster = Cluster::start(3).await;
    cluster.renew(&renewal(1)).await;
    let leader = cluster.leader().await;
    for id in cluster.peers.keys().filter(|id| **id != leader) {
        let answer = cluster.ask(*id, kind::CONTROLLER_RENEW, &renewal(1)).await;
        assert_eq!(answer.code, response::CONTROLLER_NOT_LEADER);
        assert_eq!(answer.remark.as_deref(), Some(cluster.peers[&leader].as_str()));
    }
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_lease_moves_the_mastership_inside_the_set_only() {
    let cluster = Cluster::start(3).await;
    let first = cluster.renew(&renewal(1)).await;
    let (second, third) = (renewal(2), Renewal { log_epoch: 1, log_end: 9_999, ..renewal(3) });
    cluster.renew(&second).await;
    cluster.renew(&third).await;
    assert_eq!(cluster.change_set(&set(&first, &[1, 2])).await.code, response::SUCCESS);

    // Member 1 falls silent; 3 has the longest log, but is outside the set.
    let began = Instant::now();
    let view = cluster.renew_until(&[&second, &third], "another master", |view| master(view) == Some(2)).await;
    assert!(began.elapsed() >= LEASE, "elected after {:?}, within the old master's lease", began.elapsed());
    assert_eq!((view.epoch, view.in_sync.as_slice(), view.set_epoch), (2, &[2][..], 3));

    // Then 2 as well: nobody is left who has everything.
    let view = cluster.renew_until(&[&third], "no master", |view| view.master.is_none()).await;
    assert_eq!((view.epoch, view.in_sync.as_slice()), (2, &[2][..]));
    let view = cluster.renew_until(&[&third, &renewal(1)], "still no master", |view| view.master.is_none()).await;
    assert_eq!(view.epoch, 2);

    // The one that has it comes back, as the same process: under a new epoch, for it may have been given up by slaves.
    let view = cluster.renew_until(&[&second], "2 is back", |view| master(view) == Some(2)).await;
    assert_eq!(view.epoch, 3);
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restarted_master_is_never_master_of_its_old_epoch() {
    let cluster = Cluster::start_with(1, Duration::from_secs(600), 1_000).await;
    let first = cluster.renew(&renewal(1)).await;
    let slave = Renewal { log_epoch: 1, log_end: 50, ..renewal(2) };
    cluster.renew(&slave).await;
    assert_eq!(cluster.change_set(&set(&first, &[1, 2])).await.code, response::SUCCESS);

    // It comes back at its address with less than the slave has; nobody waits for the lease.
    let again = Renewal { incarnation: 999, log_epoch: 1, log_end: 40, ..renewal(1) };
    let told = cluster.renew(&again).await;
    assert!(told.master.is_none() || told.epoch == 2, "{told:?}");
    let view = cluster.renew_until(&[&again, &slave], "an election", |view| view.epoch == 2).await;
    assert_eq!((master(&view), view.in_sync.as_slice()), (Some(2), &[2][..]));

    // Now 2 restarts, and is the only one in the set.
    let again = Renewal { incarnation: 998, ..slave.clone() };
    let view = cluster.renew_until(&[&again], "an election", |view| view.epoch == 3 && view.master.is_some()).await;
    assert_eq!(master(&view), Some(2));
    // What the old process had sent before it died arrives late.
    let late = cluster.ask_leader(kind::CONTROLLER_RENEW, &slave).await;
    assert_eq!(late.code, response::CONTROLLER_INVALID_REQUEST);
    assert!(late.remark.unwrap().contains("another process"), "says why");
    assert_eq!(cluster.renew(&again).await.epoch, 3);
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_processes_with_one_number_are_told_apart() {
    let cluster = Cluster::start(1).await;
    cluster.renew(&renewal(1)).await;
    let other = Renewal { incarnation: 5, address: "127.0.0.1:20911".to_owned(), ..renewal(1) };
    let answer = cluster.ask_leader(kind::CONTROLLER_RENEW, &other).await;
    assert_eq!(answer.code, response::CONTROLLER_INVALID_REQUEST);
    assert!(answer.remark.unwrap().contains("127.0.0.1:11911"), "names the other");
    // A member that has moved is let in as soon as the old one has certainly stopped.
    until("the old lease ends", async || {
        let answer = cluster.ask_leader(kind::CONTROLLER_RENEW, &other).await;
        (answer.code == response::SUCCESS).then_some(())
    })
    .await;
    let view = cluster.renew_until(&[&other], "an election", |view| view.master.is_some()).await;
    assert_eq!((view.epoch, view.master.unwrap().address), (2, other.address));
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_store_has_nothing_of_what_was_acknowledged() {
    let cluster = Cluster::start_with(1, Duration::from_secs(600), 1_000).await;
    let first = cluster.renew(&renewal(1)).await;
    let slave = renewal(2);
    cluster.renew(&slave).await;
    assert_eq!(cluster.change_set(&set(&first, &[1, 2])).await.code, response::SUCCESS);
    let wiped = Renewal { incarnation: 5, store: 8, log_end: 1_000_000, ..renewal(1) };
    let view = cluster.renew_until(&[&wiped, &slave], "an election", |view| view.master.is_some()).await;
    assert_eq!((master(&view), view.in_sync.as_slice()), (Some(2), &[2][..]));
    // The last one that has everything is lost too: nobody is made master by itself.
    let wiped = Renewal { incarnation: 6, store: 9, ..slave };
    let view = cluster.renew(&wiped).await;
    assert_eq!((view.master, view.in_sync), (None, Vec::new()));
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn stale_changes_of_the_set_are_refused() {
    let cluster = Cluster::start_with(1, Duration::from_secs(600), 1_000).await;
    let unknown = SetChange { broker: "x".to_owned(), ..set(&cluster.renew(&renewal(1)).await, &[1]) };
    let view = cluster.renew(&renewal(2)).await;
    let good = set(&view, &[1, 2]);
    let cases = [
        (SetChange { epoch: 0, ..good.clone() }, response::CONTROLLER_FENCED_MASTER_EPOCH),
        (SetChange { set_epoch: 0, ..good.clone() }, response::CONTROLLER_FENCED_SYNC_STATE_SET_EPOCH),
        (SetChange { master: 2, ..good.clone() }, response::CONTROLLER_INVALID_MASTER),
        (SetChange { in_sync: vec![2], ..good.clone() }, response::CONTROLLER_INVALID_REPLICAS),
        (SetChange { in_sync: vec![1, 3], ..good.clone() }, response::CONTROLLER_INVALID_REPLICAS),
        (unknown, response::CONTROLLER_BROKER_METADATA_NOT_EXIST),
    ];
    for (change, code) in cases {
        let answer = cluster.change_set(&change).await;
        assert_eq!(answer.code, code, "{change:?}: {:?}", answer.remark);
        assert!(answer.remark.is_some_and(|remark| remark.contains(' ')), "a sentence");
    }
    assert_eq!(cluster.change_set(&good).await.code, response::SUCCESS);
    assert_eq!(cluster.change_set(&good).await.code, response::CONTROLLER_FENCED_SYNC_STATE_SET_EPOCH);
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_renewals_at_once_share_their_rounds() {
    let cluster = Cluster::start(3).await;
    cluster.renew(&renewal(1)).await;
    let leader = cluster.leader().await;
    let controller = cluster.controller(leader);
    let renewals = (0..200).map(|number| async move {
        let renewal = Renewal { broker: format!("b{}", number % 50), ..renewal(1 + number % 2) };
        controller.renew(&renewal).await
    });
    for view in futures_util::future::join_all(renewals).await {
        assert_eq!(view.unwrap().epoch, 1);
    }
    assert_eq!(cluster.quorum(leader).await.groups.len(), 51);
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_master_that_cannot_take_up_an_epoch_is_elected_under_another() {
    let cluster = Cluster::start_with(1, 2 * LEASE, 1_000).await;
    assert_eq!(cluster.renew(&renewal(1)).await.epoch, 1);
    let view =
        cluster.renew_until(&[&renewal(1)], "another epoch", |view| view.epoch == 2 && view.master.is_some()).await;
    assert_eq!(master(&view), Some(1));
    let serving = Renewal { epoch: 2, ..renewal(1) };
    let began = Instant::now();
    while began.elapsed() < 4 * LEASE {
        assert_eq!(cluster.renew(&serving).await.epoch, 2);
    }
    cluster.stop().await;
}
