//! What somebody changes in a network of ours is put right, and told.

use std::collections::BTreeMap;

use jiff::SignedDuration;

use super::{findings, made, only, subnet};
use crate::{
    resources::{
        Inventory,
        route_table::{EVERYWHERE, RouteTable},
        security_group::{Peer, Rule},
    },
    tags::{self, Tags},
};

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
            "tag vol-i-15 (of i-15) with rayward.dev/launch=101",
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

    let mut lab = super::lab();
    for _ in 0..3 {
        let plan = lab.plan();
        assert_eq!(findings(&plan), Vec::<String>::new(), "it is being made");
        plan.actions.iter().for_each(|action| lab.carry_out(action));
    }
}

#[test]
fn nothing_is_drift_before_the_wish_was_reached_once() {
    use crate::api::Phase;
    let told_in = |phase: Option<Phase>| {
        let mut lab = made();
        lab.observed.recorded.phase = phase;
        only(&mut lab.observed.inventory.vpc.ours).dns_hostnames = false;
        let plan = lab.plan();
        assert_eq!(plan.actions.len(), 1, "it is put right in any phase: {phase:?}");
        findings(&plan)
    };
    for phase in [None, Some(Phase::Provisioning)] {
        assert_eq!(told_in(phase), Vec::<String>::new(), "{phase:?}");
    }
    let reached = Phase::ALL
        .iter()
        .filter(|phase| !matches!(phase, Phase::Provisioning | Phase::Deleting));
    for phase in reached {
        assert_eq!(
            told_in(Some(*phase)),
            ["Repaired: vpc-3 DNS host names were off"],
            "{phase:?}"
        );
    }
}
