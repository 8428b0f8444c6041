use serde_json::{Value, json};

use super::*;
use crate::{
    api::RayClusterStatus,
    aws::ErrorClass,
    observe::{Ledger, Observed, Refusal, Source},
    plan::{Inputs, Limits, Plan, Planner},
    resources::{Change, Inventory},
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
            inventory: Inventory::default(),
            image: Source::Unknown("not asked".into()),
            key: Source::Unknown("not asked".into()),
            ledger: Ledger::default(),
            recorded: RayClusterStatus::default(),
            stopped: None,
            has_finalizer: true,
            predecessors: Vec::new(),
            exhausted: BTreeMap::new(),
            refusals: BTreeMap::new(),
            clean_sweeps: 0,
            sweep_age: std::time::Duration::ZERO,
            machine_sweep_age: std::time::Duration::ZERO,
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
        let mut planner = Planner {
            inputs: Inputs {
                cluster: &self.cluster,
                observed: &self.observed,
                limits: &Limits::default(),
                now: self.now,
            },
            plan: Plan::default(),
        };
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

#[test]
fn a_bucket_is_made_looked_at_and_set_up_without_talk_of_drift() {
    let mut world = World::new(&one_bucket());
    let (done, plan) = world.pass();
    assert_eq!(done, CREATION);
    assert!(plan.is_converged() && plan.findings.is_empty(), "{plan:?}");
    assert!(world.only().settings.complete());
    assert!(world.only().tags.contains_key(crate::tags::CREATED_AT));
    let status = status(&world.cluster, &world.observed);
    assert!(status[0].ready && status[0].purpose == "raw", "{status:?}");
    assert_eq!(world.pass().0, [""; 0], "a quiet pass does nothing");
}

#[test]
fn the_four_of_the_lab_are_made_side_by_side() {
    let world = World::new(&json!({"region": "ap-southeast-1"}));
    let creations: Vec<String> = world.plan().actions.iter().map(ToString::to_string).collect();
    assert_eq!(creations.len(), 4);
    assert!(
        creations
            .iter()
            .all(|line| line.starts_with("create bucket rayward-ml-lab-")),
        "{creations:?}"
    );
}

#[test]
fn drift_is_seen_within_the_interval_and_told() {
    let mut world = World::new(&one_bucket());
    world.pass();
    world.only().settings = Settings::default();
    world.only().tags.remove(crate::tags::ROLE);
    world.only().tags.insert("team".into(), "blue".into());
    let next = world.plan().next_check.unwrap();
    assert!(next <= Limits::default().bucket_interval);
    world.wait(3600);
    world.sweep();
    let look = world.plan();
    assert_eq!(
        look.actions.len(),
        1,
        "nothing is put right by what was seen an hour ago"
    );
    let (done, _) = world.pass();
    assert_eq!(done[0], "look at bucket RAW");
    assert_eq!(done[1..4], CREATION[2..]);
    assert_eq!(done[4..], ["tag bucket RAW with rayward.dev/role=bucket"]);
    assert!(world.only().settings.complete());
    assert_eq!(world.only().tags["team"], "blue");
}

#[test]
fn what_drifted_is_a_finding_until_it_is_put_right() {
    let mut world = World::new(&one_bucket());
    world.pass();
    world.observed.recorded.observed_generation = Some(1);
    world.observed.recorded.phase = Some(crate::api::Phase::Ready);
    world.wait(3600);
    for bucket in world.observed.inventory.bucket.ours.values_mut() {
        let settings = Settings::default();
        bucket.look = Some(Look {
            at: world.now,
            generation: 1,
            settings: Some(settings),
        });
    }
    assert_eq!(
        found(&world.plan()),
        [
            "public access was not blocked",
            "versioning was off",
            "default encryption was missing"
        ]
    );
}

#[test]
fn a_changed_spec_is_followed_by_a_look_at_once() {
    let mut world = World::new(&one_bucket());
    world.pass();
    world.cluster.generation = 2;
    world.cluster.tags.insert("team".into(), "blue".into());
    assert_eq!(world.pass().0, ["look at bucket RAW", "tag bucket RAW with team=blue"]);
}

#[test]
fn looks_are_spread_over_the_interval_and_each_comes_once_in_it() {
    let at: Timestamp = "2026-11-23T12:00:00Z".parse().unwrap();
    let interval = std::time::Duration::from_hours(1);
    let mut minutes = std::collections::BTreeSet::new();
    for number in 0..400 {
        let name = format!("bucket-{number}");
        let next = plan::next_turn(&name, at, interval);
        let wait = next.duration_since(at);
        assert!(wait.is_positive() && wait.unsigned_abs() <= interval, "{wait}");
        let after = plan::next_turn(&name, next, interval);
        assert_eq!(after.duration_since(next).unsigned_abs(), interval);
        minutes.insert(wait.as_mins());
    }
    assert!(minutes.len() > 55, "{minutes:?}");
}

#[test]
fn a_failed_check_is_passed_over_and_a_refused_one_is_told() {
    let mut world = World::new(&one_bucket());
    world.pass();
    world.wait(3600);
    let refuse = |class, times, until| Refusal {
        class,
        kind: crate::resources::Kind::Bucket,
        code: "Code".into(),
        message: "refused".into(),
        times,
        until,
    };
    let key = world.plan().actions[0].key();
    let until = world.now + jiff::SignedDuration::from_secs(60);
    for (class, times, told) in [
        (ErrorClass::Throttled, 1, false),
        (ErrorClass::Throttled, 10, true),
        (ErrorClass::Terminal, 1, true),
    ] {
        world.observed.refusals = BTreeMap::from([(key.clone(), refuse(class, times, until))]);
        let plan = world.plan();
        assert_eq!(
            (plan.actions.len(), plan.waiting.len()),
            (0, usize::from(told)),
            "{class:?} {times}"
        );
    }
}

#[test]
fn after_a_restart_a_bucket_stays_ready_and_is_looked_at_when_its_turn_comes() {
    let mut world = World::new(&one_bucket());
    world.pass();
    world.now = plan::next_turn(&world.name(), world.now, Limits::default().bucket_interval);
    world.wait(1_000);
    world.restart();
    let (done, plan) = world.pass();
    assert_eq!(
        (done.len(), plan.next_check),
        (0, Some(std::time::Duration::from_secs(2_600)))
    );
    assert!(plan.is_converged() && status(&world.cluster, &world.observed)[0].ready);
    world.wait(2_600);
    assert_eq!(world.pass().0, ["look at bucket RAW"]);
    assert_eq!(world.plan().next_check, Some(Limits::default().bucket_interval));

    // What the spec says now is not what was all right.
    world.restart();
    world.wait(1_000);
    world.cluster.generation += 1;
    assert_eq!(world.pass().0, ["look at bucket RAW"]);
}

#[test]
fn a_bucket_that_vanished_is_made_again_and_its_loss_is_told() {
    let mut world = World::new(&one_bucket());
    world.pass();
    world.restart();
    world.s3.0.clear();
    world.sweep();
    assert_eq!(found(&world.plan()), ["was deleted, with all that was in it"]);
    assert_eq!(world.pass().0, CREATION);
}

#[test]
fn nothing_is_done_while_account_or_listing_are_unknown() {
    let mut world = World::new(&one_bucket());
    world.observed.account = Source::Unknown("no credentials".into());
    assert_eq!(message(&world.plan()), "the AWS account is not known: no credentials");
    world.observed.account = Source::Known(ACCOUNT.into());
    world.observed.inventory.bucket.swept = Source::Unknown("time-out".into());
    assert!(world.plan().actions.is_empty());
    assert_eq!(message(&world.plan()), "the list of buckets is not known: time-out");
}

#[test]
fn a_kept_bucket_is_released_and_found_again_by_the_same_name_only() {
    let mut world = World::new(&one_bucket());
    world.pass();
    world.only().versions = 7;
    world.only().tags.insert("team".into(), "blue".into());
    world.delete(crate::api::BucketDeletion::Retain);
    assert_eq!(world.pass().0, ["release bucket RAW, which stays with its data"]);
    assert!(world.observed.inventory.bucket.ours.is_empty());
    let tags = world.only().tags.clone();
    assert_eq!(tags[RELEASED_BY], "inst/ns-uid/lab");
    assert_eq!((tags.get(CLUSTER_UID), tags["team"].as_str()), (None, "blue"));
    assert_eq!(world.pass().0, [""; 0]);

    // The same name in a namespace that was made anew.
    world.apply_anew("uid-2");
    world.cluster.id.namespace_uid = "ns-uid-2".into();
    let (done, plan) = world.pass();
    assert_eq!(done, ["look at bucket RAW"]);
    assert!(message(&plan).contains("was released by inst/ns-uid/lab"), "{plan:?}");
    assert!(
        message(&plan).contains("rayward.dev/released-by=inst/ns-uid-2/lab"),
        "{plan:?}"
    );

    world.apply_anew("uid-2");
    let adoption = [
        "look at bucket RAW",
        "adopt bucket RAW, which this cluster released",
        "look at bucket RAW",
    ];
    assert_eq!(world.pass().0, adoption);
    let stored = world.only();
    assert_eq!((stored.tags[CLUSTER_UID].as_str(), stored.versions), ("uid-2", 7));
    assert!(!stored.tags.contains_key(RELEASED_BY));
}

#[test]
fn anothers_bucket_is_never_touched_and_looked_at_again_for_a_hand_over() {
    let mut world = World::new(&named("data"));
    let theirs = Tags::from([
        (CLUSTER_UID.into(), "uid-9".into()),
        (crate::tags::CLUSTER.into(), "ml/other".into()),
        (crate::tags::INSTALLATION.into(), "inst".into()),
    ]);
    world.s3.0.insert(
        "data".into(),
        Stored {
            tags: theirs,
            ..Stored::default()
        },
    );
    let before = world.s3.clone();
    let (done, plan) = world.pass();
    assert_eq!(done, ["look at bucket data"]);
    assert!(
        message(&plan).contains("belongs to the RayCluster ml/other (uid uid-9)"),
        "{plan:?}"
    );
    assert!(!status(&world.cluster, &world.observed)[0].ready);
    world.wait(300);
    assert_eq!(world.pass().0, ["look at bucket data"]);
    world.delete(crate::api::BucketDeletion::Delete);
    world.cluster.bucket_deletion_confirmed = true;
    assert_eq!(world.pass().0, [""; 0]);
    assert_eq!(world.s3, before);
}

#[test]
fn an_untagged_bucket_of_a_given_name_is_never_claimed() {
    let mut world = World::new(&named("data"));
    world.s3.0.insert("data".into(), Stored::default());
    let (done, plan) = world.pass();
    assert_eq!(done, ["look at bucket data"]);
    assert!(message(&plan).contains("has no tag that says whose it is"), "{plan:?}");
    world.only().tags.insert(RELEASED_BY.into(), "inst/ns-uid/lab".into());
    world.wait(300);
    assert_eq!(world.pass().0[1], "adopt bucket data, which this cluster released");
}

#[test]
fn a_creation_that_was_cut_short_is_claimed_only_while_nothing_is_in_it() {
    let name = names(&cluster("uid-1", &one_bucket()), ACCOUNT).next().unwrap().0;
    for (versions, claimed) in [(0, true), (1, false)] {
        let mut world = World::new(&one_bucket());
        world.s3.0.insert(
            name.clone(),
            Stored {
                versions,
                ..Stored::default()
            },
        );
        let (done, plan) = world.pass();
        assert_eq!(done[..2], ["look at bucket RAW", "look into bucket RAW"]);
        let claim = done.contains(&"tag bucket RAW, which lost its tags".to_owned());
        assert_eq!((claim, plan.is_converged()), (claimed, claimed), "{done:?}");
    }
}

#[test]
fn all_tags_taken_away_are_put_back_if_this_cluster_is_known_to_have_had_the_bucket() {
    for restarted in [false, true] {
        let mut world = World::new(&one_bucket());
        world.pass();
        if restarted {
            world.restart();
        }
        world.only().tags.clear();
        world.only().versions = 7;
        world.wait(3600);
        let (done, plan) = world.pass();
        assert_eq!(
            done[..2],
            ["look at bucket RAW", "tag bucket RAW, which lost its tags"],
            "{done:?}"
        );
        assert!(plan.is_converged());
        assert_eq!(world.only().tags[CLUSTER_UID], "uid-1");
    }
}

#[test]
fn a_bucket_without_tags_is_left_alone_by_a_deletion_and_named() {
    let mut world = World::new(&one_bucket());
    world.pass();
    world.only().tags.clear();
    world.cluster.generation = 2;
    world.delete(crate::api::BucketDeletion::Delete);
    world.cluster.bucket_deletion_confirmed = true;
    let (done, plan) = world.pass();
    assert_eq!(done, ["look into bucket RAW"]);
    assert_eq!(found(&plan), ["has lost its tags and so is left alone"]);
    assert_eq!(world.s3.0.len(), 1);
}

#[test]
fn a_bucket_in_another_region_is_named() {
    let mut world = World::new(&named("data"));
    let bucket = Bucket {
        name: "data".into(),
        region: Some("eu-west-1".into()),
        ..Bucket::default()
    };
    world.observed.inventory.bucket.others.insert("data".into(), bucket);
    let plan = world.plan();
    assert!(plan.actions.is_empty());
    assert!(
        message(&plan).starts_with("bucket data exists in eu-west-1, not in ap-southeast-1"),
        "{plan:?}"
    );
}

#[test]
fn what_the_spec_no_longer_asks_for_is_released_whatever_the_policy() {
    let mut world = World::new(&one_bucket());
    world.pass();
    world.cluster.buckets.clear();
    world.cluster.bucket_deletion = crate::api::BucketDeletion::Delete;
    world.cluster.bucket_deletion_confirmed = true;
    assert_eq!(world.pass().0, ["release bucket RAW, which stays with its data"]);
}

#[test]
fn an_empty_bucket_goes_and_one_with_data_waits_for_a_person() {
    let mut world = World::new(&one_bucket());
    world.pass();
    world.delete(crate::api::BucketDeletion::Delete);
    let mut full = World {
        s3: world.s3.clone(),
        cluster: world.cluster.clone(),
        observed: world.observed.clone(),
        remembered: world.remembered.clone(),
        now: world.now,
    };
    assert_eq!(world.pass().0, ["look into bucket RAW", "delete bucket RAW"]);
    assert!(world.s3.0.is_empty());

    full.only().versions = 1;
    let (done, plan) = full.pass();
    assert_eq!(done, ["look into bucket RAW"]);
    assert!(
        message(&plan).contains("rayward.dev/confirm-bucket-deletion=uid-1"),
        "{plan:?}"
    );
    assert!(message(&plan).contains(RAW), "{plan:?}");
    // Somebody takes the data out by hand.
    full.only().versions = 0;
    full.wait(60);
    assert_eq!(full.pass().0, ["look into bucket RAW", "delete bucket RAW"]);
}

#[test]
fn confirmed_data_goes_in_several_passes() {
    let mut world = World::new(&one_bucket());
    world.pass();
    world.only().versions = 15_000;
    world.delete(crate::api::BucketDeletion::Delete);
    world.cluster.bucket_deletion_confirmed = true;
    let (done, plan) = world.pass();
    assert_eq!(done, ["look into bucket RAW", "empty bucket RAW"]);
    assert!(message(&plan).contains("is being emptied; 10000 versions"), "{plan:?}");
    assert_eq!(plan.next_check, Some(std::time::Duration::from_secs(1)));
    world.wait(1);
    assert_eq!(world.pass().0, ["empty bucket RAW", "delete bucket RAW"]);
}

#[test]
fn folds_are_the_same_the_second_time() {
    let mut world = World::new(&one_bucket());
    let mut history = Vec::new();
    for _ in 0..3 {
        for action in world.plan().actions {
            let crate::plan::Action::Aws(change) = action else {
                panic!("{action}")
            };
            let Change::Bucket(bucket) = &change else {
                panic!("{change}")
            };
            let answer = world.s3.apply(bucket);
            world.observed.inventory.fold(&change, &answer);
            history.push((change, answer));
        }
    }
    let once = world.observed.inventory.clone();
    for (change, answer) in &history {
        world.observed.inventory.fold(change, answer);
    }
    assert_eq!(once.bucket.ours, world.observed.inventory.bucket.ours);
    assert_eq!(once.bucket.others, world.observed.inventory.bucket.others);
}
