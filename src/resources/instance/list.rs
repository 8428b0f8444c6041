//! Instances as EC2 lists them.

use std::collections::BTreeMap;

use aws_sdk_ec2::types::{Filter, InstanceNetworkInterfaceAttachment as Attachment, Reservation};
use futures::future::try_join_all;
use jiff::Timestamp;

use super::{Instance, InstanceState};
use crate::aws::{
    AwsCall, AwsError, Clients, Scope,
    sdk::{filter, scope_filters, tags_from},
};

/// The instances that `scope` covers: by tag, by token, and by VPC, with those that fail a status check marked.
///
/// # Errors
/// What AWS answered, with its class.
pub async fn list(clients: &Clients, scope: &Scope) -> Result<Vec<Instance>, AwsError> {
    let mut filters = scope_filters(scope, "vpc-id");
    filters.push(filter("client-token", [format!("{}*", scope.token_prefix)]));
    // Side by side: the first look of all is what a new cluster waits for.
    let found = try_join_all(filters.into_iter().map(|filter| matching(clients, filter))).await?;
    let found = found.into_iter().flatten().map(|machine| (machine.id.clone(), machine));
    let mut found: BTreeMap<String, Instance> = found.collect();
    if !found.is_empty() {
        let checks = ["instance-status.status", "system-status.status"];
        for id in try_join_all(checks.map(|check| failing(clients, check)))
            .await?
            .concat()
        {
            found.entry(id).and_modify(|machine| machine.impaired = true);
        }
    }
    Ok(found.into_values().collect())
}

async fn matching(clients: &Clients, filter: Filter) -> Result<Vec<Instance>, AwsError> {
    let request = clients.ec2.describe_instances().filters(filter);
    let mut pages = request.max_results(1000).into_paginator().send();
    let mut found = Vec::new();
    let call = AwsCall::DescribeInstances;
    while let Some(page) = clients.gate.send(call, "page", pages.try_next()).await? {
        let machines = page.reservations().iter().flat_map(Reservation::instances);
        found.extend(machines.filter_map(from_sdk));
    }
    Ok(found)
}

/// Ids of the instances that fail a status check. Only these are asked for, so that this stays one page however many
/// machines there are.
async fn failing(clients: &Clients, check: &str) -> Result<Vec<String>, AwsError> {
    let request = clients
        .ec2
        .describe_instance_status()
        .filters(filter(check, ["impaired"]));
    let mut pages = request.max_results(1000).into_paginator().send();
    let mut found = Vec::new();
    let call = AwsCall::DescribeInstanceStatus;
    while let Some(page) = clients.gate.send(call, "page", pages.try_next()).await? {
        let statuses = page.instance_statuses().iter();
        found.extend(statuses.filter_map(|status| status.instance_id().map(ToOwned::to_owned)));
    }
    Ok(found)
}

/// What EC2 tells of an instance; `None` where id or state are missing or unknown.
pub(super) fn from_sdk(instance: &aws_sdk_ec2::types::Instance) -> Option<Instance> {
    let root_device = instance.root_device_name().unwrap_or("/dev/sda1").to_owned();
    let root_volume = instance
        .block_device_mappings()
        .iter()
        .find(|mapping| mapping.device_name() == Some(root_device.as_str()))
        .and_then(|mapping| Some(mapping.ebs()?.volume_id()?.to_owned()));
    let network_interface = instance
        .network_interfaces()
        .iter()
        .find(|interface| interface.attachment().and_then(Attachment::device_index) == Some(0));
    let state_reason = instance
        .state_reason()
        .and_then(|reason| reason.message())
        .or_else(|| instance.state_transition_reason())
        .filter(|reason| !reason.is_empty());
    let launched_at = instance
        .launch_time()
        .and_then(|at| Timestamp::from_second(at.secs()).ok());
    // Addresses that EC2 gives and takes itself are owned by `amazon`.
    let has_elastic_address = instance.network_interfaces().iter().any(|interface| {
        let owner = interface
            .association()
            .and_then(|association| association.ip_owner_id());
        owner.is_some_and(|owner| owner != "amazon")
    });
    Some(Instance {
        id: instance.instance_id()?.to_owned(),
        state: InstanceState::from_sdk(instance.state()?.name())?,
        instance_type: instance
            .instance_type()
            .map(|kind| kind.as_str().to_owned())
            .unwrap_or_default(),
        image_id: instance.image_id().unwrap_or_default().to_owned(),
        root_device,
        key_name: instance.key_name().map(ToOwned::to_owned),
        vpc_id: instance.vpc_id().map(ToOwned::to_owned),
        subnet_id: instance.subnet_id().map(ToOwned::to_owned),
        private_address: instance.private_ip_address().map(ToOwned::to_owned),
        public_address: instance
            .public_ip_address()
            .filter(|address| !address.is_empty())
            .map(ToOwned::to_owned),
        has_elastic_address,
        root_volume,
        network_interface: network_interface.and_then(|interface| interface.network_interface_id.clone()),
        launched_at: launched_at.unwrap_or(Timestamp::UNIX_EPOCH),
        transition_at: instance.state_transition_reason().and_then(transition_time),
        state_reason: state_reason.map(ToOwned::to_owned),
        impaired: false,
        console: None,
        client_token: instance
            .client_token()
            .filter(|token| !token.is_empty())
            .map(ToOwned::to_owned),
        tags: tags_from(instance.tags()),
    })
}

/// The time in `User initiated (2026-11-23 14:36:41 GMT)`.
fn transition_time(reason: &str) -> Option<Timestamp> {
    let (_, time) = reason.split_once('(')?;
    let time = time
        .trim_end_matches(')')
        .trim_end_matches("GMT")
        .trim_end_matches("UTC")
        .trim();
    format!("{}Z", time.replacen(' ', "T", 1)).parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_of_a_transition_is_read_where_there_is_one() {
        let at = transition_time("User initiated (2026-11-23 14:36:41 GMT)");
        assert_eq!(at, "2026-11-23T14:36:41Z".parse().ok());
        assert_eq!(transition_time("Server.InternalError"), None);
    }
}
