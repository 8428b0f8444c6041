//! What happens to machines outside, and what their owner changes about them.

use std::collections::BTreeMap;

use jiff::SignedDuration;
use serde_json::{Value, json};

use crate::support::cluster::condition;
use crate::support::fleet::{alive, head, ids, launches, most_alive, names, wait_for_machines, workers};
use crate::support::light::trouble::{Trouble, Until};
use crate::support::scene::Scene;
use crate::support::stand_in::Call;
use crate::support::sweeps::{last_call, sweeps, sweeps_between};
use crate::support::wait::{PATIENCE, until};

/// Most looks at AWS between a loss and its repair: one that sees it, and those that a slow machine makes meanwhile.
const LOOKS: usize = 5;

/// How a machine is lost.
#[derive(Clone, Copy, Debug)]
enum Loss {
    Terminated,
    FailsCheck(&'static str),
}

/// The worker groups of the lab with other numbers.
fn groups(groups: &[(&str, u32)]) -> Value {
    let group = |(name, replicas): &(&str, u32)| json!({"name": name, "replicas": replicas});
    json!({"spec": {"workerGroups": groups.iter().map(group).collect::<Vec<_>>()}})
}

async fn terminate(scene: &Scene, id: &str) {
    let request = scene.aws.ec2().terminate_instances().instance_ids(id);
    request.send().await.expect("somebody terminates a machine");
}

fn launch_sizes(launches: &[Call]) -> Vec<u64> {
    let mut sizes: Vec<u64> = launches
        .iter()
        .filter_map(|call| call.params["MaxCount"].as_u64())
        .collect();
    sizes.sort_unstable();
    sizes
}

#[tokio::test]
async fn a_lost_worker_is_replaced_within_a_sweep() {
    let scene = Scene::start_with(&["--lost-after=3s", "--heal-window=3s"]).await;
    scene.space.ready_lab().await;
    let the_head = head(&scene.aws).await;
    for loss in [
        Loss::Terminated,
        Loss::FailsCheck("instance"),
        Loss::FailsCheck("system"),
    ] {
        let before = workers(&scene.aws).await;
        let (lost, kept) = (&before[0].id, &before[1].id);
        let known = launches(&scene.aws).len();
        match loss {
            Loss::Terminated => terminate(&scene, lost).await,
            // What EC2 says costs a worker its machine only where Ray does not list it either, nor after a reboot.
            Loss::FailsCheck(check) => {
                scene.aws.set_status_checks(lost, &json!({check: "impaired"}));
                let told = scene.space.wait_until("lab", "it is told", PATIENCE, |lab| {
                    condition(lab, "WorkersReady").is_some_and(|ready| ready.reason == "Impaired")
                });
                told.await;
                scene.aws.light().trouble(lost, Trouble::Raylet, Until::Replaced);
            }
        }
        wait_for_machines(&scene.aws, &format!("{loss:?}: another worker"), |all| {
            all.len() == 3 && !ids(all).contains(lost)
        })
        .await;
        scene.space.wait_for("lab", "Ready", "True", PATIENCE).await;

        let now = ids(&alive(&scene.aws).await);
        assert!(now.contains(kept) && now.contains(&the_head.id), "{loss:?}: {now:?}");
        let new = launches(&scene.aws).split_off(known);
        assert_eq!(launch_sizes(&new), [1], "{loss:?}");
        let gone = last_call(&scene.aws, "TerminateInstances", |params| names(params, lost)).expect("it is gone");
        let looks = sweeps_between(&scene.aws, "DescribeInstances", &gone, &new[0]);
        assert!(looks <= LOOKS, "{loss:?}: {looks} looks until the launch");
    }
    assert_eq!(most_alive(&scene.aws), 3);
}

#[tokio::test]
async fn the_console_of_a_worker_that_nothing_reaches_is_told_before_it_is_replaced() {
    let scene = Scene::start_with(&["--lost-after=3s", "--heal-window=3s"]).await;
    scene.space.ready_lab().await;
    scene
        .aws
        .set(&json!({"consoles": {"*": "\u{1b}[1mlogin:\u{1b}[0m\r\nKernel panic - not syncing\r\n"}}));
    let refused = json!({"action": "GetConsoleOutput", "kind": "error", "code": "UnauthorizedOperation"});
    for is_refused in [false, true] {
        if is_refused {
            scene.aws.inject(&refused);
        }
        let lost = workers(&scene.aws).await.remove(0).id;
        for trouble in [Trouble::Raylet, Trouble::SshClosed] {
            scene.aws.light().trouble(&lost, trouble, Until::Replaced);
        }
        wait_for_machines(&scene.aws, "another worker", |all| {
            all.len() == 3 && !ids(all).contains(&lost)
        })
        .await;
        scene.space.wait_for("lab", "Ready", "True", PATIENCE).await;
        let reads = scene.aws.calls().into_iter();
        let reads = reads.filter(|call| call.action == "GetConsoleOutput" && call.params["InstanceId"] == lost);
        assert_eq!(reads.count(), 1, "is refused: {is_refused}");
        let event = until("its end is told", PATIENCE, async || {
            let events = scene.space.events().await;
            let ended = |event: &&String| event.starts_with("InstancesTerminated") && event.contains(&lost);
            events.iter().find(ended).cloned().ok_or_else(|| format!("{events:#?}"))
        })
        .await;
        let said = "its console ends with: login: | Kernel panic - not syncing";
        assert_eq!(event.contains(said), !is_refused, "{event}");
    }
    let events = scene.space.events().await;
    let is_told = |event: &&String| event.starts_with("UnauthorizedOperation") && event.contains("read the console");
    assert!(events.iter().any(|event| is_told(&event)), "{events:#?}");
}

#[tokio::test]
async fn a_stopped_worker_is_started_again() {
    let scene = Scene::start().await;
    scene.space.ready_lab().await;
    let before = alive(&scene.aws).await;
    let stopped = &workers(&scene.aws).await[1].id;
    let request = scene.aws.ec2().stop_instances().instance_ids(stopped);
    request.send().await.expect("somebody stops a machine");
    until("somebody starts it", PATIENCE, async || {
        let start = last_call(&scene.aws, "StartInstances", |params| names(params, stopped));
        start.ok_or_else(|| scene.controller.log_tail())
    })
    .await;
    wait_for_machines(&scene.aws, "all run", |_| true).await;
    scene.space.wait_for("lab", "Ready", "True", PATIENCE).await;
    assert_eq!(ids(&alive(&scene.aws).await), ids(&before));
    assert_eq!(launches(&scene.aws).len(), 2, "the head and the group");
}

#[tokio::test]
async fn a_lost_head_is_followed_by_one_at_the_same_address_and_the_workers_stay() {
    let scene = Scene::start().await;
    scene.space.ready_lab().await;
    let crew = workers(&scene.aws).await;
    let before = head(&scene.aws).await;
    terminate(&scene, &before.id).await;
    wait_for_machines(&scene.aws, "another head", |all| {
        all.len() == 3 && !ids(all).contains(&before.id)
    })
    .await;
    let after = head(&scene.aws).await;
    assert_eq!(after.private_address, before.private_address);
    let lab = scene.space.wait_until("lab", "the new head is told", PATIENCE, |lab| {
        let head = lab.status.as_ref().and_then(|status| status.head.as_ref());
        let ready = condition(lab, "Ready").is_some_and(|ready| ready.status == "True");
        ready && head.is_some_and(|head| head.instance_id.as_ref() == Some(&after.id))
    });
    let told = lab.await.status.and_then(|status| status.head).expect("a head");
    assert_eq!(told.private_address, Some(after.private_address));
    assert_eq!(told.public_address, Some(after.public_address));
    assert_eq!(workers(&scene.aws).await, crew, "nobody touched the workers");
    assert_eq!(most_alive(&scene.aws), 3);
}

#[tokio::test]
async fn a_head_that_fails_its_checks_and_works_is_told_and_kept() {
    let scene = Scene::start().await;
    scene.space.ready_lab().await;
    let before = ids(&alive(&scene.aws).await);
    let the_head = head(&scene.aws).await;
    scene
        .aws
        .set_status_checks(&the_head.id, &json!({"system": "impaired"}));
    let lab = scene.space.wait_until("lab", "it is told", PATIENCE, |lab| {
        condition(lab, "HeadReady").is_some_and(|ready| ready.reason == "Impaired")
    });
    lab.await;
    scene.aws.set_status_checks(&the_head.id, &json!({"system": "ok"}));
    scene.space.wait_for("lab", "Ready", "True", PATIENCE).await;
    assert_eq!(ids(&alive(&scene.aws).await), before);
    assert!(last_call(&scene.aws, "RebootInstances", |_| true).is_none());
}

#[tokio::test]
async fn a_launch_that_stays_pending_is_given_up_and_replaced() {
    let scene = Scene::start_with(&["--launch-pending=6s"]).await;
    scene.space.ready_lab().await;
    let known = ids(&alive(&scene.aws).await);
    scene.aws.set(&json!({"stuck_pending": 1}));
    scene
        .space
        .patch("lab", &groups(&[("cpu", 3)]))
        .await
        .expect("more workers");
    scene.space.wait_for("lab", "Ready", "True", PATIENCE).await;

    let now = ids(&alive(&scene.aws).await);
    assert!(now.len() == 4 && now.is_superset(&known), "{now:?}");
    let given_up = last_call(&scene.aws, "TerminateInstances", |_| true).expect("one was given up");
    let stuck = launches(&scene.aws)[2].ids.clone();
    assert!(
        stuck.iter().any(|id| names(&given_up.params, id)),
        "{stuck:?}, {:?}",
        given_up.params
    );
    assert_eq!(most_alive(&scene.aws), 4);
    let told = scene.space.events().await;
    assert!(
        told.iter()
            .any(|event| event.contains("is still pending 6 s after its launch")),
        "{told:#?}"
    );
}

#[tokio::test]
async fn a_group_grows_in_one_launch_and_loses_the_unhealthy_first_and_then_the_newest() {
    let mut scene = Scene::start().await;
    scene.space.ready_lab().await;
    let oldest = workers(&scene.aws).await;
    scene
        .space
        .patch("lab", &groups(&[("cpu", 4)]))
        .await
        .expect("more workers");
    scene.space.wait_for("lab", "Ready", "True", PATIENCE).await;
    let four = wait_for_machines(&scene.aws, "four workers", |all| all.len() == 5).await;
    assert_eq!(launch_sizes(&launches(&scene.aws)), [1, 2, 2]);

    // Both at once, so that it is not replaced before.
    let unhealthy = &oldest[0].id;
    scene.controller.stop(PATIENCE);
    scene.aws.set_status_checks(unhealthy, &json!({"instance": "impaired"}));
    scene
        .space
        .patch("lab", &groups(&[("cpu", 3)]))
        .await
        .expect("fewer workers");
    scene.controller.restart().await;
    scene.space.wait_for("lab", "Ready", "True", PATIENCE).await;
    let mut left = ids(&four);
    left.remove(unhealthy);
    assert_eq!(ids(&workers(&scene.aws).await), left);

    scene
        .space
        .patch("lab", &groups(&[("cpu", 1)]))
        .await
        .expect("fewer workers");
    scene.space.wait_for("lab", "Ready", "True", PATIENCE).await;
    assert_eq!(ids(&workers(&scene.aws).await), [oldest[1].id.clone()].into());
    assert_eq!(launches(&scene.aws).len(), 3, "nothing was launched to shrink");
    assert_eq!(most_alive(&scene.aws), 5);
}

#[tokio::test]
async fn groups_come_and_go_with_one_launch_each_and_never_more_machines_than_asked_for() {
    let scene = Scene::start().await;
    scene.space.ready_lab().await;
    let the_head = head(&scene.aws).await;
    let two = groups(&[("big", 2), ("small", 1)]);
    scene.space.patch("lab", &two).await.expect("two groups instead of one");
    scene.space.wait_for("lab", "Ready", "True", PATIENCE).await;
    let mut sizes = BTreeMap::new();
    for worker in workers(&scene.aws).await {
        *sizes.entry(worker.group).or_insert(0) += 1;
    }
    assert_eq!(sizes, [("big".to_owned(), 2), ("small".to_owned(), 1)].into());
    assert_eq!(launch_sizes(&launches(&scene.aws)[2..]), [1, 2]);
    assert_eq!(
        most_alive(&scene.aws),
        4,
        "the removed group goes before the new ones come"
    );

    scene
        .space
        .patch("lab", &groups(&[("small", 1)]))
        .await
        .expect("one group less");
    let lab = scene.space.wait_for("lab", "Ready", "True", PATIENCE).await;
    let left = workers(&scene.aws).await;
    assert!(left.len() == 1 && left[0].group == "small", "{left:?}");
    let told = lab.status.expect("a status").worker_groups;
    assert!(told.iter().all(|group| group.name == "small"), "{told:?}");
    assert_eq!(head(&scene.aws).await, the_head);
}

#[tokio::test]
async fn the_cap_on_launches_holds_a_runaway_and_says_until_when() {
    let scene = Scene::start_with(&["--launch-cap-factor=1"]).await;
    scene.space.ready_lab().await;
    terminate(&scene, &workers(&scene.aws).await[0].id).await;
    let is_capped = |name: &'static str| {
        move |lab: &rayward::api::RayCluster| {
            condition(lab, name).is_some_and(|each| each.status == "False" && each.reason == "LaunchCapReached")
        }
    };
    scene
        .space
        .wait_until("lab", "the cap is told", PATIENCE, is_capped("WorkersReady"))
        .await;
    sweeps(&scene.aws, 2).await;
    let lab = scene.space.cluster("lab").await;
    assert!(is_capped("WorkersReady")(&lab) && is_capped("Ready")(&lab));
    let launched = lab.status.iter().flat_map(|status| &status.launches);
    let oldest = launched
        .map(|launch| launch.recorded_at)
        .min()
        .expect("launches are on record");
    let message = &condition(&lab, "WorkersReady").expect("it was just there").message;
    let from = (oldest + SignedDuration::from_hours(1)).to_string();
    assert!(
        message.contains(&from) && message.contains("cap for this cluster is 3"),
        "{message}"
    );
    assert_eq!(launches(&scene.aws).len(), 2, "the head and the group");
}

#[tokio::test]
async fn a_changed_type_disk_or_image_is_told_and_holds_for_new_machines_only() {
    let scene = Scene::start().await;
    scene.space.ready_lab().await;
    let before = alive(&scene.aws).await;
    let image = &before[0].image;
    let change = json!({"spec": {
        "head": {"instanceType": "t2.large", "image": {"id": null}, "publicAddress": "None"},
        "workerGroups": [{
            "name": "cpu", "replicas": 2, "instanceTypes": ["c5.large"], "rootVolume": {"sizeGiB": 120},
        }],
    }});
    scene
        .space
        .patch("lab", &change)
        .await
        .expect("another type, disk, image and address");
    let lab = scene.space.wait_for("lab", "UpToDate", "False", PATIENCE).await;
    sweeps(&scene.aws, 2).await;
    assert_eq!(alive(&scene.aws).await, before, "nothing that runs is replaced");

    let told = condition(&lab, "UpToDate").expect("it was just there");
    assert_eq!(told.reason, "Outdated");
    for part in [
        "type t2.medium, now t2.large",
        "type t2.medium, now c5.large",
        "now 120GiB-gp3",
        "image ",
        ", now None",
    ] {
        assert!(told.message.contains(part), "{part}: {}", told.message);
    }
    for machine in &before {
        assert!(told.message.contains(&machine.id), "{}: {}", machine.id, told.message);
    }
    let status = lab.status.expect("a status");
    assert_eq!(status.worker_groups[0].outdated, 2);

    let one_more = json!({"spec": {"workerGroups": [{
        "name": "cpu", "replicas": 3, "instanceTypes": ["c5.large"], "rootVolume": {"sizeGiB": 120},
    }]}});
    scene.space.patch("lab", &one_more).await.expect("one more worker");
    wait_for_machines(&scene.aws, "one more worker", |all| all.len() == 4).await;
    let launch = &launches(&scene.aws)[2];
    assert_eq!(launch.params["InstanceType"], "c5.large");
    assert_eq!(launch.params["BlockDeviceMappings"][0]["Ebs"]["VolumeSize"], 120);
    assert_eq!(
        launch.params["ImageId"],
        image.as_str(),
        "Ray refuses a worker that is not as its head"
    );
}

#[tokio::test]
async fn without_an_image_in_the_spec_machines_are_made_from_ubuntus_current_one() {
    let scene = Scene::start().await;
    let small = "
apiVersion: rayward.dev/v1alpha1
kind: RayCluster
metadata: {name: small}
spec: {region: ap-southeast-1, buckets: [], workerGroups: [{name: cpu, replicas: 1}]}
";
    scene.space.apply(small).await.expect("it is accepted");
    scene.space.wait_for("small", "Ready", "True", PATIENCE).await;
    let (head, workers) = (head(&scene.aws).await, workers(&scene.aws).await);
    assert_eq!(workers[0].image, head.image);
    let answer = scene.aws.ec2().describe_images().image_ids(&head.image).send().await;
    let answer = answer.expect("the image is there");
    let image = answer.images().first().expect("the image is there");
    assert!(
        image.name().is_some_and(|name| name.starts_with("ubuntu/images/")),
        "{image:?}"
    );
    let asked = last_call(&scene.aws, "GetParameter", |_| true).expect("SSM was asked");
    assert!(
        asked.params["Name"]
            .as_str()
            .is_some_and(|name| name.starts_with("/aws/service/canonical/ubuntu/")),
        "{asked:?}"
    );
}
