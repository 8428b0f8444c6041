//! Workers that are to go: more than are asked for, or of a group that left the spec. What runs on them is let finish:
//! a worker in Ray is drained before its machine is terminated, and those go first that nobody would miss.
//!
//! Ray refuses to drain a worker that works; then another goes in its place. Only where all of them work is one drained
//! all the same, since somebody asked for fewer: it takes no new work, and what runs has
//! [`RayLimits::drain_timeout`](super::RayLimits). A drain is never taken back: such a worker goes, and where it is
//! wanted again another comes. Where its Ray started again meanwhile, that is another node, which may get work: it is
//! drained too. While the head's Ray is not known nobody can be drained, and what may work waits for as long: only what
//! tells by itself that its Ray never ran goes. One that was not in Ray when that was last seen may have come since.

use std::{cmp::Reverse, time::Duration};

use super::{
    Action, Planner, Reason, Subject,
    membership::{Member, Members, Ray},
};
use crate::{
    api::Membership,
    ray::{
        facts::{Report, Stage},
        step::MachineStep,
    },
    resources::instance::{Instance, InstanceState},
};

/// Who goes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Rank {
    /// It is being drained.
    Going,
    /// Its machine does not run.
    NotRunning,
    /// It is not in Ray, or idle and fails EC2's status checks.
    NotJoined,
    /// Ray says that nothing runs on it.
    Idle,
    /// Nobody knows.
    Unknown,
    /// Something runs on it.
    Busy,
}

/// How a worker goes.
enum Leave {
    Now,
    Drain(MachineStep),
    Wait(Reason, String, Option<Duration>),
}

/// Which workers of a group go: as many as there are above `wanted`, and all that drain; of equals those first that
/// fail EC2's status checks, then the newest.
pub(crate) fn leaving<'a>(members: &Members<'_>, machines: &[&'a Instance], wanted: usize) -> Vec<&'a Instance> {
    let surplus = machines.len().saturating_sub(wanted);
    let mut ranked: Vec<(Rank, &Instance)> = machines
        .iter()
        .map(|machine| (rank(members, machine), *machine))
        .collect();
    if surplus > 0 {
        ranked.sort_by_cached_key(|(rank, machine)| {
            (
                *rank,
                !machine.impaired,
                Reverse((machine.launch(), machine.launched_at, machine.id.clone())),
            )
        });
    } else {
        ranked.sort_by_key(|(rank, _)| *rank);
    }
    let going = ranked.iter().take_while(|(rank, _)| *rank == Rank::Going).count();
    ranked.truncate(surplus.max(going));
    ranked.into_iter().map(|(_, machine)| machine).collect()
}

fn rank(members: &Members<'_>, machine: &Instance) -> Rank {
    let Some(member) = members.worker(&machine.id) else {
        return Rank::NotRunning;
    };
    match member.membership {
        _ if member.draining.is_some() => Rank::Going,
        _ if machine.state != InstanceState::Running => Rank::NotRunning,
        _ if may_work_unseen(members.ray, member) => Rank::Unknown,
        Some(Membership::Joined) => match member.in_use {
            Some(false) if machine.impaired => Rank::NotJoined,
            Some(false) => Rank::Idle,
            None => Rank::Unknown,
            Some(true) => Rank::Busy,
        },
        _ => Rank::NotJoined,
    }
}

/// Plans to let workers go, those that are in Ray once they are drained.
pub(crate) fn let_go(planner: &mut Planner<'_>, members: &Members<'_>, leaving: &[&Instance], reason: &str) {
    let mut now = Vec::new();
    for machine in leaving {
        let leave = members
            .worker(&machine.id)
            .map_or(Leave::Now, |member| leave(planner, members.ray, member, reason));
        match leave {
            Leave::Now => now.push(machine.id.clone()),
            Leave::Drain(step) => planner.act(Subject::Workers, Action::Machine(step)),
            Leave::Wait(reason, message, check) => {
                planner.wait(Subject::Workers, reason, message);
                if let Some(check) = check {
                    planner.check_in(check);
                }
            }
        }
    }
    if !now.is_empty() {
        planner.terminate(Subject::Workers, &now, reason);
    }
}

/// Whether the head's Ray is not known, and something may run on this worker: all but what never was in Ray as far as
/// anybody saw, and tells now that its Ray did not start yet.
fn may_work_unseen(ray: Ray<'_>, member: &Member<'_>) -> bool {
    let started = |report: &Report| report.ray_active && report.stage >= Stage::Starting;
    let is_seen = member.joined_time.is_none() && member.is_recorded;
    matches!(ray, Ray::Unknown { .. }) && !(is_seen && member.known_report().is_some_and(|report| !started(report)))
}

fn leave(planner: &Planner<'_>, ray: Ray<'_>, member: &Member<'_>, reason: &str) -> Leave {
    let timeout = planner.inputs.limits.ray.drain_timeout;
    if member.machine.state != InstanceState::Running {
        return Leave::Now;
    }
    if let Some(at) = member.draining.filter(|_| !member.drains_anew) {
        let is_over = member.membership == Some(Membership::Drained) || planner.since(at) >= timeout;
        return if is_over {
            Leave::Now
        } else {
            let message = format!("{} finishes what runs on it before it goes", member.machine.id);
            Leave::Wait(
                Reason::Draining,
                message,
                Some(timeout.saturating_sub(planner.since(at))),
            )
        };
    }
    // What cannot be drained goes in the end all the same: a person asked for fewer. While nobody was there to try, or
    // nobody could, that did not fail (the status drops what Ray's silence interrupts).
    let watched = planner.observed().ray.watched;
    let in_vain = member
        .drain_fails
        .is_some_and(|at| planner.since(at).min(watched) >= timeout);
    match (ray, member.node) {
        (Ray::Known(_), Some(node)) if member.is_alive() && !in_vain => Leave::Drain(MachineStep::Drain {
            instance_id: member.machine.id.clone(),
            node_id: node.node_id.clone(),
            force: member.in_use == Some(true),
            deadline: timeout,
            reason: reason.to_owned(),
        }),
        _ if may_work_unseen(ray, member) => {
            let message = format!("{} goes once the Ray of its head is known again", member.machine.id);
            Leave::Wait(Reason::HeadUnknown, message, None)
        }
        _ => Leave::Now,
    }
}
