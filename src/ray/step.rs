//! What is done on a machine over SSH: each step is one call of `rayward-node`.

use std::{fmt, time::Duration};

use async_trait::async_trait;
use serde::Serialize;

/// [`MachineStep::RestartRay`] in [`crate::api::StepStatus::step`].
pub const RESTART_RAY: &str = "RestartRay";
/// [`MachineStep::Drain`] in [`crate::api::StepStatus::step`].
pub const DRAIN: &str = "Drain";
/// [`crate::api::StepStatus::step`] of a machine that could not be drained yet.
pub const DRAIN_FAILED: &str = "DrainFailed";

/// One thing to do on one machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub enum MachineStep {
    /// Give it the cluster's token; its Ray starts with it. The token itself is not here: it is read from the Secret.
    GiveToken {
        /// The machine.
        instance_id: String,
    },
    /// Restart Ray on it.
    RestartRay {
        /// The machine.
        instance_id: String,
        /// Why.
        reason: String,
    },
    /// Tell a worker where its head is.
    SetHead {
        /// The machine.
        instance_id: String,
        /// The head's private address.
        address: String,
    },
    /// Let Ray take no new work there, and end it once what runs is done.
    Drain {
        /// The machine.
        instance_id: String,
        /// Ray's id of its node.
        node_id: String,
        /// Whether it is drained although it works.
        force: bool,
        /// How long running work may take: advice to Ray.
        deadline: Duration,
        /// Why.
        reason: String,
    },
}

impl MachineStep {
    /// The machine that it is about.
    #[must_use]
    pub fn instance_id(&self) -> &str {
        match self {
            Self::GiveToken { instance_id }
            | Self::RestartRay { instance_id, .. }
            | Self::SetHead { instance_id, .. }
            | Self::Drain { instance_id, .. } => instance_id,
        }
    }

    /// Its name, also the reason of its Event.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::GiveToken { .. } => "GiveToken",
            Self::RestartRay { .. } => RESTART_RAY,
            Self::SetHead { .. } => "SetHead",
            Self::Drain { .. } => DRAIN,
        }
    }
}

impl fmt::Display for MachineStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::GiveToken { instance_id } => write!(f, "give {instance_id} the cluster's token"),
            Self::RestartRay { instance_id, reason } => write!(f, "restart Ray on {instance_id}: {reason}"),
            Self::SetHead { instance_id, address } => write!(f, "tell {instance_id} that its head is {address}"),
            Self::Drain {
                instance_id, reason, ..
            } => write!(f, "drain {instance_id}: {reason}"),
        }
    }
}

/// How a step ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum StepAnswer {
    /// It was done, or begun.
    Done,
    /// Ray refused to drain a node that works.
    Busy,
}

/// Why a step could not be done: what failed, on what, and what the person can do. Never a secret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct StepError {
    /// In words.
    pub message: String,
}

/// Does things on the machines of one cluster.
#[async_trait]
pub trait Hands: Send + Sync {
    /// Does one step.
    ///
    /// # Errors
    /// When the machine cannot be reached, or the step fails there.
    async fn perform(&self, step: &MachineStep) -> Result<StepAnswer, StepError>;
}

/// Hands that reach no machine: of a cluster that has none yet.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoHands;

#[async_trait]
impl Hands for NoHands {
    async fn perform(&self, step: &MachineStep) -> Result<StepAnswer, StepError> {
        let message = format!("{} cannot be reached: its head is not there yet", step.instance_id());
        Err(StepError { message })
    }
}
