//! The network in the status.

use super::StatusInputs;
use crate::{
    api::{NetworkStatus, SubnetStatus},
    observe::{Shelf, Source},
    resources::{Inventory, Resource, keeper},
    validate::Network,
};

/// Ids of the network's parts. What was not looked at yet stays as it was: ids prove that a thing which lost its tags
/// is ours.
pub(super) fn network(inputs: &StatusInputs<'_>) -> Option<NetworkStatus> {
    let before = inputs.previous.network.clone().unwrap_or_default();
    let inventory = &inputs.observed.inventory;
    let status = match &inputs.cluster.network {
        Network::Existing {
            vpc_id,
            subnet_ids,
            security_group_ids,
        } => NetworkStatus {
            vpc_id: Some(vpc_id.clone()),
            internet_gateway_id: None,
            route_table_id: None,
            security_group_ids: if security_group_ids.is_empty() {
                own_group(inventory, before.security_group_ids)
            } else {
                security_group_ids.clone()
            },
            subnets: subnet_ids.iter().map(|id| existing_subnet(inventory, id)).collect(),
        },
        Network::Own { subnets, .. } => NetworkStatus {
            vpc_id: seen(&inventory.vpc, before.vpc_id, || {
                keeper(&inventory.vpc.ours, |vpc| inventory.has_content(&vpc.id)).map(|vpc| vpc.id.clone())
            }),
            internet_gateway_id: seen(&inventory.internet_gateway, before.internet_gateway_id, || {
                let gateways = &inventory.internet_gateway.ours;
                keeper(gateways, |gateway| gateway.attached_to.is_some()).map(|gateway| gateway.id.clone())
            }),
            route_table_id: seen(&inventory.route_table, before.route_table_id, || {
                let tables = &inventory.route_table.ours;
                keeper(tables, |table| !table.associations.is_empty()).map(|table| table.id.clone())
            }),
            security_group_ids: own_group(inventory, before.security_group_ids),
            subnets: seen(&inventory.subnet, before.subnets, || {
                let found = |spec: &crate::validate::Subnet| {
                    let cidr = spec.cidr.to_string();
                    let subnet = inventory.subnet.ours.values().find(|subnet| subnet.cidr == cidr)?;
                    Some(SubnetStatus {
                        name: spec.name.clone(),
                        id: subnet.id.clone(),
                        availability_zone: Some(subnet.availability_zone.clone()),
                    })
                };
                subnets.iter().filter_map(found).collect()
            }),
        },
    };
    (status != NetworkStatus::default()).then_some(status)
}

/// The group that Rayward made, once there is one.
fn own_group(inventory: &Inventory, before: Vec<String>) -> Vec<String> {
    seen(&inventory.security_group, before, || {
        let in_use = |id: &str| {
            let interfaces = &inventory.network_interface;
            interfaces
                .all()
                .any(|interface| interface.group_ids.iter().any(|group| group == id))
        };
        let group = keeper(&inventory.security_group.ours, |group| in_use(&group.id));
        group.map(|group| group.id.clone()).into_iter().collect()
    })
}

fn existing_subnet(inventory: &Inventory, id: &str) -> SubnetStatus {
    let subnet = inventory.subnet.get(id);
    SubnetStatus {
        name: id.into(),
        id: id.into(),
        availability_zone: subnet.map(|subnet| subnet.availability_zone.clone()),
    }
}

/// What was seen, or what was known before where there was no look yet.
pub(super) fn seen<T: Resource, V>(shelf: &Shelf<T>, before: V, look: impl FnOnce() -> V) -> V {
    match shelf.swept {
        Source::Known(()) => look(),
        Source::Unknown(_) => before,
    }
}
