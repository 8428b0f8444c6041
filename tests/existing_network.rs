//! A network of the user's: used as it is, never changed, never deleted, whatever happens to the cluster in it.

use aws_sdk_ec2::types as ec2;
use rayward::api::RayCluster;
use std::fmt::Write as _;

use crate::support::account::machines;
use crate::support::cluster::condition;
use crate::support::scene::Scene;
use crate::support::sweeps::sweeps;
use crate::support::wait::{PATIENCE, until};

/// What a user brings: one subnet with a way out, and a group.
struct Brought {
    vpc: String,
    subnet: String,
    gateway: String,
    table: String,
    group: String,
}

impl Brought {
    async fn make(scene: &Scene) -> Self {
        let client = scene.aws.ec2();
        let vpc = client
            .create_vpc()
            .cidr_block("172.16.0.0/16")
            .send()
            .await
            .expect("a VPC")
            .vpc;
        let vpc = vpc.and_then(|vpc| vpc.vpc_id).expect("an id");
        let subnet = client
            .create_subnet()
            .vpc_id(&vpc)
            .cidr_block("172.16.4.0/24")
            .send()
            .await;
        let subnet = subnet
            .expect("a subnet")
            .subnet
            .and_then(|subnet| subnet.subnet_id)
            .expect("an id");
        let gateway = client
            .create_internet_gateway()
            .send()
            .await
            .expect("a gateway")
            .internet_gateway;
        let gateway = gateway.and_then(|gateway| gateway.internet_gateway_id).expect("an id");
        let attach = client
            .attach_internet_gateway()
            .internet_gateway_id(&gateway)
            .vpc_id(&vpc);
        attach.send().await.expect("it is attached");
        let table = client
            .create_route_table()
            .vpc_id(&vpc)
            .send()
            .await
            .expect("a table")
            .route_table;
        let table = table.and_then(|table| table.route_table_id).expect("an id");
        let route = client
            .create_route()
            .route_table_id(&table)
            .destination_cidr_block("0.0.0.0/0");
        route.gateway_id(&gateway).send().await.expect("a route");
        let associate = client.associate_route_table().route_table_id(&table).subnet_id(&subnet);
        associate.send().await.expect("it is associated");
        let group = client
            .create_security_group()
            .vpc_id(&vpc)
            .group_name("mine")
            .description("mine");
        let group = group.send().await.expect("a group").group_id.expect("an id");
        Self {
            vpc,
            subnet,
            gateway,
            table,
            group,
        }
    }

    fn manifest(&self, groups: &[&str]) -> String {
        manifest(&self.vpc, &self.subnet, groups)
    }

    /// Everything that EC2 tells of it, but for how many addresses are free: machines take some.
    async fn description(&self, scene: &Scene) -> String {
        let client = scene.aws.ec2();
        let in_vpc = || ec2::Filter::builder().name("vpc-id").values(&self.vpc).build();
        let vpcs = client
            .describe_vpcs()
            .filters(in_vpc())
            .send()
            .await
            .expect("VPCs")
            .vpcs;
        let subnets = client
            .describe_subnets()
            .filters(in_vpc())
            .send()
            .await
            .expect("subnets")
            .subnets;
        let subnets = subnets.map(|mut subnets| {
            for subnet in &mut subnets {
                subnet.available_ip_address_count = None;
            }
            subnets
        });
        let tables = client
            .describe_route_tables()
            .filters(in_vpc())
            .send()
            .await
            .expect("tables")
            .route_tables;
        let groups = client
            .describe_security_groups()
            .filters(in_vpc())
            .send()
            .await
            .expect("groups");
        let groups = groups.security_groups.map(|mut groups| {
            // Rayward's own, where it makes one, is compared by others.
            groups.retain(|group| !group.group_name().is_some_and(|name| name.starts_with("rayward-")));
            groups
        });
        let attached = ec2::Filter::builder()
            .name("attachment.vpc-id")
            .values(&self.vpc)
            .build();
        let gateways = client.describe_internet_gateways().filters(attached).send().await;
        let gateways = gateways.expect("gateways").internet_gateways;
        let mut text = format!("{vpcs:#?}\n{subnets:#?}\n{tables:#?}\n{groups:#?}\n{gateways:#?}");
        for name in [
            ec2::VpcAttributeName::EnableDnsSupport,
            ec2::VpcAttributeName::EnableDnsHostnames,
        ] {
            let request = client.describe_vpc_attribute().vpc_id(&self.vpc).attribute(name);
            let answer = request.send().await.expect("an attribute");
            let _ = writeln!(
                text,
                "{:?} {:?}",
                answer.enable_dns_support, answer.enable_dns_hostnames
            );
        }
        text
    }

    /// What a user may do to a network: another tag, no way out, public addresses, another rule.
    async fn change(&self, scene: &Scene) {
        let client = scene.aws.ec2();
        let request = client
            .delete_route()
            .route_table_id(&self.table)
            .destination_cidr_block("0.0.0.0/0");
        request.send().await.expect("the route is deleted");
        let on = ec2::AttributeBooleanValue::builder().value(true).build();
        let request = client
            .modify_subnet_attribute()
            .subnet_id(&self.subnet)
            .map_public_ip_on_launch(on);
        request.send().await.expect("public addresses are switched on");
        let tag = ec2::Tag::builder().key("owner").value("me").build();
        let request = client
            .create_tags()
            .resources(&self.vpc)
            .resources(&self.subnet)
            .resources(&self.gateway);
        request.tags(tag).send().await.expect("the tag is put on");
        let range = ec2::IpRange::builder().cidr_ip("192.0.2.0/24").build();
        let rule = ec2::IpPermission::builder()
            .ip_protocol("tcp")
            .from_port(9)
            .to_port(9)
            .ip_ranges(range);
        let request = client.authorize_security_group_ingress().group_id(&self.group);
        request
            .ip_permissions(rule.build())
            .send()
            .await
            .expect("the rule is added");
    }
}

fn manifest(vpc: &str, subnet: &str, groups: &[&str]) -> String {
    let groups = groups.join(", ");
    format!(
        "
apiVersion: rayward.dev/v1alpha1
kind: RayCluster
metadata: {{name: guest}}
spec:
  region: ap-southeast-1
  buckets: []
  workerGroups: [{{name: cpu, replicas: 1}}]
  network:
    controllerAccess: Private
    existing: {{vpcId: {vpc}, subnetIds: [{subnet}], securityGroupIds: [{groups}]}}
"
    )
}

/// The ids of the security groups of all machines; they are the same for each.
async fn groups_of_machines(scene: &Scene, count: usize) -> Vec<String> {
    let machines = machines(&scene.aws).await;
    assert_eq!(machines.len(), count);
    let groups = |machine: &ec2::Instance| -> Vec<String> {
        let groups = machine.security_groups().iter();
        groups.filter_map(|group| group.group_id().map(str::to_owned)).collect()
    };
    let first = groups(&machines[0]);
    assert!(machines.iter().all(|machine| groups(machine) == first));
    first
}

async fn ready(scene: &Scene, manifest: &str) -> RayCluster {
    scene.space.apply(manifest).await.expect("it is accepted");
    scene.space.wait_for("guest", "Ready", "True", PATIENCE).await
}

#[tokio::test]
async fn a_network_of_the_users_is_used_and_never_changed() {
    let scene = Scene::start().await;
    let brought = Brought::make(&scene).await;
    let before = brought.description(&scene).await;
    let with_network = scene.made().await;
    let changes = |scene: &Scene| scene.aws.changes().len();

    let guest = ready(&scene, &brought.manifest(&[])).await;
    let network = guest.status.and_then(|status| status.network).expect("a network");
    assert_eq!(network.vpc_id.as_deref(), Some(brought.vpc.as_str()));
    assert_eq!(network.subnets[0].id, brought.subnet);
    assert_eq!((network.internet_gateway_id, network.route_table_id), (None, None));
    let group = &network.security_group_ids[0];
    assert_ne!(*group, brought.group);
    assert_eq!(groups_of_machines(&scene, 2).await, [group.as_str()]);
    assert!(
        machines(&scene.aws)
            .await
            .iter()
            .all(|machine| machine.subnet_id() == Some(&brought.subnet))
    );
    let made = scene.made().await;
    for kind in ["VPC", "subnet", "internet gateway", "route table"] {
        assert_eq!(made.get(kind), with_network.get(kind), "{kind}");
    }
    assert_eq!(made["security group"].len(), with_network["security group"].len() + 1);
    assert_eq!(brought.description(&scene).await, before);

    brought.change(&scene).await;
    let by_the_user = brought.description(&scene).await;
    assert_ne!(by_the_user, before);
    let done = changes(&scene);
    sweeps(&scene.aws, 3).await;
    assert_eq!(
        changes(&scene),
        done,
        "what is theirs is not put right: {:?}",
        scene.aws.changes().last()
    );
    assert_eq!(brought.description(&scene).await, by_the_user);

    // The group that Rayward made there is kept true all the same.
    let range = ec2::IpRange::builder().cidr_ip("0.0.0.0/0").build();
    let rule = ec2::IpPermission::builder()
        .ip_protocol("tcp")
        .from_port(23)
        .to_port(23)
        .ip_ranges(range);
    let client = scene.aws.ec2();
    let request = client.authorize_security_group_ingress().group_id(group);
    request
        .ip_permissions(rule.build())
        .send()
        .await
        .expect("the rule is added");
    until("the rule is gone again", PATIENCE, async || {
        let found = client
            .describe_security_groups()
            .group_ids(group)
            .send()
            .await
            .expect("the group");
        let rules = found.security_groups()[0].ip_permissions();
        if rules.iter().any(|rule| rule.from_port() == Some(23)) {
            Err(format!("{rules:?}"))
        } else {
            Ok(())
        }
    })
    .await;

    scene.space.delete("guest").await;
    scene.space.wait_until_gone("guest", PATIENCE).await;
    assert_eq!(scene.made().await, with_network, "only theirs is left");
    assert_eq!(brought.description(&scene).await, by_the_user);
}

#[tokio::test]
async fn with_groups_of_the_users_none_is_made() {
    let scene = Scene::start().await;
    let brought = Brought::make(&scene).await;
    let before = brought.description(&scene).await;
    let with_network = scene.made().await;

    let guest = ready(&scene, &brought.manifest(&[&brought.group])).await;
    let network = guest.status.and_then(|status| status.network).expect("a network");
    assert_eq!(network.security_group_ids, [brought.group.as_str()]);
    assert_eq!(groups_of_machines(&scene, 2).await, [brought.group.as_str()]);
    assert_eq!(scene.made().await["security group"], with_network["security group"]);
    assert_eq!(brought.description(&scene).await, before);

    brought.change(&scene).await;
    let by_the_user = brought.description(&scene).await;
    sweeps(&scene.aws, 3).await;
    assert_eq!(
        brought.description(&scene).await,
        by_the_user,
        "not even a rule of their group"
    );

    scene.space.delete("guest").await;
    scene.space.wait_until_gone("guest", PATIENCE).await;
    assert_eq!(scene.made().await, with_network, "only theirs is left");
    assert_eq!(brought.description(&scene).await, by_the_user);
}

#[tokio::test]
async fn what_is_named_and_not_there_is_told_by_its_id() {
    let scene = Scene::start().await;
    let brought = Brought::make(&scene).await;
    let other = Brought::make(&scene).await;
    let nobodys = "0123456789abcdef0";
    let (vpc, subnet, group) = (
        format!("vpc-{nobodys}"),
        format!("subnet-{nobodys}"),
        format!("sg-{nobodys}"),
    );
    let mine = (brought.vpc.as_str(), brought.subnet.as_str());
    let cases = [
        (manifest(&vpc, mine.1, &[]), &vpc),
        (manifest(mine.0, &subnet, &[]), &subnet),
        (manifest(mine.0, mine.1, &[&group]), &group),
        (manifest(mine.0, &other.subnet, &[]), &other.subnet),
        (manifest(mine.0, mine.1, &[&other.group]), &other.group),
    ];
    let with_networks = scene.made().await;
    for (number, (manifest, id)) in cases.iter().enumerate() {
        let name = format!("guest-{number}");
        let manifest = manifest.replace("name: guest", &format!("name: {name}"));
        scene.space.apply(&manifest).await.expect("it is accepted");
        let stalled = scene.space.wait_for(&name, "Stalled", "True", PATIENCE).await;
        for kind in ["Stalled", "NetworkReady", "Ready"] {
            let found = condition(&stalled, kind).expect("it is there");
            assert_eq!(found.reason, "InvalidReference", "{kind}");
            assert!(found.message.contains(id.as_str()), "{}", found.message);
        }
    }
    sweeps(&scene.aws, 2).await;
    let mut made = scene.made().await;
    // Each cluster's key may be there: it needs no network.
    made.remove("key pair");
    assert_eq!(made, with_networks, "nothing is made for them");
    for number in 0..cases.len() {
        let name = format!("guest-{number}");
        scene.space.delete(&name).await;
        scene.space.wait_until_gone(&name, PATIENCE).await;
    }
    assert_eq!(scene.made().await, with_networks);
}

#[tokio::test]
async fn what_lost_its_tags_just_before_a_deletion_goes_too() {
    let mut scene = Scene::start().await;
    let brought = Brought::make(&scene).await;
    let with_network = scene.made().await;
    let guest = ready(&scene, &brought.manifest(&[])).await;
    let network = guest.status.and_then(|status| status.network).expect("a network");
    let keys = scene.made().await["key pair"].clone();

    scene.controller.kill();
    let untag = scene.aws.ec2().delete_tags();
    let untag = untag.set_resources(Some([network.security_group_ids, keys].concat()));
    untag.send().await.expect("the tags are deleted");
    scene.space.delete("guest").await;
    scene.controller.restart().await;
    scene.space.wait_until_gone("guest", PATIENCE).await;
    assert_eq!(scene.made().await, with_network, "only theirs is left");
}
