//! What comes of actions, and of the whole.

use std::fmt;

use tokio::time::Instant;

use super::KubernetesError;
use crate::{
    aws::AwsError,
    observe::{KeySecret, Observed},
    plan::{Action, Plan},
    ray::step::{StepAnswer, StepError},
    resources::Answer,
};

/// An action that was carried out, or was tried.
#[derive(Clone, Debug)]
pub struct Performed {
    /// The action.
    pub action: Action,
    /// When the answer was in.
    pub at: Instant,
    /// What came of it.
    pub result: Result<Effect, Failure>,
}

/// What an action that succeeded brought.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// AWS's answer.
    Aws(Answer),
    /// The Secret with the controller's key.
    Key(KeySecret),
    /// Kubernetes holds it now.
    Kubernetes,
    /// What a machine answered.
    Machine(StepAnswer),
}

impl fmt::Display for Effect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Aws(Answer::Created(id) | Answer::CreatedIn { id, .. }) => f.write_str(id),
            Self::Aws(Answer::Allocated { id, public_address }) => write!(f, "{id}, {public_address}"),
            Self::Aws(Answer::Launched(machines)) => {
                let ids: Vec<&str> = machines.iter().map(|machine| machine.id.as_str()).collect();
                f.write_str(&ids.join(", "))
            }
            Self::Aws(Answer::Gone) => f.write_str("was gone already"),
            Self::Aws(Answer::LaunchedBefore) => f.write_str("was launched before"),
            Self::Machine(StepAnswer::Busy) => f.write_str("refused: it works"),
            Self::Aws(Answer::Done | Answer::Bucket(_) | Answer::Console(_) | Answer::InTheWay(_))
            | Self::Key(_)
            | Self::Kubernetes
            | Self::Machine(StepAnswer::Done) => f.write_str("done"),
        }
    }
}

/// Why an action did not succeed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// AWS refused it, or did not answer.
    #[error(transparent)]
    Aws(#[from] AwsError),
    /// Kubernetes refused it, or did not answer.
    #[error(transparent)]
    Kubernetes(#[from] KubernetesError),
    /// It could not be done on a machine.
    #[error(transparent)]
    Machine(#[from] StepError),
}

/// What an execution leaves.
#[derive(Debug)]
pub struct Outcome {
    /// What is known now.
    pub observed: Observed,
    /// What is still to be done and waited for.
    pub plan: Plan,
    /// What was done and tried, in the order of the answers.
    pub performed: Vec<Performed>,
    /// Why it ended before its plan did.
    pub interrupted: Option<Interruption>,
}

/// Why an execution started nothing new any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interruption {
    /// The process is shutting down, or may not change anything any more.
    Stopped,
    /// The pass took too long; it goes on with the next.
    TimedOut,
    /// The object has changed meanwhile.
    Conflict,
    /// The object is gone, or was let go.
    Gone,
}
