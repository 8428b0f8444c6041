//! The Elastic IP address of a head whose spec asks for one: it stays the same when the head stops or is replaced.

use std::{collections::BTreeMap, fmt};

use aws_sdk_ec2::types::{DomainType, ResourceType};
use serde::Serialize;

use super::{
    Answer, Change, Kind, Resource, ResourceChange, created, gone,
    instance::{Instance, InstanceState},
    keeper,
};
use crate::{
    api::PublicAddress,
    aws::{
        AwsCall, AwsError, Clients, Scope,
        sdk::{tags_from, tags_in},
    },
    plan::{Finding, Planner, Reason, Subject},
    tags::{CLUSTER_UID, INSTALLATION, Tags},
};

/// Value of the tag `rayward.dev/role`.
pub const ROLE: &str = "address";

/// An Elastic IP address as it was seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    /// Its allocation id.
    pub id: String,
    /// The address.
    pub public_address: String,
    /// Id of its association, while it has one.
    pub association_id: Option<String>,
    /// The instance with which it is associated.
    pub instance_id: Option<String>,
    /// Its tags.
    pub tags: Tags,
}

impl Address {
    /// What uses it, for people; `None` while nothing does.
    fn user(&self) -> Option<&str> {
        self.association_id.as_ref()?;
        Some(self.instance_id.as_deref().unwrap_or("a network interface"))
    }
}

impl Resource for Address {
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
        None
    }
}

/// A change on an Elastic IP address.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub enum AddressChange {
    /// Get one.
    Allocate {
        /// Tags.
        tags: Tags,
    },
    /// Put it on an instance.
    Associate {
        /// Which.
        id: String,
        /// On what.
        instance_id: String,
    },
    /// Take it from the instance that has it.
    Disassociate {
        /// Which.
        id: String,
        /// Its association.
        association_id: String,
    },
    /// Give it back to Amazon.
    Release {
        /// Which.
        id: String,
    },
}

impl fmt::Display for AddressChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Allocate { .. } => f.write_str("allocate an Elastic IP address"),
            Self::Associate { id, instance_id } => write!(f, "associate {id} with {instance_id}"),
            Self::Disassociate { id, .. } => write!(f, "disassociate {id}"),
            Self::Release { id } => write!(f, "release {id}"),
        }
    }
}

impl ResourceChange for AddressChange {
    type Item = Address;

    fn call(&self) -> AwsCall {
        match self {
            Self::Allocate { .. } => AwsCall::AllocateAddress,
            Self::Associate { .. } => AwsCall::AssociateAddress,
            Self::Disassociate { .. } => AwsCall::DisassociateAddress,
            Self::Release { .. } => AwsCall::ReleaseAddress,
        }
    }

    fn subject(&self) -> String {
        match self {
            Self::Allocate { .. } => ROLE.into(),
            Self::Associate { id, instance_id } => format!("{id} {instance_id}"),
            Self::Disassociate { id, .. } | Self::Release { id } => id.clone(),
        }
    }

    fn fold(&self, answer: &Answer, items: &mut BTreeMap<String, Address>) {
        match (self, answer) {
            (Self::Allocate { tags }, Answer::Allocated { id, public_address }) => {
                items.entry(id.clone()).or_insert_with(|| Address {
                    id: id.clone(),
                    public_address: public_address.clone(),
                    association_id: None,
                    instance_id: None,
                    tags: tags.clone(),
                });
            }
            (Self::Associate { id, instance_id }, Answer::Created(association_id)) => {
                if let Some(address) = items.get_mut(id) {
                    address.association_id = Some(association_id.clone());
                    address.instance_id = Some(instance_id.clone());
                }
            }
            (Self::Allocate { .. } | Self::Associate { .. }, _) => {}
            (Self::Disassociate { id, association_id }, _) => {
                if let Some(address) = items.get_mut(id)
                    && address.association_id.as_ref() == Some(association_id)
                {
                    (address.association_id, address.instance_id) = (None, None);
                }
            }
            (Self::Release { id }, _) => {
                items.remove(id);
            }
        }
    }
}

impl AddressChange {
    /// Carries it out.
    ///
    /// # Errors
    /// What AWS answered, with its class.
    pub async fn apply(&self, clients: &Clients) -> Result<Answer, AwsError> {
        let (ec2, gate, call) = (&clients.ec2, &clients.gate, self.call());
        let subject = self.subject();
        match self {
            Self::Allocate { tags } => {
                let tags = clients.tag_specification(ResourceType::ElasticIp, tags);
                let request = ec2.allocate_address().domain(DomainType::Vpc).tag_specifications(tags);
                let answer = gate.send(call, &subject, request.send()).await?;
                match answer.allocation_id.zip(answer.public_ip) {
                    Some((id, public_address)) => Ok(Answer::Allocated { id, public_address }),
                    None => created(call, &subject, None),
                }
            }
            Self::Associate { id, instance_id } => {
                let request = ec2
                    .associate_address()
                    .allocation_id(id)
                    .instance_id(instance_id)
                    // From an earlier head: the address is ours, and so is that association.
                    .allow_reassociation(true);
                let answer = gate.send(call, &subject, request.send()).await?;
                created(call, &subject, answer.association_id)
            }
            Self::Disassociate { association_id, .. } => {
                let request = ec2.disassociate_address().association_id(association_id);
                gone(gate.send(call, &subject, request.send()).await)
            }
            Self::Release { id } => {
                let request = ec2.release_address().allocation_id(id);
                gone(gate.send(call, &subject, request.send()).await)
            }
        }
    }
}

/// All Elastic IP addresses of the region but those of other installations: one that lost its tags is known by its id.
/// EC2 has no pages here.
///
/// # Errors
/// What AWS answered, with its class.
pub async fn list(clients: &Clients, scope: &Scope) -> Result<Vec<Address>, AwsError> {
    let request = clients.ec2.describe_addresses().send();
    let answer = clients.gate.send(AwsCall::DescribeAddresses, "all", request).await?;
    let filled = |text: Option<&str>| text.filter(|text| !text.is_empty()).map(ToOwned::to_owned);
    let addresses = answer.addresses().iter().filter_map(|address| {
        let installation = tags_from(address.tags()).remove(INSTALLATION);
        if installation.is_some_and(|installation| installation != scope.installation) {
            return None;
        }
        Some(Address {
            id: address.allocation_id()?.to_owned(),
            public_address: address.public_ip().unwrap_or_default().to_owned(),
            association_id: filled(address.association_id()),
            instance_id: filled(address.instance_id()),
            tags: tags_in(scope, address.tags()),
        })
    });
    Ok(addresses.collect())
}

/// Plans the address of `head`, of which there may be none.
pub fn plan(planner: &mut Planner<'_>, head: Option<&Instance>) {
    if planner.cluster().head.public_address != PublicAddress::Elastic {
        plan_deletion(planner);
        return;
    }
    let shelf = &planner.observed().inventory.address;
    let Some(address) = keeper(&shelf.ours, |address| address.association_id.is_some()) else {
        allocate(planner, head);
        return;
    };
    planner.reap_doubles(&shelf.ours, &address.id, |double| {
        let id = double.id.clone();
        let unused = double.association_id.is_none();
        unused.then_some(Change::Address(AddressChange::Release { id }))
    });
    let tags = planner.tags(ROLE, None);
    planner.repair_tags(Subject::Head, Kind::Address, address, &tags);
    let running = head.filter(|head| head.state == InstanceState::Running);
    if let Some(head) = running.filter(|head| address.instance_id.as_ref() != Some(&head.id)) {
        associate(planner, address, head);
    }
}

/// Gets an address, unless the cluster may have one that nobody can tell for its own any more.
fn allocate(planner: &mut Planner<'_>, head: Option<&Instance>) {
    if let Some(lost) = planner.observed().inventory.address.others.values().next() {
        let message = format!(
            "{} ({}), this cluster's Elastic IP address, lost its tags and is now used by {}: disassociate or release \
             it",
            lost.id,
            lost.public_address,
            lost.user().unwrap_or("others"),
        );
        planner.wait(Subject::Head, Reason::ForeignResource, message);
    } else if head.is_none_or(|head| !holds_anothers(planner, head)) {
        let tags = planner.creation_tags(ROLE, None);
        planner.change(Subject::Head, Change::Address(AddressChange::Allocate { tags }));
    }
}

fn associate(planner: &mut Planner<'_>, address: &Address, head: &Instance) {
    if !holds_anothers(planner, head) {
        let (id, instance_id) = (address.id.clone(), head.id.clone());
        let change = AddressChange::Associate { id, instance_id };
        planner.change(Subject::Head, Change::Address(change));
    }
}

/// Whether an address that is not known as ours is on the head: EC2 would take it off to put ours there.
fn holds_anothers(planner: &mut Planner<'_>, head: &Instance) -> bool {
    let ours = &planner.observed().inventory.address.ours;
    let is_ours = |found: &String| ours.values().any(|address| address.public_address == *found);
    let theirs = head.public_address.as_ref().filter(|found| !is_ours(found));
    let Some(theirs) = theirs.filter(|_| head.has_elastic_address) else {
        return false;
    };
    let id = &planner.cluster().id;
    let message = format!(
        "{theirs}, an Elastic IP address that is not of this cluster, is on the head {}: disassociate it, or give it \
         to the cluster by the tags {INSTALLATION}={} and {CLUSTER_UID}={}",
        head.id, id.installation, id.uid
    );
    planner.wait(Subject::Head, Reason::ForeignResource, message);
    true
}

/// Plans to give back every address of the cluster.
pub fn plan_deletion(planner: &mut Planner<'_>) {
    let shelf = &planner.observed().inventory.address;
    for address in shelf.ours.values() {
        let id = address.id.clone();
        let change = match address.association_id.clone() {
            Some(association_id) => AddressChange::Disassociate { id, association_id },
            None => AddressChange::Release { id },
        };
        planner.change(Subject::Head, Change::Address(change));
    }
    for lost in shelf.others.values() {
        let user = lost.user().unwrap_or("others");
        let what = format!("was this cluster's Elastic IP address, lost its tags and is used by {user}");
        planner.find(Finding::kept(&lost.id, what));
    }
}
