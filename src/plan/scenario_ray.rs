//! The Ray of a [`Scenario`]: a small model of what machines do once they run, looked at as the controller would.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use jiff::Timestamp;

use super::{fleet::Fleet, scenario::Scenario};
use crate::{
    api::{RayClusterStatus, StepStatus},
    plan::Action,
    ray::{
        facts::{Blindness, Look, Node, NodeState, Others, People, RayFacts, Report, Stage, View},
        step::{MachineStep, StepAnswer},
        streak::{Fault, Streak},
    },
    resources::{
        Change,
        head::choose,
        instance::{Instance, InstanceChange, InstanceState, REBOOT},
    },
    status::{StatusInputs, status},
};

/// What happened to machines, and how they fare.
#[derive(Clone, Debug, Default)]
pub(crate) struct RayModel {
    /// Machines that were given the token.
    pub tokens: BTreeSet<String>,
    /// Nodes of each machine, the newest last.
    nodes: BTreeMap<String, Vec<Node>>,
    /// Machines whose Ray does not start.
    pub broken: BTreeSet<String>,
    /// Broken ones that a step of this name mends.
    pub mended_by: BTreeMap<String, &'static str>,
    /// Machines that no connection reaches.
    pub unreachable: BTreeSet<String>,
    /// What works is in use.
    pub busy: BTreeSet<String>,
    /// Every new worker's Ray does not start, and this is what it says.
    pub failing: Option<String>,
    /// Why nothing of Ray is known, if so.
    pub unknown: Option<Blindness>,
    /// Ray starts again on a machine where it was drained.
    pub restarts_drained: bool,
    /// What drains goes on for ever.
    pub hangs_in_drain: bool,
    /// Machines lose the token that they are given.
    pub withhold_tokens: bool,
    /// Machines that are not known for this reason.
    pub refused: BTreeMap<String, Blindness>,
    /// What machines wrote on their consoles.
    pub consoles: BTreeMap<String, Vec<String>>,
    /// Machines whose disk is full.
    pub full: BTreeSet<String>,
    /// How far machines say that they are, if not as far as they are.
    pub stages: BTreeMap<String, Stage>,
    /// Restarts of the head's Ray.
    pub sessions: u32,
    /// How often the Ray of machines ended by itself since it ran last.
    pub ends: BTreeMap<String, u32>,
    /// Where workers look for their head, if they tell.
    pub heads: BTreeMap<String, String>,
    /// How other heads fare.
    pub others: Others,
    /// Since when this process has looked; `None`: for ever.
    pub watched_since: Option<Timestamp>,
    streak: Streak,
    looked: Option<Timestamp>,
    head: Option<String>,
    count: u32,
}

impl RayModel {
    /// The node of a machine dies.
    pub(crate) fn kill(&mut self, id: &str, at: Timestamp) {
        self.end(id, at, false);
    }

    /// The node of a machine that drains ends.
    pub(crate) fn drained(&mut self, id: &str, at: Timestamp) {
        self.end(id, at, true);
    }

    fn end(&mut self, id: &str, at: Timestamp, drained: bool) {
        if let Some(node) = self.nodes.get_mut(id).and_then(|nodes| nodes.last_mut())
            && node.state == NodeState::Alive
        {
            node.state = NodeState::Dead {
                ended_at: Some(at),
                drained,
                message: String::new(),
            };
        }
    }

    fn start(&mut self, id: &str, is_head: bool, at: Timestamp) {
        let nodes = self.nodes.entry(id.to_owned()).or_default();
        let lives = nodes.last().is_some_and(|node| node.state == NodeState::Alive);
        let was_drained = nodes
            .iter()
            .any(|node| matches!(node.state, NodeState::Dead { drained: true, .. }));
        if lives || (was_drained && !self.restarts_drained) {
            return;
        }
        self.count += 1;
        nodes.push(Node {
            node_id: format!("node-{}", self.count),
            instance_id: Some(id.to_owned()),
            is_head,
            state: NodeState::Alive,
            started_at: at,
            in_use: Some(false),
        });
    }

    /// What comes of an action, seen from inside the machines.
    pub(super) fn carry_out(&mut self, action: &Action, at: Timestamp) {
        let helped = |model: &mut Self, id: &str, step: &str| {
            if model.mended_by.get(id) == Some(&step) {
                model.broken.remove(id);
                model.unreachable.remove(id);
            }
        };
        match action {
            Action::Machine(MachineStep::GiveToken { instance_id }) if !self.withhold_tokens => {
                self.tokens.insert(instance_id.clone());
            }
            Action::Machine(MachineStep::RestartRay { instance_id, .. }) => {
                self.kill(instance_id, at);
                helped(self, instance_id, "RestartRay");
            }
            Action::Machine(MachineStep::Drain { instance_id, .. }) if !self.hangs_in_drain => {
                self.end(instance_id, at, true);
            }
            Action::Aws(Change::Instance(InstanceChange::Reboot { ids, .. })) => {
                for id in ids {
                    self.kill(id, at);
                    helped(self, id, REBOOT);
                }
            }
            _ => {}
        }
    }

    /// Whether Ray refuses to drain this machine.
    pub(super) fn answer(&self, step: &MachineStep) -> StepAnswer {
        match step {
            MachineStep::Drain { instance_id, force, .. } if !force && self.busy.contains(instance_id) => {
                StepAnswer::Busy
            }
            _ => StepAnswer::Done,
        }
    }

    /// Time for everything that can join to have joined.
    fn advance(&mut self, head: Option<&Instance>, workers: &[&Instance], at: Timestamp) {
        let runs = |machine: &&Instance| machine.state == InstanceState::Running;
        let alive: BTreeSet<&str> = workers
            .iter()
            .copied()
            .chain(head)
            .filter(runs)
            .map(|machine| machine.id.as_str())
            .collect();
        let gone: Vec<String> = self
            .nodes
            .keys()
            .filter(|id| !alive.contains(id.as_str()))
            .cloned()
            .collect();
        for id in gone {
            self.end(&id, at, false);
        }
        let session = head.filter(runs).map(|head| format!("{}-{}", head.id, self.sessions));
        if session != self.head {
            // A new head knows nobody.
            self.nodes.clear();
            self.head = session;
        }
        let Some(head) = head.filter(runs) else { return };
        if self.tokens.contains(&head.id) {
            self.start(&head.id, true, at);
        }
        for worker in workers.iter().filter(|worker| runs(worker)) {
            if self.failing.is_some() && !self.nodes.contains_key(&worker.id) {
                self.broken.insert(worker.id.clone());
            }
            let is_well = self.tokens.contains(&worker.id)
                && !self.broken.contains(&worker.id)
                && !self.unreachable.contains(&worker.id);
            if is_well {
                self.start(&worker.id, false, at);
            } else {
                self.end(&worker.id, at, false);
            }
        }
    }

    fn facts(&mut self, machines: &[&Instance], at: Timestamp) -> RayFacts {
        let unknown = |why: Blindness| Look::Unknown {
            why,
            message: "no answer".into(),
            since: Duration::MAX,
            last: None,
        };
        let view = View {
            session: self.head.clone().unwrap_or_default(),
            version: "2.60.0".into(),
            nodes: self.nodes.values().flatten().map(|node| self.shown(node)).collect(),
        };
        let has_head = view
            .nodes
            .iter()
            .any(|node| node.is_head && node.state == NodeState::Alive);
        let head_id = self
            .head
            .as_ref()
            .and_then(|head| head.rsplit_once('-'))
            .map(|(id, _)| id);
        let is_unreachable = head_id.is_some_and(|head| self.unreachable.contains(head));
        let head_report = head_id.map(|head| self.report(head));
        let reports = machines
            .iter()
            .filter(|machine| machine.state == InstanceState::Running)
            .map(|machine| (machine.id.clone(), self.report(&machine.id)))
            .collect();
        let mut facts = RayFacts {
            view: match &self.unknown {
                Some(why) => unknown(why.clone()),
                None if is_unreachable => unknown(Blindness::Unreachable),
                None if !has_head => unknown(Blindness::DashboardDown),
                None => Look::Known {
                    fact: Arc::new(view),
                    age: Duration::ZERO,
                },
            },
            activity: Look::Known {
                fact: Arc::default(),
                age: Duration::ZERO,
            },
            reports,
            others: self.others,
            watched: self.watched_since.map_or(Duration::MAX, |since| passed(since, at)),
            ..RayFacts::default()
        };
        if let Look::Unknown {
            why, message, since, ..
        } = &facts.view
        {
            facts.activity = Look::Unknown {
                why: why.clone(),
                message: message.clone(),
                since: *since,
                last: None,
            };
        }
        let fault = match &facts.view {
            Look::Known { .. } => None,
            Look::Unknown { why, .. } => Some(Fault::of(why, head_report.as_ref().and_then(Look::known))),
        };
        self.streak = self.streak.next(fault, passed(self.looked.unwrap_or(at), at));
        self.looked = Some(at);
        facts.streak = self.streak;
        facts
    }

    fn shown(&self, node: &Node) -> Node {
        let is_busy = node.instance_id.as_ref().is_some_and(|id| self.busy.contains(id));
        Node {
            in_use: Some(is_busy),
            ..node.clone()
        }
    }

    fn report(&self, id: &str) -> Look<Report> {
        let unreachable = self.unreachable.contains(id).then_some(Blindness::Unreachable);
        if let Some(why) = self.refused.get(id).cloned().or(unreachable) {
            return Look::Unknown {
                why,
                message: "no answer".into(),
                since: Duration::MAX,
                last: None,
            };
        }
        let has_token = self.tokens.contains(id);
        let is_broken = self.broken.contains(id);
        let stage = self.stages.get(id).copied();
        let report = Report {
            stage: match (has_token, is_broken && self.failing.is_some()) {
                _ if stage.is_some() => stage.unwrap_or_default(),
                (false, _) => Stage::WaitingForToken,
                (true, true) => Stage::Failed,
                (true, false) => Stage::Running,
            },
            message: self.failing.clone().filter(|_| is_broken).unwrap_or_default(),
            ray_active: has_token && !is_broken,
            ray_ends: self.ends.get(id).copied().unwrap_or_default(),
            has_token,
            people: Some(People::default()),
            disk_full: self.full.contains(id),
            head_address: self.heads.get(id).cloned(),
            ..Report::default()
        };
        Look::Known {
            fact: Arc::new(report),
            age: Duration::ZERO,
        }
    }
}

fn passed(since: Timestamp, now: Timestamp) -> Duration {
    Duration::try_from(now.duration_since(since)).unwrap_or_default()
}

impl Scenario {
    /// Lets Ray go on by itself and looks at it; whether something is seen that was not before.
    pub(crate) fn look(&mut self) -> bool {
        let observed = self.observed.clone();
        let fleet = Fleet::of(&observed);
        let head = choose(&fleet.heads).0;
        let workers: Vec<&Instance> = fleet
            .workers
            .values()
            .flatten()
            .chain(&fleet.unassigned)
            .copied()
            .collect();
        self.ray.advance(head, &workers, self.now);
        let machines: Vec<&Instance> = fleet.all().collect();
        let facts = self.ray.facts(&machines, self.now);
        let is_new = facts.view != self.observed.ray.view || facts.reports != self.observed.ray.reports;
        self.observed.ray = facts;
        is_new
    }

    /// What the machines do at a planned step.
    pub(super) fn step(&mut self, step: &MachineStep) {
        let answer = self.ray.answer(step);
        self.observed.ray.fold(step, answer);
        if answer == StepAnswer::Busy {
            return;
        }
        self.ray.carry_out(&Action::Machine(step.clone()), self.now);
        if matches!(step, MachineStep::RestartRay { .. } | MachineStep::Drain { .. }) {
            self.note_step(step.instance_id(), step.name());
        }
        if let MachineStep::Drain {
            instance_id, node_id, ..
        } = step
            && let Some(noted) = self.observed.steps.get_mut(instance_id)
        {
            noted.node = Some(node_id.clone());
        }
    }

    pub(super) fn note_step(&mut self, id: &str, name: &str) {
        let step = StepStatus {
            step: name.into(),
            at: self.now,
            node: None,
        };
        self.observed.steps.insert(id.to_owned(), step);
    }

    /// A pass as the controller makes it: a look, what is planned, and the status, which the next pass knows. Returns
    /// the lines of what was done.
    pub(crate) fn pass(&mut self) -> Vec<String> {
        self.arrive();
        self.look();
        let done = self.settle();
        self.write();
        done
    }

    /// The status as a pass would write it now.
    pub(crate) fn status(&self) -> RayClusterStatus {
        status(&StatusInputs {
            cluster: &self.cluster,
            observed: &self.observed,
            plan: &self.plan(),
            limits: &self.limits,
            previous: &self.observed.recorded,
            key_secret: "lab-ssh",
            now: self.now,
        })
    }

    /// Writes the status, which the next plan knows.
    pub(crate) fn write(&mut self) {
        let written = self.status();
        self.observed.steps = written.steps();
        self.observed.recorded = written;
    }

    /// Passes every 15 s for so long; the lines of all that was done.
    pub(crate) fn pass_for(&mut self, seconds: i64) -> Vec<String> {
        let mut done = Vec::new();
        for _ in 0..(seconds / 15).max(1) {
            self.now += jiff::SignedDuration::from_secs(15);
            done.extend(self.pass());
        }
        done
    }
}
