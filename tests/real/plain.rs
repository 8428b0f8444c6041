//! A plain image: the machines install Ray themselves, as those of most users do.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::cluster::condition;
use crate::support::fleet;
use crate::support::real::laptop::Opened;
use crate::support::real::ray::nodes;
use crate::support::real::{INTERNET, Real, lab, took};
use crate::support::wait::until;

/// Two machines install some hundred megabytes side by side.
const DEADLINE: Duration = Duration::from_mins(5);

#[tokio::test(flavor = "multi_thread")]
async fn machines_of_a_plain_image_install_what_they_are_told() {
    let Some(real) = Real::start(&["--join-timeout=5m"]).await else {
        return;
    };
    let (space, aws) = (&real.scene.space, &real.scene.aws);
    let mut manifest = lab(1);
    let spec = manifest["spec"].as_object_mut().expect("the lab has a spec");
    spec.insert("pipPackages".to_owned(), json!(["xgboost-cpu"]));
    spec.insert("setupScript".to_owned(), json!("echo \"for $TEAM\" >/etc/set-up"));
    spec["environment"]["TEAM"] = json!("vision");
    spec["head"] = json!({"instanceType": "t2.medium", "rayStartParams": spec["head"]["rayStartParams"]});
    let group = spec["workerGroups"][0].as_object_mut().expect("there is a group");
    group.remove("iamInstanceProfile");
    let manifest = serde_yaml::to_string(&manifest).expect("YAML can be written");
    let applied = Instant::now();
    space.apply(&manifest).await.expect("the lab is accepted");
    space
        .wait_until("lab", "it tells that Ray is installed", DEADLINE, |cluster| {
            let head = cluster.status.as_ref().and_then(|status| status.head.as_ref());
            let message = head.and_then(|head| head.message.as_deref());
            message.is_some_and(|message| message.contains("installing Ray 2.60.0"))
        })
        .await;
    let cluster = space.wait_for("lab", "Ready", "True", DEADLINE).await;
    took("from apply to ready with Ray installed from a package index", applied);

    let opened = Opened::of(space, "lab").await;
    let head = fleet::head(aws).await;
    let found = until("both are nodes of Ray", DEADLINE, async || {
        let found = nodes(aws, &head.id, &opened.token)?;
        if found.len() == 2 {
            Ok(found)
        } else {
            Err(format!("{found:?}"))
        }
    })
    .await;
    for instance in found.keys() {
        assert_eq!(aws.told_in(instance, "cat /etc/set-up"), "for vision\n");
        aws.told_in(instance, "/opt/ray/bin/python -c 'import xgboost'");
        // They have no instance profile, and so no keys that open S3.
        let bucket = &cluster.status.as_ref().expect("there is a status").buckets[0].name;
        let script = format!("curl -s -o /dev/null -w '%{{http_code}}' http://{INTERNET}:4566/{bucket}");
        assert_eq!(aws.told_in(instance, &script), "403");
    }
    assert!(condition(&cluster, "Stalled").is_none());
}
