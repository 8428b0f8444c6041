//! What is done about the buckets of a cluster. Pure.

use std::{collections::BTreeMap, time::Duration};

use jiff::Timestamp;

use super::{Bucket, BucketChange, Contents, Fill, Ownership, ROLE, Retag, Step, Why, names, released_by};
use crate::{
    api::{BucketDeletion, BucketStatus, CONFIRM_BUCKET_DELETION},
    observe::{Observed, Source},
    plan::{Finding, Planner, Reason, Subject},
    resources::{Change, Resource},
    tags::{self, CLUSTER_UID, RELEASED_BY, Tags},
    validate::{Bucket as Wanted, ValidCluster},
};

/// How often another look is taken at a bucket that somebody else has: a person may be handing it over.
const BLOCKED_LOOK: Duration = Duration::from_mins(5);
/// How long a pass rests between two goes at a bucket with very much in it, so that its status is written.
const EMPTYING_REST: Duration = Duration::from_secs(1);

/// The buckets that a cluster asks for, for its status. After a restart a bucket stays as the last status has it until
/// it was looked at.
#[must_use]
pub fn status(cluster: &ValidCluster, observed: &Observed) -> Vec<BucketStatus> {
    let Source::Known(account) = &observed.account else {
        return observed.recorded.buckets.clone();
    };
    let status = |(name, wanted): (String, &Wanted)| {
        let ready = match observed.inventory.bucket.get(&name) {
            Some(bucket) => match Ownership::of(bucket, &cluster.id) {
                Ownership::Ours => settings_of(bucket).is_some_and(super::Settings::complete),
                Ownership::Unknown => was_ready(observed, &name),
                _ => false,
            },
            None => observed.inventory.bucket.swept.known().is_none() && was_ready(observed, &name),
        };
        let purpose = wanted.purpose.clone();
        BucketStatus { purpose, name, ready }
    };
    names(cluster, account).map(status).collect()
}

fn settings_of(bucket: &Bucket) -> Option<super::Settings> {
    bucket.look.and_then(|look| look.settings)
}

/// Whether the last status of this cluster says that the bucket was this cluster's and as it has to be.
fn was_ready(observed: &Observed, name: &str) -> bool {
    observed
        .recorded
        .buckets
        .iter()
        .any(|bucket| bucket.name == name && bucket.ready)
}

/// Plans the buckets that the cluster asks for, and releases those that it does not ask for any more.
pub fn plan(planner: &mut Planner<'_>) {
    let cluster = planner.cluster();
    let Some(plans) = &mut Plans::begin(planner, !cluster.buckets.is_empty()) else {
        return;
    };
    let wanted: BTreeMap<String, &Wanted> = names(cluster, plans.account).collect();
    let shelf = &plans.planner.observed().inventory.bucket;
    for (name, wanted) in &wanted {
        match shelf.get(name) {
            Some(bucket) => plans.keep(bucket, wanted),
            None => plans.create(name, wanted),
        }
    }
    for bucket in shelf.all().filter(|bucket| !wanted.contains_key(&bucket.name)) {
        if !plans.may_be_ours(bucket) {
            continue;
        }
        match Ownership::of(bucket, &cluster.id) {
            Ownership::Unknown => plans.look_in_turn(bucket),
            Ownership::Ours => plans.release(bucket),
            _ => {}
        }
    }
}

/// Plans what becomes of the buckets of a cluster that goes: released with all that is in them, or deleted. What
/// carries no tag of this cluster stays as it is.
pub fn plan_deletion(planner: &mut Planner<'_>) {
    let cluster = planner.cluster();
    let Some(plans) = &mut Plans::begin(planner, true) else {
        return;
    };
    for bucket in plans.planner.observed().inventory.bucket.all() {
        if !plans.may_be_ours(bucket) {
            continue;
        }
        match (Ownership::of(bucket, &cluster.id), cluster.bucket_deletion) {
            (Ownership::Unknown, _) => _ = plans.look(bucket, false),
            (Ownership::Ours, BucketDeletion::Retain) => plans.release(bucket),
            (Ownership::Ours, BucketDeletion::Delete) => plans.delete(bucket),
            (Ownership::Untagged, _) if bucket.lost_tags || was_ready(plans.planner.observed(), &bucket.name) => {
                plans
                    .planner
                    .find(Finding::kept(&bucket.name, "has lost its tags and so is left alone"));
            }
            _ => {}
        }
    }
}

/// The plan of a cluster's buckets in the making.
pub(super) struct Plans<'p, 'a> {
    pub(super) planner: &'p mut Planner<'a>,
    pub(super) account: &'a str,
    pub(super) now: Timestamp,
}

impl<'p, 'a> Plans<'p, 'a> {
    /// Says what is missing, if `needed`, when account or listing are not known.
    fn begin(planner: &'p mut Planner<'a>, needed: bool) -> Option<Self> {
        let now = planner.inputs.now;
        let observed = planner.observed();
        let missing = match (&observed.account, &observed.inventory.bucket.swept) {
            (Source::Known(account), Source::Known(())) => return Some(Self { planner, account, now }),
            (Source::Unknown(why), _) => ("the AWS account", why),
            (_, Source::Unknown(why)) => ("the list of buckets", why),
        };
        if needed {
            let (what, why) = missing;
            planner.wait_for_look(Subject::Buckets, what, why);
        }
        None
    }

    pub(super) fn step(&self, name: &str, step: Step) -> Change {
        Change::Bucket(BucketChange {
            name: name.into(),
            account: self.account.into(),
            cluster_uid: self.planner.cluster().id.uid.clone(),
            step,
        })
    }

    fn change(&mut self, name: &str, step: Step) {
        let change = self.step(name, step);
        self.planner.change(Subject::Buckets, change);
    }

    fn create(&mut self, name: &str, wanted: &Wanted) {
        if was_ready(self.planner.observed(), name) {
            self.planner
                .find(Finding::repaired(name, "was deleted, with all that was in it"));
        }
        let tags = self.planner.creation_tags(ROLE, Some(&wanted.purpose));
        let purpose = wanted.purpose.clone();
        self.change(name, Step::Create { purpose, tags });
    }

    /// A bucket that has a name which the cluster asks for.
    fn keep(&mut self, bucket: &'a Bucket, wanted: &Wanted) {
        let cluster = self.planner.cluster();
        let name = &bucket.name;
        if let Some(region) = bucket.region.as_ref().filter(|region| **region != cluster.region) {
            let message = format!(
                "bucket {name} exists in {region}, not in {}: give another name for the purpose {}",
                cluster.region, wanted.purpose
            );
            return self.planner.wait(Subject::Buckets, Reason::InvalidReference, message);
        }
        match Ownership::of(bucket, &cluster.id) {
            Ownership::Unknown if self.was_ready_as_asked(name) => self.look_in_turn(bucket),
            Ownership::Unknown => _ = self.look(bucket, false),
            Ownership::Ours => self.settle(bucket, wanted),
            Ownership::ReleasedByUs => {
                let why = Why::Adopt(released_by(&cluster.id));
                let set = self.planner.tags(ROLE, Some(&wanted.purpose));
                let remove = Some(RELEASED_BY.into());
                self.change(name, Step::Retag(Retag { why, set, remove }));
            }
            Ownership::Others(whose) => self.blocked(bucket, wanted, &whose),
            Ownership::Untagged => self.claim(bucket, wanted),
        }
    }

    /// A bucket of this cluster: looks at it when its time has come, and puts right what differs.
    fn settle(&mut self, bucket: &'a Bucket, wanted: &Wanted) {
        let Some((look, settings)) = bucket.look.and_then(|look| Some((look, look.settings?))) else {
            self.look(bucket, was_ready(self.planner.observed(), &bucket.name));
            return;
        };
        let due = self.turn_after(bucket, look.at);
        let stale = due <= self.now || look.generation < self.planner.cluster().generation;
        // What the look will find is not guessed at; if there can be none now, the last one has to do.
        if stale && self.look(bucket, true) {
            return;
        }
        if due > self.now {
            self.planner.check_in(due.duration_since(self.now).unsigned_abs());
        }
        // A new bucket that is being set up has not drifted.
        let told = self.planner.is_drift(&bucket.tags);
        let differing = [
            (
                settings.public_access_blocked,
                "public access was not blocked",
                Step::BlockPublicAccess,
            ),
            (settings.versioned, "versioning was off", Step::EnableVersioning),
            (settings.encrypted, "default encryption was missing", Step::Encrypt),
        ];
        for (_, what, step) in differing.into_iter().filter(|(right, ..)| !right) {
            if told {
                self.planner.find(Finding::repaired(&bucket.name, what));
            }
            self.change(&bucket.name, step);
        }
        if let Some(missing) = tags::missing(bucket.tags(), &self.planner.tags(ROLE, Some(&wanted.purpose))) {
            self.retag(bucket, Why::Repair, missing);
        }
    }

    fn retag(&mut self, bucket: &Bucket, why: Why, set: Tags) {
        if matches!(why, Why::Claim) || self.planner.is_drift(&bucket.tags) {
            let keys: Vec<&str> = set.keys().map(String::as_str).collect();
            let what = format!("tags were missing or changed: {}", keys.join(", "));
            self.planner.find(Finding::repaired(&bucket.name, what));
        }
        self.change(&bucket.name, Step::Retag(Retag { why, set, remove: None }));
    }

    /// A bucket that no tag says to be anyone's. A name that the user gave proves nothing, so it is left alone. A name
    /// that Rayward made holds a hash of installation, account, region, namespace, cluster and purpose: nobody else
    /// would make it. With it, two things prove that the bucket is this cluster's: that this very cluster had it
    /// before (its tags were taken away since), or that nothing is in it, so that nobody can lose anything (a bucket
    /// whose making was cut short).
    fn claim(&mut self, bucket: &'a Bucket, wanted: &Wanted) {
        let derived = wanted.name.is_none();
        let had = bucket.lost_tags || was_ready(self.planner.observed(), &bucket.name);
        let set = self.planner.tags(ROLE, Some(&wanted.purpose));
        match bucket
            .contents
            .filter(|contents| self.is_fresh(contents))
            .map(|contents| contents.fill)
        {
            _ if derived && had => self.retag(bucket, Why::Claim, set),
            Some(Fill::Empty) if derived => {
                self.change(
                    &bucket.name,
                    Step::Retag(Retag {
                        why: Why::Claim,
                        set,
                        remove: None,
                    }),
                );
            }
            None if derived && bucket.contents.is_none() => {
                self.change(&bucket.name, Step::LookInside { at: self.now });
            }
            _ if had => self.blocked(bucket, wanted, "was this cluster's and has lost its tags"),
            _ => self.blocked(bucket, wanted, "exists and has no tag that says whose it is"),
        }
    }

    /// A bucket that cannot be used: says why and how a person can hand it over, and looks again from time to time.
    fn blocked(&mut self, bucket: &'a Bucket, wanted: &Wanted, why: &str) {
        let cluster = self.planner.cluster();
        let message = format!(
            "bucket {} {why}: give another name for the purpose {}, or hand the bucket over by tagging it \
             {RELEASED_BY}={} and without {CLUSTER_UID}",
            bucket.name,
            wanted.purpose,
            released_by(&cluster.id),
        );
        self.planner.wait(Subject::Buckets, Reason::InvalidReference, message);
        let interval = BLOCKED_LOOK.min(self.planner.inputs.limits.bucket_interval);
        let seen = bucket
            .look
            .map(|look| look.at)
            .max(bucket.contents.map(|contents| contents.at));
        let age = seen.map_or(interval, |seen| self.now.duration_since(seen).unsigned_abs());
        if age >= interval || bucket.look.is_some_and(|look| look.generation < cluster.generation) {
            self.look(bucket, true);
        } else {
            self.planner.check_in(interval.saturating_sub(age));
        }
    }

    /// Whether the last status says that the bucket was all right, and the spec is still the one of then.
    fn was_ready_as_asked(&self, name: &str) -> bool {
        let observed = self.planner.observed();
        was_ready(observed, name) && observed.recorded.observed_generation == Some(self.planner.cluster().generation)
    }

    fn release(&mut self, bucket: &Bucket) {
        let set = Tags::from([(RELEASED_BY.into(), released_by(&self.planner.cluster().id))]);
        let remove = Some(CLUSTER_UID.into());
        self.change(
            &bucket.name,
            Step::Retag(Retag {
                why: Why::Release,
                set,
                remove,
            }),
        );
    }

    /// A bucket of this cluster that is to go: looked into just before, emptied only when a person confirmed it.
    fn delete(&mut self, bucket: &Bucket) {
        let name = &bucket.name;
        let confirmed = self.planner.cluster().bucket_deletion_confirmed;
        let fresh = bucket.contents.is_some_and(|contents| self.is_fresh(&contents));
        match bucket.contents.map(|contents| (contents.fill, contents.at)) {
            Some((Fill::Empty, _)) if fresh => self.change(name, Step::Delete),
            Some((Fill::Emptying(gone), at)) if confirmed && self.now < rested(at) => {
                let message = format!("bucket {name} is being emptied; {gone} versions and uploads went just now");
                self.planner.wait(Subject::Buckets, Reason::InTransition, message);
                self.planner.check_in(EMPTYING_REST);
            }
            Some((Fill::Data | Fill::Emptying(_), _)) if confirmed => self.change(name, Step::Empty { at: self.now }),
            Some((Fill::Data | Fill::Emptying(_), _)) => {
                let message = format!(
                    "bucket {name} holds data: take it out, set spec.deletionPolicy.buckets to Retain, or have the \
                     data deleted by annotating the RayCluster with {CONFIRM_BUCKET_DELETION}={}",
                    self.planner.cluster().id.uid
                );
                self.planner.wait(Subject::Buckets, Reason::BucketHoldsData, message);
                self.planner.check_in(self.planner.inputs.limits.consistency_window);
                if !fresh {
                    self.change(name, Step::LookInside { at: self.now });
                }
            }
            _ => self.change(name, Step::LookInside { at: self.now }),
        }
    }

    fn is_fresh(&self, contents: &Contents) -> bool {
        self.now.duration_since(contents.at).unsigned_abs() < self.planner.inputs.limits.consistency_window
    }
}

fn rested(at: Timestamp) -> Timestamp {
    at.saturating_add(jiff::SignedDuration::try_from(EMPTYING_REST).unwrap_or_default())
        .unwrap_or(at)
}
