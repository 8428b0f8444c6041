//! How the network, the key, the address and the disks are planned: each case a cluster, what happened to it, and what
//! is done about it.

mod addresses;
mod creation;
mod deletion;
mod disks;
mod doubles;
mod drift;
mod existing;
mod keys;
mod neighbours;

use std::collections::BTreeMap;

use jiff::SignedDuration;

use crate::{
    plan::{Finding, Plan, Reason, scenario::Scenario},
    resources::{
        Inventory,
        network_interface::NetworkInterface,
        route_table::RouteTable,
        security_group::{Peer, Rule, SecurityGroup},
        subnet::Subnet,
        volume::Volume,
    },
    tags::Tags,
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

/// A network interface of others in the VPC.
fn interface(id: &str, subnet_id: &str) -> NetworkInterface {
    NetworkInterface {
        id: id.into(),
        vpc_id: "vpc-3".into(),
        subnet_id: subnet_id.into(),
        group_ids: vec!["sg-default".into()],
        description: String::new(),
        purpose: String::new(),
        instance_id: None,
        in_use: true,
        is_public: false,
        tags: Tags::new(),
    }
}

fn left_behind(id: &str, available: bool, machine: Option<&str>) -> Volume {
    Volume {
        id: id.into(),
        available,
        instance_id: machine.map(Into::into),
        tags: Tags::new(),
    }
}
