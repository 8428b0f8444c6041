//! Carries a plan out: everything that is planned runs side by side, and as soon as one answer is in, it is folded
//! into what was observed and the plan is made again. So the whole takes as long as its longest chain of dependent
//! calls. Nothing is decided here, and nothing is forgotten: calls in flight are always awaited.

mod kubernetes;
mod outcome;
mod state;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    time::Duration,
};

use futures::{
    StreamExt,
    future::{BoxFuture, FutureExt},
    stream::FuturesUnordered,
};
use jiff::{SignedDuration, Timestamp};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

pub use kubernetes::{Kubernetes, KubernetesError};
pub use outcome::{Effect, Failure, Interruption, Outcome, Performed};
use state::{RECORD_STEPS, State};

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
    ray::step::Hands,
    resources::{Answer, Change, instance::InstanceChange},
};

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
    /// Steps that are about to be taken were written down, or could not be.
    Recorded(BTreeMap<String, StepStatus>, Result<(), KubernetesError>),
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
            recorded: BTreeMap::new(),
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
                // Written down first: whatever becomes of this process, none is taken twice within its time.
                if let Some(steps) = state.unrecorded(&now_planned, self.clock.now()) {
                    state.in_flight.insert(RECORD_STEPS.into());
                    arrivals.push(self.record(steps));
                }
                for action in &now_planned.actions {
                    if state.in_flight.len() >= self.bounds.width {
                        break;
                    }
                    if state.may_start(action) && state.is_recorded(action) {
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
                    Arrival::Recorded(steps, Ok(())) => state.enter_record(steps),
                    Arrival::Recorded(steps, Err(error)) => {
                        state.in_flight.remove(RECORD_STEPS);
                        let at = Instant::now();
                        let untaken = now_planned.actions.iter().filter(|action| state.is_of(action, &steps));
                        for action in untaken.cloned().collect::<Vec<_>>() {
                            let result = Err(Failure::Kubernetes(error.clone()));
                            self.enter(Performed { action, at, result }, &mut state, memory);
                        }
                    }
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
        async move {
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
                Action::HandleWake { text } => {
                    let mark = StopMark {
                        stopped: None,
                        wake_handled: Some(text.clone()),
                        because: String::new(),
                    };
                    done_by_kubernetes(kubernetes.mark_stopped(&mark).await)
                }
            };
            let at = Instant::now();
            Arrival::Performed(Performed { action, at, result })
        }
        .boxed()
    }

    fn record(&self, steps: BTreeMap<String, StepStatus>) -> BoxFuture<'a, Arrival> {
        let kubernetes = self.kubernetes;
        async move {
            let result = kubernetes.record_steps(&steps).await;
            Arrival::Recorded(steps, result)
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
        state.forget_record(action);
        match result {
            Ok(effect) => {
                info!(%action, %effect, "done");
                match (action, effect) {
                    (Action::Aws(change), Effect::Aws(answer)) => {
                        memory.performed(&key, change.clone(), answer.clone(), *at);
                        self.settle_launch(change, Ok(answer), state);
                    }
                    (Action::MarkStopped(mark), _) => memory.marked(mark.stopped.as_deref()),
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
                if error.may_be_done() {
                    state.fail(action, self.clock.now());
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

#[cfg(test)]
mod tests;
