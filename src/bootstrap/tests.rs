//! What is rendered: from what, how large, and how text of the user's gets there.

use std::io::Read as _;

use base64::prelude::{BASE64_STANDARD, Engine as _};
use flate2::read::GzDecoder;

use super::*;
use crate::resources::instance::launch::packed;

/// Text that a shell, YAML or systemd would take for something else.
const ODD: &str = "it's \"$(reboot)\" `x` \\ %i ${HOME}\n\tü # ; : - |";

fn map(all: &[(&str, &str)]) -> BTreeMap<String, String> {
    all.iter()
        .map(|(name, value)| ((*name).into(), (*value).into()))
        .collect()
}

fn software() -> Software {
    Software {
        ray_version: "2.60.0".into(),
        pip_packages: vec!["xgboost-cpu".into(), "pandas>=2; python_version < \"3.14\"".into()],
        setup_script: Some(ODD.into()),
    }
}

fn worker<'a>(
    software: &'a Software,
    environment: &'a BTreeMap<String, String>,
    params: &'a BTreeMap<String, String>,
) -> Machine<'a> {
    Machine {
        public_key: "ssh-ed25519 AAAAC3Nza rayward\n",
        worker: Some(Worker {
            group: "cpu",
            head: "10.0.1.10",
        }),
        cluster_uid: "0f3a2b1c-0000-4000-8000-123456789abc",
        software,
        environment,
        ray_start_params: params,
    }
}

fn parsed(text: &str) -> serde_yaml::Value {
    assert!(text.starts_with("#cloud-config\n"));
    serde_yaml::from_str(text).unwrap()
}

/// What is written to a file, decoded.
fn file(config: &serde_yaml::Value, path: &str) -> Option<String> {
    let files = config["write_files"].as_sequence().unwrap();
    let file = files.iter().find(|file| file["path"] == path)?;
    let content = file["content"].as_str().unwrap();
    Some(match file["encoding"].as_str() {
        Some("b64") => String::from_utf8(BASE64_STANDARD.decode(content).unwrap()).unwrap(),
        _ => content.to_owned(),
    })
}

#[test]
fn it_lets_the_controller_in_and_starts_the_set_up() {
    let (software, none) = (software(), BTreeMap::new());
    let config = parsed(&user_data(&worker(&software, &none, &none)));
    assert_eq!(config["users"][0], "default");
    assert_eq!(config["users"][1]["name"], USER);
    let keys = &config["users"][1]["ssh_authorized_keys"];
    assert_eq!(keys[0], "ssh-ed25519 AAAAC3Nza rayward");
    assert_eq!(config["runcmd"][0][0], PROGRAM);
    assert_eq!(config["runcmd"][0][1], "first-boot");
    let early = config["bootcmd"][0].as_sequence().unwrap();
    let early: Vec<&str> = early.iter().map(|word| word.as_str().unwrap()).collect();
    assert_eq!(
        early[..3],
        ["cloud-init-per", "instance", "rayward"],
        "once, though bootcmd runs at every boot"
    );
    assert!(
        early.contains(&"--no-block"),
        "cloud-init does not wait for what waits for it: {early:?}"
    );
    assert!(
        early
            .iter()
            .any(|word| word.starts_with("--property=After=cloud-init.service "))
    );
    assert_eq!(early[early.len() - 2..], [PROGRAM, "first-boot"]);
}

#[test]
fn what_the_user_says_arrives_unharmed() {
    let software = software();
    let (environment, params) = (map(&[("A", ODD), ("B", "")]), map(&[("no-x", ""), ("resources", ODD)]));
    let config = parsed(&user_data(&worker(&software, &environment, &params)));
    let list = |name: &str| file(&config, &format!("/etc/rayward/{name}")).unwrap();
    assert_eq!(list("setup-script"), ODD);
    assert_eq!(list("environment"), format!("A={ODD}\0B=\0"));
    assert_eq!(list("ray-start-params"), format!("no-x\0resources={ODD}\0"));
    assert_eq!(
        list("pip-packages"),
        "xgboost-cpu\0pandas>=2; python_version < \"3.14\"\0"
    );
}

#[test]
fn what_nobody_says_is_not_there() {
    let software = Software {
        pip_packages: Vec::new(),
        setup_script: None,
        ..software()
    };
    let none = BTreeMap::new();
    let text = user_data(&worker(&software, &none, &none));
    assert!(!text.contains("/etc/rayward/setup-script\n") && !text.contains("b64"));
}

#[test]
fn head_and_worker_know_what_they_are() {
    let (software, none) = (software(), BTreeMap::new());
    let of_worker = worker(&software, &none, &none);
    let program = |machine: &Machine<'_>| file(&parsed(&user_data(machine)), PROGRAM).unwrap();
    let said = program(&of_worker);
    for line in [
        "role='worker'",
        "group='cpu'",
        "head='10.0.1.10'",
        "ray_version='2.60.0'",
    ] {
        assert!(said.contains(&format!("\n{line}\n")), "{line} is not in:\n{said}");
    }
    let said = program(&Machine {
        worker: None,
        ..of_worker
    });
    for line in ["role='head'", "group='head'", "head=''"] {
        assert!(said.contains(&format!("\n{line}\n")), "{line} is not in:\n{said}");
    }
    assert!(!said.contains('@') || !said.contains("@role@"), "{said}");
}

#[test]
fn systemd_waits_longer_than_ray_drains() {
    let software = software();
    for (said, stop) in [(None, 60), (Some("600"), 630), (Some("long"), 60)] {
        let environment: BTreeMap<String, String> = said
            .map(|said| ("RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S".into(), said.into()))
            .into_iter()
            .collect();
        let none = BTreeMap::new();
        let config = parsed(&user_data(&worker(&software, &environment, &none)));
        let unit = file(&config, "/etc/systemd/system/rayward-ray.service").unwrap();
        assert!(unit.contains(&format!("\nTimeoutStopSec={stop}\n")), "{unit}");
    }
}

/// Text that no compression makes smaller than what it says: of 64 different characters, in no order.
fn noise(bytes: usize, seed: u64) -> String {
    let mut state = seed;
    let mut text = String::new();
    for _ in 0..bytes {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        let at = usize::try_from(state >> 33).unwrap() % 90;
        text.push(char::from(b'!' + u8::try_from(at).unwrap()));
    }
    text
}

#[test]
fn the_longest_that_the_rules_let_through_fits_into_what_ec2_takes() {
    let software = Software {
        ray_version: "999.9999.9999rc99".into(),
        pip_packages: (0..5).map(|index| noise(200, index)).collect(),
        setup_script: Some(noise(4096, 7)),
    };
    let (environment, params) = (map(&[("A", &noise(1020, 8))]), map(&[("a", &noise(506, 9))]));
    let group = "g".repeat(40);
    let machine = Machine {
        worker: Some(Worker {
            group: &group,
            head: "255.255.255.255",
        }),
        ..worker(&software, &environment, &params)
    };
    let text = user_data(&machine);
    let sent = packed(&text);
    assert!(sent.len() < LIMIT, "{} bytes of {} are sent", sent.len(), text.len());
    assert!(text.len() > LIMIT, "else this test shows nothing");
    let mut unpacked = String::new();
    GzDecoder::new(&*sent).read_to_string(&mut unpacked).unwrap();
    assert_eq!(unpacked, text);
}

#[test]
fn a_cluster_like_the_lab_is_sent_as_text_that_people_can_read() {
    let (software, none) = (software(), BTreeMap::new());
    let text = user_data(&worker(&software, &none, &none));
    assert_eq!(&*packed(&text), text.as_bytes());
}

#[test]
fn a_hash_changes_with_each_part_and_where_one_ends() {
    let hashes = [
        short_hash(["a", "b"]),
        short_hash(["ab"]),
        short_hash(["a", "b", ""]),
        short_hash(["", "a", "b"]),
    ];
    let distinct: std::collections::BTreeSet<_> = hashes.iter().collect();
    assert_eq!(distinct.len(), hashes.len());
    assert!(hashes.iter().all(|hash| hash.len() == 12), "{hashes:?}");
}

#[test]
fn user_data_of_head_and_worker() {
    let software = Software {
        pip_packages: vec!["xgboost-cpu".into()],
        setup_script: Some("apt-get -y install htop\n".into()),
        ..software()
    };
    let (environment, params) = (map(&[("HF_HOME", "/data")]), map(&[("num-cpus", "0")]));
    let of_worker = worker(&software, &environment, &params);
    insta::assert_snapshot!("worker", user_data(&of_worker));
    let of_head = Machine {
        worker: None,
        ..of_worker
    };
    insta::assert_snapshot!("head", user_data(&of_head));
}
