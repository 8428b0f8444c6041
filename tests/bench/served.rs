//! The controller in a process of its own, with a fake account: what is measured from outside.
//!
//! It is ready when its caches are in. Then it answers `quiet` with how many passes it made so far and the memory that
//! it holds, `passes` with how many quiet passes it makes a second on one core.

use std::{
    fs,
    sync::{Arc, atomic::AtomicU64, atomic::Ordering},
    time::{Duration, Instant},
};

use kube::Client;
use rayward::{
    controller::{Controller, Parts, cache::ObjectName, pass::Settings},
    execute::Bounds,
    memory::RetryDelays,
    metrics::Metrics,
    plan::Limits,
    sweep::SweepIntervals,
    validate::Installation,
};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::{
    alike::AlikeCloud,
    asked::{questions, resident_kib},
    fake::world::INSTALLATION,
};

/// The role of this process.
pub(crate) const ROLE: &str = "serve";
/// How long quiet passes are made.
const MEASURED: Duration = Duration::from_secs(3);

/// Runs the controller for the clusters that a file names.
pub(crate) fn serve(file: &str) {
    let told: Value = serde_json::from_str(&fs::read_to_string(file).expect("the file is there")).expect("JSON");
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build();
    runtime.expect("a runtime").block_on(control(&told));
}

async fn control(told: &Value) {
    let clusters = serde_json::from_value(told["clusters"].clone()).expect("uids and names");
    let calls = Arc::new(AtomicU64::new(0));
    let cloud = AlikeCloud {
        clusters,
        public_key: told["publicKey"].as_str().expect("a key").to_owned(),
        calls: Arc::clone(&calls),
    };
    let (controller, events) = Controller::new(Parts {
        client: Client::try_default().await.expect("an API server"),
        cloud: Arc::new(cloud),
        settings: Settings {
            installation: Installation {
                id: INSTALLATION.into(),
                egress_cidrs: vec!["198.51.100.7/32".parse().expect("a range")],
            },
            // Looks at buckets come in their turn, one after the other, all the time: here they hardly come at all.
            limits: Limits {
                bucket_interval: Duration::from_hours(1000),
                ..Limits::default()
            },
            bounds: Bounds {
                width: 16,
                call_timeout: Duration::from_secs(10),
                launch_window: Limits::default().launch_window,
                delays: RetryDelays::default(),
            },
            pass_timeout: Duration::from_mins(1),
        },
        intervals: SweepIntervals::default(),
        watch_namespace: None,
        concurrency: 16,
        metrics: Arc::new(Metrics::new().expect("metrics")),
        stop: CancellationToken::new(),
    });
    tokio::spawn(events);
    let running = Arc::clone(&controller);
    tokio::spawn(async move { running.run().await });
    let readiness = controller.readiness();
    while !readiness.is_ready() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let mut questions = questions();
    loop {
        match questions.recv().await.as_deref() {
            Some("quiet") => {
                let passes = controller.passes().count.load(Ordering::Relaxed);
                println!("{}", json!({"passes": passes, "kib": resident_kib()}));
            }
            Some("passes") => {
                let before = calls.load(Ordering::Relaxed);
                let rate = passes_per_second(&controller).await;
                let calls = calls.load(Ordering::Relaxed) - before;
                println!("{}", json!({"perSecond": rate, "calls": calls}));
            }
            _ => return,
        }
    }
}

async fn passes_per_second(controller: &Controller) -> f64 {
    let names: Vec<ObjectName> = controller.passes().cache.names();
    let began = Instant::now();
    let mut made = 0_u32;
    while began.elapsed() < MEASURED {
        for name in &names {
            controller.passes().pass(name).await;
            made += 1;
        }
    }
    f64::from(made) / began.elapsed().as_secs_f64()
}
