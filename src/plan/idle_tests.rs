//! When a cluster that nobody uses goes down: each rule as a case.

mod clocks;
mod down;
mod properties;
mod signals;
mod unknown;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use jiff::{SignedDuration, Timestamp};

use super::scenario::Scenario;
use crate::{
    ray::facts::{Blindness, Look, People, Signal},
    resources::instance::InstanceState,
    status::ConditionType,
};

/// The lab, all of it running and in Ray, and what is seen of its use.
pub(super) struct Lab {
    pub(super) scenario: Scenario,
    /// What uses it.
    pub(super) signals: BTreeMap<Signal, String>,
    /// Who is on which machine: people over SSH, and kernels.
    pub(super) people: BTreeMap<String, (u32, u32)>,
    last_end: Option<Timestamp>,
    /// For how long nobody has been seen using it, in seconds; `None`: the last look showed use or failed.
    idle_for: Option<i64>,
    /// For how long it has been unknown, in seconds.
    unknown_for: i64,
    /// Age of the looks.
    age: Duration,
    /// How long ago the clock jumped, in seconds.
    jumped: Option<i64>,
    /// How long they take.
    took: Duration,
    /// Ray and its nodes are seen, and not what uses it.
    use_is_unknown: bool,
}

impl Lab {
    fn running() -> Self {
        Self::with(|_| {})
    }

    /// The same, asked for in another way.
    pub(super) fn with(change: impl FnOnce(&mut Scenario)) -> Self {
        let mut scenario = Scenario::lab();
        change(&mut scenario);
        scenario.run();
        let mut lab = Self {
            scenario,
            signals: BTreeMap::new(),
            people: BTreeMap::new(),
            last_end: None,
            idle_for: None,
            unknown_for: 0,
            age: Duration::ZERO,
            jumped: None,
            took: Duration::ZERO,
            use_is_unknown: false,
        };
        lab.pass();
        lab
    }

    pub(super) fn minutes(minutes: u64) -> Self {
        Self::with(|scenario| scenario.cluster.idle.timeout = Duration::from_mins(minutes))
    }

    pub(super) fn see(&mut self) {
        let scenario = &mut self.scenario;
        scenario.arrive();
        scenario.look();
        let ray = &mut scenario.observed.ray;
        let mut is_used = !self.signals.is_empty();
        if let Look::Known { age, .. } = &mut ray.view {
            *age = self.age;
        }
        if let Look::Known { fact, age } = &mut ray.activity {
            let activity = Arc::make_mut(fact);
            activity.signals.clone_from(&self.signals);
            activity.last_end = self.last_end;
            *age = self.age;
        }
        if let Look::Unknown { since, .. } = &mut ray.view {
            *since = Duration::from_secs(self.unknown_for.unsigned_abs());
        }
        if self.use_is_unknown {
            ray.activity = Look::Unknown {
                why: Blindness::Incomplete,
                message: "the list of jobs breaks off".into(),
                since: Duration::from_secs(self.unknown_for.unsigned_abs()),
                last: None,
            };
        }
        for (id, (ssh, kernels)) in &self.people {
            if let Some(Look::Known { fact, .. }) = ray.reports.get_mut(id) {
                let report = Arc::make_mut(fact);
                report.people = Some(People {
                    ssh_sessions: *ssh,
                    jupyter_kernels: *kernels,
                });
                let counts = scenario.cluster.idle.signals;
                is_used |= (counts.ssh_sessions && *ssh > 0) || (counts.jupyter_kernels && *kernels > 0);
            }
        }
        if is_used || ray.activity.known().is_none() {
            self.idle_for = None;
        }
        if ray.activity.known().is_some() {
            self.unknown_for = 0;
            if !is_used {
                self.idle_for.get_or_insert(0);
            }
        }
        ray.idle_for = Duration::from_secs(self.idle_for.unwrap_or_default().unsigned_abs());
        ray.clock_jumped = self.jumped.map(|ago| Duration::from_secs(ago.unsigned_abs()));
        ray.took = self.took;
    }

    /// A pass as the controller makes it; what was done.
    fn pass(&mut self) -> Vec<String> {
        self.see();
        let done = self.scenario.settle();
        self.scenario.write();
        done
    }

    pub(super) fn advance(&mut self, seconds: i64) {
        self.scenario.now += SignedDuration::from_secs(seconds);
        self.unknown_for += seconds;
        self.jumped = self.jumped.map(|ago| ago + seconds);
        self.idle_for = self.idle_for.map(|idle| idle + seconds);
    }

    /// Passes every 15 s for so many minutes; what was done.
    fn pass_for(&mut self, minutes: i64) -> Vec<String> {
        let mut done = Vec::new();
        for _ in 0..minutes * 4 {
            self.advance(15);
            done.extend(self.pass());
        }
        done
    }

    /// The controller is away for so many minutes and has just come back.
    fn away_for(&mut self, minutes: i64) {
        self.advance(minutes * 60);
        self.idle_for = None;
        self.scenario.observed.is_own_mark = false;
    }

    /// The annotation says so, as another process or a person wrote it.
    fn is_marked(&mut self, mark: &str) {
        self.scenario.observed.stopped = Some(mark.into());
        self.scenario.observed.is_own_mark = false;
    }

    pub(super) fn uses(&mut self, signal: Signal) {
        self.signals = BTreeMap::from([(signal, "it".into())]);
    }

    pub(super) fn is_unused(&mut self) {
        self.signals.clear();
        self.people.clear();
    }

    fn blind(&mut self, why: Blindness) {
        self.scenario.ray.unknown = Some(why);
        self.unknown_for = 0;
    }

    fn is_up(&self) -> bool {
        let mut all = self.scenario.observed.inventory.instance.ours.values();
        all.all(|machine| machine.state == InstanceState::Running)
    }

    fn deadline(&self) -> Option<Timestamp> {
        self.scenario.observed.recorded.idle_deadline
    }

    fn last_activity(&self) -> Timestamp {
        let recorded = self.scenario.observed.recorded.last_activity_time;
        recorded.expect("a time of the last use")
    }

    /// `status reason` of a condition; empty where it is not there.
    fn told(&self, kind: ConditionType) -> String {
        let (status, reason, _) = self.condition(kind).unwrap_or_default();
        format!("{status} {reason}").trim().to_owned()
    }

    fn message(&self, kind: ConditionType) -> String {
        self.condition(kind).map(|(_, _, message)| message).unwrap_or_default()
    }

    fn condition(&self, kind: ConditionType) -> Option<(String, String, String)> {
        let mut all = self.scenario.observed.recorded.conditions.iter();
        let found = all.find(|condition| condition.type_ == kind.name())?;
        Some((found.status.clone(), found.reason.clone(), found.message.clone()))
    }

    pub(super) fn wake(&mut self, text: &str) {
        self.scenario.observed.wishes.wake = Some(text.into());
    }
}

/// Whether a line stops or terminates a machine.
fn takes_down(line: &str) -> bool {
    line.starts_with("stop ") || line.starts_with("terminate ") || line.starts_with("force to stop ")
}

/// What of all that was done was about going down and coming up.
fn ups_and_downs(done: &[String]) -> Vec<String> {
    let is_one = |line: &&String| takes_down(line) || line.contains("mark") || line.starts_with("start ");
    done.iter().filter(is_one).cloned().collect()
}
