//! The plan of a cluster that is to exist: each resource plans itself, in the order in which they need each other.

use super::{Action, Planner, Reason, Subject, fleet, fleet::Fleet, launch::Ground, network, suspend};
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
        planner.wait(Subject::Head, Reason::NotObserved, format!("machines: {why}"));
        return;
    }
    let fleet = Fleet::of(observed);
    fleet::repair_tags(planner, &fleet);
    if planner.cluster().suspend {
        suspend::plan(planner, &fleet);
        return;
    }
    if !suspend::is_up(planner) {
        return;
    }
    // A network that AWS refuses to finish would leave machines that nobody can use and somebody pays for.
    let refused = |planner: &Planner<'_>| {
        let mut waiting = planner.plan.waiting.iter();
        waiting.any(|waiting| waiting.subject == Subject::Network && waiting.reason.needs_person())
    };
    let ground = ground.filter(|_| !refused(planner));
    let head = head::plan(planner, ground, &fleet);
    workers::plan(planner, ground, &fleet, head);
}
