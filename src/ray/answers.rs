//! The answers of the head's dashboard: tolerant of fields that nobody reads, strict about those that decide, and about
//! completeness.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use jiff::Timestamp;
use serde::{
    Deserialize, Deserializer,
    de::{DeserializeOwned, IgnoredAny, MapAccess, Visitor},
};

use super::{
    facts::Blindness,
    failure::{Failure, excerpt},
};

/// The answer to `/api/version`.
#[derive(Debug, Deserialize)]
pub struct Version {
    /// Version of Ray.
    pub ray_version: String,
    /// Name of Ray's session, which changes with each start of a head.
    pub session_name: String,
}

/// A row of `/api/v0/nodes`.
#[derive(Debug, Default, Deserialize)]
pub struct NodeRow {
    /// Ray's id of it.
    pub node_id: String,
    /// Its address.
    pub node_ip: String,
    /// Whether it is the head.
    pub is_head_node: bool,
    /// `ALIVE` or `DEAD`.
    pub state: String,
    /// Why it is dead.
    pub state_message: Option<String>,
    /// Labels that it was started with.
    #[serde(default)]
    pub labels: Option<BTreeMap<String, String>>,
    /// When it started, in milliseconds since 1970.
    pub start_time_ms: i64,
    /// When it died, in milliseconds since 1970; 0: it lives.
    #[serde(default)]
    pub end_time_ms: Option<i64>,
}

/// A row of `/api/v0/actors`.
#[derive(Debug, Default, Deserialize)]
pub struct ActorRow {
    /// Its class.
    pub class_name: String,
    /// `ALIVE`, `DEAD`, or on its way to one of them.
    pub state: String,
    /// The node that it is on, once it is on one.
    #[serde(default)]
    pub node_id: Option<String>,
    /// Namespace of its driver.
    #[serde(default)]
    pub ray_namespace: Option<String>,
}

/// A row of `/api/jobs/`: a submitted job, or a driver that connected by itself.
#[derive(Debug, Deserialize)]
pub struct JobRow {
    /// Which of the two.
    #[serde(rename = "type")]
    pub kind: JobKind,
    /// How it stands.
    pub status: JobStatus,
    /// Its id as a submitted job.
    #[serde(default)]
    pub submission_id: Option<String>,
    /// Its id as a driver.
    #[serde(default)]
    pub job_id: Option<String>,
    /// When it ended, in milliseconds since 1970.
    #[serde(default)]
    pub end_time: Option<i64>,
}

/// What a row of `/api/jobs/` is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum JobKind {
    /// A submitted job.
    Submission,
    /// A driver or Ray Client.
    Driver,
}

/// How a job stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum JobStatus {
    /// It has not started.
    Pending,
    /// It runs.
    Running,
    /// A person ended it.
    Stopped,
    /// It ended well.
    Succeeded,
    /// It ended badly.
    Failed,
}

/// The answer to `/api/serve/applications/`.
#[derive(Debug, Default, Deserialize)]
pub struct Serve {
    /// The names of the applications.
    #[serde(deserialize_with = "names")]
    pub applications: BTreeSet<String>,
}

/// The keys of an object whose values nobody reads.
fn names<'de, D: Deserializer<'de>>(object: D) -> Result<BTreeSet<String>, D::Error> {
    struct Keys;
    impl<'de> Visitor<'de> for Keys {
        type Value = BTreeSet<String>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<Self::Value, A::Error> {
            let mut names = BTreeSet::new();
            while let Some((name, IgnoredAny)) = object.next_entry()? {
                names.insert(name);
            }
            Ok(names)
        }
    }
    object.deserialize_map(Keys)
}

/// How much of each resource is in use, and how much there is.
pub type Usage = BTreeMap<String, (f64, f64)>;

/// What `/api/cluster_status` tells of load.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Load {
    /// Resources in use and in all, by name.
    pub usage: Usage,
    /// Tasks and actors that wait: what each needs, and how many of the kind there are.
    pub resource_demand: Vec<(BTreeMap<String, f64>, u64)>,
    /// Placement groups that wait, and how many of the kind there are.
    pub pg_demand: Vec<(IgnoredAny, u64)>,
    /// As `usage`, by the node's id or address.
    #[serde(default)]
    pub usage_by_node: Option<BTreeMap<String, Usage>>,
}

#[derive(Deserialize)]
struct Wrapped<T> {
    result: bool,
    #[serde(default)]
    msg: Option<String>,
    data: Option<T>,
}

#[derive(Deserialize)]
struct Listed<T> {
    result: Option<Listing<T>>,
}

#[derive(Deserialize)]
struct Listing<T> {
    total: usize,
    num_after_truncation: usize,
    #[serde(default)]
    num_filtered: Option<usize>,
    result: Vec<T>,
    #[serde(default)]
    partial_failure_warning: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ClusterStatus {
    cluster_status: Option<Status>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Status {
    time: Option<f64>,
    load_metrics_report: Option<Load>,
}

fn incomplete(path: &str, what: impl fmt::Display) -> Failure {
    Failure::new(
        Blindness::Incomplete,
        format!("the dashboard's answer to {path} {what}"),
    )
}

/// An answer in JSON.
///
/// # Errors
/// `Incomplete` where it breaks off, `Garbled` where it cannot be read otherwise.
pub fn read<T: DeserializeOwned>(path: &str, body: &[u8]) -> Result<T, Failure> {
    serde_json::from_slice(body).map_err(|error| {
        // The text of the error could repeat what stands there; where it is says enough.
        let place = format!("line {} column {}", error.line(), error.column());
        if error.is_eof() {
            return incomplete(path, format!("breaks off at {place}"));
        }
        let message = format!("the dashboard's answer to {path} cannot be read at {place}");
        Failure::new(Blindness::Garbled, message)
    })
}

fn unwrapped<T: DeserializeOwned>(path: &str, body: &[u8]) -> Result<T, Failure> {
    let wrapped: Wrapped<T> = read(path, body)?;
    match wrapped {
        Wrapped {
            result: true,
            data: Some(data),
            ..
        } => Ok(data),
        Wrapped { result: true, .. } => Err(incomplete(path, "is empty")),
        Wrapped { msg, .. } => {
            let words = excerpt(&msg.unwrap_or_default(), 200);
            Err(incomplete(path, format!("says that it failed: {words}")))
        }
    }
}

/// Rows of a list, and how many more there are.
#[derive(Debug)]
pub struct Page<T> {
    rows: Vec<T>,
    /// How many rows were left out.
    pub missing: usize,
}

impl<T: DeserializeOwned> Page<T> {
    /// What the answer to `path` tells.
    ///
    /// # Errors
    /// `Incomplete` where sources of it failed, or as [`read`].
    pub fn read(path: &str, body: &[u8]) -> Result<Self, Failure> {
        let listed: Listed<T> = unwrapped(path, body)?;
        let Some(listing) = listed.result else {
            return Err(incomplete(path, "has no list"));
        };
        if let Some(warning) = listing.partial_failure_warning.filter(|warning| !warning.is_empty()) {
            let words = excerpt(&warning, 200);
            return Err(incomplete(path, format!("warns that parts of it are missing: {words}")));
        }
        let rows = listing.result;
        let not_collected = listing.total.saturating_sub(listing.num_after_truncation);
        let not_sent = listing.num_filtered.unwrap_or(0).saturating_sub(rows.len());
        Ok(Self {
            rows,
            missing: not_collected.max(not_sent),
        })
    }

    /// All rows.
    ///
    /// # Errors
    /// `Incomplete` where some are missing.
    pub fn whole(self, path: &str) -> Result<Vec<T>, Failure> {
        match self.missing {
            0 => Ok(self.rows),
            missing => Err(incomplete(path, format!("leaves out {missing} rows"))),
        }
    }
}

/// All rows of a list.
///
/// # Errors
/// `Incomplete` where rows are missing, or as [`read`].
pub fn list<T: DeserializeOwned>(path: &str, body: &[u8]) -> Result<Vec<T>, Failure> {
    Page::read(path, body)?.whole(path)
}

/// How old what the autoscaler's monitor wrote may be; it writes every 5 seconds.
const OLDEST_LOAD: f64 = 30.0;

/// The load, from the answer to `/api/cluster_status` that was given at `now` by the head's own clock.
///
/// # Errors
/// `Incomplete` while it is not all there after a start, `Stale` when it is too old, or as [`read`].
pub fn load(path: &str, body: &[u8], now: Timestamp) -> Result<Load, Failure> {
    let answer: ClusterStatus = unwrapped(path, body)?;
    let Some(Status {
        time: Some(time),
        load_metrics_report: Some(load),
    }) = answer.cluster_status
    else {
        return Err(incomplete(path, "does not tell the load yet"));
    };
    #[allow(clippy::cast_precision_loss, reason = "milliseconds of this era are exact")]
    let age = now.as_millisecond() as f64 / 1000.0 - time;
    // Written in the future: one of its clocks is wrong, and nothing tells how old it is.
    if age.is_nan() || age.abs() >= OLDEST_LOAD {
        let message = format!("the load that the dashboard tells at {path} is {age:.0} s old: Ray's monitor is stuck");
        return Err(Failure::new(Blindness::Stale, message));
    }
    Ok(load)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATH: &str = "/api/v0/nodes";

    const NODES: &str = r#"{"result":true,"msg":"","data":{"result":{"total":1,"num_after_truncation":1,
        "num_filtered":1,"result":[{"node_id":"b3","node_ip":"10.0.1.4","is_head_node":true,"state":"ALIVE",
        "state_message":null,"labels":{"rayward.dev/group":"head"},"resources_total":{"CPU":2.0},
        "start_time_ms":1795396056060,"end_time_ms":0}],"partial_failure_warning":""}}}"#;

    const STATUS: &str = r#"{"result":true,"msg":"","data":{"autoscalingStatus":null,"clusterStatus":{"time":1000.5,
        "loadMetricsReport":{"usage":{"CPU":[6.0,6.0],"myBigDisk":[0.0,1.0]},"resourceDemand":[[{"CPU":1.0},4]],
        "pgDemand":[[{"bundles":[[{"CPU":2.0},1]],"strategy":"STRICT_SPREAD"},1]],"requestDemand":[],
        "usageByNode":{"b3":{"CPU":[6.0,6.0]}}}}}}"#;

    fn why<T>(result: Result<T, Failure>) -> Blindness {
        result.err().expect("a failure").why
    }

    #[test]
    fn rows_are_read_and_unknown_fields_are_no_matter() {
        let rows: Vec<NodeRow> = list(PATH, NODES.as_bytes()).unwrap();
        assert_eq!(rows.len(), 1);
        assert!(rows[0].is_head_node && rows[0].node_id == "b3");
    }

    #[test]
    fn a_list_that_lacks_something_is_incomplete() {
        for (from, to) in [
            ("\"result\":true", "\"result\":false"),
            ("\"total\":1", "\"total\":2"),
            ("\"num_filtered\":1", "\"num_filtered\":2"),
            ("_warning\":\"\"", "_warning\":\"a node did not answer\""),
            ("\"end_time_ms\":0}],\"partial_failure_warning\":\"\"}}}", ""),
        ] {
            assert!(NODES.contains(from), "{from}");
            let answer = list::<NodeRow>(PATH, NODES.replacen(from, to, 1).as_bytes());
            assert_eq!(why(answer), Blindness::Incomplete, "{from}");
        }
        let empty = r#"{"result":true,"data":{"result":null}}"#;
        assert_eq!(why(list::<NodeRow>(PATH, empty.as_bytes())), Blindness::Incomplete);
        let failed = r#"{"result":false,"msg":"Failed to query the data source","data":{}}"#;
        let failure = list::<NodeRow>(PATH, failed.as_bytes()).unwrap_err();
        assert!(failure.message.contains("Failed to query"), "{failure}");
    }

    #[test]
    fn a_field_that_decides_cannot_be_left_out() {
        for (from, to) in [
            ("\"state\":\"ALIVE\",", ""),
            ("\"is_head_node\":true", "\"is_head_node\":\"yes\""),
            ("\"total\":1,", ""),
            ("{\"result\":true", "<html>"),
        ] {
            assert!(NODES.contains(from), "{from}");
            let answer = list::<NodeRow>(PATH, NODES.replacen(from, to, 1).as_bytes());
            assert_eq!(why(answer), Blindness::Garbled, "{from}");
        }
        let status = r#"[{"type":"SUBMISSION","status":"DREAMING"}]"#;
        let answer = read::<Vec<JobRow>>("/api/jobs/", status.as_bytes());
        assert_eq!(why(answer), Blindness::Garbled);
    }

    #[test]
    fn what_stands_in_an_answer_is_not_repeated() {
        let failure = read::<Version>("/api/version", br#"{"ray_version": {"hunter2": 1}}"#).unwrap_err();
        assert!(!failure.message.contains("hunter2"), "{failure}");
    }

    fn load_at(seconds: i64, body: &str) -> Result<Load, Failure> {
        let now = Timestamp::from_second(seconds).unwrap();
        load("/api/cluster_status", body.as_bytes(), now)
    }

    #[test]
    fn load_is_read_while_it_is_fresh() {
        let fresh = load_at(1030, STATUS).unwrap();
        assert_eq!(fresh.resource_demand[0].1, 4);
        assert_eq!(fresh.pg_demand[0].1, 1);
        assert_eq!(fresh.usage_by_node.unwrap()["b3"]["CPU"], (6.0, 6.0));
        assert_eq!(why(load_at(1031, STATUS)), Blindness::Stale);
        assert_eq!(why(load_at(970, STATUS)), Blindness::Stale);
    }

    #[test]
    fn load_of_a_ray_that_just_started_is_incomplete() {
        for (from, to) in [
            ("\"time\":1000.5,", ""),
            ("\"loadMetricsReport\":", "\"later\":"),
            ("\"clusterStatus\":", "\"clusterStatus\":null,\"later\":"),
        ] {
            assert!(STATUS.contains(from), "{from}");
            let answer = load_at(1010, &STATUS.replacen(from, to, 1));
            assert_eq!(why(answer), Blindness::Incomplete, "{from}");
        }
        let without_usage = STATUS.replacen("\"usage\"", "\"usages\"", 1);
        assert_eq!(why(load_at(1010, &without_usage)), Blindness::Garbled);
    }
}
