//! Down by wish: all machines stopped or terminated, everything else kept; and up again. Why a cluster is down stands
//! in an annotation, written before the first machine goes and removed before the first one comes.

use jiff::Timestamp;

use super::{
    Action, Planner, Reason, Subject,
    action::StopMark,
    fleet::Fleet,
    idle::{self, Confirmation},
};
use crate::{
    api::IdleAction,
    observe::Observed,
    resources::{
        instance::{Instance, InstanceState},
        workers::fault,
    },
    validate::ValidCluster,
};

macro_rules! causes {
    ($($(#[$doc:meta])* $Cause:ident,)*) => {
        /// Why a cluster is down; its name is what the annotation `rayward.dev/stopped` begins with.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Cause { $($(#[$doc])* $Cause,)* }

        impl Cause {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$Cause),*];

            /// Its name in the annotation and as the reason of a condition.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self { $(Self::$Cause => stringify!($Cause),)* }
            }
        }
    };
}

causes! {
    /// The spec says `suspend: true`.
    Suspended,
    /// Nobody used it for `idle.timeout`.
    Idle,
    /// As [`Self::Idle`], and `idle.action` is `Terminate`: its machines are not stopped but gone.
    IdleTerminated,
    /// Ray could not be asked for so long that it may not go on.
    RayUnknown,
}

impl Cause {
    /// Why, and since when, by the value of the annotation: `<cause>@<time>/<uid of the object>`.
    #[must_use]
    pub fn read(mark: &str) -> Option<(Self, Option<Timestamp>)> {
        let (name, rest) = mark.split_once('@')?;
        let at = rest.split_once('/').map_or(rest, |(at, _)| at);
        let cause = Self::ALL.iter().copied().find(|cause| cause.name() == name)?;
        Some((cause, at.parse().ok()))
    }

    /// In words.
    #[must_use]
    pub fn words(self) -> &'static str {
        match self {
            Self::Suspended => "spec.suspend is true",
            Self::Idle | Self::IdleTerminated => "nobody used it for idle.timeout",
            Self::RayUnknown => "its Ray could not be asked for too long",
        }
    }

    /// How a person starts it again.
    #[must_use]
    pub fn way_up(self) -> &'static str {
        match self {
            Self::Suspended => "suspend: false starts them again",
            Self::IdleTerminated => "another value of the annotation rayward.dev/wake launches new ones",
            Self::Idle | Self::RayUnknown => "another value of the annotation rayward.dev/wake starts them again",
        }
    }
}

/// Why the cluster is to be down now; `None`: it is to be up. `suspend: true` wins; what was stopped for another reason
/// stays down until it is woken.
#[must_use]
pub fn cause(cluster: &ValidCluster, observed: &Observed) -> Option<Cause> {
    if cluster.suspend {
        return Some(Cause::Suspended);
    }
    let mark = observed.stopped.as_deref()?;
    let (cause, _) = Cause::read(mark).filter(|_| !is_of_another(mark, &cluster.id.uid))?;
    (cause != Cause::Suspended && !is_woken(observed)).then_some(cause)
}

/// Whether a mark came with an annotation that was copied, or restored onto another object.
fn is_of_another(mark: &str, uid: &str) -> bool {
    mark.split_once('/').is_some_and(|(_, marked)| marked != uid)
}

/// Whether a person asks to start it in a way that was not acted upon yet.
pub(super) fn is_woken(observed: &Observed) -> bool {
    let wishes = &observed.wishes;
    wishes.wake.is_some() && wishes.wake != wishes.wake_handled
}

/// Plans a cluster that is to be down, or still carries the mark of having been; `false`: it is up.
pub(super) fn plan(planner: &mut Planner<'_>, fleet: &Fleet<'_>) -> bool {
    let observed = planner.observed();
    let Some(cause) = cause(planner.cluster(), observed) else {
        let is_marked = observed.stopped.is_some();
        if is_marked {
            let woken = observed.wishes.wake.as_ref().filter(|_| is_woken(observed));
            let because = woken.map_or_else(
                || "nothing keeps it down any more".to_owned(),
                |text| format!("rayward.dev/wake is {text:?}"),
            );
            unmark(planner, &because);
        }
        return is_marked;
    };
    planner.plan.idle = Some(idle::while_down(observed));
    if fleet.all().next().is_none() {
        planner.tell_predecessors(Subject::Head);
    }
    let mark = observed.stopped.as_deref().and_then(Cause::read);
    let Some((_, at)) = mark.filter(|(marked, _)| *marked == cause) else {
        planner.mark_stopped(cause, cause.words());
        return true;
    };
    if cause != Cause::Suspended {
        let confirmation = if !observed.is_own_mark && is_obsolete(planner, fleet, cause, at) {
            Confirmation::Refuted
        } else if head_runs(fleet) {
            idle::confirm(planner, fleet, cause)
        } else {
            Confirmation::Holds
        };
        match confirmation {
            Confirmation::Holds => {}
            Confirmation::Pending => return true,
            Confirmation::Refuted => {
                unmark(planner, "it was not stopped, and is judged anew");
                return true;
            }
        }
    }
    if cause == Cause::IdleTerminated {
        terminate(planner, fleet);
    } else {
        stop(planner, fleet);
    }
    true
}

/// Whether a mark, written at `at` by another process, tells nothing of now: nobody acted upon it, or the cluster was
/// started since, as when a backup or a manifest from before is restored.
fn is_obsolete(planner: &Planner<'_>, fleet: &Fleet<'_>, cause: Cause, at: Option<Timestamp>) -> bool {
    let is_up = |machine: &Instance| matches!(machine.state, InstanceState::Running | InstanceState::Pending);
    let was_started_since = |machine: &Instance| is_up(machine) && at.is_none_or(|at| machine.launched_at > at);
    let is_more_than_asked = cause == Cause::IdleTerminated && planner.cluster().idle.action != IdleAction::Terminate;
    head_runs(fleet) || fleet.all().any(was_started_since) || (is_more_than_asked && fleet.all().next().is_some())
}

fn head_runs(fleet: &Fleet<'_>) -> bool {
    fleet.heads.iter().any(|head| head.state == InstanceState::Running)
}

fn unmark(planner: &mut Planner<'_>, because: &str) {
    let mark = StopMark {
        stopped: None,
        // A wish to be woken is handled once it is written down as use.
        wake_handled: planner.observed().wishes.wake_handled.clone(),
        because: because.into(),
    };
    planner.act(Subject::Cluster, Action::MarkStopped(mark));
}

impl Planner<'_> {
    /// Plans to write down that and why the cluster is to be down. What people said of waking it until now is handled
    /// if the spec says so, which wins; no other mark may swallow a wish that came with it.
    pub(super) fn mark_stopped(&mut self, cause: Cause, because: &str) {
        let now = self.inputs.now.strftime("%Y-%m-%dT%H:%M:%SZ");
        let wishes = &self.observed().wishes;
        let handled = if cause == Cause::Suspended {
            &wishes.wake
        } else {
            &wishes.wake_handled
        };
        let mark = StopMark {
            stopped: Some(format!("{}@{now}/{}", cause.name(), self.cluster().id.uid)),
            wake_handled: handled.clone(),
            because: because.into(),
        };
        self.act(Subject::Cluster, Action::MarkStopped(mark));
    }
}

/// Plans to terminate every machine of the cluster.
fn terminate(planner: &mut Planner<'_>, fleet: &Fleet<'_>) {
    let ids: Vec<String> = fleet.all().map(|machine| machine.id.clone()).collect();
    if !ids.is_empty() {
        planner.terminate(Subject::Cluster, &ids, Cause::IdleTerminated.words());
    }
    let all = planner.observed().inventory.instance.ours.values();
    let leaving = all.filter(|machine| machine.state == InstanceState::ShuttingDown);
    let leaving: Vec<&str> = leaving.map(|machine| machine.id.as_str()).collect();
    if !leaving.is_empty() {
        let message = format!("{} shutting down", leaving.join(", "));
        planner.wait(Subject::Cluster, Reason::InTransition, message);
    }
}

/// Plans to stop every machine of the cluster, head and workers together.
fn stop(planner: &mut Planner<'_>, fleet: &Fleet<'_>) {
    use InstanceState as S;
    let running = fleet.ids_in(&[S::Running]);
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
