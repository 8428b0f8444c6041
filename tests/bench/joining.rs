//! The lab on machines that run: how soon its workers are in Ray, first and after a loss.

use std::time::{Duration, Instant};

use crate::{
    creation::now,
    figures::{Figure, Part},
    lab::{Lab, NAME, PATIENCE, WORKERS},
    support::{
        fleet::{self, launches, names},
        real::{
            laptop::Opened,
            ray::{Node, nodes},
        },
        stand_in::StandIn,
        sweeps::{last_call, sweeps_between},
        wait::until,
    },
};

pub(crate) const PART: Part = Part("joining");

/// Measures one cluster; or says why there can be no machines here.
pub(crate) async fn measure() -> Result<Vec<Figure>, &'static str> {
    let lab = Lab::prepare("bench-joining").await?;
    lab.apply().await;
    lab.wait_until_joined().await;
    let joined = now();
    let head = fleet::head(&lab.aws).await.id;
    let token = Opened::of(&lab.space, NAME).await.token;
    let in_ray = nodes(&lab.aws, &head, &token).expect("Ray tells its nodes");
    assert_eq!(in_ray.len(), 1 + WORKERS as usize, "{in_ray:?}");
    let starts = in_ray.iter().map(|(instance, node)| start(&lab.aws, instance, node));
    let slowest = starts.fold(0.0, f64::max);
    let ran = all_ran(&lab.aws);
    println!(
        "  {:.1} s from running to joined, the slowest start of Ray {slowest:.1} s",
        joined - ran
    );

    let workers = lab.workers().await;
    let back = kill_raylet(&lab.aws, &head, &token, workers.first().expect("a worker")).await;
    lab.space.wait_for(NAME, "Ready", "True", PATIENCE).await;
    let sweeps = terminate(&lab.aws, workers.last().expect("a worker")).await;
    Ok(vec![
        PART.lower(
            "machines running to workers joined, beyond Ray's own start",
            joined - ran - slowest,
            "s",
            10.0,
        ),
        PART.lower("raylet killed with -9 until it is back in Ray", back, "s", 20.0),
        PART.lower(
            "worker terminated until its replacement is requested",
            sweeps,
            "sweeps",
            1.0,
        ),
    ])
}

/// When the last of the machines began to run.
fn all_ran(aws: &StandIn) -> f64 {
    let told = aws.control_json("instances");
    let machines = told["instances"].as_array().expect("a list");
    let booted = machines.iter().filter_map(|machine| machine["booted_at"].as_f64());
    booted.fold(0.0, f64::max)
}

/// How long `ray start` took on a machine until its raylet registered, in seconds.
fn start(aws: &StandIn, instance: &str, node: &Node) -> f64 {
    let script = "journalctl --unit=rayward-ray --output=short-unix --no-pager | grep -F 'starting: '";
    let told = aws.told_in(instance, script);
    let began = told.lines().last().and_then(|line| line.split_whitespace().next());
    let began: f64 = began.and_then(|time| time.parse().ok()).expect("a time");
    Duration::from_millis(node.started_ms).as_secs_f64() - began
}

/// Kills the raylet of a machine; says after how many seconds Ray lists its successor.
async fn kill_raylet(aws: &StandIn, head: &str, token: &str, worker: &str) -> f64 {
    let node = |worker: &str| Ok::<_, String>(nodes(aws, head, token)?.remove(worker));
    let killed = node(worker).expect("Ray tells its nodes").expect("it has joined");
    let began = Instant::now();
    aws.told_in(worker, "pkill -KILL -x raylet");
    until("a new raylet has joined", PATIENCE, async || match node(worker)? {
        Some(node) if node.id != killed.id => Ok(()),
        other => Err(format!("{other:?}")),
    })
    .await;
    began.elapsed().as_secs_f64()
}

/// Terminates a worker as anybody could; says how many sweeps of machines were made until another one was requested.
async fn terminate(aws: &StandIn, worker: &str) -> f64 {
    let known = launches(aws).len();
    let request = aws.ec2().terminate_instances().instance_ids(worker);
    request.send().await.expect("somebody terminates a worker");
    until("a replacement is requested", PATIENCE, async || {
        (launches(aws).len() > known)
            .then_some(())
            .ok_or_else(|| "not yet".to_owned())
    })
    .await;
    let gone = last_call(aws, "TerminateInstances", |params| names(params, worker)).expect("it is gone");
    let requested = &launches(aws)[known];
    println!(
        "  the replacement was requested after {:.1} s",
        requested.began - gone.ended
    );
    let sweeps = sweeps_between(aws, "DescribeInstances", &gone, requested);
    u32::try_from(sweeps).map_or(f64::NAN, f64::from)
}
