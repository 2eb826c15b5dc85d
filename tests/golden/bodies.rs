//! The bodies of captured frames, read with our types.

use orbitmq_common::message::batch;
use orbitmq_common::message::entry::records;
use orbitmq_common::protocol::body::group::{
    ConsumerConnection, ConsumerIds, GroupConfig, GroupList, GroupTable, LockRequest, LockResponse, ProducerConnection,
};
use orbitmq_common::protocol::body::heartbeat::{CheckClientRequest, HeartbeatData};
use orbitmq_common::protocol::body::kv::KvTable;
use orbitmq_common::protocol::body::pop::{AssignmentRequest, AssignmentResponse, RequestMode, RequestModeBody};
use orbitmq_common::protocol::body::register::RegisterBody;
use orbitmq_common::protocol::body::route::{ClusterInfo, TopicList, TopicRoute};
use orbitmq_common::protocol::body::running::RunningInfo;
use orbitmq_common::protocol::body::stats::{ConsumeOffset, TopicOffset, parse_table};
use orbitmq_common::protocol::body::topic::{DataVersion, TopicConfig, TopicTable};
use orbitmq_common::protocol::code::request as code;
use orbitmq_common::protocol::header::nameserver::RegisterBrokerRequest;
use orbitmq_common::protocol::relaxed;
use serde::de::DeserializeOwned;

use crate::sample::{self, Sample};

fn parse<T: DeserializeOwned>(sample: &Sample) -> T {
    relaxed::parse(&sample.frame.body).unwrap_or_else(|error| panic!("{}: {error}", sample.file))
}

/// Whether the body is of a kind that we read; then it was read.
fn read_answer(sample: &Sample) -> bool {
    let body = &sample.frame.body;
    match sample.code {
        code::GET_ROUTEINFO_BY_TOPIC => {
            let route: TopicRoute = parse(sample);
            assert!(!route.queue_datas.is_empty() && !route.broker_datas[0].broker_addrs.is_empty(), "{}", sample.file);
        }
        code::GET_BROKER_CLUSTER_INFO => assert!(!parse::<ClusterInfo>(sample).broker_addr_table.is_empty()),
        code::GET_ALL_TOPIC_LIST_FROM_NAMESERVER | code::GET_TOPICS_BY_CLUSTER => {
            assert!(!parse::<TopicList>(sample).topic_list.is_empty(), "{}", sample.file);
        }
        code::GET_KVLIST_BY_NAMESPACE | code::GET_BROKER_RUNTIME_INFO => {
            assert!(!parse::<KvTable>(sample).table.is_empty(), "{}", sample.file);
        }
        code::REGISTER_BROKER => drop(parse::<KvTable>(sample)),
        code::GET_CONSUMER_LIST_BY_GROUP => assert!(!parse::<ConsumerIds>(sample).consumer_id_list.is_empty()),
        code::LOCK_BATCH_MQ => assert!(!parse::<LockResponse>(sample).locked.is_empty(), "{}", sample.file),
        code::GET_ALL_TOPIC_CONFIG => {
            let table: TopicTable = parse(sample);
            assert!(
                table.topic_config_table.iter().all(|(name, config)| *name == config.topic_name),
                "{}",
                sample.file
            );
        }
        code::GET_TOPIC_CONFIG => assert!(!parse::<TopicConfig>(sample).topic_name.is_empty(), "{}", sample.file),
        code::GET_ALL_SUBSCRIPTIONGROUP_CONFIG => {
            let table: GroupTable = parse(sample);
            assert!(table.subscription_group_table.iter().all(|(name, config)| *name == config.group_name));
        }
        code::GET_TOPIC_STATS_INFO => {
            let rows = parse_table::<TopicOffset>(body).unwrap();
            assert!(rows.iter().any(|(queue, row)| !queue.topic.is_empty() && row.max_offset > 0), "{rows:?}");
        }
        code::GET_CONSUME_STATS => {
            let rows = parse_table::<ConsumeOffset>(body).unwrap();
            assert!(rows.iter().any(|(queue, row)| !queue.topic.is_empty() && row.broker_offset > 0), "{rows:?}");
        }
        code::INVOKE_BROKER_TO_RESET_OFFSET => assert!(!parse_table::<i64>(body).unwrap().is_empty()),
        code::GET_CONSUMER_CONNECTION_LIST => {
            let group: ConsumerConnection = parse(sample);
            assert!(!group.connection_set.is_empty() && !group.subscription_table.is_empty(), "{}", sample.file);
        }
        code::GET_PRODUCER_CONNECTION_LIST => assert!(!parse::<ProducerConnection>(sample).connection_set.is_empty()),
        code::QUERY_TOPIC_CONSUME_BY_WHO => assert!(!parse::<GroupList>(sample).group_list.is_empty()),
        code::QUERY_ASSIGNMENT => {
            let told: AssignmentResponse = parse(sample);
            assert_eq!(serde_json::to_vec(&told).unwrap(), &body[..], "{}", sample.file);
            assert!(told.message_queue_assignments.unwrap().iter().all(|one| one.mode == RequestMode::Pop));
        }
        code::POP_MESSAGE
        | code::PULL_MESSAGE
        | code::LITE_PULL_MESSAGE
        | code::QUERY_MESSAGE
        | code::VIEW_MESSAGE_BY_ID => {
            let count = records(body).map(|record| record.unwrap().verify().unwrap()).count();
            assert!(count > 0, "{}", sample.file);
        }
        code::GET_CONSUMER_RUNNING_INFO => {
            let info = RunningInfo::decode(body).unwrap();
            assert!(
                info.properties.contains_key("PROP_CONSUME_TYPE") && !info.subscriptions.is_empty(),
                "{}",
                sample.file
            );
        }
        _ => return false,
    }
    true
}

fn read_request(sample: &Sample) -> bool {
    match sample.code {
        code::HEART_BEAT => assert!(!parse::<HeartbeatData>(sample).client_id.is_empty(), "{}", sample.file),
        code::QUERY_DATA_VERSION => assert!(parse::<DataVersion>(sample).timestamp > 0, "{}", sample.file),
        code::LOCK_BATCH_MQ | code::UNLOCK_BATCH_MQ => assert!(!parse::<LockRequest>(sample).mq_set.is_empty()),
        code::CHECK_CLIENT_CONFIG => {
            let subscription = parse::<CheckClientRequest>(sample).subscription_data.unwrap();
            assert!(!subscription.expression_type.is_empty());
        }
        code::QUERY_ASSIGNMENT => assert!(!parse::<AssignmentRequest>(sample).client_id.is_empty(), "{}", sample.file),
        code::SET_MESSAGE_REQUEST_MODE => {
            let mode: RequestModeBody = parse(sample);
            assert_eq!(serde_json::to_vec(&mode).unwrap(), sample.frame.body, "{}", sample.file);
        }
        code::UPDATE_AND_CREATE_SUBSCRIPTIONGROUP => assert!(!parse::<GroupConfig>(sample).group_name.is_empty()),
        code::REGISTER_BROKER => {
            let header: RegisterBrokerRequest<'_> = sample.frame.fields().unwrap();
            // With compressedRegister Apache's broker deflates the body and says that it did not; its name server refuses that.
            let deflated = sample.frame.body.first() == Some(&0x78);
            let body = RegisterBody::decode(&sample.frame.body, header.compressed || deflated).unwrap();
            assert!(!body.topic_config_serialize_wrapper.topic_config_table.is_empty(), "{}", sample.file);
        }
        code::SEND_BATCH_MESSAGE => {
            let bodies: Vec<_> = batch::decode(&sample.frame.body).map(Result::unwrap).collect();
            assert!(bodies.len() > 1, "{}", sample.file);
            assert_eq!(batch::encode(bodies).unwrap(), sample.frame.body, "{}", sample.file);
        }
        code::CHECK_TRANSACTION_STATE | code::CONSUME_MESSAGE_DIRECTLY if sample.direction == "push" => {
            assert_eq!(records(&sample.frame.body).map(|record| record.unwrap().verify().unwrap()).count(), 1);
        }
        _ => return false,
    }
    true
}

/// Answers whose bodies we have to read or to write.
const ANSWERED: [i32; 23] =
    [11, 12, 21, 28, 33, 38, 41, 105, 106, 201, 202, 203, 204, 206, 208, 219, 222, 224, 300, 351, 361, 400, 200_050];
const ASKED: [i32; 10] = [34, 41, 42, 46, 103, 200, 320, 322, 400, 401];

#[test]
fn bodies_are_read_with_our_types() {
    let (mut answered, mut asked) = (Vec::new(), Vec::new());
    for sample in sample::all() {
        let request = matches!(sample.direction.as_str(), "request" | "push");
        if sample.frame.body.is_empty() || (!request && sample.frame.code != 0) {
            continue;
        }
        if request && read_request(&sample) {
            asked.push(sample.code);
        } else if !request && read_answer(&sample) {
            answered.push(sample.code);
        }
    }
    let missing: Vec<_> = ANSWERED.iter().filter(|code| !answered.contains(code)).collect();
    assert!(missing.is_empty(), "no captured answer with a body for {missing:?}");
    let missing: Vec<_> = ASKED.iter().filter(|code| !asked.contains(code)).collect();
    assert!(missing.is_empty(), "no captured request with a body for {missing:?}");
}
