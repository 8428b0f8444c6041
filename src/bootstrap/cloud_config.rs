//! The cloud-config, made of the templates beside this file.

use std::collections::BTreeMap;

use base64::prelude::{BASE64_STANDARD, Engine as _};

use super::{Machine, PROGRAM, USER};

/// How long Ray drains when it is stopped, unless `RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S` says otherwise: Ray's
/// default.
const DRAIN_SECONDS: u32 = 30;
/// How much longer systemd waits before it kills what is left.
const KILL_AFTER_SECONDS: u32 = 30;

/// The whole of it.
pub(super) fn render(machine: &Machine<'_>) -> String {
    let mut parts = vec![format!(
        "#cloud-config\n\
         users:\n\
         - default\n\
         - name: {USER}\n  \
           gecos: Rayward controller\n  \
           shell: /bin/bash\n  \
           lock_passwd: true\n  \
           sudo: \"ALL=(ALL) NOPASSWD:ALL\"\n  \
           ssh_authorized_keys:\n  \
           - {}\n\
         ssh_genkeytypes: [ed25519, ecdsa]\n\
         {}\
         write_files:\n",
        machine.public_key.trim(),
        early_start()
    )];
    parts.push(file(PROGRAM, "0755", &program(machine)));
    let units = units(machine);
    parts.extend(units.map(|(name, unit)| file(&format!("/etc/systemd/system/{name}"), "0644", &unit)));
    let profile = without_comments(include_str!("templates/profile.sh"));
    parts.push(file("/etc/profile.d/rayward.sh", "0644", &profile));
    // Of every session, those without a login shell too: with it people's `ray` sends the token in ~/.ray/auth_token.
    parts.push("- path: /etc/environment\n  append: true\n  content: |\n    RAY_AUTH_MODE=token\n".into());
    parts.extend(settings(machine).into_iter().map(|(name, mode, content)| {
        // In base64, so that nothing in it can be taken for YAML.
        let content = BASE64_STANDARD.encode(content);
        format!("- path: /etc/rayward/{name}\n  permissions: \"{mode}\"\n  encoding: b64\n  content: {content}\n")
    }));
    parts.push(format!("runcmd:\n- [{PROGRAM}, first-boot]\n"));
    parts.concat()
}

/// The set-up begins once users, keys and files are there, beside cloud-init's later stages and not after them, which
/// take as long again. Where this does not work, `runcmd` does the same at the end.
fn early_start() -> String {
    // Its name before and since cloud-init 24.3.
    const STAGE: &str = "cloud-init.service cloud-init-network.service";
    format!(
        "bootcmd:\n- [cloud-init-per, instance, rayward, systemd-run, --no-block, --collect, \
         --unit=rayward-first-boot, \"--property=After={STAGE}\", bash, {PROGRAM}, first-boot]\n"
    )
}

fn file(path: &str, mode: &str, content: &str) -> String {
    let indented = |line: &str| match line {
        "" => String::new(),
        line => format!("    {line}"),
    };
    let content: Vec<String> = content.lines().map(indented).collect();
    format!(
        "- path: {path}\n  permissions: \"{mode}\"\n  content: |\n{}\n",
        content.join("\n")
    )
}

/// The program, with what this machine is.
fn program(machine: &Machine<'_>) -> String {
    let (role, group, head) = match &machine.worker {
        Some(worker) => ("worker", worker.group, worker.head),
        None => ("head", "head", ""),
    };
    let mut program = without_comments(include_str!("templates/rayward-node"));
    for (name, value) in [
        ("@role@", role),
        ("@group@", group),
        ("@cluster_uid@", machine.cluster_uid),
        ("@head@", head),
        ("@ray_version@", &machine.software.ray_version),
    ] {
        program = program.replacen(name, &shell_word(value), 1);
    }
    program
}

/// The units, by their names.
fn units(machine: &Machine<'_>) -> [(&'static str, String); 4] {
    let drain = machine.environment.get("RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S");
    let drain = drain.and_then(|seconds| seconds.parse().ok()).unwrap_or(DRAIN_SECONDS);
    let stop_timeout = drain.saturating_add(KILL_AFTER_SECONDS).to_string();
    let ray = include_str!("templates/rayward-ray.service").replace("@stop_timeout@", &stop_timeout);
    [
        (
            "rayward-setup.service",
            without_comments(include_str!("templates/rayward-setup.service")),
        ),
        ("rayward-ray.service", without_comments(&ray)),
        (
            "rayward-check.service",
            without_comments(include_str!("templates/rayward-check.service")),
        ),
        (
            "rayward-check.timer",
            without_comments(include_str!("templates/rayward-check.timer")),
        ),
    ]
}

/// What the user says, as files that no shell reads: each entry ends in a zero, which no entry holds.
fn settings(machine: &Machine<'_>) -> Vec<(&'static str, &'static str, String)> {
    let software = machine.software;
    let flag = |(name, value): (&String, &String)| match value.as_str() {
        "" => name.clone(),
        value => format!("{name}={value}"),
    };
    let list = |entries: Vec<String>| entries.into_iter().map(|entry| entry + "\0").collect::<String>();
    let mut files = vec![
        ("pip-packages", "0600", list(software.pip_packages.clone())),
        ("environment", "0600", list(assignments(machine.environment))),
        (
            "ray-start-params",
            "0600",
            list(machine.ray_start_params.iter().map(flag).collect()),
        ),
    ];
    files.extend(
        software
            .setup_script
            .clone()
            .map(|script| ("setup-script", "0700", script)),
    );
    files.retain(|(_, _, content)| !content.is_empty());
    files
}

fn assignments(environment: &BTreeMap<String, String>) -> Vec<String> {
    environment
        .iter()
        .map(|(name, value)| format!("{name}={value}"))
        .collect()
}

/// One word for a shell, whatever it holds.
fn shell_word(value: &str) -> String {
    format!("'{}'", value.replace('\'', r"'\''"))
}

/// Comments are for who reads the template; EC2 takes 16 KiB.
fn without_comments(template: &str) -> String {
    let is_kept = |line: &&str| {
        let line = line.trim_start();
        !line.starts_with('#') || line.starts_with("#!") || line.starts_with("# shellcheck")
    };
    template.split_inclusive('\n').filter(is_kept).collect()
}
