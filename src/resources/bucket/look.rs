//! Which buckets are looked at, and when.

use std::time::Duration;

use jiff::Timestamp;

use super::{Bucket, Ownership, Step, name, names, plan::Plans};
use crate::{
    aws::ErrorClass,
    plan::{Action, Finding, Subject},
};

/// How many times in a row a look may fail before a bucket that was all right counts as not known.
const LOOK_PATIENCE: u32 = 10;

impl Plans<'_, '_> {
    /// Whether a bucket can be this cluster's. A listing holds the buckets of all regions, and another cluster's names
    /// may begin as this one's do.
    pub(super) fn may_be_ours(&self, bucket: &Bucket) -> bool {
        let cluster = self.planner.cluster();
        let is_here = bucket.region.as_ref().is_none_or(|region| *region == cluster.region);
        is_here
            && (Ownership::of(bucket, &cluster.id) != Ownership::Unknown
                || self.is_named(&bucket.name)
                || name::may_be_derived(&cluster.id, &cluster.region, self.account, &bucket.name))
    }

    /// Whether the spec or the last status names a bucket.
    fn is_named(&self, name: &str) -> bool {
        let mut wanted = names(self.planner.cluster(), self.account);
        let mut recorded = self.planner.observed().recorded.buckets.iter();
        wanted.any(|(wanted, _)| wanted == name) || recorded.any(|bucket| bucket.name == name)
    }

    /// Looks at a bucket of which this process knows nothing and which is in no hurry. A process that has just started
    /// knows none of them: if it looked at all at once, thousands of calls would go out together.
    pub(super) fn look_in_turn(&mut self, bucket: &Bucket) {
        let next = self
            .turn_after(bucket, self.now)
            .duration_since(self.now)
            .unsigned_abs();
        let interval = self.planner.inputs.limits.bucket_interval;
        // Its turn has just come; some time is left for a pass that is late.
        if next > interval * 3 / 4 {
            self.look(bucket, true);
        } else {
            self.planner.check_in(next);
        }
    }

    pub(super) fn turn_after(&self, bucket: &Bucket, at: Timestamp) -> Timestamp {
        next_turn(&bucket.name, at, self.planner.inputs.limits.bucket_interval)
    }

    /// Plans a look, and says whether it is taken now. One that failed is not waited for when it is only a check of
    /// what was all right (`tolerant`), unless AWS refused it for good or it failed many times. A bucket that only its
    /// name points to holds nothing up: a refusal for good is told.
    pub(super) fn look(&mut self, bucket: &Bucket, tolerant: bool) -> bool {
        let generation = self.planner.cluster().generation;
        let change = self.step(
            &bucket.name,
            Step::Look {
                at: self.now,
                generation,
            },
        );
        let action = Action::Aws(change);
        let refusal = self
            .planner
            .observed()
            .refusals
            .get(&action.key())
            .filter(|refusal| refusal.until > self.now);
        if let Some(refusal) = refusal {
            let is_named = self.is_named(&bucket.name);
            let for_good = refusal.class == ErrorClass::Terminal;
            if for_good && !is_named {
                let what = format!(
                    "may be an earlier bucket of this cluster, by its name: {}",
                    refusal.message
                );
                self.planner.find(Finding::kept(&bucket.name, what));
            }
            let passed_over = if for_good {
                !is_named
            } else {
                tolerant && (!is_named || refusal.times < LOOK_PATIENCE)
            };
            if passed_over {
                self.planner
                    .check_in(refusal.until.duration_since(self.now).unsigned_abs());
                return false;
            }
        }
        let taken = refusal.is_none();
        self.planner.act(Subject::Buckets, action);
        taken
    }
}

/// When a bucket is looked at again after `at`: once an interval, each at its own point of it, so that the looks at
/// many buckets are spread evenly however they began.
pub(super) fn next_turn(bucket: &str, at: Timestamp, interval: Duration) -> Timestamp {
    let interval = i64::try_from(interval.as_millis()).unwrap_or(i64::MAX).max(1);
    let phase = i64::try_from(name::bits(&[bucket]) >> 1).unwrap_or_default() % interval;
    let last = (at.as_millisecond() - phase).div_euclid(interval);
    Timestamp::from_millisecond((last + 1).saturating_mul(interval).saturating_add(phase)).unwrap_or(Timestamp::MAX)
}
