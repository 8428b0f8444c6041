//! An object that cannot be read, as one that another version's CRD let in: it is told of and keeps nobody waiting.

use std::time::Duration;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::Api;
use kube::api::{ApiResource, DynamicObject, Patch, PatchParams, PostParams};
use rayward::api::RayCluster;
use serde_json::{Value, json};

use crate::support::cluster::Space;
use crate::support::control_plane::ControlPlane;
use crate::support::controller::Controller;
use crate::support::stand_in::StandIn;
use crate::support::test_name;
use crate::support::wait::{PATIENCE, until};

#[tokio::test]
async fn an_object_that_cannot_be_read_is_told_of_and_keeps_no_other_one_waiting() {
    let plane = ControlPlane::start(&test_name()).await;
    let aws = StandIn::start();
    let space = Space::create(&plane).await;
    let broken = json!({
        "apiVersion": "rayward.dev/v1alpha1", "kind": "RayCluster",
        "metadata": {"name": "broken"}, "spec": {"region": 5},
    });
    store_although_it_breaks_the_rules(&space, &broken).await;
    let mut controller = Controller::start(&plane, &aws, &space.name).await;
    space.ready_lab().await;
    space
        .wait_for_event("the broken one", |event| event.starts_with("InvalidObject: "))
        .await;
    assert!(controller.stop(Duration::from_secs(10)).success());
}

/// Stores an object as an older CRD, which knew other rules, would have let it through.
async fn store_although_it_breaks_the_rules(space: &Space, object: &Value) {
    let lax = json!({"spec": {"versions": [{
        "name": "v1alpha1", "served": true, "storage": true, "subresources": {"status": {}},
        "schema": {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}},
    }]}});
    let definitions: Api<CustomResourceDefinition> = Api::all(space.client.clone());
    let merge = PatchParams::default();
    let patched = definitions
        .patch("rayclusters.rayward.dev", &merge, &Patch::Merge(&lax))
        .await;
    patched.expect("the CRD takes lax rules");
    let kind = ApiResource::erase::<RayCluster>(&());
    let clusters: Api<DynamicObject> = Api::namespaced_with(space.client.clone(), &space.name, &kind);
    let object: DynamicObject = serde_json::from_value(object.clone()).expect("an object");
    until("the object is stored", PATIENCE, async || {
        let created = clusters.create(&PostParams::default(), &object).await;
        created.map(drop).map_err(|error| error.to_string())
    })
    .await;
    let strict = rayward::api::crd().expect("the types make a CRD");
    let strict = json!({"spec": {"versions": strict.spec.versions}});
    let patched = definitions
        .patch("rayclusters.rayward.dev", &merge, &Patch::Merge(&strict))
        .await;
    patched.expect("the CRD takes its own rules again");
    let dry_run = PostParams {
        dry_run: true,
        ..PostParams::default()
    };
    let mut another = object;
    another.metadata.name = Some("another".to_owned());
    until("the rules hold again", PATIENCE, async || {
        let created = clusters.create(&dry_run, &another).await;
        created.map_or(Ok(()), |_| Err("it is let through".to_owned()))
    })
    .await;
}
