//! The cap on launches: what keeps a cluster whose machines vanish as fast as they are made from costing without end.

use jiff::SignedDuration;

use super::{Action, Planner, Reason, launch::Need};
use crate::api::{Launch, LaunchState};

impl Planner<'_> {
    /// How many machines the cluster asks for, the head included.
    pub(super) fn size(&self) -> u32 {
        self.cluster().groups.iter().map(|group| group.replicas).sum::<u32>() + 1
    }

    /// How many of `need` the cap on launches allows now: a multiple of the largest size that was asked for within the
    /// window, so that a cluster that shrinks can still replace what it loses. Workers leave one such multiple of a
    /// single machine to the head.
    pub(super) fn within_cap(&mut self, need: &Need<'_>) -> Option<u32> {
        let (limits, now) = (self.inputs.limits, self.inputs.now);
        let window = SignedDuration::try_from(limits.launch_window).unwrap_or_default();
        let recorded = self.observed().ledger.launches.iter();
        let recent: Vec<&Launch> = recorded.filter(|launch| launch.recorded_at > now - window).collect();
        let counted = || recent.iter().filter(|launch| launch.state != LaunchState::Refused);

        let largest = recent.iter().map(|launch| launch.asked).fold(self.size(), u32::max);
        let cap = largest.saturating_mul(limits.launch_cap_factor);
        let planned = self.plan.actions.iter().filter_map(|action| match action {
            Action::RecordLaunches(launches) => Some(launches),
            _ => None,
        });
        let planned: u32 = planned.flatten().map(|launch| launch.count).sum();
        let used = planned + counted().map(|launch| machines(launch)).sum::<u32>();
        let of_the_head = counted().filter(|launch| launch.group.is_none());
        let kept_for_head = match need.group {
            Some(_) => limits
                .launch_cap_factor
                .saturating_sub(of_the_head.map(|launch| machines(launch)).sum()),
            None => 0,
        };
        let count = need.count.min(cap.saturating_sub(used + kept_for_head));
        if count < need.count {
            let oldest = counted().map(|launch| launch.recorded_at).min().unwrap_or(now);
            let message = format!(
                "{used} machines were launched within {}: the cap for this cluster is {cap}{}. More from {}",
                humane(limits.launch_window),
                match kept_for_head {
                    0 => String::new(),
                    kept => format!(", {kept} of it kept for the head"),
                },
                oldest + window
            );
            self.wait(need.subject(), Reason::LaunchCapReached, message);
            self.check_in((oldest + window).duration_since(now).unsigned_abs());
        }
        (count > 0).then_some(count)
    }
}

/// How many machines a launch made, as far as is known; else how many it asked for.
fn machines(launch: &Launch) -> u32 {
    match launch.instance_ids.len() {
        0 => launch.count,
        made => u32::try_from(made).unwrap_or(u32::MAX),
    }
}

fn humane(duration: std::time::Duration) -> String {
    match duration.as_secs() {
        seconds if seconds >= 60 => format!("{} min", seconds / 60),
        seconds => format!("{seconds} s"),
    }
}
