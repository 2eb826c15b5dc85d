//! Chooses masters: when a lease is over, when a master came back as another process, when an operator says so.

use std::cmp::Reverse;
use std::sync::Arc;
use std::time::{Duration, Instant};

use orbitmq_common::protocol::body::controller::GroupView;
use orbitmq_common::protocol::code::response;
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;

use crate::controller::Controller;
use crate::controller::leases::{Leases, Seen};
use crate::controller::plant;
use crate::controller::refusal::ControllerError;
use crate::controller::state::{Change, Election, Group, Name, Process, Reign, unknown_group};

/// How exactly the end of a lease is noticed.
const TICK: Duration = Duration::from_millis(50);
/// Waking so much too late means that this process stood still, not the brokers.
const STOOD_STILL: Duration = Duration::from_millis(300);

/// Elects until the controller stops. Does nothing on a member that does not lead.
pub async fn run(controller: Arc<Controller>) {
    let mut tick = tokio::time::interval(TICK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut elections = JoinSet::new();
    let mut awake = Instant::now();
    loop {
        tokio::select! {
            () = controller.stop.cancelled() => return,
            _ = tick.tick() => {}
            () = controller.wake.notified() => {}
            Some(_) = elections.join_next() => {}
        }
        if let Err(error) = &controller.raft.metrics().borrow().running_state {
            tracing::error!(%error, "the controller has ended; start the name server again when the cause is cured");
            return;
        }
        let now = Instant::now();
        let late = now.saturating_duration_since(awake).saturating_sub(TICK);
        awake = now;
        if let Some(reign) = controller.leads() {
            if late > STOOD_STILL {
                tracing::warn!(?late, "this name server stood still: every broker's lease starts anew");
                controller.leases.lock().excuse_all(now);
            }
            if controller.leases.lock().reign() < reign {
                // Begins with everything agreed on before; if that fails, it is tried again.
                tokio::select! {
                    () = controller.stop.cancelled() => return,
                    _ = controller.confirmed() => {}
                }
            }
            for election in controller.due(reign, now) {
                let controller = Arc::clone(&controller);
                elections.spawn(async move {
                    // The reason is in the log; another attempt follows where it is called for.
                    let _ = controller.hold(election).await;
                });
            }
        }
    }
}

/// Who is to be master now; `None`: nothing is to be done.
fn decide(name: &Name, group: &Group, leases: &Leases, now: Instant) -> Option<Option<Process>> {
    if leases.in_office(name, group, now) || leases.is_deposed(name) {
        return None;
    }
    let best = best(name, group, leases, now);
    (best.is_some() || group.master.is_some()).then_some(best)
}

/// Of the living in the in-sync set the one with the most, then the one with the smallest number.
fn best(name: &Name, group: &Group, leases: &Leases, now: Instant) -> Option<Process> {
    if plant::promotes_outside_the_set() {
        // The worst of all that live, if there is a choice.
        let living = group.members.keys().filter_map(|id| eligible(name, group, leases, *id, now));
        return living.min_by_key(|seen| (seen.log, seen.process.id)).map(|seen| seen.process);
    }
    let living = group.in_sync.iter().filter_map(|id| eligible(name, group, leases, *id, now));
    living.max_by_key(|seen| (seen.log, Reverse(seen.process.id))).map(|seen| seen.process)
}

/// A living member, unless it has another store than the quorum knows: it is about to leave the in-sync set for that.
fn eligible<'a>(name: &Name, group: &Group, leases: &'a Leases, id: i64, now: Instant) -> Option<&'a Seen> {
    let known = group.members.get(&id)?.store;
    leases.alive(name, id, now).filter(|seen| seen.store == 0 || seen.store == known)
}

impl Controller {
    /// The elections that are due; their masters are deposed when this returns.
    fn due(&self, reign: Reign, now: Instant) -> Vec<Election> {
        let mut leases = self.leases.lock();
        if leases.reign() != reign {
            return Vec::new();
        }
        let applied = self.applied.read();
        let groups = applied.state.groups();
        let due: Vec<Election> = groups
            .filter_map(|(name, group)| {
                let master = decide(name, group, &leases, now)?;
                Some(election(name, group, reign, master))
            })
            .collect();
        for election in &due {
            leases.depose(&election.group);
        }
        due
    }

    /// Has the quorum agree on an election. If that fails without an outcome, the leadership is over: the group stays deposed
    /// under it, since the election may yet come into force.
    async fn hold(&self, election: Election) -> Result<(), ControllerError> {
        let (name, reign) = (election.group.clone(), election.reign);
        let (old_epoch, master) = (election.epoch, election.master);
        let outcome = self.write(Change::Elect(election)).await;
        match (&outcome, master) {
            (Ok(()), Some(master)) => tracing::warn!(group = %name, master = master.id, old_epoch, "new master"),
            (Ok(()), None) => {
                tracing::error!(group = %name, old_epoch, "no member of the in-sync set is alive: the group has no master");
            }
            (Err(error), _) => tracing::info!(group = %name, %error, "election without effect"),
        }
        if matches!(outcome, Ok(()) | Err(ControllerError::Refused(_))) {
            self.leases.lock().settle(&name, reign);
        }
        outcome
    }

    /// An operator wants an election: of that member, also outside the in-sync set, or of the best one if the group has no
    /// living master.
    pub async fn elect_for_operator(
        self: Arc<Self>,
        name: Name,
        chosen: Option<i64>,
    ) -> Result<GroupView, ControllerError> {
        let reign = self.confirmed().await?;
        let now = Instant::now();
        let (election, stops) = self.with_group(&name, |leases, group| {
            if leases.reign() != reign {
                return Err(ControllerError::NotLeader(None));
            }
            let group = group.ok_or_else(|| unknown_group(&name))?;
            let election = operators_election(&name, group, leases, (reign, chosen), now)?;
            if !leases.depose(&name) {
                return Err(ControllerError::refused(
                    response::CONTROLLER_ELECT_MASTER_FAILED,
                    format!("an election in group {name} is under way: look again"),
                ));
            }
            Ok((election, group.master.map(|master| leases.stops(&name, group, master))))
        })?;
        // The old master hears nothing good from now on, but may not hear anything at all: its lease has to end.
        if let Some(stops) = stops {
            tokio::select! {
                () = self.stop.cancelled() => return Err(ControllerError::Stopping),
                () = tokio::time::sleep_until(stops.into()) => {}
            }
        }
        self.hold(election).await?;
        self.view(&name, None)
    }
}

fn election(name: &Name, group: &Group, reign: Reign, master: Option<Process>) -> Election {
    Election {
        group: name.clone(),
        epoch: group.epoch,
        set_epoch: group.set_epoch,
        reign,
        master,
        by_operator: plant::promotes_outside_the_set(),
    }
}

fn operators_election(
    name: &Name,
    group: &Group,
    leases: &Leases,
    (reign, chosen): (Reign, Option<i64>),
    now: Instant,
) -> Result<Election, ControllerError> {
    let Some(id) = chosen else {
        if let Some(master) = group.master.filter(|_| leases.in_office(name, group, now)) {
            let remark =
                format!("member {} is master of {name} and alive: name the member that is to replace it", master.id);
            return Err(ControllerError::refused(response::CONTROLLER_MASTER_STILL_EXIST, remark));
        }
        let best = best(name, group, leases, now).ok_or_else(|| {
            let remark = format!(
                "no member of the in-sync set of {name} ({:?}) is alive: start one of them, or choose another member, which may \
                 lose acknowledged messages",
                group.in_sync
            );
            ControllerError::refused(response::CONTROLLER_MASTER_NOT_AVAILABLE, remark)
        })?;
        return Ok(election(name, group, reign, Some(best)));
    };
    if !group.members.contains_key(&id) {
        let remark = format!("group {name} has no member {id}: {}", group.known());
        return Err(ControllerError::refused(response::CONTROLLER_INVALID_REPLICAS, remark));
    }
    let seen = eligible(name, group, leases, id, now).ok_or_else(|| {
        let remark = format!("member {id} of {name} has not renewed its lease: start it first");
        ControllerError::refused(response::CONTROLLER_BROKER_NOT_ALIVE, remark)
    })?;
    if group.master == Some(seen.process) {
        let remark = format!("member {id} is master of {name} already");
        return Err(ControllerError::refused(response::CONTROLLER_MASTER_STILL_EXIST, remark));
    }
    let outside = !group.in_sync.contains(&id);
    if outside {
        tracing::error!(
            group = %name, member = id, in_sync = ?group.in_sync,
            "an operator makes a member outside the in-sync set master: acknowledged messages may be lost"
        );
    }
    Ok(Election { by_operator: outside, ..election(name, group, reign, Some(seen.process)) })
}

#[cfg(test)]
mod tests;
