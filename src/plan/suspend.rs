//! Down by wish: all machines stopped, everything else kept; and up again.

use super::{Action, Planner, Reason, Subject, fleet::Fleet};
use crate::resources::{
    instance::{Instance, InstanceState},
    workers::fault,
};

/// What the annotation `rayward.dev/stopped` begins with when the spec asks for it.
pub const SUSPENDED: &str = "Suspended@";

/// Plans to stop every machine of the cluster, head and workers together.
pub(super) fn plan(planner: &mut Planner<'_>, fleet: &Fleet<'_>) {
    use InstanceState as S;
    let running = fleet.ids_in(&[S::Running]);
    if planner.observed().stopped.is_none() {
        let mark = format!("{SUSPENDED}{}", planner.inputs.now.strftime("%Y-%m-%dT%H:%M:%SZ"));
        planner.act(Subject::Cluster, Action::MarkStopped(Some(mark)));
        return;
    }
    if !running.is_empty() {
        planner.stop(Subject::Cluster, &running, false);
    }
    let pending = fleet.all().filter(|machine| machine.state == S::Pending);
    let (given_up, pending): (Vec<_>, Vec<_>) = pending.partition(|machine| fault(planner, machine).is_some());
    for machine in given_up {
        let fault = fault(planner, machine).unwrap_or_default();
        planner.terminate(Subject::Cluster, std::slice::from_ref(&machine.id), &fault);
    }
    if !pending.is_empty() {
        let ids: Vec<&str> = pending.iter().map(|machine| machine.id.as_str()).collect();
        let message = format!("{} starting: stopped once they run", ids.join(", "));
        planner.wait(Subject::Cluster, Reason::InTransition, message);
        planner.check_in(planner.inputs.limits.launch_pending);
    }
    let stopping: Vec<&Instance> = fleet.all().filter(|machine| machine.state == S::Stopping).collect();
    planner.await_stop(Subject::Cluster, &stopping, "");
}

/// Plans to remove the mark of a cluster that is to be up again; `true` once nothing keeps it down.
pub(super) fn is_up(planner: &mut Planner<'_>) -> bool {
    match &planner.observed().stopped {
        Some(mark) if mark.starts_with(SUSPENDED) => {
            planner.act(Subject::Cluster, Action::MarkStopped(None));
            false
        }
        _ => true,
    }
}
