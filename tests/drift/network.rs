//! The network of a cluster: what somebody changes in it is put right, what somebody deletes is made again.

use std::collections::BTreeMap;

use aws_sdk_ec2::types as ec2;
use rayward::api::NetworkStatus;

use super::{BARE, Drift, HEAD, changes_since, last_seq, ready, tcp};
use crate::support::cluster::condition;
use crate::support::scene::Scene;
use crate::support::sweeps::sweeps;
use crate::support::wait::{PATIENCE, until};

/// A network whose machines are not to be started, once it is complete.
async fn bare(scene: &Scene) -> NetworkStatus {
    scene.space.apply(BARE).await.expect("it is accepted");
    let cluster = scene.space.wait_for("lab", "Suspended", "True", PATIENCE).await;
    cluster.status.and_then(|status| status.network).expect("a network")
}

fn off() -> ec2::AttributeBooleanValue {
    ec2::AttributeBooleanValue::builder().value(false).build()
}

/// The route table with this id.
async fn the_table(scene: &Scene, id: &str) -> ec2::RouteTable {
    let tables = scene.aws.ec2().describe_route_tables().route_table_ids(id).send().await;
    tables.expect("the table").route_tables()[0].clone()
}

/// The association of a table with its one subnet.
async fn association(scene: &Scene, table: &str) -> Option<String> {
    let table = the_table(scene, table).await;
    table.associations()[0].route_table_association_id().map(str::to_owned)
}

#[tokio::test]
async fn what_is_changed_in_the_network_is_put_right() {
    let scene = Scene::start().await;
    let (_, network) = ready(&scene, HEAD).await;
    let made = scene.made().await;
    // What was just made is not drift.
    sweeps(&scene.aws, 2).await;

    routes_are_put_right(&scene, &network).await;
    rules_are_put_right(&scene, &network.security_group_ids[0]).await;
    settings_are_put_right(&scene, &network).await;

    sweeps(&scene.aws, 2).await;
    assert_eq!(scene.made().await, made, "nothing else came or went");
    let seq = last_seq(&scene);
    sweeps(&scene.aws, 2).await;
    let changes = changes_since(&scene, seq);
    assert!(changes.is_empty(), "all is put right: {changes:?}");
    let lab = scene.space.cluster("lab").await;
    assert_eq!(condition(&lab, "Drifted"), None);
}

async fn routes_are_put_right(scene: &Scene, network: &NetworkStatus) {
    let client = scene.aws.ec2();
    let table = network.route_table_id.as_deref().expect("a route table");
    let deleted = client
        .delete_route()
        .route_table_id(table)
        .destination_cidr_block("0.0.0.0/0");
    let drift = Drift {
        done: "DeleteRoute",
        list: Some("DescribeRouteTables"),
        repair: "CreateRoute",
        id: table,
        told: "the route to 0.0.0.0/0 was missing",
    };
    drift.is_put_right(scene, deleted.send()).await;

    let disassociated = client
        .disassociate_route_table()
        .set_association_id(association(scene, table).await);
    let drift = Drift {
        done: "DisassociateRouteTable",
        list: Some("DescribeRouteTables"),
        repair: "AssociateRouteTable",
        id: &network.subnets[0].id,
        told: "was not associated with",
    };
    drift.is_put_right(scene, disassociated.send()).await;
}

async fn rules_are_put_right(scene: &Scene, group: &str) {
    let client = scene.aws.ec2();
    let revoked = client.revoke_security_group_ingress().group_id(group);
    let revoked = revoked.ip_permissions(tcp(8265, "203.0.113.0/24"));
    let drift = Drift {
        done: "RevokeSecurityGroupIngress",
        list: Some("DescribeSecurityGroups"),
        repair: "AuthorizeSecurityGroupIngress",
        id: group,
        told: "ingress rules were missing: tcp 8265 203.0.113.0/24",
    };
    drift.is_put_right(scene, revoked.send()).await;

    let added = client.authorize_security_group_ingress().group_id(group);
    let added = added.ip_permissions(tcp(23, "0.0.0.0/0"));
    let drift = Drift {
        done: "AuthorizeSecurityGroupIngress",
        list: Some("DescribeSecurityGroups"),
        repair: "RevokeSecurityGroupIngress",
        id: group,
        told: "ingress rules were added: tcp 23 0.0.0.0/0",
    };
    drift.is_put_right(scene, added.send()).await;
}

async fn settings_are_put_right(scene: &Scene, network: &NetworkStatus) {
    let client = scene.aws.ec2();
    let vpc = network.vpc_id.as_deref().expect("a VPC");
    let names = client.modify_vpc_attribute().vpc_id(vpc).enable_dns_hostnames(off());
    let drift = Drift {
        done: "ModifyVpcAttribute",
        list: Some("DescribeVpcs"),
        repair: "ModifyVpcAttribute",
        id: vpc,
        told: "DNS host names were off",
    };
    drift.is_put_right(scene, names.send()).await;

    let dns = client.modify_vpc_attribute().vpc_id(vpc).enable_dns_support(off());
    let drift = Drift {
        told: "DNS support was off",
        ..drift
    };
    drift.is_put_right(scene, dns.send()).await;

    let subnet = network.subnets[0].id.as_str();
    let addresses = client.modify_subnet_attribute().subnet_id(subnet);
    let drift = Drift {
        done: "ModifySubnetAttribute",
        list: Some("DescribeSubnets"),
        repair: "ModifySubnetAttribute",
        id: subnet,
        told: "public addresses were off",
    };
    drift
        .is_put_right(scene, addresses.map_public_ip_on_launch(off()).send())
        .await;
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
    let drift = Drift {
        done: "DetachInternetGateway",
        list: Some("DescribeInternetGateways"),
        repair: "AttachInternetGateway",
        id: gateway,
        told: "was not attached to",
    };
    drift.is_put_right(&scene, detach.clone().send()).await;

    detach.send().await.expect("the gateway is detached again");
    let delete = client.delete_internet_gateway().internet_gateway_id(gateway);
    delete.send().await.expect("the gateway is deleted");
    let table = until("the route leads to another gateway", PATIENCE, async || {
        let found = the_table(&scene, table).await;
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

    let request = client
        .disassociate_route_table()
        .set_association_id(association(&scene, table).await);
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
    let counts = |made: &BTreeMap<&'static str, Vec<String>>| -> Vec<(&str, usize)> {
        made.iter().map(|(kind, ids)| (*kind, ids.len())).collect()
    };
    let now = scene.made().await;
    assert_eq!(counts(&now), counts(&made), "each once: {now:?}");
    let table = network.route_table_id.expect("a table");
    let table = the_table(&scene, &table).await;
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
