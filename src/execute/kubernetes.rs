//! What carrying out a plan needs of Kubernetes.

use std::collections::BTreeMap;

use async_trait::async_trait;

use crate::{
    api::StepStatus,
    controller::events::Event,
    observe::{KeySecret, Ledger},
    plan::StopMark,
};

/// What an execution needs of Kubernetes, for one object.
#[async_trait]
pub trait Kubernetes: Send + Sync {
    /// Writes the record of launches into the status; when this returns, it is safe to launch.
    async fn record_launches(&self, ledger: &Ledger) -> Result<(), KubernetesError>;
    /// Writes steps of a ladder into the status, by instance id; when this returns, they may be taken.
    ///
    /// # Errors
    /// What Kubernetes answered, or that the status does not list such a machine.
    async fn record_steps(&self, steps: &BTreeMap<String, StepStatus>) -> Result<(), KubernetesError>;
    /// Makes the controller's key and keeps it in a Secret; the answer is what the Secret holds afterwards, which is
    /// another's key if a Secret of that name was there first.
    async fn create_key(&self) -> Result<KeySecret, KubernetesError>;
    /// Puts our finalizer on the object, or takes it off.
    async fn set_finalizer(&self, wanted: bool) -> Result<(), KubernetesError>;
    /// Sets the annotations that say why the cluster is down, or removes them, in one write.
    async fn mark_stopped(&self, mark: &StopMark) -> Result<(), KubernetesError>;
    /// Publishes an Event about the object, in the background.
    fn publish(&self, event: Event);
}

/// A call to Kubernetes that did not succeed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KubernetesError {
    /// The object has changed meanwhile: the pass is made again with the new one, at once.
    #[error("{0} has changed meanwhile")]
    Conflict(String),
    /// The object is gone.
    #[error("{0} does not exist any more")]
    Gone(String),
    /// What failed, on what, and why.
    #[error("{what}: {message}")]
    Failed {
        /// What was tried, and on what.
        what: String,
        /// Kubernetes' words.
        message: String,
    },
}
