//! What a person asks for.

use std::collections::BTreeMap;

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    idle::{IdleSpec, WakeSpec},
    rules,
    status::RayClusterStatus,
};

/// A Ray cluster on AWS: its network, its head, its workers and its buckets.
#[derive(CustomResource, Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[kube(
    group = "rayward.dev",
    version = "v1alpha1",
    kind = "RayCluster",
    plural = "rayclusters",
    shortname = "rwc",
    namespaced,
    status = "RayClusterStatus",
    derive = "PartialEq",
    doc = "A Ray cluster on AWS: its network, its head, its workers and its buckets.",
    validation = rules::CLUSTER_NAME,
    printcolumn(name = "Phase", type_ = "string", json_path = ".status.phase"),
    printcolumn(name = "Head", type_ = "string", json_path = ".status.head.address"),
    printcolumn(name = "Workers", type_ = "string", json_path = ".status.workers"),
    printcolumn(name = "Ready", type_ = "string", json_path = r#".status.conditions[?(@.type=="Ready")].status"#),
    printcolumn(name = "Reason", type_ = "string", json_path = r#".status.conditions[?(@.type=="Ready")].reason"#),
    printcolumn(name = "Idle since", type_ = "date", json_path = ".status.lastActivityTime"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(name = "Region", type_ = "string", json_path = ".spec.region", priority = 1),
    printcolumn(
        name = "Message",
        type_ = "string",
        json_path = r#".status.conditions[?(@.type=="Ready")].message"#,
        priority = 1
    )
)]
#[x_kube(validation = rules::ZONE_IN_REGION)]
#[x_kube(validation = rules::HEAD_SUBNET)]
#[x_kube(validation = rules::GROUP_SUBNETS)]
#[x_kube(validation = rules::ELASTIC_HAS_WAY_OUT)]
#[serde(rename_all = "camelCase")]
pub struct RayClusterSpec {
    /// AWS region in which everything is made, for example `ap-southeast-1`. Immutable.
    #[schemars(length(max = rules::WORD_LENGTH))]
    #[x_kube(validation = rules::REGION)]
    #[x_kube(validation = rules::REGION_IMMUTABLE)]
    pub region: String,
    /// Release of Ray on every machine, at least 2.52.0. An image that has it in `/opt/ray` is used as it is; else it
    /// is installed at the first boot. Another one needs a new head.
    #[schemars(length(max = rules::WORD_LENGTH))]
    #[x_kube(validation = rules::RAY_VERSION)]
    #[x_kube(validation = rules::RAY_VERSION_MIN)]
    #[serde(default = "default_ray_version")]
    pub ray_version: String,
    /// Python packages beside Ray on every machine, in the form that pip takes: `xgboost-cpu`, `ray[train]`,
    /// `pandas>=2`. Another list needs a new head.
    #[schemars(length(max = rules::PIP_PACKAGES), inner(length(max = rules::PIP_PACKAGE_LENGTH)))]
    #[x_kube(validation = rules::PIP_PACKAGES_FORM)]
    #[x_kube(validation = rules::PIP_PACKAGES_RAY)]
    #[x_kube(validation = rules::PIP_PACKAGES_SIZE)]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pip_packages: Vec<String>,
    /// A script that every machine runs as root, once, before Ray starts; one that fails is tried again. Without a
    /// first line `#!...` it is one of bash. At most 4096 bytes, and not for secrets: who may read the machines'
    /// metadata reads it. Another script needs a new head.
    #[schemars(length(max = rules::SETUP_SCRIPT_BYTES))]
    #[x_kube(validation = rules::SETUP_SCRIPT_TEXT)]
    #[x_kube(validation = rules::SETUP_SCRIPT_SIZE)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub setup_script: Option<String>,
    /// Environment variables of Ray on every machine, of its installation by pip, and of `setupScript`. Not for
    /// secrets: who may read the machines' metadata reads them. Machines keep those with which they were launched.
    #[schemars(schema_with = "environment_schema")]
    #[x_kube(validation = rules::ENVIRONMENT_NAMES)]
    #[x_kube(validation = rules::ENVIRONMENT_RESERVED)]
    #[x_kube(validation = rules::ENVIRONMENT_VALUES)]
    #[x_kube(validation = rules::ENVIRONMENT_SIZE)]
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub environment: BTreeMap<String, String>,
    /// `true` stops all machines and keeps their disks, addresses and the buckets; `false` starts the same machines
    /// again.
    #[serde(default)]
    pub suspend: bool,
    /// What becomes of the cluster when nobody uses it. Left out: its machines are stopped after 90 minutes.
    #[serde(default)]
    pub idle: IdleSpec,
    /// How it comes up again after it was stopped.
    #[serde(default)]
    pub wake: WakeSpec,
    /// Tags on everything that is created, beside Rayward's own. A key that is taken out of this map stays on what has
    /// it already.
    #[schemars(schema_with = "tags_schema")]
    #[x_kube(validation = rules::TAG_KEYS)]
    #[x_kube(validation = rules::TAG_VALUES)]
    #[x_kube(validation = rules::TAG_RESERVED)]
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tags: BTreeMap<String, String>,
    /// Network of the cluster. Left out: a VPC 10.0.0.0/16 with one public subnet 10.0.1.0/24.
    #[serde(default)]
    pub network: NetworkSpec,
    /// The key that people use for SSH. Left out: the key that Rayward makes, in a Secret owned by the cluster.
    #[serde(default)]
    pub key_pair: KeyPairSpec,
    /// The machine that runs the Ray head.
    #[serde(default)]
    pub head: HeadSpec,
    /// Groups of equal workers.
    #[schemars(length(max = rules::GROUPS))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    #[x_kube(validation = rules::TOTAL_WORKERS)]
    #[serde(default)]
    pub worker_groups: Vec<WorkerGroupSpec>,
    /// S3 buckets. Left out: `raw`, `features`, `training` and `models`; an empty list makes none.
    #[schemars(length(max = rules::BUCKETS))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["purpose".into()]))]
    #[x_kube(validation = rules::BUCKET_NAMES_UNIQUE)]
    #[serde(default = "default_buckets")]
    pub buckets: Vec<BucketSpec>,
    /// What becomes of data when the cluster is deleted.
    #[serde(default)]
    pub deletion_policy: DeletionPolicy,
}

/// Network of a cluster: one that Rayward makes, or one that exists.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[x_kube(validation = rules::EXISTING_OR_OWN)]
#[x_kube(validation = rules::GROUPS_OR_INGRESS)]
#[x_kube(validation = rules::SUBNETS_INSIDE)]
#[x_kube(validation = rules::DEFAULT_SUBNET_INSIDE)]
#[x_kube(validation = rules::SUBNETS_APART)]
#[x_kube(validation = rules::EXISTING_IMMUTABLE)]
#[x_kube(validation = rules::VPC_CIDR_IMMUTABLE)]
#[x_kube(validation = rules::SUBNETS_ONLY_ADDED)]
#[serde(rename_all = "camelCase")]
pub struct NetworkSpec {
    /// Address range of the VPC in canonical form, /16 to /28. Default 10.0.0.0/16. Immutable.
    #[schemars(length(max = rules::CIDR_LENGTH))]
    #[x_kube(validation = rules::CIDR)]
    #[x_kube(validation = rules::CIDR_CANONICAL)]
    #[x_kube(validation = rules::CIDR_SIZE)]
    #[x_kube(validation = rules::CIDR_OF_HOSTS)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vpc_cidr: Option<String>,
    /// Subnets of the VPC; more can be added later, none removed or changed. Default: `a`, 10.0.1.0/24, public.
    #[schemars(length(min = 1, max = rules::SUBNETS))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subnets: Option<Vec<SubnetSpec>>,
    /// Ports that are open from outside the cluster, beside SSH. Default: none.
    #[schemars(length(max = rules::INGRESS))]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ingress: Vec<IngressRule>,
    /// Address ranges from which people reach SSH. Default: none.
    #[schemars(length(max = rules::INGRESS), inner(length(max = rules::CIDR_LENGTH)))]
    #[x_kube(validation = rules::CIDRS)]
    #[x_kube(validation = rules::CIDRS_CANONICAL)]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub admin_cidrs: Vec<String>,
    /// Which address of the head the controller uses.
    #[serde(default)]
    pub controller_access: ControllerAccess,
    /// Use a network that exists; it is never changed and never deleted. Immutable.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub existing: Option<ExistingNetwork>,
}

/// Which address of the head the controller uses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ControllerAccess {
    /// The public one.
    #[default]
    Public,
    /// The private one: the controller runs in the same network, or has a way there.
    Private,
}

/// A subnet that Rayward makes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[x_kube(validation = rules::SUBNET_IMMUTABLE)]
#[serde(rename_all = "camelCase")]
pub struct SubnetSpec {
    /// Name by which the head and the worker groups refer to it.
    #[schemars(length(max = rules::NAME_LENGTH))]
    #[x_kube(validation = rules::NAME)]
    pub name: String,
    /// Address range in canonical form, inside the VPC's, /16 to /28.
    #[schemars(length(max = rules::CIDR_LENGTH))]
    #[x_kube(validation = rules::CIDR)]
    #[x_kube(validation = rules::CIDR_CANONICAL)]
    #[x_kube(validation = rules::CIDR_SIZE)]
    pub cidr: String,
    /// Whether machines get public addresses. Default `true`; there is no NAT gateway, so a private subnet has no way
    /// out.
    #[serde(default = "yes")]
    pub public: bool,
    /// Availability zone, for example `ap-southeast-1a`. Left out: AWS chooses.
    #[schemars(length(max = rules::WORD_LENGTH))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub availability_zone: Option<String>,
}

/// TCP ports that are open to address ranges outside the cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct IngressRule {
    /// One port or a range: `8265` or `1024-65535`.
    #[schemars(length(max = 11))]
    #[x_kube(validation = rules::PORTS)]
    #[x_kube(validation = rules::PORTS_ORDERED)]
    pub ports: String,
    /// IPv4 address ranges in canonical form.
    #[schemars(length(min = 1, max = rules::INGRESS), inner(length(max = rules::CIDR_LENGTH)))]
    #[x_kube(validation = rules::CIDRS)]
    #[x_kube(validation = rules::CIDRS_CANONICAL)]
    pub cidrs: Vec<String>,
}

/// A network of the user's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct ExistingNetwork {
    /// Id of the VPC.
    #[schemars(length(max = rules::ID_LENGTH))]
    #[x_kube(validation = rules::VPC_ID)]
    pub vpc_id: String,
    /// Ids of the subnets, in order of preference; the head is in the first.
    #[schemars(length(min = 1, max = rules::SUBNETS), inner(length(max = rules::ID_LENGTH)))]
    #[x_kube(validation = rules::SUBNET_IDS)]
    #[x_kube(validation = rules::IDS_ONCE)]
    pub subnet_ids: Vec<String>,
    /// Security groups of every machine. Left out: Rayward makes one in this VPC.
    #[schemars(length(max = 16), inner(length(max = rules::ID_LENGTH)))]
    #[x_kube(validation = rules::SECURITY_GROUP_IDS)]
    #[x_kube(validation = rules::IDS_ONCE)]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub security_group_ids: Vec<String>,
}

/// The key pair for people.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct KeyPairSpec {
    /// Name of an EC2 key pair that exists. Machines accept it beside Rayward's own.
    #[schemars(length(max = 255))]
    #[x_kube(validation = rules::KEY_NAME)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

/// The machine that runs the Ray head.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct HeadSpec {
    /// EC2 instance type.
    #[schemars(length(max = rules::WORD_LENGTH))]
    #[x_kube(validation = rules::INSTANCE_TYPE)]
    #[serde(default = "default_instance_type")]
    pub instance_type: String,
    /// Image of every machine of the cluster. Left out: Canonical's Ubuntu LTS.
    #[serde(default)]
    pub image: ImageSpec,
    /// Root disk.
    #[x_kube(validation = rules::VOLUME_MIN)]
    #[x_kube(validation = rules::VOLUME_MAX)]
    #[serde(default)]
    pub root_volume: VolumeSpec,
    /// The head's public address.
    #[serde(default)]
    pub public_address: PublicAddress,
    /// Name of the subnet; of an existing network, its id. Left out: the first.
    #[schemars(length(max = rules::NAME_LENGTH))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subnet: Option<String>,
    /// Flags of `ray start` on the head, without their dashes: `num-cpus: "0"`, `resources: '{"disk": 1}'`. A flag that
    /// takes no value has an empty one. Machines keep those with which they were launched.
    #[schemars(schema_with = "ray_start_params_schema")]
    #[x_kube(validation = rules::RAY_START_PARAMS_FORM)]
    #[x_kube(validation = rules::RAY_START_PARAMS_RESERVED)]
    #[x_kube(validation = rules::RAY_START_PARAMS_VALUES)]
    #[x_kube(validation = rules::RAY_START_PARAMS_SIZE)]
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub ray_start_params: BTreeMap<String, String>,
    /// Name of an existing IAM instance profile: what the machines may do on AWS, such as using the buckets. Left out:
    /// nothing.
    #[schemars(length(max = rules::PROFILE_LENGTH))]
    #[x_kube(validation = rules::PROFILE_NAME)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub iam_instance_profile: Option<String>,
    /// What happens when its machine runs and no connection has reached it for long, while the heads of other clusters
    /// are reached. A lone head, with no such other, is rebooted only where EC2's status checks of it fail too: else
    /// the fault may be the controller's own network.
    #[serde(default)]
    pub when_unreachable: WhenUnreachable,
}

impl Default for HeadSpec {
    fn default() -> Self {
        Self {
            instance_type: default_instance_type(),
            image: ImageSpec::default(),
            root_volume: VolumeSpec::default(),
            public_address: PublicAddress::default(),
            subnet: None,
            ray_start_params: BTreeMap::new(),
            iam_instance_profile: None,
            when_unreachable: WhenUnreachable::default(),
        }
    }
}

/// What happens with a head that runs and cannot be reached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum WhenUnreachable {
    /// It is rebooted, once; then it is told.
    #[default]
    Reboot,
    /// It is told.
    Keep,
}

/// An Amazon machine image: by its id, or by the SSM parameter that names it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[x_kube(validation = rules::ONE_IMAGE)]
#[serde(rename_all = "camelCase")]
pub struct ImageSpec {
    /// Id of an image in the region, for example `ami-003c463c8207b4dfa`.
    #[schemars(length(max = rules::ID_LENGTH))]
    #[x_kube(validation = rules::IMAGE_ID)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// SSM parameter whose value is an image id. Default: Canonical's Ubuntu 24.04 for amd64.
    #[schemars(length(max = 512))]
    #[x_kube(validation = rules::SSM_PARAMETER)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ssm_parameter: Option<String>,
}

/// An encrypted root disk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct VolumeSpec {
    /// Size in GiB.
    #[serde(default = "default_volume_size", rename = "sizeGiB")]
    pub size_gib: i32,
    /// EBS volume type.
    #[serde(default, rename = "type")]
    pub volume_type: VolumeType,
}

impl Default for VolumeSpec {
    fn default() -> Self {
        Self {
            size_gib: default_volume_size(),
            volume_type: VolumeType::default(),
        }
    }
}

/// EBS volume types that can be a root disk without further settings.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum VolumeType {
    /// General purpose SSD, third generation: up to 64 TiB.
    #[default]
    Gp3,
    /// General purpose SSD, second generation: up to 16 TiB.
    Gp2,
}

/// How the head is reached from outside its VPC.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum PublicAddress {
    /// An address of Amazon's pool; another after each stop and start.
    #[default]
    Dynamic,
    /// An Elastic IP address of the cluster's own; stays the same. A region has 5 by default.
    Elastic,
    /// None.
    None,
}

/// Equal workers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct WorkerGroupSpec {
    /// Name, unique in the cluster.
    #[schemars(length(max = rules::NAME_LENGTH))]
    #[x_kube(validation = rules::NAME)]
    pub name: String,
    /// How many machines.
    #[schemars(range(max = super::MAX_WORKERS))]
    #[serde(default)]
    pub replicas: u32,
    /// EC2 instance types in order of preference; the next is tried where one has no capacity.
    #[schemars(length(min = 1, max = rules::INSTANCE_TYPES), inner(length(max = rules::WORD_LENGTH)))]
    #[x_kube(validation = rules::INSTANCE_TYPES_FORM)]
    #[serde(default = "default_instance_types")]
    pub instance_types: Vec<String>,
    /// How the machines are paid for.
    #[serde(default)]
    pub capacity_type: CapacityType,
    /// Root disk.
    #[x_kube(validation = rules::VOLUME_MIN)]
    #[x_kube(validation = rules::VOLUME_MAX)]
    #[serde(default)]
    pub root_volume: VolumeSpec,
    /// Names of the subnets (of an existing network, their ids) in order of preference. Left out: all, in their order.
    #[schemars(length(max = rules::SUBNETS), inner(length(max = rules::NAME_LENGTH)))]
    #[x_kube(validation = rules::GROUP_SUBNETS_ONCE)]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub subnets: Vec<String>,
    /// Flags of `ray start` on its machines, without their dashes: `num-cpus: "0"`, `resources: '{"disk": 1}'`. A flag
    /// that takes no value has an empty one. Machines keep those with which they were launched.
    #[schemars(schema_with = "ray_start_params_schema")]
    #[x_kube(validation = rules::RAY_START_PARAMS_FORM)]
    #[x_kube(validation = rules::RAY_START_PARAMS_RESERVED)]
    #[x_kube(validation = rules::RAY_START_PARAMS_VALUES)]
    #[x_kube(validation = rules::RAY_START_PARAMS_SIZE)]
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub ray_start_params: BTreeMap<String, String>,
    /// Name of an existing IAM instance profile: what the machines may do on AWS, such as using the buckets. Left out:
    /// nothing.
    #[schemars(length(max = rules::PROFILE_LENGTH))]
    #[x_kube(validation = rules::PROFILE_NAME)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub iam_instance_profile: Option<String>,
}

/// How machines are paid for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum CapacityType {
    /// By the second, at the list price, never taken back.
    #[default]
    OnDemand,
}

/// A private, versioned, encrypted S3 bucket.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[x_kube(validation = rules::BUCKET_NAME_IMMUTABLE)]
#[serde(rename_all = "camelCase")]
pub struct BucketSpec {
    /// What it is for; part of its name.
    #[schemars(length(max = rules::PURPOSE_LENGTH))]
    #[x_kube(validation = rules::NAME)]
    pub purpose: String,
    /// Full name of the bucket. Left out: made from namespace, cluster, purpose and a hash. Immutable.
    #[schemars(length(max = 63))]
    #[x_kube(validation = rules::BUCKET_NAME)]
    #[x_kube(validation = rules::BUCKET_NAME_ADDRESS)]
    #[x_kube(validation = rules::BUCKET_NAME_RESERVED)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

/// What becomes of data when the cluster is deleted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DeletionPolicy {
    /// The cluster's buckets.
    #[serde(default)]
    pub buckets: BucketDeletion,
}

/// What becomes of the buckets when the cluster is deleted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum BucketDeletion {
    /// They stay, and the same cluster applied again finds them.
    #[default]
    Retain,
    /// Empty ones are deleted; those with data once the annotation `rayward.dev/confirm-bucket-deletion: <uid>`
    /// allows it.
    Delete,
}

fn yes() -> bool {
    true
}

/// The release of Ray that Rayward is tried with.
pub(crate) fn default_ray_version() -> String {
    "2.60.0".into()
}

fn default_instance_type() -> String {
    "t2.medium".into()
}

fn default_instance_types() -> Vec<String> {
    vec![default_instance_type()]
}

fn default_volume_size() -> i32 {
    100
}

fn default_buckets() -> Vec<BucketSpec> {
    ["raw", "features", "training", "models"]
        .map(|purpose| BucketSpec {
            purpose: purpose.into(),
            name: None,
        })
        .into()
}

fn tags_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    bounded_map(rules::TAGS, 256)
}

fn environment_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    bounded_map(rules::ENVIRONMENT, rules::ENVIRONMENT_BYTES)
}

fn ray_start_params_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    bounded_map(rules::RAY_START_PARAMS, rules::RAY_START_PARAMS_BYTES)
}

/// A bounded map of bounded strings: what `schemars` attributes cannot say of a map's values.
fn bounded_map(most: u64, longest: u64) -> schemars::Schema {
    schemars::json_schema!({
        "type": "object",
        "maxProperties": most,
        "additionalProperties": {"type": "string", "maxLength": longest},
    })
}
