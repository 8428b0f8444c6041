//! What people and programs do on a cluster: what a head's dashboard and the machines tell of it.

use std::collections::BTreeMap;
use std::time::SystemTime;

use serde_json::{Value, json};

/// Everything that uses a cluster. By default nothing does.
#[derive(Clone, Debug, Default)]
pub(crate) struct Load {
    pub(crate) jobs: Vec<Job>,
    pub(crate) actors: Vec<Actor>,
    /// Names of Serve applications.
    pub(crate) applications: Vec<String>,
    /// Pending demand of tasks and actors, as Ray tells it: `[[{"CPU": 1.0}, 4]]`.
    pub(crate) demand: Vec<Value>,
    /// Pending placement groups, as Ray tells them.
    pub(crate) placement_groups: Vec<Value>,
    /// Used CPUs by instance.
    pub(crate) cpus: BTreeMap<String, f64>,
    /// Other resources of the whole cluster, `(used, total)`.
    pub(crate) resources: BTreeMap<String, (f64, f64)>,
}

/// A line of `/api/jobs/`.
#[derive(Clone, Debug)]
pub(crate) struct Job {
    pub(crate) id: String,
    pub(crate) is_submission: bool,
    /// `PENDING`, `RUNNING`, `SUCCEEDED`, `FAILED` or `STOPPED`.
    pub(crate) status: &'static str,
    pub(crate) ended: Option<SystemTime>,
}

impl Job {
    /// One that was submitted.
    pub(crate) fn submission(id: &str, status: &'static str) -> Self {
        Self {
            id: id.to_owned(),
            is_submission: true,
            status,
            ended: None,
        }
    }

    /// A program that called `ray.init`, and runs.
    pub(crate) fn driver(id: &str) -> Self {
        Self {
            is_submission: false,
            ..Self::submission(id, "RUNNING")
        }
    }

    /// The same, ended well at that time.
    pub(crate) fn ended(mut self, at: SystemTime) -> Self {
        self.status = "SUCCEEDED";
        self.ended = Some(at);
        self
    }
}

/// A line of `/api/v0/actors`.
#[derive(Clone, Debug)]
pub(crate) struct Actor {
    pub(crate) class: String,
    pub(crate) namespace: String,
    /// `ALIVE`, `PENDING_CREATION`, `RESTARTING`, `DEAD`, ...
    pub(crate) state: &'static str,
}

impl Actor {
    /// A detached actor of somebody's program.
    pub(crate) fn alive(class: &str) -> Self {
        Self {
            class: class.to_owned(),
            namespace: "somebody".to_owned(),
            state: "ALIVE",
        }
    }

    /// One of Serve's own: `ServeController`, `ProxyActor`, `ServeReplica:app:Model`.
    pub(crate) fn of_serve(class: &str) -> Self {
        Self {
            namespace: "serve".to_owned(),
            ..Self::alive(class)
        }
    }
}

impl Load {
    /// So many tasks wait for a CPU.
    pub(crate) fn waiting(tasks: u32) -> Self {
        Self {
            demand: vec![json!([{"CPU": 1.0}, tasks])],
            ..Self::default()
        }
    }
}
