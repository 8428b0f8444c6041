//! What has to be there before the controller starts: an API server, a name of the installation, the definition of
//! `RayCluster`. What is missing is told to the person who starts the process, with what to do.

use std::time::Duration;

use k8s_openapi::api::core::v1::Namespace;
use kube::{Api, Client, api::ListParams};

use super::kubernetes::in_one_line;
use crate::{api::RayCluster, config::Config};

/// The namespace that is in every Kubernetes and is never made anew: its uid names the installation.
const NAMED_BY: &str = "kube-system";

/// What was found.
pub struct Found {
    /// A client for the API server that `KUBECONFIG` or the pod names.
    pub client: Client,
    /// The name of the installation.
    pub installation: String,
}

/// Looks whether all that is needed is there.
///
/// # Errors
/// What is missing, and what to do.
pub async fn look(config: &Config) -> Result<Found, String> {
    let server = Server::configured(config.call_timeout).await?;
    let installation = match &config.installation {
        Some(name) => name.clone(),
        None => server.installation().await?,
    };
    server.check_definition(config.watch_namespace.as_deref()).await?;
    Ok(Found {
        client: server.client,
        installation,
    })
}

struct Server {
    client: Client,
    address: String,
    timeout: Duration,
}

/// Why the API server did not give what it was asked for.
#[derive(Debug)]
enum Refusal {
    Missing,
    /// Its words.
    Forbidden(String),
    /// All that there is to say.
    Failed(String),
}

impl Server {
    async fn configured(timeout: Duration) -> Result<Self, String> {
        let config = kube::Config::infer().await.map_err(|error| {
            let is_in_pod = std::env::var_os("KUBERNETES_SERVICE_HOST").is_some();
            let why = match std::error::Error::source(&error) {
                // Elsewhere the missing service account is no news.
                Some(kubeconfig) if !is_in_pod => in_one_line(kubeconfig),
                _ => in_one_line(&error),
            };
            format!(
                "no Kubernetes API server is configured: {why}; set KUBECONFIG, or run in a pod with a service account"
            )
        })?;
        let address = config.cluster_url.to_string();
        let client = Client::try_from(config).map_err(|error| {
            let error = in_one_line(&error);
            format!("cannot speak with the Kubernetes API server at {address}: {error}")
        })?;
        Ok(Self {
            client,
            address,
            timeout,
        })
    }

    /// The uid of [`NAMED_BY`].
    async fn installation(&self) -> Result<String, String> {
        let what = format!("read the namespace {NAMED_BY}");
        let namespaces: Api<Namespace> = Api::all(self.client.clone());
        let why = match self.ask(&what, namespaces.get_metadata(NAMED_BY)).await {
            Ok(namespace) => match namespace.metadata.uid {
                Some(uid) => return Ok(uid),
                None => "it has no uid".to_owned(),
            },
            Err(Refusal::Missing) => "it does not exist".to_owned(),
            Err(Refusal::Forbidden(words)) => words,
            Err(Refusal::Failed(message)) => return Err(message),
        };
        Err(format!(
            "{what}: {why}; its uid names this installation: allow to get it, or give --installation"
        ))
    }

    /// Whether the `CustomResourceDefinition` is there and may be read.
    async fn check_definition(&self, namespace: Option<&str>) -> Result<(), String> {
        let api: Api<RayCluster> = match namespace {
            Some(namespace) => Api::namespaced(self.client.clone(), namespace),
            None => Api::all(self.client.clone()),
        };
        let one = ListParams::default().limit(1);
        match self.ask("list RayClusters", api.list_metadata(&one)).await {
            Ok(_) => Ok(()),
            Err(Refusal::Missing) => {
                Err("the CustomResourceDefinition of RayCluster is missing: rayward crd | kubectl apply -f -".into())
            }
            Err(Refusal::Forbidden(words)) => Err(format!(
                "list RayClusters: {words}; allow it, or give the only namespace to look after with --watch-namespace"
            )),
            Err(Refusal::Failed(message)) => Err(message),
        }
    }

    async fn ask<T>(&self, what: &str, call: impl Future<Output = kube::Result<T>>) -> Result<T, Refusal> {
        let address = &self.address;
        let unreachable = |why: &str| {
            Refusal::Failed(format!(
                "{what}: the Kubernetes API server at {address} {why}; start it, or name another one in KUBECONFIG"
            ))
        };
        match tokio::time::timeout(self.timeout, call).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(kube::Error::Api(status))) => Err(match status.code {
                404 => Refusal::Missing,
                403 => Refusal::Forbidden(status.message),
                401 => Refusal::Failed(format!(
                    "{what}: the Kubernetes API server at {address} does not take the credentials in KUBECONFIG, or \
                     of the pod's service account; give others"
                )),
                _ => Refusal::Failed(format!(
                    "{what}: the Kubernetes API server at {address} says: {}",
                    status.message
                )),
            }),
            Ok(Err(error @ (kube::Error::Service(_) | kube::Error::HyperError(_)))) => {
                Err(unreachable(&format!("cannot be reached: {}", in_one_line(&error))))
            }
            Ok(Err(error)) => Err(Refusal::Failed(format!(
                "{what}: the answer of {address}, which ought to be a Kubernetes API server: {}",
                in_one_line(&error)
            ))),
            Err(_) => Err(unreachable(&format!("does not answer within {:?}", self.timeout))),
        }
    }
}

#[cfg(test)]
mod tests {
    use axum::{Router, http::StatusCode};
    use serde_json::json;

    use super::*;

    /// An API server that refuses everything.
    fn refusing(code: u16) -> Server {
        let status = json!({
            "apiVersion": "v1", "kind": "Status", "status": "Failure", "code": code,
            "message": "its words", "reason": "Reason",
        });
        let answer = (StatusCode::from_u16(code).unwrap(), status.to_string());
        let api_server = Router::new().fallback(async || answer);
        Server {
            client: Client::new(api_server, "default"),
            address: "https://192.0.2.7:6443/".into(),
            timeout: Duration::from_secs(5),
        }
    }

    #[tokio::test]
    async fn what_may_not_be_read_is_told_with_the_setting_that_does_without() {
        let server = refusing(403);
        let installation = server.installation().await.unwrap_err();
        assert!(
            installation.contains("its words") && installation.contains("--installation"),
            "{installation}"
        );
        let definition = server.check_definition(None).await.unwrap_err();
        assert!(
            definition.contains("its words") && definition.contains("--watch-namespace"),
            "{definition}"
        );
    }

    #[tokio::test]
    async fn what_no_setting_of_rayward_can_help_is_told_with_the_address() {
        for code in [401, 418] {
            let message = refusing(code).installation().await.unwrap_err();
            assert!(message.contains("192.0.2.7"), "{message}");
            assert!(!message.contains("--installation"), "{message}");
        }
    }

    #[tokio::test]
    async fn a_missing_definition_is_told_with_how_to_make_it() {
        let message = refusing(404).check_definition(Some("ml")).await.unwrap_err();
        assert!(message.contains("rayward crd"), "{message}");
    }
}
