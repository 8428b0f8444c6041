//! Whether anybody uses a cluster, by what Ray and its machines tell. What is not known is never "nobody".

use std::{collections::BTreeSet, time::Duration};

use super::{Planner, fleet::Fleet, idle::IdleReason};
use crate::{
    api::IdleSignals,
    ray::facts::{Blindness, Look, People as Told, Report, Signal, Stage},
    resources::instance::InstanceState,
};

/// How old what a machine tells of people may be: those that work are asked once a minute.
const REPORT_AGE: Duration = Duration::from_mins(2);
/// Looks at Ray that are older than so many intervals tell nothing any more.
const INTERVALS: u32 = 3;

/// What is known of a cluster's use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Usage {
    /// Something uses it.
    InUse {
        /// In short: `a job, an SSH session`.
        signals: String,
        /// Which: `a job (raysubmit_1), an SSH session (i-1)`.
        details: String,
    },
    /// Nothing does.
    Idle {
        /// How long ago the look at Ray began.
        age: Duration,
        /// How long ago it ended.
        ended: Duration,
        /// How long ago the oldest look began on which this rests, those at machines included.
        oldest: Duration,
    },
    /// Nobody can tell.
    Unknown(Darkness),
}

/// What cannot be seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Darkness {
    /// The reason of a condition.
    pub reason: &'static str,
    /// What was tried, on what, and what came of it.
    pub message: String,
    /// For how long this process has not seen it.
    pub since: Duration,
    /// Nobody has looked yet.
    pub is_unlooked: bool,
    /// It was seen, and too long ago: that it is seen again is no news.
    pub is_old: bool,
}

/// What all looks together tell of the use of a cluster whose head runs.
pub(super) fn usage(planner: &Planner<'_>, fleet: &Fleet<'_>) -> Usage {
    let (ray, limits) = (&planner.observed().ray, &planner.inputs.limits.ray);
    let read = planner.observed().ray_age;
    let people = People::of(planner, fleet, read);
    let mut told: Vec<(Signal, String)> = people.seen;
    if let Some(activity) = ray.activity.known() {
        let signals = &activity.signals;
        told.extend(signals.iter().map(|(signal, which)| (*signal, which.clone())));
    }
    if !told.is_empty() {
        return in_use(told);
    }
    let dark = |why: &Blindness, message: &str, since: Duration| {
        Usage::Unknown(Darkness {
            reason: why.name(),
            message: message.to_owned(),
            since: since.saturating_add(read),
            is_unlooked: *why == Blindness::NotLooked,
            is_old: false,
        })
    };
    let age = match (&ray.view, &ray.activity) {
        (Look::Known { .. }, Look::Known { age, .. }) => age.saturating_add(read),
        (
            Look::Unknown {
                why, message, since, ..
            },
            _,
        )
        | (
            _,
            Look::Unknown {
                why, message, since, ..
            },
        ) => return dark(why, message, *since),
    };
    if age > limits.look_interval * INTERVALS {
        return Usage::Unknown(Darkness {
            reason: Blindness::Stale.name(),
            message: "the last look at Ray is too old".into(),
            since: age,
            is_unlooked: false,
            is_old: true,
        });
    }
    match people.unseen {
        Some(darkness) => Usage::Unknown(darkness),
        None => Usage::Idle {
            age,
            ended: age.saturating_sub(ray.took),
            oldest: age.max(people.oldest),
        },
    }
}

fn in_use(mut told: Vec<(Signal, String)>) -> Usage {
    told.sort();
    let kinds: BTreeSet<Signal> = told.iter().map(|(signal, _)| *signal).collect();
    let kinds: Vec<String> = kinds.iter().map(ToString::to_string).collect();
    let details = told.iter().map(|(signal, which)| match which.as_str() {
        "" => signal.to_string(),
        which => format!("{signal} ({which})"),
    });
    Usage::InUse {
        signals: kinds.join(", "),
        details: details.collect::<Vec<_>>().join(", "),
    }
}

/// What the machines tell of people on them.
struct People {
    /// Those that count, and on which machine.
    seen: Vec<(Signal, String)>,
    /// The first machine that cannot be asked.
    unseen: Option<Darkness>,
    /// Age of the oldest answer.
    oldest: Duration,
}

impl People {
    /// On every machine that runs, unless no sign of people counts.
    fn of(planner: &Planner<'_>, fleet: &Fleet<'_>, read: Duration) -> Self {
        let mut people = Self {
            seen: Vec::new(),
            unseen: None,
            oldest: Duration::ZERO,
        };
        let idle = &planner.cluster().idle;
        if !idle.asks_for_people() {
            return people;
        }
        let ray = &planner.observed().ray;
        for machine in fleet.all().filter(|machine| machine.state == InstanceState::Running) {
            let id = &machine.id;
            match ray.reports.get(id) {
                Some(Look::Known { fact, age }) if age.saturating_add(read) <= REPORT_AGE => {
                    people.oldest = people.oldest.max(age.saturating_add(read));
                    let Some(told) = fact.people else {
                        let since = ray.people_untold.get(id).copied().unwrap_or(*age);
                        people.miss(id, untold(fact), since.saturating_add(read), (false, false));
                        continue;
                    };
                    let counted = counted(told, idle.signals);
                    people.seen.extend(counted.map(|signal| (signal, id.clone())));
                }
                Some(Look::Known { age, .. }) => {
                    people.miss(
                        id,
                        "its last answer is too old",
                        age.saturating_add(read),
                        (false, true),
                    );
                }
                Some(Look::Unknown {
                    why, message, since, ..
                }) => {
                    let is_unlooked = *why == Blindness::NotLooked;
                    people.miss(id, message, since.saturating_add(read), (is_unlooked, false));
                }
                None => people.miss(id, "not looked at yet", Duration::ZERO, (true, false)),
            }
        }
        people
    }

    fn miss(&mut self, id: &str, why: &str, since: Duration, (is_unlooked, is_old): (bool, bool)) {
        if self.unseen.as_ref().is_none_or(|unseen| unseen.since < since) {
            self.unseen = Some(Darkness {
                reason: IdleReason::PeopleUnknown.name(),
                message: format!(
                    "{id} cannot be asked whether people are on it: {why}; without idle.signals it is not asked"
                ),
                since,
                is_unlooked,
                is_old,
            });
        }
    }
}

/// Why a machine does not tell who is on it.
fn untold(report: &Report) -> &str {
    match report.stage {
        Stage::Booting => "it has no rayward-node",
        _ => "its ps tells nothing",
    }
}

fn counted(people: Told, signals: IdleSignals) -> impl Iterator<Item = Signal> {
    let ssh = signals.ssh_sessions && people.ssh_sessions > 0;
    let jupyter = signals.jupyter_kernels && people.jupyter_kernels > 0;
    let ssh = ssh.then_some(Signal::SshSession);
    ssh.into_iter().chain(jupyter.then_some(Signal::JupyterKernel))
}
