//! Which cluster wants what to be looked at, and whose content changed.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::{Stored, owner};
use crate::tags;

/// What one cluster wants the sweeps to look at, beside everything that carries our tag.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Interest {
    /// `namespace/name`.
    pub path: String,
    /// Its VPCs: by its spec, and by its status.
    pub vpc_ids: BTreeSet<String>,
    /// Names of its buckets, those of the spec and those of the status.
    pub bucket_names: BTreeSet<String>,
    /// Name of the user's key pair, which carries no tag of ours.
    pub key_pair: Option<String>,
}

/// Clusters whose content on AWS was seen to differ from the time before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Changed {
    /// These. Uids.
    Clusters(Arc<BTreeSet<String>>),
    /// Perhaps all.
    All,
}

/// What differs from the sweep before, by whatever says whose it is.
#[derive(Debug, Default)]
pub(super) struct Touched {
    pub(super) uids: BTreeSet<String>,
    pub(super) vpc_ids: BTreeSet<String>,
    ids: BTreeSet<String>,
    names: BTreeSet<String>,
    paths: BTreeSet<String>,
}

impl Touched {
    pub(super) fn note(&mut self, thing: &dyn Stored, token_prefix: &str) {
        self.uids.extend(owner(thing, token_prefix).map(ToOwned::to_owned));
        self.vpc_ids.extend(thing.vpc_id().map(ToOwned::to_owned));
        self.ids.insert(thing.id().to_owned());
        self.names.extend(thing.name().map(ToOwned::to_owned));
        self.paths.extend(thing.tag(tags::CLUSTER).map(ToString::to_string));
    }

    pub(super) fn clusters(&self, tracked: &BTreeMap<String, Interest>) -> BTreeSet<String> {
        let is_touched = |uid: &String, interest: &Interest| {
            self.uids.contains(uid)
                || self.paths.contains(&interest.path)
                || !self.vpc_ids.is_disjoint(&interest.vpc_ids)
                || !self.ids.is_disjoint(&interest.bucket_names)
                || interest.key_pair.as_ref().is_some_and(|name| self.names.contains(name))
        };
        tracked
            .iter()
            .filter(|(uid, interest)| is_touched(uid, interest))
            .map(|(uid, _)| uid.clone())
            .collect()
    }
}
