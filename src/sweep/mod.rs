//! AWS is read for all clusters at once: one sweep per resource kind, account and region, shared by all of them.
//!
//! Each kind is swept on its own, in turn and on demand, never twice at the same time. A sweep that fails leaves what
//! was known, with its age and the error. What one sweep misses is looked for once more before it counts as gone.

mod interest;
mod pace;
mod snapshot;
mod stored;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures::future::join_all;
use jiff::Timestamp;
use tokio::{
    sync::{Notify, Semaphore, broadcast, watch},
    time::Instant,
};
use tokio_util::sync::CancellationToken;

use interest::Touched;
pub use interest::{Changed, Interest};
use pace::Pace;
pub use pace::SweepIntervals;
use snapshot::KindState;
pub(crate) use snapshot::owner;
pub use snapshot::{KindSweep, Snapshot};
pub(crate) use stored::pack;
pub use stored::{Names, Stored};

use crate::{
    aws::{Aws, AwsError, Scope},
    observe::Unseen,
    resources::{Kind, instance::token_prefix},
    tags,
};

/// The sweeps of one account and region.
pub struct Sweeps {
    aws: Arc<dyn Aws>,
    installation: String,
    token_prefix: String,
    intervals: SweepIntervals,
    tracked: Mutex<BTreeMap<String, Interest>>,
    names: Mutex<Names>,
    snapshot: Mutex<Arc<Snapshot>>,
    lines: BTreeMap<Kind, Line>,
    /// All calls of this account and region hold until then: AWS throttled one of them.
    throttled_until: Mutex<Option<Instant>>,
    permits: Semaphore,
    changes: broadcast::Sender<Changed>,
}

/// Where the sweeps of one kind are asked for and awaited.
#[derive(Debug)]
struct Line {
    pace: Mutex<Pace>,
    wake: Notify,
    last: watch::Sender<Option<Attempt>>,
}

/// A sweep that ended.
#[derive(Clone, Debug)]
struct Attempt {
    began: Instant,
    /// It was not made, because no cluster asks for the kind any more.
    is_moot: bool,
    error: Option<Arc<str>>,
}

fn has_looked(last: Option<&Attempt>) -> bool {
    last.is_some_and(|attempt| !attempt.is_moot)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Sweeps {
    /// Sweeps of the account and region that `aws` speaks to. Nothing is read before [`Sweeps::run`].
    #[must_use]
    pub fn new(aws: Arc<dyn Aws>, installation: &str, intervals: SweepIntervals) -> Arc<Self> {
        let line = || Line {
            pace: Mutex::default(),
            wake: Notify::new(),
            last: watch::Sender::new(None),
        };
        let snapshot = Snapshot {
            stale_after: intervals.stale_after,
            ..Snapshot::default()
        };
        Arc::new(Self {
            aws,
            installation: installation.to_owned(),
            token_prefix: token_prefix(installation),
            permits: Semaphore::new(intervals.concurrency),
            intervals,
            tracked: Mutex::default(),
            names: Mutex::default(),
            snapshot: Mutex::new(Arc::new(snapshot)),
            lines: Kind::ALL.iter().map(|kind| (*kind, line())).collect(),
            throttled_until: Mutex::default(),
            changes: broadcast::channel(64).0,
        })
    }

    /// Sweeps until `stop`.
    pub async fn run(self: Arc<Self>, stop: CancellationToken) {
        let sweeps = &self;
        let all = join_all(Kind::ALL.iter().map(|kind| async move { sweeps.follow(*kind).await }));
        tokio::select! {
            () = stop.cancelled() => {}
            _ = all => {}
        }
    }

    /// Sweeps for this cluster too, from now on. Looks at once where its VPCs and buckets were not looked at before.
    pub fn track(&self, uid: &str, interest: Interest) {
        let known = lock(&self.tracked).get(uid).cloned();
        if known.as_ref() == Some(&interest) {
            return;
        }
        let (is_new, before) = (known.is_none(), known.unwrap_or_default());
        let uncovered = self.uncovered(is_new, &before, &interest);
        lock(&self.tracked).insert(uid.to_owned(), interest);
        let now = Instant::now();
        for kind in uncovered {
            self.demand(kind, now);
        }
        if is_new {
            self.lines.values().for_each(|line| line.wake.notify_one());
        }
    }

    /// The kinds whose last sweep, or the one under way, did not go out to look for all that a cluster wants.
    fn uncovered(&self, is_new: bool, before: &Interest, wanted: &Interest) -> Vec<Kind> {
        let snapshot = self.snapshot();
        let is_uncovered = |kind: &&Kind| {
            let sweep = snapshot.sweep(**kind);
            if **kind == Kind::Bucket {
                let mut new_names = wanted.bucket_names.difference(&before.bucket_names);
                new_names.any(|name| !KindSweep::covers_bucket(sweep, name))
            } else {
                // A VPC that appears later was made by this cluster's own passes: nothing in it is unseen.
                let mut vpcs = wanted.vpc_ids.iter().filter(|_| is_new);
                vpcs.any(|vpc| sweep.is_none_or(|sweep| !sweep.vpc_ids().contains(vpc)))
            }
        };
        let kinds = self.lines.keys().filter(is_uncovered);
        kinds.copied().collect()
    }

    /// Sweeps for this cluster no more.
    pub fn untrack(&self, uid: &str) {
        lock(&self.tracked).remove(uid);
        self.lines.values().for_each(|line| line.wake.notify_one());
    }

    /// What is known now.
    #[must_use]
    pub fn snapshot(&self) -> Arc<Snapshot> {
        Arc::clone(&lock(&self.snapshot))
    }

    /// Waits for a sweep of each of `kinds` that begins after `after`; all who wait share it.
    ///
    /// # Errors
    /// Why one of them failed; what was known before is still there.
    pub async fn refresh(&self, kinds: &[Kind], after: Instant) -> Result<(), Arc<str>> {
        let waits = kinds
            .iter()
            .filter_map(|kind| self.lines.get(kind).map(|line| (*kind, line)));
        let results = join_all(waits.map(|(kind, line)| async move {
            let mut last = line.last.subscribe();
            self.demand(kind, after);
            let seen = last
                .wait_for(|last| last.as_ref().is_some_and(|attempt| attempt.began > after))
                .await;
            match seen
                .ok()
                .and_then(|attempt| attempt.clone())
                .and_then(|attempt| attempt.error)
            {
                Some(error) => Err(error),
                None => Ok(()),
            }
        }));
        results.await.into_iter().collect()
    }

    /// Tells which clusters' content changed from one sweep to the next. One who falls behind takes it for
    /// [`Changed::All`].
    #[must_use]
    pub fn changes(&self) -> broadcast::Receiver<Changed> {
        self.changes.subscribe()
    }

    /// Age of the last good sweep of each kind that has one.
    #[must_use]
    pub fn ages(&self) -> Vec<(Kind, Duration)> {
        let snapshot = self.snapshot();
        snapshot
            .sweeps()
            .map(|(kind, sweep)| (kind, sweep.began.elapsed()))
            .collect()
    }

    /// Whether every kind has been looked at, or could not be.
    #[must_use]
    pub fn has_looked(&self) -> bool {
        self.lines.values().all(|line| has_looked(line.last.borrow().as_ref()))
    }

    /// Waits until every kind has been looked at, or could not be: a pass that began earlier would go on for a while
    /// with the little that is known.
    pub async fn first_look(&self) {
        let looks = self.lines.values().map(|line| async {
            let mut last = line.last.subscribe();
            // It cannot be closed while the line is there.
            let _ = last.wait_for(|last| has_looked(last.as_ref())).await;
        });
        join_all(looks).await;
    }

    /// Things of this installation whose cluster nobody knows: told, never touched. By kind and id.
    #[must_use]
    pub fn orphans(&self) -> Vec<(Kind, String)> {
        // What is on AWS is read first, so that a cluster that is just being made is not taken for an orphan's.
        let snapshot = self.snapshot();
        let tracked = lock(&self.tracked);
        let mut orphans = Vec::new();
        for (kind, sweep) in snapshot.sweeps() {
            for uid in sweep.owners().filter(|uid| !tracked.contains_key(*uid)) {
                let ours = sweep
                    .of_cluster(uid)
                    .filter(|thing| !thing.is_gone() && self.is_of_installation(*thing));
                orphans.extend(ours.map(|thing| (kind, thing.id().to_owned())));
            }
        }
        orphans
    }

    fn is_of_installation(&self, thing: &dyn Stored) -> bool {
        let token = thing
            .client_token()
            .is_some_and(|token| token.starts_with(&self.token_prefix));
        token
            || thing
                .tag(tags::INSTALLATION)
                .is_some_and(|found| **found == *self.installation)
    }

    /// Holds all sweeps of this account and region back, because AWS throttles it.
    pub fn throttled(&self, hold: Duration) {
        let until = Instant::now() + hold;
        let mut throttled = lock(&self.throttled_until);
        *throttled = Some(throttled.map_or(until, |earlier| earlier.max(until)));
    }

    fn demand(&self, kind: Kind, after: Instant) {
        if let Some(line) = self.lines.get(&kind) {
            lock(&line.pace).demand(after);
            line.wake.notify_one();
        }
    }

    fn is_wanted(&self) -> bool {
        !lock(&self.tracked).is_empty()
    }

    /// Sweeps one kind whenever it is due.
    async fn follow(&self, kind: Kind) {
        let Some(line) = self.lines.get(&kind) else { return };
        loop {
            let due = if self.is_wanted() {
                let throttled = *lock(&self.throttled_until);
                let due = lock(&line.pace).due(self.intervals.of(kind), &self.intervals);
                Some(throttled.map_or(due, |until| until.max(due)))
            } else {
                self.forget(kind, line);
                None
            };
            match due {
                Some(at) if at <= Instant::now() => self.sweep(kind, line).await,
                Some(at) => {
                    tokio::select! {
                        () = tokio::time::sleep_until(at) => {}
                        () = line.wake.notified() => {}
                    }
                }
                None => line.wake.notified().await,
            }
        }
    }

    async fn sweep(&self, kind: Kind, line: &Line) {
        let Ok(_permit) = self.permits.acquire().await else {
            return;
        };
        let scope = self.scope();
        let began = Instant::now();
        let result = self.aws.list(kind, &scope).await;
        let error: Option<Arc<str>> = match result {
            Ok(listing) => {
                let changed = self.publish(kind, began, &scope, listing);
                lock(&line.pace).succeeded(began, changed.misses);
                if let Some(changed) = changed.told {
                    // Nobody may be listening.
                    let _ = self.changes.send(changed);
                }
                None
            }
            Err(error) => Some(self.failed(kind, line, began, &error)),
        };
        let is_moot = false;
        line.last.send_replace(Some(Attempt { began, is_moot, error }));
    }

    fn failed(&self, kind: Kind, line: &Line, began: Instant, error: &AwsError) -> Arc<str> {
        let unseen = Arc::new(Unseen {
            message: format!("{}: {}: {}", error.call, error.code, error.words()),
            ..Unseen::by(error)
        });
        tracing::warn!(?kind, %error, "could not look at AWS; what was seen before is kept");
        let hold = lock(&line.pace).failed(began, error.class, &self.intervals, rand::random());
        if error.class == crate::aws::ErrorClass::Throttled {
            self.throttled(hold);
        }
        let mut is_news = false;
        self.replace(kind, |state| {
            let is_known = |sweep: &Arc<KindSweep>| sweep.began.elapsed() <= self.intervals.stale_after;
            state.error = Some(Arc::clone(&unseen));
            if !state.last_good.as_ref().is_some_and(is_known) {
                is_news = state.lack.as_ref().is_none_or(|told| told.refused != unseen.refused);
                state.lack = Some(Arc::clone(&unseen));
            }
        });
        if is_news {
            // Nobody may be listening.
            let _ = self.changes.send(self.all_clusters());
        }
        unseen.message.as_str().into()
    }

    fn publish(&self, kind: Kind, began: Instant, scope: &Scope, listing: crate::resources::Listing) -> Published {
        let previous = self.snapshot();
        let previous = previous.kinds.get(&kind);
        let was_lacking = previous.is_some_and(|state| state.lack.is_some());
        let previous = previous.and_then(|state| state.last_good.clone());
        let mut touched = Touched::default();
        let sweep = {
            let mut names = lock(&self.names);
            let listed = listing.into_stored(&mut names);
            let before = previous.as_deref();
            let sweep = KindSweep::new(before, began, Timestamp::now(), scope, listed, &mut names, |thing| {
                touched.note(thing, &self.token_prefix);
            });
            names.tidy();
            sweep
        };
        let misses = sweep.has_misses();
        let newly_covered = |vpc: &String| previous.as_ref().is_some_and(|before| !before.vpc_ids().contains(vpc));
        touched
            .vpc_ids
            .extend(sweep.vpc_ids().iter().filter(|vpc| newly_covered(vpc)).cloned());
        self.note_owners(&mut touched);
        let is_first = previous.is_none();
        if kind == Kind::Vpc {
            self.cover_found_vpcs(&sweep, scope);
        }
        self.replace(kind, |state| {
            *state = KindState {
                last_good: Some(Arc::new(sweep)),
                ..KindState::default()
            };
        });
        let told = if was_lacking {
            Some(self.all_clusters())
        } else if is_first {
            // One pass over all clusters at the start, not one a kind.
            let others = self.lines.iter().filter(|(other, _)| **other != kind);
            others
                .into_iter()
                .all(|(_, line)| has_looked(line.last.borrow().as_ref()))
                .then_some(Changed::All)
        } else {
            let clusters = touched.clusters(&lock(&self.tracked));
            (!clusters.is_empty()).then(|| Changed::Clusters(Arc::new(clusters)))
        };
        Published { misses, told }
    }

    fn all_clusters(&self) -> Changed {
        Changed::Clusters(Arc::new(lock(&self.tracked).keys().cloned().collect()))
    }

    /// Whose the touched VPCs are by their tags: a cluster whose status was lost does not name its VPC itself.
    fn note_owners(&self, touched: &mut Touched) {
        let snapshot = self.snapshot();
        let Some(vpcs) = snapshot.sweep(Kind::Vpc) else { return };
        let found = touched.vpc_ids.iter().filter_map(|id| vpcs.get(id));
        let owners = found.filter_map(|vpc| owner(vpc, &self.token_prefix));
        touched.uids.extend(owners.map(ToOwned::to_owned));
    }

    /// VPCs that are ours by their tag and were not looked into yet (their cluster's status was lost): look at once.
    fn cover_found_vpcs(&self, sweep: &KindSweep, scope: &Scope) {
        let tracked = lock(&self.tracked);
        let is_new = |thing: &dyn Stored| {
            let owner = owner(thing, &self.token_prefix);
            !scope.vpc_ids.iter().any(|id| id == thing.id()) && owner.is_some_and(|uid| tracked.contains_key(uid))
        };
        let found = sweep.all().any(is_new);
        drop(tracked);
        if found {
            let now = Instant::now();
            self.lines
                .keys()
                .filter(|kind| **kind != Kind::Vpc)
                .for_each(|kind| self.demand(*kind, now));
        }
    }

    fn replace(&self, kind: Kind, change: impl FnOnce(&mut KindState)) {
        let mut current = lock(&self.snapshot);
        let mut next = Snapshot::clone(&current);
        change(next.kinds.entry(kind).or_default());
        *current = Arc::new(next);
    }

    /// Nobody wants this kind: what is known of it gets old, so it goes.
    fn forget(&self, kind: Kind, line: &Line) {
        if lock(&line.pace).reset() {
            self.replace(kind, |state| *state = KindState::default());
            let error: Arc<str> = "no cluster asks for it any more".into();
            line.last.send_replace(Some(Attempt {
                began: Instant::now(),
                is_moot: true,
                error: Some(error),
            }));
        }
    }

    fn scope(&self) -> Scope {
        let snapshot = self.snapshot();
        let vpcs = snapshot.sweep(Kind::Vpc).into_iter().flat_map(KindSweep::all);
        let ours = vpcs
            .filter(|thing| self.is_of_installation(*thing))
            .map(|thing| thing.id().to_owned());
        let tracked = lock(&self.tracked);
        let mut vpc_ids: BTreeSet<String> = ours.collect();
        let mut bucket_names = BTreeSet::new();
        for interest in tracked.values() {
            vpc_ids.extend(interest.vpc_ids.iter().cloned());
            bucket_names.extend(interest.bucket_names.iter().cloned());
        }
        Scope {
            installation: self.installation.clone(),
            token_prefix: self.token_prefix.clone(),
            vpc_ids: vpc_ids.into_iter().collect(),
            bucket_names: bucket_names.into_iter().collect(),
        }
    }
}

struct Published {
    misses: bool,
    told: Option<Changed>,
}

impl std::fmt::Debug for Sweeps {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sweeps")
            .field("installation", &self.installation)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
pub(crate) mod tests;
