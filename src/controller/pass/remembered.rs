//! What is remembered of one cluster from pass to pass. All of it can be lost.

use std::time::Duration;

use tokio::time::Instant;

use super::LOOK_AGAIN;
use crate::{
    api::RayClusterStatus,
    execute::Outcome,
    memory::Memory,
    observe::{KeySecret, Source},
    plan::Reason,
    validate::ValidCluster,
};

/// How long the answer to a look at the cluster's Secret holds although the watch does not show it (yet).
const WATCH_LAG: Duration = Duration::from_secs(10);
/// How long a process that has just started may take to look everywhere before it says that it could not.
pub(super) const FIRST_LOOK: Duration = Duration::from_mins(1);

/// See the module.
#[derive(Debug)]
pub struct Remembered {
    pub(super) memory: Memory,
    pub(super) namespace_uid: Option<String>,
    key: Option<KnownKey>,
    /// Passes in a row that Kubernetes failed.
    pub(super) failures: u32,
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

impl Remembered {
    /// Nothing but this memory, of a cluster that this process meets now.
    pub(super) fn just_met(memory: Memory) -> Self {
        Self {
            memory,
            namespace_uid: None,
            key: None,
            failures: 0,
            met: Instant::now(),
            has_seen: false,
        }
    }

    /// What is known of the Secret with the key, if that still holds now that the watch shows this version of it.
    pub(super) fn known_key(&self, version: Option<&str>) -> Source<KeySecret> {
        let known = self.key.as_ref().filter(|known| {
            let age = known.at.elapsed();
            let is_stale = matches!(known.secret, KeySecret::Unusable(_)) && age > LOOK_AGAIN;
            !is_stale && (known.version.as_deref() == version || age < WATCH_LAG)
        });
        match known {
            Some(known) => Source::Known(known.secret.clone()),
            None => Source::Unknown("not looked up yet".into()),
        }
    }

    /// Keeps what was just found or made as the Secret with the key.
    pub(super) fn keep_key(&mut self, secret: KeySecret, version: Option<String>) {
        self.key = Some(KnownKey {
            secret,
            version,
            at: Instant::now(),
        });
    }

    /// Whether a status would say no more than that a process which has just started has not looked everywhere yet:
    /// for some time what the last one said of the same spec stays.
    pub(super) fn is_early(&mut self, cluster: &ValidCluster, outcome: &Outcome, previous: &RayClusterStatus) -> bool {
        let waits = |reason| outcome.plan.waiting.iter().any(|waiting| waiting.reason == reason);
        let is_refused = waits(Reason::LookRefused);
        self.has_seen |= !is_refused && !waits(Reason::NotObserved) && !waits(Reason::NotLooked);
        !self.has_seen
            && !is_refused
            && outcome.performed.is_empty()
            && previous.observed_generation == Some(cluster.generation)
            && self.met.elapsed() < FIRST_LOOK
    }
}
