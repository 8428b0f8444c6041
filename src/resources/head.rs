//! The head: one machine with a fixed private address, which every later head of the cluster gets again.

use std::net::Ipv4Addr;

use crate::{
    api::PublicAddress,
    aws::ErrorClass,
    observe::Source,
    plan::{
        Finding, Planner, Reason, Subject,
        fleet::{Fleet, HEAD, WORKER},
        launch::{Ground, Need, Subnet},
        placement::has_other_disk,
        revision::revision,
    },
    resources::instance::{Instance, InstanceState},
    tags,
    validate::{Network, preferred_head_address},
};

/// How many refusals of its address a head waits through before it takes the next: a predecessor's interface is
/// released some seconds after its machine is gone.
const ADDRESS_PATIENCE: u32 = 4;

/// Plans the head; returns it while there is one that workers can belong to.
pub(crate) fn plan<'a>(planner: &mut Planner<'a>, ground: Option<&Ground>, fleet: &Fleet<'a>) -> Option<&'a Instance> {
    let (keep, surplus) = choose(&fleet.heads);
    if !surplus.is_empty() {
        let ids: Vec<String> = surplus.iter().map(|head| head.id.clone()).collect();
        planner.find(Finding::repaired(&ids.join(", "), "is a second head"));
        planner.terminate(Subject::Head, &ids, "a cluster has one head");
    }
    let Some(head) = keep else {
        if !is_perhaps_there(planner, fleet) {
            launch(planner, ground);
        }
        return None;
    };
    match super::workers::fault(planner, head) {
        Some(fault) => {
            planner.find(Finding::repaired(&head.id, format!("the head {fault}")));
            planner.terminate(Subject::Head, std::slice::from_ref(&head.id), &fault);
            return None;
        }
        None => super::workers::bring_up(planner, Subject::Head, &[head]),
    }
    outdated(planner, head);
    Some(head)
}

/// Whether a machine that nobody can place may be the head: then none is launched beside it, and that is said.
fn is_perhaps_there(planner: &mut Planner<'_>, fleet: &Fleet<'_>) -> bool {
    if fleet.unassigned.is_empty() {
        return false;
    }
    let ids: Vec<&str> = fleet.unassigned.iter().map(|machine| machine.id.as_str()).collect();
    let message = format!(
        "{} may be the head: launched for this cluster, without tags, and the record of launches is gone. Terminate \
         each, or tag it {}={HEAD} or {}={WORKER} and {}=<worker group>",
        ids.join(", "),
        tags::ROLE,
        tags::ROLE,
        tags::GROUP,
    );
    planner.wait(Subject::Head, Reason::MachineUnplaced, message);
    true
}

/// Of several heads the one that runs, else the oldest.
pub(crate) fn choose<'a>(heads: &[&'a Instance]) -> (Option<&'a Instance>, Vec<&'a Instance>) {
    let healthy = |head: &&&Instance| head.state == InstanceState::Running && !head.impaired;
    let keep = heads.iter().find(healthy).or_else(|| heads.first()).copied();
    let surplus = heads
        .iter()
        .filter(|head| Some(head.id.as_str()) != keep.map(|keep| keep.id.as_str()));
    (keep, surplus.copied().collect())
}

fn launch(planner: &mut Planner<'_>, ground: Option<&Ground>) {
    let Some(ground) = ground else {
        planner.wait(
            Subject::Head,
            Reason::DependencyPending,
            "the head waits for the network",
        );
        return;
    };
    if planner.unseen(None) > 0 {
        let message = "a head was launched and is not to be seen yet";
        planner.wait(Subject::Head, Reason::MachinesPending, message);
        return;
    }
    let cluster = planner.cluster();
    let spec = &cluster.head;
    let subnet = match &spec.subnet {
        Some(name) => ground.subnets.iter().find(|subnet| subnet.name == *name),
        None => ground
            .subnets
            .iter()
            .find(|subnet| subnet.name == first_subnet(&cluster.network)),
    };
    let Some(subnet) = subnet else {
        let name = spec.subnet.as_deref().unwrap_or(first_subnet(&cluster.network));
        planner.wait(
            Subject::Head,
            Reason::DependencyPending,
            format!("subnet {name} is not there yet"),
        );
        return;
    };
    let image = match &planner.observed().image {
        Source::Known(image) => image,
        Source::Unknown(why) => {
            let message =
                format!("{why}. It is looked up again in seconds; spec.head.image has to name one of this region");
            let reason = match why.class {
                _ if why.refused.is_some() => Reason::ImageUnknown,
                Some(ErrorClass::NotFound) => Reason::ImageUnknown,
                None => Reason::NotObserved,
                Some(ErrorClass::Throttled) => Reason::Throttled,
                Some(_) => Reason::AwsUnavailable,
            };
            planner.wait(Subject::Head, reason, message);
            return;
        }
    };
    let Some(address) = address(planner, subnet) else {
        return;
    };
    let types = [spec.instance_type.clone()];
    let need = Need {
        group: None,
        count: 1,
        instance_types: &types,
        subnets: vec![subnet],
        root_volume: spec.root_volume.clone(),
        revision: revision(&image.id, &cluster.software),
        root_device: image.root_device.clone(),
        private_address: Some(address.to_string()),
        // An Elastic one too is put on a machine that runs, and its first boot needs a way out before: what Amazon
        // gives at the launch goes back when the Elastic one comes.
        public_address: spec.public_address != PublicAddress::None,
        head: None,
        ray_start_params: &spec.ray_start_params,
        iam_instance_profile: spec.iam_instance_profile.as_deref(),
    };
    planner.launch(ground, &need);
}

fn first_subnet(network: &Network) -> &str {
    let first = match network {
        Network::Own { subnets, .. } => subnets.first().map(|subnet| &subnet.name),
        Network::Existing { subnet_ids, .. } => subnet_ids.first(),
    };
    first.map(String::as_str).unwrap_or_default()
}

/// The private address of the next head: the last one's, else the preferred one; another only when somebody holds it.
fn address(planner: &mut Planner<'_>, subnet: &Subnet) -> Option<Ipv4Addr> {
    let observed = planner.observed();
    let recorded = observed
        .recorded
        .head
        .as_ref()
        .and_then(|head| head.private_address.as_ref()?.parse().ok());
    let first: Ipv4Addr = recorded
        .filter(|address| subnet.cidr.contains(address))
        .unwrap_or_else(|| preferred_head_address(subnet.cidr));
    let holder = |address: Ipv4Addr| {
        let text = address.to_string();
        observed.inventory.instance.all().find(|machine| {
            machine.subnet_id.as_deref() == Some(&subnet.id)
                && machine.private_address.as_ref() == Some(&text)
                && machine.state != InstanceState::Terminated
        })
    };
    let lost = holder(first).filter(|machine| machine.is_lost());
    if let Some(lost) = lost {
        let timeout = planner.inputs.limits.stop_timeout;
        let stuck = lost.transition_at.is_some_and(|at| planner.since(at) > timeout);
        if !stuck {
            let message = format!(
                "{} is still shutting down and holds the head's address {first}",
                lost.id
            );
            planner.wait(Subject::Head, Reason::InTransition, message);
            return None;
        }
    }
    let refused = observed
        .refusals
        .get("RunInstances head")
        .filter(|refusal| refusal.code == "InvalidIPAddress.InUse");
    let skip = refused.map_or(0, |refusal| refusal.times.saturating_sub(ADDRESS_PATIENCE));
    // The network's own address, its first three and its last are AWS's.
    let usable = subnet
        .cidr
        .hosts()
        .skip(3)
        .filter(|address| u32::from(*address) < u32::from(subnet.cidr.broadcast()));
    let next = std::iter::once(first)
        .chain(usable.filter(|address| *address != first))
        .filter(|address| holder(*address).is_none())
        .nth(skip as usize);
    match (next, lost) {
        (None, _) => {
            let message = format!("subnet {} has no free address for the head", subnet.id);
            planner.wait(Subject::Head, Reason::InvalidReference, message);
        }
        (Some(next), Some(lost)) => {
            let what = format!("hangs in shutting-down with the head's address {first}: the new head gets {next}");
            planner.find(Finding::repaired(&lost.id, what));
        }
        (Some(next), None) if next != first && recorded == Some(first) => {
            let what = format!("has the head's address {first} in use by something else: the new head gets {next}");
            planner.find(Finding::repaired(&subnet.id, what));
        }
        (Some(_), None) => {}
    }
    next
}

/// Tells when the head was made from an older wish.
fn outdated(planner: &mut Planner<'_>, head: &Instance) {
    let spec = &planner.cluster().head;
    let mut differences = planner.head_is_placed_otherwise(head);
    if head.instance_type != spec.instance_type {
        differences.push(format!("type {}, now {}", head.instance_type, spec.instance_type));
    }
    differences.extend(has_other_disk(head, &spec.root_volume));
    differences.extend(planner.head_is_of_other_revision(head));
    let profile = spec.iam_instance_profile.as_deref();
    differences.extend(planner.has_other_settings(head, &spec.ray_start_params, profile));
    if !differences.is_empty() {
        planner.find(Finding::outdated(
            &head.id,
            format!("the head: {}", differences.join("; ")),
        ));
    }
}
