//! What the times of one cluster come to: since when nobody has used it, when it goes down, and what is said of that.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::{IdleReason, Idleness, Verdict, WAKE, WAVERING};
use crate::{
    api::{HeadStatus, IdleAction, KEEP_ALIVE_UNTIL, Phase, WhenUnknown},
    observe::Observed,
    plan::{Planner, suspend::is_woken, usage::Darkness},
    ray::facts::Look,
    resources::instance::Instance,
};

/// How often the time of the last use is written down while the same kinds of use go on.
const WRITE_INTERVAL: SignedDuration = SignedDuration::from_mins(5);
/// How long before it stops a cluster tells so; at most half of the timeout.
const WARNING: SignedDuration = SignedDuration::from_mins(10);

/// A judgement and what is done about it.
pub(super) struct Judged {
    pub(super) idleness: Idleness,
    /// Whether it is to go down now.
    pub(super) is_due: bool,
    /// Why, for people.
    pub(super) because: String,
    /// When to judge again at the latest.
    pub(super) again: Option<Duration>,
}

/// All that the times of one cluster are computed from.
pub(super) struct Times<'a> {
    observed: &'a Observed,
    now: Timestamp,
    timeout: SignedDuration,
    proof: Duration,
    unseen_timeout: SignedDuration,
    action: IdleAction,
    when_unknown: WhenUnknown,
    /// When the last use that is written down was; it may lie ahead where a clock was set back.
    stored: Option<Timestamp>,
    /// What it was.
    signal: String,
    /// The status and the reason of the condition that is written down, since when, and its message.
    before: Option<(String, String, Timestamp, String)>,
    /// The cluster is on its way up again, or a person wants it to be up.
    is_waking: bool,
    launched_at: Option<Timestamp>,
}

impl<'a> Times<'a> {
    pub(super) fn new(planner: &Planner<'a>, head: Option<&Instance>) -> Self {
        let (observed, idle) = (planner.observed(), &planner.cluster().idle);
        let limits = &planner.inputs.limits.ray;
        let recorded = &observed.recorded;
        let condition = recorded.conditions.iter().find(|condition| condition.type_ == "Idle");
        let signed = |duration| SignedDuration::try_from(duration).unwrap_or(SignedDuration::MAX);
        Self {
            observed,
            now: planner.inputs.now,
            timeout: signed(idle.timeout),
            proof: limits.idle_proof.min(idle.timeout),
            unseen_timeout: signed(limits.unseen_timeout.max(idle.timeout)),
            action: idle.action,
            when_unknown: idle.when_unknown,
            stored: recorded.last_activity_time,
            signal: recorded
                .last_activity_signal
                .clone()
                .unwrap_or_else(|| "its last use".into()),
            before: condition.map(|condition| {
                let at = condition.last_transition_time.0;
                (
                    condition.status.clone(),
                    condition.reason.clone(),
                    at,
                    condition.message.clone(),
                )
            }),
            is_waking: observed.stopped.is_none()
                && (is_woken(observed) || matches!(recorded.phase, Some(Phase::Suspended | Phase::Suspending))),
            launched_at: head.map(|head| head.launched_at),
        }
    }

    pub(super) fn is_judged(&self) -> bool {
        self.before.is_some() && !self.is_waking
    }

    /// It was said to be idle, and no look has shown use since.
    pub(super) fn is_idle(&self) -> bool {
        self.was("True") && !self.is_waking && !self.observed.ray.idle_for.is_zero()
    }

    fn was(&self, status: &str) -> bool {
        self.before.as_ref().is_some_and(|(before, ..)| before == status)
    }

    /// The message that is written down, if it is about this reason.
    fn message_before(&self, reason: &str) -> Option<&str> {
        let before = self.before.as_ref().filter(|(_, before, ..)| before == reason);
        before.map(|(_, _, _, message)| message.as_str())
    }

    fn ago(&self, duration: Duration) -> Timestamp {
        let duration = SignedDuration::try_from(duration).unwrap_or(SignedDuration::MAX);
        self.now.saturating_sub(duration).unwrap_or(Timestamp::MIN)
    }

    fn until(&self, at: Timestamp) -> Duration {
        Duration::try_from(at.duration_since(self.now)).unwrap_or_default()
    }

    fn idleness(&self, verdict: Option<Verdict>, last: Option<(Timestamp, String)>) -> Idleness {
        let (last_activity, last_signal) = match last {
            Some((at, signal)) => (Some(whole(at)), Some(signal)),
            None => (self.stored, self.observed.recorded.last_activity_signal.clone()),
        };
        Idleness {
            verdict,
            last_activity,
            last_signal,
            deadline: None,
        }
    }

    /// Whoever wakes a cluster uses it.
    fn wake(&self) -> Option<(Timestamp, String)> {
        self.is_waking.then(|| (self.now, WAKE.to_owned()))
    }

    /// When it was woken, if nothing has been seen using it since.
    fn woken_at(&self) -> Option<Timestamp> {
        let stored = self.stored.filter(|_| self.signal == WAKE);
        let stored = stored.map(|at| at.min(self.now));
        self.is_waking.then_some(self.now).or(stored)
    }

    pub(super) fn not_up(&self) -> Idleness {
        self.idleness(None, self.wake())
    }

    /// The judgement, and when it is written anew.
    pub(super) fn in_use(&self, signals: String, details: &str) -> (Idleness, Duration) {
        let verdict = |message| Verdict {
            idle: Some(false),
            reason: IdleReason::InUse.name(),
            message,
        };
        let age = self.stored.map(|at| self.now.duration_since(at));
        let is_young = |age: &SignedDuration| !age.is_negative() && *age < WRITE_INTERVAL;
        let told = self.message_before(IdleReason::InUse.name());
        let told = told.filter(|_| self.signal == signals);
        if let (Some(age), Some(message)) = (age.filter(is_young), told) {
            let again = WRITE_INTERVAL.saturating_sub(age);
            let idleness = self.idleness(Some(verdict(message.to_owned())), None);
            (idleness, Duration::try_from(again).unwrap_or_default())
        } else {
            let idleness = self.idleness(Some(verdict(format!("in use: {details}"))), Some((self.now, signals)));
            (idleness, WRITE_INTERVAL.unsigned_abs())
        }
    }

    /// A time of AWS's or the head's clock. One that lies ahead counts as now at first sight; later what was written
    /// down then tells more.
    fn believed(&self, at: Timestamp) -> Option<Timestamp> {
        if at <= self.now {
            Some(at)
        } else {
            self.stored.is_none().then_some(self.now)
        }
    }

    /// While in use the last time is written down only now and then: what may be missing, up to `unused_since`.
    fn unwritten(&self, unused_since: Timestamp) -> Option<(Timestamp, String)> {
        let stored = self.stored.filter(|_| self.was("False"))?;
        let latest = stored.saturating_add(WRITE_INTERVAL * 2).unwrap_or(Timestamp::MAX);
        Some((unused_since.min(latest), self.signal.clone()))
    }

    fn launch(&self) -> Option<(Timestamp, String)> {
        let at = self.launched_at.and_then(|at| self.believed(at))?;
        Some((at, "the start of the head".into()))
    }

    /// When it was last used, now that nobody uses it, and has not since `unused_since`.
    fn last_use(&self, unused_since: Timestamp) -> Option<(Timestamp, String)> {
        // Times of day from before a jump of the clock tell nothing: it may have been used until then.
        let jump = self.observed.ray.clock_jumped;
        let jump = jump.map(|ago| (self.ago(ago), "before the clock jumped".to_owned()));
        let stored = match self.stored {
            Some(at) => (at.min(self.now), self.signal.clone()),
            None => (unused_since, "before the first look".to_owned()),
        };
        let end = self
            .observed
            .ray
            .activity
            .known()
            .and_then(|activity| activity.last_end);
        // The head's clock may be ahead: by more than the timeout, its times tell nothing.
        let end = end.filter(|end| end.duration_since(self.now) <= self.timeout);
        let end = end.map(|end| (end.min(self.now), "the end of a job or a driver".to_owned()));
        latest([
            Some(stored),
            self.launch(),
            end,
            self.unwritten(unused_since),
            jump,
            self.wake(),
        ])
    }

    /// Until when a person keeps it up; `Err`: what they wrote is no time.
    fn kept_until(&self) -> Result<Option<Timestamp>, String> {
        let Some(text) = &self.observed.wishes.keep_alive_until else {
            return Ok(None);
        };
        text.trim().parse().map(Some).map_err(|_| {
            let text: String = text.chars().take(64).collect();
            format!(
                "the annotation {KEEP_ALIVE_UNTIL} is {text:?}, which is no time and postpones nothing: write one like \
                 2027-01-31T18:00:00Z"
            )
        })
    }

    pub(super) fn idle(&self, age: Duration) -> Judged {
        let ray = &self.observed.ray;
        let unused_since = self.ago(ray.idle_for.saturating_add(age));
        let last = self.last_use(unused_since);
        let (used_at, signal) = last.clone().unwrap_or((self.now, self.signal.clone()));
        let used_at = whole(used_at);
        let kept_until = self.kept_until();
        let by_use = used_at.saturating_add(self.timeout).unwrap_or(Timestamp::MAX);
        let kept = kept_until.as_ref().ok().copied().flatten();
        let wished = kept.map_or(by_use, |kept| kept.max(by_use));
        let needed = self.proof;
        let acts = self.action != IdleAction::None;
        let mut deadline = self.proven(wished, unused_since, needed);
        if acts {
            deadline = self.told(deadline);
        }
        let is_over = self.now >= deadline && ray.idle_for >= needed;
        let warned_at = deadline.saturating_sub(self.warning()).unwrap_or(Timestamp::MIN);
        let follows = match self.action {
            IdleAction::Stop => format!("Its machines are stopped at {deadline}"),
            IdleAction::Terminate => format!("Its machines are terminated at {deadline}"),
            IdleAction::None => "Nothing follows: idle.action is None".into(),
        };
        let mut because = format!("nobody has used it since {used_at} ({signal})");
        let mut message = format!("{because}. {follows}");
        let mut reason = IdleReason::NotInUse;
        match kept_until {
            Ok(Some(kept)) if kept == deadline => {
                message = format!("{message}: the annotation {KEEP_ALIVE_UNTIL} says so");
                reason = IdleReason::KeptAlive;
            }
            Ok(_) => {}
            Err(what) => {
                message = format!("{message}. {what}");
                because = format!("{because}; {what}");
                reason = IdleReason::KeepAliveUnreadable;
            }
        }
        if acts && self.now >= warned_at {
            reason = IdleReason::StoppingSoon;
        }
        let verdict = Verdict {
            idle: Some(true),
            reason: reason.name(),
            message,
        };
        let again = if self.now < warned_at {
            self.until(warned_at)
        } else {
            self.until(deadline).max(needed.saturating_sub(ray.idle_for))
        };
        Judged {
            idleness: Idleness {
                deadline: acts.then_some(deadline),
                ..self.idleness(Some(verdict), last)
            },
            is_due: acts && is_over,
            because,
            again: (acts && !is_over).then_some(again),
        }
    }

    /// How long before its deadline a cluster tells of it.
    fn warning(&self) -> SignedDuration {
        WARNING.min(self.timeout / 2)
    }

    /// The deadline, or a later one where nobody has been told of it in time: the wish may just have been changed, and
    /// the last use seen, or the Ray known again, long after the time was over.
    fn told(&self, deadline: Timestamp) -> Timestamp {
        let warning = self.warning();
        let is_told = [IdleReason::StoppingSoon, IdleReason::Unconfirmed].map(IdleReason::name);
        let before = self
            .before
            .as_ref()
            .filter(|(_, reason, ..)| is_told.contains(&reason.as_str()));
        let told = before.and(self.observed.recorded.idle_deadline);
        let from_now = self.now.saturating_add(warning).unwrap_or(Timestamp::MAX);
        let earliest = told.map_or(from_now, |told| told.min(from_now));
        // It is told in the first pass after its time, which may be a while after it.
        let late = WAVERING.min(warning / 4);
        if deadline.saturating_add(late).is_ok_and(|deadline| deadline >= earliest) {
            return deadline;
        }
        whole(earliest)
    }

    /// The deadline with the time that nobody has to be seen using it. Looks begin seconds apart, so that time wavers:
    /// what is written down stays then.
    fn proven(&self, wished: Timestamp, unused_since: Timestamp, needed: Duration) -> Timestamp {
        let earliest = unused_since.checked_add(needed).unwrap_or(Timestamp::MAX);
        if earliest <= wished {
            return wished;
        }
        let told = self.observed.recorded.idle_deadline;
        let is_same = |told: &Timestamp| *told >= wished && told.duration_since(earliest).abs() <= WAVERING;
        let rounded = || whole(earliest).saturating_add(SignedDuration::from_secs(1));
        told.filter(is_same)
            .unwrap_or_else(|| rounded().unwrap_or(Timestamp::MAX))
    }

    /// Whether its Ray is known never to have answered since its head was started. Where nothing tells (the status was
    /// wiped, or is that of an old backup) it may have.
    fn never_answered(&self, head: &Instance) -> bool {
        let was_seen = match &self.observed.ray.view {
            Look::Known { .. } => true,
            Look::Unknown { last, .. } => last.is_some(),
        };
        let recorded = self.observed.recorded.head.as_ref();
        let recorded = recorded.filter(|recorded| recorded.instance_id.as_deref() == Some(&head.id));
        let is_awaited = |head: &HeadStatus, started| head.joined_time.is_none() && head.awaited_since == Some(started);
        !was_seen && recorded.is_some_and(|recorded| is_awaited(recorded, head.launched_at))
    }

    pub(super) fn unknown(&self, head: &Instance, dark: &Darkness) -> Judged {
        let unseen_since = self.ago(dark.since);
        let last = latest([
            self.stored.map(|at| (at, self.signal.clone())),
            self.launch(),
            self.unwritten(unseen_since),
            self.wake(),
        ]);
        let written = self.before.as_ref().filter(|(status, ..)| status == "Unknown");
        // What was written while the clock was ahead tells nothing.
        let is_past = |at: &Timestamp| *at <= self.now;
        let written = written.map(|(_, _, at, _)| Some(*at).filter(is_past).unwrap_or(unseen_since));
        let started = Some(head.launched_at).filter(is_past).unwrap_or(Timestamp::MIN);
        let since = whole(written.unwrap_or(self.now)).max(whole(started));
        // Or nobody can tell.
        let was_known = !self.never_answered(head);
        let patience = if was_known { self.timeout } else { self.unseen_timeout };
        let kept = self.kept_until().ok().flatten();
        let counted_from = self.woken_at().map_or(since, |at| whole(at).max(since));
        let deadline = counted_from.saturating_add(patience).unwrap_or(Timestamp::MAX);
        let deadline = kept.map_or(deadline, |kept| kept.max(deadline));
        // By the clock of the operating system, which may jump, and by this process's own.
        let whole_patience = Duration::try_from(patience).unwrap_or(Duration::MAX);
        let jumped = self.observed.ray.clock_jumped;
        let needed = if was_known || jumped.is_some_and(|ago| ago < whole_patience) {
            whole_patience
        } else {
            self.proof
        };
        let goes_down = self.action != IdleAction::None && (!was_known || self.when_unknown == WhenUnknown::Stop);
        let deadline = if goes_down { self.told(deadline) } else { deadline };
        let is_over = self.now >= deadline && dark.since >= needed;
        let what = if dark.reason == IdleReason::PeopleUnknown.name() {
            "whether people use it is not known"
        } else if was_known {
            "its Ray is not known"
        } else {
            "its Ray has not answered yet"
        };
        let follows = match (goes_down, self.action, was_known) {
            (true, _, true) => {
                format!("Its machines are stopped at {deadline} unless that ends: idle.whenUnknown is Stop")
            }
            (true, _, false) => format!("Its machines are stopped at {deadline} unless it does"),
            (false, IdleAction::None, _) => "It goes on: idle.action is None".into(),
            (false, ..) => "It goes on: idle.whenUnknown is Keep".into(),
        };
        // Known now and then, and never for as long as it takes to believe that nobody uses it.
        let used_at = last.as_ref().map_or(self.now, |(at, _)| *at);
        let overdue = used_at.saturating_add(self.timeout * 2).unwrap_or(Timestamp::MAX);
        let overdue = kept.map_or(overdue, |kept| kept.max(overdue));
        let watched = SignedDuration::try_from(self.observed.ray.watched).unwrap_or(SignedDuration::MAX);
        let wavers = self.now >= overdue && watched >= self.timeout;
        let is_long = (is_over && !goes_down) || (wavers && was_known);
        let warned_at = deadline.saturating_sub(self.warning()).unwrap_or(Timestamp::MIN);
        let reason = if goes_down && self.now >= warned_at {
            IdleReason::StoppingSoon.name()
        } else if is_long {
            IdleReason::UnknownForLong.name()
        } else {
            dark.reason
        };
        let (opening, ending) = (format!("since {since} {what}: "), format!(". {follows}"));
        // The words for one and the same trouble differ from look to look.
        let told = self.message_before(reason);
        let told = told.filter(|told| told.starts_with(&opening) && told.ends_with(&ending));
        let message = told.map_or_else(|| format!("{opening}{}{ending}", dark.message), ToOwned::to_owned);
        let verdict = Verdict {
            idle: None,
            reason,
            message,
        };
        let again = if goes_down && self.now < warned_at {
            self.until(warned_at)
        } else {
            self.until(deadline).max(needed.saturating_sub(dark.since))
        };
        Judged {
            because: format!("since {since} {what}: {}", dark.message),
            idleness: Idleness {
                deadline: goes_down.then_some(deadline),
                ..self.idleness(Some(verdict), last)
            },
            is_due: goes_down && is_over,
            again: (!is_over).then_some(again),
        }
    }
}

/// Whole seconds, as the API server keeps them.
fn whole(at: Timestamp) -> Timestamp {
    Timestamp::from_second(at.as_second()).unwrap_or(at)
}

fn latest<const N: usize>(all: [Option<(Timestamp, String)>; N]) -> Option<(Timestamp, String)> {
    // Of equal times the first one says more.
    all.into_iter()
        .flatten()
        .reduce(|best, next| if next.0 > best.0 { next } else { best })
}
