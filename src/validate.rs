//! `RayCluster -> ValidCluster`: a manifest turned into types that hold what the planner relies on. Pure.

mod cluster;
mod error;
mod idle;
mod software;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use ipnet::Ipv4Net;

pub use cluster::{
    Bucket, ClusterId, Head, ImageRef, Ingress, Network, Software, Subnet, ValidCluster, WorkerGroup,
    preferred_head_address,
};
pub use error::ValidationError;
pub use idle::Idle;
pub use software::{RESERVED_ENVIRONMENT, RESERVED_PARAMS};

use crate::api::{
    BucketSpec, CONFIRM_BUCKET_DELETION, HeadSpec, IdleSpec, MAX_WORKERS, NetworkSpec, RayCluster, RayClusterSpec,
    SubnetSpec, WakeSpec, WorkerGroupSpec, default_ray_version,
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
        idle: idle::idle(&spec.idle)?,
        wake: spec.wake,
        controller_access: spec.network.controller_access,
        tags: spec.tags.clone(),
        software: software::software(spec)?,
        environment: software::environment(&spec.environment)?,
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
        ray_version: default_ray_version(),
        pip_packages: Vec::new(),
        setup_script: None,
        environment: BTreeMap::new(),
        suspend: false,
        idle: IdleSpec::default(),
        wake: WakeSpec::default(),
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
        ray_start_params: software::ray_start_params("head.rayStartParams", &spec.ray_start_params)?,
        iam_instance_profile: spec.iam_instance_profile.clone(),
        when_unreachable: spec.when_unreachable,
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
            ray_start_params: software::ray_start_params(
                &format!("workerGroups[{}].rayStartParams", spec.name),
                &spec.ray_start_params,
            )?,
            iam_instance_profile: spec.iam_instance_profile.clone(),
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
