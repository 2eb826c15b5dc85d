//! The topic of a service: made by its first provider where brokers make topics at all.

use std::time::Duration;

use orbitmq_common::name::DEFAULT_TOPIC;
use orbitmq_common::protocol::body::route::perm;
use orbitmq_common::protocol::code::{request, response};
use orbitmq_common::protocol::header::admin::CreateTopicRequest;
use orbitmq_common::route::error::RouteError;
use tokio::time::Instant;

use crate::directory::Directory;

/// Every node reads every queue, so more than one at a broker would help nobody.
const QUEUES: i32 = 1;
const WITHIN: Duration = Duration::from_secs(10);
const ASK_TIMEOUT: Duration = Duration::from_secs(3);
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// Makes sure that name servers know the topic. One that is missing is created at every broker that creates topics on first
/// use, so that calls go on while one of them is away. Brokers that start at this moment are waited for.
pub(crate) async fn ensure(directory: &Directory, topic: &str) -> Result<(), String> {
    let end = Instant::now() + WITHIN;
    let mut is_made = false;
    loop {
        let cause = match directory.finder.fresh(topic).await {
            Ok(_) => return Ok(()),
            Err(RouteError::NotFound { .. }) if is_made => format!("it was created and has no route after {WITHIN:?}"),
            Err(RouteError::NotFound { .. }) => match create_everywhere(directory, topic).await {
                Ok(()) => {
                    is_made = true;
                    continue;
                }
                Err(cause) => cause,
            },
            Err(error) => error.to_string(),
        };
        if Instant::now() >= end {
            return Err(cause);
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
}

async fn create_everywhere(directory: &Directory, topic: &str) -> Result<(), String> {
    let makers = directory.finder.fresh(DEFAULT_TOPIC).await;
    let makers = makers.map_err(|error| format!("no broker creates topics ({error})"))?;
    let (mut is_made, mut causes) = (false, Vec::new());
    for address in makers.brokers().iter().filter_map(|broker| broker.master()) {
        match create(directory, address, topic).await {
            Ok(()) => is_made = true,
            Err(cause) => causes.push(format!("{address}: {cause}")),
        }
    }
    if is_made { Ok(()) } else { Err(causes.join("; ")) }
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
