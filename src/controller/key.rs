//! The controller's own key and the token of the cluster's Ray: the Secret that holds them, and how they are made.
//!
//! The Secret is `<cluster>-ssh`, of type `kubernetes.io/ssh-auth`, immutable and owned by the `RayCluster`:
//! `ssh-privatekey` holds the private key in OpenSSH's form, `ssh-publickey` the public one, `ray-token` the token that
//! Ray asks of everybody who wants something of it.

use std::collections::BTreeMap;

use base64::prelude::{BASE64_URL_SAFE_NO_PAD, Engine as _};
use k8s_openapi::{ByteString, api::core::v1::Secret, apimachinery::pkg::apis::meta::v1::OwnerReference};
use kube::api::ObjectMeta;
use ssh_key::{
    Algorithm, LineEnding, PrivateKey,
    rand_core::{OsRng, RngCore},
};

use crate::{observe::KeySecret, ray::watchers::Access, tags};

/// Type of the Secret.
pub const SECRET_TYPE: &str = "kubernetes.io/ssh-auth";
/// Key of the private half.
pub const PRIVATE: &str = "ssh-privatekey";
/// Key of the public half.
pub const PUBLIC: &str = "ssh-publickey";
/// Key of the token.
pub const TOKEN: &str = "ray-token";
/// Bytes of randomness in a token.
const TOKEN_LENGTH: usize = 32;
/// Label of the Secret, by which changes of it are seen; its value is the uid of the cluster.
pub const LABEL: &str = tags::CLUSTER_UID;

/// Name of the Secret of a cluster.
#[must_use]
pub fn secret_name(cluster: &str) -> String {
    format!("{cluster}-ssh")
}

/// A new key and a new token in a Secret that `owner` owns.
///
/// # Errors
/// When the operating system gives no randomness.
pub fn make(namespace: &str, owner: OwnerReference) -> Result<Secret, String> {
    let failed = |error: ssh_key::Error| format!("could not make an SSH key: {error}");
    let mut key = PrivateKey::random(&mut OsRng, Algorithm::Ed25519).map_err(failed)?;
    key.set_comment(format!("rayward {namespace}/{}", owner.name));
    let public = key.public_key().to_openssh().map_err(failed)?;
    let private = key.to_openssh(LineEnding::LF).map_err(failed)?;
    let mut token = [0; TOKEN_LENGTH];
    OsRng
        .try_fill_bytes(&mut token)
        .map_err(|error| format!("could not make a token for Ray: {error}"))?;
    let token = BASE64_URL_SAFE_NO_PAD.encode(token);
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
            (TOKEN.to_owned(), ByteString(token.into_bytes())),
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
    let public = open(secret).and_then(|(key, _)| {
        let public = key.public_key().to_openssh();
        public.map_err(|error| format!("holds no key that can be read in {PRIVATE}: {error}"))
    });
    match public {
        Ok(public_key) => KeySecret::Present { public_key },
        Err(why) => unusable(&why),
    }
}

/// The key and the token that a Secret of the right name holds for the cluster with this uid.
///
/// # Errors
/// What is wrong with it, never what it holds.
pub fn access(secret: &Secret, cluster_uid: &str) -> Result<Access, String> {
    match read(secret, cluster_uid) {
        KeySecret::Present { .. } => {
            let (key, token) = open(secret)?;
            let private_key = key
                .to_openssh(LineEnding::LF)
                .map_err(|error| format!("holds a key that cannot be written: {error}"))?;
            Ok(Access {
                private_key: private_key.to_string(),
                token,
            })
        }
        KeySecret::Unusable(why) => Err(why),
        KeySecret::Missing => Err("there is no Secret".into()),
    }
}

/// What it holds; or what is wrong with it: the error tells what kind of thing that is, never the text.
fn open(secret: &Secret) -> Result<(PrivateKey, String), String> {
    let value = |name: &str| {
        let found = secret.data.as_ref().and_then(|data| data.get(name));
        found.map(|found| &found.0).ok_or_else(|| format!("has no {name}"))
    };
    let key = PrivateKey::from_openssh(value(PRIVATE)?)
        .map_err(|error| format!("holds no key that can be read in {PRIVATE}: {error}"))?;
    let token = String::from_utf8(value(TOKEN)?.clone()).ok();
    let token = token.filter(|token| !token.is_empty() && token.bytes().all(|byte| byte.is_ascii_graphic()));
    let token = token.ok_or_else(|| format!("holds no token in {TOKEN}: printable characters without spaces"))?;
    Ok((key, token))
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
    fn each_cluster_has_a_token_of_its_own() {
        let token = |secret| access(&secret, "uid-1").map(|access| access.token);
        let one = token(make("ml", owner()).unwrap()).unwrap();
        assert!(one.len() > TOKEN_LENGTH);
        assert_ne!(one, token(make("ml", owner()).unwrap()).unwrap());
    }

    #[test]
    fn a_secret_of_another_owner_or_without_a_key_is_unusable() {
        let secret = make("ml", owner()).unwrap();
        assert!(matches!(read(&secret, "uid-2"), KeySecret::Unusable(why) if why.contains("lab-ssh")));
        let mut empty = secret.clone();
        empty.data = None;
        assert!(matches!(read(&empty, "uid-1"), KeySecret::Unusable(why) if why.contains(PRIVATE)));
        let mut tokenless = secret.clone();
        tokenless.data.get_or_insert_default().remove(TOKEN);
        assert!(matches!(read(&tokenless, "uid-1"), KeySecret::Unusable(why) if why.contains(TOKEN)));
        let mut broken = secret;
        let data = broken.data.get_or_insert_default();
        data.insert(PRIVATE.into(), ByteString(b"no key".to_vec()));
        assert!(matches!(read(&broken, "uid-1"), KeySecret::Unusable(_)));
    }
}
