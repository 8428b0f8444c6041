//! Carries a plan out: everything that is planned runs side by side, and as soon as one answer is in, it is folded
//! into what was observed and the plan is made again. So the whole takes as long as its longest chain of dependent
//! calls. Nothing is decided here, and nothing is forgotten: calls in flight are always awaited.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    time::Duration,
};

use async_trait::async_trait;
use futures::{
    StreamExt,
    future::{BoxFuture, FutureExt},
    stream::FuturesUnordered,
};
use jiff::{SignedDuration, Timestamp};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use crate::{
    api::StepStatus,
    aws::{Aws, AwsError, ErrorClass, Image},
    controller::events::Event,
    memory::{Memory, RetryDelays},
    observe::{KeySecret, Ledger, Observed, Source},
    plan::{
        self, Action, Plan, StopMark,
        pool::{shortage, unsupported_key},
    },
    ray::step::{DRAIN, DRAIN_FAILED, Hands, MachineStep, StepAnswer, StepError},
    resources::{
        Answer, Change,
        instance::{InstanceChange, REBOOT},
    },
};

/// What an execution needs of Kubernetes, for one object.
#[async_trait]
pub trait Kubernetes: Send + Sync {
    /// Writes the record of launches into the status; when this returns, it is safe to launch.
    async fn record_launches(&self, ledger: &Ledger) -> Result<(), KubernetesError>;
    /// Writes steps of a ladder into the status, by instance id; when this returns, they may be taken.
    ///
    /// # Errors
    /// What Kubernetes answered, or that the status does not list such a machine.
    async fn record_steps(&self, steps: &BTreeMap<String, StepStatus>) -> Result<(), KubernetesError>;
    /// Makes the controller's key and keeps it in a Secret; the answer is what the Secret holds afterwards, which is
    /// another's key if a Secret of that name was there first.
    async fn create_key(&self) -> Result<KeySecret, KubernetesError>;
    /// Puts our finalizer on the object, or takes it off.
    async fn set_finalizer(&self, wanted: bool) -> Result<(), KubernetesError>;
    /// Sets the annotations that say why the cluster is down, or removes them, in one write.
    async fn mark_stopped(&self, mark: &StopMark) -> Result<(), KubernetesError>;
    /// Publishes an Event about the object, in the background.
    fn publish(&self, event: Event);
}

/// A call to Kubernetes that did not succeed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KubernetesError {
    /// The object has changed meanwhile: the pass is made again with the new one, at once.
    #[error("{0} has changed meanwhile")]
    Conflict(String),
    /// The object is gone.
    #[error("{0} does not exist any more")]
    Gone(String),
    /// What failed, on what, and why.
    #[error("{what}: {message}")]
    Failed {
        /// What was tried, and on what.
        what: String,
        /// Kubernetes' words.
        message: String,
    },
}

/// Time and chance.
pub trait Clock: Send + Sync {
    /// The time.
    fn now(&self) -> Timestamp;
    /// A number from 0 to 1, another each time.
    fn jitter(&self) -> f64;
}

/// Something that is looked up while the plan is already carried out.
#[derive(Clone, Debug)]
pub enum Fact {
    /// The account of the credentials.
    Account(Source<String>),
    /// The image that the spec names.
    Image(Source<Image>),
    /// The Secret with the controller's key.
    Key(Source<KeySecret>),
}

/// An action that was carried out, or was tried.
#[derive(Clone, Debug)]
pub struct Performed {
    /// The action.
    pub action: Action,
    /// When the answer was in.
    pub at: Instant,
    /// What came of it.
    pub result: Result<Effect, Failure>,
}

/// What an action that succeeded brought.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// AWS's answer.
    Aws(Answer),
    /// The Secret with the controller's key.
    Key(KeySecret),
    /// Kubernetes holds it now.
    Kubernetes,
    /// What a machine answered.
    Machine(StepAnswer),
}

impl fmt::Display for Effect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Aws(Answer::Created(id) | Answer::CreatedIn { id, .. }) => f.write_str(id),
            Self::Aws(Answer::Allocated { id, public_address }) => write!(f, "{id}, {public_address}"),
            Self::Aws(Answer::Launched(machines)) => {
                let ids: Vec<&str> = machines.iter().map(|machine| machine.id.as_str()).collect();
                f.write_str(&ids.join(", "))
            }
            Self::Aws(Answer::Gone) => f.write_str("was gone already"),
            Self::Aws(Answer::LaunchedBefore) => f.write_str("was launched before"),
            Self::Machine(StepAnswer::Busy) => f.write_str("refused: it works"),
            Self::Aws(Answer::Done | Answer::Bucket(_) | Answer::InTheWay(_))
            | Self::Key(_)
            | Self::Kubernetes
            | Self::Machine(StepAnswer::Done) => f.write_str("done"),
        }
    }
}

/// Why an action did not succeed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// AWS refused it, or did not answer.
    #[error(transparent)]
    Aws(#[from] AwsError),
    /// Kubernetes refused it, or did not answer.
    #[error(transparent)]
    Kubernetes(#[from] KubernetesError),
    /// It could not be done on a machine.
    #[error(transparent)]
    Machine(#[from] StepError),
}

/// What an execution leaves.
#[derive(Debug)]
pub struct Outcome {
    /// What is known now.
    pub observed: Observed,
    /// What is still to be done and waited for.
    pub plan: Plan,
    /// What was done and tried, in the order of the answers.
    pub performed: Vec<Performed>,
    /// Why it ended before its plan did.
    pub interrupted: Option<Interruption>,
}

/// Why an execution started nothing new any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interruption {
    /// The process is shutting down, or may not change anything any more.
    Stopped,
    /// The pass took too long; it goes on with the next.
    TimedOut,
    /// The object has changed meanwhile.
    Conflict,
    /// The object is gone, or was let go.
    Gone,
}

/// With what, and within which bounds, plans are carried out.
#[derive(Clone, Copy)]
pub struct Execution<'a> {
    /// The account and region.
    pub aws: &'a dyn Aws,
    /// The object.
    pub kubernetes: &'a dyn Kubernetes,
    /// Its machines.
    pub hands: &'a dyn Hands,
    /// Time and chance.
    pub clock: &'a dyn Clock,
    /// Cancelled: nothing new is started; what is in flight is awaited.
    pub stop: &'a CancellationToken,
    /// Nothing new is started after this time.
    pub deadline: Instant,
    /// See [`Bounds`].
    pub bounds: &'a Bounds,
}

/// The numbers of executions; all but the width and some of the delays are flags of `rayward run`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// How many actions of one cluster run side by side.
    pub width: usize,
    /// How long a single call may take, and so how long after an unanswered one it may still be carried out.
    pub call_timeout: Duration,
    /// How long launches count against the cap.
    pub launch_window: Duration,
    /// How long refused changes are not tried again, and pools without capacity are skipped.
    pub delays: RetryDelays,
}

impl fmt::Debug for Execution<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Execution")
            .field("deadline", &self.deadline)
            .field("bounds", &self.bounds)
            .finish_non_exhaustive()
    }
}

/// What comes in while an execution runs.
enum Arrival {
    Performed(Performed),
    Fact(Fact),
}

impl<'a> Execution<'a> {
    /// Makes the plan, carries it out, and goes on until nothing is in flight and there is nothing new to do.
    /// `lookups` run beside it; what they find is folded in as it comes. What later passes have to know of the
    /// answers goes into `memory`.
    pub async fn run(
        &self,
        observed: Observed,
        memory: &mut Memory,
        lookups: Vec<BoxFuture<'a, Fact>>,
        plan: impl Fn(&Observed, Timestamp) -> Plan + Sync,
    ) -> Outcome {
        let mut state = State {
            in_flight: BTreeSet::new(),
            failed: BTreeSet::new(),
            performed: Vec::new(),
            interrupted: None,
            told: BTreeSet::new(),
            observed,
        };
        let mut arrivals: FuturesUnordered<BoxFuture<'a, Arrival>> = lookups
            .into_iter()
            .map(|lookup| lookup.map(Arrival::Fact).boxed())
            .collect();
        // What was seen grows old while the calls take their time.
        let (began, ages) = (
            Instant::now(),
            (state.observed.sweep_age, state.observed.machine_sweep_age),
        );
        loop {
            if state.interrupted.is_none() {
                state.interrupted = self.interruption();
            }
            let elapsed = began.elapsed();
            state.observed.sweep_age = ages.0.saturating_add(elapsed);
            state.observed.machine_sweep_age = ages.1.saturating_add(elapsed);
            state.observed.ray_age = elapsed;
            let now_planned = plan(&state.observed, self.clock.now());
            if state.interrupted.is_none() {
                self.tell_findings(&now_planned, &mut state);
                for action in &now_planned.actions {
                    if state.in_flight.len() >= self.bounds.width {
                        break;
                    }
                    if state.may_start(action) {
                        debug!(%action, "start");
                        state.in_flight.insert(action.key());
                        let ledger = self.ledger_after(action, &state.observed.ledger);
                        arrivals.push(self.perform(action.clone(), ledger));
                    }
                }
            }
            let is_over = arrivals.is_empty() || (state.interrupted.is_some() && state.in_flight.is_empty());
            if is_over {
                return Outcome {
                    observed: state.observed,
                    plan: now_planned,
                    performed: state.performed,
                    interrupted: state.interrupted,
                };
            }
            tokio::select! {
                biased;
                Some(arrival) = arrivals.next() => match arrival {
                    Arrival::Fact(fact) => state.learn(fact),
                    Arrival::Performed(performed) => self.enter(performed, &mut state, memory),
                },
                () = self.stop.cancelled(), if state.interrupted.is_none() => {
                    state.interrupted = Some(Interruption::Stopped);
                }
                () = tokio::time::sleep_until(self.deadline), if state.interrupted.is_none() => {
                    state.interrupted = Some(Interruption::TimedOut);
                }
            }
        }
    }

    /// Tells what differs and is about to be put right, each thing once: when it is done, nothing shows it any more.
    /// So with what is left behind when the cluster goes.
    fn tell_findings(&self, plan: &Plan, state: &mut State) {
        if plan.actions.is_empty() {
            return;
        }
        let is_end = plan.actions.contains(&Action::RemoveFinalizer);
        for found in &plan.findings {
            let event = match found.outcome {
                plan::Outcome::Repaired => Event::drift(found),
                plan::Outcome::Kept if is_end => Event::left_behind(found),
                plan::Outcome::Kept | plan::Outcome::Outdated => continue,
            };
            if state.told.insert((found.id.clone(), found.what.clone())) {
                info!(id = found.id, outcome = ?found.outcome, "{}", found.what);
                self.kubernetes.publish(event);
            }
        }
    }

    fn interruption(&self) -> Option<Interruption> {
        if self.stop.is_cancelled() {
            Some(Interruption::Stopped)
        } else if Instant::now() >= self.deadline {
            Some(Interruption::TimedOut)
        } else {
            None
        }
    }

    fn perform(&self, action: Action, ledger: Option<Ledger>) -> BoxFuture<'a, Arrival> {
        let (aws, kubernetes, hands) = (self.aws, self.kubernetes, self.hands);
        let steps = steps_of(&action, self.clock.now());
        async move {
            // Written down first: whatever becomes of this process, none is taken twice within its time.
            if !steps.is_empty()
                && let Err(error) = kubernetes.record_steps(&steps).await
            {
                let (at, result) = (Instant::now(), Err(Failure::from(error)));
                return Arrival::Performed(Performed { action, at, result });
            }
            let result = match &action {
                Action::Aws(change) => aws.apply(change).await.map(Effect::Aws).map_err(Failure::from),
                Action::Machine(step) => hands.perform(step).await.map(Effect::Machine).map_err(Failure::from),
                Action::CreateKey => kubernetes.create_key().await.map(Effect::Key).map_err(Failure::from),
                Action::RecordLaunches(_) | Action::CloseLaunches(_) | Action::HoldLaunches { .. } => {
                    let ledger = ledger.unwrap_or_default();
                    done_by_kubernetes(kubernetes.record_launches(&ledger).await)
                }
                Action::AddFinalizer => done_by_kubernetes(kubernetes.set_finalizer(true).await),
                Action::RemoveFinalizer => done_by_kubernetes(kubernetes.set_finalizer(false).await),
                Action::MarkStopped(mark) => done_by_kubernetes(kubernetes.mark_stopped(mark).await),
            };
            let at = Instant::now();
            Arrival::Performed(Performed { action, at, result })
        }
        .boxed()
    }

    /// The record of launches as it will be; `None` where the action has nothing to do with it.
    fn ledger_after(&self, action: &Action, ledger: &Ledger) -> Option<Ledger> {
        let mut ledger = ledger.clone();
        match action {
            Action::RecordLaunches(launches) => {
                let window = SignedDuration::try_from(self.bounds.launch_window).unwrap_or(SignedDuration::MAX);
                let since = self.clock.now().checked_sub(window).unwrap_or(Timestamp::MIN);
                ledger.record(launches, since);
            }
            Action::CloseLaunches(closed) => ledger.close(closed, self.clock.now()),
            Action::HoldLaunches { until, last } => {
                ledger.held_until = Some(*until);
                ledger.last = ledger.last.max(Some(*last));
            }
            _ => return None,
        }
        Some(ledger)
    }

    /// Folds what came of an action into what is known and remembered, and tells it.
    fn enter(&self, performed: Performed, state: &mut State, memory: &mut Memory) {
        let Performed { action, at, result } = &performed;
        let key = action.key();
        state.in_flight.remove(&key);
        match result {
            Ok(effect) => {
                info!(%action, %effect, "done");
                match (action, effect) {
                    (Action::Aws(change), Effect::Aws(answer)) => {
                        memory.performed(&key, change.clone(), answer.clone(), *at);
                        self.settle_launch(change, Ok(answer), state);
                    }
                    _ => memory.succeeded(&key),
                }
                state.fold(action, effect, self.clock.now());
                if let Some(ledger) = self.ledger_after(action, &state.observed.ledger) {
                    state.observed.ledger = ledger;
                }
            }
            Err(Failure::Aws(error)) => {
                if error.class == ErrorClass::LostLease {
                    state.interrupted = Some(Interruption::Stopped);
                } else {
                    warn!(%action, %error, class = ?error.class, "refused");
                }
                if let Action::Aws(change) = action {
                    self.settle_launch(change, Err(error), state);
                    self.remember_refusal(&key, change, error, *at, memory, state);
                }
            }
            Err(Failure::Machine(error)) => {
                warn!(%action, %error, "failed");
                state.failed.insert(key);
                state.fail(action, self.clock.now());
            }
            Err(Failure::Kubernetes(error)) => {
                warn!(%action, %error, "failed");
                state.failed.insert(key);
                match error {
                    KubernetesError::Conflict(_) => state.interrupted = Some(Interruption::Conflict),
                    KubernetesError::Gone(_) => state.interrupted = Some(Interruption::Gone),
                    KubernetesError::Failed { .. } => {}
                }
            }
        }
        state.observed.refusals.clone_from(memory.refusals());
        if let Some(event) = Event::of(action, result) {
            self.kubernetes.publish(event);
        }
        state.performed.push(performed);
    }

    fn settle_launch(&self, change: &Change, result: Result<&Answer, &AwsError>, state: &mut State) {
        if let Change::Instance(InstanceChange::Launch { launch, .. }) = change {
            state.observed.ledger.settle(launch.number, result, self.clock.now());
            state.observed.seen_after_launches = None;
        }
    }

    fn remember_refusal(
        &self,
        key: &str,
        change: &Change,
        error: &AwsError,
        at: Instant,
        memory: &mut Memory,
        state: &mut State,
    ) {
        let (now, mut delays) = (self.clock.now(), self.bounds.delays.clone());
        let mut key = key.to_owned();
        if let Change::Instance(InstanceChange::Launch { launch, .. }) = change {
            // The pool is skipped; the next one is tried at once.
            match error.class {
                ErrorClass::Capacity => {
                    let until = now.checked_add(delays.capacity).unwrap_or(Timestamp::MAX);
                    state.observed.exhausted.insert(shortage(launch, &error.code), until);
                    delays.capacity = Duration::ZERO;
                }
                ErrorClass::Unsupported => {
                    let group = launch.group.as_deref();
                    key = unsupported_key(group, &launch.instance_type, &launch.availability_zone);
                }
                _ => {}
            }
        }
        let may_land = self.bounds.call_timeout;
        memory.refused(
            &key,
            change.kind(),
            error,
            &delays,
            at,
            may_land,
            now,
            self.clock.jitter(),
        );
    }
}

fn done_by_kubernetes(result: Result<(), KubernetesError>) -> Result<Effect, Failure> {
    result.map(|()| Effect::Kubernetes).map_err(Failure::from)
}

/// Where an execution stands.
struct State {
    in_flight: BTreeSet<String>,
    /// What Kubernetes refused: not tried again in this execution.
    failed: BTreeSet<String>,
    performed: Vec<Performed>,
    interrupted: Option<Interruption>,
    /// Ids of what was told to differ, and how.
    told: BTreeSet<(String, String)>,
    observed: Observed,
}

impl State {
    fn may_start(&self, action: &Action) -> bool {
        let key = action.key();
        !self.in_flight.contains(&key) && !self.failed.contains(&key) && !self.was_in_vain(action)
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

    fn learn(&mut self, fact: Fact) {
        match fact {
            Fact::Account(account) => self.observed.account = account,
            Fact::Image(image) => self.observed.image = image,
            Fact::Key(key) => self.observed.key = key,
        }
    }

    fn fold(&mut self, action: &Action, effect: &Effect, now: Timestamp) {
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
                observed.wishes.wake_handled.clone_from(&mark.wake_handled);
            }
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

    /// Notes a step that could not be done on its machine. A restart may have been begun, and counts; a drain is tried
    /// again, and since when it fails is kept.
    fn fail(&mut self, action: &Action, now: Timestamp) {
        let steps = &mut self.observed.steps;
        steps.extend(steps_of(action, now));
        if let Some((id, step)) = drain_of(action, DRAIN_FAILED, now)
            && steps.get(&id).is_none_or(|before| before.step != DRAIN_FAILED)
        {
            steps.insert(id, step);
        }
    }
}

/// The steps of a ladder that an action is: those that end what runs on a machine.
fn steps_of(action: &Action, now: Timestamp) -> BTreeMap<String, StepStatus> {
    match action {
        Action::Machine(step @ MachineStep::RestartRay { instance_id, .. }) => {
            BTreeMap::from([(instance_id.clone(), taken(step.name(), now))])
        }
        Action::Aws(Change::Instance(InstanceChange::Reboot { ids, .. })) => {
            ids.iter().map(|id| (id.clone(), taken(REBOOT, now))).collect()
        }
        _ => BTreeMap::new(),
    }
}

fn drain_of(action: &Action, name: &str, now: Timestamp) -> Option<(String, StepStatus)> {
    match action {
        Action::Machine(MachineStep::Drain { instance_id, .. }) => Some((instance_id.clone(), taken(name, now))),
        _ => None,
    }
}

fn taken(step: &str, at: Timestamp) -> StepStatus {
    // Whole seconds, as the API server keeps them.
    let at = Timestamp::from_second(at.as_second()).unwrap_or(at);
    StepStatus { step: step.into(), at }
}

#[cfg(test)]
mod tests;
