//! CONTROLLER_GET_REPLICA_INFO (1004), CONTROLLER_GET_METADATA_INFO (1005), CONTROLLER_GET_SYNC_STATE_DATA (1006): what
//! RocketMQ's tools show of a controller.

use orbitmq_common::protocol::body::controller::{
    BrokerReplicasInfo, GroupStatus, Replica, ReplicaIdentity, ReplicasInfo, SyncStateSet,
};
use orbitmq_common::protocol::code::response;
use orbitmq_common::protocol::frame::Frame;
use orbitmq_common::protocol::header::controller::{MetadataResponse, ReplicaInfoRequest, ReplicaInfoResponse};
use orbitmq_common::protocol::relaxed;

use crate::controller::Controller;
use crate::handler::Refusal;

/// Answers 1004.
pub async fn replica(controller: &Controller, request: &Frame) -> Result<Frame, Refusal> {
    let fields: ReplicaInfoRequest<'_> = request.fields()?;
    let view = controller.status(&controller.named("", &fields.broker_name)?).await?.view;
    let (id, address) = view.master.map(|master| (master.id, master.address.into())).unzip();
    let info = ReplicaInfoResponse { master_broker_id: id, master_address: address, master_epoch: view.epoch };
    let set = SyncStateSet { sync_state_set: view.in_sync, sync_state_set_epoch: view.set_epoch };
    Ok(request.answer(response::SUCCESS).with_fields(&info).with_json(&set))
}

/// Answers 1005, on any member.
pub fn metadata(controller: &Controller, request: &Frame) -> Frame {
    let quorum = controller.quorum();
    let (leader, address) = controller.leader().map(|(id, address)| (id.to_string(), address)).unzip();
    let peers = quorum.members.iter().map(|member| format!("{}-{}", member.id, member.address));
    request.answer(response::SUCCESS).with_fields(&MetadataResponse {
        group: "controller".into(),
        controller_leader_id: leader.unwrap_or_default().into(),
        controller_leader_address: address.unwrap_or_default().into(),
        is_leader: quorum.leader == Some(quorum.id),
        peers: peers.collect::<Vec<_>>().join(";").into(),
    })
}

/// Answers 1006. The body lists broker names.
pub async fn sync_state(controller: &Controller, request: &Frame) -> Result<Frame, Refusal> {
    let names: Vec<String> = relaxed::parse(&request.body)?;
    let mut answer = BrokerReplicasInfo::default();
    for broker in names {
        let group = controller.status(&controller.named("", &broker)?).await?;
        answer.replicas_info_table.insert(broker, replicas(&group));
    }
    Ok(request.answer(response::SUCCESS).with_json(&answer))
}

fn replicas(group: &GroupStatus) -> ReplicasInfo {
    let view = &group.view;
    let identity = |replica: &Replica| ReplicaIdentity {
        broker_name: group.broker.clone(),
        broker_id: replica.id,
        broker_address: replica.address.clone(),
        alive: group.alive.as_ref().is_some_and(|alive| alive.contains(&replica.id)),
    };
    let (inside, outside): (Vec<_>, Vec<_>) =
        view.replicas.iter().partition(|replica| view.in_sync.contains(&replica.id));
    ReplicasInfo {
        master_broker_id: view.master.as_ref().map(|master| master.id),
        master_address: view.master.as_ref().map(|master| master.address.clone()),
        master_epoch: view.epoch,
        sync_state_set_epoch: view.set_epoch,
        in_sync_replicas: inside.into_iter().map(identity).collect(),
        not_in_sync_replicas: outside.into_iter().map(identity).collect(),
    }
}
