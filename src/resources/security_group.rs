//! The security group of a cluster's machines: everything inside the group, what the spec opens to others, and all
//! the way out.

mod rule;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use aws_sdk_ec2::types::ResourceType;
use serde::Serialize;

pub use rule::{Peer, Rule};

use super::{Answer, Change, Kind, Resource, ResourceChange, created, gone, unique_name};
use crate::{
    aws::{
        AwsCall, AwsError, Clients, Scope,
        sdk::{scope_filters, tags_in},
    },
    plan::{Finding, Planner, Reason, Subject},
    tags::Tags,
};

/// Value of the tag `rayward.dev/role`.
pub const ROLE: &str = "security-group";

/// A security group as it was seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecurityGroup {
    /// Its id.
    pub id: String,
    /// Its name, unique in its VPC.
    pub name: String,
    /// The VPC in which it lies.
    pub vpc_id: String,
    /// Who may come in.
    pub ingress: BTreeSet<Rule>,
    /// Who may be reached.
    pub egress: BTreeSet<Rule>,
    /// Its tags.
    pub tags: Tags,
}

impl SecurityGroup {
    /// Whether it is the one that every VPC has and that goes with it.
    #[must_use]
    pub fn is_default(&self) -> bool {
        self.name == "default"
    }

    /// Whether one of its rules names another group: that one cannot be deleted before.
    #[must_use]
    pub fn refers_to(&self, group_id: &str) -> bool {
        self.ingress
            .iter()
            .chain(&self.egress)
            .any(|rule| matches!(&rule.peer, Peer::Group { id, .. } if id == group_id))
    }
}

impl Resource for SecurityGroup {
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

/// A change on a security group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub enum SecurityGroupChange {
    /// Make one.
    Create {
        /// Its name.
        name: String,
        /// What it is for.
        description: String,
        /// The VPC in which it is to lie.
        vpc_id: String,
        /// Tags.
        tags: Tags,
    },
    /// Add rules for who may come in.
    AuthorizeIngress {
        /// Which group.
        id: String,
        /// The rules.
        rules: BTreeSet<Rule>,
    },
    /// Take rules for who may come in away.
    RevokeIngress {
        /// Which group.
        id: String,
        /// The rules.
        rules: BTreeSet<Rule>,
    },
    /// Add rules for who may be reached.
    AuthorizeEgress {
        /// Which group.
        id: String,
        /// The rules.
        rules: BTreeSet<Rule>,
    },
    /// Delete it; no interface may use it and no other group's rule name it.
    Delete {
        /// Which.
        id: String,
    },
}

impl fmt::Display for SecurityGroupChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |rules: &BTreeSet<Rule>| rules.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        match self {
            Self::Create { name, vpc_id, .. } => write!(f, "create security group {name} in {vpc_id}"),
            Self::AuthorizeIngress { id, rules } => write!(f, "let in to {id}: {}", list(rules)),
            Self::RevokeIngress { id, rules } => write!(f, "no longer let in to {id}: {}", list(rules)),
            Self::AuthorizeEgress { id, rules } => write!(f, "let out from {id}: {}", list(rules)),
            Self::Delete { id } => write!(f, "delete security group {id}"),
        }
    }
}

impl ResourceChange for SecurityGroupChange {
    type Item = SecurityGroup;

    fn call(&self) -> AwsCall {
        match self {
            Self::Create { .. } => AwsCall::CreateSecurityGroup,
            Self::AuthorizeIngress { .. } => AwsCall::AuthorizeSecurityGroupIngress,
            Self::RevokeIngress { .. } => AwsCall::RevokeSecurityGroupIngress,
            Self::AuthorizeEgress { .. } => AwsCall::AuthorizeSecurityGroupEgress,
            Self::Delete { .. } => AwsCall::DeleteSecurityGroup,
        }
    }

    fn subject(&self) -> String {
        match self {
            Self::Create { .. } => ROLE.into(),
            Self::AuthorizeIngress { id, .. }
            | Self::RevokeIngress { id, .. }
            | Self::AuthorizeEgress { id, .. }
            | Self::Delete { id } => id.clone(),
        }
    }

    fn fold(&self, answer: &Answer, items: &mut BTreeMap<String, SecurityGroup>) {
        match self {
            Self::Create { name, vpc_id, tags, .. } => {
                if let Answer::Created(id) = answer {
                    items.entry(id.clone()).or_insert_with(|| SecurityGroup {
                        id: id.clone(),
                        name: name.clone(),
                        vpc_id: vpc_id.clone(),
                        ingress: BTreeSet::new(),
                        // What a new group has on AWS.
                        egress: [Rule::everything(Peer::everywhere())].into(),
                        tags: tags.clone(),
                    });
                }
            }
            Self::AuthorizeIngress { id, rules } => {
                if let Some(group) = items.get_mut(id) {
                    group.ingress.extend(rules.iter().cloned());
                }
            }
            Self::RevokeIngress { id, rules } => {
                if let Some(group) = items.get_mut(id) {
                    group.ingress.retain(|rule| !rules.contains(rule));
                }
            }
            Self::AuthorizeEgress { id, rules } => {
                if let Some(group) = items.get_mut(id) {
                    group.egress.extend(rules.iter().cloned());
                }
            }
            Self::Delete { id } => {
                items.remove(id);
            }
        }
    }
}

impl SecurityGroupChange {
    /// Carries it out.
    ///
    /// # Errors
    /// What AWS answered, with its class.
    pub async fn apply(&self, clients: &Clients) -> Result<Answer, AwsError> {
        let (ec2, gate, call) = (&clients.ec2, &clients.gate, self.call());
        match self {
            Self::Create {
                name,
                description,
                vpc_id,
                tags,
            } => {
                let request = ec2
                    .create_security_group()
                    .group_name(name)
                    .description(description)
                    .vpc_id(vpc_id)
                    .tag_specifications(clients.tag_specification(ResourceType::SecurityGroup, tags));
                let answer = gate.send(call, name, request.send()).await?;
                created(call, name, answer.group_id)
            }
            Self::AuthorizeIngress { id, rules } | Self::AuthorizeEgress { id, rules } => {
                match self.authorize(clients, id, rules).await {
                    // AWS refuses all of them when one is there already: then one by one.
                    Err(error) if error.code == DUPLICATE => {
                        for rule in rules {
                            match self.authorize(clients, id, [rule]).await {
                                Err(error) if error.code != DUPLICATE => return Err(error),
                                _ => {}
                            }
                        }
                        Ok(Answer::Done)
                    }
                    answer => answer,
                }
            }
            Self::RevokeIngress { id, rules } => {
                let request = ec2
                    .revoke_security_group_ingress()
                    .group_id(id)
                    .set_ip_permissions(Some(rules.iter().map(Rule::to_sdk).collect()));
                gone(gate.send(call, id, request.send()).await)
            }
            Self::Delete { id } => {
                let request = ec2.delete_security_group().group_id(id);
                gone(gate.send(call, id, request.send()).await)
            }
        }
    }

    async fn authorize<'a>(
        &self,
        clients: &Clients,
        id: &str,
        rules: impl IntoIterator<Item = &'a Rule>,
    ) -> Result<Answer, AwsError> {
        let (ec2, gate, call) = (&clients.ec2, &clients.gate, self.call());
        let rules = Some(rules.into_iter().map(Rule::to_sdk).collect());
        if let Self::AuthorizeEgress { .. } = self {
            let request = ec2.authorize_security_group_egress().group_id(id);
            gate.send(call, id, request.set_ip_permissions(rules).send()).await?;
        } else {
            let request = ec2.authorize_security_group_ingress().group_id(id);
            gate.send(call, id, request.set_ip_permissions(rules).send()).await?;
        }
        Ok(Answer::Done)
    }
}

const DUPLICATE: &str = "InvalidPermission.Duplicate";

/// The security groups that `scope` covers, with their rules.
///
/// # Errors
/// What AWS answered, with its class.
pub async fn list(clients: &Clients, scope: &Scope) -> Result<Vec<SecurityGroup>, AwsError> {
    let call = AwsCall::DescribeSecurityGroups;
    let mut found = BTreeMap::new();
    for filter in scope_filters(scope, "vpc-id") {
        let request = clients.ec2.describe_security_groups().filters(filter);
        let mut pages = request.max_results(1000).into_paginator().send();
        while let Some(page) = clients.gate.send(call, "page", pages.try_next()).await? {
            for group in page.security_groups() {
                let Some(id) = group.group_id() else { continue };
                let owner = group.owner_id().unwrap_or_default();
                found.insert(
                    id.to_owned(),
                    SecurityGroup {
                        id: id.into(),
                        name: group.group_name().unwrap_or_default().into(),
                        vpc_id: group.vpc_id().unwrap_or_default().into(),
                        ingress: rule::from_sdk(group.ip_permissions(), owner),
                        egress: rule::from_sdk(group.ip_permissions_egress(), owner),
                        tags: tags_in(scope, group.tags()),
                    },
                );
            }
        }
    }
    Ok(found.into_values().collect())
}

/// Plans the group of a cluster in a VPC: what is there.
pub fn plan<'a>(planner: &mut Planner<'a>, vpc_id: &str) -> Option<&'a SecurityGroup> {
    let shelf = &planner.observed().inventory.security_group;
    let name = unique_name(&planner.cluster().id);
    let named = |group: &&SecurityGroup| group.vpc_id == vpc_id && group.name == name;
    let Some(group) = shelf.ours.values().find(named) else {
        match shelf.others.values().find(named) {
            Some(other) => in_the_way(planner, other),
            None => create(planner, name, vpc_id),
        }
        return None;
    };
    ingress(planner, group);
    egress(planner, group);
    let tags = planner.tags(ROLE, None);
    planner.repair_tags(Subject::Network, Kind::SecurityGroup, group, &tags);
    Some(group)
}

fn create(planner: &mut Planner<'_>, name: String, vpc_id: &str) {
    let description = format!("Machines of the Ray cluster {}", planner.cluster().id.path());
    let change = SecurityGroupChange::Create {
        name,
        // EC2 takes 255 characters.
        description: description.chars().take(255).collect(),
        vpc_id: vpc_id.to_owned(),
        tags: planner.creation_tags(ROLE, None),
    };
    planner.change(Subject::Network, Change::SecurityGroup(change));
}

/// A group with our name that neither its tags nor our record say to be ours.
fn in_the_way(planner: &mut Planner<'_>, group: &SecurityGroup) {
    let message = format!(
        "security group {} has the name {} and not this cluster's tags: delete it",
        group.id, group.name
    );
    planner.wait(Subject::Network, Reason::ForeignResource, message);
}

fn ingress(planner: &mut Planner<'_>, group: &SecurityGroup) {
    let open = planner.cluster().ingress.iter();
    let mut wanted: BTreeSet<Rule> = open
        .map(|open| Rule::tcp(open.from_port, open.to_port, Peer::Cidr(open.cidr.to_string())))
        .collect();
    wanted.insert(Rule::everything(Peer::Group {
        id: group.id.clone(),
        account: None,
    }));
    let missing: BTreeSet<Rule> = wanted.difference(&group.ingress).cloned().collect();
    let surplus: BTreeSet<Rule> = group.ingress.difference(&wanted).cloned().collect();
    for (rules, what, add) in [(missing, "were missing", true), (surplus, "were added", false)] {
        if rules.is_empty() {
            continue;
        }
        if planner.is_drift(&group.tags) {
            let rules: Vec<String> = rules.iter().map(ToString::to_string).collect();
            let what = format!("ingress rules {what}: {}", rules.join(", "));
            planner.find(Finding::repaired(&group.id, what));
        }
        let id = group.id.clone();
        let change = if add {
            SecurityGroupChange::AuthorizeIngress { id, rules }
        } else {
            SecurityGroupChange::RevokeIngress { id, rules }
        };
        planner.change(Subject::Network, Change::SecurityGroup(change));
    }
}

fn egress(planner: &mut Planner<'_>, group: &SecurityGroup) {
    let all = Rule::everything(Peer::everywhere());
    // AWS puts this one into a new group of a VPC with IPv6.
    let all_v6 = Rule::everything(Peer::CidrV6("::/0".into()));
    for added in group.egress.iter().filter(|rule| **rule != all && **rule != all_v6) {
        let what = format!("egress rule {added} was added by others");
        planner.find(Finding::kept(&group.id, what));
    }
    if !group.egress.contains(&all) {
        planner.find(Finding::repaired(&group.id, "the way out was closed"));
        let (id, rules) = (group.id.clone(), [all].into());
        planner.change(
            Subject::Network,
            Change::SecurityGroup(SecurityGroupChange::AuthorizeEgress { id, rules }),
        );
    }
}

/// Plans to delete the groups that nothing of others uses.
pub fn plan_deletion(planner: &mut Planner<'_>, in_vpc: Option<&str>) {
    let inventory = &planner.observed().inventory;
    let ours = inventory.security_group.ours.values();
    for group in ours.filter(|group| in_vpc.is_none_or(|vpc| group.vpc_id == vpc)) {
        let interfaces = inventory
            .foreign_interfaces()
            .filter(|interface| interface.group_ids.contains(&group.id))
            .map(ToString::to_string);
        let others = inventory.security_group.others.values();
        let groups = others
            .filter(|other| other.refers_to(&group.id))
            .map(|other| format!("a rule of security group {} ({})", other.id, other.name));
        let blockers: Vec<String> = interfaces.chain(groups).collect();
        if blockers.is_empty() {
            let id = group.id.clone();
            planner.change(
                Subject::Network,
                Change::SecurityGroup(SecurityGroupChange::Delete { id }),
            );
        } else {
            planner.blocked(&group.id, &blockers);
        }
    }
    let name = unique_name(&planner.cluster().id);
    for left in inventory
        .security_group
        .others
        .values()
        .filter(|group| group.name == name)
    {
        let what = "has the name of this cluster's security group, but neither its tags nor its place in the status";
        planner.find(Finding::kept(&left.id, what));
    }
}
