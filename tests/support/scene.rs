//! What most tests begin with: an empty account, a namespace, and a controller that looks after it.

use std::process::Command;

use super::account::Holdings;
use super::cluster::Space;
use super::control_plane::ControlPlane;
use super::controller::Controller;
use super::repository;
use super::stand_in::StandIn;

/// See the module.
pub(crate) struct Scene {
    // Dropped in this order: the controller before what it works on.
    pub(crate) controller: Controller,
    pub(crate) aws: StandIn,
    pub(crate) space: Space,
    /// What the account held before: what every account has.
    pub(crate) before: Holdings,
    plane: &'static ControlPlane,
}

impl Scene {
    /// Starts all of it.
    pub(crate) async fn start() -> Self {
        Self::start_with(&[]).await
    }

    /// The same with further flags of the controller.
    pub(crate) async fn start_with(flags: &[&str]) -> Self {
        Self::start_on(StandIn::start(), flags).await
    }

    /// The same with a stand-in that was started already.
    pub(crate) async fn start_on(aws: StandIn, flags: &[&str]) -> Self {
        let plane = ControlPlane::shared().await;
        let before = Holdings::of(&aws).await;
        let space = Space::create(plane).await;
        let controller = Controller::start_with(plane, &aws, &space.name, flags).await;
        Self {
            controller,
            aws,
            space,
            before,
            plane,
        }
    }

    /// What is there now and was not before, by kind.
    pub(crate) async fn made(&self) -> std::collections::BTreeMap<&'static str, Vec<String>> {
        Holdings::of(&self.aws).await.beyond(&self.before)
    }

    /// Runs `kubectl` in the namespace, from the repository's root, and returns what it prints.
    pub(crate) fn kubectl(&self, arguments: &[&str]) -> String {
        let mut kubectl: Command = self.plane.kubectl();
        kubectl
            .current_dir(repository())
            .args(["--namespace", &self.space.name])
            .args(arguments);
        let output = kubectl.output().expect("kubectl starts");
        assert!(
            output.status.success(),
            "kubectl {arguments:?}: {}\n{}",
            String::from_utf8_lossy(&output.stderr),
            self.controller.log_tail()
        );
        String::from_utf8(output.stdout).expect("kubectl prints UTF-8")
    }
}
