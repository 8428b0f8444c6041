//! The built program, `rayward run`, as a process that a test starts, stops and kills.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::Duration;

use rustix::process::Signal;

use super::control_plane::ControlPlane;
use super::process::{Output, Process, command};
use super::stand_in::StandIn;
use super::wait::{PATIENCE, until};
use super::{free_port, logs, test_name};

/// Flags that make the controller look often enough for a test.
const QUICK: &[&str] = &[
    "--sweep-interval=1s",
    "--network-sweep-interval=1s",
    "--consistency-window=1s",
    "--look-interval=1s",
];

/// A controller that runs, or that was ended and can be started again with the same settings.
pub(crate) struct Controller {
    process: Option<Process>,
    arguments: Vec<OsString>,
    environment: Vec<(String, OsString)>,
    admin: String,
    logs: PathBuf,
}

impl Controller {
    /// Starts one that looks after `namespace` alone (after all, if it is empty: for a control plane of one's own),
    /// with short intervals, and waits until it is ready.
    pub(crate) async fn start(plane: &ControlPlane, stand_in: &StandIn, namespace: &str) -> Self {
        Self::start_with(plane, stand_in, namespace, &[]).await
    }

    /// The same with further flags; they win over the ones for tests.
    pub(crate) async fn start_with(plane: &ControlPlane, stand_in: &StandIn, namespace: &str, flags: &[&str]) -> Self {
        let mut controller = Self::prepare(plane, stand_in, namespace, flags);
        controller.spawn();
        controller.wait_until_ready().await;
        controller
    }

    /// Everything but the start.
    pub(crate) fn prepare(plane: &ControlPlane, stand_in: &StandIn, namespace: &str, flags: &[&str]) -> Self {
        let admin = format!("127.0.0.1:{}", free_port());
        let mut arguments: Vec<OsString> = vec!["run".into()];
        arguments.push(format!("--admin-address={admin}").into());
        if !namespace.is_empty() {
            arguments.push(format!("--watch-namespace={namespace}").into());
        }
        let names = |flag: &str| flag.split('=').next().map(str::to_owned);
        let given: Vec<_> = flags.iter().map(|flag| names(flag)).collect();
        arguments.extend(
            QUICK
                .iter()
                .filter(|flag| !given.contains(&names(flag)))
                .map(Into::into),
        );
        arguments.extend(flags.iter().map(Into::into));
        let mut environment: Vec<(String, OsString)> = stand_in
            .environment()
            .iter()
            .map(|(name, value)| ((*name).to_owned(), value.into()))
            .collect();
        environment.push(("KUBECONFIG".to_owned(), plane.kubeconfig().into()));
        Self {
            process: None,
            arguments,
            environment,
            admin,
            logs: logs(&test_name()),
        }
    }

    /// The same as another user of the API server.
    pub(crate) fn with_kubeconfig(mut self, kubeconfig: &Path) -> Self {
        self.environment.retain(|(name, _)| name != "KUBECONFIG");
        self.environment.push(("KUBECONFIG".to_owned(), kubeconfig.into()));
        self
    }

    /// Starts the program without waiting for it.
    pub(crate) fn spawn(&mut self) {
        assert!(self.process.is_none(), "the controller runs already");
        let mut program = command(env!("CARGO_BIN_EXE_rayward"));
        program
            .args(&self.arguments)
            .envs(self.environment.iter().map(|(name, value)| (name, value)));
        self.process = Some(Process::spawn("controller", &self.logs, program, Output::Log));
    }

    /// Waits until `/readyz` says so.
    pub(crate) async fn wait_until_ready(&mut self) {
        let url = self.admin_url("readyz");
        until("the controller is ready", PATIENCE, async || {
            if let Some(status) = self.process.as_mut().expect("the controller was started").ended() {
                panic!("the controller ended: {status}\n{}", self.log_tail());
            }
            ureq::get(&url)
                .call()
                .map(drop)
                .map_err(|error| format!("{error}\n{}", self.log_tail()))
        })
        .await;
    }

    /// An address of its admin server, such as `/metrics`.
    pub(crate) fn admin_url(&self, path: &str) -> String {
        format!("http://{}/{path}", self.admin)
    }

    /// What `/metrics` says.
    pub(crate) fn metrics(&self) -> String {
        let mut response = ureq::get(self.admin_url("metrics"))
            .call()
            .expect("the metrics are served");
        response.body_mut().read_to_string().expect("the metrics are text")
    }

    /// Ends it as Kubernetes does, with SIGTERM; panics when it has not ended by the deadline.
    pub(crate) fn stop(&mut self, deadline: Duration) -> ExitStatus {
        let mut process = self.process.take().expect("the controller runs");
        process.signal(Signal::TERM);
        process.wait(deadline)
    }

    /// Ends it as `kill -9` does.
    pub(crate) fn kill(&mut self) {
        self.process.take().expect("the controller runs").kill();
    }

    /// Ends it, if it runs.
    pub(crate) fn end(&mut self) {
        self.process = None;
    }

    /// Starts it again after [`Self::stop`] or [`Self::kill`], and waits until it is ready.
    pub(crate) async fn restart(&mut self) {
        self.spawn();
        self.wait_until_ready().await;
    }

    /// Whether it runs.
    pub(crate) fn runs(&mut self) -> bool {
        self.process.as_mut().is_some_and(|process| process.ended().is_none())
    }

    /// Its process id.
    pub(crate) fn id(&self) -> u32 {
        self.process.as_ref().expect("the controller runs").id()
    }

    /// Where it logs, all its starts in one file.
    pub(crate) fn log(&self) -> PathBuf {
        self.logs.join("controller.log")
    }

    /// The end of its log, for messages.
    pub(crate) fn log_tail(&self) -> String {
        super::process::log_tail(Path::new(&self.log()))
    }
}
