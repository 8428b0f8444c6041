//! What a machine does at its first boot and at every later one: user data that makes a plain Ubuntu or Debian a head
//! or a worker of a Ray cluster. Pure.
//!
//! User data is a cloud-config that writes one program, [`PROGRAM`], systemd units that run it, and the user's own
//! settings beside them. It runs once in the life of a machine; everything that has to happen again after a reboot or a
//! stop is a unit. It holds no secret: the token comes over SSH.

mod cloud_config;

use std::collections::BTreeMap;

use sha2::{Digest, Sha256};

use crate::validate::Software;

/// User that the controller signs in as on every machine.
pub const USER: &str = "rayward";
/// Program on every machine that sets it up, starts Ray, and is called by the controller.
pub const PROGRAM: &str = "/usr/local/bin/rayward-node";
/// Port of Ray's GCS on the head.
pub const HEAD_PORT: u16 = 6379;
/// Most bytes of user data that EC2 takes, before it is encoded in base64.
pub const LIMIT: usize = 16_384;

/// All that user data depends on: equal machines have equal user data, to the letter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Machine<'a> {
    /// The controller's public key, as it stands in `authorized_keys`.
    pub public_key: &'a str,
    /// The worker group and where its head is; `None`: it is the head.
    pub worker: Option<Worker<'a>>,
    /// Uid of the `RayCluster`.
    pub cluster_uid: &'a str,
    /// Ray, packages and the user's script.
    pub software: &'a Software,
    /// Environment variables of Ray, of pip and of the script.
    pub environment: &'a BTreeMap<String, String>,
    /// Flags of `ray start`, without dashes; one without a value has an empty one.
    pub ray_start_params: &'a BTreeMap<String, String>,
}

/// What a worker knows of its place in the cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Worker<'a> {
    /// Its group.
    pub group: &'a str,
    /// Private address of the head.
    pub head: &'a str,
}

/// User data of a machine, as text. What is too long for EC2 as text fits when it is compressed, which cloud-init
/// understands.
#[must_use]
pub fn user_data(machine: &Machine<'_>) -> String {
    cloud_config::render(machine)
}

/// A short name for user data: other user data has another.
#[must_use]
pub fn hash(user_data: &str) -> String {
    short_hash([user_data])
}

/// The first 12 hexadecimal digits of a hash of these parts, in this order.
pub(crate) fn short_hash<'a>(parts: impl IntoIterator<Item = &'a str>) -> String {
    use std::fmt::Write as _;
    let mut hash = Sha256::new();
    for part in parts {
        hash.update(part);
        // No part holds a zero: parts cannot be mistaken for each other.
        hash.update([0]);
    }
    let mut text = String::with_capacity(12);
    for byte in &hash.finalize()[..6] {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

#[cfg(test)]
mod tests;
