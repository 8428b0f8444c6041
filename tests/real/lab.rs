//! The life of a lab: it comes up, trains, loses whatever it can lose, falls asleep, wakes up, and goes.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use rayward::api::RayCluster;
use serde_json::json;

use crate::support::account::{Holdings, KEPT};
use crate::support::cluster::condition;
use crate::support::fleet::{self, Machine, ids, launches};
use crate::support::logs;
use crate::support::real::laptop::Opened;
use crate::support::real::machines::listed;
use crate::support::real::ray::{Node, nodes};
use crate::support::real::{Real, lab, say, took};
use crate::support::sweeps::{last_call, sweeps_between};
use crate::support::test_name;
use crate::support::wait::until;

/// How long a step may take that boots machines and starts Ray on them, on a busy computer.
const DEADLINE: Duration = Duration::from_mins(3);
/// From the last machine's running to all nodes in Ray, beyond the slowest node's own `ray start`. On a computer that
/// has nothing else to do it is 10 s.
const JOIN: Duration = Duration::from_secs(30);
/// From the end of a raylet by SIGKILL to its machine's next one. On such a computer it is 20 s.
const RAYLET: Duration = Duration::from_secs(40);
/// From the start of a head's new Ray to that of its last worker. Ray's own workers notice after 50 s; ours do when
/// they look, every 15 s, and then start within seconds.
const RETURN: Duration = Duration::from_secs(40);
/// How long after the end of a job its client ends, on a busy computer.
const CLIENT_LAG: Duration = Duration::from_secs(10);

#[tokio::test(flavor = "multi_thread")]
async fn a_lab_lives_through_all_of_it() {
    let Some(real) = Real::start(&[]).await else { return };
    let lab = Lab::comes_up(&real).await;
    lab.trains_and_is_not_idle_meanwhile().await;
    lab.heals_a_killed_raylet().await;
    lab.replaces_a_terminated_worker().await;
    lab.heals_a_worker_without_cable().await;
    lab.survives_its_gcs().await;
    lab.gets_a_new_head().await;
    lab.sleeps_and_wakes().await;
    lab.goes().await;
}

/// A lab with two workers.
struct Lab<'a> {
    real: &'a Real,
    opened: Opened,
}

impl<'a> Lab<'a> {
    async fn comes_up(real: &'a Real) -> Self {
        let space = &real.scene.space;
        let manifest = serde_yaml::to_string(&lab(2)).expect("YAML can be written");
        space.apply(&manifest).await.expect("the lab is accepted");
        let aws = &real.scene.aws;
        until("three machines run", DEADLINE, async || {
            let machines = fleet::alive(aws).await;
            let running = machines.iter().filter(|machine| machine.state == "running").count();
            if running == 3 {
                Ok(())
            } else {
                Err(format!("{machines:?}"))
            }
        })
        .await;
        let running = Instant::now();
        let opened = Opened::of(space, "lab").await;
        let lab = Self { real, opened };
        let nodes = lab.wait_for_nodes("all machines are nodes of Ray", |_| true).await;
        lab.ready().await;
        let joined = took("from running machines to all workers joined", running);
        let slowest = lab.slowest_start(&nodes);
        say(&format!(
            "measured: the slowest node's own `ray start`: {:.1} s",
            slowest.as_secs_f64()
        ));
        assert!(joined < slowest + JOIN, "{joined:?} with a `ray start` of {slowest:?}");
        lab
    }

    async fn trains_and_is_not_idle_meanwhile(&self) {
        let scene = &self.real.scene;
        let cluster = scene.space.cluster("lab").await;
        let buckets = cluster.status.iter().flat_map(|status| &status.buckets);
        let mut models = buckets
            .filter(|bucket| bucket.purpose == "models")
            .map(|bucket| &bucket.name);
        let models = models.next().expect("there is a bucket for models").clone();
        let logs = logs(&test_name());
        let head = fleet::head(&scene.aws).await;
        let tunnel = self.opened.tunnel(&head.public_address, &logs).await;
        let began = Instant::now();
        let mut client = tunnel.submit_training(&models, &logs);
        self.cluster_becomes("the job is seen", |cluster| idle_is(cluster, "False", "job"))
            .await;
        let mut looks = 0;
        let mut idle_since = None;
        let status = until("the job ends", DEADLINE, async || {
            let ended = client.ended();
            let cluster = scene.space.cluster("lab").await;
            let is_idle =
                idle_is(&cluster, "True", "") || cluster.status.is_some_and(|all| all.idle_deadline.is_some());
            idle_since = idle_since.filter(|_| is_idle).or(is_idle.then(Instant::now));
            if let Some(status) = ended {
                return Ok(status);
            }
            looks += 1;
            Err(client.log_tail())
        })
        .await;
        assert!(status.success(), "{}", client.log_tail());
        assert!(looks > 10, "the cluster was looked at {looks} times");
        // The client notices the end some seconds after Ray has told it.
        let early = idle_since.map_or(Duration::ZERO, |since| since.elapsed());
        assert!(
            early < CLIENT_LAG,
            "it counted as idle {early:?} before its job had ended"
        );
        took("the training job", began);
        let listed = scene.aws.s3().list_objects_v2().bucket(&models).send().await;
        let listed = listed.expect("the bucket can be listed");
        let keys: Vec<_> = listed.contents().iter().filter_map(|object| object.key()).collect();
        assert!(keys.iter().any(|key| key.ends_with("/model.ubj")), "{keys:?}");
        drop(tunnel);
        self.cluster_becomes("it is idle after the job", |cluster| {
            idle_is(cluster, "True", "")
                && cluster
                    .status
                    .as_ref()
                    .is_some_and(|status| status.idle_deadline.is_some())
        })
        .await;
    }

    async fn heals_a_killed_raylet(&self) {
        let scene = &self.real.scene;
        let before = self.nodes().await;
        let worker = fleet::workers(&scene.aws).await.remove(0);
        let seq = self.last_change();
        let killed = Instant::now();
        scene.aws.told_in(&worker.id, "pkill -KILL -x raylet");
        self.wait_for_nodes("the killed raylet has a successor", |now| {
            now[&worker.id].id != before[&worker.id].id
        })
        .await;
        let back = took("from a raylet's end by SIGKILL to the next one", killed);
        assert!(back < RAYLET, "{back:?}");
        self.ready().await;
        self.untouched_but(&before, &[&worker.id]).await;
        assert_eq!(self.changes_since(seq), Vec::<String>::new(), "nothing was done on AWS");
    }

    async fn replaces_a_terminated_worker(&self) {
        let scene = &self.real.scene;
        let before = self.nodes().await;
        let worker = fleet::workers(&scene.aws).await.remove(0);
        let launched = launches(&scene.aws).len();
        let terminated = Instant::now();
        let ec2 = scene.aws.ec2();
        let terminate = ec2.terminate_instances().instance_ids(&worker.id);
        terminate.send().await.expect("the machine is terminated");
        until("another is launched", DEADLINE, async || {
            match launches(&scene.aws).len() {
                count if count > launched => Ok(()),
                _ => Err(format!("{:?}", scene.aws.changes().last())),
            }
        })
        .await;
        took("from a worker's termination to the request for another", terminated);
        let loss = last_call(&scene.aws, "TerminateInstances", |params| {
            fleet::names(params, &worker.id)
        });
        let launch = launches(&scene.aws).pop().expect("there was a launch");
        let loss = loss.expect("the termination is on record");
        let sweeps = sweeps_between(&scene.aws, "DescribeInstances", &loss, &launch);
        assert!(sweeps <= 1, "{sweeps} sweeps were over before the launch");
        self.wait_for_nodes("three nodes again", |now| !now.contains_key(&worker.id))
            .await;
        self.ready().await;
        took("from a worker's termination to three nodes", terminated);
        self.untouched_but(&before, &[&worker.id]).await;
    }

    async fn heals_a_worker_without_cable(&self) {
        let scene = &self.real.scene;
        let before = self.nodes().await;
        let worker = fleet::workers(&scene.aws).await.remove(0);
        let pulled = Instant::now();
        scene.aws.pull_cable(&worker.id);
        self.wait_for_nodes("a machine with a cable stands in for the one without", |now| {
            !now.contains_key(&worker.id)
        })
        .await;
        self.ready().await;
        took("from a worker's pulled cable to three nodes", pulled);
        self.untouched_but(&before, &[&worker.id]).await;
    }

    async fn survives_its_gcs(&self) {
        let scene = &self.real.scene;
        let (before, machines) = (self.nodes().await, fleet::alive(&scene.aws).await);
        let head = fleet::head(&scene.aws).await;
        let session = self.session().await;
        let seq = self.last_change();
        let killed = Instant::now();
        scene.aws.told_in(&head.id, "pkill -KILL -x gcs_server");
        let after = self
            .wait_for_nodes("all nodes are those of a new Ray", |now| {
                now.iter().all(|(id, node)| before[id].id != node.id)
            })
            .await;
        self.cluster_becomes("the new Ray is known", |cluster| {
            session_of(cluster).is_some_and(|now| now != session)
        })
        .await;
        self.ready().await;
        took("from the end of the head's GCS to three nodes", killed);
        let last = after.values().map(|node| node.started_ms).max().unwrap_or_default();
        let return_took = Duration::from_millis(last - after[&head.id].started_ms);
        say(&format!(
            "measured: the workers' return: {:.1} s",
            return_took.as_secs_f64()
        ));
        assert!(return_took < RETURN, "{return_took:?}");
        assert_eq!(ids(&fleet::alive(&scene.aws).await), ids(&machines));
        assert_eq!(self.changes_since(seq), Vec::<String>::new(), "nothing was done on AWS");
    }

    async fn gets_a_new_head(&self) {
        let scene = &self.real.scene;
        let head = fleet::head(&scene.aws).await;
        let workers = fleet::workers(&scene.aws).await;
        let terminated = Instant::now();
        let ec2 = scene.aws.ec2();
        let terminate = ec2.terminate_instances().instance_ids(&head.id);
        terminate.send().await.expect("the machine is terminated");
        until("there is another head", DEADLINE, async || {
            let found = fleet::alive(&scene.aws).await;
            let other =
                |machine: &Machine| machine.group.is_empty() && machine.id != head.id && machine.state == "running";
            if found.iter().any(other) {
                Ok(())
            } else {
                Err(format!("{found:?}"))
            }
        })
        .await;
        let new = fleet::head(&scene.aws).await;
        assert_eq!(new.private_address, head.private_address);
        self.wait_for_nodes("the workers are with the new head", |_| true).await;
        self.ready().await;
        took("from the head's termination to three nodes", terminated);
        assert_eq!(
            ids(&fleet::workers(&scene.aws).await),
            ids(&workers),
            "no worker was replaced"
        );
    }

    async fn sleeps_and_wakes(&self) {
        let scene = &self.real.scene;
        let machines = fleet::alive(&scene.aws).await;
        let worker = fleet::workers(&scene.aws).await.remove(0);
        scene.aws.told_in(&worker.id, "echo precious >/home/debian/kept");
        let idle = Instant::now();
        self.set_idle_timeout("15s").await;
        self.cluster_becomes("it is stopped", |cluster| {
            condition(cluster, "Suspended").is_some_and(|each| each.status == "True")
        })
        .await;
        took("from a timeout of 15 s to stopped machines", idle);
        let cluster = scene.space.cluster("lab").await;
        assert!(!cluster.spec.suspend, "the spec is the person's");
        let why = cluster.metadata.annotations.unwrap_or_default();
        let why = why.get("rayward.dev/stopped").expect("why it is down is told");
        assert!(why.starts_with("Idle@"), "{why}");
        for machine in fleet::alive(&scene.aws).await {
            assert_eq!(machine.state, "stopped", "{machine:?}");
        }
        // It shall not fall asleep again before the test has seen it.
        self.set_idle_timeout("90m").await;
        let woken = Instant::now();
        let wake = json!({"metadata": {"annotations": {"rayward.dev/wake": "please"}}});
        scene
            .space
            .patch("lab", &wake)
            .await
            .expect("the annotation is accepted");
        self.wait_for_nodes("three nodes again", |_| true).await;
        self.ready().await;
        took("from the wish to wake to three nodes", woken);
        assert_eq!(
            ids(&fleet::alive(&scene.aws).await),
            ids(&machines),
            "the same machines run"
        );
        assert_eq!(scene.aws.told_in(&worker.id, "cat /home/debian/kept"), "precious\n");
    }

    async fn goes(&self) {
        let scene = &self.real.scene;
        let asked = Instant::now();
        scene.space.delete("lab").await;
        scene.space.wait_until_gone("lab", DEADLINE).await;
        took("from the deletion to the object's end", asked);
        let left = Holdings::of(&scene.aws).await.counts_beyond(&scene.before);
        assert_eq!(left, BTreeMap::from(KEPT));
        let booted: Vec<_> = listed(&scene.aws)
            .into_iter()
            .filter(|each| each["power"] == "on")
            .collect();
        assert_eq!(booted, Vec::<serde_json::Value>::new(), "no machine runs");
    }

    /// The live nodes by instance id.
    async fn nodes(&self) -> BTreeMap<String, Node> {
        let head = fleet::head(&self.real.scene.aws).await;
        nodes(&self.real.scene.aws, &head.id, &self.opened.token).expect("the head's Ray answers")
    }

    /// Waits until Ray lists one head and two workers, which are exactly the machines that EC2 has, as the test wants
    /// them.
    async fn wait_for_nodes(
        &self,
        what: &str,
        is_so: impl Fn(&BTreeMap<String, Node>) -> bool,
    ) -> BTreeMap<String, Node> {
        let aws = &self.real.scene.aws;
        until(what, DEADLINE, async || {
            let machines = fleet::alive(aws).await;
            let running = machines.iter().filter(|each| each.state == "running");
            let running: BTreeSet<_> = running.map(|each| each.id.clone()).collect();
            let head = machines
                .iter()
                .find(|each| each.group.is_empty())
                .ok_or("there is no head")?;
            let found = nodes(aws, &head.id, &self.opened.token)?;
            let heads: Vec<_> = found
                .iter()
                .filter(|(_, node)| node.is_head)
                .map(|(id, _)| id)
                .collect();
            let listed: BTreeSet<_> = found.keys().cloned().collect();
            if running.len() == 3 && listed == running && heads == [&head.id] && is_so(&found) {
                Ok(found)
            } else {
                Err(format!(
                    "EC2: {running:?}, Ray: {found:?}\n{:#?}",
                    self.real.scene.space.events().await
                ))
            }
        })
        .await
    }

    async fn ready(&self) {
        self.cluster_becomes("it is ready with all workers", |cluster| {
            let ready = condition(cluster, "Ready").is_some_and(|each| each.status == "True");
            let workers = cluster.status.as_ref().and_then(|status| status.workers.as_deref());
            ready && workers == Some("2/2")
        })
        .await;
    }

    async fn cluster_becomes(&self, what: &str, is_so: impl Fn(&RayCluster) -> bool) {
        self.real.scene.space.wait_until("lab", what, DEADLINE, is_so).await;
    }

    async fn set_idle_timeout(&self, timeout: &str) {
        let patch = json!({"spec": {"idle": {"timeout": timeout}}});
        self.real
            .scene
            .space
            .patch("lab", &patch)
            .await
            .expect("the change is accepted");
    }

    /// Name of Ray's session, as the status tells it.
    async fn session(&self) -> String {
        let cluster = self.real.scene.space.cluster("lab").await;
        session_of(&cluster).expect("the session is known").to_owned()
    }

    /// Checks that all machines but these run the Ray that they ran before.
    async fn untouched_but(&self, before: &BTreeMap<String, Node>, machines: &[&str]) {
        let now = self.nodes().await;
        for (id, node) in before.iter().filter(|(id, _)| !machines.contains(&id.as_str())) {
            assert_eq!(now.get(id), Some(node), "{id} was touched");
        }
    }

    /// How long the slowest node took from the start of its `ray start` to its place in Ray's list.
    fn slowest_start(&self, nodes: &BTreeMap<String, Node>) -> Duration {
        let own = nodes.iter().map(|(id, node)| {
            let script = "journalctl -u rayward-ray -o short-unix --no-pager | grep ' starting: ' | tail -n 1";
            let line = self.real.scene.aws.told_in(id, script);
            let began = line.split_whitespace().next().and_then(|time| time.parse::<f64>().ok());
            let began = began.unwrap_or_else(|| panic!("the journal of {id} tells when Ray was started: {line}"));
            #[allow(clippy::cast_precision_loss, reason = "milliseconds since 1970 fit")]
            let came = node.started_ms as f64 / 1000.0;
            Duration::from_secs_f64((came - began).max(0.0))
        });
        own.max().expect("there are nodes")
    }

    fn last_change(&self) -> u64 {
        self.real.scene.aws.calls().last().map_or(0, |call| call.seq)
    }

    /// The calls that change machines, since then.
    fn changes_since(&self, seq: u64) -> Vec<String> {
        let calls = self.real.scene.aws.calls_since(seq).into_iter();
        let changes = calls.filter(|call| call.change && call.service == "ec2");
        changes.map(|call| call.action).collect()
    }
}

/// Whether the condition `Idle` has a status and a message with these words.
fn idle_is(cluster: &RayCluster, status: &str, words: &str) -> bool {
    condition(cluster, "Idle").is_some_and(|each| each.status == status && each.message.contains(words))
}

fn session_of(cluster: &RayCluster) -> Option<&str> {
    cluster.status.as_ref()?.head.as_ref()?.session.as_deref()
}
