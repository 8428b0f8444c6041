//! What each condition says, from facts and plans made by hand.

mod causes;
mod facts;
mod phases;
mod reference_page;
mod writing;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use serde_json::{Value, json};

use super::*;
use crate::{
    observe::{Ledger, Shelf},
    plan::{Action, Finding, Reason, StopMark, Subject, Waiting},
    ray::facts::{Look, Node, NodeState, RayFacts, View},
    resources::{
        Inventory,
        instance::{Instance, InstanceState, sample},
    },
    tags,
    validate::{Installation, validate},
};

const NOW: &str = "2026-01-01T12:00:00Z";

fn object(spec: &Value) -> RayCluster {
    let mut object = json!({
        "apiVersion": "rayward.dev/v1alpha1", "kind": "RayCluster",
        "metadata": {"name": "lab", "namespace": "ml", "uid": "u-1", "generation": 3},
        "spec": {"region": "r", "buckets": [], "workerGroups": [{"name": "cpu", "replicas": 2}]},
    });
    let spec = spec.as_object().unwrap().clone();
    object["spec"].as_object_mut().unwrap().extend(spec);
    serde_json::from_value(object).unwrap()
}

fn machine(id: &str, role: &str, state: InstanceState) -> Instance {
    let mut tags = tags::Tags::from([(tags::ROLE.to_owned(), role.to_owned())]);
    if role == "worker" {
        tags.insert(tags::GROUP.into(), "cpu".into());
    }
    Instance {
        state,
        tags,
        private_address: Some(format!("10.0.1.{}", id.len() + 8)),
        public_address: (state == InstanceState::Running).then(|| "203.0.113.9".into()),
        ..sample(id)
    }
}

/// A look at a Ray that lists these machines as alive, the first as its head.
fn joined(ids: &[&str]) -> RayFacts {
    let node = |(index, id): (usize, &&str)| Node {
        node_id: format!("node-{index}"),
        instance_id: Some((*id).into()),
        is_head: index == 0,
        state: NodeState::Alive,
        started_at: Timestamp::UNIX_EPOCH,
        in_use: None,
    };
    let view = View {
        session: "session_1".into(),
        version: "2.60.0".into(),
        nodes: ids.iter().enumerate().map(node).collect(),
    };
    RayFacts {
        view: Look::Known {
            fact: Arc::new(view),
            age: Duration::ZERO,
        },
        ..RayFacts::default()
    }
}

/// A pass and what it found; a test changes what it is about.
struct Pass {
    object: RayCluster,
    observed: Observed,
    plan: Plan,
    previous: RayClusterStatus,
    now: Timestamp,
}

impl Pass {
    /// The lab, all of it running.
    fn settled() -> Self {
        use InstanceState::Running;
        let mut inventory = Inventory::default();
        let machines = [
            machine("i-h", "head", Running),
            machine("i-w1", "worker", Running),
            machine("i-w2", "worker", Running),
        ];
        inventory.instance = Shelf {
            swept: Source::Known(()),
            ours: machines
                .into_iter()
                .map(|machine| (machine.id.clone(), machine))
                .collect(),
            others: BTreeMap::new(),
        };
        let observed = Observed {
            account: Source::Known("123456789012".into()),
            inventory,
            key: Source::Known(KeySecret::Present {
                public_key: "ssh-ed25519 A".into(),
            }),
            has_finalizer: true,
            ray: joined(&["i-h", "i-w1", "i-w2"]),
            ..Observed::default()
        };
        Self {
            object: object(&json!({})),
            observed,
            plan: Plan::default(),
            previous: RayClusterStatus::default(),
            now: NOW.parse().unwrap(),
        }
    }

    fn set_state(&mut self, id: &str, state: InstanceState) {
        self.observed.inventory.instance.ours.get_mut(id).unwrap().state = state;
    }

    fn wait(&mut self, subject: Subject, reason: Reason, message: &str) {
        self.plan.waiting.push(Waiting {
            subject,
            reason,
            message: message.into(),
        });
    }

    fn status(&self) -> RayClusterStatus {
        let installation = Installation::default();
        let cluster = validate(&self.object, &installation, "ns-uid").unwrap();
        status(&StatusInputs {
            cluster: &cluster,
            observed: &self.observed,
            plan: &self.plan,
            limits: &Limits::default(),
            previous: &self.previous,
            key_secret: "lab-ssh",
            now: self.now,
        })
    }

    /// Makes the status, as the controller would, the one before the next.
    fn write(&mut self) -> RayClusterStatus {
        self.previous = self.status();
        self.observed.recorded = self.previous.clone();
        self.previous.clone()
    }
}

/// `status reason` of a condition; empty where it is not there.
fn told(status: &RayClusterStatus, kind: ConditionType) -> String {
    find(status, kind).map_or_else(String::new, |found| format!("{} {}", found.status, found.reason))
}

fn find(status: &RayClusterStatus, kind: ConditionType) -> Option<&Condition> {
    status
        .conditions
        .iter()
        .find(|condition| condition.type_ == kind.name())
}

fn message(status: &RayClusterStatus, kind: ConditionType) -> &str {
    &find(status, kind).unwrap().message
}
