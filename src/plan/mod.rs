//! `plan(inputs) -> Plan`: every choice that Rayward makes. Pure: no async, no clock, no randomness, and no types of
//! the AWS SDK or of the Kubernetes client.

mod action;
mod converge;
mod deletion;
mod delivery;
pub mod failures;
pub mod fleet;
pub(crate) mod healing;
#[cfg(test)]
mod healing_tests;
pub mod idle;
#[cfg(test)]
mod idle_tests;
mod interest;
pub mod launch;
mod launch_cap;
#[cfg(test)]
mod launch_tests;
mod ledger;
#[cfg(test)]
mod machine_tests;
pub mod membership;
#[cfg(test)]
mod membership_tests;
mod network;
#[cfg(test)]
mod network_tests;
pub(crate) mod placement;
#[cfg(test)]
mod placement_tests;
pub mod pool;
#[cfg(test)]
mod properties;
#[cfg(test)]
mod ray_properties;
pub mod revision;
#[cfg(test)]
mod revision_tests;
pub(crate) mod scale_down;
#[cfg(test)]
mod scale_down_tests;
#[cfg(test)]
pub(crate) mod scenario;
#[cfg(test)]
pub(crate) mod scenario_ray;
pub mod suspend;
pub(crate) mod tagging;
mod together;
mod usage;
mod waiting;
#[cfg(test)]
mod wake_ups;

use std::{collections::BTreeMap, time::Duration};

use jiff::Timestamp;

pub use action::{Action, ClosedLaunch, StopMark};
pub use waiting::{Finding, Outcome, Reason, Subject, Waiting};

use crate::{
    api::Phase,
    observe::{Observed, Refusal, Unseen},
    ray::facts::Interest,
    resources::{Change, Resource},
    tags::{self, Tags},
    validate::ValidCluster,
};

/// How soon after the status was written the next pass follows.
const WRITTEN: Duration = Duration::from_secs(1);

/// All that a plan depends on.
#[derive(Clone, Copy, Debug)]
pub struct Inputs<'a> {
    /// What is asked for.
    pub cluster: &'a ValidCluster,
    /// What is there.
    pub observed: &'a Observed,
    /// The numbers of this installation.
    pub limits: &'a Limits,
    /// The time.
    pub now: Timestamp,
}

/// The numbers that a plan depends on; each is a flag of `rayward run`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// How long a launched machine may be pending before it is given up.
    pub launch_pending: Duration,
    /// A cluster launches at most this many times its size in [`Self::launch_window`].
    pub launch_cap_factor: u32,
    /// See [`Self::launch_cap_factor`].
    pub launch_window: Duration,
    /// How long nothing is launched after the record of launches was lost.
    pub lost_record_hold: Duration,
    /// How long AWS may still show what was before a change.
    pub consistency_window: Duration,
    /// How old the settings of a bucket may be.
    pub bucket_interval: Duration,
    /// How long a machine may hang in `stopping` or `shutting-down` before it counts as stuck.
    pub stop_timeout: Duration,
    /// What plans about Ray depend on.
    pub ray: RayLimits,
}

/// The numbers with which Ray is judged; each is a flag of `rayward run`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RayLimits {
    /// How often a cluster's Ray is looked at; what is older than three times that is not known any more.
    pub look_interval: Duration,
    /// How long a machine may take from running to its first appearance in Ray.
    pub join_timeout: Duration,
    /// How long a worker that joined may be missing before it counts as lost: a fast restart shows as a new node.
    pub lost_after: Duration,
    /// How long a step of the ladder (restart Ray, reboot) may take to help before the next one.
    pub heal_window: Duration,
    /// How long running work of a worker that is drained may take before its machine goes.
    pub drain_timeout: Duration,
    /// How long no connection may reach the head, in a row, before its machine is rebooted.
    pub unknown_timeout: Duration,
    /// How long a cluster must be known idle without a gap before it is stopped, at the least.
    pub idle_proof: Duration,
    /// How old the observation may be on which a cluster is stopped.
    pub confirm_age: Duration,
    /// How long a cluster whose Ray never answered since its head was started goes on; the idle timeout where that is
    /// longer.
    pub unseen_timeout: Duration,
    /// After how many machines that fail in the same way no further one is launched.
    pub repeated_failures: u32,
}

impl Default for RayLimits {
    fn default() -> Self {
        Self {
            look_interval: Duration::from_secs(15),
            join_timeout: Duration::from_mins(10),
            lost_after: Duration::from_secs(75),
            heal_window: Duration::from_mins(3),
            drain_timeout: Duration::from_mins(5),
            unknown_timeout: Duration::from_mins(10),
            idle_proof: Duration::from_mins(10),
            confirm_age: Duration::from_secs(5),
            unseen_timeout: Duration::from_hours(2),
            repeated_failures: 3,
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            launch_pending: Duration::from_mins(5),
            launch_cap_factor: 3,
            launch_window: Duration::from_hours(1),
            lost_record_hold: Duration::from_mins(5),
            consistency_window: Duration::from_mins(1),
            bucket_interval: Duration::from_hours(1),
            stop_timeout: Duration::from_mins(10),
            ray: RayLimits::default(),
        }
    }
}

/// What is to be done now, what is waited for, and what a person should know.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// To be done now, each independent of the others.
    pub actions: Vec<Action>,
    /// What cannot be done yet.
    pub waiting: Vec<Waiting>,
    /// What differs from the wish and is being put right, or is left alone because it is not ours.
    pub findings: Vec<Finding>,
    /// Which of its machines are looked at from inside.
    pub interest: Interest,
    /// A look into Ray is wanted at once: only a fresh one may stop a cluster.
    pub look_now: bool,
    /// What is known of its use; `None`: nobody could judge now, and what was known before stands.
    pub idle: Option<idle::Idleness>,
    /// When to look again at the latest; `None`: when something changes.
    pub next_check: Option<Duration>,
}

impl Plan {
    /// Whether there is nothing to do and nothing to wait for.
    #[must_use]
    pub fn is_converged(&self) -> bool {
        self.actions.is_empty() && self.waiting.is_empty()
    }

    /// Whether all is as it is to be: a cluster that is looked at once more before it goes down is.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        let mut waiting = self.waiting.iter();
        self.actions.is_empty() && waiting.all(|waiting| waiting.reason == Reason::ConfirmIdle)
    }
}

/// Plans one cluster.
#[must_use]
pub fn plan(inputs: &Inputs<'_>) -> Plan {
    let mut planner = Planner::new(*inputs);
    if inputs.cluster.deleting {
        deletion::plan(&mut planner);
    } else {
        converge::plan(&mut planner);
    }
    planner.plan
}

/// Whether AWS refused because something else still uses what a change is about.
fn is_in_use(refusal: &Refusal) -> bool {
    refusal.code == "DependencyViolation"
}

/// A plan in the making; handed from resource to resource.
#[derive(Debug)]
pub struct Planner<'a> {
    /// What the plan depends on.
    pub inputs: Inputs<'a>,
    /// What was decided so far.
    pub plan: Plan,
    /// Numbers of the open launches that are what is asked for now.
    wanted_launches: Vec<u64>,
}

impl<'a> Planner<'a> {
    /// With nothing decided yet.
    #[must_use]
    pub fn new(inputs: Inputs<'a>) -> Self {
        Self {
            inputs,
            plan: Plan::default(),
            wanted_launches: Vec::new(),
        }
    }

    /// The cluster that is planned.
    #[must_use]
    pub fn cluster(&self) -> &'a ValidCluster {
        self.inputs.cluster
    }

    /// What is known of it.
    #[must_use]
    pub fn observed(&self) -> &'a Observed {
        self.inputs.observed
    }

    /// Plans a change on AWS, unless AWS refused it and its time has not come again: then that is waited for.
    pub fn change(&mut self, subject: Subject, change: Change) {
        self.act(subject, Action::Aws(change));
    }

    /// Plans an action, unless it was refused and its time has not come again: then that is waited for.
    pub fn act(&mut self, subject: Subject, action: Action) {
        if !self.is_refused(subject, &action.key()) {
            self.plan.actions.push(action);
        }
    }

    /// Whether the action with this key was refused and its time has not come again; if so, that is waited for.
    fn is_refused(&mut self, subject: Subject, key: &str) -> bool {
        let refusal = self
            .inputs
            .observed
            .refusals
            .get(key)
            .filter(|refusal| refusal.until > self.inputs.now);
        if let Some(refusal) = refusal {
            self.check_in(refusal.until.duration_since(self.inputs.now).unsigned_abs());
            let waiting = if self.cluster().deleting && is_in_use(refusal) && refusal.times > Refusal::PATIENCE {
                Waiting::in_use(subject, refusal)
            } else {
                Waiting::refused(subject, refusal)
            };
            self.plan.waiting.push(waiting);
        }
        refusal.is_some()
    }

    /// Whether AWS refuses something about `subject` until a person does something.
    #[must_use]
    pub fn is_refused_for_long(&self, subject: Subject) -> bool {
        let mut waiting = self.plan.waiting.iter();
        waiting.any(|waiting| waiting.subject == subject && waiting.reason.needs_person())
    }

    /// How often in a row AWS refused a change because something still uses what it is about.
    #[must_use]
    pub fn times_in_use(&self, change: &Change) -> u32 {
        let refusal = self.observed().refusals.get(&Action::Aws(change.clone()).key());
        refusal
            .filter(|refusal| is_in_use(refusal))
            .map_or(0, |refusal| refusal.times)
    }

    /// Says what is waited for.
    pub fn wait(&mut self, subject: Subject, reason: Reason, message: impl Into<String>) {
        self.plan.waiting.push(Waiting {
            subject,
            reason,
            message: message.into(),
        });
    }

    /// Says that something is not known.
    pub fn wait_for_look(&mut self, subject: Subject, what: &str, why: &Unseen) {
        self.plan.waiting.push(Waiting::unseen(subject, what, why));
    }

    /// Says what a person should know.
    pub fn find(&mut self, finding: Finding) {
        self.plan.findings.push(finding);
    }

    /// Says what of others keeps something of ours from being deleted.
    pub fn blocked(&mut self, id: &str, blockers: &[String]) {
        let message = format!(
            "{id} cannot be deleted before {}, not of this cluster: remove what is in the way, and the deletion \
             goes on",
            blockers.join(", ")
        );
        self.wait(Subject::Network, Reason::ForeignResource, message);
    }

    /// How long ago something was; no time at all where a clock that was set back makes it lie ahead.
    #[must_use]
    pub fn since(&self, at: Timestamp) -> Duration {
        Duration::try_from(self.inputs.now.duration_since(at)).unwrap_or_default()
    }

    /// Asks for another look after `delay` at the latest.
    pub fn check_in(&mut self, delay: Duration) {
        let next = &mut self.plan.next_check;
        *next = Some(next.map_or(delay, |earlier| earlier.min(delay)));
    }

    /// The tags that something of this cluster has to carry.
    #[must_use]
    pub fn tags(&self, role: &str, group: Option<&str>) -> Tags {
        tags::wanted(&self.cluster().id, &self.cluster().tags, role, group)
    }

    /// The tags with which something of this cluster is created: the wanted ones and the time.
    #[must_use]
    pub fn creation_tags(&self, role: &str, group: Option<&str>) -> Tags {
        let mut tags = self.tags(role, group);
        tags.insert(
            tags::CREATED_AT.into(),
            self.inputs.now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
        );
        tags
    }

    /// Whether something has existed for longer than AWS may take to show it everywhere.
    #[must_use]
    pub fn is_settled(&self, tags: &Tags) -> bool {
        let created = tags.get(tags::CREATED_AT).and_then(|at| at.parse::<Timestamp>().ok());
        created.is_none_or(|at| self.since(at) > self.inputs.limits.consistency_window)
    }

    /// Whether something that carries these tags and differs from the wish was changed by somebody: neither is it being
    /// made, nor did the wish itself just change, nor is the cluster still on its way to it.
    #[must_use]
    pub fn is_drift(&self, tags: &Tags) -> bool {
        let recorded = &self.observed().recorded;
        let was_reached = recorded.observed_generation == Some(self.cluster().generation)
            && recorded.phase.is_some_and(|phase| phase != Phase::Provisioning);
        was_reached && self.is_settled(tags)
    }

    /// Plans to take away what was made twice: only what `removal` finds unused, and only once it is settled.
    pub fn reap_doubles<T: Resource>(
        &mut self,
        items: &BTreeMap<String, T>,
        keep: &str,
        removal: impl Fn(&T) -> Option<Change>,
    ) {
        for item in items.values().filter(|item| item.id() != keep) {
            if !self.is_settled(item.tags()) {
                self.check_in(self.inputs.limits.consistency_window);
            } else if let Some(change) = removal(item) {
                self.find(Finding::repaired(item.id(), "was made twice and is not in use"));
                self.change(Subject::Network, change);
            }
        }
    }
}
