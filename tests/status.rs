//! The status as people and programs meet it: columns, phases, and no write without news.

use std::time::Duration;

use k8s_openapi::api::core::v1::Secret;
use kube::Api;
use rayward::api::{Phase, RayCluster};
use serde_json::json;

use crate::support::cluster::Space;
use crate::support::control_plane::ControlPlane;
use crate::support::controller::Controller;
use crate::support::stand_in::StandIn;
use crate::support::wait::{PATIENCE, until};

/// A head alone: nothing here is about workers and buckets.
const HEAD: &str = "
apiVersion: rayward.dev/v1alpha1
kind: RayCluster
metadata: {name: head}
spec: {region: ap-southeast-1, buckets: []}
";

/// When each condition last changed its status.
fn times(cluster: &RayCluster) -> Vec<(String, String)> {
    let conditions = &cluster.status.as_ref().expect("a status").conditions;
    let time = |time: &k8s_openapi::apimachinery::pkg::apis::meta::v1::Time| time.0.to_string();
    conditions
        .iter()
        .map(|each| (each.type_.clone(), time(&each.last_transition_time)))
        .collect()
}

#[tokio::test]
async fn a_controller_that_starts_again_writes_nothing_where_nothing_changed() {
    let plane = ControlPlane::shared().await;
    let space = Space::create(plane).await;
    let stand_in = StandIn::start();
    let mut controller = Controller::start(plane, &stand_in, &space.name).await;
    space.apply(HEAD).await.expect("it is taken");
    space.wait_for("head", "Ready", "True", PATIENCE).await;
    controller.stop(Duration::from_secs(10));
    let before = space.cluster("head").await;

    controller.restart().await;

    until("the controller has looked at all of it", PATIENCE, async || {
        let metrics = controller.metrics();
        let converged = |line: &&str| line.starts_with("rayward_") && line.contains(r#"outcome="converged""#);
        let passes = metrics
            .lines()
            .filter(converged)
            .filter_map(|line| line.split(' ').next_back()?.parse::<f64>().ok());
        let passes: f64 = passes.sum();
        if passes >= 1.0 { Ok(()) } else { Err(metrics) }
    })
    .await;
    let after = space.cluster("head").await;
    assert_eq!(times(&after), times(&before));
    assert_eq!(after.metadata.resource_version, before.metadata.resource_version);
}

#[tokio::test]
async fn kubectl_shows_what_a_cluster_is_doing() {
    let plane = ControlPlane::shared().await;
    let space = Space::create(plane).await;
    let stand_in = StandIn::start();
    let _controller = Controller::start(plane, &stand_in, &space.name).await;
    space.apply(HEAD).await.expect("it is taken");
    let cluster = space.wait_for("head", "Ready", "True", PATIENCE).await;
    let status = cluster.status.expect("a status");
    assert_eq!(status.phase, Some(Phase::Ready));
    let address = status
        .head
        .and_then(|head| head.public_address)
        .expect("a public address");
    let row = || {
        let mut kubectl = plane.kubectl();
        kubectl.args(["get", "rwc", "head", "--no-headers", "--namespace", &space.name]);
        let output = kubectl.output().expect("kubectl starts");
        let row = String::from_utf8(output.stdout).expect("kubectl prints UTF-8");
        row.split_whitespace()
            .take(6)
            .map(ToOwned::to_owned)
            .collect::<Vec<_>>()
    };
    assert_eq!(row(), ["head", "Ready", &address, "0/0", "True", "AsSpecified"]);
    let secret = status.key_secret.expect("the name of the key's Secret");
    Api::<Secret>::namespaced(space.client.clone(), &space.name)
        .get(&secret)
        .await
        .expect("that Secret is there");

    space
        .patch("head", &json!({"spec": {"suspend": true}}))
        .await
        .expect("it is taken");
    space.wait_for("head", "Suspended", "True", PATIENCE).await;
    assert_eq!(row()[..5], ["head", "Suspended", "0/0", "False", "Suspended"]);

    space
        .patch("head", &json!({"spec": {"suspend": false}}))
        .await
        .expect("it is taken");
    space.wait_for("head", "Ready", "True", PATIENCE).await;
    assert_eq!(row()[1], "Ready");
}

#[tokio::test]
async fn what_aws_refuses_is_told_with_its_code_and_calls_for_a_person() {
    let plane = ControlPlane::shared().await;
    let space = Space::create(plane).await;
    let stand_in = StandIn::start();
    let _controller = Controller::start(plane, &stand_in, &space.name).await;
    stand_in.inject(&json!({"action": "CreateVpc", "kind": "quota"}));
    space.apply(HEAD).await.expect("it is taken");
    let cluster = space.wait_for("head", "Stalled", "True", PATIENCE).await;
    let status = cluster.status.expect("a status");
    assert_eq!(status.phase, Some(Phase::Stalled));
    let ready = status
        .conditions
        .iter()
        .find(|each| each.type_ == "Ready")
        .expect("Ready");
    assert_eq!((ready.status.as_str(), ready.reason.as_str()), ("False", "Refused"));
    assert!(ready.message.contains("VpcLimitExceeded"), "{}", ready.message);
    assert!(status.conditions.iter().all(|each| each.type_ != "Reconciling"));
}
