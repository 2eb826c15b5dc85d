//! Topics that every broker has, and those whose settings were lost.

use orbitmq_common::name;
use orbitmq_common::protocol::body::route::perm;
use orbitmq_common::protocol::body::topic::TopicConfig;

use crate::broker::Broker;
use crate::pop::REVIVE_QUEUES;

/// Topics that clients and tools take for granted.
pub fn create(broker: &Broker) {
    let (config, read_write) = (&broker.config, perm::READ | perm::WRITE);
    let all = read_write | perm::INHERIT;
    let levels = i32::try_from(config.store.delay_levels.len()).unwrap_or(18);
    let mut topics = vec![
        (name::SELF_TEST_TOPIC.to_owned(), 1, read_write),
        (name::BENCHMARK_TOPIC.to_owned(), 1024, read_write),
        (config.cluster.clone(), 16, all),
        (config.name.clone(), 1, all),
        (name::OFFSET_MOVED_TOPIC.to_owned(), 1, read_write),
        (name::SCHEDULE_TOPIC.to_owned(), levels, read_write),
        (name::HALF_TOPIC.to_owned(), 1, read_write),
        (name::HALF_OP_TOPIC.to_owned(), 1, read_write),
        (name::TIMER_TOPIC.to_owned(), 1, read_write),
        (format!("{}_REPLY_TOPIC", config.cluster), 1, read_write),
        (name::revive_topic(&config.cluster), i32::try_from(REVIVE_QUEUES).unwrap_or(8), read_write),
    ];
    if config.auto_create_topics {
        topics.push((name::DEFAULT_TOPIC.to_owned(), config.default_topic_queues, all));
    }
    if config.trace_topic {
        topics.push((name::TRACE_TOPIC.to_owned(), 1, read_write));
    }
    for (topic, queues, perm) in topics {
        broker.topics.ensure(&topic, || TopicConfig::new(topic.clone(), queues, perm));
    }
}

/// A power cut may have taken the settings of a topic whose messages are there: the messages win.
pub fn adopt(broker: &Broker) {
    for topic in broker.store.topics() {
        if name::check_topic(&topic).is_err() || name::is_system_topic(&topic) {
            continue;
        }
        let last = broker.store.queues(&topic).into_iter().max().unwrap_or(0);
        let queues = i32::try_from(last).unwrap_or(0).saturating_add(1);
        broker.topics.ensure(&topic, || {
            tracing::warn!(
                topic,
                queues,
                "messages of this topic are stored but its settings were lost; it is readable and writable again"
            );
            TopicConfig::new(topic.clone(), queues, perm::READ | perm::WRITE)
        });
    }
}
