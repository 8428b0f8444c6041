//! The EC2 key pair: the controller's own key, imported, or one of the user's that is only looked for.

use std::{collections::BTreeMap, fmt};

use aws_sdk_ec2::{primitives::Blob, types::ResourceType};
use serde::Serialize;

use super::{Answer, Resource, ResourceChange, created, gone};
use crate::{
    aws::{AwsCall, AwsError, Clients, Scope, sdk::tags_in},
    tags::Tags,
};

/// Value of the tag `rayward.dev/role`.
pub const ROLE: &str = "key-pair";

/// A key pair as it was seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyPair {
    /// Its id, `key-...`.
    pub id: String,
    /// Its name, unique in the region.
    pub name: String,
    /// Its public key, without the comment; empty where it is not ours.
    pub public_key: String,
    /// Its tags.
    pub tags: Tags,
}

impl Resource for KeyPair {
    fn id(&self) -> &str {
        &self.id
    }
    fn name(&self) -> Option<&str> {
        Some(&self.name)
    }
    fn tags(&self) -> &Tags {
        &self.tags
    }
    fn tags_mut(&mut self) -> &mut Tags {
        &mut self.tags
    }
    fn vpc_id(&self) -> Option<&str> {
        None
    }
}

/// Algorithm and key of a public key in OpenSSH's form: its comment means nothing, and EC2 may change it.
#[must_use]
pub fn without_comment(public_key: &str) -> String {
    public_key.split_whitespace().take(2).collect::<Vec<_>>().join(" ")
}

/// A change on a key pair.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub enum KeyPairChange {
    /// Import the public half of a key.
    Import {
        /// Its name.
        name: String,
        /// In OpenSSH's form.
        public_key: String,
        /// Tags.
        tags: Tags,
    },
    /// Delete it; machines that have the key keep it.
    Delete {
        /// Which.
        id: String,
        /// Its name.
        name: String,
    },
}

impl fmt::Display for KeyPairChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Import { name, .. } => write!(f, "import key pair {name}"),
            Self::Delete { id, name } => write!(f, "delete key pair {name} ({id})"),
        }
    }
}

impl ResourceChange for KeyPairChange {
    type Item = KeyPair;

    fn call(&self) -> AwsCall {
        match self {
            Self::Import { .. } => AwsCall::ImportKeyPair,
            Self::Delete { .. } => AwsCall::DeleteKeyPair,
        }
    }

    fn subject(&self) -> String {
        match self {
            Self::Import { name, .. } => name.clone(),
            Self::Delete { id, .. } => id.clone(),
        }
    }

    fn fold(&self, answer: &Answer, items: &mut BTreeMap<String, KeyPair>) {
        match self {
            Self::Import { name, public_key, tags } => {
                if let Answer::Created(id) = answer {
                    items.entry(id.clone()).or_insert_with(|| KeyPair {
                        id: id.clone(),
                        name: name.clone(),
                        public_key: without_comment(public_key),
                        tags: tags.clone(),
                    });
                }
            }
            Self::Delete { id, .. } => {
                items.remove(id);
            }
        }
    }
}

impl KeyPairChange {
    /// Carries it out.
    ///
    /// # Errors
    /// What AWS answered, with its class.
    pub async fn apply(&self, clients: &Clients) -> Result<Answer, AwsError> {
        let (ec2, gate, call) = (&clients.ec2, &clients.gate, self.call());
        match self {
            Self::Import { name, public_key, tags } => {
                let request = ec2
                    .import_key_pair()
                    .key_name(name)
                    .public_key_material(Blob::new(public_key.as_bytes()))
                    .tag_specifications(clients.tag_specification(ResourceType::KeyPair, tags));
                let answer = gate.send(call, name, request.send()).await?;
                created(call, name, answer.key_pair_id)
            }
            Self::Delete { id, .. } => {
                let request = ec2.delete_key_pair().key_pair_id(id);
                gone(gate.send(call, id, request.send()).await)
            }
        }
    }
}

/// All key pairs of the region: one call tells ours and whether those that specs name exist. EC2 has no pages here.
///
/// # Errors
/// What AWS answered, with its class.
pub async fn list(clients: &Clients, scope: &Scope) -> Result<Vec<KeyPair>, AwsError> {
    let request = clients.ec2.describe_key_pairs().include_public_key(true).send();
    let answer = clients.gate.send(AwsCall::DescribeKeyPairs, "all", request).await?;
    let pairs = answer.key_pairs().iter().filter_map(|pair| {
        let tags = tags_in(scope, pair.tags());
        let public_key = pair.public_key().filter(|_| !tags.is_empty());
        Some(KeyPair {
            id: pair.key_pair_id()?.to_owned(),
            name: pair.key_name().unwrap_or_default().to_owned(),
            public_key: public_key.map(without_comment).unwrap_or_default(),
            tags,
        })
    });
    Ok(pairs.collect())
}
