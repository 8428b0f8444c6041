//! Which of our Secrets exist, and in which version: their metadata alone is watched, what they hold is read when it
//! is needed.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use kube::api::ObjectMeta;

use super::{cache::ObjectName, key};

/// See the module.
#[derive(Debug, Default)]
pub struct Secrets {
    versions: Mutex<BTreeMap<ObjectName, String>>,
    listed: Mutex<Option<BTreeMap<ObjectName, String>>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Secrets {
    /// The version of the Secret of a cluster; `None` when there is none of ours.
    #[must_use]
    pub fn version(&self, cluster: &ObjectName) -> Option<String> {
        lock(&self.versions).get(cluster).cloned()
    }

    /// The cluster whose Secret this is, by its name.
    fn cluster(secret: &ObjectMeta) -> Option<ObjectName> {
        let name = secret.name.as_deref()?;
        let cluster = name.strip_suffix(key::secret_name("").as_str())?;
        Some(ObjectName {
            namespace: secret.namespace.as_deref()?.into(),
            name: cluster.into(),
        })
    }

    /// A Secret was made or changed; the answer is its cluster.
    pub fn put(&self, secret: &ObjectMeta) -> Option<ObjectName> {
        let cluster = Self::cluster(secret)?;
        let version = secret.resource_version.clone().unwrap_or_default();
        if let Some(listed) = &mut *lock(&self.listed) {
            listed.insert(cluster.clone(), version);
            return None;
        }
        lock(&self.versions).insert(cluster.clone(), version);
        Some(cluster)
    }

    /// A Secret went; the answer is its cluster.
    pub fn remove(&self, secret: &ObjectMeta) -> Option<ObjectName> {
        let cluster = Self::cluster(secret)?;
        lock(&self.versions).remove(&cluster)?;
        Some(cluster)
    }

    /// A list of all begins to come in.
    pub fn list_begins(&self) {
        *lock(&self.listed) = Some(BTreeMap::new());
    }

    /// The list is in; the answer is the clusters whose Secret differs from before.
    pub fn list_ends(&self) -> Vec<ObjectName> {
        let Some(listed) = lock(&self.listed).take() else {
            return Vec::new();
        };
        let before = std::mem::replace(&mut *lock(&self.versions), listed.clone());
        let changed = listed
            .iter()
            .filter(|(name, version)| before.get(*name) != Some(*version));
        let gone = before.iter().filter(|(name, _)| !listed.contains_key(*name));
        changed.chain(gone).map(|(name, _)| name.clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(name: &str, version: &str) -> ObjectMeta {
        ObjectMeta {
            namespace: Some("ml".into()),
            name: Some(name.into()),
            resource_version: Some(version.into()),
            ..ObjectMeta::default()
        }
    }

    fn lab() -> ObjectName {
        ObjectName {
            namespace: "ml".into(),
            name: "lab".into(),
        }
    }

    #[test]
    fn a_secret_is_known_by_its_cluster() {
        let secrets = Secrets::default();
        assert_eq!(secrets.put(&secret("lab-ssh", "5")), Some(lab()));
        assert_eq!(secrets.put(&secret("other", "5")), None);
        assert_eq!(secrets.version(&lab()).as_deref(), Some("5"));
        assert_eq!(secrets.remove(&secret("lab-ssh", "6")), Some(lab()));
        assert_eq!(secrets.version(&lab()), None);
    }

    #[test]
    fn a_list_tells_what_changed_while_nobody_watched() {
        let secrets = Secrets::default();
        secrets.put(&secret("gone-ssh", "1"));
        secrets.put(&secret("same-ssh", "1"));
        secrets.list_begins();
        secrets.put(&secret("same-ssh", "1"));
        secrets.put(&secret("lab-ssh", "2"));
        let names: Vec<String> = secrets.list_ends().iter().map(ToString::to_string).collect();
        assert_eq!(names, ["ml/lab", "ml/gone"]);
    }
}
