//! The lab on machines that run, with Rayward as it comes: its own intervals, and not those of tests.

use std::{collections::BTreeSet, time::Duration};

use crate::support::{
    account::machines, cluster::Space, control_plane::ControlPlane, controller::Controller, fleet, process::log_tail,
    real, stand_in::StandIn, wait::until,
};

/// Name of the cluster.
pub(crate) const NAME: &str = "lab";
pub(crate) const WORKERS: u32 = 2;
/// How long anything may take.
pub(crate) const PATIENCE: Duration = Duration::from_mins(4);
const FLAGS: [&str; 4] = [
    "--egress-cidrs=198.18.0.1/32",
    "--sweep-interval=15s",
    "--network-sweep-interval=60s",
    "--consistency-window=60s",
];

/// See the module.
pub(crate) struct Lab {
    pub(crate) aws: StandIn,
    pub(crate) space: Space,
    controller: Controller,
    _plane: ControlPlane,
}

impl Lab {
    /// Everything but the cluster; or why there can be no machines here.
    pub(crate) async fn prepare(name: &str) -> Result<Self, &'static str> {
        let images = real::images()?;
        let plane = ControlPlane::start(name).await;
        let aws = real::stand_in(&images);
        aws.make_instance_profile(real::PROFILE);
        let space = Space::create(&plane).await;
        let controller = Controller::start_with(&plane, &aws, &space.name, &FLAGS).await;
        Ok(Self {
            aws,
            space,
            controller,
            _plane: plane,
        })
    }

    /// Does what `kubectl apply` does.
    pub(crate) async fn apply(&self) {
        let lab = real::lab(WORKERS).to_string();
        self.space.apply(&lab).await.expect("the lab is a good RayCluster");
    }

    /// Waits until all workers have joined.
    pub(crate) async fn wait_until_joined(&self) {
        let joined = self.space.wait_until(NAME, "all workers have joined", PATIENCE, |lab| {
            let groups = lab.status.iter().flat_map(|status| &status.worker_groups);
            groups.map(|group| group.joined).sum::<u32>() == WORKERS
        });
        joined.await;
    }

    /// Deletes it, and waits until nothing of it runs.
    pub(crate) async fn delete(&self) {
        self.space.delete(NAME).await;
        self.space.wait_until_gone(NAME, PATIENCE).await;
    }

    /// The workers' ids.
    pub(crate) async fn workers(&self) -> BTreeSet<String> {
        fleet::ids(&fleet::workers(&self.aws).await)
    }

    /// Waits until no machine is left.
    pub(crate) async fn wait_until_empty(&self) {
        until("no machine is left", PATIENCE, async || {
            let left = machines(&self.aws).await.len();
            if left == 0 {
                Ok(())
            } else {
                Err(format!("{left} machines; {}", log_tail(self.aws.log())))
            }
        })
        .await;
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        // In good order, so that nobody heals what goes.
        self.controller.end();
        self.aws.end();
    }
}
