//! What becomes of buckets when the cluster, or the spec, does not want them any more.

use super::*;

#[test]
fn a_bucket_without_tags_is_left_alone_by_a_deletion_and_named() {
    for restarted in [false, true] {
        let mut world = World::new(&one_bucket());
        world.pass();
        if restarted {
            world.restart();
        }
        world.only().tags.clear();
        world.cluster.generation = 2;
        world.delete(crate::api::BucketDeletion::Delete);
        world.cluster.bucket_deletion_confirmed = true;
        let (done, plan) = world.pass();
        let look = if restarted { "look at" } else { "look into" };
        assert_eq!(done, [format!("{look} bucket RAW")]);
        assert_eq!(found(&plan), ["has lost its tags and so is left alone"]);
        assert_eq!(world.s3.0.len(), 1);
    }
}

#[test]
fn what_the_spec_no_longer_asks_for_is_released_whatever_the_policy() {
    let mut world = World::new(&one_bucket());
    world.pass();
    world.cluster.buckets.clear();
    world.cluster.bucket_deletion = crate::api::BucketDeletion::Delete;
    world.cluster.bucket_deletion_confirmed = true;
    assert_eq!(world.pass().0, ["release bucket RAW, which stays with its data"]);
}

#[test]
fn an_empty_bucket_goes_and_one_with_data_waits_for_a_person() {
    let mut world = World::new(&one_bucket());
    world.pass();
    world.delete(crate::api::BucketDeletion::Delete);
    let mut full = World {
        s3: world.s3.clone(),
        cluster: world.cluster.clone(),
        observed: world.observed.clone(),
        remembered: world.remembered.clone(),
        now: world.now,
    };
    assert_eq!(world.pass().0, ["look into bucket RAW", "delete bucket RAW"]);
    assert!(world.s3.0.is_empty());

    full.only().versions = 1;
    let (done, plan) = full.pass();
    assert_eq!(done, ["look into bucket RAW"]);
    assert!(
        message(&plan).contains("rayward.dev/confirm-bucket-deletion=uid-1"),
        "{plan:?}"
    );
    assert!(message(&plan).contains(RAW), "{plan:?}");
    // Somebody takes the data out by hand.
    full.only().versions = 0;
    full.wait(60);
    assert_eq!(full.pass().0, ["look into bucket RAW", "delete bucket RAW"]);
}

#[test]
fn confirmed_data_goes_in_several_passes() {
    let mut world = World::new(&one_bucket());
    world.pass();
    world.only().versions = 15_000;
    world.delete(crate::api::BucketDeletion::Delete);
    world.cluster.bucket_deletion_confirmed = true;
    let (done, plan) = world.pass();
    assert_eq!(done, ["look into bucket RAW", "empty bucket RAW"]);
    assert!(message(&plan).contains("is being emptied; 10000 versions"), "{plan:?}");
    assert_eq!(plan.next_check, Some(std::time::Duration::from_secs(1)));
    world.wait(1);
    assert_eq!(world.pass().0, ["empty bucket RAW", "delete bucket RAW"]);
}
