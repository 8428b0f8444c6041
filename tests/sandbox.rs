//! The ground that demo and tests stand on: control plane, stand-in for AWS, boundary.

use std::io::{ErrorKind, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Command, Stdio};
use std::{env, fs};

use k8s_openapi::api::core::v1::{ConfigMap, Namespace};
use kube::api::{DeleteParams, ListParams, PostParams};
use kube::{Api, ResourceExt};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;

use crate::support::control_plane::ControlPlane;
use crate::support::process::{Output, Process, command};
use crate::support::stand_in::StandIn;
use crate::support::wait::{PATIENCE, until};
use crate::support::{logs, repository, test_name};

/// Runs a command to its end and returns what it printed; panics with its error output when it fails.
fn output(command: &mut Command) -> String {
    let output = command.output().expect("the command starts");
    assert!(
        output.status.success(),
        "{command:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).expect("the output is UTF-8")
}

#[tokio::test]
async fn kubectl_and_helm_talk_to_the_control_plane() {
    let plane = ControlPlane::shared().await;
    let version = output(plane.kubectl().args(["version", "-o", "json"]));
    let version: serde_json::Value = serde_json::from_str(&version).expect("kubectl prints JSON");
    assert_eq!(
        version["serverVersion"]["major"], "1",
        "a chart's kubeVersion needs the server's version: {version}"
    );
    assert_eq!(
        output(plane.helm().args(["list", "--all-namespaces", "-o", "json"])).trim(),
        "[]"
    );
}

#[tokio::test]
async fn deleting_a_namespace_deletes_what_is_in_it() {
    let client = ControlPlane::shared().await.client().await;
    let namespaces: Api<Namespace> = Api::all(client.clone());
    let mut namespace = Namespace::default();
    namespace.metadata.name = Some("short-lived".to_owned());
    namespaces
        .create(&PostParams::default(), &namespace)
        .await
        .expect("the namespace is created");
    let config_maps: Api<ConfigMap> = Api::namespaced(client, "short-lived");
    let mut config_map = ConfigMap::default();
    config_map.metadata.name = Some("content".to_owned());
    config_maps
        .create(&PostParams::default(), &config_map)
        .await
        .expect("the ConfigMap is created");

    namespaces
        .delete("short-lived", &DeleteParams::default())
        .await
        .expect("the deletion is accepted");

    until("the namespace is gone", PATIENCE, async || {
        match namespaces.get_opt("short-lived").await {
            Ok(None) => Ok(()),
            Ok(Some(namespace)) => Err(format!("{:?}", namespace.status)),
            Err(error) => Err(error.to_string()),
        }
    })
    .await;
    assert!(
        config_maps
            .list(&ListParams::default())
            .await
            .expect("a list")
            .items
            .is_empty()
    );
}

#[tokio::test]
async fn an_api_server_that_was_killed_comes_back_with_what_it_had() {
    let mut plane = ControlPlane::start(&test_name()).await;
    let client = plane.client().await;
    let config_maps: Api<ConfigMap> = Api::namespaced(client, "default");
    let mut config_map = ConfigMap::default();
    config_map.metadata.name = Some("kept".to_owned());
    let uid = config_maps
        .create(&PostParams::default(), &config_map)
        .await
        .expect("it is created")
        .uid();

    plane.stop_api_server();
    assert!(
        config_maps.get("kept").await.is_err(),
        "nothing answers while the API server is down"
    );
    plane.start_api_server().await;

    assert_eq!(
        config_maps
            .get("kept")
            .await
            .expect("the same client works again")
            .uid(),
        uid
    );
}

#[tokio::test]
async fn the_stand_in_answers_the_aws_sdk_and_its_control_endpoint() {
    let stand_in = StandIn::start();
    let ec2 = stand_in.ec2();

    let vpc = ec2
        .create_vpc()
        .cidr_block("10.0.0.0/16")
        .send()
        .await
        .expect("a VPC is made")
        .vpc;
    let id = vpc.and_then(|vpc| vpc.vpc_id).expect("it has an id");

    let fault = stand_in.inject(&json!({"action": "CreateSubnet", "kind": "throttle"}));
    let subnet = ec2.create_subnet().vpc_id(&id).cidr_block("10.0.1.0/24").send().await;
    subnet.expect("the SDK tries again after a throttled call");
    assert_eq!(stand_in.fired(&fault), 1);

    let changes = stand_in.changes();
    let actions: Vec<_> = changes
        .iter()
        .map(|call| (call.action.as_str(), call.error.as_deref()))
        .collect();
    assert_eq!(
        actions,
        [
            ("CreateVpc", None),
            ("CreateSubnet", Some("RequestLimitExceeded")),
            ("CreateSubnet", None)
        ]
    );
    assert!(changes[0].ids.contains(&id));
}

/// The processes inside the boundary whose command line holds `marker`.
fn processes_with(marker: &str) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").expect("/proc can be read").flatten() {
        // Gone in the meantime, or not a process.
        let Ok(line) = fs::read_to_string(entry.path().join("cmdline")) else {
            continue;
        };
        if line.contains(marker) {
            found.push(format!("{}: {}", entry.file_name().display(), line.replace('\0', " ")));
        }
    }
    found
}

/// A boundary within this test's own, running a shell script whose `$1` is `argument`.
fn inside(script: &str, argument: &str) -> Command {
    let mut command = Command::new(repository().join("deploy/sandbox/inside"));
    command.args(["sh", "-c", script, "sh", argument]);
    command
}

#[test]
fn nothing_outside_can_be_reached_from_inside() {
    let seen = output(&mut inside("ip -brief address; ip route show table all", ""));
    let not_loopback: Vec<_> = seen
        .lines()
        .filter(|line| !line.contains("dev lo ") && !line.starts_with("lo "))
        .collect();
    assert!(
        not_loopback.is_empty() && seen.starts_with("lo "),
        "loopback and its own routes alone: {seen}"
    );

    // An address for documentation: nobody answers there, and from here there is not even a way to it.
    let refused = TcpStream::connect("192.0.2.1:80").expect_err("no connection");
    assert_eq!(
        refused.kind(),
        ErrorKind::NetworkUnreachable,
        "the tests run inside the boundary themselves"
    );
    // What only a machine of the sandbox can have ends on the loopback interface, where nobody listens at this port.
    let refused = TcpStream::connect("198.18.255.254:9").expect_err("no connection");
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
}

#[test]
fn a_machine_that_runs_comes_before_what_stands_for_it() {
    let ways = output(&mut inside(
        "ip link add here type veth peer name there && ip link set here up && ip route add 198.18.4.7/32 dev here && \
         ip -oneline route get 198.18.4.7 && ip -oneline route get 198.18.4.8",
        "",
    ));
    let devices: Vec<_> = ways.lines().map(|way| way.contains("dev here ")).collect();
    assert_eq!(devices, [true, false], "{ways}");
}

#[test]
fn a_network_namespace_for_a_vpc_can_be_made_inside_and_goes_with_it() {
    let printed = output(&mut inside(
        "ip netns add vpc-1 && ip netns exec vpc-1 ip link && ip netns list",
        "",
    ));
    assert!(printed.ends_with("vpc-1\n"), "{printed}");
    assert!(!output(Command::new("ip").args(["netns", "list"])).contains("vpc-1"));
}

#[test]
fn a_command_inside_has_the_callers_folder_files_streams_and_exit_code_but_not_their_accounts() {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let mut command = inside(
        "cat; pwd; echo ${AWS_PROFILE-none} ${KUBECONFIG-none}; echo kept > written; exit 7",
        "",
    );
    command
        .current_dir(folder)
        .env("AWS_PROFILE", "mine")
        .env("KUBECONFIG", "/mine");
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("it starts");
    child
        .stdin
        .take()
        .expect("a pipe")
        .write_all(b"hello\n")
        .expect("it reads");
    let output = child.wait_with_output().expect("it ends");

    assert_eq!(output.status.code(), Some(7));
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(printed, format!("hello\n{}\nnone none\n", folder.display()));
    assert_eq!(
        fs::read_to_string(folder.join("written")).expect("the file is there"),
        "kept\n"
    );
}

#[tokio::test]
async fn nothing_is_left_of_an_interrupted_run() {
    // It leaves a namespace, a mount, a file and two processes behind, one of them in a session of its own.
    let script = r#"
        ip netns add left-behind && mount -t tmpfs left-behind /mnt && touch "$TMPDIR/left-behind"
        setsid sh -c 'while :; do sleep 1; done' "$1-detached" &
        while :; do sleep 1; done
    "#;
    for (name, signal, code) in [
        ("SIGKILL", Signal::KILL, None),
        ("SIGTERM", Signal::TERM, Some(143)),
        ("SIGINT", Signal::INT, Some(130)),
    ] {
        let marker = format!("interrupted-{name}");
        let before = fs::read_to_string("/proc/self/mounts").expect("mounts can be read");
        let mut child = inside(script, &marker).spawn().expect("it starts");
        let detached = format!("{marker}-detached");
        until("the run is in its middle", PATIENCE, async || {
            let seen = processes_with(&marker);
            if seen.iter().any(|line| line.contains(&detached)) {
                Ok(())
            } else {
                Err(seen.join("\n"))
            }
        })
        .await;

        kill_process(Pid::from_child(&child), signal).expect("it runs");
        assert_eq!(child.wait().expect("it ends").code(), code, "after {name}");

        until(&format!("no process is left after {name}"), PATIENCE, async || {
            let left = processes_with(&marker);
            if left.is_empty() { Ok(()) } else { Err(left.join("\n")) }
        })
        .await;
        assert_eq!(
            fs::read_to_string("/proc/self/mounts").expect("mounts can be read"),
            before,
            "after {name}"
        );
        assert!(
            !output(Command::new("ip").args(["netns", "list"])).contains("left-behind"),
            "after {name}"
        );
        assert!(!env::temp_dir().join("left-behind").exists(), "after {name}");
    }
}

#[tokio::test]
async fn what_a_test_started_ends_with_the_process_that_started_it() {
    // This very program, running one test that starts a process and then waits to be killed.
    let marker = format!("{}-started", test_name());
    let mut starter = Command::new(env::current_exe().expect("the test's own program"))
        .args([
            "--exact",
            "sandbox::starts_a_process_and_waits",
            "--ignored",
            "--nocapture",
        ])
        .env("RAYWARD_TEST_MARKER", &marker)
        .stdout(Stdio::null())
        .spawn()
        .expect("it starts");
    until("the process runs", PATIENCE, async || {
        if processes_with(&marker).is_empty() {
            Err("it does not".to_owned())
        } else {
            Ok(())
        }
    })
    .await;

    starter.kill().expect("it runs");
    starter.wait().expect("it ends");

    until("the process is gone", PATIENCE, async || {
        let left = processes_with(&marker);
        if left.is_empty() { Ok(()) } else { Err(left.join("\n")) }
    })
    .await;
}

#[test]
#[ignore = "a part of what_a_test_started_ends_with_the_process_that_started_it, which runs and kills it"]
fn starts_a_process_and_waits() {
    let marker = env::var("RAYWARD_TEST_MARKER").expect("started by the other test");
    let mut program = command("sh");
    program.args(["-c", "while :; do sleep 1; done", &marker]);
    Process::spawn("started", &logs(&test_name()), program, Output::Log).wait(PATIENCE);
}
