//! What others put into a network of ours is told and left alone.

use super::{add_neighbours, findings, interface, lab, made, only, waits};
use crate::{
    plan::Reason,
    resources::{
        internet_gateway::InternetGateway,
        network_interface::NetworkInterface,
        security_group::{Peer, Rule},
    },
    tags::Tags,
};

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

#[test]
fn what_others_have_in_the_vpc_is_told_and_changes_nothing_while_the_cluster_lives() {
    let mut lab = made();
    add_neighbours(&mut lab);
    let theirs = NetworkInterface {
        description: "ELB app/web".into(),
        ..interface("eni-theirs", "subnet-7")
    };
    let interfaces = &mut lab.observed.inventory.network_interface.others;
    interfaces.insert(theirs.id.clone(), theirs);
    let plan = lab.plan();
    assert!(plan.is_converged(), "{plan:?}");
    let kept = [
        "Kept: vpc-3 holds subnet subnet-theirs",
        "Kept: vpc-3 holds security group sg-theirs (web)",
        "Kept: vpc-3 holds network interface eni-theirs (ELB app/web)",
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
