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
    plan::{Action, suspend::Cause},
    ray::step::MachineStep,
    resources::{
        Change, Kind,
        instance::{InstanceChange, REBOOT},
    },
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
        for (shortage, until) in &outcome.observed.exhausted {
            region.exhausted.skip(shortage.clone(), *until);
        }
        for performed in &outcome.performed {
            match &performed.result {
                Ok(_) => {
                    if let Some(cause) = shutdown(&performed.action) {
                        self.metrics.shut_down(cause);
                    }
                    if let Some(step) = healing(&performed.action) {
                        self.metrics.healed(step);
                    }
                }
                Err(Failure::Aws(error)) => {
                    self.metrics.pass_failed(ErrorKind::Aws(error.class));
                    if error.class == ErrorClass::Throttled {
                        region.sweeps.throttled(self.settings.bounds.delays.throttled);
                    }
                }
                Err(Failure::Kubernetes(KubernetesError::Conflict(_))) => {
                    self.metrics.pass_failed(ErrorKind::Conflict);
                }
                Err(Failure::Machine(_)) => self.metrics.pass_failed(ErrorKind::Machine),
                Err(Failure::Kubernetes(_)) => self.metrics.pass_failed(ErrorKind::Kubernetes),
            }
        }
    }

    /// When the cluster is due again, and how the pass ended. For the length of `window` AWS may still show what was
    /// before a change.
    pub(super) fn conclude(
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

/// Why an action takes a cluster down, if it does.
fn shutdown(action: &Action) -> Option<Cause> {
    match action {
        Action::MarkStopped(mark) => mark.stopped.as_deref().and_then(Cause::read).map(|(cause, _)| cause),
        _ => None,
    }
}

/// The step of a ladder that an action is, if it is one.
fn healing(action: &Action) -> Option<&'static str> {
    match action {
        Action::Machine(step @ MachineStep::RestartRay { .. }) => Some(step.name()),
        Action::Aws(Change::Instance(InstanceChange::Reboot { .. })) => Some(REBOOT),
        _ => None,
    }
}

/// Whether something that is looked up, and not swept, is not known.
fn lacks_facts(cluster: &ValidCluster, observed: &Observed) -> bool {
    let is_unusable = matches!(observed.key, Source::Known(KeySecret::Unusable(_)) | Source::Unknown(_));
    observed.account.known().is_none()
        || (!cluster.deleting && observed.image.known().is_none())
        || (is_unusable && needs_key(cluster, observed))
}

#[cfg(test)]
mod tests {
    use async_trait::async_trait;
    use tokio::time::Instant;
    use tokio_util::sync::CancellationToken;

    use super::*;
    use crate::{
        aws::{Aws, AwsError, Image, Scope},
        controller::{
            regions::{Cloud, Regions},
            tasks::Tasks,
        },
        memory::Memory,
        plan::{Plan, scenario::Scenario},
        resources::{Answer, Change, Listing, vpc::VpcChange},
        sweep::SweepIntervals,
        validate::ImageRef,
    };

    /// AWS that nobody asks anything.
    struct Unasked;

    #[async_trait]
    impl Cloud for Unasked {
        async fn connect(&self, _: &str) -> Arc<dyn Aws> {
            Arc::new(Self)
        }
    }

    #[async_trait]
    impl Aws for Unasked {
        async fn account(&self) -> Result<String, AwsError> {
            unreachable!("nothing is looked up")
        }
        async fn list(&self, _: Kind, _: &Scope) -> Result<Listing, AwsError> {
            unreachable!("no cluster is tracked")
        }
        async fn image(&self, _: &ImageRef) -> Result<Image, AwsError> {
            unreachable!("nothing is looked up")
        }
        async fn apply(&self, _: &Change) -> Result<Answer, AwsError> {
            unreachable!("nothing is changed")
        }
    }

    #[tokio::test]
    async fn after_a_change_there_is_a_pass_once_aws_is_believed_again() {
        let stop = CancellationToken::new();
        let (cloud, intervals) = (Arc::new(Unasked), SweepIntervals::default());
        let regions = Regions::new(cloud, "inst", intervals, |_| {}, Tasks::new(stop.clone()));
        let region = Arc::new(regions).connect("ap-southeast-1").await;
        let window = Duration::from_mins(1);
        let lab = Scenario::lab();
        let mut remembered = Remembered::just_met(Memory::new(Instant::now()));
        let outcome = Outcome {
            observed: lab.observed.clone(),
            plan: Plan::default(),
            performed: Vec::new(),
            interrupted: None,
        };
        let next = |remembered: &mut Remembered| {
            let (due, how) = Passes::conclude(&lab.cluster, &outcome, &region, remembered, window);
            assert_eq!(how, PassOutcome::Converged);
            due.next
        };
        assert_eq!(next(&mut remembered), Next::OnChange, "nothing was done");
        let change = Change::Vpc(VpcChange::EnableDnsSupport { id: "vpc-1".into() });
        let memory = &mut remembered.memory;
        memory.performed("a key", change, Answer::Done, Instant::now());
        assert_eq!(next(&mut remembered), Next::After(window + LAG));
        stop.cancel();
    }
}
