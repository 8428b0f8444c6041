//! Where a launch draws machines from: the grid of its types and subnets, in order of preference, without what AWS is
//! known to have too little of.

use jiff::Timestamp;

use super::{
    Planner, Reason,
    launch::{Need, Subnet, launch_key},
};
use crate::{
    api::Launch,
    aws::SUBNET_FULL,
    observe::{Pool, Refusal, Shortage},
};

/// The key under which it is remembered of one cluster that a type is not to be had in a zone, or not as a group
/// (`None`: the head) asks for it; beside [`super::Action::key`], under which the other refusals are.
#[must_use]
pub fn unsupported_key(group: Option<&str>, instance_type: &str, availability_zone: &str) -> String {
    format!("{} of {instance_type} in {availability_zone}", launch_key(group))
}

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

/// Why a type is not asked for in a subnet now, and until when.
#[derive(Clone, Copy)]
enum Bar<'a> {
    NoCapacity(Timestamp),
    NoAddress(Timestamp),
    Unsupported(&'a Refusal),
}

impl Bar<'_> {
    fn until(&self) -> Timestamp {
        match self {
            Self::NoCapacity(until) | Self::NoAddress(until) => *until,
            Self::Unsupported(refusal) => refusal.until,
        }
    }
}

/// The cells of the grid that nothing can be drawn from now, and why.
type Barred<'a> = Vec<(&'a str, &'a Subnet, Bar<'a>)>;

impl<'a> Planner<'a> {
    /// The first type and subnet that nothing is known against; says what is where there is none.
    pub(super) fn pool(&mut self, need: &Need<'_>) -> Option<(String, Subnet)> {
        let mut barred = Barred::new();
        for instance_type in need.instance_types {
            for subnet in &need.subnets {
                match self.bar(need, instance_type, subnet) {
                    None => return Some((instance_type.clone(), (*subnet).clone())),
                    Some(bar) => barred.push((instance_type, *subnet, bar)),
                }
            }
        }
        let is_short = barred.iter().any(|(_, _, bar)| !matches!(bar, Bar::Unsupported(_)));
        let reason = if is_short {
            Reason::NoCapacity
        } else {
            Reason::InvalidReference
        };
        let mut message = told(need, &barred);
        // Another cluster may have found out; then there is nothing to quote.
        if is_short && let Some(refusal) = self.observed().refusals.get(&need.refusal_key()) {
            message = format!("{message}. {}", refusal.message);
        }
        let next = barred.iter().map(|(_, _, bar)| bar.until()).min();
        self.wait(need.subject(), reason, message);
        if let Some(next) = next {
            self.check_in(next.duration_since(self.inputs.now).unsigned_abs());
        }
        None
    }

    fn bar(&self, need: &Need<'_>, instance_type: &str, subnet: &Subnet) -> Option<Bar<'a>> {
        let (observed, now) = (self.observed(), self.inputs.now);
        let until = |shortage| observed.exhausted.get(&shortage).copied().filter(|until| *until > now);
        let zone = &subnet.availability_zone;
        let pool = Pool {
            instance_type: instance_type.to_owned(),
            availability_zone: zone.clone(),
        };
        let unsupported = observed.refusals.get(&unsupported_key(need.group, instance_type, zone));
        unsupported
            .filter(|refusal| refusal.until > now)
            .map(Bar::Unsupported)
            .or_else(|| until(Shortage::Addresses(subnet.id.clone())).map(Bar::NoAddress))
            .or_else(|| until(Shortage::Capacity(pool)).map(Bar::NoCapacity))
    }
}

/// What is short, where, and what a person can do.
fn told(need: &Need<'_>, barred: &Barred<'_>) -> String {
    let name = need.name();
    let (mut capacity, mut addresses, mut unsupported) = (Barred::new(), Barred::new(), Barred::new());
    for (instance_type, subnet, bar) in barred {
        let kind = match bar {
            Bar::NoCapacity(_) => &mut capacity,
            Bar::NoAddress(_) => &mut addresses,
            Bar::Unsupported(_) => &mut unsupported,
        };
        kind.push((*instance_type, *subnet, *bar));
    }
    let types = |barred: &Barred<'_>| list(barred.iter().map(|(instance_type, ..)| *instance_type));
    let zones = |barred: &Barred<'_>| list(barred.iter().map(|(_, subnet, _)| subnet.availability_zone.as_str()));
    let mut parts = Vec::new();
    if !capacity.is_empty() {
        let (types, zones) = (types(&capacity), zones(&capacity));
        parts.push(format!(
            "no capacity for {name} ({types} in {zones}): tried again in minutes. Add another type or a subnet in \
             another zone"
        ));
    }
    if !addresses.is_empty() {
        let subnets = list(addresses.iter().map(|(_, subnet, _)| subnet.id.as_str()));
        parts.push(format!(
            "no free address for {name} in {subnets}: tried again in minutes. Add a subnet with room, or delete what \
             uses the addresses"
        ));
    }
    if let Some((_, _, Bar::Unsupported(first))) = unsupported.first() {
        let (types, zones) = (types(&unsupported), zones(&unsupported));
        parts.push(format!(
            "AWS does not launch {types} in {zones} for {name}: {}",
            first.message
        ));
    }
    parts.join(". ")
}

/// Each name once, in the order of their first mention.
fn list<'a>(names: impl Iterator<Item = &'a str>) -> String {
    let mut known: Vec<&str> = Vec::new();
    for name in names {
        if !known.contains(&name) {
            known.push(name);
        }
    }
    known.join(", ")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use jiff::SignedDuration;

    use super::*;
    use crate::{
        aws::{AwsCall, AwsError, ErrorClass},
        plan::{
            Plan,
            fleet::WORKER,
            scenario::{Scenario, group},
        },
        resources::Kind,
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
        lab.run();
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

    /// AWS does not launch this type in the zone for group cpu.
    fn unsupported(lab: &mut Scenario, instance_type: &str) {
        let error = AwsError {
            call: AwsCall::RunInstances,
            subject: "group cpu".into(),
            class: ErrorClass::Unsupported,
            code: "Unsupported".into(),
            message: format!("{instance_type} is not supported"),
        };
        let refusal = Refusal {
            class: error.class,
            kind: Kind::Instance,
            message: error.to_string(),
            code: error.code,
            times: 1,
            until: lab.now + SignedDuration::from_mins(1),
        };
        let key = unsupported_key(Some("cpu"), instance_type, ZONE);
        lab.observed.refusals.insert(key, refusal);
    }

    #[test]
    fn a_type_that_a_zone_does_not_have_is_skipped_and_needs_a_person_when_no_other_is_left() {
        let (mut lab, _) = lab();
        lab.cluster.groups.push(group("other", 1));
        let types = ["p5.48xlarge", "m5.large"];
        for group in &mut lab.cluster.groups {
            group.instance_types = types.map(Into::into).into();
        }
        lab.cluster.groups[0].replicas = 3;
        unsupported(&mut lab, types[0]);
        let record = "record launch 103 (1 x m5.large for cpu) launch 104 (1 x p5.48xlarge for other)";
        assert_eq!(lab.lines(), [record], "another group may ask for it in another way");
        lab.cluster.groups[1].replicas = 0;

        lacks(&mut lab, capacity(types[1]));
        let plan = lab.plan();
        let message = told(&plan, Reason::NoCapacity);
        assert!(
            message.starts_with("no capacity for group cpu (m5.large in ap-southeast-1a)"),
            "{message}"
        );
        assert!(message.contains("p5.48xlarge is not supported"), "{message}");

        lab.observed.exhausted.clear();
        unsupported(&mut lab, types[1]);
        let plan = lab.plan();
        let message = told(&plan, Reason::InvalidReference);
        assert!(
            message.contains("AWS does not launch p5.48xlarge, m5.large in ap-southeast-1a"),
            "{message}"
        );
        assert!(message.contains("choose an instance type"), "{message}");
        assert_eq!(plan.next_check, Some(Duration::from_mins(1)));
        lab.now += SignedDuration::from_mins(2);
        assert_eq!(
            lab.lines(),
            ["record launch 103 (1 x p5.48xlarge for cpu)"],
            "tried again"
        );
    }
}
