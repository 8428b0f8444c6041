//! What counts as use, and until when its absence is waited out.

use super::*;
use crate::api::IdleAction;

const ALL: [Signal; 6] = [
    Signal::Job,
    Signal::Driver,
    Signal::Actor,
    Signal::Serve,
    Signal::Demand,
    Signal::Resources,
];

#[test]
fn each_signal_of_ray_alone_keeps_a_cluster_and_its_absence_stops_it() {
    for signal in ALL {
        let mut lab = Lab::minutes(20);
        lab.uses(signal);
        assert_eq!(lab.pass_for(45), Vec::<String>::new(), "{signal}");
        assert_eq!(lab.told(ConditionType::Idle), "False InUse");
        assert!(lab.message(ConditionType::Idle).contains(&signal.to_string()));
        assert_eq!(lab.deadline(), None, "{signal}: while it is used nothing is planned");
        lab.is_unused();
        lab.pass_for(19);
        assert!(lab.is_up(), "{signal}");
        assert!(
            lab.message(ConditionType::Idle).contains(&signal.to_string()),
            "it is told as the last one"
        );
        let done = lab.pass_for(2);
        assert!(!lab.is_up(), "{signal}: {done:?}");
    }
}

#[test]
fn people_on_any_machine_count_unless_the_spec_says_otherwise() {
    for (ssh, kernels) in [(1, 0), (0, 1)] {
        let mut lab = Lab::minutes(20);
        let worker = lab.scenario.live(super::super::fleet::WORKER).remove(0);
        lab.people.insert(worker.clone(), (ssh, kernels));
        assert_eq!(lab.pass_for(45), Vec::<String>::new());
        assert_eq!(lab.told(ConditionType::Idle), "False InUse");
        assert!(lab.message(ConditionType::Idle).contains(&worker));
        let signals = &mut lab.scenario.cluster.idle.signals;
        signals.ssh_sessions &= ssh == 0;
        signals.jupyter_kernels &= kernels == 0;
        let done = lab.pass_for(22);
        assert!(!lab.is_up(), "people who do not count keep nothing up: {done:?}");
    }
}

#[test]
fn a_machine_that_cannot_be_asked_for_people_makes_use_unknown_and_without_such_signals_nobody_asks() {
    let mut lab = Lab::minutes(20);
    let silence = |lab: &mut Lab| {
        for report in lab.scenario.observed.ray.reports.values_mut() {
            *report = Look::default();
        }
    };
    lab.see();
    silence(&mut lab);
    lab.scenario.write();
    assert_eq!(
        lab.told(ConditionType::Idle),
        "True NotInUse",
        "what was told stands until it has been asked"
    );
    lab.scenario.observed.recorded.conditions.clear();
    lab.scenario.write();
    assert_eq!(lab.told(ConditionType::Idle), "Unknown PeopleUnknown");
    let signals = &mut lab.scenario.cluster.idle.signals;
    (signals.ssh_sessions, signals.jupyter_kernels) = (false, false);
    lab.scenario.write();
    assert_eq!(lab.told(ConditionType::Idle), "True NotInUse");
}

#[test]
fn the_clock_is_told_from_its_start_with_a_warning_before_its_end() {
    let mut lab = Lab::running();
    let began = lab.last_activity();
    let deadline = began + SignedDuration::from_mins(90);
    assert_eq!(lab.deadline(), Some(deadline));
    assert_eq!(lab.told(ConditionType::Idle), "True NotInUse");
    let message = lab.message(ConditionType::Idle);
    assert!(message.contains(&format!("stopped at {deadline}")), "{message}");
    lab.pass_for(79);
    assert_eq!(lab.told(ConditionType::Idle), "True NotInUse");
    lab.pass_for(1);
    assert_eq!(lab.told(ConditionType::Idle), "True StoppingSoon");
    assert_eq!(lab.pass_for(9), Vec::<String>::new());
    assert_eq!(lab.deadline(), Some(deadline));
    let done = ups_and_downs(&lab.pass_for(2));
    assert!(done[0].starts_with("mark as stopped: Idle@"), "{done:?}");
    assert!(done[1].starts_with("stop "), "{done:?}");
    assert_eq!(done.len(), 2, "head and workers together: {done:?}");
}

#[test]
fn another_kind_of_use_is_told_at_once() {
    let mut lab = Lab::minutes(20);
    let head = lab.scenario.live(super::super::fleet::HEAD).remove(0);
    lab.people.insert(head.clone(), (1, 0));
    lab.pass_for(2);
    assert!(lab.message(ConditionType::Idle).contains(&head));
    lab.uses(Signal::Job);
    lab.pass_for(1);
    let message = lab.message(ConditionType::Idle);
    assert!(message.contains(&Signal::Job.to_string()), "{message}");
}

#[test]
fn while_in_use_the_time_is_written_at_most_every_five_minutes_and_none_of_it_is_lost() {
    let mut lab = Lab::minutes(20);
    lab.uses(Signal::Job);
    lab.pass();
    let mut written = vec![lab.last_activity()];
    for _ in 0..80 {
        lab.advance(15);
        lab.pass();
        written.push(lab.last_activity());
    }
    written.dedup();
    assert_eq!(written.len(), 5, "{written:?}");
    lab.advance(200);
    lab.pass();
    let last_seen = lab.scenario.now;
    lab.is_unused();
    lab.advance(15);
    lab.pass();
    assert!(
        lab.last_activity() >= last_seen,
        "the last use was later than what was written of it"
    );
}

#[test]
fn the_end_of_a_job_that_no_look_saw_counts() {
    let mut lab = Lab::minutes(20);
    lab.pass_for(15);
    let ended = lab.scenario.now - SignedDuration::from_secs(5);
    lab.last_end = Some(ended);
    lab.pass();
    assert_eq!(lab.deadline(), Some(ended + SignedDuration::from_mins(20)));
    assert!(lab.message(ConditionType::Idle).contains("the end of a job"));
}

#[test]
fn a_person_postpones_it_and_what_they_wrote_wrongly_is_told_and_postpones_nothing() {
    let mut lab = Lab::minutes(20);
    let until = lab.scenario.now + SignedDuration::from_hours(3);
    lab.scenario.observed.wishes.keep_alive_until = Some(until.to_string());
    assert_eq!(lab.pass_for(179), Vec::<String>::new());
    assert_eq!(lab.deadline(), Some(until));
    lab.pass_for(2);
    assert!(!lab.is_up());

    let mut lab = Lab::minutes(20);
    let deadline = lab.deadline();
    lab.scenario.observed.wishes.keep_alive_until = Some("tomorrow".into());
    lab.pass();
    assert_eq!(lab.told(ConditionType::Idle), "True KeepAliveUnreadable");
    let message = lab.message(ConditionType::Idle);
    assert!(
        message.contains("\"tomorrow\"") && message.contains("write one like"),
        "{message}"
    );
    assert_eq!(lab.deadline(), deadline);
    lab.pass_for(22);
    assert!(!lab.is_up());
}

#[test]
fn with_the_action_none_it_is_told_and_nothing_follows() {
    let mut lab = Lab::with(|lab| lab.cluster.idle.action = IdleAction::None);
    assert_eq!(lab.pass_for(300), Vec::<String>::new());
    assert_eq!(lab.told(ConditionType::Idle), "True NotInUse");
    assert_eq!(
        (lab.told(ConditionType::Ready).as_str(), lab.deadline()),
        ("True AsSpecified", None)
    );
}

#[test]
fn only_a_fresh_look_stops_a_cluster_and_meanwhile_it_stays_ready() {
    let mut lab = Lab::minutes(20);
    lab.age = Duration::from_secs(12);
    lab.pass_for(20);
    assert!(lab.is_up());
    let plan = lab.scenario.plan();
    assert!(plan.look_now && plan.actions.is_empty(), "{plan:?}");
    assert_eq!(lab.told(ConditionType::Ready), "True AsSpecified");
    assert_eq!(lab.told(ConditionType::Reconciling), "");
    lab.pass_for(5);
    assert!(lab.is_up());
    assert_eq!(lab.told(ConditionType::Idle), "True Unconfirmed");
    assert!(!lab.scenario.plan().look_now, "none back to back");
    lab.age = Duration::from_secs(1);
    lab.pass_for(1);
    assert!(!lab.is_up());
}

#[test]
fn a_look_that_takes_its_time_confirms_what_it_was_asked_for() {
    let mut lab = Lab::minutes(20);
    lab.age = Duration::from_secs(14);
    lab.took = Duration::from_secs(13);
    lab.pass_for(20);
    assert!(lab.is_up(), "the look began before the deadline");
    lab.pass_for(1);
    assert!(!lab.is_up());
}

/// A lab with a timeout of 20 minutes that has long been unused and is kept up in some way, and how that ends.
type Edit = (fn(&mut Lab), fn(&mut Lab));

#[test]
fn it_is_told_some_time_before_it_stops_whatever_people_change() {
    let keep = |lab: &mut Lab, until: &str| lab.scenario.observed.wishes.keep_alive_until = Some(until.into());
    let kept: fn(&mut Lab) = |lab| lab.scenario.observed.wishes.keep_alive_until = Some("2999-01-01T00:00:00Z".into());
    let edits: [Edit; 4] = [
        (kept, |lab| lab.scenario.observed.wishes.keep_alive_until = None),
        (kept, |lab| {
            lab.scenario.observed.wishes.keep_alive_until = Some("soon".into());
        }),
        (
            |lab| lab.scenario.cluster.idle.action = IdleAction::None,
            |lab| lab.scenario.cluster.idle.action = IdleAction::Stop,
        ),
        (
            |lab| lab.scenario.cluster.idle.timeout = Duration::from_hours(9),
            |lab| lab.scenario.cluster.idle.timeout = Duration::from_mins(20),
        ),
    ];
    for (which, (before, after)) in edits.into_iter().enumerate() {
        let mut lab = Lab::minutes(20);
        before(&mut lab);
        assert_eq!(lab.pass_for(60), Vec::<String>::new());
        after(&mut lab);
        lab.pass();
        assert_eq!(lab.told(ConditionType::Idle), "True StoppingSoon", "{which}");
        let deadline = lab.deadline();
        assert_eq!(lab.pass_for(9), Vec::<String>::new(), "{which}");
        assert_eq!(lab.deadline(), deadline, "{which}");
        lab.pass_for(2);
        assert!(!lab.is_up(), "{which}");
    }
    let mut lab = Lab::minutes(20);
    keep(&mut lab, "2026-11-23T13:00:00Z");
    lab.pass_for(55);
    assert_eq!(lab.told(ConditionType::Idle), "True StoppingSoon");
    lab.scenario.observed.wishes.keep_alive_until = None;
    lab.pass();
    assert_eq!(
        lab.deadline(),
        Some("2026-11-23T13:00:00Z".parse().unwrap()),
        "as it was told"
    );
}

#[test]
fn a_cluster_that_lacks_workers_falls_asleep_all_the_same() {
    let mut lab = Lab::minutes(20);
    lab.scenario.cluster.groups[0].replicas = 4;
    let pool = crate::observe::Pool {
        instance_type: "t2.medium".into(),
        availability_zone: "ap-southeast-1a".into(),
    };
    let exhausted = &mut lab.scenario.observed.exhausted;
    exhausted.insert(crate::observe::Shortage::Capacity(pool), Timestamp::MAX);
    lab.pass_for(22);
    assert!(!lab.is_up());
}
