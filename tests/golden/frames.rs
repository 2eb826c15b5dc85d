//! Every captured frame is read and written back byte for byte, and every kind that we speak is there.

use bytes::BytesMut;
use orbitmq_common::protocol::code::request;
use orbitmq_common::protocol::codec::encode_frame;

use crate::sample;

#[test]
fn every_frame_is_written_back_byte_for_byte() {
    let mut odd = 0;
    for sample in sample::all() {
        assert_eq!(sample.frame.encoding, sample.encoding, "{}", sample.file);
        let mut ours = BytesMut::new();
        encode_frame(&sample.frame, &mut ours);
        if sample.is_odd() && sample.encoding == orbitmq_common::protocol::frame::Encoding::Json {
            // That program has its own order of members; the value has to be the same.
            assert_eq!(json_header(&ours), json_header(&sample.bytes), "{}", sample.file);
            odd += 1;
        } else {
            assert_eq!(ours, sample.bytes, "{}", sample.file);
        }
    }
    assert!(odd < 20, "{odd} frames are not of Apache's making");
}

fn json_header(frame: &[u8]) -> serde_json::Value {
    let length = u32::from_be_bytes([0, frame[5], frame[6], frame[7]]) as usize;
    let mut header: serde_json::Value = serde_json::from_slice(&frame[8..8 + length]).unwrap();
    header.as_object_mut().unwrap().remove("serializeTypeCurrentRPC");
    header
}

#[test]
fn what_the_file_says_is_in_the_frame() {
    for sample in sample::all() {
        let answer = matches!(sample.direction.as_str(), "response" | "reply");
        assert_eq!(sample.frame.is_answer(), answer, "{}", sample.file);
        if !answer {
            assert_eq!(sample.frame.code, sample.code, "{}", sample.file);
        }
        if sample.name != "unknown"
            && let Some(ours) = request::name(sample.code)
        {
            assert_eq!(sample.name.to_uppercase(), ours, "{}", sample.file);
        }
    }
}

/// What this project's clients and servers have to understand of Apache's, by name.
const SPOKEN: [(i32, &str); 46] = [
    (10, "send_message"),
    (11, "pull_message"),
    (12, "query_message"),
    (14, "query_consumer_offset"),
    (15, "update_consumer_offset"),
    (17, "update_and_create_topic"),
    (21, "get_all_topic_config"),
    (28, "get_broker_runtime_info"),
    (29, "search_offset_by_timestamp"),
    (30, "get_max_offset"),
    (31, "get_min_offset"),
    (32, "get_earliest_msg_storetime"),
    (33, "view_message_by_id"),
    (34, "heart_beat"),
    (35, "unregister_client"),
    (36, "consumer_send_msg_back"),
    (38, "get_consumer_list_by_group"),
    (40, "notify_consumer_ids_changed"),
    (41, "lock_batch_mq"),
    (42, "unlock_batch_mq"),
    (46, "check_client_config"),
    (100, "put_kv_config"),
    (101, "get_kv_config"),
    (102, "delete_kv_config"),
    (103, "register_broker"),
    (104, "unregister_broker"),
    (105, "get_routeinfo_by_topic"),
    (106, "get_broker_cluster_info"),
    (200, "update_and_create_subscriptiongroup"),
    (201, "get_all_subscriptiongroup_config"),
    (202, "get_topic_stats_info"),
    (205, "wipe_write_perm_of_broker"),
    (206, "get_all_topic_list_from_nameserver"),
    (215, "delete_topic_in_broker"),
    (216, "delete_topic_in_namesrv"),
    (219, "get_kvlist_by_namespace"),
    (224, "get_topics_by_cluster"),
    (307, "get_consumer_running_info"),
    (309, "consume_message_directly"),
    (310, "send_message_v2"),
    (319, "get_namesrv_config"),
    (320, "send_batch_message"),
    (322, "query_data_version"),
    (327, "add_write_perm_of_broker"),
    (351, "get_topic_config"),
    (361, "lite_pull_message"),
];

#[test]
fn every_kind_that_we_speak_is_there() {
    let all = sample::all();
    for (code, name) in SPOKEN {
        for encoding in ["json", "binary"] {
            let have = |direction: &str| {
                all.iter().any(|sample| sample.file.starts_with(&format!("{direction}-{code}-{name}-{encoding}-")))
            };
            if code == 40 {
                // A notice to consumers, which nobody answers.
                assert!(have("push"), "no {encoding} frame of {name} ({code})");
                continue;
            }
            assert!(have("request"), "no {encoding} request {name} ({code})");
            // Apache's answer to the older send is captured in JSON only.
            assert!(have("response") || code == 10, "no {encoding} answer to {name} ({code})");
        }
    }
}
