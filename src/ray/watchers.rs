//! One watcher a cluster: it looks into the cluster's Ray again and again over a connection that it keeps, remembers
//! what it saw, and says when something changed that a plan could act on.

use std::{
    collections::{BTreeMap, HashMap},
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use jiff::Timestamp;
use tokio::{task::JoinHandle, time::Instant};
use tokio_util::sync::CancellationToken;

pub use super::{
    dashboard::Patience,
    keys::{Access, ClusterRef, Keys},
};
use super::{
    facts::{Interest, Others, RayFacts},
    hands::WatchersHands,
    knowledge::{Freshness, Knowledge},
    ssh::Dialler,
    step::{Hands, NoHands},
    watcher::Watcher,
};

/// After so many intervals without a look what was seen counts no more.
const STALE_AFTER: u32 = 3;

/// How often is looked, and how long is waited.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Time between two looks at a cluster.
    pub look_interval: Duration,
    /// Time between two questions to a worker about which nothing else is in doubt.
    pub people_interval: Duration,
    /// How long connecting to a machine may take, and then the handshake.
    pub connect_timeout: Duration,
    /// How long the dashboard may take.
    pub patience: Patience,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            look_interval: Duration::from_secs(15),
            people_interval: Duration::from_mins(1),
            connect_timeout: Duration::from_secs(5),
            patience: Patience::default(),
        }
    }
}

impl Settings {
    fn freshness(&self) -> Freshness {
        Freshness {
            often: self.look_interval * STALE_AFTER,
            rarely: self.people_interval.max(self.look_interval) * STALE_AFTER,
        }
    }
}

/// What all watchers share.
pub(super) struct Shared {
    pub(super) settings: Settings,
    pub(super) keys: Arc<dyn Keys>,
    pub(super) dialler: Arc<Dialler>,
    pub(super) on_change: Box<dyn Fn(&str) + Send + Sync>,
    /// The two heads that answered last, the later one first: whichever cluster asks, one of them is another's.
    latest: Mutex<Vec<(String, Instant)>>,
}

impl Shared {
    fn latest(&self) -> MutexGuard<'_, Vec<(String, Instant)>> {
        self.latest.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The head of this cluster answered.
    pub(super) fn answered(&self, uid: &str) {
        let mut latest = self.latest();
        latest.retain(|(other, _)| other != uid);
        latest.truncate(1);
        latest.insert(0, (uid.to_owned(), Instant::now()));
    }
}

/// What is kept of a cluster.
#[derive(Default)]
struct Entry {
    /// Fingerprints that machines showed, while nobody watches.
    host_keys: BTreeMap<String, String>,
    watched: Option<(Arc<Watcher>, JoinHandle<()>)>,
}

impl Entry {
    fn stop(&mut self) {
        if let Some((watcher, _)) = self.watched.take() {
            watcher.stop.cancel();
            self.host_keys = watcher.knowledge().host_keys().clone();
        }
    }

    /// The watcher, if it is of this head and at work.
    fn at(&self, interest: &Interest) -> Option<&Arc<Watcher>> {
        let (watcher, task) = self.watched.as_ref()?;
        let current = watcher.interest();
        let (is, was) = (interest.head.as_ref()?, current.head.as_ref()?);
        let is_same = is.instance_id == was.instance_id && is.address == was.address;
        (is_same && !task.is_finished()).then_some(watcher)
    }
}

/// All watchers of this process.
pub struct Watchers {
    shared: Arc<Shared>,
    clusters: Mutex<HashMap<String, Entry>>,
    stop: CancellationToken,
}

impl fmt::Debug for Watchers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watchers")
            .field("settings", &self.shared.settings)
            .field("clusters", &self.clusters().len())
            .finish_non_exhaustive()
    }
}

impl Watchers {
    /// No watcher yet. `on_change` is told the uid of a cluster of which something is known that a plan could act on,
    /// and of one for which [`Self::look_now`] asked; it must return at once. All ends with `stop`.
    pub fn new(
        settings: Settings,
        keys: Arc<dyn Keys>,
        on_change: impl Fn(&str) + Send + Sync + 'static,
        stop: CancellationToken,
    ) -> Arc<Self> {
        let dialler = Arc::new(Dialler::new(settings.connect_timeout));
        let shared = Shared {
            settings,
            keys,
            dialler,
            on_change: Box::new(on_change),
            latest: Mutex::default(),
        };
        Arc::new(Self {
            shared: Arc::new(shared),
            clusters: Mutex::default(),
            stop,
        })
    }

    fn clusters(&self) -> MutexGuard<'_, HashMap<String, Entry>> {
        self.clusters.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn watcher(&self, uid: &str) -> Option<Arc<Watcher>> {
        let clusters = self.clusters();
        let (watcher, _) = clusters.get(uid)?.watched.as_ref()?;
        Some(Arc::clone(watcher))
    }

    /// What is to be looked at from now on: starts, changes or ends the looking. To be called from within the runtime;
    /// the same again does nothing. Another head, or another address of it, makes unknown what was known.
    pub fn set(&self, uid: &str, cluster: ClusterRef, interest: Interest) {
        let mut clusters = self.clusters();
        let Some(head) = &interest.head else {
            if let Some(entry) = clusters.get_mut(uid) {
                entry.stop();
                self.shared.latest().retain(|(other, _)| other != uid);
            }
            return;
        };
        let entry = clusters.entry(uid.to_owned()).or_default();
        if let Some(watcher) = entry.at(&interest) {
            return watcher.follow(interest);
        }
        entry.stop();
        if self.stop.is_cancelled() {
            return;
        }
        let knowledge = Knowledge::new(
            &head.instance_id,
            self.shared.settings.freshness(),
            entry.host_keys.clone(),
            Instant::now(),
            Timestamp::now(),
        );
        let shared = Arc::clone(&self.shared);
        let watcher = Arc::new(Watcher::new(
            cluster,
            interest,
            knowledge,
            shared,
            self.stop.child_token(),
        ));
        let task = tokio::spawn(Arc::clone(&watcher).run());
        entry.watched = Some((watcher, task));
    }

    /// What is known of a cluster now.
    #[must_use]
    pub fn facts(&self, uid: &str) -> RayFacts {
        let now = Instant::now();
        let others = self.others(uid, now);
        if let Some(watcher) = self.watcher(uid) {
            return watcher.knowledge().facts(others, now, Timestamp::now());
        }
        let host_keys = self.clusters().get(uid).map(|entry| entry.host_keys.clone());
        RayFacts {
            others,
            host_keys: host_keys.unwrap_or_default(),
            ..RayFacts::default()
        }
    }

    fn others(&self, uid: &str, now: Instant) -> Others {
        let has_others = {
            let clusters = self.clusters();
            let mut watched = clusters.iter().filter(|(_, entry)| entry.watched.is_some());
            watched.any(|(other, _)| other != uid)
        };
        if !has_others {
            return Others::None;
        }
        let fresh = self.shared.settings.look_interval * STALE_AFTER;
        let latest = self.shared.latest();
        let mut latest = latest.iter().filter(|(other, _)| other != uid);
        if latest.any(|(_, at)| now.duration_since(*at) < fresh) {
            Others::Answering
        } else {
            Others::Silent
        }
    }

    /// Looks at a cluster at once, and at all its machines.
    pub fn look_now(&self, uid: &str) {
        if let Some(watcher) = self.watcher(uid) {
            watcher.ask();
        }
    }

    /// What does things on the machines of a cluster.
    #[must_use]
    pub fn hands(&self, uid: &str) -> Box<dyn Hands + '_> {
        match self.watcher(uid) {
            Some(watcher) => Box::new(WatchersHands(watcher)),
            None => Box::new(NoHands),
        }
    }

    /// The cluster is gone, and so is what was known of it.
    pub fn forget(&self, uid: &str) {
        if let Some(mut entry) = self.clusters().remove(uid) {
            entry.stop();
        }
        self.shared.latest().retain(|(other, _)| other != uid);
    }
}
