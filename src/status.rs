//! The status of a cluster: what was seen and what is still to be done, in the words of the API. Pure, and no clock
//! stands in it: the same facts give the same status, so that it is written only when something changed.

mod conditions;
mod machines;
mod network;
mod vocabulary;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

pub use vocabulary::{ConditionType, Polarity, Standing};

use crate::{
    api::{BucketStatus, Launch, LaunchState, Phase, RayCluster, RayClusterStatus, WorkerGroupStatus},
    observe::{KeySecret, Observed, Source},
    plan::{
        Limits, Plan,
        fleet::Fleet,
        membership::{Members, Ray},
    },
    resources::bucket,
    validate::{ValidCluster, ValidationError},
};

/// What a status is made from.
#[derive(Clone, Copy, Debug)]
pub struct StatusInputs<'a> {
    /// What is asked for.
    pub cluster: &'a ValidCluster,
    /// What is known at the end of the pass.
    pub observed: &'a Observed,
    /// What is still to be done and waited for at the end of the pass.
    pub plan: &'a Plan,
    /// The numbers of this installation.
    pub limits: &'a Limits,
    /// The status before.
    pub previous: &'a RayClusterStatus,
    /// Name of the Secret with the private key for SSH.
    pub key_secret: &'a str,
    /// The time.
    pub now: Timestamp,
}

/// What conditions are made from, beside the inputs.
#[derive(Debug)]
struct Facts<'a> {
    inputs: StatusInputs<'a>,
    fleet: &'a Fleet<'a>,
    members: &'a Members<'a>,
    worker_groups: &'a [WorkerGroupStatus],
    buckets: &'a [BucketStatus],
}

/// The status at the end of a pass.
#[must_use]
pub fn status(inputs: &StatusInputs<'_>) -> RayClusterStatus {
    let lost = RayClusterStatus::default();
    let mut inputs = *inputs;
    if inputs.previous.cluster_uid.as_ref() != Some(&inputs.cluster.id.uid) {
        // Restored onto another object: it speaks of another cluster.
        inputs.previous = &lost;
    }
    let StatusInputs { cluster, observed, .. } = inputs;
    let fleet = Fleet::of(observed);
    let members = Members::of(observed, &fleet, &inputs.limits.ray, inputs.now);
    let worker_groups = machines::worker_groups(&inputs, &fleet, &members);
    let buckets = bucket::status(cluster, observed);
    let facts = Facts {
        inputs,
        fleet: &fleet,
        members: &members,
        worker_groups: &worker_groups,
        buckets: &buckets,
    };
    let (phase, drafts) = conditions::draft(&facts);
    let conditions = conditions::dated(drafts, cluster.generation, inputs.previous, inputs.now);
    let count = |of: fn(&WorkerGroupStatus) -> u32| worker_groups.iter().map(of).sum::<u32>();
    let workers = format!("{}/{}", count(|group| group.joined), count(|group| group.desired));
    RayClusterStatus {
        observed_generation: Some(cluster.generation),
        cluster_uid: Some(cluster.id.uid.clone()),
        phase: Some(phase),
        conditions,
        network: network::network(&inputs),
        head: machines::head(&inputs, &fleet, &members),
        revision: machines::revision(&inputs, &fleet),
        workers: Some(workers),
        key_secret: key_secret(&inputs),
        launches: launches(&inputs),
        last_launch: observed.ledger.last,
        launches_held_until: observed.ledger.held_until,
        ray_unknown_since: ray_unknown_since(&inputs, members.ray),
        worker_groups,
        buckets,
        ..idleness(&inputs)
    }
}

/// The status before, with what is known of its use now.
fn idleness(inputs: &StatusInputs<'_>) -> RayClusterStatus {
    let before = inputs.previous.clone();
    match &inputs.plan.idle {
        None => before,
        Some(idleness) => RayClusterStatus {
            last_activity_time: idleness.last_activity,
            last_activity_signal: idleness.last_signal.clone(),
            idle_deadline: idleness.deadline,
            ..before
        },
    }
}

/// The status of an object whose spec breaks a rule: nothing is done for it, and nothing is forgotten.
#[must_use]
pub fn invalid(
    object: &RayCluster,
    error: &ValidationError,
    previous: &RayClusterStatus,
    now: Timestamp,
) -> RayClusterStatus {
    let generation = object.metadata.generation.unwrap_or_default();
    let conditions = conditions::dated(conditions::invalid(error), generation, previous, now);
    let kept = previous.conditions.iter().filter(|condition| {
        [ConditionType::Idle, ConditionType::Drifted, ConditionType::Suspended]
            .iter()
            .any(|kept| kept.name() == condition.type_)
    });
    RayClusterStatus {
        observed_generation: Some(generation),
        phase: Some(Phase::Stalled),
        idle_deadline: None,
        conditions: conditions.into_iter().chain(kept.cloned()).collect(),
        ..previous.clone()
    }
}

/// Whether two statuses say the same. Conditions of other types than ours are other controllers' matter.
#[must_use]
pub fn is_same(one: &RayClusterStatus, other: &RayClusterStatus) -> bool {
    let ours = |status: &RayClusterStatus| -> Vec<Condition> {
        let is_ours = |condition: &&Condition| ConditionType::ALL.iter().any(|ours| ours.name() == condition.type_);
        status.conditions.iter().filter(is_ours).cloned().collect()
    };
    let bare = |status: &RayClusterStatus| RayClusterStatus {
        conditions: Vec::new(),
        ..status.clone()
    };
    ours(one) == ours(other) && bare(one) == bare(other)
}

fn ray_unknown_since(inputs: &StatusInputs<'_>, ray: Ray<'_>) -> Option<Timestamp> {
    match (&inputs.observed.inventory.instance.swept, ray) {
        (Source::Unknown(_), _) => inputs.previous.ray_unknown_since,
        (Source::Known(()), Ray::Unknown { since, .. }) => Some(since),
        (Source::Known(()), Ray::NoHead | Ray::Known(_)) => None,
    }
}

fn key_secret(inputs: &StatusInputs<'_>) -> Option<String> {
    match &inputs.observed.key {
        Source::Known(KeySecret::Present { .. }) => Some(inputs.key_secret.into()),
        Source::Known(_) => None,
        Source::Unknown(_) => inputs.previous.key_secret.clone(),
    }
}

/// The record of launches without those that are over and count against the cap no more.
fn launches(inputs: &StatusInputs<'_>) -> Vec<Launch> {
    let window = SignedDuration::try_from(inputs.limits.launch_window).unwrap_or(SignedDuration::MAX);
    let since = inputs.now.checked_sub(window).unwrap_or(Timestamp::MIN);
    let counts = |launch: &&Launch| launch.state == LaunchState::Open || launch.recorded_at > since;
    inputs.observed.ledger.launches.iter().filter(counts).cloned().collect()
}

#[cfg(test)]
mod tests;
