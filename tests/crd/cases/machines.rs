//! Machines: keys, types, images, groups, disks.

use serde_json::{Value, json};

use super::{Case, create};

pub(super) fn cases() -> Vec<Case> {
    let key = |name: &str| json!({"keyPair": {"name": name}});
    let image = |name: &str, value: &str| head("image", one(name, value));
    vec![
        create(
            "spec.keyPair.name",
            "write the name of an EC2 key pair",
            &json!([key(""), key(" laptop"), key("schlüssel")]),
            &json!([key("my laptop"), key("k")]),
        ),
        create(
            "spec.head.instanceType",
            "write an EC2 instance type",
            &json!([
                head("instanceType", json!("medium")),
                head("instanceType", json!("T2.medium"))
            ]),
            &json!([
                head("instanceType", json!("m7i-flex.large")),
                head("instanceType", json!("u-6tb1.metal"))
            ]),
        ),
        create(
            "spec.head.image",
            "write either id or ssmParameter",
            &json!([head(
                "image",
                json!({"id": "ami-01234567", "ssmParameter": "/my/image"})
            )]),
            &json!([head("image", json!({}))]),
        ),
        create(
            "spec.head.image.id",
            "write the id of an image",
            &json!([image("id", "ubuntu"), image("id", "ami-xyz")]),
            &json!([image("id", "ami-003c463c8207b4dfa")]),
        ),
        create(
            "spec.head.image.ssmParameter",
            "write the name of an SSM parameter",
            &json!([image("ssmParameter", "/my image"), image("ssmParameter", "")]),
            &json!([image(
                "ssmParameter",
                "/aws/service/canonical/ubuntu/server/24.04/stable/current/amd64/hvm/ebs-gp3/ami-id"
            )]),
        ),
        create(
            "spec.workerGroups",
            "write at most 1000 replicas",
            &json!([{"workerGroups": [{"name": "a", "replicas": 1000}, {"name": "b", "replicas": 1}]}]),
            &json!([{"workerGroups": [{"name": "a", "replicas": 999}, {"name": "b", "replicas": 1}]}]),
        ),
        create(
            "spec.workerGroups[].name",
            "write lower-case letters",
            &json!([
                group("name", json!("GPU")),
                group("name", json!("-")),
                group("name", json!(""))
            ]),
            &json!([{"workerGroups": [{"name": "gpu-8"}]}]),
        ),
        create(
            "spec.workerGroups[].instanceTypes",
            "write EC2 instance types",
            &json!([group("instanceTypes", json!(["t2.medium", "large"]))]),
            &json!([group("instanceTypes", json!(["t2.medium", "c7g.2xlarge"]))]),
        ),
    ]
}

pub(super) fn of_disks() -> Vec<Case> {
    vec![
        create(
            "spec.head.rootVolume",
            "write a sizeGiB of at least 8",
            &json!([head("rootVolume", disk(7, "gp3"))]),
            &json!([head("rootVolume", disk(8, "gp3"))]),
        ),
        create(
            "spec.head.rootVolume",
            "write a sizeGiB of at most",
            &json!([
                head("rootVolume", disk(65_537, "gp3")),
                head("rootVolume", disk(16_385, "gp2"))
            ]),
            &json!([
                head("rootVolume", disk(65_536, "gp3")),
                head("rootVolume", disk(16_384, "gp2"))
            ]),
        ),
        create(
            "spec.workerGroups[].rootVolume",
            "write a sizeGiB of at least 8",
            &json!([group("rootVolume", disk(0, "gp2"))]),
            &json!([group("rootVolume", disk(8, "gp2"))]),
        ),
        create(
            "spec.workerGroups[].rootVolume",
            "write a sizeGiB of at most",
            &json!([group("rootVolume", disk(16_385, "gp2"))]),
            &json!([group("rootVolume", disk(16_385, "gp3"))]),
        ),
    ]
}

/// A spec that says this of its head.
fn head(name: &str, value: impl Into<Value>) -> Value {
    json!({"head": one(name, value)})
}

/// A spec with a group of which it says this.
fn group(name: &str, value: impl Into<Value>) -> Value {
    let mut group = one(name, value);
    if name != "name" {
        group["name"] = "cpu".into();
    }
    json!({"workerGroups": [group]})
}

fn disk(size: i32, kind: &str) -> Value {
    json!({"sizeGiB": size, "type": kind})
}

fn one(name: &str, value: impl Into<Value>) -> Value {
    Value::Object([(name.to_owned(), value.into())].into_iter().collect())
}
