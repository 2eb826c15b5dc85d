//! Taking a message back before it is due.

use std::time::Duration;

use orbitmq_common::message::recall::RecallHandle;
use orbitmq_common::protocol::code::{request, response};
use orbitmq_common::protocol::header::send::{RecallRequest, RecallResponse};
use tokio::time::Instant;

use crate::error::RecallError;
use crate::mastership::is_about_mastership;
use crate::producer::Shared;

/// Time to the next try, for it is one broker that has the message.
const PAUSE: Duration = Duration::from_millis(50);

/// One try that failed.
enum Failure {
    /// The broker would say the same again.
    Final { address: String, code: i32, remark: String },
    /// Another try may succeed.
    Passing(String),
}

/// Asks the broker that the handle names until it answers or the deadline of sends is over.
pub(crate) async fn run(shared: &Shared, handle: &str) -> Result<String, RecallError> {
    let known = RecallHandle::decode(handle)?;
    let began = Instant::now();
    let limit = shared.config.send_timeout;
    let mut cause = "no try was done in time".to_owned();
    while let Some(left) = limit.checked_sub(began.elapsed()).filter(|left| !left.is_zero()) {
        match tokio::time::timeout(left, ask(shared, &known, handle)).await {
            Ok(Ok(id)) => return Ok(id),
            Ok(Err(Failure::Final { address, code, remark })) => {
                return Err(RecallError::Refused { broker: known.broker, address, code, remark });
            }
            Ok(Err(Failure::Passing(text))) => cause = text,
            Err(_) => break,
        }
        shared.finder.stale(&known.topic);
        tokio::time::sleep(PAUSE).await;
    }
    Err(RecallError::Failed { broker: known.broker, elapsed: began.elapsed(), cause })
}

async fn ask(shared: &Shared, known: &RecallHandle, handle: &str) -> Result<String, Failure> {
    let passing = |error: &dyn std::fmt::Display| Failure::Passing(error.to_string());
    let found = shared.finder.find_or_default(&known.topic, shared.config.default_topic_queues);
    let route = found.await.map_err(|error| passing(&error))?;
    let Some(address) = route.master(&known.broker) else {
        return Err(Failure::Passing(format!(
            "broker '{}' has no master in the route of '{}': start it again",
            known.broker, known.topic
        )));
    };
    let link =
        shared.links.get(address, shared.config.client.connect_timeout).await.map_err(|error| passing(&error))?;
    let fields = RecallRequest {
        producer_group: Some(shared.config.group.as_str().into()),
        topic: known.topic.as_str().into(),
        recall_handle: handle.into(),
        broker_name: Some(known.broker.as_str().into()),
    };
    let asked = link.call(link.request(request::RECALL_MESSAGE).with_fields(&fields), shared.config.try_timeout);
    let answer = asked.await.map_err(|error| passing(&error))?;
    let remark = answer.remark.clone().unwrap_or_default();
    match answer.code {
        response::SUCCESS => {
            let fields = answer.fields::<RecallResponse<'_>>().map_err(|error| passing(&error))?;
            Ok(fields.msg_id.into_owned())
        }
        response::SYSTEM_BUSY | response::SERVICE_NOT_AVAILABLE => {
            Err(Failure::Passing(format!("{address} answers with code {}: {remark}", answer.code)))
        }
        response::NO_PERMISSION if is_about_mastership(&remark) => Err(Failure::Passing(remark)),
        code => Err(Failure::Final { address: address.to_owned(), code, remark }),
    }
}
