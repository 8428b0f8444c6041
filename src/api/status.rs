//! What Rayward saw and did. Rebuilt from AWS when somebody deletes it, but for `launches` (see [`Launch`]).

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What Rayward saw and did.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct RayClusterStatus {
    /// Generation of the spec that this status speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Uid of the object that this status belongs to; a status restored onto another object counts as lost.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster_uid: Option<String>,
    /// One word for people; programs read the conditions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phase: Option<Phase>,
    /// The state in detail.
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
    /// The network.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network: Option<NetworkStatus>,
    /// The head.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub head: Option<HeadStatus>,
    /// What the head was made from: workers are made from the same until the head is replaced.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<Revision>,
    /// The worker groups, those of the spec and those that are still being removed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub worker_groups: Vec<WorkerGroupStatus>,
    /// `joined/desired` workers, for the printer column.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workers: Option<String>,
    /// The buckets.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub buckets: Vec<BucketStatus>,
    /// Name of the Secret with the private key for SSH.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key_secret: Option<String>,
    /// The launches whose outcome is not definite yet, or that count against the cap.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub launches: Vec<Launch>,
    /// Highest launch number that was ever given out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_launch: Option<u64>,
    /// Nothing is launched before a look at AWS that began after this time: the record of launches was lost.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub launches_held_until: Option<Timestamp>,
    /// When use was last seen. While the cluster is in use it is written at most every 5 minutes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_activity_time: Option<Timestamp>,
    /// What was seen to use it then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_activity_signal: Option<String>,
    /// When the cluster is stopped if nobody uses it until then; there while nobody does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idle_deadline: Option<Timestamp>,
    /// Since when Ray is not known, while it is not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ray_unknown_since: Option<Timestamp>,
}

impl RayClusterStatus {
    /// Enters steps that are about to be taken, by instance id; the answer is the machines that are not listed.
    #[must_use]
    pub fn record_steps(&mut self, steps: &std::collections::BTreeMap<String, StepStatus>) -> Vec<String> {
        let mut unlisted: Vec<String> = steps.keys().cloned().collect();
        let mut enter = |id: Option<&String>, last: &mut Option<StepStatus>| {
            if let Some((id, step)) = id.and_then(|id| steps.get_key_value(id)) {
                *last = Some(step.clone());
                unlisted.retain(|listed| listed != id);
            }
        };
        if let Some(head) = &mut self.head {
            enter(head.instance_id.as_ref(), &mut head.last_step);
        }
        for worker in self.worker_groups.iter_mut().flat_map(|group| &mut group.machines) {
            enter(Some(&worker.instance_id), &mut worker.last_step);
        }
        unlisted
    }

    /// The last steps on machines, by instance id.
    #[must_use]
    pub fn steps(&self) -> std::collections::BTreeMap<String, StepStatus> {
        let workers = self.worker_groups.iter().flat_map(|group| &group.machines);
        let workers = workers.map(|worker| (Some(&worker.instance_id), &worker.last_step));
        let head = self
            .head
            .iter()
            .map(|head| (head.instance_id.as_ref(), &head.last_step));
        let named = |(id, step): (Option<&String>, &Option<StepStatus>)| Some((id?.clone(), step.clone()?));
        workers.chain(head).filter_map(named).collect()
    }
}

/// One word for what a cluster is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
pub enum Phase {
    /// Being made for the first time, or being changed.
    Provisioning,
    /// All is as asked for.
    Ready,
    /// Was ready, and something is missing or broken.
    Degraded,
    /// The machines are being stopped.
    Suspending,
    /// The machines are stopped.
    Suspended,
    /// The machines are being started.
    Resuming,
    /// Being taken down.
    Deleting,
    /// Cannot go on until a person acts; see the condition `Stalled`.
    Stalled,
}

impl Phase {
    /// All of them.
    pub const ALL: &[Self] = &[
        Self::Provisioning,
        Self::Ready,
        Self::Degraded,
        Self::Suspending,
        Self::Suspended,
        Self::Resuming,
        Self::Deleting,
        Self::Stalled,
    ];
}

/// The network.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct NetworkStatus {
    /// Id of the VPC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vpc_id: Option<String>,
    /// Id of the internet gateway.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub internet_gateway_id: Option<String>,
    /// Id of the route table.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub route_table_id: Option<String>,
    /// Ids of the security groups of every machine.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub security_group_ids: Vec<String>,
    /// The subnets.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub subnets: Vec<SubnetStatus>,
}

/// A subnet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SubnetStatus {
    /// Its name in the spec; of an existing network, its id.
    pub name: String,
    /// Its id.
    pub id: String,
    /// Where it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub availability_zone: Option<String>,
}

/// The head.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct HeadStatus {
    /// Id of its instance.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance_id: Option<String>,
    /// State of the instance in EC2's words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<String>,
    /// The address to reach it: the public one, else the private one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// Its private address, the same for every head of this cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub private_address: Option<String>,
    /// Its public address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub public_address: Option<String>,
    /// Allocation id of its Elastic IP address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allocation_id: Option<String>,
    /// What it was made from: image and software.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<String>,
    /// Whether its Ray answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ray: Option<Membership>,
    /// Name of Ray's session: another one is another Ray, with none of the jobs and actors of the one before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<String>,
    /// What it is doing on its way into Ray, or what failed there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// The last step that was taken to heal it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_step: Option<StepStatus>,
    /// Fingerprint of its SSH host key, from the first contact.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host_key: Option<String>,
    /// Since when its Ray answers, by Rayward's clock; that of the last time while it does not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub joined_time: Option<Timestamp>,
    /// When EC2 started it, if Rayward saw that start and its Ray has not answered since: what was not seen is not
    /// taken for a Ray that never answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub awaited_since: Option<Timestamp>,
}

/// What machines are made from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Revision {
    /// A short name for the rest: what differs in any part has another. It is the tag `rayward.dev/revision`.
    pub id: String,
    /// Id of the image.
    pub image_id: String,
    /// Release of Ray.
    pub ray_version: String,
    /// Python packages beside it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pip_packages: Vec<String>,
    /// What runs as root before Ray starts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub setup_script: Option<String>,
}

/// A worker group.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct WorkerGroupStatus {
    /// Its name.
    pub name: String,
    /// How many are asked for.
    pub desired: u32,
    /// How many run.
    pub running: u32,
    /// How many have joined Ray.
    #[serde(default)]
    pub joined: u32,
    /// How many are being launched or started.
    pub pending: u32,
    /// How many differ from what the spec now says; see the condition `UpToDate`.
    pub outdated: u32,
    /// Its machines that never came into Ray, since the last one that did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failures: Option<GroupFailures>,
    /// Its machines.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub machines: Vec<WorkerStatus>,
}

/// A worker.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct WorkerStatus {
    /// Id of its instance.
    pub instance_id: String,
    /// State of the instance in EC2's words.
    pub state: String,
    /// Its private address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub private_address: Option<String>,
    /// Whether it takes part in Ray.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ray: Option<Membership>,
    /// What it is doing on its way into Ray, or what failed there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// The last step that was taken to heal or to drain it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_step: Option<StepStatus>,
    /// Fingerprint of its SSH host key, from the first contact.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host_key: Option<String>,
    /// When it last came into Ray, by Rayward's clock.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub joined_time: Option<Timestamp>,
    /// Since when it runs and Ray does not list it as alive, by Rayward's clock.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub missing_since: Option<Timestamp>,
}

/// Machines of a group that never came into Ray: after a few in a row no further one is launched. What of the spec
/// reaches the next machine, another head, and a machine that joins begin anew.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct GroupFailures {
    /// How many in a row.
    pub count: u32,
    /// What the last one said: how far it came, and the last lines of what failed there.
    pub message: String,
    /// When the last one was given up.
    pub at: Timestamp,
    /// A short name for what of the spec reached them beside the head's revision.
    #[serde(default)]
    pub settings: String,
    /// The head that they were to join.
    pub head: String,
    /// Those of them that are still there.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub machines: Vec<String>,
}

/// Whether a machine takes part in Ray.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
pub enum Membership {
    /// Ray lists it as alive.
    Joined,
    /// It is on its way.
    Joining,
    /// It takes no new work and leaves once what runs is done.
    Draining,
    /// It was drained.
    Drained,
    /// Ray has lost it.
    Lost,
    /// Ray cannot be asked.
    Unknown,
}

/// A step that was taken on a machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct StepStatus {
    /// Which: `RestartRay`, `Reboot`, `Drain`, ...
    pub step: String,
    /// When.
    pub at: Timestamp,
    /// Of a drain, Ray's id of the node that was drained: a Ray that starts again there is another node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
}

/// A bucket.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct BucketStatus {
    /// What it is for.
    pub purpose: String,
    /// Its name.
    pub name: String,
    /// Whether it exists with all its settings.
    pub ready: bool,
}

/// A batch of equal machines, written down before the call that makes them: only the same request is ever sent again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Launch {
    /// Grows by one with each launch of the cluster.
    pub number: u64,
    /// The worker group; empty for the head.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// How many machines.
    pub count: u32,
    /// EC2 instance type.
    pub instance_type: String,
    /// Id of the subnet.
    pub subnet_id: String,
    /// The subnet's availability zone: capacity and idempotency are a zone's.
    pub availability_zone: String,
    /// Id of the image.
    pub image_id: String,
    /// The image's root device, for example `/dev/sda1`.
    pub root_device: String,
    /// Root disk.
    pub root_volume: super::VolumeSpec,
    /// Security groups.
    pub security_group_ids: Vec<String>,
    /// EC2 key pair.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key_name: Option<String>,
    /// Private address; the head's only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub private_address: Option<String>,
    /// Whether Amazon gives a public address.
    pub public_address: bool,
    /// What the machines are made from.
    pub revision: String,
    /// That in full; the head's only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub head_revision: Option<Revision>,
    /// Short hash of the user data, what the machines do at their first boot.
    #[serde(default)]
    pub user_data: String,
    /// Name of the IAM instance profile.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub iam_instance_profile: Option<String>,
    /// Tags as they were at the time: a repeated request has to be the same to the letter.
    pub tags: std::collections::BTreeMap<String, String>,
    /// When it was written down.
    pub recorded_at: Timestamp,
    /// How many machines the cluster asked for then, the head included: the cap on launches is a multiple of it.
    #[serde(default)]
    pub asked: u32,
    /// How it ended.
    #[serde(default)]
    pub state: LaunchState,
    /// When that became definite.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub settled_at: Option<Timestamp>,
    /// Whether an earlier try got no answer: it may have been carried out.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub uncertain: bool,
    /// The machines that came of it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub instance_ids: Vec<String>,
}

/// Whether the outcome of a launch is definite.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum LaunchState {
    /// The call may or may not have been carried out.
    #[default]
    Open,
    /// AWS answered with machines.
    Launched,
    /// AWS refused it, so that no machine came of it.
    Refused,
}
