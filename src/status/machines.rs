//! The head and the workers in the status.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};

use super::{StatusInputs, network::seen};
use crate::{
    api::{HeadStatus, Membership, PublicAddress, Revision, StepStatus, WorkerGroupStatus, WorkerStatus},
    observe::Source,
    plan::{
        Finding, Outcome,
        failures::Trial,
        fleet::Fleet,
        membership::{Member, Members, Ray},
        revision::{made_from, of_head},
    },
    ray::step::DRAIN_FAILED,
    resources::{
        head::choose,
        instance::{Instance, InstanceState},
        keeper,
    },
};

/// Of how many machines of a group that say something all of it stands in the status: it holds a thousand machines, and
/// what is larger than a megabyte and a half cannot be stored.
const IN_FULL: usize = 3;

/// How many letters the others may say.
const IN_SHORT: usize = 100;

/// A start that was seen in its states before and after counts as seen if it was no longer ago: a status may be one of
/// an old backup.
const WITNESSED: SignedDuration = SignedDuration::from_mins(10);

/// Whether a machine does its work.
pub(super) fn works(machine: &Instance) -> bool {
    machine.state == InstanceState::Running && !machine.impaired
}

/// The head. Its private address outlives it: the next head gets it again.
pub(super) fn head(inputs: &StatusInputs<'_>, fleet: &Fleet<'_>, members: &Members<'_>) -> Option<HeadStatus> {
    let inventory = &inputs.observed.inventory;
    let before = inputs.previous.head.clone();
    if let Source::Unknown(_) = inventory.instance.swept {
        return before;
    }
    let before = before.unwrap_or_default();
    let head = choose(&fleet.heads).0;
    let private_address = head
        .and_then(|head| head.private_address.clone())
        .or(before.private_address);
    // Ours is there as soon as it is associated; the machine shows it with the next look.
    let elastic = head.and_then(|head| {
        let mut ours = inventory.address.ours.values();
        ours.find(|address| address.instance_id.as_ref() == Some(&head.id))
    });
    let public_address = match elastic {
        Some(address) => Some(address.public_address.clone()),
        None => head.and_then(|head| head.public_address.clone()),
    };
    let running = head.is_some_and(|head| head.state == InstanceState::Running);
    let address = public_address.clone().or_else(|| private_address.clone());
    let member = members.head.as_ref();
    let status = HeadStatus {
        instance_id: head.map(|head| head.id.clone()),
        state: head.map(|head| head.state.name().to_owned()),
        address: address.filter(|_| running),
        private_address,
        public_address,
        allocation_id: seen(&inventory.address, before.allocation_id, || {
            let shelf = &inventory.address;
            // One that lost its tags and is used by others stays named: it is waited for.
            let awaited = shelf.others.values().next();
            let awaited = awaited.filter(|_| inputs.cluster.head.public_address == PublicAddress::Elastic);
            let address = keeper(&shelf.ours, |address| address.instance_id.is_some()).or(awaited);
            address.map(|address| address.id.clone())
        }),
        revision: head.and_then(|head| made_from(inputs.observed, head).map(ToOwned::to_owned)),
        ray: member.and_then(|head| head.membership),
        // That of the last Ray, until there is another: a new one is told.
        session: members
            .ray
            .view()
            .map_or(before.session, |view| Some(view.session.clone())),
        message: member.and_then(message),
        last_step: head.and_then(|head| inputs.observed.steps.get(&head.id).cloned()),
        host_key: member.and_then(|head| head.host_key.map(ToOwned::to_owned)),
        joined_time: member.and_then(|head| head.joined_time),
        awaited_since: member.and_then(|head| awaited_since(head, inputs.previous.head.as_ref(), inputs.now)),
    };
    (status != HeadStatus::default()).then_some(status)
}

/// When the head started, if that was seen and its Ray has not answered since.
fn awaited_since(head: &Member<'_>, before: Option<&HeadStatus>, now: Timestamp) -> Option<Timestamp> {
    let (machine, started) = (head.machine, head.machine.launched_at);
    if head.joined_time.is_some() {
        return None;
    }
    let before = before.filter(|before| before.instance_id.as_ref() == Some(&machine.id));
    let is_seen = match machine.state {
        InstanceState::Pending => true,
        InstanceState::Running => before.is_some_and(|before| {
            let did_run = before.state.as_deref() == Some(InstanceState::Running.name());
            let is_young = now.duration_since(started).abs() <= WITNESSED;
            before.awaited_since == Some(started) || (!did_run && is_young)
        }),
        _ => false,
    };
    is_seen.then_some(started)
}

/// What the head was made from, as long as something tells. A head that is gone leaves it to be read.
pub(super) fn revision(inputs: &StatusInputs<'_>, fleet: &Fleet<'_>) -> Option<Revision> {
    match choose(&fleet.heads).0 {
        Some(head) => of_head(inputs.cluster, inputs.observed, head).ok(),
        None => inputs.previous.revision.clone(),
    }
}

/// The worker groups of the spec in its order, then those that still have machines.
pub(super) fn worker_groups(
    inputs: &StatusInputs<'_>,
    fleet: &Fleet<'_>,
    members: &Members<'_>,
) -> Vec<WorkerGroupStatus> {
    let specified = inputs
        .cluster
        .groups
        .iter()
        .map(|group| (group.name.as_str(), group.replicas));
    let specified: Vec<(&str, u32)> = specified.collect();
    let before = |name: &str| inputs.previous.worker_groups.iter().find(|group| group.name == name);
    if let Source::Unknown(_) = inputs.observed.inventory.instance.swept {
        let known = |(name, desired): (&str, u32)| WorkerGroupStatus {
            name: name.into(),
            desired,
            ..before(name).cloned().unwrap_or_default()
        };
        return specified.into_iter().map(known).collect();
    }
    let trial = Trial {
        members,
        cluster: inputs.cluster,
        limits: inputs.limits,
        now: inputs.now,
    };
    let removed = fleet.workers.keys().map(String::as_str);
    let removed = removed.filter(|name| specified.iter().all(|(specified, _)| specified != name));
    let all: Vec<(&str, u32)> = specified.iter().copied().chain(removed.map(|name| (name, 0))).collect();
    let outdated = inputs.plan.findings.iter();
    let outdated = outdated.filter(|finding| finding.outcome == Outcome::Outdated);
    let outdated: BTreeSet<&str> = outdated.map(|finding: &Finding| finding.id.as_str()).collect();
    let group = |(name, desired): (&str, u32)| {
        let machines = fleet.workers.get(name).map_or(&[][..], Vec::as_slice);
        let count = |is: &dyn Fn(&Instance) -> bool| {
            u32::try_from(machines.iter().filter(|machine| is(machine)).count()).unwrap_or(u32::MAX)
        };
        // Since when a drain fails counts while it is tried: not once nobody is to go any more, nor over a time in
        // which nobody could be asked.
        let is_tried = matches!(members.ray, Ray::Known(_)) && machines.len() > desired as usize;
        let last_step = |machine: &Instance| {
            let step = inputs.observed.steps.get(&machine.id);
            step.filter(|step| is_tried || step.step != DRAIN_FAILED).cloned()
        };
        let mut machines_told: Vec<WorkerStatus> = machines
            .iter()
            .map(|machine| worker(machine, members, last_step(machine)))
            .collect();
        shorten(&mut machines_told);
        WorkerGroupStatus {
            name: name.into(),
            desired,
            running: count(&works),
            joined: count(&|machine| has_joined(members, machine)),
            pending: count(&|machine| machine.state == InstanceState::Pending),
            outdated: count(&|machine| outdated.contains(machine.id.as_str())),
            failures: trial.failures(name, before(name).and_then(|group| group.failures.as_ref()), machines),
            machines: machines_told,
        }
    };
    all.into_iter().map(group).collect()
}

/// Cuts what machines say, but for the first few that say something.
fn shorten(machines: &mut [WorkerStatus]) {
    let said = machines.iter_mut().filter_map(|machine| machine.message.as_mut());
    for message in said.skip(IN_FULL) {
        if let Some((end, _)) = message.char_indices().nth(IN_SHORT) {
            message.truncate(end);
            message.push_str(" ...");
        }
    }
}

fn worker(machine: &Instance, members: &Members<'_>, last_step: Option<StepStatus>) -> WorkerStatus {
    let member = members.worker(&machine.id);
    WorkerStatus {
        instance_id: machine.id.clone(),
        state: machine.state.name().into(),
        private_address: machine.private_address.clone(),
        ray: member.and_then(|worker| match members.ray {
            // Whether it ever was in Ray the next pass must not take from what this one could not know.
            Ray::Unknown { .. } if !worker.is_recorded => worker.membership.map(|_| Membership::Unknown),
            _ => worker.membership,
        }),
        message: member.and_then(message),
        last_step,
        host_key: member.and_then(|worker| worker.host_key.map(ToOwned::to_owned)),
        joined_time: member.and_then(|worker| worker.joined_time),
        missing_since: member.and_then(|worker| worker.missing_since),
    }
}

/// Whether a machine is a worker that takes part in Ray and stays.
pub(super) fn has_joined(members: &Members<'_>, machine: &Instance) -> bool {
    let member = members.worker(&machine.id);
    member.is_some_and(|worker| worker.membership == Some(Membership::Joined))
}

/// What a machine does on its way into Ray; nothing while it is there and well, or is down.
fn message(member: &Member<'_>) -> Option<String> {
    match member.membership? {
        Membership::Joined if !member.has_full_disk() => None,
        _ => member.words(),
    }
}
