//! The `RayClusters` as they were last seen: by the watch, and in the answers to our own writes.

use std::{
    collections::{BTreeMap, HashMap},
    fmt,
    sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
};

use kube::{
    api::ObjectMeta,
    core::{DeserializeGuard, error_boundary::InvalidObject},
};

use crate::api::RayCluster;

/// Namespace and name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectName {
    /// Namespace.
    pub namespace: Arc<str>,
    /// Name.
    pub name: Arc<str>,
}

impl ObjectName {
    /// The name in some metadata.
    #[must_use]
    pub fn of(metadata: &ObjectMeta) -> Self {
        Self {
            namespace: metadata.namespace.as_deref().unwrap_or_default().into(),
            name: metadata.name.as_deref().unwrap_or_default().into(),
        }
    }
}

impl fmt::Display for ObjectName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// An object: one that can be read, or one that is not what its schema says.
#[derive(Clone, Debug)]
pub enum Cached {
    /// It can be read.
    Valid(Arc<RayCluster>),
    /// It cannot; why.
    Invalid(Arc<InvalidObject>),
}

impl Cached {
    /// An object without the parts that only take up memory.
    #[must_use]
    pub fn new(object: DeserializeGuard<RayCluster>) -> Self {
        match object.0 {
            Ok(mut object) => {
                slim(&mut object.metadata);
                Self::Valid(Arc::new(object))
            }
            Err(mut object) => {
                slim(&mut object.metadata);
                Self::Invalid(Arc::new(object))
            }
        }
    }

    /// Its metadata.
    #[must_use]
    pub fn metadata(&self) -> &ObjectMeta {
        match self {
            Self::Valid(object) => &object.metadata,
            Self::Invalid(object) => &object.metadata,
        }
    }

    fn uid(&self) -> &str {
        self.metadata().uid.as_deref().unwrap_or_default()
    }

    /// Whether this is older than `other`; versions are numbers since Kubernetes 1.35, and always were with etcd.
    fn is_older_than(&self, other: &Self) -> bool {
        let version = |cached: &Self| {
            let version = cached.metadata().resource_version.as_deref();
            version.and_then(|version| version.parse::<u64>().ok())
        };
        self.uid() == other.uid() && matches!((version(self), version(other)), (Some(a), Some(b)) if a < b)
    }
}

/// Drops what nobody here reads: who wrote which field, and the copy of the manifest that `kubectl apply` leaves.
fn slim(metadata: &mut ObjectMeta) {
    metadata.managed_fields = None;
    if let Some(annotations) = &mut metadata.annotations {
        annotations.remove("kubectl.kubernetes.io/last-applied-configuration");
    }
}

/// All objects.
#[derive(Debug, Default)]
pub struct Cache(RwLock<Objects>);

#[derive(Debug, Default)]
struct Objects {
    by_name: BTreeMap<ObjectName, Cached>,
    by_uid: HashMap<String, ObjectName>,
    /// Seen in the list that is coming in.
    listed: Option<Vec<ObjectName>>,
}

impl Cache {
    fn read(&self) -> RwLockReadGuard<'_, Objects> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Objects> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// The object of this name.
    #[must_use]
    pub fn get(&self, name: &ObjectName) -> Option<Cached> {
        self.read().by_name.get(name).cloned()
    }

    /// The name of the object with this uid.
    #[must_use]
    pub fn name_of(&self, uid: &str) -> Option<ObjectName> {
        self.read().by_uid.get(uid).cloned()
    }

    /// The names of all objects.
    #[must_use]
    pub fn names(&self) -> Vec<ObjectName> {
        self.read().by_name.keys().cloned().collect()
    }

    /// Enters what the watch shows. The answer is an object of the same name that this one replaced.
    pub fn put(&self, object: Cached) -> Option<Cached> {
        let mut objects = self.write();
        let name = ObjectName::of(object.metadata());
        if let Some(listed) = &mut objects.listed {
            listed.push(name.clone());
        }
        let before = objects.by_name.get(&name);
        if before.is_some_and(|before| object.is_older_than(before)) {
            return None;
        }
        let replaced = before.filter(|before| before.uid() != object.uid()).cloned();
        if let Some(replaced) = &replaced {
            objects.by_uid.remove(replaced.uid());
        }
        objects.by_uid.insert(object.uid().to_owned(), name.clone());
        objects.by_name.insert(name, object);
        replaced
    }

    /// Enters the answer to a write of ours, so that the next pass does not begin with what was before. An object that
    /// the watch saw go meanwhile does not come back.
    pub fn written(&self, object: RayCluster) {
        let object = Cached::new(DeserializeGuard(Ok(object)));
        let mut objects = self.write();
        let name = ObjectName::of(object.metadata());
        if let Some(known) = objects.by_name.get_mut(&name)
            && known.uid() == object.uid()
            && !object.is_older_than(known)
        {
            *known = object;
        }
    }

    /// An object went.
    pub fn remove(&self, object: &Cached) -> Option<Cached> {
        let mut objects = self.write();
        let name = ObjectName::of(object.metadata());
        let known = objects.by_name.get(&name)?;
        if known.uid() != object.uid() {
            return None;
        }
        objects.by_uid.remove(object.uid());
        objects.by_name.remove(&name)
    }

    /// A list of all objects begins to come in.
    pub fn list_begins(&self) {
        self.write().listed = Some(Vec::new());
    }

    /// The list is in: what it did not hold has gone. The answer is what went.
    pub fn list_ends(&self) -> Vec<Cached> {
        let mut objects = self.write();
        let Some(mut listed) = objects.listed.take() else {
            return Vec::new();
        };
        listed.sort();
        let gone: Vec<ObjectName> = objects
            .by_name
            .keys()
            .filter(|name| listed.binary_search(name).is_err())
            .cloned()
            .collect();
        gone.iter()
            .filter_map(|name| {
                let object = objects.by_name.remove(name)?;
                objects.by_uid.remove(object.uid());
                Some(object)
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(name: &str, uid: &str, version: u64) -> RayCluster {
        serde_json::from_value(serde_json::json!({
            "apiVersion": "rayward.dev/v1alpha1", "kind": "RayCluster",
            "metadata": {
                "namespace": "ml", "name": name, "uid": uid, "resourceVersion": version.to_string(),
                "managedFields": [{"manager": "kubectl"}],
                "annotations": {"kubectl.kubernetes.io/last-applied-configuration": "{}", "mine": "stays"},
            },
            "spec": {"region": "ap-southeast-1"},
        }))
        .unwrap()
    }

    fn cached(name: &str, uid: &str, version: u64) -> Cached {
        Cached::new(DeserializeGuard(Ok(object(name, uid, version))))
    }

    fn version(cache: &Cache, name: &str) -> Option<String> {
        let name = ObjectName {
            namespace: "ml".into(),
            name: name.into(),
        };
        cache.get(&name)?.metadata().resource_version.clone()
    }

    #[test]
    fn what_nobody_reads_is_not_kept() {
        let cached = cached("lab", "1", 1);
        let metadata = cached.metadata();
        assert!(metadata.managed_fields.is_none());
        assert_eq!(
            metadata.annotations.as_ref().unwrap().keys().collect::<Vec<_>>(),
            ["mine"]
        );
    }

    #[test]
    fn an_answer_to_a_write_is_not_undone_by_an_older_event() {
        let cache = Cache::default();
        cache.put(cached("lab", "1", 5));
        cache.written(object("lab", "1", 7));
        cache.put(cached("lab", "1", 6));
        assert_eq!(version(&cache, "lab").as_deref(), Some("7"));
        cache.put(cached("lab", "1", 10));
        cache.written(object("lab", "1", 9));
        assert_eq!(version(&cache, "lab").as_deref(), Some("10"));
    }

    #[test]
    fn what_went_does_not_come_back_by_an_answer_to_a_write() {
        let cache = Cache::default();
        cache.put(cached("lab", "1", 5));
        assert!(cache.remove(&cached("lab", "1", 6)).is_some());
        cache.written(object("lab", "1", 7));
        assert_eq!((version(&cache, "lab"), cache.name_of("1")), (None, None));
    }

    #[test]
    fn a_recreated_name_is_another_object() {
        let cache = Cache::default();
        cache.put(cached("lab", "1", 5));
        let replaced = cache.put(cached("lab", "2", 4)).unwrap();
        assert_eq!(replaced.metadata().uid.as_deref(), Some("1"));
        assert!(cache.remove(&cached("lab", "1", 9)).is_none());
        assert_eq!((cache.name_of("1"), cache.names().len()), (None, 1));
    }

    #[test]
    fn what_a_new_list_does_not_hold_has_gone() {
        let cache = Cache::default();
        cache.put(cached("a", "1", 5));
        cache.put(cached("b", "2", 5));
        cache.list_begins();
        cache.put(cached("b", "2", 5));
        let gone = cache.list_ends();
        assert_eq!(gone.len(), 1);
        assert_eq!(gone[0].metadata().name.as_deref(), Some("a"));
        assert_eq!(cache.names().len(), 1);
    }
}
