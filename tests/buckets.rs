//! Buckets on S3: what is planned is carried out, what is folded is what S3 then shows, and nothing is ever done to a
//! bucket that is somebody else's.

use aws_sdk_s3::types::{BucketVersioningStatus, VersioningConfiguration};
use futures::{StreamExt, TryStreamExt, stream};
use jiff::Timestamp;
use rayward::api::BucketDeletion;
use rayward::aws::{Access, Aws, AwsCall, Clients, ErrorClass, Scope};
use rayward::observe::{Observed, Shelf, Source};
use rayward::plan::{Action, Inputs, Limits, Plan, Planner, Reason};
use rayward::resources::bucket::{self, Bucket, BucketChange, Settings, Step};
use rayward::resources::{Answer, Change, ResourceChange};
use rayward::tags::{CLUSTER_UID, RELEASED_BY, Tags};
use rayward::validate::{Installation, ValidCluster, validate};
use serde_json::{Value, json};

use crate::support::aws::clients;
use crate::support::cluster::condition;
use crate::support::scene::Scene;
use crate::support::stand_in::{REGION, StandIn};
use crate::support::wait::PATIENCE;

/// The account that the stand-in gives to keys that it does not know.
const ACCOUNT: &str = "123456789012";
const STRANGER: &str = "210987654321";
const STRANGERS_KEY: &str = "strangers-key";
/// Another region than that of the tests' clusters.
const ELSEWHERE: &str = "eu-west-1";

fn cluster(uid: &str, spec: &Value) -> ValidCluster {
    let object = serde_json::from_value(json!({
        "apiVersion": "rayward.dev/v1alpha1", "kind": "RayCluster", "spec": spec,
        "metadata": {"name": "lab", "namespace": "ml", "uid": uid, "generation": 1},
    }));
    let installation = Installation {
        id: "inst".into(),
        ..Installation::default()
    };
    validate(&object.expect("a RayCluster"), &installation, "ns-uid").expect("a valid cluster")
}

fn one_bucket() -> Value {
    json!({"region": REGION, "tags": {"team": "blue"}, "buckets": [{"purpose": "raw"}]})
}

/// One cluster and its passes over its buckets.
struct World {
    clients: Clients,
    cluster: ValidCluster,
    observed: Observed,
    remembered: Shelf<Bucket>,
}

impl World {
    fn new(clients: Clients, cluster: ValidCluster) -> Self {
        let observed = Observed {
            account: Source::Known(ACCOUNT.into()),
            has_finalizer: true,
            ..Observed::default()
        };
        Self {
            clients,
            cluster,
            observed,
            remembered: Shelf::default(),
        }
    }

    async fn sweep(&mut self) {
        let names = self.cluster.buckets.iter().filter_map(|bucket| bucket.name.clone());
        let scope = Scope {
            bucket_names: names.collect(),
            ..Scope::default()
        };
        let listed = bucket::list(&self.clients, &scope).await.expect("S3 lists buckets");
        let listed = listed.into_iter().map(|bucket| (bucket.name.clone(), bucket)).collect();
        let buckets = &mut self.observed.inventory.bucket;
        buckets.swept = Source::Known(());
        (buckets.ours, buckets.others) = bucket::shelve(&self.cluster, listed, &self.remembered);
    }

    fn plan(&self) -> Plan {
        let limits = Limits::default();
        let mut planner = Planner::new(Inputs {
            cluster: &self.cluster,
            observed: &self.observed,
            limits: &limits,
            now: Timestamp::now(),
        });
        if self.cluster.deleting {
            bucket::plan_deletion(&mut planner);
        } else {
            bucket::plan(&mut planner);
        }
        planner.plan
    }

    /// Sweeps, then carries plans out until nothing is to be done; what changed, and the last plan.
    async fn pass(&mut self) -> (Vec<AwsCall>, Plan) {
        self.sweep().await;
        let mut done = Vec::new();
        loop {
            let plan = self.plan();
            if plan.actions.is_empty() {
                return (done, plan);
            }
            for action in plan.actions {
                let Action::Aws(change) = &action else {
                    panic!("{action}")
                };
                let Change::Bucket(bucket) = change else {
                    panic!("{action}")
                };
                let answer = bucket.apply(&self.clients).await.expect("S3 does it");
                self.observed.inventory.fold(change, &answer);
                bucket.fold_shelf(&answer, &mut self.remembered);
                if change.call().access() != Access::Read {
                    done.push(change.call());
                }
            }
        }
    }

    /// What was folded has to be what a process that remembers nothing would see.
    async fn assert_folded_is_true(&mut self) {
        let folded = self.only();
        let change = self.change(Step::Look {
            at: folded.look.expect("it was looked at").at,
            generation: 1,
        });
        let mut seen = match change.apply(&self.clients).await.expect("a look") {
            Answer::Bucket(seen) => *seen,
            other => panic!("{other:?}"),
        };
        seen.region.clone_from(&folded.region);
        seen.contents = folded.contents;
        assert_eq!(seen, folded);
    }

    fn only(&self) -> Bucket {
        let mut all = self.observed.inventory.bucket.all();
        let bucket = all.next().expect("a bucket").clone();
        assert!(all.next().is_none());
        bucket
    }

    fn change(&self, step: Step) -> BucketChange {
        BucketChange {
            name: self.name(),
            account: ACCOUNT.into(),
            cluster_uid: self.cluster.id.uid.clone(),
            step,
        }
    }

    fn name(&self) -> String {
        let (name, _) = bucket::names(&self.cluster, ACCOUNT).next().expect("a bucket");
        name
    }

    /// The same manifest, applied again after a deletion.
    fn apply_anew(&mut self, uid: &str) {
        self.cluster = cluster(uid, &one_bucket());
        self.remembered = Shelf::default();
    }

    fn delete(&mut self, policy: BucketDeletion) {
        self.cluster.deleting = true;
        self.cluster.bucket_deletion = policy;
    }
}

fn settings(bucket: &Bucket) -> Settings {
    let look = bucket.look.expect("it was looked at");
    look.settings.expect("it is the cluster's")
}

#[tokio::test]
async fn a_bucket_is_private_versioned_encrypted_and_tagged_and_every_call_names_the_owner() {
    let stand_in = StandIn::start();
    let mut world = World::new(clients(&stand_in, REGION, "key"), cluster("uid-1", &one_bucket()));
    let (changes, plan) = world.pass().await;
    // S3 itself blocks public access to new buckets and encrypts them.
    assert_eq!(changes, [AwsCall::CreateBucket, AwsCall::PutBucketVersioning]);
    assert!(plan.is_converged(), "{plan:?}");
    assert!(settings(&world.only()).complete());
    assert_eq!(world.only().tags["team"], "blue");
    world.assert_folded_is_true().await;
    assert!(world.pass().await.0.is_empty());

    let calls = stand_in.calls();
    let creation = calls.iter().find(|call| call.action == "CreateBucket").expect("a call");
    assert_eq!(creation.params["ObjectOwnership"], "BucketOwnerEnforced");
    for call in calls
        .iter()
        .filter(|call| !["CreateBucket", "ListBuckets"].contains(&call.action.as_str()))
    {
        assert_eq!(call.params["ExpectedBucketOwner"], ACCOUNT, "{}", call.action);
    }
}

#[tokio::test]
async fn what_others_changed_is_put_right_and_what_they_added_stays() {
    let stand_in = StandIn::start();
    let s3 = stand_in.s3();
    let mut world = World::new(clients(&stand_in, REGION, "key"), cluster("uid-1", &one_bucket()));
    world.pass().await;
    let name = world.name();
    s3.delete_public_access_block()
        .bucket(&name)
        .send()
        .await
        .expect("it is deleted");
    let off = VersioningConfiguration::builder()
        .status(BucketVersioningStatus::Suspended)
        .build();
    let suspended = s3.put_bucket_versioning().bucket(&name).versioning_configuration(off);
    suspended.send().await.expect("versioning is switched off");
    let mut tags = world.only().tags;
    tags.remove("team");
    tags.insert("theirs".into(), "stays".into());
    put_tags(&s3, &name, &tags).await;

    // As after a restart: everything is looked at.
    world.remembered = Shelf::default();
    let (mut changes, plan) = world.pass().await;
    changes.sort();
    assert_eq!(
        changes,
        [
            AwsCall::PutBucketTagging,
            AwsCall::PutBucketVersioning,
            AwsCall::PutPublicAccessBlock
        ]
    );
    assert!(plan.is_converged(), "{plan:?}");
    assert!(settings(&world.only()).complete());
    assert_eq!(
        (&*world.only().tags["team"], &*world.only().tags["theirs"]),
        ("blue", "stays")
    );
    world.assert_folded_is_true().await;
}

async fn put_tags(s3: &aws_sdk_s3::Client, name: &str, tags: &Tags) {
    use aws_sdk_s3::types::{Tag, Tagging};
    let tag = |(key, value): (&String, &String)| Tag::builder().key(key).value(value).build().expect("a tag");
    let tagging = Tagging::builder()
        .set_tag_set(Some(tags.iter().map(tag).collect()))
        .build();
    let put = s3.put_bucket_tagging().bucket(name).tagging(tagging.expect("tags"));
    put.send().await.expect("the tags are replaced");
}

#[tokio::test]
async fn a_released_bucket_is_found_again_by_its_cluster_and_by_nobody_else() {
    let stand_in = StandIn::start();
    let mut world = World::new(clients(&stand_in, REGION, "key"), cluster("uid-1", &one_bucket()));
    world.pass().await;
    let name = world.name();
    let s3 = stand_in.s3();
    let body = aws_sdk_s3::primitives::ByteStream::from_static(b"data");
    s3.put_object()
        .bucket(&name)
        .key("data")
        .body(body)
        .send()
        .await
        .expect("an object");
    world.delete(BucketDeletion::Retain);
    let (changes, plan) = world.pass().await;
    assert_eq!(changes, [AwsCall::PutBucketTagging]);
    assert!(plan.is_converged() && world.observed.inventory.bucket.ours.is_empty());
    assert_eq!(world.only().tags[RELEASED_BY], "inst/ns-uid/lab");

    world.apply_anew("uid-2");
    world.cluster.id.namespace_uid = "another".into();
    let (changes, plan) = world.pass().await;
    assert!(changes.is_empty(), "{changes:?}");
    assert_eq!(plan.waiting[0].reason, Reason::InvalidReference);
    assert!(
        plan.waiting[0].message.contains("was released by inst/ns-uid/lab"),
        "{plan:?}"
    );

    world.apply_anew("uid-2");
    let (changes, plan) = world.pass().await;
    assert_eq!(changes, [AwsCall::PutBucketTagging]);
    assert!(plan.is_converged(), "{plan:?}");
    assert_eq!(world.only().tags[CLUSTER_UID], "uid-2");
    assert!(!world.only().tags.contains_key(RELEASED_BY));
    world.assert_folded_is_true().await;
    s3.get_object()
        .bucket(&name)
        .key("data")
        .send()
        .await
        .expect("the data is there");
}

#[tokio::test]
async fn tags_that_changed_since_they_were_seen_stop_a_deletion() {
    let stand_in = StandIn::start();
    let mut world = World::new(clients(&stand_in, REGION, "key"), cluster("uid-1", &one_bucket()));
    world.pass().await;
    let theirs = Tags::from([(CLUSTER_UID.into(), "uid-9".into())]);
    put_tags(&stand_in.s3(), &world.name(), &theirs).await;
    let empty = Step::Empty { at: Timestamp::now() };
    for step in [empty, Step::Delete] {
        let change = Change::Bucket(world.change(step));
        let answer = world.clients.apply(&change).await.expect("S3 answers");
        world.observed.inventory.fold(&change, &answer);
        assert!(world.observed.inventory.bucket.ours.is_empty());
        assert_eq!(world.only().tags, theirs);
    }
}

#[tokio::test]
async fn a_name_that_another_account_has_is_refused_with_advice() {
    let stand_in = StandIn::start();
    let mut accounts = serde_json::Map::new();
    accounts.insert(STRANGERS_KEY.into(), STRANGER.into());
    stand_in.set(&json!({"accounts": accounts}));
    let strangers = clients(&stand_in, REGION, STRANGERS_KEY);
    let spec = json!({"region": REGION, "buckets": [{"purpose": "raw", "name": "data"}]});
    let world = World::new(clients(&stand_in, REGION, "key"), cluster("uid-1", &spec));
    let creation = world.change(Step::Create {
        purpose: "raw".into(),
        tags: Tags::new(),
    });
    creation.apply(&strangers).await.expect("the stranger makes it");

    let error = creation.apply(&world.clients).await.expect_err("the name is taken");
    assert_eq!(
        (error.class, error.code.as_str()),
        (ErrorClass::Terminal, "BucketAlreadyExists")
    );
    assert!(error.to_string().contains("give another name in the spec"), "{error}");
    assert!(error.to_string().contains("purpose raw"), "{error}");

    // A stranger who asks for an owner that the bucket does not have is refused by the bucket, whatever its policy.
    let look = world.change(Step::Look {
        at: Timestamp::now(),
        generation: 1,
    });
    let error = look.apply(&strangers).await.expect_err("another owner");
    assert_eq!(
        (error.class, error.code.as_str()),
        (ErrorClass::Terminal, "AccessDenied")
    );
    assert!(error.message.contains(ACCOUNT), "{error}");
}

#[tokio::test]
async fn a_bucket_that_exists_is_not_taken_for_a_new_one() {
    let stand_in = StandIn::start();
    let spec = json!({"region": "us-east-1", "buckets": [{"purpose": "raw", "name": "data"}]});
    let first = World::new(clients(&stand_in, "us-east-1", "key"), cluster("uid-1", &spec));
    let mut second = World::new(clients(&stand_in, "us-east-1", "key"), cluster("uid-2", &spec));
    second.sweep().await;
    let creation = second.plan().actions;
    let own = first.change(Step::Create {
        purpose: "raw".into(),
        tags: Tags::from([(CLUSTER_UID.into(), "uid-1".into())]),
    });
    own.apply(&first.clients).await.expect("the first makes it");

    // us-east-1 lets an owner create a bucket again.
    let [Action::Aws(change)] = creation.as_slice() else {
        panic!("{creation:?}")
    };
    let answer = second.clients.apply(change).await.expect("S3 does not refuse");
    second.observed.inventory.fold(change, &answer);
    assert!(second.observed.inventory.bucket.ours.is_empty());
    let (changes, plan) = second.pass().await;
    assert!(changes.is_empty(), "{changes:?}");
    assert!(plan.waiting[0].message.contains("(uid uid-1)"), "{plan:?}");
}

#[tokio::test]
async fn a_bucket_with_data_is_emptied_only_when_confirmed_and_then_of_everything() {
    let stand_in = StandIn::start();
    let s3 = stand_in.s3();
    let mut world = World::new(clients(&stand_in, REGION, "key"), cluster("uid-1", &one_bucket()));
    world.pass().await;
    let name = world.name();
    // More than go with one DeleteObjects.
    let puts = (0..1_100).map(|number| {
        let key = format!("key-{}", number % 500);
        s3.put_object().bucket(&name).key(key).send()
    });
    let versions: Vec<_> = stream::iter(puts)
        .buffer_unordered(8)
        .try_collect()
        .await
        .expect("the versions");
    assert_eq!(versions.len(), 1_100);
    for number in 0..10 {
        let key = format!("key-{number}");
        s3.delete_object()
            .bucket(&name)
            .key(key)
            .send()
            .await
            .expect("a delete marker");
    }
    let upload = s3.create_multipart_upload().bucket(&name).key("big").send().await;
    upload.expect("an upload begins");

    world.delete(BucketDeletion::Delete);
    let (changes, plan) = world.pass().await;
    assert!(changes.is_empty(), "{changes:?}");
    assert_eq!(plan.waiting[0].reason, Reason::BucketHoldsData);
    assert!(
        plan.waiting[0]
            .message
            .contains("rayward.dev/confirm-bucket-deletion=uid-1"),
        "{plan:?}"
    );

    world.cluster.bucket_deletion_confirmed = true;
    let (changes, plan) = world.pass().await;
    assert_eq!(changes, [AwsCall::DeleteObjects, AwsCall::DeleteBucket]);
    assert!(plan.is_converged(), "{plan:?}");
    world.sweep().await;
    assert_eq!(world.observed.inventory.bucket.all().count(), 0);
    s3.head_bucket().bucket(&name).send().await.expect_err("it is gone");
}

/// A network without machines, and a bucket.
fn manifest(name: &str, region: &str) -> String {
    format!(
        "{{apiVersion: rayward.dev/v1alpha1, kind: RayCluster, metadata: {{name: {name}}}, \
         spec: {{region: {region}, suspend: true, buckets: [{{purpose: raw}}]}}}}"
    )
}

/// Applies a manifest; the name of the bucket, once it is ready.
async fn bucket_of(scene: &Scene, name: &str, region: &str) -> String {
    scene
        .space
        .apply(&manifest(name, region))
        .await
        .expect("it is accepted");
    let cluster = scene.space.wait_for(name, "BucketsReady", "True", PATIENCE).await;
    cluster.status.expect("a status").buckets[0].name.clone()
}

#[tokio::test]
async fn buckets_of_other_regions_whose_names_begin_alike_are_in_nobodys_way() {
    // Each bucket that concerns a cluster is looked at every second.
    let scene = Scene::start_with(&["--bucket-interval=1s"]).await;
    let neighbours = bucket_of(&scene, "lab-b", ELSEWHERE).await;
    let before = bucket_of(&scene, "lab", ELSEWHERE).await;
    scene.space.delete("lab").await;
    scene.space.wait_until_gone("lab", PATIENCE).await;

    let kept = bucket_of(&scene, "lab", REGION).await;
    let prefix = format!("rayward-{}-lab-", scene.space.name);
    assert!(
        [&neighbours, &before, &kept]
            .iter()
            .all(|name| name.starts_with(&prefix))
    );
    scene.aws.further_calls("GetBucketTagging", 8).await;
    let lab = scene.space.wait_for("lab", "Suspended", "True", PATIENCE).await;
    for absent in ["Stalled", "Drifted"] {
        assert_eq!(condition(&lab, absent), None);
    }
    scene.space.delete("lab").await;
    scene.space.wait_until_gone("lab", PATIENCE).await;

    let mut calls = scene.aws.calls();
    calls.retain(|call| call.error.as_deref() == Some("PermanentRedirect"));
    assert!(calls.is_empty(), "{calls:#?}");
    let s3 = clients(&scene.aws, ELSEWHERE, "key").s3;
    let tags = s3.get_bucket_tagging().bucket(&neighbours).send().await;
    let tags = tags.expect("the neighbour's bucket has tags").tag_set;
    assert!(tags.iter().any(|tag| tag.key() == CLUSTER_UID), "{tags:?}");
}
