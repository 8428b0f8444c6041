//! Where machines stand and what they accept, held against what the spec says now: nothing of it changes while they
//! run.

use super::{Planner, launch::volume_name};
use crate::{
    api::{PublicAddress, VolumeSpec},
    resources::{
        instance::{Instance, InstanceState},
        unique_name,
    },
    tags,
    validate::Network,
};

/// How a machine's root disk differs from the spec.
pub(crate) fn has_other_disk(machine: &Instance, wanted: &VolumeSpec) -> Option<String> {
    let wanted = volume_name(wanted);
    match machine.tags.get(tags::ROOT_VOLUME) {
        Some(disk) => (*disk != wanted).then(|| format!("disk {disk}, now {wanted}")),
        None => Some(format!("disk unknown, for the tag {} is gone", tags::ROOT_VOLUME)),
    }
}

impl Planner<'_> {
    /// How the head's subnet, key pair and public address differ from the spec.
    pub(crate) fn head_is_placed_otherwise(&self, head: &Instance) -> Vec<String> {
        let wanted = match (&self.cluster().head.subnet, &self.cluster().network) {
            (Some(name), _) => Some(name),
            (None, Network::Own { subnets, .. }) => subnets.first().map(|subnet| &subnet.name),
            (None, Network::Existing { subnet_ids, .. }) => subnet_ids.first(),
        };
        let subnet = self.other_subnet(head, wanted.map(std::slice::from_ref).unwrap_or_default());
        let differences = [subnet, self.other_key_pair(head), self.other_public_address(head)];
        differences.into_iter().flatten().collect()
    }

    /// How a worker's subnet and key pair differ from the spec, which allows `subnets`: none named, all.
    pub(crate) fn worker_is_placed_otherwise(&self, worker: &Instance, subnets: &[String]) -> Vec<String> {
        let differences = [self.other_subnet(worker, subnets), self.other_key_pair(worker)];
        differences.into_iter().flatten().collect()
    }

    fn other_subnet(&self, machine: &Instance, allowed: &[String]) -> Option<String> {
        let name = self.subnet_name(machine)?;
        let differs = !allowed.is_empty() && !allowed.iter().any(|allowed| allowed == name);
        differs.then(|| format!("subnet {name}, now {}", allowed.join(" or ")))
    }

    /// The name of a machine's subnet in the spec.
    fn subnet_name<'m>(&'m self, machine: &'m Instance) -> Option<&'m str> {
        let id = machine.subnet_id.as_deref()?;
        match &self.cluster().network {
            Network::Existing { .. } => Some(id),
            Network::Own { .. } => {
                let subnet = self.observed().inventory.subnet.ours.get(id)?;
                subnet.tags.get(tags::GROUP).map(String::as_str)
            }
        }
    }

    fn other_key_pair(&self, machine: &Instance) -> Option<String> {
        let own = unique_name(&self.cluster().id);
        let wanted = self.cluster().key_pair.as_ref().unwrap_or(&own);
        let made_with = machine.key_name.as_ref().filter(|name| *name != wanted)?;
        Some(format!("key pair {made_with}, now {wanted}"))
    }

    /// An Elastic address comes and goes while the head runs; the one that Amazon gives is had from the launch on or
    /// not at all.
    fn other_public_address(&self, head: &Instance) -> Option<String> {
        if head.state != InstanceState::Running || head.has_elastic_address {
            return None;
        }
        match (&head.public_address, self.cluster().head.public_address) {
            (Some(address), PublicAddress::None) => Some(format!("public address {address}, now None")),
            (None, PublicAddress::Dynamic) if self.gives_public_addresses(head) => {
                Some("no public address, now Dynamic".into())
            }
            _ => None,
        }
    }

    /// Whether machines in this one's subnet get public addresses.
    fn gives_public_addresses(&self, machine: &Instance) -> bool {
        let name = self.subnet_name(machine);
        match &self.cluster().network {
            Network::Own { subnets, .. } => subnets
                .iter()
                .any(|subnet| Some(subnet.name.as_str()) == name && subnet.public),
            Network::Existing { .. } => {
                let subnet = name.and_then(|id| self.observed().inventory.subnet.get(id));
                subnet.is_some_and(|subnet| subnet.maps_public_addresses)
            }
        }
    }
}
