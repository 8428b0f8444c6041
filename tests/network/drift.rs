//! What somebody changes on EC2 is put right.

use aws_sdk_ec2::types::{AttributeBooleanValue, IpPermission, IpRange, ResourceType, Tag};
use rayward::tags::INSTALLATION;

use super::{PUBLIC_KEY, World, lab_network, one, tagged};

/// A key that nobody here holds.
const ANOTHER_KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIE6mVYmHlYhdzQ0pVYmW1b5v3m3nA9Y0Fe1pG2Gm0b3C other";

fn on(value: bool) -> AttributeBooleanValue {
    AttributeBooleanValue::builder().value(value).build()
}

#[tokio::test]
async fn routes_and_associations_that_somebody_changes_are_put_right() {
    let mut world = World::made(&lab_network(), "Dynamic").await;
    let ec2 = world.stand_in.ec2();
    let (vpc, public) = (world.vpc(), world.public_subnet());
    let inventory = &world.observed.inventory;
    let (table, head) = (one(&inventory.route_table.ours), one(&inventory.instance.ours));

    let route = ec2
        .delete_route()
        .route_table_id(&table)
        .destination_cidr_block("0.0.0.0/0");
    route.send().await.expect("the route goes");
    world.repairs(&["the route to 0.0.0.0/0 was missing"]).await;

    let nowhere = ec2
        .replace_route()
        .route_table_id(&table)
        .destination_cidr_block("0.0.0.0/0");
    nowhere
        .instance_id(&head)
        .send()
        .await
        .expect("the route leads elsewhere");
    world.repairs(&["the route to 0.0.0.0/0 led to"]).await;

    let association = association(&world, &public);
    let gone = ec2.disassociate_route_table().association_id(association);
    gone.send().await.expect("the association goes");
    world.repairs(&["was not associated with"]).await;

    let other = ec2.create_route_table().vpc_id(&vpc).send().await.expect("a table");
    let other = other
        .route_table
        .and_then(|table| table.route_table_id)
        .expect("its id");
    let moved = ec2
        .replace_route_table_association()
        .route_table_id(&other)
        .association_id(self::association(&world, &public));
    moved.send().await.expect("the association moves");
    world.repairs(&["in place of"]).await;
}

#[tokio::test]
async fn rules_and_settings_that_somebody_changes_are_put_right() {
    let mut world = World::made(&lab_network(), "None").await;
    let ec2 = world.stand_in.ec2();
    let (vpc, public) = (world.vpc(), world.public_subnet());
    let group = one(&world.observed.inventory.security_group.ours);

    let rule = |port: i32, cidr: &str| {
        let range = IpRange::builder().cidr_ip(cidr).build();
        let ports = IpPermission::builder().ip_protocol("tcp").from_port(port).to_port(port);
        ports.ip_ranges(range).build()
    };
    let revoke = ec2.revoke_security_group_ingress().group_id(&group);
    revoke
        .ip_permissions(rule(443, "192.0.2.0/24"))
        .send()
        .await
        .expect("a rule goes");
    let add = ec2.authorize_security_group_ingress().group_id(&group);
    add.ip_permissions(rule(8265, "0.0.0.0/0"))
        .send()
        .await
        .expect("a rule comes");
    let everything = IpPermission::builder().ip_protocol("-1");
    let everything = everything
        .ip_ranges(IpRange::builder().cidr_ip("0.0.0.0/0").build())
        .build();
    let close = ec2.revoke_security_group_egress().group_id(&group);
    close
        .ip_permissions(everything)
        .send()
        .await
        .expect("the way out is closed");
    let told = [
        "ingress rules were missing: tcp 443 192.0.2.0/24",
        "ingress rules were added: tcp 8265 0.0.0.0/0",
        "the way out was closed",
    ];
    world.repairs(&told).await;

    let names = ec2.modify_vpc_attribute().vpc_id(&vpc);
    names
        .enable_dns_hostnames(on(false))
        .send()
        .await
        .expect("names are switched off");
    let mapping = ec2.modify_subnet_attribute().subnet_id(&public);
    mapping
        .map_public_ip_on_launch(on(false))
        .send()
        .await
        .expect("mapping is switched off");
    world
        .repairs(&["DNS host names were off", "public addresses were off"])
        .await;
}

#[tokio::test]
async fn tags_that_somebody_removes_come_back() {
    let mut world = World::made(&lab_network(), "None").await;
    let ec2 = world.stand_in.ec2();
    let (vpc, public) = (world.vpc(), world.public_subnet());
    let inventory = &world.observed.inventory;
    let (gateway, table) = (one(&inventory.internet_gateway.ours), one(&inventory.route_table.ours));
    let group = one(&inventory.security_group.ours);
    let pair = one(&inventory.key_pair.ours);
    let head = inventory.instance.ours.values().next().expect("a head");
    let disk = head.root_volume.clone().expect("a disk");

    let tags = ec2
        .delete_tags()
        .resources(&vpc)
        .resources(&gateway)
        .resources(&public)
        .resources(&table);
    let tags = tags.resources(&group).resources(&pair).resources(&disk);
    let tags = tags.tags(Tag::builder().key("team").build());
    tags.send().await.expect("tags go");
    world.repairs(&["tags were missing or changed: team"; 7]).await;
    let tags = ec2.delete_tags().resources(&disk);
    let tags = tags.tags(Tag::builder().key(INSTALLATION).build());
    tags.send().await.expect("the disk is not seen any more");
    world.repairs(&["tags were missing or changed: Name, "]).await;
}

fn association(world: &World, subnet: &str) -> String {
    let table = world
        .observed
        .inventory
        .route_table
        .ours
        .values()
        .next()
        .expect("a table");
    table.associations[subnet].clone()
}

#[tokio::test]
async fn a_gateway_comes_back_and_a_key_pair_with_another_key_is_replaced() {
    let mut world = World::made(&lab_network(), "None").await;
    let ec2 = world.stand_in.ec2();
    let inventory = &world.observed.inventory;
    let gateway = one(&inventory.internet_gateway.ours);
    let pair = inventory.key_pair.ours.values().next().expect("a key pair").clone();
    assert_eq!(pair.public_key, PUBLIC_KEY.trim_end_matches(" rayward"));

    let detach = ec2
        .detach_internet_gateway()
        .internet_gateway_id(&gateway)
        .vpc_id(world.vpc());
    detach.send().await.expect("the gateway is detached");
    world.repairs(&["was not attached to"]).await;

    ec2.delete_key_pair()
        .key_name(&pair.name)
        .send()
        .await
        .expect("it goes");
    let another = ec2.import_key_pair().key_name(&pair.name);
    let another = another
        .public_key_material(aws_sdk_ec2::primitives::Blob::new(ANOTHER_KEY))
        .tag_specifications(tagged(ResourceType::KeyPair, &pair.tags));
    another.send().await.expect("another key comes");
    world.repairs(&["held another key"]).await;
}
