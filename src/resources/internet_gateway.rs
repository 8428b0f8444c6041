//! The internet gateway of a cluster's own VPC. It is made beside the VPC, not after it, and then attached.

use std::{collections::BTreeMap, fmt};

use aws_sdk_ec2::types::ResourceType;
use serde::Serialize;

use super::{Answer, Change, Kind, Resource, ResourceChange, created, gone, keeper, vpc::Vpc};
use crate::{
    aws::{
        AwsCall, AwsError, Clients, Scope,
        sdk::{scope_filters, tags_in},
    },
    plan::{Finding, Planner, Reason, Subject},
    tags::Tags,
};

/// Value of the tag `rayward.dev/role`.
pub const ROLE: &str = "internet-gateway";

/// An internet gateway as it was seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InternetGateway {
    /// Its id.
    pub id: String,
    /// The VPC to which it is attached.
    pub attached_to: Option<String>,
    /// Its tags.
    pub tags: Tags,
}

impl Resource for InternetGateway {
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
        self.attached_to.as_deref()
    }
}

/// A change on an internet gateway.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub enum InternetGatewayChange {
    /// Make one.
    Create {
        /// Tags.
        tags: Tags,
    },
    /// Attach it to a VPC.
    Attach {
        /// Which.
        id: String,
        /// To what.
        vpc_id: String,
    },
    /// Detach it from a VPC.
    Detach {
        /// Which.
        id: String,
        /// From what.
        vpc_id: String,
    },
    /// Delete it; it has to be detached.
    Delete {
        /// Which.
        id: String,
    },
}

impl fmt::Display for InternetGatewayChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Create { .. } => f.write_str("create internet gateway"),
            Self::Attach { id, vpc_id } => write!(f, "attach internet gateway {id} to {vpc_id}"),
            Self::Detach { id, vpc_id } => write!(f, "detach internet gateway {id} from {vpc_id}"),
            Self::Delete { id } => write!(f, "delete internet gateway {id}"),
        }
    }
}

impl ResourceChange for InternetGatewayChange {
    type Item = InternetGateway;

    fn call(&self) -> AwsCall {
        match self {
            Self::Create { .. } => AwsCall::CreateInternetGateway,
            Self::Attach { .. } => AwsCall::AttachInternetGateway,
            Self::Detach { .. } => AwsCall::DetachInternetGateway,
            Self::Delete { .. } => AwsCall::DeleteInternetGateway,
        }
    }

    fn subject(&self) -> String {
        match self {
            Self::Create { .. } => ROLE.into(),
            Self::Attach { id, .. } | Self::Detach { id, .. } | Self::Delete { id } => id.clone(),
        }
    }

    fn fold(&self, answer: &Answer, items: &mut BTreeMap<String, InternetGateway>) {
        match (self, answer) {
            (Self::Create { tags }, Answer::Created(id)) => {
                items.entry(id.clone()).or_insert_with(|| InternetGateway {
                    id: id.clone(),
                    attached_to: None,
                    tags: tags.clone(),
                });
            }
            (Self::Create { .. }, _) => {}
            (Self::Attach { id, vpc_id }, _) => {
                items
                    .entry(id.clone())
                    .and_modify(|gateway| gateway.attached_to = Some(vpc_id.clone()));
            }
            (Self::Detach { id, vpc_id }, _) => {
                if let Some(gateway) = items.get_mut(id)
                    && gateway.attached_to.as_ref() == Some(vpc_id)
                {
                    gateway.attached_to = None;
                }
            }
            (Self::Delete { id }, _) => {
                items.remove(id);
            }
        }
    }
}

impl InternetGatewayChange {
    /// Carries it out.
    ///
    /// # Errors
    /// What AWS answered, with its class.
    pub async fn apply(&self, clients: &Clients) -> Result<Answer, AwsError> {
        let (ec2, gate, call) = (&clients.ec2, &clients.gate, self.call());
        match self {
            Self::Create { tags } => {
                let tags = clients.tag_specification(ResourceType::InternetGateway, tags);
                let request = ec2.create_internet_gateway().tag_specifications(tags).send();
                let answer = gate.send(call, ROLE, request).await?;
                let id = answer.internet_gateway.and_then(|gateway| gateway.internet_gateway_id);
                created(call, ROLE, id)
            }
            Self::Attach { id, vpc_id } => {
                let request = ec2.attach_internet_gateway().internet_gateway_id(id).vpc_id(vpc_id);
                gate.send(call, id, request.send()).await.map(|_| Answer::Done)
            }
            Self::Detach { id, vpc_id } => {
                let request = ec2.detach_internet_gateway().internet_gateway_id(id).vpc_id(vpc_id);
                gone(gate.send(call, id, request.send()).await)
            }
            Self::Delete { id } => {
                let request = ec2.delete_internet_gateway().internet_gateway_id(id);
                gone(gate.send(call, id, request.send()).await)
            }
        }
    }
}

/// The internet gateways that `scope` covers.
///
/// # Errors
/// What AWS answered, with its class.
pub async fn list(clients: &Clients, scope: &Scope) -> Result<Vec<InternetGateway>, AwsError> {
    let call = AwsCall::DescribeInternetGateways;
    let mut found = BTreeMap::new();
    for filter in scope_filters(scope, "attachment.vpc-id") {
        let request = clients.ec2.describe_internet_gateways().filters(filter);
        let mut pages = request.max_results(1000).into_paginator().send();
        while let Some(page) = clients.gate.send(call, "page", pages.try_next()).await? {
            for gateway in page.internet_gateways() {
                let Some(id) = gateway.internet_gateway_id() else {
                    continue;
                };
                // A gateway has one attachment at most, whose state is `available` while it is in force.
                let attachment = gateway.attachments().iter().find(|attachment| {
                    attachment
                        .state()
                        .is_none_or(|state| !state.as_str().starts_with("detach"))
                });
                found.insert(
                    id.to_owned(),
                    InternetGateway {
                        id: id.into(),
                        attached_to: attachment.and_then(|attachment| attachment.vpc_id.clone()),
                        tags: tags_in(scope, gateway.tags()),
                    },
                );
            }
        }
    }
    Ok(found.into_values().collect())
}

/// Plans the gateway: the one that is attached to the VPC, or nothing while it is not.
pub fn plan<'a>(planner: &mut Planner<'a>, vpc: Option<&Vpc>) -> Option<&'a InternetGateway> {
    let inventory = &planner.observed().inventory;
    let shelf = &inventory.internet_gateway;
    let Some(gateway) = keeper(&shelf.ours, |gateway| gateway.attached_to.is_some()) else {
        let tags = planner.creation_tags(ROLE, None);
        planner.change(
            Subject::Network,
            Change::InternetGateway(InternetGatewayChange::Create { tags }),
        );
        return None;
    };
    planner.reap_doubles(&shelf.ours, &gateway.id, |double| {
        let id = double.id.clone();
        let unused = double.attached_to.is_none();
        unused.then_some(Change::InternetGateway(InternetGatewayChange::Delete { id }))
    });
    let tags = planner.tags(ROLE, None);
    planner.repair_tags(Subject::Network, Kind::InternetGateway, gateway, &tags);
    let vpc = vpc?;
    match &gateway.attached_to {
        Some(vpc_id) if *vpc_id == vpc.id => return Some(gateway),
        Some(elsewhere) => leave(planner, gateway, elsewhere),
        None => attach(planner, gateway, vpc),
    }
    None
}

fn attach(planner: &mut Planner<'_>, gateway: &InternetGateway, vpc: &Vpc) {
    let mut others = planner.observed().inventory.internet_gateway.others.values();
    if let Some(other) = others.find(|other| other.attached_to.as_deref() == Some(&vpc.id)) {
        let message = format!(
            "{} is attached to {} in place of {}, the gateway of this cluster: detach it",
            other.id, vpc.id, gateway.id
        );
        planner.wait(Subject::Network, Reason::ForeignResource, message);
        return;
    }
    if planner.is_drift(&gateway.tags) {
        planner.find(Finding::repaired(
            &gateway.id,
            format!("was not attached to {}", vpc.id),
        ));
    }
    let (id, vpc_id) = (gateway.id.clone(), vpc.id.clone());
    planner.change(
        Subject::Network,
        Change::InternetGateway(InternetGatewayChange::Attach { id, vpc_id }),
    );
}

/// Takes the gateway from a VPC where it does not belong: only from one of ours, since its machines lose their way out.
fn leave(planner: &mut Planner<'_>, gateway: &InternetGateway, vpc_id: &str) {
    if planner.observed().inventory.vpc.ours.contains_key(vpc_id) {
        detach(planner, gateway, vpc_id);
    } else {
        let message = format!(
            "{} is attached to {vpc_id}, which is not of this cluster: detach it there",
            gateway.id
        );
        planner.wait(Subject::Network, Reason::ForeignResource, message);
    }
}

fn detach(planner: &mut Planner<'_>, gateway: &InternetGateway, vpc_id: &str) {
    let (id, vpc_id) = (gateway.id.clone(), vpc_id.to_owned());
    planner.change(
        Subject::Network,
        Change::InternetGateway(InternetGatewayChange::Detach { id, vpc_id }),
    );
}

/// Plans to detach and delete the gateways. A public address that is still mapped in the VPC keeps a gateway there.
pub fn plan_deletion(planner: &mut Planner<'_>, in_vpc: Option<&str>) {
    let inventory = &planner.observed().inventory;
    let ours = inventory.internet_gateway.ours.values();
    for gateway in ours.filter(|gateway| in_vpc.is_none() || gateway.attached_to.as_deref() == in_vpc) {
        let Some(vpc_id) = &gateway.attached_to else {
            let id = gateway.id.clone();
            planner.change(
                Subject::Network,
                Change::InternetGateway(InternetGatewayChange::Delete { id }),
            );
            continue;
        };
        let public: Vec<String> = inventory
            .foreign_interfaces()
            .filter(|interface| interface.vpc_id == *vpc_id && interface.is_public)
            .map(ToString::to_string)
            .collect();
        if !public.is_empty() {
            planner.blocked(&gateway.id, &public);
        } else if inventory
            .address
            .ours
            .values()
            .all(|address| address.association_id.is_none())
        {
            leave(planner, gateway, vpc_id);
        }
    }
}
