//! The settings and tags of a bucket come back when somebody changes them.

use aws_sdk_s3::types as s3;

use super::{BARE, Drift};
use crate::support::account::bucket_tags;
use crate::support::scene::Scene;
use crate::support::sweeps::sweeps;
use crate::support::wait::PATIENCE;

#[tokio::test]
async fn settings_of_a_bucket_that_were_changed_come_back() {
    let scene = Scene::start_with(&["--bucket-interval=1s"]).await;
    let manifest = BARE.replace("buckets: []", "buckets: [{purpose: raw}]");
    scene.space.apply(&manifest).await.expect("it is accepted");
    let lab = scene.space.wait_for("lab", "BucketsReady", "True", PATIENCE).await;
    let bucket = lab.status.expect("a status").buckets[0].name.clone();
    let client = scene.aws.s3();
    let mut tags = bucket_tags(&scene.aws, &bucket).await;
    // When it was made is not known any more.
    tags.remove("rayward.dev/created-at");
    sweeps(&scene.aws, 2).await;

    let suspended = s3::VersioningConfiguration::builder().status(s3::BucketVersioningStatus::Suspended);
    let suspended = client
        .put_bucket_versioning()
        .bucket(&bucket)
        .versioning_configuration(suspended.build());
    let drift = Drift {
        done: "PutBucketVersioning",
        list: None,
        repair: "PutBucketVersioning",
        id: &bucket,
        told: "ersioning",
    };
    drift.is_put_right(&scene, suspended.send()).await;

    let removed = client.delete_public_access_block().bucket(&bucket);
    let drift = Drift {
        done: "DeletePublicAccessBlock",
        repair: "PutPublicAccessBlock",
        told: "ublic access",
        ..drift
    };
    drift.is_put_right(&scene, removed.send()).await;

    let removed = client.delete_bucket_tagging().bucket(&bucket);
    let drift = Drift {
        done: "DeleteBucketTagging",
        repair: "PutBucketTagging",
        told: "tags",
        ..drift
    };
    drift.is_put_right(&scene, removed.send()).await;
    assert_eq!(bucket_tags(&scene.aws, &bucket).await, tags);
}
