//! What goes wrong with machines of a cluster that is at work, most of it at the same time: each fault is told with its
//! cause and with what a person can do, heals where it can, and costs no machine that works.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use rayward::api::{Membership, RayCluster, WorkerStatus};
use serde_json::json;

use crate::support::cluster::condition;
use crate::support::fleet::{self, Machine, ids, launches};
use crate::support::real::{Real, lab, took};
use crate::support::sweeps::sweeps;

/// How long machines may take to boot, to fail or to come back.
const DEADLINE: Duration = Duration::from_mins(3);
/// Machines of the group `broken` have something to complain of.
const SCRIPT: &str = "grep -q \"^group='broken'\" /usr/local/bin/rayward-node || exit 0
echo 'the licence server does not answer' >&2
exit 7";
/// A reached worker that is lost has its Ray restarted soon; its machine is not rebooted while that may still help.
const FLAGS: [&str; 4] = [
    "--join-timeout=40s",
    "--repeated-failures=2",
    "--lost-after=12s",
    "--heal-window=30s",
];

#[tokio::test(flavor = "multi_thread")]
async fn faults_of_machines_are_told_and_heal_and_cost_no_machine_that_works() {
    let Some(real) = Real::start(&FLAGS).await else { return };
    let began = Instant::now();
    let faulty = Faulty::comes_up(&real).await;
    took("from apply to three of five workers joined", began);
    let [frozen, chilled, full] = &faulty.workers[..] else {
        panic!("three workers were asked for");
    };
    tokio::join!(
        faulty.gives_up_a_group_whose_script_fails(),
        faulty.reboots_a_frozen_worker(&frozen.id),
        faulty.waits_for_a_worker_that_is_frozen_shortly(&chilled.id),
        faulty.tells_of_a_full_disk(&full.id),
    );
    faulty.asks_whether_another_host_key_is_right().await;
    faulty.is_ready_once_its_spec_is_right().await;
    faulty.kept_what_works().await;
    took("all of it", began);
}

/// A lab with three workers, and a group whose machines cannot be set up.
struct Faulty<'a> {
    real: &'a Real,
    head: Machine,
    workers: Vec<Machine>,
}

impl<'a> Faulty<'a> {
    async fn comes_up(real: &'a Real) -> Self {
        let (space, aws) = (&real.scene.space, &real.scene.aws);
        // One that does not shut down is cut off soon.
        aws.set(&json!({"patience_seconds": 3.0}));
        let mut manifest = lab(3);
        manifest["spec"]["setupScript"] = json!(SCRIPT);
        let mut broken = manifest["spec"]["workerGroups"][0].clone();
        broken["name"] = json!("broken");
        broken["replicas"] = json!(2);
        let groups = manifest["spec"]["workerGroups"].as_array_mut();
        groups.expect("the lab has groups").push(broken);
        let manifest = serde_yaml::to_string(&manifest).expect("YAML can be written");
        space.apply(&manifest).await.expect("the lab is accepted");
        space
            .wait_until("lab", "three workers joined", DEADLINE, |cluster| {
                let status = cluster.status.as_ref();
                status.is_some_and(|status| status.worker_groups.iter().any(|group| group.joined == 3))
            })
            .await;
        let mut workers = fleet::workers(aws).await;
        workers.retain(|worker| worker.group == "cpu");
        let head = fleet::head(aws).await;
        Self { real, head, workers }
    }

    async fn gives_up_a_group_whose_script_fails(&self) {
        let aws = &self.real.scene.aws;
        let cluster = self
            .becomes("no further worker is tried", |cluster| {
                says(
                    cluster,
                    "Stalled",
                    "2 machines of group broken in a row never joined Ray",
                )
            })
            .await;
        for words in [
            "running the set-up script failed",
            "the licence server does not answer",
            "correct what the spec says of them",
        ] {
            assert!(says(&cluster, "Stalled", words), "{words}: {cluster:?}");
        }
        self.told("RepeatedFailure", &["the licence server does not answer"])
            .await;
        let tries = launches(aws).len();
        sweeps(aws, 5).await;
        assert_eq!(launches(aws).len(), tries, "no further machine is paid for");
    }

    async fn reboots_a_frozen_worker(&self, id: &str) {
        let frozen = Instant::now();
        self.real.scene.aws.freeze(id, true);
        self.becomes("the frozen worker is missing", |cluster| {
            says(cluster, "WorkersReady", id) && says(cluster, "WorkersReady", "it cannot be reached over SSH")
        })
        .await;
        took("from a worker's freezing to its being told", frozen);
        self.told("InstancesRebooted", &[id, "it cannot be reached over SSH"])
            .await;
        self.joins(id).await;
        took("from a worker's freezing to its return", frozen);
    }

    async fn waits_for_a_worker_that_is_frozen_shortly(&self, id: &str) {
        self.real.scene.aws.freeze(id, true);
        self.becomes("the worker is missing", |cluster| {
            worker(cluster, id).is_some_and(|worker| worker.missing_since.is_some())
        })
        .await;
        self.real.scene.aws.freeze(id, false);
        let thawed = Instant::now();
        self.joins(id).await;
        took("from a worker's thaw to its return", thawed);
        self.was_not_rebooted(id).await;
    }

    async fn tells_of_a_full_disk(&self, id: &str) {
        let aws = &self.real.scene.aws;
        // A head that works, and a worker that lost its Ray.
        aws.fill_disk(&self.head.id, true);
        aws.fill_disk(id, true);
        aws.told_in(id, "pkill -KILL -x raylet");
        let cluster = self
            .becomes("the full disk of the head is told", |cluster| {
                condition(cluster, "HeadReady").is_some_and(|head| head.reason == "DiskFull")
            })
            .await;
        assert!(says(&cluster, "HeadReady", "make room on it"), "{cluster:?}");
        self.told("DiskFull", &[&self.head.id, "make room on it"]).await;
        aws.fill_disk(&self.head.id, false);
        self.becomes("the full disk of the worker is told", |cluster| {
            says(cluster, "WorkersReady", id) && says(cluster, "WorkersReady", "its disk is full")
        })
        .await;
        self.told("RestartRay", &[id, "its disk is full"]).await;
        aws.fill_disk(id, false);
        let freed = Instant::now();
        self.joins(id).await;
        took("from room on a worker's disk to its return", freed);
        self.was_not_rebooted(id).await;
    }

    async fn asks_whether_another_host_key_is_right(&self) {
        let aws = &self.real.scene.aws;
        // The connection that is kept knows the key of before.
        let script =
            "rm /etc/ssh/ssh_host_* && ssh-keygen -q -A && systemctl restart ssh && pkill -KILL -f '^sshd: rayward'
            for key in /etc/ssh/ssh_host_*.pub; do ssh-keygen -l -f $key; done";
        let keys = aws.told_in(&self.head.id, script);
        let keys: Vec<&str> = keys.lines().filter_map(|key| key.split(' ').nth(1)).collect();
        let cluster = self
            .becomes("the other key is told", |cluster| {
                condition(cluster, "Stalled").is_some_and(|stalled| stalled.reason == "HostKeyChanged")
            })
            .await;
        let head = condition(&cluster, "HeadReady").expect("it is always there");
        assert_eq!(
            (head.status.as_str(), head.reason.as_str()),
            ("Unknown", "HostKeyChanged")
        );
        // Of its keys it is asked for one.
        let remedy = |key: &str| format!("rayward.dev/accept-host-key={key}");
        let shown = keys.iter().find(|key| head.message.contains(&remedy(key)));
        let shown = shown.unwrap_or_else(|| panic!("{head:?} names none of {keys:?}"));
        self.told("HostKeyChanged", &[&remedy(shown)]).await;
        let accepted = json!({"metadata": {"annotations": {"rayward.dev/accept-host-key": shown}}});
        let space = &self.real.scene.space;
        space.patch("lab", &accepted).await.expect("the annotation is accepted");
        self.becomes("the key is accepted", |cluster| {
            condition(cluster, "HeadReady").is_some_and(|head| head.status == "True")
        })
        .await;
    }

    async fn is_ready_once_its_spec_is_right(&self) {
        let groups = json!({"spec": {"workerGroups": lab(3)["spec"]["workerGroups"]}});
        let space = &self.real.scene.space;
        space.patch("lab", &groups).await.expect("the change is accepted");
        space.wait_for("lab", "Ready", "True", DEADLINE).await;
    }

    async fn kept_what_works(&self) {
        let scene = &self.real.scene;
        let mut kept: BTreeSet<String> = ids(&self.workers);
        kept.insert(self.head.id.clone());
        assert_eq!(ids(&fleet::alive(&scene.aws).await), kept);
        for call in scene.aws.changes() {
            assert_ne!(call.action, "StopInstances");
            if call.action == "TerminateInstances" {
                assert!(kept.iter().all(|id| !fleet::names(&call.params, id)), "{call:?}");
            }
        }
        let cluster = scene.space.cluster("lab").await;
        assert!(condition(&cluster, "Suspended").is_none(), "{cluster:?}");
    }

    async fn becomes(&self, what: &str, is_so: impl Fn(&RayCluster) -> bool) -> RayCluster {
        self.real.scene.space.wait_until("lab", what, DEADLINE, is_so).await
    }

    /// Waits until a worker is in Ray.
    async fn joins(&self, id: &str) {
        self.becomes(&format!("{id} is in Ray"), |cluster| {
            worker(cluster, id).is_some_and(|worker| worker.ray == Some(Membership::Joined))
        })
        .await;
    }

    /// Waits for an Event of this reason with all of these words.
    async fn told(&self, reason: &str, words: &[&str]) {
        let begin = format!("{reason}: ");
        let space = &self.real.scene.space;
        let is_it = |event: &str| event.starts_with(&begin) && words.iter().all(|words| event.contains(words));
        space.wait_for_event(&format!("{reason} {words:?}"), is_it).await;
    }

    async fn was_not_rebooted(&self, id: &str) {
        let cluster = self.real.scene.space.cluster("lab").await;
        let step = worker(&cluster, id).and_then(|worker| worker.last_step.as_ref());
        assert!(step.is_none_or(|step| step.step == "RestartRay"), "{step:?}");
    }
}

/// Whether a condition's message has these words.
fn says(cluster: &RayCluster, name: &str, words: &str) -> bool {
    condition(cluster, name).is_some_and(|condition| condition.message.contains(words))
}

fn worker<'a>(cluster: &'a RayCluster, id: &str) -> Option<&'a WorkerStatus> {
    let groups = &cluster.status.as_ref()?.worker_groups;
    let mut machines = groups.iter().flat_map(|group| &group.machines);
    machines.find(|machine| machine.instance_id == id)
}
