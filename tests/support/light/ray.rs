//! The Ray of one head: its nodes, how they come and how they go.

use std::time::{Instant, SystemTime};

use sha2::{Digest, Sha256};

use super::node::Node;
use super::timing::Timing;
use super::trouble::{Life, Trouble};

/// One run of Ray on a head; a restarted head has another one, which knows nothing of the old nodes.
#[derive(Debug)]
pub(crate) struct Ray {
    pub(crate) session: String,
    pub(crate) token: String,
    pub(crate) life: Life,
    pub(crate) rows: Vec<Row>,
}

/// A node as Ray knows it: one run of a raylet.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    pub(crate) node_id: String,
    pub(crate) instance: String,
    pub(crate) cluster: String,
    pub(crate) group: String,
    pub(crate) address: String,
    pub(crate) is_head: bool,
    /// Unix time in milliseconds.
    pub(crate) started: u64,
    /// Unix time in milliseconds, and Ray's words.
    pub(crate) ended: Option<(u64, String)>,
    life: Life,
    dying_since: Option<Instant>,
    drain: Option<Drain>,
}

#[derive(Clone, Debug)]
struct Drain {
    message: String,
    idle_since: Option<Instant>,
}

/// Unix time in milliseconds.
pub(crate) fn milliseconds(time: SystemTime) -> u64 {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

impl Row {
    fn of(node: &Node, after: u64) -> Self {
        let started = milliseconds(SystemTime::now()).max(after + 1);
        let machine = &node.machine;
        let digest = Sha256::digest(format!("{} {started}", machine.id));
        Self {
            // Ray's ids have 28 bytes.
            node_id: format!("{digest:x}")[..56].to_owned(),
            instance: machine.id.clone(),
            cluster: machine.cluster().to_owned(),
            group: machine.group().to_owned(),
            address: machine
                .private_address
                .map(|address| address.to_string())
                .unwrap_or_default(),
            is_head: machine.is_head(),
            started,
            ended: None,
            life: node.life,
            dying_since: None,
            drain: None,
        }
    }

    fn end(&mut self, message: &str) {
        self.ended = Some((milliseconds(SystemTime::now()), message.to_owned()));
    }

    /// Whether it is a raylet that runs, for all that is known.
    fn runs(&self) -> bool {
        self.ended.is_none() && self.dying_since.is_none()
    }
}

impl Ray {
    /// A Ray that a head has just started.
    pub(crate) fn begin(head: &Node, token: &str) -> Self {
        let row = Row::of(head, 0);
        Self {
            session: format!("session_{}_{}", row.started, &row.node_id[..6]),
            token: token.to_owned(),
            life: head.life,
            rows: vec![row],
        }
    }

    /// Lets a worker join, die or be gone, as what is known of it now demands. `works`: tasks run on it.
    pub(crate) fn follow(&mut self, worker: &mut Node, is_mine: bool, works: bool, timing: &Timing) {
        let now = Instant::now();
        let is_able = is_mine
            && worker.can_run_ray(timing.boot)
            && worker.token.as_deref() == Some(&self.token)
            && !worker.has(&Trouble::Cable);
        let rows = self
            .rows
            .iter_mut()
            .filter(|row| row.instance == worker.machine.id && row.ended.is_none());
        for row in rows {
            if row.runs() && row.life != worker.life && worker.machine.runs() {
                row.end("Expected termination: received SIGTERM");
                continue;
            }
            if row.runs() && !is_able {
                row.dying_since = Some(now);
            }
            if row.dying_since.is_some_and(|since| now >= since + timing.death) {
                row.end("Unexpected termination: health check failed due to missing too many heartbeats");
                continue;
            }
            let Some(drain) = row.drain.as_mut() else { continue };
            drain.idle_since = if works { None } else { drain.idle_since.or(Some(now)) };
            if drain.idle_since.is_some_and(|since| now >= since + timing.drain) {
                let message = drain.message.clone();
                row.end(&message);
                worker.drained_in = Some(worker.life);
            }
        }
        if !is_able || worker.drained_in == Some(worker.life) {
            worker.able_since = None;
            return;
        }
        let since = *worker.able_since.get_or_insert(now);
        let mut own = self.rows.iter().filter(|row| row.instance == worker.machine.id);
        if now >= since + timing.join && !own.clone().any(Row::runs) {
            let last = own.by_ref().map(|row| row.started).max().unwrap_or_default();
            self.rows.push(Row::of(worker, last));
        }
    }

    /// Begins to drain a node; the error is what `ray drain-node` says.
    pub(crate) fn drain(&mut self, node_id: &str, is_idle_reason: bool, message: &str) -> Result<(), String> {
        let row = self.rows.iter_mut().find(|row| row.node_id == node_id && row.runs());
        let row = row.ok_or_else(|| format!("no node {node_id} is alive"))?;
        let why = if is_idle_reason {
            "Terminated due to idle (no Ray activity)"
        } else {
            "Terminated due to preemption"
        };
        let message = format!("{why}: {message}");
        row.drain.get_or_insert(Drain {
            message,
            idle_since: None,
        });
        Ok(())
    }

    /// The instance of a node.
    pub(crate) fn instance_of(&self, node_id: &str) -> Option<&str> {
        let row = self.rows.iter().find(|row| row.node_id == node_id);
        row.map(|row| row.instance.as_str())
    }
}
