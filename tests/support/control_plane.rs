//! A real Kubernetes control plane on loopback ports: etcd, kube-apiserver and kube-controller-manager.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use k8s_openapi::api::core::v1::Namespace;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client, Config};
use serde_json::json;
use tempfile::TempDir;
use tokio::sync::OnceCell;

use super::process::{Output, Process, command};
use super::wait::{PATIENCE, until};
use super::{free_port, logs, tool};

/// The bearer token of the administrator; it opens nothing but this control plane.
const ADMIN_TOKEN: &str = "sandbox-admin";

/// etcd, an API server and, where asked for, a controller manager. Ends when dropped.
pub(crate) struct ControlPlane {
    // Dropped in this order: clients before servers, state last.
    controller_manager: Option<Process>,
    api_server: Process,
    _etcd: Process,
    etcd_port: u16,
    port: u16,
    logs: PathBuf,
    state: TempDir,
}

impl ControlPlane {
    /// The one that all tests of this binary share; each test uses a namespace of its own. It has a controller manager.
    pub(crate) async fn shared() -> &'static Self {
        static SHARED: OnceCell<ControlPlane> = OnceCell::const_new();
        SHARED
            .get_or_init(async || {
                let mut plane = ControlPlane::start("shared-control-plane").await;
                plane.start_controller_manager().await;
                plane
            })
            .await
    }

    /// One of the caller's own, without a controller manager: nothing collects garbage or finishes the deletion of a
    /// namespace. Its logs go to `target/test-logs/<name>`.
    pub(crate) async fn start(name: &str) -> Self {
        let logs = logs(name);
        let state = tempfile::tempdir().expect("a folder for the state can be made");
        let (etcd_port, peer_port, port) = (free_port(), free_port(), free_port());

        fs::write(
            state.path().join("tokens.csv"),
            format!("{ADMIN_TOKEN},admin,admin,\"system:masters\"\n"),
        )
        .expect("the token file can be written");
        let key = Command::new("openssl")
            .args(["ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out"])
            .arg(state.path().join("service-account.key"))
            .status();
        assert!(
            key.is_ok_and(|status| status.success()),
            "openssl makes the key that signs service account tokens"
        );

        let mut etcd = command(tool("etcd"));
        etcd.arg("--data-dir")
            .arg(state.path().join("etcd"))
            .arg("--unsafe-no-fsync");
        for (flag, port) in [("client", etcd_port), ("peer", peer_port)] {
            let url = format!("http://127.0.0.1:{port}");
            etcd.arg(format!("--listen-{flag}-urls={url}"));
            etcd.arg(match flag {
                "client" => format!("--advertise-client-urls={url}"),
                _ => format!("--initial-advertise-peer-urls={url}"),
            });
        }
        etcd.arg(format!("--initial-cluster=default=http://127.0.0.1:{peer_port}"));
        let etcd = Process::spawn("etcd", &logs, etcd, Output::Log);

        let api_server = spawn_api_server(state.path(), &logs, etcd_port, port);
        let plane = Self {
            controller_manager: None,
            api_server,
            _etcd: etcd,
            etcd_port,
            port,
            logs,
            state,
        };
        plane.write_kubeconfig(ADMIN_TOKEN, &plane.kubeconfig());
        plane.wait_until_ready().await;
        plane
    }

    /// Adds a controller manager: garbage collection by owner references, deletion of namespaces, Deployments,
    /// service accounts.
    pub(crate) async fn start_controller_manager(&mut self) {
        let mut program = command(tool("kube-controller-manager"));
        program
            .arg(format!("--kubeconfig={}", self.kubeconfig().display()))
            .arg(format!("--secure-port={}", free_port()))
            .arg(format!("--cert-dir={}", self.state.path().display()))
            .arg(format!("--root-ca-file={}", self.certificate().display()))
            .arg(format!(
                "--service-account-private-key-file={}",
                self.service_account_key().display()
            ))
            .args(["--bind-address=127.0.0.1", "--leader-elect=false"]);
        self.controller_manager = Some(Process::spawn(
            "kube-controller-manager",
            &self.logs,
            program,
            Output::Log,
        ));
        let accounts: Api<k8s_openapi::api::core::v1::ServiceAccount> = Api::namespaced(self.client().await, "default");
        until(
            "the controller manager makes the default service account",
            PATIENCE,
            async || {
                accounts
                    .get("default")
                    .await
                    .map(drop)
                    .map_err(|error| error.to_string())
            },
        )
        .await;
    }

    /// A client with all rights. It belongs to the running test's runtime.
    pub(crate) async fn client(&self) -> Client {
        client_from(&self.kubeconfig()).await
    }

    /// A kubeconfig with all rights.
    pub(crate) fn kubeconfig(&self) -> PathBuf {
        self.state.path().join("admin.kubeconfig")
    }

    /// Writes a kubeconfig for another bearer token, such as a service account's.
    pub(crate) fn write_kubeconfig(&self, token: &str, path: &Path) {
        let kubeconfig = json!({
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "sandbox", "cluster": {
                "server": format!("https://127.0.0.1:{}", self.port),
                "certificate-authority": self.certificate(),
            }}],
            "users": [{"name": "user", "user": {"token": token}}],
            "contexts": [{"name": "sandbox", "context": {"cluster": "sandbox", "user": "user"}}],
            "current-context": "sandbox",
        });
        fs::write(path, kubeconfig.to_string()).expect("a kubeconfig can be written");
    }

    /// `kubectl`, for this control plane.
    pub(crate) fn kubectl(&self) -> Command {
        let mut kubectl = Command::new(tool("kubectl"));
        kubectl.env("KUBECONFIG", self.kubeconfig());
        kubectl
    }

    /// `helm`, for this control plane.
    pub(crate) fn helm(&self) -> Command {
        let mut helm = Command::new(tool("helm"));
        helm.env("KUBECONFIG", self.kubeconfig());
        helm
    }

    /// Kills the API server. What etcd holds stays.
    pub(crate) fn stop_api_server(&mut self) {
        self.api_server.kill();
    }

    /// Starts the API server again, at the same address and with the same certificate.
    pub(crate) async fn start_api_server(&mut self) {
        self.api_server = spawn_api_server(self.state.path(), &self.logs, self.etcd_port, self.port);
        self.wait_until_ready().await;
    }

    /// The certificate that the API server made for itself on its first start.
    fn certificate(&self) -> PathBuf {
        self.state.path().join("apiserver.crt")
    }

    fn service_account_key(&self) -> PathBuf {
        self.state.path().join("service-account.key")
    }

    async fn wait_until_ready(&self) {
        until("the API server is ready", PATIENCE, async || {
            if !self.certificate().exists() {
                return Err(self.api_server.log_tail());
            }
            let client = self.client().await;
            let ready = axum::http::Request::get("/readyz")
                .body(Vec::new())
                .expect("a valid request");
            client
                .request_text(ready)
                .await
                .map_err(|error| format!("{error}\n{}", self.api_server.log_tail()))?;
            let default = Api::<Namespace>::all(client).get("default").await;
            default.map(drop).map_err(|error| error.to_string())
        })
        .await;
    }
}

/// A client for a kubeconfig. It belongs to the running test's runtime.
pub(crate) async fn client_from(kubeconfig: &Path) -> Client {
    let kubeconfig = Kubeconfig::read_from(kubeconfig).expect("the kubeconfig can be read");
    let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await;
    Client::try_from(config.expect("the kubeconfig is complete")).expect("a client can be made")
}

fn spawn_api_server(state: &Path, logs: &Path, etcd_port: u16, port: u16) -> Process {
    let key = state.join("service-account.key");
    let mut program = command(tool("kube-apiserver"));
    program
        .arg(format!("--etcd-servers=http://127.0.0.1:{etcd_port}"))
        .arg(format!("--secure-port={port}"))
        .arg(format!("--cert-dir={}", state.display()))
        .arg(format!("--token-auth-file={}", state.join("tokens.csv").display()))
        .arg(format!("--service-account-key-file={}", key.display()))
        .arg(format!("--service-account-signing-key-file={}", key.display()))
        .arg("--service-account-issuer=https://kubernetes.default.svc")
        .args(["--authorization-mode=RBAC", "--service-cluster-ip-range=10.96.0.0/24"])
        // There is no other interface than loopback, which may not stand in the Endpoints of the API's Service.
        .args([
            "--bind-address=127.0.0.1",
            "--advertise-address=127.0.0.1",
            "--endpoint-reconciler-type=none",
        ]);
    Process::spawn("kube-apiserver", logs, program, Output::Log)
}
