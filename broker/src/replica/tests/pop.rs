//! What was popped, at a slave that becomes master.

use orbitmq_common::protocol::header::pop::{AckRequest, PopRequest, PopResponse};

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn what_was_popped_is_known_to_the_slave_that_becomes_master() {
    let (a, b) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let master = Node::start(config(a.path(), Acknowledge::Replica)).await.unwrap();
    let slave = Node::start(slave_of(&master, b.path(), 1)).await.unwrap();
    copies(&master, 2).await;
    let sender = Sender::to(master.bound()).await;
    sender.send_all(0, 3).await;
    let pop = |link: &Link| {
        let fields = PopRequest {
            consumer_group: "G".into(),
            topic: "T".into(),
            queue_id: 0,
            max_msg_nums: 2,
            invisible_time: 60_000,
            ..PopRequest::default()
        };
        link.request(request::POP_MESSAGE).with_fields(&fields)
    };
    let popped = sender.link.call(pop(&sender.link), DEADLINE).await.unwrap();
    assert_eq!(popped.code, response::SUCCESS, "{:?}", popped.remark);
    let told: PopResponse<'_> = popped.fields().unwrap();
    let ack = |link: &Link, offset: i64| {
        let (time, queue) = (told.pop_time, told.revive_qid);
        let fields = AckRequest {
            consumer_group: "G".into(),
            topic: "T".into(),
            queue_id: 0,
            extra_info: format!("0 {time} 60000 {queue} 0 broker-a 0 {offset}").into(),
            offset,
        };
        link.request(request::ACK_MESSAGE).with_fields(&fields)
    };
    let acked = sender.link.call(ack(&sender.link, 1), DEADLINE).await.unwrap();
    assert_eq!(acked.code, response::SUCCESS, "{:?}", acked.remark);
    let to_slave = Sender::to(slave.bound()).await;
    let refused = to_slave.link.call(pop(&to_slave.link), DEADLINE).await.unwrap();
    assert_eq!(refused.code, response::SERVICE_NOT_AVAILABLE, "a slave does not pop");
    let group = async || slave.broker().groups.get("G").is_some();
    until("the group is at the slave", group).await;
    let end = i64::try_from(master.broker().store.local()).unwrap();
    master.stop().await;
    let promote = to_slave.link.request(request::PROMOTE).with_fields(&PromoteRequest { log_end: end });
    assert_eq!(to_slave.link.call(promote, DEADLINE).await.unwrap().code, response::SUCCESS);
    until("its notes are read", async || slave.broker().pop.is_ready()).await;
    assert_eq!(slave.broker().pop.open().0, 1, "of two popped messages one is open");
    let refused = to_slave.link.call(pop(&to_slave.link), DEADLINE).await.unwrap();
    assert_eq!(refused.code, response::SUCCESS, "{:?}", refused.remark);
    assert_eq!(refused.fields::<PopResponse<'_>>().unwrap().msg_offset_info.as_deref(), Some("0 0 2"));
    to_slave.link.call(ack(&to_slave.link, 0), DEADLINE).await.unwrap();
    assert_eq!(slave.broker().pop.open().0, 1, "the one popped here");
    slave.stop().await;
}
