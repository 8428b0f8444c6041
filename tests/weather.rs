//! Creations in bad weather: what AWS does wrong is ridden out, what a person has to put right is told, and nothing is
//! made twice.

use std::time::Duration;

use rayward::api::RayCluster;
use serde_json::{Value, json};

use crate::support::account::{LAB as LAB_HOLDINGS, ever_launched};
use crate::support::cluster::{LAB, condition};
use crate::support::fleet::{alive, ids, most_alive, workers};
use crate::support::scene::Scene;
use crate::support::sweeps::sweeps;
use crate::support::wait::{PATIENCE, until};

/// How long a creation may take in bad weather.
const LONG: Duration = Duration::from_mins(2);

/// Calls of a creation, each of which changes something.
const CALLS: [&str; 14] = [
    "CreateVpc",
    "ModifyVpcAttribute",
    "CreateInternetGateway",
    "AttachInternetGateway",
    "CreateSubnet",
    "ModifySubnetAttribute",
    "CreateRouteTable",
    "AssociateRouteTable",
    "CreateRoute",
    "CreateSecurityGroup",
    "AuthorizeSecurityGroupIngress",
    "ImportKeyPair",
    "CreateBucket",
    "PutBucketVersioning",
];

/// Creates the lab and checks that it is exactly the lab, and that nothing was made twice on the way.
async fn creates_exactly_the_lab(scene: &Scene) {
    scene.space.apply(LAB).await.expect("the lab is accepted");
    scene.space.wait_for("lab", "Ready", "True", LONG).await;
    let made = scene.made().await;
    let counts: Vec<_> = made.iter().map(|(kind, ids)| (*kind, ids.len())).collect();
    assert_eq!(counts, LAB_HOLDINGS, "{made:?}");
    // A launch whose answer was lost shows in what is there alone.
    let mut launched = ever_launched(&scene.aws);
    launched.extend(ids(&alive(&scene.aws).await));
    assert_eq!(launched.len(), 3, "no machine too many, not even for a moment");
    let changes = scene.aws.changes();
    let deletions: Vec<_> = changes
        .iter()
        .filter(|call| call.action.starts_with("Delete") || call.action.starts_with("Terminate"))
        .collect();
    assert!(
        deletions.is_empty(),
        "nothing had to be taken away again: {deletions:?}"
    );
}

/// The first call of each kind fails so.
fn each_call_fails_once(scene: &Scene, fault: &Value) -> Vec<String> {
    let fault = |action: &&str| {
        let mut fault = fault.clone();
        fault["action"] = json!(action);
        scene.aws.inject(&fault)
    };
    CALLS.iter().chain(&["RunInstances"]).map(fault).collect()
}

async fn ride_out(fault: Value) {
    let scene = Scene::start_with(&["--call-timeout=3s"]).await;
    let faults = each_call_fails_once(&scene, &fault);
    creates_exactly_the_lab(&scene).await;
    for (id, call) in faults.iter().zip(CALLS) {
        assert_eq!(scene.aws.fired(id), 1, "{call}");
    }
}

#[tokio::test]
async fn lost_answers_are_ridden_out() {
    ride_out(json!({"kind": "lost-response"})).await;
}

#[tokio::test]
async fn server_errors_are_ridden_out() {
    ride_out(json!({"kind": "error"})).await;
}

#[tokio::test]
async fn an_unavailable_service_is_ridden_out() {
    ride_out(json!({"kind": "unavailable"})).await;
}

#[tokio::test]
async fn calls_that_time_out_are_ridden_out() {
    let scene = Scene::start_with(&["--call-timeout=1s"]).await;
    for action in ["CreateVpc", "CreateSubnet", "RunInstances", "CreateBucket"] {
        scene
            .aws
            .inject(&json!({"action": action, "kind": "timeout", "seconds": 2}));
    }
    creates_exactly_the_lab(&scene).await;
}

#[tokio::test]
async fn answers_that_come_too_late_are_found_out_about() {
    let scene = Scene::start_with(&["--call-timeout=1s"]).await;
    for action in ["CreateVpc", "CreateSubnet", "RunInstances", "CreateBucket"] {
        scene
            .aws
            .inject(&json!({"action": action, "kind": "delay", "seconds": 1.5}));
    }
    creates_exactly_the_lab(&scene).await;
}

#[tokio::test]
async fn throttling_is_ridden_out() {
    let scene = Scene::start().await;
    for action in [
        "CreateVpc",
        "RunInstances",
        "CreateBucket",
        "DescribeInstances",
        "DescribeImages",
    ] {
        scene.aws.inject(&json!({"action": action, "kind": "throttle"}));
    }
    creates_exactly_the_lab(&scene).await;
}

#[tokio::test]
async fn slow_and_stale_answers_double_nothing() {
    let scene = Scene::start_with(&["--consistency-window=8s"]).await;
    scene
        .aws
        .set(&json!({"delay_ms": 100, "stale_seconds": 3, "stale_ids": true}));
    creates_exactly_the_lab(&scene).await;
}

/// The lab with workers of other types than the head.
fn lab_with_workers_of(types: &str) -> String {
    let wanted = format!("instanceTypes: [{types}]");
    let lab = LAB.replacen("instanceTypes: [t2.medium]", &wanted, 1);
    assert!(lab.contains(&wanted));
    lab
}

fn no_capacity(instance_type: &str) -> Value {
    json!({"action": "RunInstances", "kind": "capacity", "times": 0, "params": {"InstanceType": instance_type}})
}

#[tokio::test]
async fn a_type_without_capacity_is_followed_by_the_next_of_the_spec() {
    let scene = Scene::start().await;
    scene.aws.inject(&no_capacity("c5.large"));
    let lab = lab_with_workers_of("c5.large, m5.large");
    scene.space.apply(&lab).await.expect("the lab is accepted");
    scene.space.wait_for("lab", "Ready", "True", PATIENCE).await;
    let workers = workers(&scene.aws).await;
    assert_eq!(workers.len(), 2);
    assert!(
        workers.iter().all(|worker| worker.instance_type == "m5.large"),
        "{workers:#?}"
    );
    let refused = scene.aws.changes();
    let refused = refused
        .iter()
        .filter(|call| call.error.is_some() && call.action == "RunInstances");
    assert_eq!(refused.count(), 1, "a pool without capacity is asked once");
}

#[tokio::test]
async fn a_full_subnet_is_followed_by_the_next_of_the_same_zone() {
    let scene = Scene::start().await;
    // Eleven addresses, the head's among them, for a head and twelve workers.
    let subnet = "cidr: 10.0.1.0/24\n        public: true\n";
    let rest = "        public: true\n        availabilityZone: ap-southeast-1a\n";
    let two = format!("cidr: 10.0.1.0/28\n{rest}      - name: b\n        cidr: 10.0.2.0/24\n{rest}");
    let lab = LAB.replacen(subnet, &two, 1).replacen("replicas: 2", "replicas: 12", 1);
    scene.space.apply(&lab).await.expect("the lab is accepted");
    scene.space.wait_for("lab", "Ready", "True", PATIENCE).await;
    let workers = workers(&scene.aws).await;
    let in_first = workers
        .iter()
        .filter(|worker| worker.private_address.starts_with("10.0.1."));
    assert_eq!((workers.len(), in_first.count()), (12, 10), "{workers:#?}");
    assert_eq!(most_alive(&scene.aws), 13);
}

#[tokio::test]
async fn no_capacity_anywhere_is_told_and_over_when_there_is_some() {
    let scene = Scene::start_with(&["--capacity-skip=3s"]).await;
    scene.aws.inject(&no_capacity("c5.large"));
    scene.aws.inject(&no_capacity("m5.large"));
    let lab = lab_with_workers_of("c5.large, m5.large");
    scene.space.apply(&lab).await.expect("the lab is accepted");
    let lab = scene.space.wait_until("lab", "the lack is told", PATIENCE, |lab| {
        condition(lab, "WorkersReady").is_some_and(|workers| workers.reason == "NoCapacity")
    });
    let lab = lab.await;
    let message = &condition(&lab, "WorkersReady").expect("it was just there").message;
    for part in ["InsufficientInstanceCapacity", "c5.large, m5.large", "Add another type"] {
        assert!(message.contains(part), "{part}: {message}");
    }
    assert!(condition(&lab, "Stalled").is_none(), "it goes on by itself");
    scene.aws.clear_faults();
    scene.space.wait_for("lab", "Ready", "True", PATIENCE).await;
    assert_eq!((alive(&scene.aws).await.len(), most_alive(&scene.aws)), (3, 3));
}

/// Something that only a person can put right.
struct Trouble {
    action: &'static str,
    fault: Value,
    /// Where it is told.
    condition: &'static str,
    /// What is told: AWS's code, on what, what to do.
    told: &'static [&'static str],
}

fn troubles() -> Vec<Trouble> {
    let denied = |code: &str| json!({"kind": "error", "code": code, "message": "You may not.", "status": 403});
    vec![
        Trouble {
            action: "CreateVpc",
            fault: json!({"kind": "quota"}),
            condition: "NetworkReady",
            told: &["VpcLimitExceeded", "CreateVpc", "ask AWS for a higher quota"],
        },
        Trouble {
            action: "RunInstances",
            fault: json!({"kind": "quota", "params": {"MaxCount": 2}}),
            condition: "WorkersReady",
            told: &["VcpuLimitExceeded", "group cpu", "quota of running instances"],
        },
        Trouble {
            action: "AllocateAddress",
            fault: json!({"kind": "quota"}),
            condition: "HeadReady",
            told: &["AddressLimitExceeded", "ask AWS for a higher quota"],
        },
        Trouble {
            action: "RunInstances",
            fault: denied("UnauthorizedOperation"),
            condition: "HeadReady",
            told: &["UnauthorizedOperation", "head", "allow this call"],
        },
        Trouble {
            action: "CreateBucket",
            fault: denied("AccessDenied"),
            condition: "BucketsReady",
            told: &["AccessDenied", "allow this call"],
        },
    ]
}

#[tokio::test]
async fn what_a_person_has_to_put_right_is_told_and_not_tried_in_a_loop() {
    let scene = Scene::start().await;
    let elastic = LAB.replacen("publicAddress: Dynamic", "publicAddress: Elastic", 1);
    for (number, trouble) in troubles().into_iter().enumerate() {
        let mut fault = trouble.fault;
        fault["action"] = json!(trouble.action);
        fault["times"] = json!(0);
        let fault = scene.aws.inject(&fault);
        let name = format!("lab-{number}");
        let manifest = elastic.replacen("name: lab\n", &format!("name: {name}\n"), 1);
        scene.space.apply(&manifest).await.expect("the lab is accepted");
        let is_told = |lab: &RayCluster| {
            let part = condition(lab, trouble.condition).filter(|part| part.reason == "Refused");
            part.is_some_and(|part| trouble.told.iter().all(|told| part.message.contains(told)))
                && condition(lab, "Stalled").is_some_and(|stalled| stalled.reason == "Refused")
        };
        let what = format!("{} says {:?}", trouble.condition, trouble.told);
        scene.space.wait_until(&name, &what, PATIENCE, is_told).await;
        let calls = scene.aws.fired(&fault);
        sweeps(&scene.aws, 3).await;
        assert_eq!(scene.aws.fired(&fault), calls, "{}: no loop", trouble.action);
        assert!(calls <= 4, "{}: {calls} calls", trouble.action);

        // The cause is gone, and somebody touches the spec: it is tried at once.
        scene.aws.clear_faults();
        let touch = json!({"spec": {"tags": {"touched": "yes"}}});
        scene.space.patch(&name, &touch).await.expect("a touched spec");
        scene.space.wait_for(&name, "Ready", "True", PATIENCE).await;
    }
}

#[tokio::test]
async fn what_was_refused_is_tried_again_later_without_anybodys_help() {
    let scene = Scene::start_with(&["--refusal-retry=3s"]).await;
    let quota = scene
        .aws
        .inject(&json!({"action": "CreateVpc", "kind": "quota", "times": 2}));
    scene.space.apply(LAB).await.expect("the lab is accepted");
    scene.space.wait_for("lab", "Stalled", "True", PATIENCE).await;
    scene.space.wait_for("lab", "Ready", "True", PATIENCE).await;
    assert_eq!(scene.aws.fired(&quota), 2);
}

#[tokio::test]
async fn what_the_spec_names_and_aws_does_not_have_is_told_until_the_spec_names_something_else() {
    let scene = Scene::start().await;
    let image = ("ami-003c463c8207b4dfa", "ami-0123456789abcdef0");
    let cases = [
        (
            "image",
            image.0,
            image.1,
            "HeadReady",
            "ImageUnknown",
            "InvalidAMIID.NotFound",
        ),
        (
            "key",
            "keyPair: {}",
            "keyPair: {name: absent}",
            "HeadReady",
            "InvalidReference",
            "InvalidKeyPair.NotFound",
        ),
        (
            "type",
            "instanceTypes: [t2.medium]",
            "instanceTypes: [p5.48xlarge]",
            "WorkersReady",
            "InvalidReference",
            "Unsupported",
        ),
    ];
    for (name, good, bad, part, reason, code) in cases {
        let lab = LAB.replacen("name: lab\n", &format!("name: {name}\n"), 1);
        let wrong = lab.replacen(good, bad, 1);
        assert_ne!(wrong, lab, "{name}");
        scene.space.apply(&wrong).await.expect("only AWS can know");
        let is_told = |lab: &RayCluster| {
            let part = condition(lab, part).filter(|part| part.reason == reason);
            part.is_some_and(|part| part.message.contains(code) && part.status == "False")
        };
        let what = format!("{part} says {reason}, {code}");
        scene.space.wait_until(name, &what, PATIENCE, is_told).await;
        scene.space.wait_for(name, "Stalled", "True", PATIENCE).await;
        until(&format!("an Event says {reason}, {code}"), PATIENCE, async || {
            let events = scene.space.events().await;
            let is_told = |event: &String| event.starts_with(reason) && event.contains(code);
            events.iter().any(is_told).then_some(()).ok_or(format!("{events:#?}"))
        })
        .await;
        scene.space.apply(&lab).await.expect("the lab is accepted");
        scene.space.wait_for(name, "Ready", "True", PATIENCE).await;
    }
}

#[tokio::test]
async fn one_broken_cluster_does_not_delay_another() {
    let scene = Scene::start_with(&["--call-timeout=50s"]).await;
    // Its first call hangs for longer than everything else takes.
    let hanging = json!({"action": "CreateVpc", "kind": "timeout", "seconds": 45, "times": 0,
        "params": {"CidrBlock": "10.9.0.0/16"}});
    let hanging = scene.aws.inject(&hanging);
    let hung = LAB
        .replacen("name: lab\n", "name: hung\n", 1)
        .replacen("10.0.0.0/16", "10.9.0.0/16", 1)
        .replacen("10.0.1.0/24", "10.9.1.0/24", 1);
    let unknown =
        LAB.replacen("name: lab\n", "name: unknown\n", 1)
            .replacen("ami-003c463c8207b4dfa", "ami-0123456789abcdef0", 1);
    scene.space.apply(&unknown).await.expect("only AWS can know");
    scene.space.apply(&hung).await.expect("it is accepted");
    let is_broken = |lab: &RayCluster| condition(lab, "HeadReady").is_some_and(|head| head.reason == "ImageUnknown");
    scene
        .space
        .wait_until("unknown", "the image is unknown", PATIENCE, is_broken)
        .await;

    scene.space.apply(LAB).await.expect("the lab is accepted");
    scene.space.wait_for("lab", "Ready", "True", PATIENCE).await;
    assert_eq!(scene.aws.fired(&hanging), 1);
    let answered = scene.aws.changes();
    let answered = answered.iter().filter(|call| call.params["CidrBlock"] == "10.9.0.0/16");
    assert_eq!(answered.count(), 0, "the other one still hangs in its first call");
    assert!(is_broken(&scene.space.cluster("unknown").await));
}
