//! What the controller forgets, and what somebody makes it forget, neither hurries a stop nor puts it off for ever.

use jiff::SignedDuration;
use kube::api::{Patch, PatchParams};
use serde_json::Value;

use super::*;
use crate::support::wait::until;

/// How much later than at its deadline a cluster may be stopped here: looks, and a slow machine.
const LATE: SignedDuration = SignedDuration::from_secs(9);
/// Long enough that half of it is more than [`LATE`].
const LONG: &str = "timeout: 24s";

/// The lab that nobody uses, and its deadline.
async fn unused(scene: &Scene) -> Timestamp {
    lab_with(scene, &[("timeout: 90m", LONG)]).await;
    deadline(scene).await
}

async fn deadline(scene: &Scene) -> Timestamp {
    let has_one = |lab: &RayCluster| lab.status.as_ref().is_some_and(|status| status.idle_deadline.is_some());
    let lab = scene.space.wait_until("lab", "a deadline", PATIENCE, has_one).await;
    let deadline = lab.status.and_then(|status| status.idle_deadline);
    deadline.expect("it was just there")
}

async fn last_use(scene: &Scene) -> Timestamp {
    let status = scene.space.cluster("lab").await.status.expect("a status");
    status.last_activity_time.expect("a last use")
}

/// Half of the time is over.
async fn is_soon(scene: &Scene) {
    let is_soon = |lab: &RayCluster| condition(lab, "Idle").is_some_and(|idle| idle.reason == "StoppingSoon");
    let told = scene.space.wait_until("lab", "it is stopped soon", PATIENCE, is_soon);
    told.await;
}

/// What `kubectl edit --subresource=status` can do.
async fn set_status(scene: &Scene, status: Value) {
    let (clusters, patch) = (scene.space.clusters(), Patch::Merge(json!({ "status": status })));
    let written = clusters.patch_status("lab", &PatchParams::default(), &patch).await;
    written.expect("the status is written");
}

fn is_in_time(lab: &RayCluster, deadline: Timestamp) {
    let decided = decided_at(lab);
    assert!(
        decided >= deadline && decided <= deadline + LATE,
        "{decided}, not at {deadline}"
    );
}

#[tokio::test]
async fn the_deadline_outlives_the_process() {
    let mut scene = Scene::start_with(QUICK).await;
    let deadline = unused(&scene).await;
    is_soon(&scene).await;
    scene.controller.stop(PATIENCE);
    scene.controller.restart().await;
    is_in_time(&down(&scene, "Idle").await, deadline);
}

#[tokio::test]
async fn a_status_that_is_wiped_moves_the_deadline_by_no_more_than_what_the_process_saw() {
    let scene = Scene::start_with(QUICK).await;
    let before = unused(&scene).await;
    is_soon(&scene).await;
    let used = last_use(&scene).await;
    set_status(&scene, Value::Null).await;
    let after = deadline(&scene).await;
    assert!(
        (last_use(&scene).await.duration_since(used)).abs() <= LATE,
        "{used} is lost"
    );
    // That it is stopped soon is told anew, half of its time before.
    let moved = after.duration_since(before);
    assert!(
        moved.abs() <= SignedDuration::from_secs(12) + LATE,
        "{before} became {after}"
    );
    is_in_time(&down(&scene, "Idle").await, after);
}

#[tokio::test]
async fn a_status_that_is_wiped_while_nobody_looks_costs_a_proof_and_at_most_the_whole_time() {
    let mut scene = Scene::start_with(QUICK).await;
    let deadline = unused(&scene).await;
    scene.controller.stop(PATIENCE);
    until("the deadline is over", PATIENCE, async || {
        let now = Timestamp::now();
        if now > deadline { Ok(()) } else { Err(now.to_string()) }
    })
    .await;
    set_status(&scene, Value::Null).await;
    let since = Timestamp::now();
    scene.controller.restart().await;
    let lab = down(&scene, "Idle").await;
    let seen = decided_at(&lab).duration_since(since);
    assert!(
        seen >= SignedDuration::from_secs(3),
        "it was seen unused for no more than {seen:#}"
    );
    assert!(seen <= SignedDuration::from_secs(24) + LATE, "{seen:#}");
}

#[tokio::test]
async fn a_restored_backup_stops_nothing_that_was_in_use_a_moment_ago() {
    let mut scene = Scene::start_with(QUICK).await;
    let actor = Load {
        actors: vec![Actor::alive("Somebody")],
        ..Load::default()
    };
    scene.aws.light().set_load(actor);
    lab(&scene, "Stop").await;
    scene.space.wait_for("lab", "Idle", "False", PATIENCE).await;
    // Longer than the timeout after the start of the head, so that only the first look can postpone.
    stays_up(&scene, "an actor lives").await;
    scene.controller.stop(PATIENCE);
    scene.aws.light().set_load(Load::default());
    // As of a time when it was about to be stopped.
    let backup = json!({
        "lastActivityTime": "2026-01-01T00:00:00Z", "idleDeadline": "2026-01-01T01:30:00Z",
        "conditions": [{"type": "Idle", "status": "True", "reason": "StoppingSoon", "message": "soon",
            "observedGeneration": 1, "lastTransitionTime": "2026-01-01T00:00:00Z"}],
    });
    set_status(&scene, backup).await;
    let since = Timestamp::now();
    scene.controller.restart().await;
    let lab = down(&scene, "Idle").await;
    let seen = decided_at(&lab).duration_since(since);
    assert!(
        seen >= SignedDuration::from_secs(3),
        "it was seen unused for no more than {seen:#}"
    );
    let warning = SignedDuration::try_from(TIMEOUT / 2).expect("it is short");
    assert!(seen <= warning + LATE, "{seen:#}");
}
