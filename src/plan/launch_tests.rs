//! Launches that were written down and are overtaken by what is asked for, and what is held back for how long.

use std::time::Duration;

use super::{
    Action, Reason,
    fleet::{HEAD, WORKER},
    scenario::{Scenario, group},
};
use crate::{
    api::LaunchState,
    aws::ErrorClass,
    observe::Refusal,
    resources::{Change, Kind, instance::InstanceChange},
    validate::Network,
};

/// The lab, all of it running.
fn running_lab() -> Scenario {
    let mut lab = Scenario::lab();
    lab.run();
    assert_eq!((lab.live(HEAD).len(), lab.live(WORKER).len()), (1, 2));
    lab
}

/// A launch for `more` workers is written down and gets no definite answer.
fn write_down(lab: &mut Scenario, more: u32) -> u64 {
    lab.cluster.groups[0].replicas += more;
    let record = lab.plan().actions.remove(0);
    lab.carry_out(&record);
    lab.observed.seen_after_launches = None;
    lab.observed.ledger.last.unwrap()
}

fn state_of(lab: &Scenario, number: u64) -> LaunchState {
    let mut launches = lab.observed.ledger.launches.iter();
    launches.find(|launch| launch.number == number).unwrap().state
}

fn reasons(lab: &Scenario) -> Vec<Reason> {
    lab.plan().waiting.iter().map(|waiting| waiting.reason).collect()
}

#[test]
fn a_launch_of_more_than_is_asked_for_by_now_is_not_sent_but_looked_for() {
    let mut lab = running_lab();
    let number = write_down(&mut lab, 3);
    lab.cluster.groups[0].replicas = 3;
    assert_eq!(lab.lines(), Vec::<String>::new());
    assert_eq!(reasons(&lab), [Reason::MachinesPending]);
    assert!(lab.plan().next_check.is_some(), "it is looked at again");
    lab.observed.seen_after_launches = Some(Duration::from_secs(30));
    assert_eq!(lab.lines(), Vec::<String>::new(), "AWS may still show what was before");

    lab.observed.seen_after_launches = Some(Duration::from_secs(61));
    let done = lab.run();
    assert_eq!(done[0], format!("close launch {number} (nothing came of it)"));
    assert_eq!(done[1], format!("record launch {} (1 x t2.medium for cpu)", number + 1));
    assert_eq!(lab.live(WORKER).len(), 3);
}

#[test]
fn a_launch_that_was_carried_out_after_all_is_closed_with_its_machines() {
    let mut lab = running_lab();
    let number = write_down(&mut lab, 1);
    let launch = lab.plan().actions.remove(0);
    let Action::Aws(change) = &launch else {
        panic!("{launch}")
    };
    let answer = lab.answer(change);
    lab.observed.inventory.fold(change, &answer);
    assert_eq!(lab.lines(), Vec::<String>::new(), "all that is asked for is there");
    assert_eq!(state_of(&lab, number), LaunchState::Open);
    lab.observed.seen_after_launches = Some(Duration::from_secs(61));
    lab.run();
    assert_eq!(state_of(&lab, number), LaunchState::Launched);
    assert_eq!(lab.live(WORKER).len(), 3);
    assert!(lab.plan().is_converged());
}

#[test]
fn a_group_that_comes_back_is_launched_as_it_is_asked_for_now() {
    let mut lab = running_lab();
    lab.cluster.groups.push(group("big", 4));
    let record = lab.plan().actions.remove(0);
    lab.carry_out(&record);
    lab.cluster.groups.pop();
    lab.observed.seen_after_launches = Some(Duration::from_secs(61));
    lab.run();
    lab.cluster.groups.push(group("big", 1));
    lab.cluster.groups[1].instance_types = vec!["m5.large".into()];
    let done = lab.run();
    assert!(
        done.contains(&"record launch 104 (1 x m5.large for big)".into()),
        "{done:?}"
    );
    assert_eq!(lab.live(WORKER).len(), 3);
}

#[test]
fn a_head_that_was_launched_and_is_not_to_be_seen_yet_gets_no_sister() {
    let mut lab = running_lab();
    let head = lab.live(HEAD).remove(0);
    let machine = lab.observed.inventory.instance.ours.remove(&head).unwrap();
    let lines = lab.lines();
    assert!(!lines.concat().contains("head"), "{lines:?}");
    assert!(reasons(&lab).contains(&Reason::MachinesPending));
    lab.observed.inventory.instance.ours.insert(head, machine);
    assert!(lab.plan().is_converged());
}

#[test]
fn groups_that_grow_together_share_the_cap() {
    let mut lab = running_lab();
    lab.limits.launch_cap_factor = 1;
    lab.cluster.groups.push(group("b", 4));
    lab.cluster.groups.push(group("c", 4));
    for launch in &mut lab.observed.ledger.launches {
        launch.instance_ids.clear();
    }
    lab.observed.ledger.launches[1].count = 6;
    assert_eq!(
        lab.lines(),
        ["record launch 103 (4 x t2.medium for b)"],
        "seven and four of eleven"
    );
    assert!(reasons(&lab).contains(&Reason::LaunchCapReached));
}

#[test]
fn a_cluster_that_shrank_still_replaces_what_it_loses() {
    let mut lab = running_lab();
    lab.cluster.groups[0].replicas = 20;
    lab.run();
    lab.cluster.groups[0].replicas = 2;
    lab.run();
    for id in lab.live(HEAD).into_iter().chain(lab.live(WORKER)) {
        lab.machine_mut(&id).state = crate::resources::instance::InstanceState::Terminated;
    }
    lab.run();
    assert_eq!((lab.live(HEAD).len(), lab.live(WORKER).len()), (1, 2));
}

#[test]
fn only_the_machines_that_came_of_a_launch_count_against_the_cap() {
    let mut lab = running_lab();
    lab.limits.launch_cap_factor = 1;
    lab.cluster.groups[0].replicas = 6;
    lab.observed.ledger.launches[1].count = 40;
    assert_eq!(lab.lines(), ["record launch 103 (4 x t2.medium for cpu)"]);
}

#[test]
fn a_refused_launch_leaves_the_record_with_the_next_one() {
    let mut lab = running_lab();
    let number = write_down(&mut lab, 1);
    let refused = crate::aws::AwsError {
        call: crate::aws::AwsCall::RunInstances,
        subject: "group cpu".into(),
        class: ErrorClass::Capacity,
        code: "InsufficientInstanceCapacity".into(),
        message: "none left".into(),
    };
    lab.observed.ledger.settle(number, Err(&refused), lab.now);
    lab.run();
    let numbers: Vec<u64> = lab
        .observed
        .ledger
        .launches
        .iter()
        .map(|launch| launch.number)
        .collect();
    assert_eq!(numbers, [101, 102, 104]);
}

fn refuse(lab: &mut Scenario, key: String, class: ErrorClass) {
    let refusal = Refusal {
        class,
        kind: Kind::Instance,
        code: "OperationNotPermitted".into(),
        message: "TerminateInstances: OperationNotPermitted: it may not be terminated".into(),
        times: 1,
        until: lab.now + jiff::SignedDuration::from_mins(1),
    };
    lab.observed.refusals.insert(key, refusal);
}

#[test]
fn one_protected_machine_does_not_keep_the_others_running() {
    let mut lab = running_lab();
    let protected = lab.live(HEAD).remove(0);
    lab.cluster.deleting = true;
    let all = lab.plan().actions.remove(0).key();
    refuse(&mut lab, all, ErrorClass::Terminal);
    // In halves, down to the one that AWS refuses alone.
    for _ in 0..3 {
        for action in lab.plan().actions {
            if action.key().contains(&protected) {
                refuse(&mut lab, action.key(), ErrorClass::Terminal);
            } else {
                lab.carry_out(&action);
            }
        }
    }
    assert_eq!((lab.live(HEAD), lab.live(WORKER)), (vec![protected.clone()], vec![]));
    let waiting = lab.plan().waiting;
    assert!(
        waiting.iter().any(|waiting| waiting.reason == Reason::Refused),
        "{waiting:?}"
    );
}

#[test]
fn a_throttled_call_for_many_machines_is_not_made_many_calls() {
    let mut lab = running_lab();
    lab.cluster.deleting = true;
    let all = lab.plan().actions.remove(0).key();
    refuse(&mut lab, all, ErrorClass::Throttled);
    assert_eq!(lab.lines(), Vec::<String>::new());
}

#[test]
fn a_machine_too_new_for_aws_to_know_everywhere_is_not_taken_for_gone() {
    let absent_is_gone = |lab: &Scenario| match lab.plan().actions.remove(0) {
        Action::Aws(Change::Instance(InstanceChange::Terminate { absent_is_gone, .. })) => absent_is_gone,
        other => panic!("{other}"),
    };
    let mut lab = running_lab();
    lab.cluster.deleting = true;
    assert!(!absent_is_gone(&lab));
    lab.now += jiff::SignedDuration::from_secs(61);
    assert!(absent_is_gone(&lab));
}

#[test]
fn a_stop_that_hangs_is_forced_once_for_each_time_it_may_take() {
    use crate::resources::instance::InstanceState as S;
    let mut lab = running_lab();
    lab.cluster.suspend = true;
    lab.run();
    let worker = lab.live(WORKER).remove(0);
    lab.machine_mut(&worker).state = S::Stopping;
    lab.machine_mut(&worker).transition_at = Some(lab.now);
    assert_eq!(reasons(&lab), [Reason::InTransition]);
    for _ in 0..2 {
        lab.now += jiff::SignedDuration::from_mins(11);
        let force = lab.plan().actions.remove(0);
        assert_eq!(force.to_string(), format!("force to stop {worker}"));
        lab.carry_out(&force);
        assert_eq!(lab.lines(), Vec::<String>::new());
        assert_eq!(reasons(&lab), [Reason::InTransition]);
    }
}

#[test]
fn a_tag_that_somebody_edited_makes_no_other_machine_of_it() {
    let mut lab = running_lab();
    let worker = lab.live(WORKER).remove(0);
    let before = lab.machine_mut(&worker).tags.clone();
    lab.machine_mut(&worker)
        .tags
        .insert(crate::tags::GROUP.into(), "gpu".into());
    let other = lab.live(WORKER).remove(1);
    lab.machine_mut(&other)
        .tags
        .insert(crate::tags::ROLE.into(), HEAD.into());
    let lines = lab.run();
    assert!(lines.iter().all(|line| line.starts_with("tag ")), "{lines:?}");
    assert_eq!(lab.machine_mut(&worker).tags, before);
}

#[test]
fn a_subnet_that_aws_refuses_to_make_does_not_keep_lost_machines_from_coming_back() {
    let mut lab = running_lab();
    let Network::Own { subnets, .. } = &mut lab.cluster.network else {
        panic!("the lab has a network of its own")
    };
    let mut second = subnets[0].clone();
    second.name = "b".into();
    second.cidr = "10.0.2.0/24".parse().unwrap();
    second.availability_zone = Some("ap-southeast-1x".into());
    subnets.push(second);
    let create = lab.plan().actions.remove(0).key();
    assert!(create.starts_with("CreateSubnet"), "{create}");
    refuse(&mut lab, create, ErrorClass::Terminal);
    for id in lab.live(HEAD).into_iter().chain(lab.live(WORKER)) {
        lab.machine_mut(&id).state = crate::resources::instance::InstanceState::Terminated;
    }
    lab.run();
    assert_eq!((lab.live(HEAD).len(), lab.live(WORKER).len()), (1, 2));
}
