//! Root disks of machines. They come and go with their machines; what is kept true is that they carry our tags, and
//! that none is left behind.

use std::{collections::BTreeMap, fmt};

use aws_sdk_ec2::types::VolumeState;
use serde::Serialize;

use super::{Answer, Resource, ResourceChange, gone};
use crate::{
    aws::{
        AwsCall, AwsError, Clients, Scope,
        sdk::{filter, tags_from},
    },
    tags::{INSTALLATION, Tags},
};

/// A volume as it was seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Volume {
    /// Its id.
    pub id: String,
    /// Whether it is attached to nothing and could be deleted.
    pub available: bool,
    /// Whether it is being deleted.
    pub deleting: bool,
    /// The instance to which it is attached.
    pub instance_id: Option<String>,
    /// Its tags.
    pub tags: Tags,
}

impl Resource for Volume {
    fn id(&self) -> &str {
        &self.id
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

/// A change on a volume.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub enum VolumeChange {
    /// Put the tags on the root disk of a machine of ours: volumes are found by tag, so one without is not seen itself.
    Tag {
        /// Which.
        id: String,
        /// The machine.
        instance_id: String,
        /// All tags that it has to carry.
        tags: Tags,
    },
    /// Delete one that a machine left behind.
    Delete {
        /// Which.
        id: String,
    },
}

impl fmt::Display for VolumeChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tag { id, instance_id, tags } => {
                write!(f, "tag {id}, the disk of {instance_id}, with")?;
                tags.iter().try_for_each(|(key, value)| write!(f, " {key}={value}"))
            }
            Self::Delete { id } => write!(f, "delete volume {id}"),
        }
    }
}

impl ResourceChange for VolumeChange {
    type Item = Volume;

    fn call(&self) -> AwsCall {
        match self {
            Self::Tag { .. } => AwsCall::CreateTags,
            Self::Delete { .. } => AwsCall::DeleteVolume,
        }
    }

    fn subject(&self) -> String {
        match self {
            Self::Tag { id, .. } | Self::Delete { id } => id.clone(),
        }
    }

    fn fold(&self, _: &Answer, items: &mut BTreeMap<String, Volume>) {
        match self {
            Self::Tag { id, instance_id, tags } => {
                let volume = items.entry(id.clone()).or_insert_with(|| Volume {
                    id: id.clone(),
                    available: false,
                    deleting: false,
                    instance_id: Some(instance_id.clone()),
                    tags: Tags::new(),
                });
                volume.tags.extend(tags.clone());
            }
            Self::Delete { id } => {
                items.remove(id);
            }
        }
    }
}

impl VolumeChange {
    /// Carries it out.
    ///
    /// # Errors
    /// What AWS answered, with its class.
    pub async fn apply(&self, clients: &Clients) -> Result<Answer, AwsError> {
        let (ec2, gate, call) = (&clients.ec2, &clients.gate, self.call());
        match self {
            Self::Tag { id, tags, .. } => {
                let request = ec2.create_tags().resources(id).set_tags(Some(clients.ec2_tags(tags)));
                gate.send(call, id, request.send()).await.map(|_| Answer::Done)
            }
            Self::Delete { id } => {
                let request = ec2.delete_volume().volume_id(id);
                gone(gate.send(call, id, request.send()).await)
            }
        }
    }
}

/// The volumes that carry our tag.
///
/// # Errors
/// What AWS answered, with its class.
pub async fn list(clients: &Clients, scope: &Scope) -> Result<Vec<Volume>, AwsError> {
    let call = AwsCall::DescribeVolumes;
    let ours = filter(&format!("tag:{INSTALLATION}"), [scope.installation.as_str()]);
    let request = clients.ec2.describe_volumes().filters(ours);
    let mut pages = request.max_results(1000).into_paginator().send();
    let mut found = Vec::new();
    while let Some(page) = clients.gate.send(call, "page", pages.try_next()).await? {
        found.extend(page.volumes().iter().filter_map(|volume| {
            let attachment = volume.attachments().first();
            Some(Volume {
                id: volume.volume_id()?.to_owned(),
                available: volume.state() == Some(&VolumeState::Available),
                deleting: matches!(volume.state(), Some(VolumeState::Deleting | VolumeState::Deleted)),
                instance_id: attachment.and_then(|attachment| attachment.instance_id.clone()),
                tags: tags_from(volume.tags()),
            })
        }));
    }
    Ok(found)
}
