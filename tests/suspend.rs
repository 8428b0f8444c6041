//! `spec.suspend`: the machines stop, and everything else stays; the same machines start again.

use std::collections::BTreeSet;

use k8s_openapi::api::admissionregistration::v1::{
    ValidatingAdmissionPolicy as Policy, ValidatingAdmissionPolicyBinding as Binding,
};
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use kube::{Api, ResourceExt};
use rayward::api::{Phase, RayCluster};
use serde_json::json;

use crate::support::account::LAB as LAB_HOLDINGS;
use crate::support::cluster::{LAB, condition};
use crate::support::fleet::{Machine, alive, ids, launches, most_alive, names, wait_for_machines, workers};
use crate::support::scene::Scene;
use crate::support::sweeps::{last_call, sweeps};
use crate::support::wait::{PATIENCE, until};

const STOPPED: &str = "rayward.dev/stopped";

async fn suspend(scene: &Scene, suspend: bool) {
    let wish = json!({"spec": {"suspend": suspend}});
    scene.space.patch("lab", &wish).await.expect("the wish is accepted");
}

async fn suspended(scene: &Scene) -> RayCluster {
    let lab = scene.space.wait_for("lab", "Suspended", "True", PATIENCE).await;
    let ready = condition(&lab, "Ready").expect("Ready is always there");
    assert_eq!((ready.status.as_str(), ready.reason.as_str()), ("False", "Suspended"));
    assert_eq!(
        lab.status.as_ref().and_then(|status| status.phase),
        Some(Phase::Suspended)
    );
    for absent in ["Reconciling", "Stalled"] {
        assert!(
            condition(&lab, absent).is_none(),
            "{absent}: {:?}",
            condition(&lab, absent)
        );
    }
    lab
}

/// What of a machine outlives a stop.
fn kept(machines: &[Machine]) -> Vec<(String, String, Vec<String>)> {
    let kept = |machine: &Machine| {
        (
            machine.id.clone(),
            machine.private_address.clone(),
            machine.volumes.clone(),
        )
    };
    machines.iter().map(kept).collect()
}

#[tokio::test]
async fn suspended_machines_keep_disks_and_addresses_and_the_same_ones_start_again() {
    let scene = Scene::start().await;
    let elastic = LAB.replacen("publicAddress: Dynamic", "publicAddress: Elastic", 1);
    scene.space.apply(&elastic).await.expect("the lab is accepted");
    let lab = scene.space.wait_for("lab", "Ready", "True", PATIENCE).await;
    let address = lab
        .status
        .and_then(|status| status.head)
        .expect("a head")
        .public_address;
    let (before, held) = (alive(&scene.aws).await, scene.made().await);
    let elastic = scene.aws.ec2().describe_addresses().send().await.expect("addresses");
    let elastic = elastic.addresses()[0].public_ip().expect("an address").to_owned();
    assert_eq!(address.as_deref(), Some(elastic.as_str()));
    assert_eq!(
        before[0].public_address, elastic,
        "it took the place of the one of the launch"
    );

    suspend(&scene, true).await;
    let lab = suspended(&scene).await;
    let mark = lab.annotations().get(STOPPED).cloned().unwrap_or_default();
    assert!(mark.starts_with("Suspended@"), "{mark:?}");
    let down = alive(&scene.aws).await;
    assert!(down.iter().all(|machine| machine.state == "stopped"), "{down:#?}");
    assert_eq!((kept(&down), scene.made().await), (kept(&before), held.clone()));
    let settled = scene.aws.changes().len();
    sweeps(&scene.aws, 2).await;
    assert_eq!(
        scene.aws.changes().len(),
        settled,
        "nothing is done to a suspended cluster"
    );

    suspend(&scene, false).await;
    let lab = scene.space.wait_for("lab", "Ready", "True", PATIENCE).await;
    assert!(!lab.annotations().contains_key(STOPPED));
    let up = alive(&scene.aws).await;
    assert_eq!((kept(&up), scene.made().await), (kept(&before), held));
    let told = lab.status.and_then(|status| status.head).expect("a head");
    assert_eq!(told.public_address, address, "the Elastic address stays");
    assert_eq!(launches(&scene.aws).len(), 2, "the head and the group, once");
}

#[tokio::test]
async fn why_a_cluster_is_down_is_written_before_the_first_machine_is_stopped() {
    let scene = Scene::start().await;
    scene.space.ready_lab().await;
    let refusal = refuse_the_mark(&scene).await;

    suspend(&scene, true).await;
    until("the refused mark is told", PATIENCE, async || {
        let told = scene.space.events().await;
        let is_told = told.iter().any(|event| event.starts_with("KubernetesRefused"));
        if is_told { Ok(()) } else { Err(format!("{told:#?}")) }
    })
    .await;
    sweeps(&scene.aws, 2).await;
    assert!(last_call(&scene.aws, "StopInstances", |_| true).is_none());

    refusal.lift(&scene).await;
    suspended(&scene).await;
}

/// A policy of the API server that keeps the annotation out of the test's namespace.
struct Refusal {
    name: String,
}

async fn refuse_the_mark(scene: &Scene) -> Refusal {
    let (client, name) = (&scene.space.client, scene.space.name.clone());
    let unmarked = format!("!has(object.metadata.annotations) || !('{STOPPED}' in object.metadata.annotations)");
    let policy = json!({
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingAdmissionPolicy",
        "metadata": {"name": name},
        "spec": {
            "matchConstraints": {
                "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": name}},
                "resourceRules": [{
                    "apiGroups": ["rayward.dev"], "apiVersions": ["*"], "resources": ["rayclusters"],
                    "operations": ["UPDATE"],
                }],
            },
            "validations": [{
                "expression": unmarked,
                "message": "no mark today",
            }],
        },
    });
    let binding = json!({
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingAdmissionPolicyBinding",
        "metadata": {"name": name},
        "spec": {"policyName": name, "validationActions": ["Deny"]},
    });
    let policy: Policy = serde_json::from_value(policy).expect("a policy");
    let binding: Binding = serde_json::from_value(binding).expect("a binding");
    let (policies, bindings) = (Api::<Policy>::all(client.clone()), Api::<Binding>::all(client.clone()));
    let create = PostParams::default();
    policies.create(&create, &policy).await.expect("the policy is accepted");
    bindings
        .create(&create, &binding)
        .await
        .expect("the binding is accepted");

    let mark = json!({"metadata": {"annotations": {STOPPED: "tried"}}});
    let dry_run = PatchParams {
        dry_run: true,
        ..PatchParams::default()
    };
    until("the policy holds", PATIENCE, async || {
        match scene
            .space
            .clusters()
            .patch("lab", &dry_run, &Patch::Merge(&mark))
            .await
        {
            Err(_) => Ok(()),
            Ok(_) => Err("the mark is let through".to_owned()),
        }
    })
    .await;
    Refusal { name }
}

impl Refusal {
    async fn lift(self, scene: &Scene) {
        let client = &scene.space.client;
        let (policies, bindings) = (Api::<Policy>::all(client.clone()), Api::<Binding>::all(client.clone()));
        let delete = DeleteParams::default();
        bindings.delete(&self.name, &delete).await.expect("the binding goes");
        policies.delete(&self.name, &delete).await.expect("the policy goes");
    }
}

#[tokio::test]
async fn what_was_lost_while_suspended_is_replaced_and_a_start_without_capacity_is_ridden_out() {
    let scene = Scene::start_with(&["--capacity-skip=2s"]).await;
    scene.space.ready_lab().await;
    let before = alive(&scene.aws).await;
    suspend(&scene, true).await;
    suspended(&scene).await;
    let lost = &workers(&scene.aws).await[0].id;
    let request = scene.aws.ec2().terminate_instances().instance_ids(lost);
    request.send().await.expect("somebody terminates a machine");
    sweeps(&scene.aws, 2).await;
    suspended(&scene).await;
    assert_eq!(
        launches(&scene.aws).len(),
        2,
        "nothing is launched for a suspended cluster"
    );

    scene
        .aws
        .inject(&json!({"action": "StartInstances", "kind": "capacity", "times": 0}));
    suspend(&scene, false).await;
    let lab = scene
        .space
        .wait_until("lab", "the lack of capacity is told", PATIENCE, |lab| {
            condition(lab, "HeadReady").is_some_and(|head| head.reason == "NoCapacity")
        });
    let lab = lab.await;
    assert!(
        !lab.annotations().contains_key(STOPPED),
        "it is not down by wish any more"
    );
    let message = &condition(&lab, "HeadReady").expect("it was just there").message;
    let head = lab.status.as_ref().and_then(|status| status.head.clone()?.instance_id);
    assert!(message.contains("InsufficientInstanceCapacity"), "{message}");
    assert!(message.contains(&head.expect("the status names the head")), "{message}");

    scene.aws.clear_faults();
    scene.space.wait_for("lab", "Ready", "True", PATIENCE).await;
    let now = ids(&alive(&scene.aws).await);
    let mut expected = ids(&before);
    expected.remove(lost);
    assert!(now.is_superset(&expected) && now.len() == 3, "{now:?}");
    assert_eq!(launches(&scene.aws).len(), 3, "only what was lost is launched");
    assert_eq!(most_alive(&scene.aws), 3);
}

/// The lab wakes, and EC2 has no capacity for one of its workers; that one, and all machines.
async fn wake_without_capacity(scene: &Scene, replaces: bool) -> (String, BTreeSet<String>) {
    scene.space.ready_lab().await;
    let wish = json!({"spec": {"wake": {"replaceWorkers": replaces}}});
    scene.space.patch("lab", &wish).await.expect("the wish is accepted");
    suspend(scene, true).await;
    suspended(scene).await;
    let stuck = workers(&scene.aws).await[0].id.clone();
    let shortage = json!({
        "action": "StartInstances", "kind": "capacity", "times": 0, "params": {"InstanceIds": [stuck]},
    });
    scene.aws.inject(&shortage);
    let before = ids(&alive(&scene.aws).await);
    suspend(scene, false).await;
    (stuck, before)
}

#[tokio::test]
async fn a_worker_that_cannot_be_started_is_awaited_with_its_disk_while_the_others_work() {
    let scene = Scene::start_with(&["--capacity-skip=2s"]).await;
    let (stuck, before) = wake_without_capacity(&scene, false).await;
    let is_told = |lab: &RayCluster| {
        let workers = lab.status.as_ref().and_then(|status| status.workers.as_deref());
        condition(lab, "WorkersReady").is_some_and(|each| each.reason == "NoCapacity") && workers == Some("1/2")
    };
    let lab = scene
        .space
        .wait_until("lab", "it is told, and the other one works", PATIENCE, is_told);
    let lab = lab.await;
    let message = &condition(&lab, "WorkersReady").expect("it was just there").message;
    assert!(
        message.contains(&stuck) && message.contains("InsufficientInstanceCapacity"),
        "{message}"
    );
    let known = scene.aws.calls().len();
    until("it is tried again and again", PATIENCE, async || {
        let later = scene.aws.calls().split_off(known);
        let tries = later
            .iter()
            .filter(|call| call.action == "StartInstances" && names(&call.params, &stuck));
        let tries = tries.count();
        if tries >= 2 {
            Ok(())
        } else {
            Err(format!("{tries} tries"))
        }
    })
    .await;
    assert!(last_call(&scene.aws, "TerminateInstances", |_| true).is_none());
    assert_eq!(launches(&scene.aws).len(), 2, "nothing is launched in its place");

    scene.aws.clear_faults();
    scene.space.wait_for("lab", "Ready", "True", PATIENCE).await;
    assert_eq!(ids(&alive(&scene.aws).await), before);
}

#[tokio::test]
async fn a_worker_that_cannot_be_started_is_replaced_where_the_spec_says_so() {
    let scene = Scene::start_with(&["--capacity-skip=2s"]).await;
    let (stuck, mut before) = wake_without_capacity(&scene, true).await;
    scene.space.wait_for("lab", "Ready", "True", PATIENCE).await;
    let now = ids(&alive(&scene.aws).await);
    before.remove(&stuck);
    assert!(
        now.len() == 3 && now.is_superset(&before) && !now.contains(&stuck),
        "{now:?}"
    );
    let gone = last_call(&scene.aws, "TerminateInstances", |_| true).expect("it went");
    assert!(names(&gone.params, &stuck), "{:?}", gone.params);
    assert_eq!((launches(&scene.aws).len(), most_alive(&scene.aws)), (3, 3));
    let is_event = |event: &str| event.contains(&stuck) && event.contains("wake.replaceWorkers is true");
    scene.space.wait_for_event("why it went", is_event).await;
}

#[tokio::test]
async fn a_creation_that_is_suspended_half_way_goes_on_where_it_was() {
    let scene = Scene::start().await;
    scene.aws.set(&json!({"pending_seconds": 3}));
    scene.space.apply(LAB).await.expect("the lab is accepted");
    until("the head is launched", PATIENCE, async || {
        launches(&scene.aws)
            .first()
            .cloned()
            .ok_or_else(|| scene.controller.log_tail())
    })
    .await;
    suspend(&scene, true).await;
    let lab = suspended(&scene).await;
    for part in ["NetworkReady", "BucketsReady"] {
        assert!(
            condition(&lab, part).is_some_and(|part| part.status == "True"),
            "{part}"
        );
    }
    let down = alive(&scene.aws).await;
    assert!(down.iter().all(|machine| machine.state == "stopped"), "{down:#?}");
    for machine in &down {
        let stop = last_call(&scene.aws, "StopInstances", |params| names(params, &machine.id));
        assert!(stop.is_some(), "{} was stopped", machine.id);
    }

    suspend(&scene, false).await;
    scene.space.wait_for("lab", "Ready", "True", PATIENCE).await;
    wait_for_machines(&scene.aws, "all run", |all| ids(all).is_superset(&ids(&down))).await;
    let made = scene.made().await;
    let counts: Vec<_> = made.iter().map(|(kind, ids)| (*kind, ids.len())).collect();
    assert_eq!(counts, LAB_HOLDINGS, "{made:?}");
    assert_eq!(most_alive(&scene.aws), 3);
}
