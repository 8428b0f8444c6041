use async_trait::async_trait;
use kube::core::DeserializeGuard;
use serde_json::{Value, json};

use super::*;
use crate::{
    api::RayCluster,
    aws::{Aws, AwsError, Image, Scope},
    controller::cache::Cached,
    execute::Bounds,
    memory::RetryDelays,
    plan::Limits,
    resources::{Answer, Change, Kind, Listing},
    validate::{ImageRef, Installation},
};

/// AWS behind a fault of the program.
enum Broken {
    Connection,
    Looks,
}

#[async_trait]
impl Cloud for Broken {
    async fn connect(&self, _: &str) -> Arc<dyn Aws> {
        match self {
            Self::Connection => panic!("no connection"),
            Self::Looks => Arc::new(Self::Looks),
        }
    }
}

#[async_trait]
impl Aws for Broken {
    async fn account(&self) -> Result<String, AwsError> {
        Ok("111122223333".into())
    }
    async fn list(&self, _: Kind, _: &Scope) -> Result<Listing, AwsError> {
        panic!("no looks")
    }
    async fn image(&self, _: &ImageRef) -> Result<Image, AwsError> {
        unreachable!("the process ends before")
    }
    async fn apply(&self, _: &Change) -> Result<Answer, AwsError> {
        unreachable!("nothing is known of AWS")
    }
}

fn lab() -> Value {
    json!({
        "apiVersion": "rayward.dev/v1alpha1",
        "kind": "RayCluster",
        "metadata": {"name": "lab", "namespace": "ml", "uid": "u-1", "generation": 1},
        "spec": {"region": "ap-southeast-1"},
    })
}

/// A controller that has read one cluster, from an API server that answers everything with it.
fn controller(cloud: Broken) -> (Arc<Controller>, ObjectName) {
    let api_server = axum::Router::new().fallback(async || lab().to_string());
    let (controller, _events) = Controller::new(Parts {
        client: Client::new(api_server, "default"),
        cloud: Arc::new(cloud),
        settings: Settings {
            installation: Installation {
                id: "here".into(),
                egress_cidrs: Vec::new(),
            },
            limits: Limits::default(),
            bounds: Bounds {
                width: 1,
                call_timeout: Duration::from_millis(100),
                launch_window: Limits::default().launch_window,
                delays: RetryDelays::default(),
            },
            pass_timeout: Duration::from_mins(1),
        },
        intervals: SweepIntervals::default(),
        watch_namespace: None,
        concurrency: 1,
        metrics: Arc::new(Metrics::new().unwrap()),
        stop: CancellationToken::new(),
    });
    let object: DeserializeGuard<RayCluster> = serde_json::from_value(lab()).unwrap();
    let object = Cached::new(object);
    let name = ObjectName::of(object.metadata());
    controller.passes.cache.put(object);
    (controller, name)
}

#[tokio::test]
async fn a_pass_that_panics_is_counted_and_made_again_after_a_pause() {
    let (controller, name) = controller(Broken::Connection);
    controller.queue.add(&name, Duration::ZERO);
    assert_eq!(controller.queue.next().await, name);

    let due = controller.passes.pass(&name).await;

    let Next::NotBefore(pause) = due.next else {
        panic!("{due:?}")
    };
    assert!(pause > Duration::from_secs(10), "{pause:?}");
    let metrics = controller.passes.metrics.text().unwrap();
    assert!(
        metrics.contains(r#"rayward_reconcile_total{outcome="panicked"} 1"#),
        "{metrics}"
    );
}

#[tokio::test]
async fn looks_at_aws_that_panic_end_the_process_with_an_error() {
    let (controller, name) = controller(Broken::Looks);
    controller.queue.add(&name, Duration::ZERO);

    let failure = controller.run().await.unwrap_err();

    assert!(
        failure.contains("ap-southeast-1") && failure.contains("no looks"),
        "{failure}"
    );
}
