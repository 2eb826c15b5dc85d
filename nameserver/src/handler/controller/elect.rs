//! CONTROLLER_ELECT_MASTER (1002): an operator wants another master.

use std::sync::Arc;

use orbitmq_common::protocol::body::controller::SyncStateSet;
use orbitmq_common::protocol::code::response;
use orbitmq_common::protocol::frame::Frame;
use orbitmq_common::protocol::header::controller::{ElectMasterRequest, ElectMasterResponse};

use crate::controller::Controller;
use crate::handler::Refusal;

/// Answers 1002. With `designateElect` the member of `brokerId` becomes master, also outside the in-sync set; without it the best
/// of the set, if the group has no living master.
pub async fn elect(controller: &Arc<Controller>, request: &Frame) -> Result<Frame, Refusal> {
    let fields: ElectMasterRequest<'_> = request.fields()?;
    let chosen = fields.broker_id.filter(|_| fields.designate_elect);
    if fields.designate_elect && chosen.is_none() {
        return Err(Refusal::invalid("designateElect needs the brokerId of the new master"));
    }
    let name = controller.named(&fields.cluster_name, &fields.broker_name)?;
    // Once begun it has to end: whoever asked may be gone by then.
    let election = tokio::spawn(Arc::clone(controller).elect_for_operator(name, chosen));
    let view = election.await.map_err(|_| Refusal::new(response::SYSTEM_ERROR, "the name server is stopping"))??;
    let master = view.master.unwrap_or_default();
    let elected = ElectMasterResponse {
        master_broker_id: master.id,
        master_address: master.address.into(),
        master_epoch: view.epoch,
        sync_state_set_epoch: view.set_epoch,
    };
    let set = SyncStateSet { sync_state_set: view.in_sync, sync_state_set_epoch: view.set_epoch };
    Ok(request.answer(response::SUCCESS).with_fields(&elected).with_json(&set))
}
