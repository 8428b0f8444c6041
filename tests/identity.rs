//! Which machines, networks and buckets are whose: by uid and tags, whatever happens to names, records and tags.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use k8s_openapi::api::core::v1::Namespace;
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, ResourceExt};
use rayward::api::{LaunchState, RayCluster};
use serde_json::{Value, json};

use crate::support::account::{Holdings, KEPT, LAB as LAB_HOLDINGS, ever_launched, machines};
use crate::support::cluster::{LAB, Space, condition};
use crate::support::control_plane::ControlPlane;
use crate::support::controller::Controller;
use crate::support::scene::Scene;
use crate::support::stand_in::StandIn;
use crate::support::test_name;
use crate::support::wait::{PATIENCE, until};

/// The ids that a status names: of the head, of the workers, of the network.
fn ids(cluster: &RayCluster) -> BTreeSet<String> {
    let status = cluster.status.as_ref().expect("a status");
    let head = status.head.iter().filter_map(|head| head.instance_id.clone());
    let workers = status.worker_groups.iter().flat_map(|group| &group.machines);
    let workers = workers.map(|worker| worker.instance_id.clone());
    let network = status.network.as_ref().expect("a network");
    let network = [&network.vpc_id, &network.internet_gateway_id, &network.route_table_id];
    let network = network.into_iter().flatten().cloned();
    head.chain(workers).chain(network).collect()
}

/// Ids of the machines that carry the uid of a cluster.
async fn machines_of(aws: &StandIn, uid: &str) -> BTreeSet<String> {
    let machines = machines(aws).await.into_iter();
    let owned = machines.filter(|machine| {
        let mut tags = machine.tags().iter();
        tags.any(|tag| tag.key() == Some("rayward.dev/cluster-uid") && tag.value() == Some(uid))
    });
    owned.filter_map(|machine| machine.instance_id).collect()
}

fn uid(cluster: &RayCluster) -> String {
    cluster.uid().expect("an object has a uid")
}

/// What `kubectl edit --subresource=status` can do.
async fn set_status(space: &Space, status: &Value) {
    let patch = Patch::Merge(json!({ "status": status }));
    let written = space
        .clusters()
        .patch_status("lab", &PatchParams::default(), &patch)
        .await;
    written.expect("the status is written");
}

async fn namespace(plane: &ControlPlane, name: &str) -> Space {
    let client = plane.client().await;
    crate::support::cluster::install_crd(&client).await;
    let mut namespace = Namespace::default();
    namespace.metadata.name = Some(name.to_owned());
    let created = Api::all(client.clone())
        .create(&PostParams::default(), &namespace)
        .await;
    created.expect("the namespace is created");
    Space {
        client,
        name: name.to_owned(),
    }
}

#[tokio::test]
async fn two_clusters_of_one_name_do_not_touch_each_other() {
    let plane = ControlPlane::start(&test_name()).await;
    let aws = StandIn::start();
    let before = Holdings::of(&aws).await;
    let (red, blue) = (namespace(&plane, "red").await, namespace(&plane, "blue").await);
    let _controller = Controller::start(&plane, &aws, "").await;
    for space in [&red, &blue] {
        space.apply(LAB).await.expect("it is accepted");
    }
    let in_red = red.wait_for("lab", "Ready", "True", PATIENCE).await;
    let in_blue = blue.wait_for("lab", "Ready", "True", PATIENCE).await;
    let twice = LAB_HOLDINGS.map(|(kind, count)| (kind, 2 * count));
    assert_eq!(Holdings::of(&aws).await.counts_beyond(&before), BTreeMap::from(twice));
    assert!(ids(&in_red).is_disjoint(&ids(&in_blue)));
    let vpcs = aws.changes().into_iter().filter(|call| call.action == "CreateVpc");
    let ranges: Vec<_> = vpcs.map(|call| call.params["CidrBlock"].clone()).collect();
    assert_eq!(ranges, ["10.0.0.0/16", "10.0.0.0/16"]);

    // What happens to the one is nothing to the other, until its end.
    let blues = machines_of(&aws, &uid(&in_blue)).await;
    let lost = machines_of(&aws, &uid(&in_red))
        .await
        .into_iter()
        .next()
        .expect("machines");
    let terminated = aws.ec2().terminate_instances().instance_ids(&lost).send().await;
    terminated.expect("somebody terminates a machine");
    until("the machine is replaced", PATIENCE, async || {
        let machines = machines_of(&aws, &uid(&in_red)).await;
        if machines.len() == 3 && !machines.contains(&lost) {
            Ok(())
        } else {
            Err(format!("{machines:?}"))
        }
    })
    .await;
    red.wait_for("lab", "Ready", "True", PATIENCE).await;
    assert_eq!(machines_of(&aws, &uid(&in_blue)).await, blues);
    assert_eq!(ever_launched(&aws).len(), 7);
    red.delete("lab").await;
    red.wait_until_gone("lab", PATIENCE).await;
    let mut rest = BTreeMap::from(LAB_HOLDINGS);
    rest.insert("bucket", 8);
    assert_eq!(Holdings::of(&aws).await.counts_beyond(&before), rest);
    let still = blue.wait_for("lab", "Ready", "True", PATIENCE).await;
    assert_eq!(ids(&still), ids(&in_blue));
}

#[tokio::test]
async fn a_name_that_comes_again_inherits_nothing_but_released_buckets() {
    let scene = Scene::start().await;
    let first = scene.space.ready_lab().await;
    let made = scene.made().await;
    scene.space.delete("lab").await;
    scene.space.wait_until_gone("lab", PATIENCE).await;

    let second = scene.space.ready_lab().await;

    let again = scene.made().await;
    assert_eq!(made["bucket"], again["bucket"]);
    for (kind, ids) in made.iter().filter(|(kind, _)| **kind != "bucket") {
        assert!(
            ids.iter().all(|id| !again[kind].contains(id)),
            "{kind}: {ids:?} {:?}",
            again[kind]
        );
    }
    assert_ne!(uid(&first), uid(&second));
    assert_eq!(machines_of(&scene.aws, &uid(&second)).await.len(), 3);
    let launches = |cluster: &RayCluster| {
        let launches = cluster.status.iter().flat_map(|status| &status.launches);
        launches.map(|launch| launch.number).collect::<BTreeSet<_>>()
    };
    assert!(
        launches(&first).is_disjoint(&launches(&second)),
        "a launch number is never given out again"
    );
}

#[tokio::test]
async fn a_status_that_is_wiped_at_rest_is_rebuilt_and_nothing_changes_on_aws() {
    let scene = Scene::start_with(&["--lost-record-hold=3s"]).await;
    let before = scene.space.ready_lab().await;
    scene.aws.further_calls("DescribeInstances", 4).await;
    let seen = scene.aws.calls().last().map_or(0, |call| call.seq);

    set_status(&scene.space, &Value::Null).await;

    let after = scene.space.wait_for("lab", "Ready", "True", PATIENCE).await;
    assert_eq!(ids(&after), ids(&before));
    assert_eq!(
        after.status.as_ref().map(|status| &status.buckets),
        before.status.as_ref().map(|status| &status.buckets)
    );
    scene.aws.further_calls("DescribeInstances", 8).await;
    let changed = scene.aws.calls_since(seen).into_iter().filter(|call| call.change);
    assert_eq!(changed.map(|call| call.action).collect::<Vec<_>>(), [""; 0]);

    // The numbers of launches go on above the lost ones.
    let more = json!({"spec": {"workerGroups": [{"name": "cpu", "replicas": 3, "instanceTypes": ["t2.medium"]}]}});
    scene.space.patch("lab", &more).await.expect("it is accepted");
    let grown = scene.space.wait_for("lab", "Ready", "True", PATIENCE).await;
    let last = |cluster: &RayCluster| cluster.status.as_ref().and_then(|status| status.last_launch);
    assert!(last(&grown) > last(&before), "{:?} {:?}", last(&grown), last(&before));
    assert_eq!(ever_launched(&scene.aws).len(), 4);
}

#[tokio::test]
async fn a_launch_is_on_record_before_it_is_sent() {
    let scene = Scene::start().await;
    let slow = scene
        .aws
        .inject(&json!({"action": "RunInstances", "kind": "delay", "seconds": 2}));
    scene.space.apply(LAB).await.expect("it is accepted");
    scene.aws.until_fired(&slow).await;

    let cluster = scene.space.cluster("lab").await;
    let launches = cluster.status.expect("a status").launches;
    let states: Vec<_> = launches
        .iter()
        .map(|launch| (launch.group.as_deref(), launch.state))
        .collect();
    assert_eq!(states, [(None, LaunchState::Open)]);
    scene.space.wait_for("lab", "Ready", "True", PATIENCE).await;
    finished_without_doubles(&scene).await;
}

#[tokio::test]
async fn a_status_that_is_wiped_in_the_middle_of_a_launch_doubles_nothing() {
    let scene = Scene::start_with(&["--lost-record-hold=4s"]).await;
    let slow = scene
        .aws
        .inject(&json!({"action": "RunInstances", "kind": "delay", "seconds": 2}));
    scene.space.apply(LAB).await.expect("it is accepted");
    scene.aws.until_fired(&slow).await;

    set_status(&scene.space, &Value::Null).await;

    scene.space.wait_for("lab", "Ready", "True", PATIENCE).await;
    finished_without_doubles(&scene).await;
}

#[tokio::test]
async fn a_status_that_is_wiped_while_the_controller_is_dead_and_a_launch_lands_doubles_nothing() {
    let mut scene = Scene::start_with(&["--lost-record-hold=5s"]).await;
    let slow = scene
        .aws
        .inject(&json!({"action": "RunInstances", "kind": "delay", "seconds": 3}));
    scene.space.apply(LAB).await.expect("it is accepted");
    scene.aws.until_fired(&slow).await;

    scene.controller.kill();
    set_status(&scene.space, &Value::Null).await;
    scene.controller.restart().await;

    let held = |cluster: &RayCluster| {
        let status = cluster.status.as_ref();
        status.is_some_and(|status| status.launches_held_until.is_some())
    };
    scene.space.wait_until("lab", "launches are held", PATIENCE, held).await;
    scene.space.wait_for("lab", "Ready", "True", PATIENCE).await;
    finished_without_doubles(&scene).await;
}

async fn finished_without_doubles(scene: &Scene) {
    scene.aws.further_calls("DescribeInstances", 6).await;
    let counts = Holdings::of(&scene.aws).await.counts_beyond(&scene.before);
    assert_eq!(counts, BTreeMap::from(LAB_HOLDINGS));
    assert_eq!(ever_launched(&scene.aws).len(), 3);
    let cluster = scene.space.cluster("lab").await;
    assert_eq!(machines_of(&scene.aws, &uid(&cluster)).await.len(), 3);
}

#[tokio::test]
async fn beside_the_machines_of_a_restored_backups_original_nothing_is_launched() {
    let mut scene = Scene::start().await;
    let original = scene.space.ready_lab().await;
    let machines = machines_of(&scene.aws, &uid(&original)).await;
    scene.controller.kill();
    // A backup is restored: the object is another one, with the status of the first.
    let let_go = json!({"metadata": {"finalizers": []}});
    scene
        .space
        .patch("lab", &let_go)
        .await
        .expect("the finalizer is taken off");
    scene.space.delete("lab").await;
    scene.space.wait_until_gone("lab", PATIENCE).await;
    scene.space.apply(LAB).await.expect("it is accepted");
    set_status(&scene.space, &json!(original.status)).await;
    let seen = scene.aws.calls().last().map_or(0, |call| call.seq);

    scene.controller.restart().await;

    let told = |cluster: &RayCluster| {
        condition(cluster, "Ready").is_some_and(|each| {
            each.status == "False"
                && each.reason == "PredecessorAlive"
                && machines.iter().all(|machine| each.message.contains(machine))
        })
    };
    scene
        .space
        .wait_until("lab", "it names its predecessor's machines", PATIENCE, told)
        .await;
    scene.aws.further_calls("DescribeInstances", 8).await;
    let restored = scene.space.cluster("lab").await;
    assert!(told(&restored), "{:?}", restored.status);
    let since = scene.aws.calls_since(seen);
    let launches = since.iter().filter(|call| call.action == "RunInstances");
    assert_eq!(launches.count(), 0);
    let touched = since.iter().filter(|call| {
        let params = call.params.to_string();
        call.change && ids(&original).iter().any(|id| params.contains(id.as_str()))
    });
    assert_eq!(touched.map(|call| &call.action).collect::<Vec<_>>(), [""; 0]);

    // Its end is not the original's.
    scene.space.delete("lab").await;
    scene.space.wait_until_gone("lab", PATIENCE).await;
    assert_eq!(machines_of(&scene.aws, &uid(&original)).await, machines);
    let counts = Holdings::of(&scene.aws).await.counts_beyond(&scene.before);
    assert_eq!(counts, BTreeMap::from(LAB_HOLDINGS));
}

#[tokio::test]
async fn a_machine_that_lost_its_tags_gets_them_back_and_is_not_replaced() {
    let scene = Scene::start().await;
    let cluster = scene.space.ready_lab().await;
    let machines = machines_of(&scene.aws, &uid(&cluster)).await;
    assert_eq!(machines.len(), 3);
    let ec2 = scene.aws.ec2();
    let mut untag = ec2.delete_tags();
    for machine in &machines {
        untag = untag.resources(machine);
    }
    // No tags named: all of them.
    untag.send().await.expect("somebody removes the tags");
    assert_eq!(machines_of(&scene.aws, &uid(&cluster)).await.len(), 0);

    until("the machines are tagged again", PATIENCE, async || {
        let tagged = machines_of(&scene.aws, &uid(&cluster)).await;
        if tagged == machines {
            Ok(())
        } else {
            Err(format!("{tagged:?}\n{}", scene.controller.log_tail()))
        }
    })
    .await;
    scene.space.wait_for("lab", "Ready", "True", PATIENCE).await;
    scene.aws.further_calls("DescribeInstances", 6).await;
    assert_eq!(ever_launched(&scene.aws).len(), 3);
    let terminated = scene
        .aws
        .changes()
        .into_iter()
        .filter(|call| call.action == "TerminateInstances");
    assert_eq!(terminated.count(), 0);
    let after = scene.space.cluster("lab").await;
    assert_eq!(ids(&after), ids(&cluster));
}

#[tokio::test]
async fn a_head_that_lost_its_tags_and_its_record_is_known_by_its_place() {
    let mut scene = Scene::start_with(&["--lost-record-hold=1s"]).await;
    let cluster = scene.space.ready_lab().await;
    let machines = machines_of(&scene.aws, &uid(&cluster)).await;
    let head = cluster
        .status
        .as_ref()
        .and_then(|status| status.head.as_ref()?.instance_id.clone());

    scene.controller.kill();
    set_status(&scene.space, &Value::Null).await;
    let untag = scene.aws.ec2().delete_tags().resources(head.expect("a head"));
    untag.send().await.expect("somebody removes the tags");
    scene.controller.restart().await;

    until("the head is tagged again", PATIENCE, async || {
        let tagged = machines_of(&scene.aws, &uid(&cluster)).await;
        if tagged == machines {
            Ok(())
        } else {
            Err(format!("{tagged:?}\n{}", scene.controller.log_tail()))
        }
    })
    .await;
    let after = scene.space.wait_for("lab", "Ready", "True", PATIENCE).await;
    scene.aws.further_calls("DescribeInstances", 6).await;
    assert_eq!(ids(&after), ids(&cluster));
    assert_eq!(ever_launched(&scene.aws).len(), 3);
}

#[tokio::test]
async fn another_installation_in_the_account_is_never_touched() {
    // The same name in a namespace of the same name, in another Kubernetes cluster.
    let elsewhere = ControlPlane::start(&test_name()).await;
    let scene = Scene::start().await;
    let theirs = namespace(&elsewhere, &scene.space.name).await;
    let _their_controller = Controller::start(&elsewhere, &scene.aws, &theirs.name).await;
    let their_lab = theirs.ready_lab().await;
    let their_things = scene.made().await;

    let our_lab = scene.space.ready_lab().await;
    assert!(ids(&our_lab).is_disjoint(&ids(&their_lab)));
    let twice = LAB_HOLDINGS.map(|(kind, count)| (kind, 2 * count));
    let counts = Holdings::of(&scene.aws).await.counts_beyond(&scene.before);
    assert_eq!(counts, BTreeMap::from(twice));
    scene.space.delete("lab").await;
    scene.space.wait_until_gone("lab", PATIENCE).await;

    let left = scene.made().await;
    for (kind, ids) in &their_things {
        assert!(
            ids.iter().all(|id| left[kind].contains(id)),
            "{kind}: {ids:?} {:?}",
            left[kind]
        );
    }
    assert_eq!(left["machine"].len(), 3);
    assert_eq!(left["bucket"].len(), 4 + KEPT[0].1);
    let after = theirs.wait_for("lab", "Ready", "True", PATIENCE).await;
    assert_eq!(ids(&after), ids(&their_lab));
}

#[tokio::test]
async fn a_controller_that_was_away_for_long_takes_up_what_it_finds() {
    let mut scene = Scene::start().await;
    let before = scene.space.ready_lab().await;
    let head = before.status.as_ref().and_then(|status| status.head.as_ref());
    let head = head.and_then(|head| head.instance_id.clone()).expect("a head");
    let all = machines_of(&scene.aws, &uid(&before)).await;
    let mut workers = all.into_iter().filter(|machine| *machine != head);
    let (lost, bare) = (workers.next().expect("a worker"), workers.next().expect("another"));
    scene.controller.kill();

    // Meanwhile a machine is terminated and forgotten, another loses its tags, a route goes, and the wish grows.
    scene
        .aws
        .set(&json!({"shutting_down_seconds": 0.1, "forget_terminated_seconds": 0.1}));
    let ec2 = scene.aws.ec2();
    ec2.terminate_instances()
        .instance_ids(&lost)
        .send()
        .await
        .expect("a machine is terminated");
    ec2.delete_tags()
        .resources(&bare)
        .send()
        .await
        .expect("tags are removed");
    let table = scene
        .space
        .cluster("lab")
        .await
        .status
        .and_then(|status| status.network?.route_table_id);
    let route = ec2
        .delete_route()
        .route_table_id(table.expect("a table"))
        .destination_cidr_block("0.0.0.0/0");
    route.send().await.expect("a route is removed");
    until("nobody knows of the machine any more", PATIENCE, async || {
        let left = ec2.describe_instances().instance_ids(&lost).send().await;
        if left.is_err() {
            Ok(())
        } else {
            Err(format!("{left:?}"))
        }
    })
    .await;
    let more = json!({"spec": {"workerGroups": [{"name": "cpu", "replicas": 3, "instanceTypes": ["t2.medium"]}]}});
    scene.space.patch("lab", &more).await.expect("it is accepted");

    scene.controller.restart().await;

    scene
        .space
        .wait_for("lab", "Ready", "True", PATIENCE + Duration::from_secs(30))
        .await;
    let machines = machines_of(&scene.aws, &uid(&before)).await;
    assert_eq!(machines.len(), 4);
    assert!(machines.contains(&head) && machines.contains(&bare) && !machines.contains(&lost));
    assert_eq!(
        ever_launched(&scene.aws).len(),
        5,
        "three at first, one for the lost one, one more"
    );
    let routes = scene
        .aws
        .changes()
        .into_iter()
        .filter(|call| call.action == "CreateRoute");
    assert_eq!(routes.count(), 2);
}
