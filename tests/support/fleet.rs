//! The machines of a cluster, as EC2 tells them, and how many there were at once.

use std::collections::BTreeSet;

use aws_sdk_ec2::types::{Instance, InstanceStateName, InstanceType};
use serde_json::Value;

use super::account::machines;
use super::stand_in::{Call, StandIn};
use super::wait::{PATIENCE, until};

/// A machine that is not on its way out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Machine {
    pub(crate) id: String,
    pub(crate) state: String,
    pub(crate) instance_type: String,
    pub(crate) image: String,
    pub(crate) private_address: String,
    pub(crate) public_address: String,
    pub(crate) volumes: Vec<String>,
    pub(crate) group: String,
    launch: u64,
}

impl Machine {
    fn of(instance: &Instance) -> Self {
        let tag = |key: &str| {
            let tags = instance.tags().iter();
            let mut values = tags.filter(|tag| tag.key() == Some(key)).filter_map(|tag| tag.value());
            values.next().unwrap_or_default().to_owned()
        };
        let text = |text: Option<&str>| text.unwrap_or_default().to_owned();
        let disks = instance.block_device_mappings().iter();
        let state = instance.state().and_then(|state| state.name());
        Self {
            id: text(instance.instance_id()),
            state: text(state.map(InstanceStateName::as_str)),
            instance_type: text(instance.instance_type().map(InstanceType::as_str)),
            image: text(instance.image_id()),
            private_address: text(instance.private_ip_address()),
            public_address: text(instance.public_ip_address()),
            volumes: disks
                .map(|disk| text(disk.ebs().and_then(|ebs| ebs.volume_id())))
                .collect(),
            group: tag("rayward.dev/group"),
            launch: tag("rayward.dev/launch").parse().unwrap_or_default(),
        }
    }
}

/// All machines of the account that are not on their way out, the oldest launch first.
pub(crate) async fn alive(aws: &StandIn) -> Vec<Machine> {
    let found = machines(aws).await;
    let is_going =
        |each: &&Instance| each.state().and_then(|state| state.name()) == Some(&InstanceStateName::ShuttingDown);
    let mut alive: Vec<_> = found.iter().filter(|each| !is_going(each)).map(Machine::of).collect();
    alive.sort_by_key(|machine| (machine.launch, machine.id.clone()));
    alive
}

/// The head; there is one.
pub(crate) async fn head(aws: &StandIn) -> Machine {
    let mut heads = alive(aws).await;
    heads.retain(|machine| machine.group.is_empty());
    assert_eq!(heads.len(), 1, "{heads:?}");
    heads.remove(0)
}

/// The workers of all groups, the oldest launch first.
pub(crate) async fn workers(aws: &StandIn) -> Vec<Machine> {
    let mut workers = alive(aws).await;
    workers.retain(|machine| !machine.group.is_empty());
    workers
}

/// The ids of machines.
pub(crate) fn ids(machines: &[Machine]) -> BTreeSet<String> {
    machines.iter().map(|machine| machine.id.clone()).collect()
}

/// Waits until all machines run and are as the test wants them; returns the workers.
pub(crate) async fn wait_for_machines(aws: &StandIn, what: &str, is_so: impl Fn(&[Machine]) -> bool) -> Vec<Machine> {
    until(what, PATIENCE, async || {
        let all = alive(aws).await;
        if all.iter().all(|machine| machine.state == "running") && is_so(&all) {
            Ok(all.into_iter().filter(|machine| !machine.group.is_empty()).collect())
        } else {
            Err(format!("{all:#?}"))
        }
    })
    .await
}

/// The most machines that were alive at the same time, by the recorded calls.
pub(crate) fn most_alive(aws: &StandIn) -> usize {
    let (mut alive, mut most) = (BTreeSet::new(), 0);
    for call in aws.changes().into_iter().filter(|call| call.error.is_none()) {
        match call.action.as_str() {
            "RunInstances" => alive.extend(call.ids.into_iter().filter(|id| id.starts_with("i-"))),
            "TerminateInstances" => alive.retain(|id| !names(&call.params, id)),
            _ => {}
        }
        most = most.max(alive.len());
    }
    most
}

/// Whether a call is about this instance.
pub(crate) fn names(params: &Value, id: &str) -> bool {
    let mut named = params["InstanceIds"].as_array().into_iter().flatten();
    named.any(|named| named == id)
}

/// The launches so far that AWS answered with machines.
pub(crate) fn launches(aws: &StandIn) -> Vec<Call> {
    let mut calls = aws.changes();
    calls.retain(|call| call.action == "RunInstances" && call.error.is_none());
    calls
}
