//! `RayCluster -> ValidCluster`: a manifest turned into types that hold what the planner relies on. Pure.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::Ipv4Addr,
};

use ipnet::Ipv4Net;

use crate::{
    api::{
        BucketDeletion, BucketSpec, CONFIRM_BUCKET_DELETION, HeadSpec, MAX_WORKERS, NetworkSpec, PublicAddress,
        RayCluster, RayClusterSpec, SubnetSpec, VolumeSpec, WorkerGroupSpec,
    },
    tags::Tags,
};

/// Address range of a cluster's VPC when the spec says nothing.
pub const DEFAULT_VPC_CIDR: &str = "10.0.0.0/16";
/// Address range of a cluster's subnet `a` when the spec says nothing.
pub const DEFAULT_SUBNET_CIDR: &str = "10.0.1.0/24";
/// Canonical's public parameter of the newest Ubuntu 24.04 LTS for amd64.
pub const DEFAULT_IMAGE_PARAMETER: &str =
    "/aws/service/canonical/ubuntu/server/24.04/stable/current/amd64/hvm/ebs-gp3/ami-id";
/// Port of SSH.
const SSH: u16 = 22;

/// What all clusters of one installation of Rayward share.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Installation {
    /// Its id: by default the uid of the namespace `kube-system`.
    pub id: String,
    /// From where the controller reaches the heads: SSH is open to these ranges (`--egress-cidrs`).
    pub egress_cidrs: Vec<Ipv4Net>,
}

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
    /// The user's tags.
    pub tags: Tags,
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

/// A rule that a manifest breaks. The CRD has every one of these, so that the API server refuses such a manifest;
/// what still comes here was written before the rule was there.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ValidationError {
    /// The object did not come from an API server.
    #[error("metadata.{0} is missing: this object was not read from an API server")]
    NoMetadata(&'static str),
    /// Not an IPv4 range.
    #[error("{field} is {value:?}: write an IPv4 range such as 10.0.0.0/16")]
    NotACidr {
        /// Path of the field.
        field: String,
        /// What it says.
        value: String,
    },
    /// A range with bits beyond its prefix: AWS would keep another text, and it would drift for ever.
    #[error("{field} is {value:?}: write {canonical}, its canonical form")]
    NotCanonical {
        /// Path of the field.
        field: String,
        /// What it says.
        value: String,
        /// What to write.
        canonical: Ipv4Net,
    },
    /// AWS has VPCs and subnets of /16 to /28 only.
    #[error("{field} is {cidr}: write a range from /16 to /28")]
    PrefixLength {
        /// Path of the field.
        field: String,
        /// What it says.
        cidr: Ipv4Net,
    },
    /// A subnet that is not in its VPC.
    #[error("network.subnets[{name}].cidr is {cidr}: write a range inside {vpc}, the range of the VPC")]
    SubnetOutside {
        /// The subnet.
        name: String,
        /// Its range.
        cidr: Ipv4Net,
        /// The VPC's.
        vpc: Ipv4Net,
    },
    /// Two subnets with common addresses.
    #[error("network.subnets[{first}] and network.subnets[{second}] overlap: write ranges without common addresses")]
    SubnetsOverlap {
        /// The one.
        first: String,
        /// The other.
        second: String,
    },
    /// A list that needs an entry.
    #[error("{0} is empty: write at least one, or leave the field out")]
    Empty(String),
    /// The same name twice in a list.
    #[error("{list} names {name:?} twice: write each name once")]
    Duplicate {
        /// Path of the list.
        list: &'static str,
        /// What is there twice.
        name: String,
    },
    /// Neither a port nor a range of ports.
    #[error(
        "network.ingress ports {0:?}: write a port such as 8265 or a range such as 1024-65535, each from 1 to 65535"
    )]
    Ports(String),
    /// A subnet that the spec does not have.
    #[error(
        "{field} names {name:?}: write the name of an entry of network.subnets, or one of network.existing.subnetIds"
    )]
    UnknownSubnet {
        /// Path of the field.
        field: String,
        /// What it says.
        name: String,
    },
    /// An existing network together with fields of one that Rayward makes.
    #[error("network.existing excludes {0}: leave one of them out")]
    ExistingExcludes(&'static str),
    /// Two ways to name an image.
    #[error("head.image has both id and ssmParameter: leave one of them out")]
    TwoImages,
    /// More workers than one head is good for.
    #[error("the worker groups ask for {0} machines: write at most {MAX_WORKERS} replicas in all")]
    TooManyWorkers(u64),
}

/// Turns a manifest into what the planner relies on, all defaults filled in.
///
/// Of an object that is being deleted only what deletion needs is read: no rule, not even a new one, may keep its
/// machines running.
///
/// # Errors
/// The first rule that the manifest breaks, with what to write instead.
pub fn validate(
    object: &RayCluster,
    installation: &Installation,
    namespace_uid: &str,
) -> Result<ValidCluster, ValidationError> {
    let metadata = &object.metadata;
    let present = |value: &Option<String>, field| value.clone().ok_or(ValidationError::NoMetadata(field));
    let uid = present(&metadata.uid, "uid")?;
    let deleting = metadata.deletion_timestamp.is_some();
    let reduced = deleting.then(|| what_deletion_needs(&object.spec));
    let spec = reduced.as_ref().unwrap_or(&object.spec);
    let confirmed = metadata
        .annotations
        .as_ref()
        .and_then(|all| all.get(CONFIRM_BUCKET_DELETION));
    let network = network(&spec.network)?;
    Ok(ValidCluster {
        generation: metadata.generation.unwrap_or_default(),
        deleting,
        bucket_deletion_confirmed: confirmed == Some(&uid),
        region: spec.region.clone(),
        suspend: spec.suspend,
        tags: spec.tags.clone(),
        ingress: ingress(&spec.network, &installation.egress_cidrs)?,
        key_pair: spec.key_pair.name.clone(),
        head: head(&spec.head, &network)?,
        groups: groups(&spec.worker_groups, &network)?,
        buckets: buckets(&spec.buckets)?,
        bucket_deletion: spec.deletion_policy.buckets,
        network,
        id: ClusterId {
            installation: installation.id.clone(),
            uid,
            namespace: present(&metadata.namespace, "namespace")?,
            namespace_uid: namespace_uid.into(),
            name: present(&metadata.name, "name")?,
        },
    })
}

/// The part of a spec on which a deletion depends: where to look, and what becomes of the buckets.
fn what_deletion_needs(spec: &RayClusterSpec) -> RayClusterSpec {
    let mut seen = BTreeSet::new();
    RayClusterSpec {
        region: spec.region.clone(),
        suspend: false,
        tags: BTreeMap::new(),
        network: NetworkSpec {
            existing: spec
                .network
                .existing
                .clone()
                .filter(|existing| !existing.subnet_ids.is_empty()),
            ..NetworkSpec::default()
        },
        key_pair: spec.key_pair.clone(),
        head: HeadSpec::default(),
        worker_groups: Vec::new(),
        buckets: spec
            .buckets
            .iter()
            .filter(|bucket| seen.insert(&bucket.purpose))
            .cloned()
            .collect(),
        deletion_policy: spec.deletion_policy.clone(),
    }
}

fn network(spec: &NetworkSpec) -> Result<Network, ValidationError> {
    if let Some(existing) = &spec.existing {
        let excluded = [
            ("network.vpcCidr", spec.vpc_cidr.is_some()),
            ("network.subnets", spec.subnets.is_some()),
        ];
        if let Some((field, _)) = excluded.into_iter().find(|(_, present)| *present) {
            return Err(ValidationError::ExistingExcludes(field));
        }
        if existing.subnet_ids.is_empty() {
            return Err(ValidationError::Empty("network.existing.subnetIds".into()));
        }
        return Ok(Network::Existing {
            vpc_id: existing.vpc_id.clone(),
            subnet_ids: existing.subnet_ids.clone(),
            security_group_ids: existing.security_group_ids.clone(),
        });
    }
    let range = spec.vpc_cidr.as_deref().unwrap_or(DEFAULT_VPC_CIDR);
    let range = network_cidr("network.vpcCidr", range)?;
    let fallback = || {
        vec![SubnetSpec {
            name: "a".into(),
            cidr: DEFAULT_SUBNET_CIDR.into(),
            public: true,
            availability_zone: None,
        }]
    };
    let subnets = subnets(&spec.subnets.clone().unwrap_or_else(fallback), range)?;
    Ok(Network::Own { cidr: range, subnets })
}

fn subnets(specs: &[SubnetSpec], vpc: Ipv4Net) -> Result<Vec<Subnet>, ValidationError> {
    if specs.is_empty() {
        return Err(ValidationError::Empty("network.subnets".into()));
    }
    unique("network.subnets", specs.iter().map(|subnet| &subnet.name))?;
    let mut subnets: Vec<Subnet> = Vec::new();
    for SubnetSpec {
        name,
        cidr,
        public,
        availability_zone,
    } in specs
    {
        let cidr = network_cidr(&format!("network.subnets[{name}].cidr"), cidr)?;
        if !vpc.contains(&cidr) {
            return Err(ValidationError::SubnetOutside {
                name: name.clone(),
                cidr,
                vpc,
            });
        }
        let overlaps = |other: &&Subnet| other.cidr.contains(&cidr) || cidr.contains(&other.cidr);
        if let Some(other) = subnets.iter().find(overlaps) {
            let (first, second) = (other.name.clone(), name.clone());
            return Err(ValidationError::SubnetsOverlap { first, second });
        }
        subnets.push(Subnet {
            name: name.clone(),
            cidr,
            public: *public,
            availability_zone: availability_zone.clone(),
        });
    }
    Ok(subnets)
}

/// What the spec opens, and SSH for people and for the controller; each once.
fn ingress(spec: &NetworkSpec, egress_cidrs: &[Ipv4Net]) -> Result<Vec<Ingress>, ValidationError> {
    let mut open = BTreeSet::new();
    for rule in &spec.ingress {
        let (from_port, to_port) = ports(&rule.ports)?;
        for value in &rule.cidrs {
            let cidr = cidr(&format!("network.ingress[{}].cidrs", rule.ports), value)?;
            open.insert(Ingress {
                from_port,
                to_port,
                cidr,
            });
        }
    }
    let mut ssh = egress_cidrs.to_vec();
    for value in &spec.admin_cidrs {
        ssh.push(cidr("network.adminCidrs", value)?);
    }
    open.extend(ssh.into_iter().map(|cidr| Ingress {
        from_port: SSH,
        to_port: SSH,
        cidr: cidr.trunc(),
    }));
    Ok(open.into_iter().collect())
}

fn ports(text: &str) -> Result<(u16, u16), ValidationError> {
    let (from, to) = text.split_once('-').unwrap_or((text, text));
    match (from.parse::<u16>(), to.parse::<u16>()) {
        (Ok(from), Ok(to)) if 0 < from && from <= to => Ok((from, to)),
        _ => Err(ValidationError::Ports(text.into())),
    }
}

fn head(spec: &HeadSpec, network: &Network) -> Result<Head, ValidationError> {
    if let Some(name) = &spec.subnet {
        known_subnet("head.subnet".into(), name, network)?;
    }
    let image = match (&spec.image.id, &spec.image.ssm_parameter) {
        (Some(_), Some(_)) => return Err(ValidationError::TwoImages),
        (Some(id), None) => ImageRef::Id(id.clone()),
        (None, Some(parameter)) => ImageRef::SsmParameter(parameter.clone()),
        (None, None) => ImageRef::SsmParameter(DEFAULT_IMAGE_PARAMETER.into()),
    };
    Ok(Head {
        instance_type: spec.instance_type.clone(),
        image,
        root_volume: spec.root_volume.clone(),
        public_address: spec.public_address,
        subnet: spec.subnet.clone(),
    })
}

fn groups(specs: &[WorkerGroupSpec], network: &Network) -> Result<Vec<WorkerGroup>, ValidationError> {
    unique("workerGroups", specs.iter().map(|group| &group.name))?;
    let workers = specs.iter().map(|group| u64::from(group.replicas)).sum();
    if workers > u64::from(MAX_WORKERS) {
        return Err(ValidationError::TooManyWorkers(workers));
    }
    let group = |spec: &WorkerGroupSpec| {
        if spec.instance_types.is_empty() {
            return Err(ValidationError::Empty(format!(
                "workerGroups[{}].instanceTypes",
                spec.name
            )));
        }
        for name in &spec.subnets {
            known_subnet(format!("workerGroups[{}].subnets", spec.name), name, network)?;
        }
        Ok(WorkerGroup {
            name: spec.name.clone(),
            replicas: spec.replicas,
            instance_types: spec.instance_types.clone(),
            root_volume: spec.root_volume.clone(),
            subnets: spec.subnets.clone(),
        })
    };
    specs.iter().map(group).collect()
}

fn buckets(specs: &[BucketSpec]) -> Result<Vec<Bucket>, ValidationError> {
    unique("buckets", specs.iter().map(|bucket| &bucket.purpose))?;
    unique("buckets[].name", specs.iter().filter_map(|bucket| bucket.name.as_ref()))?;
    let bucket = |spec: &BucketSpec| Bucket {
        purpose: spec.purpose.clone(),
        name: spec.name.clone(),
    };
    Ok(specs.iter().map(bucket).collect())
}

fn known_subnet(field: String, name: &str, network: &Network) -> Result<(), ValidationError> {
    let known = match network {
        Network::Own { subnets, .. } => subnets.iter().any(|subnet| subnet.name == name),
        Network::Existing { subnet_ids, .. } => subnet_ids.iter().any(|id| id == name),
    };
    if known {
        Ok(())
    } else {
        let name = name.into();
        Err(ValidationError::UnknownSubnet { field, name })
    }
}

fn unique<'a>(list: &'static str, names: impl Iterator<Item = &'a String>) -> Result<(), ValidationError> {
    let mut seen = BTreeSet::new();
    for name in names {
        if !seen.insert(name) {
            return Err(ValidationError::Duplicate {
                list,
                name: name.clone(),
            });
        }
    }
    Ok(())
}

/// A range of a VPC or subnet.
fn network_cidr(field: &str, value: &str) -> Result<Ipv4Net, ValidationError> {
    let cidr = cidr(field, value)?;
    if (16..=28).contains(&cidr.prefix_len()) {
        Ok(cidr)
    } else {
        Err(ValidationError::PrefixLength {
            field: field.into(),
            cidr,
        })
    }
}

fn cidr(field: &str, value: &str) -> Result<Ipv4Net, ValidationError> {
    let (field, text) = (field.to_owned(), value.to_owned());
    let Ok(cidr) = value.parse::<Ipv4Net>() else {
        return Err(ValidationError::NotACidr { field, value: text });
    };
    // `trunc` alone would let 010.0.0.0/8 and 10.0.0.0/08 pass, if the parser did.
    if cidr.trunc().to_string() == value {
        Ok(cidr)
    } else {
        Err(ValidationError::NotCanonical {
            field,
            value: text,
            canonical: cidr.trunc(),
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn object(spec: &Value) -> RayCluster {
        serde_json::from_value(json!({
            "apiVersion": "rayward.dev/v1alpha1", "kind": "RayCluster", "spec": spec,
            "metadata": {"name": "lab", "namespace": "ml", "uid": "u-1", "generation": 3},
        }))
        .unwrap()
    }

    fn installation() -> Installation {
        Installation {
            id: "inst".into(),
            egress_cidrs: vec!["198.51.100.7/32".parse().unwrap()],
        }
    }

    fn valid(spec: &Value) -> ValidCluster {
        validate(&object(spec), &installation(), "ns-uid").unwrap()
    }

    fn refused(spec: &Value) -> String {
        validate(&object(spec), &installation(), "ns-uid")
            .unwrap_err()
            .to_string()
    }

    #[test]
    fn a_region_alone_is_the_lab_without_workers_and_closed_but_for_the_controller() {
        let cluster = valid(&json!({"region": "ap-southeast-1"}));
        let subnet = Subnet {
            name: "a".into(),
            cidr: "10.0.1.0/24".parse().unwrap(),
            public: true,
            availability_zone: None,
        };
        let network = Network::Own {
            cidr: "10.0.0.0/16".parse().unwrap(),
            subnets: vec![subnet],
        };
        assert_eq!(cluster.network, network);
        let ssh = Ingress {
            from_port: 22,
            to_port: 22,
            cidr: "198.51.100.7/32".parse().unwrap(),
        };
        assert_eq!(cluster.ingress, [ssh]);
        assert_eq!(cluster.head.instance_type, "t2.medium");
        assert_eq!(
            cluster.head.image,
            ImageRef::SsmParameter(DEFAULT_IMAGE_PARAMETER.into())
        );
        assert_eq!(cluster.head.root_volume.size_gib, 100);
        assert!(cluster.groups.is_empty());
        let purposes: Vec<_> = cluster.buckets.iter().map(|bucket| bucket.purpose.as_str()).collect();
        assert_eq!(purposes, ["raw", "features", "training", "models"]);
        assert_eq!(
            (cluster.id.path().as_str(), cluster.id.namespace_uid.as_str()),
            ("ml/lab", "ns-uid")
        );
        assert_eq!(cluster.generation, 3);
    }

    #[test]
    fn ssh_is_open_once_to_each_range_and_other_ports_as_asked() {
        let office = "203.0.113.0/24";
        let cluster = valid(&json!({"region": "r", "network": {
            "adminCidrs": [office, "198.51.100.7/32"],
            "ingress": [{"ports": "22", "cidrs": [office]}, {"ports": "6379-6382", "cidrs": [office]}],
        }}));
        let open: Vec<_> = cluster
            .ingress
            .iter()
            .map(|rule| (rule.from_port, rule.to_port, rule.cidr.to_string()))
            .collect();
        let expected = [
            (22, 22, "198.51.100.7/32"),
            (22, 22, "203.0.113.0/24"),
            (6379, 6382, "203.0.113.0/24"),
        ];
        assert_eq!(open, expected.map(|(from, to, cidr)| (from, to, cidr.to_owned())));
    }

    #[test]
    fn each_broken_rule_says_what_to_write() {
        let subnets = |all: &[(&str, &str)]| {
            let all: Vec<_> = all
                .iter()
                .map(|(name, cidr)| json!({"name": name, "cidr": cidr}))
                .collect();
            json!({"network": {"subnets": all}})
        };
        let existing = json!({"vpcId": "vpc-1", "subnetIds": ["subnet-1"]});
        let cases = [
            (
                json!({"network": {"vpcCidr": "10.0.0.0"}}),
                "network.vpcCidr is \"10.0.0.0\": write an IPv4 range",
            ),
            (
                json!({"network": {"vpcCidr": "10.0.0.1/16"}}),
                "write 10.0.0.0/16, its canonical form",
            ),
            (
                json!({"network": {"vpcCidr": "10.0.0.0/8"}}),
                "write a range from /16 to /28",
            ),
            (
                json!({"network": {"vpcCidr": "10.9.0.0/16"}}),
                "write a range inside 10.9.0.0/16",
            ),
            (json!({"network": {"subnets": []}}), "network.subnets is empty"),
            (
                subnets(&[("a", "10.0.0.0/20"), ("b", "10.0.1.0/24")]),
                "network.subnets[a] and network.subnets[b] overlap",
            ),
            (
                subnets(&[("a", "10.0.0.0/24"), ("a", "10.0.1.0/24")]),
                "network.subnets names \"a\" twice",
            ),
            (
                json!({"network": {"ingress": [{"ports": "90-80", "cidrs": []}]}}),
                "write a port such as 8265",
            ),
            (
                json!({"network": {"ingress": [{"ports": "0", "cidrs": []}]}}),
                "write a port such as 8265",
            ),
            (
                json!({"network": {"adminCidrs": ["::/0"]}}),
                "network.adminCidrs is \"::/0\"",
            ),
            (json!({"head": {"subnet": "b"}}), "head.subnet names \"b\""),
            (
                json!({"head": {"image": {"id": "ami-1", "ssmParameter": "/x"}}}),
                "leave one of them out",
            ),
            (
                json!({"network": {"vpcCidr": "10.0.0.0/16", "existing": existing}}),
                "network.existing excludes network.vpcCidr",
            ),
            (
                json!({"network": {"existing": {"vpcId": "vpc-1", "subnetIds": []}}}),
                "subnetIds is empty",
            ),
            (
                json!({"workerGroups": [{"name": "a", "instanceTypes": []}]}),
                "workerGroups[a].instanceTypes is empty",
            ),
            (
                json!({"workerGroups": [{"name": "a", "replicas": 999}, {"name": "b", "replicas": 2}]}),
                "ask for 1001 machines",
            ),
            (
                json!({"workerGroups": [{"name": "a", "subnets": ["z"]}]}),
                "workerGroups[a].subnets names \"z\"",
            ),
            (
                json!({"buckets": [{"purpose": "raw"}, {"purpose": "raw"}]}),
                "buckets names \"raw\" twice",
            ),
        ];
        for (mut spec, message) in cases {
            spec["region"] = "ap-southeast-1".into();
            let said = refused(&spec);
            assert!(
                said.contains(message),
                "{spec} was refused with {said:?}, not {message:?}"
            );
        }
    }

    #[test]
    fn no_rule_stands_in_the_way_of_a_deletion() {
        let mut object = object(&json!({
            "region": "ap-southeast-1", "network": {"vpcCidr": "nonsense"}, "deletionPolicy": {"buckets": "Delete"},
            "buckets": [{"purpose": "raw"}, {"purpose": "raw"}],
        }));
        object.metadata.deletion_timestamp = Some(serde_json::from_value(json!("2026-01-01T00:00:00Z")).unwrap());
        object.metadata.annotations = Some([(CONFIRM_BUCKET_DELETION.to_owned(), "u-1".to_owned())].into());
        let cluster = validate(&object, &installation(), "ns-uid").unwrap();
        assert!(cluster.deleting && cluster.bucket_deletion_confirmed);
        assert_eq!(cluster.bucket_deletion, BucketDeletion::Delete);
        assert_eq!(cluster.buckets.len(), 1);
    }

    #[test]
    fn only_the_uid_confirms_the_deletion_of_data() {
        let mut object = object(&json!({"region": "ap-southeast-1"}));
        object.metadata.annotations = Some([(CONFIRM_BUCKET_DELETION.to_owned(), "true".to_owned())].into());
        assert!(
            !validate(&object, &installation(), "ns-uid")
                .unwrap()
                .bucket_deletion_confirmed
        );
    }
}
