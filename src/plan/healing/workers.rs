//! The ladder of a worker.
//!
//! A worker that was in Ray and is lost climbs it: restart Ray, reboot, replace; unless SSH answers there and does not
//! let the controller in, which no step mends and a person is told. The restart is left out where SSH does
//! not reach the machine; then the reboot waits for [`RayLimits::heal_window`](crate::plan::RayLimits) instead, since
//! the machine may be booting. A worker that never was in Ray is replaced once its join time is over, and what it said
//! is kept first (see [`crate::plan::failures`]).
//!
//! What is about to be replaced and does not answer over SSH takes its cause with it. So the last lines of its console
//! are read first, of a few machines, which is enough for a fault that they share; and once each, since what AWS
//! refuses to show is no reason to keep it.
//!
//! A lost worker does no work for Ray, so that no step costs any. Where more than half of the workers are lost at once,
//! their head or the network is the likelier cause, and they may all come back with it: then restarts and reboots go
//! on, but at most a tenth of the workers, and one at the least, is being replaced at a time.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use crate::{
    api::Membership,
    plan::{
        Action, Planner, Reason, Subject, WRITTEN,
        failures::{has_failed, words},
        membership::{Member, Members, Ray},
    },
    ray::{
        facts::{Blindness, Stage},
        step::{MachineStep, RESTART_RAY},
    },
    resources::{
        Change,
        instance::{Instance, InstanceChange, console::has_latest},
    },
};

/// Of how many machines of a cluster the console is read at a time.
const CONSOLES: usize = 4;

/// How many workers may still be replaced in this pass because Ray lost them.
#[derive(Debug)]
pub(crate) struct Healing {
    replacements: usize,
    /// How many consoles may still be read.
    consoles: usize,
}

impl Healing {
    /// For all groups of a cluster.
    pub(crate) fn of(planner: &Planner<'_>, members: &Members<'_>) -> Self {
        let tried = members
            .workers
            .values()
            .filter(|worker| was_console_tried(planner, worker));
        let consoles = CONSOLES.saturating_sub(tried.count());
        let running = || members.workers.values().filter(|worker| worker.membership.is_some());
        let lost = running().filter(|worker| worker.missing_since.is_some() && !worker.never_joined());
        let all = running().count();
        if lost.count() * 2 <= all {
            return Self {
                replacements: usize::MAX,
                consoles,
            };
        }
        let on_the_way = members.workers.values();
        let on_the_way = on_the_way.filter(|worker| worker.never_joined() && !has_failed(worker));
        Self {
            replacements: (all / 10).max(1).saturating_sub(on_the_way.count()),
            consoles,
        }
    }
}

/// What is done about a worker.
enum Rung {
    /// It is waited for, and why.
    Wait(Reason, String, Duration),
    /// It never was in Ray, and what it said is to be written down before it goes.
    NoteDown(String),
    RestartRay(String),
    Reboot(&'static str),
    /// It was in Ray once.
    Replace(String),
    /// It never was.
    GiveUp(String),
}

/// Plans the next step of each of a group's workers; returns those that are to be replaced, and why.
pub(crate) fn workers<'a>(
    planner: &mut Planner<'a>,
    members: &Members<'_>,
    healing: &mut Healing,
    kept: &[&'a Instance],
) -> Vec<(&'a Instance, String)> {
    if !matches!(members.ray, Ray::Known(_)) {
        return Vec::new();
    }
    let mut waits: BTreeMap<(Reason, String), Vec<&str>> = BTreeMap::new();
    let mut reboots: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    let mut replaced = Vec::new();
    let groups = &planner.observed().recorded.worker_groups;
    let noted = groups.iter().filter_map(|group| group.failures.as_ref());
    let noted: BTreeSet<&str> = noted
        .flat_map(|failures| &failures.machines)
        .map(String::as_str)
        .collect();
    for machine in kept {
        let is_noted = noted.contains(machine.id.as_str());
        let member = members.worker(&machine.id);
        let Some(rung) = member.and_then(|member| rung(planner, member, is_noted)) else {
            continue;
        };
        match rung {
            Rung::Wait(reason, message, check) => {
                // What was seen grows with looks only: what is left by it may be no time at all.
                planner.check_in(check.max(WRITTEN));
                waits.entry((reason, message)).or_default().push(&machine.id);
            }
            Rung::NoteDown(message) => {
                if let Some(member) = member {
                    read_console(planner, healing, member);
                }
                planner.check_in(WRITTEN);
                waits.entry((Reason::Joining, message)).or_default().push(&machine.id);
            }
            Rung::RestartRay(reason) => {
                let step = MachineStep::RestartRay {
                    instance_id: machine.id.clone(),
                    reason,
                };
                planner.act(Subject::Workers, Action::Machine(step));
            }
            Rung::Reboot(reason) => reboots.entry(reason).or_default().push(machine.id.clone()),
            Rung::GiveUp(reason) => replaced.push((*machine, reason)),
            Rung::Replace(reason) if healing.replacements > 0 => {
                healing.replacements -= 1;
                if member.is_some_and(|member| read_console(planner, healing, member)) {
                    let message = format!("{reason}; it is replaced once its console is read");
                    waits.entry((Reason::Healing, message)).or_default().push(&machine.id);
                } else {
                    replaced.push((*machine, with_console(reason, member)));
                }
            }
            Rung::Replace(reason) => {
                let message = format!("{reason}; most workers are lost at once, so they are replaced a few at a time");
                waits.entry((Reason::Healing, message)).or_default().push(&machine.id);
            }
        }
    }
    for (reason, ids) in reboots {
        planner.reboot(Subject::Workers, &ids, reason);
    }
    for ((reason, message), ids) in waits {
        planner.wait(Subject::Workers, reason, format!("{}: {message}", ids.join(", ")));
    }
    replaced
}

/// What is to be done about one worker; nothing while it is well, or going.
fn rung(planner: &Planner<'_>, member: &Member<'_>, is_noted: bool) -> Option<Rung> {
    let limits = &planner.inputs.limits.ray;
    let membership = member.membership?;
    if membership == Membership::Joined
        && let Some(rung) = unwell(planner, member)
    {
        return Some(rung);
    }
    if member.machine.impaired
        && let Some(rung) = impaired(planner, member, membership)
    {
        return Some(rung);
    }
    let missing = member.missing_since?;
    let lasted = member.missing_for;
    match membership {
        Membership::Joining => Some(wait(planner, member, lasted)),
        Membership::Lost if member.never_joined() => Some(give_up(planner, member, is_noted)),
        Membership::Lost => {
            if let Some(why) = member.refusal() {
                return Some(Rung::Wait(why.into(), words(member), limits.unknown_timeout));
            }
            let is_reached = member.known_report().is_some();
            let trouble = trouble(member);
            Some(match member.step.map(|step| step.step.as_str()) {
                None if is_reached => {
                    Rung::RestartRay(format!("Ray has not listed it as alive since {missing}{trouble}"))
                }
                None if lasted >= limits.heal_window => Rung::Reboot("Ray lost it, and it cannot be reached over SSH"),
                None => Rung::Wait(
                    Reason::Healing,
                    "Ray lost it, and it cannot be reached over SSH: rebooted if it does not come back".into(),
                    limits.heal_window.saturating_sub(lasted),
                ),
                Some(RESTART_RAY) => Rung::Reboot("Ray lost it, and a restart of Ray did not bring it back"),
                Some(_) => Rung::Replace(format!("did not come back into Ray after a reboot{trouble}")),
            })
        }
        Membership::Joined | Membership::Draining | Membership::Drained | Membership::Unknown => None,
    }
}

/// What a machine says is wrong with it.
fn trouble(member: &Member<'_>) -> String {
    let report = member.known_report();
    let report = report.filter(|report| report.has_failed() || report.disk_full);
    report.map_or_else(String::new, |report| format!("; {}", report.words()))
}

/// A worker that is at work, and about which a person has to do something.
fn unwell(planner: &Planner<'_>, member: &Member<'_>) -> Option<Rung> {
    // What lies with the Secret or with the head is told of the head, and once.
    let (why, message) = match member.refusal() {
        Some(why @ (Blindness::HostKeyChanged { .. } | Blindness::AccessDenied)) => (
            why.into(),
            format!("works in Ray, and lets nobody in: {}", words(member)),
        ),
        _ if member.has_full_disk() => {
            let message = "its disk is full, while Ray lists it as alive: make room on it, signed in over SSH, or \
                           terminate it to have another";
            (Reason::DiskFull, message.to_owned())
        }
        _ => return None,
    };
    let check = planner.inputs.limits.ray.unknown_timeout;
    Some(Rung::Wait(why, format!("{message}; it is left alone"), check))
}

/// A worker that fails EC2's status checks.
fn impaired(planner: &Planner<'_>, member: &Member<'_>, membership: Membership) -> Option<Rung> {
    let limits = &planner.inputs.limits.ray;
    let window = |at| limits.heal_window.saturating_sub(planner.since(at));
    let stage = member.known_report().map(|report| report.stage);
    match (membership, member.step) {
        // It tells how far it is, so it lives: a reboot would cut off what it installs, and it has its join time.
        (Membership::Joining, _) if member.never_joined() && stage.is_some_and(|stage| stage != Stage::Failed) => None,
        (Membership::Joined, _) => Some(Rung::Wait(
            Reason::Impaired,
            "fails EC2's status checks, while Ray lists it as alive: it is left alone".into(),
            limits.unknown_timeout,
        )),
        (Membership::Joining | Membership::Lost, Some(step)) if !window(step.at).is_zero() => None,
        (Membership::Joining | Membership::Lost, Some(step)) if step.step != RESTART_RAY => Some(Rung::Replace(
            "fails EC2's status checks, and is not in Ray after a reboot".into(),
        )),
        (Membership::Joining | Membership::Lost, _) if member.missing_for >= limits.lost_after => {
            Some(Rung::Reboot("fails EC2's status checks, and is not in Ray"))
        }
        (Membership::Joining | Membership::Lost, None) => Some(Rung::Wait(
            Reason::Healing,
            "fails EC2's status checks, and is not in Ray: rebooted if it does not come".into(),
            limits.lost_after.saturating_sub(member.missing_for),
        )),
        _ => None,
    }
}

/// A worker on its way into Ray.
fn wait(planner: &Planner<'_>, member: &Member<'_>, lasted: Duration) -> Rung {
    let limits = &planner.inputs.limits.ray;
    let told = member.words().unwrap_or_else(|| "starting".into());
    let window = |at| limits.heal_window.saturating_sub(planner.since(at));
    if let Some(step) = member.step.filter(|step| !window(step.at).is_zero()) {
        let message = format!("{} at {}; {told}", step.step, step.at);
        return Rung::Wait(Reason::Healing, message, window(step.at));
    }
    let patience = if member.node.is_some() {
        limits.lost_after
    } else {
        limits.join_timeout
    };
    let (reason, message) = if member.never_joined() {
        (Reason::Joining, told)
    } else {
        (
            Reason::Healing,
            format!("left Ray, and may come back by itself; {told}"),
        )
    };
    Rung::Wait(reason, message, patience.saturating_sub(lasted))
}

/// A worker that never came into Ray: what it said stands in the status before it goes.
fn give_up(planner: &Planner<'_>, member: &Member<'_>, is_noted: bool) -> Rung {
    if is_noted {
        return Rung::GiveUp(format!(
            "never joined Ray within {} s: {}",
            planner.inputs.limits.ray.join_timeout.as_secs(),
            words(member)
        ));
    }
    let message = format!(
        "never joined Ray, and is replaced once this is written down: {}",
        words(member)
    );
    Rung::NoteDown(message)
}

/// Whether it was read, or refused, what this machine wrote on its console.
fn was_console_tried(planner: &Planner<'_>, member: &Member<'_>) -> bool {
    let is_refused = |change| planner.observed().refusals.contains_key(&Action::Aws(change).key());
    member.machine.console.is_some() || is_refused(console_of(member))
}

fn console_of(member: &Member<'_>) -> Change {
    Change::Instance(InstanceChange::ReadConsole {
        id: member.machine.id.clone(),
        latest: has_latest(&member.machine.instance_type),
    })
}

/// Plans to read the console of a machine that is to go, if nothing else tells why; whether that has to be waited for.
fn read_console(planner: &mut Planner<'_>, healing: &mut Healing, member: &Member<'_>) -> bool {
    let is_wanted = member.is_silent() && healing.consoles > 0 && !was_console_tried(planner, member);
    if is_wanted {
        healing.consoles -= 1;
        planner.change(Subject::Workers, console_of(member));
    }
    is_wanted
}

fn with_console(reason: String, member: Option<&Member<'_>>) -> String {
    match member.and_then(Member::console) {
        Some(said) => format!("{reason}; {said}"),
        None => reason,
    }
}
