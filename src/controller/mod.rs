//! Kubernetes' side of Rayward: which cluster is looked at when, and what is told about it.

mod access;
pub mod cache;
pub mod events;
pub mod key;
pub mod kubernetes;
pub mod namespaces;
mod orphans;
pub mod pass;
pub mod queue;
pub mod recorder;
pub mod regions;
pub mod retry;
pub mod secrets;
pub mod startup;
pub mod tasks;
#[cfg(test)]
mod tests;
mod watch;

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use kube::Client;
use tokio::{sync::Semaphore, time::Instant};
use tokio_util::sync::CancellationToken;

use self::{
    access::SecretKeys,
    cache::{Cache, ObjectName},
    namespaces::Namespaces,
    orphans::Orphans,
    pass::{Due, Passes, Settings, Watch},
    queue::Queue,
    recorder::Recorder,
    regions::{Cloud, Regions},
    retry::Next,
    tasks::Tasks,
};
use crate::{
    metrics::Metrics,
    ray::watchers::{self, Watchers},
    shutdown::GRACE,
    sweep::{Changed, SweepIntervals},
};

/// How often the numbers that nobody counts are read: queue, ages of sweeps, orphans.
const NUMBERS: Duration = Duration::from_secs(2);

/// Whether everything that passes need was read once.
#[derive(Clone, Debug, Default)]
pub struct Readiness {
    clusters: Arc<AtomicBool>,
    secrets: Arc<AtomicBool>,
}

impl Readiness {
    /// Whether the `RayClusters` and the Secrets' metadata are in.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.missing().is_none()
    }

    /// What is not in yet.
    #[must_use]
    pub fn missing(&self) -> Option<&'static str> {
        if !self.clusters.load(Ordering::Acquire) {
            Some("the RayClusters have not been read yet")
        } else if !self.secrets.load(Ordering::Acquire) {
            Some("the Secrets' metadata have not been read yet")
        } else {
            None
        }
    }
}

/// The controller.
#[derive(Debug)]
pub struct Controller {
    passes: Passes,
    queue: Arc<Queue<ObjectName>>,
    readiness: Readiness,
    watch_namespace: Option<String>,
    concurrency: usize,
    /// Looks at AWS that are under way for a cluster, so that there is one at a time.
    watched: Mutex<HashMap<ObjectName, Instant>>,
    tasks: Tasks,
}

/// What a controller is made from.
pub struct Parts {
    /// Kubernetes.
    pub client: Client,
    /// AWS.
    pub cloud: Arc<dyn Cloud>,
    /// The numbers of passes.
    pub settings: Settings,
    /// How often AWS is looked at.
    pub intervals: SweepIntervals,
    /// The only namespace that is looked after.
    pub watch_namespace: Option<String>,
    /// How many clusters are worked on at the same time.
    pub concurrency: usize,
    /// The numbers.
    pub metrics: Arc<Metrics>,
    /// Cancelled: the process is to end.
    pub stop: CancellationToken,
}

impl Controller {
    /// A controller, and the task that writes its Events: that ends when the controller is dropped and all is written.
    pub fn new(parts: Parts) -> (Arc<Self>, impl Future<Output = ()> + Send + 'static) {
        let timeout = parts.settings.bounds.call_timeout;
        let (recorder, events) = Recorder::new(parts.client.clone(), timeout);
        let queue = Arc::new(Queue::default());
        let cache = Arc::new(Cache::default());
        let tasks = Tasks::new(parts.stop);
        let watchers = Watchers::new(
            watchers::Settings {
                look_interval: parts.settings.limits.ray.look_interval,
                ..watchers::Settings::default()
            },
            Arc::new(SecretKeys::new(parts.client.clone(), timeout)),
            look_at_ray(Arc::clone(&queue), Arc::clone(&cache)),
            tasks.stop().clone(),
        );
        let regions = Arc::new(Regions::new(
            parts.cloud,
            &parts.settings.installation.id,
            parts.intervals,
            look_at_changed(Arc::clone(&queue), Arc::clone(&cache)),
            tasks.clone(),
        ));
        let controller = Self {
            passes: Passes {
                settings: parts.settings,
                namespaces: Namespaces::new(parts.client.clone(), timeout),
                client: parts.client,
                cache,
                secrets: Arc::default(),
                regions,
                watchers,
                recorder,
                metrics: parts.metrics,
                stop: tasks.stop().clone(),
                remembered: Mutex::default(),
                count: AtomicU64::new(0),
            },
            queue,
            readiness: Readiness::default(),
            watch_namespace: parts.watch_namespace,
            concurrency: parts.concurrency,
            watched: Mutex::default(),
            tasks,
        };
        (Arc::new(controller), events)
    }

    /// Whether the caches are in.
    #[must_use]
    pub fn readiness(&self) -> Readiness {
        self.readiness.clone()
    }

    /// What passes share; measurements make passes one by one.
    #[must_use]
    pub fn passes(&self) -> &Passes {
        &self.passes
    }

    /// Looks after all clusters until the process is to end, and then until what is in flight is finished or the time
    /// for that is over.
    ///
    /// # Errors
    /// What the process cannot do without and broke off.
    pub async fn run(self: &Arc<Self>) -> Result<(), String> {
        let watches = Arc::clone(self).watch_clusters();
        self.tasks.keep("the watch of RayClusters", watches);
        let watches = Arc::clone(self).watch_secrets();
        self.tasks.keep("the watch of Secrets", watches);
        let numbers = Arc::clone(self).read_numbers();
        self.tasks.keep("the reading of the numbers on /metrics", numbers);
        self.dispatch().await;
        self.tasks.end(GRACE).await
    }

    /// Starts the passes that are due.
    async fn dispatch(self: &Arc<Self>) {
        let places = Arc::new(Semaphore::new(self.concurrency));
        loop {
            let next = async {
                let place = Arc::clone(&places).acquire_owned().await;
                (self.queue.next().await, place)
            };
            let (name, place) = tokio::select! {
                biased;
                () = self.tasks.stop().cancelled() => return,
                next = next => next,
            };
            let controller = Arc::clone(self);
            self.tasks.spawn(async move {
                let due = controller.passes.pass(&name).await;
                controller.queue.done(&name);
                drop(place);
                controller.schedule(&name, due);
            });
        }
    }

    fn schedule(self: &Arc<Self>, name: &ObjectName, due: Due) {
        match due.next {
            Next::Now => self.queue.add(name, Duration::ZERO),
            Next::After(delay) => self.queue.add(name, delay),
            Next::NotBefore(pause) => self.queue.put_off(name, pause),
            Next::OnChange => {}
        }
        if let Some(watch) = due.watch {
            self.look_at_aws(name, watch);
        }
    }

    /// Looks at AWS for a cluster that waits for something there, and then makes a pass.
    fn look_at_aws(self: &Arc<Self>, name: &ObjectName, watch: Watch) {
        let at = Instant::now() + watch.after;
        {
            let mut watched = self.watched.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            if watched.get(name).is_some_and(|earlier| *earlier <= at) {
                return;
            }
            watched.insert(name.clone(), at);
        }
        let (controller, name) = (Arc::clone(self), name.clone());
        self.tasks.spawn(async move {
            let look = async {
                tokio::time::sleep_until(at).await;
                // Whether it succeeds or not is in the snapshot that the pass reads.
                let _ = watch.region.sweeps.refresh(&watch.kinds, at).await;
            };
            tokio::select! {
                () = controller.tasks.stop().cancelled() => {}
                () = look => {}
            }
            let mut watched = controller
                .watched
                .lock()
                .unwrap_or_else(std::sync::PoisonError::into_inner);
            if watched.get(&name) == Some(&at) {
                watched.remove(&name);
            }
            drop(watched);
            controller.queue.add(&name, Duration::ZERO);
        });
    }

    async fn read_numbers(self: Arc<Self>) {
        let metrics = &self.passes.metrics;
        let mut told = Orphans::default();
        loop {
            let (depth, active) = self.queue.depth();
            metrics.queue(depth, active);
            for region in self.passes.regions.all() {
                for (kind, age) in region.sweeps.ages() {
                    metrics.sweep_age(&region.name, kind.name(), age);
                }
                let orphans = region.sweeps.orphans();
                metrics.orphans(&region.name, orphans.len());
                if let Some(orphans) = told.news(&region.name, &orphans, Instant::now()) {
                    tracing::warn!(
                        region = region.name,
                        orphans,
                        "they carry the tags of this installation and are no RayCluster's that this process looks \
                         after: it never touches them"
                    );
                }
            }
            tokio::select! {
                () = self.tasks.stop().cancelled() => return,
                () = tokio::time::sleep(NUMBERS) => {}
            }
        }
    }
}

/// Makes passes over the clusters whose content on AWS changed.
fn look_at_changed(queue: Arc<Queue<ObjectName>>, cache: Arc<Cache>) -> impl Fn(&Changed) + Send + Sync + 'static {
    move |changed| match changed {
        Changed::Clusters(uids) => {
            for name in uids.iter().filter_map(|uid| cache.name_of(uid)) {
                queue.add(&name, Duration::ZERO);
            }
        }
        Changed::All => {
            for name in cache.names() {
                queue.add(&name, Duration::ZERO);
            }
        }
    }
}

/// Makes a pass over the cluster of which something was seen from inside.
fn look_at_ray(queue: Arc<Queue<ObjectName>>, cache: Arc<Cache>) -> impl Fn(&str) + Send + Sync + 'static {
    move |uid| {
        if let Some(name) = cache.name_of(uid) {
            queue.add(&name, Duration::ZERO);
        }
    }
}
