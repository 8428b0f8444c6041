//! The plan of a cluster that is to exist: each resource plans itself, in the order in which they need each other.

use super::{Action, Planner, Subject, fleet, fleet::Fleet, launch::Ground, network, suspend};
use crate::{
    observe::Source,
    resources::{bucket, head, workers},
};

pub(super) fn plan(planner: &mut Planner<'_>) {
    if !planner.observed().has_finalizer {
        // Before anything is made: an object without it could vanish and leave everything behind.
        planner.act(Subject::Cluster, Action::AddFinalizer);
        return;
    }
    let ground = network::plan(planner);
    machines(planner, ground.as_ref());
    bucket::plan(planner);
}

fn machines(planner: &mut Planner<'_>, ground: Option<&Ground>) {
    let observed = planner.observed();
    if let Source::Unknown(why) = &observed.inventory.instance.swept {
        planner.wait_for_look(Subject::Head, "machines", why);
        return;
    }
    let fleet = Fleet::of(observed);
    fleet::repair_tags(planner, &fleet);
    if planner.cluster().suspend {
        suspend::plan(planner, &fleet);
    } else if suspend::is_up(planner) {
        bring_up(planner, ground, &fleet);
    }
    planner.close_unwanted_launches();
}

fn bring_up<'a>(planner: &mut Planner<'a>, ground: Option<&Ground>, fleet: &Fleet<'a>) {
    // A new network that AWS refuses to finish would leave machines that nobody can use and somebody pays for.
    let observed = planner.observed();
    let recorded = observed
        .recorded
        .head
        .as_ref()
        .and_then(|head| head.instance_id.as_ref());
    let is_new = fleet.all().next().is_none() && recorded.is_none() && observed.ledger.launches.is_empty();
    let ground = ground.filter(|_| !is_new || !planner.is_refused_for_long(Subject::Network));
    let head = head::plan(planner, ground, fleet);
    workers::plan(planner, ground, fleet, head);
}
