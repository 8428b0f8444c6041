//! What a person does from their own computer: a tunnel to the dashboard with the key of the cluster's Secret, and the
//! stock client of Ray with its token.

use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::{fs, io::Write};

use k8s_openapi::api::core::v1::Secret;
use kube::Api;
use tempfile::TempDir;

use super::ray::Dashboard;
use crate::support::cluster::Space;
use crate::support::process::{Output, Process, command};
use crate::support::wait::{PATIENCE, until};
use crate::support::{free_port, repository};

/// The user that Debian's images let people sign in as.
pub(crate) const USER: &str = "debian";

/// What opens a cluster, as its Secret has it.
pub(crate) struct Opened {
    folder: TempDir,
    pub(crate) token: String,
}

impl Opened {
    /// Reads the Secret of a cluster.
    pub(crate) async fn of(space: &Space, cluster: &str) -> Self {
        let secrets: Api<Secret> = Api::namespaced(space.client.clone(), &space.name);
        let secret = secrets
            .get(&format!("{cluster}-ssh"))
            .await
            .expect("the cluster has a Secret");
        let part = |name: &str| {
            secret
                .data
                .as_ref()
                .and_then(|data| data.get(name))
                .expect("the Secret is whole")
        };
        let folder = tempfile::tempdir().expect("a folder can be made");
        let mut key = fs::File::options()
            .create_new(true)
            .write(true)
            .mode(0o600)
            .open(folder.path().join("key"))
            .expect("the key can be written");
        key.write_all(&part("ssh-privatekey").0)
            .expect("the key can be written");
        Self {
            token: String::from_utf8(part("ray-token").0.clone()).expect("the token is text"),
            folder,
        }
    }

    fn key(&self) -> PathBuf {
        self.folder.path().join("key")
    }

    /// Leads a port of this computer to the dashboard of a head.
    pub(crate) async fn tunnel(&self, head: &str, logs: &Path) -> Tunnel<'_> {
        let port = free_port();
        let mut ssh = laptop(&["ssh", "-N", "-o", "ExitOnForwardFailure=yes"]);
        ssh.args(["-L", &format!("127.0.0.1:{port}:127.0.0.1:8265"), "-i"])
            .arg(self.key())
            .arg(format!("{USER}@{head}"));
        let mut process = Process::spawn("tunnel", logs, ssh, Output::Log);
        let url = format!("http://127.0.0.1:{port}");
        until("the dashboard answers through the tunnel", PATIENCE, async || {
            if let Some(status) = process.ended() {
                panic!("the tunnel ended: {status}\n{}", process.log_tail());
            }
            let answer = Dashboard::at(&url, &self.token).get("api/version");
            answer
                .map(drop)
                .map_err(|error| format!("{error}\n{}", process.log_tail()))
        })
        .await;
        Tunnel {
            url,
            opened: self,
            _process: process,
        }
    }
}

/// A way to the dashboard, as long as it lives.
pub(crate) struct Tunnel<'a> {
    url: String,
    opened: &'a Opened,
    _process: Process,
}

impl Tunnel<'_> {
    /// The dashboard at the other end.
    pub(crate) fn dashboard(&self) -> Dashboard {
        Dashboard::at(&self.url, &self.opened.token)
    }

    /// Submits `deploy/examples/train.py` with Ray's own client, which follows the job until it ends.
    pub(crate) fn submit_training(&self, bucket: &str, logs: &Path) -> Process {
        let mut client = laptop(&["ray", "job", "submit", "--working-dir=deploy/examples"]);
        client
            .current_dir(repository())
            .env("RAY_AUTH_MODE", "token")
            .env("RAY_AUTH_TOKEN", &self.opened.token)
            .env("NO_COLOR", "1")
            .arg(format!("--address={}", self.url))
            .args(["--", "python", "train.py", "--rounds=5", "--bucket", bucket]);
        Process::spawn("ray-job-submit", logs, client, Output::Log)
    }
}

fn laptop(arguments: &[&str]) -> std::process::Command {
    let mut command = command(repository().join("deploy/sandbox/laptop"));
    command.args(arguments);
    command
}
