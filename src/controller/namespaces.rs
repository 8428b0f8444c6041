//! Uids of namespaces, read once: a namespace that was re-created is another one.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Namespace;
use kube::{Api, Client, api::ObjectMeta};

use super::kubernetes::limit;
use crate::execute::KubernetesError;

/// By how much the clock of the API server may differ from ours.
const CLOCK_SKEW: Duration = Duration::from_secs(10);

/// See the module.
pub struct Namespaces {
    client: Client,
    timeout: Duration,
    /// Uid, and when it was read.
    known: Mutex<BTreeMap<String, (String, Timestamp)>>,
}

impl std::fmt::Debug for Namespaces {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Namespaces").finish_non_exhaustive()
    }
}

impl Namespaces {
    /// Reads through `client`.
    #[must_use]
    pub fn new(client: Client, timeout: Duration) -> Self {
        Self {
            client,
            timeout,
            known: Mutex::default(),
        }
    }

    /// Uid of a namespace by its name.
    ///
    /// # Errors
    /// What Kubernetes answered.
    pub async fn read(client: &Client, name: &str, timeout: Duration) -> Result<String, KubernetesError> {
        let what = format!("read the namespace {name}");
        let found = limit(&what, timeout, Api::<Namespace>::all(client.clone()).get_metadata(name)).await?;
        found.metadata.uid.ok_or_else(|| KubernetesError::Failed {
            what,
            message: "it has no uid".into(),
        })
    }

    /// Uid of the namespace of an object. What was read after the object was made is that of its namespace for ever,
    /// since an object does not outlive its namespace.
    ///
    /// # Errors
    /// What Kubernetes answered.
    pub async fn uid_of(&self, object: &ObjectMeta) -> Result<String, KubernetesError> {
        let name = object.namespace.as_deref().unwrap_or_default();
        let made = object.creation_timestamp.as_ref().map(|time| time.0);
        let known = {
            let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
            known.get(name).cloned()
        };
        if let (Some((uid, read)), Some(made)) = (known, made)
            && made + CLOCK_SKEW < read
        {
            return Ok(uid);
        }
        let uid = Self::read(&self.client, name, self.timeout).await?;
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.insert(name.to_owned(), (uid.clone(), Timestamp::now()));
        Ok(uid)
    }
}
