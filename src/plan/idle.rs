//! When a cluster that nobody uses goes down: since when nobody does, until when that is waited out, and what keeps the
//! decision back. Only what is known counts, and a clock that jumped, a status that was lost and a controller that was
//! away make it wait, never hurry.

mod times;

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use times::{Judged, Times};

use super::{
    Action, Planner, Reason, Subject, WRITTEN,
    fleet::Fleet,
    suspend::{Cause, is_woken},
    usage::{Usage, usage},
};
use crate::{
    api::IdleAction,
    observe::Observed,
    resources::{head::choose, instance::InstanceState},
};

/// What [`Idleness::last_signal`] says of a cluster that a person woke.
const WAKE: &str = "a wake";
/// For how long a process that has just started leaves what the last one said.
const FIRST_LOOK: Duration = Duration::from_mins(1);
/// For how long a look that confirms the decision to stop may be sought before that is told.
const UNCONFIRMED: Duration = Duration::from_mins(1);
/// How much the deadline may waver before it is another one: looks begin seconds apart.
const WAVERING: SignedDuration = SignedDuration::from_mins(1);

macro_rules! reasons {
    ($($(#[$doc:meta])* $Name:ident,)*) => {
        /// Reasons of the condition `Idle` beside those for which Ray is unknown
        /// (see [`crate::ray::facts::Blindness`]).
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum IdleReason { $($(#[$doc])* $Name,)* }

        impl IdleReason {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$Name),*];

            /// Its name in the API.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self { $(Self::$Name => stringify!($Name),)* }
            }
        }
    };
}

reasons! {
    /// Something uses the cluster.
    InUse,
    /// Nothing does, and the time runs.
    NotInUse,
    /// Nothing does, and a person keeps it up.
    KeptAlive,
    /// Nothing does, and what a person wrote to keep it up cannot be read.
    KeepAliveUnreadable,
    /// Nothing does, and it is stopped soon.
    StoppingSoon,
    /// Whether people are on a machine is not known.
    PeopleUnknown,
    /// Nothing does, its time is over, and no look since then was whole and young enough to stop it upon.
    Unconfirmed,
    /// It has been unknown for longer than the timeout, and the cluster goes on.
    UnknownForLong,
}

/// What is known of a cluster's use, and what follows: made into the status.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Idleness {
    /// The condition; `None`: the cluster is not up, so nobody can use it.
    pub verdict: Option<Verdict>,
    /// When it was last used.
    pub last_activity: Option<Timestamp>,
    /// What used it then.
    pub last_signal: Option<String>,
    /// When it goes down if nobody uses it until then.
    pub deadline: Option<Timestamp>,
}

/// The condition `Idle`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// Whether nobody uses it; `None`: unknown.
    pub idle: Option<bool>,
    /// Why, in a word.
    pub reason: &'static str,
    /// Why, and what follows when.
    pub message: String,
}

/// Whether the decision to stop a cluster holds that was written down and not acted upon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Confirmation {
    /// It does.
    Holds,
    /// That is being looked at.
    Pending,
    /// It does not, or nobody can tell.
    Refuted,
}

/// Of a cluster that is down: when it was last used stays.
pub(super) fn while_down(observed: &Observed) -> Idleness {
    Idleness {
        last_activity: observed.recorded.last_activity_time,
        last_signal: observed.recorded.last_activity_signal.clone(),
        ..Idleness::default()
    }
}

/// Judges a cluster anew that this process has marked and whose head still runs: the mark took its time, and so does
/// AWS where it refuses.
pub(super) fn confirm(planner: &mut Planner<'_>, fleet: &Fleet<'_>, cause: Cause) -> Confirmation {
    match judge(planner, fleet) {
        Judgement::Unused {
            judged,
            cause: found,
            sought,
        } if judged.is_due && found == cause => {
            planner.plan.idle = Some(judged.idleness);
            let Some(sought) = sought else {
                return Confirmation::Holds;
            };
            planner.look_once_more(sought);
            Confirmation::Pending
        }
        _ => Confirmation::Refuted,
    }
}

/// Judges the use of a cluster that is to be up; `true`: it is to go down now, and nothing else is planned for it.
pub(super) fn plan(planner: &mut Planner<'_>, fleet: &Fleet<'_>) -> bool {
    let judgement = judge(planner, fleet);
    planner.handle_wake(&judgement);
    match judgement {
        Judgement::Unused { judged, cause, sought } => planner.take(judged, cause, sought),
        Judgement::Used { idleness, again } => {
            planner.check_in(again);
            planner.plan.idle = Some(idleness);
            false
        }
        Judgement::Stands { again } => {
            planner.check_in(again);
            false
        }
        Judgement::NotUp(idleness) => {
            planner.plan.idle = Some(idleness);
            false
        }
    }
}

/// What is to be said of the use of a cluster now.
enum Judgement {
    /// There is no head that could be used.
    NotUp(Idleness),
    /// Something uses it; judged again after this while.
    Used { idleness: Idleness, again: Duration },
    /// What was said before stands for this while.
    Stands { again: Duration },
    /// Nobody is seen using it.
    Unused {
        judged: Judged,
        /// For which it goes down.
        cause: Cause,
        /// Since when no look could confirm it; `None`: the last one does.
        sought: Option<Sought>,
    },
}

/// A look that is wanted before a cluster goes down.
#[derive(Clone, Copy)]
struct Sought {
    /// For how long.
    since: Duration,
    /// How long ago the last look began.
    age: Duration,
}

fn judge(planner: &Planner<'_>, fleet: &Fleet<'_>) -> Judgement {
    let head = choose(&fleet.heads).0;
    let head = head.filter(|head| head.state == InstanceState::Running);
    let (times, limits) = (Times::new(planner, head), &planner.inputs.limits.ray);
    let Some(head) = head else {
        return Judgement::NotUp(times.not_up());
    };
    match usage(planner, fleet) {
        Usage::InUse { signals, details } => {
            let (idleness, again) = times.in_use(signals, &details);
            Judgement::Used { idleness, again }
        }
        // What the last process saw stands until this one has looked.
        Usage::Unknown(dark) if dark.is_unlooked && dark.since < FIRST_LOOK && times.is_judged() => {
            Judgement::Stands { again: FIRST_LOOK }
        }
        // One look that failed changes nothing of what is said, as long as the time without use goes on.
        Usage::Unknown(dark) if dark.since < limits.look_interval && times.is_idle() => Judgement::Stands {
            again: limits.look_interval,
        },
        Usage::Unknown(dark) => {
            let mut judged = times.unknown(head, &dark);
            if dark.is_old {
                judged.again = Some(limits.look_interval);
            }
            Judgement::Unused {
                judged,
                cause: Cause::RayUnknown,
                sought: None,
            }
        }
        Usage::Idle { age, ended, oldest } => {
            let is_starting = fleet.all().any(|machine| machine.state == InstanceState::Pending);
            let mut judged = times.idle(age);
            judged.is_due &= !is_starting;
            let cause = match planner.cluster().idle.action {
                IdleAction::Terminate => Cause::IdleTerminated,
                IdleAction::Stop | IdleAction::None => Cause::Idle,
            };
            // The last look is one that began after the deadline, however long it took.
            let deadline = judged.idleness.deadline.unwrap_or(planner.inputs.now);
            let since = planner.since(deadline);
            let is_fresh = ended <= planner.inputs.limits.ray.confirm_age && oldest <= since;
            Judgement::Unused {
                judged,
                cause,
                sought: (!is_fresh).then_some(Sought { since, age }),
            }
        }
    }
}

impl Planner<'_> {
    /// A wish to wake a cluster that is up is use of it, and is handled once that is written down, or something else
    /// shows use: whatever becomes of this process, none is lost.
    fn handle_wake(&mut self, judgement: &Judgement) {
        let observed = self.observed();
        let Some(text) = observed.wishes.wake.clone().filter(|_| is_woken(observed)) else {
            return;
        };
        let recorded = &observed.recorded;
        let is_wake = recorded.last_activity_signal.as_deref() == Some(WAKE);
        let at = recorded.last_activity_time.filter(|_| is_wake);
        let is_written = at.is_some_and(|at| self.inputs.now.duration_since(at).abs() <= WAVERING);
        if is_written || matches!(judgement, Judgement::Used { .. }) {
            self.act(Subject::Cluster, Action::HandleWake { text });
        } else {
            self.check_in(WRITTEN);
        }
    }

    /// Enters a judgement; `true`: the cluster is to go down now.
    fn take(&mut self, mut judged: Judged, cause: Cause, sought: Option<Sought>) -> bool {
        if let Some(again) = judged.again {
            // What was seen grows old within seconds, and looks come every few: sooner shows nothing new.
            self.check_in(again.max(Duration::from_secs(1)));
        }
        let sought = sought.filter(|_| judged.is_due);
        if sought.is_some_and(|sought| sought.since > UNCONFIRMED)
            && let Some(verdict) = &mut judged.idleness.verdict
        {
            verdict.reason = IdleReason::Unconfirmed.name();
            verdict.message = format!(
                "{}. It goes on: no look since then told of Ray and of all machines in time",
                judged.because
            );
        }
        self.plan.idle = Some(judged.idleness);
        match sought {
            _ if !judged.is_due => false,
            Some(sought) => {
                self.look_once_more(sought);
                false
            }
            None => {
                self.mark_stopped(cause, &judged.because);
                true
            }
        }
    }

    fn look_once_more(&mut self, sought: Sought) {
        // Where looks do not help for long, no more of them are asked for than there are anyway.
        self.plan.look_now = sought.since <= UNCONFIRMED || sought.age >= self.inputs.limits.ray.look_interval;
        let message = "nobody uses the cluster: looking once more before it goes down";
        self.wait(Subject::Cluster, Reason::ConfirmIdle, message);
        self.check_in(self.inputs.limits.ray.look_interval);
    }
}
