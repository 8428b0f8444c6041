//! The planner alone, with a cluster of 1,000 workers.

use std::time::{Duration, Instant};

use rayward::{
    execute::Clock as _,
    plan::{Inputs, plan},
};
use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::{
    alike,
    fake::{
        Habits,
        world::{Object, World},
    },
    figures::{Figure, Part},
};

pub(crate) const PART: Part = Part("plan");
const WORKERS: usize = 1000;
const TIMES: usize = 200;

/// Measures the median time of a plan that finds nothing to do.
pub(crate) async fn measure() -> Vec<Figure> {
    let world = World::new(Habits::default());
    let mut spec = alike::spec();
    spec["workerGroups"] = json!([{"name": "cpu", "replicas": WORKERS}]);
    let mut object = Object::new("wide", "0f3a2b1c-0000-4000-8000-123456789abc", &spec);
    world.converge(&mut object).await;
    let observed = world.pass(&mut object, &CancellationToken::new()).await.observed;
    assert_eq!(observed.inventory.instance.ours.len(), WORKERS + 1);
    let cluster = object.valid();
    let inputs = Inputs {
        cluster: &cluster,
        observed: &observed,
        limits: &world.limits,
        now: world.clock.now(),
    };
    let mut took: Vec<Duration> = (0..TIMES)
        .map(|_| {
            let began = Instant::now();
            assert!(std::hint::black_box(plan(&inputs)).is_converged());
            began.elapsed()
        })
        .collect();
    took.sort();
    let median = took[TIMES / 2].as_secs_f64() * 1000.0;
    vec![PART.lower("plan of a cluster with 1,000 workers", median, "ms", 1.0)]
}
