//! The network of a cluster, its own or one of the user's, and its key pair: what machines stand on.

use super::{
    Finding, Planner, Reason, Subject,
    fleet::Fleet,
    launch::{Ground, Subnet},
};
use crate::{
    api::PublicAddress,
    observe::Source,
    resources::{
        Kind, Resource as _, address, head, internet_gateway, key_pair, network_interface, route_table, security_group,
        subnet, volume, vpc,
    },
    validate::{self, Network},
};

/// Plans the network; what machines stand on, once all of it that a launch names is there. Routes and rules are made
/// beside the launch: a machine needs longer to boot.
pub(super) fn plan(planner: &mut Planner<'_>) -> Option<Ground> {
    let key_name = key_pair::plan(planner);
    if is_seen(planner, Subject::Head, &[Kind::Address, Kind::Instance]) {
        let heads = match planner.cluster().head.public_address {
            PublicAddress::Elastic => Fleet::of(planner.observed()).heads,
            PublicAddress::Dynamic | PublicAddress::None => Vec::new(),
        };
        let (head, _) = head::choose(&heads);
        address::plan(planner, head);
    }
    if is_seen(planner, Subject::Cluster, &[Kind::Volume]) {
        volume::plan(planner);
    }
    if is_seen(planner, Subject::Cluster, &[Kind::NetworkInterface]) {
        network_interface::plan(planner);
    }
    let (subnets, security_group_ids) = match &planner.cluster().network {
        Network::Own { cidr, subnets } => own(planner, &cidr.to_string(), subnets),
        Network::Existing {
            vpc_id,
            subnet_ids,
            security_group_ids,
        } => existing(planner, vpc_id, subnet_ids, security_group_ids),
    }?;
    Some(Ground {
        subnets,
        security_group_ids,
        key_name: Some(key_name?),
    })
}

/// Whether a look at each of these kinds is in; says which is not.
fn is_seen(planner: &mut Planner<'_>, subject: Subject, kinds: &[Kind]) -> bool {
    let inventory = &planner.observed().inventory;
    let missing = kinds.iter().filter_map(|kind| match inventory.swept(*kind) {
        Source::Known(()) => None,
        Source::Unknown(why) => Some((*kind, why)),
    });
    // The one that needs a person, if there is one.
    match missing.min_by_key(|(_, why)| why.refused.is_none()) {
        None => true,
        Some((kind, why)) => {
            planner.wait_for_look(subject, &format!("{kind:?}"), why);
            false
        }
    }
}

/// Subnets and groups.
type Place = (Vec<Subnet>, Vec<String>);

const OF_A_VPC: [Kind; 5] = [
    Kind::Vpc,
    Kind::InternetGateway,
    Kind::Subnet,
    Kind::RouteTable,
    Kind::SecurityGroup,
];

fn own(planner: &mut Planner<'_>, cidr: &str, specs: &[validate::Subnet]) -> Option<Place> {
    if !is_seen(planner, Subject::Network, &OF_A_VPC) {
        return None;
    }
    let vpc = vpc::plan(planner, cidr);
    let gateway = internet_gateway::plan(planner, vpc);
    let vpc = vpc?;
    clear_doubles(planner, &vpc.id);
    let found = subnet::plan(planner, &vpc.id, specs);
    let present: Vec<_> = std::iter::zip(&found, specs)
        .filter_map(|(subnet, spec)| Some(((*subnet)?, spec)))
        .collect();
    let associated: Vec<_> = present.iter().map(|(subnet, spec)| (*subnet, spec.public)).collect();
    route_table::plan(planner, &vpc.id, gateway, &associated);
    tell_others(planner, &vpc.id);
    let group = security_group::plan(planner, &vpc.id)?;
    let subnets = present.iter().map(|(subnet, spec)| Subnet {
        name: spec.name.clone(),
        id: subnet.id.clone(),
        cidr: spec.cidr,
        availability_zone: subnet.availability_zone.clone(),
        public: spec.public,
    });
    // All of them: their order is a preference. One that AWS refuses to make is not waited for: the others have to go
    // on being looked after.
    let is_settled = present.len() == specs.len() || planner.is_refused_for_long(Subject::Network);
    is_settled.then(|| (subnets.collect(), vec![group.id.clone()]))
}

/// Takes down what lies in a VPC that was made twice: a process that died, or saw nothing of the first one yet, went on
/// in the second. One with a machine in it, or with something of others, is left alone.
fn clear_doubles(planner: &mut Planner<'_>, keep: &str) {
    let inventory = &planner.observed().inventory;
    for double in inventory.vpc.ours.values().filter(|vpc| vpc.id != keep) {
        let mut machines = inventory.instance.all();
        let is_used = machines.any(|machine| !machine.is_gone() && machine.vpc_id.as_deref() == Some(&double.id))
            || !inventory.foreign_content(&double.id).is_empty()
            || inventory
                .foreign_interfaces()
                .any(|interface| interface.vpc_id == double.id);
        if !planner.is_settled(&double.tags) {
            planner.check_in(planner.inputs.limits.consistency_window);
        } else if !is_used {
            let within = Some(double.id.as_str());
            subnet::plan_deletion(planner, within);
            security_group::plan_deletion(planner, within);
            route_table::plan_deletion(planner, within);
            internet_gateway::plan_deletion(planner, within);
        }
    }
}

/// Tells what others put into our VPC. It is theirs and is kept; some day it will be in the way of deletion.
fn tell_others(planner: &mut Planner<'_>, vpc_id: &str) {
    let inventory = &planner.observed().inventory;
    let machines = inventory.instance.others.values();
    let machines = machines
        .filter(|machine| machine.vpc_id.as_deref() == Some(vpc_id) && !machine.is_lost())
        .map(|machine| format!("instance {}", machine.id));
    let interfaces = inventory
        .foreign_interfaces()
        .filter(|interface| interface.vpc_id == vpc_id && interface.instance_id.is_none())
        .map(ToString::to_string);
    let content = inventory.foreign_content(vpc_id).into_iter();
    for content in content.chain(machines).chain(interfaces) {
        planner.find(Finding::kept(vpc_id, format!("holds {content}")));
    }
}

/// One of the user's: looked at, never changed. Only a group of ours may be added.
fn existing(planner: &mut Planner<'_>, vpc_id: &str, subnet_ids: &[String], group_ids: &[String]) -> Option<Place> {
    if !is_seen(
        planner,
        Subject::Network,
        &[Kind::Vpc, Kind::Subnet, Kind::SecurityGroup],
    ) {
        return None;
    }
    let inventory = &planner.observed().inventory;
    let mut missing = Vec::new();
    if inventory.vpc.get(vpc_id).is_none() {
        missing.push(format!("VPC {vpc_id} in {}", planner.cluster().region));
    }
    let mut subnets = Vec::new();
    for id in subnet_ids {
        let found = inventory.subnet.get(id).filter(|subnet| subnet.vpc_id == vpc_id);
        match found.and_then(|subnet| Some((subnet, subnet.cidr.parse().ok()?))) {
            Some((subnet, cidr)) => subnets.push(Subnet {
                name: id.clone(),
                id: id.clone(),
                cidr,
                availability_zone: subnet.availability_zone.clone(),
                public: subnet.maps_public_addresses,
            }),
            None => missing.push(format!("subnet {id} in {vpc_id}")),
        }
    }
    for id in group_ids {
        let found = inventory.security_group.get(id);
        if found.is_none_or(|group| group.vpc_id != vpc_id) {
            missing.push(format!("security group {id} in {vpc_id}"));
        }
    }
    if !missing.is_empty() {
        let message = format!("there is no {}: network.existing names it", missing.join(", no "));
        planner.wait(Subject::Network, Reason::InvalidReference, message);
        return None;
    }
    if group_ids.is_empty() {
        let group = security_group::plan(planner, vpc_id)?;
        return Some((subnets, vec![group.id.clone()]));
    }
    Some((subnets, group_ids.to_vec()))
}

/// Plans to take away everything but machines and buckets, once no machine is left: as much at once as AWS allows, and
/// of what others put in the way only that kept which needs them gone first.
pub(super) fn plan_deletion(planner: &mut Planner<'_>) {
    let kinds = [Kind::KeyPair, Kind::Address, Kind::Volume, Kind::NetworkInterface];
    if !is_seen(planner, Subject::Network, &kinds) || !is_seen(planner, Subject::Network, &OF_A_VPC) {
        return;
    }
    key_pair::plan_deletion(planner);
    address::plan_deletion(planner);
    volume::plan_deletion(planner);
    network_interface::plan_deletion(planner);
    subnet::plan_deletion(planner, None);
    security_group::plan_deletion(planner, None);
    route_table::plan_deletion(planner, None);
    internet_gateway::plan_deletion(planner, None);
    vpc::plan_deletion(planner);
}
