//! The shortest manifest.

use std::collections::BTreeMap;

use super::{rules, the_group};
use crate::support::account::{LAB, machines};
use crate::support::scene::Scene;
use crate::support::wait::PATIENCE;

#[tokio::test]
async fn a_region_is_all_that_a_manifest_needs() {
    let scene = Scene::start().await;
    let manifest = "
apiVersion: rayward.dev/v1alpha1
kind: RayCluster
metadata: {name: minimal}
spec: {region: ap-southeast-1}
";
    scene.space.apply(manifest).await.expect("it is accepted");
    let cluster = scene.space.wait_for("minimal", "Ready", "True", PATIENCE).await;

    let made = scene.made().await;
    let counts: BTreeMap<&str, usize> = made.iter().map(|(kind, ids)| (*kind, ids.len())).collect();
    let mut expected: BTreeMap<&str, usize> = LAB.into();
    expected.extend([("machine", 1), ("volume", 1), ("network interface", 1)]);
    assert_eq!(counts, expected, "{made:?}");
    let status = cluster.status.expect("a status");
    assert_eq!(status.workers.as_deref(), Some("0/0"));
    let group = &status.network.expect("a network").security_group_ids[0];
    let group = the_group(&scene, group).await;
    assert_eq!(
        rules(&group, group.ip_permissions()),
        ["-1 itself"],
        "closed unless the spec says otherwise"
    );
    let machines = machines(&scene.aws).await;
    let image = scene
        .aws
        .ec2()
        .describe_images()
        .image_ids(machines[0].image_id().expect("an image"));
    let image = image.send().await.expect("the image");
    let name = image.images()[0].name().expect("a name");
    assert!(name.contains("ubuntu"), "{name}");
}
