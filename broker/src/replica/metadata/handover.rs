//! Tells the master what groups have committed here while it was away.

use futures_util::stream::{self, StreamExt, TryStreamExt};
use orbitmq_common::net::client::Link;
use orbitmq_common::protocol::code::{request, response};
use orbitmq_common::protocol::header::offset::{OffsetResponse, QueryOffsetRequest, UpdateOffsetRequest};

use super::{DEADLINE, FollowError, accepted};
use crate::broker::Broker;
use crate::meta::offsets::Untold;

/// Offsets that are told at once.
const AT_ONCE: usize = 64;

/// Tells everything that is untold. What the master does not want, or has further, is taken from it instead.
pub async fn tell(broker: &Broker, link: &Link) -> Result<(), FollowError> {
    let untold = broker.offsets.untold();
    stream::iter(untold).map(Ok).try_for_each_concurrent(AT_ONCE, |untold| tell_one(broker, link, untold)).await
}

async fn tell_one(broker: &Broker, link: &Link, untold: Untold) -> Result<(), FollowError> {
    let master = query(link, &untold).await?;
    // The master has gone back, or has forgotten: an administrator wanted it so, and that stands.
    let set_back = untold.base.is_some() && master < untold.base;
    if set_back || master >= Some(untold.offset) {
        broker.offsets.give_up(&untold, master);
        return Ok(());
    }
    let fields = UpdateOffsetRequest {
        consumer_group: untold.group.as_str().into(),
        topic: untold.topic.as_str().into(),
        queue_id: untold.queue,
        commit_offset: untold.offset,
    };
    let answer = link.call(link.request(request::UPDATE_CONSUMER_OFFSET).with_fields(&fields), DEADLINE).await?;
    match answer.code {
        // A remark says that an administrator's reset waits for the group.
        response::SUCCESS if answer.remark.as_ref().is_none_or(String::is_empty) => broker.offsets.told(&untold),
        response::SUCCESS
        | response::TOPIC_NOT_EXIST
        | response::SUBSCRIPTION_GROUP_NOT_EXIST
        | response::NO_PERMISSION
        | response::INVALID_PARAMETER => {
            let Untold { topic, group, queue, offset, .. } = &untold;
            let remark = answer.remark.as_deref().unwrap_or_default();
            tracing::warn!(
                topic,
                group,
                queue,
                offset,
                remark,
                "the master does not take an offset that was committed here"
            );
            broker.offsets.give_up(&untold, query(link, &untold).await?);
        }
        _ => drop(accepted(answer)?),
    }
    Ok(())
}

async fn query(link: &Link, untold: &Untold) -> Result<Option<i64>, FollowError> {
    let fields = QueryOffsetRequest {
        consumer_group: untold.group.as_str().into(),
        topic: untold.topic.as_str().into(),
        queue_id: untold.queue,
        set_zero_if_not_found: Some(false),
    };
    let answer = link.call(link.request(request::QUERY_CONSUMER_OFFSET).with_fields(&fields), DEADLINE).await?;
    if answer.code == response::QUERY_NOT_FOUND {
        return Ok(None);
    }
    Ok(Some(accepted(answer)?.fields::<OffsetResponse>()?.offset))
}
