//! Launches: one batch a need, written down before the call, repeated to the letter until its outcome is definite, and
//! never more of them than the cap allows.

use std::collections::BTreeMap;

use super::{Action, Planner, Reason, Subject, revision};
use crate::{
    api::{Launch, LaunchState, Revision, VolumeSpec},
    bootstrap::{self, Machine, Worker},
    observe::KeySecret,
    resources::{
        Change,
        instance::{InstanceChange, client_token},
    },
    tags,
};

/// What machines stand on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ground {
    /// The subnets, in the order of the spec.
    pub subnets: Vec<Subnet>,
    /// The security groups of every machine.
    pub security_group_ids: Vec<String>,
    /// The EC2 key pair for people.
    pub key_name: Option<String>,
}

/// A subnet in which machines can be launched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subnet {
    /// Its name in the spec; of an existing network, its id.
    pub name: String,
    /// Its id.
    pub id: String,
    /// Its address range.
    pub cidr: ipnet::Ipv4Net,
    /// Where it is.
    pub availability_zone: String,
    /// Whether its machines get public addresses.
    pub public: bool,
}

/// What a batch is needed for.
#[derive(Clone, Debug)]
pub(crate) struct Need<'a> {
    /// The worker group; `None` for the head.
    pub group: Option<&'a str>,
    /// How many machines.
    pub count: u32,
    /// Types in order of preference.
    pub instance_types: &'a [String],
    /// Subnets in order of preference.
    pub subnets: Vec<&'a Subnet>,
    /// Root disk.
    pub root_volume: VolumeSpec,
    /// What they are made from.
    pub revision: Revision,
    /// The image's root device.
    pub root_device: String,
    /// Private address, the head's only.
    pub private_address: Option<String>,
    /// Whether Amazon gives a public address where the subnet is public.
    pub public_address: bool,
    /// Private address of the head; `None` for the head.
    pub head: Option<&'a str>,
    /// Flags of `ray start`.
    pub ray_start_params: &'a BTreeMap<String, String>,
    /// IAM instance profile.
    pub iam_instance_profile: Option<&'a str>,
}

impl Need<'_> {
    /// Whether a launch that was written down earlier, and of which so many machines are to be seen, is still what is
    /// asked for. Its private address and groups need not be the same: AWS refuses it if they are not to be had.
    fn fits(&self, launch: &Launch, seen: usize, user_data: &str) -> bool {
        launch.count as usize <= self.count as usize + seen
            && launch.image_id == self.revision.image_id
            && launch.user_data == bootstrap::hash(user_data)
            && launch.iam_instance_profile.as_deref() == self.iam_instance_profile
            && launch.root_volume == self.root_volume
            && self.instance_types.contains(&launch.instance_type)
            && self.subnets.iter().any(|subnet| subnet.id == launch.subnet_id)
    }

    pub(super) fn subject(&self) -> Subject {
        if self.group.is_some() {
            Subject::Workers
        } else {
            Subject::Head
        }
    }

    fn role(&self) -> &'static str {
        if self.group.is_some() {
            super::fleet::WORKER
        } else {
            super::fleet::HEAD
        }
    }

    pub(super) fn name(&self) -> String {
        self.group
            .map_or_else(|| "the head".into(), |group| format!("group {group}"))
    }

    /// The key under which AWS's refusals of such launches are kept.
    pub(super) fn refusal_key(&self) -> String {
        launch_key(self.group)
    }
}

/// [`Action::key`] of every launch of a group; `None` for the head.
pub(super) fn launch_key(group: Option<&str>) -> String {
    format!(
        "RunInstances {}",
        group.map_or_else(|| "head".into(), |group| format!("group {group}"))
    )
}

/// How a root disk is told in a tag.
#[must_use]
pub(crate) fn volume_name(volume: &VolumeSpec) -> String {
    format!("{}GiB-{:?}", volume.size_gib, volume.volume_type)
        .to_lowercase()
        .replace("gib", "GiB")
}

impl Planner<'_> {
    /// Plans what brings `need` nearer: the next step of its open launch, or the record of a new one.
    pub(crate) fn launch(&mut self, ground: &Ground, need: &Need<'_>) {
        let subject = need.subject();
        let Some(user_data) = self.user_data(need) else {
            let message = "the Secret with the cluster's key is not there yet";
            self.wait(subject, Reason::DependencyPending, message);
            return;
        };
        if let Some(open) = self.open_launch(need.group) {
            if need.fits(&open, self.machines_of(open.number).len(), &user_data) {
                self.wanted_launches.push(open.number);
                self.send(subject, open, user_data);
            } else {
                let message = format!(
                    "launch {} got no definite answer and is not what is asked for now: waiting for a look that shows \
                     what came of it",
                    open.number
                );
                self.wait(subject, Reason::MachinesPending, message);
            }
        } else if self.may_launch(need) {
            self.record(ground, need, &user_data);
        }
    }

    /// What the machines do at their first boot; `None` while the key to be let in by is not there.
    fn user_data(&self, need: &Need<'_>) -> Option<String> {
        let Some(KeySecret::Present { public_key }) = self.observed().key.known() else {
            return None;
        };
        let software = revision::software(&need.revision);
        let worker = need.group.zip(need.head).map(|(group, head)| Worker { group, head });
        Some(bootstrap::user_data(&Machine {
            public_key,
            worker,
            cluster_uid: &self.cluster().id.uid,
            software: &software,
            environment: &self.cluster().environment,
            ray_start_params: need.ray_start_params,
        }))
    }

    fn open_launch(&self, group: Option<&str>) -> Option<Launch> {
        let launches = &self.observed().ledger.launches;
        launches
            .iter()
            .find(|launch| launch.state == LaunchState::Open && launch.group.as_deref() == group)
            .cloned()
    }

    fn send(&mut self, subject: Subject, launch: Launch, user_data: String) {
        let id = &self.cluster().id;
        let token = client_token(&id.installation, &id.uid, launch.number);
        let change = InstanceChange::Launch {
            launch: Box::new(launch),
            token,
            user_data,
        };
        self.change(subject, Change::Instance(change));
    }

    /// Whether an earlier object of this name left something that is alive; tells of it.
    pub(super) fn tell_predecessors(&mut self, subject: Subject) -> bool {
        let predecessors = &self.observed().predecessors;
        if predecessors.is_empty() {
            return false;
        }
        let message = format!(
            "{} carry the name of this cluster and belong to an earlier object of it: nothing is launched beside \
             them. Delete them, or give this cluster another name",
            predecessors.join(", ")
        );
        self.wait(subject, Reason::PredecessorAlive, message);
        true
    }

    /// Whether a new launch may be written down now; says what holds it back otherwise.
    fn may_launch(&mut self, need: &Need<'_>) -> bool {
        let observed = self.observed();
        let (subject, now) = (need.subject(), self.inputs.now);
        let sweep_began = now - jiff::SignedDuration::try_from(observed.machine_sweep_age).unwrap_or_default();
        if self.tell_predecessors(subject) {
            return false;
        }
        let Some(last) = observed.ledger.last else {
            let until = now + jiff::SignedDuration::try_from(self.inputs.limits.lost_record_hold).unwrap_or_default();
            let last = u64::try_from(now.as_second()).unwrap_or_default();
            self.act(subject, Action::HoldLaunches { until, last });
            return false;
        };
        if let Some(until) = observed.ledger.held_until.filter(|until| *until > sweep_began) {
            let message = format!(
                "the record of launches (in the status) was lost: nothing is launched before a look at AWS \
                 after {until}"
            );
            self.wait(subject, Reason::LaunchRecordLost, message);
            self.check_in(until.duration_since(now).unsigned_abs());
            return false;
        }
        let doubtful = observed.ledger.launches.iter().find(|launch| {
            launch.group.as_deref() == need.group
                && launch.uncertain
                && launch.state == LaunchState::Refused
                && launch.settled_at.is_some_and(|at| at >= sweep_began)
        });
        if let Some(launch) = doubtful {
            let message = format!(
                "launch {} got no answer at first: waiting for a look at what came of it",
                launch.number
            );
            self.wait(subject, Reason::NotObserved, message);
            return false;
        }
        // Held here too, so that a refused launch is not written down anew with each pass.
        !self.is_refused(subject, &need.refusal_key()) && last < u64::MAX
    }

    fn record(&mut self, ground: &Ground, need: &Need<'_>, user_data: &str) {
        let subject = need.subject();
        let Some((instance_type, subnet)) = self.pool(need) else {
            return;
        };
        let Some(count) = self.within_cap(need) else { return };
        let recorded = self.plan.actions.iter().find_map(|action| match action {
            Action::RecordLaunches(launches) => launches.last(),
            _ => None,
        });
        let last = recorded
            .map(|launch| launch.number)
            .or(self.observed().ledger.last)
            .unwrap_or_default();
        let (number, revision) = (last + 1, need.revision.id.clone());
        let settings = revision::settings(
            need.ray_start_params,
            &self.cluster().environment,
            need.iam_instance_profile,
        );
        let mut tags = self.creation_tags(need.role(), need.group);
        tags.insert(tags::LAUNCH.into(), number.to_string());
        tags.insert(tags::REVISION.into(), revision.clone());
        tags.insert(tags::ROOT_VOLUME.into(), volume_name(&need.root_volume));
        tags.insert(tags::SETTINGS.into(), settings);
        let launch = Launch {
            number,
            group: need.group.map(ToOwned::to_owned),
            count,
            instance_type,
            subnet_id: subnet.id.clone(),
            availability_zone: subnet.availability_zone.clone(),
            image_id: need.revision.image_id.clone(),
            root_device: need.root_device.clone(),
            root_volume: need.root_volume.clone(),
            security_group_ids: ground.security_group_ids.clone(),
            key_name: ground.key_name.clone(),
            private_address: need.private_address.clone(),
            public_address: need.public_address && subnet.public,
            revision,
            head_revision: need.group.is_none().then(|| need.revision.clone()),
            user_data: bootstrap::hash(user_data),
            iam_instance_profile: need.iam_instance_profile.map(ToOwned::to_owned),
            tags,
            recorded_at: self.inputs.now,
            asked: self.size(),
            state: LaunchState::Open,
            settled_at: None,
            uncertain: false,
            instance_ids: Vec::new(),
        };
        let planned = self.plan.actions.iter_mut().find_map(|action| match action {
            Action::RecordLaunches(launches) => Some(launches),
            _ => None,
        });
        match planned {
            Some(launches) => launches.push(launch),
            None => self.act(subject, Action::RecordLaunches(vec![launch])),
        }
    }
}
