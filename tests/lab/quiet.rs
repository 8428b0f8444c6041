//! A cluster that is as its spec says is left alone.

use serde_json::json;

use crate::support::scene::Scene;
use crate::support::stand_in::Call;
use crate::support::sweeps::{is_of_sweep, sweeps};
use crate::support::wait::{PATIENCE, until};

#[tokio::test]
async fn a_ready_cluster_is_left_alone() {
    // Settings of buckets are looked at once an interval: not in this test.
    let scene = Scene::start_with(&["--bucket-interval=10000h"]).await;
    let manifest = ["apply", "-f", "deploy/examples/lab.yaml"];
    scene.kubectl(&manifest);
    let ready = scene.space.wait_for("lab", "Ready", "True", PATIENCE).await;
    let seq = scene.aws.calls().last().map_or(0, |call| call.seq);
    sweeps(&scene.aws, 4).await;
    let later = scene.space.cluster("lab").await;
    assert_eq!(
        later.metadata.resource_version, ready.metadata.resource_version,
        "{later:?}"
    );

    assert!(scene.kubectl(&manifest).contains("unchanged"));
    let passes = passes(&scene);
    for round in 0..5 {
        let touch = json!({"metadata": {"annotations": {"example.com/round": round.to_string()}}});
        scene
            .space
            .patch("lab", &touch)
            .await
            .expect("an annotation is accepted");
        until("a pass over the touched object", PATIENCE, async || {
            let now = self::passes(&scene);
            if now > passes + round {
                Ok(())
            } else {
                Err(now.to_string())
            }
        })
        .await;
    }
    let touched = scene.space.cluster("lab").await;
    sweeps(&scene.aws, 2).await;
    let last = scene.space.cluster("lab").await;
    assert_eq!(last.metadata.resource_version, touched.metadata.resource_version);
    assert_eq!(last.metadata.generation, ready.metadata.generation);
    assert_eq!(last.status, ready.status);

    let calls = scene.aws.calls_since(seq);
    let others: Vec<&Call> = calls.iter().filter(|call| call.change || !is_of_sweep(call)).collect();
    assert!(others.is_empty(), "quiet passes call AWS: {others:?}");
}

/// How many passes have ended.
fn passes(scene: &Scene) -> u64 {
    let metrics = scene.controller.metrics();
    let counts = metrics
        .lines()
        .filter(|line| line.starts_with("rayward_reconcile_total{"));
    counts
        .filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok())
        .sum()
}
