//! Numbers of clusters that nobody uses.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
};

use jiff::Timestamp;
use prometheus::{IntCounterVec, IntGaugeVec, Opts};

use super::Maker;
use crate::{api::RayClusterStatus, plan::suspend::Cause, status::ConditionType};

/// See the module.
#[derive(Debug)]
pub(super) struct IdleMetrics {
    shutdowns: IntCounterVec,
    idle_seconds: IntGaugeVec,
    unknown_seconds: IntGaugeVec,
    /// By namespace and name.
    times: Mutex<BTreeMap<(String, String), Times>>,
}

/// Since when a cluster is idle, if it is, and since when that is not known, if it is not.
#[derive(Clone, Copy, Debug, Default)]
struct Times {
    idle: Option<Timestamp>,
    unknown: Option<Timestamp>,
}

impl Times {
    fn of(status: &RayClusterStatus) -> Self {
        let mut conditions = status.conditions.iter();
        let idle = conditions.find(|condition| condition.type_ == ConditionType::Idle.name());
        let is = |wanted: &str| idle.filter(|idle| idle.status == wanted);
        Self {
            idle: is("True").and(status.last_activity_time),
            unknown: is("Unknown").map(|idle| idle.last_transition_time.0),
        }
    }
}

impl IdleMetrics {
    pub(super) fn new(make: &mut Maker) -> prometheus::Result<Self> {
        let gauge = |name: &str, help: &str| IntGaugeVec::new(Opts::new(name, help), &["namespace", "name"]);
        let shutdowns = Opts::new("rayward_shutdowns_total", "Clusters that were taken down, by why.");
        let metrics = Self {
            shutdowns: make.add(IntCounterVec::new(shutdowns, &["cause"]))?,
            idle_seconds: make.add(gauge(
                "rayward_cluster_idle_seconds",
                "How long ago the cluster was last used; 0 while it is in use or down.",
            ))?,
            unknown_seconds: make.add(gauge(
                "rayward_cluster_use_unknown_seconds",
                "For how long nobody could tell whether the cluster is used; 0 while that is known.",
            ))?,
            times: Mutex::default(),
        };
        for cause in Cause::ALL {
            metrics.shutdowns.with_label_values(&[cause.name()]).inc_by(0);
        }
        Ok(metrics)
    }

    /// A cluster is being taken down.
    pub(super) fn shut_down(&self, cause: Cause) {
        self.shutdowns.with_label_values(&[cause.name()]).inc();
    }

    /// What a cluster's status says now; `None` when the object is gone.
    pub(super) fn cluster(&self, namespace: &str, name: &str, status: Option<&RayClusterStatus>) {
        let mut times = self.times.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (namespace.to_owned(), name.to_owned());
        if let Some(status) = status {
            times.insert(key, Times::of(status));
        } else {
            times.remove(&key);
            // They are not there when nobody read them.
            let _ = self.idle_seconds.remove_label_values(&[namespace, name]);
            let _ = self.unknown_seconds.remove_label_values(&[namespace, name]);
        }
    }

    /// Time goes on while nothing is written.
    pub(super) fn count(&self, now: Timestamp) {
        let seconds = |since: Option<Timestamp>| since.map_or(0, |at| now.duration_since(at).as_secs().max(0));
        for ((namespace, name), times) in &*self.times.lock().unwrap_or_else(PoisonError::into_inner) {
            let labels = [namespace.as_str(), name.as_str()];
            self.idle_seconds.with_label_values(&labels).set(seconds(times.idle));
            self.unknown_seconds
                .with_label_values(&labels)
                .set(seconds(times.unknown));
        }
    }
}

#[cfg(test)]
mod tests {
    use prometheus::Registry;
    use serde_json::json;

    use super::*;

    #[test]
    fn an_idle_cluster_grows_older_while_nothing_is_written_and_goes_with_its_object() {
        let mut make = Maker {
            registry: Registry::new(),
            error: None,
        };
        let metrics = IdleMetrics::new(&mut make).unwrap();
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        let status = |holds: &str| RayClusterStatus {
            conditions: serde_json::from_value(json!([{
                "type": "Idle", "status": holds, "reason": "R", "message": "",
                "lastTransitionTime": "2026-01-01T12:00:00Z",
            }]))
            .unwrap(),
            last_activity_time: Some(at("2026-01-01T11:00:00Z")),
            ..RayClusterStatus::default()
        };
        let read = |holds: &str| {
            metrics.cluster("ml", "lab", Some(&status(holds)));
            metrics.count(at("2026-01-01T12:00:10Z"));
            let value = |gauge: &IntGaugeVec| gauge.with_label_values(&["ml", "lab"]).get();
            (value(&metrics.idle_seconds), value(&metrics.unknown_seconds))
        };
        assert_eq!(read("True"), (3610, 0));
        assert_eq!(read("Unknown"), (0, 10));
        assert_eq!(read("False"), (0, 0));
        metrics.cluster("ml", "lab", None);
        metrics.count(at("2026-01-01T12:00:10Z"));
        let left = make.registry.gather();
        assert!(
            left.iter()
                .all(|family| family.name() != "rayward_cluster_idle_seconds")
        );
    }
}
