//! What stands for machines in tests, as an SSH client and an HTTP client see it.

mod visitor;

use std::collections::BTreeMap;
use std::time::Duration;

use aws_sdk_ec2::types::{InstanceNetworkInterfaceSpecification, InstanceType, ResourceType, Tag, TagSpecification};
use rayward::bootstrap::{self, Worker};
use rayward::validate::Software;
use serde_json::{Value, json};

use crate::support::fleet::{Machine, alive, head};
use crate::support::light::Light;
use crate::support::light::load::{Actor, Job, Load};
use crate::support::light::manner::Manner;
use crate::support::light::trouble::{Trouble, Until};
use crate::support::stand_in::StandIn;
use crate::support::wait::{PATIENCE, until};
use visitor::{Key, Visitor};

const UID: &str = "11111111-1111-4111-8111-111111111111";
const TOKEN: &str = "a-token";

/// A head and a worker that run, and somebody with their key.
struct Ground {
    aws: StandIn,
    key: Key,
    head: Machine,
    worker: Machine,
}

impl Ground {
    async fn start() -> Self {
        let (aws, key) = (StandIn::start(), Key::new());
        let vpc = aws.ec2().create_vpc().cidr_block("10.0.0.0/16").send().await;
        let vpc = vpc.expect("a VPC").vpc.and_then(|vpc| vpc.vpc_id).expect("an id");
        let subnet = aws
            .ec2()
            .create_subnet()
            .vpc_id(vpc)
            .cidr_block("10.0.1.0/24")
            .send()
            .await;
        let subnet = subnet
            .expect("a subnet")
            .subnet
            .and_then(|subnet| subnet.subnet_id)
            .expect("an id");
        launch(&aws, &subnet, None, &key.public).await;
        let head = head(&aws).await.private_address;
        launch(&aws, &subnet, Some(&head), &key.public).await;
        let machines = until("both run", PATIENCE, async || {
            let machines = alive(&aws).await;
            let run = machines
                .iter()
                .all(|machine| machine.state == "running" && !machine.public_address.is_empty());
            if run {
                Ok(machines)
            } else {
                Err(format!("{machines:#?}"))
            }
        });
        let (workers, mut heads): (Vec<_>, Vec<_>) = machines.await.into_iter().partition(|each| each.group == "cpu");
        let (head, worker) = (heads.remove(0), workers.into_iter().next().expect("a worker"));
        Self { aws, key, head, worker }
    }

    /// The same with Ray on both.
    async fn with_ray() -> (Self, Visitor) {
        let ground = Self::start().await;
        let visitor = ground.visit().await;
        visitor.run("sudo rayward-node token", TOKEN).await;
        let worker = visitor.through(&ground.worker.private_address, &ground.key).await;
        worker
            .expect("a way to the worker")
            .run("sudo rayward-node token", TOKEN)
            .await;
        (ground, visitor)
    }

    fn light(&self) -> &Light {
        self.aws.light()
    }

    async fn visit(&self) -> Visitor {
        let visitor = Visitor::enter(&self.head.public_address, &self.key).await;
        visitor.expect("the key opens the head")
    }
}

/// Launches a head, or a worker of the head at an address.
async fn launch(aws: &StandIn, subnet: &str, head: Option<&str>, key: &str) {
    let mut tags = vec![("cluster-uid", UID)];
    tags.extend(match head {
        None => vec![("role", "head")],
        Some(_) => vec![("role", "worker"), ("group", "cpu")],
    });
    let mut specification = TagSpecification::builder().resource_type(ResourceType::Instance);
    for (name, value) in tags {
        specification = specification.tags(Tag::builder().key(format!("rayward.dev/{name}")).value(value).build());
    }
    let interface = InstanceNetworkInterfaceSpecification::builder()
        .device_index(0)
        .subnet_id(subnet)
        .associate_public_ip_address(true)
        .build();
    let software = Software {
        ray_version: "2.59.1".to_owned(),
        pip_packages: Vec::new(),
        setup_script: None,
    };
    let worker = head.map(|head| Worker { group: "cpu", head });
    let machine = bootstrap::Machine {
        public_key: key,
        worker,
        cluster_uid: UID,
        software: &software,
        environment: &BTreeMap::new(),
        ray_start_params: &BTreeMap::new(),
    };
    let launch = aws
        .ec2()
        .run_instances()
        .image_id("ami-003c463c8207b4dfa")
        .instance_type(InstanceType::T2Medium);
    let launch = launch.min_count(1).max_count(1).network_interfaces(interface);
    let user_data = base64(&bootstrap::user_data(&machine));
    let launch = launch.tag_specifications(specification.build()).user_data(user_data);
    launch.send().await.expect("a machine");
}

fn base64(text: &str) -> String {
    use base64::Engine;
    base64::engine::general_purpose::STANDARD.encode(text)
}

/// Instance and state of every node that the dashboard lists.
async fn nodes(visitor: &Visitor) -> Vec<(String, String)> {
    let (status, nodes) = visitor
        .get("/api/v0/nodes?detail=true&limit=10000", TOKEN)
        .await
        .expect("an answer");
    assert_eq!(status, 200, "{nodes}");
    let rows = nodes["data"]["result"]["result"].as_array().expect("rows").clone();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let row = |row: &Value| (text(&row["labels"]["rayward.dev/instance-id"]), text(&row["state"]));
    rows.iter().map(row).collect()
}

async fn wait_for_nodes(visitor: &Visitor, what: &str, is_so: impl Fn(&[(String, String)]) -> bool) {
    until(what, PATIENCE, async || {
        let nodes = nodes(visitor).await;
        if is_so(&nodes) {
            Ok(())
        } else {
            Err(format!("{nodes:?}"))
        }
    })
    .await;
}

#[tokio::test]
async fn a_machine_lets_in_the_key_of_its_user_data_and_nobody_else() {
    let ground = Ground::start().await;
    let visitor = ground.visit().await;
    assert_eq!(visitor.host_key, ground.light().host_key(&ground.head.id));
    let stranger = Visitor::enter(&ground.head.public_address, &Key::new()).await;
    assert!(stranger.is_err());
    assert_eq!(ground.light().counts().refused, 1);

    ground.light().change_host_key(&ground.head.id);
    assert_ne!(ground.visit().await.host_key, visitor.host_key);
    until("the old connection has ended", PATIENCE, async || {
        if visitor.is_closed() {
            Ok(())
        } else {
            Err("it is open".to_owned())
        }
    })
    .await;

    ground
        .light()
        .trouble(&ground.head.id, Trouble::SshClosed, Until::Replaced);
    assert!(Visitor::enter(&ground.head.public_address, &ground.key).await.is_err());
}

#[tokio::test]
async fn a_private_address_is_that_of_the_machine_whose_key_is_shown() {
    let (one, two) = (Ground::start().await, Ground::start().await);
    assert_eq!(one.head.private_address, two.head.private_address);
    for ground in [&one, &two] {
        let visitor = Visitor::enter(&ground.head.private_address, &ground.key).await;
        let visitor = visitor.expect("the key opens one of them");
        visitor.run("sudo rayward-node token", TOKEN).await;
        assert_eq!(ground.light().calls(&ground.head.id), [["token"]]);
    }
    let stranger = Visitor::enter(&one.head.private_address, &Key::new()).await;
    assert!(stranger.is_err());
}

#[tokio::test]
async fn machines_join_with_the_token_and_tell_how_far_they_are() {
    let ground = Ground::start().await;
    let visitor = ground.visit().await;
    assert!(visitor.get("/api/version", TOKEN).await.is_err(), "there is no Ray yet");
    assert_eq!(visitor.report().await["stage"], "waiting-for-token");
    let worker = visitor
        .through(&ground.worker.private_address, &ground.key)
        .await
        .expect("a worker");
    assert_eq!(worker.run("sudo rayward-node token", TOKEN).await.code, 0);
    assert_eq!(worker.report().await["stage"], "waiting-for-head");
    visitor.run("sudo rayward-node token", TOKEN).await;
    assert_eq!(worker.report().await["stage"], "running");
    let alive = |id: &str| (id.to_owned(), "ALIVE".to_owned());
    let mut seen = nodes(&visitor).await;
    seen.sort();
    let mut expected = vec![alive(&ground.head.id), alive(&ground.worker.id)];
    expected.sort();
    assert_eq!(seen, expected);
    let (_, version) = visitor.get("/api/version", TOKEN).await.expect("an answer");
    assert_eq!(version["ray_version"], "2.59.1");
    assert_eq!(visitor.get("/api/v0/nodes", "").await.expect("an answer").0, 401);
    assert_eq!(visitor.get("/api/v0/nodes", "wrong").await.expect("an answer").0, 403);
    assert_eq!(visitor.get("/api/gcs_healthz", "").await.expect("an answer").0, 200);
    assert_eq!(ground.light().calls(&ground.worker.id), [["token"]]);

    assert_eq!(
        worker.report().await["headAddress"],
        ground.head.private_address.as_str()
    );
    worker.run("sudo rayward-node head-address 10.0.1.200", "").await;
    assert_eq!(worker.report().await["stage"], "waiting-for-head");
    let back = format!("sudo rayward-node head-address {}", ground.head.private_address);
    worker.run(&back, "").await;

    ground.light().set_people(&ground.worker.id, 2, 1);
    let report = worker.report().await;
    assert_eq!(
        (&report["sshSessions"], &report["jupyterKernels"]),
        (&json!(2), &json!(1))
    );
    let failed = Trouble::failed("the set-up script failed", &["apt: no such package"]);
    ground.light().trouble(&ground.worker.id, failed, Until::Reboot);
    let report = worker.report().await;
    assert_eq!(
        (&report["stage"], &report["lines"][0]),
        (&json!("failed"), &json!("apt: no such package"))
    );
    wait_for_nodes(&visitor, "it is dead", |nodes| {
        nodes.contains(&(ground.worker.id.clone(), "DEAD".into()))
    })
    .await;
}

#[tokio::test]
async fn a_dead_raylet_is_back_after_a_restart_and_a_stopped_machine_is_not() {
    let (ground, visitor) = Ground::with_ray().await;
    let is = |state: &'static str| {
        let row = (ground.worker.id.clone(), state.to_owned());
        move |nodes: &[(String, String)]| nodes.contains(&row)
    };
    ground
        .light()
        .trouble(&ground.worker.id, Trouble::Raylet, Until::Restart);
    wait_for_nodes(&visitor, "it is dead", is("DEAD")).await;
    assert_eq!(
        ground.light().joined(&ground.head.id),
        std::slice::from_ref(&ground.head.id)
    );
    let worker = visitor
        .through(&ground.worker.private_address, &ground.key)
        .await
        .expect("a worker");
    worker.run("sudo rayward-node restart-ray", "").await;
    wait_for_nodes(&visitor, "it is back", is("ALIVE")).await;

    let stop = ground.aws.ec2().stop_instances().instance_ids(&ground.worker.id);
    stop.send().await.expect("it stops");
    let all_dead = |nodes: &[(String, String)]| {
        !nodes
            .iter()
            .any(|(id, state)| *id == ground.worker.id && state == "ALIVE")
    };
    wait_for_nodes(&visitor, "it is gone", all_dead).await;

    let session = ground.light().session(&ground.head.id);
    visitor.run("sudo rayward-node restart-ray", "").await;
    assert_ne!(ground.light().session(&ground.head.id), session, "another Ray");
    assert_eq!(nodes(&visitor).await.len(), 1, "which knows nothing of the old nodes");
}

#[tokio::test]
async fn an_idle_node_is_drained_at_once_and_a_busy_one_when_it_is_done() {
    let (ground, visitor) = Ground::with_ray().await;
    let (_, listed) = visitor.get("/api/v0/nodes?detail=true", TOKEN).await.expect("nodes");
    let rows = listed["data"]["result"]["result"].as_array().expect("rows").clone();
    let row = rows
        .iter()
        .find(|row| row["is_head_node"] == false)
        .expect("the worker");
    let node = row["node_id"].as_str().expect("an id");
    let drain =
        |reason: &str| format!("sudo rayward-node drain {node} DRAIN_NODE_REASON_{reason} 30 'fewer are asked for'");
    let busy = Load {
        cpus: [(ground.worker.id.clone(), 1.0)].into(),
        ..Load::default()
    };
    ground.light().set_load(busy);
    assert_eq!(visitor.run(&drain("IDLE_TERMINATION"), "").await.code, 3);
    assert_eq!(visitor.run(&drain("PREEMPTION"), "").await.code, 0);
    assert_eq!(
        ground.light().joined(&ground.head.id).len(),
        2,
        "what runs there goes on"
    );
    ground.light().set_load(Load::default());
    let path = "/api/v0/nodes?detail=true&filter_keys=state&filter_predicates=%3D&filter_values=DEAD";
    let message = until("it is drained", PATIENCE, async || {
        let (_, dead) = visitor.get(path, TOKEN).await?;
        let message = dead["data"]["result"]["result"][0]["state_message"]
            .as_str()
            .map(str::to_owned);
        message.ok_or_else(|| dead.to_string())
    });
    assert_eq!(message.await, "Terminated due to preemption: fewer are asked for");
    assert_eq!(
        ground.light().joined(&ground.head.id),
        std::slice::from_ref(&ground.head.id),
        "it stays away"
    );
}

#[tokio::test]
async fn the_dashboard_tells_what_runs() {
    let (ground, visitor) = Ground::with_ray().await;
    let load = Load {
        jobs: vec![Job::submission("raysubmit_1", "RUNNING"), Job::driver("02000000")],
        actors: vec![Actor::alive("Learner"), Actor::of_serve("ServeController")],
        applications: vec!["shop".to_owned()],
        cpus: [(ground.worker.id.clone(), 2.0)].into(),
        ..Load::waiting(4)
    };
    ground.light().set_load_of(UID, load);
    let (_, jobs) = visitor.get("/api/jobs/", TOKEN).await.expect("jobs");
    assert_eq!(
        (&jobs[0]["status"], &jobs[1]["type"]),
        (&json!("RUNNING"), &json!("DRIVER"))
    );
    let (_, actors) = visitor.get("/api/v0/actors?detail=true", TOKEN).await.expect("actors");
    assert_eq!(actors["data"]["result"]["result"][1]["ray_namespace"], "serve");
    let (_, serve) = visitor
        .get("/api/serve/applications/", TOKEN)
        .await
        .expect("applications");
    assert_eq!(serve["applications"]["shop"]["status"], "RUNNING");
    let (_, listed) = visitor.get("/api/v0/nodes", TOKEN).await.expect("nodes");
    let rows = listed["data"]["result"]["result"].as_array().expect("rows").clone();
    let worker = rows
        .iter()
        .find(|row| row["is_head_node"] == false)
        .expect("the worker")["node_id"]
        .clone();
    let worker = worker.as_str().expect("an id").to_owned();
    let (_, status) = visitor.get("/api/cluster_status", TOKEN).await.expect("a status");
    let report = &status["data"]["clusterStatus"]["loadMetricsReport"];
    assert_eq!(report["usage"]["CPU"], json!([2.0, 4.0]));
    assert_eq!(report["usageByNode"][&worker]["CPU"], json!([2.0, 2.0]));
    assert_eq!(report["resourceDemand"], json!([[{"CPU": 1.0}, 4]]));
    assert_eq!(ground.light().counts().requests["/api/jobs/"], 1);
}

#[tokio::test]
async fn a_head_can_hang_lie_and_break_off() {
    let (ground, visitor) = Ground::with_ray().await;
    let light = ground.light();
    let short = Duration::from_millis(300);
    light.answer("/api/v0/nodes", Manner::Hang);
    assert!(
        tokio::time::timeout(short, visitor.get("/api/v0/nodes", TOKEN))
            .await
            .is_err()
    );
    light.answer("/api/v0/nodes", Manner::Half);
    assert!(visitor.get("/api/v0/nodes", TOKEN).await.is_err());
    light.answer("/api/v0/nodes", Manner::Truncated);
    let (_, nodes) = visitor.get("/api/v0/nodes", TOKEN).await.expect("an answer");
    let count = &nodes["data"]["result"];
    assert_eq!(
        (&count["total"], &count["num_after_truncation"]),
        (&json!(2), &json!(1))
    );
    light.answer_well();

    light.pose(&ground.head.id, Some("another"));
    let (_, nodes) = visitor.get("/api/v0/nodes", TOKEN).await.expect("an answer");
    let rows = nodes["data"]["result"]["result"].as_array().expect("rows").clone();
    let head = rows.iter().find(|row| row["is_head_node"] == true).expect("the head");
    assert_eq!(head["labels"]["rayward.dev/cluster-uid"], "another");

    light.trouble(&ground.head.id, Trouble::Gcs, Until::Restart);
    assert_eq!(visitor.get("/api/gcs_healthz", "").await.expect("an answer").0, 503);
    assert_eq!(visitor.get("/api/version", TOKEN).await.expect("an answer").0, 200);
    assert!(
        tokio::time::timeout(short, visitor.get("/api/jobs/", TOKEN))
            .await
            .is_err()
    );
    visitor.run("sudo rayward-node restart-ray", "").await;
    assert_eq!(visitor.get("/api/gcs_healthz", "").await.expect("an answer").0, 200);
}
