//! Drift: what somebody changes behind Rayward's back is seen within one sweep, put right, and told; what is not
//! Rayward's is told and kept.

mod bucket_settings;
mod network;
mod others;
mod tags;

use std::fmt::Debug;

use aws_sdk_ec2::types as ec2;
use rayward::api::{NetworkStatus, RayCluster};
use serde_json::Value;

use crate::support::scene::Scene;
use crate::support::stand_in::Call;
use crate::support::sweeps::sweeps_between;
use crate::support::wait::{PATIENCE, until};

/// A head in a network with a rule of its own, and nothing else.
const HEAD: &str = "
apiVersion: rayward.dev/v1alpha1
kind: RayCluster
metadata: {name: lab}
spec:
  region: ap-southeast-1
  network: {ingress: [{ports: '8265', cidrs: [203.0.113.0/24]}]}
  buckets: []
";

/// A network without machines: nothing keeps anybody from taking it apart.
const BARE: &str = "
apiVersion: rayward.dev/v1alpha1
kind: RayCluster
metadata: {name: lab}
spec: {region: ap-southeast-1, suspend: true, buckets: []}
";

/// A change behind Rayward's back and what it takes to see that it was put right.
struct Drift<'a> {
    /// The call that somebody makes.
    done: &'a str,
    /// The list in which it shows; what a bucket is set to shows in none.
    list: Option<&'a str>,
    /// The call that puts it right, and the thing that it names.
    repair: &'a str,
    id: &'a str,
    /// A part of what is told.
    told: &'a str,
}

impl Drift<'_> {
    /// Makes the change, waits until it is repaired, and checks that the first sweep that could see it was enough and
    /// that it is told.
    async fn is_put_right<T, E: Debug>(&self, scene: &Scene, change: impl Future<Output = Result<T, E>>) {
        let before = last_seq(scene);
        change.await.expect(self.done);
        let calls = scene.aws.calls_since(before);
        let done = calls.iter().find(|call| call.action == self.done);
        let done = done.expect("somebody did it");
        let repair = until(&format!("{} after {}", self.repair, self.done), PATIENCE, async || {
            let calls = scene.aws.calls_since(done.seq);
            let is_it = |call: &&Call| call.action == self.repair && mentions(&call.params, self.id);
            let repair = calls.iter().find(is_it).cloned();
            repair.ok_or_else(|| scene.controller.log_tail())
        })
        .await;
        assert_eq!(repair.error, None);
        if let Some(list) = self.list {
            // One that was under way is not counted; on a slow machine another may end before the repair begins.
            let seen = sweeps_between(&scene.aws, list, done, &repair);
            assert!(
                seen <= 2,
                "{} was seen by {seen} sweeps before {}",
                self.done,
                self.repair
            );
        }
        is_told(scene, self.id, self.told).await;
    }
}

/// Waits for an Event that tells of drift.
async fn is_told(scene: &Scene, id: &str, what: &str) {
    let tells = |event: &str| event.starts_with("Drifted: ") && event.contains(id) && event.contains(what);
    scene.space.wait_for_event(&format!("{id}: {what}"), tells).await;
}

/// Whether a value stands anywhere among the parameters of a call.
fn mentions(params: &Value, id: &str) -> bool {
    match params {
        Value::String(text) => text == id,
        Value::Array(values) => values.iter().any(|value| mentions(value, id)),
        Value::Object(values) => values.values().any(|value| mentions(value, id)),
        _ => false,
    }
}

/// The number of the last call so far.
fn last_seq(scene: &Scene) -> u64 {
    scene.aws.calls().last().map_or(0, |call| call.seq)
}

/// The calls after this number that change something.
fn changes_since(scene: &Scene, seq: u64) -> Vec<Call> {
    let mut calls = scene.aws.calls_since(seq);
    calls.retain(|call| call.change);
    calls
}

async fn ready(scene: &Scene, manifest: &str) -> (RayCluster, NetworkStatus) {
    scene.space.apply(manifest).await.expect("it is accepted");
    let cluster = scene.space.wait_for("lab", "Ready", "True", PATIENCE).await;
    let network = cluster.status.as_ref().and_then(|status| status.network.clone());
    (cluster, network.expect("a network"))
}

fn tcp(port: i32, cidr: &str) -> ec2::IpPermission {
    ec2::IpPermission::builder()
        .ip_protocol("tcp")
        .from_port(port)
        .to_port(port)
        .ip_ranges(ec2::IpRange::builder().cidr_ip(cidr).build())
        .build()
}
