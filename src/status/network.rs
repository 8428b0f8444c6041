//! The network in the status.

use super::StatusInputs;
use crate::{
    api::NetworkStatus,
    observe::{Shelf, Source},
    resources::keeper,
    validate::Network,
};

/// Ids of the network's parts. What was not looked at yet stays as it was: ids prove that a thing which lost its tags
/// is ours.
pub(super) fn network(inputs: &StatusInputs<'_>) -> Option<NetworkStatus> {
    let before = inputs.previous.network.clone().unwrap_or_default();
    let inventory = &inputs.observed.inventory;
    let status = match &inputs.cluster.network {
        Network::Existing {
            vpc_id,
            security_group_ids,
            ..
        } => NetworkStatus {
            vpc_id: Some(vpc_id.clone()),
            security_group_ids: security_group_ids.clone(),
            ..before
        },
        Network::Own { .. } => NetworkStatus {
            vpc_id: seen(&inventory.vpc, before.vpc_id, || {
                keeper(&inventory.vpc.ours, |vpc| inventory.has_content(&vpc.id)).map(|vpc| vpc.id.clone())
            }),
            ..before
        },
    };
    (status != NetworkStatus::default()).then_some(status)
}

/// What was seen, or what was known before where there was no look yet.
fn seen<T, V>(shelf: &Shelf<T>, before: V, look: impl FnOnce() -> V) -> V {
    match shelf.swept {
        Source::Known(()) => look(),
        Source::Unknown(_) => before,
    }
}
