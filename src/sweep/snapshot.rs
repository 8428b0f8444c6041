//! What the last sweeps found, indexed by cluster, by VPC and by name.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use jiff::Timestamp;
use tokio::time::Instant;

use super::{Names, Stored};
use crate::{
    aws::Scope,
    observe::Unseen,
    resources::{Kind, bucket, instance::token_owner},
    tags,
    validate::ClusterId,
};

/// How many past sweeps are remembered, to count those that found nothing of a cluster.
const REMEMBERED: usize = 4;

/// The last good sweep of each kind. Immutable; the next one replaces it.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    pub(super) kinds: BTreeMap<Kind, KindState>,
    /// After this long without a good sweep, what was seen counts as unknown.
    pub(super) stale_after: Duration,
}

/// One kind.
#[derive(Clone, Debug, Default)]
pub(super) struct KindState {
    pub(super) last_good: Option<Arc<KindSweep>>,
    /// Why the last sweep failed.
    pub(super) error: Option<Arc<Unseen>>,
    /// What clusters were told when nothing that counts was known any more.
    pub(super) lack: Option<Arc<Unseen>>,
}

impl Snapshot {
    /// The last good sweep of a kind.
    #[must_use]
    pub fn sweep(&self, kind: Kind) -> Option<&KindSweep> {
        self.kinds.get(&kind)?.last_good.as_deref()
    }

    /// Every kind that was swept.
    pub fn sweeps(&self) -> impl Iterator<Item = (Kind, &KindSweep)> {
        self.kinds
            .iter()
            .filter_map(|(kind, state)| Some((*kind, state.last_good.as_deref()?)))
    }

    /// Why the last sweep of a kind failed.
    #[must_use]
    pub fn error(&self, kind: Kind) -> Option<&Unseen> {
        self.kinds.get(&kind)?.error.as_deref()
    }

    /// Why what is known of `kind` is not enough for a cluster that uses these VPCs and buckets; `None` when it is.
    #[must_use]
    pub fn shortcoming<'a>(
        &self,
        kind: Kind,
        vpc_ids: impl IntoIterator<Item = &'a str>,
        bucket_names: impl IntoIterator<Item = &'a str>,
        now: Instant,
    ) -> Option<Unseen> {
        let error = self.error(kind);
        let because = error.map(|error| format!(" ({error})")).unwrap_or_default();
        let unseen = |what: String| {
            Some(match error {
                // What it takes to see it says more than how long nobody has.
                Some(refused) if refused.refused.is_some() => refused.clone(),
                _ => Unseen::from(format!("{what}{because}")),
            })
        };
        let Some(sweep) = self.sweep(kind) else {
            return unseen("not looked at yet".into());
        };
        let age = now.saturating_duration_since(sweep.began);
        if age > self.stale_after {
            // Not how long exactly: the status says it, and would be written anew with every second.
            let limit = self.stale_after.as_secs();
            return unseen(format!("last seen more than {limit} s ago"));
        }
        let uncovered = match kind {
            Kind::Bucket => bucket_names
                .into_iter()
                .find(|name| !KindSweep::covers_bucket(Some(sweep), name)),
            _ => vpc_ids.into_iter().find(|id| !sweep.vpc_ids.contains(*id)),
        };
        unseen(format!("not looked at in {} yet", uncovered?))
    }

    /// How many complete sweeps in a row, all begun after `after`, found nothing alive of this cluster.
    #[must_use]
    pub fn clean_sweeps(&self, uid: &str, after: Instant) -> u32 {
        let count = |kind: &Kind| self.sweep(*kind).map_or(0, |sweep| sweep.clean_sweeps(uid, after));
        Kind::ALL.iter().map(count).min().unwrap_or(0)
    }

    /// Ids of live things of this installation that carry the name of a cluster and another uid. Buckets that outlived
    /// their cluster are none of these, and in a VPC of the user's another installation may have a cluster of this
    /// name.
    #[must_use]
    pub fn predecessors(&self, id: &ClusterId) -> Vec<String> {
        let path = id.path();
        let is_of_another_installation = |thing: &dyn Stored| {
            thing
                .tag(tags::INSTALLATION)
                .is_some_and(|found| **found != *id.installation)
        };
        let is_of_another_uid =
            |thing: &dyn Stored| thing.tag(tags::CLUSTER_UID).is_some_and(|found| **found != *id.uid);
        let mut ids: Vec<String> = self
            .sweeps()
            .flat_map(|(_, sweep)| sweep.of_path(&path))
            .filter(|thing| {
                !thing.is_gone()
                    && thing.tag(tags::RELEASED_BY).is_none()
                    && !is_of_another_installation(*thing)
                    && is_of_another_uid(*thing)
            })
            .map(|thing| thing.id().to_owned())
            .collect();
        ids.sort();
        ids
    }
}

/// What one sweep of one kind found, and what it went out to look for.
#[derive(Debug)]
pub struct KindSweep {
    /// When it began.
    pub began: Instant,
    /// The VPCs and buckets that it looked at.
    vpc_ids: BTreeSet<String>,
    bucket_names: BTreeSet<String>,
    /// By id.
    entries: Vec<Entry>,
    by_owner: Index,
    by_vpc: Index,
    by_path: Index,
    by_name: Index,
    /// When the last sweeps began, newest first.
    recent: Vec<Instant>,
    /// Clusters of which the last sweeps stopped finding anything, and the last sweep that still did.
    vanished: BTreeMap<Arc<str>, Instant>,
}

#[derive(Clone, Debug)]
struct Entry {
    thing: Arc<dyn Stored>,
    /// The last sweep did not list it. One such miss is nothing; two in a row and it is dropped.
    missed: bool,
}

/// Positions by key, sorted.
#[derive(Debug, Default)]
struct Index(Vec<(Arc<str>, u32)>);

impl Index {
    fn get<'a>(&'a self, key: &'a str) -> impl Iterator<Item = usize> + 'a {
        let start = self.0.partition_point(|(found, _)| found.as_ref() < key);
        self.0[start..]
            .iter()
            .take_while(move |(found, _)| found.as_ref() == key)
            .map(|(_, position)| *position as usize)
    }

    fn keys(&self) -> impl Iterator<Item = &Arc<str>> {
        self.0.chunk_by(|a, b| a.0 == b.0).map(|chunk| &chunk[0].0)
    }
}

/// The cluster to which a thing belongs: by its client token, which nobody can change, else by its tag.
pub(crate) fn owner<'a>(thing: &'a dyn Stored, token_prefix: &str) -> Option<&'a str> {
    thing
        .client_token()
        .filter(|token| token.starts_with(token_prefix))
        .and_then(token_owner)
        .map(|(uid, _)| uid)
        .or_else(|| thing.tag(tags::CLUSTER_UID).map(AsRef::as_ref))
}

impl KindSweep {
    /// Puts what a sweep listed together with what the one before it knew. `changed` is told of everything that is
    /// new, different or dropped. `now` is the time by the clock at which the sweep ended.
    pub(super) fn new(
        previous: Option<&Self>,
        began: Instant,
        now: Timestamp,
        scope: &Scope,
        mut listed: Vec<Arc<dyn Stored>>,
        names: &mut Names,
        mut changed: impl FnMut(&dyn Stored),
    ) -> Self {
        listed.sort_by(|a, b| a.id().cmp(b.id()));
        listed.dedup_by(|a, b| a.id() == b.id());
        let mut entries = Vec::with_capacity(listed.len());
        let mut before = previous.map_or(&[][..], |sweep| &sweep.entries).iter().peekable();
        let unlisted = |entry: &Entry, entries: &mut Vec<Entry>, changed: &mut dyn FnMut(&dyn Stored)| {
            if entry.missed || entry.thing.is_gone() {
                changed(entry.thing.as_ref());
            } else {
                entries.push(Entry {
                    thing: Arc::clone(&entry.thing),
                    missed: true,
                });
            }
        };
        for mut thing in listed {
            while let Some(entry) = before.next_if(|entry| entry.thing.id() < thing.id()) {
                unlisted(entry, &mut entries, &mut changed);
            }
            let known = before.next_if(|entry| entry.thing.id() == thing.id());
            // Nobody else has what was just listed.
            if let Some(thing) = Arc::get_mut(&mut thing) {
                thing.seen_again(known.map(|entry| entry.thing.as_ref()), now);
            }
            let thing = match known {
                Some(entry) if entry.thing.is_like(thing.as_ref()) => Arc::clone(&entry.thing),
                Some(entry) => {
                    changed(entry.thing.as_ref());
                    changed(thing.as_ref());
                    thing
                }
                None => {
                    changed(thing.as_ref());
                    thing
                }
            };
            entries.push(Entry { thing, missed: false });
        }
        for entry in before {
            unlisted(entry, &mut entries, &mut changed);
        }
        let mut sweep = Self {
            began,
            vpc_ids: scope.vpc_ids.iter().cloned().collect(),
            bucket_names: scope.bucket_names.iter().cloned().collect(),
            by_owner: index(&entries, names, |thing| owner(thing, &scope.token_prefix)),
            by_vpc: index(&entries, names, Stored::vpc_id),
            by_path: index(&entries, names, |thing| thing.tag(tags::CLUSTER).map(AsRef::as_ref)),
            by_name: index(&entries, names, Stored::name),
            entries,
            recent: vec![began],
            vanished: BTreeMap::new(),
        };
        if let Some(previous) = previous {
            sweep.recent.extend(previous.recent.iter().take(REMEMBERED - 1));
            sweep.count_vanished(previous);
        }
        sweep
    }

    fn count_vanished(&mut self, previous: &Self) {
        let oldest = self.recent.last().copied().unwrap_or(self.began);
        let known = previous.vanished.iter().map(|(uid, at)| (uid, *at));
        let now = previous.by_owner.keys().map(|uid| (uid, previous.began));
        let vanished = known
            .chain(now.filter(|(uid, _)| previous.is_alive(uid)))
            .filter(|(uid, at)| *at >= oldest && !self.is_alive(uid))
            .map(|(uid, at)| (Arc::clone(uid), at))
            .collect();
        self.vanished = vanished;
    }

    /// Whether this very sweep listed something alive of a cluster.
    fn is_alive(&self, uid: &str) -> bool {
        self.by_owner
            .get(uid)
            .map(|position| &self.entries[position])
            .any(|entry| !entry.missed && !entry.thing.is_gone())
    }

    fn clean_sweeps(&self, uid: &str, after: Instant) -> u32 {
        if self.is_alive(uid) {
            return 0;
        }
        let after = self.vanished.get(uid).map_or(after, |seen| after.max(*seen));
        let clean = self.recent.iter().filter(|began| **began > after).count();
        u32::try_from(clean).unwrap_or(u32::MAX)
    }

    /// Everything of one cluster, by tag or token.
    pub fn of_cluster<'a>(&'a self, uid: &'a str) -> impl Iterator<Item = &'a dyn Stored> {
        self.by_owner
            .get(uid)
            .map(|position| self.entries[position].thing.as_ref())
    }

    /// Everything in a VPC.
    pub fn in_vpc<'a>(&'a self, id: &'a str) -> impl Iterator<Item = &'a dyn Stored> {
        self.by_vpc
            .get(id)
            .map(|position| self.entries[position].thing.as_ref())
    }

    fn of_path<'a>(&'a self, path: &'a str) -> impl Iterator<Item = &'a dyn Stored> {
        self.by_path
            .get(path)
            .map(|position| self.entries[position].thing.as_ref())
    }

    /// Everything that has this name; see [`crate::resources::Resource::name`].
    pub fn named<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a dyn Stored> {
        self.by_name
            .get(name)
            .map(|position| self.entries[position].thing.as_ref())
    }

    /// Everything whose id begins so.
    pub fn beginning_with<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = &'a dyn Stored> {
        let start = self.entries.partition_point(|entry| entry.thing.id() < prefix);
        let things = self.entries[start..].iter().map(|entry| entry.thing.as_ref());
        things.take_while(move |thing| thing.id().starts_with(prefix))
    }

    /// The one with this id.
    #[must_use]
    pub fn get(&self, id: &str) -> Option<&dyn Stored> {
        let position = self.entries.binary_search_by(|entry| entry.thing.id().cmp(id)).ok()?;
        Some(self.entries[position].thing.as_ref())
    }

    /// Everything.
    pub fn all(&self) -> impl Iterator<Item = &dyn Stored> {
        self.entries.iter().map(|entry| entry.thing.as_ref())
    }

    /// Uids of the clusters of which it found something.
    pub fn owners(&self) -> impl Iterator<Item = &str> {
        self.by_owner.keys().map(AsRef::as_ref)
    }

    /// Whether something that was there before was not listed: to be looked at again soon.
    pub(super) fn has_misses(&self) -> bool {
        self.entries.iter().any(|entry| entry.missed)
    }

    pub(super) fn vpc_ids(&self) -> &BTreeSet<String> {
        &self.vpc_ids
    }

    /// Whether a sweep of buckets would have listed that one: those with names of Rayward's making always are.
    pub(super) fn covers_bucket(sweep: Option<&Self>, name: &str) -> bool {
        name.starts_with(bucket::PREFIX) || sweep.is_some_and(|sweep| sweep.bucket_names.contains(name))
    }
}

fn index(entries: &[Entry], names: &mut Names, key: impl Fn(&dyn Stored) -> Option<&str>) -> Index {
    let keyed = entries.iter().zip(0_u32..).filter_map(|(entry, position)| {
        let key = key(entry.thing.as_ref())?;
        Some((names.share(key), position))
    });
    let mut index: Vec<_> = keyed.collect();
    index.sort();
    index.shrink_to_fit();
    Index(index)
}
