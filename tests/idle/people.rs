//! People on a machine, by the notebooks that they left running.

use super::*;
use crate::support::fleet::workers;

#[tokio::test]
async fn a_jupyter_kernel_alone_keeps_a_cluster_and_its_end_lets_it_sleep() {
    let scene = Scene::start_with(QUICK).await;
    lab(&scene, "Stop").await;
    let head = head(&scene.aws).await.id;
    scene.aws.light().set_people(&head, 0, 1);
    let used = scene.space.wait_for("lab", "Idle", "False", PATIENCE).await;
    let idle = condition(&used, "Idle").expect("it was just there");
    assert_eq!(idle.message, format!("in use: a Jupyter kernel ({head})"));
    assert_eq!(used.status.and_then(|status| status.idle_deadline), None);
    stays_up(&scene, "a kernel runs").await;
    scene.aws.light().set_people(&head, 0, 0);
    down(&scene, "Idle").await;
}

#[tokio::test]
async fn a_jupyter_kernel_that_does_not_count_keeps_nothing() {
    let scene = Scene::start_with(QUICK).await;
    let signals = "whenUnknown: Keep\n    signals: {jupyterKernels: false}";
    lab_with(&scene, &[("whenUnknown: Keep", signals)]).await;
    let head = head(&scene.aws).await.id;
    scene.aws.light().set_people(&head, 0, 1);
    let down = down(&scene, "Idle").await;
    let signal = down.status.and_then(|status| status.last_activity_signal);
    assert!(!signal.as_deref().unwrap_or_default().contains("Jupyter"), "{signal:?}");
}

#[tokio::test]
async fn a_worker_that_shows_another_host_key_is_told_while_it_works_and_is_no_proof_that_nobody_is_on_it() {
    let scene = Scene::start_with(QUICK).await;
    lab(&scene, "Stop").await;
    let worker = workers(&scene.aws).await[0].id.clone();
    scene.aws.light().change_host_key(&worker);
    // All machines are asked once more before the cluster goes down.
    let shown = format!("rayward.dev/accept-host-key={}", scene.aws.light().host_key(&worker));
    let is_told = |event: &str| event.starts_with("HostKeyChanged: ") && event.contains(&worker);
    let names_it = |event: &str| is_told(event) && event.contains(&shown);
    scene
        .space
        .wait_for_event("the other key, and what to do", names_it)
        .await;
    let is_told = |lab: &RayCluster| condition(lab, "WorkersReady").is_some_and(|each| each.reason == "HostKeyChanged");
    let lab = scene.space.wait_until("lab", "it is told", PATIENCE, is_told).await;
    assert_eq!(lab.status.and_then(|status| status.workers).as_deref(), Some("2/2"));
    sweeps(&scene.aws, 3).await;
    for call in ["StopInstances", "RebootInstances", "TerminateInstances"] {
        assert!(last_call(&scene.aws, call, |_| true).is_none(), "{call}");
    }
}
