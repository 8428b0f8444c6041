//! What a machine needs to be brought before its Ray can start: the cluster's token, which is in no user data, and the
//! head's address where that became another one.

use super::{
    Action, Planner, Subject,
    membership::{Member, Members},
};
use crate::{ray::step::MachineStep, resources::instance::InstanceState};

/// Plans to bring every machine that can be reached what it lacks. Both are safe to repeat: the same again does
/// nothing.
pub(super) fn plan(planner: &mut Planner<'_>, members: &Members<'_>) {
    let head = members.head.as_ref();
    if let Some(head) = head.filter(|head| lacks_token(head)) {
        give_token(planner, Subject::Head, head);
    }
    let heads_address = head
        .filter(|head| head.machine.state == InstanceState::Running)
        .and_then(|head| head.machine.private_address.as_deref());
    for worker in members.workers.values() {
        if lacks_token(worker) {
            give_token(planner, Subject::Workers, worker);
        }
        let known = worker.known_report().and_then(|report| report.head_address.as_deref());
        if let (Some(known), Some(address)) = (known, heads_address)
            && known != address
        {
            let step = MachineStep::SetHead {
                instance_id: worker.machine.id.clone(),
                address: address.into(),
            };
            planner.act(Subject::Workers, Action::Machine(step));
        }
    }
}

fn lacks_token(member: &Member<'_>) -> bool {
    member.known_report().is_some_and(|report| !report.has_token) && member.machine.state == InstanceState::Running
}

fn give_token(planner: &mut Planner<'_>, subject: Subject, member: &Member<'_>) {
    let instance_id = member.machine.id.clone();
    planner.act(subject, Action::Machine(MachineStep::GiveToken { instance_id }));
}
