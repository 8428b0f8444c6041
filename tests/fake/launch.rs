//! Machines of the fake: launches by token and capacity, and what stopping, starting and terminating does.

use jiff::Timestamp;
use rayward::{
    api::Launch,
    aws::{AwsError, ErrorClass},
    observe::Pool,
    resources::{
        Answer, Change,
        address::AddressChange,
        instance::{Instance, InstanceChange, InstanceState},
        network_interface::NetworkInterface,
        volume::Volume,
    },
    tags::Tags,
};
use tokio::time::Instant;

use super::{State, refusal};

/// What was launched with one client token.
pub(super) struct Batch {
    request: Launch,
    ids: Vec<String>,
}

impl State {
    pub(super) fn change_machines(
        &mut self,
        change: &Change,
        instance: &InstanceChange,
        time: Timestamp,
    ) -> Result<Answer, AwsError> {
        match instance {
            InstanceChange::Launch { launch, token, .. } => self.launch(change, launch, token, time),
            InstanceChange::Start { ids, .. } => {
                self.are(change, ids, &[InstanceState::Stopped, InstanceState::Pending])
            }
            InstanceChange::Stop { ids, .. } => {
                let stoppable = [InstanceState::Running, InstanceState::Stopping, InstanceState::Stopped];
                self.are(change, ids, &stoppable)
            }
            InstanceChange::Reboot { ids, .. } => self.are(change, ids, &[InstanceState::Running]),
            InstanceChange::ReadConsole { .. } => Ok(Answer::Console(Vec::new())),
            InstanceChange::Terminate { .. } => Ok(Answer::Done),
        }
    }

    fn are(&self, change: &Change, ids: &[String], states: &[InstanceState]) -> Result<Answer, AwsError> {
        for id in ids {
            match self.real.instance.ours.get(id) {
                None => return Err(refusal(change, ErrorClass::NotFound, "InvalidInstanceID.NotFound")),
                Some(machine) if !states.contains(&machine.state) => {
                    return Err(refusal(change, ErrorClass::Waiting, "IncorrectInstanceState"));
                }
                Some(_) => {}
            }
        }
        Ok(Answer::Done)
    }

    fn launch(&mut self, change: &Change, launch: &Launch, token: &str, time: Timestamp) -> Result<Answer, AwsError> {
        if let Some(batch) = self.launches.get(token) {
            if batch.request != *launch {
                return Ok(Answer::LaunchedBefore);
            }
            let machines = &self.real.instance.ours;
            let known = batch.ids.iter().filter_map(|id| machines.get(id).cloned());
            return Ok(Answer::Launched(known.collect()));
        }
        let Some(vpc_id) = self
            .real
            .subnet
            .ours
            .get(&launch.subnet_id)
            .map(|subnet| subnet.vpc_id.clone())
        else {
            return Err(refusal(change, ErrorClass::NotFound, "InvalidSubnetID.NotFound"));
        };
        let is_in_use = self.real.instance.ours.values().any(|machine| {
            machine.subnet_id.as_ref() == Some(&launch.subnet_id)
                && machine.state != InstanceState::Terminated
                && launch.private_address.is_some()
                && machine.private_address == launch.private_address
        });
        if is_in_use {
            return Err(refusal(change, ErrorClass::Waiting, "InvalidIPAddress.InUse"));
        }
        let count = self.take(launch).ok_or_else(|| {
            let code = "InsufficientInstanceCapacity";
            refusal(change, ErrorClass::Capacity, code)
        })?;
        let machines: Vec<Instance> = (0..count).map(|_| self.machine(launch, token, &vpc_id, time)).collect();
        let ids = machines.iter().map(|machine| machine.id.clone()).collect();
        let request = launch.clone();
        self.launches.insert(token.to_owned(), Batch { request, ids });
        Ok(Answer::Launched(machines))
    }

    /// How many machines of a launch its pool has; `None`: not one.
    fn take(&mut self, launch: &Launch) -> Option<u32> {
        let pool = Pool {
            instance_type: launch.instance_type.clone(),
            availability_zone: launch.availability_zone.clone(),
        };
        let Some(left) = self.capacity.get_mut(&pool) else {
            return Some(launch.count);
        };
        let count = launch.count.min(*left);
        *left -= count;
        (count > 0).then_some(count)
    }

    fn machine(&mut self, launch: &Launch, token: &str, vpc_id: &str, time: Timestamp) -> Instance {
        let id = self.id("i");
        let volume_id = self.id("vol");
        let volume = Volume {
            id: volume_id.clone(),
            available: false,
            instance_id: Some(id.clone()),
            tags: launch.tags.clone(),
        };
        self.real.volume.ours.insert(volume_id.clone(), volume);
        let interface = NetworkInterface {
            id: self.id("eni"),
            vpc_id: vpc_id.to_owned(),
            subnet_id: launch.subnet_id.clone(),
            group_ids: launch.security_group_ids.clone(),
            description: String::new(),
            purpose: String::new(),
            instance_id: Some(id.clone()),
            in_use: true,
            is_public: launch.public_address,
            tags: launch.tags.clone(),
        };
        let interface_id = interface.id.clone();
        let interfaces = &mut self.real.network_interface.ours;
        interfaces.insert(interface_id.clone(), interface);
        let free_address = format!("10.0.1.{}", self.last_id % 256);
        Instance {
            id,
            state: InstanceState::Pending,
            instance_type: launch.instance_type.clone(),
            image_id: launch.image_id.clone(),
            root_device: launch.root_device.clone(),
            key_name: launch.key_name.clone(),
            vpc_id: Some(vpc_id.to_owned()),
            subnet_id: Some(launch.subnet_id.clone()),
            private_address: Some(launch.private_address.clone().unwrap_or(free_address)),
            public_address: launch.public_address.then(|| self.public_address()),
            has_elastic_address: false,
            root_volume: Some(volume_id),
            network_interface: Some(interface_id),
            launched_at: time,
            transition_at: None,
            state_reason: None,
            impaired: false,
            console: None,
            client_token: Some(token.to_owned()),
            tags: launch.tags.clone(),
        }
    }

    /// What a change brings with it, beside what it says: machines that are between two states reach the second at
    /// `at`, and terminated ones lose their tags.
    pub(super) fn after(&mut self, change: &Change, at: Instant) {
        if let Change::Address(AddressChange::Associate { id, instance_id }) = change {
            let address = self
                .real
                .address
                .ours
                .get(id)
                .map(|address| address.public_address.clone());
            if let Some(machine) = self.real.instance.ours.get_mut(instance_id) {
                machine.has_elastic_address = true;
                machine.public_address = address;
            }
        }
        let Change::Instance(instance) = change else { return };
        match instance {
            InstanceChange::Launch { token, .. } => {
                let ids = self.launches.get(token).map(|batch| batch.ids.clone());
                self.settling.extend(ids.into_iter().flatten().map(|id| (id, at)));
            }
            InstanceChange::Start { ids, .. } | InstanceChange::Stop { ids, .. } => {
                self.settling.extend(ids.iter().map(|id| (id.clone(), at)));
            }
            InstanceChange::Reboot { .. } | InstanceChange::ReadConsole { .. } => {}
            InstanceChange::Terminate { ids, .. } => {
                for id in ids {
                    self.settling.insert(id.clone(), at);
                    if let Some(machine) = self.real.instance.ours.get_mut(id) {
                        machine.tags = Tags::new();
                    }
                }
            }
        }
    }
}
