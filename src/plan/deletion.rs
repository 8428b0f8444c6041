//! The plan of a cluster that is to go: in the order that AWS needs, until two looks at everything find nothing left.

use super::{Action, Planner, Reason, Subject, fleet::Fleet, network};
use crate::{
    observe::Source,
    resources::{bucket, instance::InstanceState},
};

/// How many looks at everything, begun after the last change, have to find nothing before the object may go.
const CLEAN_SWEEPS: u32 = 2;

pub(super) fn plan(planner: &mut Planner<'_>) {
    if !planner.observed().has_finalizer {
        return;
    }
    if machines_are_gone(planner) {
        network::plan_deletion(planner);
    }
    bucket::plan_deletion(planner);
    finish(planner);
}

/// Plans to terminate every machine; `true` once none is left.
fn machines_are_gone(planner: &mut Planner<'_>) -> bool {
    let observed = planner.observed();
    if let Source::Unknown(why) = &observed.inventory.instance.swept {
        planner.wait_for_look(Subject::Cluster, "machines", why);
        return false;
    }
    let fleet = Fleet::of(observed);
    let ids: Vec<String> = fleet.all().map(|machine| machine.id.clone()).collect();
    if !ids.is_empty() {
        planner.terminate(Subject::Cluster, &ids, "the cluster is being deleted");
    }
    let machines = observed.inventory.instance.ours.values();
    let leaving: Vec<&str> = machines
        .filter(|machine| machine.state == InstanceState::ShuttingDown)
        .map(|machine| machine.id.as_str())
        .collect();
    if !leaving.is_empty() {
        planner.wait(
            Subject::Cluster,
            Reason::InTransition,
            format!("{} shutting down", leaving.join(", ")),
        );
    }
    leaving.is_empty() && fleet.all().next().is_none()
}

/// Lets the object go once nothing of it is left and nothing can still appear.
fn finish(planner: &mut Planner<'_>) {
    if !planner.plan.is_converged() {
        return;
    }
    let left = planner.observed().inventory.ids();
    if !left.is_empty() {
        let ids: Vec<String> = left.into_iter().map(|(kind, id)| format!("{kind:?} {id}")).collect();
        planner.wait(
            Subject::Cluster,
            Reason::ForeignResource,
            format!("left: {}", ids.join(", ")),
        );
    } else if planner.observed().clean_sweeps < CLEAN_SWEEPS {
        let message = "everything is gone by what was seen: looking once more";
        planner.wait(Subject::Cluster, Reason::ConfirmGone, message);
    } else {
        planner.act(Subject::Cluster, Action::RemoveFinalizer);
    }
}
