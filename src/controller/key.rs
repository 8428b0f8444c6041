//! The controller's own key: the Secret that holds it, and how it is made.
//!
//! The Secret is `<cluster>-ssh`, of type `kubernetes.io/ssh-auth`, immutable and owned by the `RayCluster`:
//! `ssh-privatekey` holds the private key in OpenSSH's form, `ssh-publickey` the public one.

use std::collections::BTreeMap;

use k8s_openapi::{ByteString, api::core::v1::Secret, apimachinery::pkg::apis::meta::v1::OwnerReference};
use kube::api::ObjectMeta;
use ssh_key::{Algorithm, LineEnding, PrivateKey, rand_core::OsRng};

use crate::{observe::KeySecret, tags};

/// Type of the Secret.
pub const SECRET_TYPE: &str = "kubernetes.io/ssh-auth";
/// Key of the private half.
pub const PRIVATE: &str = "ssh-privatekey";
/// Key of the public half.
pub const PUBLIC: &str = "ssh-publickey";
/// Label of the Secret, by which changes of it are seen; its value is the uid of the cluster.
pub const LABEL: &str = tags::CLUSTER_UID;

/// Name of the Secret of a cluster.
#[must_use]
pub fn secret_name(cluster: &str) -> String {
    format!("{cluster}-ssh")
}

/// A new key in a Secret that `owner` owns.
///
/// # Errors
/// When the operating system gives no randomness.
pub fn make(namespace: &str, owner: OwnerReference) -> Result<Secret, String> {
    let failed = |error: ssh_key::Error| format!("could not make an SSH key: {error}");
    let mut key = PrivateKey::random(&mut OsRng, Algorithm::Ed25519).map_err(failed)?;
    key.set_comment(format!("rayward {namespace}/{}", owner.name));
    let public = key.public_key().to_openssh().map_err(failed)?;
    let private = key.to_openssh(LineEnding::LF).map_err(failed)?;
    Ok(Secret {
        metadata: ObjectMeta {
            name: Some(secret_name(&owner.name)),
            namespace: Some(namespace.to_owned()),
            labels: Some(BTreeMap::from([(LABEL.to_owned(), owner.uid.clone())])),
            owner_references: Some(vec![owner]),
            ..ObjectMeta::default()
        },
        type_: Some(SECRET_TYPE.to_owned()),
        immutable: Some(true),
        data: Some(BTreeMap::from([
            (PRIVATE.to_owned(), ByteString(private.as_bytes().to_vec())),
            (PUBLIC.to_owned(), ByteString(public.into_bytes())),
        ])),
        ..Secret::default()
    })
}

/// Whether a Secret belongs to the cluster with this uid.
#[must_use]
pub fn is_of(secret: &Secret, cluster_uid: &str) -> bool {
    let owners = secret.metadata.owner_references.iter().flatten();
    owners.into_iter().any(|owner| owner.uid == cluster_uid)
}

/// What a Secret of the right name holds for the cluster with this uid.
#[must_use]
pub fn read(secret: &Secret, cluster_uid: &str) -> KeySecret {
    let name = secret.metadata.name.as_deref().unwrap_or_default();
    let unusable = |why: &str| KeySecret::Unusable(format!("the Secret {name} {why}"));
    if !is_of(secret, cluster_uid) {
        return unusable("is not this cluster's: rename or delete it, Rayward makes its own under that name");
    }
    let private = secret.data.as_ref().and_then(|data| data.get(PRIVATE));
    let Some(private) = private else {
        return unusable(&format!("has no {PRIVATE}"));
    };
    match PrivateKey::from_openssh(&private.0).and_then(|key| key.public_key().to_openssh()) {
        Ok(public_key) => KeySecret::Present { public_key },
        // The error tells what kind of thing is wrong, never the text of the key.
        Err(error) => unusable(&format!("holds no key that can be read in {PRIVATE}: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owner() -> OwnerReference {
        OwnerReference {
            api_version: "rayward.dev/v1alpha1".into(),
            kind: "RayCluster".into(),
            name: "lab".into(),
            uid: "uid-1".into(),
            controller: Some(true),
            block_owner_deletion: Some(true),
        }
    }

    #[test]
    fn what_is_made_can_be_read_and_each_is_another() {
        let (one, two) = (make("ml", owner()).unwrap(), make("ml", owner()).unwrap());
        let (one, two) = (read(&one, "uid-1"), read(&two, "uid-1"));
        let KeySecret::Present { public_key } = &one else {
            panic!("{one:?}")
        };
        assert!(public_key.starts_with("ssh-ed25519 ") && public_key.ends_with("rayward ml/lab"));
        assert_ne!(one, two);
    }

    #[test]
    fn a_secret_of_another_owner_or_without_a_key_is_unusable() {
        let secret = make("ml", owner()).unwrap();
        assert!(matches!(read(&secret, "uid-2"), KeySecret::Unusable(why) if why.contains("lab-ssh")));
        let mut empty = secret.clone();
        empty.data = None;
        assert!(matches!(read(&empty, "uid-1"), KeySecret::Unusable(why) if why.contains(PRIVATE)));
        let mut broken = secret;
        let data = broken.data.get_or_insert_default();
        data.insert(PRIVATE.into(), ByteString(b"no key".to_vec()));
        assert!(matches!(read(&broken, "uid-1"), KeySecret::Unusable(_)));
    }
}
