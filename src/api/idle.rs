//! When a cluster that nobody uses goes down, and how it comes up again.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::rules;

/// What becomes of a cluster that nobody uses.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct IdleSpec {
    /// How long nobody has to use it, for example `90m` or `1h30m`; 10s to 720h.
    #[schemars(length(max = rules::DURATION_LENGTH))]
    #[x_kube(validation = rules::DURATION)]
    #[x_kube(validation = rules::IDLE_TIMEOUT)]
    #[serde(default = "default_timeout")]
    pub timeout: String,
    /// What happens then.
    #[serde(default)]
    pub action: IdleAction,
    /// What happens when Ray cannot be asked for as long as that. A cluster whose Ray never answered since its head
    /// was started is stopped after `timeout`, and two hours at the least, whatever this says.
    #[serde(default)]
    pub when_unknown: WhenUnknown,
    /// Which people count as use, beside what Ray itself shows: jobs, drivers, actors, Serve applications, demand for
    /// resources and resources in use.
    #[serde(default)]
    pub signals: IdleSignals,
}

impl Default for IdleSpec {
    fn default() -> Self {
        Self {
            timeout: default_timeout(),
            action: IdleAction::default(),
            when_unknown: WhenUnknown::default(),
            signals: IdleSignals::default(),
        }
    }
}

/// What becomes of a cluster that nobody used for long enough.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum IdleAction {
    /// Its machines are stopped; disks, private addresses and buckets stay.
    #[default]
    Stop,
    /// Its machines are terminated; network and buckets stay.
    Terminate,
    /// Nothing: the condition `Idle` tells it.
    None,
}

/// What becomes of a cluster whose Ray cannot be asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum WhenUnknown {
    /// It goes on, and that is told.
    #[default]
    Keep,
    /// It is stopped once it was unknown for the idle timeout, and that is told.
    Stop,
}

/// People who count as use, on every machine of the cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct IdleSignals {
    /// Whether somebody who is signed in over SSH does.
    #[serde(default = "yes")]
    pub ssh_sessions: bool,
    /// Whether a Jupyter kernel that runs does.
    #[serde(default = "yes")]
    pub jupyter_kernels: bool,
}

impl Default for IdleSignals {
    fn default() -> Self {
        Self {
            ssh_sessions: true,
            jupyter_kernels: true,
        }
    }
}

/// How a cluster that was down comes up again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct WakeSpec {
    /// Whether a worker that AWS has no capacity to start may be terminated, its disk lost, and another launched in
    /// its place, of any type and subnet of its group.
    #[serde(default)]
    pub replace_workers: bool,
}

fn default_timeout() -> String {
    "90m".into()
}

fn yes() -> bool {
    true
}
