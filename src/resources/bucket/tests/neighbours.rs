//! Buckets whose names begin as this cluster's do: in other regions, of others, or its own of an earlier spec.

use super::*;
use crate::{aws::ErrorClass, observe::Refusal};

/// What is planned about buckets that are there beside the cluster's own, first as it is and then in its deletion.
fn plans_beside(world: &mut World, beside: &[Bucket], refusal: Option<ErrorClass>) -> [Plan; 2] {
    world.sweep();
    for bucket in beside {
        let refused = refusal.map(|class| Refusal {
            class,
            kind: crate::resources::Kind::Bucket,
            code: "Code".into(),
            message: "GetBucketTagging: refused".into(),
            times: 20,
            until: world.now + jiff::SignedDuration::from_secs(60),
        });
        let key = format!("GetBucketTagging {}", bucket.name);
        world
            .observed
            .refusals
            .extend(refused.map(|refusal| (key.clone(), refusal)));
        let others = &mut world.observed.inventory.bucket.others;
        others.insert(bucket.name.clone(), bucket.clone());
    }
    let plan = world.plan();
    world.cluster.deleting = true;
    let deletion = world.plan();
    world.cluster.deleting = false;
    [plan, deletion]
}

fn listed(name: &str, region: Option<&str>) -> Bucket {
    Bucket {
        name: name.into(),
        region: region.map(Into::into),
        ..Bucket::default()
    }
}

/// A name that Rayward makes for the cluster, for a purpose that its spec does not have.
fn earlier_name(world: &World) -> String {
    let mut earlier = world.cluster.clone();
    earlier.buckets[0].purpose = "earlier".into();
    names(&earlier, ACCOUNT).next().unwrap().0
}

#[test]
fn buckets_of_others_and_of_other_regions_are_not_even_looked_at() {
    let mut world = World::new(&one_bucket());
    let earlier = earlier_name(&world);
    world.cluster.buckets.clear();
    let beside = [
        listed(&earlier, Some("eu-west-1")),
        listed("rayward-ml-lab-b-raw-scnr2mi253", Some("ap-southeast-1")),
        listed("rayward-ml-lab-b-raw-abcdefghij", None),
    ];
    for plan in plans_beside(&mut world, &beside, None) {
        assert!(plan.is_converged() && plan.findings.is_empty(), "{plan:?}");
        assert_eq!(plan.next_check, None);
    }
    let here = [listed(&earlier, Some("ap-southeast-1"))];
    let [_, deletion] = plans_beside(&mut world, &here, None);
    let looks: Vec<String> = deletion.actions.iter().map(ToString::to_string).collect();
    assert_eq!(looks, [format!("look at bucket {earlier}")]);
}

#[test]
fn a_bucket_that_only_its_name_points_to_holds_nothing_up() {
    let mut world = World::new(&one_bucket());
    let earlier = earlier_name(&world);
    world.cluster.buckets.clear();
    // Its turn has just come.
    world.now = look::next_turn(&earlier, world.now, Limits::default().bucket_interval);
    let beside = [listed(&earlier, None)];
    for plan in plans_beside(&mut world, &beside, Some(ErrorClass::Terminal)) {
        assert!(plan.is_converged(), "{plan:?}");
        let told = "may be an earlier bucket of this cluster, by its name: GetBucketTagging: refused";
        assert_eq!(found(&plan), [told]);
    }
    // A refusal that passes is waited out before the cluster goes: the bucket may be its own.
    let [plan, deletion] = plans_beside(&mut world, &beside, Some(ErrorClass::Throttled));
    assert!(plan.is_converged() && plan.findings.is_empty(), "{plan:?}");
    assert_eq!((deletion.actions.len(), deletion.waiting.len()), (0, 1), "{deletion:?}");

    // One that the status names is this cluster's business.
    world.observed.recorded.buckets = vec![crate::api::BucketStatus {
        purpose: "earlier".into(),
        name: earlier.clone(),
        ready: true,
    }];
    for plan in plans_beside(&mut world, &beside, Some(ErrorClass::Terminal)) {
        assert_eq!(message(&plan), "GetBucketTagging: refused");
    }
}
