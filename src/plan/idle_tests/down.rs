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
fn a_wish_to_wake_what_is_up_is_over_when_it_falls_asleep() {
    let mut lab = Lab::minutes(20);
    lab.wake("early");
    assert_eq!(lab.pass_for(10), Vec::<String>::new());
    lab.pass_for(60);
    assert_eq!(lab.told(ConditionType::Suspended), "True Idle");
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

#[test]
fn a_decision_that_was_not_acted_upon_is_made_again_and_use_ends_it() {
    let mut lab = Lab::minutes(20);
    let now = lab.scenario.now;
    lab.scenario.observed.stopped = Some(format!("Idle@{}", now.strftime("%Y-%m-%dT%H:%M:%SZ")));
    lab.advance(600);
    lab.uses(Signal::Job);
    assert_eq!(lab.pass(), ["remove the mark of being stopped"]);
    assert!(lab.is_up());
    assert_eq!(lab.told(ConditionType::Idle), "False InUse");
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
