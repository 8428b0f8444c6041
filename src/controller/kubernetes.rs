//! Writes to Kubernetes for one `RayCluster`. Each carries the version of the object that the pass has read, so that
//! nothing is written over what the pass has not seen.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use async_trait::async_trait;
use k8s_openapi::{
    api::core::v1::{ObjectReference, Secret},
    apimachinery::pkg::apis::meta::v1::OwnerReference,
};
use kube::{
    Api, Client, Resource,
    api::{DeleteParams, Patch, PatchParams, PostParams, Preconditions, Request},
};
use serde_json::{Value, json};
use tokio::sync::Mutex;

use super::{cache::Cache, events::Event, key, recorder::Recorder};
use crate::{
    api::{FIELD_MANAGER, FINALIZER, RayCluster, RayClusterStatus, STOPPED, StepStatus, WAKE_HANDLED},
    execute::{Kubernetes, KubernetesError},
    observe::{KeySecret, Ledger},
    plan::StopMark,
    status,
};

/// One `RayCluster` in Kubernetes.
pub struct ClusterObject {
    client: Client,
    cache: Arc<Cache>,
    recorder: Recorder,
    timeout: Duration,
    uid: String,
    namespace: String,
    name: String,
    reference: ObjectReference,
    /// The object as this pass last read or wrote it; writes take turns.
    last: Mutex<Last>,
}

#[derive(Debug)]
struct Last {
    version: Option<String>,
    finalizers: Vec<String>,
    status: RayClusterStatus,
}

impl std::fmt::Debug for ClusterObject {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ClusterObject")
            .field("namespace", &self.namespace)
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

impl ClusterObject {
    /// The object as the cache has it. `status` is its own, empty where it was another's.
    #[must_use]
    pub fn new(
        client: Client,
        cache: Arc<Cache>,
        recorder: Recorder,
        timeout: Duration,
        object: &RayCluster,
        status: RayClusterStatus,
    ) -> Self {
        let metadata = &object.metadata;
        Self {
            client,
            cache,
            recorder,
            timeout,
            uid: metadata.uid.clone().unwrap_or_default(),
            namespace: metadata.namespace.clone().unwrap_or_default(),
            name: metadata.name.clone().unwrap_or_default(),
            reference: object.object_ref(&()),
            last: Mutex::new(Last {
                version: metadata.resource_version.clone(),
                finalizers: metadata.finalizers.clone().unwrap_or_default(),
                status,
            }),
        }
    }

    fn api(&self) -> Api<RayCluster> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    /// Deletes the cluster's own Secret, so that a cluster applied again under the same name does not find it. Whether
    /// that succeeds does not matter: the garbage collector deletes it too, some time after its owner.
    async fn delete_key(&self) {
        let name = key::secret_name(&self.name);
        let what = format!("delete the Secret {}/{name}", self.namespace);
        let found = limit(&what, self.timeout, self.secrets().get_opt(&name)).await;
        let Ok(Some(secret)) = found else { return };
        if !key::is_of(&secret, &self.uid) {
            return;
        }
        let very_one = Preconditions {
            uid: secret.metadata.uid,
            resource_version: None,
        };
        let params = DeleteParams::default().preconditions(very_one);
        if let Err(error) = limit(&what, self.timeout, self.secrets().delete(&name, &params)).await {
            tracing::debug!(%error, "left to the garbage collector");
        }
    }

    fn secrets(&self) -> Api<Secret> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    fn name(&self) -> String {
        format!("RayCluster {}/{}", self.namespace, self.name)
    }

    /// Writes the whole status, if it says something else than the last one.
    ///
    /// # Errors
    /// What Kubernetes answered.
    pub async fn write_status(&self, status: &RayClusterStatus) -> Result<(), KubernetesError> {
        let mut last = self.last.lock().await;
        if status::is_same(&last.status, status) {
            return Ok(());
        }
        self.replace_status(&mut last, status).await
    }

    /// Puts `status` in the place of whatever is there. An apply would leave beside it what others wrote: a restored
    /// backup's record of launches and half of its conditions.
    async fn replace_status(&self, last: &mut Last, status: &RayClusterStatus) -> Result<(), KubernetesError> {
        let what = format!("write the status of {}", self.name());
        let failed = |message: String| KubernetesError::Failed {
            what: what.clone(),
            message,
        };
        let object = json!({
            "apiVersion": RayCluster::api_version(&()),
            "kind": RayCluster::kind(&()),
            "metadata": {
                "name": self.name,
                "namespace": self.namespace,
                "uid": self.uid,
                "resourceVersion": last.version,
            },
            "status": status,
        });
        let body = serde_json::to_vec(&object).map_err(|error| failed(error.to_string()))?;
        let request = Request::new(self.api().resource_url())
            .replace_subresource("status", &self.name, &written_by_us(), body)
            .map_err(|error| failed(error.to_string()))?;
        let written = limit(&what, self.timeout, self.client.request(request)).await;
        self.enter(last, written).await?;
        last.status.clone_from(status);
        Ok(())
    }

    async fn patch_metadata(&self, last: &mut Last, what: &str, metadata: Value) -> Result<(), KubernetesError> {
        let mut metadata = metadata;
        metadata["uid"] = json!(self.uid);
        metadata["resourceVersion"] = json!(last.version);
        let patch = Patch::Merge(json!({ "metadata": metadata }));
        let params = PatchParams {
            field_manager: Some(FIELD_MANAGER.to_owned()),
            ..PatchParams::default()
        };
        let what = format!("{what} {}", self.name());
        let written = limit(&what, self.timeout, self.api().patch(&self.name, &params, &patch)).await;
        self.enter(last, written).await
    }

    /// Enters the answer to a write. After a conflict the object is read anew: the watch may be behind.
    async fn enter(
        &self,
        last: &mut Last,
        written: Result<RayCluster, KubernetesError>,
    ) -> Result<(), KubernetesError> {
        match written {
            Ok(object) => {
                last.version.clone_from(&object.metadata.resource_version);
                last.finalizers = object.metadata.finalizers.clone().unwrap_or_default();
                self.cache.written(object);
                Ok(())
            }
            Err(KubernetesError::Conflict(what)) => {
                let what_for = format!("read {}", self.name());
                match limit(&what_for, self.timeout, self.api().get(&self.name)).await {
                    Ok(object) if object.metadata.uid.as_deref() == Some(self.uid.as_str()) => {
                        self.cache.written(object);
                        Err(KubernetesError::Conflict(what))
                    }
                    Ok(_) | Err(KubernetesError::Gone(_)) => Err(KubernetesError::Gone(self.name())),
                    // The conflict stands; the next pass begins with what the watch has by then.
                    Err(_) => Err(KubernetesError::Conflict(what)),
                }
            }
            Err(error) => Err(error),
        }
    }

    /// What the Secret with the controller's key holds.
    ///
    /// # Errors
    /// What Kubernetes answered.
    pub async fn key(&self) -> Result<KeySecret, KubernetesError> {
        let name = key::secret_name(&self.name);
        let what = format!("read the Secret {}/{name}", self.namespace);
        let found = limit(&what, self.timeout, self.secrets().get_opt(&name)).await?;
        Ok(found.map_or(KeySecret::Missing, |secret| key::read(&secret, &self.uid)))
    }
}

#[async_trait]
impl Kubernetes for ClusterObject {
    async fn record_launches(&self, ledger: &Ledger) -> Result<(), KubernetesError> {
        let mut last = self.last.lock().await;
        let status = RayClusterStatus {
            cluster_uid: Some(self.uid.clone()),
            launches: ledger.launches.clone(),
            last_launch: ledger.last,
            launches_held_until: ledger.held_until,
            ..last.status.clone()
        };
        self.replace_status(&mut last, &status).await
    }

    async fn record_steps(&self, steps: &BTreeMap<String, StepStatus>) -> Result<(), KubernetesError> {
        let mut last = self.last.lock().await;
        let mut status = last.status.clone();
        let unlisted = status.record_steps(steps);
        if !unlisted.is_empty() {
            return Err(KubernetesError::Failed {
                what: format!("write down what is done on {}", unlisted.join(", ")),
                message: "the status does not list it yet".into(),
            });
        }
        self.replace_status(&mut last, &status).await
    }

    async fn create_key(&self) -> Result<KeySecret, KubernetesError> {
        let owner = OwnerReference {
            api_version: RayCluster::api_version(&()).into_owned(),
            kind: RayCluster::kind(&()).into_owned(),
            name: self.name.clone(),
            uid: self.uid.clone(),
            controller: Some(true),
            block_owner_deletion: Some(true),
        };
        let what = format!("create the Secret {}/{}", self.namespace, key::secret_name(&self.name));
        let secret = key::make(&self.namespace, owner).map_err(|message| KubernetesError::Failed {
            what: what.clone(),
            message,
        })?;
        match limit(&what, self.timeout, self.secrets().create(&written_by_us(), &secret)).await {
            Ok(created) => Ok(key::read(&created, &self.uid)),
            // Somebody was there first; perhaps we, with an answer that was lost.
            Err(KubernetesError::Conflict(_)) => self.key().await,
            Err(KubernetesError::Gone(_)) => Err(KubernetesError::Gone(format!("namespace {}", self.namespace))),
            Err(error) => Err(error),
        }
    }

    async fn set_finalizer(&self, wanted: bool) -> Result<(), KubernetesError> {
        if !wanted {
            self.delete_key().await;
        }
        let mut last = self.last.lock().await;
        let mut finalizers = last.finalizers.clone();
        finalizers.retain(|finalizer| finalizer != FINALIZER);
        if wanted {
            finalizers.push(FINALIZER.to_owned());
        }
        let what = if wanted {
            "put the finalizer on"
        } else {
            "take the finalizer off"
        };
        let result = self
            .patch_metadata(&mut last, what, json!({ "finalizers": finalizers }))
            .await;
        match result {
            Err(KubernetesError::Gone(_)) if !wanted => Ok(()),
            result => result,
        }
    }

    async fn mark_stopped(&self, mark: &StopMark) -> Result<(), KubernetesError> {
        let mut last = self.last.lock().await;
        let annotations = json!({ "annotations": { STOPPED: mark.stopped, WAKE_HANDLED: mark.wake_handled } });
        self.patch_metadata(&mut last, "annotate", annotations).await
    }

    fn publish(&self, event: Event) {
        self.recorder.publish(&self.reference, event);
    }
}

fn written_by_us() -> PostParams {
    PostParams {
        field_manager: Some(FIELD_MANAGER.to_owned()),
        ..PostParams::default()
    }
}

/// Awaits a call to Kubernetes for a limited time: the client itself would wait for ever.
pub(super) async fn limit<T>(
    what: &str,
    timeout: Duration,
    call: impl Future<Output = kube::Result<T>>,
) -> Result<T, KubernetesError> {
    let failed = |message: String| KubernetesError::Failed {
        what: what.to_owned(),
        message,
    };
    match tokio::time::timeout(timeout, call).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(kube::Error::Api(status))) if status.code == 409 => Err(KubernetesError::Conflict(what.to_owned())),
        Ok(Err(kube::Error::Api(status))) if status.code == 404 => Err(KubernetesError::Gone(what.to_owned())),
        Ok(Err(kube::Error::Api(status))) => Err(failed(status.message.clone())),
        Ok(Err(error)) => Err(failed(in_one_line(&error))),
        Err(_) => Err(failed(format!("no answer within {timeout:?}"))),
    }
}

/// An error with its causes: the first one alone says "client error" of everything.
pub(super) fn in_one_line(error: &dyn std::error::Error) -> String {
    let mut line = error.to_string();
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    for cause in causes.map(ToString::to_string) {
        // Some say their cause themselves.
        if !line.contains(&cause) {
            line.push_str(": ");
            line.push_str(&cause);
        }
    }
    line.split_whitespace().collect::<Vec<_>>().join(" ")
}
