//! Machines that never come into Ray. Each is replaced, and what it said is written into the status before; after a few
//! of a group in a row, of which none joined since, no further one of the group is launched: a set-up script that fails
//! on one fails on the next, and each costs. Another head, whose revision all workers are made from, begins anew, and
//! so does whatever else of the spec reaches the next machine of the group, and a machine that joins after all;
//! besides, one machine an hour is tried, since what was in the way may have been neither.

use std::time::Duration;

use jiff::Timestamp;

use super::{
    Limits,
    launch::volume_name,
    membership::{Member, Members},
    revision,
};
use crate::{
    api::{GroupFailures, Membership},
    bootstrap::short_hash,
    ray::facts::Look,
    resources::instance::Instance,
    validate::ValidCluster,
};

/// What is judged, and by which numbers.
#[derive(Clone, Copy, Debug)]
pub struct Trial<'a> {
    /// The cluster's machines.
    pub members: &'a Members<'a>,
    /// What is asked for.
    pub cluster: &'a ValidCluster,
    /// The numbers of this installation.
    pub limits: &'a Limits,
    /// The time.
    pub now: Timestamp,
}

impl Trial<'_> {
    /// The failures of a group with these machines, from what the last status says of them.
    #[must_use]
    pub fn failures(
        &self,
        group: &str,
        before: Option<&GroupFailures>,
        machines: &[&Instance],
    ) -> Option<GroupFailures> {
        let settings = settings(self.cluster, group);
        let head = self.members.head.as_ref().map(|head| head.machine.id.as_str());
        let of_group = machines.iter().filter_map(|machine| self.members.worker(&machine.id));
        let before = before.filter(|before| {
            let is_same_head = head.is_none_or(|head| head == before.head);
            before.settings == settings && is_same_head && !of_group.clone().any(|member| member.is_new)
        });
        let failed: Vec<&Member<'_>> = of_group.filter(|member| has_failed(member)).collect();
        let is_new = |member: &&&Member<'_>| {
            let counted = before.map_or(&[][..], |before| &before.machines);
            !counted.contains(&member.machine.id)
        };
        let mut new: Vec<&&Member<'_>> = failed.iter().filter(is_new).collect();
        // The one that tells most comes last.
        new.sort_by_key(|member| !member.is_silent() || member.machine.console.is_some());
        let machines = failed.iter().map(|member| member.machine.id.clone()).collect();
        match (new.last(), before) {
            (None, None) => None,
            (None, Some(before)) => Some(GroupFailures {
                machines,
                ..before.clone()
            }),
            (Some(last), before) => Some(GroupFailures {
                count: before.map_or(0, |before| before.count) + u32::try_from(new.len()).unwrap_or(u32::MAX),
                message: words(last),
                at: Timestamp::from_second(self.now.as_second()).unwrap_or(self.now),
                settings,
                head: head.unwrap_or_default().to_owned(),
                machines,
            }),
        }
    }

    /// How many machines of a group may be launched; `None`: nothing holds them back. `is_tried`: one is on its way.
    #[must_use]
    pub fn hold(&self, failures: Option<&GroupFailures>, is_tried: bool) -> Option<Hold> {
        let failures = failures.filter(|failures| failures.count >= self.limits.ray.repeated_failures)?;
        let since = Duration::try_from(self.now.duration_since(failures.at)).unwrap_or_default();
        let next_try = self.limits.launch_window.saturating_sub(since);
        Some(Hold {
            room: usize::from(next_try.is_zero() && !is_tried),
            next_try,
        })
    }
}

/// A short name for what of the spec reaches the next machine of a group beside the head's revision; empty for a group
/// that left the spec.
fn settings(cluster: &ValidCluster, group: &str) -> String {
    let Some(group) = cluster.groups.iter().find(|each| each.name == group) else {
        return String::new();
    };
    let profile = group.iam_instance_profile.as_deref();
    let on_it = revision::settings(&group.ray_start_params, &cluster.environment, profile);
    let disk = volume_name(&group.root_volume);
    let types = group.instance_types.iter().map(String::as_str);
    let subnets = group.subnets.iter().map(String::as_str);
    // No type is empty, so that it is plain where the subnets begin.
    short_hash(
        [on_it.as_str(), &disk]
            .into_iter()
            .chain(types)
            .chain([""])
            .chain(subnets),
    )
}

/// How a group is held back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hold {
    /// How many machines may be launched all the same.
    pub room: usize,
    /// When one is tried again.
    pub next_try: Duration,
}

/// Whether a worker never came into Ray within its time.
#[must_use]
pub fn has_failed(member: &Member<'_>) -> bool {
    member.membership == Some(Membership::Lost) && member.never_joined()
}

/// What a machine that failed said, over SSH or else on its console.
#[must_use]
pub fn words(member: &Member<'_>) -> String {
    let why = || match member.report {
        Some(Look::Unknown { message, .. }) => format!("it cannot be reached over SSH: {message}"),
        _ => "it cannot be reached over SSH".into(),
    };
    let said = member.words().unwrap_or_else(why);
    match member.console() {
        Some(console) => format!("{said}; {console}"),
        None => said,
    }
}
