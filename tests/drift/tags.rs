//! Tags: everything that carries Rayward's gets them back when somebody removes them.

use std::collections::BTreeSet;

use aws_sdk_ec2::types as ec2;

use super::{HEAD, is_told, mentions, ready};
use crate::support::scene::Scene;
use crate::support::sweeps::{last_call, sweeps, sweeps_between};
use crate::support::wait::{PATIENCE, until};

#[tokio::test]
async fn tags_that_were_removed_come_back() {
    let scene = Scene::start().await;
    let manifest = HEAD.replace(
        "buckets: []",
        "buckets: [{purpose: raw}]\n  tags: {team: blue}\n  workerGroups: [{name: cpu, replicas: 1}]",
    );
    let (lab, network) = ready(&scene, &manifest).await;
    // Disks are looked at in turn with the rest, so that a first look may be awaited.
    sweeps(&scene.aws, 2).await;
    let made = scene.made().await;
    let table = network.route_table_id.expect("a route table");
    let group = network.security_group_ids[0].clone();
    let status = lab.status.expect("a status");
    let head = status.head.and_then(|head| head.instance_id).expect("a head");
    let worker = status.worker_groups[0].machines[0].instance_id.clone();
    let things = [
        ("DescribeVpcs", network.vpc_id.expect("a VPC")),
        (
            "DescribeInternetGateways",
            network.internet_gateway_id.expect("a gateway"),
        ),
        ("DescribeSubnets", network.subnets[0].id.clone()),
        ("DescribeRouteTables", table),
        ("DescribeSecurityGroups", group),
        ("DescribeInstances", head),
        ("DescribeInstances", worker),
        ("DescribeVolumes", made["volume"][0].clone()),
        ("DescribeVolumes", made["volume"][1].clone()),
        ("DescribeNetworkInterfaces", made["network interface"][0].clone()),
        ("DescribeNetworkInterfaces", made["network interface"][1].clone()),
        ("DescribeKeyPairs", made["key pair"][0].clone()),
    ];
    let before = tags(&scene).await;
    for (list, id) in &things {
        remove_tags(&scene, id).await;
        have_come_back(&scene, &before).await;
        let done = last_call(&scene.aws, "DeleteTags", |_| true).expect("somebody did it");
        let repair = last_call(&scene.aws, "CreateTags", |params| mentions(params, id)).expect("it was repaired");
        // What is listed by its tags alone is missed twice before it counts as gone.
        let patience = if *list == "DescribeVolumes" { 5 } else { 2 };
        let seen = sweeps_between(&scene.aws, list, &done, &repair);
        assert!(seen <= patience, "{id} was seen by {seen} sweeps");
        is_told(&scene, id, "tags were missing or changed").await;
    }

    for (_, id) in &things {
        remove_tags(&scene, id).await;
    }
    have_come_back(&scene, &before).await;
    sweeps(&scene.aws, 2).await;
    assert_eq!(scene.made().await, made, "nothing was made twice");
    let lab = scene.space.wait_for("lab", "Ready", "True", PATIENCE).await;
    assert_eq!(lab.status.expect("a status").last_launch, status.last_launch);
}

async fn remove_tags(scene: &Scene, id: &str) {
    let removed = scene.aws.ec2().delete_tags().resources(id).send().await;
    removed.expect("the tags are deleted");
}

/// Every tag that Rayward keeps true. When a thing was made and from which disk is not known any more.
async fn tags(scene: &Scene) -> BTreeSet<(String, String, String)> {
    let all = scene.aws.ec2().describe_tags().send().await.expect("tags");
    let lasting = |key: &str| !["rayward.dev/created-at", "rayward.dev/root-volume"].contains(&key);
    let line = |tag: &ec2::TagDescription| Some((tag.resource_id()?.into(), tag.key()?.into(), tag.value()?.into()));
    let tags = all.tags().iter().filter(|tag| tag.key().is_some_and(lasting));
    tags.filter_map(line).collect()
}

async fn have_come_back(scene: &Scene, before: &BTreeSet<(String, String, String)>) {
    until("all tags are there again", PATIENCE, async || {
        let now = tags(scene).await;
        let missing: Vec<_> = before.difference(&now).collect();
        if missing.is_empty() {
            Ok(())
        } else {
            Err(format!("{missing:?}\n{}", scene.controller.log_tail()))
        }
    })
    .await;
}
