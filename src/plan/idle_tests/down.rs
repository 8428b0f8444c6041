//! Down, kept down, and up again.

use super::*;
use crate::{
    api::{IdleAction, Phase},
    aws::ErrorClass,
    observe::Refusal,
    plan::fleet::{HEAD, WORKER},
    resources::Kind,
};

/// A lab that was stopped because nobody used it.
fn asleep() -> Lab {
    let mut lab = Lab::minutes(20);
    lab.pass_for(25);
    assert_eq!(lab.told(ConditionType::Suspended), "True Idle");
    lab
}

#[test]
fn what_fell_asleep_stays_down_and_says_why_and_how_it_wakes() {
    let mut lab = asleep();
    assert_eq!(lab.told(ConditionType::Ready), "False Stopped");
    assert_eq!(
        (lab.told(ConditionType::Reconciling), lab.told(ConditionType::Idle)),
        (String::new(), String::new())
    );
    assert_eq!(lab.scenario.observed.recorded.phase, Some(Phase::Suspended));
    assert!(lab.message(ConditionType::Suspended).contains("rayward.dev/wake"));
    assert_eq!(lab.pass_for(300), Vec::<String>::new());
}

#[test]
fn it_wakes_once_for_each_new_text_on_the_same_machines() {
    let mut lab = asleep();
    let machines = (lab.scenario.live(HEAD), lab.scenario.live(WORKER));
    lab.wake("now");
    let done = ups_and_downs(&lab.pass_for(2));
    assert_eq!(done[0], "remove the mark of being stopped");
    assert!(lab.is_up());
    assert_eq!((lab.scenario.live(HEAD), lab.scenario.live(WORKER)), machines);
    assert_eq!(lab.told(ConditionType::Ready), "True AsSpecified");
    assert!(
        lab.message(ConditionType::Idle).contains("a wake"),
        "{}",
        lab.message(ConditionType::Idle)
    );
    lab.pass_for(25);
    assert_eq!(
        lab.told(ConditionType::Suspended),
        "True Idle",
        "the clock began with the wake"
    );
    assert_eq!(lab.pass_for(60), Vec::<String>::new(), "the same text wakes nothing");
    lab.wake("again");
    lab.pass_for(2);
    assert!(lab.is_up());
}

#[test]
fn a_wish_to_wake_what_is_up_postpones_its_stop_once() {
    let mut lab = Lab::minutes(20);
    lab.pass_for(19);
    assert_eq!(lab.told(ConditionType::Idle), "True StoppingSoon");
    lab.wake("early");
    let woken = lab.scenario.now;
    lab.pass();
    assert!(lab.last_activity() >= woken && lab.message(ConditionType::Idle).contains("a wake"));
    assert_eq!(lab.pass_for(19), ["note that the wake \"early\" is handled"]);
    assert_eq!(lab.pass_for(10).len(), 2, "marked and stopped");
    assert_eq!(lab.told(ConditionType::Suspended), "True Idle");
    assert_eq!(lab.pass_for(60), Vec::<String>::new(), "and wakes nothing later");
}

#[test]
fn a_wish_to_wake_what_is_being_stopped_is_not_swallowed() {
    let mut lab = Lab::minutes(20);
    let mut done = lab.pass_for(20);
    while !done.iter().any(|line| takes_down(line)) {
        lab.advance(15);
        done = lab.pass();
    }
    assert!(!lab.is_up());
    lab.wake("no, wait");
    assert_eq!(ups_and_downs(&lab.pass_for(2))[0], "remove the mark of being stopped");
    let done = ups_and_downs(&lab.pass_for(15));
    assert!(lab.is_up(), "{done:?}");
    assert_eq!(lab.scenario.observed.wishes.wake_handled.as_deref(), Some("no, wait"));

    // Its Ray is not known, and the spec says that it goes down then.
    let mut lab = Lab::minutes(20);
    lab.scenario.cluster.idle.when_unknown = crate::api::WhenUnknown::Stop;
    lab.scenario.ray.others = crate::ray::facts::Others::Silent;
    lab.blind(Blindness::Slow);
    lab.pass_for(18);
    lab.wake("please");
    let done = lab.pass_for(18);
    assert!(lab.is_up(), "{done:?}");
    lab.pass_for(4);
    assert_eq!(lab.told(ConditionType::Suspended), "True RayUnknown");
}

#[test]
fn a_wake_counts_although_the_process_dies_that_takes_the_mark_off() {
    let (mut lab, _) = crash_after("Idle", 600, |lab| lab.wake("now"));
    let done = lab.pass_for(19);
    assert!(!done.iter().any(|line| takes_down(line)), "{done:?}");
}

#[test]
fn the_spec_wins_over_a_wake_and_its_own_end_wakes() {
    let mut lab = asleep();
    lab.scenario.cluster.suspend = true;
    lab.pass();
    assert!(
        lab.scenario
            .observed
            .stopped
            .as_ref()
            .unwrap()
            .starts_with("Suspended@")
    );
    assert_eq!(lab.told(ConditionType::Suspended), "True Suspended");
    lab.wake("now");
    assert_eq!(lab.pass_for(10), Vec::<String>::new());
    lab.scenario.cluster.suspend = false;
    lab.pass_for(2);
    assert!(lab.is_up());
}

#[test]
fn with_the_action_terminate_machines_go_and_new_ones_come() {
    let mut lab = Lab::with(|lab| {
        lab.cluster.idle.timeout = Duration::from_mins(20);
        lab.cluster.idle.action = IdleAction::Terminate;
    });
    let before = (lab.scenario.live(HEAD), lab.scenario.live(WORKER));
    let done = ups_and_downs(&lab.pass_for(25));
    assert!(done[0].starts_with("mark as stopped: IdleTerminated@"), "{done:?}");
    assert!(done[1].starts_with("terminate "), "{done:?}");
    assert!(lab.scenario.live(HEAD).is_empty() && lab.scenario.live(WORKER).is_empty());
    assert_eq!(lab.told(ConditionType::Suspended), "True IdleTerminated");
    assert_eq!(lab.told(ConditionType::NetworkReady), "True AsSpecified");
    assert_eq!(lab.pass_for(60), Vec::<String>::new());
    lab.wake("now");
    lab.pass_for(3);
    let after = (lab.scenario.live(HEAD), lab.scenario.live(WORKER));
    assert_eq!((after.0.len(), after.1.len()), (1, 2));
    assert!(!before.1.iter().any(|id| after.1.contains(id)));
}

/// What another process would have written just now.
fn mark(lab: &Lab, cause: &str) -> String {
    format!("{cause}@{}", lab.scenario.now.strftime("%Y-%m-%dT%H:%M:%SZ"))
}

#[test]
fn a_mark_from_before_the_last_start_stops_nothing() {
    for old in [
        None,
        Some("IdleTerminated@2026-11-23T12:00:01Z"),
        Some("RayUnknown@2026-11-23T12:00:01Z"),
        Some("Idle@soon"),
        Some("Idle@"),
    ] {
        let mut lab = asleep();
        let before = lab.scenario.observed.stopped.clone().unwrap();
        lab.wake("now");
        lab.pass_for(5);
        lab.uses(Signal::Job);
        lab.pass_for(30);
        lab.is_marked(old.unwrap_or(&before));
        assert_eq!(lab.pass(), ["remove the mark of being stopped"], "{old:?}");
        assert_eq!(lab.pass_for(60), Vec::<String>::new());
        assert!(lab.is_up());
        assert_eq!(lab.told(ConditionType::Idle), "False InUse");
    }
}

#[test]
fn a_mark_from_before_the_last_start_lets_a_cluster_be_whose_head_is_being_replaced() {
    let mut lab = asleep();
    lab.wake("now");
    lab.pass_for(5);
    lab.uses(Signal::Job);
    lab.pass_for(30);
    let head = lab.scenario.live(HEAD).remove(0);
    lab.scenario.machine_mut(&head).state = InstanceState::Terminated;
    lab.is_marked("IdleTerminated@2026-11-23T12:21:00Z");
    let done = lab.pass_for(5);
    assert!(!done.iter().any(|line| takes_down(line)), "{done:?}");
    assert_eq!(lab.scenario.live(WORKER).len(), 2);
}

/// A process wrote the mark and died before the deed; the next one comes after so many minutes, and people have done
/// this meanwhile.
fn crash_after(cause: &str, minutes: i64, meanwhile: impl FnOnce(&mut Lab)) -> (Lab, Vec<String>) {
    let mut lab = Lab::minutes(20);
    lab.pass_for(15);
    let mark = mark(&lab, cause);
    lab.is_marked(&mark);
    meanwhile(&mut lab);
    lab.away_for(minutes);
    let done = lab.pass();
    (lab, done)
}

#[test]
fn a_decision_that_was_not_acted_upon_is_made_again_and_use_ends_it() {
    for minutes in [0, 10] {
        let (lab, done) = crash_after("Idle", minutes, |lab| lab.uses(Signal::Job));
        assert_eq!(done, ["remove the mark of being stopped"]);
        assert!(lab.is_up());
        assert_eq!(lab.told(ConditionType::Idle), "False InUse");
    }
}

#[test]
fn a_process_that_has_not_looked_yet_does_not_stop_what_another_had_decided() {
    for cause in ["RayUnknown", "Idle"] {
        let (lab, done) = crash_after(cause, 600, |lab| {
            lab.blind(Blindness::NotLooked);
            lab.scenario.cluster.idle.when_unknown = crate::api::WhenUnknown::Stop;
        });
        assert_eq!(done, ["remove the mark of being stopped"], "{cause}");
        assert!(lab.is_up());
    }
}

#[test]
fn after_a_decision_that_was_not_acted_upon_ten_minutes_without_use_are_seen_first() {
    let (mut lab, _) = crash_after("Idle", 600, |_| {});
    assert_eq!(lab.pass_for(9), Vec::<String>::new());
    lab.pass_for(12);
    assert_eq!(lab.told(ConditionType::Suspended), "True Idle");
}

#[test]
fn what_people_say_after_a_decision_that_was_not_acted_upon_counts() {
    let says: [fn(&mut Scenario); 3] = [
        |lab| lab.observed.wishes.keep_alive_until = Some("2999-01-01T00:00:00Z".into()),
        |lab| lab.cluster.idle.timeout = Duration::from_hours(600),
        |lab| lab.cluster.idle.action = IdleAction::None,
    ];
    for (which, say) in says.into_iter().enumerate() {
        for cause in ["Idle", "IdleTerminated", "RayUnknown"] {
            let (mut lab, mut done) = crash_after(cause, 600, |lab| say(&mut lab.scenario));
            done.extend(lab.pass_for(19));
            assert!(!done.iter().any(|line| takes_down(line)), "{which} {cause}: {done:?}");
        }
    }
    let (mut lab, mut done) = crash_after("IdleTerminated", 0, |_| {});
    done.extend(lab.pass_for(30));
    assert!(done.iter().any(|line| line.starts_with("stop ")), "{done:?}");
    assert!(!done.iter().any(|line| line.starts_with("terminate ")), "{done:?}");
}

#[test]
fn a_mark_whose_time_lies_ahead_holds_no_longer_than_any_other() {
    let (lab, done) = {
        let mut lab = Lab::minutes(20);
        lab.uses(Signal::Job);
        lab.is_marked("Idle@2027-01-01T00:00:00Z");
        let done = lab.pass();
        (lab, done)
    };
    assert_eq!(done, ["remove the mark of being stopped"]);
    assert!(lab.is_up());
}

#[test]
fn a_worker_that_is_down_for_want_of_capacity_is_no_sign_that_a_stop_has_begun() {
    let mut lab = Lab::minutes(20);
    let down = lab.scenario.live(WORKER).remove(0);
    lab.scenario.machine_mut(&down).state = InstanceState::Stopped;
    lab.uses(Signal::Job);
    let mark = mark(&lab, "Idle");
    lab.is_marked(&mark);
    lab.away_for(600);
    let done = lab.pass();
    assert!(!done.iter().any(|line| takes_down(line)), "{done:?}");
}

#[test]
fn a_stop_that_aws_refuses_is_judged_anew_before_it_is_tried_again() {
    let refused = |change: fn(&mut Lab)| {
        let mut lab = Lab::minutes(20);
        lab.pass_for(19);
        let all = [lab.scenario.live(HEAD), lab.scenario.live(WORKER)].concat();
        let refusal = Refusal {
            class: ErrorClass::Throttled,
            kind: Kind::Instance,
            code: "RequestLimitExceeded".into(),
            message: "StopInstances: RequestLimitExceeded".into(),
            times: 1,
            until: lab.scenario.now + SignedDuration::from_mins(3),
        };
        let refusals = &mut lab.scenario.observed.refusals;
        refusals.insert(format!("StopInstances {}", all.join(",")), refusal.clone());
        for id in all {
            refusals.insert(format!("StopInstances {id}"), refusal.clone());
        }
        let done = ups_and_downs(&lab.pass_for(2));
        assert!(
            done.len() == 1 && done[0].starts_with("mark as stopped: Idle@"),
            "{done:?}"
        );
        assert!(lab.is_up());
        change(&mut lab);
        let done = ups_and_downs(&lab.pass_for(3));
        (lab, done)
    };
    let (lab, done) = refused(|_| {});
    assert!(!lab.is_up() && done.iter().all(|line| takes_down(line)), "{done:?}");
    let (lab, done) = refused(|lab| lab.uses(Signal::Job));
    assert!(lab.is_up(), "{done:?}");
    assert_eq!(done, ["remove the mark of being stopped"]);
}

#[test]
fn a_worker_that_aws_cannot_start_is_awaited_and_replaced_only_where_the_spec_says_so() {
    let mut lab = asleep();
    let stuck = lab.scenario.live(WORKER).remove(0);
    let refusal = Refusal {
        class: ErrorClass::Capacity,
        kind: Kind::Instance,
        code: "InsufficientInstanceCapacity".into(),
        message: format!("StartInstances {stuck}: InsufficientInstanceCapacity: none left"),
        times: 1,
        until: lab.scenario.now + SignedDuration::from_hours(5),
    };
    lab.wake("now");
    let workers = lab.scenario.live(WORKER).join(",");
    for key in [format!("StartInstances {workers}"), format!("StartInstances {stuck}")] {
        lab.scenario.observed.refusals.insert(key, refusal.clone());
    }
    lab.pass_for(3);
    assert_eq!(lab.told(ConditionType::WorkersReady), "False NoCapacity");
    assert!(lab.scenario.live(WORKER).contains(&stuck), "its disk is kept");
    lab.scenario.cluster.wake.replace_workers = true;
    let done = lab.pass_for(3);
    assert!(
        done.iter()
            .any(|line| line.starts_with(&format!("terminate {stuck}: cannot be started"))),
        "{done:?}"
    );
    assert_eq!(lab.told(ConditionType::Ready), "True AsSpecified");
    assert_eq!(lab.scenario.live(WORKER).len(), 2);
}

#[test]
fn a_machine_that_was_started_and_stays_pending_is_told_and_keeps_its_disk() {
    let mut lab = asleep();
    lab.wake("now");
    lab.see();
    lab.scenario.settle();
    lab.advance(400);
    let pending = |lab: &Lab| {
        lab.scenario
            .observed
            .inventory
            .instance
            .ours
            .values()
            .cloned()
            .collect::<Vec<_>>()
    };
    assert!(
        pending(&lab)
            .iter()
            .all(|machine| machine.state == InstanceState::Pending)
    );
    let done = lab.scenario.settle();
    assert!(!done.iter().any(|line| line.starts_with("terminate ")), "{done:?}");
    lab.scenario.write();
    let told = lab.message(ConditionType::HeadReady);
    assert!(
        told.contains("EC2 has not got") && told.contains(&lab.scenario.live(HEAD)[0]),
        "{told}"
    );
    lab.scenario.cluster.suspend = true;
    let done = lab.scenario.settle();
    assert!(!done.iter().any(|line| line.starts_with("terminate ")), "{done:?}");
    lab.scenario.cluster.suspend = false;
    lab.scenario.cluster.wake.replace_workers = true;
    let head = lab.scenario.live(HEAD);
    let workers = lab.scenario.live(WORKER);
    let done = lab.scenario.settle();
    for worker in workers {
        assert!(
            done.iter()
                .any(|line| line.starts_with("terminate ") && line.contains(&worker)),
            "{done:?}"
        );
    }
    assert_eq!(lab.scenario.live(HEAD), head);
}

#[test]
fn the_mark_of_another_object_hides_no_predecessor_and_stops_nothing() {
    let mut lab = asleep();
    let observed = &mut lab.scenario.observed;
    observed.inventory.instance.ours.clear();
    observed.recorded = crate::api::RayClusterStatus::default();
    observed.predecessors = vec!["i-old".into()];
    lab.is_marked("Idle@2026-11-23T12:00:00Z/another-uid");
    assert_eq!(lab.pass(), ["remove the mark of being stopped"]);
    assert_eq!(lab.told(ConditionType::Ready), "False PredecessorAlive");
    lab.scenario.cluster.suspend = true;
    lab.pass();
    assert_eq!(lab.told(ConditionType::Ready), "False PredecessorAlive");
    assert!(lab.message(ConditionType::Ready).contains("i-old"));
}
