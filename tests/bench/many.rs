//! A thousand clusters: the API server is real, AWS is an account of clusters that are all alike.

use std::{fs, time::Duration};

use futures::{StreamExt, TryStreamExt, stream};
use k8s_openapi::api::core::v1::{Namespace, Secret};
use kube::{Api, Client, Resource, ResourceExt, api::PostParams};
use rayward::{
    api::RayCluster,
    controller::key::{self, PUBLIC},
};
use serde_json::{Value, json};

use crate::{
    alike,
    asked::Asked,
    figures::{Figure, Part},
    served::ROLE,
    support::{control_plane::ControlPlane, logs, wait::until},
};

pub(crate) const PART: Part = Part("many");
/// The namespace of all clusters.
const NAMESPACE: &str = "bench";
const FEW: usize = 100;
const MANY: usize = 1000;
/// With so few passes in so long, the clusters are quiet.
const HARDLY_ANY: u64 = 5;
const QUIET: Duration = Duration::from_secs(3);
/// How long a thousand new clusters may take to become quiet.
const SETTLING: Duration = Duration::from_mins(3);

/// Measures starting, memory and quiet passes.
pub(crate) async fn measure() -> Vec<Figure> {
    let plane = ControlPlane::start("bench").await;
    let client = plane.client().await;
    crate::support::cluster::install_crd(&client).await;
    let mut namespace = Namespace::default();
    namespace.metadata.name = Some(NAMESPACE.to_owned());
    let namespaces: Api<Namespace> = Api::all(client.clone());
    namespaces
        .create(&PostParams::default(), &namespace)
        .await
        .expect("a namespace");

    let mut clusters = Clusters::new(client);
    clusters.grow(FEW).await;
    let mut few = serve(&plane, &clusters);
    become_quiet(&mut few, FEW).await;
    let at_few = few.ask("passes");
    drop(few);
    clusters.grow(MANY).await;
    println!("  {MANY} clusters are there; the controller settles them");
    let mut settling = serve(&plane, &clusters);
    become_quiet(&mut settling, MANY).await;
    drop(settling);

    // The measured one finds everything as it has to be.
    let mut many = serve(&plane, &clusters);
    let seen = become_quiet(&mut many, MANY).await;
    let resident = seen["kib"].as_f64().unwrap_or(f64::NAN) / 1024.0;
    let at_many = many.ask("passes");
    let rate = |answer: &Value| answer["perSecond"].as_f64().unwrap_or(f64::NAN);
    let calls = at_few["calls"].as_f64().unwrap_or(f64::NAN) + at_many["calls"].as_f64().unwrap_or(f64::NAN);
    vec![
        PART.higher(
            "quiet passes a second on one core, 100 clusters",
            rate(&at_few),
            "passes/s",
            2000.0,
        ),
        PART.higher(
            "quiet passes a second on one core, 1,000 clusters",
            rate(&at_many),
            "passes/s",
            2000.0,
        ),
        // "The same at both": what else runs on the machine moves each by a tenth.
        PART.higher(
            "their rate with 1,000 clusters by that with 100",
            rate(&at_many) / rate(&at_few),
            "times",
            0.9,
        ),
        PART.lower("AWS calls of quiet passes", calls, "calls", 0.0),
        PART.lower(
            "start to caches in, 1,000 clusters, AWS a fake",
            many.ready_after.as_secs_f64(),
            "s",
            1.0,
        ),
        PART.lower(
            "resident memory, 1,000 quiet clusters, AWS a fake",
            resident,
            "MiB",
            40.0,
        ),
    ]
}

/// The clusters on the API server, with the Secrets of their keys.
struct Clusters {
    client: Client,
    /// Uid and name.
    made: Vec<(String, String)>,
    secret: Option<Secret>,
}

impl Clusters {
    fn new(client: Client) -> Self {
        Self {
            client,
            made: Vec::new(),
            secret: None,
        }
    }

    /// Makes clusters until there are so many.
    async fn grow(&mut self, wanted: usize) {
        let names = (self.made.len()..wanted).map(|number| format!("quiet-{number:04}"));
        let clusters: Api<RayCluster> = Api::namespaced(self.client.clone(), NAMESPACE);
        let create = |name: String| {
            let clusters = clusters.clone();
            async move {
                let object = serde_json::from_value(json!({
                    "apiVersion": "rayward.dev/v1alpha1", "kind": "RayCluster",
                    "metadata": {"name": name}, "spec": alike::spec(),
                }));
                clusters
                    .create(&PostParams::default(), &object.expect("a RayCluster"))
                    .await
            }
        };
        let made: Vec<RayCluster> = stream::iter(names)
            .map(create)
            .buffered(16)
            .try_collect()
            .await
            .expect("clusters");
        let secrets: Api<Secret> = Api::namespaced(self.client.clone(), NAMESPACE);
        let owners = made
            .iter()
            .map(|cluster| cluster.controller_owner_ref(&()).expect("a uid"));
        let copies: Vec<Secret> = owners
            .map(|owner| {
                let first = self
                    .secret
                    .get_or_insert_with(|| key::make(NAMESPACE, owner.clone()).expect("a key"));
                let mut copy = first.clone();
                copy.metadata.name = Some(key::secret_name(&owner.name));
                copy.metadata.labels = Some([(key::LABEL.to_owned(), owner.uid.clone())].into());
                copy.metadata.owner_references = Some(vec![owner]);
                copy
            })
            .collect();
        let create = |secret: Secret| {
            let secrets = secrets.clone();
            async move { secrets.create(&PostParams::default(), &secret).await }
        };
        let _: Vec<Secret> = stream::iter(copies)
            .map(create)
            .buffered(16)
            .try_collect()
            .await
            .expect("Secrets");
        self.made.extend(
            made.iter()
                .map(|cluster| (cluster.uid().unwrap_or_default(), cluster.name_any())),
        );
    }

    fn public_key(&self) -> String {
        let data = self
            .secret
            .as_ref()
            .and_then(|secret| secret.data.as_ref()?.get(PUBLIC));
        let text = data.map(|bytes| String::from_utf8(bytes.0.clone()));
        text.expect("a key").expect("OpenSSH's form")
    }
}

/// The controller in a process of its own.
fn serve(plane: &ControlPlane, clusters: &Clusters) -> Asked {
    let file = logs("bench").join("clusters.json");
    let told = json!({"clusters": clusters.made, "publicKey": clusters.public_key()});
    fs::write(&file, told.to_string()).expect("the file can be written");
    Asked::start(ROLE, |program| {
        program.arg(&file).env("KUBECONFIG", plane.kubeconfig());
    })
}

/// Waits until each of so many clusters was looked at and hardly any pass is made any more.
async fn become_quiet(controller: &mut Asked, clusters: usize) -> Value {
    let passes = |seen: &Value| seen["passes"].as_u64().unwrap_or_default();
    until("the clusters are quiet", SETTLING, async || {
        let before = controller.ask("quiet");
        tokio::time::sleep(QUIET).await;
        let seen = controller.ask("quiet");
        let made = passes(&seen) - passes(&before);
        if passes(&seen) >= clusters as u64 && made <= HARDLY_ANY {
            Ok(seen)
        } else {
            Err(format!("{made} passes in {QUIET:?}, {} in all", passes(&seen)))
        }
    })
    .await
}
