//! Whose a bucket is, by its tags.

use super::Bucket;
use crate::{
    tags::{CLUSTER, CLUSTER_UID, INSTALLATION, RELEASED_BY},
    validate::ClusterId,
};

/// Whose a bucket is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ownership {
    /// It was not looked at yet.
    Unknown,
    /// This cluster's.
    Ours,
    /// This cluster released it: the same installation, namespace and name.
    ReleasedByUs,
    /// Somebody else's, in words for a person.
    Others(String),
    /// No tag of ours says whose.
    Untagged,
}

impl Ownership {
    /// Whose `bucket` is, as `cluster` sees it.
    #[must_use]
    pub fn of(bucket: &Bucket, cluster: &ClusterId) -> Self {
        if bucket.look.is_none() && bucket.contents.is_none() {
            return Self::Unknown;
        }
        let tag = |key: &str| bucket.tags.get(key).map(String::as_str);
        match (tag(CLUSTER_UID), tag(RELEASED_BY)) {
            (Some(uid), _) if uid == cluster.uid => Self::Ours,
            (Some(uid), _) => Self::Others(format!(
                "belongs to the RayCluster {} (uid {uid}) of the installation {}",
                tag(CLUSTER).unwrap_or("of unknown name"),
                tag(INSTALLATION).unwrap_or("of unknown name"),
            )),
            (None, Some(by)) if by == released_by(cluster) => Self::ReleasedByUs,
            (None, Some(by)) => Self::Others(format!("was released by {by} (installation/namespace uid/name)")),
            (None, None) => Self::Untagged,
        }
    }
}

/// Value of the tag `rayward.dev/released-by` on a bucket that `cluster` releases: installation, uid of the namespace
/// and name, with slashes between, since S3 takes no commas in tags.
#[must_use]
pub fn released_by(cluster: &ClusterId) -> String {
    format!("{}/{}/{}", cluster.installation, cluster.namespace_uid, cluster.name)
}
