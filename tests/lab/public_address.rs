//! The public address of the head: dynamic, elastic, or none.

use serde_json::json;

use super::{SMALL, tagged};
use crate::support::account::machines;
use crate::support::cluster::condition;
use crate::support::scene::Scene;
use crate::support::sweeps::sweeps;
use crate::support::wait::{PATIENCE, until};

#[tokio::test]
async fn the_heads_public_address_follows_the_spec() {
    let scene = Scene::start().await;
    scene.space.apply(SMALL).await.expect("it is accepted");
    let dynamic = scene.space.wait_for("small", "Ready", "True", PATIENCE).await;
    let head = dynamic.status.and_then(|status| status.head).expect("a head");
    let first = head.public_address.expect("a public address");

    let elastic = json!({"spec": {"head": {"publicAddress": "Elastic"}}});
    scene.space.patch("small", &elastic).await.expect("it is accepted");
    let elastic = scene.space.wait_for("small", "Ready", "True", PATIENCE).await;
    let addresses = scene.aws.ec2().describe_addresses().send().await.expect("addresses");
    assert_eq!(addresses.addresses().len(), 1);
    let address = &addresses.addresses()[0];
    tagged(&elastic, "address", None, address.tags());
    let now = elastic.status.and_then(|status| status.head).expect("a head");
    assert_eq!(now.instance_id, head.instance_id, "the same machine");
    assert_eq!(address.instance_id(), head.instance_id.as_deref());
    assert_eq!(address.allocation_id(), now.allocation_id.as_deref());
    assert_eq!(address.public_ip(), now.public_address.as_deref());
    assert_eq!(now.address, now.public_address);
    assert_ne!(now.public_address.as_deref(), Some(first.as_str()));

    let dynamic = json!({"spec": {"head": {"publicAddress": "Dynamic"}}});
    scene.space.patch("small", &dynamic).await.expect("it is accepted");
    let elastic_address = now.public_address;
    let again = scene
        .space
        .wait_until("small", "the head has an address of Amazon's", PATIENCE, |cluster| {
            let head = cluster.status.as_ref().and_then(|status| status.head.as_ref());
            let ready = condition(cluster, "Ready").is_some_and(|ready| {
                ready.status == "True" && ready.observed_generation == cluster.metadata.generation
            });
            ready && head.is_some_and(|head| head.public_address.is_some() && head.public_address != elastic_address)
        })
        .await;
    let now = again.status.and_then(|status| status.head).expect("a head");
    assert_eq!((now.instance_id, now.allocation_id), (head.instance_id, None));
    assert_eq!(now.private_address, head.private_address);
    assert!(!scene.made().await.contains_key("address"), "it is given back");
}

#[tokio::test]
async fn an_elastic_address_that_loses_its_tags_stays_the_clusters_to_the_end() {
    let mut scene = Scene::start().await;
    let manifest = SMALL.replace("buckets: []", "buckets: [], head: {publicAddress: Elastic}");
    scene.space.apply(&manifest).await.expect("it is accepted");
    let cluster = scene.space.wait_for("small", "Ready", "True", PATIENCE).await;
    let head = cluster.status.clone().and_then(|status| status.head).expect("a head");
    let id = head.allocation_id.expect("an address");
    sweeps(&scene.aws, 2).await;
    let made = scene.made().await;

    let ec2 = scene.aws.ec2();
    let untag = || ec2.delete_tags().resources(&id).send();
    untag().await.expect("the tags are deleted");
    let found = until("the tags are back", PATIENCE, async || {
        let found = ec2.describe_addresses().allocation_ids(&id).send().await;
        let found = found.map_err(|error| error.to_string())?.addresses()[0].clone();
        if found.tags().is_empty() {
            Err(scene.controller.log_tail())
        } else {
            Ok(found)
        }
    })
    .await;
    let uid = cluster.metadata.uid.as_deref();
    assert!(found.tags().iter().any(|tag| tag.value() == uid), "{found:?}");
    assert_eq!(found.instance_id(), head.instance_id.as_deref());
    sweeps(&scene.aws, 2).await;
    assert_eq!(scene.made().await, made, "no other was allocated");
    scene.space.wait_for("small", "Ready", "True", PATIENCE).await;

    // Just before a deletion, and seen by a process that knows nothing but the status.
    scene.controller.kill();
    untag().await.expect("the tags are deleted again");
    scene.space.delete("small").await;
    scene.controller.restart().await;
    scene.space.wait_until_gone("small", PATIENCE).await;
    assert!(scene.made().await.is_empty(), "{:?}", scene.made().await);
}

#[tokio::test]
async fn a_head_can_do_without_a_public_address() {
    let scene = Scene::start().await;
    let manifest = SMALL.replace(
        "buckets: []",
        "buckets: [], head: {publicAddress: None}, network: {controllerAccess: Private}",
    );
    scene.space.apply(&manifest).await.expect("it is accepted");
    let cluster = scene.space.wait_for("small", "Ready", "True", PATIENCE).await;
    let head = cluster.status.and_then(|status| status.head).expect("a head");
    assert_eq!(head.public_address, None);
    assert!(head.address.is_some() && head.address == head.private_address);
    assert_eq!(machines(&scene.aws).await[0].public_ip_address(), None);
    assert!(!scene.made().await.contains_key("address"));
}
