//! What is on the machines: Ray, packages, the set-up script, the environment, flags and profiles.

use serde_json::{Value, json};

use super::{Case, create};

/// Text that a shell, YAML or systemd would take for something else.
const ODD: &str = "it's \"$(x)\" `y` \\ %i ${HOME}\n\tü # ;";

pub(super) fn cases() -> Vec<Case> {
    let release = |text: &str| json!({"rayVersion": text});
    let package = |text: &str| json!({"pipPackages": [text]});
    let script = |text: &str| json!({"setupScript": text});
    vec![
        create(
            "spec.rayVersion",
            "write a release of Ray in full",
            &json!([
                release("latest"),
                release("2.60"),
                release("v2.60.0"),
                release("2.60.0; reboot"),
                release("2.60.0\n"),
                release("3.0.0.dev0"),
                release("")
            ]),
            &json!([release("2.60.0"), release("2.53.0rc1"), release("3.0.0")]),
        ),
        create(
            "spec.rayVersion",
            "write 2.52.0 or a later release",
            &json!([release("2.51.1"), release("1.13.0")]),
            &json!([release("2.52.0"), release("10.0.0")]),
        ),
        create(
            "spec.pipPackages",
            "write requirements as pip takes them",
            &json!([
                package("-r /etc/shadow"),
                package("--index-url=https://example.com"),
                package("numpy\n--pre"),
                package("./here"),
                package("")
            ]),
            &json!([
                package("xgboost-cpu"),
                package("pandas[parquet]>=2,<3; python_version < \"3.14\""),
                package("mine @ https://example.com/mine-1.0.tar.gz"),
                {"pipPackages": []}
            ]),
        ),
        create(
            "spec.pipPackages",
            "write ray without a version",
            &json!([package("ray==2.60.0"), package("Ray [train] >= 2")]),
            &json!([package("ray[train]"), package("ray-elastic==1.0"), package("raydp>1")]),
        ),
        create(
            "spec.pipPackages",
            "write at most 1024 characters",
            &json!([{"pipPackages": vec!["a".repeat(200); 6]}]),
            &json!([{"pipPackages": vec!["a".repeat(200); 5]}]),
        ),
        create(
            "spec.setupScript",
            "write text without control characters",
            &json!([script("echo\r\nls\r\n"), script("a\u{0}b"), script("a\u{b}")]),
            &json!([script(ODD), script("#!/usr/bin/python3\nprint('ä')\n"), script("")]),
        ),
        create(
            "spec.setupScript",
            "write at most 4096 bytes",
            &json!([script(&"ü".repeat(2049))]),
            &json!([script(&"ü".repeat(2048)), script(&"#".repeat(4096))]),
        ),
    ]
}

/// The environment.
pub(super) fn of_environment() -> Vec<Case> {
    let variable = |name: &str, value: &str| json!({"environment": {name: value}});
    vec![
        create(
            "spec.environment",
            "write names of environment variables",
            &json!([
                variable("A-B", ""),
                variable("1A", ""),
                variable("A=B", ""),
                variable("", "a")
            ]),
            &json!([variable("_a1", ""), variable("HF_HOME", "/data")]),
        ),
        create(
            "spec.environment",
            "leave out RAY_AUTH_",
            &json!([
                variable("RAY_AUTH_TOKEN", "a"),
                variable("RAY_enable_autoscaler_v2", "1"),
                variable("RAY_ADDRESS", "auto")
            ]),
            &json!([variable("RAY_health_check_period_ms", "1000")]),
        ),
        create(
            "spec.environment",
            "write values without control characters",
            &json!([variable("A", "\u{1b}[0m"), variable("A", "a\u{0}")]),
            &json!([variable("A", ODD), variable("A", "")]),
        ),
        create(
            "spec.environment",
            "write at most 1024 bytes",
            &json!([variable("A", &"ü".repeat(511))]),
            &json!([variable("A", &"ü".repeat(510))]),
        ),
    ]
}

/// What the head and each worker group say for themselves.
pub(super) fn of_machines() -> Vec<Case> {
    let head = |field: &str, value: &Value| json!({"head": {field: value}});
    let group = |field: &str, value: &Value| json!({"workerGroups": [{"name": "cpu", field: value}]});
    let of_head = of_one(["spec.head.rayStartParams", "spec.head.iamInstanceProfile"], &head);
    let of_group = of_one(
        [
            "spec.workerGroups[].rayStartParams",
            "spec.workerGroups[].iamInstanceProfile",
        ],
        &group,
    );
    [of_head, of_group].into_iter().flatten().collect()
}

fn of_one([params, profile]: [&'static str; 2], whole: &dyn Fn(&str, &Value) -> Value) -> Vec<Case> {
    let flag = |name: &str, value: &str| whole("rayStartParams", &json!({name: value}));
    let named = |name: &str| whole("iamInstanceProfile", &name.into());
    let reserved: Vec<Value> = rayward::validate::RESERVED_PARAMS
        .iter()
        .map(|name| flag(name, "1"))
        .collect();
    vec![
        create(
            params,
            "write flags of ray start",
            &json!([
                flag("--num-cpus", "0"),
                flag("num_cpus", "0"),
                flag("a;b", ""),
                flag("", "a")
            ]),
            &json!([
                flag("num-cpus", "0"),
                flag("resources", "{\"my disk\": 1, \"it's\": 2}"),
                flag("disable-usage-stats", "")
            ]),
        ),
        create(
            params,
            "leave out head, address",
            &reserved.into(),
            &json!([flag("labels-file", "/a")]),
        ),
        create(
            params,
            "write values without control characters",
            &json!([flag("temp-dir", "a\rb")]),
            &json!([flag("temp-dir", "/a b\n$HOME")]),
        ),
        create(
            params,
            "write at most 512 bytes",
            &json!([flag("temp-dir", &"ü".repeat(251))]),
            &json!([flag("temp-dir", &"ü".repeat(250))]),
        ),
        create(
            profile,
            "write the name of an instance profile",
            &json!([
                named("arn:aws:iam::123456789012:instance-profile/lab"),
                named("my profile"),
                named("")
            ]),
            &json!([named("lab_buckets+1=a,b.c@d-e")]),
        ),
    ]
}
