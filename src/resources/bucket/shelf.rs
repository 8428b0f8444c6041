//! Which buckets of the account concern a cluster, and what is remembered of them.

use std::collections::BTreeSet;

use super::{Bucket, name_prefix, names};
use crate::{api::RayClusterStatus, observe::Shelf, tags::CLUSTER_UID, validate::ValidCluster};

/// Which buckets of the account concern a cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Concern {
    /// Those that it asks for and those that its status names.
    pub names: BTreeSet<String>,
    /// Those whose names begin as Rayward makes them for this cluster: it may have asked for them once.
    pub prefix: String,
}

impl Concern {
    /// What concerns `cluster`. Without the account only the names that the user gave are known.
    #[must_use]
    pub fn of(cluster: &ValidCluster, account: Option<&str>, recorded: &RayClusterStatus) -> Self {
        let wanted: Vec<String> = match account {
            Some(account) => names(cluster, account).map(|(name, _)| name).collect(),
            None => cluster
                .buckets
                .iter()
                .filter_map(|bucket| bucket.name.clone())
                .collect(),
        };
        let recorded = recorded.buckets.iter().map(|bucket| bucket.name.clone());
        Self {
            names: wanted.into_iter().chain(recorded).collect(),
            prefix: name_prefix(&cluster.id),
        }
    }
}

/// Puts buckets of a listing where they belong: among the cluster's or the others. The listing says nothing but names
/// and regions; all else is `remembered` from the changes of earlier passes, each folded into it
/// ([`crate::resources::ResourceChange::fold_shelf`]). What was not looked at yet is among the others.
pub fn shelve(
    shelf: &mut Shelf<Bucket>,
    listed: impl IntoIterator<Item = Bucket>,
    remembered: &Shelf<Bucket>,
    cluster_uid: &str,
) {
    for listed in listed {
        let bucket = match remembered.get(&listed.name) {
            Some(known) => Bucket {
                region: listed.region,
                ..known.clone()
            },
            None => listed,
        };
        let is_ours = bucket.tags.get(CLUSTER_UID).is_some_and(|uid| uid == cluster_uid);
        let place = if is_ours { &mut shelf.ours } else { &mut shelf.others };
        place.insert(bucket.name.clone(), bucket);
    }
}
