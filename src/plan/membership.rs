//! Whether machines take part in Ray: what EC2 shows and what Ray lists, joined by the instance id that each node
//! carries as a label. Of several nodes of one machine one that lives counts, and of those the newest: a fast restart
//! shows as two, and a machine's clock may step back between them.
//!
//! How long a machine has been missing is told by Rayward's own clock, from what the last status says of it. Ray's
//! times are the head's, EC2's are Amazon's, and neither needs to agree with ours. Nor does it count while this process
//! did not look: what happened while it was away nobody saw, and nobody brought a token then.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use jiff::Timestamp;

use super::{RayLimits, fleet::Fleet};
use crate::{
    api::{Membership, StepStatus, WorkerStatus},
    observe::Observed,
    ray::{
        facts::{Blindness, Look, Node, NodeState, Report, Stage, View, busy_instances},
        step::{DRAIN, DRAIN_FAILED},
        streak::Streak,
    },
    resources::{
        head::choose,
        instance::{Instance, InstanceState, console},
    },
};

/// The machines of a cluster as Ray sees them.
#[derive(Clone, Debug)]
pub struct Members<'a> {
    /// What is known of its Ray.
    pub ray: Ray<'a>,
    /// The head.
    pub head: Option<Member<'a>>,
    /// The workers of all groups, by instance id.
    pub workers: BTreeMap<&'a str, Member<'a>>,
}

/// What is known of the Ray of a cluster.
#[derive(Clone, Copy, Debug)]
pub enum Ray<'a> {
    /// No head runs.
    NoHead,
    /// Its head was seen, and says this.
    Known(&'a View),
    /// Its head runs and could not be seen.
    Unknown {
        /// Why.
        why: &'a Blindness,
        /// What was tried, and what came of it.
        message: &'a str,
        /// Since when, or since its head runs, by Rayward's clock.
        since: Timestamp,
        /// What the last looks met, all of them alike.
        streak: Streak,
    },
}

/// A machine as Ray sees it.
#[derive(Clone, Debug)]
pub struct Member<'a> {
    /// The machine.
    pub machine: &'a Instance,
    /// Whether it takes part; `None`: it does not run.
    pub membership: Option<Membership>,
    /// The node that counts of those that ran on it.
    pub node: Option<&'a Node>,
    /// Whether any node that lives on it is in use; `None`: Ray did not tell.
    pub in_use: Option<bool>,
    /// What it tells of itself; `None`: nobody asked it yet.
    pub report: Option<&'a Look<Report>>,
    /// When it last came into Ray.
    pub joined_time: Option<Timestamp>,
    /// Since when it runs without being in Ray.
    pub missing_since: Option<Timestamp>,
    /// For how long it was seen to be missing, by the last look and by this process.
    pub missing_for: Duration,
    /// The last step of its ladder, unless it helped: the machine came back and stayed for as long as a step may take.
    pub step: Option<&'a StepStatus>,
    /// When it was told to drain.
    pub draining: Option<Timestamp>,
    /// Whether its Ray started again since as another node, which may get work.
    pub drains_anew: bool,
    /// Since when it cannot be told to drain.
    pub drain_fails: Option<Timestamp>,
    /// Fingerprint of its SSH host key, from the first contact.
    pub host_key: Option<&'a str>,
    /// Whether it comes into Ray for the first time now.
    pub is_new: bool,
    /// Whether the last status tells whether it ever was in Ray, or that it is new: else nobody knows.
    pub is_recorded: bool,
}

/// What [`Look`] was at a machine's Ray when nobody ever looked at this one.
const NOT_LOOKED: Blindness = Blindness::NotLooked;

impl<'a> Members<'a> {
    /// Joins what is known of EC2 with what is known of Ray.
    #[must_use]
    pub fn of(observed: &'a Observed, fleet: &Fleet<'a>, limits: &'a RayLimits, now: Timestamp) -> Self {
        let head = choose(&fleet.heads).0;
        let clock = Clock { now, limits };
        let ray = ray(observed, head, clock);
        let recorded = observed.recorded.worker_groups.iter().flat_map(|group| &group.machines);
        let sight = Sight {
            observed,
            clock,
            begins_anew: begins_anew(observed, head, ray, clock),
            nodes: nodes(ray),
            busy: ray.view().map(busy_instances).unwrap_or_default(),
            drained: drained(ray),
            recorded: recorded.map(|worker| (worker.instance_id.as_str(), worker)).collect(),
        };
        let workers = fleet.workers.values().flatten().chain(&fleet.unassigned);
        Self {
            ray,
            head: head.map(|head| head_member(head, ray, observed, clock)),
            workers: workers
                .map(|machine| (machine.id.as_str(), sight.worker(machine, ray)))
                .collect(),
        }
    }

    /// The worker with this instance id.
    #[must_use]
    pub fn worker(&self, id: &str) -> Option<&Member<'a>> {
        self.workers.get(id)
    }
}

impl<'a> Ray<'a> {
    /// What the head says, if it is known.
    #[must_use]
    pub fn view(self) -> Option<&'a View> {
        match self {
            Self::Known(view) => Some(view),
            Self::NoHead | Self::Unknown { .. } => None,
        }
    }
}

impl<'a> Member<'a> {
    /// Whether Ray lists it as alive now.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        matches!(self.membership, Some(Membership::Joined | Membership::Draining))
    }

    /// Whether it never was in Ray, as far as is known.
    #[must_use]
    pub fn never_joined(&self) -> bool {
        self.joined_time.is_none() && self.node.is_none()
    }

    /// What it tells of itself, if that is known now.
    #[must_use]
    pub fn known_report(&self) -> Option<&'a Report> {
        self.report.and_then(Look::known)
    }

    /// Whether SSH does not answer there: nobody reaches it, or it was not asked yet.
    #[must_use]
    pub fn is_silent(&self) -> bool {
        self.known_report().is_none() && self.refusal().is_none()
    }

    /// What it wrote on its console, in words, if that was read and nothing else tells more.
    #[must_use]
    pub fn console(&self) -> Option<String> {
        let lines = self.machine.console.as_ref().filter(|_| self.is_silent())?;
        Some(console::words(lines))
    }

    /// Whether it tells that its disk is full.
    #[must_use]
    pub fn has_full_disk(&self) -> bool {
        self.known_report().is_some_and(|report| report.disk_full)
    }

    /// Why SSH does not let the controller in, if so: no step mends that.
    #[must_use]
    pub fn refusal(&self) -> Option<&'a Blindness> {
        match self.report? {
            Look::Unknown { why, .. } => Some(why).filter(|why| why.is_refusal()),
            Look::Known { .. } => None,
        }
    }

    /// How far it is, in its own words: those of the last look that reached it. Of one that does not let the controller
    /// in: why not.
    #[must_use]
    pub fn words(&self) -> Option<String> {
        match self.report? {
            Look::Known { fact, .. } => Some(fact.words()),
            Look::Unknown { why, message, .. } if why.is_refusal() => Some(format!("{message}{}", advice(why))),
            Look::Unknown { last: Some(last), .. } => Some(format!("{}, when it last told", last.words())),
            Look::Unknown { .. } => None,
        }
    }
}

/// What a person can do about a worker that does not let the controller in.
fn advice(why: &Blindness) -> String {
    match why {
        Blindness::HostKeyChanged { shown } => format!(
            ". Somebody may stand in between. If the key {shown} is right, annotate the cluster with \
             rayward.dev/accept-host-key={shown}; or terminate the machine to have another"
        ),
        Blindness::ForwardingDenied => ". Let the SSH server of the head forward TCP for the user rayward \
                                        (AllowTcpForwarding, PermitOpen)"
            .into(),
        _ => ". Restore the Secret with the key that it knows, or terminate the machine to have another".into(),
    }
}

impl Report {
    /// Whether what runs there failed, or fails again and again.
    #[must_use]
    pub fn has_failed(&self) -> bool {
        self.stage == Stage::Failed || self.ends_at_once()
    }

    fn ends_at_once(&self) -> bool {
        self.ray_ends > 1 && matches!(self.stage, Stage::Failed | Stage::Starting)
    }

    /// How far the machine is, or what failed there with its last lines.
    #[must_use]
    pub fn words(&self) -> String {
        /// How many lines, and how long they may be together: they stand in a condition and in an Event of a thousand
        /// letters, beside what a person can do.
        const LINES: usize = 5;
        const LETTERS: usize = 500;
        let stage = match self.stage {
            Stage::Booting => "booting",
            Stage::Installing => "installing Ray",
            Stage::SettingUp => "running the set-up script",
            Stage::WaitingForToken => "waiting for the cluster's token",
            Stage::WaitingForHead => "waiting for the head",
            Stage::Starting => "starting Ray",
            Stage::Running => "Ray runs",
            Stage::Failed => "failed",
        };
        let told = match &self.message[..] {
            // The same while it falls and while it starts again, which takes turns within seconds.
            _ if self.ends_at_once() => "Ray ends by itself soon after each start",
            "" => stage,
            message => message,
        };
        let full = if self.disk_full { "; its disk is full" } else { "" };
        if !self.has_failed() || self.lines.is_empty() {
            return format!("{told}{full}");
        }
        let mut letters = 0;
        let last = self.lines.iter().rev().take(LINES).take_while(|line| {
            letters += line.chars().count();
            letters <= LETTERS
        });
        let last = self.lines.len() - last.count().max(1);
        format!("{told}{full}: {}", self.lines[last..].join(" | "))
    }
}

/// The time, and the numbers by which it is judged.
#[derive(Clone, Copy)]
struct Clock<'a> {
    now: Timestamp,
    limits: &'a RayLimits,
}

impl Clock<'_> {
    /// How long ago something was; no time at all where a clock that was set back makes it lie ahead.
    fn since(self, at: Timestamp) -> Duration {
        Duration::try_from(self.now.duration_since(at)).unwrap_or_default()
    }

    /// The time in whole seconds, as it stands in a status.
    fn second(self) -> Timestamp {
        Timestamp::from_second(self.now.as_second()).unwrap_or(self.now)
    }
}

/// What is known of the Ray of the head that runs: a look at another machine, of before a head was replaced, tells
/// nothing.
fn ray<'a>(observed: &'a Observed, head: Option<&Instance>, clock: Clock<'_>) -> Ray<'a> {
    let Some(head) = head.filter(|head| head.state == InstanceState::Running) else {
        return Ray::NoHead;
    };
    let recorded = observed.recorded.head.as_ref().filter(|recorded| {
        recorded.instance_id.as_ref() == Some(&head.id)
            && recorded.state.as_deref() == Some(InstanceState::Running.name())
    });
    let since = recorded.and(observed.recorded.ray_unknown_since);
    let since = since.unwrap_or_else(|| clock.second());
    let (why, message, streak) = match &observed.ray.view {
        Look::Known { fact, .. } => {
            let is_its = |node: &Node| node.is_head && node.instance_id.as_ref() == Some(&head.id);
            if fact.nodes.iter().any(is_its) {
                return Ray::Known(fact);
            }
            (&NOT_LOOKED, "the last look was at another head", Streak::default())
        }
        Look::Unknown { why, message, .. } => (why, message.as_str(), observed.ray.streak),
    };
    Ray::Unknown {
        why,
        message,
        since,
        streak,
    }
}

/// Whether everyone's time to come (back) into Ray begins now: the head or its session is another one, so that it knows
/// none of them yet, or it was unknown for so long that nobody could see them come.
fn begins_anew(observed: &Observed, head: Option<&Instance>, ray: Ray<'_>, clock: Clock<'_>) -> bool {
    let Some(view) = ray.view() else { return false };
    let recorded = observed.recorded.head.as_ref();
    let is_other_head = recorded
        .and_then(|recorded| recorded.instance_id.as_ref())
        .is_some_and(|recorded| head.is_some_and(|head| head.id != *recorded));
    let is_other_session = recorded
        .and_then(|recorded| recorded.session.as_ref())
        .is_some_and(|recorded| *recorded != view.session);
    let was_unknown = observed.recorded.ray_unknown_since;
    let was_unknown = was_unknown.is_some_and(|since| clock.since(since) >= clock.limits.lost_after);
    is_other_head || is_other_session || was_unknown
}

/// The node of each machine that counts: one that lives, and of several the newest.
fn nodes(ray: Ray<'_>) -> BTreeMap<&str, &Node> {
    let rank = |node: &Node| (node.state == NodeState::Alive, node.started_at);
    let mut newest: BTreeMap<&str, &Node> = BTreeMap::new();
    for node in ray.view().map_or(&[][..], |view| &view.nodes) {
        let Some(id) = node.instance_id.as_deref() else {
            continue;
        };
        let known = newest.entry(id).or_insert(node);
        if rank(node) > rank(known) {
            *known = node;
        }
    }
    newest
}

/// Instances on which a node was drained.
fn drained(ray: Ray<'_>) -> BTreeSet<&str> {
    let nodes = ray.view().map_or(&[][..], |view| &view.nodes);
    let drained = nodes
        .iter()
        .filter(|node| matches!(node.state, NodeState::Dead { drained: true, .. }));
    drained.filter_map(|node| node.instance_id.as_deref()).collect()
}

fn head_member<'a>(head: &'a Instance, ray: Ray<'a>, observed: &'a Observed, clock: Clock<'_>) -> Member<'a> {
    let recorded = observed.recorded.head.as_ref();
    let recorded = recorded.filter(|recorded| recorded.instance_id.as_ref() == Some(&head.id));
    let is_running = head.state == InstanceState::Running;
    let was_running = recorded.is_some_and(|head| head.state.as_deref() == Some(InstanceState::Running.name()));
    let before = recorded
        .filter(|_| is_running && was_running)
        .and_then(|head| head.joined_time);
    let (membership, joined_time, missing_since) = match ray {
        Ray::NoHead => (None, None, None),
        Ray::Known(_) => {
            let stayed = before.filter(|_| observed.recorded.ray_unknown_since.is_none());
            let joined = stayed.unwrap_or_else(|| clock.second());
            (Some(Membership::Joined), Some(joined), None)
        }
        Ray::Unknown { why, since, .. } => {
            let is_down = matches!(why, Blindness::DashboardDown | Blindness::GcsDown);
            let membership = match before {
                None if clock.since(since) < clock.limits.join_timeout => Membership::Joining,
                Some(_) if is_down && clock.since(since) >= clock.limits.lost_after => Membership::Lost,
                _ => Membership::Unknown,
            };
            (Some(membership), before, Some(since))
        }
    };
    let recorded_key = recorded.and_then(|head| head.host_key.as_deref());
    Member {
        machine: head,
        membership,
        node: ray.view().and_then(|view| view.nodes.iter().find(|node| node.is_head)),
        in_use: None,
        report: observed.ray.reports.get(&head.id),
        joined_time,
        missing_since,
        missing_for: missing_since.map_or(Duration::ZERO, |at| clock.since(at)),
        step: step(observed.steps.get(&head.id), joined_time, missing_since, clock),
        draining: None,
        drains_anew: false,
        drain_fails: None,
        host_key: host_key(observed, &head.id, recorded_key),
        is_new: false,
        is_recorded: recorded.is_some(),
    }
}

/// The last step of a ladder, while it counts.
fn step<'a>(
    step: Option<&'a StepStatus>,
    joined: Option<Timestamp>,
    missing: Option<Timestamp>,
    clock: Clock<'_>,
) -> Option<&'a StepStatus> {
    let step = step.filter(|step| step.step != DRAIN && step.step != DRAIN_FAILED)?;
    let has_helped = joined.is_some_and(|joined| {
        let stayed = missing.unwrap_or(clock.now).duration_since(joined);
        joined > step.at && Duration::try_from(stayed).unwrap_or_default() >= clock.limits.heal_window
    });
    (!has_helped).then_some(step)
}

fn host_key<'a>(observed: &'a Observed, id: &str, recorded: Option<&'a str>) -> Option<&'a str> {
    observed.ray.host_keys.get(id).map(String::as_str).or(recorded)
}

/// With what workers are judged.
struct Sight<'a, 'b> {
    observed: &'a Observed,
    clock: Clock<'b>,
    begins_anew: bool,
    nodes: BTreeMap<&'a str, &'a Node>,
    busy: BTreeSet<&'a str>,
    drained: BTreeSet<&'a str>,
    recorded: BTreeMap<&'a str, &'a WorkerStatus>,
}

impl<'a> Sight<'a, '_> {
    fn worker(&self, machine: &'a Instance, ray: Ray<'_>) -> Member<'a> {
        let (observed, clock) = (self.observed, self.clock);
        let recorded = self.recorded.get(machine.id.as_str()).copied();
        let last_step = observed.steps.get(&machine.id);
        let drain = last_step.filter(|step| step.step == DRAIN);
        let node = self.nodes.get(machine.id.as_str()).copied();
        let was_missing = recorded.and_then(|worker| worker.missing_since);
        let before = recorded.and_then(|worker| worker.joined_time);
        let is_running = machine.state == InstanceState::Running;
        let mut member = Member {
            machine,
            membership: None,
            node,
            in_use: self.in_use(machine, node),
            report: observed.ray.reports.get(&machine.id).filter(|_| is_running),
            joined_time: before,
            missing_since: None,
            missing_for: Duration::ZERO,
            step: None,
            draining: drain.map(|step| step.at),
            drains_anew: drain.is_some_and(|drain| self.has_another_node(machine, node, drain)),
            drain_fails: last_step.filter(|step| step.step == DRAIN_FAILED).map(|step| step.at),
            host_key: host_key(
                observed,
                &machine.id,
                recorded.and_then(|worker| worker.host_key.as_deref()),
            ),
            is_new: false,
            is_recorded: self.is_recorded(machine, recorded),
        };
        let (membership, is_known) = match (is_running, ray) {
            (false, _) => (None, false),
            // Nobody could see it join: what counts for its time is what was known before.
            (true, Ray::NoHead | Ray::Unknown { .. }) => {
                member.missing_since = was_missing;
                let never = before.is_none();
                (
                    Some(if never {
                        Membership::Joining
                    } else {
                        Membership::Unknown
                    }),
                    false,
                )
            }
            (true, Ray::Known(_)) => (None, true),
        };
        member.membership = membership;
        if is_known {
            if node.is_some_and(|node| node.state == NodeState::Alive) {
                let stayed = before.filter(|_| was_missing.is_none());
                member.joined_time = Some(stayed.unwrap_or_else(|| clock.second()));
                member.is_new = before.is_none();
            } else {
                let known = was_missing.filter(|_| !self.begins_anew);
                member.missing_since = Some(known.unwrap_or_else(|| clock.second()));
            }
        }
        member.missing_for = member.missing_since.map_or(Duration::ZERO, |at| self.seen_for(at));
        member.step = step(last_step, member.joined_time, member.missing_since, clock);
        if is_known {
            member.membership = Some(self.known_membership(&member));
        }
        member
    }

    /// What was first met while Ray was not known stands in the status as unknown.
    fn is_recorded(&self, machine: &Instance, recorded: Option<&WorkerStatus>) -> bool {
        let mut launches = self.observed.ledger.launches.iter();
        match recorded {
            Some(recorded) => recorded.joined_time.is_some() || recorded.ray != Some(Membership::Unknown),
            None => launches.any(|launch| Some(launch.number) == machine.launch()),
        }
    }

    /// Whether another node lives on a machine than the one that was drained.
    fn has_another_node(&self, machine: &Instance, node: Option<&Node>, drain: &StepStatus) -> bool {
        let lives = |node: &&Node| node.state == NodeState::Alive;
        node.filter(lives).is_some_and(|node| match &drain.node {
            Some(drained) => *drained != node.node_id,
            None => self.drained.contains(machine.id.as_str()),
        })
    }

    fn in_use(&self, machine: &Instance, node: Option<&Node>) -> Option<bool> {
        if self.busy.contains(machine.id.as_str()) {
            return Some(true);
        }
        node.and_then(|node| node.in_use)
    }

    /// For how long something was so that began then, as far as anybody saw it: not after the last look, and not before
    /// this process began to look.
    fn seen_for(&self, began: Timestamp) -> Duration {
        let ray = &self.observed.ray;
        let age = match ray.view {
            Look::Known { age, .. } => age,
            Look::Unknown { .. } => Duration::ZERO,
        };
        self.clock.since(began).saturating_sub(age).min(ray.watched)
    }

    /// Of a machine that runs, while the head is known.
    fn known_membership(&self, member: &Member<'_>) -> Membership {
        let (clock, limits) = (self.clock, self.clock.limits);
        if member.missing_since.is_none() {
            return match member.draining {
                Some(_) => Membership::Draining,
                None => Membership::Joined,
            };
        }
        if member.draining.is_some() && member.node.is_some() {
            return Membership::Drained;
        }
        let patience = if member.node.is_some() {
            limits.lost_after
        } else {
            limits.join_timeout
        };
        // A step may take its time to help.
        let is_tried = member
            .step
            .is_some_and(|step| clock.since(step.at) < limits.heal_window);
        if member.missing_for < patience || is_tried {
            Membership::Joining
        } else {
            Membership::Lost
        }
    }
}
