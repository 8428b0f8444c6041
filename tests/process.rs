//! `rayward run` as a process: how it starts, what it shows, and what it never shows.

use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Output};

use k8s_openapi::api::core::v1::Secret;
use kube::Api;
use rustix::process::Signal;
use serde_json::json;

use crate::support::cluster::Space;
use crate::support::control_plane::ControlPlane;
use crate::support::process::{self, Process};
use crate::support::scene::Scene;
use crate::support::wait::{PATIENCE, until};
use crate::support::{free_port, logs, test_name};

/// A head alone: nothing here is about workers and buckets.
const HEAD: &str = "
apiVersion: rayward.dev/v1alpha1
kind: RayCluster
metadata: {name: head}
spec: {region: ap-southeast-1, buckets: []}
";

/// Runs the program to its end.
fn rayward(arguments: &[&str], environment: &[(&str, &str)]) -> (Option<i32>, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rayward"));
    command.args(arguments).env_remove("KUBECONFIG");
    let Output { status, stderr, .. } = command
        .envs(environment.iter().copied())
        .output()
        .expect("the program starts");
    (status.code(), String::from_utf8_lossy(&stderr).into_owned())
}

/// Writes a kubeconfig for an API server without credentials; returns its path.
fn kubeconfig_of(address: &str, folder: &Path) -> String {
    let kubeconfig = json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "a", "cluster": {"server": format!("http://{address}")}}],
        "contexts": [{"name": "a", "context": {"cluster": "a"}}],
        "current-context": "a",
    });
    let path = folder.join("kubeconfig");
    fs::write(&path, kubeconfig.to_string()).expect("it can be written");
    path.into_os_string().into_string().expect("a path in UTF-8")
}

#[tokio::test]
async fn a_process_that_cannot_start_says_in_one_message_why_and_what_to_do() {
    let (code, said) = rayward(&["run", "--sweep-interval=15"], &[]);
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("for example 90s"), "{said}");

    let (code, said) = rayward(&["run"], &[("KUBECONFIG", "/nowhere")]);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("set KUBECONFIG"), "{said}");

    let folder = tempfile::tempdir().expect("a folder");
    let broken = folder.path().join("broken");
    fs::write(&broken, "clusters: [\n").expect("it can be written");
    let broken = broken.to_str().expect("a path in UTF-8");
    let (code, said) = rayward(&["run"], &[("KUBECONFIG", broken)]);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("KUBECONFIG") && said.lines().count() == 1, "{said}");
    assert!(!said.contains("in-cluster"), "{said}");

    let nobody = format!("127.0.0.1:{}", free_port());
    let kubeconfig = kubeconfig_of(&nobody, folder.path());
    let (code, said) = rayward(&["run"], &[("KUBECONFIG", &kubeconfig)]);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains(&nobody) && said.contains("refused"), "{said}");
    assert!(!said.contains("--installation"), "{said}");

    let plane = ControlPlane::start(&test_name()).await;
    let kubeconfig = plane.kubeconfig();
    let kubeconfig = [("KUBECONFIG", kubeconfig.to_str().expect("a path in UTF-8"))];
    let (code, said) = rayward(&["run", "--admin-address=127.0.0.1:0"], &kubeconfig);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("rayward crd | kubectl apply"), "{said}");

    Space::create(&plane).await;
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("an address").to_string();
    let (code, said) = rayward(&["run", "--admin-address", &address], &kubeconfig);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains(&address) && said.contains("--admin-address"), "{said}");

    // Variables that are set to nothing count as not set: it comes as far as before.
    let empty = [
        "RAYWARD_WATCH_NAMESPACE",
        "RAYWARD_INSTALLATION",
        "RAYWARD_EGRESS_CIDRS",
        "RAYWARD_SWEEP_INTERVAL",
    ];
    let environment: Vec<_> = empty.map(|name| (name, "")).into_iter().chain(kubeconfig).collect();
    let (code, said) = rayward(&["run", "--admin-address", &address], &environment);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains(&address) && said.contains("--admin-address"), "{said}");
}

#[tokio::test]
async fn a_process_that_is_still_starting_ends_when_it_is_asked_to() {
    let silent = TcpListener::bind("127.0.0.1:0").expect("a port");
    silent.set_nonblocking(true).expect("it can be asked without waiting");
    let address = silent.local_addr().expect("an address").to_string();
    let folder = tempfile::tempdir().expect("a folder");
    let mut program = process::command(env!("CARGO_BIN_EXE_rayward"));
    program
        .args(["run", "--call-timeout=1h"])
        .env("KUBECONFIG", kubeconfig_of(&address, folder.path()));
    let mut starting = Process::spawn("controller", &logs(&test_name()), program, process::Output::Log);
    let _asked = until("it asks the API server", PATIENCE, async || {
        silent.accept().map_err(|error| error.to_string())
    })
    .await;

    starting.signal(Signal::TERM);

    assert!(starting.wait(PATIENCE).success());
}

#[tokio::test]
async fn the_numbers_of_a_cluster_come_and_go_with_it_and_its_key_is_shown_nowhere() {
    let scene = Scene::start_with(&["--log=rayward=debug", "--log-format=json"]).await;
    let Scene { controller, space, .. } = &scene;
    for page in ["healthz", "readyz"] {
        ureq::get(controller.admin_url(page)).call().expect("it is served");
    }
    space.apply(HEAD).await.expect("it is taken");
    space.wait_for("head", "Ready", "True", PATIENCE).await;

    let own = format!(
        r#"rayward_cluster_workers_desired{{name="head",namespace="{}"}} 0"#,
        space.name
    );
    let metrics = controller.metrics();
    for line in [
        own.as_str(),
        r#"rayward_clusters{phase="Ready"} 1"#,
        r#"rayward_aws_requests_total{class="ok",operation="CreateVpc",service="ec2"} 1"#,
        r#"rayward_aws_request_duration_seconds_count{service="ec2"}"#,
        "rayward_reconcile_duration_seconds_count",
    ] {
        assert!(metrics.contains(line), "{line} is not in\n{metrics}");
    }

    let secrets: Api<Secret> = Api::namespaced(space.client.clone(), &space.name);
    let secret = secrets.get("head-ssh").await.expect("the cluster has a key");
    let key = secret.data.expect("it holds something")["ssh-privatekey"].0.clone();
    let key = String::from_utf8(key).expect("OpenSSH's form is text");
    let secret_line = key.lines().nth(2).expect("a line of the key");
    let status = serde_json::to_string(&space.cluster("head").await).expect("JSON");
    let log = fs::read_to_string(controller.log()).expect("the log");
    let own = format!("{}/head", space.name);
    let passes: Vec<_> = log.lines().filter(|line| line.contains(&own)).collect();
    assert!(!passes.is_empty(), "no line is of {own}:\n{log}");
    for line in passes {
        let line: serde_json::Value = serde_json::from_str(line).expect("the line is JSON");
        if line["target"]
            .as_str()
            .is_some_and(|target| target.starts_with("rayward::ray"))
        {
            // What a look into Ray tells is of no pass.
            assert_eq!(line["cluster"], own, "{line}");
            continue;
        }
        assert_eq!(line["span"]["cluster"], own, "{line}");
        assert!(line["span"]["pass"].as_u64() > Some(0), "no number of the pass: {line}");
    }
    for shown in [status, log, controller.metrics(), space.events().await.join("\n")] {
        assert!(!shown.contains(secret_line) && !shown.contains("PRIVATE KEY"));
    }

    space.delete("head").await;
    space.wait_until_gone("head", PATIENCE).await;
    until("its numbers are gone", PATIENCE, async || {
        let metrics = controller.metrics();
        if metrics.contains(&space.name) {
            Err(metrics)
        } else {
            Ok(())
        }
    })
    .await;
}
