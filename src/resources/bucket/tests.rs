//! Plans for buckets, carried out on a stand-in for S3 that keeps tags, settings and versions.

mod creation;
mod deletion;
mod looks;
mod neighbours;
mod ownership;

use serde_json::{Value, json};

use super::*;
use crate::{
    observe::{Observed, Source},
    plan::{Inputs, Limits, Plan, Planner},
    resources::Change,
    validate::{Installation, ValidCluster, validate},
};

const ACCOUNT: &str = "123456789012";
const RAW: &str = "rayward-ml-lab-raw-";

/// What S3 holds, in so far as Rayward sees it; answers as the real calls do.
#[derive(Clone, Debug, Default, PartialEq)]
struct FakeS3(BTreeMap<String, Stored>);

#[derive(Clone, Debug, Default, PartialEq)]
struct Stored {
    tags: Tags,
    settings: Settings,
    versions: usize,
}

impl FakeS3 {
    fn listed(&self) -> BTreeMap<String, Bucket> {
        let bucket = |name: &String| Bucket {
            name: name.clone(),
            ..Bucket::default()
        };
        self.0.keys().map(|name| (name.clone(), bucket(name))).collect()
    }

    fn apply(&mut self, change: &BucketChange) -> Answer {
        let stored = self.0.entry(change.name.clone()).or_default();
        let mut seen = Bucket {
            name: change.name.clone(),
            tags: stored.tags.clone(),
            ..Bucket::default()
        };
        let is_ours = stored.tags.get(CLUSTER_UID) == Some(&change.cluster_uid);
        match &change.step {
            Step::Create { tags, .. } => {
                stored.tags.clone_from(tags);
                return Answer::Created(change.name.clone());
            }
            Step::Look { at, generation } => {
                let settings = is_ours.then_some(stored.settings);
                let (at, generation) = (*at, *generation);
                seen.look = Some(Look {
                    at,
                    generation,
                    settings,
                });
            }
            Step::LookInside { at } => seen.contents = Some(contents(*at, stored.versions)),
            Step::BlockPublicAccess => stored.settings.public_access_blocked = true,
            Step::EnableVersioning => stored.settings.versioned = true,
            Step::Encrypt => stored.settings.encrypted = true,
            Step::Retag(retag) => {
                stored.tags.extend(retag.set.clone());
                retag.remove.iter().for_each(|key| _ = stored.tags.remove(key));
                seen.tags.clone_from(&stored.tags);
            }
            Step::Empty { at } => {
                stored.versions = stored.versions.saturating_sub(10_000);
                let fill = match stored.versions {
                    0 => Fill::Empty,
                    _ => Fill::Emptying(10_000),
                };
                seen.contents = Some(Contents { at: *at, fill });
            }
            Step::Delete => {
                assert_eq!(stored.versions, 0, "S3 refuses to delete a bucket with content");
                self.0.remove(&change.name);
                return Answer::Done;
            }
        }
        match change.step {
            Step::BlockPublicAccess | Step::EnableVersioning | Step::Encrypt => Answer::Done,
            _ => Answer::Bucket(Box::new(seen)),
        }
    }
}

fn contents(at: Timestamp, versions: usize) -> Contents {
    let fill = if versions == 0 { Fill::Empty } else { Fill::Data };
    Contents { at, fill }
}

/// One cluster and its passes.
struct World {
    s3: FakeS3,
    cluster: ValidCluster,
    observed: Observed,
    remembered: Shelf<Bucket>,
    now: Timestamp,
}

fn cluster(uid: &str, spec: &Value) -> ValidCluster {
    let object = serde_json::from_value(json!({
        "apiVersion": "rayward.dev/v1alpha1", "kind": "RayCluster", "spec": spec,
        "metadata": {"name": "lab", "namespace": "ml", "uid": uid, "generation": 1},
    }));
    let installation = Installation {
        id: "inst".into(),
        ..Installation::default()
    };
    validate(&object.unwrap(), &installation, "ns-uid").unwrap()
}

fn one_bucket() -> Value {
    json!({"region": "ap-southeast-1", "buckets": [{"purpose": "raw"}]})
}

fn named(name: &str) -> Value {
    json!({"region": "ap-southeast-1", "buckets": [{"purpose": "raw", "name": name}]})
}

impl World {
    fn new(spec: &Value) -> Self {
        let observed = Observed {
            account: Source::Known(ACCOUNT.into()),
            has_finalizer: true,
            ..Observed::default()
        };
        let mut world = Self {
            s3: FakeS3::default(),
            cluster: cluster("uid-1", spec),
            observed,
            remembered: Shelf::default(),
            now: "2026-11-23T12:00:00Z".parse().unwrap(),
        };
        world.sweep();
        world
    }

    /// What the next pass sees.
    fn sweep(&mut self) {
        let buckets = &mut self.observed.inventory.bucket;
        *buckets = Shelf::default();
        buckets.swept = Source::Known(());
        (buckets.ours, buckets.others) = shelve(&self.cluster, self.s3.listed(), &self.remembered);
    }

    fn restart(&mut self) {
        self.observed.recorded.buckets = status(&self.cluster, &self.observed);
        self.observed.recorded.observed_generation = Some(self.cluster.generation);
        self.remembered = Shelf::default();
        self.sweep();
    }

    fn wait(&mut self, seconds: i64) {
        self.now += jiff::SignedDuration::from_secs(seconds);
    }

    fn plan(&self) -> Plan {
        let limits = Limits::default();
        let mut planner = Planner::new(Inputs {
            cluster: &self.cluster,
            observed: &self.observed,
            limits: &limits,
            now: self.now,
        });
        if self.cluster.deleting {
            plan_deletion(&mut planner);
        } else {
            plan(&mut planner);
        }
        planner.plan
    }

    /// Carries plans out until nothing is to be done; what was done, and the last plan. What was folded has to be what
    /// the next sweep shows.
    fn pass(&mut self) -> (Vec<String>, Plan) {
        self.sweep();
        let mut done = Vec::new();
        for _ in 0..20 {
            let plan = self.plan();
            if plan.actions.is_empty() {
                let folded = self.observed.inventory.bucket.clone();
                self.sweep();
                let swept = &self.observed.inventory.bucket;
                assert_eq!((&swept.ours, &swept.others), (&folded.ours, &folded.others));
                return (done, plan);
            }
            for action in plan.actions {
                let crate::plan::Action::Aws(change) = &action else {
                    panic!("{action}")
                };
                let Change::Bucket(bucket) = change else {
                    panic!("{action}")
                };
                let answer = self.s3.apply(bucket);
                self.observed.inventory.fold(change, &answer);
                bucket.fold_shelf(&answer, &mut self.remembered);
                done.push(readable(&action.to_string()));
            }
        }
        panic!("it never ends: {done:#?}");
    }

    fn apply_anew(&mut self, uid: &str) {
        self.cluster = cluster(uid, &one_bucket());
        self.remembered = Shelf::default();
    }

    fn name(&self) -> String {
        names(&self.cluster, ACCOUNT).next().unwrap().0
    }

    fn only(&mut self) -> &mut Stored {
        assert_eq!(self.s3.0.len(), 1);
        self.s3.0.values_mut().next().unwrap()
    }

    fn delete(&mut self, policy: crate::api::BucketDeletion) {
        self.cluster.deleting = true;
        self.cluster.bucket_deletion = policy;
    }
}

/// Without the hash.
fn readable(line: &str) -> String {
    let shorten = |word: &str| match word.strip_prefix(RAW) {
        Some(rest) => format!("RAW{}", &rest[10..]),
        None => word.to_owned(),
    };
    line.split(' ').map(shorten).collect::<Vec<_>>().join(" ")
}

const CREATION: [&str; 5] = [
    "create bucket RAW for raw",
    "look at bucket RAW",
    "block public access to bucket RAW",
    "enable versioning of bucket RAW",
    "encrypt bucket RAW by default",
];

fn found(plan: &Plan) -> Vec<String> {
    plan.findings.iter().map(|finding| finding.what.clone()).collect()
}

fn message(plan: &Plan) -> &str {
    let [waiting] = plan.waiting.as_slice() else {
        panic!("{:?}", plan.waiting)
    };
    &waiting.message
}
