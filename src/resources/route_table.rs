//! The one route table of a cluster's own VPC: everything outside goes to the internet gateway. Its public subnets are
//! associated with it; private ones stay on the VPC's main table.

use std::{collections::BTreeMap, fmt};

use aws_sdk_ec2::types::ResourceType;
use serde::Serialize;

use super::{
    Answer, Change, Kind, Resource, ResourceChange, created, gone, internet_gateway::InternetGateway, subnet::Subnet,
};
use crate::{
    aws::{
        AwsCall, AwsError, Clients, Scope,
        sdk::{scope_filters, tags_in},
    },
    plan::{Finding, Planner, Subject},
    tags::Tags,
};

/// Value of the tag `rayward.dev/role`.
pub const ROLE: &str = "route-table";

/// Everything that is not in the VPC.
pub const EVERYWHERE: &str = "0.0.0.0/0";

/// A route table as it was seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouteTable {
    /// Its id.
    pub id: String,
    /// The VPC in which it lies.
    pub vpc_id: String,
    /// Whether it is the VPC's main table, which goes with the VPC.
    pub main: bool,
    /// Targets by destination, without the VPC's own local routes.
    pub routes: BTreeMap<String, String>,
    /// Ids of its associations by id of the subnet.
    pub associations: BTreeMap<String, String>,
    /// Its tags.
    pub tags: Tags,
}

impl Resource for RouteTable {
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

/// A change on a route table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub enum RouteTableChange {
    /// Make one.
    Create {
        /// The VPC in which it is to lie.
        vpc_id: String,
        /// Tags.
        tags: Tags,
    },
    /// Add the route to everywhere.
    CreateRoute {
        /// Which table.
        id: String,
        /// Id of the internet gateway; it has to be attached.
        gateway_id: String,
    },
    /// Let the route to everywhere lead to the internet gateway.
    ReplaceRoute {
        /// Which table.
        id: String,
        /// Id of the internet gateway; it has to be attached.
        gateway_id: String,
    },
    /// Let a subnet without a table of its own use it.
    Associate {
        /// Which table.
        id: String,
        /// Which subnet.
        subnet_id: String,
    },
    /// Let a subnet that uses another table use it.
    ReplaceAssociation {
        /// Which table.
        id: String,
        /// Which subnet.
        subnet_id: String,
        /// Id of the subnet's association with the other table.
        association_id: String,
    },
    /// Let a subnet use the main table again.
    Disassociate {
        /// Which table.
        id: String,
        /// Which subnet.
        subnet_id: String,
        /// Id of their association.
        association_id: String,
    },
    /// Delete it; nothing may be associated with it.
    Delete {
        /// Which.
        id: String,
    },
}

impl fmt::Display for RouteTableChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Create { vpc_id, .. } => write!(f, "create route table in {vpc_id}"),
            Self::CreateRoute { id, gateway_id } => write!(f, "route {EVERYWHERE} of {id} to {gateway_id}"),
            Self::ReplaceRoute { id, gateway_id } => write!(f, "route {EVERYWHERE} of {id} to {gateway_id} again"),
            Self::Associate { id, subnet_id } => write!(f, "associate {subnet_id} with {id}"),
            Self::ReplaceAssociation { id, subnet_id, .. } => write!(f, "associate {subnet_id} with {id} again"),
            Self::Disassociate { id, subnet_id, .. } => write!(f, "disassociate {subnet_id} from {id}"),
            Self::Delete { id } => write!(f, "delete route table {id}"),
        }
    }
}

impl ResourceChange for RouteTableChange {
    type Item = RouteTable;

    fn call(&self) -> AwsCall {
        match self {
            Self::Create { .. } => AwsCall::CreateRouteTable,
            Self::CreateRoute { .. } => AwsCall::CreateRoute,
            Self::ReplaceRoute { .. } => AwsCall::ReplaceRoute,
            Self::Associate { .. } => AwsCall::AssociateRouteTable,
            Self::ReplaceAssociation { .. } => AwsCall::ReplaceRouteTableAssociation,
            Self::Disassociate { .. } => AwsCall::DisassociateRouteTable,
            Self::Delete { .. } => AwsCall::DeleteRouteTable,
        }
    }

    fn subject(&self) -> String {
        match self {
            Self::Create { .. } => ROLE.into(),
            Self::CreateRoute { id, .. } | Self::ReplaceRoute { id, .. } | Self::Delete { id } => id.clone(),
            Self::Associate { id, subnet_id }
            | Self::ReplaceAssociation { id, subnet_id, .. }
            | Self::Disassociate { id, subnet_id, .. } => format!("{id} {subnet_id}"),
        }
    }

    fn fold(&self, answer: &Answer, items: &mut BTreeMap<String, RouteTable>) {
        match self {
            Self::Create { vpc_id, tags } => {
                if let Answer::Created(created) = answer {
                    items.entry(created.clone()).or_insert_with(|| RouteTable {
                        id: created.clone(),
                        vpc_id: vpc_id.clone(),
                        main: false,
                        routes: BTreeMap::new(),
                        associations: BTreeMap::new(),
                        tags: tags.clone(),
                    });
                }
            }
            Self::CreateRoute { id, gateway_id } | Self::ReplaceRoute { id, gateway_id } => {
                if let Some(table) = items.get_mut(id) {
                    table.routes.insert(EVERYWHERE.into(), gateway_id.clone());
                }
            }
            Self::Associate { id, subnet_id } | Self::ReplaceAssociation { id, subnet_id, .. } => {
                if let Answer::Created(association_id) = answer
                    && items.contains_key(id)
                {
                    for table in items.values_mut() {
                        table.associations.remove(subnet_id);
                    }
                    if let Some(table) = items.get_mut(id) {
                        table.associations.insert(subnet_id.clone(), association_id.clone());
                    }
                }
            }
            Self::Disassociate {
                id,
                subnet_id,
                association_id,
            } => {
                if let Some(table) = items.get_mut(id)
                    && table.associations.get(subnet_id) == Some(association_id)
                {
                    table.associations.remove(subnet_id);
                }
            }
            Self::Delete { id } => {
                items.remove(id);
            }
        }
    }
}

impl RouteTableChange {
    /// Carries it out.
    ///
    /// # Errors
    /// What AWS answered, with its class.
    pub async fn apply(&self, clients: &Clients) -> Result<Answer, AwsError> {
        let (ec2, gate, call) = (&clients.ec2, &clients.gate, self.call());
        let subject = self.subject();
        match self {
            Self::Create { vpc_id, tags } => {
                let tags = clients.tag_specification(ResourceType::RouteTable, tags);
                let request = ec2.create_route_table().vpc_id(vpc_id).tag_specifications(tags);
                let answer = gate.send(call, &subject, request.send()).await?;
                created(
                    call,
                    &subject,
                    answer.route_table.and_then(|table| table.route_table_id),
                )
            }
            Self::CreateRoute { id, gateway_id } => {
                let request = ec2
                    .create_route()
                    .route_table_id(id)
                    .destination_cidr_block(EVERYWHERE)
                    .gateway_id(gateway_id);
                match gate.send(call, &subject, request.send()).await {
                    // Made in the meantime, or before a crash: it is our table, so it is made to lead where it should.
                    Err(error) if error.code == "RouteAlreadyExists" => {
                        replace_route(clients, &subject, id, gateway_id).await
                    }
                    answer => answer.map(|_| Answer::Done),
                }
            }
            Self::ReplaceRoute { id, gateway_id } => replace_route(clients, &subject, id, gateway_id).await,
            Self::Associate { id, subnet_id } => {
                let request = ec2.associate_route_table().route_table_id(id).subnet_id(subnet_id);
                let answer = gate.send(call, &subject, request.send()).await?;
                created(call, &subject, answer.association_id)
            }
            Self::ReplaceAssociation { id, association_id, .. } => {
                let request = ec2
                    .replace_route_table_association()
                    .route_table_id(id)
                    .association_id(association_id);
                let answer = gate.send(call, &subject, request.send()).await?;
                created(call, &subject, answer.new_association_id)
            }
            Self::Disassociate { association_id, .. } => {
                let request = ec2.disassociate_route_table().association_id(association_id);
                gone(gate.send(call, &subject, request.send()).await)
            }
            Self::Delete { id } => {
                let request = ec2.delete_route_table().route_table_id(id);
                gone(gate.send(call, &subject, request.send()).await)
            }
        }
    }
}

async fn replace_route(clients: &Clients, subject: &str, id: &str, gateway_id: &str) -> Result<Answer, AwsError> {
    let request = clients
        .ec2
        .replace_route()
        .route_table_id(id)
        .destination_cidr_block(EVERYWHERE)
        .gateway_id(gateway_id);
    let answer = clients.gate.send(AwsCall::ReplaceRoute, subject, request.send()).await;
    answer.map(|_| Answer::Done)
}

/// The route tables that `scope` covers.
///
/// # Errors
/// What AWS answered, with its class.
pub async fn list(clients: &Clients, scope: &Scope) -> Result<Vec<RouteTable>, AwsError> {
    let call = AwsCall::DescribeRouteTables;
    let mut found = BTreeMap::new();
    for filter in scope_filters(scope, "vpc-id") {
        let request = clients.ec2.describe_route_tables().filters(filter);
        // EC2 gives at most 100 route tables a page.
        let mut pages = request.max_results(100).into_paginator().send();
        while let Some(page) = clients.gate.send(call, "page", pages.try_next()).await? {
            found.extend(
                page.route_tables()
                    .iter()
                    .filter_map(|table| from_sdk(scope, table))
                    .map(|table| (table.id.clone(), table)),
            );
        }
    }
    Ok(found.into_values().collect())
}

fn from_sdk(scope: &Scope, table: &aws_sdk_ec2::types::RouteTable) -> Option<RouteTable> {
    let associations = table.associations();
    Some(RouteTable {
        id: table.route_table_id()?.to_owned(),
        vpc_id: table.vpc_id().unwrap_or_default().to_owned(),
        main: associations.iter().any(|association| association.main() == Some(true)),
        routes: table.routes().iter().filter_map(route).collect(),
        associations: associations
            .iter()
            .filter_map(|association| {
                let state = association.association_state().and_then(|state| state.state());
                if state.is_some_and(|state| state.as_str().starts_with("disassociat")) {
                    return None;
                }
                Some((
                    association.subnet_id()?.to_owned(),
                    association.route_table_association_id()?.to_owned(),
                ))
            })
            .collect(),
        tags: tags_in(scope, table.tags()),
    })
}

/// Destination and target of a route that is not the VPC's own.
fn route(route: &aws_sdk_ec2::types::Route) -> Option<(String, String)> {
    let destination = route
        .destination_cidr_block()
        .or(route.destination_ipv6_cidr_block())
        .or(route.destination_prefix_list_id())?;
    let target = route
        .gateway_id()
        .or(route.nat_gateway_id())
        .or(route.transit_gateway_id())
        .or(route.vpc_peering_connection_id())
        .or(route.egress_only_internet_gateway_id())
        .or(route.instance_id())
        .or(route.network_interface_id())
        .or(route.local_gateway_id())
        .or(route.carrier_gateway_id())
        .unwrap_or("nothing");
    (target != "local").then(|| (destination.to_owned(), target.to_owned()))
}

/// Plans the route table: its way out through `gateway` (once that is attached) and the association of each subnet
/// with it that is `true`; the others are kept off it.
pub fn plan(planner: &mut Planner<'_>, vpc_id: &str, gateway: Option<&InternetGateway>, subnets: &[(&Subnet, bool)]) {
    let shelf = &planner.observed().inventory.route_table;
    let ours = || shelf.ours.values().filter(|table| table.vpc_id == vpc_id);
    let used = ours().find(|table| !table.associations.is_empty());
    let Some(table) = used.or_else(|| ours().next()) else {
        let (vpc_id, tags) = (vpc_id.to_owned(), planner.creation_tags(ROLE, None));
        planner.change(
            Subject::Network,
            Change::RouteTable(RouteTableChange::Create { vpc_id, tags }),
        );
        return;
    };
    planner.reap_doubles(&shelf.ours, &table.id, |double| {
        let id = double.id.clone();
        let unused = double.associations.is_empty() && !double.main;
        unused.then_some(Change::RouteTable(RouteTableChange::Delete { id }))
    });
    let tags = planner.tags(ROLE, None);
    planner.repair_tags(Subject::Network, Kind::RouteTable, table, &tags);
    if let Some(gateway) = gateway {
        way_out(planner, table, gateway);
    }
    for (destination, target) in table.routes.iter().filter(|(to, _)| *to != EVERYWHERE) {
        let what = format!("a route to {destination} through {target} was added by others");
        planner.find(Finding::kept(&table.id, what));
    }
    for (subnet, public) in subnets {
        if *public {
            associate(planner, table, subnet);
        } else if let Some(association_id) = table.associations.get(&subnet.id) {
            let what = format!("private subnet {} was associated with it", subnet.id);
            planner.find(Finding::repaired(&table.id, what));
            disassociate(planner, table, &subnet.id, association_id);
        }
    }
}

/// A route to an attached gateway is always in force, so that only its target is compared.
fn way_out(planner: &mut Planner<'_>, table: &RouteTable, gateway: &InternetGateway) {
    let (id, gateway_id) = (table.id.clone(), gateway.id.clone());
    match table.routes.get(EVERYWHERE) {
        Some(target) if *target == gateway.id => {}
        Some(target) => {
            let what = format!("the route to {EVERYWHERE} led to {target}");
            planner.find(Finding::repaired(&table.id, what));
            let change = RouteTableChange::ReplaceRoute { id, gateway_id };
            planner.change(Subject::Network, Change::RouteTable(change));
        }
        None => {
            if planner.is_drift(&table.tags) {
                let what = format!("the route to {EVERYWHERE} was missing");
                planner.find(Finding::repaired(&table.id, what));
            }
            let change = RouteTableChange::CreateRoute { id, gateway_id };
            planner.change(Subject::Network, Change::RouteTable(change));
        }
    }
}

fn associate(planner: &mut Planner<'_>, table: &RouteTable, subnet: &Subnet) {
    if table.associations.contains_key(&subnet.id) {
        return;
    }
    let (id, subnet_id) = (table.id.clone(), subnet.id.clone());
    let mut all = planner.observed().inventory.route_table.all();
    let elsewhere = all.find_map(|other| Some((&other.id, other.associations.get(&subnet.id)?)));
    let change = if let Some((other, association_id)) = elsewhere {
        let what = format!("was associated with {other} in place of {}", table.id);
        planner.find(Finding::repaired(&subnet.id, what));
        RouteTableChange::ReplaceAssociation {
            id,
            subnet_id,
            association_id: association_id.clone(),
        }
    } else {
        if planner.is_drift(&table.tags) && planner.is_drift(&subnet.tags) {
            let what = format!("was not associated with {}", table.id);
            planner.find(Finding::repaired(&subnet.id, what));
        }
        RouteTableChange::Associate { id, subnet_id }
    };
    planner.change(Subject::Network, Change::RouteTable(change));
}

fn disassociate(planner: &mut Planner<'_>, table: &RouteTable, subnet_id: &str, association_id: &str) {
    let change = RouteTableChange::Disassociate {
        id: table.id.clone(),
        subnet_id: subnet_id.to_owned(),
        association_id: association_id.to_owned(),
    };
    planner.change(Subject::Network, Change::RouteTable(change));
}

/// Plans to disassociate and delete the route tables.
pub fn plan_deletion(planner: &mut Planner<'_>, in_vpc: Option<&str>) {
    let inventory = &planner.observed().inventory;
    // One that somebody made the main table goes with the VPC.
    let ours = inventory.route_table.ours.values();
    for table in ours.filter(|table| !table.main && in_vpc.is_none_or(|vpc| table.vpc_id == vpc)) {
        let mut foreign = Vec::new();
        for (subnet_id, association_id) in &table.associations {
            if inventory.subnet.others.contains_key(subnet_id) {
                foreign.push(format!("subnet {subnet_id}, which uses it"));
            } else {
                disassociate(planner, table, subnet_id, association_id);
            }
        }
        if !foreign.is_empty() {
            planner.blocked(&table.id, &foreign);
        } else if table.associations.is_empty() {
            let id = table.id.clone();
            planner.change(Subject::Network, Change::RouteTable(RouteTableChange::Delete { id }));
        }
    }
}
