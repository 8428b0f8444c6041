//! What keeps a VPC from being deleted and is too rare to be swept: looked for only where AWS refuses the deletion.
//!
//! What has network interfaces (load balancers, NAT gateways, interface endpoints, transit gateway attachments, ...) is
//! named by these: they are swept.

use aws_sdk_ec2::types::{AttachmentStatus, State, VpcEndpoint, VpcPeeringConnectionStateReasonCode as PeeringState};
use futures::future::{FutureExt, try_join_all};

use crate::aws::{AwsCall, AwsError, Clients, sdk::filter};

/// What of these kinds is in a VPC or on it, each with its id, for people.
///
/// # Errors
/// What AWS answered, with its class.
pub(super) async fn find(clients: &Clients, vpc_id: &str) -> Result<Vec<String>, AwsError> {
    let looks = [
        endpoints(clients, vpc_id).boxed(),
        network_acls(clients, vpc_id).boxed(),
        peerings(clients, vpc_id, "requester-vpc-info.vpc-id").boxed(),
        peerings(clients, vpc_id, "accepter-vpc-info.vpc-id").boxed(),
        vpn_gateways(clients, vpc_id).boxed(),
        egress_only_gateways(clients, vpc_id).boxed(),
    ];
    let mut found = try_join_all(looks).await?.concat();
    found.sort();
    found.dedup();
    Ok(found)
}

async fn endpoints(clients: &Clients, vpc_id: &str) -> Result<Vec<String>, AwsError> {
    let request = clients.ec2.describe_vpc_endpoints().filters(filter("vpc-id", [vpc_id]));
    let mut pages = request.into_paginator().send();
    let (call, mut found) = (AwsCall::DescribeVpcEndpoints, Vec::new());
    while let Some(page) = clients.gate.send(call, vpc_id, pages.try_next()).await? {
        let is_there = |endpoint: &&VpcEndpoint| {
            let state = endpoint.state().map(State::as_str);
            state.is_none_or(|state| !state.eq_ignore_ascii_case("deleted"))
        };
        found.extend(page.vpc_endpoints().iter().filter(is_there).filter_map(|endpoint| {
            let service = endpoint.service_name().unwrap_or("a service");
            Some(format!("VPC endpoint {} to {service}", endpoint.vpc_endpoint_id()?))
        }));
    }
    Ok(found)
}

/// All but the default one, which goes with the VPC.
async fn network_acls(clients: &Clients, vpc_id: &str) -> Result<Vec<String>, AwsError> {
    let filters = vec![filter("vpc-id", [vpc_id]), filter("default", ["false"])];
    let request = clients.ec2.describe_network_acls().set_filters(Some(filters));
    let mut pages = request.into_paginator().send();
    let (call, mut found) = (AwsCall::DescribeNetworkAcls, Vec::new());
    while let Some(page) = clients.gate.send(call, vpc_id, pages.try_next()).await? {
        let ids = page.network_acls().iter().filter_map(|acl| acl.network_acl_id());
        found.extend(ids.map(|id| format!("network ACL {id}")));
    }
    Ok(found)
}

/// Those of which the VPC is one side; `side` is the filter that says which.
async fn peerings(clients: &Clients, vpc_id: &str, side: &str) -> Result<Vec<String>, AwsError> {
    use PeeringState::{Active, PendingAcceptance, Provisioning};
    let live = [Active, PendingAcceptance, Provisioning].map(|state| state.as_str().to_owned());
    let filters = vec![filter(side, [vpc_id]), filter("status-code", live)];
    let request = clients
        .ec2
        .describe_vpc_peering_connections()
        .set_filters(Some(filters));
    let mut pages = request.into_paginator().send();
    let (call, mut found) = (AwsCall::DescribeVpcPeeringConnections, Vec::new());
    while let Some(page) = clients.gate.send(call, vpc_id, pages.try_next()).await? {
        let peerings = page.vpc_peering_connections().iter();
        let ids = peerings.filter_map(|peering| peering.vpc_peering_connection_id());
        found.extend(ids.map(|id| format!("peering connection {id}")));
    }
    Ok(found)
}

/// EC2 has no pages here.
async fn vpn_gateways(clients: &Clients, vpc_id: &str) -> Result<Vec<String>, AwsError> {
    let attached = filter("attachment.vpc-id", [vpc_id]);
    let request = clients.ec2.describe_vpn_gateways().filters(attached);
    let answer = clients
        .gate
        .send(AwsCall::DescribeVpnGateways, vpc_id, request.send())
        .await?;
    let attached = answer.vpn_gateways().iter().filter(|gateway| {
        let mut attachments = gateway.vpc_attachments().iter();
        attachments.any(|attachment| {
            let state = attachment.state().map(AttachmentStatus::as_str);
            attachment.vpc_id() == Some(vpc_id) && state != Some("detached")
        })
    });
    let ids = attached.filter_map(|gateway| gateway.vpn_gateway_id());
    Ok(ids.map(|id| format!("VPN gateway {id}")).collect())
}

/// EC2 has no filter by VPC here.
async fn egress_only_gateways(clients: &Clients, vpc_id: &str) -> Result<Vec<String>, AwsError> {
    let request = clients.ec2.describe_egress_only_internet_gateways();
    let mut pages = request.into_paginator().send();
    let (call, mut found) = (AwsCall::DescribeEgressOnlyInternetGateways, Vec::new());
    while let Some(page) = clients.gate.send(call, vpc_id, pages.try_next()).await? {
        let gateways = page.egress_only_internet_gateways().iter();
        let attached = gateways.filter(|gateway| {
            let mut attachments = gateway.attachments().iter();
            attachments.any(|attachment| attachment.vpc_id() == Some(vpc_id))
        });
        let ids = attached.filter_map(|gateway| gateway.egress_only_internet_gateway_id());
        found.extend(ids.map(|id| format!("egress-only internet gateway {id}")));
    }
    Ok(found)
}
