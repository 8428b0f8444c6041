//! What machines are launched with: user data, an instance profile, and one revision at a time.

use base64::prelude::{BASE64_STANDARD, Engine as _};
use rayward::api::RayCluster;
use serde_json::json;

use crate::support::cluster::condition;
use crate::support::fleet::{head, launches, wait_for_machines, workers};
use crate::support::scene::Scene;
use crate::support::wait::PATIENCE;

const MANIFEST: &str = "
apiVersion: rayward.dev/v1alpha1
kind: RayCluster
metadata: {name: lab}
spec:
  region: ap-southeast-1
  buckets: []
  setupScript: echo it's set up
  environment: {HF_HOME: /data}
  head: {iamInstanceProfile: lab-head}
  workerGroups: [{name: cpu, replicas: 1}]
";

/// What a machine does at its first boot.
async fn user_data(scene: &Scene, id: &str) -> String {
    use aws_sdk_ec2::types::InstanceAttributeName::UserData;
    let request = scene.aws.ec2().describe_instance_attribute().instance_id(id);
    let answer = request.attribute(UserData).send().await.expect("the machine is there");
    let encoded = answer.user_data().and_then(|data| data.value()).expect("user data");
    let decoded = BASE64_STANDARD.decode(encoded).expect("it is base64");
    String::from_utf8(decoded).expect("it is text, since it is short")
}

#[tokio::test]
async fn machines_get_user_data_and_profile_and_workers_what_the_head_was_made_from() {
    let scene = Scene::start().await;
    scene.space.apply(MANIFEST).await.expect("it is accepted");
    let names_the_field = |lab: &RayCluster| {
        let told =
            condition(lab, "HeadReady").is_some_and(|told| told.message.contains("iamInstanceProfile of spec.head"));
        told && condition(lab, "HeadReady").is_some_and(|told| told.reason == "InvalidReference")
    };
    scene
        .space
        .wait_until(
            "lab",
            "the profile that is not there is told",
            PATIENCE,
            names_the_field,
        )
        .await;
    scene.aws.make_instance_profile("lab-head");
    let lab = scene.space.wait_for("lab", "Ready", "True", PATIENCE).await;

    let made = launches(&scene.aws);
    assert_eq!(made[0].params["IamInstanceProfile"]["Name"], "lab-head");
    assert!(
        made[1].params.get("IamInstanceProfile").is_none(),
        "{:?}",
        made[1].params
    );
    let (head, worker) = (head(&scene.aws).await, workers(&scene.aws).await.remove(0));
    let (of_head, of_worker) = (user_data(&scene, &head.id).await, user_data(&scene, &worker.id).await);
    for line in ["#cloud-config", "    role='head'", "    ray_version='2.60.0'"] {
        assert!(of_head.lines().any(|each| each == line), "{line} is not in:\n{of_head}");
    }
    let script = BASE64_STANDARD.encode("echo it's set up");
    for part in ["    head='10.0.1.10'\n", &script, "    group='cpu'\n"] {
        assert!(of_worker.contains(part), "{part} is not in:\n{of_worker}");
    }
    let revision = lab.status.and_then(|status| status.revision).expect("it is recorded");
    assert_eq!(revision.setup_script.as_deref(), Some("echo it's set up"));

    let change = json!({"spec": {"rayVersion": "2.61.0", "workerGroups": [{"name": "cpu", "replicas": 2}]}});
    scene
        .space
        .patch("lab", &change)
        .await
        .expect("another release, one more worker");
    wait_for_machines(&scene.aws, "one more worker", |all| all.len() == 3).await;
    for worker in workers(&scene.aws).await {
        let its = user_data(&scene, &worker.id).await;
        assert_eq!(its, of_worker, "Ray refuses a worker of another release");
    }
    let lab = scene.space.wait_for("lab", "UpToDate", "False", PATIENCE).await;
    let told = &condition(&lab, "UpToDate").expect("it was just there").message;
    assert!(told.contains("rayVersion 2.60.0, now 2.61.0"), "{told}");
    let kept = lab.status.and_then(|status| status.revision).expect("it is recorded");
    assert_eq!(kept, revision);
}
