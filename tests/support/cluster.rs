//! A namespace of a test's own, and the clusters in it.

use std::time::Duration;

use k8s_openapi::api::core::v1::Namespace;
use k8s_openapi::api::events::v1::Event;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams};
use kube::{Api, Client, ResourceExt};
use rayward::api::RayCluster;
use serde_json::{Value, json};

use super::control_plane::ControlPlane;
use super::wait::{PATIENCE, until};

/// Makes the API server serve `RayCluster`s. Doing it twice does no harm.
pub(crate) async fn install_crd(client: &Client) {
    let definitions: Api<CustomResourceDefinition> = Api::all(client.clone());
    let definition = rayward::api::crd().expect("the types make a CRD");
    let name = definition.name_any();
    let apply = PatchParams::apply("test").force();
    definitions
        .patch(&name, &apply, &Patch::Apply(&definition))
        .await
        .expect("the API server takes the CRD");
    until("the CRD is established", PATIENCE, async || {
        let status = definitions.get(&name).await.map_err(|error| error.to_string())?.status;
        let conditions = status.and_then(|status| status.conditions).unwrap_or_default();
        let established = conditions
            .iter()
            .any(|each| each.type_ == "Established" && each.status == "True");
        // Established and served are not the same moment.
        let list = Api::<RayCluster>::all(client.clone())
            .list(&ListParams::default())
            .await;
        if established && list.is_ok() {
            Ok(())
        } else {
            Err(format!("{conditions:?}, {:?}", list.err()))
        }
    })
    .await;
}

/// The example: one head, two workers, four buckets.
pub(crate) const LAB: &str = include_str!("../../deploy/examples/lab.yaml");

/// A condition of a cluster, if it has it.
pub(crate) fn condition<'a>(cluster: &'a RayCluster, name: &str) -> Option<&'a Condition> {
    let conditions = &cluster.status.as_ref()?.conditions;
    conditions.iter().find(|each| each.type_ == name)
}

/// A fresh namespace with what a test does in it.
pub(crate) struct Space {
    /// A client with all rights.
    pub(crate) client: Client,
    /// The name of the namespace.
    pub(crate) name: String,
}

impl Space {
    /// Makes a namespace, and makes sure that the API server knows `RayCluster`s.
    pub(crate) async fn create(plane: &ControlPlane) -> Self {
        let mut namespace = Namespace::default();
        namespace.metadata.generate_name = Some("test-".to_owned());
        Self::make(plane, namespace).await
    }

    /// The same with a name that a person can guess, for a control plane of one's own.
    pub(crate) async fn named(plane: &ControlPlane, name: &str) -> Self {
        let mut namespace = Namespace::default();
        namespace.metadata.name = Some(name.to_owned());
        Self::make(plane, namespace).await
    }

    async fn make(plane: &ControlPlane, namespace: Namespace) -> Self {
        let client = plane.client().await;
        install_crd(&client).await;
        let created = Api::all(client.clone())
            .create(&PostParams::default(), &namespace)
            .await;
        Self {
            client,
            name: created.expect("the namespace is created").name_any(),
        }
    }

    /// The clusters of the namespace.
    pub(crate) fn clusters(&self) -> Api<RayCluster> {
        Api::namespaced(self.client.clone(), &self.name)
    }

    /// Does what `kubectl apply --server-side` does, with strict validation.
    pub(crate) async fn apply(&self, manifest: &str) -> Result<RayCluster, kube::Error> {
        let manifest: Value = serde_yaml::from_str(manifest).expect("the manifest is YAML");
        let name = manifest["metadata"]["name"]
            .as_str()
            .expect("the manifest has a name")
            .to_owned();
        let strict = PatchParams::apply("kubectl").force().validation_strict();
        self.clusters().patch(&name, &strict, &Patch::Apply(&manifest)).await
    }

    /// Applies the lab and waits until it is ready.
    pub(crate) async fn ready_lab(&self) -> RayCluster {
        self.apply(LAB).await.expect("the lab is accepted");
        self.wait_for("lab", "Ready", "True", PATIENCE).await
    }

    /// Merges something into a RayCluster, such as `{"spec": {"suspend": true}}`.
    pub(crate) async fn patch(&self, name: &str, patch: &Value) -> Result<RayCluster, kube::Error> {
        self.clusters()
            .patch(name, &PatchParams::default(), &Patch::Merge(patch))
            .await
    }

    /// The RayCluster of this name; there is one.
    pub(crate) async fn cluster(&self, name: &str) -> RayCluster {
        self.clusters().get(name).await.expect("the RayCluster is there")
    }

    /// Waits until a condition has a status, and was set for the current spec.
    pub(crate) async fn wait_for(&self, name: &str, condition: &str, status: &str, deadline: Duration) -> RayCluster {
        self.wait_until(name, &format!("{condition} is {status}"), deadline, |cluster| {
            self::condition(cluster, condition)
                .is_some_and(|each| each.status == status && each.observed_generation == cluster.metadata.generation)
        })
        .await
    }

    /// Waits until a RayCluster is as the test wants it.
    pub(crate) async fn wait_until(
        &self,
        name: &str,
        what: &str,
        deadline: Duration,
        is_so: impl Fn(&RayCluster) -> bool,
    ) -> RayCluster {
        let clusters = self.clusters();
        until(&format!("{name}: {what}"), deadline, async || {
            let cluster = clusters.get(name).await.map_err(|error| error.to_string())?;
            if is_so(&cluster) {
                Ok(cluster)
            } else {
                Err(self.describe(&cluster).await)
            }
        })
        .await
    }

    /// Asks for the deletion of a RayCluster and does not wait for it.
    pub(crate) async fn delete(&self, name: &str) {
        self.clusters()
            .delete(name, &DeleteParams::default())
            .await
            .expect("the deletion is accepted");
    }

    /// Waits until a RayCluster is gone.
    pub(crate) async fn wait_until_gone(&self, name: &str, deadline: Duration) {
        let clusters = self.clusters();
        until(&format!("{name} is gone"), deadline, async || {
            match clusters.get_opt(name).await {
                Ok(None) => Ok(()),
                Ok(Some(cluster)) => Err(self.describe(&cluster).await),
                Err(error) => Err(error.to_string()),
            }
        })
        .await;
    }

    /// The Events of the namespace, as `reason: note`, oldest first.
    pub(crate) async fn events(&self) -> Vec<String> {
        let events: Api<Event> = Api::namespaced(self.client.clone(), &self.name);
        let mut events = events
            .list(&ListParams::default())
            .await
            .expect("Events can be listed")
            .items;
        events.sort_by_key(|event| event.metadata.creation_timestamp.clone());
        let line = |event: Event| {
            format!(
                "{}: {}",
                event.reason.unwrap_or_default(),
                event.note.unwrap_or_default()
            )
        };
        events.into_iter().map(line).collect()
    }

    /// Waits until an Event is as the test wants it; `is_it` is asked about `reason: note`.
    pub(crate) async fn wait_for_event(&self, what: &str, is_it: impl Fn(&str) -> bool) {
        until(&format!("an Event tells of {what}"), PATIENCE, async || {
            let events = self.events().await;
            if events.iter().any(|event| is_it(event)) {
                Ok(())
            } else {
                Err(format!("{events:#?}"))
            }
        })
        .await;
    }

    /// What a person would look at: metadata, status and the last Events.
    async fn describe(&self, cluster: &RayCluster) -> String {
        let events = self.events().await;
        let seen = json!({
            "generation": cluster.metadata.generation,
            "deletionTimestamp": cluster.metadata.deletion_timestamp,
            "finalizers": cluster.metadata.finalizers,
            "status": cluster.status,
            "events": events[events.len().saturating_sub(15)..],
        });
        serde_yaml::to_string(&seen).expect("YAML can be written")
    }
}
