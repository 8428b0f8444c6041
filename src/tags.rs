//! The tags by which Rayward finds what is its own: everything is created with them, in the call that creates it.

use std::collections::BTreeMap;

use crate::validate::ClusterId;

/// Tags of an AWS resource.
pub type Tags = BTreeMap<String, String>;

/// What the keys of our own tags begin with, but for `Name`.
pub const PREFIX: &str = "rayward.dev/";
/// Which installation of Rayward made it; by default the uid of the namespace `kube-system`.
pub const INSTALLATION: &str = "rayward.dev/installation";
/// Uid of the `RayCluster`, so that a re-created name inherits nothing.
pub const CLUSTER_UID: &str = "rayward.dev/cluster-uid";
/// `namespace/name` of the `RayCluster`.
pub const CLUSTER: &str = "rayward.dev/cluster";
/// What it is in the cluster, for example `vpc`, `head`, `worker`, `bucket`.
pub const ROLE: &str = "rayward.dev/role";
/// Worker group, subnet or bucket purpose.
pub const GROUP: &str = "rayward.dev/group";
/// Number of the launch that made a machine.
pub const LAUNCH: &str = "rayward.dev/launch";
/// What a machine was made from: image and software.
pub const REVISION: &str = "rayward.dev/revision";
/// Root disk with which a machine was made, for example `100GiB-gp3`.
pub const ROOT_VOLUME: &str = "rayward.dev/root-volume";
/// With which flags of Ray, environment and profile a machine was made: a hash of each.
pub const SETTINGS: &str = "rayward.dev/settings";
/// When it was made, RFC 3339.
pub const CREATED_AT: &str = "rayward.dev/created-at";
/// On a bucket that outlived its cluster, in place of the uid: `installation/namespace uid/name` (S3 takes no commas).
pub const RELEASED_BY: &str = "rayward.dev/released-by";
/// The name that the AWS console shows.
pub const NAME: &str = "Name";

/// Tags of a resource of `cluster`: the user's first, so that they can never replace ours.
#[must_use]
pub fn wanted(cluster: &ClusterId, user: &Tags, role: &str, group: Option<&str>) -> Tags {
    let mut tags = user.clone();
    let mut name = format!("rayward-{}-{}-{role}", cluster.namespace, cluster.name);
    if let Some(group) = group {
        name.push('-');
        name.push_str(group);
        tags.insert(GROUP.into(), group.into());
    }
    tags.insert(NAME.into(), name);
    tags.insert(INSTALLATION.into(), cluster.installation.clone());
    tags.insert(CLUSTER_UID.into(), cluster.uid.clone());
    tags.insert(CLUSTER.into(), format!("{}/{}", cluster.namespace, cluster.name));
    tags.insert(ROLE.into(), role.into());
    tags
}

/// Those of `wanted` that `found` lacks or has with another value; `None` when there are none.
#[must_use]
pub fn missing(found: &Tags, wanted: &Tags) -> Option<Tags> {
    // Both are in the order of their keys: one walk through them, since clusters with 1,000 machines are planned.
    let mut found = found.iter().peekable();
    let missing: Tags = wanted
        .iter()
        .filter(|wanted| {
            while found.next_if(|(key, _)| *key < wanted.0).is_some() {}
            found.peek() != Some(wanted)
        })
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect();
    (!missing.is_empty()).then_some(missing)
}
