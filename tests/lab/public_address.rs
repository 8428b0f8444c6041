//! The public address of the head: dynamic, elastic, or none.

use serde_json::json;

use super::{SMALL, tagged};
use crate::support::account::machines;
use crate::support::cluster::condition;
use crate::support::scene::Scene;
use crate::support::wait::PATIENCE;

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
async fn a_head_can_do_without_a_public_address() {
    let scene = Scene::start().await;
    let manifest = SMALL.replace("buckets: []", "buckets: [], head: {publicAddress: None}");
    scene.space.apply(&manifest).await.expect("it is accepted");
    let cluster = scene.space.wait_for("small", "Ready", "True", PATIENCE).await;
    let head = cluster.status.and_then(|status| status.head).expect("a head");
    assert_eq!(head.public_address, None);
    assert!(head.address.is_some() && head.address == head.private_address);
    assert_eq!(machines(&scene.aws).await[0].public_ip_address(), None);
    assert!(!scene.made().await.contains_key("address"));
}
