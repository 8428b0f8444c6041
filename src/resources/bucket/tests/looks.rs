//! When a bucket is looked at, and what is told and done of what is seen.

use super::*;
use crate::{aws::ErrorClass, observe::Refusal};

#[test]
fn drift_is_seen_within_the_interval_and_told() {
    let mut world = World::new(&one_bucket());
    world.pass();
    world.only().settings = Settings::default();
    world.only().tags.remove(crate::tags::ROLE);
    world.only().tags.insert("team".into(), "blue".into());
    let next = world.plan().next_check.unwrap();
    assert!(next <= Limits::default().bucket_interval);
    world.wait(3600);
    world.sweep();
    let look = world.plan();
    assert_eq!(
        look.actions.len(),
        1,
        "nothing is put right by what was seen an hour ago"
    );
    let (done, _) = world.pass();
    assert_eq!(done[0], "look at bucket RAW");
    assert_eq!(done[1..4], CREATION[2..]);
    assert_eq!(done[4..], ["tag bucket RAW with rayward.dev/role=bucket"]);
    assert!(world.only().settings.complete());
    assert_eq!(world.only().tags["team"], "blue");
}

#[test]
fn what_drifted_is_a_finding_until_it_is_put_right() {
    let mut world = World::new(&one_bucket());
    world.pass();
    world.observed.recorded.observed_generation = Some(1);
    world.observed.recorded.phase = Some(crate::api::Phase::Ready);
    world.wait(3600);
    for bucket in world.observed.inventory.bucket.ours.values_mut() {
        let settings = Settings::default();
        bucket.look = Some(Look {
            at: world.now,
            generation: 1,
            settings: Some(settings),
        });
    }
    assert_eq!(
        found(&world.plan()),
        [
            "public access was not blocked",
            "versioning was off",
            "default encryption was missing"
        ]
    );
}

#[test]
fn a_changed_spec_is_followed_by_a_look_at_once() {
    let mut world = World::new(&one_bucket());
    world.pass();
    world.cluster.generation = 2;
    world.cluster.tags.insert("team".into(), "blue".into());
    assert_eq!(world.pass().0, ["look at bucket RAW", "tag bucket RAW with team=blue"]);
}

#[test]
fn looks_are_spread_over_the_interval_and_each_comes_once_in_it() {
    let at: Timestamp = "2026-11-23T12:00:00Z".parse().unwrap();
    let interval = std::time::Duration::from_hours(1);
    let mut minutes = std::collections::BTreeSet::new();
    for number in 0..400 {
        let name = format!("bucket-{number}");
        let next = look::next_turn(&name, at, interval);
        let wait = next.duration_since(at);
        assert!(wait.is_positive() && wait.unsigned_abs() <= interval, "{wait}");
        let after = look::next_turn(&name, next, interval);
        assert_eq!(after.duration_since(next).unsigned_abs(), interval);
        minutes.insert(wait.as_mins());
    }
    assert!(minutes.len() > 55, "{minutes:?}");
}

#[test]
fn a_failed_check_is_passed_over_and_a_refused_one_is_told() {
    let mut world = World::new(&one_bucket());
    world.pass();
    world.wait(3600);
    let refuse = |class, times, until| Refusal {
        class,
        kind: crate::resources::Kind::Bucket,
        code: "Code".into(),
        message: "refused".into(),
        times,
        until,
    };
    let key = world.plan().actions[0].key();
    let until = world.now + jiff::SignedDuration::from_secs(60);
    for (class, times, told) in [
        (ErrorClass::Throttled, 1, false),
        (ErrorClass::Throttled, 10, true),
        (ErrorClass::Terminal, 1, true),
    ] {
        world.observed.refusals = BTreeMap::from([(key.clone(), refuse(class, times, until))]);
        let plan = world.plan();
        assert_eq!(
            (plan.actions.len(), plan.waiting.len()),
            (0, usize::from(told)),
            "{class:?} {times}"
        );
    }
}

#[test]
fn after_a_restart_a_bucket_stays_ready_and_is_looked_at_when_its_turn_comes() {
    let mut world = World::new(&one_bucket());
    world.pass();
    world.now = look::next_turn(&world.name(), world.now, Limits::default().bucket_interval);
    world.wait(1_000);
    world.restart();
    let (done, plan) = world.pass();
    assert_eq!(
        (done.len(), plan.next_check),
        (0, Some(std::time::Duration::from_secs(2_600)))
    );
    assert!(plan.is_converged() && status(&world.cluster, &world.observed)[0].ready);
    world.wait(2_600);
    assert_eq!(world.pass().0, ["look at bucket RAW"]);
    assert_eq!(world.plan().next_check, Some(Limits::default().bucket_interval));

    // What the spec says now is not what was all right.
    world.restart();
    world.wait(1_000);
    world.cluster.generation += 1;
    assert_eq!(world.pass().0, ["look at bucket RAW"]);
}
