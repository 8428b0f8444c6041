//! Clusters whose machines really run: the stand-in boots each instance as a small Linux machine with systemd, sshd and
//! Ray. It takes root and the images that `make tools` makes.

pub(crate) mod laptop;
pub(crate) mod machines;
pub(crate) mod ray;

use std::fs;
use std::io::{Write, stderr};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::sync::{Mutex, MutexGuard};

use super::scene::Scene;
use super::stand_in::StandIn;
use super::{repository, test_name};

/// The address of the internet's services as machines see them, and the one from which the controller comes to them.
pub(crate) const INTERNET: &str = "198.18.0.1";
/// An instance profile whose keys open the stand-in's S3.
pub(crate) const PROFILE: &str = "lab-machines";

/// The lab for the sandbox's machines.
const LAB: &str = include_str!("../../../deploy/sandbox/lab.yaml");

/// Flags for machines that boot within seconds on a busy computer.
pub(crate) const FLAGS: [&str; 9] = [
    "--egress-cidrs=198.18.0.1/32",
    "--look-interval=2s",
    "--join-timeout=2m",
    "--lost-after=5s",
    "--heal-window=15s",
    "--drain-timeout=10s",
    "--unknown-timeout=1m",
    "--idle-proof=10s",
    "--refusal-retry=5s",
];

/// The lab on machines: a head and so many workers of the image that has Ray.
pub(crate) fn lab(workers: u32) -> Value {
    let mut lab: Value = serde_yaml::from_str(LAB).expect("the manifest is YAML");
    lab["spec"]["workerGroups"][0]["replicas"] = json!(workers);
    lab
}

/// The folder with the images, or why there can be no machines here. As root on Debian or Ubuntu there have to be some:
/// a run that guards the main branch leaves nothing out.
pub(crate) fn images() -> Result<PathBuf, &'static str> {
    let folder = repository().join("target/sandbox/machines");
    // An ordinary user is root only in a namespace of their own.
    let users = fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
    let is_root = users.split_whitespace().eq(["0", "0", "4294967295"]);
    if !is_root {
        return Err("machines take root");
    }
    if !PathBuf::from("/etc/debian_version").exists() {
        return Err("machines are made from the packages of Debian or Ubuntu, which this computer does not run");
    }
    assert!(
        folder.join("ray").exists(),
        "{} has no images: run `make tools`",
        folder.display()
    );
    Ok(folder)
}

/// A stand-in that boots machines. There is one at a time inside a boundary.
pub(crate) fn stand_in(images: &std::path::Path) -> StandIn {
    let folder = images.to_str().expect("the repository's path is text");
    StandIn::start_with(&test_name(), &["--machines", folder])
}

/// A scene whose machines run. The test that has it is the only one with machines.
pub(crate) struct Real {
    pub(crate) scene: Scene,
    _alone: MutexGuard<'static, ()>,
}

impl Real {
    /// Starts all of it, with flags that win over [`FLAGS`], or says visibly that the test is left out.
    pub(crate) async fn start(flags: &[&str]) -> Option<Self> {
        static ALONE: Mutex<()> = Mutex::const_new(());
        let images = match images() {
            Ok(images) => images,
            Err(why) => {
                say(&format!("left out: {}: {why}", test_name()));
                return None;
            }
        };
        let alone = ALONE.lock().await;
        let name = |flag: &str| flag.split('=').next().map(str::to_owned);
        let given: Vec<_> = flags.iter().map(|flag| name(flag)).collect();
        let usual = FLAGS.iter().filter(|flag| !given.contains(&name(flag)));
        let flags: Vec<&str> = usual.chain(flags).copied().collect();
        let aws = stand_in(&images);
        aws.make_profile_with_role(PROFILE);
        let scene = Scene::start_on(aws, &flags).await;
        Some(Self { scene, _alone: alone })
    }
}

impl Drop for Real {
    fn drop(&mut self) {
        // The next one needs the addresses and ports that the machines' internet has.
        self.scene.controller.end();
        self.scene.aws.end();
    }
}

/// Writes a line that is seen although the test passes.
pub(crate) fn say(line: &str) {
    // Nobody may be reading.
    let _ = writeln!(stderr(), "{line}");
}

/// Says how long what happened since took, and returns it.
pub(crate) fn took(what: &str, since: Instant) -> Duration {
    let taken = since.elapsed();
    say(&format!("measured: {what}: {:.1} s", taken.as_secs_f64()));
    taken
}
