//! The VPC that Rayward makes for a cluster, with DNS support and DNS host names.

mod dependants;

use std::{collections::BTreeMap, fmt};

use aws_sdk_ec2::types::{AttributeBooleanValue, ResourceType, VpcAttributeName};
use serde::Serialize;

use super::{Answer, Change, Kind, Resource, ResourceChange, created, gone, keeper};
use crate::{
    aws::{
        AwsCall, AwsError, Clients, ErrorClass, Scope,
        sdk::{scope_filters, tags_from},
    },
    plan::{Finding, Planner, Reason, Subject},
    tags::{INSTALLATION, Tags},
};

/// Value of the tag `rayward.dev/role`.
pub const ROLE: &str = "vpc";

/// A VPC as it was seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Vpc {
    /// Its id.
    pub id: String,
    /// Its address range.
    pub cidr: String,
    /// Whether it resolves names.
    pub dns_support: bool,
    /// Whether its machines have names.
    pub dns_hostnames: bool,
    /// What of others is in the way of its deletion and is not swept, each with its id; `None` while nobody looked.
    pub in_the_way: Option<Vec<String>>,
    /// Its tags.
    pub tags: Tags,
}

impl Resource for Vpc {
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
        Some(&self.id)
    }
}

/// A change on a VPC.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub enum VpcChange {
    /// Make one.
    Create {
        /// Address range.
        cidr: String,
        /// Tags.
        tags: Tags,
    },
    /// Let it resolve names.
    EnableDnsSupport {
        /// Which.
        id: String,
    },
    /// Give its machines names; needs DNS support.
    EnableDnsHostnames {
        /// Which.
        id: String,
    },
    /// Look for what is in the way of its deletion.
    FindDependants {
        /// Which.
        id: String,
    },
    /// Delete it.
    Delete {
        /// Which.
        id: String,
    },
}

impl fmt::Display for VpcChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Create { cidr, .. } => write!(f, "create VPC {cidr}"),
            Self::EnableDnsSupport { id } => write!(f, "enable DNS support of {id}"),
            Self::EnableDnsHostnames { id } => write!(f, "enable DNS host names of {id}"),
            Self::FindDependants { id } => write!(f, "look for what is in the way of deleting {id}"),
            Self::Delete { id } => write!(f, "delete VPC {id}"),
        }
    }
}

impl ResourceChange for VpcChange {
    type Item = Vpc;

    fn call(&self) -> AwsCall {
        match self {
            Self::Create { .. } => AwsCall::CreateVpc,
            Self::EnableDnsSupport { .. } | Self::EnableDnsHostnames { .. } => AwsCall::ModifyVpcAttribute,
            Self::FindDependants { .. } => AwsCall::DescribeVpcEndpoints,
            Self::Delete { .. } => AwsCall::DeleteVpc,
        }
    }

    fn subject(&self) -> String {
        match self {
            Self::Create { .. } => ROLE.into(),
            Self::EnableDnsSupport { id } => format!("{id} DNS support"),
            Self::EnableDnsHostnames { id } => format!("{id} DNS host names"),
            Self::FindDependants { id } | Self::Delete { id } => id.clone(),
        }
    }

    fn fold(&self, answer: &Answer, items: &mut BTreeMap<String, Vpc>) {
        match (self, answer) {
            (Self::Create { cidr, tags }, Answer::Created(id)) => {
                items.entry(id.clone()).or_insert_with(|| Vpc {
                    id: id.clone(),
                    cidr: cidr.clone(),
                    // What a new VPC has on AWS.
                    dns_support: true,
                    dns_hostnames: false,
                    in_the_way: None,
                    tags: tags.clone(),
                });
            }
            (Self::EnableDnsSupport { id }, _) => {
                items.entry(id.clone()).and_modify(|vpc| vpc.dns_support = true);
            }
            (Self::EnableDnsHostnames { id }, _) => {
                items.entry(id.clone()).and_modify(|vpc| vpc.dns_hostnames = true);
            }
            (Self::FindDependants { id }, Answer::InTheWay(found)) => {
                items
                    .entry(id.clone())
                    .and_modify(|vpc| vpc.in_the_way = Some(found.clone()));
            }
            (Self::Delete { id }, _) => {
                items.remove(id);
            }
            (Self::Create { .. } | Self::FindDependants { .. }, _) => {}
        }
    }
}

impl VpcChange {
    /// Carries it out.
    ///
    /// # Errors
    /// What AWS answered, with its class.
    pub async fn apply(&self, clients: &Clients) -> Result<Answer, AwsError> {
        let (ec2, gate) = (&clients.ec2, &clients.gate);
        let on = || AttributeBooleanValue::builder().value(true).build();
        match self {
            Self::Create { cidr, tags } => {
                let tags = clients.tag_specification(ResourceType::Vpc, tags);
                let request = ec2.create_vpc().cidr_block(cidr).tag_specifications(tags).send();
                let answer = gate.send(self.call(), ROLE, request).await?;
                created(self.call(), ROLE, answer.vpc.and_then(|vpc| vpc.vpc_id))
            }
            Self::EnableDnsSupport { id } => {
                let request = ec2.modify_vpc_attribute().vpc_id(id).enable_dns_support(on()).send();
                gate.send(self.call(), id, request).await.map(|_| Answer::Done)
            }
            Self::EnableDnsHostnames { id } => {
                let request = ec2.modify_vpc_attribute().vpc_id(id).enable_dns_hostnames(on()).send();
                gate.send(self.call(), id, request).await.map(|_| Answer::Done)
            }
            Self::FindDependants { id } => Ok(Answer::InTheWay(dependants::find(clients, id).await?)),
            Self::Delete { id } => gone(gate.send(self.call(), id, ec2.delete_vpc().vpc_id(id).send()).await),
        }
    }
}

/// How many VPCs have their DNS attributes read in one sweep: AWS has them one call an attribute, so that with many
/// clusters each sweep looks at the next ones in turn.
const ATTRIBUTE_BUDGET: usize = 25;

/// The VPCs that `scope` covers, with their DNS attributes.
///
/// # Errors
/// What AWS answered, with its class.
pub async fn list(clients: &Clients, scope: &Scope) -> Result<Vec<Vpc>, AwsError> {
    let mut found = BTreeMap::new();
    for filter in scope_filters(scope, "vpc-id") {
        let mut pages = clients.ec2.describe_vpcs().filters(filter).into_paginator().send();
        while let Some(page) = clients
            .gate
            .send(AwsCall::DescribeVpcs, "page", pages.try_next())
            .await?
        {
            for vpc in page.vpcs() {
                let Some(id) = vpc.vpc_id() else { continue };
                let tags = tags_from(vpc.tags());
                let cidr = vpc.cidr_block().unwrap_or_default().to_owned();
                found.insert(
                    id.to_owned(),
                    Vpc {
                        id: id.into(),
                        cidr,
                        dns_support: true,
                        dns_hostnames: true,
                        in_the_way: None,
                        tags,
                    },
                );
            }
        }
    }
    let ours: Vec<&str> = found
        .values()
        .filter(|vpc| vpc.tags.get(INSTALLATION) == Some(&scope.installation))
        .map(|vpc| vpc.id.as_str())
        .collect();
    for id in clients.dns_attributes.due(&ours, ATTRIBUTE_BUDGET) {
        let support = attribute(clients, &id, VpcAttributeName::EnableDnsSupport).await;
        let hostnames = attribute(clients, &id, VpcAttributeName::EnableDnsHostnames).await;
        match (support, hostnames) {
            (Ok(support), Ok(hostnames)) => clients.dns_attributes.seen(&id, (support, hostnames)),
            // Deleted since it was listed; the next sweep will not list it.
            (Err(error), _) | (_, Err(error)) if error.class == ErrorClass::NotFound => {}
            (Err(error), _) | (_, Err(error)) => return Err(error),
        }
    }
    for vpc in found.values_mut() {
        if let Some((support, hostnames)) = clients.dns_attributes.get(&vpc.id) {
            (vpc.dns_support, vpc.dns_hostnames) = (support, hostnames);
        }
    }
    Ok(found.into_values().collect())
}

async fn attribute(clients: &Clients, id: &str, name: VpcAttributeName) -> Result<bool, AwsError> {
    let request = clients.ec2.describe_vpc_attribute().vpc_id(id).attribute(name).send();
    let answer = clients.gate.send(AwsCall::DescribeVpcAttribute, id, request).await?;
    let value = answer.enable_dns_support.or(answer.enable_dns_hostnames);
    Ok(value.and_then(|value| value.value).unwrap_or(false))
}

/// Plans the VPC: the one that is there, or nothing while it is being made.
pub fn plan<'a>(planner: &mut Planner<'a>, cidr: &str) -> Option<&'a Vpc> {
    let inventory = &planner.observed().inventory;
    let machines = |vpc: &Vpc| {
        let mut ours = inventory.instance.ours.values();
        ours.any(|machine| !machine.is_lost() && machine.vpc_id.as_deref() == Some(&vpc.id))
    };
    let home = inventory.vpc.ours.values().find(|vpc| machines(vpc));
    let Some(vpc) = home.or_else(|| keeper(&inventory.vpc.ours, |vpc| inventory.has_content(&vpc.id))) else {
        let change = VpcChange::Create {
            cidr: cidr.into(),
            tags: planner.creation_tags(ROLE, None),
        };
        planner.change(Subject::Network, Change::Vpc(change));
        return None;
    };
    planner.reap_doubles(&inventory.vpc.ours, &vpc.id, |double| {
        let id = double.id.clone();
        (!inventory.has_content(&id)).then_some(Change::Vpc(VpcChange::Delete { id }))
    });
    if vpc.cidr != cidr {
        let message = format!(
            "{} has the range {}, not {cidr}: was it made by another cluster?",
            vpc.id, vpc.cidr
        );
        planner.wait(Subject::Network, Reason::InvalidReference, message);
    }
    dns(planner, vpc);
    let tags = planner.tags(ROLE, None);
    planner.repair_tags(Subject::Network, Kind::Vpc, vpc, &tags);
    Some(vpc)
}

fn dns(planner: &mut Planner<'_>, vpc: &Vpc) {
    let id = vpc.id.clone();
    let (what, change) = match (vpc.dns_support, vpc.dns_hostnames) {
        (true, true) => return,
        (true, false) => ("DNS host names were off", VpcChange::EnableDnsHostnames { id }),
        // Host names need it, so that they come after it.
        (false, _) => ("DNS support was off", VpcChange::EnableDnsSupport { id }),
    };
    if planner.is_drift(&vpc.tags) {
        planner.find(Finding::repaired(&vpc.id, what));
    }
    planner.change(Subject::Network, Change::Vpc(change));
}

/// How often AWS says that an empty VPC is in use before it is looked for what else is in it: what was just deleted may
/// count for some seconds.
const LOOK_AFTER: u32 = 3;

/// Plans the deletion of every VPC of the cluster that is empty, and names what of others keeps one from it.
pub fn plan_deletion(planner: &mut Planner<'_>) {
    let inventory = &planner.observed().inventory;
    for vpc in inventory.vpc.ours.values() {
        let mut foreign = inventory.foreign_content(&vpc.id);
        foreign.extend(vpc.in_the_way.iter().flatten().cloned());
        if !foreign.is_empty() {
            planner.blocked(&vpc.id, &foreign);
        } else if !inventory.has_content(&vpc.id) {
            let id = vpc.id.clone();
            let deletion = Change::Vpc(VpcChange::Delete { id: id.clone() });
            if vpc.in_the_way.is_none() && planner.times_in_use(&deletion) >= LOOK_AFTER {
                planner.change(Subject::Network, Change::Vpc(VpcChange::FindDependants { id }));
            }
            planner.change(Subject::Network, deletion);
        }
    }
}
