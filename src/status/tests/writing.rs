//! When a status is another one, and how much it says.

use super::*;

#[test]
fn the_same_facts_give_the_same_status_whenever_it_is_made() {
    let mut pass = Pass::settled();
    pass.wait(Subject::Workers, Reason::MachinesPending, "i-w3 starting");
    let first = pass.write();
    pass.now = "2026-01-01T18:00:00Z".parse().unwrap();
    assert_eq!(pass.status(), first);
    assert!(is_same(&pass.status(), &first));
}

#[test]
fn the_time_of_a_condition_changes_with_its_status_only() {
    let mut pass = Pass::settled();
    pass.write();
    pass.now = "2026-01-01T13:00:00.5Z".parse().unwrap();
    pass.set_state("i-w1", InstanceState::Pending);
    pass.wait(Subject::Workers, Reason::MachinesPending, "i-w1 starting");
    let status = pass.write();
    let since = |status: &RayClusterStatus, kind| find(status, kind).unwrap().last_transition_time.0.to_string();
    assert_eq!(since(&status, ConditionType::WorkersReady), "2026-01-01T13:00:00Z");
    assert_eq!(since(&status, ConditionType::HeadReady), NOW);
    pass.now = "2026-01-01T14:00:00Z".parse().unwrap();
    pass.plan.waiting[0].message = "i-w1 still starting".into();
    let status = pass.status();
    assert_eq!(since(&status, ConditionType::WorkersReady), "2026-01-01T13:00:00Z");
    assert_eq!(message(&status, ConditionType::WorkersReady), "i-w1 still starting");
}

#[test]
fn conditions_of_others_do_not_make_a_status_another() {
    let mut pass = Pass::settled();
    let status = pass.write();
    let mut with_other = status.clone();
    let mut other = status.conditions[0].clone();
    other.type_ = "example.com/Audited".into();
    with_other.conditions.push(other);
    assert!(is_same(&status, &with_other));
    with_other.conditions[0].message = "else".into();
    assert!(!is_same(&status, &with_other));
}

#[test]
fn a_long_message_is_cut() {
    let mut pass = Pass::settled();
    pass.wait(Subject::Workers, Reason::NoCapacity, &"é".repeat(5000));
    assert!(message(&pass.status(), ConditionType::WorkersReady).chars().count() < 1100);
}
