//! Carries over what groups have committed at the old master after ours stopped following it.

use orbitmq_common::protocol::code::request;
use orbitmq_common::protocol::header::offset::UpdateOffsetRequest;

use super::metadata;
use super::pair::Pair;
use crate::failure::Failure;
use crate::session::Question;

/// How many offsets were moved, and which were refused.
#[derive(Debug, Default)]
pub struct Moved {
    /// Moved.
    pub moved: usize,
    /// Refused, and why.
    pub refused: Vec<String>,
}

/// Moves each offset of ours forward to the old master's; none goes back.
///
/// # Errors
/// One of the two does not answer.
pub async fn forward(pair: &Pair<'_>) -> Result<Moved, Failure> {
    let old = metadata::offsets(pair.session, &pair.old).await?;
    let new = metadata::offsets(pair.session, &pair.new).await?;
    let mut done = Moved::default();
    for (place, offset) in old {
        if new.get(&place).is_some_and(|here| *here >= offset) {
            continue;
        }
        let fields = UpdateOffsetRequest {
            consumer_group: place.group.as_str().into(),
            topic: place.topic.as_str().into(),
            queue_id: place.queue,
            commit_offset: offset,
        };
        match pair.session.broker(&pair.new, &Question::new(request::UPDATE_CONSUMER_OFFSET, &fields)).await {
            Ok(_) => done.moved += 1,
            Err(failure @ Failure::Refused { .. }) => done.refused.push(format!("{place}: {failure}")),
            Err(failure) => return Err(failure),
        }
    }
    Ok(done)
}
