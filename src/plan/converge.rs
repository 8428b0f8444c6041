//! The plan of a cluster that is to exist: each resource plans itself, in the order in which they need each other.

use super::{Planner, Subject};
use crate::{resources::vpc, validate::Network};

pub(super) fn plan(planner: &mut Planner<'_>) {
    if let Network::Own { cidr, .. } = &planner.cluster().network {
        vpc::plan(planner, &cidr.to_string());
    }
    let _ = Subject::Network;
}
