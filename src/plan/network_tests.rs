//! How the network, the key, the address and the disks are planned: each case a cluster, what happened to it, and what
//! is done about it.

use std::collections::{BTreeMap, BTreeSet};

use jiff::SignedDuration;

use super::{
    Action, Finding, Plan, Reason,
    scenario::{Scenario, UID},
};
use crate::{
    api::{NetworkStatus, PublicAddress},
    observe::{KeySecret, Source},
    resources::{
        Change, Inventory,
        address::Address,
        instance::{InstanceChange, InstanceState, sample},
        internet_gateway::InternetGateway,
        key_pair::KeyPair,
        network_interface::NetworkInterface,
        route_table::{EVERYWHERE, RouteTable},
        security_group::{Peer, Rule, SecurityGroup},
        subnet::Subnet,
        volume::Volume,
        vpc::Vpc,
    },
    tags::{self, Tags},
    validate::{self, Ingress, Network},
};

/// The lab with two ports open, and a private subnet beside the public one.
fn lab() -> Scenario {
    let mut lab = Scenario::lab();
    let open = |port, cidr: &str| Ingress {
        from_port: port,
        to_port: port,
        cidr: cidr.parse().unwrap(),
    };
    lab.cluster.ingress = vec![open(22, "192.0.2.0/24"), open(443, "198.51.100.0/24")];
    if let Network::Own { subnets, .. } = &mut lab.cluster.network {
        subnets.push(validate::Subnet {
            name: "p".into(),
            cidr: "10.0.2.0/24".parse().unwrap(),
            public: false,
            availability_zone: Some("ap-southeast-1b".into()),
        });
    }
    lab
}

/// The same, all of it made an hour ago.
fn made() -> Scenario {
    let mut lab = lab();
    lab.run();
    lab.now += SignedDuration::from_hours(1);
    lab.settle();
    let plan = lab.plan();
    assert!(plan.is_converged() && plan.findings.is_empty(), "{plan:?}");
    lab.observed.recorded.observed_generation = Some(lab.cluster.generation);
    lab.observed.recorded.phase = Some(crate::api::Phase::Ready);
    lab
}

fn only<T>(items: &mut BTreeMap<String, T>) -> &mut T {
    assert_eq!(items.len(), 1);
    items.values_mut().next().unwrap()
}

fn subnet<'a>(inventory: &'a mut Inventory, cidr: &str) -> &'a mut Subnet {
    let mut subnets = inventory.subnet.ours.values_mut();
    subnets.find(|subnet| subnet.cidr == cidr).unwrap()
}

fn vpc_id(lab: &Scenario) -> String {
    lab.observed.inventory.vpc.ours.keys().next().unwrap().clone()
}

fn findings(plan: &Plan) -> Vec<String> {
    let line = |finding: &Finding| format!("{:?}: {} {}", finding.outcome, finding.id, finding.what);
    plan.findings.iter().map(line).collect()
}

fn waits(plan: &Plan) -> Vec<(Reason, String)> {
    let wait = |waiting: &super::Waiting| (waiting.reason, waiting.message.clone());
    plan.waiting.iter().map(wait).collect()
}

/// Why nothing is done, where nothing is.
fn stuck(plan: &Plan) -> Option<Reason> {
    let reason = plan.waiting.first().map(|waiting| waiting.reason);
    reason.filter(|_| plan.actions.is_empty())
}

/// What is planned, round by round, until nothing is: what stands in one round is done side by side.
fn rounds(lab: &mut Scenario) -> Vec<Vec<String>> {
    let mut rounds = Vec::new();
    loop {
        let actions = lab.plan().actions;
        if actions.is_empty() {
            return rounds;
        }
        assert!(rounds.len() < 20, "{rounds:#?}");
        rounds.push(actions.iter().map(ToString::to_string).collect());
        for action in actions {
            lab.carry_out(&action);
        }
    }
}

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

/// What somebody did to a made lab, what is then planned, and what is told. Afterwards all is as it was.
#[track_caller]
fn drifts(somebody: impl Fn(&mut Inventory), planned: &[&str], told: &[&str]) {
    let mut lab = made();
    somebody(&mut lab.observed.inventory);
    let plan = lab.plan();
    let lines: Vec<String> = plan.actions.iter().map(ToString::to_string).collect();
    assert_eq!(lines, planned);
    assert_eq!(findings(&plan), told);
    lab.settle();
    let plan = lab.plan();
    assert!(plan.is_converged(), "{plan:?}");

    // The same while it is being made is no drift, only unfinished.
    let mut fresh = made();
    fresh.now -= SignedDuration::from_hours(1);
    somebody(&mut fresh.observed.inventory);
    let lines = fresh.lines();
    assert_eq!(lines, planned, "repaired at once all the same");
}

#[test]
fn a_route_that_is_removed_comes_back() {
    drifts(
        |inventory| only(&mut inventory.route_table.ours).routes.clear(),
        &["route 0.0.0.0/0 of routetable-9 to internetgateway-4"],
        &["Repaired: routetable-9 the route to 0.0.0.0/0 was missing"],
    );
}

#[test]
fn a_route_that_leads_elsewhere_is_led_back() {
    let elsewhere = |inventory: &mut Inventory| {
        let table = only(&mut inventory.route_table.ours);
        table.routes.insert(EVERYWHERE.into(), "nat-theirs".into());
    };
    drifts(
        elsewhere,
        &["route 0.0.0.0/0 of routetable-9 to internetgateway-4 again"],
        &["Repaired: routetable-9 the route to 0.0.0.0/0 led to nat-theirs"],
    );
}

#[test]
fn a_public_subnet_that_lost_its_table_gets_it_back() {
    drifts(
        |inventory| only(&mut inventory.route_table.ours).associations.clear(),
        &["associate subnet-7 with routetable-9"],
        &["Repaired: subnet-7 was not associated with routetable-9"],
    );
}

#[test]
fn a_public_subnet_that_uses_a_table_of_others_is_taken_back_and_that_table_is_left() {
    let elsewhere = |inventory: &mut Inventory| {
        only(&mut inventory.route_table.ours).associations.clear();
        let theirs = RouteTable {
            id: "rtb-theirs".into(),
            vpc_id: "vpc-3".into(),
            main: false,
            routes: BTreeMap::new(),
            associations: [("subnet-7".into(), "rtbassoc-1".into())].into(),
            tags: Tags::new(),
        };
        inventory.route_table.others.insert(theirs.id.clone(), theirs);
    };
    drifts(
        elsewhere,
        &["associate subnet-7 with routetable-9 again"],
        &[
            "Repaired: subnet-7 was associated with rtb-theirs in place of routetable-9",
            "Kept: vpc-3 holds route table rtb-theirs",
        ],
    );
}

#[test]
fn a_private_subnet_is_kept_off_the_way_out() {
    let opened = |inventory: &mut Inventory| {
        let table = only(&mut inventory.route_table.ours);
        table.associations.insert("subnet-8".into(), "rtbassoc-1".into());
    };
    drifts(
        opened,
        &["disassociate subnet-8 from routetable-9"],
        &["Repaired: routetable-9 private subnet subnet-8 was associated with it"],
    );
}

#[test]
fn ingress_rules_that_are_removed_come_back_in_one_call_and_added_ones_go() {
    let changed = |inventory: &mut Inventory| {
        let group = only(&mut inventory.security_group.ours);
        group.ingress.retain(|rule| rule.ports == Some((443, 443)));
        group.ingress.insert(Rule::tcp(8265, 8265, Peer::everywhere()));
    };
    drifts(
        changed,
        &[
            "let in to securitygroup-10: all securitygroup-10, tcp 22 192.0.2.0/24",
            "no longer let in to securitygroup-10: tcp 8265 0.0.0.0/0",
        ],
        &[
            "Repaired: securitygroup-10 ingress rules were missing: all securitygroup-10, tcp 22 192.0.2.0/24",
            "Repaired: securitygroup-10 ingress rules were added: tcp 8265 0.0.0.0/0",
        ],
    );
}

#[test]
fn the_way_out_is_opened_again() {
    drifts(
        |inventory| only(&mut inventory.security_group.ours).egress.clear(),
        &["let out from securitygroup-10: all 0.0.0.0/0"],
        &["Repaired: securitygroup-10 the way out was closed"],
    );
}

#[test]
fn names_are_switched_on_again_support_before_host_names() {
    let off = |inventory: &mut Inventory| {
        let vpc = only(&mut inventory.vpc.ours);
        (vpc.dns_support, vpc.dns_hostnames) = (false, false);
    };
    drifts(
        off,
        &["enable DNS support of vpc-3"],
        &["Repaired: vpc-3 DNS support was off"],
    );
    drifts(
        |inventory| only(&mut inventory.vpc.ours).dns_hostnames = false,
        &["enable DNS host names of vpc-3"],
        &["Repaired: vpc-3 DNS host names were off"],
    );
}

#[test]
fn public_addresses_are_mapped_where_the_spec_says_and_nowhere_else() {
    drifts(
        |inventory| subnet(inventory, "10.0.1.0/24").maps_public_addresses = false,
        &["give machines in subnet-7 public addresses"],
        &["Repaired: subnet-7 public addresses were off"],
    );
    drifts(
        |inventory| subnet(inventory, "10.0.2.0/24").maps_public_addresses = true,
        &["give machines in subnet-8 no public addresses"],
        &["Repaired: subnet-8 public addresses were on"],
    );
}

#[test]
fn a_gateway_that_was_detached_is_attached_and_its_route_is_left_alone() {
    drifts(
        |inventory| only(&mut inventory.internet_gateway.ours).attached_to = None,
        &["attach internet gateway internetgateway-4 to vpc-3"],
        &["Repaired: internetgateway-4 was not attached to vpc-3"],
    );
}

#[test]
fn a_gateway_that_was_deleted_is_made_again_and_the_route_follows() {
    let mut lab = made();
    lab.observed.inventory.internet_gateway.ours.clear();
    let done = lab.settle();
    assert_eq!(done[0], "create internet gateway");
    assert!(
        done[1].starts_with("attach internet gateway internetgateway-"),
        "{done:?}"
    );
    assert!(
        done[2].starts_with("route 0.0.0.0/0 of routetable-9 to internetgateway-"),
        "{done:?}"
    );
}

#[test]
fn a_gateway_of_others_in_the_place_of_ours_is_named_and_left() {
    let mut lab = made();
    let inventory = &mut lab.observed.inventory;
    only(&mut inventory.internet_gateway.ours).attached_to = None;
    let theirs = InternetGateway {
        id: "igw-theirs".into(),
        attached_to: Some("vpc-3".into()),
        tags: Tags::new(),
    };
    inventory.internet_gateway.others.insert(theirs.id.clone(), theirs);
    let plan = lab.plan();
    assert_eq!(plan.actions, []);
    let message =
        "igw-theirs is attached to vpc-3 in place of internetgateway-4, the gateway of this cluster: detach it";
    assert_eq!(waits(&plan), [(Reason::ForeignResource, message.to_owned())]);
}

#[test]
fn tags_that_are_removed_come_back_on_everything() {
    let removed = |inventory: &mut Inventory| {
        only(&mut inventory.vpc.ours).tags.remove(tags::ROLE);
        only(&mut inventory.internet_gateway.ours).tags.remove(tags::NAME);
        only(&mut inventory.route_table.ours).tags.remove(tags::CLUSTER);
        only(&mut inventory.security_group.ours).tags.remove(tags::INSTALLATION);
        only(&mut inventory.key_pair.ours).tags.remove(tags::ROLE);
        subnet(inventory, "10.0.2.0/24")
            .tags
            .insert(tags::GROUP.into(), "q".into());
        let disk = inventory.volume.ours.values_mut().next().unwrap();
        disk.tags.remove(tags::LAUNCH);
    };
    drifts(
        removed,
        &[
            "tag keypair-2 with rayward.dev/role=key-pair",
            "tag vol-i-15, the disk of i-15, with rayward.dev/launch=101",
            "tag vpc-3 with rayward.dev/role=vpc",
            "tag internetgateway-4 with Name=rayward-ml-lab-internet-gateway",
            "tag subnet-8 with rayward.dev/group=p",
            "tag routetable-9 with rayward.dev/cluster=ml/lab",
            "tag securitygroup-10 with rayward.dev/installation=installation",
        ],
        &[
            "Repaired: keypair-2 tags were missing or changed: rayward.dev/role",
            "Repaired: vol-i-15 tags were missing or changed: rayward.dev/launch",
            "Repaired: vpc-3 tags were missing or changed: rayward.dev/role",
            "Repaired: internetgateway-4 tags were missing or changed: Name",
            "Repaired: subnet-8 tags were missing or changed: rayward.dev/group",
            "Repaired: routetable-9 tags were missing or changed: rayward.dev/cluster",
            "Repaired: securitygroup-10 tags were missing or changed: rayward.dev/installation",
        ],
    );
}

#[test]
fn what_is_unfinished_or_newly_asked_for_is_not_told_as_drift() {
    let mut lab = made();
    lab.observed.recorded.observed_generation = Some(1);
    lab.cluster.generation = 2;
    lab.cluster.ingress.pop();
    let plan = lab.plan();
    assert_eq!(plan.actions.len(), 1);
    assert_eq!(findings(&plan), Vec::<String>::new(), "the spec has changed");

    let mut lab = self::lab();
    for _ in 0..3 {
        let plan = lab.plan();
        assert_eq!(findings(&plan), Vec::<String>::new(), "it is being made");
        plan.actions.iter().for_each(|action| lab.carry_out(action));
    }
}

#[test]
fn routes_and_egress_of_others_are_told_and_kept() {
    let mut lab = made();
    let inventory = &mut lab.observed.inventory;
    let table = only(&mut inventory.route_table.ours);
    table.routes.insert("10.9.0.0/16".into(), "pcx-1".into());
    let group = only(&mut inventory.security_group.ours);
    group.egress.insert(Rule::everything(Peer::CidrV6("::/0".into())));
    group
        .egress
        .insert(Rule::tcp(443, 443, Peer::PrefixList("pl-1".into())));
    let plan = lab.plan();
    assert_eq!(plan.actions, []);
    assert_eq!(
        findings(&plan),
        [
            "Kept: routetable-9 a route to 10.9.0.0/16 through pcx-1 was added by others",
            "Kept: securitygroup-10 egress rule tcp 443 pl-1 was added by others",
        ]
    );
}

/// Things of others in the VPC of a made lab.
fn add_neighbours(lab: &mut Scenario) {
    let vpc_id = vpc_id(lab);
    let inventory = &mut lab.observed.inventory;
    let subnet = Subnet {
        id: "subnet-theirs".into(),
        vpc_id: vpc_id.clone(),
        cidr: "10.0.9.0/24".into(),
        availability_zone: "ap-southeast-1c".into(),
        maps_public_addresses: false,
        tags: Tags::new(),
    };
    inventory.subnet.others.insert(subnet.id.clone(), subnet);
    for (id, name, peer) in [
        ("sg-default", "default", "sg-default"),
        ("sg-theirs", "web", "securitygroup-10"),
    ] {
        let peer = Peer::Group {
            id: peer.into(),
            account: None,
        };
        let group = SecurityGroup {
            id: id.into(),
            name: name.into(),
            vpc_id: vpc_id.clone(),
            ingress: [Rule::everything(peer)].into(),
            egress: [Rule::everything(Peer::everywhere())].into(),
            tags: Tags::new(),
        };
        inventory.security_group.others.insert(id.into(), group);
    }
    let main = RouteTable {
        id: "rtb-main".into(),
        vpc_id,
        main: true,
        routes: BTreeMap::new(),
        associations: BTreeMap::new(),
        tags: Tags::new(),
    };
    inventory.route_table.others.insert(main.id.clone(), main);
}

fn interface(id: &str, subnet_id: &str) -> NetworkInterface {
    NetworkInterface {
        id: id.into(),
        vpc_id: "vpc-3".into(),
        subnet_id: subnet_id.into(),
        group_ids: vec!["sg-default".into()],
        description: String::new(),
        instance_id: None,
        in_use: true,
        is_public: false,
        tags: Tags::new(),
    }
}

#[test]
fn what_others_have_in_the_vpc_is_told_and_changes_nothing_while_the_cluster_lives() {
    let mut lab = made();
    add_neighbours(&mut lab);
    let plan = lab.plan();
    assert!(plan.is_converged(), "{plan:?}");
    let kept = [
        "Kept: vpc-3 holds subnet subnet-theirs",
        "Kept: vpc-3 holds security group sg-theirs (web)",
    ];
    assert_eq!(findings(&plan), kept);
}

#[test]
fn a_subnet_of_others_in_the_way_is_named_and_none_is_made() {
    let mut lab = lab();
    lab.run();
    lab.observed
        .inventory
        .subnet
        .ours
        .retain(|_, subnet| subnet.cidr != "10.0.2.0/24");
    add_neighbours(&mut lab);
    let theirs = lab.observed.inventory.subnet.others.get_mut("subnet-theirs").unwrap();
    theirs.cidr = "10.0.2.128/25".into();
    let plan = lab.plan();
    assert_eq!(plan.actions, []);
    let (reason, message) = waits(&plan).remove(0);
    assert_eq!(reason, Reason::ForeignResource);
    assert!(message.contains("subnet-theirs (10.0.2.128/25)"), "{message}");
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
fn a_group_that_lost_its_tags_is_ours_by_our_record_only() {
    let mut guest = guest();
    guest.run();
    let inventory = &mut guest.observed.inventory;
    let (id, mut group) = inventory.security_group.ours.pop_first().unwrap();
    group.tags.clear();
    inventory.security_group.others.insert(id.clone(), group);
    let plan = guest.plan();
    assert_eq!(stuck(&plan), Some(Reason::ForeignResource));

    guest.observed.recorded.network = Some(NetworkStatus {
        security_group_ids: vec![id.clone()],
        ..NetworkStatus::default()
    });
    let done = guest.settle();
    assert!(done[0].starts_with(&format!("tag {id} with")), "{done:?}");
    assert!(guest.observed.inventory.security_group.ours.contains_key(&id));
}

fn key(lab: &mut Scenario, secret: KeySecret) {
    lab.observed.key = Source::Known(secret);
}

#[test]
fn the_key_is_made_before_machines_and_never_behind_their_backs() {
    let mut lab = lab();
    key(&mut lab, KeySecret::Missing);
    assert_eq!(lab.lines()[0], "create the cluster's key");
    let mut lab = made();
    for secret in [
        KeySecret::Missing,
        KeySecret::Unusable("the Secret holds no key".into()),
    ] {
        key(&mut lab, secret);
        let plan = lab.plan();
        assert_eq!(stuck(&plan), Some(Reason::KeyLost));
    }
    for machine in lab.observed.inventory.instance.ours.values_mut() {
        machine.state = InstanceState::Terminated;
    }
    assert_eq!(
        waits(&lab.plan())[0].0,
        Reason::Refused,
        "a Secret that is not ours is not replaced"
    );
    key(&mut lab, KeySecret::Missing);
    assert_eq!(lab.lines(), ["create the cluster's key"]);
}

#[test]
fn a_key_pair_with_another_key_is_imported_again_but_never_one_of_others() {
    let mut lab = made();
    only(&mut lab.observed.inventory.key_pair.ours).public_key = "ssh-ed25519 BBBB".into();
    assert_eq!(
        findings(&lab.plan()),
        ["Repaired: keypair-2 held another key than the cluster's Secret"]
    );
    assert_eq!(
        lab.settle(),
        [
            "delete key pair rayward-ml-lab-0f3a2b1c (keypair-2)",
            "import key pair rayward-ml-lab-0f3a2b1c"
        ]
    );

    let inventory = &mut lab.observed.inventory;
    let (id, pair) = inventory.key_pair.ours.pop_first().unwrap();
    let untagged = KeyPair {
        tags: Tags::new(),
        ..pair
    };
    let others = &mut inventory.key_pair.others;
    others.insert(id.clone(), untagged.clone());
    assert!(
        lab.lines()[0].starts_with(&format!("tag {id} with")),
        "the key proves it ours"
    );
    let another = KeyPair {
        public_key: "ssh-ed25519 BBBB".into(),
        ..untagged
    };
    lab.observed.inventory.key_pair.others.insert(id, another);
    let plan = lab.plan();
    assert_eq!(stuck(&plan), Some(Reason::ForeignResource));
}

#[test]
fn a_key_pair_of_the_users_is_only_looked_for() {
    let mut lab = lab();
    lab.cluster.key_pair = Some("mine".into());
    let theirs = KeyPair {
        id: "key-theirs".into(),
        name: "mine".into(),
        public_key: String::new(),
        tags: Tags::new(),
    };
    lab.observed.inventory.key_pair.others.insert(theirs.id.clone(), theirs);
    let done = lab.run();
    assert!(done.iter().all(|line| !line.contains("key pair")), "{done:?}");
    assert_eq!(lab.observed.ledger.launches[0].key_name.as_deref(), Some("mine"));
}

#[test]
fn an_elastic_address_follows_the_head_and_is_given_back() {
    let mut lab = lab();
    lab.cluster.head.public_address = PublicAddress::Elastic;
    let done = lab.run();
    assert!(done.contains(&"allocate an Elastic IP address".to_owned()), "{done:?}");
    let address = |lab: &mut Scenario| only(&mut lab.observed.inventory.address.ours).clone();
    let head = lab.live("head").remove(0);
    assert_eq!(address(&mut lab).instance_id.as_ref(), Some(&head));

    lab.machine_mut(&head).state = InstanceState::Terminated;
    lab.run();
    let next = lab.live("head").remove(0);
    assert_eq!(
        address(&mut lab).instance_id,
        Some(next.clone()),
        "it moves to the next head"
    );

    lab.cluster.head.public_address = PublicAddress::None;
    let id = address(&mut lab).id;
    assert_eq!(lab.settle(), [format!("disassociate {id}"), format!("release {id}")]);
}

#[test]
fn an_address_of_others_on_the_head_is_left_there() {
    let mut lab = made();
    lab.cluster.head.public_address = PublicAddress::Elastic;
    lab.settle();
    let head = lab.live("head").remove(0);
    let address: &mut Address = only(&mut lab.observed.inventory.address.ours);
    (address.association_id, address.instance_id) = (None, None);
    let head = lab.machine_mut(&head);
    (head.public_address, head.has_elastic_address) = (Some("198.51.100.7".into()), true);
    let plan = lab.plan();
    assert_eq!(plan.actions, []);
    let (reason, message) = waits(&plan).remove(0);
    assert_eq!(reason, Reason::ForeignResource);
    assert!(message.starts_with("198.51.100.7"), "{message}");
}

#[test]
fn a_disk_without_tags_is_tagged_once_it_must_have_been_seen() {
    let mut lab = lab();
    lab.run();
    lab.observed.inventory.volume.ours.clear();
    assert_eq!(
        lab.lines(),
        Vec::<String>::new(),
        "the look at disks is older than the machines"
    );
    lab.now += SignedDuration::from_mins(2);
    assert_eq!(lab.lines().len(), 3);
    let machine = lab.live("head").remove(0);
    lab.machine_mut(&machine)
        .tags
        .insert("aws:autoscaling".into(), "x".into());
    lab.settle();
    let disk = &lab.observed.inventory.volume.ours[&format!("vol-{machine}")];
    assert_eq!(disk.tags[tags::LAUNCH], "101");
    assert!(!disk.tags.contains_key("aws:autoscaling"), "only our tags");
}

fn left_behind(id: &str, available: bool, machine: Option<&str>) -> Volume {
    Volume {
        id: id.into(),
        available,
        instance_id: machine.map(Into::into),
        tags: Tags::new(),
    }
}

#[test]
fn a_disk_that_a_machine_left_behind_is_told_and_goes_with_the_cluster() {
    let mut lab = made();
    let volumes = &mut lab.observed.inventory.volume.ours;
    volumes.insert("vol-left".into(), left_behind("vol-left", true, None));
    assert_eq!(lab.lines(), Vec::<String>::new());
    assert_eq!(
        findings(&lab.plan()),
        ["Kept: vol-left is a disk that a machine left behind: it is deleted with the cluster"]
    );
    lab.cluster.deleting = true;
    assert!(lab.run().contains(&"delete volume vol-left".to_owned()));
}

/// A made lab of one head that is being deleted, its machine and disk gone.
fn leaving() -> Scenario {
    let mut lab = made();
    lab.cluster.deleting = true;
    lab.observed.inventory.instance.ours.clear();
    lab.observed.inventory.volume.ours.clear();
    lab
}

#[test]
fn a_network_is_taken_down_in_three_rounds() {
    let mut lab = leaving();
    add_neighbours(&mut lab);
    let others = &mut lab.observed.inventory;
    others.subnet.others.clear();
    others.security_group.others.remove("sg-theirs");
    insta::assert_debug_snapshot!(rounds(&mut lab), @r#"
    [
        [
            "delete key pair rayward-ml-lab-0f3a2b1c (keypair-2)",
            "delete subnet subnet-7",
            "delete subnet subnet-8",
            "delete security group securitygroup-10",
            "disassociate subnet-7 from routetable-9",
            "detach internet gateway internetgateway-4 from vpc-3",
        ],
        [
            "delete route table routetable-9",
            "delete internet gateway internetgateway-4",
        ],
        [
            "delete VPC vpc-3",
        ],
    ]
    "#);
    assert_eq!(lab.observed.inventory.ids(), []);
}

#[test]
fn the_network_stays_while_a_machine_lives() {
    let mut lab = made();
    lab.cluster.deleting = true;
    assert_eq!(lab.lines().len(), 1, "only the machines: {:?}", lab.lines());
}

#[test]
fn an_address_goes_before_its_gateway_can() {
    let mut lab = made();
    lab.cluster.head.public_address = PublicAddress::Elastic;
    lab.settle();
    lab.cluster.deleting = true;
    lab.observed.inventory.instance.ours.clear();
    lab.observed.inventory.volume.ours.clear();
    let rounds = rounds(&mut lab);
    let round = |what: &str| {
        let has = |round: &Vec<String>| round.iter().any(|line| line.starts_with(what));
        rounds.iter().position(has).unwrap()
    };
    assert!(round("disassociate eipalloc-") < round("detach"), "{rounds:#?}");
    assert_eq!(round("release"), round("detach"), "{rounds:#?}");
}

#[test]
fn an_interface_of_others_is_named_and_everything_else_goes() {
    let mut lab = leaving();
    let theirs = NetworkInterface {
        instance_id: Some("i-theirs".into()),
        ..interface("eni-theirs", "subnet-7")
    };
    let shelf = &mut lab.observed.inventory.network_interface;
    shelf.others.insert(theirs.id.clone(), theirs);
    // One of a machine of ours that a look still shows is in nobody's way.
    let machine = sample("i-gone");
    let stale = NetworkInterface {
        instance_id: Some(machine.id.clone()),
        ..interface("eni-stale", "subnet-8")
    };
    shelf.others.insert(stale.id.clone(), stale);
    let mut machine = machine;
    machine.state = InstanceState::Terminated;
    lab.observed.inventory.instance.ours.insert(machine.id.clone(), machine);
    rounds(&mut lab);
    let left: Vec<String> = lab.observed.inventory.ids().into_iter().map(|(_, id)| id).collect();
    assert_eq!(left, ["vpc-3", "subnet-7"]);
    let message = "subnet-7 cannot be deleted before network interface eni-theirs of i-theirs, not of this cluster: \
                   remove what is in the way, and the deletion goes on";
    assert_eq!(waits(&lab.plan()), [(Reason::ForeignResource, message.to_owned())]);

    lab.observed.inventory.network_interface.others.clear();
    rounds(&mut lab);
    assert_eq!(lab.observed.inventory.ids(), []);
}

#[test]
fn a_public_interface_of_others_keeps_the_gateway_too() {
    let mut lab = leaving();
    let theirs = NetworkInterface {
        is_public: true,
        description: "ELB app/web".into(),
        ..interface("eni-theirs", "subnet-theirs")
    };
    add_neighbours(&mut lab);
    lab.observed
        .inventory
        .network_interface
        .others
        .insert(theirs.id.clone(), theirs);
    rounds(&mut lab);
    let left: Vec<String> = lab.observed.inventory.ids().into_iter().map(|(_, id)| id).collect();
    assert_eq!(left, ["vpc-3", "internetgateway-4", "securitygroup-10"]);
    let waits: Vec<String> = waits(&lab.plan()).into_iter().map(|(_, message)| message).collect();
    let named = [
        "securitygroup-10 cannot be deleted before a rule of security group sg-theirs (web)",
        "internetgateway-4 cannot be deleted before network interface eni-theirs (ELB app/web)",
        "vpc-3 cannot be deleted before subnet subnet-theirs, security group sg-theirs (web)",
    ];
    assert_eq!(waits.len(), named.len(), "{waits:#?}");
    for (wait, named) in waits.iter().zip(named) {
        assert!(wait.starts_with(named), "{wait}");
    }
}

#[test]
fn an_interface_that_a_machine_left_behind_goes_and_one_in_use_is_awaited() {
    let mut lab = leaving();
    let shelf = &mut lab.observed.inventory.network_interface;
    let left = NetworkInterface {
        in_use: false,
        ..interface("eni-left", "subnet-7")
    };
    shelf.ours.insert(left.id.clone(), left);
    shelf.ours.insert("eni-used".into(), interface("eni-used", "subnet-7"));
    let plan = lab.plan();
    let lines: Vec<String> = plan.actions.iter().map(Action::to_string).collect();
    assert!(
        lines.contains(&"delete network interface eni-left".to_owned()),
        "{lines:?}"
    );
    let message = "network interface eni-used is being released".to_owned();
    assert_eq!(waits(&plan), [(Reason::InTransition, message)]);
}

#[test]
fn a_disk_on_a_machine_of_others_is_named() {
    let mut lab = leaving();
    let inventory = &mut lab.observed.inventory;
    let stranger = sample("i-theirs");
    inventory.instance.others.insert(stranger.id.clone(), stranger);
    let volumes = &mut inventory.volume.ours;
    volumes.insert("vol-used".into(), left_behind("vol-used", false, Some("i-theirs")));
    let (reason, message) = waits(&lab.plan()).remove(0);
    assert_eq!(reason, Reason::ForeignResource);
    assert!(
        message.contains("vol-used") && message.contains("i-theirs"),
        "{message}"
    );
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
