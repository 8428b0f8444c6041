//! What a dashboard answers, in the form in which Ray 2.60 does.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use serde_json::{Map, Value, json};

use super::load::{Actor, Job};
use super::manner::Manner;
use super::ray::{Ray, Row, milliseconds};
use super::state::State;

/// The version of Ray on a machine whose user data names none.
const RAY: &str = "2.60.0";
/// CPUs of every machine.
const CPUS: f64 = 2.0;

/// How many rows Ray collects, whatever is asked for.
const MOST_COLLECTED: usize = 10_000;

/// A request.
pub(super) struct Question<'a> {
    /// The instance id of the head that was asked.
    pub(super) head: &'a str,
    pub(super) query: &'a str,
    /// How to answer, when not properly.
    pub(super) manner: Option<Manner>,
}

impl Question<'_> {
    /// All values of a parameter.
    fn all(&self, name: &str) -> Vec<String> {
        let pairs = self.query.split('&').filter_map(|pair| pair.split_once('='));
        let values = pairs.filter(|(key, _)| *key == name);
        values
            .map(|(_, value)| value.replace("%3D", "=").replace("%3d", "=").replace("%21", "!"))
            .collect()
    }
}

/// `/api/version`.
pub(super) fn version(state: &State, ray: &Ray, question: &Question<'_>) -> Value {
    let told = state
        .nodes
        .get(question.head)
        .and_then(|head| head.machine.said("ray_version"));
    let version = state.version.as_deref().or(told).unwrap_or(RAY);
    json!({"version": "4", "ray_version": version, "ray_commit": "b7f4259e", "session_name": ray.session})
}

/// `/api/v0/nodes`.
pub(super) fn nodes(state: &State, ray: &Ray, question: &Question<'_>) -> Value {
    let mut rows: Vec<Value> = ray.rows.iter().map(|row| node(state, row)).collect();
    rows.sort_by_key(|row| row["node_id"].to_string());
    listed(rows, question)
}

fn node(state: &State, row: &Row) -> Value {
    let poses_as = state.nodes.get(&row.instance).and_then(|node| node.poses_as.as_ref());
    let (end, message) = row
        .ended
        .as_ref()
        .map_or((0, None), |(end, message)| (*end, Some(message)));
    let is_alive = row.ended.is_none();
    let mut resources = json!({"CPU": CPUS, "memory": 2.3e10, "object_store_memory": 2e8});
    resources[format!("node:{}", row.address)] = json!(1.0);
    json!({
        "node_id": row.node_id, "node_ip": row.address, "is_head_node": row.is_head,
        "state": if is_alive { "ALIVE" } else { "DEAD" }, "state_message": message,
        "node_name": row.address, "resources_total": if is_alive { resources } else { json!({}) },
        "labels": {
            "ray.io/node-id": row.node_id, "rayward.dev/instance-id": row.instance,
            "rayward.dev/cluster-uid": poses_as.unwrap_or(&row.cluster), "rayward.dev/group": row.group,
        },
        "start_time_ms": row.started, "end_time_ms": end,
    })
}

/// `/api/jobs/`.
pub(super) fn jobs(state: &State, ray: &Ray, question: &Question<'_>) -> Value {
    if question.manner == Some(Manner::Null) {
        return Value::Null;
    }
    let head = ray.rows.first();
    let jobs = state.load_of(question.head).jobs.iter();
    jobs.map(|each| job(each, head)).collect()
}

fn job(job: &Job, head: Option<&Row>) -> Value {
    let mut line = json!({
        "type": if job.is_submission { "SUBMISSION" } else { "DRIVER" },
        "job_id": if job.is_submission { Value::Null } else { json!(job.id) },
        "submission_id": if job.is_submission { json!(job.id) } else { Value::Null },
        "driver_info": null, "status": job.status, "entrypoint": "python train.py", "message": null,
        "error_type": null, "start_time": milliseconds(SystemTime::UNIX_EPOCH + Duration::from_secs(1_790_000_000)),
        "end_time": job.ended.map(milliseconds), "metadata": {}, "runtime_env": {},
        "driver_agent_http_address": null, "driver_node_id": null, "driver_exit_code": null,
    });
    if !job.is_submission {
        let address = head.map(|head| head.address.as_str()).unwrap_or_default();
        line["driver_info"] = json!({"id": job.id, "node_ip_address": address, "pid": "4711"});
        line["entrypoint"] = json!("");
    }
    line
}

/// `/api/v0/actors`.
pub(super) fn actors(state: &State, ray: &Ray, question: &Question<'_>) -> Value {
    let actors = state.load_of(question.head).actors.iter().enumerate();
    listed(
        actors.map(|(number, each)| actor(number, each, ray)).collect(),
        question,
    )
}

fn actor(number: usize, actor: &Actor, ray: &Ray) -> Value {
    json!({
        "actor_id": format!("{number:024x}01000000"), "class_name": actor.class, "state": actor.state,
        "job_id": "01000000", "name": "", "node_id": ray.rows.first().map(|row| row.node_id.as_str()), "pid": 4712,
        "ray_namespace": actor.namespace,
    })
}

/// `/api/serve/applications/`. Without Serve, Ray says so with empty parts.
pub(super) fn applications(state: &State, question: &Question<'_>) -> Value {
    if question.manner == Some(Manner::Null) {
        return Value::Null;
    }
    let names = state.load_of(question.head).applications.iter();
    let applications: Map<String, Value> = names
        .map(|name| {
            let details =
                json!({"name": name, "route_prefix": "/", "status": "RUNNING", "message": "", "deployments": {}});
            (name.clone(), details)
        })
        .collect();
    json!({"controller_info": {}, "proxies": {}, "applications": applications, "target_capacity": null})
}

/// `/api/cluster_status`.
pub(super) fn cluster_status(state: &State, ray: &Ray, question: &Question<'_>) -> Value {
    let load = state.load_of(question.head);
    let alive = ray.rows.iter().filter(|row| row.ended.is_none());
    // Without an autoscaler of its own, Ray keys it by node id.
    let by_node: BTreeMap<&str, Value> = alive
        .map(|row| {
            let used = load.cpus.get(&row.instance).copied().unwrap_or_default();
            let usage = json!({"CPU": [used, CPUS], "memory": [0.0, 2.3e10], "objectStoreMemory": [0.0, 2e8]});
            (row.node_id.as_str(), usage)
        })
        .collect();
    let sum = |place: usize| {
        by_node
            .values()
            .filter_map(|usage| usage["CPU"][place].as_f64())
            .sum::<f64>()
    };
    let mut usage = json!({
        "CPU": [sum(0), sum(1)], "memory": [0.0, 2.3e10], "objectStoreMemory": [0.0, 2e8],
    });
    for (name, (used, total)) in &load.resources {
        usage[name] = json!([used, total]);
    }
    let age = match question.manner {
        Some(Manner::Old(age)) => age,
        _ => Duration::ZERO,
    };
    let time = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default()
        .saturating_sub(age);
    let status = json!({
        "gcsRequestTime": 0.002, "time": time.as_secs_f64(),
        "loadMetricsReport": {
            "usage": usage, "resourceDemand": load.demand, "pgDemand": load.placement_groups, "requestDemand": [],
            "nodeTypes": [], "headIp": null, "usageByNode": by_node, "nodeTypeMapping": null, "idleTimeMap": null,
        },
    });
    let is_null = question.manner == Some(Manner::Null);
    json!({
        "result": question.manner != Some(Manner::Failed), "msg": "Got cluster status.",
        "data": {
            "autoscalingStatus": null, "autoscalingError": null,
            "clusterStatus": if is_null { Value::Null } else { status },
        },
    })
}

/// The form of all lists of `/api/v0/`.
fn listed(rows: Vec<Value>, question: &Question<'_>) -> Value {
    if question.manner == Some(Manner::Null) {
        return json!({"result": true, "msg": "", "data": {}});
    }
    let in_all = rows.len();
    let filters = question
        .all("filter_keys")
        .into_iter()
        .zip(question.all("filter_values"));
    let filters: Vec<_> = filters.zip(question.all("filter_predicates")).collect();
    let mut rows = rows;
    // What is asked to be equal is compared where rows are collected, the rest only after that.
    let is_collected = filters.iter().any(|(_, predicate)| predicate == "=");
    let collected = if is_collected {
        in_all
    } else {
        in_all.min(MOST_COLLECTED)
    };
    rows.truncate(collected);
    rows.retain(|row| {
        filters
            .iter()
            .all(|((key, value), predicate)| (row[key] == json!(value)) == (predicate == "="))
    });
    let filtered = rows.len();
    let limit = question
        .all("limit")
        .first()
        .and_then(|limit| limit.parse().ok())
        .unwrap_or(100);
    rows.truncate(limit);
    let is_truncated = question.manner == Some(Manner::Truncated);
    if is_truncated {
        rows.truncate(1);
    }
    let warning = match question.manner {
        Some(Manner::Partial) => "Failed to query data from 1 of 3 sources: the result is not complete.",
        _ => "",
    };
    json!({
        "result": question.manner != Some(Manner::Failed), "msg": "",
        "data": {"result": {
            "total": in_all, "num_after_truncation": if is_truncated { rows.len() } else { collected },
            "num_filtered": if is_truncated { rows.len() } else { filtered },
            "result": rows, "partial_failure_warning": warning, "warnings": null,
        }},
    })
}
