//! What is known of one cluster's Ray and of its machines: facts with their ages, each known or unknown. No decisions.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::Arc,
    time::Duration,
};

use jiff::Timestamp;

use super::{
    step::{MachineStep, StepAnswer},
    streak::Streak,
};

/// What is known of one cluster's Ray when it is planned. By default nothing: nobody has looked.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RayFacts {
    /// What the head's dashboard tells of Ray and its nodes. A failed look leaves it known, with its age, for as long
    /// as it is fresh, unless the failure itself tells that it is not so any more.
    pub view: Look<View>,
    /// Whether Ray is used, as the same look told: of a Ray whose nodes are known it may be unknown. The first look
    /// that fails leaves it unknown.
    pub activity: Look<Activity>,
    /// How long the last look took that told of [`Self::activity`].
    pub took: Duration,
    /// What machines tell of themselves, by instance id; those that nobody asked are missing. The head is asked with
    /// every look, a worker while the plan is interested in it (see [`Interest`]).
    pub reports: BTreeMap<String, Look<Report>>,
    /// For how long machines that report have not told who is on them, by instance id.
    pub people_untold: BTreeMap<String, Duration>,
    /// What the last looks at the dashboard met, all of them alike.
    pub streak: Streak,
    /// For how long this process has looked at this head without a gap, whatever it saw: what happened before nobody
    /// watched.
    pub watched: Duration,
    /// For how long looks without a gap were known and showed no use, by the monotonic clock; zero when the last one
    /// showed use or failed. One that failed in between leaves no gap unless the next one comes too late.
    pub idle_for: Duration,
    /// How long ago the clock of the operating system jumped last, by the monotonic clock: times of day from before
    /// tell nothing.
    pub clock_jumped: Option<Duration>,
    /// How the other heads fare that this process looks at.
    pub others: Others,
    /// Fingerprints of SSH host keys that were seen at a first contact, by instance id: to be remembered in the status
    /// and to come back in [`Peer::host_key`].
    pub host_keys: BTreeMap<String, String>,
}

impl RayFacts {
    /// What a step on a machine makes of what was seen, until the next look.
    pub fn fold(&mut self, step: &MachineStep, answer: StepAnswer) {
        match (step, answer) {
            (MachineStep::GiveToken { instance_id } | MachineStep::SetHead { instance_id, .. }, _) => {
                if let Some(Look::Known { fact, .. }) = self.reports.get_mut(instance_id) {
                    Arc::make_mut(fact).fold(step);
                }
            }
            // It works, whatever the look said: resources tell nothing of actors that ask for none.
            (MachineStep::Drain { node_id, .. }, StepAnswer::Busy) => {
                if let Look::Known { fact, .. } = &mut self.view {
                    let mut nodes = Arc::make_mut(fact).nodes.iter_mut();
                    if let Some(node) = nodes.find(|node| node.node_id == *node_id) {
                        node.in_use = Some(true);
                    }
                }
            }
            (MachineStep::RestartRay { .. } | MachineStep::Drain { .. }, _) => {}
        }
    }
}

/// How the heads of other clusters answer: whether it may be this controller's own network that fails.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Others {
    /// There are none.
    #[default]
    None,
    /// At least one answered within the freshness of a look.
    Answering,
    /// None does.
    Silent,
}

/// Something that was looked at, or why it is not known now: a time-out must never read as "nothing is there".
#[derive(Clone, Debug, PartialEq)]
pub enum Look<T> {
    /// It was seen.
    Known {
        /// What.
        fact: Arc<T>,
        /// How long ago the look began.
        age: Duration,
    },
    /// It could not be seen.
    Unknown {
        /// Why.
        why: Blindness,
        /// What was tried, on what, and what came of it; never a secret.
        message: String,
        /// For how long it has not been known by this process.
        since: Duration,
        /// What was seen last by this process, of the same machine.
        last: Option<Arc<T>>,
    },
}

impl<T> Default for Look<T> {
    fn default() -> Self {
        Self::Unknown {
            why: Blindness::NotLooked,
            message: "not looked at yet".into(),
            since: Duration::ZERO,
            last: None,
        }
    }
}

impl<T> Look<T> {
    /// The fact, if it is known.
    #[must_use]
    pub fn known(&self) -> Option<&T> {
        match self {
            Self::Known { fact, .. } => Some(fact),
            Self::Unknown { .. } => None,
        }
    }
}

/// Why Ray or a machine is not known. The name of a variant is the reason of a condition.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Blindness {
    /// Nobody has looked yet, or nothing runs that could be looked at.
    NotLooked,
    /// The Secret with the key, or the token in it, is not there or cannot be read.
    KeyMissing,
    /// The machine has no address that this controller may use (see `network.controllerAccess`).
    NoWayIn,
    /// No connection: refused, no route, or no answer in time.
    Unreachable,
    /// The machine shows another SSH host key than at the first contact.
    HostKeyChanged {
        /// Fingerprint of the key it shows, `SHA256:...`.
        shown: String,
    },
    /// The machine does not accept the controller's key.
    AccessDenied,
    /// The head's SSH server lets the controller in, and not through to its dashboard or to its workers.
    ForwardingDenied,
    /// SSH works; nothing answers at the dashboard's port.
    DashboardDown,
    /// The dashboard answers, and says that Ray's GCS does not.
    GcsDown,
    /// No answer in time.
    Slow,
    /// The dashboard refuses the cluster's token.
    TokenRefused,
    /// An answer that lacks a part: truncated, with a partial failure, or not yet complete after a start.
    Incomplete,
    /// An answer that is too old.
    Stale,
    /// An answer that cannot be read.
    Garbled,
    /// The answer of another head: its row does not carry this cluster's uid and this head's instance id.
    WrongPeer,
}

impl Blindness {
    /// Whether the machine answers, and does not let the controller in or is not let: a person's matter.
    #[must_use]
    pub fn is_refusal(&self) -> bool {
        matches!(
            self,
            Self::HostKeyChanged { .. } | Self::AccessDenied | Self::ForwardingDenied | Self::KeyMissing
        )
    }

    /// The reason of a condition.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::NotLooked => "NotLooked",
            Self::KeyMissing => "KeyMissing",
            Self::NoWayIn => "NoWayIn",
            Self::Unreachable => "Unreachable",
            Self::HostKeyChanged { .. } => "HostKeyChanged",
            Self::AccessDenied => "AccessDenied",
            Self::ForwardingDenied => "ForwardingDenied",
            Self::DashboardDown => "DashboardDown",
            Self::GcsDown => "GcsDown",
            Self::Slow => "Slow",
            Self::TokenRefused => "TokenRefused",
            Self::Incomplete => "Incomplete",
            Self::Stale => "Stale",
            Self::Garbled => "Garbled",
            Self::WrongPeer => "WrongPeer",
        }
    }
}

/// What one look at the head's dashboard told of Ray: complete, fresh, and of this cluster's head.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct View {
    /// Name of Ray's session: another one is another Ray.
    pub session: String,
    /// Version of Ray.
    pub version: String,
    /// The nodes, the dead ones too.
    pub nodes: Vec<Node>,
}

/// A Ray node: one run of a raylet. A machine has a new one after each restart of its Ray.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// Ray's id of it.
    pub node_id: String,
    /// Id of its EC2 instance, from the label `rayward.dev/instance-id`.
    pub instance_id: Option<String>,
    /// Whether it is the head.
    pub is_head: bool,
    /// Whether it lives.
    pub state: NodeState,
    /// When it started.
    pub started_at: Timestamp,
    /// Whether tasks, actors or placement groups use its resources now; `None`: Ray did not tell.
    pub in_use: Option<bool>,
}

/// Whether a Ray node lives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NodeState {
    /// It does.
    Alive,
    /// It does not.
    Dead {
        /// Since when, as Ray says.
        ended_at: Option<Timestamp>,
        /// Whether it was drained, and did not die.
        drained: bool,
        /// Ray's words.
        message: String,
    },
}

/// Whether a cluster is used, by what one look told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Activity {
    /// What uses it now, and which (`job raysubmit_1`, `2 of 4 CPU`); empty: nothing.
    pub signals: BTreeMap<Signal, String>,
    /// The newest end of a job or a driver that Ray reports.
    pub last_end: Option<Timestamp>,
}

/// Something that shows use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Signal {
    /// A submitted job is pending or running.
    Job,
    /// A driver or Ray Client is connected.
    Driver,
    /// An actor lives, those of Serve's own machinery apart.
    Actor,
    /// A Serve application is deployed.
    Serve,
    /// Tasks, actors or placement groups wait for resources.
    Demand,
    /// CPU, GPU or custom resources are in use.
    Resources,
    /// A person is signed in over SSH.
    SshSession,
    /// A Jupyter kernel runs.
    JupyterKernel,
}

impl fmt::Display for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Job => "a job",
            Self::Driver => "a driver",
            Self::Actor => "an actor",
            Self::Serve => "a Serve application",
            Self::Demand => "demand for resources",
            Self::Resources => "resources in use",
            Self::SshSession => "an SSH session",
            Self::JupyterKernel => "a Jupyter kernel",
        })
    }
}

/// What a machine tells of itself: the answer of `rayward-node report`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// How far it is.
    pub stage: Stage,
    /// That in words, for example `installing Ray 2.60.0`, or what failed.
    pub message: String,
    /// The last lines of what runs or failed.
    pub lines: Vec<String>,
    /// Who is on it; `None`: it cannot tell, which is never "nobody".
    pub people: Option<People>,
    /// Whether Ray's unit is active.
    pub ray_active: bool,
    /// How often its Ray has ended by itself since it ran last.
    pub ray_ends: u32,
    /// Whether it has the cluster's token, and not another.
    pub has_token: bool,
    /// Whether its disk has less than 50 MiB left.
    pub disk_full: bool,
    /// Changes with each boot.
    pub boot_id: String,
    /// Where a worker looks for its head; `None`: it does not tell, or is the head.
    pub head_address: Option<String>,
}

/// Who is on a machine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct People {
    /// How many people are signed in over SSH.
    pub ssh_sessions: u32,
    /// How many Jupyter kernels run.
    pub jupyter_kernels: u32,
}

impl Report {
    /// What a step on the machine makes of it.
    pub fn fold(&mut self, step: &MachineStep) {
        match step {
            MachineStep::GiveToken { .. } => self.has_token = true,
            MachineStep::SetHead { address, .. } => self.head_address = Some(address.clone()),
            MachineStep::RestartRay { .. } | MachineStep::Drain { .. } => {}
        }
    }
}

/// How far a machine is on its way into Ray.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stage {
    /// cloud-init has not come so far that the machine can tell.
    #[default]
    Booting,
    /// Packages and Ray are being installed.
    Installing,
    /// The user's own script runs.
    SettingUp,
    /// It lacks the cluster's token.
    WaitingForToken,
    /// The head's Ray does not answer it.
    WaitingForHead,
    /// `ray start` runs.
    Starting,
    /// Its raylet runs.
    Running,
    /// Something failed; it is tried again.
    Failed,
}

/// Which machines of a cluster are looked at, and how: from the plan to whoever looks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Interest {
    /// The head; `None`: nothing is looked at.
    pub head: Option<Peer>,
    /// Workers that are asked for a report with every look: those that have not joined, or are in trouble.
    pub closely: Vec<Peer>,
    /// All other running workers: asked for people once a minute, and when a look is asked for.
    pub widely: Vec<Peer>,
    /// A person said in `rayward.dev/accept-host-key` that this fingerprint is right.
    pub accepted_host_key: Option<String>,
    /// Which of [`Signal::SshSession`] and [`Signal::JupyterKernel`] count as use: a report that shows one breaks
    /// [`RayFacts::idle_for`].
    pub people: BTreeSet<Signal>,
}

/// A machine to talk to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Peer {
    /// Id of its instance.
    pub instance_id: String,
    /// Where SSH answers: for the head as the controller reaches it, for a worker as the head does.
    pub address: std::net::Ipv4Addr,
    /// Fingerprint of its SSH host key from the first contact, `SHA256:...`; `None`: this is the first.
    pub host_key: Option<String>,
}

/// Instances whose nodes one look found to be in use.
#[must_use]
pub fn busy_instances(view: &View) -> BTreeSet<&str> {
    let is_busy = |node: &&Node| node.state == NodeState::Alive && node.in_use == Some(true);
    let busy = view.nodes.iter().filter(is_busy);
    busy.filter_map(|node| node.instance_id.as_deref()).collect()
}
