//! Network interfaces. Those of our machines come and go with them; what is kept true is that they carry our tags. The
//! others matter because a subnet, a group or a gateway cannot go while an interface uses it.

use std::{collections::BTreeMap, fmt};

use aws_sdk_ec2::types::{NetworkInterfaceStatus, NetworkInterfaceType};
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
    /// What it is, in the words of who made it: of a load balancer, for example, its name. Not kept of an instance's.
    pub description: String,
    /// What AWS made it for and on whose behalf, for people, such as `lambda of 123456789012`. Not kept of an
    /// instance's.
    pub purpose: String,
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
    let instance_id = interface
        .attachment()
        .and_then(|attachment| attachment.instance_id.clone());
    let (description, purpose) = match instance_id {
        Some(_) => (String::new(), String::new()),
        None => (
            interface.description().unwrap_or_default().to_owned(),
            purpose(interface),
        ),
    };
    Some(NetworkInterface {
        id: interface.network_interface_id()?.to_owned(),
        vpc_id: interface.vpc_id().unwrap_or_default().to_owned(),
        subnet_id: interface.subnet_id().unwrap_or_default().to_owned(),
        group_ids: interface
            .groups()
            .iter()
            .filter_map(|group| group.group_id.clone())
            .collect(),
        description,
        purpose,
        instance_id,
        in_use: interface.status() != Some(&NetworkInterfaceStatus::Available),
        is_public: interface
            .association()
            .is_some_and(|association| association.public_ip.is_some()),
        tags: tags_in(scope, interface.tag_set()),
    })
}

/// What kind of thing it belongs to, and who had it made: the service or account that asked for it, else its owner.
fn purpose(interface: &aws_sdk_ec2::types::NetworkInterface) -> String {
    let kind = interface.interface_type().map(NetworkInterfaceType::as_str);
    let kind = kind.filter(|kind| *kind != NetworkInterfaceType::Interface.as_str());
    let requester = interface.requester_id().filter(|requester| !requester.is_empty());
    let by = requester.or(interface.owner_id()).map(|by| format!("of {by}"));
    let words: Vec<&str> = kind.into_iter().chain(by.as_deref()).collect();
    words.join(" ")
}

impl fmt::Display for NetworkInterface {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "network interface {}", self.id)?;
        if let Some(instance) = &self.instance_id {
            return write!(f, " of {instance}");
        }
        match (self.description.as_str(), self.purpose.as_str()) {
            ("", "") => Ok(()),
            (told, "") | ("", told) => write!(f, " ({told})"),
            (description, purpose) => write!(f, " ({description}; {purpose})"),
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

#[cfg(test)]
mod tests {
    use aws_sdk_ec2::types::{NetworkInterface as Sdk, NetworkInterfaceAttachment};

    use super::*;

    fn told(interface: aws_sdk_ec2::types::builders::NetworkInterfaceBuilder) -> String {
        let interface = interface.network_interface_id("eni-1").owner_id("111122223333").build();
        from_sdk(&Scope::default(), &interface).unwrap().to_string()
    }

    #[test]
    fn a_person_reads_what_an_interface_is_for_and_who_had_it_made() {
        let gateway = Sdk::builder()
            .interface_type(NetworkInterfaceType::NatGateway)
            .description("Interface for NAT Gateway nat-1");
        assert_eq!(
            told(gateway),
            "network interface eni-1 (Interface for NAT Gateway nat-1; natGateway of 111122223333)"
        );
        let balancer = Sdk::builder()
            .interface_type(NetworkInterfaceType::Interface)
            .description("ELB app/web/1")
            .requester_id("amazon-elb");
        assert_eq!(told(balancer), "network interface eni-1 (ELB app/web/1; of amazon-elb)");
        let bare = Sdk::builder().description("");
        assert_eq!(told(bare), "network interface eni-1 (of 111122223333)");
        let attachment = NetworkInterfaceAttachment::builder().instance_id("i-1").build();
        let machine = Sdk::builder().description("eth0").attachment(attachment);
        assert_eq!(told(machine), "network interface eni-1 of i-1");
    }
}
