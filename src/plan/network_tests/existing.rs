//! A cluster in a network of the user's, which is used as it is.

use std::collections::BTreeSet;

use super::{findings, rounds, stuck, waits};
use crate::{
    plan::{Reason, scenario::Scenario},
    resources::{security_group::SecurityGroup, subnet::Subnet, vpc::Vpc},
    tags::Tags,
    validate::Network,
};

/// A cluster in a network of the user's.
fn guest() -> Scenario {
    let mut guest = Scenario::lab();
    guest.cluster.network = Network::Existing {
        vpc_id: "vpc-theirs".into(),
        subnet_ids: vec!["subnet-b".into(), "subnet-a".into()],
        security_group_ids: Vec::new(),
    };
    let inventory = &mut guest.observed.inventory;
    let vpc = Vpc {
        id: "vpc-theirs".into(),
        cidr: "172.16.0.0/16".into(),
        dns_support: false,
        dns_hostnames: false,
        in_the_way: None,
        tags: Tags::new(),
    };
    inventory.vpc.others.insert(vpc.id.clone(), vpc);
    for (id, cidr) in [("subnet-a", "172.16.1.0/24"), ("subnet-b", "172.16.2.0/24")] {
        let subnet = Subnet {
            id: id.into(),
            vpc_id: "vpc-theirs".into(),
            cidr: cidr.into(),
            availability_zone: "ap-southeast-1b".into(),
            maps_public_addresses: false,
            tags: Tags::new(),
        };
        inventory.subnet.others.insert(id.into(), subnet);
    }
    guest
}

#[test]
fn a_network_of_the_users_is_used_as_it_is_and_only_a_group_is_added() {
    let mut guest = guest();
    guest.cluster.groups.clear();
    insta::assert_debug_snapshot!(rounds(&mut guest), @r#"
    [
        [
            "import key pair rayward-ml-lab-0f3a2b1c",
            "create security group rayward-ml-lab-0f3a2b1c in vpc-theirs",
        ],
        [
            "let in to securitygroup-3: all securitygroup-3",
            "record launch 101 (1 x t2.medium for head)",
        ],
        [
            "launch 1 x t2.medium in subnet-b for the head (launch 101)",
        ],
    ]
    "#);
    guest.run();
    guest.cluster.deleting = true;
    insta::assert_debug_snapshot!(guest.run(), @r#"
    [
        "terminate i-5: the cluster is being deleted",
        "delete key pair rayward-ml-lab-0f3a2b1c (keypair-2)",
        "delete security group securitygroup-3",
    ]
    "#);
}

#[test]
fn a_group_of_the_users_is_used_as_it_is() {
    let mut guest = guest();
    guest.cluster.groups.clear();
    if let Network::Existing { security_group_ids, .. } = &mut guest.cluster.network {
        security_group_ids.push("sg-theirs".into());
    }
    let group = SecurityGroup {
        id: "sg-theirs".into(),
        name: "web".into(),
        vpc_id: "vpc-theirs".into(),
        ingress: BTreeSet::new(),
        egress: BTreeSet::new(),
        tags: Tags::new(),
    };
    guest
        .observed
        .inventory
        .security_group
        .others
        .insert(group.id.clone(), group);
    let done = guest.settle();
    assert_eq!(done.len(), 3, "a key pair, a record and a launch: {done:?}");
    assert_eq!(guest.observed.ledger.launches[0].security_group_ids, ["sg-theirs"]);
}

#[test]
fn what_a_spec_names_and_aws_does_not_have_is_named() {
    let mut guest = guest();
    if let Network::Existing {
        subnet_ids,
        security_group_ids,
        ..
    } = &mut guest.cluster.network
    {
        subnet_ids.push("subnet-c".into());
        security_group_ids.push("sg-c".into());
    }
    guest.cluster.key_pair = Some("mine".into());
    let plan = guest.plan();
    assert_eq!(plan.actions, []);
    assert_eq!(
        waits(&plan)[..2],
        [
            (
                Reason::InvalidReference,
                "InvalidKeyPair.NotFound: there is no key pair mine in ap-southeast-1: import it there, or change \
                 keyPair.name"
                    .to_owned()
            ),
            (
                Reason::InvalidReference,
                "there is no subnet subnet-c in vpc-theirs, no security group sg-c in vpc-theirs: network.existing \
                 names it"
                    .to_owned()
            ),
        ]
    );
}

#[test]
fn a_group_with_our_name_that_nothing_proves_ours_is_named_and_left() {
    let mut guest = guest();
    guest.run();
    let inventory = &mut guest.observed.inventory;
    let (id, mut group) = inventory.security_group.ours.pop_first().unwrap();
    group.tags.clear();
    inventory.security_group.others.insert(id.clone(), group);
    assert_eq!(stuck(&guest.plan()), Some(Reason::ForeignResource));

    guest.cluster.deleting = true;
    guest.run();
    let kept = format!(
        "Kept: {id} has the name of this cluster's security group, but neither its tags nor its place in the status"
    );
    assert_eq!(findings(&guest.plan()), [kept]);
}
