//! The plan of a cluster that is to exist: each resource plans itself, in the order in which they need each other.

use super::{
    Action, Planner, Subject, delivery, fleet, fleet::Fleet, healing, idle, interest, launch::Ground,
    membership::Members, network, suspend,
};
use crate::{
    observe::Source,
    ray::facts::{Blindness, Look},
    resources::{bucket, head, workers},
};

pub(super) fn plan(planner: &mut Planner<'_>) {
    if !planner.observed().has_finalizer {
        begin(planner);
        return;
    }
    let ground = network::plan(planner);
    machines(planner, ground.as_ref());
    bucket::plan(planner);
}

/// Puts the finalizer on before anything is made: an object without it could vanish and leave everything behind. Not
/// before AWS was seen in this region: the object of a region that nobody can reach has made nothing, and may go.
fn begin(planner: &mut Planner<'_>) {
    match &planner.observed().inventory.instance.swept {
        Source::Known(()) => planner.act(Subject::Cluster, Action::AddFinalizer),
        Source::Unknown(why) => {
            for subject in [Subject::Network, Subject::Head, Subject::Workers, Subject::Buckets] {
                planner.wait_for_look(subject, "machines", why);
            }
        }
    }
}

fn machines(planner: &mut Planner<'_>, ground: Option<&Ground>) {
    let observed = planner.observed();
    if let Source::Unknown(why) = &observed.inventory.instance.swept {
        planner.wait_for_look(Subject::Head, "machines", why);
        return;
    }
    let fleet = Fleet::of(observed);
    let members = Members::of(observed, &fleet, &planner.inputs.limits.ray, planner.inputs.now);
    planner.plan.interest = interest::interest(planner, &members);
    await_late_looks(planner);
    fleet::repair_tags(planner, &fleet);
    let is_down = suspend::plan(planner, &fleet) || idle::plan(planner, &fleet);
    if !is_down {
        bring_up(planner, ground, &fleet, &members);
        delivery::plan(planner, &members);
    }
    planner.close_unwanted_launches();
}

/// What grew old while the look that confirms it is under way is no news to whoever looks, once it is young again.
fn await_late_looks(planner: &mut Planner<'_>) {
    fn is_old<T>(look: &Look<T>) -> bool {
        matches!(
            look,
            Look::Unknown {
                why: Blindness::Stale,
                ..
            }
        )
    }
    let ray = &planner.observed().ray;
    if is_old(&ray.view) || is_old(&ray.activity) || ray.reports.values().any(is_old) {
        planner.check_in(planner.inputs.limits.ray.look_interval);
    }
}

fn bring_up<'a>(planner: &mut Planner<'a>, ground: Option<&Ground>, fleet: &Fleet<'a>, members: &Members<'_>) {
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
    if head.is_some() {
        healing::head(planner, members);
    }
    workers::plan(planner, ground, fleet, head, members);
}
