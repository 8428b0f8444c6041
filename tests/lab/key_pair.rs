//! A key pair of the user's.

use k8s_openapi::api::core::v1::Secret;
use kube::Api;

use super::SMALL;
use crate::support::account::machines;
use crate::support::cluster::condition;
use crate::support::scene::Scene;
use crate::support::sweeps::sweeps;
use crate::support::wait::PATIENCE;

#[tokio::test]
async fn a_key_pair_of_the_users_is_used_and_never_touched() {
    let scene = Scene::start().await;
    let client = scene.aws.ec2();
    client
        .create_key_pair()
        .key_name("mine")
        .send()
        .await
        .expect("a key pair");
    let theirs = client.describe_key_pairs().send().await.expect("key pairs");
    let manifest = SMALL.replace("buckets: []", "buckets: [], keyPair: {name: mine}");
    scene.space.apply(&manifest).await.expect("it is accepted");
    let cluster = scene.space.wait_for("small", "Ready", "True", PATIENCE).await;

    let machine = &machines(&scene.aws).await[0];
    assert_eq!(machine.key_name(), Some("mine"));
    assert_eq!(
        client.describe_key_pairs().send().await.expect("key pairs").key_pairs(),
        theirs.key_pairs()
    );
    let secrets: Api<Secret> = Api::namespaced(scene.space.client.clone(), &scene.space.name);
    let name = cluster
        .status
        .and_then(|status| status.key_secret)
        .expect("a key of Rayward's own beside it");
    assert!(secrets.get_opt(&name).await.expect("an answer").is_some());

    scene.space.delete("small").await;
    scene.space.wait_until_gone("small", PATIENCE).await;
    assert_eq!(
        client.describe_key_pairs().send().await.expect("key pairs").key_pairs(),
        theirs.key_pairs()
    );
}

#[tokio::test]
async fn a_key_pair_that_is_missing_is_told_and_waited_for() {
    let scene = Scene::start().await;
    let manifest = SMALL.replace("buckets: []", "buckets: [], keyPair: {name: mine}");
    scene.space.apply(&manifest).await.expect("it is accepted");
    let stalled = scene.space.wait_for("small", "Stalled", "True", PATIENCE).await;
    let message = &condition(&stalled, "Stalled").expect("it is there").message;
    assert!(message.contains("no key pair mine in ap-southeast-1"), "{message}");
    sweeps(&scene.aws, 2).await;
    assert!(machines(&scene.aws).await.is_empty(), "nothing is launched without it");

    scene
        .aws
        .ec2()
        .create_key_pair()
        .key_name("mine")
        .send()
        .await
        .expect("a key pair");
    scene.space.wait_for("small", "Ready", "True", PATIENCE).await;
    assert_eq!(machines(&scene.aws).await[0].key_name(), Some("mine"));
}
