//! The buckets of a cluster: private, versioned, encrypted. They outlive it unless the user says otherwise.
//!
//! A listing names every bucket of the account and tells nothing else, so what a bucket is (its tags and settings) is
//! known from a look ([`Step::Look`]), which the planner asks for on creation, on spec changes and once an interval.
//! Whose a bucket is, is decided by its tags alone: see [`Ownership`].

mod apply;
mod emptying;
mod look;
mod name;
mod ownership;
mod plan;
mod shelf;

use std::{collections::BTreeMap, fmt};

use jiff::Timestamp;
use serde::Serialize;

pub use apply::list;
pub use name::{PREFIX, bucket_name, name_prefix, names};
pub use ownership::{Ownership, released_by};
pub use plan::{plan, plan_deletion, status};
pub use shelf::shelve;

use super::{Answer, Resource, ResourceChange};
use crate::{
    aws::AwsCall,
    observe::Shelf,
    tags::{CLUSTER_UID, RELEASED_BY, Tags},
};

/// Value of the tag `rayward.dev/role`.
pub const ROLE: &str = "bucket";

/// A bucket of the account, as far as it was seen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bucket {
    /// Its name.
    pub name: String,
    /// Where it is, if the listing said so.
    pub region: Option<String>,
    /// Its tags; empty before the first look.
    pub tags: Tags,
    /// The last look; `None`: nothing is known but that it exists.
    pub look: Option<Look>,
    /// What is in it; looked at only before something is deleted or adopted.
    pub contents: Option<Contents>,
    /// An earlier look found it to be this cluster's, and since then somebody took every tag of ours away.
    pub lost_tags: bool,
}

/// When the tags of a bucket were looked at, and how its settings were.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Look {
    /// When.
    pub at: Timestamp,
    /// For which generation of the spec.
    pub generation: i64,
    /// How its settings were; `None`: it was not this cluster's, so that they were not looked at.
    pub settings: Option<Settings>,
}

/// What Rayward sets on a bucket.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// Older versions of objects are kept.
    pub versioned: bool,
    /// All four ways of making something public are blocked.
    pub public_access_blocked: bool,
    /// New objects are encrypted by default, by whatever key.
    pub encrypted: bool,
}

impl Settings {
    /// Whether all are as they have to be.
    #[must_use]
    pub fn complete(self) -> bool {
        self.versioned && self.public_access_blocked && self.encrypted
    }
}

/// What is in a bucket, and when that was seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Contents {
    /// When.
    pub at: Timestamp,
    /// What.
    pub fill: Fill,
}

/// What is in a bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fill {
    /// No version of an object, no delete marker, no unfinished upload.
    Empty,
    /// Some of these.
    Data,
    /// It is being emptied; so many versions, markers and uploads went with the last call.
    Emptying(usize),
}

impl Resource for Bucket {
    fn id(&self) -> &str {
        &self.name
    }
    fn tags(&self) -> &Tags {
        &self.tags
    }
    fn tags_mut(&mut self) -> &mut Tags {
        &mut self.tags
    }
    fn vpc_id(&self) -> Option<&str> {
        None
    }
}

/// A change on a bucket, or a look at one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct BucketChange {
    /// Name of the bucket.
    pub name: String,
    /// The account that has to own it: every call says so, and S3 refuses it when another account does.
    pub account: String,
    /// The cluster that asks.
    pub cluster_uid: String,
    /// What is done.
    pub step: Step,
}

/// What is done with a bucket.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub enum Step {
    /// Make it, with its tags in the same call.
    Create {
        /// What it is for, in the words of the spec.
        purpose: String,
        /// Tags.
        tags: Tags,
    },
    /// Look at its tags; if it is the cluster's, at its settings too.
    Look {
        /// The time of the plan.
        at: Timestamp,
        /// Generation of the spec.
        generation: i64,
    },
    /// Look at its tags and whether anything is in it.
    LookInside {
        /// The time of the plan.
        at: Timestamp,
    },
    /// Block public access in all four ways.
    BlockPublicAccess,
    /// Keep older versions of objects.
    EnableVersioning,
    /// Encrypt new objects with S3's own keys.
    Encrypt,
    /// Change some tags and keep the others.
    Retag(Retag),
    /// Delete a good deal of what is in it.
    Empty {
        /// The time of the plan.
        at: Timestamp,
    },
    /// Delete it; S3 refuses while anything is in it.
    Delete,
}

/// A change of tags. It is carried out only if the tags, read again just before, still say what the plan relied on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Retag {
    /// Why.
    pub why: Why,
    /// Tags to set.
    pub set: Tags,
    /// Key of a tag to take away.
    pub remove: Option<String>,
}

/// Why tags are changed, and so what they have to say beforehand.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub enum Why {
    /// It is the cluster's and some of its tags are missing.
    Repair,
    /// It was proven to be the cluster's although it has no tag of ours.
    Claim,
    /// The same cluster released it once, and marked it with this value.
    Adopt(String),
    /// The cluster goes, or does not want it any more.
    Release,
}

impl fmt::Display for BucketChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = &self.name;
        match &self.step {
            Step::Create { purpose, .. } => write!(f, "create bucket {name} for {purpose}"),
            Step::Look { .. } => write!(f, "look at bucket {name}"),
            Step::LookInside { .. } => write!(f, "look into bucket {name}"),
            Step::BlockPublicAccess => write!(f, "block public access to bucket {name}"),
            Step::EnableVersioning => write!(f, "enable versioning of bucket {name}"),
            Step::Encrypt => write!(f, "encrypt bucket {name} by default"),
            Step::Retag(retag) => match retag.why {
                Why::Repair => {
                    write!(f, "tag bucket {name} with")?;
                    retag
                        .set
                        .iter()
                        .try_for_each(|(key, value)| write!(f, " {key}={value}"))
                }
                Why::Claim => write!(f, "tag bucket {name}, which lost its tags"),
                Why::Adopt(_) => write!(f, "adopt bucket {name}, which this cluster released"),
                Why::Release => write!(f, "release bucket {name}, which stays with its data"),
            },
            Step::Empty { .. } => write!(f, "empty bucket {name}"),
            Step::Delete => write!(f, "delete bucket {name}"),
        }
    }
}

impl ResourceChange for BucketChange {
    type Item = Bucket;

    fn call(&self) -> AwsCall {
        match self.step {
            Step::Create { .. } => AwsCall::CreateBucket,
            Step::Look { .. } => AwsCall::GetBucketTagging,
            Step::LookInside { .. } => AwsCall::ListObjectVersions,
            Step::BlockPublicAccess => AwsCall::PutPublicAccessBlock,
            Step::EnableVersioning => AwsCall::PutBucketVersioning,
            Step::Encrypt => AwsCall::PutBucketEncryption,
            Step::Retag(_) => AwsCall::PutBucketTagging,
            Step::Empty { .. } => AwsCall::DeleteObjects,
            Step::Delete => AwsCall::DeleteBucket,
        }
    }

    fn subject(&self) -> String {
        self.name.clone()
    }

    fn fold(&self, answer: &Answer, items: &mut BTreeMap<String, Bucket>) {
        if let Some(bucket) = items.get_mut(&self.name) {
            self.fold_settings(bucket);
        }
        if matches!((&self.step, answer), (Step::Delete, Answer::Done) | (_, Answer::Gone)) {
            items.remove(&self.name);
        }
    }

    fn fold_shelf(&self, answer: &Answer, buckets: &mut Shelf<Bucket>) {
        match (&self.step, answer) {
            // Whose it is is known by a look alone: where a bucket exists already, S3 may answer as if it were new.
            (Step::Create { .. }, _) => {
                if buckets.get(&self.name).is_none() {
                    let bucket = Bucket {
                        name: self.name.clone(),
                        ..Bucket::default()
                    };
                    buckets.others.insert(self.name.clone(), bucket);
                }
            }
            (_, Answer::Bucket(seen)) => self.fold_look(seen, buckets),
            _ => {
                self.fold(answer, &mut buckets.ours);
                self.fold(answer, &mut buckets.others);
            }
        }
    }
}

impl BucketChange {
    fn fold_settings(&self, bucket: &mut Bucket) {
        let Some(settings) = bucket.look.as_mut().and_then(|look| look.settings.as_mut()) else {
            return;
        };
        match self.step {
            Step::BlockPublicAccess => settings.public_access_blocked = true,
            Step::EnableVersioning => settings.versioned = true,
            Step::Encrypt => settings.encrypted = true,
            _ => {}
        }
    }

    /// Enters what was seen, and puts the bucket where its tags say that it belongs.
    fn fold_look(&self, seen: &Bucket, buckets: &mut Shelf<Bucket>) {
        let other = buckets.others.remove(&self.name);
        let before = buckets.ours.remove(&self.name).or(other).unwrap_or_default();
        let is_ours = |tags: &Tags| tags.get(CLUSTER_UID) == Some(&self.cluster_uid);
        let untagged = ![CLUSTER_UID, RELEASED_BY]
            .iter()
            .any(|key| seen.tags.contains_key(*key));
        let bucket = Bucket {
            name: self.name.clone(),
            region: before.region,
            tags: seen.tags.clone(),
            look: seen.look.or(before.look),
            contents: seen.contents.or(before.contents),
            lost_tags: untagged && (before.lost_tags || is_ours(&before.tags)),
        };
        let place = if is_ours(&bucket.tags) {
            &mut buckets.ours
        } else {
            &mut buckets.others
        };
        place.insert(self.name.clone(), bucket);
    }
}

#[cfg(test)]
mod tests;
