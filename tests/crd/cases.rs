//! The table: each rule with what it refuses and what it lets through.

mod addresses;
mod buckets;
mod cluster;
mod existing;
mod idle;
mod ingress;
mod machines;
mod network;
mod placement;
mod software;

use serde_json::{Value, json};

use super::manifest;

/// A rule and manifests on both of its sides.
pub(super) struct Case {
    /// Path of the field on which the rule stands.
    pub(super) at: &'static str,
    /// How its message begins.
    pub(super) says: &'static str,
    /// The object that is there already, for rules that compare with it.
    pub(super) before: Option<Value>,
    pub(super) refused: Vec<Value>,
    pub(super) allowed: Vec<Value>,
}

/// A rule on new objects. `refused` and `allowed` are lists of specs, without the region.
fn create(at: &'static str, says: &'static str, refused: &Value, allowed: &Value) -> Case {
    Case {
        at,
        says,
        before: None,
        refused: manifests(refused),
        allowed: manifests(allowed),
    }
}

/// A rule on what `before` becomes.
fn update(at: &'static str, says: &'static str, before: &Value, refused: &Value, allowed: &Value) -> Case {
    Case {
        before: Some(manifest(before)),
        ..create(at, says, refused, allowed)
    }
}

fn manifests(specs: &Value) -> Vec<Value> {
    specs
        .as_array()
        .expect("a list of specs")
        .iter()
        .map(manifest)
        .collect()
}

fn named(names: &[&str]) -> Vec<Value> {
    let called = |name: &&str| {
        let mut manifest = manifest(&json!({}));
        manifest["metadata"]["name"] = (*name).into();
        manifest
    };
    names.iter().map(called).collect()
}

/// All of them.
pub(super) fn cases() -> Vec<Case> {
    [
        cluster::cases(),
        idle::cases(),
        network::cases(),
        placement::cases(),
        network::updates(),
        addresses::cases(),
        ingress::cases(),
        existing::cases(),
        machines::cases(),
        machines::of_disks(),
        software::cases(),
        software::of_environment(),
        software::of_machines(),
        buckets::cases(),
    ]
    .into_iter()
    .flatten()
    .collect()
}
