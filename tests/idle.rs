//! `spec.idle`: a cluster that nobody uses goes down and wakes up, one that is in use never does.

mod clocks;
mod people;
mod unknown;

use std::time::Duration;

use jiff::Timestamp;
use kube::ResourceExt;
use rayward::api::{KEEP_ALIVE_UNTIL, Phase, RayCluster, STOPPED, WAKE};
use serde_json::json;

use crate::support::cluster::{LAB, condition};
use crate::support::fleet::{alive, head, ids, launches, names};
use crate::support::light::load::{Actor, Job, Load};
use crate::support::scene::Scene;
use crate::support::sweeps::{last_call, sweeps};
use crate::support::wait::PATIENCE;

/// How long nobody uses a cluster of these tests before it goes down.
const TIMEOUT: Duration = Duration::from_secs(12);
const QUICK: &[&str] = &["--look-interval=1s", "--idle-proof=3s"];

/// The lab with a short timeout, ready.
async fn lab(scene: &Scene, action: &str) -> RayCluster {
    lab_with(scene, &[("action: Stop", &format!("action: {action}"))]).await
}

/// The same with these words in place of others.
async fn lab_with(scene: &Scene, changes: &[(&str, &str)]) -> RayCluster {
    let mut lab = LAB.to_owned();
    for (from, to) in changes {
        assert!(lab.contains(from), "{from}");
        lab = lab.replacen(from, to, 1);
    }
    lab = lab.replacen("timeout: 90m", &format!("timeout: {}s", TIMEOUT.as_secs()), 1);
    scene.space.apply(&lab).await.expect("the lab is accepted");
    scene.space.wait_for("lab", "Ready", "True", PATIENCE).await
}

/// When it was decided to stop a lab that is down, or is about to be.
fn decided_at(lab: &RayCluster) -> Timestamp {
    let mark = lab.annotations().get(STOPPED).expect("it is marked");
    let (_, rest) = mark.split_once('@').expect("a reason and a time");
    let (at, uid) = rest.split_once('/').expect("a time and the object's uid");
    assert_eq!(Some(uid), lab.uid().as_deref());
    at.parse().expect("a time")
}

async fn annotate(scene: &Scene, name: &str, value: &str) {
    let wish = json!({"metadata": {"annotations": {name: value}}});
    scene
        .space
        .patch("lab", &wish)
        .await
        .expect("the annotation is accepted");
}

/// Waits until the lab is down for this reason, and looks at what is told then.
async fn down(scene: &Scene, reason: &str) -> RayCluster {
    let is_down = |lab: &RayCluster| {
        condition(lab, "Suspended").is_some_and(|each| (each.status.as_str(), each.reason.as_str()) == ("True", reason))
    };
    let what = format!("it is down: {reason}");
    let lab = scene.space.wait_until("lab", &what, PATIENCE, is_down).await;
    let mark = lab.annotations().get(STOPPED).cloned().unwrap_or_default();
    assert!(mark.starts_with(&format!("{reason}@")), "{mark:?}");
    for absent in ["Reconciling", "Stalled", "Idle"] {
        assert!(condition(&lab, absent).is_none(), "{:?}", condition(&lab, absent));
    }
    let status = lab.status.clone().expect("a status");
    assert_eq!((status.phase, status.idle_deadline), (Some(Phase::Suspended), None));
    lab
}

/// Lets more time pass than an unused cluster has, and makes sure that nothing was stopped in it.
async fn stays_up(scene: &Scene, why: &str) {
    tokio::time::sleep(TIMEOUT + Duration::from_secs(6)).await;
    let stop = last_call(&scene.aws, "StopInstances", |_| true);
    assert!(stop.is_none(), "{why}: {stop:?}");
}

#[tokio::test]
async fn a_cluster_that_nobody_uses_is_stopped_and_wakes_as_it_was() {
    let mut scene = Scene::start_with(QUICK).await;
    let spec = lab(&scene, "Stop").await.spec;
    let idle = scene.space.wait_for("lab", "Idle", "True", PATIENCE).await;
    let status = idle.status.clone().expect("a status");
    let (used, deadline) = (status.last_activity_time, status.idle_deadline);
    assert!(used.is_some() && deadline > used, "{used:?} {deadline:?}");
    let before = alive(&scene.aws).await;
    scene
        .space
        .wait_for_event("the stop that is near", |event| {
            event.starts_with("StoppingSoon: nobody has used it")
        })
        .await;
    let lab = down(&scene, "Idle").await;
    assert_eq!(lab.spec, spec, "the spec is the person's");
    let ready = condition(&lab, "Ready").expect("Ready is always there");
    assert_eq!((ready.status.as_str(), ready.reason.as_str()), ("False", "Stopped"));
    let all = alive(&scene.aws).await;
    assert!(all.iter().all(|machine| machine.state == "stopped"), "{all:#?}");
    scene
        .space
        .wait_for_event("the stop", |event| event.starts_with("Idle: nobody has used it"))
        .await;
    assert!(
        scene
            .controller
            .metrics()
            .contains("rayward_shutdowns_total{cause=\"Idle\"} 1")
    );

    // Another process finds it as it is.
    scene.controller.stop(Duration::from_secs(15));
    scene.controller.restart().await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert!(last_call(&scene.aws, "StartInstances", |_| true).is_none());

    annotate(&scene, WAKE, "good morning").await;
    let lab = scene.space.wait_for("lab", "Ready", "True", PATIENCE).await;
    assert!(!lab.annotations().contains_key(STOPPED));
    assert_eq!(lab.status.and_then(|status| status.workers).as_deref(), Some("2/2"));
    assert_eq!(ids(&alive(&scene.aws).await), ids(&before), "the same machines");
    down(&scene, "Idle").await;
    let starts = scene.aws.changes().len();
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(scene.aws.changes().len(), starts, "the same text wakes nothing");

    // Nor does it when it is written anew.
    let gone = json!({"metadata": {"annotations": {WAKE: null}}});
    scene
        .space
        .patch("lab", &gone)
        .await
        .expect("the annotation is taken away");
    annotate(&scene, WAKE, "good morning").await;
    sweeps(&scene.aws, 2).await;
    assert_eq!(scene.aws.changes().len(), starts, "once for each value");
    annotate(&scene, WAKE, "good evening").await;
    scene.space.wait_for("lab", "Ready", "True", PATIENCE).await;
    let calls = scene.aws.changes().into_iter();
    let head_starts = calls.filter(|call| call.action == "StartInstances" && names(&call.params, &before[0].id));
    assert_eq!(head_starts.count(), 2, "two values");
}

#[tokio::test]
async fn what_uses_a_cluster_keeps_it_and_once_it_ends_the_cluster_goes() {
    let scene = Scene::start_with(QUICK).await;
    let actor = Load {
        actors: vec![Actor::alive("Somebody")],
        ..Load::default()
    };
    let job = Load {
        jobs: vec![Job::submission("raysubmit_1", "RUNNING")],
        ..Load::default()
    };
    scene.aws.light().set_load(actor);
    lab(&scene, "Stop").await;
    let used = scene.space.wait_for("lab", "Idle", "False", PATIENCE).await;
    assert_eq!(used.status.and_then(|status| status.idle_deadline), None);
    stays_up(&scene, "an actor lives").await;
    scene.aws.light().set_load(job);
    stays_up(&scene, "a job runs").await;
    // With every look the head is asked for people, and workers once a minute.
    let head = head(&scene.aws).await.id;
    scene.aws.light().set_people(&head, 1, 0);
    scene.aws.light().set_load(Load::default());
    stays_up(&scene, "somebody is on a machine").await;
    scene.aws.light().set_people(&head, 0, 0);
    down(&scene, "Idle").await;
}

#[tokio::test]
async fn the_spec_wins_over_a_wake_and_a_person_over_the_clock() {
    let scene = Scene::start_with(QUICK).await;
    lab(&scene, "Stop").await;
    annotate(&scene, KEEP_ALIVE_UNTIL, "2999-01-01T00:00:00Z").await;
    stays_up(&scene, "a person keeps it up").await;
    annotate(&scene, KEEP_ALIVE_UNTIL, "soon").await;
    down(&scene, "Idle").await;
    let is_told = |event: &str| event.contains("\"soon\"") && event.contains("write one like");
    scene.space.wait_for_event("the text that is no time", is_told).await;

    let suspend = |suspend: bool| json!({"spec": {"suspend": suspend}});
    scene
        .space
        .patch("lab", &suspend(true))
        .await
        .expect("the wish is accepted");
    down(&scene, "Suspended").await;
    annotate(&scene, WAKE, "now").await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert!(
        last_call(&scene.aws, "StartInstances", |_| true).is_none(),
        "suspend: true wins"
    );
    scene
        .space
        .patch("lab", &suspend(false))
        .await
        .expect("the wish is accepted");
    scene.space.wait_for("lab", "Ready", "True", PATIENCE).await;
}

#[tokio::test]
async fn with_the_action_terminate_the_machines_go_and_a_wake_makes_new_ones() {
    let mut scene = Scene::start_with(QUICK).await;
    lab(&scene, "Terminate").await;
    let before = ids(&alive(&scene.aws).await);
    down(&scene, "IdleTerminated").await;
    assert!(alive(&scene.aws).await.is_empty());
    let kept = scene.made().await;
    assert!(kept["VPC"].len() == 1 && kept["bucket"].len() == 4, "{kept:?}");
    scene.controller.kill();
    annotate(&scene, WAKE, "now").await;
    scene.controller.restart().await;
    scene.space.wait_for("lab", "Ready", "True", PATIENCE).await;
    let now = ids(&alive(&scene.aws).await);
    assert_eq!((now.len(), now.intersection(&before).count()), (3, 0), "{now:?}");
    assert_eq!(launches(&scene.aws).len(), 4);
}

#[tokio::test]
async fn with_the_action_none_it_is_told_and_nothing_happens() {
    let scene = Scene::start_with(QUICK).await;
    lab(&scene, "None").await;
    stays_up(&scene, "the action is None").await;
    let lab = scene.space.wait_for("lab", "Idle", "True", PATIENCE).await;
    assert!(condition(&lab, "Idle").is_some_and(|idle| idle.message.contains("idle.action is None")));
    assert!(scene.controller.metrics().contains("rayward_cluster_idle_seconds{"));
}
