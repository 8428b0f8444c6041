//! The record of launches: what became of each, and which of them a look at AWS does not show yet.

use jiff::{SignedDuration, Timestamp};

use super::{Action, ClosedLaunch, Planner, Subject};
use crate::{
    api::{Launch, LaunchState},
    aws::{AwsError, ErrorClass},
    observe::Ledger,
    resources::{Answer, Inventory, instance::Instance},
};

impl<'a> Planner<'a> {
    /// The machines that came of a launch, as far as they are to be seen.
    pub(super) fn machines_of(&self, launch: u64) -> Vec<&'a Instance> {
        let machines = self.observed().inventory.instance.ours.values();
        machines.filter(|machine| machine.launch() == Some(launch)).collect()
    }

    /// How many machines of a group, or heads, were launched and are not to be seen yet.
    pub(crate) fn unseen(&self, group: Option<&str>) -> usize {
        let (observed, limits) = (self.observed(), self.inputs.limits);
        let may_lag = observed.machine_sweep_age.saturating_add(limits.consistency_window);
        let shown_since = self.inputs.now - SignedDuration::try_from(may_lag).unwrap_or_default();
        observed.ledger.unseen(group, &observed.inventory, shown_since) as usize
    }

    /// Closes the launches without a definite answer that are not what is asked for (any more): not before a look at
    /// AWS that shows whatever came of them. Until then they stay open, and nothing is launched in their place.
    pub(super) fn close_unwanted_launches(&mut self) {
        let observed = self.observed();
        let open = observed
            .ledger
            .launches
            .iter()
            .filter(|launch| launch.state == LaunchState::Open);
        let unwanted: Vec<ClosedLaunch> = open
            .filter(|launch| !self.wanted_launches.contains(&launch.number))
            .map(|launch| ClosedLaunch {
                number: launch.number,
                instance_ids: self
                    .machines_of(launch.number)
                    .iter()
                    .map(|machine| machine.id.clone())
                    .collect(),
            })
            .collect();
        if unwanted.is_empty() {
            return;
        }
        let window = self.inputs.limits.consistency_window;
        match observed.seen_after_launches {
            Some(after) if after > window => self.act(Subject::Cluster, Action::CloseLaunches(unwanted)),
            after => {
                self.check_in(window.saturating_sub(after.unwrap_or_default()) + std::time::Duration::from_secs(1));
            }
        }
    }
}

impl Ledger {
    /// Enters what became of a launch.
    pub fn settle(&mut self, number: u64, result: Result<&Answer, &AwsError>, now: Timestamp) {
        let Some(launch) = self.launches.iter_mut().find(|launch| launch.number == number) else {
            return;
        };
        match result {
            Ok(answer) => {
                launch.state = LaunchState::Launched;
                launch.settled_at = Some(now);
                if let Answer::Launched(machines) = answer {
                    launch.instance_ids = machines.iter().map(|machine| machine.id.clone()).collect();
                }
            }
            Err(error) => match error.class {
                ErrorClass::Terminal
                | ErrorClass::Unsupported
                | ErrorClass::Capacity
                | ErrorClass::Waiting
                | ErrorClass::NotFound => {
                    launch.state = LaunchState::Refused;
                    launch.settled_at = Some(now);
                }
                ErrorClass::Retryable => launch.uncertain = true,
                // The call was not made, or was turned away at the door.
                ErrorClass::Throttled | ErrorClass::LostLease | ErrorClass::AlreadyCarriedOut => {}
            },
        }
    }

    /// Enters new launches and drops those that count no more: what is open stays, however old; what was refused at
    /// once made nothing.
    pub fn record(&mut self, launches: &[Launch], since: Timestamp) {
        self.launches.retain(|launch| match launch.state {
            LaunchState::Open => true,
            LaunchState::Launched => launch.recorded_at > since,
            LaunchState::Refused => launch.recorded_at > since && launch.uncertain,
        });
        self.launches.extend_from_slice(launches);
        self.last = self.launches.iter().map(|launch| launch.number).max().max(self.last);
        self.held_until = None;
    }

    /// Enters that launches are not sent any more, and what came of them.
    pub fn close(&mut self, closed: &[ClosedLaunch], now: Timestamp) {
        for launch in &mut self.launches {
            let Some(closed) = closed.iter().find(|closed| closed.number == launch.number) else {
                continue;
            };
            launch.state = match closed.instance_ids.as_slice() {
                [] => LaunchState::Refused,
                _ => LaunchState::Launched,
            };
            launch.settled_at = Some(now);
            launch.instance_ids.clone_from(&closed.instance_ids);
        }
    }

    /// How many machines of `group` were launched and are not to be seen yet: a look at AWS may show what was before.
    #[must_use]
    pub(crate) fn unseen(&self, group: Option<&str>, inventory: &Inventory, shown_since: Timestamp) -> u32 {
        let launched = self.launches.iter().filter(|launch| {
            launch.group.as_deref() == group
                && launch.state == LaunchState::Launched
                && launch.settled_at.is_some_and(|at| at > shown_since)
        });
        let unseen = launched.map(|launch| {
            if launch.instance_ids.is_empty() {
                let seen = inventory
                    .instance
                    .ours
                    .values()
                    .any(|machine| machine.launch() == Some(launch.number));
                if seen { 0 } else { launch.count as usize }
            } else {
                launch
                    .instance_ids
                    .iter()
                    .filter(|id| !inventory.instance.ours.contains_key(*id))
                    .count()
            }
        });
        u32::try_from(unseen.sum::<usize>()).unwrap_or(u32::MAX)
    }
}
