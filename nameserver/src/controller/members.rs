//! Who belongs to the quorum, and changes of that.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use openraft::{BasicNode, ChangeMembers};
use orbitmq_common::protocol::body::controller::{GroupStatus, Quorum, QuorumMember};
use orbitmq_common::protocol::code::response;

use crate::controller::Controller;
use crate::controller::refusal::ControllerError;
use crate::controller::state::{Name, unknown_group};

/// How long a new member may take to catch up.
const CATCH_UP: Duration = Duration::from_secs(30);

impl Controller {
    /// The quorum as this member sees it. Only the leader knows who is alive and how far the others are.
    pub fn quorum(&self) -> Quorum {
        let metrics = self.raft.metrics();
        let metrics = metrics.borrow();
        let membership = metrics.membership_config.membership();
        let voters: BTreeSet<u64> = membership.voter_ids().collect();
        let matched = |id: u64| {
            if id == self.me {
                return metrics.last_log_index;
            }
            metrics.replication.as_ref()?.get(&id)?.as_ref().map(|place| place.index)
        };
        let members = membership.nodes().map(|(id, node)| QuorumMember {
            id: *id,
            address: node.addr.clone(),
            voter: voters.contains(id),
            matched: matched(*id),
        });
        Quorum {
            id: self.me,
            leader: metrics.current_leader,
            term: metrics.current_term,
            founded: metrics.last_log_index.is_some() || metrics.last_applied.is_some(),
            applied: metrics.last_applied.map_or(0, |place| place.index),
            members: members.collect(),
            groups: self.groups(),
        }
    }

    fn groups(&self) -> Vec<GroupStatus> {
        let now = Instant::now();
        let leads = self.leads().is_some();
        let leases = self.leases.lock();
        let lease_ms = leases.terms().lease_ms();
        let applied = self.applied.read();
        let groups = applied.state.groups().map(|(name, group)| GroupStatus {
            cluster: name.cluster.clone(),
            broker: name.broker.clone(),
            view: group.view(lease_ms),
            alive: leads
                .then(|| group.members.keys().copied().filter(|id| leases.alive(name, *id, now).is_some()).collect()),
        });
        groups.collect()
    }

    /// The group with this broker name, in this cluster if one is named, as the quorum has it now.
    pub fn named(&self, cluster: &str, broker: &str) -> Result<Name, ControllerError> {
        let applied = self.applied.read();
        let mut found = applied
            .state
            .groups()
            .map(|(name, _)| name)
            .filter(|name| name.broker == broker && (cluster.is_empty() || name.cluster == cluster));
        match (found.next(), found.next()) {
            (Some(name), None) => Ok(name.clone()),
            (Some(_), Some(_)) => {
                let remark = format!("several clusters have a group {broker}: name the cluster");
                Err(ControllerError::refused(response::CONTROLLER_INVALID_REQUEST, remark))
            }
            (None, _) => Err(unknown_group(&Name::new(cluster, broker)).into()),
        }
    }

    /// A group as the quorum has it now.
    pub async fn status(&self, name: &Name) -> Result<GroupStatus, ControllerError> {
        self.confirmed().await?;
        let wanted = |group: &GroupStatus| group.cluster == name.cluster && group.broker == name.broker;
        self.groups().into_iter().find(wanted).ok_or_else(|| unknown_group(name).into())
    }

    /// Takes a member in: it catches up first and votes then. A member that is there already stays.
    pub async fn add_member(&self, id: u64, address: &str) -> Result<Quorum, ControllerError> {
        self.check_leads()?;
        if id == 0 {
            return Err(ControllerError::refused(
                response::CONTROLLER_INVALID_REQUEST,
                "members are numbered from 1 on",
            ));
        }
        let known = self.quorum().members.into_iter().find(|member| member.id == id);
        if let Some(known) = known.filter(|known| known.address != address) {
            let remark = format!("member {id} is at {}: remove it before it comes back elsewhere", known.address);
            return Err(ControllerError::refused(response::CONTROLLER_INVALID_REQUEST, remark));
        }
        let node = BTreeMap::from([(id, BasicNode::new(address))]);
        self.raft.add_learner(id, BasicNode::new(address), false).await?;
        self.caught_up(id).await?;
        self.raft.change_membership(ChangeMembers::AddVoters(node), false).await?;
        tracing::info!(id, %address, "member added to the controller quorum");
        Ok(self.quorum())
    }

    /// Waits until a member has what the quorum has agreed on so far.
    async fn caught_up(&self, id: u64) -> Result<(), ControllerError> {
        let target = self.raft.metrics().borrow().last_log_index;
        let wait = self.raft.wait(Some(CATCH_UP));
        let caught_up = wait.metrics(
            |metrics| {
                let matched = metrics.replication.as_ref().and_then(|all| all.get(&id)).and_then(Option::as_ref);
                metrics.id == id || matched.is_some_and(|place| Some(place.index) >= target)
            },
            "a new member catches up",
        );
        caught_up.await.map(drop).map_err(|_| {
            let remark = format!(
                "member {id} has not caught up within {CATCH_UP:?}: start it with this address and an empty data_dir; it follows \
                 without a vote until it is added again or removed"
            );
            ControllerError::refused(response::CONTROLLER_INVALID_REQUEST, remark)
        })
    }

    /// Takes a member out.
    pub async fn remove_member(&self, id: u64) -> Result<Quorum, ControllerError> {
        self.check_leads()?;
        let quorum = self.quorum();
        let member = quorum.members.iter().find(|member| member.id == id).ok_or_else(|| {
            let ids: Vec<String> = quorum.members.iter().map(|member| member.id.to_string()).collect();
            let remark = format!("the quorum has no member {id}: its members are {}", ids.join(", "));
            ControllerError::refused(response::CONTROLLER_INVALID_REQUEST, remark)
        })?;
        let gone = BTreeSet::from([id]);
        let change = if member.voter { ChangeMembers::RemoveVoters(gone) } else { ChangeMembers::RemoveNodes(gone) };
        self.raft.change_membership(change, false).await?;
        tracing::info!(id, "member removed from the controller quorum");
        Ok(self.quorum())
    }
}
