//! What the passes of one cluster remember in this process: what was just done, and what was refused. All of it can be
//! lost: AWS is looked at anew then.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Mutex,
    time::Duration,
};

use jiff::Timestamp;
use tokio::time::Instant;

use crate::{
    aws::{Access, AwsCall, AwsError, ErrorClass, TIMEOUT},
    observe::{Refusal, Shelf, Shortage},
    resources::{
        Answer, Change, Inventory, Kind, ResourceChange,
        bucket::{Bucket, BucketChange, Step},
    },
    sweep::Snapshot,
};

/// Bound on what is remembered of changes; a cluster of every kind and size needs fewer within the window.
const MAX_EXPECTATIONS: usize = 256;
/// How long something is not made again that may have been made unseen, while AWS cannot be looked at.
const UNSEEN: Duration = Duration::from_hours(1);
/// So many refusals are remembered even when their time has come again, for what they say of how often it was tried.
/// Those whose time has not come are all remembered: they are what keeps a refused change from being tried at once.
const KEPT_REFUSALS: usize = 64;

/// A change that AWS took and that a look at AWS may not show yet.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Expectation {
    change: Change,
    answer: Answer,
    /// When the answer came.
    at: Instant,
}

/// Something that may have been made: it is looked for before it is made again, since a VPC knows no client token.
#[derive(Clone, Debug)]
struct Unseen {
    kind: Kind,
    /// When the call ended, or could last have been carried out.
    at: Instant,
    /// Not made again before, even when a look shows that it is not there.
    until: Timestamp,
}

/// See the module.
#[derive(Clone, Debug)]
pub struct Memory {
    expectations: VecDeque<Expectation>,
    refusals: BTreeMap<String, Refusal>,
    /// What may have been made although no answer came, by the action's key.
    unseen: BTreeMap<String, Unseen>,
    /// VPCs that this process made for the cluster.
    made_vpcs: BTreeSet<String>,
    /// Buckets as they were last looked at or changed: a listing tells their names alone.
    buckets: Shelf<Bucket>,
    /// When the last call ended, or could last have been carried out.
    last_change: Instant,
    /// When the last launch ended, or could last have been carried out.
    last_launch: Instant,
    /// When the last call without an answer could last have been carried out: nobody knows what it made.
    last_unanswered: Option<Instant>,
    /// The spec that the refusals are about.
    generation: i64,
    /// Why the cluster is down, as this process wrote it into the annotation last.
    mark: Option<String>,
}

impl Memory {
    /// Remembers nothing of an object for which nothing was done before.
    #[must_use]
    pub fn of_new_object(now: Instant) -> Self {
        Self {
            last_unanswered: None,
            ..Self::new(now)
        }
    }

    /// Remembers nothing. Calls of a process before this one may have been carried out until `landed`.
    #[must_use]
    pub fn new(landed: Instant) -> Self {
        Self {
            expectations: VecDeque::new(),
            refusals: BTreeMap::new(),
            unseen: BTreeMap::new(),
            made_vpcs: BTreeSet::new(),
            buckets: Shelf::default(),
            last_change: landed,
            last_launch: landed,
            last_unanswered: Some(landed),
            generation: 0,
            mark: None,
        }
    }

    /// A changed spec is tried at once, whatever was refused before.
    pub fn begin_pass(&mut self, generation: i64) {
        if self.generation != generation {
            self.generation = generation;
            // What may have been made is looked for first, whatever the spec says now.
            let unseen = &self.unseen;
            self.refusals.retain(|key, _| unseen.contains_key(key));
        }
    }

    /// This process wrote, or with `None` removed, the annotation that says why the cluster is down.
    pub fn marked(&mut self, mark: Option<&str>) {
        self.mark = mark.map(ToOwned::to_owned);
    }

    /// See [`Self::marked`].
    #[must_use]
    pub fn mark(&self) -> Option<&str> {
        self.mark.as_deref()
    }

    /// AWS took a change. `key` is the action's.
    pub fn performed(&mut self, key: &str, change: Change, answer: Answer, at: Instant) {
        self.succeeded(key);
        if change.call().access() != Access::Read {
            self.last_change = self.last_change.max(at);
        }
        if change.call() == AwsCall::RunInstances {
            self.last_launch = self.last_launch.max(at);
        }
        if let Change::Bucket(change) = &change {
            self.look_at_bucket(change, &answer);
        }
        if let (Kind::Vpc, Answer::Created(id)) = (change.kind(), &answer) {
            self.made_vpcs.insert(id.clone());
        }
        if self.expectations.len() == MAX_EXPECTATIONS {
            self.expectations.pop_front();
        }
        self.expectations.push_back(Expectation { change, answer, at });
    }

    fn look_at_bucket(&mut self, change: &BucketChange, answer: &Answer) {
        if matches!(change.step, Step::Create { .. }) {
            // Whatever an earlier one of this name was.
            self.buckets.ours.remove(&change.name);
            self.buckets.others.remove(&change.name);
        }
        change.fold_shelf(answer, &mut self.buckets);
    }

    /// Buckets as they were last looked at or changed.
    #[must_use]
    pub fn looked_at(&self) -> &Shelf<Bucket> {
        &self.buckets
    }

    /// An action that is no change on AWS succeeded.
    pub fn succeeded(&mut self, key: &str) {
        self.refusals.remove(key);
        self.unseen.remove(key);
    }

    /// Kinds of which something may have been made although no answer came.
    #[must_use]
    pub fn unseen_kinds(&self) -> BTreeSet<Kind> {
        self.unseen.values().map(|unseen| unseen.kind).collect()
    }

    /// What may have been made shows in a look that began after the call: it may be made again where it does not.
    pub fn looked(&mut self, snapshot: &Snapshot) {
        let refusals = &mut self.refusals;
        self.unseen.retain(|key, unseen| {
            let is_seen = snapshot.sweep(unseen.kind).is_some_and(|sweep| sweep.began > unseen.at);
            if is_seen && let Some(refusal) = refusals.get_mut(key) {
                refusal.until = unseen.until;
            }
            !is_seen
        });
    }

    /// AWS refused a change, or did not answer. `random` lies between 0 and 1; `at` is when the call ended, and a call
    /// without an answer may be carried out up to `may_land` later.
    #[allow(clippy::too_many_arguments, reason = "each is a fact of one refusal")]
    pub fn refused(
        &mut self,
        key: &str,
        kind: Kind,
        error: &AwsError,
        delays: &RetryDelays,
        at: Instant,
        may_land: Duration,
        now: Timestamp,
        random: f64,
    ) {
        let landed = match error.class {
            // The call was not made.
            ErrorClass::LostLease => return,
            ErrorClass::Retryable => {
                self.last_unanswered = self.last_unanswered.max(Some(at + may_land));
                at + may_land
            }
            _ => at,
        };
        self.last_change = self.last_change.max(landed);
        if error.call == AwsCall::RunInstances {
            self.last_launch = self.last_launch.max(landed);
        }
        let times = self
            .refusals
            .get(key)
            .map_or(0, |refusal| refusal.times)
            .saturating_add(1);
        let until = now
            .saturating_add(delays.after(error.class, times, random))
            .unwrap_or(now);
        let may_be_unseen = error.class == ErrorClass::Retryable && makes_anew(error.call);
        if may_be_unseen {
            // Whoever stopped waiting has not stopped the call.
            let at = if error.code == TIMEOUT { at + may_land } else { at };
            self.unseen.insert(key.to_owned(), Unseen { kind, at, until });
        }
        let refusal = Refusal {
            class: error.class,
            kind,
            code: error.code.clone(),
            message: error.to_string(),
            times,
            until: if may_be_unseen {
                now.saturating_add(UNSEEN).unwrap_or(now)
            } else {
                until
            },
        };
        self.refusals.insert(key.to_owned(), refusal);
        if self.refusals.len() > KEPT_REFUSALS {
            let over = self.refusals.iter().filter(|(_, refusal)| refusal.until <= now);
            let first = over.min_by_key(|(_, refusal)| refusal.until);
            if let Some(key) = first.map(|(key, _)| key.clone()) {
                self.refusals.remove(&key);
            }
        }
    }

    /// What was refused, by [`crate::plan::Action::key`].
    #[must_use]
    pub fn refusals(&self) -> &BTreeMap<String, Refusal> {
        &self.refusals
    }

    /// From when on a look at AWS shows everything that was done: what an answer told of is known, but what came of a
    /// call without an answer may be shown as late as `window` after it.
    #[must_use]
    pub fn shown_from(&self, window: Duration) -> Instant {
        let unanswered = self.last_unanswered.map(|at| at + window);
        unanswered.map_or(self.last_change, |at| at.max(self.last_change))
    }

    /// When the last launch of this cluster that could still land has landed.
    #[must_use]
    pub fn last_launch(&self) -> Instant {
        self.last_launch
    }

    /// Whether this process made that VPC for the cluster.
    #[must_use]
    pub fn made_vpc(&self, id: &str) -> bool {
        self.made_vpcs.contains(id)
    }

    /// Whether something was done that a look at AWS may not show yet.
    #[must_use]
    pub fn expects(&self) -> bool {
        !self.expectations.is_empty()
    }

    /// Enters what was done into what the sweeps show, where they may still show what was before.
    pub fn replay(&self, inventory: &mut Inventory, snapshot: &Snapshot, window: Duration) {
        for expectation in &self.expectations {
            if expectation.is_open(snapshot, window) {
                inventory.fold(&expectation.change, &expectation.answer);
            }
        }
    }

    /// Forgets what every look at AWS shows by now. `inventory` is what the sweeps alone show of the cluster.
    ///
    /// That something was made or deleted is remembered for the whole window: one look may show it and the next, from
    /// another of AWS's hosts, may not. Other changes are forgotten once seen, so that what somebody does after them
    /// shows at once; the worst that an older look can cause then is the same change once more.
    pub fn settle(&mut self, inventory: &Inventory, snapshot: &Snapshot, window: Duration) {
        let mut inventory = inventory.clone();
        self.expectations.retain(|expectation| {
            if !expectation.is_open(snapshot, window) {
                return false;
            }
            let before = inventory.clone();
            inventory.fold(&expectation.change, &expectation.answer);
            let shown = inventory == before && expectation.began_after(snapshot);
            !shown || expectation.makes_or_deletes()
        });
    }
}

/// Whether a repetition of this call would make a second thing, or meet the first.
fn makes_anew(call: AwsCall) -> bool {
    matches!(
        call,
        AwsCall::AllocateAddress
            | AwsCall::CreateInternetGateway
            | AwsCall::CreateRouteTable
            | AwsCall::CreateSecurityGroup
            | AwsCall::CreateSubnet
            | AwsCall::CreateVpc
            | AwsCall::ImportKeyPair
    )
}

impl Expectation {
    /// Whether the last sweep may still show what was before.
    fn is_open(&self, snapshot: &Snapshot, window: Duration) -> bool {
        snapshot
            .sweep(self.change.kind())
            .is_none_or(|sweep| sweep.began < self.at + window)
    }

    fn began_after(&self, snapshot: &Snapshot) -> bool {
        snapshot
            .sweep(self.change.kind())
            .is_some_and(|sweep| sweep.began > self.at)
    }

    fn makes_or_deletes(&self) -> bool {
        use AwsCall as Call;
        matches!(
            self.change.call(),
            Call::AllocateAddress
                | Call::CreateBucket
                | Call::CreateInternetGateway
                | Call::CreateRouteTable
                | Call::CreateSecurityGroup
                | Call::CreateSubnet
                | Call::CreateVpc
                | Call::ImportKeyPair
                | Call::RunInstances
                | Call::DeleteBucket
                | Call::DeleteInternetGateway
                | Call::DeleteKeyPair
                | Call::DeleteNetworkInterface
                | Call::DeleteRouteTable
                | Call::DeleteSecurityGroup
                | Call::DeleteSubnet
                | Call::DeleteVolume
                | Call::DeleteVpc
                | Call::ReleaseAddress
                | Call::TerminateInstances
        )
    }
}

/// How long a refused change is not tried again; the delays without capacity and after what a person has to mend are
/// flags of `rayward run`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RetryDelays {
    /// Time-outs, broken connections, 5xx: first delay, doubled with each.
    pub retry: Duration,
    /// Up to this.
    pub retry_max: Duration,
    /// Throttling: first delay, doubled with each.
    pub throttled: Duration,
    /// Up to this.
    pub throttled_max: Duration,
    /// No capacity.
    pub capacity: Duration,
    /// The resource is between two states, or in use; ten times as long once that does not look as if it passed.
    pub waiting: Duration,
    /// A person has to act: first delay, doubled with each.
    pub terminal: Duration,
    /// Up to this.
    pub terminal_max: Duration,
}

impl Default for RetryDelays {
    fn default() -> Self {
        Self {
            retry: Duration::from_secs(1),
            retry_max: Duration::from_mins(1),
            throttled: Duration::from_secs(5),
            throttled_max: Duration::from_mins(5),
            capacity: Duration::from_mins(3),
            waiting: Duration::from_secs(3),
            terminal: Duration::from_mins(1),
            terminal_max: Duration::from_hours(1),
        }
    }
}

impl RetryDelays {
    /// The delay after the `times`-th refusal in a row, with half of it left to chance so that clusters do not come
    /// back all at once. `random` lies between 0 and 1.
    #[must_use]
    pub fn after(&self, class: ErrorClass, times: u32, random: f64) -> Duration {
        let doubled = |first: Duration, most: Duration| {
            first
                .saturating_mul(2_u32.saturating_pow(times.saturating_sub(1).min(20)))
                .min(most)
        };
        let delay = match class {
            ErrorClass::Retryable | ErrorClass::AlreadyCarriedOut | ErrorClass::LostLease => {
                doubled(self.retry, self.retry_max)
            }
            // Not known yet, or not there: soon at first, and at last as seldom as what needs a person.
            ErrorClass::NotFound => doubled(self.retry, self.terminal_max),
            ErrorClass::Throttled => doubled(self.throttled, self.throttled_max),
            ErrorClass::Capacity => return self.capacity,
            ErrorClass::Waiting if times > Refusal::PATIENCE => self.waiting.saturating_mul(10),
            ErrorClass::Waiting => self.waiting,
            ErrorClass::Terminal | ErrorClass::Unsupported => doubled(self.terminal, self.terminal_max),
        };
        delay.mul_f64(0.5 + random.clamp(0.0, 1.0) / 2.0)
    }
}

/// What a region had too little of when last asked: no cluster asks for it for a while.
#[derive(Debug, Default)]
pub struct Shortages(Mutex<BTreeMap<Shortage, Timestamp>>);

impl Shortages {
    /// Nobody asks until then.
    pub fn skip(&self, shortage: Shortage, until: Timestamp) {
        self.lock().insert(shortage, until);
    }

    /// What is not asked for now, and until when.
    #[must_use]
    pub fn at(&self, now: Timestamp) -> BTreeMap<Shortage, Timestamp> {
        let mut shortages = self.lock();
        shortages.retain(|_, until| *until > now);
        shortages.clone()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<Shortage, Timestamp>> {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
