//! Asks controllers all the time who is master and who is in sync, so that the checker knows epochs and sets.

use std::sync::Arc;
use std::time::Duration;

use orbitmq_common::protocol::code::request;
use serde::{Deserialize, Serialize};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::load::World;
use super::proxy::group_name;
use crate::session::Session;

/// How often a controller is asked, and how long it has: no master is elected and followed in so short a time.
const EVERY: Duration = Duration::from_millis(50);
const DEADLINE: Duration = Duration::from_millis(500);

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Question {
    broker_name: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Answer {
    // Our own encoding tells fields by their places.
    #[serde(rename = "masterBrokerId")]
    _master_broker_id: Option<i64>,
    master_address: Option<String>,
    master_epoch: i64,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Body {
    sync_state_set: Vec<i64>,
    sync_state_set_epoch: i64,
}

/// Starts to ask one controller for the masters of all groups.
pub fn start(session: Session, world: &Arc<World>, tasks: &mut JoinSet<()>, stop: CancellationToken) {
    let world = Arc::clone(world);
    let work = async move {
        loop {
            for group in 0..world.groups {
                let _ = tokio::time::timeout(DEADLINE, ask(&session, &world, group)).await;
            }
            tokio::time::sleep(EVERY).await;
        }
    };
    tasks.spawn(async move { stop.run_until_cancelled_owned(work).await.unwrap_or(()) });
}

/// What does not answer is asked again soon enough.
async fn ask(session: &Session, world: &World, group: u8) {
    let question = Question { broker_name: group_name(group) };
    let asked = world.history.now();
    let asking = session.call(request::CONTROLLER_GET_REPLICA_INFO, |frame| frame.with_fields(&question));
    let Ok(answer) = asking.await else { return };
    let body: Body = serde_json::from_slice(&answer.body).unwrap();
    world.history.set(group, body.sync_state_set_epoch, body.sync_state_set, asked);
    let answer: Answer = answer.fields().unwrap();
    if let Some(master) = answer.master_address.and_then(|address| world.members.get(&address)) {
        world.history.epoch(answer.master_epoch, *master);
    }
}
