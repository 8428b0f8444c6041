//! What machines are made from: the image, and what the bootstrap puts on it. One revision at a time: Ray refuses a
//! worker with another Ray or Python than the head's, so the head's holds until the head is replaced.

use std::collections::BTreeMap;

use super::Planner;
use crate::{
    api::Revision,
    bootstrap::short_hash,
    observe::{Observed, Source},
    resources::instance::Instance,
    tags,
    validate::{Software, ValidCluster},
};

/// What image and software make.
#[must_use]
pub fn revision(image_id: &str, software: &Software) -> Revision {
    let script = software.setup_script.iter().map(String::as_str);
    let packages = software.pip_packages.iter().map(String::as_str);
    let parts = [image_id, &software.ray_version].into_iter().chain(packages);
    Revision {
        // No package is empty, so that it is plain where the script begins.
        id: short_hash(parts.chain([""]).chain(script)),
        image_id: image_id.into(),
        ray_version: software.ray_version.clone(),
        pip_packages: software.pip_packages.clone(),
        setup_script: software.setup_script.clone(),
    }
}

/// What the bootstrap puts on the image.
#[must_use]
pub fn software(revision: &Revision) -> Software {
    Software {
        ray_version: revision.ray_version.clone(),
        pip_packages: revision.pip_packages.clone(),
        setup_script: revision.setup_script.clone(),
    }
}

/// Name of the revision that a machine was made from: by the record of its launch, which nobody can change on AWS, else
/// by its tag.
#[must_use]
pub fn made_from<'a>(observed: &'a Observed, machine: &'a Instance) -> Option<&'a str> {
    let mut launches = observed.ledger.launches.iter();
    let recorded = launches.find(|launch| Some(launch.number) == machine.launch());
    let name = recorded.map(|launch| &launch.revision);
    name.or_else(|| machine.tags.get(tags::REVISION)).map(String::as_str)
}

/// What the head was made from, in full: from the status, the record of its launch, or the spec, whichever still says
/// the same.
///
/// # Errors
/// Its name, where none of them does.
pub fn of_head(cluster: &ValidCluster, observed: &Observed, head: &Instance) -> Result<Revision, String> {
    let recorded = observed.recorded.revision.as_ref();
    let is_recorded = observed
        .recorded
        .head
        .as_ref()
        .is_some_and(|recorded| recorded.instance_id.as_ref() == Some(&head.id));
    let by_status = || recorded.filter(|_| is_recorded).map(|revision| revision.id.as_str());
    let name = made_from(observed, head).or_else(by_status).unwrap_or("unknown");
    let launched = observed.ledger.launches.iter();
    let launched = launched.filter_map(|launch| launch.head_revision.as_ref());
    let mut known = recorded.into_iter().chain(launched);
    let by_spec = || Some(revision(&head.image_id, &cluster.software)).filter(|revision| revision.id == name);
    let found = known.find(|revision| revision.id == name).cloned();
    found.or_else(by_spec).ok_or_else(|| name.to_owned())
}

/// How a short name tells flags, environment and profile of a machine: a hash of each.
#[must_use]
pub fn settings(
    ray_start_params: &BTreeMap<String, String>,
    environment: &BTreeMap<String, String>,
    profile: Option<&str>,
) -> String {
    let of_map = |map: &BTreeMap<String, String>| {
        short_hash(map.iter().flat_map(|(name, value)| [name.as_str(), value.as_str()]))
    };
    format!(
        "{}-{}-{}",
        of_map(ray_start_params),
        of_map(environment),
        short_hash(profile)
    )
}

impl Planner<'_> {
    /// How the head's image and software differ from the spec.
    pub(crate) fn head_is_of_other_revision(&self, head: &Instance) -> Vec<String> {
        let wanted = match &self.observed().image {
            Source::Known(image) => &image.id,
            // It is not looked up now: the head's is as good as any.
            Source::Unknown(_) => &head.image_id,
        };
        let wanted = revision(wanted, &self.cluster().software);
        match of_head(self.cluster(), self.observed(), head) {
            Ok(made) => differences(&made, &wanted),
            Err(name) => vec![format!("revision {name}, now {}", wanted.id)],
        }
    }

    /// How the revision of a worker differs from the head's.
    pub(crate) fn worker_is_of_other_revision(&self, worker: &Instance, head: &Instance) -> Option<String> {
        let (made, wanted) = (made_from(self.observed(), worker), made_from(self.observed(), head)?);
        match made {
            Some(made) => (made != wanted).then(|| format!("revision {made}, the head's is {wanted}")),
            None => Some(format!("revision unknown, for the tag {} is gone", tags::REVISION)),
        }
    }

    /// How flags, environment and profile of a machine differ from what would now be launched.
    pub(crate) fn has_other_settings(
        &self,
        machine: &Instance,
        ray_start_params: &BTreeMap<String, String>,
        profile: Option<&str>,
    ) -> Option<String> {
        let wanted = settings(ray_start_params, &self.cluster().environment, profile);
        let Some(made) = machine.tags.get(tags::SETTINGS) else {
            return Some(format!("settings unknown, for the tag {} is gone", tags::SETTINGS));
        };
        let names = ["rayStartParams", "environment", "iamInstanceProfile"];
        let pairs = std::iter::zip(made.split('-'), wanted.split('-'));
        let others = std::iter::zip(names, pairs).filter(|(_, (made, wanted))| made != wanted);
        let others: Vec<&str> = others.map(|(name, _)| name).collect();
        (!others.is_empty()).then(|| format!("{} as of its launch", others.join(", ")))
    }
}

fn differences(made: &Revision, wanted: &Revision) -> Vec<String> {
    let mut told = Vec::new();
    let mut tell = |what: &str, made: &str, wanted: &str| {
        if made != wanted {
            told.push(format!("{what} {made}, now {wanted}"));
        }
    };
    let list = |packages: &[String]| match packages {
        [] => "none".to_owned(),
        packages => packages.join(" "),
    };
    tell("image", &made.image_id, &wanted.image_id);
    tell("rayVersion", &made.ray_version, &wanted.ray_version);
    tell("pipPackages", &list(&made.pip_packages), &list(&wanted.pip_packages));
    let script = |revision: &Revision| match &revision.setup_script {
        Some(script) => short_hash([script.as_str()]),
        None => "none".to_owned(),
    };
    tell("setupScript", &script(made), &script(wanted));
    told
}
