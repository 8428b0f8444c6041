//! Unknown is never idle, and never for ever.

use super::*;
use crate::api::{IdleAction, WhenUnknown};

#[test]
fn a_cluster_that_was_known_goes_on_however_long_it_is_unknown_and_that_is_told() {
    let mut lab = Lab::minutes(20);
    lab.scenario.ray.others = crate::ray::facts::Others::Silent;
    lab.blind(Blindness::Slow);
    lab.pass_for(10);
    assert_eq!(lab.told(ConditionType::Idle), "Unknown Slow");
    assert_eq!(lab.deadline(), None);
    let done = lab.pass_for(600);
    assert!(!done.iter().any(|line| takes_down(line)), "{done:?}");
    assert_eq!(lab.told(ConditionType::Idle), "Unknown UnknownForLong");
    assert!(lab.message(ConditionType::Idle).contains("whenUnknown is Keep"));

    lab.scenario.ray.unknown = None;
    let done = lab.pass_for(9);
    assert!(
        !done.iter().any(|line| takes_down(line)),
        "ten minutes of proof come first: {done:?}"
    );
    lab.pass_for(2);
    assert!(!lab.is_up(), "known idle for ten minutes, unused for hours");
}

#[test]
fn where_the_spec_says_so_it_is_stopped_after_the_timeout_and_never_terminated() {
    let mut lab = Lab::with(|lab| {
        lab.cluster.idle.timeout = Duration::from_mins(20);
        lab.cluster.idle.when_unknown = WhenUnknown::Stop;
        lab.cluster.idle.action = IdleAction::Terminate;
    });
    lab.scenario.ray.others = crate::ray::facts::Others::Silent;
    lab.blind(Blindness::Slow);
    lab.pass_for(19);
    assert!(lab.is_up());
    let done = ups_and_downs(&lab.pass_for(3));
    assert!(done[0].starts_with("mark as stopped: RayUnknown@"), "{done:?}");
    assert!(done[1].starts_with("stop "), "{done:?}");
    assert_eq!(lab.told(ConditionType::Suspended), "True RayUnknown");
}

#[test]
fn one_whose_ray_never_answered_is_stopped_after_two_hours_whatever_the_spec_says() {
    let mut scenario = Scenario::lab();
    scenario.ray.unknown = Some(Blindness::DashboardDown);
    scenario.ray.others = crate::ray::facts::Others::Silent;
    scenario.settle();
    scenario.write();
    scenario.arrive();
    let mut lab = Lab::running();
    lab.scenario = scenario;
    lab.unknown_for = 0;
    lab.pass();
    assert_eq!(lab.told(ConditionType::Idle), "Unknown DashboardDown");
    let done = lab.pass_for(115);
    assert!(lab.is_up(), "{done:?}");
    let done = ups_and_downs(&lab.pass_for(10));
    assert!(
        done.iter().any(|line| line.starts_with("mark as stopped: RayUnknown@")),
        "{done:?}"
    );
}

#[test]
fn what_is_not_recorded_is_not_taken_for_a_ray_that_never_answered() {
    let wipe: fn(&mut Lab) = |lab| lab.scenario.observed.recorded = crate::api::RayClusterStatus::default();
    let restore: fn(&mut Lab) = |lab| {
        let head = lab.scenario.observed.recorded.head.as_mut().unwrap();
        head.instance_id = Some("i-before".into());
        head.awaited_since = Some(lab.scenario.now);
    };
    let older: fn(&mut Lab) = |lab| {
        let recorded = &mut lab.scenario.observed.recorded;
        let head = recorded.head.as_mut().unwrap();
        (head.state, head.joined_time) = (Some("pending".into()), None);
    };
    for (lose, what) in [
        (wipe, "wiped"),
        (restore, "of another head"),
        (older, "of before it ran"),
    ] {
        let mut lab = Lab::running();
        lab.scenario.ray.others = crate::ray::facts::Others::Silent;
        lab.pass_for(20);
        lab.away_for(60);
        lose(&mut lab);
        lab.blind(Blindness::Unreachable);
        let done = lab.pass_for(300);
        assert!(!done.iter().any(|line| takes_down(line)), "{what}: {done:?}");
        assert_eq!(lab.told(ConditionType::Idle), "Unknown UnknownForLong", "{what}");
    }
}

#[test]
fn what_is_known_only_now_and_then_is_never_proven_idle_and_that_is_told() {
    let mut lab = Lab::minutes(20);
    lab.scenario.ray.others = crate::ray::facts::Others::Silent;
    let mut told = false;
    for _ in 0..20 {
        let done = lab.pass_for(7);
        assert!(!done.iter().any(|line| takes_down(line)), "{done:?}");
        lab.blind(Blindness::Slow);
        lab.pass_for(1);
        told |= lab.told(ConditionType::Idle) == "Unknown UnknownForLong";
        lab.scenario.ray.unknown = None;
    }
    assert!(told, "{}", lab.message(ConditionType::Idle));
}

#[test]
fn a_time_of_being_unknown_that_lies_ahead_counts_as_now() {
    let mut lab = Lab::with(|lab| lab.cluster.idle.when_unknown = WhenUnknown::Stop);
    lab.scenario.ray.others = crate::ray::facts::Others::Silent;
    lab.blind(Blindness::Slow);
    lab.pass();
    lab.scenario.now -= SignedDuration::from_hours(9999);
    lab.pass_for(95);
    assert!(!lab.is_up());
}

#[test]
fn a_process_that_has_just_started_says_what_the_last_one_said_until_it_has_looked() {
    let mut lab = Lab::minutes(20);
    lab.pass_for(5);
    let (deadline, told) = (lab.deadline(), lab.message(ConditionType::Idle));
    lab.blind(Blindness::NotLooked);
    lab.pass();
    assert_eq!((lab.deadline(), lab.message(ConditionType::Idle)), (deadline, told));
    lab.pass_for(2);
    assert_eq!(lab.told(ConditionType::Idle), "Unknown NotLooked");
}

#[test]
fn where_only_its_use_is_unknown_it_is_not_idle() {
    let mut lab = Lab::minutes(20);
    lab.use_is_unknown = true;
    lab.pass();
    let done = lab.pass_for(600);
    assert!(!done.iter().any(|line| takes_down(line)), "{done:?}");
    assert!(lab.told(ConditionType::Idle).starts_with("Unknown"));
    assert!(lab.scenario.observed.ray.view.known().is_some());
}
