//! Replication for administrators: figures (907), and making a slave the master (60031).

use std::sync::Arc;
use std::time::Duration;

use orbitmq_common::net::connection::Outcome;
use orbitmq_common::protocol::body::replica::{HaClient, HaConnection, HaStatus};
use orbitmq_common::protocol::code::response;
use orbitmq_common::protocol::frame::Frame;
use orbitmq_common::protocol::header::replica::{PromoteRequest, PromoteResponse};

use crate::broker::Broker;
use crate::config::replication::RoleSetting;
use crate::refusal::Refusal;
use crate::replica::role::Role;

/// A promotion that takes longer is reported as under way.
const PROMOTION: Duration = Duration::from_secs(10);

/// GET_BROKER_HA_STATUS (907).
pub fn status(broker: &Broker, frame: &Frame) -> Frame {
    let end = broker.store.end();
    let slaves = broker.in_sync.shown();
    let connection = |slave: crate::replica::in_sync::Shown| HaConnection {
        addr: slave.address,
        slave_ack_offset: slave.acked,
        diff: end.saturating_sub(slave.acked),
        in_sync: slave.in_sync,
        transfer_from_where: slave.acked,
        ..HaConnection::default()
    };
    let client = match broker.role.current() {
        Role::Slave { master: Some(master) } => HaClient {
            master_addr: master.ha,
            max_offset: broker.store.local(),
            master_flush_offset: broker.store.confirmed(),
            is_activated: broker.role.is_master_alive(),
            ..HaClient::default()
        },
        _ => HaClient::default(),
    };
    frame.answer(response::SUCCESS).with_json(&HaStatus {
        master: broker.role.is_master(),
        master_commit_log_max_offset: if broker.role.is_master() { end } else { 0 },
        in_sync_slave_nums: slaves.iter().filter(|slave| slave.in_sync).count(),
        ha_connection_info: slaves.into_iter().map(connection).collect(),
        ha_client_runtime_info: client,
    })
}

/// PROMOTE (60031): for slaves without a controller. The caller answers for it that the old master takes no messages any more.
pub fn promote(broker: &Arc<Broker>, frame: &Frame) -> Result<Outcome, Refusal> {
    let header: PromoteRequest = frame.fields()?;
    if broker.config.role == RoleSetting::Auto {
        let remark = "the controller decides who is master here; use 'orbitmq controller elect'";
        return Err(Refusal::new(response::NO_PERMISSION, remark));
    }
    if broker.role.is_master() {
        return Err(Refusal::new(response::CONTROLLER_MASTER_STILL_EXIST, "this broker is master already"));
    }
    let (end, wanted) = (broker.store.local(), u64::try_from(header.log_end).unwrap_or(0));
    if end < wanted {
        let remark =
            format!("the log ends at {end} here, {} bytes before {wanted}; wait until it has caught up", wanted - end);
        return Err(Refusal::new(response::SERVICE_NOT_AVAILABLE, remark));
    }
    broker.promotion.notify_one();
    let (broker, request) = (Arc::clone(broker), frame.answer(response::SUCCESS));
    Ok(Outcome::later(async move {
        let mut role = broker.role.watch();
        let master = role.wait_for(|role| matches!(role, Role::Master { .. }));
        match tokio::time::timeout(PROMOTION, master).await {
            Ok(Ok(_)) => request.with_fields(&PromoteResponse {
                epoch: broker.role.epoch(),
                log_end: i64::try_from(broker.store.end()).unwrap_or(i64::MAX),
            }),
            _ => {
                let remark = format!("the promotion has not ended within {PROMOTION:?}; see the log of the broker");
                request.refuse(response::SYSTEM_ERROR, remark)
            }
        }
    }))
}
