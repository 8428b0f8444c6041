//! The numbers on `/metrics`. Labels are closed sets, never the names of objects, except on `rayward_cluster_*`, which
//! go away with their object.

mod idle;

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use jiff::Timestamp;
use prometheus::{
    HistogramOpts, HistogramVec, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry, TextEncoder, core::Collector,
    process_collector::ProcessCollector,
};

use self::idle::IdleMetrics;
use crate::{
    api::{Phase, RayClusterStatus, WorkerGroupStatus},
    aws::{AwsCall, ErrorClass, Observer},
    plan::suspend::Cause,
};

/// Upper bounds of durations, in seconds.
const SECONDS: &[f64] = &[0.001, 0.005, 0.025, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0];

/// See the module.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    reconciles: IntCounterVec,
    reconcile_seconds: HistogramVec,
    reconcile_errors: IntCounterVec,
    queue_depth: IntGauge,
    active: IntGauge,
    requests: IntCounterVec,
    request_seconds: HistogramVec,
    throttles: IntCounterVec,
    sweep_age: IntGaugeVec,
    orphans: IntGaugeVec,
    clusters: IntGaugeVec,
    workers_desired: IntGaugeVec,
    workers_running: IntGaugeVec,
    workers_joined: IntGaugeVec,
    ray_unknown: IntGaugeVec,
    heals: IntCounterVec,
    phases: Mutex<BTreeMap<(String, String), Phase>>,
    idle: IdleMetrics,
}

/// How a pass ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PassOutcome {
    /// All is as asked for.
    Converged,
    /// Something is waited for.
    Waiting,
    /// It was cut short, and goes on with the next.
    Interrupted,
    /// Kubernetes failed it.
    Failed,
    /// The object breaks a rule.
    Invalid,
    /// It panicked, which is a fault of the program.
    Panicked,
}

impl PassOutcome {
    fn name(self) -> &'static str {
        match self {
            Self::Converged => "converged",
            Self::Waiting => "waiting",
            Self::Interrupted => "interrupted",
            Self::Failed => "failed",
            Self::Invalid => "invalid",
            Self::Panicked => "panicked",
        }
    }
}

/// Why something failed in a pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// AWS did.
    Aws(ErrorClass),
    /// Kubernetes did.
    Kubernetes,
    /// The object had changed meanwhile.
    Conflict,
    /// A machine could not be reached over SSH, or what was to be done there failed.
    Machine,
}

impl ErrorKind {
    fn name(self) -> &'static str {
        match self {
            Self::Aws(class) => class_name(class),
            Self::Kubernetes => "kubernetes",
            Self::Conflict => "conflict",
            Self::Machine => "machine",
        }
    }
}

fn class_name(class: ErrorClass) -> &'static str {
    match class {
        ErrorClass::Retryable => "retryable",
        ErrorClass::Throttled => "throttled",
        ErrorClass::Capacity => "capacity",
        ErrorClass::Unsupported => "unsupported",
        ErrorClass::Waiting => "waiting",
        ErrorClass::NotFound => "not_found",
        ErrorClass::AlreadyCarriedOut => "already_carried_out",
        ErrorClass::Terminal => "terminal",
        ErrorClass::LostLease => "lost_lease",
    }
}

const PHASES: [(Phase, &str); 8] = [
    (Phase::Provisioning, "Provisioning"),
    (Phase::Ready, "Ready"),
    (Phase::Degraded, "Degraded"),
    (Phase::Suspending, "Suspending"),
    (Phase::Suspended, "Suspended"),
    (Phase::Resuming, "Resuming"),
    (Phase::Deleting, "Deleting"),
    (Phase::Stalled, "Stalled"),
];

/// Makes metrics in one registry and keeps the first error.
struct Maker {
    registry: Registry,
    error: Option<prometheus::Error>,
}

impl Maker {
    fn add<C: Collector + Clone + 'static>(&mut self, made: prometheus::Result<C>) -> prometheus::Result<C> {
        let collector = made?;
        if let Err(error) = self.registry.register(Box::new(collector.clone())) {
            self.error.get_or_insert(error);
        }
        Ok(collector)
    }
}

impl Metrics {
    /// All metrics at zero.
    ///
    /// # Errors
    /// When two of them have one name, which a test rules out.
    pub fn new() -> prometheus::Result<Self> {
        let mut make = Maker {
            registry: Registry::new(),
            error: None,
        };
        let counter = |name: &str, help: &str, labels: &[&str]| IntCounterVec::new(Opts::new(name, help), labels);
        let gauge = |name: &str, help: &str, labels: &[&str]| IntGaugeVec::new(Opts::new(name, help), labels);
        let seconds = |name: &str, help: &str, labels: &[&str]| {
            HistogramVec::new(HistogramOpts::new(name, help).buckets(SECONDS.to_vec()), labels)
        };
        let metrics = Self {
            reconciles: make.add(counter(
                "rayward_reconcile_total",
                "Passes over a cluster, by how they ended.",
                &["outcome"],
            ))?,
            reconcile_seconds: make.add(seconds(
                "rayward_reconcile_duration_seconds",
                "How long passes over a cluster took.",
                &[],
            ))?,
            reconcile_errors: make.add(counter(
                "rayward_reconcile_errors_total",
                "What failed in passes, by the class that decides what follows.",
                &["class"],
            ))?,
            queue_depth: make.add(IntGauge::new(
                "rayward_queue_depth",
                "Clusters whose pass is due and has not begun.",
            ))?,
            active: make.add(IntGauge::new("rayward_reconcile_active", "Passes that are under way."))?,
            requests: make.add(counter(
                "rayward_aws_requests_total",
                "Calls to AWS; class is ok or why they failed.",
                &["service", "operation", "class"],
            ))?,
            request_seconds: make.add(seconds(
                "rayward_aws_request_duration_seconds",
                "How long calls to AWS took.",
                &["service"],
            ))?,
            throttles: make.add(counter(
                "rayward_aws_throttles_total",
                "Calls that AWS throttled.",
                &["service"],
            ))?,
            sweep_age: make.add(gauge(
                "rayward_aws_sweep_age_seconds",
                "How long ago the last good look at all resources of a kind began.",
                &["region", "kind"],
            ))?,
            orphans: make.add(gauge(
                "rayward_orphans",
                "Resources of this installation whose RayCluster does not exist.",
                &["region"],
            ))?,
            clusters: make.add(gauge("rayward_clusters", "RayClusters by phase.", &["phase"]))?,
            workers_desired: make.add(gauge(
                "rayward_cluster_workers_desired",
                "Workers that the cluster asks for.",
                &["namespace", "name"],
            ))?,
            workers_running: make.add(gauge(
                "rayward_cluster_workers_running",
                "Workers of the cluster that run.",
                &["namespace", "name"],
            ))?,
            workers_joined: make.add(gauge(
                "rayward_cluster_workers_joined",
                "Workers of the cluster that have joined Ray.",
                &["namespace", "name"],
            ))?,
            ray_unknown: make.add(gauge(
                "rayward_cluster_ray_unknown_since_seconds",
                "Since when the cluster's Ray is not known, as a Unix time; 0 while it is.",
                &["namespace", "name"],
            ))?,
            heals: make.add(counter(
                "rayward_heals_total",
                "Steps taken on machines to heal them, by the step.",
                &["step"],
            ))?,
            phases: Mutex::default(),
            idle: IdleMetrics::new(&mut make)?,
            registry: make.registry.clone(),
        };
        make.registry.register(Box::new(ProcessCollector::for_self()))?;
        for (_, name) in PHASES {
            metrics.clusters.with_label_values(&[name]).set(0);
        }
        match make.error {
            Some(error) => Err(error),
            None => Ok(metrics),
        }
    }

    /// The text that Prometheus reads.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn text(&self) -> prometheus::Result<String> {
        self.idle.count(Timestamp::now());
        TextEncoder::new().encode_to_string(&self.registry.gather())
    }

    /// A pass ended.
    pub fn pass_ended(&self, outcome: PassOutcome, took: Duration) {
        self.reconciles.with_label_values(&[outcome.name()]).inc();
        self.reconcile_seconds
            .with_label_values::<&str>(&[])
            .observe(took.as_secs_f64());
    }

    /// Something failed in a pass.
    pub fn pass_failed(&self, why: ErrorKind) {
        self.reconcile_errors.with_label_values(&[why.name()]).inc();
    }

    /// A step was taken on a machine to heal it.
    pub fn healed(&self, step: &str) {
        self.heals.with_label_values(&[step]).inc();
    }

    /// A cluster is being taken down.
    pub fn shut_down(&self, cause: Cause) {
        self.idle.shut_down(cause);
    }

    /// How many passes are due, and how many are under way.
    pub fn queue(&self, depth: usize, active: usize) {
        self.queue_depth.set(i64::try_from(depth).unwrap_or(i64::MAX));
        self.active.set(i64::try_from(active).unwrap_or(i64::MAX));
    }

    /// How long ago the last good sweep of a kind began.
    pub fn sweep_age(&self, region: &str, kind: &str, age: Duration) {
        let age = i64::try_from(age.as_secs()).unwrap_or(i64::MAX);
        self.sweep_age.with_label_values(&[region, kind]).set(age);
    }

    /// How many resources of this installation have no `RayCluster`.
    pub fn orphans(&self, region: &str, count: usize) {
        let count = i64::try_from(count).unwrap_or(i64::MAX);
        self.orphans.with_label_values(&[region]).set(count);
    }

    /// What a cluster's status says now; `None` when the object is gone.
    pub fn cluster(&self, namespace: &str, name: &str, status: Option<&RayClusterStatus>) {
        let mut phases = self.phases.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (namespace.to_owned(), name.to_owned());
        let phase = status.and_then(|status| status.phase);
        let before = match phase {
            Some(phase) => phases.insert(key, phase),
            None => phases.remove(&key),
        };
        drop(phases);
        let count = |phase: Option<Phase>, by: i64| {
            for (_, name) in PHASES.iter().filter(|(known, _)| Some(*known) == phase) {
                self.clusters.with_label_values(&[*name]).add(by);
            }
        };
        count(before, -1);
        count(phase, 1);
        self.idle.cluster(namespace, name, status);
        let labels = [namespace, name];
        if let Some(status) = status {
            let sum =
                |of: fn(&WorkerGroupStatus) -> u32| status.worker_groups.iter().map(|group| i64::from(of(group))).sum();
            self.workers_desired
                .with_label_values(&labels)
                .set(sum(|group| group.desired));
            self.workers_running
                .with_label_values(&labels)
                .set(sum(|group| group.running));
            self.workers_joined
                .with_label_values(&labels)
                .set(sum(|group| group.joined));
            let unknown = status.ray_unknown_since.map_or(0, Timestamp::as_second);
            self.ray_unknown.with_label_values(&labels).set(unknown);
        } else {
            // They are not there when the object was never looked at.
            let _ = self.workers_desired.remove_label_values(&labels);
            let _ = self.workers_running.remove_label_values(&labels);
            let _ = self.workers_joined.remove_label_values(&labels);
            let _ = self.ray_unknown.remove_label_values(&labels);
        }
    }
}

impl Observer for Metrics {
    fn call_ended(&self, call: AwsCall, class: Option<ErrorClass>, took: Duration) {
        let service = call.service().name();
        let result = class.map_or("ok", class_name);
        self.requests.with_label_values(&[service, call.action(), result]).inc();
        self.request_seconds
            .with_label_values(&[service])
            .observe(took.as_secs_f64());
        if class == Some(ErrorClass::Throttled) {
            self.throttles.with_label_values(&[service]).inc();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(phase: Phase, running: u32) -> RayClusterStatus {
        RayClusterStatus {
            phase: Some(phase),
            worker_groups: vec![WorkerGroupStatus {
                desired: 2,
                running,
                ..WorkerGroupStatus::default()
            }],
            ..RayClusterStatus::default()
        }
    }

    #[test]
    fn a_cluster_is_counted_in_one_phase_and_its_numbers_go_with_it() {
        let metrics = Metrics::new().unwrap();
        metrics.cluster("ml", "lab", Some(&status(Phase::Provisioning, 0)));
        metrics.cluster("ml", "lab", Some(&status(Phase::Ready, 2)));
        let text = metrics.text().unwrap();
        assert!(text.contains("rayward_clusters{phase=\"Ready\"} 1"), "{text}");
        assert!(text.contains("rayward_clusters{phase=\"Provisioning\"} 0"));
        assert!(text.contains("rayward_cluster_workers_running{name=\"lab\",namespace=\"ml\"} 2"));
        metrics.cluster("ml", "lab", None);
        let text = metrics.text().unwrap();
        assert!(text.contains("rayward_clusters{phase=\"Ready\"} 0") && !text.contains("namespace=\"ml\""));
    }

    #[test]
    fn every_call_is_counted_by_service_operation_and_class() {
        let metrics = Metrics::new().unwrap();
        metrics.call_ended(AwsCall::CreateVpc, None, Duration::from_millis(20));
        metrics.call_ended(
            AwsCall::CreateVpc,
            Some(ErrorClass::Throttled),
            Duration::from_millis(20),
        );
        let text = metrics.text().unwrap();
        let request = "rayward_aws_requests_total{class=\"throttled\",operation=\"CreateVpc\",service=\"ec2\"} 1";
        assert!(text.contains(request), "{text}");
        assert!(text.contains("rayward_aws_throttles_total{service=\"ec2\"} 1"));
        assert!(text.contains("rayward_aws_request_duration_seconds_count{service=\"ec2\"} 2"));
    }
}
