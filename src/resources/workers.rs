//! The workers: per group as many machines as asked for, never more, the pending ones counted.

use std::{collections::BTreeSet, time::Duration};

use jiff::{SignedDuration, Timestamp};

use crate::{
    aws::ErrorClass,
    plan::{
        Action, Finding, Planner, Reason, Subject,
        failures::Trial,
        fleet::Fleet,
        healing::{self, Healing},
        launch::{Ground, Need, Subnet},
        membership::{Member, Members},
        placement::has_other_disk,
        revision::{of_head, revision},
        scale_down,
    },
    ray::step::MachineStep,
    resources::{
        Change,
        instance::{Instance, InstanceChange, InstanceState},
    },
    tags,
    validate::WorkerGroup,
};

/// Plans all groups, those of the spec and those that were removed from it: first what goes, then what comes.
pub(crate) fn plan<'a>(
    planner: &mut Planner<'a>,
    ground: Option<&Ground>,
    fleet: &Fleet<'a>,
    head: Option<&Instance>,
    members: &Members<'_>,
) {
    let cluster = planner.cluster();
    for (name, machines) in &fleet.workers {
        if cluster.groups.iter().all(|group| group.name != *name) {
            let reason = format!("group {name} is no longer in the spec");
            scale_down::let_go(planner, members, machines, &reason);
        }
    }
    let mut missing = Vec::new();
    let mut healing = Healing::of(planner, members);
    for group in &cluster.groups {
        let machines = fleet.workers.get(&group.name).map_or(&[][..], Vec::as_slice);
        let lacking = tend(planner, group, machines, head, members, &mut healing);
        missing.push(hold_back(planner, group, machines, members, lacking));
    }
    let mut room = Room::of(planner, fleet, members);
    for (group, missing) in std::iter::zip(&cluster.groups, missing) {
        let lacking = room.take(missing);
        if lacking.wait {
            let message = format!("group {} grows once the machines that go are on their way", group.name);
            planner.wait(Subject::Workers, Reason::MachinesPending, message);
            if let Some(soon) = room.more_within {
                planner.check_in(soon);
            }
        }
        if lacking.count > 0 {
            launch(planner, ground, group, lacking.count, head);
        }
    }
}

/// How many workers may be launched, whatever their group.
struct Room {
    /// Machines that nobody can place: each counts as a worker of any group.
    unplaced: usize,
    /// Workers that may be added before there are more than asked for.
    free: usize,
    /// Machines are about to go, and it takes no longer than this: then a group grows at once afterwards, in one
    /// launch.
    more_within: Option<Duration>,
}

/// How long machines of other groups that drain keep a group waiting: an idle one has drained by then, and what works
/// may take much longer.
const DRAINS_SOON: Duration = Duration::from_secs(30);

/// What a group may launch now.
struct Lacking {
    count: usize,
    /// Whether it has to wait for the rest.
    wait: bool,
}

impl Room {
    fn of(planner: &Planner<'_>, fleet: &Fleet<'_>, members: &Members<'_>) -> Self {
        let asked: usize = planner
            .cluster()
            .groups
            .iter()
            .map(|group| group.replicas as usize)
            .sum();
        let launches = planner.observed().ledger.launches.iter();
        let groups: BTreeSet<&str> = launches.filter_map(|launch| launch.group.as_deref()).collect();
        let unseen: usize = groups.iter().map(|group| planner.unseen(Some(group))).sum();
        let placed: usize = fleet.workers.values().map(Vec::len).sum();
        let goes_now = planner.plan.actions.iter().any(|action| {
            matches!(
                action,
                Action::Aws(Change::Instance(InstanceChange::Terminate { .. }))
                    | Action::Machine(MachineStep::Drain { .. })
            )
        });
        let draining = members.workers.values().filter_map(|worker| worker.draining);
        let left = draining.map(|at| DRAINS_SOON.saturating_sub(planner.since(at)));
        Self {
            unplaced: fleet.unassigned.len(),
            free: asked.saturating_sub(placed + fleet.unassigned.len() + unseen),
            more_within: left
                .chain(goes_now.then_some(DRAINS_SOON))
                .max()
                .filter(|left| !left.is_zero()),
        }
    }

    /// How many of those that a group misses may be launched.
    fn take(&mut self, missing: usize) -> Lacking {
        let covered = missing.min(self.unplaced);
        self.unplaced -= covered;
        let lacking = missing - covered;
        let wait = lacking > self.free;
        let count = if wait && self.more_within.is_some() {
            0
        } else {
            lacking.min(self.free)
        };
        self.free -= count;
        Lacking { count, wait }
    }
}

/// Plans for the machines that a group has; returns how many it misses.
fn tend<'a>(
    planner: &mut Planner<'a>,
    group: &WorkerGroup,
    machines: &[&'a Instance],
    head: Option<&Instance>,
    members: &Members<'_>,
    healing: &mut Healing,
) -> usize {
    let mut faulty: Vec<(&Instance, String)> = Vec::new();
    let mut healthy: Vec<&Instance> = Vec::new();
    for machine in machines {
        match fault(planner, machine).or_else(|| cannot_start(planner, machine)) {
            Some(fault) => faulty.push((machine, fault)),
            None => healthy.push(machine),
        }
    }
    let wanted = group.replicas as usize;
    let leaving = scale_down::leaving(members, &healthy, wanted);
    let gone: BTreeSet<&str> = leaving.iter().map(|machine| machine.id.as_str()).collect();
    if !leaving.is_empty() {
        let reason = if healthy.len() > wanted {
            format!(
                "group {} has {} machines, {wanted} are asked for",
                group.name,
                healthy.len()
            )
        } else {
            format!("group {} had too many machines, and its Ray was drained", group.name)
        };
        scale_down::let_go(planner, members, &leaving, &reason);
    }
    let kept: Vec<&Instance> = healthy
        .iter()
        .filter(|machine| !gone.contains(machine.id.as_str()))
        .copied()
        .collect();
    bring_up(planner, Subject::Workers, &kept);
    outdated(planner, group, &kept, head);
    faulty.extend(healing::workers(planner, members, healing, &kept));
    for (machine, fault) in &faulty {
        planner.find(Finding::repaired(
            &machine.id,
            format!("worker of group {} {fault}", group.name),
        ));
        planner.terminate(Subject::Workers, std::slice::from_ref(&machine.id), fault);
    }

    let unseen = planner.unseen(Some(&group.name));
    // A faulty machine counts until it is on its way out, which its termination makes it within this very pass.
    if unseen > 0 || !faulty.is_empty() {
        planner.wait(
            Subject::Workers,
            Reason::MachinesPending,
            format!("machines of group {} are changing", group.name),
        );
    }
    wanted.saturating_sub(machines.len() + unseen)
}

/// How many of the machines that a group misses may be launched although its last ones never joined Ray.
fn hold_back(
    planner: &mut Planner<'_>,
    group: &WorkerGroup,
    machines: &[&Instance],
    members: &Members<'_>,
    missing: usize,
) -> usize {
    let (observed, inputs) = (planner.observed(), planner.inputs);
    let trial = Trial {
        members,
        cluster: inputs.cluster,
        limits: inputs.limits,
        now: inputs.now,
    };
    let mut recorded = observed.recorded.worker_groups.iter();
    let recorded = recorded.find(|recorded| recorded.name == group.name);
    let recorded = recorded.and_then(|recorded| recorded.failures.as_ref());
    let failures = trial.failures(&group.name, recorded, machines);
    let is_new = |machine: &&&Instance| members.worker(&machine.id).is_some_and(Member::never_joined);
    let is_tried = machines.iter().any(|machine| is_new(&machine)) || planner.unseen(Some(&group.name)) > 0;
    let Some((failures, hold)) = failures.and_then(|failures| {
        let hold = trial.hold(Some(&failures), is_tried)?;
        Some((failures, hold))
    }) else {
        return missing;
    };
    if missing > hold.room {
        let message = format!(
            "{} machines of group {} in a row never joined Ray: {}. No further one is launched but one every {} min: \
             correct what the spec says of them. environment and what stands in the group (rayStartParams, \
             instanceTypes, rootVolume, ...) reach the next one; rayVersion, pipPackages, setupScript and head.image \
             do once the head is terminated too, since workers are made as it was",
            failures.count,
            group.name,
            failures.message,
            inputs.limits.launch_window.as_secs() / 60,
        );
        planner.wait(Subject::Workers, Reason::RepeatedFailure, message);
        planner.check_in(hold.next_try.max(Duration::from_secs(1)));
    }
    missing.min(hold.room)
}

fn launch(
    planner: &mut Planner<'_>,
    ground: Option<&Ground>,
    group: &WorkerGroup,
    lacking: usize,
    head: Option<&Instance>,
) {
    let (Some(ground), Some(head)) = (ground, head) else {
        let message = format!("group {} waits for the network and the head", group.name);
        planner.wait(Subject::Workers, Reason::DependencyPending, message);
        return;
    };
    let subnets: Vec<&Subnet> = if group.subnets.is_empty() {
        ground.subnets.iter().collect()
    } else {
        group
            .subnets
            .iter()
            .filter_map(|name| ground.subnets.iter().find(|subnet| subnet.name == *name))
            .collect()
    };
    if subnets.is_empty() {
        let message = format!("no subnet of group {} is there yet", group.name);
        planner.wait(Subject::Workers, Reason::DependencyPending, message);
        return;
    }
    let made_from = match of_head(planner.cluster(), planner.observed(), head) {
        Ok(revision) => revision,
        Err(name) => {
            let wanted = revision(&head.image_id, &planner.cluster().software).id;
            let message = format!(
                "{} was made from revision {name}, of which status.revision tells nothing any more, and Ray refuses \
                 workers of another, such as the spec's now ({wanted}): write the rayVersion, pipPackages and \
                 setupScript back with which the head was made, or terminate the head, so that a new one is made from \
                 the spec",
                head.id
            );
            planner.wait(Subject::Workers, Reason::RevisionLost, message);
            return;
        }
    };
    let Some(head_address) = head.private_address.as_deref() else {
        let message = format!("{} does not show its private address yet", head.id);
        planner.wait(Subject::Workers, Reason::DependencyPending, message);
        return;
    };
    let need = Need {
        group: Some(&group.name),
        count: u32::try_from(lacking).unwrap_or(u32::MAX),
        instance_types: &group.instance_types,
        subnets,
        root_volume: group.root_volume.clone(),
        revision: made_from,
        root_device: head.root_device.clone(),
        private_address: None,
        public_address: true,
        head: Some(head_address),
        ray_start_params: &group.ray_start_params,
        iam_instance_profile: group.iam_instance_profile.as_deref(),
    };
    planner.launch(ground, &need);
}

/// Why a machine cannot be kept, if it cannot. One that runs and fails EC2's status checks can: see
/// [`crate::plan::healing`].
pub(crate) fn fault(planner: &Planner<'_>, machine: &Instance) -> Option<String> {
    (is_late(planner, machine) && !has_run(planner, machine)).then(|| {
        format!(
            "is still pending {} s after its launch",
            planner.inputs.limits.launch_pending.as_secs()
        )
    })
}

/// Whether a machine may have been up before: it was started again, or nothing tells. Its disk is the user's then.
fn has_run(planner: &Planner<'_>, machine: &Instance) -> bool {
    let observed = planner.observed();
    let recorded = &observed.recorded;
    let head = recorded
        .head
        .iter()
        .filter(|head| head.instance_id.as_ref() == Some(&machine.id));
    let workers = recorded.worker_groups.iter().flat_map(|group| &group.machines);
    let worker = workers.filter(|worker| worker.instance_id == machine.id);
    let joined = head
        .map(|head| head.joined_time)
        .chain(worker.map(|worker| worker.joined_time));
    let mut launches = observed.ledger.launches.iter();
    let launch = launches.find(|launch| Some(launch.number) == machine.launch());
    let tagged = machine.tags.get(tags::CREATED_AT).and_then(|at| at.parse().ok());
    let created_at = launch.map(|launch| launch.recorded_at).or(tagged);
    let is_first = created_at.is_some_and(|at| machine.launched_at.duration_since(at) <= limit(planner));
    !is_first || joined.flatten().next().is_some()
}

/// Whether a machine has been on its way up for longer than one takes.
fn is_late(planner: &Planner<'_>, machine: &Instance) -> bool {
    let observed = planner.observed();
    // By the time of the look: what came after it nobody has seen.
    let age = SignedDuration::try_from(observed.machine_sweep_age).unwrap_or(SignedDuration::MAX);
    let seen_at = planner.inputs.now.saturating_sub(age).unwrap_or(Timestamp::MIN);
    // The launch time is by AWS's clock, the record by ours: with ours ahead, a new machine would look old.
    let mut launches = observed.ledger.launches.iter();
    let recorded = launches.find(|launch| Some(launch.number) == machine.launch());
    let launched_at = recorded.map_or(machine.launched_at, |launch| {
        launch.recorded_at.max(machine.launched_at)
    });
    machine.state == InstanceState::Pending && seen_at.duration_since(launched_at) > limit(planner)
}

/// Why a machine that was stopped is given up, where the spec allows that.
fn cannot_start(planner: &Planner<'_>, machine: &Instance) -> Option<String> {
    if !planner.cluster().wake.replace_workers {
        return None;
    }
    if is_late(planner, machine) && has_run(planner, machine) {
        return Some(format!(
            "is still pending {} s after its start, and wake.replaceWorkers is true",
            planner.inputs.limits.launch_pending.as_secs()
        ));
    }
    if machine.state != InstanceState::Stopped {
        return None;
    }
    let start = InstanceChange::Start {
        ids: vec![machine.id.clone()],
        at: planner.inputs.now,
    };
    let refusal = planner
        .observed()
        .refusals
        .get(&Action::Aws(Change::Instance(start)).key())?;
    (refusal.class == ErrorClass::Capacity)
        .then(|| "cannot be started for want of capacity, and wake.replaceWorkers is true".into())
}

fn limit(planner: &Planner<'_>) -> SignedDuration {
    SignedDuration::try_from(planner.inputs.limits.launch_pending).unwrap_or(SignedDuration::MAX)
}

/// Plans to start what was stopped, and waits for what is between two states.
pub(crate) fn bring_up(planner: &mut Planner<'_>, subject: Subject, machines: &[&Instance]) {
    let in_state = |state| {
        machines
            .iter()
            .filter(move |machine| machine.state == state)
            .map(|machine| machine.id.clone())
    };
    let stopped: Vec<String> = in_state(InstanceState::Stopped).collect();
    if !stopped.is_empty() {
        planner.start(subject, &stopped);
    }
    let pending: Vec<String> = in_state(InstanceState::Pending).collect();
    if !pending.is_empty() {
        planner.wait(
            subject,
            Reason::MachinesPending,
            format!("{} starting", pending.join(", ")),
        );
        let limit = planner.inputs.limits.launch_pending;
        tell_late(planner, subject, machines);
        let oldest = machines
            .iter()
            .filter(|machine| machine.state == InstanceState::Pending && !is_late(planner, machine))
            .map(|machine| machine.launched_at)
            .min();
        let age = oldest.map_or(Duration::ZERO, |at| planner.since(at));
        planner.check_in(limit.saturating_sub(age) + Duration::from_secs(1));
    }
    let stopping = machines
        .iter()
        .filter(|machine| machine.state == InstanceState::Stopping);
    let stopping: Vec<&Instance> = stopping.copied().collect();
    planner.await_stop(subject, &stopping, ": started again once stopped");
}

/// Tells of machines that were started and do not come up: they keep their disks, and are waited for.
fn tell_late(planner: &mut Planner<'_>, subject: Subject, machines: &[&Instance]) {
    let late = machines.iter().filter(|machine| is_late(planner, machine));
    let ids: Vec<&str> = late.map(|machine| machine.id.as_str()).collect();
    if ids.is_empty() {
        return;
    }
    let seconds = planner.inputs.limits.launch_pending.as_secs();
    let way_out = if subject == Subject::Workers {
        "; wake.replaceWorkers: true replaces such workers"
    } else {
        ""
    };
    let message = format!(
        "EC2 has not got {} going for more than {seconds} s since the start: it is waited for, since its disk is \
         kept{way_out}. EC2's console tells more",
        ids.join(", ")
    );
    planner.wait(subject, Reason::MachinesPending, message);
}

/// Tells which machines were made from an older wish; they go on until they are replaced.
fn outdated(planner: &mut Planner<'_>, group: &WorkerGroup, machines: &[&Instance], head: Option<&Instance>) {
    for machine in machines {
        let mut differences = planner.worker_is_placed_otherwise(machine, &group.subnets);
        if !group.instance_types.contains(&machine.instance_type) {
            differences.push(format!(
                "type {}, now {}",
                machine.instance_type,
                group.instance_types.join(" or ")
            ));
        }
        differences.extend(has_other_disk(machine, &group.root_volume));
        differences.extend(head.and_then(|head| planner.worker_is_of_other_revision(machine, head)));
        let profile = group.iam_instance_profile.as_deref();
        differences.extend(planner.has_other_settings(machine, &group.ray_start_params, profile));
        if !differences.is_empty() {
            let what = format!("worker of group {}: {}", group.name, differences.join("; "));
            planner.find(Finding::outdated(&machine.id, what));
        }
    }
}
