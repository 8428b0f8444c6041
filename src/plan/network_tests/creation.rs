//! A network that is made: in which order, with which tags, and once.

use std::collections::{BTreeMap, BTreeSet};

use super::{lab, made, only, rounds, subnet, waits};
use crate::{
    api::PublicAddress,
    observe::Source,
    plan::{Action, Reason, scenario::UID},
    resources::{
        Change, instance::InstanceChange, internet_gateway::InternetGateway, route_table::RouteTable, vpc::Vpc,
    },
    tags::{self, Tags},
};

#[test]
fn a_network_is_made_in_three_rounds_and_a_launch_does_not_wait_for_the_last() {
    let mut lab = lab();
    lab.cluster.groups.clear();
    insta::assert_debug_snapshot!(rounds(&mut lab), @r#"
    [
        [
            "import key pair rayward-ml-lab-0f3a2b1c",
            "create VPC 10.0.0.0/16",
            "create internet gateway",
        ],
        [
            "enable DNS host names of vpc-3",
            "attach internet gateway internetgateway-4 to vpc-3",
            "create subnet a (10.0.1.0/24) in vpc-3",
            "create subnet p (10.0.2.0/24) in vpc-3",
            "create route table in vpc-3",
            "create security group rayward-ml-lab-0f3a2b1c in vpc-3",
        ],
        [
            "give machines in subnet-7 public addresses",
            "route 0.0.0.0/0 of routetable-9 to internetgateway-4",
            "associate subnet-7 with routetable-9",
            "let in to securitygroup-10: all securitygroup-10, tcp 22 192.0.2.0/24, tcp 443 198.51.100.0/24",
            "record launch 101 (1 x t2.medium for head)",
        ],
        [
            "launch 1 x t2.medium in subnet-7 for the head (launch 101)",
        ],
    ]
    "#);
}

#[test]
fn everything_is_created_with_its_tags_and_the_time() {
    let mut lab = made();
    let inventory = &mut lab.observed.inventory;
    let mut roles = Vec::new();
    let mut check = |tags: &Tags| {
        assert_eq!(tags[tags::CLUSTER_UID], UID);
        assert_eq!(tags[tags::INSTALLATION], "installation");
        assert_eq!(tags[tags::CREATED_AT], "2026-11-23T12:00:00Z");
        roles.push(tags[tags::ROLE].clone());
    };
    check(&only(&mut inventory.vpc.ours).tags);
    check(&only(&mut inventory.internet_gateway.ours).tags);
    check(&only(&mut inventory.route_table.ours).tags);
    check(&only(&mut inventory.security_group.ours).tags);
    check(&only(&mut inventory.key_pair.ours).tags);
    check(&subnet(inventory, "10.0.1.0/24").tags);
    assert_eq!(
        roles,
        [
            "vpc",
            "internet-gateway",
            "route-table",
            "security-group",
            "key-pair",
            "subnet"
        ]
    );
    assert_eq!(subnet(inventory, "10.0.2.0/24").tags[tags::GROUP], "p");
}

#[test]
fn what_was_made_twice_goes_once_it_is_settled_and_only_when_unused() {
    let mut lab = made();
    let inventory = &mut lab.observed.inventory;
    let created = |at: &str| Tags::from([(tags::CREATED_AT.to_owned(), at.to_owned())]);
    let gateway = |id: &str, at| InternetGateway {
        id: id.into(),
        attached_to: None,
        tags: created(at),
    };
    let (old, new) = ("2026-11-23T12:00:00Z", "2026-11-23T12:59:59Z");
    for double in [gateway("igw-old", old), gateway("igw-new", new)] {
        inventory.internet_gateway.ours.insert(double.id.clone(), double);
    }
    let double = Vpc {
        id: "vpc-0".into(),
        cidr: "10.0.0.0/16".into(),
        dns_support: true,
        dns_hostnames: false,
        in_the_way: None,
        tags: created(old),
    };
    inventory.vpc.ours.insert(double.id.clone(), double);
    let table = RouteTable {
        id: "rtb-0".into(),
        associations: BTreeMap::new(),
        tags: created(old),
        ..only(&mut inventory.route_table.ours).clone()
    };
    inventory.route_table.ours.insert(table.id.clone(), table);
    assert_eq!(
        lab.lines(),
        [
            "delete VPC vpc-0",
            "delete internet gateway igw-old",
            "delete route table rtb-0"
        ]
    );
}

#[test]
fn nothing_is_made_before_a_look_at_what_is_there() {
    let mut lab = lab();
    lab.observed.inventory.subnet.swept = Source::Unknown("not looked at yet".into());
    lab.observed.inventory.key_pair.swept = Source::Unknown("not looked at yet".into());
    let plan = lab.plan();
    assert_eq!(plan.actions, []);
    let reasons: Vec<Reason> = waits(&plan).into_iter().map(|(reason, _)| reason).collect();
    assert_eq!(
        reasons[..2],
        [Reason::NotObserved, Reason::NotObserved],
        "and machines wait"
    );
}

#[test]
fn the_finalizer_comes_once_aws_was_seen_and_before_anything_else() {
    let mut lab = lab();
    lab.observed.has_finalizer = false;
    let seen = std::mem::replace(
        &mut lab.observed.inventory.instance.swept,
        Source::Unknown("not looked at yet".into()),
    );
    let plan = lab.plan();
    assert_eq!(plan.actions, []);
    assert!(
        waits(&plan).iter().all(|(reason, _)| *reason == Reason::NotObserved),
        "{plan:?}"
    );
    lab.observed.inventory.instance.swept = seen;
    assert_eq!(lab.lines(), ["add the finalizer"]);
}

#[test]
fn a_change_that_is_entered_twice_shows_as_once() {
    let mut lab = lab();
    lab.cluster.head.public_address = PublicAddress::Elastic;
    let mut kinds = BTreeSet::new();
    for deleting in [false, true] {
        lab.cluster.deleting = deleting;
        for _ in 0..20 {
            for action in lab.plan().actions {
                let before = lab.observed.inventory.clone();
                let Action::Aws(change) = &action else {
                    lab.carry_out(&action);
                    continue;
                };
                let answer = lab.answer(change);
                lab.observed.inventory.fold(change, &answer);
                let once = lab.observed.inventory.clone();
                assert_ne!(before, once, "{change} changes what was seen");
                lab.observed.inventory.fold(change, &answer);
                assert_eq!(once, lab.observed.inventory, "{change}");
                kinds.insert(change.call());
                if let Change::Instance(InstanceChange::Launch { launch, .. }) = change {
                    lab.observed.ledger.settle(launch.number, Ok(&answer), lab.now);
                }
            }
            lab.arrive();
        }
    }
    assert!(kinds.len() > 20, "{kinds:?}");
}
