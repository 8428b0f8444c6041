//! A cluster as the planner sees it: every rule is kept, every default filled in.

use std::{collections::BTreeMap, net::Ipv4Addr};

use ipnet::Ipv4Net;

use crate::{
    api::{BucketDeletion, ControllerAccess, PublicAddress, VolumeSpec, WakeSpec, WhenUnreachable},
    tags::Tags,
};

use super::Idle;

/// Which cluster, of which installation of Rayward.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterId {
    /// Installation of Rayward; by default the uid of the namespace `kube-system`.
    pub installation: String,
    /// Uid of the `RayCluster`.
    pub uid: String,
    /// Its namespace.
    pub namespace: String,
    /// Uid of its namespace: a re-created namespace adopts no bucket of its predecessor.
    pub namespace_uid: String,
    /// Its name.
    pub name: String,
}

impl ClusterId {
    /// `namespace/name`.
    #[must_use]
    pub fn path(&self) -> String {
        format!("{}/{}", self.namespace, self.name)
    }
}

/// A cluster whose spec keeps every rule that can be checked without AWS, with all defaults filled in.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(clippy::struct_excessive_bools, reason = "each is a wish of its own")]
pub struct ValidCluster {
    /// Which cluster.
    pub id: ClusterId,
    /// `metadata.generation` of the spec.
    pub generation: i64,
    /// Whether the object is being deleted.
    pub deleting: bool,
    /// Whether the user allows buckets that hold data to be deleted.
    pub bucket_deletion_confirmed: bool,
    /// AWS region.
    pub region: String,
    /// Machines are to be stopped.
    pub suspend: bool,
    /// What becomes of it when nobody uses it.
    pub idle: Idle,
    /// How it comes up again.
    pub wake: WakeSpec,
    /// Which address of the head the controller uses.
    pub controller_access: ControllerAccess,
    /// The user's tags.
    pub tags: Tags,
    /// What is on every machine.
    pub software: Software,
    /// Environment variables of Ray on every machine.
    pub environment: BTreeMap<String, String>,
    /// The network.
    pub network: Network,
    /// What is open from outside, SSH included; sorted, without repetition.
    pub ingress: Vec<Ingress>,
    /// Name of the user's EC2 key pair; without it Rayward imports its own.
    pub key_pair: Option<String>,
    /// The head.
    pub head: Head,
    /// The worker groups, in the order of the spec.
    pub groups: Vec<WorkerGroup>,
    /// The buckets, names not yet completed by account (see [`crate::resources::bucket`]).
    pub buckets: Vec<Bucket>,
    /// What becomes of the buckets when the cluster is deleted.
    pub bucket_deletion: BucketDeletion,
}

/// What is on a machine beside its image: with the image it makes a revision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Software {
    /// Release of Ray.
    pub ray_version: String,
    /// Python packages beside it, as pip takes them.
    pub pip_packages: Vec<String>,
    /// What runs as root before Ray starts.
    pub setup_script: Option<String>,
}

/// The network of a cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Network {
    /// One that Rayward makes.
    Own {
        /// Address range of the VPC.
        cidr: Ipv4Net,
        /// At least one.
        subnets: Vec<Subnet>,
    },
    /// One of the user's.
    Existing {
        /// Id of the VPC.
        vpc_id: String,
        /// Ids of the subnets, at least one.
        subnet_ids: Vec<String>,
        /// The user's security groups; empty: Rayward makes one.
        security_group_ids: Vec<String>,
    },
}

/// A subnet that Rayward makes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subnet {
    /// Name in the spec.
    pub name: String,
    /// Address range.
    pub cidr: Ipv4Net,
    /// Machines get public addresses.
    pub public: bool,
    /// Where; `None`: AWS chooses.
    pub availability_zone: Option<String>,
}

/// TCP ports open to an address range.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ingress {
    /// First port.
    pub from_port: u16,
    /// Last port.
    pub to_port: u16,
    /// From where.
    pub cidr: Ipv4Net,
}

/// The head.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// EC2 instance type.
    pub instance_type: String,
    /// Image of every machine of the cluster.
    pub image: ImageRef,
    /// Root disk.
    pub root_volume: VolumeSpec,
    /// Public address.
    pub public_address: PublicAddress,
    /// Name of its subnet (of an existing network, its id); `None`: the first.
    pub subnet: Option<String>,
    /// Flags of `ray start`, without dashes.
    pub ray_start_params: BTreeMap<String, String>,
    /// Name of its IAM instance profile.
    pub iam_instance_profile: Option<String>,
    /// What happens when it runs and its Ray cannot be asked for long.
    pub when_unreachable: WhenUnreachable,
}

/// Where an image's id comes from.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ImageRef {
    /// It is given.
    Id(String),
    /// It is the value of an SSM parameter.
    SsmParameter(String),
}

/// A worker group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkerGroup {
    /// Name.
    pub name: String,
    /// How many machines.
    pub replicas: u32,
    /// EC2 instance types in order of preference; at least one.
    pub instance_types: Vec<String>,
    /// Root disk.
    pub root_volume: VolumeSpec,
    /// Names of the subnets (of an existing network, their ids) in order of preference; empty: all.
    pub subnets: Vec<String>,
    /// Flags of `ray start`, without dashes.
    pub ray_start_params: BTreeMap<String, String>,
    /// Name of the IAM instance profile of its machines.
    pub iam_instance_profile: Option<String>,
}

/// A bucket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bucket {
    /// What it is for.
    pub purpose: String,
    /// The full name that the user gave.
    pub name: Option<String>,
}

/// The address that a head prefers in a subnet: the tenth, since AWS keeps the first four and the last for itself.
#[must_use]
pub fn preferred_head_address(subnet: Ipv4Net) -> Ipv4Addr {
    Ipv4Addr::from(u32::from(subnet.network()) + 10)
}
