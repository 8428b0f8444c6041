//! How this controller gets into the machines of a cluster: the key and the token, read from the cluster's Secret each
//! time a connection begins, and kept nowhere else.

use std::time::Duration;

use async_trait::async_trait;
use k8s_openapi::api::core::v1::Secret;
use kube::{Api, Client};

use super::{key, kubernetes::limit};
use crate::ray::watchers::{Access, ClusterRef, Keys};

/// The Secrets in Kubernetes.
pub(super) struct SecretKeys {
    client: Client,
    timeout: Duration,
}

impl SecretKeys {
    /// Reads them through `client`, each call for at most `timeout`.
    pub(super) fn new(client: Client, timeout: Duration) -> Self {
        Self { client, timeout }
    }
}

#[async_trait]
impl Keys for SecretKeys {
    async fn access(&self, cluster: &ClusterRef) -> Result<Access, String> {
        let name = key::secret_name(&cluster.name);
        let what = format!("read the Secret {}/{name}", cluster.namespace);
        let secrets: Api<Secret> = Api::namespaced(self.client.clone(), &cluster.namespace);
        let found = limit(&what, self.timeout, secrets.get_opt(&name)).await;
        let secret = found.map_err(|error| error.to_string())?;
        let secret = secret.ok_or_else(|| format!("the Secret {}/{name} does not exist", cluster.namespace))?;
        key::access(&secret, &cluster.uid)
    }
}
