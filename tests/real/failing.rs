//! A set-up script that fails on every worker: it is told why, and the replacing stops.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::cluster::condition;
use crate::support::fleet::launches;
use crate::support::real::{Real, lab, took};
use crate::support::sweeps::sweeps;

/// How long machines may take to boot and to fail, a few times.
const DEADLINE: Duration = Duration::from_mins(4);
/// The head runs the same script and has nothing to complain of.
const SCRIPT: &str = "grep -q \"^role='worker'\" /usr/local/bin/rayward-node || exit 0
echo 'the licence server does not answer' >&2
exit 7";

#[tokio::test(flavor = "multi_thread")]
async fn a_set_up_script_that_fails_everywhere_is_told_and_not_paid_for_again_and_again() {
    let Some(real) = Real::start(&["--join-timeout=30s", "--repeated-failures=2"]).await else {
        return;
    };
    let (space, aws) = (&real.scene.space, &real.scene.aws);
    let mut manifest = lab(1);
    manifest["spec"]["setupScript"] = json!(SCRIPT);
    let applied = Instant::now();
    space
        .apply(&serde_yaml::to_string(&manifest).expect("YAML can be written"))
        .await
        .expect("the lab is accepted");
    // The first failure asks for a person already; the last one ends the tries.
    let cluster = space
        .wait_until("lab", "no further worker is tried", DEADLINE, |cluster| {
            condition(cluster, "Stalled").is_some_and(|each| each.reason == "RepeatedFailure")
        })
        .await;
    took("from apply to the end of the tries", applied);

    let told = &condition(&cluster, "Stalled").expect("it was waited for").message;
    assert!(told.contains("the licence server does not answer"), "{told}");
    let head = condition(&cluster, "HeadReady").expect("it is always there");
    assert_eq!(head.status, "True", "{head:?}");
    // The head, and as many workers as may fail.
    let tries = launches(aws).len();
    assert_eq!(tries, 3);
    sweeps(aws, 5).await;
    assert_eq!(launches(aws).len(), tries, "no further machine is paid for");
}
