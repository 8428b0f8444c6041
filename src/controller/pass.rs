//! One pass over one cluster: validate, observe, plan, execute, status. When there is nothing to do it makes no call
//! at all.

mod conclusion;
mod facts;
mod remembered;

use std::{
    collections::HashMap,
    panic::AssertUnwindSafe,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use futures::future::FutureExt;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::ObjectReference;
use kube::{Client, Resource, core::error_boundary::InvalidObject};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

pub use conclusion::{Due, Watch};
pub use remembered::Remembered;

use self::remembered::FIRST_LOOK;
use super::{
    cache::{Cache, Cached, ObjectName},
    events::{self, Event},
    key,
    kubernetes::ClusterObject,
    namespaces::Namespaces,
    recorder::Recorder,
    regions::Regions,
    retry::{self, Next},
    secrets::Secrets,
    tasks::words,
};
use crate::{
    api::{FINALIZER, Phase, RayCluster, RayClusterStatus},
    execute::{Bounds, Clock, Execution, Interruption, Kubernetes, KubernetesError, Outcome},
    memory::Memory,
    metrics::{ErrorKind, Metrics, PassOutcome},
    observe::{Observed, Source},
    plan::{Inputs, Limits, plan},
    ray::watchers::{ClusterRef, Watchers},
    status,
    validate::{Installation, ValidCluster, validate},
};

/// How soon a Secret that is not ours, and what could not be looked up, is looked at again.
const LOOK_AGAIN: Duration = Duration::from_secs(15);
/// How long a cluster is left alone whose pass broke off by a fault of the program.
const AFTER_PANIC: Duration = Duration::from_mins(1);

/// The numbers of passes.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Which installation this is.
    pub installation: Installation,
    /// What plans depend on.
    pub limits: Limits,
    /// What executions depend on.
    pub bounds: Bounds,
    /// How long a pass may start new calls.
    pub pass_timeout: Duration,
}

/// The time of the operating system, and its randomness.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }
    fn jitter(&self) -> f64 {
        rand::random()
    }
}

/// All that passes share.
pub struct Passes {
    /// See [`Settings`].
    pub settings: Settings,
    /// Kubernetes.
    pub client: Client,
    /// The objects.
    pub cache: Arc<Cache>,
    /// The versions of our Secrets.
    pub secrets: Arc<Secrets>,
    /// Uids of namespaces.
    pub namespaces: Namespaces,
    /// The regions.
    pub regions: Arc<Regions>,
    /// The looks into Ray.
    pub watchers: Arc<Watchers>,
    /// Takes Events.
    pub recorder: Recorder,
    /// The numbers.
    pub metrics: Arc<Metrics>,
    /// Cancelled: nothing new is started.
    pub stop: CancellationToken,
    /// What is remembered of each cluster, by uid.
    pub remembered: Mutex<HashMap<String, Arc<tokio::sync::Mutex<Remembered>>>>,
    /// Number of the last pass.
    pub count: AtomicU64,
}

impl std::fmt::Debug for Passes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Passes")
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}

impl Passes {
    /// Makes one pass over a cluster.
    pub async fn pass(&self, name: &ObjectName) -> Due {
        let number = self.count.fetch_add(1, Ordering::Relaxed) + 1;
        let span = tracing::info_span!("pass", cluster = %name, pass = number);
        let began = Instant::now();
        let pass = AssertUnwindSafe(self.inner(name)).catch_unwind();
        let (due, outcome) = pass
            .instrument(span.clone())
            .await
            .unwrap_or_else(|panic| span.in_scope(|| self.broke_off(name, words(&*panic))));
        if let Some(outcome) = outcome {
            self.metrics.pass_ended(outcome, began.elapsed());
        }
        due
    }

    /// A fault of the program must neither leave a cluster alone for ever nor be repeated without a pause.
    fn broke_off(&self, name: &ObjectName, panic: &str) -> (Due, Option<PassOutcome>) {
        tracing::error!(
            panic,
            "the pass broke off, which is a fault of Rayward; the next one follows after {AFTER_PANIC:?}"
        );
        if let Some(uid) = self.cache.get(name).and_then(|object| object.metadata().uid.clone()) {
            // It may be half changed, and all of it can be lost.
            let mut all = self.remembered.lock().unwrap_or_else(PoisonError::into_inner);
            all.remove(&uid);
        }
        (Next::NotBefore(AFTER_PANIC).into(), Some(PassOutcome::Panicked))
    }

    async fn inner(&self, name: &ObjectName) -> (Due, Option<PassOutcome>) {
        let object = match self.cache.get(name) {
            Some(Cached::Valid(object)) => object,
            Some(Cached::Invalid(object)) => {
                self.tell_unreadable(&object);
                return (Next::OnChange.into(), Some(PassOutcome::Invalid));
            }
            None => return (Next::OnChange.into(), None),
        };
        let uid = object.metadata.uid.clone().unwrap_or_default();
        if object.metadata.deletion_timestamp.is_some() && !has_finalizer(&object) {
            // Others hold it; ours is done.
            return (Next::OnChange.into(), None);
        }
        let remembered = self.remembered(&object, &uid);
        let mut remembered = remembered.lock().await;
        match Box::pin(self.look(&object, &mut remembered)).await {
            Ok((due, outcome)) => {
                if outcome != PassOutcome::Failed {
                    remembered.failures = 0;
                }
                (due, Some(outcome))
            }
            Err(KubernetesError::Gone(_)) => (Next::OnChange.into(), None),
            Err(KubernetesError::Conflict(_)) => {
                self.metrics.pass_failed(ErrorKind::Conflict);
                (Next::Now.into(), Some(PassOutcome::Interrupted))
            }
            Err(error) => {
                tracing::warn!(%error, "Kubernetes failed the pass");
                self.metrics.pass_failed(ErrorKind::Kubernetes);
                remembered.failures = remembered.failures.saturating_add(1);
                let pause = retry::after_failures(remembered.failures, SystemClock.jitter());
                (Next::After(pause).into(), Some(PassOutcome::Failed))
            }
        }
    }

    /// Tells of an object that cannot be read.
    fn tell_unreadable(&self, object: &InvalidObject) {
        let note = format!(
            "this object cannot be read and nothing is done for it: {}",
            object.error
        );
        tracing::warn!(error = %object.error, "the object cannot be read");
        let reference = ObjectReference {
            api_version: Some(RayCluster::api_version(&()).into_owned()),
            kind: Some(RayCluster::kind(&()).into_owned()),
            name: object.metadata.name.clone(),
            namespace: object.metadata.namespace.clone(),
            uid: object.metadata.uid.clone(),
            ..ObjectReference::default()
        };
        let event = Event::new(true, "InvalidObject", "read", &note);
        self.recorder.publish(&reference, event);
    }

    /// What is remembered of an object. The finalizer says that a process before this one may have worked for it.
    fn remembered(&self, object: &RayCluster, uid: &str) -> Arc<tokio::sync::Mutex<Remembered>> {
        let mut all = self.remembered.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = all.get(uid) {
            return Arc::clone(known);
        }
        let memory = if has_finalizer(object) {
            Memory::new(Instant::now() + self.settings.bounds.call_timeout)
        } else {
            Memory::of_new_object(Instant::now())
        };
        let new = Arc::new(tokio::sync::Mutex::new(Remembered::just_met(memory)));
        all.insert(uid.to_owned(), Arc::clone(&new));
        new
    }

    /// An object is gone: what was kept for it goes too.
    pub fn forget(&self, name: &ObjectName, uid: &str) {
        let mut all = self.remembered.lock().unwrap_or_else(PoisonError::into_inner);
        all.remove(uid);
        drop(all);
        for region in self.regions.all() {
            region.sweeps.untrack(uid);
        }
        self.watchers.forget(uid);
        self.metrics.cluster(&name.namespace, &name.name, None);
    }

    async fn look(
        &self,
        object: &RayCluster,
        remembered: &mut Remembered,
    ) -> Result<(Due, PassOutcome), KubernetesError> {
        let began = Instant::now();
        let name = ObjectName::of(&object.metadata);
        let previous = own_status(object);
        let kubernetes = ClusterObject::new(
            self.client.clone(),
            Arc::clone(&self.cache),
            self.recorder.clone(),
            self.settings.bounds.call_timeout,
            object,
            previous.clone(),
        );
        let namespace_uid = if let Some(uid) = &remembered.namespace_uid {
            uid
        } else {
            let uid = self.namespaces.uid_of(&object.metadata).await?;
            remembered.namespace_uid.insert(uid)
        };
        let cluster = match validate(object, &self.settings.installation, namespace_uid) {
            Ok(cluster) => cluster,
            Err(error) => {
                let now = SystemClock.now();
                let status = status::invalid(object, &error, &previous, now);
                self.write(&kubernetes, &name, &status).await?;
                tell_held_up(&kubernetes, &previous, &status);
                return Ok((Next::OnChange.into(), PassOutcome::Invalid));
            }
        };
        let (recorded, region) = futures::join!(
            self.first_record(object, &cluster, previous.clone(), &kubernetes),
            self.region_of(&cluster, &previous),
        );
        let previous = recorded?;
        let (observed, lookups) = self.observe(object, &cluster, &previous, &region, &kubernetes, remembered);
        let looked_up_key = matches!(observed.key, Source::Unknown(_));
        let plan = |observed: &Observed, now: Timestamp| {
            plan(&Inputs {
                cluster: &cluster,
                observed,
                limits: &self.settings.limits,
                now,
            })
        };
        let first = plan(&observed, SystemClock.now());
        let outcome = if first.actions.is_empty() && lookups.is_empty() {
            Outcome {
                observed,
                plan: first,
                performed: Vec::new(),
                interrupted: None,
            }
        } else {
            let hands = self.watchers.hands(&cluster.id.uid);
            let execution = Execution {
                aws: &*region.aws,
                kubernetes: &kubernetes,
                hands: &*hands,
                clock: &SystemClock,
                stop: &self.stop,
                deadline: began + self.settings.pass_timeout,
                bounds: &self.settings.bounds,
            };
            execution.run(observed, &mut remembered.memory, lookups, plan).await
        };
        self.look_into_ray(&cluster, &outcome);
        self.keep(&name, &outcome, looked_up_key, &region, remembered);
        if outcome.interrupted == Some(Interruption::Gone) {
            return Ok((Next::OnChange.into(), PassOutcome::Converged));
        }
        let is_early = remembered.is_early(&cluster, &outcome, &previous);
        if outcome.interrupted != Some(Interruption::Conflict) && !is_early {
            self.tell(&kubernetes, &name, &cluster, &outcome, &previous).await?;
        }
        let (mut due, how) = Passes::conclude(
            &cluster,
            &outcome,
            &region,
            remembered,
            self.settings.limits.consistency_window,
        );
        if is_early {
            due.next = due.next.at_latest(FIRST_LOOK);
        }
        Ok((due, how))
    }

    /// Lets the cluster's Ray be looked at as the plan wants it.
    fn look_into_ray(&self, cluster: &ValidCluster, outcome: &Outcome) {
        let id = &cluster.id;
        if outcome.interrupted == Some(Interruption::Gone) {
            self.watchers.forget(&id.uid);
            return;
        }
        let whose = ClusterRef {
            namespace: id.namespace.clone(),
            name: id.name.clone(),
            uid: id.uid.clone(),
        };
        self.watchers.set(&id.uid, whose, outcome.plan.interest.clone());
        if outcome.plan.look_now {
            self.watchers.look_now(&id.uid);
        }
    }

    /// Writes what came of a pass into the status, and publishes what a person should hear of.
    async fn tell(
        &self,
        kubernetes: &ClusterObject,
        name: &ObjectName,
        cluster: &ValidCluster,
        outcome: &Outcome,
        previous: &RayClusterStatus,
    ) -> Result<(), KubernetesError> {
        let status = status::status(&status::StatusInputs {
            cluster,
            observed: &outcome.observed,
            plan: &outcome.plan,
            limits: &self.settings.limits,
            previous,
            key_secret: &key::secret_name(&cluster.id.name),
            now: SystemClock.now(),
        });
        self.write(kubernetes, name, &status).await?;
        tell_held_up(kubernetes, previous, &status);
        for event in events::of_ray(previous, &status) {
            kubernetes.publish(event);
        }
        Ok(())
    }

    /// Writes the status if it says something else than before.
    async fn write(
        &self,
        kubernetes: &ClusterObject,
        name: &ObjectName,
        status: &RayClusterStatus,
    ) -> Result<(), KubernetesError> {
        self.metrics.cluster(&name.namespace, &name.name, Some(status));
        kubernetes.write_status(status).await
    }

    /// The record of launches begins before the finalizer is there: a finalizer without a record means that the record
    /// was lost.
    async fn first_record(
        &self,
        object: &RayCluster,
        cluster: &ValidCluster,
        previous: RayClusterStatus,
        kubernetes: &ClusterObject,
    ) -> Result<RayClusterStatus, KubernetesError> {
        if has_finalizer(object) || previous.last_launch.is_some() {
            return Ok(previous);
        }
        let first = RayClusterStatus {
            cluster_uid: Some(cluster.id.uid.clone()),
            phase: Some(Phase::Provisioning),
            // From the clock, so that a number never comes twice, whatever becomes of this record.
            last_launch: u64::try_from(SystemClock.now().as_second()).ok(),
            ..previous
        };
        kubernetes.write_status(&first).await?;
        Ok(first)
    }
}

fn tell_held_up(kubernetes: &ClusterObject, before: &RayClusterStatus, now: &RayClusterStatus) {
    for event in [events::held_up(before, now), events::idle_soon(before, now)]
        .into_iter()
        .flatten()
    {
        kubernetes.publish(event);
    }
}

/// The object's status; one that was restored onto another object counts as lost.
fn own_status(object: &RayCluster) -> RayClusterStatus {
    let status = object.status.clone().unwrap_or_default();
    if status.cluster_uid == object.metadata.uid {
        status
    } else {
        RayClusterStatus::default()
    }
}

/// Whether our finalizer is on the object.
fn has_finalizer(object: &RayCluster) -> bool {
    let mut finalizers = object.metadata.finalizers.iter().flatten();
    finalizers.any(|found| found == FINALIZER)
}
