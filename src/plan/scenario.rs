//! A cluster for the tests of the planner: what is asked for, what is there, and the planned changes carried out on it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::{Action, Inputs, Limits, Plan, fleet::Fleet, plan, scenario_ray::RayModel};
use crate::{
    api::{
        BucketDeletion, ControllerAccess, IdleAction, IdleSignals, Launch, PublicAddress, VolumeSpec, WakeSpec,
        WhenUnknown, WhenUnreachable,
    },
    aws::Image,
    observe::{KeySecret, Ledger, Observed, Source},
    resources::{
        Answer, Change, Inventory, Kind, Resource as _,
        address::AddressChange,
        instance::{Instance, InstanceChange, InstanceState, REBOOT, sample},
        network_interface::NetworkInterface,
        subnet::SubnetChange,
        volume::Volume,
    },
    tags::Tags,
    validate::{ClusterId, Head, Idle, ImageRef, Network, Software, Subnet, ValidCluster, WorkerGroup},
};

pub(crate) const UID: &str = "0f3a2b1c-0000-4000-8000-123456789abc";

pub(crate) struct Scenario {
    pub cluster: ValidCluster,
    pub observed: Observed,
    pub limits: Limits,
    pub now: Timestamp,
    /// What goes on inside its machines.
    pub ray: RayModel,
    /// Machines that stay in the state that they are in.
    pub hanging: BTreeSet<String>,
    next_id: u32,
}

/// A worker group of `replicas` t2.medium.
pub(crate) fn group(name: &str, replicas: u32) -> WorkerGroup {
    WorkerGroup {
        name: name.into(),
        replicas,
        instance_types: vec!["t2.medium".into()],
        root_volume: VolumeSpec::default(),
        subnets: Vec::new(),
        ray_start_params: BTreeMap::new(),
        iam_instance_profile: None,
    }
}

impl Scenario {
    /// The lab before anything of it exists, its finalizer in place and every sweep in.
    pub(crate) fn lab() -> Self {
        let cidr = |text: &str| text.parse().unwrap();
        let cluster = ValidCluster {
            id: ClusterId {
                installation: "installation".into(),
                uid: UID.into(),
                namespace: "ml".into(),
                namespace_uid: "namespace-uid".into(),
                name: "lab".into(),
            },
            generation: 1,
            deleting: false,
            bucket_deletion_confirmed: false,
            region: "ap-southeast-1".into(),
            suspend: false,
            idle: Idle {
                timeout: Duration::from_mins(90),
                action: IdleAction::Stop,
                when_unknown: WhenUnknown::Keep,
                signals: IdleSignals::default(),
            },
            wake: WakeSpec::default(),
            controller_access: ControllerAccess::Public,
            tags: Tags::new(),
            software: Software {
                ray_version: "2.60.0".into(),
                pip_packages: Vec::new(),
                setup_script: None,
            },
            environment: BTreeMap::new(),
            network: Network::Own {
                cidr: cidr("10.0.0.0/16"),
                subnets: vec![Subnet {
                    name: "a".into(),
                    cidr: cidr("10.0.1.0/24"),
                    public: true,
                    availability_zone: None,
                }],
            },
            ingress: Vec::new(),
            key_pair: None,
            head: Head {
                instance_type: "t2.medium".into(),
                image: ImageRef::Id("ami-1".into()),
                root_volume: VolumeSpec::default(),
                public_address: PublicAddress::Dynamic,
                subnet: None,
                ray_start_params: BTreeMap::new(),
                iam_instance_profile: None,
                when_unreachable: WhenUnreachable::Reboot,
            },
            groups: vec![group("cpu", 2)],
            buckets: Vec::new(),
            bucket_deletion: BucketDeletion::Retain,
        };
        let observed = Observed {
            account: Source::Known("123456789012".into()),
            inventory: swept(),
            image: Source::Known(Image {
                id: "ami-1".into(),
                root_device: "/dev/sda1".into(),
                min_size_gib: 8,
            }),
            key: Source::Known(KeySecret::Present {
                public_key: "ssh-ed25519 AAAA rayward".into(),
            }),
            ledger: Ledger {
                launches: Vec::new(),
                last: Some(100),
                held_until: None,
            },
            has_finalizer: true,
            ..Observed::default()
        };
        let now = "2026-11-23T12:00:00Z".parse().unwrap();
        Self {
            cluster,
            observed,
            limits: Limits::default(),
            now,
            ray: RayModel::default(),
            hanging: BTreeSet::new(),
            next_id: 1,
        }
    }

    pub(crate) fn plan(&self) -> Plan {
        plan(&Inputs {
            cluster: &self.cluster,
            observed: &self.observed,
            limits: &self.limits,
            now: self.now,
        })
    }

    /// The planned actions, a line each.
    pub(crate) fn lines(&self) -> Vec<String> {
        self.plan().actions.iter().map(ToString::to_string).collect()
    }

    /// Carries out what is planned, again and again, until nothing is; machines stay in the states that calls leave
    /// them in. Returns the lines of all that was done.
    pub(crate) fn settle(&mut self) -> Vec<String> {
        let mut done = Vec::new();
        for _ in 0..60 {
            let actions = self.plan().actions;
            if actions.is_empty() {
                return done;
            }
            for action in actions {
                done.push(action.to_string());
                self.carry_out(&action);
            }
        }
        panic!("still planning after 60 rounds: {done:#?}");
    }

    /// Carries out what is planned but for machines, until nothing else is.
    pub(crate) fn settle_network(&mut self) {
        for _ in 0..60 {
            let actions = self.plan().actions;
            let (machines, others): (Vec<_>, Vec<_>) = actions.into_iter().partition(|action| {
                matches!(
                    action,
                    Action::RecordLaunches(_) | Action::HoldLaunches { .. } | Action::Aws(Change::Instance(_))
                )
            });
            if others.is_empty() && !machines.is_empty() {
                return;
            }
            for action in &others {
                self.carry_out(action);
            }
        }
        panic!("the network never settles: {:?}", self.lines());
    }

    /// [`Self::settle`], and every machine reaches the state it is on its way to, and then Ray, until nothing changes
    /// any more.
    pub(crate) fn run(&mut self) -> Vec<String> {
        let mut done = self.settle();
        while self.arrive() | self.look() {
            done.extend(self.settle());
        }
        done
    }

    /// Lets every machine reach the state it is on its way to, unless it hangs; `false` if none did.
    pub(crate) fn arrive(&mut self) -> bool {
        use InstanceState as S;
        let mut moved = false;
        let machines = self.observed.inventory.instance.ours.values_mut();
        for machine in machines.filter(|machine| !self.hanging.contains(&machine.id)) {
            let next = match machine.state {
                S::Pending => S::Running,
                S::Stopping => S::Stopped,
                S::ShuttingDown => S::Terminated,
                other => other,
            };
            moved |= next != machine.state;
            machine.state = next;
        }
        // EC2 lists a terminated machine for about an hour; its disk and its interface are gone at once.
        let inventory = &mut self.observed.inventory;
        let machines = &inventory.instance.ours;
        let is_gone = |id: &Option<String>| {
            let machine = id.as_ref().and_then(|id| machines.get(id));
            machine.is_some_and(Instance::is_gone)
        };
        let disks = &mut inventory.volume.ours;
        disks.retain(|_, volume| !is_gone(&volume.instance_id));
        let interfaces = &mut inventory.network_interface.ours;
        interfaces.retain(|_, interface| !is_gone(&interface.instance_id));
        moved
    }

    pub(crate) fn carry_out(&mut self, action: &Action) {
        match action {
            Action::Aws(change) => {
                let answer = self.answer(change);
                self.observed.inventory.fold(change, &answer);
                match change {
                    Change::Instance(InstanceChange::Launch { launch, .. }) => {
                        self.observed.ledger.settle(launch.number, Ok(&answer), self.now);
                    }
                    Change::Instance(InstanceChange::Reboot { ids, .. }) => {
                        self.ray.carry_out(action, self.now);
                        for id in ids {
                            self.note_step(id, REBOOT);
                        }
                    }
                    _ => {}
                }
            }
            Action::RecordLaunches(launches) => {
                let since = self.now - SignedDuration::try_from(self.limits.launch_window).unwrap();
                self.observed.ledger.record(launches, since);
            }
            Action::CloseLaunches(closed) => self.observed.ledger.close(closed, self.now),
            Action::HoldLaunches { until, last } => {
                self.observed.ledger.held_until = Some(*until);
                self.observed.ledger.last = Some(*last);
            }
            Action::CreateKey => {
                self.observed.key = Source::Known(KeySecret::Present {
                    public_key: "ssh-ed25519 AAAA".into(),
                });
            }
            Action::Machine(step) => self.step(step),
            Action::AddFinalizer => self.observed.has_finalizer = true,
            Action::RemoveFinalizer => self.observed.has_finalizer = false,
            Action::MarkStopped(mark) => {
                self.observed.stopped.clone_from(&mark.stopped);
                self.observed.is_own_mark = mark.stopped.is_some();
                self.observed.wishes.wake_handled.clone_from(&mark.wake_handled);
            }
            Action::HandleWake { text } => self.observed.wishes.wake_handled = Some(text.clone()),
        }
    }

    /// What AWS would answer; ids count up.
    pub(crate) fn answer(&mut self, change: &Change) -> Answer {
        match change {
            Change::Instance(InstanceChange::Launch { launch, token, .. }) => {
                let known = self.observed.inventory.instance.ours.values();
                let before: Vec<_> = known
                    .filter(|machine| machine.client_token.as_ref() == Some(token))
                    .cloned()
                    .collect();
                if before.is_empty() {
                    Answer::Launched((0..launch.count).map(|_| self.machine(launch, token)).collect())
                } else {
                    Answer::Launched(before)
                }
            }
            Change::Instance(InstanceChange::ReadConsole { id, .. }) => {
                Answer::Console(self.ray.consoles.get(id).cloned().unwrap_or_default())
            }
            Change::Instance(_) | Change::Tags(_) => Answer::Done,
            Change::Subnet(SubnetChange::Create { .. }) => Answer::CreatedIn {
                id: self.id("subnet"),
                availability_zone: "ap-southeast-1a".into(),
            },
            Change::Address(AddressChange::Allocate { .. }) => Answer::Allocated {
                id: self.id("eipalloc"),
                public_address: "203.0.113.9".into(),
            },
            _ => Answer::Created(self.id(&format!("{:?}", change.kind()).to_lowercase())),
        }
    }

    fn id(&mut self, prefix: &str) -> String {
        self.next_id += 1;
        format!("{prefix}-{}", self.next_id)
    }

    fn machine(&mut self, launch: &Launch, token: &str) -> Instance {
        let id = self.id("i");
        let volume = Volume {
            id: format!("vol-{id}"),
            available: false,
            instance_id: Some(id.clone()),
            tags: launch.tags.clone(),
        };
        let interface = NetworkInterface {
            id: format!("eni-{id}"),
            vpc_id: "vpc-1".into(),
            subnet_id: launch.subnet_id.clone(),
            group_ids: launch.security_group_ids.clone(),
            description: String::new(),
            purpose: String::new(),
            instance_id: Some(id.clone()),
            in_use: true,
            is_public: launch.public_address,
            tags: launch.tags.clone(),
        };
        let inventory = &mut self.observed.inventory;
        inventory.volume.ours.insert(volume.id.clone(), volume);
        let interfaces = &mut inventory.network_interface.ours;
        interfaces.insert(interface.id.clone(), interface);
        Instance {
            state: InstanceState::Pending,
            instance_type: launch.instance_type.clone(),
            image_id: launch.image_id.clone(),
            key_name: launch.key_name.clone(),
            subnet_id: Some(launch.subnet_id.clone()),
            public_address: launch.public_address.then(|| "203.0.113.9".into()),
            private_address: launch
                .private_address
                .clone()
                .or_else(|| Some(format!("10.0.1.{}", 100 + self.next_id))),
            launched_at: self.now,
            client_token: Some(token.to_owned()),
            tags: launch.tags.clone(),
            ..sample(&id)
        }
    }

    /// The machine with this id.
    pub(crate) fn machine_mut(&mut self, id: &str) -> &mut Instance {
        self.observed.inventory.instance.ours.get_mut(id).unwrap()
    }

    /// How many machines of this group (`None`: heads) are not lost, by the launch that made them.
    pub(crate) fn machines_of(&self, group: Option<&str>) -> u32 {
        let fleet = Fleet::of(&self.observed);
        let machines = group.map_or(Some(&fleet.heads), |group| fleet.workers.get(group));
        machines.map_or(0, |machines| u32::try_from(machines.len()).unwrap())
    }

    /// Every machine passes its status checks again.
    pub(crate) fn heal(&mut self) {
        self.observed
            .inventory
            .instance
            .ours
            .values_mut()
            .for_each(|machine| machine.impaired = false);
    }

    /// Things of others in the VPC and beside it, their ids all beginning with `foreign`.
    pub(crate) fn add_foreign_things(&mut self) {
        let mut stranger = sample("foreign-machine");
        stranger
            .tags
            .insert(crate::tags::NAME.into(), "rayward-ml-lab-worker-cpu".into());
        self.observed
            .inventory
            .instance
            .others
            .insert(stranger.id.clone(), stranger);
        let subnet = crate::resources::subnet::Subnet {
            id: "foreign-subnet".into(),
            vpc_id: "vpc-3".into(),
            cidr: "10.0.9.0/24".into(),
            availability_zone: "ap-southeast-1b".into(),
            maps_public_addresses: false,
            tags: Tags::new(),
        };
        self.observed.inventory.subnet.others.insert(subnet.id.clone(), subnet);
    }

    /// The n-th of our network's things loses its tags.
    pub(crate) fn lose_tags(&mut self, index: usize) {
        let inventory = &mut self.observed.inventory;
        let mut tags: Vec<&mut Tags> = Vec::new();
        tags.extend(inventory.vpc.ours.values_mut().map(|item| &mut item.tags));
        tags.extend(inventory.subnet.ours.values_mut().map(|item| &mut item.tags));
        tags.extend(inventory.route_table.ours.values_mut().map(|item| &mut item.tags));
        tags.extend(inventory.internet_gateway.ours.values_mut().map(|item| &mut item.tags));
        tags.extend(inventory.security_group.ours.values_mut().map(|item| &mut item.tags));
        let count = tags.len();
        if count > 0 {
            tags.swap_remove(index % count).clear();
        }
    }

    /// Ids of machines that are not lost, by role and group.
    pub(crate) fn live(&self, role: &str) -> Vec<String> {
        let machines = self
            .observed
            .inventory
            .instance
            .ours
            .values()
            .filter(|machine| !machine.is_lost());
        let of_role = machines.filter(|machine| machine.tags.get(crate::tags::ROLE).map(String::as_str) == Some(role));
        of_role.map(|machine| machine.id.clone()).collect()
    }
}

/// An inventory whose sweeps are all in and found nothing.
fn swept() -> Inventory {
    let mut inventory = Inventory::default();
    for kind in Kind::ALL {
        inventory.set_swept(*kind, Source::Known(()));
    }
    inventory
}
