//! What the API server takes and refuses: every rule of the CRD with manifests on both of its sides.

mod cases;

use std::collections::BTreeSet;
use std::fs;

use kube::api::{DynamicObject, Patch, PatchParams};
use kube::core::response::StatusCause;
use kube::{Api, Client};
use rayward::api::{RayCluster, crd};
use rayward::validate::{Head, ImageRef, Installation, ValidCluster, ValidationError, validate};
use serde_json::{Value, json};

use self::cases::{Case, cases};
use crate::support::cluster::Space;
use crate::support::control_plane::ControlPlane;
use crate::support::repository;

/// A rule of the CRD.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Rule {
    /// Path of the field on which it stands, `[]` for the items of a list.
    at: String,
    message: String,
}

/// Every rule of the CRD.
fn rules() -> Vec<Rule> {
    let crd = serde_json::to_value(crd().expect("the types make a CRD")).expect("it is JSON");
    let mut rules = Vec::new();
    collect("", &crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"], &mut rules);
    rules
}

fn collect(at: &str, schema: &Value, rules: &mut Vec<Rule>) {
    for rule in schema["x-kubernetes-validations"].as_array().into_iter().flatten() {
        let message = rule["message"].as_str().expect("each rule has a message").to_owned();
        let at = at.to_owned();
        rules.push(Rule { at, message });
    }
    for (name, property) in schema["properties"].as_object().into_iter().flatten() {
        let dot = if at.is_empty() { "" } else { "." };
        collect(&format!("{at}{dot}{name}"), property, rules);
    }
    if schema["items"].is_object() {
        collect(&format!("{at}[]"), &schema["items"], rules);
    }
}

/// The one rule of which a case speaks.
fn rule_of(case: &Case, rules: &[Rule]) -> Rule {
    let matching: Vec<_> = rules
        .iter()
        .filter(|rule| rule.at == case.at && rule.message.starts_with(case.says))
        .collect();
    assert!(
        matching.len() == 1,
        "case {} {:?} speaks of {matching:?}",
        case.at,
        case.says
    );
    matching[0].clone()
}

#[test]
fn every_rule_has_a_case() {
    let rules = rules();
    let covered: BTreeSet<Rule> = cases().iter().map(|case| rule_of(case, &rules)).collect();
    let lacking: Vec<_> = rules.iter().filter(|rule| !covered.contains(rule)).collect();
    assert!(lacking.is_empty(), "without a case in tests/crd/cases: {lacking:#?}");
}

#[tokio::test]
async fn every_rule_refuses_with_its_message_what_breaks_it_and_lets_the_rest_through() {
    let objects = objects().await;
    let rules = rules();
    let mut wrong = Vec::new();
    for (index, case) in cases().iter().enumerate() {
        let rule = rule_of(case, &rules);
        let usual = format!("case-{index}");
        if let Some(before) = &case.before {
            let made = objects.apply(&usual, before, Run::Real).await;
            made.unwrap_or_else(|causes| panic!("{rule:?}: the object before is refused: {causes:?}"));
        }
        for manifest in &case.allowed {
            if let Err(causes) = objects.apply(&usual, manifest, Run::Dry).await {
                wrong.push(format!("{rule:?} should let {manifest} through: {causes:?}"));
            }
        }
        for manifest in &case.refused {
            let told = objects
                .apply(&usual, manifest, Run::Dry)
                .await
                .err()
                .unwrap_or_default();
            let expected = told
                .iter()
                .any(|cause| field(&cause.field) == rule.at && cause.message.ends_with(&rule.message));
            // One mistake, one message.
            if !expected || told.len() != 1 {
                wrong.push(format!("{rule:?} should be all that refuses {manifest}: {told:?}"));
            }
        }
    }
    assert!(
        wrong.is_empty(),
        "{} of the table's lines:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}

#[tokio::test]
async fn lists_names_and_numbers_are_bounded_and_words_are_known() {
    let objects = objects().await;
    let subnet = |index: usize| json!({"name": format!("s{index}"), "cidr": format!("10.0.{index}.0/24")});
    let refused = [
        (
            json!({"workerGroups": [{"name": "a", "replicas": 1001}]}),
            "spec.workerGroups[0].replicas",
        ),
        (
            json!({"workerGroups": [{"name": "a", "replicas": -1}]}),
            "spec.workerGroups[0].replicas",
        ),
        (
            json!({"workerGroups": [{"name": "a"}, {"name": "a"}]}),
            "duplicate entries for key [name=\"a\"]",
        ),
        (
            json!({"workerGroups": [{"name": "a", "capacityType": "Spot"}]}),
            "spec.workerGroups[0].capacityType",
        ),
        (
            json!({"workerGroups": [{"name": "a", "instanceTypes": []}]}),
            "spec.workerGroups[0].instanceTypes",
        ),
        (
            json!({"workerGroups": [{"name": "a".repeat(41)}]}),
            "spec.workerGroups[0].name",
        ),
        (
            json!({"buckets": [{"purpose": "raw"}, {"purpose": "raw"}]}),
            "duplicate entries for key [purpose=\"raw\"]",
        ),
        (json!({"network": {"subnets": []}}), "spec.network.subnets"),
        (
            json!({"network": {"subnets": (0..17).map(subnet).collect::<Vec<_>>()}}),
            "spec.network.subnets",
        ),
        (
            json!({"network": {"ingress": [{"ports": "80", "cidrs": []}]}}),
            "spec.network.ingress[0].cidrs",
        ),
        (json!({"head": {"publicAddress": "Static"}}), "spec.head.publicAddress"),
        (
            json!({"head": {"rootVolume": {"type": "io2"}}}),
            "spec.head.rootVolume.type",
        ),
        (json!({"idle": {"action": "Delete"}}), "spec.idle.action"),
        (json!({"idle": {"whenUnknown": "Reboot"}}), "spec.idle.whenUnknown"),
        (
            json!({"head": {"whenUnreachable": "Stop"}}),
            "spec.head.whenUnreachable",
        ),
        (
            json!({"network": {"controllerAccess": "Both"}}),
            "spec.network.controllerAccess",
        ),
        (
            json!({"deletionPolicy": {"buckets": "Keep"}}),
            "spec.deletionPolicy.buckets",
        ),
        (json!({"region": null}), "spec.region"),
        (json!({"network": {"vpcCidr": null}}), "spec.network.vpcCidr"),
        (json!({"keyPair": {"name": null}}), "spec.keyPair.name"),
    ];
    for (spec, at) in refused {
        let told = objects
            .apply("bounds", &manifest(&spec), Run::Dry)
            .await
            .err()
            .unwrap_or_default();
        assert!(
            told.iter().any(|cause| cause.field == at || cause.message.contains(at)),
            "{spec} should be refused at {at}: {told:?}"
        );
    }
    let left_out = json!({"head": {"instanceType": null}, "workerGroups": [{"name": "a", "replicas": null}]});
    assert_eq!(
        objects.apply("bounds", &manifest(&left_out), Run::Dry).await,
        Ok(()),
        "a null is what was left out, where there is a default"
    );
    let sixteen = json!({"network": {"subnets": (0..16).map(subnet).collect::<Vec<_>>()}});
    assert_eq!(objects.apply("bounds", &manifest(&sixteen), Run::Dry).await, Ok(()));
}

#[tokio::test]
async fn a_field_that_rayward_does_not_know_is_refused_by_its_name() {
    let objects = objects().await;
    let spec = json!({"head": {"instanceTyp": "t2.medium"}});
    let told = objects
        .apply("unknown", &manifest(&spec), Run::Dry)
        .await
        .expect_err("it is refused");
    assert!(
        told.iter().any(|cause| cause.message.contains("spec.head.instanceTyp")),
        "{told:?}"
    );
}

#[tokio::test]
async fn the_lab_and_the_shortest_manifest_are_taken_by_kubectl() {
    let objects = objects().await;
    assert_eq!(objects.apply("shortest", &manifest(&json!({})), Run::Dry).await, Ok(()));
    let lab = repository().join("deploy/examples/lab.yaml");
    let mut kubectl = ControlPlane::shared().await.kubectl();
    kubectl.args(["apply", "--dry-run=server", "--filename"]).arg(&lab);
    let output = kubectl.output().expect("kubectl starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn the_example_is_the_lab() {
    let lab = fs::read_to_string(repository().join("deploy/examples/lab.yaml")).expect("the example is there");
    let lab = valid(&serde_yaml::from_str(&lab).expect("the example is YAML")).expect("it is valid");
    let defaults = valid(&manifest(&json!({}))).expect("it is valid");
    assert_eq!(lab.region, "ap-southeast-1");
    assert_eq!((&lab.network, &lab.buckets), (&defaults.network, &defaults.buckets));
    let open: Vec<_> = lab.ingress.iter().map(|rule| (rule.from_port, rule.to_port)).collect();
    assert_eq!(open, [(22, 22), (80, 80), (443, 443), (1024, 65_535), (6379, 6382)]);
    assert!(lab.ingress.iter().all(|rule| rule.cidr.to_string() == "203.0.113.0/24"));
    assert_eq!(lab.head.image, ImageRef::Id("ami-003c463c8207b4dfa".to_owned()));
    let head = Head {
        image: lab.head.image.clone(),
        ..defaults.head
    };
    assert_eq!(
        lab.head, head,
        "the rest of the head is written out as it is by default"
    );
    let [group] = lab.groups.as_slice() else {
        panic!("one group, not {:?}", lab.groups);
    };
    assert_eq!(
        (group.replicas, group.instance_types.as_slice()),
        (2, &["t2.medium".to_owned()][..])
    );
    assert_eq!(group.root_volume, lab.head.root_volume);
}

#[test]
fn what_the_rules_let_through_is_valid_for_the_planner() {
    for case in cases() {
        for allowed in &case.allowed {
            assert_eq!(valid(allowed).err(), None, "{allowed}");
        }
    }
}

/// What the planner makes of a manifest.
fn valid(manifest: &Value) -> Result<ValidCluster, ValidationError> {
    let mut cluster: RayCluster = serde_json::from_value(manifest.clone()).expect("a RayCluster");
    cluster.metadata.name.get_or_insert_with(|| "lab".to_owned());
    cluster.metadata.namespace = Some("ml".to_owned());
    cluster.metadata.uid = Some("uid".to_owned());
    validate(&cluster, &Installation::default(), "namespace-uid")
}

/// A manifest that says only this and the region; a null takes a field out.
fn manifest(spec: &Value) -> Value {
    let mut whole = json!({"region": "ap-southeast-1"});
    for (name, value) in spec.as_object().expect("a spec is an object") {
        whole[name] = value.clone();
    }
    let whole = whole
        .as_object()
        .into_iter()
        .flatten()
        .filter(|(_, value)| !value.is_null());
    let whole: serde_json::Map<_, _> = whole.map(|(name, value)| (name.clone(), value.clone())).collect();
    json!({"apiVersion": "rayward.dev/v1alpha1", "kind": "RayCluster", "metadata": {}, "spec": whole})
}

/// A field as the API server names it, in the form of [`Rule::at`].
fn field(told: &str) -> String {
    if told == "<nil>" {
        return String::new();
    }
    let is_index = |part: &str| part.chars().all(|digit| digit.is_ascii_digit());
    let mut parts = told.split('[');
    let mut field = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (index, rest) = part.split_once(']').unwrap_or((part, ""));
        assert!(is_index(index), "{told} has an index");
        field.push_str("[]");
        field.push_str(rest);
    }
    field
}

/// The clusters of one test's namespace.
struct Objects(Api<DynamicObject>);

/// Whether what is applied stays.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Run {
    Dry,
    Real,
}

impl Objects {
    /// Applies a manifest as kubectl does, and answers with what the API server refuses it for.
    async fn apply(&self, name: &str, manifest: &Value, run: Run) -> Result<(), Vec<StatusCause>> {
        let mut manifest = manifest.clone();
        let name = manifest["metadata"]["name"].as_str().unwrap_or(name).to_owned();
        manifest["metadata"]["name"] = name.clone().into();
        let mut params = PatchParams::apply("a-person").validation_strict();
        params.dry_run = run == Run::Dry;
        match self.0.patch(&name, &params, &Patch::Apply(manifest)).await {
            Ok(_) => Ok(()),
            Err(kube::Error::Api(status)) => {
                let causes = status
                    .details
                    .as_ref()
                    .map(|details| details.causes.clone())
                    .unwrap_or_default();
                // The API server tells an unknown field in words alone.
                let whole = StatusCause {
                    message: status.message.clone(),
                    reason: String::new(),
                    field: String::new(),
                };
                Err(if causes.is_empty() { vec![whole] } else { causes })
            }
            Err(error) => panic!("the API server does not answer: {error}"),
        }
    }
}

/// A namespace of this test's own.
async fn objects() -> Objects {
    let space = Space::create(ControlPlane::shared().await).await;
    Objects(dynamic(space.client.clone(), &space.name))
}

/// Untyped, so that a manifest may say what the Rust types could not.
fn dynamic(client: Client, namespace: &str) -> Api<DynamicObject> {
    let resource = kube::core::ApiResource::erase::<RayCluster>(&());
    Api::namespaced_with(client, namespace, &resource)
}
