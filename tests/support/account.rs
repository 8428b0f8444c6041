//! What an account holds, as EC2 and S3 themselves tell it.

use std::collections::{BTreeMap, BTreeSet};

use aws_sdk_ec2::types::{Instance, InstanceStateName};
use serde_json::Value;

use super::stand_in::StandIn;

/// Everything in an account, by kind and id (of a bucket: its name). Terminated machines do not count.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Holdings(BTreeSet<(&'static str, String)>);

macro_rules! listed {
    ($found:ident, $what:literal, $client:ident.$describe:ident, $things:ident, $id:ident) => {
        let answer = $client.$describe().send().await.expect(concat!("a list: ", $what));
        let ids = answer.$things().iter().filter_map(|thing| thing.$id());
        $found.extend(ids.map(|id| ($what, id.to_owned())));
    };
}

impl Holdings {
    /// All that is there now.
    pub(crate) async fn of(stand_in: &StandIn) -> Self {
        let (ec2, s3) = (stand_in.ec2(), stand_in.s3());
        let mut found = BTreeSet::new();
        listed!(found, "VPC", ec2.describe_vpcs, vpcs, vpc_id);
        listed!(found, "subnet", ec2.describe_subnets, subnets, subnet_id);
        listed!(
            found,
            "internet gateway",
            ec2.describe_internet_gateways,
            internet_gateways,
            internet_gateway_id
        );
        listed!(
            found,
            "route table",
            ec2.describe_route_tables,
            route_tables,
            route_table_id
        );
        listed!(
            found,
            "security group",
            ec2.describe_security_groups,
            security_groups,
            group_id
        );
        listed!(
            found,
            "network interface",
            ec2.describe_network_interfaces,
            network_interfaces,
            network_interface_id
        );
        listed!(found, "address", ec2.describe_addresses, addresses, allocation_id);
        listed!(found, "key pair", ec2.describe_key_pairs, key_pairs, key_pair_id);
        listed!(found, "volume", ec2.describe_volumes, volumes, volume_id);
        listed!(found, "bucket", s3.list_buckets, buckets, name);
        let machines = machines(stand_in).await;
        let ids = machines.iter().filter_map(Instance::instance_id);
        found.extend(ids.map(|id| ("machine", id.to_owned())));
        Self(found)
    }

    /// What is here and was not there before, by kind.
    pub(crate) fn beyond(&self, before: &Self) -> BTreeMap<&'static str, Vec<String>> {
        let mut more: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for (kind, id) in self.0.difference(&before.0) {
            more.entry(*kind).or_default().push(id.clone());
        }
        more
    }

    /// How many of each kind are here that were not there before.
    pub(crate) fn counts_beyond(&self, before: &Self) -> BTreeMap<&'static str, usize> {
        let more = self.beyond(before).into_iter();
        more.map(|(kind, ids)| (kind, ids.len())).collect()
    }
}

/// What a lab with one head and two workers is. A VPC brings a main route table and a default group of its own.
pub(crate) const LAB: [(&str, usize); 10] = [
    ("VPC", 1),
    ("bucket", 4),
    ("internet gateway", 1),
    ("key pair", 1),
    ("machine", 3),
    ("network interface", 3),
    ("route table", 2),
    ("security group", 2),
    ("subnet", 1),
    ("volume", 3),
];

/// What is left of a lab whose buckets are kept.
pub(crate) const KEPT: [(&str, usize); 1] = [("bucket", 4)];

/// All machines that are not terminated.
pub(crate) async fn machines(stand_in: &StandIn) -> Vec<Instance> {
    let answer = stand_in.ec2().describe_instances().send().await;
    let answer = answer.expect("a list of instances");
    let machines = answer
        .reservations()
        .iter()
        .flat_map(aws_sdk_ec2::types::Reservation::instances);
    let is_there =
        |machine: &&Instance| machine.state().and_then(|state| state.name()) != Some(&InstanceStateName::Terminated);
    machines.filter(is_there).cloned().collect()
}

/// Ids of all machines that were ever launched, by the recorded calls; an idempotent repetition names the same again.
pub(crate) fn ever_launched(stand_in: &StandIn) -> BTreeSet<String> {
    let calls = stand_in.changes().into_iter();
    let launches = calls.filter(|call| call.action == "RunInstances");
    let ids = launches.flat_map(|call| call.ids);
    ids.filter(|id| id.starts_with("i-")).collect()
}

/// The tags of a bucket.
pub(crate) async fn bucket_tags(stand_in: &StandIn, bucket: &str) -> BTreeMap<String, String> {
    let answer = stand_in.s3().get_bucket_tagging().bucket(bucket).send().await;
    let answer = answer.expect("the bucket has tags");
    let pairs = answer.tag_set().iter();
    pairs
        .map(|tag| (tag.key().to_owned(), tag.value().to_owned()))
        .collect()
}

/// The calls so far that AWS refused because something else still used what was to go.
pub(crate) fn violations(stand_in: &StandIn) -> Vec<(String, Value)> {
    let calls = stand_in.changes().into_iter();
    let refused = calls.filter(|call| call.error.as_deref() == Some("DependencyViolation"));
    refused.map(|call| (call.action, call.params)).collect()
}
