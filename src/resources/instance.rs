//! EC2 instances: how a head or a worker is seen, launched, started, stopped and terminated.
//!
//! Which machines there should be is decided in [`super::head`] and [`super::workers`].

use std::{borrow::Cow, collections::BTreeMap, fmt, io::Write as _};

use aws_sdk_ec2::types::{
    BlockDeviceMapping, EbsBlockDevice, Filter, HttpTokensState, IamInstanceProfileSpecification,
    InstanceMetadataOptionsRequest, InstanceMetadataTagsState, InstanceNetworkInterfaceAttachment as Attachment,
    InstanceNetworkInterfaceSpecification, InstanceStateName, Reservation, ResourceType, ShutdownBehavior,
};
use base64::prelude::{BASE64_STANDARD, Engine as _};
use flate2::{Compression, write::GzEncoder};
use futures::future::try_join_all;
use jiff::Timestamp;
use serde::Serialize;
use sha2::{Digest, Sha256};

use super::{Answer, Resource, ResourceChange, gone};
use crate::{
    api::{Launch, VolumeType},
    aws::{
        AwsCall, AwsError, Clients, ErrorClass, Scope,
        sdk::{filter, scope_filters, tags_from},
    },
    bootstrap,
    tags::{self, Tags},
};

/// State of an instance, as EC2 names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum InstanceState {
    /// Being launched or started.
    Pending,
    /// Up.
    Running,
    /// On its way to stopped.
    Stopping,
    /// Down, its disk kept.
    Stopped,
    /// On its way to terminated.
    ShuttingDown,
    /// Gone; EC2 lists it for about an hour.
    Terminated,
}

impl InstanceState {
    /// EC2's word for it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Running => "running",
            Self::Stopping => "stopping",
            Self::Stopped => "stopped",
            Self::ShuttingDown => "shutting-down",
            Self::Terminated => "terminated",
        }
    }

    fn from_sdk(name: Option<&InstanceStateName>) -> Option<Self> {
        Some(match name? {
            InstanceStateName::Pending => Self::Pending,
            InstanceStateName::Running => Self::Running,
            InstanceStateName::Stopping => Self::Stopping,
            InstanceStateName::Stopped => Self::Stopped,
            InstanceStateName::ShuttingDown => Self::ShuttingDown,
            InstanceStateName::Terminated => Self::Terminated,
            _ => return None,
        })
    }
}

/// An instance as it was seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Instance {
    /// Its id.
    pub id: String,
    /// Its state.
    pub state: InstanceState,
    /// Its type.
    pub instance_type: String,
    /// Its image.
    pub image_id: String,
    /// Name of its root device.
    pub root_device: String,
    /// Name of the key pair with which it was launched.
    pub key_name: Option<String>,
    /// Its VPC, until it is terminated.
    pub vpc_id: Option<String>,
    /// Its subnet, until it is terminated.
    pub subnet_id: Option<String>,
    /// Its private address, until it is terminated.
    pub private_address: Option<String>,
    /// Its public address, while it runs.
    pub public_address: Option<String>,
    /// Whether its public address is an Elastic IP address, whoever's.
    pub has_elastic_address: bool,
    /// Its root disk.
    pub root_volume: Option<String>,
    /// Its primary network interface, until it is terminated.
    pub network_interface: Option<String>,
    /// When it was launched, or last started.
    pub launched_at: Timestamp,
    /// When its state last changed at somebody's wish, where EC2 tells; else, on its way to stopped or terminated,
    /// since when it is seen so.
    pub transition_at: Option<Timestamp>,
    /// Why its state changed, in EC2's words.
    pub state_reason: Option<String>,
    /// Whether one of EC2's status checks fails.
    pub impaired: bool,
    /// The client token of the launch that made it; it outlives the tags.
    pub client_token: Option<String>,
    /// Its tags; a terminated instance loses them.
    pub tags: Tags,
}

impl Instance {
    /// Whether it will never run again.
    #[must_use]
    pub fn is_lost(&self) -> bool {
        matches!(self.state, InstanceState::ShuttingDown | InstanceState::Terminated)
    }

    /// Number of the launch that made it: from its token, which nobody can change, else from its tag.
    #[must_use]
    pub fn launch(&self) -> Option<u64> {
        let by_token = self
            .client_token
            .as_deref()
            .and_then(token_owner)
            .map(|(_, number)| number);
        by_token.or_else(|| self.tags.get(tags::LAUNCH)?.parse().ok())
    }
}

impl Resource for Instance {
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
        self.vpc_id.as_deref()
    }
    fn client_token(&self) -> Option<&str> {
        self.client_token.as_deref()
    }
    /// EC2 tells the time of a transition only where somebody wished it, not where a machine failed by itself.
    fn seen_again(&mut self, before: Option<&Self>, now: Timestamp) {
        let is_leaving = matches!(self.state, InstanceState::Stopping | InstanceState::ShuttingDown);
        if is_leaving && self.transition_at.is_none() {
            let known = before.filter(|before| before.state == self.state);
            self.transition_at = known.and_then(|known| known.transition_at).or(Some(now));
        }
    }
    fn is_gone(&self) -> bool {
        self.state == InstanceState::Terminated
    }
}

/// What every client token of an installation begins with: a filter with a `*` behind it finds all machines that it
/// ever launched, whatever became of their tags.
#[must_use]
pub fn token_prefix(installation: &str) -> String {
    use fmt::Write as _;
    let mut prefix = String::with_capacity(11);
    for byte in &Sha256::digest(installation)[..5] {
        // Writing to a string cannot fail.
        let _ = write!(prefix, "{byte:02x}");
    }
    prefix.push('-');
    prefix
}

/// The client token of a launch: at most 64 ASCII characters, the same for every repetition of the request.
#[must_use]
pub fn client_token(installation: &str, cluster_uid: &str, launch: u64) -> String {
    format!("{}{cluster_uid}-{launch}", token_prefix(installation))
}

/// Cluster uid and launch number of a token of ours.
#[must_use]
pub fn token_owner(token: &str) -> Option<(&str, u64)> {
    let (_, rest) = token.split_at_checked(11)?;
    let (uid, number) = rest.rsplit_once('-')?;
    Some((uid, number.parse().ok()?))
}

/// A change on instances.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub enum InstanceChange {
    /// Launch a batch; the request is a function of what was written down, so that a repetition is the same.
    Launch {
        /// What was written down.
        launch: Box<Launch>,
        /// See [`client_token`].
        token: String,
        /// What the machine does at its first boot.
        user_data: String,
    },
    /// Start stopped machines.
    Start {
        /// Which.
        ids: Vec<String>,
        /// When it was planned: from then on they are pending.
        at: Timestamp,
    },
    /// Stop running machines.
    Stop {
        /// Which.
        ids: Vec<String>,
        /// Without waiting for their operating system.
        force: bool,
        /// When it was planned: from then on they are stopping.
        at: Timestamp,
    },
    /// Reboot running machines.
    Reboot {
        /// Which.
        ids: Vec<String>,
        /// Why, for people.
        reason: String,
    },
    /// Terminate machines.
    Terminate {
        /// Which.
        ids: Vec<String>,
        /// Why, for people.
        reason: String,
        /// Whether AWS knows them so long that one it does not find is gone, and not only too new to be found.
        absent_is_gone: bool,
    },
}

impl fmt::Display for InstanceChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Launch { launch, .. } => write!(
                f,
                "launch {} x {} in {} for {} (launch {})",
                launch.count,
                launch.instance_type,
                launch.subnet_id,
                launch.group.as_deref().unwrap_or("the head"),
                launch.number
            ),
            Self::Start { ids, .. } => write!(f, "start {}", ids.join(", ")),
            Self::Reboot { ids, reason } => write!(f, "reboot {}: {reason}", ids.join(", ")),
            Self::Stop { ids, force, .. } => write!(
                f,
                "{} {}",
                if *force { "force to stop" } else { "stop" },
                ids.join(", ")
            ),
            Self::Terminate { ids, reason, .. } => write!(f, "terminate {}: {reason}", ids.join(", ")),
        }
    }
}

/// A reboot as a step of healing, in [`crate::api::StepStatus::step`].
pub const REBOOT: &str = "Reboot";

impl ResourceChange for InstanceChange {
    type Item = Instance;

    fn call(&self) -> AwsCall {
        match self {
            Self::Launch { .. } => AwsCall::RunInstances,
            Self::Start { .. } => AwsCall::StartInstances,
            Self::Stop { .. } => AwsCall::StopInstances,
            Self::Reboot { .. } => AwsCall::RebootInstances,
            Self::Terminate { .. } => AwsCall::TerminateInstances,
        }
    }

    fn subject(&self) -> String {
        match self {
            // Not the number: a refused launch is followed by one with another number for the same need.
            Self::Launch { launch, .. } => launch
                .group
                .as_ref()
                .map_or_else(|| "head".into(), |group| format!("group {group}")),
            Self::Start { ids, .. }
            | Self::Stop { ids, .. }
            | Self::Reboot { ids, .. }
            | Self::Terminate { ids, .. } => ids.join(","),
        }
    }

    fn fold(&self, answer: &Answer, items: &mut BTreeMap<String, Instance>) {
        use InstanceState as S;
        let enter = |items: &mut BTreeMap<String, Instance>, ids: &[String], from: &[S], to: S| {
            for id in ids {
                if let Some(machine) = items.get_mut(id).filter(|machine| from.contains(&machine.state)) {
                    machine.state = to;
                }
            }
        };
        match self {
            Self::Launch { .. } => {
                if let Answer::Launched(machines) = answer {
                    for machine in machines {
                        items.entry(machine.id.clone()).or_insert_with(|| machine.clone());
                    }
                }
            }
            Self::Start { ids, at } => {
                for id in ids {
                    if let Some(machine) = items.get_mut(id).filter(|machine| machine.state == S::Stopped) {
                        machine.state = S::Pending;
                        machine.launched_at = *at;
                    }
                }
            }
            Self::Stop { ids, at, .. } => {
                enter(items, ids, &[S::Running, S::Pending], S::Stopping);
                for id in ids {
                    if let Some(machine) = items.get_mut(id).filter(|machine| machine.state == S::Stopping) {
                        machine.transition_at = Some(*at);
                    }
                }
            }
            Self::Reboot { .. } => {}
            Self::Terminate { ids, .. } if *answer == Answer::Gone => enter(
                items,
                ids,
                &[S::Pending, S::Running, S::Stopping, S::Stopped, S::ShuttingDown],
                S::Terminated,
            ),
            Self::Terminate { ids, .. } => {
                enter(
                    items,
                    ids,
                    &[S::Pending, S::Running, S::Stopping, S::Stopped],
                    S::ShuttingDown,
                );
            }
        }
    }
}

impl InstanceChange {
    /// Carries it out.
    ///
    /// # Errors
    /// What AWS answered, with its class.
    pub async fn apply(&self, clients: &Clients) -> Result<Answer, AwsError> {
        let (ec2, gate) = (&clients.ec2, &clients.gate);
        let subject = self.subject();
        match self {
            Self::Launch {
                launch,
                token,
                user_data,
            } => Box::pin(run(clients, &subject, launch, token, user_data)).await,
            Self::Start { ids, .. } => {
                let request = ec2.start_instances().set_instance_ids(Some(ids.clone())).send();
                gate.send(self.call(), &subject, request).await.map(|_| Answer::Done)
            }
            Self::Stop { ids, force, .. } => {
                let request = ec2
                    .stop_instances()
                    .set_instance_ids(Some(ids.clone()))
                    .force(*force)
                    .send();
                gate.send(self.call(), &subject, request).await.map(|_| Answer::Done)
            }
            Self::Reboot { ids, .. } => {
                let request = ec2.reboot_instances().set_instance_ids(Some(ids.clone())).send();
                gate.send(self.call(), &subject, request).await.map(|_| Answer::Done)
            }
            Self::Terminate {
                ids, absent_is_gone, ..
            } => {
                let request = ec2.terminate_instances().set_instance_ids(Some(ids.clone())).send();
                let answer = gate.send(self.call(), &subject, request).await;
                // If one of several is not found, EC2 terminates none of them.
                if *absent_is_gone && ids.len() == 1 {
                    gone(answer)
                } else {
                    answer.map(|_| Answer::Done)
                }
            }
        }
    }
}

async fn run(
    clients: &Clients,
    subject: &str,
    launch: &Launch,
    token: &str,
    user_data: &str,
) -> Result<Answer, AwsError> {
    let count = i32::try_from(launch.count).unwrap_or(i32::MAX);
    let disk = EbsBlockDevice::builder()
        .volume_size(launch.root_volume.size_gib)
        .volume_type(match launch.root_volume.volume_type {
            VolumeType::Gp3 => aws_sdk_ec2::types::VolumeType::Gp3,
            VolumeType::Gp2 => aws_sdk_ec2::types::VolumeType::Gp2,
        })
        .encrypted(true)
        .delete_on_termination(true)
        .build();
    // Part of the launch, not made beforehand: EC2 gives no public address to an interface that existed before.
    let interface = InstanceNetworkInterfaceSpecification::builder()
        .device_index(0)
        .subnet_id(&launch.subnet_id)
        .set_groups(Some(launch.security_group_ids.clone()))
        .set_private_ip_address(launch.private_address.clone())
        .associate_public_ip_address(launch.public_address)
        .delete_on_termination(true)
        .build();
    let metadata = InstanceMetadataOptionsRequest::builder()
        .http_tokens(HttpTokensState::Required)
        .http_put_response_hop_limit(1)
        // EC2 refuses tag keys with a `/` when metadata shows tags.
        .instance_metadata_tags(InstanceMetadataTagsState::Disabled)
        .build();
    let profile = launch
        .iam_instance_profile
        .as_ref()
        .map(|name| IamInstanceProfileSpecification::builder().name(name).build());
    let tagged = [
        ResourceType::Instance,
        ResourceType::Volume,
        ResourceType::NetworkInterface,
    ];
    let request = clients
        .ec2
        .run_instances()
        .client_token(token)
        .min_count(1)
        .max_count(count)
        .instance_type(launch.instance_type.as_str().into())
        .image_id(&launch.image_id)
        .set_key_name(launch.key_name.clone())
        .set_iam_instance_profile(profile)
        .user_data(BASE64_STANDARD.encode(packed(user_data)))
        .block_device_mappings(
            BlockDeviceMapping::builder()
                .device_name(&launch.root_device)
                .ebs(disk)
                .build(),
        )
        .network_interfaces(interface)
        .metadata_options(metadata)
        .instance_initiated_shutdown_behavior(ShutdownBehavior::Stop)
        .set_tag_specifications(Some(
            tagged.map(|kind| clients.tag_specification(kind, &launch.tags)).into(),
        ))
        .send();
    match Box::pin(clients.gate.send(AwsCall::RunInstances, subject, request)).await {
        Ok(answer) => Ok(Answer::Launched(
            answer.instances().iter().filter_map(from_sdk).collect(),
        )),
        Err(error) if error.class == ErrorClass::AlreadyCarriedOut => Ok(Answer::LaunchedBefore),
        Err(error) => Err(error),
    }
}

/// User data as it is sent: as it is, so that people can read it, unless only compressed it fits.
pub(crate) fn packed(user_data: &str) -> Cow<'_, [u8]> {
    if user_data.len() <= bootstrap::LIMIT {
        return user_data.as_bytes().into();
    }
    let mut packed = GzEncoder::new(Vec::new(), Compression::best());
    // Writing to memory cannot fail; if it did, EC2 would say that the user data is too long.
    match packed.write_all(user_data.as_bytes()).and_then(|()| packed.finish()) {
        Ok(packed) => packed.into(),
        Err(_) => user_data.as_bytes().into(),
    }
}

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

fn from_sdk(instance: &aws_sdk_ec2::types::Instance) -> Option<Instance> {
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

/// A running instance, for tests of this crate.
#[cfg(test)]
pub(crate) fn sample(id: &str) -> Instance {
    Instance {
        id: id.into(),
        state: InstanceState::Running,
        instance_type: "t2.medium".into(),
        image_id: "ami-1".into(),
        root_device: "/dev/sda1".into(),
        key_name: None,
        vpc_id: Some("vpc-1".into()),
        subnet_id: Some("subnet-1".into()),
        private_address: None,
        public_address: None,
        has_elastic_address: false,
        root_volume: Some(format!("vol-{id}")),
        network_interface: Some(format!("eni-{id}")),
        launched_at: Timestamp::UNIX_EPOCH,
        transition_at: None,
        state_reason: None,
        impaired: false,
        client_token: None,
        tags: Tags::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_tells_whose_it_is_and_fits() {
        let uid = "0f3a2b1c-0000-4000-8000-123456789abc";
        let token = client_token("installation", uid, 1_795_000_000);
        assert!(token.len() <= 64 && token.is_ascii(), "{token}");
        assert!(token.starts_with(&token_prefix("installation")));
        assert_eq!(token_owner(&token), Some((uid, 1_795_000_000)));
        assert_eq!(token_owner("terraform-2026"), None);
    }

    #[test]
    fn the_time_of_a_transition_is_read_where_there_is_one() {
        let at = transition_time("User initiated (2026-11-23 14:36:41 GMT)");
        assert_eq!(at, "2026-11-23T14:36:41Z".parse().ok());
        assert_eq!(transition_time("Server.InternalError"), None);
    }

    #[test]
    fn a_fold_never_brings_a_lost_machine_back() {
        let lost = Instance {
            state: InstanceState::Terminated,
            ..sample("i-1")
        };
        let mut items = BTreeMap::from([("i-1".to_owned(), lost)]);
        InstanceChange::Start {
            ids: vec!["i-1".into()],
            at: Timestamp::UNIX_EPOCH,
        }
        .fold(&Answer::Done, &mut items);
        assert_eq!(items["i-1"].state, InstanceState::Terminated);
    }
}
