//! Where an execution stands: what is in flight, and how each answer is folded into what is known.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use super::{Effect, Fact, Interruption, Performed};
use crate::{
    api::StepStatus,
    observe::{Observed, Source},
    plan::{Action, Plan},
    ray::step::{DRAIN, DRAIN_FAILED, MachineStep, StepAnswer},
    resources::{
        Change,
        instance::{InstanceChange, REBOOT},
    },
};

/// The key of the write that records steps: they are written down together, one write at a time, since each is one of
/// the whole status.
pub(super) const RECORD_STEPS: &str = "record steps";

/// How many machines' steps are written down at a time, more than are taken side by side: a process that ends before it
/// has taken them leaves the rest to the next step of their ladder.
const RECORDED_AT_ONCE: usize = 64;

/// Where an execution stands.
pub(super) struct State {
    pub(super) in_flight: BTreeSet<String>,
    /// What Kubernetes refused: not tried again in this execution.
    pub(super) failed: BTreeSet<String>,
    pub(super) performed: Vec<Performed>,
    pub(super) interrupted: Option<Interruption>,
    /// Ids of what was told to differ, and how.
    pub(super) told: BTreeSet<(String, String)>,
    /// Steps that stand in the status and were not taken yet, by instance id.
    pub(super) recorded: BTreeMap<String, StepStatus>,
    pub(super) observed: Observed,
}

impl State {
    pub(super) fn may_start(&self, action: &Action) -> bool {
        let key = action.key();
        !self.in_flight.contains(&key) && !self.failed.contains(&key) && !self.was_in_vain(action)
    }

    /// Whether the steps that an action is stand in the status.
    pub(super) fn is_recorded(&self, action: &Action) -> bool {
        let of_action = named_steps(action);
        of_action
            .iter()
            .all(|(id, name)| self.recorded.get(*id).is_some_and(|step| step.step == *name))
    }

    /// What is to be written down before more of the plan can be done; `None`: nothing, or not now.
    pub(super) fn unrecorded(&self, plan: &Plan, now: Timestamp) -> Option<BTreeMap<String, StepStatus>> {
        if self.in_flight.contains(RECORD_STEPS) {
            return None;
        }
        let mut steps = BTreeMap::new();
        for action in &plan.actions {
            if steps.len() >= RECORDED_AT_ONCE {
                break;
            }
            if !named_steps(action).is_empty() && self.may_start(action) && !self.is_recorded(action) {
                steps.extend(steps_of(action, now));
            }
        }
        (!steps.is_empty()).then_some(steps)
    }

    /// Whether an action is one of these steps.
    pub(super) fn is_of(&self, action: &Action, steps: &BTreeMap<String, StepStatus>) -> bool {
        let of_action = named_steps(action);
        let mut named = of_action.iter();
        named.any(|(id, name)| steps.get(*id).is_some_and(|step| step.step == *name)) && self.may_start(action)
    }

    /// These steps stand in the status now.
    pub(super) fn enter_record(&mut self, steps: BTreeMap<String, StepStatus>) {
        self.in_flight.remove(RECORD_STEPS);
        self.recorded.extend(steps);
    }

    /// An action was tried: the next of its kind is another step.
    pub(super) fn forget_record(&mut self, action: &Action) {
        for (id, _) in named_steps(action) {
            self.recorded.remove(id);
        }
    }

    /// Whether this very action was already carried out twice with the same answer: only another look at AWS can tell
    /// why it is still wanted, so it is not repeated here for ever.
    fn was_in_vain(&self, action: &Action) -> bool {
        let mut effects = self
            .performed
            .iter()
            .rev()
            .filter(|earlier| earlier.action == *action)
            .filter_map(|earlier| earlier.result.as_ref().ok());
        match (effects.next(), effects.next()) {
            (Some(last), Some(before)) => last == before,
            _ => false,
        }
    }

    pub(super) fn learn(&mut self, fact: Fact) {
        match fact {
            Fact::Account(account) => self.observed.account = account,
            Fact::Image(image) => self.observed.image = image,
            Fact::Key(key) => self.observed.key = key,
        }
    }

    pub(super) fn fold(&mut self, action: &Action, effect: &Effect, now: Timestamp) {
        let observed = &mut self.observed;
        match (action, effect) {
            (Action::Aws(change), Effect::Aws(answer)) => {
                observed.inventory.fold(change, answer);
                observed.steps.extend(steps_of(action, now));
            }
            (Action::Machine(step), Effect::Machine(answer)) => {
                observed.ray.fold(step, *answer);
                if *answer == StepAnswer::Done {
                    observed.steps.extend(steps_of(action, now));
                    observed.steps.extend(drain_of(action, DRAIN, now));
                }
            }
            (Action::CreateKey, Effect::Key(key)) => observed.key = Source::Known(key.clone()),
            (Action::AddFinalizer, _) => observed.has_finalizer = true,
            (Action::RemoveFinalizer, _) => {
                observed.has_finalizer = false;
                self.interrupted = Some(Interruption::Gone);
            }
            (Action::MarkStopped(mark), _) => {
                observed.stopped.clone_from(&mark.stopped);
                observed.is_own_mark = mark.stopped.is_some();
                observed.wishes.wake_handled.clone_from(&mark.wake_handled);
            }
            (Action::HandleWake { text }, _) => observed.wishes.wake_handled = Some(text.clone()),
            // The record of launches is entered by whoever knows the window.
            (
                Action::RecordLaunches(_)
                | Action::CloseLaunches(_)
                | Action::HoldLaunches { .. }
                | Action::Aws(_)
                | Action::Machine(_)
                | Action::CreateKey,
                _,
            ) => {}
        }
    }

    /// Notes a step that could not be done on its machine, or whose answer was lost. A restart or a reboot may have
    /// been begun, and counts; a drain is tried again, and since when it fails is kept.
    pub(super) fn fail(&mut self, action: &Action, now: Timestamp) {
        let steps = &mut self.observed.steps;
        steps.extend(steps_of(action, now));
        if let Some((id, step)) = drain_of(action, DRAIN_FAILED, now)
            && steps.get(&id).is_none_or(|before| before.step != DRAIN_FAILED)
        {
            steps.insert(id, step);
        }
    }
}

/// The steps of a ladder that an action is: those that end what runs on a machine. By instance id.
fn named_steps(action: &Action) -> Vec<(&str, &'static str)> {
    match action {
        Action::Machine(step @ MachineStep::RestartRay { instance_id, .. }) => vec![(instance_id, step.name())],
        Action::Aws(Change::Instance(InstanceChange::Reboot { ids, .. })) => {
            ids.iter().map(|id| (id.as_str(), REBOOT)).collect()
        }
        _ => Vec::new(),
    }
}

/// The same as they stand in a status.
fn steps_of(action: &Action, now: Timestamp) -> BTreeMap<String, StepStatus> {
    let steps = named_steps(action).into_iter();
    steps.map(|(id, name)| (id.to_owned(), taken(name, now))).collect()
}

fn drain_of(action: &Action, name: &str, now: Timestamp) -> Option<(String, StepStatus)> {
    match action {
        Action::Machine(MachineStep::Drain {
            instance_id, node_id, ..
        }) => {
            let step = StepStatus {
                node: Some(node_id.clone()),
                ..taken(name, now)
            };
            Some((instance_id.clone(), step))
        }
        _ => None,
    }
}

fn taken(step: &str, at: Timestamp) -> StepStatus {
    // Whole seconds, as the API server keeps them.
    let at = Timestamp::from_second(at.as_second()).unwrap_or(at);
    StepStatus {
        step: step.into(),
        at,
        node: None,
    }
}
