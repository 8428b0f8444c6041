//! What `rayward-node report` prints.

use std::fmt::Write as _;

use serde::{Deserialize, Deserializer};
use sha2::{Digest, Sha256};

use super::{
    facts::{Blindness, People, Report, Stage},
    failure::{Failure, excerpt},
    ssh::{Output, Trouble},
};

/// The call on the machine.
pub const COMMAND: &str = "sudo rayward-node report";
/// How many lines are kept, and how long they and the message may be.
const MOST_LINES: usize = 20;
const MOST_LETTERS: usize = 200;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Printed {
    stage: String,
    #[serde(default)]
    message: String,
    #[serde(default)]
    lines: Vec<String>,
    #[serde(deserialize_with = "told_or_null")]
    ssh_sessions: Option<u32>,
    #[serde(deserialize_with = "told_or_null")]
    jupyter_kernels: Option<u32>,
    ray_active: bool,
    #[serde(default)]
    ray_ends: u32,
    has_token: bool,
    /// See [`digest`]; a program of before it was told does not tell it.
    #[serde(default)]
    token_hash: Option<String>,
    #[serde(default)]
    disk_full: bool,
    boot_id: String,
    #[serde(default)]
    head_address: Option<String>,
}

/// The field has to be there.
fn told_or_null<'de, D: Deserializer<'de>>(field: D) -> Result<Option<u32>, D::Error> {
    Option::deserialize(field)
}

fn stage(name: &str) -> Option<Stage> {
    Some(match name {
        "installing" => Stage::Installing,
        "setting-up" => Stage::SettingUp,
        "waiting-for-token" => Stage::WaitingForToken,
        "waiting-for-head" => Stage::WaitingForHead,
        "starting" => Stage::Starting,
        "running" => Stage::Running,
        "failed" => Stage::Failed,
        _ => return None,
    })
}

fn people((ssh_sessions, jupyter_kernels): (u32, u32)) -> People {
    People {
        ssh_sessions,
        jupyter_kernels,
    }
}

/// What a machine tells of the token that its Ray runs with: enough to tell another one, and nothing of a token.
fn digest(boot_id: &str, token: &str) -> String {
    // A machine takes the first line.
    let token = token.lines().next().unwrap_or_default();
    let digest = Sha256::new().chain_update(boot_id).chain_update(token).finalize();
    digest[..8].iter().fold(String::new(), |mut word, byte| {
        // Writing to a string cannot fail.
        let _ = write!(word, "{byte:02x}");
        word
    })
}

/// The report of the machine `who`, from what its command came to. `token` is the cluster's, where that is known.
///
/// # Errors
/// `Slow`, `Unreachable`, or `Garbled`.
pub fn read(who: &str, output: Result<Output, Trouble>, token: Option<&str>) -> Result<Report, Failure> {
    let output = output.map_err(|trouble| {
        let why = match trouble {
            Trouble::Silent(_) => Blindness::Slow,
            Trouble::Refused(_) | Trouble::Prohibited(_) | Trouble::Broken(_) => Blindness::Unreachable,
        };
        Failure::new(why, format!("no report of {who}: {trouble}"))
    })?;
    if output.code != Some(0) {
        return not_run(who, &output);
    }
    let garbled = |what: &str| Failure::new(Blindness::Garbled, format!("the report of {who} {what}"));
    // The text of the error could repeat what the machine wrote; where it is says enough.
    let printed: Printed = serde_json::from_slice(&output.stdout).map_err(|error| {
        let place = format!("cannot be read, at column {}", error.column());
        garbled(&place)
    })?;
    let Some(stage) = stage(&printed.stage) else {
        return Err(garbled(&format!(
            "tells the unknown stage {}",
            excerpt(&printed.stage, 40)
        )));
    };
    let is_other = match (token, &printed.token_hash) {
        (Some(token), Some(hash)) => !hash.is_empty() && *hash != digest(&printed.boot_id, token),
        _ => false,
    };
    let skipped = printed.lines.len().saturating_sub(MOST_LINES);
    let lines = printed.lines.iter().skip(skipped);
    Ok(Report {
        stage,
        message: excerpt(&printed.message, MOST_LETTERS),
        lines: lines.map(|line| excerpt(line, MOST_LETTERS)).collect(),
        people: printed.ssh_sessions.zip(printed.jupyter_kernels).map(people),
        ray_active: printed.ray_active,
        ray_ends: printed.ray_ends,
        has_token: printed.has_token && !is_other,
        disk_full: printed.disk_full,
        boot_id: excerpt(&printed.boot_id, MOST_LETTERS),
        head_address: printed.head_address.filter(|address| !address.is_empty()),
    })
}

/// A machine whose cloud-init has not come so far has no such command, which is no failure;
/// but people may be on it.
fn not_run(who: &str, output: &Output) -> Result<Report, Failure> {
    let stderr = String::from_utf8_lossy(&output.stderr);
    if output.code == Some(127) || stderr.contains("command not found") {
        return Ok(Report {
            message: "cloud-init is at work".into(),
            ..Report::default()
        });
    }
    let code = output.code.map_or("a signal".into(), |code| format!("code {code}"));
    let message = format!(
        "the report of {who} ended with {code}: {}",
        excerpt(&stderr, MOST_LETTERS)
    );
    Err(Failure::new(Blindness::Garbled, message))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const PRINTED: &str = r#"{"stage":"failed","message":"pip failed","lines":["one","two"],"sshSessions":1,
        "jupyterKernels":2,"rayActive":true,"rayEnds":2,"hasToken":true,"diskFull":true,"bootId":"b",
        "headAddress":"10.0.1.4","later":{"a":1}}"#;

    fn printed(text: &str) -> Output {
        Output {
            code: Some(0),
            stdout: text.into(),
            stderr: Vec::new(),
        }
    }

    #[test]
    fn a_report_is_read_and_unknown_fields_are_no_matter() {
        let report = read("i-1", Ok(printed(PRINTED)), None).unwrap();
        let expected = Report {
            stage: Stage::Failed,
            message: "pip failed".into(),
            lines: vec!["one".into(), "two".into()],
            people: Some(people((1, 2))),
            ray_active: true,
            ray_ends: 2,
            has_token: true,
            disk_full: true,
            boot_id: "b".into(),
            head_address: Some("10.0.1.4".into()),
        };
        assert_eq!(report, expected);
    }

    #[test]
    fn a_machine_that_cannot_tell_who_is_on_it_is_no_empty_one() {
        for (from, to) in [
            ("\"sshSessions\":1", "\"sshSessions\":null"),
            ("\"jupyterKernels\":2", "\"jupyterKernels\":null"),
        ] {
            let report = read("i-1", Ok(printed(&PRINTED.replacen(from, to, 1))), None).unwrap();
            assert_eq!((report.people, report.stage), (None, Stage::Failed), "{to}");
        }
    }

    #[test]
    fn every_stage_has_its_name() {
        let names = "installing setting-up waiting-for-token waiting-for-head starting running failed";
        for name in names.split(' ') {
            let told = PRINTED.replace("failed\"", &format!("{name}\""));
            let debug = format!("{:?}", read("i-1", Ok(printed(&told)), None).unwrap().stage);
            assert_eq!(debug.to_lowercase(), name.replace('-', ""));
        }
    }

    #[test]
    fn what_decides_must_be_there_and_what_is_long_is_cut() {
        for (from, to) in [
            ("\"sshSessions\":1,", ""),
            ("\"jupyterKernels\":2", "\"jupyterKernels\":-2"),
            ("failed\"", "sleeping\""),
            ("{", "{{"),
        ] {
            let failure = read("i-1", Ok(printed(&PRINTED.replacen(from, to, 1))), None).unwrap_err();
            assert_eq!(failure.why, Blindness::Garbled, "{from}");
            assert!(failure.message.contains("i-1"), "{failure}");
        }
        let lines: Vec<String> = (0..30).map(|number| format!("{number} {}", "x".repeat(300))).collect();
        let lines = serde_json::to_string(&lines).unwrap();
        let report = read("i-1", Ok(printed(&PRINTED.replace(r#"["one","two"]"#, &lines))), None).unwrap();
        assert_eq!(report.lines.len(), MOST_LINES);
        assert!(report.lines[0].starts_with("10 ") && report.lines[0].chars().count() == MOST_LETTERS + 1);
    }

    #[test]
    fn a_machine_without_the_command_is_booting() {
        for (code, stderr) in [
            (127, "bash: rayward-node: not found"),
            (1, "sudo: rayward-node: command not found"),
        ] {
            let output = Output {
                code: Some(code),
                stdout: Vec::new(),
                stderr: stderr.into(),
            };
            let report = read("i-1", Ok(output), None).unwrap();
            assert_eq!((report.stage, report.people), (Stage::Booting, None));
        }
    }

    #[test]
    fn a_command_that_fails_or_hangs_is_told() {
        let failed = Output {
            code: Some(1),
            stdout: Vec::new(),
            stderr: b"disk full\n".to_vec(),
        };
        let failure = read("i-1", Ok(failed), None).unwrap_err();
        assert_eq!(failure.message, "the report of i-1 ended with code 1: disk full");
        let hangs = read("i-1", Err(Trouble::Silent(Duration::from_secs(5))), None).unwrap_err();
        assert_eq!(hangs.why, Blindness::Slow);
        let broken = read("i-1", Err(Trouble::Broken("reset".into())), None).unwrap_err();
        assert_eq!(broken.why, Blindness::Unreachable);
    }

    #[test]
    fn a_token_that_is_not_the_clusters_is_none() {
        let hash = digest("b", "a-token");
        assert_eq!(hash, "f25aa138006d25b4");
        let told = PRINTED.replace("\"bootId\"", &format!("\"tokenHash\":\"{hash}\",\"bootId\""));
        for (token, has) in [
            (Some("a-token"), true),
            (Some("a-token\n"), true),
            (Some("b"), false),
            (None, true),
        ] {
            let report = read("i-1", Ok(printed(&told)), token).unwrap();
            assert_eq!(report.has_token, has, "{token:?}");
        }
        assert!(
            read("i-1", Ok(printed(PRINTED)), Some("b")).unwrap().has_token,
            "of before"
        );
        let of_another_boot = told.replace("\"bootId\":\"b\"", "\"bootId\":\"c\"");
        assert!(
            !read("i-1", Ok(printed(&of_another_boot)), Some("a-token"))
                .unwrap()
                .has_token
        );
    }
}
