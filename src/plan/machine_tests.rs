//! How machines are planned: each case a cluster, what happened to it, and what is done about it.

use jiff::SignedDuration;

use super::{
    Finding, Outcome, Reason, Subject, Waiting,
    fleet::{HEAD, WORKER},
    scenario::{Scenario, group},
};
use crate::{
    api::{LaunchState, PublicAddress, RayClusterStatus},
    aws::{AwsCall, AwsError, ErrorClass},
    observe::{KeySecret, Refusal, Source, Unseen},
    resources::{Kind, instance::InstanceState},
    tags,
    validate::Network,
};

/// The lab, all of it running.
fn running_lab() -> Scenario {
    let mut lab = Scenario::lab();
    lab.run();
    assert_eq!((lab.live(HEAD).len(), lab.live(WORKER).len()), (1, 2));
    assert_eq!(lab.lines(), Vec::<String>::new());
    lab
}

fn reasons(lab: &Scenario) -> Vec<Reason> {
    lab.plan().waiting.iter().map(|waiting| waiting.reason).collect()
}

#[test]
fn a_launch_is_written_down_before_the_call_and_workers_follow_the_head() {
    let done = Scenario::lab().run();
    let machines: Vec<&String> = done.iter().filter(|line| line.contains("launch")).collect();
    insta::assert_debug_snapshot!(machines, @r#"
    [
        "record launch 101 (1 x t2.medium for head)",
        "launch 1 x t2.medium in subnet-7 for the head (launch 101)",
        "record launch 102 (2 x t2.medium for cpu)",
        "launch 2 x t2.medium in subnet-7 for cpu (launch 102)",
    ]
    "#);
}

#[test]
fn two_groups_are_two_calls_written_down_together() {
    let mut lab = Scenario::lab();
    lab.cluster.groups.push(group("big", 3));
    let done = lab.run();
    let records: Vec<&String> = done.iter().filter(|line| line.starts_with("record")).collect();
    assert_eq!(
        records[1],
        "record launch 102 (2 x t2.medium for cpu) launch 103 (3 x t2.medium for big)"
    );
    assert_eq!(lab.live(WORKER).len(), 5);
}

#[test]
fn the_head_gets_its_address_and_a_new_head_gets_the_same() {
    let mut lab = running_lab();
    let head = lab.live(HEAD).remove(0);
    assert_eq!(lab.machine_mut(&head).private_address.as_deref(), Some("10.0.1.10"));
    lab.machine_mut(&head).state = InstanceState::ShuttingDown;
    assert_eq!(reasons(&lab), [Reason::InTransition], "it still holds the address");
    lab.run();
    let next = lab.live(HEAD).remove(0);
    assert_ne!(next, head);
    assert_eq!(lab.machine_mut(&next).private_address.as_deref(), Some("10.0.1.10"));
    assert_eq!(lab.live(WORKER).len(), 2, "its workers stay");
}

#[test]
fn a_head_is_launched_with_a_way_out_unless_it_is_to_have_none() {
    let launched_public = |address, subnet_is_public| {
        let mut lab = Scenario::lab();
        lab.cluster.head.public_address = address;
        if let Network::Own { subnets, .. } = &mut lab.cluster.network {
            subnets[0].public = subnet_is_public;
        }
        lab.run();
        lab.observed.ledger.launches[0].public_address
    };
    assert!(launched_public(PublicAddress::Dynamic, true));
    assert!(
        launched_public(PublicAddress::Elastic, true),
        "the Elastic one comes when the machine runs: too late for its first boot"
    );
    assert!(!launched_public(PublicAddress::None, true));
    assert!(
        !launched_public(PublicAddress::Elastic, false),
        "nothing leads out of there"
    );
}

#[test]
fn a_head_that_hangs_in_shutting_down_gives_up_its_address() {
    let mut lab = running_lab();
    let head = lab.live(HEAD).remove(0);
    let long_ago = lab.now - SignedDuration::from_mins(11);
    lab.machine_mut(&head).state = InstanceState::ShuttingDown;
    lab.machine_mut(&head).transition_at = Some(long_ago);
    let told = format!("{head} hangs in shutting-down with the head's address 10.0.1.10: the new head gets 10.0.1.4");
    let findings = lab.plan().findings;
    let is_told =
        |found: &Finding| format!("{} {}", found.id, found.what) == told && found.outcome == Outcome::Repaired;
    assert!(findings.iter().any(is_told), "{findings:?}");
    lab.settle();
    let next = lab.live(HEAD).remove(0);
    assert_eq!(lab.machine_mut(&next).private_address.as_deref(), Some("10.0.1.4"));
}

#[test]
fn a_terminated_worker_is_replaced_and_a_stopped_one_started() {
    let mut lab = running_lab();
    let workers = lab.live(WORKER);
    lab.machine_mut(&workers[0]).state = InstanceState::Terminated;
    lab.machine_mut(&workers[1]).state = InstanceState::Stopped;
    let done = lab.run();
    assert_eq!(
        done.iter().filter(|line| line.starts_with("start")).count(),
        1,
        "{done:?}"
    );
    assert!(
        done.contains(&"record launch 103 (1 x t2.medium for cpu)".into()),
        "{done:?}"
    );
    assert_eq!(lab.live(WORKER).len(), 2);
}

#[test]
fn a_machine_just_started_again_is_not_taken_for_one_that_hangs() {
    let mut lab = running_lab();
    lab.now += SignedDuration::from_hours(2);
    let worker = lab.live(WORKER).remove(0);
    lab.machine_mut(&worker).state = InstanceState::Stopped;
    let done = lab.settle();
    assert_eq!(done, [format!("start {worker}")]);
    assert_eq!(reasons(&lab), [Reason::MachinesPending]);
}

#[test]
fn a_machine_that_hangs_in_pending_is_replaced() {
    let mut lab = running_lab();
    let workers = lab.live(WORKER);
    lab.machine_mut(&workers[1]).state = InstanceState::Pending;
    lab.now += SignedDuration::from_mins(6);
    let done = lab.settle();
    assert!(
        done.contains(&format!(
            "terminate {}: is still pending 300 s after its launch",
            workers[1]
        )),
        "{done:?}"
    );
    assert_eq!(lab.live(WORKER).len(), 2);
    assert!(!lab.live(WORKER).contains(&workers[1]));
}

#[test]
fn groups_that_go_make_room_before_others_come_in_one_launch_each() {
    let mut lab = running_lab();
    let removed = lab.live(WORKER);
    lab.cluster.groups = vec![group("big", 2), group("small", 1)];
    let reason = "group cpu is no longer in the spec";
    let lines = lab.lines();
    let drains: Vec<String> = removed.iter().map(|id| format!("drain {id}: {reason}")).collect();
    assert_eq!(lines[..2], drains);
    assert!(
        !lines.concat().contains("for big"),
        "there is room for one, and soon for all: {lines:?}"
    );
    for action in lab.plan().actions {
        lab.carry_out(&action);
    }
    lab.look();
    let lines = lab.lines();
    assert_eq!(lines[0], format!("terminate {}: {reason}", removed.join(", ")));
    assert!(!lines.concat().contains("for big"), "there is room for one: {lines:?}");
    let done = lab.settle();
    let launched: Vec<&String> = done.iter().filter(|line| line.starts_with("launch")).collect();
    assert_eq!(launched.len(), 2, "{done:?}");
    assert_eq!(lab.live(WORKER).len(), 3);
}

#[test]
fn a_machine_that_was_pending_when_nobody_could_look_since_is_kept() {
    let mut lab = running_lab();
    let worker = lab.live(WORKER).remove(0);
    lab.machine_mut(&worker).state = InstanceState::Pending;
    lab.now += SignedDuration::from_mins(6);
    lab.observed.machine_sweep_age = std::time::Duration::from_mins(6);
    assert_eq!(lab.lines(), Vec::<String>::new());
    assert_eq!(reasons(&lab), [Reason::MachinesPending]);
}

#[test]
fn scale_down_takes_what_does_not_run_first_then_the_newest() {
    let mut lab = running_lab();
    lab.cluster.groups[0].replicas = 4;
    lab.run();
    let workers = lab.live(WORKER);
    let oldest = workers
        .iter()
        .min_by_key(|id| lab.observed.inventory.instance.ours[*id].launch())
        .unwrap()
        .clone();
    lab.machine_mut(&oldest).state = InstanceState::Stopped;
    lab.cluster.groups[0].replicas = 2;
    lab.run();
    let kept = lab.live(WORKER);
    assert_eq!(kept.len(), 2);
    assert!(!kept.contains(&oldest), "the stopped one goes first");
    let launches: Vec<_> = kept
        .iter()
        .map(|id| lab.observed.inventory.instance.ours[id].launch())
        .collect();
    assert!(
        launches.contains(&Some(102)),
        "the newest of the others goes: {launches:?}"
    );
}

#[test]
fn a_group_that_left_the_spec_is_terminated() {
    let mut lab = running_lab();
    lab.cluster.groups.clear();
    lab.run();
    assert_eq!((lab.live(HEAD).len(), lab.live(WORKER).len()), (1, 0));
}

#[test]
fn an_open_launch_is_repeated_to_the_letter_while_it_is_part_of_what_is_asked_for() {
    let mut lab = running_lab();
    lab.cluster.groups[0].replicas = 5;
    let record = lab.plan().actions;
    lab.carry_out(&record[0]);
    let first = lab.plan().actions;
    lab.cluster.groups[0].replicas = 7;
    lab.cluster.groups[0].instance_types.push("m5.large".into());
    lab.cluster.tags.insert("team".into(), "blue".into());
    lab.now += SignedDuration::from_secs(30);
    let planned = lab.plan().actions;
    assert!(first.iter().all(|launch| planned.contains(launch)), "{planned:?}");
}

#[test]
fn machines_of_a_lost_answer_are_not_launched_again_before_they_can_be_seen() {
    let mut lab = running_lab();
    lab.cluster.groups[0].replicas = 3;
    let record = lab.plan().actions;
    lab.carry_out(&record[0]);
    lab.observed
        .ledger
        .settle(103, Ok(&crate::resources::Answer::LaunchedBefore), lab.now);
    assert_eq!(lab.lines(), Vec::<String>::new());
    assert_eq!(reasons(&lab), [Reason::MachinesPending]);
}

#[test]
fn a_refusal_after_silence_waits_for_a_look_at_what_came_of_it() {
    let mut lab = running_lab();
    lab.cluster.groups[0].replicas = 3;
    let record = lab.plan().actions;
    lab.carry_out(&record[0]);
    let error = |class| AwsError {
        call: AwsCall::RunInstances,
        subject: "group cpu".into(),
        class,
        code: "Code".into(),
        message: String::new(),
    };
    lab.observed
        .ledger
        .settle(103, Err(&error(ErrorClass::Retryable)), lab.now);
    assert_eq!(lab.observed.ledger.launches.last().unwrap().state, LaunchState::Open);
    lab.observed
        .ledger
        .settle(103, Err(&error(ErrorClass::Terminal)), lab.now);
    assert_eq!(reasons(&lab), [Reason::NotObserved]);
    lab.now += SignedDuration::from_secs(20);
    assert!(lab.lines()[0].starts_with("record launch 104"), "{:?}", lab.lines());
}

#[test]
fn a_lost_record_holds_launches_until_a_look_that_began_later() {
    let mut lab = Scenario::lab();
    lab.settle_network();
    lab.observed.ledger.last = None;
    let done = lab.settle();
    assert!(
        done.last()
            .unwrap()
            .starts_with("hold launches until 2026-11-23T12:05:00Z"),
        "{done:?}"
    );
    assert!(reasons(&lab).contains(&Reason::LaunchRecordLost));
    lab.now += SignedDuration::from_secs(301);
    lab.observed.machine_sweep_age = std::time::Duration::from_secs(10);
    assert!(
        reasons(&lab).contains(&Reason::LaunchRecordLost),
        "the look began before"
    );
    lab.observed.machine_sweep_age = std::time::Duration::ZERO;
    lab.run();
    assert_eq!((lab.live(HEAD).len(), lab.live(WORKER).len()), (1, 2));
}

#[test]
fn a_living_predecessor_means_no_launch() {
    let mut lab = Scenario::lab();
    lab.observed.predecessors = vec!["i-old".into()];
    lab.run();
    assert_eq!(lab.live(HEAD).len(), 0);
    let waiting = lab.plan().waiting;
    let told = waiting
        .iter()
        .find(|waiting| waiting.reason == Reason::PredecessorAlive);
    assert!(told.is_some_and(|told| told.message.contains("i-old")), "{waiting:?}");
}

#[test]
fn the_cap_stops_a_runaway_and_says_when_it_goes_on() {
    let mut lab = running_lab();
    for _ in 0..8 {
        for worker in lab.live(WORKER) {
            lab.machine_mut(&worker).state = InstanceState::Terminated;
        }
        lab.run();
    }
    let launched: u32 = lab.observed.ledger.launches.iter().map(|launch| launch.count).sum();
    assert_eq!(
        launched, 7,
        "three times the size of three, of which two are kept for the head"
    );
    let head = lab.live(HEAD).remove(0);
    lab.machine_mut(&head).state = InstanceState::Terminated;
    lab.run();
    assert_eq!(lab.live(HEAD).len(), 1, "a lost head comes back all the same");
    let waiting = lab.plan().waiting;
    let told = waiting
        .iter()
        .find(|waiting| waiting.reason == Reason::LaunchCapReached)
        .unwrap();
    assert!(told.message.contains("2026-11-23T13:00:00Z"), "{}", told.message);
    lab.now += SignedDuration::from_mins(61);
    lab.run();
    assert_eq!(lab.live(WORKER).len(), 2);
}

#[test]
fn a_refused_launch_is_neither_repeated_nor_written_down_before_its_time() {
    let mut lab = running_lab();
    lab.cluster.groups[0].replicas = 3;
    let refusal = Refusal {
        class: ErrorClass::Terminal,
        kind: Kind::Instance,
        code: "VcpuLimitExceeded".into(),
        message: "RunInstances: VcpuLimitExceeded: ask for a higher quota".into(),
        times: 1,
        until: lab.now + SignedDuration::from_mins(10),
    };
    lab.observed.refusals.insert("RunInstances group cpu".into(), refusal);
    assert_eq!(lab.lines(), Vec::<String>::new());
    let plan = lab.plan();
    assert_eq!(plan.waiting[0].reason, Reason::Refused);
    assert!(plan.waiting[0].message.contains("VcpuLimitExceeded"));
    assert_eq!(plan.next_check, Some(std::time::Duration::from_mins(10)));
    lab.now += SignedDuration::from_mins(11);
    assert_eq!(lab.lines(), ["record launch 103 (1 x t2.medium for cpu)"]);
}

#[test]
fn suspend_marks_then_stops_all_and_resume_starts_the_same_machines() {
    let mut lab = running_lab();
    let before = (lab.live(HEAD), lab.live(WORKER));
    lab.cluster.suspend = true;
    let done = lab.run();
    assert!(
        done[0].starts_with("mark as stopped: Suspended@2026-11-23T12:00:00Z"),
        "{done:?}"
    );
    assert_eq!(done.len(), 2, "one call stops all: {done:?}");
    assert!(lab.plan().is_converged());
    lab.cluster.suspend = false;
    let done = lab.run();
    assert_eq!(done[0], "remove the mark of being stopped");
    assert_eq!((lab.live(HEAD), lab.live(WORKER)), before);
    assert!(lab.plan().is_converged());
}

#[test]
fn machines_that_lost_their_tags_are_known_by_their_launch_and_tagged_again() {
    let mut lab = running_lab();
    let worker = lab.live(WORKER).remove(0);
    let before = lab.machine_mut(&worker).tags.clone();
    lab.machine_mut(&worker).tags.clear();
    let done = lab.settle();
    assert_eq!(done.len(), 1, "nothing is launched: {done:?}");
    let after = &lab.machine_mut(&worker).tags;
    for key in [
        tags::CLUSTER_UID,
        tags::ROLE,
        tags::GROUP,
        tags::LAUNCH,
        tags::REVISION,
        tags::NAME,
    ] {
        assert_eq!(after.get(key), before.get(key), "{key}");
    }
}

#[test]
fn a_machine_that_nobody_can_place_counts_and_is_told() {
    let mut lab = running_lab();
    let worker = lab.live(WORKER).remove(0);
    lab.machine_mut(&worker).tags.clear();
    lab.observed.ledger.launches.clear();
    assert_eq!(lab.lines(), Vec::<String>::new());
    let findings = lab.plan().findings;
    assert!(
        findings
            .iter()
            .any(|finding| finding.id == worker && finding.outcome == Outcome::Kept),
        "{findings:?}"
    );
}

/// The machines lost their tags, and the status its record of them.
fn forget_machines(lab: &mut Scenario) {
    for machine in lab.observed.inventory.instance.ours.values_mut() {
        machine.tags.clear();
    }
    lab.observed.ledger.launches.clear();
    lab.observed.recorded = RayClusterStatus::default();
}

#[test]
fn a_head_without_tags_and_record_is_known_by_its_address_and_gets_no_sister() {
    let mut lab = running_lab();
    let head = lab.live(HEAD);
    forget_machines(&mut lab);
    let done = lab.settle();
    assert_eq!(done.len(), 1, "{done:?}");
    assert!(done[0].starts_with(&format!("tag {} with", head[0])), "{done:?}");
    assert_eq!(lab.live(HEAD), head);
    let findings = lab.plan().findings;
    let unplaced = findings.iter().filter(|found| found.outcome == Outcome::Kept);
    assert_eq!(unplaced.count(), 2, "the workers, which nobody can place");
}

#[test]
fn a_machine_without_tags_and_record_that_may_be_the_head_holds_a_launch_and_is_named() {
    let mut lab = running_lab();
    let (head, workers) = (lab.live(HEAD).remove(0), lab.live(WORKER));
    lab.machine_mut(&head).private_address = Some("10.0.1.77".into());
    forget_machines(&mut lab);
    let plan = lab.plan();
    assert_eq!(plan.actions, []);
    let of_head = |waiting: &&Waiting| waiting.subject == Subject::Head;
    let waiting = plan.waiting.iter().find(of_head).expect("the head waits");
    assert_eq!(waiting.reason, Reason::MachineUnplaced);
    for id in workers.iter().chain([&head]) {
        assert!(waiting.message.contains(id), "{}", waiting.message);
    }
    // A person says what it is.
    lab.machine_mut(&head).tags.insert(tags::ROLE.into(), HEAD.into());
    lab.settle();
    assert_eq!(lab.live(HEAD), [head]);
}

#[test]
fn what_differs_from_the_spec_is_told_and_goes_on() {
    let mut lab = running_lab();
    lab.cluster.groups[0].instance_types = vec!["m5.large".into()];
    lab.cluster.groups[0].root_volume.size_gib = 200;
    lab.observed.image = Source::Known(crate::aws::Image {
        id: "ami-2".into(),
        root_device: "/dev/sda1".into(),
        min_size_gib: 8,
    });
    let plan = lab.plan();
    assert!(plan.actions.is_empty());
    let told: Vec<&Finding> = plan
        .findings
        .iter()
        .filter(|finding| finding.outcome == Outcome::Outdated)
        .collect();
    assert_eq!(told.len(), 3, "{told:?}");
    assert!(told[0].what.contains("image ami-1, now ami-2"), "{told:?}");
    assert!(
        told[1]
            .what
            .contains("type t2.medium, now m5.large; disk 100GiB-gp3, now 200GiB-gp3"),
        "{told:?}"
    );
    // A new worker is of the new type, and of the head's image.
    lab.cluster.groups[0].replicas = 3;
    assert_eq!(lab.lines(), ["record launch 103 (1 x m5.large for cpu)"]);
    let worker = lab.run();
    assert!(
        worker.iter().any(|line| line.starts_with("launch 1 x m5.large")),
        "{worker:?}"
    );
    assert!(
        lab.observed
            .inventory
            .instance
            .ours
            .values()
            .all(|machine| machine.image_id == "ami-1")
    );
}

#[test]
fn nothing_is_launched_without_the_key() {
    let mut lab = Scenario::lab();
    lab.settle_network();
    lab.observed.key = Source::Known(KeySecret::Unusable("the Secret lab-ssh is not this cluster's".into()));
    lab.run();
    assert_eq!(lab.live(HEAD).len(), 0);
}

#[test]
fn an_unknown_look_at_machines_plans_nothing_about_them() {
    let mut lab = running_lab();
    lab.observed.inventory.instance.ours.clear();
    lab.observed.inventory.instance.swept = Source::Unknown("throttled".into());
    assert_eq!(lab.lines(), Vec::<String>::new());
    assert!(reasons(&lab).contains(&Reason::NotObserved));
}

#[test]
fn only_an_image_that_aws_refuses_or_does_not_know_needs_a_person() {
    let mut lab = Scenario::lab();
    lab.settle_network();
    let cases = [
        (Some(ErrorClass::NotFound), Reason::ImageUnknown),
        (Some(ErrorClass::Terminal), Reason::ImageUnknown),
        (Some(ErrorClass::Throttled), Reason::Throttled),
        (Some(ErrorClass::Retryable), Reason::AwsUnavailable),
        (None, Reason::NotObserved),
    ];
    for (class, reason) in cases {
        let message = "DescribeImages ami-1".into();
        let refused = (class == Some(ErrorClass::Terminal)).then(|| "AccessDenied".into());
        lab.observed.image = Source::Unknown(Unseen {
            message,
            refused,
            class,
        });
        assert!(reasons(&lab).contains(&reason), "{class:?}: {:?}", lab.plan());
    }
}

#[test]
fn deletion_terminates_all_waits_for_two_looks_and_lets_go() {
    let mut lab = running_lab();
    lab.cluster.deleting = true;
    let done = lab.run();
    assert!(done[0].starts_with("terminate i-"), "{done:?}");
    assert_eq!(lab.observed.inventory.ids(), []);
    assert_eq!(reasons(&lab), [Reason::ConfirmGone]);
    lab.observed.clean_sweeps = 2;
    assert_eq!(lab.settle(), ["remove the finalizer"]);
}
