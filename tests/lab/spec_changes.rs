//! What changes in the spec of a cluster changes on AWS.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::json;

use super::{SMALL, rules, the_group};
use crate::support::account::bucket_tags;
use crate::support::scene::Scene;
use crate::support::wait::PATIENCE;

#[tokio::test]
async fn the_network_and_the_tags_follow_the_spec() {
    let scene = Scene::start().await;
    let manifest = SMALL.replace(
        "buckets: []",
        "buckets: [{purpose: raw}], workerGroups: [{name: cpu, replicas: 1}]",
    );
    scene.space.apply(&manifest).await.expect("it is accepted");
    let before = scene.space.wait_for("small", "Ready", "True", PATIENCE).await;
    let network = before.status.and_then(|status| status.network).expect("a network");
    let group_id = network.security_group_ids[0].as_str();

    let subnets = json!([
        {"name": "a", "cidr": "10.0.1.0/24", "public": true},
        {"name": "b", "cidr": "10.0.2.0/24", "public": true},
        {"name": "c", "cidr": "10.0.3.0/24", "public": false},
    ]);
    let grown = json!({"spec": {"network": {
        "subnets": subnets,
        "ingress": [{"ports": "8265", "cidrs": ["198.51.100.0/24"]}],
    }}});
    scene.space.patch("small", &grown).await.expect("it is accepted");
    let after = scene.space.wait_for("small", "Ready", "True", PATIENCE).await;
    let network = after.status.and_then(|status| status.network).expect("a network");
    let names: Vec<&str> = network.subnets.iter().map(|subnet| subnet.name.as_str()).collect();
    assert_eq!(names, ["a", "b", "c"]);
    let found = scene.aws.ec2().describe_subnets();
    let found = found.set_subnet_ids(Some(network.subnets.iter().map(|subnet| subnet.id.clone()).collect()));
    let found = found.send().await.expect("the subnets");
    let mut found: Vec<_> = found
        .subnets()
        .iter()
        .map(|subnet| {
            (
                subnet.cidr_block().unwrap_or_default(),
                subnet.map_public_ip_on_launch(),
            )
        })
        .collect();
    found.sort_unstable();
    let wanted = [
        ("10.0.1.0/24", Some(true)),
        ("10.0.2.0/24", Some(true)),
        ("10.0.3.0/24", Some(false)),
    ];
    assert_eq!(found, wanted);
    let table = network.route_table_id.expect("a route table");
    let table = scene
        .aws
        .ec2()
        .describe_route_tables()
        .route_table_ids(table)
        .send()
        .await;
    let table = &table.expect("the route table").route_tables()[0].clone();
    let associated: BTreeSet<_> = table
        .associations()
        .iter()
        .filter_map(|each| each.subnet_id())
        .collect();
    let public: BTreeSet<_> = network.subnets[..2].iter().map(|subnet| subnet.id.as_str()).collect();
    assert_eq!(associated, public, "a private subnet has no way out");
    let group = the_group(&scene, group_id).await;
    assert_eq!(
        rules(&group, group.ip_permissions()),
        ["-1 itself", "tcp 8265-8265 198.51.100.0/24"]
    );

    let changed = json!({"spec": {"tags": {"team": "blue"}, "network": {"ingress": []}}});
    scene.space.patch("small", &changed).await.expect("it is accepted");
    scene.space.wait_for("small", "Ready", "True", PATIENCE).await;
    let group = the_group(&scene, group_id).await;
    assert_eq!(rules(&group, group.ip_permissions()), ["-1 itself"]);
    all_carry(&scene, "team", "blue").await;

    let changed = json!({"spec": {"tags": {"team": "red"}}});
    scene.space.patch("small", &changed).await.expect("it is accepted");
    scene.space.wait_for("small", "Ready", "True", PATIENCE).await;
    all_carry(&scene, "team", "red").await;
}

/// Whether everything that Rayward made has this tag.
async fn all_carry(scene: &Scene, key: &str, value: &str) {
    let made = scene.made().await;
    let all = scene.aws.ec2().describe_tags().send().await.expect("tags");
    let tags: BTreeMap<&str, &str> = all
        .tags()
        .iter()
        .filter(|tag| tag.key() == Some(key))
        .filter_map(|tag| Some((tag.resource_id()?, tag.value()?)))
        .collect();
    let network = scene
        .space
        .cluster("small")
        .await
        .status
        .and_then(|status| status.network);
    let network = network.expect("a network");
    for (kind, ids) in made {
        for id in ids {
            let found = match kind {
                "bucket" => bucket_tags(&scene.aws, &id).await.remove(key),
                // An interface keeps the tags with which it was launched.
                "network interface" => continue,
                // Those that came with the VPC are AWS's.
                "route table" if network.route_table_id.as_ref() != Some(&id) => continue,
                "security group" if !network.security_group_ids.contains(&id) => continue,
                _ => tags.get(id.as_str()).map(|value| (*value).to_owned()),
            };
            assert_eq!(found.as_deref(), Some(value), "{kind} {id}");
        }
    }
}
