//! The machines of a cluster, sorted by what they are for.

use std::collections::BTreeMap;

use super::{Finding, Planner, Subject, tagging::Untagged};
use crate::{
    observe::Observed,
    resources::{
        Kind,
        instance::{Instance, InstanceState},
    },
    tags,
    validate::preferred_head_address,
};

/// Value of the tag `rayward.dev/role` of a head.
pub const HEAD: &str = "head";
/// Value of the tag `rayward.dev/role` of a worker.
pub const WORKER: &str = "worker";

/// The machines that are not lost, sorted by what they are for.
#[derive(Debug, Default)]
pub struct Fleet<'a> {
    /// Heads; one, unless something went wrong.
    pub heads: Vec<&'a Instance>,
    /// Workers by group, those of removed groups too.
    pub workers: BTreeMap<String, Vec<&'a Instance>>,
    /// Ours, but nobody knows what for: their tags are gone and so is the record of their launch.
    pub unassigned: Vec<&'a Instance>,
}

/// What a machine is for.
enum Role {
    Head,
    Worker(String),
    Unknown,
}

impl<'a> Fleet<'a> {
    /// Sorts what was seen.
    #[must_use]
    pub fn of(observed: &'a Observed) -> Self {
        let mut fleet = Self::default();
        let recorded = recorded_groups(observed);
        for machine in observed
            .inventory
            .instance
            .ours
            .values()
            .filter(|machine| !machine.is_lost())
        {
            match role(machine, observed, &recorded) {
                Role::Head => fleet.heads.push(machine),
                Role::Worker(group) => fleet.workers.entry(group).or_default().push(machine),
                Role::Unknown => fleet.unassigned.push(machine),
            }
        }
        fleet.place_head(observed);
        // The oldest launch first, and ids where launches are equal, so that every pass sees the same order.
        let order = |machine: &&Instance| (machine.launch(), machine.id.clone());
        fleet.heads.sort_by_cached_key(order);
        fleet
            .workers
            .values_mut()
            .for_each(|group| group.sort_by_cached_key(order));
        fleet
    }

    /// Where no head is known, the one machine that has a head's address is it.
    fn place_head(&mut self, observed: &Observed) {
        let mut at_its_place =
            (0..self.unassigned.len()).filter(|at| has_heads_address(self.unassigned[*at], observed));
        if let (true, Some(at), None) = (self.heads.is_empty(), at_its_place.next(), at_its_place.next()) {
            self.heads.push(self.unassigned.remove(at));
        }
    }

    /// Every machine.
    pub fn all(&self) -> impl Iterator<Item = &'a Instance> {
        self.heads
            .iter()
            .chain(self.workers.values().flatten())
            .chain(&self.unassigned)
            .copied()
    }

    /// The ids of those in one of these states.
    #[must_use]
    pub fn ids_in(&self, states: &[InstanceState]) -> Vec<String> {
        self.all()
            .filter(|machine| states.contains(&machine.state))
            .map(|machine| machine.id.clone())
            .collect()
    }
}

/// Whether a machine has the private address that heads get, and workers do not: they are launched while a head has it.
fn has_heads_address(machine: &Instance, observed: &Observed) -> bool {
    let recorded = observed.recorded.head.as_ref();
    let recorded = recorded.and_then(|head| head.private_address.clone());
    let subnet = machine.subnet_id.as_ref();
    let subnet = subnet.and_then(|id| observed.inventory.subnet.get(id)?.cidr.parse().ok());
    let preferred = subnet.map(|cidr| preferred_head_address(cidr).to_string());
    machine.private_address.is_some() && [recorded, preferred].contains(&machine.private_address)
}

/// The groups of the workers that the last status names.
fn recorded_groups(observed: &Observed) -> BTreeMap<&str, &str> {
    let groups = observed.recorded.worker_groups.iter();
    let workers = groups.flat_map(|group| group.machines.iter().map(move |worker| (worker, group)));
    workers
        .map(|(worker, group)| (worker.instance_id.as_str(), group.name.as_str()))
        .collect()
}

/// By the record of its launch or the last status, which nobody can change on AWS; where both are gone, by its tags.
fn role(machine: &Instance, observed: &Observed, recorded_groups: &BTreeMap<&str, &str>) -> Role {
    let number = machine.launch();
    if let Some(launch) = observed
        .ledger
        .launches
        .iter()
        .find(|launch| Some(launch.number) == number)
    {
        return launch.group.clone().map_or(Role::Head, Role::Worker);
    }
    let recorded = &observed.recorded;
    if recorded
        .head
        .as_ref()
        .is_some_and(|head| head.instance_id.as_deref() == Some(&machine.id))
    {
        return Role::Head;
    }
    if let Some(group) = recorded_groups.get(machine.id.as_str()) {
        return Role::Worker((*group).to_owned());
    }
    match (
        machine.tags.get(tags::ROLE).map(String::as_str),
        machine.tags.get(tags::GROUP),
    ) {
        (Some(HEAD), _) => Role::Head,
        (Some(WORKER), Some(group)) => Role::Worker(group.clone()),
        _ => Role::Unknown,
    }
}

/// Plans to put back the tags that machines lost, and tells of those that nobody can place.
pub(super) fn repair_tags(planner: &mut Planner<'_>, fleet: &Fleet<'_>) {
    repair(planner, Subject::Head, &fleet.heads, None);
    for (group, workers) in &fleet.workers {
        repair(planner, Subject::Workers, workers, Some(group));
    }
    for machine in &fleet.unassigned {
        let what = "was launched by Rayward for this cluster, but its tags and the record of its launch are gone: it \
                    counts as a worker of any group. Terminate it, or tag it with rayward.dev/role and \
                    rayward.dev/group";
        planner.find(Finding::kept(&machine.id, what));
    }
}

fn repair(planner: &mut Planner<'_>, subject: Subject, machines: &[&Instance], group: Option<&str>) {
    let mut untagged = Untagged::default();
    let of_all = planner.tags(if group.is_some() { WORKER } else { HEAD }, group);
    // Machines of one launch and image have the same tags.
    for alike in machines.chunk_by(|a, b| a.launch() == b.launch() && a.image_id == b.image_id) {
        let mut wanted = of_all.clone();
        if let Some(number) = alike[0].launch() {
            wanted.insert(tags::LAUNCH.into(), number.to_string());
        }
        let mut launches = planner.observed().ledger.launches.iter();
        let recorded = launches.find(|launch| Some(launch.number) == alike[0].launch());
        // Nothing but the record of the launch says these again.
        for key in [tags::REVISION, tags::SETTINGS, tags::ROOT_VOLUME, tags::CREATED_AT] {
            if let Some(value) = recorded.and_then(|launch| launch.tags.get(key)) {
                wanted.insert(key.into(), value.clone());
            }
        }
        for machine in alike {
            planner.note_untagged(&mut untagged, *machine, &wanted);
        }
    }
    planner.tag(subject, Kind::Instance, untagged);
}
