//! A VPC that was made twice, with what a process made in it before another saw the first one.

use std::collections::BTreeSet;

use super::{interface, made, only, rounds};
use crate::{
    plan::scenario::Scenario,
    resources::{internet_gateway::InternetGateway, route_table::RouteTable, vpc::Vpc},
    tags::{self, Tags},
};

const OLD: &str = "2026-11-23T12:00:00Z";
const NEW: &str = "2026-11-23T12:59:59Z";

/// A made lab, and a second network of its own that was made at `created`.
fn twice(created: &str) -> Scenario {
    let mut lab = made();
    for machine in lab.observed.inventory.instance.ours.values_mut() {
        machine.vpc_id = Some("vpc-3".into());
    }
    let inventory = &mut lab.observed.inventory;
    let created = Tags::from([(tags::CREATED_AT.to_owned(), created.to_owned())]);
    let vpc = Vpc {
        id: "vpc-9".into(),
        tags: created.clone(),
        ..only(&mut inventory.vpc.ours).clone()
    };
    inventory.vpc.ours.insert(vpc.id.clone(), vpc);
    let gateway = InternetGateway {
        id: "internetgateway-9".into(),
        attached_to: Some("vpc-9".into()),
        tags: created.clone(),
    };
    inventory.internet_gateway.ours.insert(gateway.id.clone(), gateway);
    let mut subnet = inventory.subnet.ours["subnet-7"].clone();
    (subnet.id, subnet.vpc_id) = ("subnet-9".into(), "vpc-9".into());
    inventory.subnet.ours.insert(subnet.id.clone(), subnet);
    let mut group = only(&mut inventory.security_group.ours).clone();
    (group.id, group.vpc_id) = ("securitygroup-9".into(), "vpc-9".into());
    inventory.security_group.ours.insert(group.id.clone(), group);
    let table = RouteTable {
        id: "routetable-91".into(),
        vpc_id: "vpc-9".into(),
        associations: [("subnet-9".into(), "rtbassoc-9".into())].into(),
        tags: created,
        ..only(&mut inventory.route_table.ours).clone()
    };
    inventory.route_table.ours.insert(table.id.clone(), table);
    lab
}

fn ids(lab: &Scenario) -> BTreeSet<String> {
    lab.observed.inventory.ids().into_iter().map(|(_, id)| id).collect()
}

#[test]
fn it_is_taken_down_with_all_that_lies_in_it_and_the_one_in_use_is_not_touched() {
    let kept = ids(&made());
    let mut lab = twice(OLD);
    assert_eq!(ids(&lab).len(), kept.len() + 5);
    let rounds = rounds(&mut lab);
    assert!(
        rounds.concat().iter().all(|line| !line.contains("vpc-3")),
        "{rounds:#?}"
    );
    assert_eq!(ids(&lab), kept, "{rounds:#?}");
    assert!(lab.plan().is_converged());
}

#[test]
fn it_is_left_alone_while_a_look_may_not_show_all_of_it() {
    let mut lab = twice(NEW);
    let plan = lab.plan();
    assert_eq!(plan.actions, []);
    assert_eq!(
        plan.next_check,
        Some(lab.limits.consistency_window),
        "and looked at again"
    );
    let before = ids(&lab);
    rounds(&mut lab);
    assert_eq!(ids(&lab), before);
}

/// Nothing of the second network is touched, and nothing is in the cluster's way.
#[track_caller]
fn is_left_alone(lab: &mut Scenario) {
    let before = ids(lab);
    let plan = lab.plan();
    assert!(plan.is_converged(), "{plan:#?}");
    assert_eq!(ids(lab), before);
}

#[test]
fn it_stays_while_a_machine_is_in_it_whosever() {
    let mut ours = twice(OLD);
    let worker = ours.live("worker").remove(0);
    ours.machine_mut(&worker).vpc_id = Some("vpc-9".into());
    // The head's is the one that is kept: it comes first.
    is_left_alone(&mut ours);

    let mut theirs = twice(OLD);
    let mut machine = theirs.observed.inventory.instance.ours.values().next().unwrap().clone();
    (machine.id, machine.vpc_id) = ("i-theirs".into(), Some("vpc-9".into()));
    machine.tags.clear();
    let others = &mut theirs.observed.inventory.instance.others;
    others.insert(machine.id.clone(), machine);
    is_left_alone(&mut theirs);
}

#[test]
fn it_stays_while_something_of_others_is_in_it() {
    let mut lab = twice(OLD);
    let mut subnet = lab.observed.inventory.subnet.ours["subnet-9"].clone();
    (subnet.id, subnet.cidr) = ("subnet-theirs".into(), "10.0.9.0/24".into());
    subnet.tags.clear();
    lab.observed.inventory.subnet.others.insert(subnet.id.clone(), subnet);
    is_left_alone(&mut lab);

    let mut lab = twice(OLD);
    let mut theirs = interface("eni-theirs", "subnet-9");
    theirs.vpc_id = "vpc-9".into();
    let others = &mut lab.observed.inventory.network_interface.others;
    others.insert(theirs.id.clone(), theirs);
    is_left_alone(&mut lab);
}
