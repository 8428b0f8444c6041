//! What the demo shows where machines cannot run: they are records of EC2's, and light Ray answers for them. The lab
//! from a manifest to machines, what is taken away coming back, and nothing left behind.

use std::process::Command;
use std::time::Duration;

use rayward::api::RayCluster;
use serde_json::json;

use crate::account::Account;
use crate::narrator::Narrator;
use crate::story::shown;
use crate::support::cluster::Space;
use crate::support::control_plane::ControlPlane;
use crate::support::repository;
use crate::support::stand_in::StandIn;
use crate::support::wait::until;

/// How long a step may take on a busy machine.
const PATIENCE: Duration = Duration::from_mins(3);
/// The cluster of the example.
const LAB: &str = "lab";

/// How many steps [`tell`] tells.
pub(crate) const STEPS: usize = 10;

/// Tells the story of a lab whose machines are records, and returns the namespaces of the labs that it leaves.
pub(crate) async fn tell(narrator: &mut Narrator, plane: &ControlPlane, stand_in: &StandIn) {
    let (space, another) = (Space::named(plane, "team-a").await, Space::named(plane, "team-b").await);
    let aws = Account::of(stand_in);
    let lab = Lab {
        plane,
        space: &space,
        aws: &aws,
    };

    narrator
        .step("kubectl apply -f deploy/examples/lab.yaml", async { ((), lab.apply()) })
        .await;
    narrator
        .step("kubectl wait --for=condition=Ready rwc/lab", async {
            lab.wait("Ready").await;
            ((), lab.get())
        })
        .await;
    narrator
        .step("AWS holds exactly the lab", async { ((), aws.check_lab(3).await) })
        .await;
    narrator
        .step(
            "Somebody terminates a worker, removes the route and opens a port: it all comes back",
            async { ((), lab.take_away_and_see_it_back().await) },
        )
        .await;
    narrator
        .step("Three workers are asked for", async {
            let patch = json!({"spec": {"workerGroups": [{"name": "cpu", "replicas": 3}]}});
            lab.space.patch(LAB, &patch).await.expect("the change is accepted");
            lab.wait("Ready").await;
            aws.check_lab(4).await;
            ((), lab.get())
        })
        .await;
    narrator
        .step(
            "suspend: true stops every machine and keeps the disks; suspend: false starts the same ones",
            async { ((), lab.suspend_and_resume().await) },
        )
        .await;
    narrator
        .step("A manifest that breaks a rule is refused at the door", async {
            ((), lab.refused())
        })
        .await;
    narrator
        .step("kubectl delete rwc lab leaves nothing behind but the data", async {
            ((), lab.delete().await)
        })
        .await;
    narrator
        .step("The same manifest again finds its buckets", async {
            lab.apply();
            lab.wait("Ready").await;
            ((), aws.check_lab(3).await)
        })
        .await;
    narrator
        .step(
            "The same manifest in another namespace is a lab of its own, beside the first",
            async { ((), lab.again_in(&another).await) },
        )
        .await;
}

/// The lab, and how one looks at it.
struct Lab<'a> {
    plane: &'a ControlPlane,
    space: &'a Space,
    aws: &'a Account,
}

impl Lab<'_> {
    fn kubectl(&self, arguments: &[&str]) -> Command {
        self.kubectl_in(self.space, arguments)
    }

    fn kubectl_in(&self, space: &Space, arguments: &[&str]) -> Command {
        let mut kubectl = self.plane.kubectl();
        kubectl.arg(format!("--namespace={}", space.name)).args(arguments);
        kubectl
    }

    fn apply(&self) -> String {
        self.apply_in(self.space)
    }

    fn apply_in(&self, space: &Space) -> String {
        let manifest = repository().join("deploy/examples/lab.yaml");
        shown(self.kubectl_in(space, &["apply", "--filename"]).arg(manifest))
    }

    fn get(&self) -> String {
        shown(&mut self.kubectl(&["get", "rwc"]))
    }

    async fn wait(&self, condition: &str) -> RayCluster {
        self.space.wait_for(LAB, condition, "True", PATIENCE).await
    }

    async fn take_away_and_see_it_back(&self) -> String {
        let before = self.space.events().await.len();
        let taken = self.aws.take_away().await;
        until("what was taken away is back", PATIENCE, async || {
            self.aws.is_back(&taken).await
        })
        .await;
        self.wait("Ready").await;
        let told = self.space.events().await;
        told[before.min(told.len())..].join("\n")
    }

    async fn suspend_and_resume(&self) -> String {
        let before = self.aws.machines().await;
        let suspend = |wanted: bool| json!({"spec": {"suspend": wanted}});
        self.space
            .patch(LAB, &suspend(true))
            .await
            .expect("the change is accepted");
        self.wait("Suspended").await;
        let stopped = self.get();
        self.space
            .patch(LAB, &suspend(false))
            .await
            .expect("the change is accepted");
        self.wait("Ready").await;
        assert_eq!(self.aws.machines().await, before, "the same machines run again");
        stopped + &self.get()
    }

    fn refused(&self) -> String {
        let manifest = repository().join("deploy/examples/lab.yaml");
        let text = std::fs::read_to_string(manifest).expect("the example is there");
        let broken = text
            .replace("10.0.1.0/24", "10.9.1.0/24")
            .replace("name: lab", "name: broken");
        let file = std::env::temp_dir().join("broken.yaml");
        std::fs::write(&file, broken).expect("the file can be written");
        let output = self
            .kubectl(&["apply", "--filename"])
            .arg(&file)
            .output()
            .expect("kubectl starts");
        assert!(!output.status.success(), "a subnet outside the VPC is refused");
        String::from_utf8_lossy(&output.stderr).trim().to_owned()
    }

    async fn again_in(&self, another: &Space) -> String {
        let before = self.aws.machines().await;
        self.apply_in(another);
        another.wait_for(LAB, "Ready", "True", PATIENCE).await;
        let after = self.aws.machines().await;
        assert_eq!(after.len(), 2 * before.len(), "two labs: {after:?}");
        assert!(after.is_superset(&before), "the first lab is as it was");
        shown(self.plane.kubectl().args(["get", "rwc", "--all-namespaces"]))
    }

    async fn delete(&self) -> String {
        let deleted = shown(&mut self.kubectl(&["delete", "rwc", LAB, "--wait=false"]));
        self.space.wait_until_gone(LAB, PATIENCE).await;
        deleted + &self.aws.check_nothing_but_buckets().await
    }
}
