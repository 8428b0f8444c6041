//! Drift: what somebody changes behind Rayward's back is seen within one sweep, put right, and told; what is not
//! Rayward's is told and kept.

use std::collections::BTreeSet;
use std::time::Duration;

use aws_sdk_ec2::types as ec2;
use aws_sdk_s3::types as s3;
use rayward::api::{NetworkStatus, RayCluster};
use serde_json::Value;

use crate::support::account::{bucket_tags, machines};
use crate::support::cluster::condition;
use crate::support::scene::Scene;
use crate::support::stand_in::Call;
use crate::support::sweeps::{last_call, sweeps, sweeps_between};
use crate::support::wait::{PATIENCE, until};

/// A head in a network with a rule of its own, and nothing else.
const HEAD: &str = "
apiVersion: rayward.dev/v1alpha1
kind: RayCluster
metadata: {name: lab}
spec:
  region: ap-southeast-1
  network: {ingress: [{ports: '8265', cidrs: [203.0.113.0/24]}]}
  buckets: []
";

/// A network without machines: nothing keeps anybody from taking it apart.
const BARE: &str = "
apiVersion: rayward.dev/v1alpha1
kind: RayCluster
metadata: {name: lab}
spec: {region: ap-southeast-1, suspend: true, buckets: []}
";

/// A change behind Rayward's back and what it takes to see that it was put right.
struct Drift<'a> {
    /// The call that somebody made.
    done: &'a str,
    /// The list in which it shows.
    list: &'a str,
    /// The call that puts it right, and the thing that it names.
    repair: &'a str,
    id: &'a str,
    /// A part of what is told.
    told: &'a str,
}

impl Drift<'_> {
    /// Waits until it is repaired, and checks that the first sweep that could see it was enough and that it is told.
    async fn is_put_right(&self, scene: &Scene) {
        let done = last_call(&scene.aws, self.done, |_| true).expect("somebody did it");
        let repair = until(&format!("{} after {}", self.repair, self.done), PATIENCE, async || {
            let calls = scene.aws.calls_since(done.seq);
            let is_it = |call: &&Call| call.action == self.repair && mentions(&call.params, self.id);
            let repair = calls.iter().find(is_it).cloned();
            repair.ok_or_else(|| scene.controller.log_tail())
        })
        .await;
        assert_eq!(repair.error, None);
        // One that was under way is not counted; on a slow machine another may end before the repair begins.
        let seen = sweeps_between(&scene.aws, self.list, &done, &repair);
        assert!(
            seen <= 2,
            "{} was seen by {seen} sweeps before {}",
            self.done,
            self.repair
        );
        is_told(scene, self.id, self.told).await;
    }
}

/// Waits for an Event that tells of drift.
async fn is_told(scene: &Scene, id: &str, what: &str) {
    until(&format!("an Event tells of {id}: {what}"), PATIENCE, async || {
        let events = scene.space.events().await;
        let tells = |event: &String| event.starts_with("Drifted: ") && event.contains(id) && event.contains(what);
        if events.iter().any(tells) {
            Ok(())
        } else {
            Err(format!("{events:#?}"))
        }
    })
    .await;
}

/// Whether a value stands anywhere among the parameters of a call.
fn mentions(params: &Value, id: &str) -> bool {
    match params {
        Value::String(text) => text == id,
        Value::Array(values) => values.iter().any(|value| mentions(value, id)),
        Value::Object(values) => values.values().any(|value| mentions(value, id)),
        _ => false,
    }
}

async fn ready(scene: &Scene, manifest: &str) -> (RayCluster, NetworkStatus) {
    scene.space.apply(manifest).await.expect("it is accepted");
    let cluster = scene.space.wait_for("lab", "Ready", "True", PATIENCE).await;
    let network = cluster.status.as_ref().and_then(|status| status.network.clone());
    (cluster, network.expect("a network"))
}

/// A network whose machines are not to be started, once it is complete.
async fn bare(scene: &Scene) -> NetworkStatus {
    scene.space.apply(BARE).await.expect("it is accepted");
    let cluster = scene.space.wait_for("lab", "Suspended", "True", PATIENCE).await;
    cluster.status.and_then(|status| status.network).expect("a network")
}

fn off() -> ec2::AttributeBooleanValue {
    ec2::AttributeBooleanValue::builder().value(false).build()
}

fn tcp(port: i32, cidr: &str) -> ec2::IpPermission {
    ec2::IpPermission::builder()
        .ip_protocol("tcp")
        .from_port(port)
        .to_port(port)
        .ip_ranges(ec2::IpRange::builder().cidr_ip(cidr).build())
        .build()
}

#[tokio::test]
#[allow(
    clippy::too_many_lines,
    reason = "one lab, and each thing that somebody changes in it"
)]
async fn what_is_changed_in_the_network_is_put_right() {
    let scene = Scene::start().await;
    let (_, network) = ready(&scene, HEAD).await;
    let made = scene.made().await;
    let client = scene.aws.ec2();
    let vpc = network.vpc_id.as_deref().expect("a VPC");
    let table = network.route_table_id.as_deref().expect("a route table");
    let subnet = network.subnets[0].id.as_str();
    let group = network.security_group_ids[0].as_str();
    // What was just made is not drift.
    sweeps(&scene.aws, 2).await;

    let request = client
        .delete_route()
        .route_table_id(table)
        .destination_cidr_block("0.0.0.0/0");
    request.send().await.expect("the route is deleted");
    let drift = Drift {
        done: "DeleteRoute",
        list: "DescribeRouteTables",
        repair: "CreateRoute",
        id: table,
        told: "the route to 0.0.0.0/0 was missing",
    };
    drift.is_put_right(&scene).await;

    let request = client.revoke_security_group_ingress().group_id(group);
    let rule = request.ip_permissions(tcp(8265, "203.0.113.0/24"));
    rule.send().await.expect("the rule is revoked");
    let drift = Drift {
        done: "RevokeSecurityGroupIngress",
        list: "DescribeSecurityGroups",
        repair: "AuthorizeSecurityGroupIngress",
        id: group,
        told: "ingress rules were missing: tcp 8265 203.0.113.0/24",
    };
    drift.is_put_right(&scene).await;

    let request = client.authorize_security_group_ingress().group_id(group);
    let rule = request.ip_permissions(tcp(23, "0.0.0.0/0"));
    rule.send().await.expect("the rule is added");
    let drift = Drift {
        done: "AuthorizeSecurityGroupIngress",
        list: "DescribeSecurityGroups",
        repair: "RevokeSecurityGroupIngress",
        id: group,
        told: "ingress rules were added: tcp 23 0.0.0.0/0",
    };
    drift.is_put_right(&scene).await;

    let request = client.modify_vpc_attribute().vpc_id(vpc).enable_dns_hostnames(off());
    request.send().await.expect("host names are switched off");
    let drift = Drift {
        done: "ModifyVpcAttribute",
        list: "DescribeVpcs",
        repair: "ModifyVpcAttribute",
        id: vpc,
        told: "DNS host names were off",
    };
    drift.is_put_right(&scene).await;

    let request = client.modify_vpc_attribute().vpc_id(vpc).enable_dns_support(off());
    request.send().await.expect("DNS is switched off");
    Drift {
        told: "DNS support was off",
        ..drift
    }
    .is_put_right(&scene)
    .await;

    let request = client
        .modify_subnet_attribute()
        .subnet_id(subnet)
        .map_public_ip_on_launch(off());
    request.send().await.expect("public addresses are switched off");
    let drift = Drift {
        done: "ModifySubnetAttribute",
        list: "DescribeSubnets",
        repair: "ModifySubnetAttribute",
        id: subnet,
        told: "public addresses were off",
    };
    drift.is_put_right(&scene).await;

    let tables = client
        .describe_route_tables()
        .route_table_ids(table)
        .send()
        .await
        .expect("the table");
    let association = tables.route_tables()[0].associations()[0].route_table_association_id();
    let request = client
        .disassociate_route_table()
        .set_association_id(association.map(str::to_owned));
    request.send().await.expect("the subnet is disassociated");
    let drift = Drift {
        done: "DisassociateRouteTable",
        list: "DescribeRouteTables",
        repair: "AssociateRouteTable",
        id: subnet,
        told: "was not associated with",
    };
    drift.is_put_right(&scene).await;

    sweeps(&scene.aws, 2).await;
    assert_eq!(scene.made().await, made, "nothing else came or went");
    let seq = scene.aws.calls().last().map_or(0, |call| call.seq);
    sweeps(&scene.aws, 2).await;
    let changes: Vec<Call> = scene
        .aws
        .calls_since(seq)
        .into_iter()
        .filter(|call| call.change)
        .collect();
    assert!(changes.is_empty(), "all is put right: {changes:?}");
    let lab = scene.space.cluster("lab").await;
    assert_eq!(condition(&lab, "Drifted"), None);
}

#[tokio::test]
async fn a_gateway_that_was_detached_or_deleted_comes_back() {
    let scene = Scene::start().await;
    let network = bare(&scene).await;
    let client = scene.aws.ec2();
    let vpc = network.vpc_id.as_deref().expect("a VPC");
    let table = network.route_table_id.as_deref().expect("a route table");
    let gateway = network.internet_gateway_id.as_deref().expect("a gateway");
    sweeps(&scene.aws, 2).await;

    let detach = client
        .detach_internet_gateway()
        .internet_gateway_id(gateway)
        .vpc_id(vpc);
    detach.clone().send().await.expect("the gateway is detached");
    let drift = Drift {
        done: "DetachInternetGateway",
        list: "DescribeInternetGateways",
        repair: "AttachInternetGateway",
        id: gateway,
        told: "was not attached to",
    };
    drift.is_put_right(&scene).await;

    detach.send().await.expect("the gateway is detached again");
    let delete = client.delete_internet_gateway().internet_gateway_id(gateway);
    delete.send().await.expect("the gateway is deleted");
    let table = until("the route leads to another gateway", PATIENCE, async || {
        let tables = client.describe_route_tables().route_table_ids(table).send().await;
        let found = tables.expect("the table").route_tables()[0].clone();
        let other = |route: &ec2::Route| {
            route.destination_cidr_block() == Some("0.0.0.0/0")
                && route.state() == Some(&ec2::RouteState::Active)
                && route.gateway_id() != Some(gateway)
        };
        if found.routes().iter().any(other) {
            Ok(found)
        } else {
            Err(format!("{:?}", found.routes()))
        }
    })
    .await;
    let gateways = client.describe_internet_gateways().send().await.expect("gateways");
    let attached: Vec<_> = gateways
        .internet_gateways()
        .iter()
        .filter(|gateway| gateway.attachments().iter().any(|at| at.vpc_id() == Some(vpc)))
        .filter_map(ec2::InternetGateway::internet_gateway_id)
        .collect();
    assert_eq!(attached.len(), 1);
    assert!(
        table
            .routes()
            .iter()
            .any(|route| route.gateway_id() == Some(attached[0]))
    );
    scene
        .space
        .wait_until("lab", "the status names the new gateway", PATIENCE, |cluster| {
            let network = cluster.status.as_ref().and_then(|status| status.network.as_ref());
            network.and_then(|network| network.internet_gateway_id.as_deref()) == Some(attached[0])
        })
        .await;
}

#[tokio::test]
async fn what_was_deleted_outside_is_made_again() {
    let scene = Scene::start().await;
    let network = bare(&scene).await;
    let made = scene.made().await;
    let client = scene.aws.ec2();
    let vpc = network.vpc_id.as_deref().expect("a VPC");
    let table = network.route_table_id.as_deref().expect("a route table");
    let subnet = network.subnets[0].id.as_str();
    let group = network.security_group_ids[0].as_str();
    let key = &made["key pair"][0];

    let tables = client
        .describe_route_tables()
        .route_table_ids(table)
        .send()
        .await
        .expect("the table");
    let association = tables.route_tables()[0].associations()[0].route_table_association_id();
    let request = client
        .disassociate_route_table()
        .set_association_id(association.map(str::to_owned));
    request.send().await.expect("the subnet is disassociated");
    client
        .delete_route_table()
        .route_table_id(table)
        .send()
        .await
        .expect("the table is deleted");
    client
        .delete_subnet()
        .subnet_id(subnet)
        .send()
        .await
        .expect("the subnet is deleted");
    client
        .delete_security_group()
        .group_id(group)
        .send()
        .await
        .expect("the group is deleted");
    client
        .delete_key_pair()
        .key_pair_id(key)
        .send()
        .await
        .expect("the key pair is deleted");

    let cluster = scene
        .space
        .wait_until("lab", "the status names new ones", PATIENCE, |cluster| {
            let now = cluster.status.as_ref().and_then(|status| status.network.clone());
            let now = now.unwrap_or_default();
            let is_new = |old: &str, new: Option<&String>| new.is_some_and(|new| new != old);
            is_new(table, now.route_table_id.as_ref())
                && is_new(subnet, now.subnets.first().map(|subnet| &subnet.id))
                && is_new(group, now.security_group_ids.first())
        })
        .await;
    let network = cluster.status.and_then(|status| status.network).expect("a network");
    assert_eq!(network.vpc_id.as_deref(), Some(vpc));
    sweeps(&scene.aws, 3).await;
    let counts = |made: &std::collections::BTreeMap<&'static str, Vec<String>>| -> Vec<(&str, usize)> {
        made.iter().map(|(kind, ids)| (*kind, ids.len())).collect()
    };
    let now = scene.made().await;
    assert_eq!(counts(&now), counts(&made), "each once: {now:?}");
    let table = network.route_table_id.expect("a table");
    let tables = client
        .describe_route_tables()
        .route_table_ids(&table)
        .send()
        .await
        .expect("the table");
    let table = &tables.route_tables()[0];
    assert_eq!(
        table.associations()[0].subnet_id(),
        Some(network.subnets[0].id.as_str())
    );
    assert!(
        table
            .routes()
            .iter()
            .any(|route| route.gateway_id() == network.internet_gateway_id.as_deref())
    );
}

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
    let client = scene.aws.ec2();
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
        ("DescribeKeyPairs", made["key pair"][0].clone()),
    ];
    let before = tags(&scene).await;
    for (list, id) in &things {
        client
            .delete_tags()
            .resources(id)
            .send()
            .await
            .expect("the tags are deleted");
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
        client
            .delete_tags()
            .resources(id)
            .send()
            .await
            .expect("the tags are deleted");
    }
    have_come_back(&scene, &before).await;
    sweeps(&scene.aws, 2).await;
    assert_eq!(scene.made().await, made, "nothing was made twice");
    let lab = scene.space.wait_for("lab", "Ready", "True", PATIENCE).await;
    assert_eq!(lab.status.expect("a status").last_launch, status.last_launch);
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

#[tokio::test]
async fn settings_of_a_bucket_that_were_changed_come_back() {
    let scene = Scene::start_with(&["--bucket-interval=1s"]).await;
    let manifest = BARE.replace("buckets: []", "buckets: [{purpose: raw}]");
    scene.space.apply(&manifest).await.expect("it is accepted");
    let lab = scene.space.wait_for("lab", "BucketsReady", "True", PATIENCE).await;
    let bucket = lab.status.expect("a status").buckets[0].name.clone();
    let client = scene.aws.s3();
    let mut tags = bucket_tags(&scene.aws, &bucket).await;
    // When it was made is not known any more.
    tags.remove("rayward.dev/created-at");
    sweeps(&scene.aws, 2).await;

    let suspended = s3::VersioningConfiguration::builder().status(s3::BucketVersioningStatus::Suspended);
    let request = client
        .put_bucket_versioning()
        .bucket(&bucket)
        .versioning_configuration(suspended.build());
    request.send().await.expect("versioning is suspended");
    bucket_is_put_right(&scene, &bucket, "PutBucketVersioning", "ersioning").await;

    let request = client.delete_public_access_block().bucket(&bucket);
    request.send().await.expect("the block is removed");
    bucket_is_put_right(&scene, &bucket, "PutPublicAccessBlock", "ublic access").await;

    let request = client.delete_bucket_tagging().bucket(&bucket);
    request.send().await.expect("the tags are removed");
    bucket_is_put_right(&scene, &bucket, "PutBucketTagging", "tags").await;
    assert_eq!(bucket_tags(&scene.aws, &bucket).await, tags);
}

async fn bucket_is_put_right(scene: &Scene, bucket: &str, repair: &str, told: &str) {
    let drifted = scene.aws.calls().last().map_or(0, |call| call.seq);
    until(&format!("{repair} on {bucket}"), Duration::from_secs(20), async || {
        let calls = scene.aws.calls_since(drifted - 1);
        let is_it = |call: &Call| call.action == repair && mentions(&call.params, bucket) && call.seq > drifted;
        if calls.iter().any(is_it) {
            Ok(())
        } else {
            Err(scene.controller.log_tail())
        }
    })
    .await;
    is_told(scene, bucket, told).await;
}

#[tokio::test]
#[allow(
    clippy::too_many_lines,
    reason = "one lab, and each thing that somebody puts into it"
)]
async fn what_is_not_ours_is_told_and_never_touched() {
    let scene = Scene::start().await;
    let manifest = HEAD.replace("buckets: []", "buckets: []\n  workerGroups: [{name: cpu, replicas: 1}]");
    let (lab, network) = ready(&scene, &manifest).await;
    let client = scene.aws.ec2();
    let vpc = network.vpc_id.as_deref().expect("a VPC");
    let table = network.route_table_id.as_deref().expect("a route table");
    let gateway = network.internet_gateway_id.as_deref().expect("a gateway");
    let group = network.security_group_ids[0].as_str();
    let named = |kind: ec2::ResourceType, role: &str| {
        let name = format!("rayward-{}-lab-{role}", scene.space.name);
        let tag = ec2::Tag::builder().key("Name").value(name).build();
        ec2::TagSpecification::builder().resource_type(kind).tags(tag).build()
    };

    let request = client
        .create_security_group()
        .vpc_id(vpc)
        .group_name("theirs")
        .description("theirs");
    let request = request.tag_specifications(named(ec2::ResourceType::SecurityGroup, "security-group"));
    let their_group = request.send().await.expect("a group").group_id.expect("an id");
    let request = client
        .run_instances()
        .min_count(1)
        .max_count(1)
        .subnet_id(&network.subnets[0].id);
    let request = request
        .image_id("ami-003c463c8207b4dfa")
        .instance_type(ec2::InstanceType::T2Medium);
    let request = request.tag_specifications(named(ec2::ResourceType::Instance, "worker-cpu"));
    let launched = request
        .security_group_ids(&their_group)
        .send()
        .await
        .expect("an instance");
    let their_machine = launched.instances()[0].instance_id().expect("an id").to_owned();
    let request = client
        .create_route()
        .route_table_id(table)
        .destination_cidr_block("192.0.2.0/24");
    request.gateway_id(gateway).send().await.expect("a route");
    let request = client.authorize_security_group_egress().group_id(group);
    request
        .ip_permissions(tcp(25, "192.0.2.0/24"))
        .send()
        .await
        .expect("an egress rule");
    let request = client.create_vpc().cidr_block("10.0.0.0/16");
    let request = request.tag_specifications(named(ec2::ResourceType::Vpc, "vpc"));
    request.send().await.expect("a VPC");
    let seq = scene.aws.calls().last().map_or(0, |call| call.seq);
    let with_theirs = scene.made().await;

    let drifted = scene
        .space
        .wait_until("lab", "what is kept is told", PATIENCE, |cluster| {
            let message = condition(cluster, "Drifted").map(|drifted| drifted.message.as_str());
            [table, "192.0.2.0/24", group, "tcp 25", &their_group, &their_machine]
                .iter()
                .all(|part| message.is_some_and(|message| message.contains(part)))
        })
        .await;
    assert_eq!(condition(&drifted, "Drifted").expect("it is there").reason, "Kept");
    assert_eq!(condition(&drifted, "Ready").expect("it is there").status, "True");
    sweeps(&scene.aws, 3).await;
    let changes: Vec<Call> = scene
        .aws
        .calls_since(seq)
        .into_iter()
        .filter(|call| call.change)
        .collect();
    assert!(changes.is_empty(), "{changes:?}");
    assert_eq!(scene.made().await, with_theirs);
    assert_eq!(machines(&scene.aws).await.len(), 3);

    // A machine of others is no worker: one that is lost is replaced all the same.
    let worker = lab.status.expect("a status").worker_groups[0].machines[0]
        .instance_id
        .clone();
    client
        .terminate_instances()
        .instance_ids(&worker)
        .send()
        .await
        .expect("it is terminated");
    scene
        .space
        .wait_until("lab", "another worker runs", PATIENCE, |cluster| {
            let group = cluster.status.as_ref().and_then(|status| status.worker_groups.first());
            group.is_some_and(|group| {
                group.running == 1
                    && group.machines[0].instance_id != worker
                    && group.machines[0].instance_id != their_machine
            })
        })
        .await;
    let launched = client
        .describe_instances()
        .instance_ids(&their_machine)
        .send()
        .await
        .expect("their machine");
    let state = launched.reservations()[0].instances()[0]
        .state()
        .and_then(|state| state.name());
    assert_eq!(state, Some(&ec2::InstanceStateName::Running));
}
