//! Whose a bucket is: released, adopted, claimed, or of others and never touched.

use super::*;

#[test]
fn a_kept_bucket_is_released_and_found_again_by_the_same_name_only() {
    let mut world = World::new(&one_bucket());
    world.pass();
    world.only().versions = 7;
    world.only().tags.insert("team".into(), "blue".into());
    world.delete(crate::api::BucketDeletion::Retain);
    assert_eq!(world.pass().0, ["release bucket RAW, which stays with its data"]);
    assert!(world.observed.inventory.bucket.ours.is_empty());
    let tags = world.only().tags.clone();
    assert_eq!(tags[RELEASED_BY], "inst/ns-uid/lab");
    assert_eq!((tags.get(CLUSTER_UID), tags["team"].as_str()), (None, "blue"));
    assert_eq!(world.pass().0, [""; 0]);

    // The same name in a namespace that was made anew.
    world.apply_anew("uid-2");
    world.cluster.id.namespace_uid = "ns-uid-2".into();
    let (done, plan) = world.pass();
    assert_eq!(done, ["look at bucket RAW"]);
    assert!(message(&plan).contains("was released by inst/ns-uid/lab"), "{plan:?}");
    assert!(
        message(&plan).contains("rayward.dev/released-by=inst/ns-uid-2/lab"),
        "{plan:?}"
    );

    world.apply_anew("uid-2");
    let adoption = [
        "look at bucket RAW",
        "adopt bucket RAW, which this cluster released",
        "look at bucket RAW",
    ];
    assert_eq!(world.pass().0, adoption);
    let stored = world.only();
    assert_eq!((stored.tags[CLUSTER_UID].as_str(), stored.versions), ("uid-2", 7));
    assert!(!stored.tags.contains_key(RELEASED_BY));
}

#[test]
fn anothers_bucket_is_never_touched_and_looked_at_again_for_a_hand_over() {
    let mut world = World::new(&named("data"));
    let theirs = Tags::from([
        (CLUSTER_UID.into(), "uid-9".into()),
        (crate::tags::CLUSTER.into(), "ml/other".into()),
        (crate::tags::INSTALLATION.into(), "inst".into()),
    ]);
    world.s3.0.insert(
        "data".into(),
        Stored {
            tags: theirs,
            ..Stored::default()
        },
    );
    let before = world.s3.clone();
    let (done, plan) = world.pass();
    assert_eq!(done, ["look at bucket data"]);
    assert!(
        message(&plan).contains("belongs to the RayCluster ml/other (uid uid-9)"),
        "{plan:?}"
    );
    assert!(!status(&world.cluster, &world.observed)[0].ready);
    world.wait(300);
    assert_eq!(world.pass().0, ["look at bucket data"]);
    world.delete(crate::api::BucketDeletion::Delete);
    world.cluster.bucket_deletion_confirmed = true;
    assert_eq!(world.pass().0, [""; 0]);
    assert_eq!(world.s3, before);
}

#[test]
fn an_untagged_bucket_of_a_given_name_is_never_claimed() {
    let mut world = World::new(&named("data"));
    world.s3.0.insert("data".into(), Stored::default());
    let (done, plan) = world.pass();
    assert_eq!(done, ["look at bucket data"]);
    assert!(message(&plan).contains("has no tag that says whose it is"), "{plan:?}");
    world.only().tags.insert(RELEASED_BY.into(), "inst/ns-uid/lab".into());
    world.wait(300);
    assert_eq!(world.pass().0[1], "adopt bucket data, which this cluster released");
}

#[test]
fn a_creation_that_was_cut_short_is_claimed_only_while_nothing_is_in_it() {
    let name = names(&cluster("uid-1", &one_bucket()), ACCOUNT).next().unwrap().0;
    for (versions, claimed) in [(0, true), (1, false)] {
        let mut world = World::new(&one_bucket());
        world.s3.0.insert(
            name.clone(),
            Stored {
                versions,
                ..Stored::default()
            },
        );
        let (done, plan) = world.pass();
        assert_eq!(done[..2], ["look at bucket RAW", "look into bucket RAW"]);
        let claim = done.contains(&"tag bucket RAW, which lost its tags".to_owned());
        assert_eq!((claim, plan.is_converged()), (claimed, claimed), "{done:?}");
    }
}

#[test]
fn all_tags_taken_away_are_put_back_if_this_cluster_is_known_to_have_had_the_bucket() {
    for restarted in [false, true] {
        let mut world = World::new(&one_bucket());
        world.pass();
        if restarted {
            world.restart();
        }
        world.only().tags.clear();
        world.only().versions = 7;
        world.wait(3600);
        let (done, plan) = world.pass();
        assert_eq!(
            done[..2],
            ["look at bucket RAW", "tag bucket RAW, which lost its tags"],
            "{done:?}"
        );
        assert!(plan.is_converged());
        assert_eq!(world.only().tags[CLUSTER_UID], "uid-1");
    }
}

#[test]
fn a_bucket_in_another_region_is_named() {
    let mut world = World::new(&named("data"));
    let bucket = Bucket {
        name: "data".into(),
        region: Some("eu-west-1".into()),
        ..Bucket::default()
    };
    world.observed.inventory.bucket.others.insert("data".into(), bucket);
    let plan = world.plan();
    assert!(plan.actions.is_empty());
    assert!(
        message(&plan).starts_with("bucket data exists in eu-west-1, not in ap-southeast-1"),
        "{plan:?}"
    );
}
