//! What a sweep found, kept small: tags are most of it and repeat from thing to thing, so that they are shared.

use std::{any::Any, collections::HashSet, fmt, sync::Arc};

use jiff::Timestamp;

use crate::{
    resources::{Inventory, Shelved},
    tags::Tags,
};

/// The tags of a thing, in the order of their keys.
type TagList = Arc<[(Arc<str>, Arc<str>)]>;

/// What many things have in common, each kept once: strings, and whole lists of tags, since the disk and the interface
/// of a machine carry the machine's, and so do all that were launched with it.
#[derive(Debug, Default)]
pub struct Names {
    texts: HashSet<Arc<str>>,
    lists: HashSet<TagList>,
}

impl Names {
    /// The shared form of `text`.
    pub(super) fn share(&mut self, text: &str) -> Arc<str> {
        if let Some(known) = self.texts.get(text) {
            return Arc::clone(known);
        }
        let shared: Arc<str> = text.into();
        self.texts.insert(Arc::clone(&shared));
        shared
    }

    fn share_tags(&mut self, tags: &Tags) -> TagList {
        let list: Vec<_> = tags
            .iter()
            .map(|(key, value)| (self.share(key), self.share(value)))
            .collect();
        if let Some(known) = self.lists.get(list.as_slice()) {
            return Arc::clone(known);
        }
        let shared: TagList = list.into();
        self.lists.insert(Arc::clone(&shared));
        shared
    }

    /// Forgets what nothing uses any more.
    pub(super) fn tidy(&mut self) {
        // A list that goes lets its texts go.
        self.lists.retain(|list| Arc::strong_count(list) > 1);
        self.texts.retain(|text| Arc::strong_count(text) > 1);
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
    tags: TagList,
}

/// Packs an item.
pub(crate) fn pack<T: Shelved>(mut item: T, names: &mut Names) -> Arc<dyn Stored> {
    let tags = std::mem::take(item.tags_mut());
    let tags = names.share_tags(&tags);
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resources::{
        instance::{Instance, sample},
        volume::Volume,
    };

    #[test]
    fn what_carries_the_same_tags_shares_them_and_what_nothing_carries_is_forgotten() {
        let tags = Tags::from([("team".to_owned(), "blue".to_owned())]);
        let mut names = Names::default();
        let machine = Instance {
            tags: tags.clone(),
            ..sample("i-1")
        };
        let machine = pack(machine, &mut names);
        let disk = Volume {
            id: "vol-1".into(),
            available: false,
            instance_id: None,
            tags,
        };
        let disk = pack(disk, &mut names);
        assert_eq!((names.lists.len(), names.texts.len()), (1, 2));
        let value = |thing: &Arc<dyn Stored>| thing.tag("team").cloned();
        assert_eq!(value(&machine), Some("blue".into()));
        drop(machine);
        names.tidy();
        assert_eq!((value(&disk), names.lists.len()), (Some("blue".into()), 1));
        drop(disk);
        names.tidy();
        assert_eq!((names.lists.len(), names.texts.len()), (0, 0));
    }
}
