//! The deletion of a cluster: in the order that AWS needs, whatever is missing, in the way, or half made.

use std::collections::BTreeMap;

use aws_sdk_ec2::types::{RouteTable, VpcEndpointType};
use aws_sdk_s3::primitives::ByteStream;
use k8s_openapi::api::core::v1::{Namespace, Secret};
use k8s_openapi::api::events::v1::Event;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, WatchEvent, WatchParams};
use kube::{Api, ResourceExt};
use rayward::api::RayCluster;
use serde_json::{Value, json};

use crate::support::account::{Holdings, KEPT, LAB as LAB_HOLDINGS, bucket_tags, violations};
use crate::support::cluster::{LAB, Space, condition};
use crate::support::control_plane::ControlPlane;
use crate::support::controller::Controller;
use crate::support::scene::Scene;
use crate::support::stand_in::StandIn;
use crate::support::sweeps::sweeps;
use crate::support::wait::{PATIENCE, until};

/// The lab under another name.
fn lab_named(name: &str) -> String {
    LAB.replacen("name: lab\n", &format!("name: {name}\n"), 1)
}

/// The lab with buckets that go with it.
fn lab_that_deletes_its_buckets() -> String {
    LAB.replacen("buckets: Retain", "buckets: Delete", 1)
}

/// How many of each kind the account holds that it did not hold at first.
async fn counts(scene: &Scene) -> BTreeMap<&'static str, usize> {
    Holdings::of(&scene.aws).await.counts_beyond(&scene.before)
}

fn bucket_of(cluster: &RayCluster, purpose: &str) -> String {
    let buckets = cluster.status.iter().flat_map(|status| &status.buckets);
    let mut names = buckets
        .filter(|bucket| bucket.purpose == purpose)
        .map(|bucket| &bucket.name);
    names.next().expect("the status names the bucket").clone()
}

async fn put(aws: &StandIn, bucket: &str, key: &str, text: &'static str) {
    let body = ByteStream::from_static(text.as_bytes());
    let put = aws.s3().put_object().bucket(bucket).key(key).body(body).send().await;
    put.expect("the object is written");
}

async fn read(aws: &StandIn, bucket: &str, key: &str) -> String {
    let object = aws.s3().get_object().bucket(bucket).key(key).send().await;
    let object = object.expect("the object is there");
    let bytes = object
        .body
        .collect()
        .await
        .expect("the object can be read")
        .into_bytes();
    String::from_utf8(bytes.to_vec()).expect("the object is text")
}

#[tokio::test]
async fn a_ready_lab_leaves_nothing_but_its_buckets() {
    let scene = Scene::start().await;
    let uid = scene.space.ready_lab().await.uid().expect("a uid");
    let made = scene.made().await;
    assert_eq!(counts(&scene).await, BTreeMap::from(LAB_HOLDINGS));

    scene.space.delete("lab").await;
    scene.space.wait_until_gone("lab", PATIENCE).await;

    assert_eq!(counts(&scene).await, BTreeMap::from(KEPT));
    for bucket in &made["bucket"] {
        let tags = bucket_tags(&scene.aws, bucket).await;
        assert!(!tags.contains_key("rayward.dev/cluster-uid"), "{tags:?}");
        let released = tags.get("rayward.dev/released-by").expect("it says whose it was");
        assert!(released.ends_with("/lab") && !released.contains(&uid), "{released}");
    }
    assert_eq!(
        violations(&scene.aws),
        [],
        "everything went in the order that AWS needs"
    );
    let events = scene.space.events().await;
    for kind in ["VPC", "subnet", "internet gateway", "machine"] {
        for id in &made[kind] {
            let is_told =
                |event: &String| event.contains(id.as_str()) && (event.contains("elete") || event.contains("erminate"));
            assert!(events.iter().any(is_told), "{kind} {id}: {events:#?}");
        }
    }
}

#[tokio::test]
async fn deletion_in_the_middle_of_a_creation_leaves_nothing_either() {
    let scene = Scene::start().await;
    // Each call takes its time, so that others are under way when the deletion comes.
    scene.aws.set(&json!({"delay_ms": 50}));
    for action in ["CreateVpc", "CreateSubnet", "CreateBucket", "RunInstances"] {
        let name = format!("lab-{}", action.to_lowercase());
        scene.aws.forget_calls();
        scene.space.apply(&lab_named(&name)).await.expect("it is accepted");
        scene.aws.first_success(action).await;
        scene.space.delete(&name).await;
        scene.space.wait_until_gone(&name, PATIENCE).await;

        let mut left = scene.made().await;
        for bucket in left.remove("bucket").unwrap_or_default() {
            let tags = bucket_tags(&scene.aws, &bucket).await;
            assert!(tags.contains_key("rayward.dev/released-by"), "{bucket}: {tags:?}");
        }
        assert!(left.is_empty(), "deleted after {action}: {left:?}");
        assert_eq!(violations(&scene.aws), [], "deleted after {action}");
    }
}

#[tokio::test]
async fn a_suspended_cluster_can_be_deleted() {
    let scene = Scene::start().await;
    scene.space.ready_lab().await;
    let suspend = json!({"spec": {"suspend": true}});
    scene.space.patch("lab", &suspend).await.expect("it is accepted");
    scene.space.wait_for("lab", "Suspended", "True", PATIENCE).await;

    scene.space.delete("lab").await;
    scene.space.wait_until_gone("lab", PATIENCE).await;

    assert_eq!(counts(&scene).await, BTreeMap::from(KEPT));
    assert_eq!(violations(&scene.aws), []);
    let started = scene
        .aws
        .changes()
        .into_iter()
        .filter(|call| call.action == "StartInstances");
    assert_eq!(started.count(), 0, "nothing is started to be terminated");
}

#[tokio::test]
async fn a_foreign_interface_blocks_by_name_and_the_rest_is_gone_already() {
    let scene = Scene::start().await;
    scene.space.ready_lab().await;
    let made = scene.made().await;
    let ec2 = scene.aws.ec2();
    let interface = ec2
        .create_network_interface()
        .subnet_id(&made["subnet"][0])
        .description("a file system's mount target")
        .send()
        .await
        .expect("somebody makes an interface");
    let interface = interface
        .network_interface()
        .and_then(|interface| interface.network_interface_id());
    let interface = interface.expect("it has an id").to_owned();
    // What nobody has looked at yet is found by a refusal; this one is known.
    sweeps(&scene.aws, 1).await;

    scene.space.delete("lab").await;
    let named = |cluster: &RayCluster| {
        condition(cluster, "DeletionBlocked")
            .is_some_and(|each| each.status == "True" && each.message.contains(&interface))
    };
    scene
        .space
        .wait_until("lab", "DeletionBlocked names the interface", PATIENCE, named)
        .await;
    until("all that is not in the way is gone", PATIENCE, async || {
        let left = counts(&scene).await;
        // The VPC has a main table and a default group of its own.
        let wanted = [
            ("VPC", 1),
            ("bucket", 4),
            ("network interface", 1),
            ("route table", 1),
            ("security group", 1),
            ("subnet", 1),
        ];
        if left == BTreeMap::from(wanted) {
            Ok(())
        } else {
            Err(format!("{left:?}"))
        }
    })
    .await;
    let names_it = |event: &str| event.contains("DeletionBlocked") && event.contains(&interface);
    scene.space.wait_for_event(&interface, names_it).await;
    // It waits without trying in vain, and leaves what is not the cluster's alone.
    scene.aws.further_calls("DescribeNetworkInterfaces", 4).await;
    let cluster = scene.space.cluster("lab").await;
    assert!(named(&cluster), "{:?}", cluster.status);
    assert_eq!(violations(&scene.aws), []);
    let others = scene
        .aws
        .changes()
        .into_iter()
        .filter(|call| call.params.to_string().contains(&interface));
    assert_eq!(others.count(), 0, "nobody changed the interface");

    let removed = ec2
        .delete_network_interface()
        .network_interface_id(&interface)
        .send()
        .await;
    removed.expect("its owner removes it");
    scene.space.wait_until_gone("lab", PATIENCE).await;
    assert_eq!(counts(&scene).await, BTreeMap::from(KEPT));
    assert_eq!(violations(&scene.aws), []);
}

#[tokio::test]
async fn what_is_never_swept_is_found_and_named_when_aws_keeps_the_vpc() {
    let scene = Scene::start().await;
    scene.space.ready_lab().await;
    let made = scene.made().await;
    let (ec2, vpc) = (scene.aws.ec2(), made["VPC"][0].clone());
    // In the table that goes with the VPC, since ours goes before.
    let tables = ec2.describe_route_tables().send().await.expect("the tables");
    let is_main = |table: &&RouteTable| table.associations().iter().any(|each| each.main() == Some(true));
    let mut tables = tables
        .route_tables()
        .iter()
        .filter(|table| table.vpc_id() == Some(&vpc));
    let main = tables.find(is_main).and_then(RouteTable::route_table_id);
    let endpoint = ec2.create_vpc_endpoint().vpc_id(&vpc);
    let endpoint = endpoint.vpc_endpoint_type(VpcEndpointType::Gateway);
    let endpoint = endpoint.route_table_ids(main.expect("a main table"));
    let endpoint = endpoint.service_name("com.amazonaws.ap-southeast-1.s3").send().await;
    let endpoint = endpoint.expect("somebody makes an endpoint").vpc_endpoint;
    let endpoint = endpoint.and_then(|made| made.vpc_endpoint_id).expect("it has an id");
    let list = ec2.create_network_acl().vpc_id(&vpc).send().await;
    let list = list.expect("somebody makes a network ACL").network_acl;
    let list = list.and_then(|made| made.network_acl_id).expect("it has an id");

    scene.space.delete("lab").await;
    let named = |cluster: &RayCluster| {
        condition(cluster, "DeletionBlocked").is_some_and(|each| {
            each.reason == "ForeignResource" && [&vpc, &endpoint, &list].iter().all(|id| each.message.contains(*id))
        })
    };
    scene
        .space
        .wait_until("lab", "DeletionBlocked names both", PATIENCE, named)
        .await;
    let left = counts(&scene).await;
    assert_eq!((left.get("subnet"), left.get("VPC")), (None, Some(&1)), "{left:?}");
    let tries = violations(&scene.aws).len();
    assert!(tries <= 4, "it is not tried in a loop: {tries}");

    let removed = ec2.delete_vpc_endpoints().vpc_endpoint_ids(&endpoint).send().await;
    removed.expect("the endpoint is removed");
    let removed = ec2.delete_network_acl().network_acl_id(&list).send().await;
    removed.expect("the list is removed");
    scene.space.wait_until_gone("lab", PATIENCE).await;
    assert_eq!(counts(&scene).await, BTreeMap::from(KEPT));
}

#[tokio::test]
async fn buckets_go_with_the_cluster_when_asked_to_and_empty() {
    let scene = Scene::start().await;
    scene
        .space
        .apply(&lab_that_deletes_its_buckets())
        .await
        .expect("it is accepted");
    scene.space.wait_for("lab", "Ready", "True", PATIENCE).await;

    scene.space.delete("lab").await;
    scene.space.wait_until_gone("lab", PATIENCE).await;

    assert_eq!(counts(&scene).await, BTreeMap::new());
}

#[tokio::test]
async fn a_bucket_with_data_goes_only_when_a_person_says_so() {
    let scene = Scene::start().await;
    scene
        .space
        .apply(&lab_that_deletes_its_buckets())
        .await
        .expect("it is accepted");
    let cluster = scene.space.wait_for("lab", "Ready", "True", PATIENCE).await;
    let uid = cluster.uid().expect("a uid");
    let bucket = bucket_of(&cluster, "training");
    // Versions, a delete marker and an upload that never ended: each alone keeps a bucket from being deleted.
    put(&scene.aws, &bucket, "model", "first").await;
    put(&scene.aws, &bucket, "model", "second").await;
    let s3 = scene.aws.s3();
    s3.delete_object()
        .bucket(&bucket)
        .key("model")
        .send()
        .await
        .expect("a marker is put");
    let upload = s3.create_multipart_upload().bucket(&bucket).key("big").send().await;
    upload.expect("an upload begins");

    scene.space.delete("lab").await;
    let named = |cluster: &RayCluster| {
        condition(cluster, "DeletionBlocked").is_some_and(|each| {
            each.status == "True"
                && each.message.contains(&bucket)
                && each
                    .message
                    .contains(&format!("rayward.dev/confirm-bucket-deletion={uid}"))
        })
    };
    scene
        .space
        .wait_until("lab", "DeletionBlocked names the bucket", PATIENCE, named)
        .await;
    until("everything but this bucket is gone", PATIENCE, async || {
        let left = scene.made().await;
        if left == BTreeMap::from([("bucket", vec![bucket.clone()])]) {
            Ok(())
        } else {
            Err(format!("{left:?}"))
        }
    })
    .await;
    let names_it = |event: &str| event.contains("DeletionBlocked") && event.contains(&bucket);
    scene.space.wait_for_event(&bucket, names_it).await;

    // The annotation of another object of this name, as copied from an old manifest, confirms nothing.
    let annotate = |value: &str| json!({"metadata": {"annotations": {"rayward.dev/confirm-bucket-deletion": value}}});
    scene
        .space
        .patch("lab", &annotate("another-uid"))
        .await
        .expect("it is accepted");
    scene.aws.further_calls("ListBuckets", 3).await;
    assert_eq!(scene.made().await["bucket"], [bucket.as_str()]);
    let versions = s3.list_object_versions().bucket(&bucket).send().await.expect("a list");
    assert_eq!((versions.versions().len(), versions.delete_markers().len()), (2, 1));

    scene.space.patch("lab", &annotate(&uid)).await.expect("it is accepted");
    scene.space.wait_until_gone("lab", PATIENCE).await;
    assert_eq!(counts(&scene).await, BTreeMap::new());
}

#[tokio::test]
async fn a_cluster_that_is_applied_again_finds_its_data_and_nobody_else_does() {
    let scene = Scene::start().await;
    let first = scene.space.ready_lab().await;
    let bucket = bucket_of(&first, "raw");
    put(&scene.aws, &bucket, "data", "kept").await;
    scene.space.delete("lab").await;
    scene.space.wait_until_gone("lab", PATIENCE).await;
    let released = bucket_tags(&scene.aws, &bucket).await;

    // Another namespace, and another installation in a namespace and under a name of the same kind, ask for it.
    let plane = ControlPlane::shared().await;
    let greedy = format!(
        "{{apiVersion: rayward.dev/v1alpha1, kind: RayCluster, metadata: {{name: lab}}, spec: {{\
         region: ap-southeast-1, head: {{image: {{id: ami-003c463c8207b4dfa}}}}, workerGroups: [], \
         buckets: [{{purpose: raw, name: {bucket}}}]}}}}"
    );
    let mut others = Vec::new();
    for flags in [&[][..], &["--installation=another"][..]] {
        let space = Space::create(plane).await;
        let controller = Controller::start_with(plane, &scene.aws, &space.name, flags).await;
        space.apply(&greedy).await.expect("it is accepted");
        let refused = |cluster: &RayCluster| {
            condition(cluster, "BucketsReady").is_some_and(|each| {
                each.status == "False" && each.reason == "InvalidReference" && each.message.contains(&bucket)
            })
        };
        space
            .wait_until("lab", "it does not get the bucket", PATIENCE, refused)
            .await;
        others.push((space, controller));
    }
    assert_eq!(bucket_tags(&scene.aws, &bucket).await, released);

    let second = scene.space.ready_lab().await;
    assert_ne!(first.uid(), second.uid());
    assert_eq!(bucket_of(&second, "raw"), bucket);
    assert_eq!(read(&scene.aws, &bucket, "data").await, "kept");
    let tags = bucket_tags(&scene.aws, &bucket).await;
    assert_eq!(tags.get("rayward.dev/cluster-uid"), second.uid().as_ref());
    assert!(!tags.contains_key("rayward.dev/released-by"), "{tags:?}");

    for (space, _controller) in &others {
        space.delete("lab").await;
        space.wait_until_gone("lab", PATIENCE).await;
    }
    assert_eq!(
        bucket_tags(&scene.aws, &bucket).await,
        tags,
        "their end is none of its business"
    );
    assert_eq!(counts(&scene).await, BTreeMap::from(LAB_HOLDINGS));
}

#[tokio::test]
async fn a_namespace_can_be_deleted_with_a_cluster_in_it() {
    let scene = Scene::start().await;
    scene.space.ready_lab().await;

    let namespaces: Api<Namespace> = Api::all(scene.space.client.clone());
    let deleted = namespaces.delete(&scene.space.name, &DeleteParams::default()).await;
    deleted.expect("the deletion is accepted");

    until("the namespace is gone", PATIENCE, async || {
        match namespaces.get_opt(&scene.space.name).await {
            Ok(None) => Ok(()),
            Ok(Some(namespace)) => {
                let cluster = scene.space.clusters().get_opt("lab").await;
                let status = cluster.ok().flatten().and_then(|cluster| cluster.status);
                Err(format!(
                    "{:?}\n{:?}",
                    namespace.status,
                    status.map(|status| status.conditions)
                ))
            }
            Err(error) => Err(error.to_string()),
        }
    })
    .await;
    assert_eq!(counts(&scene).await, BTreeMap::from(KEPT));
    assert_eq!(violations(&scene.aws), []);
}

#[tokio::test]
async fn deletion_needs_nothing_in_kubernetes_but_the_object_and_makes_nothing_there() {
    let mut scene = Scene::start().await;
    scene.space.ready_lab().await;
    scene.controller.kill();
    let secrets: Api<Secret> = Api::namespaced(scene.space.client.clone(), &scene.space.name);
    let events: Api<Event> = Api::namespaced(scene.space.client.clone(), &scene.space.name);
    let (all, delete) = (ListParams::default(), DeleteParams::default());
    secrets
        .delete_collection(&delete, &all)
        .await
        .expect("the Secrets are deleted");
    events
        .delete_collection(&delete, &all)
        .await
        .expect("the Events are deleted");
    wipe_status(&scene.space, "lab").await;
    scene.space.delete("lab").await;
    let version = secrets.list(&all).await.expect("a list").metadata.resource_version;
    let version = version.expect("a list has a version");

    scene.controller.restart().await;
    scene.space.wait_until_gone("lab", PATIENCE).await;

    assert_eq!(counts(&scene).await, BTreeMap::from(KEPT));
    let made = secrets
        .watch(&WatchParams::default().timeout(1), &version)
        .await
        .expect("a watch");
    let made: Vec<_> = futures::StreamExt::collect(made).await;
    let is_made = |event: &Result<WatchEvent<Secret>, kube::Error>| matches!(event, Ok(WatchEvent::Added(_)));
    assert!(!made.iter().any(is_made), "a Secret was made: {made:?}");
    let imported = scene
        .aws
        .changes()
        .into_iter()
        .filter(|call| call.action == "ImportKeyPair");
    assert_eq!(imported.count(), 1, "the one of the creation");
}

/// What `kubectl edit --subresource=status` can do.
async fn wipe_status(space: &Space, name: &str) {
    let wiped = space
        .clusters()
        .patch_status(name, &PatchParams::default(), &Patch::Merge(&json!({"status": null})))
        .await
        .expect("the status is wiped");
    assert!(wiped.status.is_none_or(|status| status.cluster_uid.is_none()));
}

#[tokio::test]
async fn deletion_waits_while_the_credentials_are_refused_and_says_so() {
    let refused = json!({"action": "*", "kind": "error", "code": "AuthFailure", "status": 401, "times": 0,
        "message": "AWS was not able to validate the provided access credentials"});
    deletion_waits_through(&refused, "AuthFailure").await;
}

#[tokio::test]
async fn deletion_waits_while_aws_is_down_and_says_so() {
    deletion_waits_through(&json!({"action": "*", "kind": "unavailable", "times": 0}), "navailable").await;
}

async fn deletion_waits_through(weather: &Value, word: &str) {
    let scene = Scene::start().await;
    scene.space.ready_lab().await;
    scene.aws.inject(weather);
    scene.space.delete("lab").await;

    let says = |cluster: &RayCluster| {
        condition(cluster, "Ready").is_some_and(|each| each.status != "True" && each.message.contains(word))
    };
    scene
        .space
        .wait_until("lab", &format!("it says {word}"), PATIENCE, says)
        .await;
    scene.aws.further_calls("DescribeVpcs", 2).await;
    let cluster = scene.space.cluster("lab").await;
    assert!(says(&cluster), "{:?}", cluster.status);

    scene.aws.clear_faults();
    scene.space.wait_until_gone("lab", PATIENCE).await;
    assert_eq!(counts(&scene).await, BTreeMap::from(KEPT));
}
