//! What follows from a pass: what is kept of it, and when the next one is due.

use std::{sync::Arc, time::Duration};

use super::{LOOK_AGAIN, Passes, SystemClock, facts::needs_key, remembered::Remembered};
use crate::{
    aws::ErrorClass,
    controller::{
        cache::ObjectName,
        regions::Region,
        retry::{self, Next},
    },
    execute::{Clock, Effect, Failure, KubernetesError, Outcome},
    metrics::{ErrorKind, PassOutcome},
    observe::{KeySecret, Observed, Source},
    resources::Kind,
    validate::ValidCluster,
};

/// How long after the consistency window a look that began after it is in.
const LAG: Duration = Duration::from_secs(1);

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
    pub kinds: Vec<Kind>,
    /// When.
    pub after: Duration,
}

impl From<Next> for Due {
    fn from(next: Next) -> Self {
        Self { next, watch: None }
    }
}

impl Passes {
    /// Keeps what later passes, and the other clusters of the region, have to know.
    pub(super) fn keep(
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
            remembered.keep_key(secret.clone(), self.secrets.version(name));
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

    /// When the cluster is due again, and how the pass ended.
    pub(super) fn conclude(
        &self,
        cluster: &ValidCluster,
        outcome: &Outcome,
        region: &Arc<Region>,
        remembered: &mut Remembered,
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
            next = next.at_latest(self.settings.limits.consistency_window + LAG);
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

/// Whether something that is looked up, and not swept, is not known.
fn lacks_facts(cluster: &ValidCluster, observed: &Observed) -> bool {
    let is_unusable = matches!(observed.key, Source::Known(KeySecret::Unusable(_)) | Source::Unknown(_));
    observed.account.known().is_none()
        || (!cluster.deleting && observed.image.known().is_none())
        || (is_unusable && needs_key(cluster, observed))
}
