//! Where a launch draws machines from: the grid of its types and subnets, in order of preference, without what AWS is
//! known to have too little of.

use jiff::Timestamp;

use super::{
    Planner, Reason,
    launch::{Need, Subnet},
    waiting::told,
};
use crate::{
    api::Launch,
    aws::SUBNET_FULL,
    observe::{Pool, Shortage},
};

/// What a launch that AWS refused with this code, for want of capacity, lacked.
#[must_use]
pub fn shortage(launch: &Launch, code: &str) -> Shortage {
    if code == SUBNET_FULL {
        return Shortage::Addresses(launch.subnet_id.clone());
    }
    Shortage::Capacity(Pool {
        instance_type: launch.instance_type.clone(),
        availability_zone: launch.availability_zone.clone(),
    })
}

impl Planner<'_> {
    /// The first type and subnet for which nothing is known to be short; says what is where there is none.
    pub(super) fn pool(&mut self, need: &Need<'_>) -> Option<(String, Subnet)> {
        let mut next: Option<Timestamp> = None;
        for instance_type in need.instance_types {
            for subnet in &need.subnets {
                match self.short_until(instance_type, subnet) {
                    None => return Some((instance_type.clone(), (*subnet).clone())),
                    Some(until) => next = Some(next.map_or(until, |earlier| earlier.min(until))),
                }
            }
        }
        let message = self.shortage_message(need);
        self.wait(need.subject(), Reason::NoCapacity, message);
        if let Some(next) = next {
            self.check_in(next.duration_since(self.inputs.now).unsigned_abs());
        }
        None
    }

    /// Until when machines of this type are not asked for in this subnet, if so.
    fn short_until(&self, instance_type: &str, subnet: &Subnet) -> Option<Timestamp> {
        let pool = Pool {
            instance_type: instance_type.to_owned(),
            availability_zone: subnet.availability_zone.clone(),
        };
        let capacity = self.until(&Shortage::Capacity(pool));
        capacity.max(self.until(&Shortage::Addresses(subnet.id.clone())))
    }

    fn until(&self, shortage: &Shortage) -> Option<Timestamp> {
        let until = self.observed().exhausted.get(shortage).copied();
        until.filter(|until| *until > self.inputs.now)
    }

    fn shortage_message(&self, need: &Need<'_>) -> String {
        let is_full = |subnet: &&&Subnet| self.until(&Shortage::Addresses(subnet.id.clone())).is_some();
        let full: Vec<&str> = need
            .subnets
            .iter()
            .filter(is_full)
            .map(|subnet| subnet.id.as_str())
            .collect();
        let open = need.subnets.iter().filter(|subnet| !is_full(subnet));
        let mut zones: Vec<&str> = open.map(|subnet| subnet.availability_zone.as_str()).collect();
        zones.dedup();
        let mut told_so_far = Vec::new();
        if !full.is_empty() {
            told_so_far.push(format!(
                "no free address for {} in {}: tried again in minutes. Add a subnet with room, or delete what uses \
                 the addresses",
                need.name(),
                full.join(", ")
            ));
        }
        if !zones.is_empty() {
            told_so_far.push(format!(
                "no capacity for {} ({} in {}): tried again in minutes. Add another type or a subnet in another zone",
                need.name(),
                need.instance_types.join(", "),
                zones.join(", ")
            ));
        }
        // Another cluster may have found out; then there is nothing to quote.
        if let Some(refusal) = self.observed().refusals.get(&need.refusal_key()) {
            told_so_far.push(told(&refusal.code, &refusal.message));
        }
        told_so_far.join(". ")
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use jiff::SignedDuration;

    use super::*;
    use crate::{
        plan::{
            Plan,
            fleet::WORKER,
            scenario::{Scenario, group},
        },
        validate::{self, Network},
    };

    const ZONE: &str = "ap-southeast-1a";
    const MINUTES: Duration = Duration::from_mins(3);

    /// The lab, running, with two subnets in one zone; the ids of its subnets.
    fn lab() -> (Scenario, [String; 2]) {
        let mut lab = Scenario::lab();
        if let Network::Own { subnets, .. } = &mut lab.cluster.network {
            subnets.push(validate::Subnet {
                name: "b".into(),
                cidr: "10.0.2.0/24".parse().unwrap(),
                ..subnets[0].clone()
            });
        }
        lab.run();
        assert_eq!(lab.live(WORKER).len(), 2);
        let subnets = &lab.observed.inventory.subnet.ours;
        let id = |cidr: &str| subnets.values().find(|subnet| subnet.cidr == cidr).unwrap().id.clone();
        let ids = [id("10.0.1.0/24"), id("10.0.2.0/24")];
        (lab, ids)
    }

    fn lacks(lab: &mut Scenario, shortage: Shortage) {
        let until = lab.now + SignedDuration::try_from(MINUTES).unwrap();
        lab.observed.exhausted.insert(shortage, until);
    }

    fn capacity(instance_type: &str) -> Shortage {
        Shortage::Capacity(Pool {
            instance_type: instance_type.into(),
            availability_zone: ZONE.into(),
        })
    }

    /// What the plan says that it waits for, alone.
    fn told(plan: &Plan, reason: Reason) -> &str {
        assert!(plan.actions.is_empty(), "{plan:?}");
        assert_eq!(plan.waiting[0].reason, reason);
        &plan.waiting[0].message
    }

    #[test]
    fn a_pool_without_capacity_is_skipped_and_all_of_them_are_told() {
        let (mut lab, _) = lab();
        lab.cluster.groups.push(group("big", 1));
        lab.cluster.groups[1].instance_types = vec!["m5.large".into(), "m5a.large".into()];
        lacks(&mut lab, capacity("m5.large"));
        assert_eq!(lab.lines(), ["record launch 103 (1 x m5a.large for big)"]);
        lacks(&mut lab, capacity("m5a.large"));
        let plan = lab.plan();
        let message = told(&plan, Reason::NoCapacity);
        assert!(message.contains("m5.large, m5a.large in ap-southeast-1a)"), "{message}");
        assert_eq!(plan.next_check, Some(MINUTES));
    }

    #[test]
    fn a_full_subnet_is_no_reason_to_skip_another_of_its_zone() {
        let (mut lab, [first, second]) = lab();
        lab.cluster.groups[0].replicas = 5;
        lacks(&mut lab, Shortage::Addresses(first.clone()));
        lab.settle();
        let launch = lab.observed.ledger.launches.last().unwrap();
        assert_eq!((launch.count, &launch.subnet_id), (3, &second));

        lab.cluster.groups[0].replicas = 6;
        lacks(&mut lab, Shortage::Addresses(second.clone()));
        let plan = lab.plan();
        let message = told(&plan, Reason::NoCapacity);
        assert!(message.starts_with("no free address for group cpu"), "{message}");
        assert!(message.contains(&format!("{first}, {second}")), "{message}");
        assert_eq!(plan.next_check, Some(MINUTES));
    }
}
