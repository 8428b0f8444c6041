//! The subnets of a cluster's own VPC, and those of the user's that a cluster uses.

use std::{collections::BTreeMap, fmt};

use aws_sdk_ec2::types::{AttributeBooleanValue, ResourceType};
use ipnet::Ipv4Net;
use serde::Serialize;

use super::{Answer, Change, Kind, Resource, ResourceChange, created, gone};
use crate::{
    aws::{
        AwsCall, AwsError, Clients, Scope,
        sdk::{scope_filters, tags_in},
    },
    plan::{Finding, Planner, Reason, Subject},
    tags::Tags,
    validate as spec,
};

/// Value of the tag `rayward.dev/role`.
pub const ROLE: &str = "subnet";

/// A subnet as it was seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subnet {
    /// Its id.
    pub id: String,
    /// The VPC in which it lies.
    pub vpc_id: String,
    /// Its address range.
    pub cidr: String,
    /// Where it is.
    pub availability_zone: String,
    /// Whether machines that are launched in it get public addresses.
    pub maps_public_addresses: bool,
    /// Its tags.
    pub tags: Tags,
}

impl Resource for Subnet {
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

/// A change on a subnet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub enum SubnetChange {
    /// Make one.
    Create {
        /// Its name in the spec.
        name: String,
        /// The VPC in which it is to lie.
        vpc_id: String,
        /// Address range.
        cidr: String,
        /// Where; `None`: AWS chooses.
        availability_zone: Option<String>,
        /// Tags.
        tags: Tags,
    },
    /// Let machines that are launched in it have public addresses, or not.
    MapPublicAddresses {
        /// Which.
        id: String,
        /// Whether they get one.
        on: bool,
    },
    /// Delete it; nothing may lie in it.
    Delete {
        /// Which.
        id: String,
    },
}

impl fmt::Display for SubnetChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Create { name, vpc_id, cidr, .. } => write!(f, "create subnet {name} ({cidr}) in {vpc_id}"),
            Self::MapPublicAddresses { id, on: true } => write!(f, "give machines in {id} public addresses"),
            Self::MapPublicAddresses { id, on: false } => write!(f, "give machines in {id} no public addresses"),
            Self::Delete { id } => write!(f, "delete subnet {id}"),
        }
    }
}

impl ResourceChange for SubnetChange {
    type Item = Subnet;

    fn call(&self) -> AwsCall {
        match self {
            Self::Create { .. } => AwsCall::CreateSubnet,
            Self::MapPublicAddresses { .. } => AwsCall::ModifySubnetAttribute,
            Self::Delete { .. } => AwsCall::DeleteSubnet,
        }
    }

    fn subject(&self) -> String {
        match self {
            Self::Create { name, .. } => format!("{ROLE} {name}"),
            Self::MapPublicAddresses { id, .. } | Self::Delete { id } => id.clone(),
        }
    }

    fn fold(&self, answer: &Answer, items: &mut BTreeMap<String, Subnet>) {
        match (self, answer) {
            (Self::Create { vpc_id, cidr, tags, .. }, Answer::CreatedIn { id, availability_zone }) => {
                items.entry(id.clone()).or_insert_with(|| Subnet {
                    id: id.clone(),
                    vpc_id: vpc_id.clone(),
                    cidr: cidr.clone(),
                    availability_zone: availability_zone.clone(),
                    // What a new subnet has on AWS.
                    maps_public_addresses: false,
                    tags: tags.clone(),
                });
            }
            (Self::Create { .. }, _) => {}
            (Self::MapPublicAddresses { id, on }, _) => {
                items
                    .entry(id.clone())
                    .and_modify(|subnet| subnet.maps_public_addresses = *on);
            }
            (Self::Delete { id }, _) => {
                items.remove(id);
            }
        }
    }
}

impl SubnetChange {
    /// Carries it out.
    ///
    /// # Errors
    /// What AWS answered, with its class.
    pub async fn apply(&self, clients: &Clients) -> Result<Answer, AwsError> {
        let (ec2, gate, call) = (&clients.ec2, &clients.gate, self.call());
        let subject = self.subject();
        match self {
            Self::Create {
                vpc_id,
                cidr,
                availability_zone,
                tags,
                ..
            } => {
                let request = ec2
                    .create_subnet()
                    .vpc_id(vpc_id)
                    .cidr_block(cidr)
                    .set_availability_zone(availability_zone.clone())
                    .tag_specifications(clients.tag_specification(ResourceType::Subnet, tags));
                let answer = gate.send(call, &subject, request.send()).await?;
                let found = answer
                    .subnet
                    .and_then(|subnet| Some((subnet.subnet_id?, subnet.availability_zone?)));
                match found {
                    Some((id, availability_zone)) => Ok(Answer::CreatedIn { id, availability_zone }),
                    None => created(call, &subject, None),
                }
            }
            Self::MapPublicAddresses { id, on } => {
                let value = AttributeBooleanValue::builder().value(*on).build();
                let request = ec2
                    .modify_subnet_attribute()
                    .subnet_id(id)
                    .map_public_ip_on_launch(value);
                gate.send(call, &subject, request.send()).await.map(|_| Answer::Done)
            }
            Self::Delete { id } => {
                let request = ec2.delete_subnet().subnet_id(id);
                gone(gate.send(call, &subject, request.send()).await)
            }
        }
    }
}

/// The subnets that `scope` covers.
///
/// # Errors
/// What AWS answered, with its class.
pub async fn list(clients: &Clients, scope: &Scope) -> Result<Vec<Subnet>, AwsError> {
    let call = AwsCall::DescribeSubnets;
    let mut found = BTreeMap::new();
    for filter in scope_filters(scope, "vpc-id") {
        let request = clients.ec2.describe_subnets().filters(filter);
        let mut pages = request.max_results(1000).into_paginator().send();
        while let Some(page) = clients.gate.send(call, "page", pages.try_next()).await? {
            for subnet in page.subnets() {
                let Some(id) = subnet.subnet_id() else { continue };
                found.insert(
                    id.to_owned(),
                    Subnet {
                        id: id.into(),
                        vpc_id: subnet.vpc_id().unwrap_or_default().into(),
                        cidr: subnet.cidr_block().unwrap_or_default().into(),
                        availability_zone: subnet.availability_zone().unwrap_or_default().into(),
                        maps_public_addresses: subnet.map_public_ip_on_launch().unwrap_or(false),
                        tags: tags_in(scope, subnet.tags()),
                    },
                );
            }
        }
    }
    Ok(found.into_values().collect())
}

/// Plans the subnets of a cluster's own VPC; of each, what is there, in the order of the spec.
pub fn plan<'a>(planner: &mut Planner<'a>, vpc_id: &str, specs: &[spec::Subnet]) -> Vec<Option<&'a Subnet>> {
    specs.iter().map(|spec| plan_one(planner, vpc_id, spec)).collect()
}

fn plan_one<'a>(planner: &mut Planner<'a>, vpc_id: &str, spec: &spec::Subnet) -> Option<&'a Subnet> {
    let shelf = &planner.observed().inventory.subnet;
    let cidr = spec.cidr.to_string();
    // A VPC cannot hold the same range twice, so that the range alone tells which subnet this is.
    let ours = shelf.ours.values();
    let found = ours
        .filter(|subnet| subnet.vpc_id == vpc_id)
        .find(|subnet| subnet.cidr == cidr);
    let Some(subnet) = found else {
        create(planner, vpc_id, spec);
        return None;
    };
    if subnet.maps_public_addresses != spec.public {
        if planner.is_drift(&subnet.tags) {
            let what = if spec.public {
                "public addresses were off"
            } else {
                "public addresses were on"
            };
            planner.find(Finding::repaired(&subnet.id, what));
        }
        let (id, on) = (subnet.id.clone(), spec.public);
        planner.change(
            Subject::Network,
            Change::Subnet(SubnetChange::MapPublicAddresses { id, on }),
        );
    }
    let tags = planner.tags(ROLE, Some(&spec.name));
    planner.repair_tags(Subject::Network, Kind::Subnet, subnet, &tags);
    Some(subnet)
}

fn create(planner: &mut Planner<'_>, vpc_id: &str, spec: &spec::Subnet) {
    let overlaps = |cidr: &str| {
        cidr.parse::<Ipv4Net>()
            .is_ok_and(|other| other.contains(&spec.cidr) || spec.cidr.contains(&other))
    };
    let mut all = planner.observed().inventory.subnet.all();
    if let Some(other) = all.find(|other| other.vpc_id == vpc_id && overlaps(&other.cidr)) {
        let message = format!(
            "subnet {} ({}) is in the way of subnet {} ({}) in {vpc_id} and does not carry this cluster's tags: \
             delete it",
            other.id, other.cidr, spec.name, spec.cidr
        );
        planner.wait(Subject::Network, Reason::ForeignResource, message);
        return;
    }
    let tags = planner.creation_tags(ROLE, Some(&spec.name));
    let change = SubnetChange::Create {
        name: spec.name.clone(),
        vpc_id: vpc_id.to_owned(),
        cidr: spec.cidr.to_string(),
        availability_zone: spec.availability_zone.clone(),
        tags,
    };
    planner.change(Subject::Network, Change::Subnet(change));
}

/// Plans to delete the subnets in which nothing of others lies.
pub fn plan_deletion(planner: &mut Planner<'_>, in_vpc: Option<&str>) {
    let inventory = &planner.observed().inventory;
    let ours = inventory.subnet.ours.values();
    for subnet in ours.filter(|subnet| in_vpc.is_none_or(|vpc| subnet.vpc_id == vpc)) {
        let inside: Vec<String> = inventory
            .foreign_interfaces()
            .filter(|interface| interface.subnet_id == subnet.id)
            .map(ToString::to_string)
            .collect();
        if inside.is_empty() {
            let id = subnet.id.clone();
            planner.change(Subject::Network, Change::Subnet(SubnetChange::Delete { id }));
        } else {
            planner.blocked(&subnet.id, &inside);
        }
    }
}
