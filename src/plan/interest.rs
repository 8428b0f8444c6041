//! Which machines are looked at from inside, where they answer, and by which host keys they are known.

use std::collections::BTreeSet;

use super::{
    Planner,
    membership::{Member, Members},
};
use crate::{
    api::{ControllerAccess, IdleSignals, Membership},
    ray::facts::{Interest, Peer, Signal},
    resources::instance::InstanceState,
};

/// The interest in the machines that run: the head always; closely the workers that are not in Ray, or were not when it
/// was last seen, or whose disk is full; the others for the people on them.
#[must_use]
pub(super) fn interest(planner: &Planner<'_>, members: &Members<'_>) -> Interest {
    let head = members.head.as_ref().filter(|head| runs(head));
    let Some(head) = head else { return Interest::default() };
    let reached_at = match planner.cluster().controller_access {
        ControllerAccess::Public => &head.machine.public_address,
        ControllerAccess::Private => &head.machine.private_address,
    };
    let (mut closely, mut widely) = (Vec::new(), Vec::new());
    for worker in members.workers.values().filter(|worker| runs(worker)) {
        let Some(peer) = peer(worker, worker.machine.private_address.as_deref()) else {
            continue;
        };
        let is_well = match worker.membership {
            Some(Membership::Joined) => true,
            Some(Membership::Unknown) => worker.missing_since.is_none(),
            _ => false,
        };
        if is_well && !worker.has_full_disk() {
            &mut widely
        } else {
            &mut closely
        }
        .push(peer);
    }
    Interest {
        head: peer(head, reached_at.as_deref()),
        closely,
        widely,
        accepted_host_key: planner.observed().wishes.accept_host_key.clone(),
        people: people(planner.cluster().idle.signals),
    }
}

fn people(wanted: IdleSignals) -> BTreeSet<Signal> {
    let signals = [
        (wanted.ssh_sessions, Signal::SshSession),
        (wanted.jupyter_kernels, Signal::JupyterKernel),
    ];
    signals
        .into_iter()
        .filter(|(counts, _)| *counts)
        .map(|(_, signal)| signal)
        .collect()
}

fn runs(member: &Member<'_>) -> bool {
    member.machine.state == InstanceState::Running
}

fn peer(member: &Member<'_>, address: Option<&str>) -> Option<Peer> {
    Some(Peer {
        instance_id: member.machine.id.clone(),
        address: address?.parse().ok()?,
        host_key: member.host_key.map(ToOwned::to_owned),
    })
}
