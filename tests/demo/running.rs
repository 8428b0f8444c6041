//! What the demo shows where machines run: Ray itself, from a manifest to a trained model, healed, asleep, awake, gone.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::process::Command;
use std::time::Duration;

use rayward::api::RayCluster;
use serde_json::json;

use crate::account::Account;
use crate::narrator::Narrator;
use crate::story::shown;
use crate::support::cluster::{Space, condition};
use crate::support::control_plane::ControlPlane;
use crate::support::fleet;
use crate::support::process::log_tail;
use crate::support::real::laptop::Opened;
use crate::support::real::machines::listed;
use crate::support::real::ray::nodes;
use crate::support::stand_in::StandIn;
use crate::support::wait::until;
use crate::support::{logs, repository, test_name};

/// How many steps [`tell`] tells.
pub(crate) const STEPS: usize = 9;
/// How long a step may take on a busy machine.
const PATIENCE: Duration = Duration::from_mins(5);
/// The cluster of the manifest.
const LAB: &str = "lab";
const MANIFEST: &str = "deploy/sandbox/lab.yaml";

/// Tells the story; with `KEEP=1` a lab is up at its end.
pub(crate) async fn tell(narrator: &mut Narrator, plane: &ControlPlane, aws: &StandIn) {
    // deploy/sandbox/demo names it.
    let space = Space::named(plane, "team-a").await;
    let account = Account::of(aws);
    let lab = Lab {
        plane,
        space: &space,
        aws,
        told: Cell::new(0),
    };
    narrator
        .step(&format!("kubectl apply -f {MANIFEST}"), async { ((), lab.apply()) })
        .await;
    narrator
        .step(
            "Machines boot and Ray starts on them, until kubectl wait --for=condition=Ready returns",
            async {
                let said = lab.comes_up().await;
                ((), said + &lab.get())
            },
        )
        .await;
    let opened = Opened::of(&space, LAB).await;
    narrator
        .step("Ray itself lists three nodes that are alive", async {
            ((), lab.three_nodes(&opened).await)
        })
        .await;
    narrator
        .step(
            "ray job submit, through an SSH tunnel: XGBoost is trained on both workers; the model is in the bucket",
            async { ((), lab.train(&opened).await) },
        )
        .await;
    narrator
        .step(
            "A worker's Ray is killed, then a worker's machine: both are healed",
            async { ((), lab.heal(&opened).await) },
        )
        .await;
    narrator
        .step(
            "Nobody uses it: with a timeout of 20 s instead of 90 minutes it is stopped",
            async { ((), lab.sleep().await) },
        )
        .await;
    narrator
        .step(
            "kubectl annotate rwc lab rayward.dev/wake=please: the same machines, and three nodes",
            async { ((), lab.wake(&opened).await) },
        )
        .await;
    narrator
        .step("kubectl delete rwc lab leaves nothing behind but the data", async {
            let deleted = lab.delete().await;
            ((), deleted + &account.check_nothing_but_buckets().await)
        })
        .await;
    narrator
        .step("The same manifest again is a lab that finds its buckets", async {
            lab.apply();
            lab.ready().await;
            ((), account.check_lab(3).await)
        })
        .await;
}

/// The lab, and how one looks at it.
struct Lab<'a> {
    plane: &'a ControlPlane,
    space: &'a Space,
    aws: &'a StandIn,
    /// How many Events were shown.
    told: Cell<usize>,
}

impl Lab<'_> {
    fn kubectl(&self, arguments: &[&str]) -> Command {
        let mut kubectl = self.plane.kubectl();
        kubectl.arg(format!("--namespace={}", self.space.name)).args(arguments);
        kubectl
    }

    fn apply(&self) -> String {
        shown(self.kubectl(&["apply", "--filename"]).arg(repository().join(MANIFEST)))
    }

    fn get(&self) -> String {
        shown(&mut self.kubectl(&["get", "rwc"]))
    }

    async fn ready(&self) {
        self.becomes("ready with both workers", |cluster| {
            let workers = cluster.status.as_ref().and_then(|status| status.workers.as_deref());
            is_true(cluster, "Ready") && workers == Some("2/2")
        })
        .await;
    }

    async fn becomes(&self, what: &str, is_so: impl Fn(&RayCluster) -> bool) {
        self.space.wait_until(LAB, what, PATIENCE, is_so).await;
    }

    /// The Events since the last time, but for those that nobody would miss.
    async fn news(&self) -> String {
        let events = self.space.events().await;
        let new = events[self.told.replace(events.len()).min(events.len())..].join("\n");
        new + "\n"
    }

    /// What the status says of the machines on the way, each text once.
    async fn comes_up(&self) -> String {
        let mut said: Vec<String> = Vec::new();
        until("the lab is ready", PATIENCE, async || {
            let cluster = self.space.cluster(LAB).await;
            let status = cluster.status.clone().unwrap_or_default();
            let head = status.head.and_then(|head| Some(format!("head: {}", head.message?)));
            let groups = status.worker_groups.into_iter().flat_map(|group| group.machines);
            let workers = groups.filter_map(|worker| Some(format!("worker: {}", worker.message?)));
            for text in head.into_iter().chain(workers) {
                if !said.contains(&text) {
                    said.push(text);
                }
            }
            if is_true(&cluster, "Ready") {
                Ok(())
            } else {
                Err(format!("{said:#?}\n{:#?}", condition(&cluster, "Ready")))
            }
        })
        .await;
        self.news().await;
        said.join("\n") + "\n"
    }

    async fn three_nodes(&self, opened: &Opened) -> String {
        let found = until("Ray lists exactly the machines", PATIENCE, async || {
            let machines = fleet::alive(self.aws).await;
            let running = machines.iter().filter(|each| each.state == "running");
            let running: BTreeSet<_> = running.map(|each| each.id.clone()).collect();
            let head = machines
                .iter()
                .find(|each| each.group.is_empty())
                .ok_or("there is no head")?;
            let found = nodes(self.aws, &head.id, &opened.token)?;
            let listed: BTreeSet<_> = found.keys().cloned().collect();
            if running.len() == 3 && listed == running {
                Ok(found)
            } else {
                Err(format!("EC2: {running:?}, Ray: {found:?}"))
            }
        })
        .await;
        let line = |(instance, node): (&String, &crate::support::real::ray::Node)| {
            let role = if node.is_head { "head" } else { "worker" };
            format!("{instance} ALIVE {role:6} node {}", &node.id[..12])
        };
        found.iter().map(line).collect::<Vec<_>>().join("\n") + "\n"
    }

    async fn train(&self, opened: &Opened) -> String {
        let cluster = self.space.cluster(LAB).await;
        let buckets = cluster.status.iter().flat_map(|status| &status.buckets);
        let models = buckets
            .filter(|bucket| bucket.purpose == "models")
            .map(|bucket| &bucket.name);
        let models = models.last().expect("there is a bucket for models");
        let logs = logs(&test_name());
        let head = fleet::head(self.aws).await;
        let tunnel = opened.tunnel(&head.public_address, &logs).await;
        let mut client = tunnel.submit_training(models, &logs);
        let mut used = None;
        let status = until("the job ends", PATIENCE, async || {
            let cluster = self.space.cluster(LAB).await;
            if let Some(idle) = condition(&cluster, "Idle").filter(|idle| idle.reason == "InUse") {
                used.get_or_insert_with(|| format!("Idle is {}: {}\n", idle.status, idle.message));
            }
            client.ended().ok_or_else(|| client.log_tail())
        })
        .await;
        assert!(status.success(), "{}", client.log_tail());
        let listed = self.aws.s3().list_objects_v2().bucket(models).send().await;
        let listed = listed.expect("the bucket can be listed");
        let mut keys = listed.contents().iter().filter_map(|object| object.key());
        let model = keys
            .find(|key| key.ends_with("/model.ubj"))
            .expect("the model is in the bucket");
        let log = log_tail(client.log());
        let result = log
            .lines()
            .find(|line| line.starts_with("trained "))
            .expect("the job tells its result");
        let used = used.expect("the job was seen while it ran");
        format!("{used}{result}\ns3://{models}/{model}\n")
    }

    async fn heal(&self, opened: &Opened) -> String {
        let head = fleet::head(self.aws).await;
        let worker = fleet::workers(self.aws).await.remove(0);
        let node = |id: &str| nodes(self.aws, &head.id, &opened.token).map(|nodes| nodes.get(id).cloned());
        let before = node(&worker.id).expect("the head answers");
        self.aws.told_in(&worker.id, "pkill -KILL -x raylet");
        until("the worker has another raylet", PATIENCE, async || {
            match node(&worker.id)? {
                Some(now) if Some(&now) != before.as_ref() => Ok(()),
                other => Err(format!("{other:?}")),
            }
        })
        .await;
        let ec2 = self.aws.ec2();
        let terminate = ec2.terminate_instances().instance_ids(&worker.id);
        terminate.send().await.expect("the machine is terminated");
        until("another machine is in its place", PATIENCE, async || {
            let workers = fleet::workers(self.aws).await;
            if workers.len() == 2 && workers.iter().all(|each| each.id != worker.id) {
                Ok(())
            } else {
                Err(format!("{workers:?}"))
            }
        })
        .await;
        let now = self.three_nodes(opened).await;
        self.ready().await;
        self.news().await + &now
    }

    async fn set_idle_timeout(&self, timeout: &str) {
        let patch = json!({"spec": {"idle": {"timeout": timeout}}});
        self.space.patch(LAB, &patch).await.expect("the change is accepted");
    }

    async fn sleep(&self) -> String {
        let worker = fleet::workers(self.aws).await.remove(0);
        self.aws.told_in(&worker.id, "echo precious >/home/debian/kept");
        self.set_idle_timeout("20s").await;
        self.becomes("stopped", |cluster| is_true(cluster, "Suspended")).await;
        for machine in fleet::alive(self.aws).await {
            assert_eq!(machine.state, "stopped", "{machine:?}");
        }
        self.news().await + &self.get()
    }

    async fn wake(&self, opened: &Opened) -> String {
        let before = fleet::ids(&fleet::alive(self.aws).await);
        // Time to look at it.
        self.set_idle_timeout("90m").await;
        shown(&mut self.kubectl(&["annotate", "rwc", LAB, "rayward.dev/wake=please"]));
        let found = self.three_nodes(opened).await;
        self.ready().await;
        assert_eq!(
            fleet::ids(&fleet::alive(self.aws).await),
            before,
            "the same machines run again"
        );
        let mut kept = String::new();
        for worker in fleet::workers(self.aws).await {
            kept += &self
                .aws
                .told_in(&worker.id, "cat /home/debian/kept 2>/dev/null || true");
        }
        assert_eq!(kept, "precious\n", "the worker's disk is as it was");
        self.news().await + &found + "the file on a worker's disk is still there\n" + &self.get()
    }

    async fn delete(&self) -> String {
        let deleted = shown(&mut self.kubectl(&["delete", "rwc", LAB, "--wait=false"]));
        self.space.wait_until_gone(LAB, PATIENCE).await;
        let running = listed(self.aws).into_iter().filter(|each| each["power"] == "on");
        assert_eq!(running.count(), 0, "no machine runs");
        self.news().await;
        deleted
    }
}

fn is_true(cluster: &RayCluster, name: &str) -> bool {
    condition(cluster, name)
        .is_some_and(|each| each.status == "True" && each.observed_generation == cluster.metadata.generation)
}
