//! A bucket that is made and set up, and made again when it vanished.

use super::*;

#[test]
fn a_bucket_is_made_looked_at_and_set_up_without_talk_of_drift() {
    let mut world = World::new(&one_bucket());
    let (done, plan) = world.pass();
    assert_eq!(done, CREATION);
    assert!(plan.is_converged() && plan.findings.is_empty(), "{plan:?}");
    assert!(world.only().settings.complete());
    assert!(world.only().tags.contains_key(crate::tags::CREATED_AT));
    let status = status(&world.cluster, &world.observed);
    assert!(status[0].ready && status[0].purpose == "raw", "{status:?}");
    assert_eq!(world.pass().0, [""; 0], "a quiet pass does nothing");
}

#[test]
fn the_four_of_the_lab_are_made_side_by_side() {
    let world = World::new(&json!({"region": "ap-southeast-1"}));
    let creations: Vec<String> = world.plan().actions.iter().map(ToString::to_string).collect();
    assert_eq!(creations.len(), 4);
    assert!(
        creations
            .iter()
            .all(|line| line.starts_with("create bucket rayward-ml-lab-")),
        "{creations:?}"
    );
}

#[test]
fn a_bucket_that_vanished_is_made_again_and_its_loss_is_told() {
    let mut world = World::new(&one_bucket());
    world.pass();
    world.restart();
    world.s3.0.clear();
    world.sweep();
    assert_eq!(found(&world.plan()), ["was deleted, with all that was in it"]);
    assert_eq!(world.pass().0, CREATION);
}

#[test]
fn nothing_is_done_while_account_or_listing_are_unknown() {
    let mut world = World::new(&one_bucket());
    world.observed.account = Source::Unknown("no credentials".into());
    assert_eq!(message(&world.plan()), "the AWS account: no credentials");
    world.observed.account = Source::Known(ACCOUNT.into());
    world.observed.inventory.bucket.swept = Source::Unknown("time-out".into());
    assert!(world.plan().actions.is_empty());
    assert_eq!(message(&world.plan()), "the list of buckets: time-out");
}

#[test]
fn folds_are_the_same_the_second_time() {
    let mut world = World::new(&one_bucket());
    let mut history = Vec::new();
    for _ in 0..3 {
        for action in world.plan().actions {
            let crate::plan::Action::Aws(change) = action else {
                panic!("{action}")
            };
            let Change::Bucket(bucket) = &change else {
                panic!("{change}")
            };
            let answer = world.s3.apply(bucket);
            world.observed.inventory.fold(&change, &answer);
            history.push((change, answer));
        }
    }
    let once = world.observed.inventory.clone();
    for (change, answer) in &history {
        world.observed.inventory.fold(change, answer);
    }
    assert_eq!(once.bucket.ours, world.observed.inventory.bucket.ours);
    assert_eq!(once.bucket.others, world.observed.inventory.bucket.others);
}
