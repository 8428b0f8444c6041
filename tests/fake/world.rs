//! A fake account, its sweeps, and a cluster whose passes are made one by one: all of a pass but Kubernetes.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use rayward::{
    api::{FINALIZER, RayCluster, RayClusterStatus, StepStatus},
    aws::Aws,
    controller::events::Event,
    execute::{Bounds, Execution, Kubernetes, KubernetesError, Outcome},
    memory::{Memory, RetryDelays},
    observe::{Facts, KeySecret, KubeFacts, Ledger, Source, Wishes, observe, settle},
    plan::{Inputs, Limits, StopMark, plan},
    resources::{Inventory, Kind, bucket},
    status::{StatusInputs, status},
    sweep::{Interest, SweepIntervals, Sweeps},
    validate::{Installation, Network, ValidCluster, validate},
};
use serde_json::{Value, json};
use tokio::{task::JoinHandle, time::Instant};
use tokio_util::sync::CancellationToken;

use super::{ACCOUNT, Fake, Habits, clock::Clock, ray::FakeRay};

/// The installation that every world is.
pub(crate) const INSTALLATION: &str = "fake-installation";

/// The controller's key, the same in every world.
pub(crate) const PUBLIC_KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIDExMTExMTExMTExMTExMTExMTExMTExMTExMTExMTEx";

/// See the module.
pub(crate) struct World {
    pub(crate) fake: Arc<Fake>,
    pub(crate) clock: Arc<Clock>,
    pub(crate) limits: Limits,
    ray: FakeRay,
    lag: Duration,
    /// Time between two passes.
    step: Duration,
    sweeps: Arc<Sweeps>,
    running: JoinHandle<()>,
}

impl Drop for World {
    fn drop(&mut self) {
        self.running.abort();
    }
}

/// A `RayCluster`, as its API server and this process have it.
pub(crate) struct Object {
    pub(crate) cluster: RayCluster,
    pub(crate) memory: Memory,
    pub(crate) kept: Kept,
}

/// What Kubernetes keeps of an object.
#[derive(Default)]
pub(crate) struct Kept(Mutex<Record>);

#[derive(Clone, Default)]
struct Record {
    status: RayClusterStatus,
    has_finalizer: bool,
    stopped: Option<String>,
    has_key: bool,
    events: Vec<Event>,
}

impl Kept {
    fn record(&self) -> MutexGuard<'_, Record> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether our finalizer holds the object.
    pub(crate) fn has_finalizer(&self) -> bool {
        self.record().has_finalizer
    }

    /// The last status.
    pub(crate) fn status(&self) -> RayClusterStatus {
        self.record().status.clone()
    }
}

#[async_trait]
impl Kubernetes for Kept {
    async fn record_launches(&self, ledger: &Ledger) -> Result<(), KubernetesError> {
        let status = &mut self.record().status;
        status.launches.clone_from(&ledger.launches);
        status.last_launch = ledger.last;
        status.launches_held_until = ledger.held_until;
        Ok(())
    }

    async fn record_steps(&self, steps: &BTreeMap<String, StepStatus>) -> Result<(), KubernetesError> {
        let unlisted = self.record().status.record_steps(steps);
        assert!(
            unlisted.is_empty(),
            "steps on machines that no status lists: {unlisted:?}"
        );
        Ok(())
    }

    async fn create_key(&self) -> Result<KeySecret, KubernetesError> {
        self.record().has_key = true;
        let public_key = PUBLIC_KEY.to_owned();
        Ok(KeySecret::Present { public_key })
    }

    async fn set_finalizer(&self, wanted: bool) -> Result<(), KubernetesError> {
        self.record().has_finalizer = wanted;
        Ok(())
    }

    async fn mark_stopped(&self, mark: &StopMark) -> Result<(), KubernetesError> {
        self.record().stopped.clone_from(&mark.stopped);
        Ok(())
    }

    fn publish(&self, event: Event) {
        self.record().events.push(event);
    }
}

impl Object {
    /// A fresh object.
    pub(crate) fn new(name: &str, uid: &str, spec: &Value) -> Self {
        let cluster: RayCluster = serde_json::from_value(json!({
            "apiVersion": "rayward.dev/v1alpha1", "kind": "RayCluster", "spec": spec,
            "metadata": {"name": name, "namespace": "ml", "uid": uid, "generation": 1},
        }))
        .expect("a RayCluster");
        let kept = Kept::default();
        // The record of launches begins before the finalizer is there.
        kept.record().status = RayClusterStatus {
            cluster_uid: Some(uid.to_owned()),
            last_launch: Some(1_795_000_000),
            ..RayClusterStatus::default()
        };
        Self {
            cluster,
            memory: Memory::of_new_object(Instant::now()),
            kept,
        }
    }

    /// Merges something into the spec.
    pub(crate) fn change(&mut self, change: impl FnOnce(&mut rayward::api::RayClusterSpec)) {
        change(&mut self.cluster.spec);
        let generation = &mut self.cluster.metadata.generation;
        *generation = generation.map(|number| number + 1);
    }

    /// Asks for its deletion.
    pub(crate) fn delete(&mut self) {
        let now = serde_json::from_value(json!("2026-11-23T12:00:00Z")).expect("a time");
        self.cluster.metadata.deletion_timestamp = Some(now);
    }

    /// The process dies, and another goes on with what Kubernetes keeps.
    pub(crate) fn restart(&mut self) {
        self.memory = Memory::new(Instant::now());
    }

    pub(crate) fn valid(&self) -> ValidCluster {
        let installation = Installation {
            id: INSTALLATION.into(),
            egress_cidrs: vec!["198.51.100.7/32".parse().expect("a range")],
        };
        validate(&self.cluster, &installation, "namespace-uid").expect("a valid RayCluster")
    }
}

impl World {
    /// An empty account.
    pub(crate) fn new(habits: Habits) -> Self {
        let clock = Arc::new(Clock::default());
        let (lag, limits) = (habits.lag, Limits::default());
        // Reads lag in real time, and the clock is moved on by hand: while they lag, it must not run ahead.
        let step = Duration::from_secs(if lag.is_zero() { 120 } else { 10 });
        let fake = Arc::new(Fake::new(habits, Arc::clone(&clock)));
        let never = Duration::from_hours(1);
        let intervals = SweepIntervals {
            machines: never,
            network: never,
            second_look: never,
            shortest: Duration::ZERO,
            ..SweepIntervals::default()
        };
        let sweeps = Sweeps::new(Arc::<Fake>::clone(&fake), INSTALLATION, intervals);
        let running = tokio::spawn(Arc::clone(&sweeps).run(CancellationToken::new()));
        Self {
            fake,
            clock,
            limits,
            ray: FakeRay::default(),
            lag,
            step,
            sweeps,
            running,
        }
    }

    /// One pass over a cluster, after a look at AWS. `stop` ends it as the end of the process would.
    pub(crate) async fn pass(&self, object: &mut Object, stop: &CancellationToken) -> Outcome {
        let cluster = object.valid();
        let record = object.kept.record().clone();
        self.look(&cluster, &record.status).await;
        let snapshot = self.sweeps.snapshot();
        let now = Instant::now();
        let window = self.lag;
        object.memory.begin_pass(cluster.generation);
        settle(&cluster, &record.status, &snapshot, &mut object.memory, window, now);
        let image = self.fake.image(&cluster.head.image).await.expect("an image");
        let key = if record.has_key {
            let public_key = PUBLIC_KEY.to_owned();
            KeySecret::Present { public_key }
        } else {
            KeySecret::Missing
        };
        let observed = observe(Facts {
            cluster: &cluster,
            snapshot: &snapshot,
            memory: &object.memory,
            kube: KubeFacts {
                wishes: Wishes::default(),
                status: record.status.clone(),
                key: Source::Known(key),
                stopped: record.stopped,
                has_finalizer: record.has_finalizer,
            },
            account: Source::Known(ACCOUNT.into()),
            image: Source::Known(image),
            ray: self.ray.look(&self.holds(&cluster.id.uid)),
            exhausted: BTreeMap::default(),
            consistency_window: window,
            now,
        });
        let bounds = Bounds {
            width: 16,
            call_timeout: Duration::ZERO,
            launch_window: self.limits.launch_window,
            delays: RetryDelays::default(),
        };
        let execution = Execution {
            hands: &self.ray,
            aws: &*self.fake,
            kubernetes: &object.kept,
            clock: &*self.clock,
            stop,
            deadline: now + Duration::from_mins(1),
            bounds: &bounds,
        };
        let outcome = execution
            .run(observed, &mut object.memory, vec![], |observed, now| {
                plan(&Inputs {
                    cluster: &cluster,
                    observed,
                    limits: &self.limits,
                    now,
                })
            })
            .await;
        let written = object.kept.status();
        let new = status(&StatusInputs {
            cluster: &cluster,
            observed: &outcome.observed,
            plan: &outcome.plan,
            limits: &self.limits,
            previous: &written,
            key_secret: "lab-ssh",
            now: rayward::execute::Clock::now(&*self.clock),
        });
        object.kept.record().status = new;
        let finalizers = object.kept.has_finalizer().then(|| vec![FINALIZER.to_owned()]);
        object.cluster.metadata.finalizers = finalizers;
        outcome
    }

    /// Passes, with time between them, until there is nothing to do and nothing to wait for, or the object is let go.
    /// Says how many it took.
    pub(crate) async fn converge(&self, object: &mut Object) -> usize {
        let stop = CancellationToken::new();
        let mut last = None;
        for number in 1..=120 {
            let outcome = self.pass(object, &stop).await;
            let deleted = object.valid().deleting && !object.kept.has_finalizer();
            if deleted || (outcome.plan.is_converged() && outcome.performed.is_empty()) {
                return number;
            }
            last = Some(outcome);
            self.clock.advance(self.step);
            tokio::time::sleep(self.lag / 4).await;
        }
        let last = last.map(|outcome| (outcome.plan, outcome.performed));
        panic!(
            "{} does not converge: {last:#?}",
            object.cluster.metadata.name.as_deref().unwrap_or_default()
        );
    }

    async fn look(&self, cluster: &ValidCluster, status: &RayClusterStatus) {
        let brought = match &cluster.network {
            Network::Existing { vpc_id, .. } => Some(vpc_id.clone()),
            Network::Own { .. } => None,
        };
        let made = status.network.as_ref().and_then(|network| network.vpc_id.clone());
        let interest = Interest {
            path: cluster.id.path(),
            vpc_ids: brought.into_iter().chain(made).collect(),
            bucket_names: bucket::names(cluster, ACCOUNT).map(|(name, _)| name).collect(),
            key_pair: cluster.key_pair.clone(),
        };
        self.sweeps.track(&cluster.id.uid, interest);
        self.sweeps
            .refresh(Kind::ALL, Instant::now())
            .await
            .expect("the fake can be read");
    }

    /// What there really is of a cluster: what carries its uid.
    pub(crate) fn holds(&self, uid: &str) -> Inventory {
        let mut inventory = self.fake.inventory();
        keep(&mut inventory, uid);
        inventory
    }
}

fn keep(inventory: &mut Inventory, uid: &str) {
    macro_rules! keep {
        ($($kind:ident),*) => {
            $(inventory.$kind.ours.retain(|_, item| {
                item.tags.get(rayward::tags::CLUSTER_UID).is_some_and(|found| found == uid)
            });)*
        };
    }
    keep!(
        vpc,
        internet_gateway,
        subnet,
        route_table,
        security_group,
        key_pair,
        address,
        volume,
        network_interface,
        instance
    );
}
