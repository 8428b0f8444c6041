//! Buckets of the fake.

use std::collections::BTreeMap;

use rayward::{
    aws::ErrorClass,
    resources::{
        Answer,
        bucket::{Bucket, BucketChange, Contents, Fill, Look, Settings, Step, Why},
    },
    tags::{CLUSTER_UID, RELEASED_BY, Tags},
};

/// A bucket as S3 keeps it.
#[derive(Debug, Default)]
pub(super) struct Kept {
    pub(super) tags: Tags,
    settings: Settings,
    holds_data: bool,
}

/// What a listing of all buckets tells: names alone.
pub(super) fn listing(buckets: &BTreeMap<String, Kept>) -> Vec<Bucket> {
    let named = |name: &String| Bucket {
        name: name.clone(),
        ..Bucket::default()
    };
    buckets.keys().map(named).collect()
}

pub(super) fn carry_out(
    buckets: &mut BTreeMap<String, Kept>,
    change: &BucketChange,
) -> Result<Answer, (ErrorClass, &'static str)> {
    let name = &change.name;
    if let Step::Create { tags, .. } = &change.step {
        if buckets.contains_key(name) {
            return Ok(Answer::Done);
        }
        let kept = Kept {
            tags: tags.clone(),
            // What a new bucket has on AWS.
            settings: Settings {
                versioned: false,
                public_access_blocked: true,
                encrypted: true,
            },
            holds_data: false,
        };
        buckets.insert(name.clone(), kept);
        return Ok(Answer::Created(name.clone()));
    }
    let Some(kept) = buckets.get_mut(name) else {
        return match change.step {
            Step::Delete => Ok(Answer::Gone),
            _ => Err((ErrorClass::NotFound, "NoSuchBucket")),
        };
    };
    let is_ours = kept.tags.get(CLUSTER_UID) == Some(&change.cluster_uid);
    let seen = |kept: &Kept, look, contents| {
        Answer::Bucket(Box::new(Bucket {
            name: name.clone(),
            tags: kept.tags.clone(),
            look,
            contents,
            ..Bucket::default()
        }))
    };
    Ok(match &change.step {
        Step::Create { .. } => Answer::Done,
        Step::Look { at, generation } => {
            let settings = is_ours.then_some(kept.settings);
            let (at, generation) = (*at, *generation);
            seen(
                kept,
                Some(Look {
                    at,
                    generation,
                    settings,
                }),
                None,
            )
        }
        Step::LookInside { at } => {
            let fill = if kept.holds_data { Fill::Data } else { Fill::Empty };
            seen(kept, None, Some(Contents { at: *at, fill }))
        }
        Step::BlockPublicAccess => {
            kept.settings.public_access_blocked = true;
            Answer::Done
        }
        Step::EnableVersioning => {
            kept.settings.versioned = true;
            Answer::Done
        }
        Step::Encrypt => {
            kept.settings.encrypted = true;
            Answer::Done
        }
        Step::Retag(retag) => {
            let (uid, released) = (kept.tags.get(CLUSTER_UID), kept.tags.get(RELEASED_BY));
            let as_planned = match &retag.why {
                Why::Repair | Why::Release => is_ours,
                Why::Claim => uid.is_none() && released.is_none(),
                Why::Adopt(by) => uid.is_none() && released == Some(by),
            };
            if as_planned {
                kept.tags.extend(retag.set.clone());
                if let Some(key) = &retag.remove {
                    kept.tags.remove(key);
                }
            }
            seen(kept, None, None)
        }
        Step::Empty { at } => {
            kept.holds_data = false;
            let fill = Fill::Emptying(1);
            seen(kept, None, Some(Contents { at: *at, fill }))
        }
        Step::Delete if kept.holds_data => return Err((ErrorClass::Waiting, "BucketNotEmpty")),
        Step::Delete => {
            buckets.remove(name);
            Answer::Done
        }
    })
}
