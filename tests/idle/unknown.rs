//! A Ray that cannot be asked for long: never stopped silently, and only where the spec says so.

use super::*;
use crate::support::light::manner::Manner;

/// What `/metrics` says of a gauge of the lab.
fn gauge(scene: &Scene, name: &str) -> f64 {
    let metrics = scene.controller.metrics();
    let labels = format!("{name}{{name=\"lab\",namespace=\"{}\"}} ", scene.space.name);
    let value = metrics.lines().find_map(|line| line.strip_prefix(labels.as_str()));
    let value = value.unwrap_or_else(|| panic!("{labels}: not in {metrics}"));
    value.parse().expect("a number")
}

/// The dashboard answers, and nobody can read it.
async fn go_blind(scene: &Scene) {
    scene.aws.light().answer("/api/version", Manner::Garbage);
    let is_unknown = |lab: &RayCluster| {
        condition(lab, "Idle")
            .is_some_and(|idle| (idle.status.as_str(), idle.reason.as_str()) == ("Unknown", "Garbled"))
    };
    let told = scene
        .space
        .wait_until("lab", "its use is not known", PATIENCE, is_unknown);
    told.await;
}

#[tokio::test]
async fn what_is_unknown_for_long_is_told_in_a_condition_an_event_and_a_metric_and_kept() {
    let scene = Scene::start_with(QUICK).await;
    lab(&scene, "Stop").await;
    go_blind(&scene).await;
    let is_told = |lab: &RayCluster| condition(lab, "Idle").is_some_and(|idle| idle.reason == "UnknownForLong");
    let lab = scene.space.wait_until("lab", "it is told", PATIENCE, is_told).await;
    let idle = condition(&lab, "Idle").expect("it was just there");
    assert_eq!(idle.status, "Unknown");
    assert!(
        idle.message.contains("/api/version") && idle.message.ends_with("idle.whenUnknown is Keep"),
        "{idle:?}"
    );
    let is_event = |event: &str| event.starts_with("UnknownForLong: since ") && event.contains("whenUnknown is Keep");
    scene.space.wait_for_event("the long Unknown", is_event).await;
    let seconds = gauge(&scene, "rayward_cluster_use_unknown_seconds");
    assert!(seconds >= TIMEOUT.as_secs_f64(), "{seconds}");
    sweeps(&scene.aws, 3).await;
    assert!(last_call(&scene.aws, "StopInstances", |_| true).is_none());
    assert!(
        last_call(&scene.aws, "RebootInstances", |_| true).is_none(),
        "it may be at work"
    );

    // Known again, it has its whole time anew.
    scene.aws.light().answer_well();
    scene.space.wait_for("lab", "Idle", "True", PATIENCE).await;
    down(&scene, "Idle").await;
    assert!(gauge(&scene, "rayward_cluster_use_unknown_seconds").abs() < f64::EPSILON);
}

#[tokio::test]
async fn what_is_unknown_for_long_is_stopped_and_told_where_the_spec_says_so() {
    let scene = Scene::start_with(QUICK).await;
    lab_with(&scene, &[("whenUnknown: Keep", "whenUnknown: Stop")]).await;
    go_blind(&scene).await;
    let lab = scene.space.cluster("lab").await;
    let idle = condition(&lab, "Idle").expect("it was just there");
    assert!(idle.message.ends_with("idle.whenUnknown is Stop"), "{idle:?}");
    let since = idle.last_transition_time.0;
    let lab = down(&scene, "RayUnknown").await;
    let lasted = decided_at(&lab).duration_since(since).unsigned_abs();
    assert!(lasted >= TIMEOUT, "{lasted:?}");
    let is_event = |event: &str| event.starts_with("RayUnknown: since ") && event.contains("rayward.dev/wake");
    scene.space.wait_for_event("the stop", is_event).await;
    assert!(
        scene
            .controller
            .metrics()
            .contains("rayward_shutdowns_total{cause=\"RayUnknown\"} 1")
    );
    let all = alive(&scene.aws).await;
    assert!(
        all.len() == 3 && all.iter().all(|machine| machine.state == "stopped"),
        "{all:#?}"
    );
}
