//! What is known of one cluster when it is planned: facts of AWS and of Kubernetes, each known or unknown. No
//! decisions.

mod assemble;

use std::{collections::BTreeMap, fmt, time::Duration};

use jiff::Timestamp;

pub use assemble::{Facts, KubeFacts, observe, settle};

use crate::{
    api::{Launch, RayClusterStatus, StepStatus},
    aws::{AwsError, ErrorClass, Image},
    ray::facts::RayFacts,
    resources::{Inventory, Kind},
};

/// A fact, or why it is not known: a time-out must never read as "there is none".
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source<T> {
    /// It was seen.
    Known(T),
    /// It could not be seen, and why.
    Unknown(Unseen),
}

impl<T> Default for Source<T> {
    /// Not known, because nobody looked.
    fn default() -> Self {
        Self::Unknown("not looked at yet".into())
    }
}

impl<T> Source<T> {
    /// The fact, if it is known.
    #[must_use]
    pub fn known(&self) -> Option<&T> {
        match self {
            Self::Known(fact) => Some(fact),
            Self::Unknown(_) => None,
        }
    }
}

/// Why something could not be seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unseen {
    /// What was looked for, and what came of it.
    pub message: String,
    /// AWS's code where it refuses to show it until a person acts; `None`: that passes by itself.
    pub refused: Option<String>,
    /// What follows from AWS's answer, where it gave one.
    pub class: Option<ErrorClass>,
}

impl fmt::Display for Unseen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl<T: Into<String>> From<T> for Unseen {
    fn from(message: T) -> Self {
        Self {
            message: message.into(),
            refused: None,
            class: None,
        }
    }
}

impl Unseen {
    /// What a look at AWS came to.
    #[must_use]
    pub fn by(error: &AwsError) -> Self {
        Self {
            message: error.to_string(),
            refused: error.needs_person().then(|| error.code.clone()),
            class: Some(error.class),
        }
    }
}

/// What one cluster has of one kind.
#[derive(Clone, Debug, PartialEq)]
pub struct Shelf<T> {
    /// Whether a sweep of this kind is in; without one nothing here may be taken as complete.
    pub swept: Source<()>,
    /// What is ours by its tags, or was proven to be by its token, its place or our record. By id.
    pub ours: BTreeMap<String, T>,
    /// What lies in a VPC that we use and is not ours. By id.
    pub others: BTreeMap<String, T>,
}

impl<T> Default for Shelf<T> {
    fn default() -> Self {
        Self {
            swept: Source::default(),
            ours: BTreeMap::new(),
            others: BTreeMap::new(),
        }
    }
}

impl<T> Shelf<T> {
    /// Ours and the others'.
    pub fn all(&self) -> impl Iterator<Item = &T> {
        self.ours.values().chain(self.others.values())
    }

    /// Whatever has this id.
    #[must_use]
    pub fn get(&self, id: &str) -> Option<&T> {
        self.ours.get(id).or_else(|| self.others.get(id))
    }
}

/// All that the planner knows of one cluster; by default nothing.
#[derive(Clone, Debug, Default)]
pub struct Observed {
    /// Id of the AWS account.
    pub account: Source<String>,
    /// What it has on AWS.
    pub inventory: Inventory,
    /// The image that its spec names.
    pub image: Source<Image>,
    /// The Secret with the controller's own key.
    pub key: Source<KeySecret>,
    /// The record of launches.
    pub ledger: Ledger,
    /// Ids that the last status names: proof that a thing which lost its tags is ours.
    pub recorded: RayClusterStatus,
    /// Value of the annotation `rayward.dev/stopped`.
    pub stopped: Option<String>,
    /// Whether this very process wrote [`Self::stopped`].
    pub is_own_mark: bool,
    /// Whether the object carries our finalizer.
    pub has_finalizer: bool,
    /// Live things that carry the name of this cluster and another uid, as after a restored backup. Ids.
    pub predecessors: Vec<String>,
    /// What launches lacked, and until when it is not asked for. Shared by all clusters of the region.
    pub exhausted: BTreeMap<Shortage, Timestamp>,
    /// Changes that were refused, by [`crate::plan::Action::key`].
    pub refusals: BTreeMap<String, Refusal>,
    /// Sweeps of all kinds, one after the other, that began after the last call that could still land and found
    /// nothing of this cluster.
    pub clean_sweeps: u32,
    /// How long ago the oldest of the sweeps used here began.
    pub sweep_age: Duration,
    /// How long ago the sweep of machines used here began.
    pub machine_sweep_age: Duration,
    /// How long after the last launch that could still land the sweep of machines used here began; `None`: before it.
    pub seen_after_launches: Option<Duration>,
    /// What is known of its Ray and of its machines from inside.
    pub ray: RayFacts,
    /// How long ago [`Self::ray`] was put together.
    pub ray_age: Duration,
    /// The last step that was taken to heal or to drain a machine, by instance id.
    pub steps: BTreeMap<String, StepStatus>,
    /// What people say in annotations.
    pub wishes: Wishes,
}

/// What people say in annotations of the object.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wishes {
    /// Value of `rayward.dev/keep-alive-until`.
    pub keep_alive_until: Option<String>,
    /// Value of `rayward.dev/wake`.
    pub wake: Option<String>,
    /// Value of `rayward.dev/wake-handled`, which is ours: the last value of the former that was acted upon.
    pub wake_handled: Option<String>,
    /// Value of `rayward.dev/accept-host-key`.
    pub accept_host_key: Option<String>,
}

/// What AWS had too little of for a launch.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Shortage {
    /// Machines of a type in a zone, whatever the subnet: `InsufficientInstanceCapacity`.
    Capacity(Pool),
    /// Free addresses in the subnet with this id, whatever the type: `InsufficientFreeAddressesInSubnet`.
    Addresses(String),
}

/// A kind of capacity: what `InsufficientInstanceCapacity` speaks of.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Pool {
    /// EC2 instance type.
    pub instance_type: String,
    /// Availability zone.
    pub availability_zone: String,
}

/// The Secret with the controller's own key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeySecret {
    /// There is none.
    Missing,
    /// It is there.
    Present {
        /// The public half, in OpenSSH's form.
        public_key: String,
    },
    /// A Secret of that name exists that is not this cluster's, or holds no key.
    Unusable(String),
}

/// The record of launches, from the status.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ledger {
    /// Launches that are open or count against the cap; oldest first.
    pub launches: Vec<Launch>,
    /// Highest number ever given out; `None`: the record was lost, or the cluster is new.
    pub last: Option<u64>,
    /// Nothing is launched before a sweep of machines that began after this time.
    pub held_until: Option<Timestamp>,
}

/// A change that AWS refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// What follows.
    pub class: ErrorClass,
    /// What kind it was about.
    pub kind: Kind,
    /// AWS's code.
    pub code: String,
    /// What failed, on what, what a person can do, and AWS's words.
    pub message: String,
    /// How often in a row.
    pub times: u32,
    /// Not tried again before.
    pub until: Timestamp,
}

impl Refusal {
    /// How often in a row something may be in use, or between two states, before it does not look as if that passed: it
    /// is tried every few seconds, and what goes away with machines and services takes up to a minute.
    pub const PATIENCE: u32 = 20;
}
