//! What is on the machines: Ray, packages, the set-up script, environment and flags.

use std::collections::BTreeMap;

use super::{Software, ValidationError};
use crate::api::RayClusterSpec;

/// The first release of Ray that can ask for a token.
const FIRST_RELEASE: (u32, u32) = (2, 52);
/// Environment variables that the bootstrap sets.
pub const RESERVED_ENVIRONMENT: &[&str] = &["RAY_enable_autoscaler_v2", "RAY_ADDRESS"];
/// Flags of `ray start` that the bootstrap sets, or that would keep it from starting Ray.
pub const RESERVED_PARAMS: &[&str] = &[
    "head",
    "address",
    "port",
    "block",
    "node-ip-address",
    "labels",
    "dashboard-host",
    "dashboard-port",
    "include-dashboard",
    "dashboard-agent-listen-port",
    "no-monitor",
    "autoscaling-config",
    "help",
];

/// The software of every machine.
pub(super) fn software(spec: &RayClusterSpec) -> Result<Software, ValidationError> {
    let version = &spec.ray_version;
    if !is_release(version) {
        return Err(ValidationError::RayVersion(version.clone()));
    }
    for package in &spec.pip_packages {
        let is_printable = package.bytes().all(|byte| matches!(byte, b' '..=b'~'));
        if !is_printable || !package.starts_with(|first: char| first.is_ascii_alphanumeric()) {
            return Err(ValidationError::PipPackage(package.clone()));
        }
    }
    if let Some(script) = &spec.setup_script {
        text("setupScript", script)?;
    }
    Ok(Software {
        ray_version: version.clone(),
        pip_packages: spec.pip_packages.clone(),
        // One of spaces alone does nothing.
        setup_script: spec.setup_script.clone().filter(|script| !script.trim().is_empty()),
    })
}

/// Whether it is a release, and one that can ask for a token.
fn is_release(version: &str) -> bool {
    let mut parts = version.split('.');
    let mut number = || parts.next().and_then(|part| part.parse::<u32>().ok());
    let (major, minor) = (number(), number());
    let patch = parts.next().unwrap_or_default();
    let (number, candidate) = patch.split_once("rc").unwrap_or((patch, "1"));
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    is_number(number) && is_number(candidate) && parts.next().is_none() && major.zip(minor) >= Some(FIRST_RELEASE)
}

/// The environment of Ray.
pub(super) fn environment(all: &BTreeMap<String, String>) -> Result<BTreeMap<String, String>, ValidationError> {
    for (name, value) in all {
        let first = name.bytes().next().unwrap_or(b'0');
        let is_word = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        if !is_word || first.is_ascii_digit() {
            return Err(ValidationError::EnvironmentName(name.clone()));
        }
        if name.starts_with("RAY_AUTH_") || RESERVED_ENVIRONMENT.contains(&name.as_str()) {
            let field = "environment".to_owned();
            return Err(ValidationError::Reserved {
                field,
                name: name.clone(),
            });
        }
        text(&format!("environment[{name}]"), value)?;
    }
    Ok(all.clone())
}

/// The flags of `ray start` of the head or a worker group.
pub(super) fn ray_start_params(
    field: &str,
    all: &BTreeMap<String, String>,
) -> Result<BTreeMap<String, String>, ValidationError> {
    for (name, value) in all {
        let is_letter = |byte: u8| byte.is_ascii_lowercase();
        let is_flag = |byte| is_letter(byte) || byte.is_ascii_digit() || byte == b'-';
        if !name.bytes().next().is_some_and(is_letter) || !name.bytes().all(is_flag) {
            let (field, name) = (field.to_owned(), name.clone());
            return Err(ValidationError::Flag { field, name });
        }
        if RESERVED_PARAMS.contains(&name.as_str()) {
            let (field, name) = (field.to_owned(), name.clone());
            return Err(ValidationError::Reserved { field, name });
        }
        text(&format!("{field}[{name}]"), value)?;
    }
    Ok(all.clone())
}

fn text(field: &str, value: &str) -> Result<(), ValidationError> {
    let is_text = |char: char| matches!(char, '\n' | '\t') || !char.is_ascii_control();
    if value.chars().all(is_text) {
        Ok(())
    } else {
        Err(ValidationError::ControlCharacters(field.into()))
    }
}
