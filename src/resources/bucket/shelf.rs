//! Which buckets of the account concern a cluster.

use std::collections::{BTreeMap, BTreeSet};

use super::{Bucket, name_prefix, names};
use crate::{api::RayClusterStatus, tags::CLUSTER_UID, validate::ValidCluster};

/// Picks the buckets that concern `cluster` out of a listing of the account (by name), and puts them into its own and
/// the others. `looked_at` is what earlier passes remember: the listing says nothing but names.
///
/// They are those that it asks for, those that its status names, and those whose names begin as Rayward makes them for
/// this cluster. A bucket that was not looked at yet, or is another's, is among the others.
#[must_use]
pub fn shelve(
    cluster: &ValidCluster,
    account: &str,
    recorded: &RayClusterStatus,
    listed: &BTreeMap<String, Bucket>,
    looked_at: &BTreeMap<String, Bucket>,
) -> (BTreeMap<String, Bucket>, BTreeMap<String, Bucket>) {
    let prefix = name_prefix(&cluster.id);
    let by_prefix = listed
        .range(prefix.clone()..)
        .map(|(name, _)| name)
        .take_while(|name| name.starts_with(&prefix));
    let by_record = recorded
        .buckets
        .iter()
        .map(|bucket| &bucket.name)
        .filter(|name| listed.contains_key(*name));
    let concerning: BTreeSet<String> = names(cluster, account)
        .map(|(name, _)| name)
        .filter(|name| listed.contains_key(name))
        .chain(by_prefix.cloned())
        .chain(by_record.cloned())
        .collect();
    concerning
        .into_iter()
        .filter_map(|name| {
            let listed = listed.get(&name)?;
            let bucket = match looked_at.get(&name) {
                Some(known) => Bucket {
                    region: listed.region.clone(),
                    ..known.clone()
                },
                None => listed.clone(),
            };
            Some((name, bucket))
        })
        .partition(|(_, bucket)| bucket.tags.get(CLUSTER_UID) == Some(&cluster.id.uid))
}
