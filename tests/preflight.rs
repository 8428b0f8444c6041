//! What a machine is told that lacks something: all of it in one message.

use std::env;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use crate::support::repository;

#[test]
fn all_that_is_missing_is_told_in_one_message() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = env::var("PATH").expect("there are programs");
    for (program, script) in [
        ("rustc", "echo rustc 1.1000.0"),
        ("cargo", "exit 127"),
        ("go", "exit 127"),
        ("unshare", "exit 1"),
    ] {
        let file = folder.path().join(program);
        fs::write(&file, format!("#!/bin/sh\n{script}\n")).expect("a script can be written");
        fs::set_permissions(&file, Permissions::from_mode(0o755)).expect("it can be made a program");
    }
    let output = Command::new(repository().join("deploy/sandbox/tools/preflight.sh"))
        .env("PATH", format!("{}:{path}", folder.path().display()))
        // With an empty cache the control plane has to be built, and so Go is needed.
        .env("XDG_CACHE_HOME", folder.path())
        .env_remove("KUBEBUILDER_ASSETS")
        .output()
        .expect("it starts");

    assert_eq!(output.status.code(), Some(1));
    let told = String::from_utf8_lossy(&output.stderr);
    for missing in ["with cargo", "which builds the control plane", "namespaces"] {
        assert!(told.contains(missing), "{missing} is not in:\n{told}");
    }
}
