//! What a sweep found, kept small: tags are most of it and repeat from thing to thing, so that they are shared.

use std::{any::Any, collections::HashSet, fmt, sync::Arc};

use jiff::Timestamp;

use crate::{
    resources::{Inventory, Shelved},
    tags::Tags,
};

/// Strings that many things have in common, each kept once.
#[derive(Debug, Default)]
pub struct Names(HashSet<Arc<str>>);

impl Names {
    /// The shared form of `text`.
    pub(super) fn share(&mut self, text: &str) -> Arc<str> {
        if let Some(known) = self.0.get(text) {
            return Arc::clone(known);
        }
        let shared: Arc<str> = text.into();
        self.0.insert(Arc::clone(&shared));
        shared
    }

    /// Forgets what nothing uses any more.
    pub(super) fn tidy(&mut self) {
        self.0.retain(|text| Arc::strong_count(text) > 1);
    }
}

/// A resource of any kind, as it is kept between sweeps.
pub trait Stored: Any + Send + Sync + fmt::Debug {
    /// Its AWS id or name.
    fn id(&self) -> &str;
    /// See [`crate::resources::Resource::name`].
    fn name(&self) -> Option<&str>;
    /// The VPC in which it lies.
    fn vpc_id(&self) -> Option<&str>;
    /// The client token with which it was made.
    fn client_token(&self) -> Option<&str>;
    /// Whether nothing of it is left but its entry in a listing.
    fn is_gone(&self) -> bool;
    /// The value of one of its tags.
    fn tag(&self, key: &str) -> Option<&Arc<str>>;
    /// See [`crate::resources::Resource::seen_again`].
    fn seen_again(&mut self, before: Option<&dyn Stored>, now: Timestamp);
    /// Whether the other one was seen just like this one.
    fn is_like(&self, other: &dyn Stored) -> bool;
    /// Puts a copy on the shelf of its kind.
    fn put(&self, inventory: &mut Inventory, ours: bool);
}

/// An item without its tags, and the tags.
#[derive(Debug, PartialEq)]
struct Packed<T> {
    item: T,
    tags: Box<[(Arc<str>, Arc<str>)]>,
}

/// Packs an item.
pub(crate) fn pack<T: Shelved>(mut item: T, names: &mut Names) -> Arc<dyn Stored> {
    let tags = std::mem::take(item.tags_mut());
    let tags = tags
        .iter()
        .map(|(key, value)| (names.share(key), names.share(value)))
        .collect();
    Arc::new(Packed { item, tags })
}

impl<T: Shelved> Stored for Packed<T> {
    fn id(&self) -> &str {
        self.item.id()
    }
    fn name(&self) -> Option<&str> {
        self.item.name()
    }
    fn vpc_id(&self) -> Option<&str> {
        self.item.vpc_id()
    }
    fn client_token(&self) -> Option<&str> {
        self.item.client_token()
    }
    fn is_gone(&self) -> bool {
        self.item.is_gone()
    }
    fn tag(&self, key: &str) -> Option<&Arc<str>> {
        self.tags
            .iter()
            .find(|(name, _)| name.as_ref() == key)
            .map(|(_, value)| value)
    }
    fn seen_again(&mut self, before: Option<&dyn Stored>, now: Timestamp) {
        let before = before.and_then(|before| {
            let before: &dyn Any = before;
            before.downcast_ref::<Self>()
        });
        self.item.seen_again(before.map(|before| &before.item), now);
    }
    fn is_like(&self, other: &dyn Stored) -> bool {
        let other: &dyn Any = other;
        other.downcast_ref::<Self>().is_some_and(|other| self == other)
    }
    fn put(&self, inventory: &mut Inventory, ours: bool) {
        let mut item = self.item.clone();
        *item.tags_mut() = self
            .tags
            .iter()
            .map(|(key, value)| (key.to_string(), value.to_string()))
            .collect::<Tags>();
        let kept = T::shelf(inventory);
        let side = if ours { &mut kept.ours } else { &mut kept.others };
        side.insert(item.id().to_owned(), item);
    }
}
