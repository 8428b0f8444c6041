//! What AWS does not let Rayward look at: a person hears what to do, and bad weather stays bad weather.

use rayward::api::RayCluster;
use serde_json::{Value, json};

use crate::support::cluster::{LAB, condition};
use crate::support::scene::Scene;
use crate::support::wait::{PATIENCE, until};

/// Refuses calls for good.
fn refused(action: &str, code: &str) -> Value {
    json!({"action": action, "kind": "error", "code": code, "status": 403, "times": 0, "message": "not you"})
}

/// Whether a condition holds that AWS refuses to be looked at, and says all of `words`.
fn tells(cluster: &RayCluster, name: &str, words: &[&str]) -> bool {
    condition(cluster, name).is_some_and(|told| {
        told.status == "True" && told.reason == "LookRefused" && words.iter().all(|word| told.message.contains(word))
    })
}

/// Waits until exactly one Event tells of it, however often it happened.
async fn told_in_one_event(scene: &Scene, reason: &str, words: &[&str]) {
    until("an Event", PATIENCE, async || {
        let events = scene.space.events().await;
        let told: Vec<_> = events.iter().filter(|event| event.starts_with(reason)).collect();
        match told.as_slice() {
            [event] if words.iter().all(|word| event.contains(word)) => Ok(()),
            _ => Err(events.join("\n")),
        }
    })
    .await;
}

#[tokio::test]
async fn wrong_credentials_stall_a_new_cluster_until_they_are_right() {
    let scene = Scene::start().await;
    scene.aws.inject(&refused("*", "AuthFailure"));
    scene.space.apply(LAB).await.expect("the lab is accepted");
    let words = ["AuthFailure", "ec2:DescribeInstances", "credentials", "spec.region"];
    let stalled = |lab: &RayCluster| {
        tells(lab, "Stalled", &words)
            && condition(lab, "Reconciling").is_none()
            && condition(lab, "Ready").is_some_and(|ready| ready.status == "Unknown")
    };
    let lab = scene.space.wait_until("lab", "it is stalled", PATIENCE, stalled).await;
    let message = condition(&lab, "Stalled").map(|stalled| stalled.message.clone());
    let message = message.unwrap_or_default();
    assert_eq!(message.matches("not you").count(), 1, "one cause, told once: {message}");
    told_in_one_event(&scene, "LookRefused", &["AuthFailure"]).await;
    assert_eq!(scene.aws.changes().len(), 0);

    scene.aws.clear_faults();
    scene.space.wait_for("lab", "Ready", "True", PATIENCE).await;
}

#[tokio::test]
async fn a_cluster_whose_region_nobody_can_reach_can_be_deleted() {
    let scene = Scene::start().await;
    let elsewhere = LAB.replacen("region: ap-southeast-1", "region: ap-southeast-9", 1);
    scene
        .space
        .apply(&elsewhere)
        .await
        .expect("it has the form of a region");
    let stalled = |lab: &RayCluster| tells(lab, "Stalled", &["AuthFailure", "check spec.region"]);
    scene.space.wait_until("lab", "it is stalled", PATIENCE, stalled).await;
    scene.space.delete("lab").await;
    scene.space.wait_until_gone("lab", PATIENCE).await;
    let done = scene.aws.changes().into_iter().filter(|call| call.status == Some(200));
    assert_eq!(done.count(), 0);
}

#[tokio::test]
async fn a_missing_permission_blocks_a_deletion_by_name_until_it_is_given() {
    let mut scene = Scene::start().await;
    scene.space.ready_lab().await;
    scene.controller.kill();
    scene
        .aws
        .inject(&refused("DescribeNetworkInterfaces", "UnauthorizedOperation"));
    scene.space.delete("lab").await;
    scene.controller.restart().await;
    let words = [
        "ec2:DescribeNetworkInterfaces",
        "UnauthorizedOperation",
        "allow this call",
    ];
    let blocked = |lab: &RayCluster| tells(lab, "DeletionBlocked", &words) && tells(lab, "Stalled", &words);
    scene
        .space
        .wait_until("lab", "its deletion is blocked", PATIENCE, blocked)
        .await;
    told_in_one_event(&scene, "DeletionBlocked", &words).await;

    scene.aws.clear_faults();
    scene.space.wait_until_gone("lab", PATIENCE).await;
}

#[tokio::test]
async fn an_unavailable_aws_stalls_nobody() {
    let scene = Scene::start().await;
    scene
        .aws
        .inject(&json!({"action": "*", "kind": "unavailable", "times": 0}));
    scene.space.apply(LAB).await.expect("the lab is accepted");
    scene.aws.further_calls("DescribeInstances", 3).await;
    let says = |lab: &RayCluster| {
        condition(lab, "Ready").is_some_and(|ready| ready.status == "Unknown" && ready.reason == "NotObserved")
    };
    let lab = scene
        .space
        .wait_until("lab", "it says that it waits", PATIENCE, says)
        .await;
    assert!(
        condition(&lab, "Stalled").is_none() && condition(&lab, "Reconciling").is_some(),
        "{:?}",
        lab.status
    );

    scene.aws.clear_faults();
    scene.space.wait_for("lab", "Ready", "True", PATIENCE).await;
}
