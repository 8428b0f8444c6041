//! The Ray of a fake account: every machine that runs and was given its token has joined, and nothing is in use.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use rayward::{
    ray::{
        facts::{Activity, Blindness, Look, Node, NodeState, People, RayFacts, Report, Stage, View},
        step::{Hands, MachineStep, StepAnswer, StepError},
    },
    resources::{
        Inventory,
        instance::{Instance, InstanceState},
    },
    tags,
};

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct FakeRay(Mutex<Record>);

/// By instance id.
#[derive(Debug, Default)]
struct Record {
    tokens: BTreeSet<String>,
    drained: BTreeSet<String>,
}

impl FakeRay {
    fn record(&self) -> MutexGuard<'_, Record> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What a look shows of a cluster's machines.
    pub(crate) fn look(&self, machines: &Inventory) -> RayFacts {
        let record = self.record();
        let running = machines.instance.ours.values();
        let running: Vec<&Instance> = running.filter(|each| each.state == InstanceState::Running).collect();
        let nodes: Vec<Node> = running
            .iter()
            .filter(|machine| record.tokens.contains(&machine.id))
            .map(|machine| node(machine, record.drained.contains(&machine.id)))
            .collect();
        let reports = running.iter().map(|machine| {
            let has_token = record.tokens.contains(&machine.id);
            (machine.id.clone(), known(report(has_token)))
        });
        let view = if let Some(head) = nodes.iter().find(|node| node.is_head) {
            known(View {
                session: head.node_id.clone(),
                version: "2.60.0".into(),
                nodes,
            })
        } else {
            Look::Unknown {
                why: Blindness::DashboardDown,
                message: "nothing listens yet".into(),
                since: Duration::ZERO,
                last: None,
            }
        };
        RayFacts {
            activity: known(Activity::default()),
            view,
            reports: reports.collect(),
            ..RayFacts::default()
        }
    }
}

fn known<T>(fact: T) -> Look<T> {
    Look::Known {
        fact: Arc::new(fact),
        age: Duration::ZERO,
    }
}

fn node(machine: &Instance, drained: bool) -> Node {
    let state = if drained {
        NodeState::Dead {
            ended_at: None,
            drained,
            message: "Terminated due to preemption".into(),
        }
    } else {
        NodeState::Alive
    };
    Node {
        node_id: format!("node-of-{}", machine.id),
        instance_id: Some(machine.id.clone()),
        is_head: machine.tags.get(tags::ROLE).is_some_and(|role| role == "head"),
        state,
        started_at: machine.launched_at,
        in_use: Some(false),
    }
}

fn report(has_token: bool) -> Report {
    Report {
        stage: if has_token {
            Stage::Running
        } else {
            Stage::WaitingForToken
        },
        ray_active: has_token,
        has_token,
        people: Some(People::default()),
        ..Report::default()
    }
}

#[async_trait]
impl Hands for FakeRay {
    async fn perform(&self, step: &MachineStep) -> Result<StepAnswer, StepError> {
        let mut record = self.record();
        let id = step.instance_id().to_owned();
        match step {
            MachineStep::GiveToken { .. } => record.tokens.insert(id),
            MachineStep::Drain { .. } => record.drained.insert(id),
            MachineStep::RestartRay { .. } => record.drained.remove(&id),
            MachineStep::SetHead { .. } => false,
        };
        Ok(StepAnswer::Done)
    }
}
