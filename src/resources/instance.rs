//! EC2 instances: how a head or a worker is seen, launched, started, stopped and terminated.
//!
//! Which machines there should be is decided in [`super::head`] and [`super::workers`].

pub mod console;
pub(crate) mod launch;
mod list;

use std::{collections::BTreeMap, fmt};

use aws_sdk_ec2::types::InstanceStateName;
use jiff::Timestamp;
use serde::Serialize;
use sha2::{Digest, Sha256};

pub use list::list;

use super::{Answer, Resource, ResourceChange, gone};
use crate::{
    api::Launch,
    aws::{AwsCall, AwsError, Clients},
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
    /// Last lines of its console, if they were read: no sweep shows them.
    pub console: Option<Vec<String>>,
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
    /// Read the last lines of a machine's console.
    ReadConsole {
        /// Which.
        id: String,
        /// What stands there now, and not what did some minutes after its boot.
        latest: bool,
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
            Self::ReadConsole { id, .. } => write!(f, "read the console of {id}"),
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
            Self::ReadConsole { .. } => AwsCall::GetConsoleOutput,
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
            Self::ReadConsole { id, .. } => id.clone(),
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
            Self::ReadConsole { id, .. } => {
                if let (Some(machine), Answer::Console(lines)) = (items.get_mut(id), answer) {
                    machine.console = Some(lines.clone());
                }
            }
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
            } => Box::pin(launch::run(clients, &subject, launch, token, user_data)).await,
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
            Self::ReadConsole { id, latest } => console::read(clients, id, *latest).await,
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
        console: None,
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
