//! What is filled in, which rules are told how, and what of them a deletion ignores.

use std::time::Duration;

use serde_json::{Value, json};

use super::*;
use crate::api::{BucketDeletion, IdleAction, WhenUnknown};

fn object(spec: &Value) -> RayCluster {
    serde_json::from_value(json!({
        "apiVersion": "rayward.dev/v1alpha1", "kind": "RayCluster", "spec": spec,
        "metadata": {"name": "lab", "namespace": "ml", "uid": "u-1", "generation": 3},
    }))
    .unwrap()
}

fn installation() -> Installation {
    Installation {
        id: "inst".into(),
        egress_cidrs: vec!["198.51.100.7/32".parse().unwrap()],
    }
}

fn valid(spec: &Value) -> ValidCluster {
    validate(&object(spec), &installation(), "ns-uid").unwrap()
}

fn refused(spec: &Value) -> String {
    validate(&object(spec), &installation(), "ns-uid")
        .unwrap_err()
        .to_string()
}

#[test]
fn a_region_alone_is_the_lab_without_workers_and_closed_but_for_the_controller() {
    let cluster = valid(&json!({"region": "ap-southeast-1"}));
    let subnet = Subnet {
        name: "a".into(),
        cidr: "10.0.1.0/24".parse().unwrap(),
        public: true,
        availability_zone: None,
    };
    let network = Network::Own {
        cidr: "10.0.0.0/16".parse().unwrap(),
        subnets: vec![subnet],
    };
    assert_eq!(cluster.network, network);
    let ssh = Ingress {
        from_port: 22,
        to_port: 22,
        cidr: "198.51.100.7/32".parse().unwrap(),
    };
    assert_eq!(cluster.ingress, [ssh]);
    assert_eq!(cluster.head.instance_type, "t2.medium");
    assert_eq!(
        cluster.head.image,
        ImageRef::SsmParameter(DEFAULT_IMAGE_PARAMETER.into())
    );
    assert_eq!(cluster.head.root_volume.size_gib, 100);
    assert!(cluster.groups.is_empty());
    let purposes: Vec<_> = cluster.buckets.iter().map(|bucket| bucket.purpose.as_str()).collect();
    assert_eq!(purposes, ["raw", "features", "training", "models"]);
    assert_eq!(
        (cluster.id.path().as_str(), cluster.id.namespace_uid.as_str()),
        ("ml/lab", "ns-uid")
    );
    assert_eq!(cluster.generation, 3);
}

#[test]
fn a_cluster_that_says_nothing_of_it_stops_after_ninety_minutes_without_any_use() {
    let idle = valid(&json!({"region": "ap-southeast-1"})).idle;
    assert_eq!(idle.timeout, Duration::from_mins(90));
    assert_eq!((idle.action, idle.when_unknown), (IdleAction::Stop, WhenUnknown::Keep));
    assert!(idle.signals.ssh_sessions && idle.signals.jupyter_kernels);
    let said = |text: &str| valid(&json!({"region": "r", "idle": {"timeout": text}})).idle.timeout;
    assert_eq!(said("1h30m"), Duration::from_mins(90));
    assert_eq!(said("10s"), Duration::from_secs(10));
    let deaf = json!({"sshSessions": false, "jupyterKernels": false});
    let deaf = valid(&json!({"region": "r", "idle": {"signals": deaf}})).idle;
    assert!(!deaf.asks_for_people());
}

#[test]
fn ssh_is_open_once_to_each_range_and_other_ports_as_asked() {
    let office = "203.0.113.0/24";
    let cluster = valid(&json!({"region": "r", "network": {
        "adminCidrs": [office, "198.51.100.7/32"],
        "ingress": [{"ports": "22", "cidrs": [office]}, {"ports": "6379-6382", "cidrs": [office]}],
    }}));
    let open: Vec<_> = cluster
        .ingress
        .iter()
        .map(|rule| (rule.from_port, rule.to_port, rule.cidr.to_string()))
        .collect();
    let expected = [
        (22, 22, "198.51.100.7/32"),
        (22, 22, "203.0.113.0/24"),
        (6379, 6382, "203.0.113.0/24"),
    ];
    assert_eq!(open, expected.map(|(from, to, cidr)| (from, to, cidr.to_owned())));
}

#[test]
fn each_broken_rule_says_what_to_write() {
    let subnets = |all: &[(&str, &str)]| {
        let all: Vec<_> = all
            .iter()
            .map(|(name, cidr)| json!({"name": name, "cidr": cidr}))
            .collect();
        json!({"network": {"subnets": all}})
    };
    let existing = json!({"vpcId": "vpc-1", "subnetIds": ["subnet-1"]});
    let cases = [
        (
            json!({"network": {"vpcCidr": "10.0.0.0"}}),
            "network.vpcCidr is \"10.0.0.0\": write an IPv4 range",
        ),
        (
            json!({"network": {"vpcCidr": "10.0.0.1/16"}}),
            "write 10.0.0.0/16, its canonical form",
        ),
        (
            json!({"network": {"vpcCidr": "10.0.0.0/8"}}),
            "write a range from /16 to /28",
        ),
        (
            json!({"network": {"vpcCidr": "10.9.0.0/16"}}),
            "write a range inside 10.9.0.0/16",
        ),
        (json!({"network": {"subnets": []}}), "network.subnets is empty"),
        (
            subnets(&[("a", "10.0.0.0/20"), ("b", "10.0.1.0/24")]),
            "network.subnets[a] and network.subnets[b] overlap",
        ),
        (
            subnets(&[("a", "10.0.0.0/24"), ("a", "10.0.1.0/24")]),
            "network.subnets names \"a\" twice",
        ),
        (
            json!({"network": {"ingress": [{"ports": "90-80", "cidrs": []}]}}),
            "write a port such as 8265",
        ),
        (
            json!({"network": {"ingress": [{"ports": "0", "cidrs": []}]}}),
            "write a port such as 8265",
        ),
        (
            json!({"network": {"adminCidrs": ["::/0"]}}),
            "network.adminCidrs is \"::/0\"",
        ),
        (json!({"head": {"subnet": "b"}}), "head.subnet names \"b\""),
        (
            json!({"head": {"image": {"id": "ami-1", "ssmParameter": "/x"}}}),
            "leave one of them out",
        ),
        (
            json!({"network": {"vpcCidr": "10.0.0.0/16", "existing": existing}}),
            "network.existing excludes network.vpcCidr",
        ),
        (
            json!({"network": {"existing": {"vpcId": "vpc-1", "subnetIds": []}}}),
            "subnetIds is empty",
        ),
        (
            json!({"workerGroups": [{"name": "a", "instanceTypes": []}]}),
            "workerGroups[a].instanceTypes is empty",
        ),
        (
            json!({"workerGroups": [{"name": "a", "replicas": 999}, {"name": "b", "replicas": 2}]}),
            "ask for 1001 machines",
        ),
        (
            json!({"workerGroups": [{"name": "a", "subnets": ["z"]}]}),
            "workerGroups[a].subnets names \"z\"",
        ),
        (
            json!({"idle": {"timeout": "9s"}}),
            "idle.timeout is \"9s\": write a duration from 10s to 720h",
        ),
        (json!({"idle": {"timeout": "90"}}), "write a duration from"),
        (
            json!({"buckets": [{"purpose": "raw"}, {"purpose": "raw"}]}),
            "buckets names \"raw\" twice",
        ),
    ];
    are_refused(cases);
}

#[test]
fn each_broken_rule_of_what_is_on_the_machines_says_what_to_write() {
    are_refused([
        (
            json!({"rayVersion": "2.51.9"}),
            "rayVersion is \"2.51.9\": write a release of Ray",
        ),
        (json!({"rayVersion": "2.60.0$(reboot)"}), "for example 2.60.0"),
        (json!({"pipPackages": ["--pre"]}), "pipPackages has \"--pre\""),
        (json!({"setupScript": "a\u{0}"}), "setupScript has control characters"),
        (json!({"environment": {"A B": ""}}), "environment has \"A B\""),
        (
            json!({"environment": {"RAY_AUTH_TOKEN": ""}}),
            "environment has RAY_AUTH_TOKEN, which Rayward sets itself",
        ),
        (
            json!({"head": {"rayStartParams": {"--num-cpus": "0"}}}),
            "head.rayStartParams has \"--num-cpus\"",
        ),
        (
            json!({"workerGroups": [{"name": "a", "rayStartParams": {"address": "auto"}}]}),
            "workerGroups[a].rayStartParams has address",
        ),
    ]);
}

fn are_refused<const N: usize>(cases: [(Value, &str); N]) {
    for (mut spec, message) in cases {
        spec["region"] = "ap-southeast-1".into();
        let said = refused(&spec);
        assert!(
            said.contains(message),
            "{spec} was refused with {said:?}, not {message:?}"
        );
    }
}

#[test]
fn no_rule_stands_in_the_way_of_a_deletion() {
    let mut object = object(&json!({
        "region": "ap-southeast-1", "network": {"vpcCidr": "nonsense"}, "deletionPolicy": {"buckets": "Delete"},
        "buckets": [{"purpose": "raw"}, {"purpose": "raw"}],
    }));
    object.metadata.deletion_timestamp = Some(serde_json::from_value(json!("2026-01-01T00:00:00Z")).unwrap());
    object.metadata.annotations = Some([(CONFIRM_BUCKET_DELETION.to_owned(), "u-1".to_owned())].into());
    let cluster = validate(&object, &installation(), "ns-uid").unwrap();
    assert!(cluster.deleting && cluster.bucket_deletion_confirmed);
    assert_eq!(cluster.bucket_deletion, BucketDeletion::Delete);
    assert_eq!(cluster.buckets.len(), 1);
}

#[test]
fn only_the_uid_confirms_the_deletion_of_data() {
    let mut object = object(&json!({"region": "ap-southeast-1"}));
    object.metadata.annotations = Some([(CONFIRM_BUCKET_DELETION.to_owned(), "true".to_owned())].into());
    assert!(
        !validate(&object, &installation(), "ns-uid")
            .unwrap()
            .bucket_deletion_confirmed
    );
}
