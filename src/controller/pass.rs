//! One pass over one cluster: validate, observe, plan, execute, status. When there is nothing to do it makes no call
//! at all.

use std::{
    collections::{BTreeSet, HashMap},
    panic::AssertUnwindSafe,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use futures::future::{BoxFuture, FutureExt};
use jiff::Timestamp;
use kube::Client;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

use super::{
    cache::{Cache, Cached, ObjectName},
    events::{self, Event},
    key,
    kubernetes::ClusterObject,
    namespaces::Namespaces,
    recorder::Recorder,
    regions::{Region, Regions},
    retry::{self, Next},
    secrets::Secrets,
    tasks::words,
};
use crate::{
    api::{FINALIZER, Phase, RayCluster, RayClusterStatus, STOPPED},
    aws::ErrorClass,
    execute::{Bounds, Clock, Effect, Execution, Fact, Failure, Interruption, Kubernetes, KubernetesError, Outcome},
    memory::Memory,
    metrics::{ErrorKind, Metrics, PassOutcome},
    observe::{Facts, KeySecret, KubeFacts, Observed, Source, observe, settle},
    plan::{Inputs, Limits, Reason, plan},
    resources::{bucket, key_pair},
    status,
    sweep::Interest,
    validate::{Installation, Network, ValidCluster, validate},
};

/// How long the answer to a look at the cluster's Secret holds although the watch does not show it (yet).
const WATCH_LAG: Duration = Duration::from_secs(10);
/// How soon a Secret that is not ours, and what could not be looked up, is looked at again.
const LOOK_AGAIN: Duration = Duration::from_secs(15);
/// How long after the consistency window a look that began after it is in.
const LAG: Duration = Duration::from_secs(1);
/// How long a process that has just started may take to look everywhere before it says that it could not.
const FIRST_LOOK: Duration = Duration::from_mins(1);
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

/// What is remembered of one cluster from pass to pass. All of it can be lost.
#[derive(Debug)]
pub struct Remembered {
    memory: Memory,
    namespace_uid: Option<String>,
    key: Option<KnownKey>,
    /// Passes in a row that Kubernetes failed.
    failures: u32,
    /// When this process first met the cluster.
    met: Instant,
    /// Whether this process has ever seen all of it.
    has_seen: bool,
}

#[derive(Debug)]
struct KnownKey {
    secret: KeySecret,
    version: Option<String>,
    at: Instant,
}

/// When the cluster is looked at again, and what of AWS has to be looked at first.
#[derive(Debug)]
pub struct Due {
    /// When.
    pub next: Next,
    /// What the plan waits for to change on AWS.
    pub watch: Option<Watch>,
}

/// A look at AWS that a plan waits for.
#[derive(Debug)]
pub struct Watch {
    /// The region.
    pub region: Arc<Region>,
    /// The kinds.
    pub kinds: Vec<crate::resources::Kind>,
    /// When.
    pub after: Duration,
}

impl From<Next> for Due {
    fn from(next: Next) -> Self {
        Self { next, watch: None }
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
                let note = format!(
                    "this object cannot be read and nothing is done for it: {}",
                    object.error
                );
                tracing::warn!(error = %object.error, "the object cannot be read");
                let reference = k8s_openapi::api::core::v1::ObjectReference {
                    api_version: Some(<RayCluster as kube::Resource>::api_version(&()).into_owned()),
                    kind: Some(<RayCluster as kube::Resource>::kind(&()).into_owned()),
                    name: object.metadata.name.clone(),
                    namespace: object.metadata.namespace.clone(),
                    uid: object.metadata.uid.clone(),
                    ..Default::default()
                };
                self.recorder
                    .publish(&reference, Event::new(true, "InvalidObject", "read", &note));
                return (Next::OnChange.into(), Some(PassOutcome::Invalid));
            }
            None => return (Next::OnChange.into(), None),
        };
        let uid = object.metadata.uid.clone().unwrap_or_default();
        let has_finalizer = object
            .metadata
            .finalizers
            .iter()
            .flatten()
            .any(|found| found == FINALIZER);
        if object.metadata.deletion_timestamp.is_some() && !has_finalizer {
            // Others hold it; ours is done.
            return (Next::OnChange.into(), None);
        }
        let remembered = self.remembered(&uid, has_finalizer);
        let mut remembered = remembered.lock().await;
        match self.look(&object, has_finalizer, &mut remembered).await {
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

    /// What is remembered of an object. The finalizer says that a process before this one may have worked for it.
    fn remembered(&self, uid: &str, has_finalizer: bool) -> Arc<tokio::sync::Mutex<Remembered>> {
        let mut all = self.remembered.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = all.get(uid) {
            return Arc::clone(known);
        }
        let new = Arc::new(tokio::sync::Mutex::new(Remembered {
            memory: if has_finalizer {
                Memory::new(Instant::now() + self.settings.bounds.call_timeout)
            } else {
                Memory::of_new_object(Instant::now())
            },
            namespace_uid: None,
            key: None,
            failures: 0,
            met: Instant::now(),
            has_seen: false,
        }));
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
        self.metrics.cluster(&name.namespace, &name.name, None);
    }

    /// The region of a cluster, which is looked at for this cluster too, and was looked at before.
    async fn region_of(&self, cluster: &ValidCluster, previous: &RayClusterStatus) -> Arc<Region> {
        let region = match self.regions.get(&cluster.region) {
            Some(region) => region,
            None => self.regions.connect(&cluster.region).await,
        };
        let (account, _) = region.account();
        let sweeps = &region.sweeps;
        sweeps.track(&cluster.id.uid, interest(cluster, previous, &account));
        if !sweeps.has_looked() {
            // A region that does not answer at all is told in the status, after this while.
            let _ = tokio::time::timeout(self.settings.bounds.call_timeout, sweeps.first_look()).await;
        }
        region
    }

    async fn look(
        &self,
        object: &RayCluster,
        has_finalizer: bool,
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
                return Ok((Next::OnChange.into(), PassOutcome::Invalid));
            }
        };
        let previous = self
            .first_record(&cluster, has_finalizer, previous, &kubernetes)
            .await?;
        let region = self.region_of(&cluster, &previous).await;
        let (observed, lookups) = self.observe(
            object,
            &cluster,
            has_finalizer,
            &previous,
            &region,
            &kubernetes,
            remembered,
        );
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
            let execution = Execution {
                aws: &*region.aws,
                kubernetes: &kubernetes,
                clock: &SystemClock,
                stop: &self.stop,
                deadline: began + self.settings.pass_timeout,
                bounds: &self.settings.bounds,
            };
            execution.run(observed, &mut remembered.memory, lookups, plan).await
        };
        self.keep(&name, &outcome, looked_up_key, &region, remembered);
        if outcome.interrupted == Some(Interruption::Gone) {
            return Ok((Next::OnChange.into(), PassOutcome::Converged));
        }
        let is_early = is_early(&cluster, &outcome, &previous, remembered);
        if outcome.interrupted != Some(Interruption::Conflict) && !is_early {
            self.tell(&kubernetes, &name, &cluster, &outcome, &previous).await?;
        }
        let (mut due, how) = Self::conclude(
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
        if let Some(event) = events::blocked(previous, &status) {
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
        cluster: &ValidCluster,
        has_finalizer: bool,
        previous: RayClusterStatus,
        kubernetes: &ClusterObject,
    ) -> Result<RayClusterStatus, KubernetesError> {
        if has_finalizer || previous.last_launch.is_some() {
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

    #[allow(clippy::too_many_arguments, reason = "each is a source of facts")]
    fn observe<'a>(
        &'a self,
        object: &RayCluster,
        cluster: &'a ValidCluster,
        has_finalizer: bool,
        previous: &RayClusterStatus,
        region: &'a Arc<Region>,
        kubernetes: &'a ClusterObject,
        remembered: &mut Remembered,
    ) -> (Observed, Vec<BoxFuture<'a, Fact>>) {
        let now = Instant::now();
        let window = self.settings.limits.consistency_window;
        let mut lookups: Vec<BoxFuture<'a, Fact>> = Vec::new();
        let (account, is_good) = region.account();
        if !is_good {
            lookups.push(region.look_up_account().map(Fact::Account).boxed());
        }
        let (image, is_good) = region.image(&cluster.head.image);
        if !is_good && !cluster.deleting {
            lookups.push(region.look_up_image(&cluster.head.image).map(Fact::Image).boxed());
        }
        let key = self.known_key(&ObjectName::of(&object.metadata), remembered);
        let snapshot = region.sweeps.snapshot();
        remembered.memory.begin_pass(cluster.generation);
        settle(cluster, previous, &snapshot, &mut remembered.memory, window, now);
        let annotations = object.metadata.annotations.as_ref();
        let observed = observe(Facts {
            cluster,
            snapshot: &snapshot,
            memory: &remembered.memory,
            kube: KubeFacts {
                status: previous.clone(),
                key,
                stopped: annotations.and_then(|all| all.get(STOPPED)).cloned(),
                has_finalizer,
            },
            account,
            image,
            exhausted: region.exhausted.at(SystemClock.now()),
            consistency_window: window,
            now,
        });
        if matches!(observed.key, Source::Unknown(_)) && needs_key(cluster, &observed) {
            lookups.push(look_up_key(kubernetes).boxed());
        }
        (observed, lookups)
    }

    /// What is known of the Secret with the key, if that still holds.
    fn known_key(&self, name: &ObjectName, remembered: &Remembered) -> Source<KeySecret> {
        let version = self.secrets.version(name);
        let known = remembered.key.as_ref().filter(|known| {
            let age = known.at.elapsed();
            let is_stale = matches!(known.secret, KeySecret::Unusable(_)) && age > LOOK_AGAIN;
            !is_stale && (known.version == version || age < WATCH_LAG)
        });
        match known {
            Some(known) => Source::Known(known.secret.clone()),
            None => Source::Unknown("not looked up yet".into()),
        }
    }

    /// Keeps what later passes, and the other clusters of the region, have to know.
    fn keep(
        &self,
        name: &ObjectName,
        outcome: &Outcome,
        looked_up_key: bool,
        region: &Region,
        remembered: &mut Remembered,
    ) {
        let made_key = outcome
            .performed
            .iter()
            .any(|performed| matches!(performed.result, Ok(Effect::Key(_))));
        if let Source::Known(secret) = &outcome.observed.key
            && (looked_up_key || made_key)
        {
            remembered.key = Some(KnownKey {
                secret: secret.clone(),
                version: self.secrets.version(name),
                at: Instant::now(),
            });
        }
        for (pool, until) in &outcome.observed.exhausted {
            region.exhausted.skip(pool.clone(), *until);
        }
        for performed in &outcome.performed {
            match &performed.result {
                Ok(_) => {}
                Err(Failure::Aws(error)) => {
                    self.metrics.pass_failed(ErrorKind::Aws(error.class));
                    if error.class == ErrorClass::Throttled {
                        region.sweeps.throttled(self.settings.bounds.delays.throttled);
                    }
                }
                Err(Failure::Kubernetes(KubernetesError::Conflict(_))) => {
                    self.metrics.pass_failed(ErrorKind::Conflict);
                }
                Err(Failure::Kubernetes(_)) => self.metrics.pass_failed(ErrorKind::Kubernetes),
            }
        }
    }

    fn conclude(
        cluster: &ValidCluster,
        outcome: &Outcome,
        region: &Arc<Region>,
        remembered: &mut Remembered,
        window: Duration,
    ) -> (Due, PassOutcome) {
        let has_failed = outcome.performed.iter().any(|performed| {
            matches!(
                performed.result,
                Err(Failure::Kubernetes(KubernetesError::Failed { .. }))
            )
        });
        if has_failed {
            remembered.failures = remembered.failures.saturating_add(1);
        }
        let mut next = retry::next(outcome, remembered.failures, SystemClock.jitter());
        if lacks_facts(cluster, &outcome.observed) {
            next = next.at_latest(LOOK_AGAIN);
        }
        if remembered.memory.expects() {
            // What was just done stands in for what AWS shows: once it does not any more, AWS is believed again, also
            // where no look ever showed what was made.
            next = next.at_latest(window + LAG);
        }
        let unseen = remembered.memory.unseen_kinds();
        let watch = retry::watch(cluster.deleting, unseen, &outcome.plan).map(|(kinds, after)| Watch {
            region: Arc::clone(region),
            kinds: kinds.into_iter().collect(),
            after,
        });
        let how = match outcome.interrupted {
            Some(_) => PassOutcome::Interrupted,
            None if has_failed => PassOutcome::Failed,
            None if outcome.plan.is_converged() => PassOutcome::Converged,
            None => PassOutcome::Waiting,
        };
        (Due { next, watch }, how)
    }
}

/// Whether a status would say no more than that a process which has just started has not looked everywhere yet: for
/// some time what the last one said of the same spec stays.
fn is_early(
    cluster: &ValidCluster,
    outcome: &Outcome,
    previous: &RayClusterStatus,
    remembered: &mut Remembered,
) -> bool {
    let unseen = outcome
        .plan
        .waiting
        .iter()
        .any(|waiting| waiting.reason == Reason::NotObserved);
    remembered.has_seen |= !unseen;
    !remembered.has_seen
        && outcome.performed.is_empty()
        && previous.observed_generation == Some(cluster.generation)
        && remembered.met.elapsed() < FIRST_LOOK
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

/// Whether something that is looked up, and not swept, is not known.
fn lacks_facts(cluster: &ValidCluster, observed: &Observed) -> bool {
    let is_unusable = matches!(observed.key, Source::Known(KeySecret::Unusable(_)) | Source::Unknown(_));
    observed.account.known().is_none()
        || (!cluster.deleting && observed.image.known().is_none())
        || (is_unusable && needs_key(cluster, observed))
}

/// Whether a plan depends on the Secret with the key; that of a deletion only where a key pair has to be told for ours.
fn needs_key(cluster: &ValidCluster, observed: &Observed) -> bool {
    !cluster.deleting || key_pair::untagged(cluster, &observed.inventory).next().is_some()
}

async fn look_up_key(kubernetes: &ClusterObject) -> Fact {
    Fact::Key(match kubernetes.key().await {
        Ok(secret) => Source::Known(secret),
        Err(error) => Source::Unknown(error.to_string()),
    })
}

/// What the sweeps have to look at for a cluster.
fn interest(cluster: &ValidCluster, status: &RayClusterStatus, account: &Source<String>) -> Interest {
    let brought = match &cluster.network {
        Network::Existing { vpc_id, .. } => Some(vpc_id.clone()),
        Network::Own { .. } => None,
    };
    let made = status.network.as_ref().and_then(|network| network.vpc_id.clone());
    let mut bucket_names: BTreeSet<String> = status.buckets.iter().map(|bucket| bucket.name.clone()).collect();
    if let Source::Known(account) = account {
        bucket_names.extend(bucket::names(cluster, account).map(|(name, _)| name));
    }
    Interest {
        path: cluster.id.path(),
        vpc_ids: brought.into_iter().chain(made).collect(),
        bucket_names,
        key_pair: cluster.key_pair.clone(),
    }
}
