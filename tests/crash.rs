//! The controller is killed, or its API server goes away, at any point: what it leaves is finished by its successor,
//! and nothing is made twice.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader, Seek, SeekFrom};
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use rayward::api::RayCluster;
use serde_json::json;

use crate::support::account::{Holdings, KEPT, LAB as LAB_HOLDINGS, ever_launched, violations};
use crate::support::cluster::{LAB, Space, condition};
use crate::support::control_plane::ControlPlane;
use crate::support::controller::Controller;
use crate::support::scene::Scene;
use crate::support::stand_in::StandIn;
use crate::support::test_name;
use crate::support::wait::{PATIENCE, until};

/// How often each test here kills the controller in creations, and as often in deletions, unless [`MORE_KILLS`] says
/// otherwise.
const KILLS: usize = 8;
/// Makes `make test-soak` of these tests.
const MORE_KILLS: &str = "RAYWARD_TEST_KILLS";
/// How often within one creation or deletion; more would only delay its end.
const KILLS_IN_ONE: usize = 5;
/// Gives a run of these tests the chance of another: what a test that failed has printed.
const SEED: &str = "RAYWARD_TEST_SEED";

/// When the controller is killed, counted from its start.
#[derive(Clone, Copy, Debug)]
enum Moment {
    /// As soon as it has made so many calls that change something.
    Change(usize),
    /// After so many milliseconds.
    Milliseconds(u64),
}

/// Counts the changing calls in the stand-in's log: much quicker than to ask for the list.
struct Tally {
    log: BufReader<File>,
    line: String,
    changes: usize,
}

impl Tally {
    fn from_now_on(aws: &StandIn) -> Self {
        let mut log = File::open(aws.calls_log()).expect("the log of calls can be read");
        log.seek(SeekFrom::End(0)).expect("a file can be read from its end");
        Self {
            log: BufReader::new(log),
            line: String::new(),
            changes: 0,
        }
    }

    fn count(&mut self) -> usize {
        while self.log.read_line(&mut self.line).expect("the log of calls is text") > 0 {
            // The rest of an unfinished line comes with the next look.
            if self.line.ends_with('\n') {
                self.changes += usize::from(self.line.contains(r#""change": true"#));
                self.line.clear();
            }
        }
        self.changes
    }
}

/// A scene in which the controller is killed again and again.
struct Ordeal {
    scene: Scene,
    chance: StdRng,
    moment: fn(&mut StdRng) -> Moment,
}

impl Ordeal {
    async fn begin(moment: fn(&mut StdRng) -> Moment) -> Self {
        let seed = std::env::var(SEED).ok().and_then(|seed| seed.parse().ok());
        let seed: u64 = seed.unwrap_or_else(rand::random);
        eprintln!("{}: {SEED}={seed} makes the same moments", test_name());
        Self {
            scene: Scene::start().await,
            chance: StdRng::seed_from_u64(seed),
            moment,
        }
    }

    /// Kills the controller at random moments until `is_over`, at most `most` times; how often it was killed before.
    /// It runs again afterwards.
    async fn kill_while(&mut self, most: usize, is_over: impl AsyncFn(&Space) -> bool) -> usize {
        for kills in 0..most {
            let moment = (self.moment)(&mut self.chance);
            self.reach(moment, &is_over).await;
            self.scene.controller.kill();
            // What it has sent is carried out all the same; only what was over before it died does not count.
            let over = is_over(&self.scene.space).await;
            self.scene.controller.spawn();
            if over {
                return kills;
            }
        }
        most
    }

    async fn reach(&self, moment: Moment, is_over: &impl AsyncFn(&Space) -> bool) {
        let changes = match moment {
            Moment::Milliseconds(count) => return tokio::time::sleep(Duration::from_millis(count)).await,
            Moment::Change(count) => count,
        };
        let mut tally = Tally::from_now_on(&self.scene.aws);
        let started = Instant::now();
        let mut looks = 0;
        while tally.count() < changes {
            looks += 1;
            if looks % 100 == 0 && is_over(&self.scene.space).await {
                return;
            }
            assert!(
                started.elapsed() < PATIENCE,
                "{} of {changes} changes\n{}",
                tally.changes,
                self.scene.controller.log_tail()
            );
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    async fn counts(&self) -> BTreeMap<&'static str, usize> {
        Holdings::of(&self.scene.aws).await.counts_beyond(&self.scene.before)
    }

    async fn wait_for_counts<const N: usize>(&self, wanted: [(&'static str, usize); N]) {
        let wanted = BTreeMap::from(wanted);
        until("AWS holds what it should", PATIENCE, async || {
            let counts = self.counts().await;
            if counts == wanted {
                Ok(())
            } else {
                Err(format!("{counts:?}\n{}", self.scene.controller.log_tail()))
            }
        })
        .await;
    }

    /// Makes and deletes labs until the controller was killed often enough in both.
    async fn survive(mut self) {
        let asked = std::env::var(MORE_KILLS).map(|kills| kills.parse().expect("a number of kills"));
        let wanted = asked.unwrap_or(KILLS);
        let (mut in_creation, mut in_deletion) = (0, 0);
        for round in 1.. {
            assert!(
                round < 4 + 2 * wanted,
                "killed {in_creation} and {in_deletion} times: it is over before the moments come"
            );
            self.scene.aws.forget_calls();
            self.scene.space.apply(LAB).await.expect("it is accepted");
            in_creation += self
                .kill_while(KILLS_IN_ONE, async |space: &Space| {
                    is_ready(&space.cluster("lab").await)
                })
                .await;
            self.scene.space.wait_for("lab", "Ready", "True", PATIENCE).await;
            self.wait_for_counts(LAB_HOLDINGS).await;
            assert_eq!(
                ever_launched(&self.scene.aws).len(),
                3,
                "round {round}: machines that were ever launched"
            );

            self.scene.space.delete("lab").await;
            in_deletion += self.kill_while(KILLS_IN_ONE, is_gone).await;
            self.scene.space.wait_until_gone("lab", PATIENCE).await;
            assert_eq!(self.counts().await, BTreeMap::from(KEPT), "round {round}");
            assert_eq!(
                ever_launched(&self.scene.aws).len(),
                3,
                "round {round}: nothing is launched by a deletion"
            );
            if in_creation >= wanted && in_deletion >= wanted {
                break;
            }
        }
    }
}

fn is_ready(cluster: &RayCluster) -> bool {
    condition(cluster, "Ready").is_some_and(|each| each.status == "True")
}

async fn is_gone(space: &Space) -> bool {
    space
        .clusters()
        .get_opt("lab")
        .await
        .expect("the API server answers")
        .is_none()
}

#[tokio::test]
async fn kills_after_any_changing_call_leave_nothing_twice_and_nothing_undone() {
    let ordeal = Ordeal::begin(|chance| Moment::Change(chance.random_range(1..=10))).await;
    ordeal.survive().await;
}

#[tokio::test]
async fn kills_at_any_time_leave_nothing_twice_and_nothing_undone() {
    let ordeal = Ordeal::begin(|chance| Moment::Milliseconds(chance.random_range(100..=1200))).await;
    ordeal.survive().await;
}

#[tokio::test]
async fn kills_while_many_calls_are_on_their_way_leave_nothing_twice_and_nothing_undone() {
    let ordeal = Ordeal::begin(|chance| Moment::Change(chance.random_range(1..=6))).await;
    ordeal.scene.aws.set(&json!({"delay_ms": 150}));
    ordeal.survive().await;
}

#[tokio::test]
async fn kills_while_aws_shows_what_was_before_leave_nothing_twice_and_nothing_undone() {
    let ordeal = Ordeal::begin(|chance| {
        if chance.random_bool(0.5) {
            Moment::Change(chance.random_range(1..=10))
        } else {
            Moment::Milliseconds(chance.random_range(100..=1200))
        }
    })
    .await;
    ordeal.scene.aws.set(&json!({"stale_seconds": 0.5}));
    ordeal.survive().await;
}

#[tokio::test]
async fn a_launch_that_lands_after_its_successor_has_looked_makes_nothing_twice() {
    let mut scene = Scene::start().await;
    scene.space.ready_lab().await;
    let slow = scene
        .aws
        .inject(&json!({"action": "RunInstances", "kind": "delay", "seconds": 6}));
    let more = json!({"spec": {"workerGroups": [{"name": "cpu", "replicas": 4}]}});
    scene.space.patch("lab", &more).await.expect("it is accepted");
    scene.aws.until_fired(&slow).await;
    scene.controller.kill();
    scene.controller.restart().await;

    // It sees none of the machines, and sends what is on record once more.
    scene.space.wait_for("lab", "Ready", "True", PATIENCE).await;
    until("the late launch has landed", PATIENCE, async || {
        let launches = scene.aws.changes().into_iter();
        match launches.filter(|call| call.action == "RunInstances").count() {
            // Of the head, of the first workers, and of the others twice.
            4.. => Ok(()),
            fewer => Err(format!("{fewer} launches")),
        }
    })
    .await;
    assert_eq!(ever_launched(&scene.aws).len(), 5);
}

#[tokio::test]
async fn sigterm_in_the_middle_of_a_creation_is_obeyed_and_a_successor_finishes() {
    let mut scene = Scene::start().await;
    scene.aws.set(&json!({"delay_ms": 300}));
    scene.space.apply(LAB).await.expect("it is accepted");
    scene.aws.first_success("CreateSubnet").await;

    let asked = Instant::now();
    let status = scene.controller.stop(Duration::from_secs(10));
    assert!(
        status.success(),
        "{status} after {:?}\n{}",
        asked.elapsed(),
        scene.controller.log_tail()
    );
    assert!(!is_ready(&scene.space.cluster("lab").await), "it was in the middle");

    scene.controller.restart().await;
    scene.space.wait_for("lab", "Ready", "True", PATIENCE).await;
    let counts = Holdings::of(&scene.aws).await.counts_beyond(&scene.before);
    assert_eq!(counts, BTreeMap::from(LAB_HOLDINGS));
    assert_eq!(ever_launched(&scene.aws).len(), 3);
    // What was in flight was awaited: nothing had to be done again.
    let created = scene
        .aws
        .changes()
        .into_iter()
        .filter(|call| call.action.starts_with("Create") && call.action != "CreateTags");
    let mut created: Vec<_> = created
        .map(|call| (call.action, call.params["Bucket"].to_string()))
        .collect();
    created.sort();
    let all = created.len();
    created.dedup();
    assert_eq!(created.len(), all, "{created:?}");
}

#[tokio::test]
async fn an_api_server_that_restarts_in_the_middle_is_ridden_out() {
    let mut plane = ControlPlane::start(&test_name()).await;
    let aws = StandIn::start();
    let before = Holdings::of(&aws).await;
    let space = Space::create(&plane).await;
    let _controller = Controller::start(&plane, &aws, &space.name).await;
    aws.set(&json!({"delay_ms": 50}));

    space.apply(LAB).await.expect("it is accepted");
    aws.first_success("CreateVpc").await;
    plane.stop_api_server();
    // It goes on looking at AWS with what it knows.
    aws.further_calls("DescribeInstances", 3).await;
    plane.start_api_server().await;
    space.wait_for("lab", "Ready", "True", PATIENCE).await;
    assert_eq!(
        Holdings::of(&aws).await.counts_beyond(&before),
        BTreeMap::from(LAB_HOLDINGS)
    );
    assert_eq!(ever_launched(&aws).len(), 3);

    space.delete("lab").await;
    aws.first_success("TerminateInstances").await;
    plane.stop_api_server();
    aws.further_calls("DescribeInstances", 3).await;
    plane.start_api_server().await;
    space.wait_until_gone("lab", PATIENCE).await;
    assert_eq!(Holdings::of(&aws).await.counts_beyond(&before), BTreeMap::from(KEPT));
    assert_eq!(violations(&aws), []);
}
