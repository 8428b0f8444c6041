//! A plain image: the machines install Ray themselves, as those of most users do, or say why they cannot.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::cluster::{Space, condition};
use crate::support::real::laptop::Opened;
use crate::support::real::ray::nodes;
use crate::support::real::{INTERNET, Real, lab, took};
use crate::support::wait::until;

/// Two machines install some hundred megabytes side by side.
const DEADLINE: Duration = Duration::from_mins(5);

#[tokio::test(flavor = "multi_thread")]
async fn machines_of_a_plain_image_install_what_they_are_told_or_say_why_not() {
    let Some(real) = Real::start(&["--join-timeout=5m"]).await else {
        return;
    };
    let (space, aws) = (&real.scene.space, &real.scene.aws);
    let mut manifest = plain_lab("lab", 1);
    manifest["spec"]["pipPackages"] = json!(["xgboost-cpu"]);
    manifest["spec"]["setupScript"] = json!("echo \"for $TEAM\" >/etc/set-up");
    manifest["spec"]["environment"]["TEAM"] = json!("vision");
    let mut no_index = plain_lab("no-index", 0);
    // Nothing listens there.
    no_index["spec"]["environment"]["PIP_INDEX_URL"] = json!(format!("http://{INTERNET}:9/simple/"));
    let mut no_version = plain_lab("no-version", 0);
    no_version["spec"]["rayVersion"] = json!("2.99.99");
    let applied = Instant::now();
    for manifest in [manifest, no_index, no_version] {
        let manifest = serde_yaml::to_string(&manifest).expect("YAML can be written");
        space.apply(&manifest).await.expect("the cluster is accepted");
    }
    tokio::join!(
        fails(space, "no-index", "pip could not reach the package index"),
        fails(
            space,
            "no-version",
            "No matching distribution found for ray[default]==2.99.99"
        ),
    );
    took("from apply to what cannot be installed", applied);
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
    let head = cluster.status.as_ref().and_then(|status| status.head.as_ref());
    let head = head.and_then(|head| head.instance_id.as_ref()).expect("it has a head");
    let found = until("both are nodes of Ray", DEADLINE, async || {
        let found = nodes(aws, head, &opened.token)?;
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

/// The lab on the plain image, without an instance profile.
fn plain_lab(name: &str, workers: u32) -> Value {
    let mut lab = lab(workers);
    lab["metadata"]["name"] = json!(name);
    let spec = &mut lab["spec"];
    spec["head"] = json!({"instanceType": "t2.medium", "rayStartParams": spec["head"]["rayStartParams"]});
    let group = spec["workerGroups"][0].as_object_mut().expect("there is a group");
    group.remove("iamInstanceProfile");
    lab
}

/// Waits until a cluster says these words of what cannot be installed on its head, and what to do.
async fn fails(space: &Space, name: &str, words: &str) {
    let cluster = space
        .wait_until(name, "it tells what failed", DEADLINE, |cluster| {
            condition(cluster, "Stalled").is_some_and(|stalled| stalled.message.contains(words))
        })
        .await;
    let stalled = condition(&cluster, "Stalled").expect("it was waited for");
    assert_eq!(stalled.reason, "BootstrapFailed");
    assert!(stalled.message.contains("installing Ray"), "{stalled:?}");
    assert!(stalled.message.contains("correct it, then terminate i-"), "{stalled:?}");
    let is_it = |event: &str| event.starts_with("BootstrapFailed: ") && event.contains(words);
    space.wait_for_event(&format!("{name}: {words}"), is_it).await;
}
