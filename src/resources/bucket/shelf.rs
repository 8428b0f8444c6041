//! What is known of the buckets that concern a cluster.

use std::collections::BTreeMap;

use super::Bucket;
use crate::{observe::Shelf, tags::CLUSTER_UID, validate::ValidCluster};

/// Completes the `listed` buckets that concern `cluster` (by name) with what earlier looks at them tell, and puts them
/// into its own and the others. The listing says nothing but names and regions, so that a bucket that was not looked
/// at yet is among the others.
#[must_use]
pub fn shelve(
    cluster: &ValidCluster,
    listed: BTreeMap<String, Bucket>,
    looked_at: &Shelf<Bucket>,
) -> (BTreeMap<String, Bucket>, BTreeMap<String, Bucket>) {
    listed
        .into_iter()
        .map(|(name, listed)| match looked_at.get(&name) {
            Some(known) => {
                let region = listed.region;
                (
                    name,
                    Bucket {
                        region,
                        ..known.clone()
                    },
                )
            }
            None => (name, listed),
        })
        .partition(|(_, bucket)| bucket.tags.get(CLUSTER_UID) == Some(&cluster.id.uid))
}
