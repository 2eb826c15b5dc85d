//! The topic of a service: made by its first provider where brokers make topics at all.

use std::time::Duration;

use orbitmq_common::name::DEFAULT_TOPIC;
use orbitmq_common::protocol::body::route::perm;
use orbitmq_common::protocol::code::{request, response};
use orbitmq_common::protocol::header::admin::CreateTopicRequest;
use orbitmq_common::route::finder::RouteError;
use tokio::time::Instant;

use crate::directory::Directory;

/// Every node reads every queue, so more than one at a broker would help nobody.
const QUEUES: i32 = 1;
const WITHIN: Duration = Duration::from_secs(10);
const ASK_TIMEOUT: Duration = Duration::from_secs(3);
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// Makes sure that name servers know the topic. One that is missing is created at every broker that creates topics on first
/// use, so that calls go on while one of them is away.
pub(crate) async fn ensure(directory: &Directory, topic: &str) -> Result<(), String> {
    let finder = &directory.finder;
    match finder.fresh(topic).await {
        Ok(_) => return Ok(()),
        Err(RouteError::NotFound { .. }) => {}
        Err(error) => return Err(error.to_string()),
    }
    let makers = finder.fresh(DEFAULT_TOPIC).await.map_err(|error| format!("no broker creates topics ({error})"))?;
    let (mut made, mut causes) = (false, Vec::new());
    for address in makers.brokers().iter().filter_map(|broker| broker.master()) {
        match create(directory, address, topic).await {
            Ok(()) => made = true,
            Err(cause) => causes.push(format!("{address}: {cause}")),
        }
    }
    if !made {
        return Err(causes.join("; "));
    }
    let end = Instant::now() + WITHIN;
    while let Err(error) = finder.fresh(topic).await {
        if Instant::now() >= end {
            return Err(format!("it was created and has no route after {WITHIN:?}: {error}"));
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
    Ok(())
}

async fn create(directory: &Directory, address: &str, topic: &str) -> Result<(), String> {
    let fields = CreateTopicRequest {
        topic: topic.into(),
        default_topic: DEFAULT_TOPIC.into(),
        read_queue_nums: QUEUES,
        write_queue_nums: QUEUES,
        perm: perm::READ | perm::WRITE,
        topic_filter_type: Some("SINGLE_TAG".into()),
        topic_sys_flag: Some(0),
        ..CreateTopicRequest::default()
    };
    let link = directory.links.get(address, ASK_TIMEOUT).await.map_err(|error| error.to_string())?;
    let wish = link.request(request::UPDATE_AND_CREATE_TOPIC).with_fields(&fields);
    let answer = link.call(wish, ASK_TIMEOUT).await.map_err(|error| error.to_string())?;
    match answer.code {
        response::SUCCESS => Ok(()),
        code => Err(format!("code {code}: {}", answer.remark.unwrap_or_default())),
    }
}
