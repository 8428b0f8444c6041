//! What is somebody else's stays as it is, and is named where it is in the way.

use aws_sdk_ec2::types::{ResourceType, VolumeType};
use rayward::plan::Reason;
use rayward::resources::Kind;
use rayward::tags::ROLE;
use serde_json::json;

use super::{World, cluster, is_settled, lab_network, one, tagged};
use crate::support::stand_in::{REGION, StandIn};

#[tokio::test]
async fn an_interface_of_others_holds_its_subnet_and_nothing_else() {
    let mut world = World::made(&lab_network(), "Dynamic").await;
    let ec2 = world.stand_in.ec2();
    let private = world
        .observed
        .inventory
        .subnet
        .ours
        .values()
        .find(|subnet| !subnet.maps_public_addresses);
    let private = private.expect("a private subnet").id.clone();
    let theirs = ec2.create_network_interface().subnet_id(&private).description("theirs");
    let theirs = theirs
        .send()
        .await
        .expect("an interface")
        .network_interface
        .expect("it");
    let theirs = theirs.network_interface_id.expect("its id");
    let left = ec2
        .create_volume()
        .availability_zone(format!("{REGION}a"))
        .size(1)
        .volume_type(VolumeType::Gp3);
    let ours = world
        .observed
        .inventory
        .vpc
        .ours
        .values()
        .next()
        .expect("a VPC")
        .tags
        .clone();
    let left = left.tag_specifications(tagged(ResourceType::Volume, &ours));
    left.send().await.expect("a disk that a machine left behind");

    world.cluster.deleting = true;
    world.pass().await;
    let (_, plan) = world.pass().await;
    let remaining: Vec<Kind> = world
        .observed
        .inventory
        .ids()
        .into_iter()
        .map(|(kind, _)| kind)
        .collect();
    assert_eq!(remaining, [Kind::Vpc, Kind::Subnet]);
    let blocked: Vec<_> = plan
        .waiting
        .iter()
        .filter(|wait| wait.reason == Reason::ForeignResource)
        .collect();
    assert!(
        blocked
            .iter()
            .any(|wait| wait.message.contains(&theirs) && wait.message.contains(&private)),
        "{blocked:?}"
    );

    let gone = ec2.delete_network_interface().network_interface_id(&theirs);
    gone.send().await.expect("the interface goes");
    world.pass().await;
    world.look().await;
    assert_eq!(world.observed.inventory.ids(), []);
}

#[tokio::test]
async fn a_network_of_the_users_stays_as_it_is_to_the_letter() {
    let stand_in = StandIn::start();
    let ec2 = stand_in.ec2();
    let vpc = ec2
        .create_vpc()
        .cidr_block("172.20.0.0/16")
        .send()
        .await
        .expect("a VPC");
    let vpc = vpc.vpc.and_then(|vpc| vpc.vpc_id).expect("its id");
    let mut subnets = Vec::new();
    for cidr in ["172.20.1.0/24", "172.20.2.0/24"] {
        let subnet = ec2
            .create_subnet()
            .vpc_id(&vpc)
            .cidr_block(cidr)
            .send()
            .await
            .expect("a subnet");
        subnets.push(subnet.subnet.and_then(|subnet| subnet.subnet_id).expect("its id"));
    }
    let unknown = json!({"existing": {"vpcId": vpc, "subnetIds": ["subnet-00000000000000000"]}});
    let mut world = World::new(stand_in, cluster(&unknown, "Dynamic"));
    world.vpc_id = Some(vpc.clone());
    world.look().await;
    let plan = world.plan();
    let missing = plan.waiting.iter().find(|wait| wait.reason == Reason::InvalidReference);
    assert!(
        missing
            .expect("a reference to nothing")
            .message
            .contains("subnet-00000000000000000")
    );
    let started = world.stand_in.changes().len();

    world.cluster = cluster(&json!({"existing": {"vpcId": vpc, "subnetIds": subnets}}), "Dynamic");
    let before = world.observed.inventory.clone();
    world.pass().await;
    world.look().await;
    let inventory = &world.observed.inventory;
    assert_eq!(inventory.vpc.others, before.vpc.others);
    assert_eq!(inventory.subnet.others, before.subnet.others);
    assert_eq!(inventory.route_table.others, before.route_table.others);
    assert_eq!(inventory.internet_gateway.others, before.internet_gateway.others);
    let head = inventory.instance.ours.values().next().expect("a head");
    assert_eq!(head.subnet_id.as_ref(), Some(&subnets[0]));
    let calls: Vec<String> = world.stand_in.changes()[started..]
        .iter()
        .map(|call| call.action.clone())
        .collect();
    assert_eq!(
        calls,
        [
            "ImportKeyPair",
            "CreateSecurityGroup",
            "AuthorizeSecurityGroupIngress",
            "RunInstances"
        ]
    );

    world.cluster.deleting = true;
    world.pass().await;
    world.look().await;
    let inventory = &world.observed.inventory;
    assert_eq!(inventory.ids(), []);
    assert_eq!(inventory.subnet.others, before.subnet.others);
    assert_eq!(inventory.security_group.others, before.security_group.others);
}

#[tokio::test]
async fn an_address_of_others_on_the_head_is_not_taken_off_it() {
    let mut world = World::made(&lab_network(), "None").await;
    let ec2 = world.stand_in.ec2();
    let head = one(&world.observed.inventory.instance.ours);
    let theirs = ec2.allocate_address().send().await.expect("an address");
    let theirs = theirs.allocation_id.expect("its id");
    let put = ec2.associate_address().allocation_id(&theirs).instance_id(&head);
    put.send().await.expect("it is put on the head");
    world.cluster = cluster(&lab_network(), "Elastic");
    let (done, plan) = world.pass().await;
    assert_eq!(done, [""; 0], "{plan:#?}");
    let mut waiting = plan.waiting.iter();
    assert!(
        waiting.any(|waiting| waiting.reason == Reason::ForeignResource),
        "{plan:#?}"
    );

    let given_back = ec2
        .describe_addresses()
        .allocation_ids(&theirs)
        .send()
        .await
        .expect("it");
    let association = given_back.addresses()[0]
        .association_id()
        .expect("its association")
        .to_owned();
    let off = ec2.disassociate_address().association_id(association);
    off.send().await.expect("it is taken off");
    let (_, plan) = world.pass().await;
    assert!(is_settled(&plan), "{plan:#?}");
    let address = world.observed.inventory.address.ours.values().next().expect("ours");
    assert_eq!(address.instance_id.as_ref(), Some(&head));
    assert_eq!(address.tags[ROLE], rayward::resources::address::ROLE);
}
