//! The harness: what a test starts, how it waits, and where the logs go.

pub(crate) mod account;
pub(crate) mod aws;
pub(crate) mod cluster;
pub(crate) mod control_plane;
pub(crate) mod controller;
pub(crate) mod fleet;
pub(crate) mod light;
pub(crate) mod process;
pub(crate) mod public_range;
pub(crate) mod real;
pub(crate) mod scene;
pub(crate) mod stand_in;
pub(crate) mod sweeps;
pub(crate) mod wait;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU16, Ordering};
use std::{fs, net, thread};

/// The repository's root.
pub(crate) fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A program of the control plane (etcd, kube-apiserver, kubectl, helm, ...), as `make tools` provides it.
pub(crate) fn tool(name: &str) -> PathBuf {
    provided(&format!("bin/{name}"))
}

/// The interpreter that has the stand-in's packages, as `make tools` provides it.
pub(crate) fn python() -> PathBuf {
    provided("venv/bin/python")
}

fn provided(path: &str) -> PathBuf {
    let path = repository().join("target/sandbox").join(path);
    assert!(path.exists(), "{} is missing: run `make tools`", path.display());
    path
}

/// A fresh folder for logs, `target/test-logs/<name>`.
pub(crate) fn logs(name: &str) -> PathBuf {
    let folder = repository().join("target/test-logs").join(name.replace("::", "."));
    fs::create_dir_all(&folder).expect("the folder for the logs can be made");
    folder
}

/// The name of the running test, with the modules it stands in.
pub(crate) fn test_name() -> String {
    thread::current().name().unwrap_or("unnamed").to_owned()
}

/// A free port on the loopback interface. Nobody else is inside the boundary, and the numbers lie below those that the
/// kernel gives to outgoing connections: what was free stays free until it is used.
pub(crate) fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(20_000);
    loop {
        let port = NEXT.fetch_add(1, Ordering::Relaxed);
        assert!(port < 32_000, "no free port left");
        if net::TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

/// Refuses to start anything where it could reach the outside, or be left behind.
pub(crate) fn require_boundary() {
    assert!(
        std::env::var_os("RAYWARD_SANDBOX").is_some(),
        "this test must run inside the sandbox's boundary: use `cargo test`, or `deploy/sandbox/inside PROGRAM`"
    );
}
