//! When a cluster is looked at again. Refused changes have their times in the plan; this is about the whole pass.

use std::{collections::BTreeSet, time::Duration};

use crate::{
    execute::{Failure, Interruption, Outcome, Performed},
    plan::{Plan, Reason, Subject},
    resources::Kind,
};

/// How soon machines, gateways and groups that are between two states are looked at again.
const IN_TRANSITION: Duration = Duration::from_secs(4);
/// How soon a deletion that seems complete is looked at once more.
const CONFIRMATION: Duration = Duration::from_secs(1);
/// How soon what may have been made without an answer is looked for: AWS shows new things within a second or two.
const UNSEEN: Duration = Duration::from_secs(2);

/// How soon what failed on a machine is tried again: as often as machines are looked at.
const MACHINE_AGAIN: Duration = Duration::from_secs(15);

/// When the next pass over a cluster is due at the latest; a change in Kubernetes or on AWS makes it earlier.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// At once.
    Now,
    /// After this time.
    After(Duration),
    /// After this time and, whatever changes, not before.
    NotBefore(Duration),
    /// Only when something changes.
    OnChange,
}

impl Next {
    /// The same, but after `delay` at the latest.
    #[must_use]
    pub fn at_latest(self, delay: Duration) -> Self {
        match self {
            Self::Now => Self::Now,
            Self::After(earlier) => Self::After(earlier.min(delay)),
            Self::NotBefore(pause) => Self::NotBefore(pause),
            Self::OnChange => Self::After(delay),
        }
    }
}

/// What of AWS a plan waits for, and how soon to look at it; `None` when the sweeps' own intervals will do. Of the
/// kinds in `unseen` something may have been made although no answer came.
#[must_use]
pub fn watch(deleting: bool, unseen: BTreeSet<Kind>, plan: &Plan) -> Option<(BTreeSet<Kind>, Duration)> {
    let kinds = |subject: Subject| -> BTreeSet<Kind> {
        match subject {
            _ if deleting => Kind::ALL.iter().copied().collect(),
            Subject::Head | Subject::Workers => BTreeSet::from([Kind::Instance]),
            Subject::Network => {
                let is_network = |kind: &&Kind| !matches!(kind, Kind::Instance | Kind::Bucket);
                Kind::ALL.iter().filter(is_network).copied().collect()
            }
            Subject::Key | Subject::Buckets | Subject::Cluster => BTreeSet::new(),
        }
    };
    let watched = plan.waiting.iter().filter_map(|waiting| {
        let after = match waiting.reason {
            Reason::ConfirmGone => CONFIRMATION,
            Reason::MachinesPending | Reason::InTransition => IN_TRANSITION,
            _ => return None,
        };
        Some((kinds(waiting.subject), after))
    });
    watched
        .chain(std::iter::once((unseen, UNSEEN)))
        .filter(|(kinds, _)| !kinds.is_empty())
        .reduce(|(mut kinds, after), (more, sooner)| {
            kinds.extend(more);
            (kinds, after.min(sooner))
        })
}

/// When a pass is made again after `outcome`. `failures` counts passes in a row that Kubernetes failed, this one
/// included; `jitter` lies between 0 and 1.
#[must_use]
pub fn next(outcome: &Outcome, failures: u32, jitter: f64) -> Next {
    let has_failed = |performed: &Performed| matches!(performed.result, Err(Failure::Kubernetes(_)));
    match outcome.interrupted {
        Some(Interruption::Conflict | Interruption::TimedOut) => Next::Now,
        Some(Interruption::Gone | Interruption::Stopped) => Next::OnChange,
        None if outcome.performed.iter().any(has_failed) => Next::After(after_failures(failures, jitter)),
        None => {
            let next = outcome.plan.next_check.map_or(Next::OnChange, Next::After);
            // What failed on a machine shows in no look, so nothing else brings the next try.
            let on_machine = |performed: &Performed| matches!(performed.result, Err(Failure::Machine(_)));
            if outcome.performed.iter().any(on_machine) {
                next.at_latest(MACHINE_AGAIN)
            } else {
                next
            }
        }
    }
}

/// The pause after the `failures`-th failure of Kubernetes in a row: doubling from half a second to a minute, with up
/// to a quarter less by chance, so that clusters that failed together do not come back together.
#[must_use]
pub fn after_failures(failures: u32, jitter: f64) -> Duration {
    Duration::from_millis(500)
        .saturating_mul(1 << failures.saturating_sub(1).min(16))
        .min(Duration::from_mins(1))
        .mul_f64(1.0 - jitter.clamp(0.0, 1.0) / 4.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::Waiting;

    #[test]
    fn pauses_double_up_to_a_minute_and_chance_only_shortens_them() {
        let pauses: Vec<u128> = (1..=9).map(|times| after_failures(times, 0.0).as_millis()).collect();
        assert_eq!(pauses, [500, 1000, 2000, 4000, 8000, 16_000, 32_000, 60_000, 60_000]);
        assert_eq!(after_failures(100, 1.0), Duration::from_secs(45));
    }

    fn waiting(waits: &[(Subject, Reason)]) -> Plan {
        let wait = |(subject, reason): &(Subject, Reason)| Waiting {
            subject: *subject,
            reason: *reason,
            message: String::new(),
        };
        Plan {
            waiting: waits.iter().map(wait).collect(),
            ..Plan::default()
        }
    }

    #[test]
    fn only_what_changes_by_itself_is_watched() {
        let none = BTreeSet::new;
        assert_eq!(
            watch(false, none(), &waiting(&[(Subject::Head, Reason::Refused)])),
            None
        );
        let pending = waiting(&[
            (Subject::Head, Reason::MachinesPending),
            (Subject::Workers, Reason::InTransition),
        ]);
        assert_eq!(
            watch(false, none(), &pending),
            Some((BTreeSet::from([Kind::Instance]), IN_TRANSITION))
        );
    }

    #[test]
    fn the_end_of_a_deletion_is_confirmed_by_all_kinds_and_soon() {
        let waits = [
            (Subject::Head, Reason::InTransition),
            (Subject::Cluster, Reason::ConfirmGone),
        ];
        assert_eq!(
            watch(true, BTreeSet::new(), &waiting(&waits)),
            Some((Kind::ALL.iter().copied().collect(), CONFIRMATION))
        );
    }

    #[test]
    fn what_may_have_been_made_without_an_answer_is_looked_for() {
        let unseen = BTreeSet::from([Kind::Vpc]);
        assert_eq!(watch(false, unseen.clone(), &Plan::default()), Some((unseen, UNSEEN)));
    }

    #[test]
    fn a_latest_time_only_shortens() {
        let minute = Duration::from_mins(1);
        assert_eq!(Next::OnChange.at_latest(minute), Next::After(minute));
        assert_eq!(
            Next::After(Duration::ZERO).at_latest(minute),
            Next::After(Duration::ZERO)
        );
        assert_eq!(Next::Now.at_latest(minute), Next::Now);
    }
}
