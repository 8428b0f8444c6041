//! What the demo shows.

use crate::kept::keep;
use crate::narrator::Narrator;
use crate::support::cluster::install_crd;
use crate::support::control_plane::ControlPlane;
use crate::support::stand_in::StandIn;

/// Tells the story; panics where something that it promises is not seen.
pub(crate) fn tell() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(story());
}

async fn story() {
    let mut narrator = Narrator::new(3);
    let plane = narrator
        .step("A Kubernetes control plane starts", async {
            let mut plane = ControlPlane::start("demo").await;
            plane.start_controller_manager().await;
            (plane, String::new())
        })
        .await;
    narrator
        .step("It learns what a RayCluster is", async {
            install_crd(&plane.client().await).await;
            let printed = plane
                .kubectl()
                .args(["api-resources", "--api-group=rayward.dev"])
                .output();
            let printed = printed.expect("kubectl starts").stdout;
            ((), String::from_utf8(printed).expect("kubectl prints text"))
        })
        .await;
    let stand_in = narrator
        .step("AWS is stood in for", async {
            let stand_in = StandIn::start();
            let shown = format!("EC2, S3, SSM and STS answer at {}", stand_in.url());
            (stand_in, shown)
        })
        .await;
    narrator.end();
    keep(&plane, &stand_in).await;
}
