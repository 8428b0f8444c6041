//! Down by wish: all machines stopped, everything else kept; and up again.

use super::{Action, Planner, Reason, Subject, fleet::Fleet};
use crate::resources::{
    Change,
    instance::{InstanceChange, InstanceState},
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
        planner.change(
            Subject::Cluster,
            Change::Instance(InstanceChange::Stop {
                ids: running,
                force: false,
            }),
        );
    }
    let pending = fleet.ids_in(&[S::Pending]);
    if !pending.is_empty() {
        let message = format!("{} starting: stopped once they run", pending.join(", "));
        planner.wait(Subject::Cluster, Reason::InTransition, message);
    }
    let (timeout, now) = (planner.inputs.limits.stop_timeout, planner.inputs.now);
    let (hung, stopping): (Vec<_>, Vec<_>) =
        fleet
            .all()
            .filter(|machine| machine.state == S::Stopping)
            .partition(|machine| {
                machine
                    .transition_at
                    .is_some_and(|at| now.duration_since(at).unsigned_abs() > timeout)
            });
    if !hung.is_empty() {
        let ids = hung.iter().map(|machine| machine.id.clone()).collect();
        planner.change(
            Subject::Cluster,
            Change::Instance(InstanceChange::Stop { ids, force: true }),
        );
    }
    if !stopping.is_empty() {
        let ids: Vec<&str> = stopping.iter().map(|machine| machine.id.as_str()).collect();
        planner.wait(
            Subject::Cluster,
            Reason::InTransition,
            format!("{} stopping", ids.join(", ")),
        );
        planner.check_in(timeout);
    }
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
