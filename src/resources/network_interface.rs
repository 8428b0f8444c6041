//! Network interfaces. Those of our machines come and go with them; what is kept true is that they carry our tags. The
//! others matter because a subnet, a group or a gateway cannot go while an interface uses it.

use std::{collections::BTreeMap, fmt};

use aws_sdk_ec2::types::NetworkInterfaceStatus;
use serde::Serialize;

use super::{Answer, Change, Inventory, Kind, Resource, ResourceChange, gone};
use crate::{
    aws::{
        AwsCall, AwsError, Clients, Scope,
        sdk::{scope_filters, tags_in},
    },
    plan::{Planner, Reason, Subject, tagging::Untagged},
    tags::{self, Tags},
};

/// A network interface as it was seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NetworkInterface {
    /// Its id.
    pub id: String,
    /// The VPC in which it lies.
    pub vpc_id: String,
    /// The subnet in which it lies.
    pub subnet_id: String,
    /// Its security groups.
    pub group_ids: Vec<String>,
    /// What it is, in the words of who made it: of a load balancer, for example, its name.
    pub description: String,
    /// The instance to which it is attached.
    pub instance_id: Option<String>,
    /// Whether it is attached to anything.
    pub in_use: bool,
    /// Whether it has a public address: the gateway cannot be detached before.
    pub is_public: bool,
    /// Its tags.
    pub tags: Tags,
}

impl Resource for NetworkInterface {
    fn id(&self) -> &str {
        &self.id
    }
    fn tags(&self) -> &Tags {
        &self.tags
    }
    fn tags_mut(&mut self) -> &mut Tags {
        &mut self.tags
    }
    fn vpc_id(&self) -> Option<&str> {
        Some(&self.vpc_id)
    }
}

/// A change on a network interface.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub enum NetworkInterfaceChange {
    /// Delete one that a machine of ours left behind.
    Delete {
        /// Which.
        id: String,
    },
}

impl fmt::Display for NetworkInterfaceChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self::Delete { id } = self;
        write!(f, "delete network interface {id}")
    }
}

impl ResourceChange for NetworkInterfaceChange {
    type Item = NetworkInterface;

    fn call(&self) -> AwsCall {
        AwsCall::DeleteNetworkInterface
    }

    fn subject(&self) -> String {
        let Self::Delete { id } = self;
        id.clone()
    }

    fn fold(&self, _: &Answer, items: &mut BTreeMap<String, NetworkInterface>) {
        let Self::Delete { id } = self;
        items.remove(id);
    }
}

impl NetworkInterfaceChange {
    /// Carries it out.
    ///
    /// # Errors
    /// What AWS answered, with its class.
    pub async fn apply(&self, clients: &Clients) -> Result<Answer, AwsError> {
        let Self::Delete { id } = self;
        let request = clients.ec2.delete_network_interface().network_interface_id(id);
        gone(clients.gate.send(self.call(), id, request.send()).await)
    }
}

/// The network interfaces that `scope` covers.
///
/// # Errors
/// What AWS answered, with its class.
pub async fn list(clients: &Clients, scope: &Scope) -> Result<Vec<NetworkInterface>, AwsError> {
    let call = AwsCall::DescribeNetworkInterfaces;
    let mut found = BTreeMap::new();
    for filter in scope_filters(scope, "vpc-id") {
        let request = clients.ec2.describe_network_interfaces().filters(filter);
        let mut pages = request.max_results(1000).into_paginator().send();
        while let Some(page) = clients.gate.send(call, "page", pages.try_next()).await? {
            found.extend(
                page.network_interfaces()
                    .iter()
                    .filter_map(|interface| from_sdk(scope, interface))
                    .map(|interface| (interface.id.clone(), interface)),
            );
        }
    }
    Ok(found.into_values().collect())
}

fn from_sdk(scope: &Scope, interface: &aws_sdk_ec2::types::NetworkInterface) -> Option<NetworkInterface> {
    Some(NetworkInterface {
        id: interface.network_interface_id()?.to_owned(),
        vpc_id: interface.vpc_id().unwrap_or_default().to_owned(),
        subnet_id: interface.subnet_id().unwrap_or_default().to_owned(),
        group_ids: interface
            .groups()
            .iter()
            .filter_map(|group| group.group_id.clone())
            .collect(),
        description: interface.description().unwrap_or_default().to_owned(),
        instance_id: interface
            .attachment()
            .and_then(|attachment| attachment.instance_id.clone()),
        in_use: interface.status() != Some(&NetworkInterfaceStatus::Available),
        is_public: interface
            .association()
            .is_some_and(|association| association.public_ip.is_some()),
        tags: tags_in(scope, interface.tag_set()),
    })
}

impl fmt::Display for NetworkInterface {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "network interface {}", self.id)?;
        match (&self.instance_id, self.description.as_str()) {
            (Some(instance), _) => write!(f, " of {instance}"),
            (None, "") => Ok(()),
            (None, description) => write!(f, " ({description})"),
        }
    }
}

impl Inventory {
    /// The interfaces that are neither ours nor our machines'.
    pub(crate) fn foreign_interfaces(&self) -> impl Iterator<Item = &NetworkInterface> {
        self.network_interface.others.values().filter(|interface| {
            let machine = interface.instance_id.as_ref();
            machine.is_none_or(|machine| !self.instance.ours.contains_key(machine))
        })
    }
}

/// Plans to put back the tags of our machines' interfaces.
pub fn plan(planner: &mut Planner<'_>) {
    let inventory = &planner.observed().inventory;
    let mut untagged = Untagged::default();
    for machine in inventory.instance.ours.values().filter(|machine| !machine.is_lost()) {
        let id = machine.network_interface.as_ref();
        // One that a look does not show yet was launched with its tags.
        let Some(interface) = id.and_then(|id| inventory.network_interface.get(id)) else {
            continue;
        };
        if interface.tags == machine.tags {
            continue;
        }
        if let Some(missing) = tags::missing(&interface.tags, &planner.tags_of_parts(machine)) {
            planner.tell_untagged(&interface.id, &machine.tags, &missing);
            untagged.add(missing, interface.id.clone());
        }
    }
    planner.tag(Subject::Cluster, Kind::NetworkInterface, untagged);
}

/// Plans to delete the interfaces that machines of ours left behind: EC2 takes a machine's own away with it.
pub fn plan_deletion(planner: &mut Planner<'_>) {
    for interface in planner.observed().inventory.network_interface.ours.values() {
        let id = interface.id.clone();
        if interface.in_use {
            let message = format!("{interface} is being released");
            planner.wait(Subject::Network, Reason::InTransition, message);
        } else {
            planner.change(
                Subject::Network,
                Change::NetworkInterface(NetworkInterfaceChange::Delete { id }),
            );
        }
    }
}
