//! What the demo shows: on machines that run, or, where they cannot, on their records.

use std::process::Command;

use crate::kept::keep;
use crate::narrator::Narrator;
use crate::support::cluster::install_crd;
use crate::support::control_plane::ControlPlane;
use crate::support::controller::Controller;
use crate::support::real;
use crate::support::stand_in::StandIn;
use crate::{records, running};

/// The steps before the paths part.
const STEPS: usize = 3;
/// Flags that make the story short: what takes minutes by default takes seconds.
const QUICK: [&str; 8] = [
    "--egress-cidrs=198.18.0.1/32",
    "--look-interval=2s",
    "--join-timeout=3m",
    "--lost-after=5s",
    "--heal-window=20s",
    "--drain-timeout=10s",
    "--unknown-timeout=1m",
    "--idle-proof=10s",
];

/// Tells the story; panics where something that it promises is not seen.
pub(crate) fn tell() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(story());
}

async fn story() {
    let images = real::images();
    let steps = if images.is_ok() { running::STEPS } else { records::STEPS };
    let mut narrator = Narrator::new(STEPS + steps);
    let plane = narrator
        .step(
            "A Kubernetes control plane starts, and learns what a RayCluster is",
            async {
                let mut plane = ControlPlane::start("demo").await;
                plane.start_controller_manager().await;
                install_crd(&plane.client().await).await;
                let resources = shown(plane.kubectl().args(["api-resources", "--api-group=rayward.dev"]));
                (plane, resources)
            },
        )
        .await;
    let mut stand_in = narrator
        .step("AWS is stood in for", async {
            let (stand_in, machines) = match &images {
                Ok(images) => (
                    real::stand_in(images),
                    "each instance will run as a small Linux machine",
                ),
                Err(_) => (
                    StandIn::start(),
                    "instances are records, and a light Ray answers for them",
                ),
            };
            stand_in.make_profile_with_role(real::PROFILE);
            let shown = format!("EC2, S3, SSM and STS answer at {}; {machines}", stand_in.url());
            (stand_in, shown)
        })
        .await;
    let mut controller = narrator
        .step("Rayward starts", async {
            let all_namespaces = "";
            let controller = Controller::start_with(&plane, &stand_in, all_namespaces, &QUICK).await;
            (controller, format!("rayward run {}", QUICK.join(" ")))
        })
        .await;
    match &images {
        Ok(_) => running::tell(&mut narrator, &plane, &stand_in).await,
        Err(_) => records::tell(&mut narrator, &plane, &stand_in).await,
    }
    narrator.end();
    if let Err(why) = images {
        println!(
            "Left out, since {why}: as root on Debian or Ubuntu each instance is a machine that boots, runs Ray, \
             trains a model, is killed and healed, falls asleep when nobody uses it, and wakes up."
        );
    }
    keep(&plane, &stand_in).await;
    controller.end();
    stand_in.end();
}

/// What a command prints; it has to succeed.
pub(crate) fn shown(command: &mut Command) -> String {
    let output = command.output().expect("the program starts");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {errors}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}
