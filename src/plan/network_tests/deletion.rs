//! A network that is taken down: in which order, and what of others is in the way.

use jiff::SignedDuration;

use super::{add_neighbours, interface, left_behind, made, only, rounds, waits};
use crate::{
    api::PublicAddress,
    aws::ErrorClass,
    observe::Refusal,
    plan::{Action, Reason, scenario::Scenario},
    resources::{
        Kind,
        instance::{InstanceState, sample},
        network_interface::NetworkInterface,
    },
};

/// A made lab of one head that is being deleted, its machine and disk gone.
fn leaving() -> Scenario {
    let mut lab = made();
    lab.cluster.deleting = true;
    lab.observed.inventory.instance.ours.clear();
    lab.observed.inventory.volume.ours.clear();
    lab.observed.inventory.network_interface.ours.clear();
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
    lab.observed.inventory.network_interface.ours.clear();
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

/// A VPC that holds nothing any more by what was swept, which AWS would not delete so many times in a row.
fn refused(times: u32) -> Scenario {
    let mut lab = leaving();
    let refusal = Refusal {
        class: ErrorClass::Waiting,
        kind: Kind::Vpc,
        code: "DependencyViolation".into(),
        message: "ec2:DeleteVpc vpc-3: DependencyViolation: The vpc 'vpc-3' has dependencies.".into(),
        times: 1,
        until: lab.now + SignedDuration::from_secs(3),
    };
    let key = "DeleteVpc vpc-3";
    lab.observed.refusals.insert(key.into(), refusal);
    rounds(&mut lab);
    lab.observed.refusals.get_mut(key).unwrap().times = times;
    lab
}

/// What a look at the VPC found.
fn found(lab: &mut Scenario, what: &[&str]) {
    let found = what.iter().map(|what| (*what).to_owned()).collect();
    only(&mut lab.observed.inventory.vpc.ours).in_the_way = Some(found);
}

#[test]
fn what_keeps_an_empty_vpc_is_looked_for_once_aws_insists_and_named() {
    let mut lab = leaving();
    let mut done = rounds(&mut lab).concat();
    done.retain(|line| line.starts_with("look"));
    assert_eq!(
        done,
        Vec::<String>::new(),
        "nothing is looked for where nothing is refused"
    );

    assert_eq!(
        refused(2).lines(),
        Vec::<String>::new(),
        "what was just deleted may count"
    );
    let mut lab = refused(3);
    assert_eq!(lab.lines(), ["look for what is in the way of deleting vpc-3"]);
    found(
        &mut lab,
        &["VPC endpoint vpce-1 to com.amazonaws.s3", "network ACL acl-1"],
    );
    let plan = lab.plan();
    assert_eq!(plan.actions, []);
    let message = "vpc-3 cannot be deleted before VPC endpoint vpce-1 to com.amazonaws.s3, network ACL acl-1, not of \
                   this cluster: remove what is in the way, and the deletion goes on";
    assert_eq!(waits(&plan), [(Reason::ForeignResource, message.to_owned())]);

    // A look finds nothing any more.
    found(&mut lab, &[]);
    lab.now += SignedDuration::from_secs(4);
    assert_eq!(lab.lines(), ["delete VPC vpc-3"]);
}

#[test]
fn what_nobody_finds_is_a_persons_matter_who_is_told_where_to_look() {
    for (times, reason) in [(20, Reason::InTransition), (21, Reason::ForeignResource)] {
        let mut lab = refused(times);
        found(&mut lab, &[]);
        let plan = lab.plan();
        assert_eq!(plan.actions, []);
        assert_eq!(waits(&plan).len(), 1);
        let (told, message) = waits(&plan).remove(0);
        assert_eq!(told, reason);
        assert!(message.contains("vpc-3"), "{message}");
        assert_eq!(
            message.contains("look in the VPC console"),
            reason.needs_person(),
            "{message}"
        );
    }
    // While the cluster is to exist, one that was made twice is no reason to stop.
    let mut lab = refused(21);
    lab.cluster.deleting = false;
    let is_told = |(reason, _): &(Reason, String)| *reason == Reason::ForeignResource;
    assert!(!waits(&lab.plan()).iter().any(is_told));
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
