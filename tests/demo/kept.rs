//! `make demo KEEP=1`: the sandbox stays when the story is told, until `make demo-down`.

use std::fs::{self, File};
use std::io::Write;

use crate::support::control_plane::ControlPlane;
use crate::support::repository;
use crate::support::stand_in::StandIn;

/// Where whoever comes in by `deploy/sandbox/enter` gets the environment from.
const ENVIRONMENT: &str = "/run/rayward/environment";

/// Waits to be ended when the person asked for it; returns at once otherwise.
pub(crate) async fn keep(plane: &ControlPlane, stand_in: &StandIn) {
    // `deploy/sandbox/demo` waits for this file.
    let Some(told) = std::env::var_os("RAYWARD_DEMO_TOLD") else {
        return;
    };
    let mut environment = File::options()
        .append(true)
        .open(ENVIRONMENT)
        .expect("this runs inside the boundary");
    let programs = repository().join("target/sandbox/bin");
    writeln!(environment, "export KUBECONFIG='{}'", plane.kubeconfig().display()).expect("it can be written");
    writeln!(environment, "export PATH='{}':\"$PATH\"", programs.display()).expect("it can be written");
    for (name, value) in stand_in.environment() {
        writeln!(environment, "export {name}='{value}'").expect("it can be written");
    }
    fs::write(told, "").expect("the file can be written");
    // SIGTERM ends this process and, as the first one's child, everything else.
    std::future::pending::<()>().await;
}
