//! What consumers tell about themselves (307, 223), and messages given to one by hand (309).

use std::time::Duration;

use orbitmq_common::message::id::offset_id;
use orbitmq_common::protocol::body::running::{DirectResult, Outcome};
use orbitmq_common::protocol::body::stats::parse_client_status;
use orbitmq_common::protocol::code::{request, response};
use orbitmq_common::protocol::header::examine::{ConsumeDirectlyRequest, ConsumerStatusRequest, RunningInfoRequest};
use orbitmq_common::protocol::relaxed;
use orbitmq_consumer::{Consumer, Fetch};
use orbitmq_tests::session::{Failure, Outgoing};
use orbitmq_tests::wait::until;
use serde_json::Value;

use crate::cluster::{Cluster, GROUP, PATIENCE, TOPIC, next, number, silent};

async fn running(cluster: &Cluster, consumer: &Consumer, stacks: bool) -> Value {
    let fields = RunningInfoRequest {
        consumer_group: GROUP.into(),
        client_id: consumer.client_id().into(),
        jstack_enable: Some(stacks),
    };
    let session = cluster.session(0);
    let call = session.call(request::GET_CONSUMER_RUNNING_INFO, |frame| frame.with_fields(&fields));
    relaxed::parse(&call.await.unwrap().body).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_consumer_says_how_it_is_and_where() {
    for fetch in [Fetch::Pull, Fetch::Pop] {
        let cluster = Cluster::start(1, 2).await;
        cluster.send(0..10).await;
        let consumer = cluster.consumer().fetch(fetch).commit_every(Duration::from_millis(50)).build().await.unwrap();
        let mut in_hand = Vec::new();
        for _ in 0..10 {
            in_hand.push(next(&consumer).await);
        }
        let kept = in_hand.pop().unwrap();
        in_hand.into_iter().for_each(orbitmq_consumer::Delivery::ack);
        let is_told = async || {
            let info = running(&cluster, &consumer, true).await;
            let status = &info["statusTable"][TOPIC];
            let counted = status["pullTPS"].as_f64()? > 0.0 && status["consumeOKTPS"].as_f64()? > 0.0;
            let held = match fetch {
                Fetch::Pop => info["mqPopTable"]
                    .as_object()?
                    .values()
                    .map(|one| one["waitAckCount"].as_i64())
                    .sum::<Option<i64>>()?,
                _ => info["mqTable"]
                    .as_object()?
                    .values()
                    .map(|one| one["cachedMsgCount"].as_i64())
                    .sum::<Option<i64>>()?,
            };
            (counted && held == 1).then_some(info)
        };
        let info = until("it is told", PATIENCE, is_told).await;
        assert_eq!(info["properties"]["PROP_CONSUME_TYPE"], "CONSUME_PASSIVELY");
        assert!(info["jstack"].as_str().unwrap().contains(TOPIC), "{info}");
        assert_eq!(info["subscriptionSet"].as_array().unwrap().len(), 2);
        kept.ack();

        let fields =
            ConsumerStatusRequest { group: GROUP.into(), topic: TOPIC.into(), ..ConsumerStatusRequest::default() };
        let session = cluster.session(0);
        let call = session.call(request::INVOKE_BROKER_TO_GET_CONSUMER_STATUS, |frame| frame.with_fields(&fields));
        let told: Value = relaxed::parse(&call.await.unwrap().body).unwrap();
        let rows = &told["consumerTable"][consumer.client_id()];
        if fetch == Fetch::Pull {
            assert_eq!(rows.as_object().unwrap().values().filter_map(Value::as_i64).sum::<i64>(), 10, "{told}");
        } else {
            assert!(rows.as_object().unwrap().is_empty(), "offsets of what is popped are the broker's: {told}");
        }
        consumer.close().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_given_by_hand_is_consumed_and_counts_nowhere() {
    let cluster = Cluster::start(1, 1).await;
    let session = cluster.session(0);
    let message = Outgoing { body: "7".into(), properties: String::new() };
    let receipt = session.send(TOPIC, 0, &[message]).await.unwrap();
    let id = offset_id(cluster.brokers[0].address().parse().unwrap(), receipt.physical[0]);
    let consumer = cluster.consumer().build().await.unwrap();
    let first = next(&consumer).await;
    assert_eq!(number(&first), 7);
    first.ack();

    let fields = ConsumeDirectlyRequest {
        consumer_group: GROUP.into(),
        client_id: Some(consumer.client_id().into()),
        msg_id: Some(id.as_str().into()),
        ..ConsumeDirectlyRequest::default()
    };
    let ask = async || session.call(request::CONSUME_MESSAGE_DIRECTLY, |frame| frame.with_fields(&fields)).await;
    let result = async || -> DirectResult { relaxed::parse(&ask().await.unwrap().body).unwrap() };

    let (told, ()) = tokio::join!(result(), async {
        let delivery = next(&consumer).await;
        assert_eq!((number(&delivery), delivery.broker()), (7, "a"));
        delivery.ack();
    });
    assert_eq!(told.consume_result, Some(Outcome::Success));
    let (told, ()) = tokio::join!(result(), async {
        next(&consumer).await.because("not today").retry_later().await.unwrap();
    });
    assert_eq!((told.consume_result, told.remark.as_deref()), (Some(Outcome::Later), Some("not today")));
    let (told, ()) = tokio::join!(result(), async { drop(next(&consumer).await) });
    assert_eq!(told.consume_result, Some(Outcome::Nothing));
    silent(&consumer, Duration::from_millis(300)).await;
    consumer.close().await;
    let gone = async || match ask().await {
        Err(Failure::Refused { code, .. }) => (code == response::CONSUMER_NOT_ONLINE).then_some(()),
        other => panic!("{other:?}"),
    };
    until("it is gone", PATIENCE, gone).await;
    assert!(parse_client_status(b"{\"messageQueueTable\":{}}").unwrap().is_empty());
}
