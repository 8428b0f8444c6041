//! People on a machine, by the notebooks that they left running.

use super::*;

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
