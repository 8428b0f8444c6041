//! The lab, as a person gets it: each field of a manifest ends in exactly what it says, and in nothing else.

mod example;
mod key_pair;
mod minimal;
mod public_address;
mod quiet;
mod spec_changes;

use std::collections::BTreeMap;

use aws_sdk_ec2::types as ec2;
use kube::ResourceExt;
use rayward::api::RayCluster;

use crate::support::scene::Scene;

/// A cluster with as little as possible: what a test of the network needs.
const SMALL: &str = "
apiVersion: rayward.dev/v1alpha1
kind: RayCluster
metadata: {name: small}
spec: {region: ap-southeast-1, buckets: []}
";

/// The security group with this id.
async fn the_group(scene: &Scene, id: &str) -> ec2::SecurityGroup {
    let groups = scene.aws.ec2().describe_security_groups().group_ids(id).send().await;
    groups.expect("the group").security_groups()[0].clone()
}

/// Rules in one line each, sorted.
fn rules(group: &ec2::SecurityGroup, permissions: &[ec2::IpPermission]) -> Vec<String> {
    let mut rules = Vec::new();
    for permission in permissions {
        let protocol = permission.ip_protocol().unwrap_or_default();
        let ports = permission.from_port().zip(permission.to_port());
        let ports = ports.map(|(from, to)| format!(" {from}-{to}")).unwrap_or_default();
        let ranges = permission.ip_ranges().iter().filter_map(ec2::IpRange::cidr_ip);
        let groups = permission
            .user_id_group_pairs()
            .iter()
            .filter_map(ec2::UserIdGroupPair::group_id);
        let groups = groups.map(|id| if Some(id) == group.group_id() { "itself" } else { id });
        rules.extend(ranges.chain(groups).map(|peer| format!("{protocol}{ports} {peer}")));
    }
    rules.sort_unstable();
    rules
}

fn pairs(tags: &[ec2::Tag]) -> BTreeMap<String, String> {
    let pair = |tag: &ec2::Tag| Some((tag.key()?.to_owned(), tag.value()?.to_owned()));
    tags.iter().filter_map(pair).collect()
}

fn tagged(cluster: &RayCluster, role: &str, group: Option<&str>, tags: &[ec2::Tag]) {
    are_ours(cluster, role, group, &pairs(tags));
}

/// Whether tags say whose a thing is and what for.
fn are_ours(cluster: &RayCluster, role: &str, group: Option<&str>, tags: &BTreeMap<String, String>) {
    let tag = |key: &str| tags.get(key).map(String::as_str);
    let (namespace, name) = (cluster.namespace().expect("a namespace"), cluster.name_any());
    assert_eq!(
        tag("rayward.dev/cluster-uid"),
        cluster.metadata.uid.as_deref(),
        "{role}"
    );
    assert_eq!(
        tag("rayward.dev/cluster"),
        Some(format!("{namespace}/{name}").as_str()),
        "{role}"
    );
    assert_eq!(tag("rayward.dev/role"), Some(role));
    assert_eq!(tag("rayward.dev/group"), group, "{role}");
    assert!(tag("rayward.dev/installation").is_some(), "{role}");
    assert!(tag("rayward.dev/created-at").is_some(), "{role}");
    assert!(
        tag("Name").is_some_and(|found| found.starts_with(&format!("rayward-{namespace}-{name}-"))),
        "{role}"
    );
}
