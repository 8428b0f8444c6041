//! What machines are given to run: scripts and units without a fault that shellcheck and systemd know, and a program
//! that does its work in a folder of its own, whatever the user's text holds.

use std::collections::BTreeMap;
use std::fs::{self, Permissions};
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};

use base64::prelude::{BASE64_STANDARD, Engine as _};
use rayward::bootstrap::{Machine, PROGRAM, Worker, user_data};
use rayward::validate::Software;
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use tempfile::TempDir;

/// Text that a shell, YAML or systemd would take for something else.
const ODD: &str = "it's \"$(touch /tmp/harmed)\" `x` \\ %i ${HOME} & ;\n\tü *";

/// A head or a worker whose every setting is odd.
fn rendered(is_head: bool, script: &str) -> Vec<(String, Vec<u8>)> {
    let map = |name: &str| BTreeMap::from([(name.to_owned(), ODD.to_owned())]);
    let software = Software {
        ray_version: "2.60.0".into(),
        pip_packages: vec!["numpy; python_version < \"4\"".into()],
        setup_script: Some(script.into()),
    };
    let worker = Worker {
        group: "cpu",
        head: "127.0.0.1",
    };
    let text = user_data(&Machine {
        public_key: "ssh-ed25519 AAAA rayward",
        worker: (!is_head).then_some(worker),
        cluster_uid: "u-1",
        software: &software,
        environment: &map("ODD"),
        ray_start_params: &map("resources"),
    });
    let config: Value = serde_yaml::from_str(&text).expect("user data is YAML");
    let files = config["write_files"].as_array().expect("a list of files");
    let file = |file: &Value| {
        let content = file["content"].as_str().expect("content").to_owned();
        let content = match file["encoding"].as_str() {
            Some("b64") => BASE64_STANDARD.decode(content).expect("base64"),
            _ => content.into_bytes(),
        };
        (file["path"].as_str().expect("a path").to_owned(), content)
    };
    files.iter().map(file).collect()
}

fn write(path: &Path, content: impl AsRef<[u8]>, mode: u32) {
    fs::create_dir_all(path.parent().expect("a folder")).expect("a folder can be made");
    fs::write(path, content).expect("a file can be written");
    fs::set_permissions(path, Permissions::from_mode(mode)).expect("its mode can be set");
}

fn passes(command: &mut Command) {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let said = [output.stdout, output.stderr].concat();
    assert!(
        output.status.success(),
        "{command:?}:\n{}",
        String::from_utf8_lossy(&said)
    );
}

#[test]
fn shellcheck_finds_nothing_in_any_script() {
    for is_head in [true, false] {
        let folder = tempfile::tempdir().expect("a folder");
        let mut checked = 0;
        for (path, content) in rendered(is_head, "true") {
            let shell = match path.as_str() {
                PROGRAM => "bash",
                "/etc/profile.d/rayward.sh" => "sh",
                _ => continue,
            };
            let file = folder.path().join(format!("{checked}.sh"));
            write(&file, content, 0o644);
            passes(Command::new("shellcheck").arg("--shell").arg(shell).arg(&file));
            checked += 1;
        }
        assert_eq!(checked, 2);
    }
}

#[test]
fn systemd_finds_nothing_in_any_unit() {
    for is_head in [true, false] {
        let root = tempfile::tempdir().expect("a folder");
        let mut units = Vec::new();
        for (path, content) in rendered(is_head, "true") {
            let file = root.path().join(path.trim_start_matches('/'));
            write(&file, content, 0o755);
            if path.starts_with("/etc/systemd/") {
                units.push(path);
            }
        }
        assert_eq!(units.len(), 4, "{units:?}");
        // What the units lean on; what systemd itself has is not in question.
        let leans_on = [
            "sysinit",
            "basic",
            "shutdown",
            "network-online",
            "timers",
            "time-set",
            "time-sync",
        ];
        for name in leans_on {
            let unit = root.path().join(format!("usr/lib/systemd/system/{name}.target"));
            write(&unit, "[Unit]\nDescription=There\nDefaultDependencies=no\n", 0o644);
        }
        let slice = root.path().join("usr/lib/systemd/system/system.slice");
        write(&slice, "[Unit]\nDescription=There\nDefaultDependencies=no\n", 0o644);
        for unit in units {
            let mut verify = Command::new("systemd-analyze");
            verify.args(["verify", "--man=no", "--recursive-errors=yes"]);
            passes(verify.arg("--root").arg(root.path()).arg(unit));
        }
    }
}

/// A machine in a folder: its program and its settings with all their paths there, and programs in place of those
/// that would change this machine.
struct Place {
    root: TempDir,
}

impl Place {
    fn new(is_head: bool, script: &str) -> Self {
        let root = tempfile::tempdir().expect("a folder");
        let place = Self { root };
        for (path, content) in rendered(is_head, script) {
            if path == PROGRAM {
                let mut program = String::from_utf8(content).expect("a script");
                let there = place.root.path().display().to_string();
                for line in ["\netc=", "\nstate=", "\nrun=", "\nvenv="] {
                    program = program.replacen(line, &format!("{line}{there}"), 1);
                }
                program = program.replacen(" /usr/local/bin/ray\n", &format!(" {there}/usr/local/bin/ray\n"), 1);
                write(&place.path("bin/rayward-node"), program, 0o755);
            } else if path.starts_with("/etc/rayward/") {
                write(&place.path(&path), content, 0o700);
            }
        }
        let home = place.path("home").display().to_string();
        fs::create_dir(&home).expect("a folder can be made");
        fs::create_dir_all(place.path("usr/local/bin")).expect("a folder can be made");
        place.stub("getent", &format!("echo 'ray:x:1000:1000:A, B:{home}:/bin/sh'"));
        place.stub(
            "setpriv",
            &format!("while [[ $1 != -- ]]; do shift; done; shift; HOME='{home}' exec \"$@\""),
        );
        place.stub("systemctl", "echo \"$*\" >>\"${0%/*}/../systemctl\"");
        place.stub("cloud-init", "echo \"$*\" >>\"${0%/*}/../cloud-init\"");
        // Which machine this is.
        place.stub("python3", "[[ $1 != - ]] || echo i-0abc 10.0.1.11");
        place
    }

    fn path(&self, inside: &str) -> PathBuf {
        self.root.path().join(inside.trim_start_matches('/'))
    }

    fn stub(&self, name: &str, script: &str) {
        write(&self.path("bin").join(name), format!("#!/bin/bash\n{script}\n"), 0o755);
    }

    fn call(&self, arguments: &[&str], input: &str) -> Output {
        let path = std::env::var("PATH").expect("there are programs");
        let mut process = Command::new(self.path("bin/rayward-node"))
            .args(arguments)
            .env("PATH", format!("{}:{path}", self.path("bin").display()))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("it starts");
        let mut stdin = process.stdin.take().expect("its input");
        stdin.write_all(input.as_bytes()).expect("it reads");
        drop(stdin);
        process.wait_with_output().expect("it ends")
    }

    fn succeeds(&self, arguments: &[&str], input: &str) -> String {
        let output = self.call(arguments, input);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{arguments:?}: {said}");
        assert_eq!(said, "", "{arguments:?}");
        String::from_utf8(output.stdout).expect("text")
    }

    fn report(&self) -> Value {
        let said = self.succeeds(&["report"], "");
        assert_eq!(said.lines().count(), 1, "{said}");
        serde_json::from_str(&said).expect("JSON")
    }

    fn read(&self, inside: &str) -> String {
        fs::read_to_string(self.path(inside)).unwrap_or_default()
    }

    fn restarts(&self) -> usize {
        self.read("systemctl")
            .matches("--no-block restart rayward-ray.service")
            .count()
    }
}

/// What answers in place of Ray's agent, as long as it lives: this status, and what follows it.
struct Agent {
    port: u16,
    said: Arc<Mutex<&'static str>>,
    thread: Option<JoinHandle<()>>,
    stop: Arc<AtomicBool>,
}

impl Agent {
    fn answers(place: &Place, said: &'static str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("there is a free port");
        let port = listener.local_addr().expect("it has an address").port();
        let program = place.read("bin/rayward-node");
        let asked = program.replacen("/dev/tcp/127.0.0.1/52365", &format!("/dev/tcp/127.0.0.1/{port}"), 1);
        assert_ne!(asked, program);
        write(&place.path("bin/rayward-node"), asked, 0o755);
        let stop = Arc::new(AtomicBool::new(false));
        let is_over = Arc::clone(&stop);
        let said = Arc::new(Mutex::new(said));
        let answer = Arc::clone(&said);
        let serve = move || {
            while let Ok((mut visitor, _)) = listener.accept() {
                if is_over.load(Ordering::Relaxed) {
                    return;
                }
                // To its end, which may come in a piece of its own: closing on the rest would reset the connection.
                let mut asked = Vec::new();
                let mut piece = [0; 256];
                while !asked.ends_with(b"\r\n\r\n") {
                    match visitor.read(&mut piece) {
                        Ok(length) if length > 0 => asked.extend_from_slice(&piece[..length]),
                        _ => break,
                    }
                }
                let said = *answer.lock().expect("nobody panics");
                let _ = write!(visitor, "HTTP/1.0 {said}\r\n\r\n");
            }
        };
        let thread = Some(thread::spawn(serve));
        Self {
            port,
            said,
            thread,
            stop,
        }
    }

    fn says(&self, said: &'static str) {
        *self.said.lock().expect("nobody panics") = said;
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let _ = TcpStream::connect(("127.0.0.1", self.port));
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

#[test]
fn a_raylet_whose_head_has_another_ray_is_started_anew_at_once_and_no_other_one() {
    const OTHER: &str = "503 Service Unavailable\r\n\r\nRPC error: WrongClusterID: Perhaps the client is accessing GCS";
    const FAILED: &str = "503 Service Unavailable\r\n\r\nLocal Raylet failed";
    const WELL: &str = "200 OK\r\n\r\nsuccess";
    for (stage, said, is_restarted, misses) in [
        ("running", OTHER, true, ""),
        ("starting", OTHER, true, ""),
        ("running", FAILED, false, "1\n"),
        ("running", WELL, false, ""),
        ("failed", OTHER, false, ""),
    ] {
        let place = Place::new(false, "true");
        write(&place.path("run/rayward/stage"), format!("{stage}\nwords\n"), 0o644);
        let agent = Agent::answers(&place, said);
        place.succeeds(&["check"], "");
        drop(agent);
        let asked = place.read("systemctl");
        let changes: Vec<&str> = asked.lines().filter(|line| !line.starts_with("is-active")).collect();
        let expected: &[&str] = if is_restarted {
            &[
                "kill --signal=KILL rayward-ray.service",
                "--no-block restart rayward-ray.service",
            ]
        } else {
            &[]
        };
        assert_eq!(changes, expected, "{stage}: {said}");
        // So that it counts as no end of Ray's own.
        assert_eq!(
            place.path("run/rayward/restarts").exists(),
            is_restarted,
            "{stage}: {said}"
        );
        assert_eq!(place.read("run/rayward/misses"), misses, "{stage}: {said}");
    }
}

#[test]
fn the_first_boot_is_once_a_boot_whoever_calls_and_forgets_what_the_image_brought() {
    let place = Place::new(false, "true");
    write(&place.path("var/lib/rayward/installed"), "", 0o644);
    write(&place.path("run/rayward/stage"), "running\nwords\n", 0o644);
    for _ in 0..2 {
        place.succeeds(&["first-boot"], "");
        let asked = place.read("systemctl");
        assert_eq!(
            asked.matches("--no-block start rayward-setup.service").count(),
            1,
            "{asked}"
        );
        assert!(!place.path("var/lib/rayward/installed").exists());
    }
}

#[test]
fn a_report_is_one_line_of_json_whatever_was_printed() {
    let place = Place::new(false, "true");
    let early = place.report();
    assert_eq!(
        (&early["stage"], &early["lines"]),
        (&"installing".into(), &Value::Array(Vec::new()))
    );
    assert_eq!(
        (&early["hasToken"], &early["headAddress"]),
        (&false.into(), &"127.0.0.1".into())
    );
    assert_eq!(early["diskFull"], false);
    place.stub("df", "echo Avail; echo 51200");
    assert_eq!(place.report()["diskFull"], true);
    assert!(early["bootId"].as_str().is_some_and(|id| id.len() == 36), "{early}");
    assert!(
        early["sshSessions"].is_u64() && early["jupyterKernels"].is_u64(),
        "{early}"
    );

    write(
        &place.path("run/rayward/stage"),
        "failed\na \"bad\" \\thing's $(x)\n",
        0o644,
    );
    let long = "ü".repeat(300);
    let mut printed: Vec<u8> = (0..30).flat_map(|line| format!("line {line}\n").into_bytes()).collect();
    printed.extend_from_slice(
        b"\x1b[31mred\x1b[0m \"quoted\" \\back\\slash\ttab\x07\n\n10%\r50%\rdone\nbroken \xff\xfe text\n",
    );
    printed.extend_from_slice(format!("{long}\nno end").as_bytes());
    write(&place.path("run/rayward/log"), printed, 0o644);
    let report = place.report();
    assert_eq!(
        (&report["stage"], &report["message"]),
        (&"failed".into(), &"a \"bad\" \\thing's $(x)".into())
    );
    let lines: Vec<&str> = report["lines"]
        .as_array()
        .expect("a list")
        .iter()
        .filter_map(Value::as_str)
        .collect();
    assert_eq!(lines.len(), 20);
    let last = [
        "line 29",
        "red \"quoted\" \\back\\slash tab",
        "10%",
        "50%",
        "done",
        "broken  text",
        &format!("{} ... {}", "ü".repeat(80), "ü".repeat(115)),
        "no end",
    ];
    assert_eq!(lines[12..], last);
}

#[test]
fn people_and_kernels_are_counted_and_a_list_of_processes_that_fails_counts_nobody() {
    let place = Place::new(false, "true");
    let own = "/bin/bash /usr/local/sbin/rayward-node report";
    let told = |lines: &[&str], ending: &str| {
        let list = format!("{own}\nsshd: rayward@notty\n{}\n", lines.join("\n"));
        write(&place.path("list"), list, 0o644);
        place.stub("ps", &format!("cat \"${{0%/*}}/../list\"{ending}"));
        let report = place.report();
        (report["sshSessions"].as_u64(), report["jupyterKernels"].as_u64())
    };
    let counted = [
        ("sshd: ubuntu@pts/0", (1, 0)),
        ("sshd: ubuntu@notty", (1, 0)),
        ("sshd-session: ubuntu@pts/0,pts/1", (1, 0)),
        ("sshd: rayward2@pts/0", (1, 0)),
        ("sshd: rayward@pts/0", (0, 0)),
        ("sshd: ubuntu [priv]", (0, 0)),
        ("sshd: /usr/sbin/sshd -D [listener] 0 of 10-100 startups", (0, 0)),
        ("grep sshd: ubuntu@pts/0", (0, 0)),
        ("/opt/ray/bin/python3 -m ipykernel_launcher -f /k.json", (0, 1)),
        ("python -Xfrozen_modules=off -m ipykernel_launcher -f /k.json", (0, 1)),
        ("vim ipykernel_launcher.py", (0, 0)),
        ("a * that no shell spreads", (0, 0)),
        ("", (0, 0)),
    ];
    for (line, (people, kernels)) in counted {
        assert_eq!(told(&[line], ""), (Some(people), Some(kernels)), "{line}");
    }
    let all: Vec<&str> = counted.iter().map(|(line, _)| *line).collect();
    assert_eq!(told(&all, ""), (Some(4), Some(2)));
    assert_eq!(told(&all, "; exit 1"), (None, None), "the list failed at its end");
    place.stub("ps", "exit 1");
    assert_eq!(place.report()["sshSessions"], Value::Null);
    place.stub("ps", "");
    assert_eq!(
        place.report()["jupyterKernels"],
        Value::Null,
        "a list without itself is none"
    );
}

#[test]
fn who_only_forwards_a_port_is_signed_in_and_the_controller_never_is() {
    let place = Place::new(true, "true");
    let nobody = "/bin/bash /usr/local/sbin/rayward-node report\nsshd: /usr/sbin/sshd -D [listener] 0 of 10-100 \
                  startups\nsshd: rayward [priv]\nsshd: rayward\n\
                  sshd-session: rayward [priv]\nsshd-session: rayward@notty   \nsshd: ubuntu [priv]\n\
                  sshd: ubuntu [net]\nsshd: unknown [priv]\nsshd: unknown [net]\nsshd: root [priv]\n\
                  sshd: root [net]\nsshd: [accepted]\ngrep sshd: ubuntu@pts/0\n";
    for (processes, people) in [
        ("", 0),
        ("sshd: ubuntu [priv]\nsshd: ubuntu\n", 1),
        ("sshd: ubuntu [priv]\nsshd: ubuntu@pts/0,pts/1\n", 1),
        ("sshd-session: ubuntu [priv]\nsshd-session: ubuntu@notty\n", 1),
        ("sshd-session: rayward2 [priv]\nsshd-session: rayward2    \n", 1),
        ("sshd: root\n", 1),
        ("sshd: root@pts/0\n", 1),
        ("sshd: a [priv]\nsshd: a\nsshd: b [priv]\nsshd: b@pts/1\n", 2),
    ] {
        write(&place.path("processes"), format!("{nobody}{processes}"), 0o644);
        place.stub("ps", "cat \"${0%/*}/../processes\"");
        assert_eq!(place.report()["sshSessions"], people, "{processes}");
    }
}

#[test]
fn a_token_is_kept_as_it_is_and_another_one_restarts_ray() {
    let place = Place::new(true, "true");
    write(&place.path("run/rayward/ready"), "", 0o644);
    let token = "it's \"$(x)\" \\ ${HOME} `y`";
    assert_eq!(place.succeeds(&["token"], token), "");
    let kept = place.path("home/.ray/auth_token");
    assert_eq!(fs::read_to_string(&kept).expect("it is there"), token);
    let mode = fs::metadata(&kept).expect("it is there").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let said = place.succeeds(&["report"], "");
    assert!(
        said.contains("\"hasToken\":true") && !said.contains("${HOME}"),
        "{said}"
    );
    place.succeeds(&["token"], &format!("{token}\n"));
    place.succeeds(&["token"], "another");
    place.succeeds(&["token"], token);
    assert_eq!(place.restarts(), 0, "no Ray runs");
    let hash = || place.report()["tokenHash"].as_str().expect("text").to_owned();
    let of_token = hash();

    write(&place.path("run/rayward/identity"), "i-0abc 10.0.1.11\n", 0o644);
    write(&place.path("opt/ray/bin/ray"), "#!/bin/bash\n", 0o755);
    place.succeeds(&["run-ray"], "");
    place.succeeds(&["token"], token);
    assert_eq!((place.restarts(), hash()), (0, of_token.clone()), "it runs with that");
    write(&kept, "a person's", 0o600);
    assert_eq!(hash(), of_token, "what it runs with counts");
    place.succeeds(&["token"], token);
    assert_eq!(
        (place.restarts(), place.read("home/.ray/auth_token")),
        (0, token.into())
    );
    place.succeeds(&["token"], "another");
    assert_eq!(
        (place.restarts(), place.read("home/.ray/auth_token").as_str()),
        (1, "another")
    );
    place.succeeds(&["run-ray"], "");
    let (boot, of_another) = (fs::read_to_string("/proc/sys/kernel/random/boot_id"), hash());
    let digest = Sha256::digest(format!("{}another", boot.expect("this boot has an id").trim()));
    assert_eq!(of_another, format!("{digest:x}")[..16]);
    let refused = place.call(&["token"], "");
    assert_eq!(refused.status.code(), Some(1));
    assert!(
        String::from_utf8_lossy(&refused.stderr).contains("no token"),
        "{refused:?}"
    );
}

#[test]
fn a_worker_takes_another_head_and_only_an_address() {
    let place = Place::new(false, "true");
    write(&place.path("run/rayward/ready"), "", 0o644);
    place.succeeds(&["head-address", "127.0.0.1"], "");
    assert_eq!(place.restarts(), 0, "it has that one already");
    place.succeeds(&["head-address", "10.0.1.12"], "");
    place.succeeds(&["head-address", "10.0.1.12"], "");
    assert_eq!(
        (place.restarts(), &place.report()["headAddress"]),
        (1, &"10.0.1.12".into())
    );
    assert_eq!(place.call(&["head-address", "$(x)"], "").status.code(), Some(1));
    assert_eq!(place.call(&["reboot"], "").status.code(), Some(1), "no call of ours");
}

/// Entries that end in zeros.
fn entries(text: &str) -> Vec<String> {
    text.split_terminator('\0').map(ToOwned::to_owned).collect()
}

#[test]
fn the_set_up_installs_runs_the_script_and_starts_ray_with_what_the_user_said() {
    let script = "#!/bin/bash\nprintf '%s' \"$ODD\" >\"$(dirname \"$0\")/script-saw\"\necho set\n";
    let place = Place::new(true, script);
    let note = "printf '%s\\0' \"$@\" >>\"$0.saw\"";
    write(
        &place.path("opt/ray/bin/python"),
        format!("#!/bin/bash\n{note}\n"),
        0o755,
    );
    place.succeeds(&["set-up"], "");
    let pip = entries(&place.read("opt/ray/bin/python.saw"));
    let asked = &pip[pip.len() - 2..];
    assert_eq!(asked, ["ray[default]==2.60.0", "numpy; python_version < \"4\""]);
    assert_eq!(place.read("etc/rayward/script-saw"), ODD);
    assert!(place.read("systemctl").contains("--no-block start rayward-ray.service"));
    let waits = place.read("cloud-init");
    assert_eq!(
        waits,
        "status --wait\n".repeat(2),
        "the sources of packages are there before"
    );

    place.succeeds(&["token"], "a");
    let environment = "printf '%s\\0' \"${ODD}\" \"$RAY_AUTH_MODE\" \"$RAY_enable_autoscaler_v2\" >\"$0.env\"";
    write(
        &place.path("opt/ray/bin/ray"),
        format!("#!/bin/bash\n{note}\n{environment}\n"),
        0o755,
    );
    place.succeeds(&["run-ray"], "");
    let flags = entries(&place.read("opt/ray/bin/ray.saw"));
    assert_eq!(flags[..2], ["start", "--head"]);
    for flag in [
        "--node-ip-address=10.0.1.11".to_owned(),
        "--labels=rayward.dev/instance-id=i-0abc,rayward.dev/cluster-uid=u-1,rayward.dev/group=head".to_owned(),
        "--dashboard-host=127.0.0.1".to_owned(),
        format!("--resources={ODD}"),
    ] {
        assert!(flags.contains(&flag), "{flag} is not in {flags:?}");
    }
    assert_eq!(entries(&place.read("opt/ray/bin/ray.env")), [ODD, "token", "0"]);
    assert_eq!(place.report()["stage"], "starting");
    assert!(!Path::new("/tmp/harmed").exists());

    // After a reboot: nothing is installed or run again.
    fs::remove_file(place.path("opt/ray/bin/python.saw")).expect("it was there");
    fs::remove_file(place.path("etc/rayward/script-saw")).expect("it was there");
    write(
        &place.path("opt/ray/lib/python3.12/site-packages/ray-2.60.0.dist-info/RECORD"),
        "",
        0o644,
    );
    place.succeeds(&["set-up"], "");
    let again = ["opt/ray/bin/python.saw", "etc/rayward/script-saw"].map(|file| place.read(file));
    assert_eq!(again, ["", ""]);
    assert_eq!(place.read("cloud-init"), waits, "nothing is waited for then");
}

#[test]
fn the_first_start_of_a_boot_may_take_minutes_and_what_ran_is_soon_missed() {
    const NO_RAYLET: &str = "503 Service Unavailable\r\n\r\nLocal Raylet failed";
    for (stage, ran, checks) in [
        ("starting", false, 40),
        ("starting", true, 8),
        ("running", false, 4),
        ("running", true, 4),
    ] {
        let place = Place::new(true, "true");
        write(&place.path("run/rayward/ready"), "", 0o644);
        write(
            &place.path("run/rayward/stage"),
            format!("{stage}\nit {stage}\n"),
            0o644,
        );
        // Not a port where nobody listens: by chance another test does.
        let agent = Agent::answers(&place, NO_RAYLET);
        if ran {
            agent.says("200 OK\r\n\r\nsuccess");
            place.succeeds(&["check"], "");
            agent.says(NO_RAYLET);
            assert!(place.read("run/rayward/stage").starts_with("running"), "it runs");
            write(
                &place.path("run/rayward/stage"),
                format!("{stage}\nit {stage}\n"),
                0o644,
            );
        }
        for _ in 1..checks {
            place.call(&["check"], "");
        }
        assert_eq!(place.restarts(), 0, "{stage}, {ran}");
        place.call(&["check"], "");
        assert_eq!(place.restarts(), 1, "{stage}, {ran}");
    }
}

#[test]
fn a_script_that_fails_is_told_and_tried_again_after_a_pause_that_grows() {
    // It works the third time.
    let script = "rayward-node report >>\"${0%/*}/during\"
                  echo \"it's try $(wc -l <\"${0%/*}/tries\")\"; echo >>\"${0%/*}/tries\"; \
                  [[ $(wc -l <\"${0%/*}/tries\") -gt 2 ]]\n";
    let place = Place::new(true, script);
    write(&place.path("etc/rayward/tries"), "", 0o644);
    write(&place.path("opt/ray/bin/python"), "#!/bin/bash\n", 0o755);
    // In place of each pause: what would be told then.
    place.stub(
        "sleep",
        "echo \"$1\" >>\"${0%/*}/../pauses\"; rayward-node report >>\"${0%/*}/../reports\"",
    );
    place.succeeds(&["set-up"], "");
    assert_eq!(place.read("pauses"), "15\n30\n");
    let reports = place.read("reports");
    let reports: Vec<Value> = reports
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    assert_eq!(reports[0]["stage"], "failed");
    let message = "running the set-up script failed (try 1; the next one in 15 s)";
    assert_eq!(reports[0]["message"], message);
    assert_eq!(reports[0]["lines"], serde_json::json!(["it's try 0"]));
    assert_eq!(reports[1]["lines"][1], "it's try 1");
    // It counts as failed, with its last words, until it has succeeded.
    let during = place.read("etc/rayward/during");
    let during: Vec<Value> = during
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    assert_eq!(during[0]["stage"], "setting-up");
    assert_eq!(during[1]["stage"], "failed");
    let message = "running the set-up script failed, and is tried again (try 2)";
    assert_eq!(during[1]["message"], message);
    assert_eq!(during[1]["lines"], serde_json::json!(["it's try 0"]));
    assert!(place.path("run/rayward/ready").exists());
}

#[test]
fn an_index_that_does_not_answer_is_told_as_that() {
    let place = Place::new(false, "true");
    let pip = |words: &str| format!("#!/bin/bash\n[[ $* != *install* ]] || {{ echo '{words}'; exit 1; }}\n");
    let python = place.path("opt/ray/bin/python");
    write(
        &python,
        pip("Retrying after connection broken by 'X': /simple/ray/"),
        0o755,
    );
    // Then pip answers something else, and at last it succeeds.
    write(&place.path("next"), pip("No matching distribution found"), 0o755);
    place.stub(
        "sleep",
        "rayward-node report >>\"${0%/*}/../reports\"; cd \"${0%/*}/..\" && : >run/rayward/log &&
         cp next opt/ray/bin/python && printf '#!/bin/bash\\n' >next",
    );
    place.succeeds(&["set-up"], "");
    let reports = place.read("reports");
    let mut reports = reports.lines();
    let first = reports.next().expect("a report of the first try");
    assert!(first.contains("could not reach the package index"), "{first}");
    let second = reports.next().expect("a report of the second try");
    assert!(second.contains("No matching distribution"), "{second}");
    assert!(!second.contains("package index"), "{second}");
}
