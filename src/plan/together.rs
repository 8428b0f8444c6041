//! Starting, stopping, rebooting and terminating several machines: in one call, and in halves of it where AWS refused
//! that. EC2 carries such a call out for all of its machines or for none (EC2 API reference, `TerminateInstances`), and
//! one machine that is protected must not keep the others running.

use super::{Action, Planner, Reason, Subject};
use crate::{
    aws::ErrorClass,
    resources::{
        Change,
        instance::{Instance, InstanceChange},
    },
};

impl Planner<'_> {
    /// Plans to start machines.
    pub(crate) fn start(&mut self, subject: Subject, ids: &[String]) {
        let at = self.inputs.now;
        self.together(subject, ids, &|ids| InstanceChange::Start { ids: ids.into(), at });
    }

    /// Plans to stop machines, with `force` without waiting for their operating systems.
    pub(crate) fn stop(&mut self, subject: Subject, ids: &[String], force: bool) {
        let at = self.inputs.now;
        self.together(subject, ids, &|ids| InstanceChange::Stop {
            ids: ids.into(),
            force,
            at,
        });
    }

    /// Waits for machines that are stopping, and forces those that hang in it: once for each time that they may take.
    pub(crate) fn await_stop(&mut self, subject: Subject, stopping: &[&Instance], then: &str) {
        let timeout = self.inputs.limits.stop_timeout;
        let hangs = |machine: &&&Instance| machine.transition_at.is_some_and(|at| self.since(at) > timeout);
        let (hung, stopping): (Vec<&Instance>, Vec<&Instance>) = stopping.iter().partition(hangs);
        if !hung.is_empty() {
            let ids: Vec<String> = hung.iter().map(|machine| machine.id.clone()).collect();
            self.stop(subject, &ids, true);
        }
        if !stopping.is_empty() {
            let ids: Vec<&str> = stopping.iter().map(|machine| machine.id.as_str()).collect();
            self.wait(
                subject,
                Reason::InTransition,
                format!("{} stopping{then}", ids.join(", ")),
            );
            self.check_in(timeout);
        }
    }

    /// Plans to terminate machines.
    pub(crate) fn terminate(&mut self, subject: Subject, ids: &[String], reason: &str) {
        let machines = &self.observed().inventory.instance;
        let window = self.inputs.limits.consistency_window;
        let launched = ids
            .iter()
            .filter_map(|id| machines.get(id))
            .map(|machine| machine.launched_at);
        let absent_is_gone = launched.map(|at| self.since(at)).all(|age| age > window);
        self.together(subject, ids, &|ids| InstanceChange::Terminate {
            ids: ids.into(),
            reason: reason.into(),
            absent_is_gone,
        });
    }

    /// Plans to reboot machines.
    pub(crate) fn reboot(&mut self, subject: Subject, ids: &[String], reason: &str) {
        self.together(subject, ids, &|ids| InstanceChange::Reboot {
            ids: ids.into(),
            reason: reason.into(),
        });
    }

    fn together(&mut self, subject: Subject, ids: &[String], change: &dyn Fn(&[String]) -> InstanceChange) {
        let joint = Action::Aws(Change::Instance(change(ids)));
        let is_refused = self.observed().refusals.get(&joint.key()).is_some_and(|refusal| {
            // What is about the call and not about one of the machines is not helped by more calls.
            !matches!(
                refusal.class,
                ErrorClass::Throttled | ErrorClass::Retryable | ErrorClass::LostLease
            )
        });
        if is_refused && ids.len() > 1 {
            let (first, second) = ids.split_at(ids.len() / 2);
            self.together(subject, first, change);
            self.together(subject, second, change);
        } else {
            self.act(subject, joint);
        }
    }
}
