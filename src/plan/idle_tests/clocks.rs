//! Clocks that jump, a status that is lost, a controller that was away: none stops a cluster whose use nobody saw, and
//! none keeps an idle one for ever.

use super::*;

#[test]
fn after_a_long_absence_ten_minutes_without_use_are_seen_first() {
    let mut lab = Lab::running();
    lab.uses(Signal::Job);
    lab.pass_for(10);
    lab.is_unused();
    lab.away_for(600);
    assert_eq!(lab.pass_for(9), Vec::<String>::new());
    lab.pass_for(3);
    assert!(!lab.is_up(), "unused for ten hours, and seen so for ten minutes");
}

#[test]
fn a_clock_that_jumps_ahead_makes_no_minute_pass() {
    let mut lab = Lab::running();
    lab.pass_for(30);
    lab.scenario.now += SignedDuration::from_hours(24);
    lab.jumped = Some(0);
    let done = lab.pass_for(88);
    assert!(lab.is_up(), "{done:?}");
    lab.pass_for(4);
    assert!(!lab.is_up(), "ninety minutes since it jumped");
}

#[test]
fn looks_that_fail_after_a_jump_keep_no_cluster_for_ever() {
    let mut lab = Lab::running();
    lab.scenario.ray.others = crate::ray::facts::Others::Silent;
    lab.scenario.now += SignedDuration::from_hours(24);
    lab.jumped = Some(0);
    for _ in 0..5 {
        let done = lab.pass_for(19);
        assert!(
            !done.iter().any(|line| takes_down(line)) || lab.jumped >= Some(90 * 60),
            "{done:?}"
        );
        lab.blind(Blindness::Slow);
        lab.advance(15);
        lab.pass();
        lab.scenario.ray.unknown = None;
    }
    lab.pass_for(10);
    assert!(!lab.is_up(), "unused since it jumped, {:?} s ago", lab.jumped);
}

#[test]
fn a_clock_that_is_set_back_keeps_no_cluster_for_ever() {
    let mut lab = Lab::running();
    lab.pass_for(30);
    lab.scenario.now -= SignedDuration::from_hours(24 * 30);
    let done = lab.pass_for(92);
    assert!(!lab.is_up(), "{done:?} {:?}", lab.deadline());
}

#[test]
fn a_time_of_the_last_use_that_lies_ahead_counts_as_now() {
    let mut lab = Lab::running();
    let now = lab.scenario.now;
    lab.scenario.observed.recorded.last_activity_time = Some(now + SignedDuration::from_hours(9999));
    lab.pass();
    assert_eq!(lab.last_activity(), now);
}

#[test]
fn a_wiped_status_costs_one_timeout_and_a_restored_one_ten_minutes() {
    let wipe = |lab: &mut Lab| {
        let recorded = &mut lab.scenario.observed.recorded;
        (
            recorded.last_activity_time,
            recorded.last_activity_signal,
            recorded.idle_deadline,
        ) = (None, None, None);
        recorded.conditions.clear();
    };
    let mut lab = Lab::running();
    lab.away_for(600);
    wipe(&mut lab);
    let done = lab.pass_for(88);
    assert!(lab.is_up(), "{done:?}");
    lab.pass_for(4);
    assert!(!lab.is_up());

    let mut lab = Lab::running();
    lab.away_for(600);
    lab.scenario.observed.recorded.last_activity_time = Some("2020-01-01T00:00:00Z".parse().unwrap());
    assert_eq!(lab.pass_for(9), Vec::<String>::new());
    lab.pass_for(3);
    assert!(!lab.is_up());
}

#[test]
fn a_status_that_is_wiped_while_the_controller_looks_on_changes_nothing() {
    let mut lab = Lab::running();
    let deadline = lab.deadline().unwrap();
    lab.pass_for(40);
    let recorded = &mut lab.scenario.observed.recorded;
    (recorded.last_activity_time, recorded.idle_deadline) = (None, None);
    lab.pass();
    let off = lab.deadline().unwrap().duration_since(deadline).abs();
    assert!(off <= SignedDuration::from_mins(1), "{off}");
}
