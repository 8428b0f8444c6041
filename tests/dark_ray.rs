//! A Ray that cannot be asked, or answers badly: the cause is told, no machine is touched, and nothing goes down.

use std::time::Duration;

use rayward::api::RayCluster;

use crate::support::cluster::{LAB, condition};
use crate::support::fleet::head;
use crate::support::light::load::{Actor, Load};
use crate::support::light::manner::Manner;
use crate::support::light::trouble::{Trouble, Until};
use crate::support::scene::Scene;
use crate::support::sweeps::last_call;
use crate::support::wait::PATIENCE;

/// Something that is wrong with a head.
enum Fault {
    Answer(&'static str, Manner),
    Trouble(Trouble),
    OtherCluster,
}

impl Fault {
    fn begin(&self, scene: &Scene, head: &str) {
        let light = scene.aws.light();
        match self {
            Self::Answer(path, manner) => light.answer(path, *manner),
            Self::Trouble(trouble) => light.trouble(head, trouble.clone(), Until::Replaced),
            Self::OtherCluster => light.pose(head, Some("another-cluster")),
        }
    }

    fn end(&self, scene: &Scene, head: &str) {
        let light = scene.aws.light();
        match self {
            Self::Answer(..) => light.answer_well(),
            Self::Trouble(_) => light.mend(head),
            Self::OtherCluster => light.pose(head, None),
        }
    }
}

fn idle_is(lab: &RayCluster, status: &str, reason: &str) -> bool {
    condition(lab, "Idle").is_some_and(|idle| (idle.status.as_str(), idle.reason.as_str()) == (status, reason))
}

#[tokio::test]
async fn each_fault_of_a_dashboard_is_told_and_no_machine_is_touched_for_it() {
    let scene = Scene::start_with(&["--look-interval=1s", "--idle-proof=3s"]).await;
    let actor = Load {
        actors: vec![Actor::alive("Somebody")],
        ..Load::default()
    };
    scene.aws.light().set_load(actor);
    let lab = LAB.replacen("timeout: 90m", "timeout: 10s", 1);
    scene.space.apply(&lab).await.expect("the lab is accepted");
    scene.space.wait_for("lab", "Ready", "True", PATIENCE).await;
    let head = head(&scene.aws).await.id;
    let nodes = "/api/v0/nodes";
    let status = "/api/cluster_status";
    let faults = [
        (Fault::Answer(nodes, Manner::Half), "Incomplete", true),
        (Fault::Answer("/api/version", Manner::Garbage), "Garbled", true),
        (
            Fault::Answer(status, Manner::Old(Duration::from_mins(1))),
            "Stale",
            false,
        ),
        (Fault::Trouble(Trouble::SshClosed), "Unreachable", true),
        (Fault::OtherCluster, "WrongPeer", true),
        (Fault::Answer(nodes, Manner::Slow(Duration::from_secs(5))), "Slow", true),
    ];
    for (fault, reason, is_event) in faults {
        fault.begin(&scene, &head);
        let what = format!("its use is unknown: {reason}");
        let is_told = |lab: &RayCluster| idle_is(lab, "Unknown", reason);
        scene.space.wait_until("lab", &what, PATIENCE, is_told).await;
        if is_event {
            let opening = format!("{reason}: ");
            scene
                .space
                .wait_for_event(reason, |event| event.starts_with(&opening))
                .await;
        }
        fault.end(&scene, &head);
        let is_used = |lab: &RayCluster| idle_is(lab, "False", "InUse");
        scene.space.wait_until("lab", "it is in use", PATIENCE, is_used).await;
    }
    // For longer than it may be unused.
    Fault::Answer("/api/gcs_healthz", Manner::Hang).begin(&scene, &head);
    let is_long = |lab: &RayCluster| idle_is(lab, "Unknown", "UnknownForLong");
    let lab = scene
        .space
        .wait_until("lab", "it is unknown for long", PATIENCE, is_long)
        .await;
    let message = &condition(&lab, "Idle").expect("it is told").message;
    assert!(message.contains("idle.whenUnknown is Keep"), "{message}");
    let is_told = |event: &str| event.starts_with("UnknownForLong: since") && event.contains("/api/gcs_healthz");
    scene.space.wait_for_event("the long time", is_told).await;
    for call in ["StopInstances", "TerminateInstances", "RebootInstances"] {
        let made = last_call(&scene.aws, call, |_| true);
        assert!(made.is_none(), "{call}: {made:?}");
    }
}
