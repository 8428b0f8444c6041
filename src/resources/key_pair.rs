//! The EC2 key pair: the controller's own key, imported, or one of the user's that is only looked for.

use std::{collections::BTreeMap, fmt};

use aws_sdk_ec2::{primitives::Blob, types::ResourceType};
use serde::Serialize;

use super::{Answer, Change, Inventory, Kind, NAME_PREFIX, Resource, ResourceChange, created, gone, unique_name};
use crate::{
    aws::{AwsCall, AwsError, Clients, Scope, sdk::tags_in},
    observe::{KeySecret, Source},
    plan::{Action, Finding, Planner, Reason, Subject},
    tags::{CLUSTER_UID, Tags},
    validate::ValidCluster,
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
    /// Its public key, without the comment; empty where neither tags nor name say that it is ours.
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
        let name = pair.key_name().unwrap_or_default();
        let public_key = pair
            .public_key()
            .filter(|_| !tags.is_empty() || name.starts_with(NAME_PREFIX));
        Some(KeyPair {
            id: pair.key_pair_id()?.to_owned(),
            name: name.to_owned(),
            public_key: public_key.map(without_comment).unwrap_or_default(),
            tags,
        })
    });
    Ok(pairs.collect())
}

/// Plans the controller's own key and the EC2 key pair: its name, once machines can be launched with it.
pub fn plan(planner: &mut Planner<'_>) -> Option<String> {
    let public_key = secret(planner)?;
    if let Source::Unknown(why) = &planner.observed().inventory.key_pair.swept {
        planner.wait_for_look(Subject::Key, "key pairs", why);
        return None;
    }
    match &planner.cluster().key_pair {
        Some(name) => existing(planner, name),
        None => own(planner, public_key),
    }
}

/// The public half of the controller's own key, which every machine accepts.
fn secret<'a>(planner: &mut Planner<'a>) -> Option<&'a str> {
    let observed = planner.observed();
    let machines = &observed.inventory.instance;
    let alive = machines.ours.values().any(|machine| !machine.is_lost());
    let lost =
        "the machines accept only the key that it held. Put the Secret back, or delete the cluster and apply it again";
    let (reason, message) = match (&observed.key, &machines.swept) {
        (Source::Known(KeySecret::Present { public_key }), _) => return Some(public_key),
        (Source::Unknown(why), _) => {
            planner.wait_for_look(Subject::Key, "the Secret with the key", why);
            return None;
        }
        (_, Source::Unknown(why)) => {
            planner.wait_for_look(Subject::Key, "machines", why);
            return None;
        }
        (Source::Known(KeySecret::Missing), _) if alive => (
            Reason::KeyLost,
            format!("the Secret with the cluster's key is gone: {lost}"),
        ),
        (Source::Known(KeySecret::Unusable(why)), _) if alive => (Reason::KeyLost, format!("{why}: {lost}")),
        (Source::Known(KeySecret::Unusable(why)), _) => (Reason::Refused, format!("{why}: delete that Secret")),
        (Source::Known(KeySecret::Missing), _) => {
            planner.act(Subject::Key, Action::CreateKey);
            return None;
        }
    };
    planner.wait(Subject::Key, reason, message);
    None
}

/// One of the user's: only looked for.
fn existing(planner: &mut Planner<'_>, name: &str) -> Option<String> {
    let mut pairs = planner.observed().inventory.key_pair.all();
    if pairs.any(|pair| pair.name == name) {
        return Some(name.to_owned());
    }
    let message = format!(
        "InvalidKeyPair.NotFound: there is no key pair {name} in {}: import it there, or change keyPair.name",
        planner.cluster().region
    );
    planner.wait(Subject::Key, Reason::InvalidReference, message);
    None
}

fn own(planner: &mut Planner<'_>, public_key: &str) -> Option<String> {
    let shelf = &planner.observed().inventory.key_pair;
    let name = unique_name(&planner.cluster().id);
    let ours = shelf.ours.values().find(|pair| pair.name == name);
    let Some(pair) = ours.or_else(|| shelf.others.values().find(|pair| pair.name == name)) else {
        let change = KeyPairChange::Import {
            name,
            public_key: public_key.to_owned(),
            tags: planner.creation_tags(ROLE, None),
        };
        planner.change(Subject::Key, Change::KeyPair(change));
        return None;
    };
    let same_key = pair.public_key == without_comment(public_key);
    if !same_key && ours.is_none() {
        let message = format!(
            "key pair {name} ({}) has another key and not this cluster's tags: delete it",
            pair.id
        );
        planner.wait(Subject::Key, Reason::ForeignResource, message);
        return None;
    }
    if !same_key {
        planner.find(Finding::repaired(
            &pair.id,
            "held another key than the cluster's Secret",
        ));
        planner.change(Subject::Key, deletion(pair));
        return None;
    }
    // Without tags too: its key proves it ours.
    let tags = planner.tags(ROLE, None);
    planner.repair_tags(Subject::Key, Kind::KeyPair, pair, &tags);
    Some(name)
}

fn deletion(pair: &KeyPair) -> Change {
    Change::KeyPair(KeyPairChange::Delete {
        id: pair.id.clone(),
        name: pair.name.clone(),
    })
}

/// Plans to delete the key pairs that are ours.
pub fn plan_deletion(planner: &mut Planner<'_>) {
    let inventory = &planner.observed().inventory;
    for pair in inventory.key_pair.ours.values() {
        planner.change(Subject::Key, deletion(pair));
    }
    for pair in untagged(planner.cluster(), inventory) {
        adopt(planner, pair);
    }
}

/// The key pairs that have the name of a cluster's own and no tag that says whose they are.
pub fn untagged<'a>(cluster: &ValidCluster, inventory: &'a Inventory) -> impl Iterator<Item = &'a KeyPair> {
    let name = unique_name(&cluster.id);
    let others = inventory.key_pair.others.values();
    others.filter(move |pair| pair.name == name && !pair.tags.contains_key(CLUSTER_UID))
}

/// One that lost its tags, in a deletion: its key proves it ours, and tagged again it goes.
fn adopt(planner: &mut Planner<'_>, pair: &KeyPair) {
    match &planner.observed().key {
        Source::Unknown(why) => {
            let message = format!(
                "whose the key pair {} ({}) is, which has no tags, is told by the Secret with the key: {why}",
                pair.name, pair.id
            );
            planner.wait(Subject::Key, Reason::NotObserved, message);
        }
        Source::Known(KeySecret::Present { public_key }) if pair.public_key == without_comment(public_key) => {
            let tags = planner.tags(ROLE, None);
            planner.repair_tags(Subject::Key, Kind::KeyPair, pair, &tags);
        }
        Source::Known(_) => {
            let what = "has the name of this cluster's key pair, but neither its tags nor the key of its Secret";
            planner.find(Finding::kept(&pair.id, what));
        }
    }
}
