//! Root disks of machines. They come and go with their machines; what is kept true is that they carry our tags, and
//! that none is left behind.

use std::{collections::BTreeMap, fmt, time::Duration};

use aws_sdk_ec2::types::VolumeState;
use serde::Serialize;

use super::{Answer, Change, Resource, ResourceChange, gone, instance::Instance, tag};
use crate::{
    aws::{
        AwsCall, AwsError, Clients, Scope,
        sdk::{filter, tags_from},
    },
    plan::{Finding, Planner, Reason, Subject, tagging::Untagged},
    tags::{self, INSTALLATION, Tags},
};

/// A volume as it was seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Volume {
    /// Its id.
    pub id: String,
    /// Whether it is attached to nothing and could be deleted.
    pub available: bool,
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
    /// Put tags on the root disks of machines of ours: volumes are found by tag, so one without is not seen itself.
    Tag {
        /// Which, and of which machine each is.
        machines: BTreeMap<String, String>,
        /// The tags that they lack.
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
            Self::Tag { machines, tags } => {
                f.write_str("tag")?;
                for (position, (id, machine)) in machines.iter().enumerate() {
                    let comma = if position > 0 { "," } else { "" };
                    write!(f, "{comma} {id} (of {machine})")?;
                }
                f.write_str(" with")?;
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
            Self::Tag { machines, .. } => {
                let ids: Vec<&str> = machines.keys().map(String::as_str).collect();
                ids.join(",")
            }
            Self::Delete { id } => id.clone(),
        }
    }

    fn fold(&self, _: &Answer, items: &mut BTreeMap<String, Volume>) {
        match self {
            Self::Tag { machines, tags } => {
                for (id, machine) in machines {
                    let volume = items.entry(id.clone()).or_insert_with(|| Volume {
                        id: id.clone(),
                        available: false,
                        instance_id: Some(machine.clone()),
                        tags: Tags::new(),
                    });
                    volume.tags.extend(tags.clone());
                }
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
            Self::Tag { machines, tags } => tag(clients, machines.keys().cloned().collect(), tags).await,
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
                instance_id: attachment.and_then(|attachment| attachment.instance_id.clone()),
                tags: tags_from(volume.tags()),
            })
        }));
    }
    Ok(found)
}

/// EC2 tells the time of a launch in whole seconds.
const LAUNCH_TIME_UNIT: Duration = Duration::from_secs(1);

/// Whether a look would show the disk of a machine if it carried our tags: the first one that began after the launch.
fn is_shown(planner: &Planner<'_>, machine: &Instance) -> bool {
    let age = planner.inputs.now.duration_since(machine.launched_at).unsigned_abs();
    age > planner.observed().sweep_age + planner.inputs.limits.consistency_window + LAUNCH_TIME_UNIT
}

/// Plans to put back the tags of the machines' root disks, and tells of disks that were left behind.
pub fn plan(planner: &mut Planner<'_>) {
    let inventory = &planner.observed().inventory;
    let machines = || inventory.instance.ours.values().filter(|machine| !machine.is_lost());
    let mut untagged = Untagged::default();
    for machine in machines() {
        let Some(id) = &machine.root_volume else { continue };
        let volume = inventory.volume.ours.get(id);
        if volume.is_some_and(|volume| volume.tags == machine.tags) || (volume.is_none() && !is_shown(planner, machine))
        {
            continue;
        }
        let nothing = Tags::new();
        let found = volume.map_or(&nothing, |volume| &volume.tags);
        if let Some(missing) = tags::missing(found, &planner.tags_of_parts(machine)) {
            planner.tell_untagged(id, &machine.tags, &missing);
            untagged.add(missing, (id.clone(), machine.id.clone()));
        }
    }
    planner.tag_together(Subject::Cluster, untagged, |machines, tags| {
        let machines = machines.iter().cloned().collect();
        Change::Volume(VolumeChange::Tag { machines, tags })
    });
    for volume in inventory.volume.ours.values().filter(|volume| volume.available) {
        if machines().all(|machine| machine.root_volume.as_ref() != Some(&volume.id)) {
            let what = "is a disk that a machine left behind: it is deleted with the cluster";
            planner.find(Finding::kept(&volume.id, what));
        }
    }
}

/// Plans to delete the disks that machines left behind; never one that is attached.
pub fn plan_deletion(planner: &mut Planner<'_>) {
    let inventory = &planner.observed().inventory;
    for volume in inventory.volume.ours.values() {
        let machine = volume.instance_id.as_ref();
        let foreign = machine.filter(|id| inventory.instance.others.contains_key(*id));
        if volume.available {
            let id = volume.id.clone();
            planner.change(Subject::Cluster, Change::Volume(VolumeChange::Delete { id }));
        } else if let Some(machine) = foreign {
            planner.blocked(&volume.id, &[format!("{machine}, to which it is attached")]);
        } else {
            let of = machine.map_or("none", String::as_str);
            let message = format!("volume {} of machine {of} is being released", volume.id);
            planner.wait(Subject::Cluster, Reason::InTransition, message);
        }
    }
}
