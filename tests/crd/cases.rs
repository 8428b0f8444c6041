//! The table: each rule with what it refuses and what it lets through.

use serde_json::{Value, json};

use super::manifest;

/// A rule and manifests on both of its sides.
pub(super) struct Case {
    /// Path of the field on which the rule stands.
    pub(super) at: &'static str,
    /// How its message begins.
    pub(super) says: &'static str,
    /// The object that is there already, for rules that compare with it.
    pub(super) before: Option<Value>,
    pub(super) refused: Vec<Value>,
    pub(super) allowed: Vec<Value>,
}

/// A rule on new objects. `refused` and `allowed` are lists of specs, without the region.
fn create(at: &'static str, says: &'static str, refused: &Value, allowed: &Value) -> Case {
    Case {
        at,
        says,
        before: None,
        refused: manifests(refused),
        allowed: manifests(allowed),
    }
}

/// A rule on what `before` becomes.
fn update(at: &'static str, says: &'static str, before: &Value, refused: &Value, allowed: &Value) -> Case {
    Case {
        before: Some(manifest(before)),
        ..create(at, says, refused, allowed)
    }
}

fn manifests(specs: &Value) -> Vec<Value> {
    specs
        .as_array()
        .expect("a list of specs")
        .iter()
        .map(manifest)
        .collect()
}

fn named(names: &[&str]) -> Vec<Value> {
    let called = |name: &&str| {
        let mut manifest = manifest(&json!({}));
        manifest["metadata"]["name"] = (*name).into();
        manifest
    };
    names.iter().map(called).collect()
}

/// All of them.
pub(super) fn cases() -> Vec<Case> {
    [
        cluster(),
        network(),
        placement(),
        network_updates(),
        addresses(),
        ingress(),
        existing(),
        machines(),
        disks(),
        buckets(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn cluster() -> Vec<Case> {
    let (long, longest) = ("x".repeat(51), "x".repeat(50));
    vec![
        Case {
            at: "",
            says: "write a name of at most 50",
            before: None,
            refused: named(&["with.dot", &long]),
            allowed: named(&["lab-2", &longest]),
        },
        create(
            "spec.region",
            "write the code of an AWS region",
            &json!([{"region": "Singapore"}, {"region": "ap-southeast-1a"}, {"region": ""}]),
            &json!([{"region": "us-gov-west-1"}, {"region": "eu-central-2"}]),
        ),
        update(
            "spec.region",
            "the region cannot change",
            &json!({}),
            &json!([{"region": "eu-west-1"}]),
            &json!([{"suspend": true}]),
        ),
        create(
            "spec.tags",
            "write tag keys of 1 to 128",
            &json!([
                {"tags": {"team;": "a"}},
                {"tags": {"k".repeat(129): "a"}},
                {"tags": {"": "a"}},
                {"tags": {"\u{a0} ": "a"}},
            ]),
            &json!([{"tags": {"cost center/Zürich": "a"}}, {"tags": {"k".repeat(128): "a"}}]),
        ),
        create(
            "spec.tags",
            "write tag values of",
            &json!([{"tags": {"team": "a;b"}}]),
            &json!([{"tags": {"team": "data + science", "empty": ""}}]),
        ),
        create(
            "spec.tags",
            "write other tag keys",
            &json!([{"tags": {"Name": "a"}}, {"tags": {"rayward.dev/role": "head"}}, {"tags": {"AWS:x": "a"}}]),
            &json!([{"tags": {"name": "a", "example.com/rayward.dev/x": "a"}}]),
        ),
    ]
}

fn network() -> Vec<Case> {
    let two = |first: &str, second: &str| {
        let subnets = [
            &json!({"name": "a", "cidr": first}),
            &json!({"name": "b", "cidr": second}),
        ];
        json!({"network": {"subnets": subnets}})
    };
    let zone =
        |zone: &str| json!({"network": {"subnets": [{"name": "a", "cidr": "10.0.1.0/24", "availabilityZone": zone}]}});
    vec![
        create(
            "spec.network",
            "write subnets whose cidr lies inside",
            &json!([
                {"network": {"subnets": [{"name": "a", "cidr": "10.1.0.0/24"}]}},
                {"network": {"vpcCidr": "10.0.0.0/24", "subnets": [{"name": "a", "cidr": "10.0.0.0/23"}]}},
            ]),
            &json!([
                {"network": {"subnets": [{"name": "a", "cidr": "10.0.0.0/16"}]}},
                {"network": {"vpcCidr": "172.16.0.0/20", "subnets": [{"name": "a", "cidr": "172.16.15.0/24"}]}},
            ]),
        ),
        create(
            "spec.network",
            "write subnets too",
            &json!([{"network": {"vpcCidr": "10.9.0.0/16"}}]),
            &json!([{"network": {"vpcCidr": "10.0.0.0/20"}}]),
        ),
        create(
            "spec.network",
            "write subnets that have no address in common",
            &json!([
                two("10.0.1.0/24", "10.0.1.0/24"),
                two("10.0.0.0/20", "10.0.1.0/24"),
                two("10.0.1.0/28", "10.0.0.0/20")
            ]),
            &json!([two("10.0.1.0/24", "10.0.2.0/24")]),
        ),
        create(
            "spec.network.subnets[].name",
            "write lower-case letters",
            &json!([{"network": {"subnets": [{"name": "A_1", "cidr": "10.0.1.0/24"}]}, "head": {"subnet": "A_1"}}]),
            &json!([{"network": {"subnets": [{"name": "a-1", "cidr": "10.0.1.0/24"}]}, "head": {"subnet": "a-1"}}]),
        ),
        create(
            "spec",
            "write an availabilityZone of the cluster's region",
            &json!([
                zone("eu-west-1a"),
                zone("ap-southeast-1"),
                zone("ap-southeast-12a"),
                zone("ap-southeast-1A")
            ]),
            &json!([zone("ap-southeast-1a"), zone("ap-southeast-1-bkk-1a")]),
        ),
    ]
}

/// Which machines are in which subnets.
fn placement() -> Vec<Case> {
    let existing = json!({"existing": {"vpcId": "vpc-01234567", "subnetIds": ["subnet-01234567"]}});
    let way_out = |head: &Value| {
        let subnets = json!([
            {"name": "private", "cidr": "10.0.1.0/24", "public": false},
            {"name": "public", "cidr": "10.0.2.0/24"},
        ]);
        json!({"network": {"subnets": subnets}, "head": head})
    };
    vec![
        create(
            "spec",
            "write a head.subnet that is the name",
            &json!([
                {"head": {"subnet": "b"}},
                {"network": {"subnets": [{"name": "b", "cidr": "10.0.1.0/24"}]}, "head": {"subnet": "a"}},
                {"network": existing, "head": {"subnet": "a"}},
            ]),
            &json!([
                {"head": {"subnet": "a"}},
                {"network": {"subnets": [{"name": "b", "cidr": "10.0.1.0/24"}]}, "head": {"subnet": "b"}},
                {
                    "network": existing,
                    "head": {"subnet": "subnet-01234567"},
                },
            ]),
        ),
        create(
            "spec",
            "write workerGroups[].subnets that are",
            &json!([
                {"workerGroups": [{"name": "cpu", "subnets": ["a", "b"]}]},
                {
                    "network": existing,
                    "workerGroups": [{"name": "cpu", "subnets": ["a"]}],
                },
            ]),
            &json!([{"workerGroups": [{"name": "cpu", "subnets": ["a"]}]}]),
        ),
        create(
            "spec.workerGroups[].subnets",
            "write each subnet once",
            &json!([{"workerGroups": [{"name": "cpu", "subnets": ["a", "a"]}]}]),
            &json!([{"workerGroups": [{"name": "cpu", "subnets": ["a"]}, {"name": "gpu", "subnets": ["a"]}]}]),
        ),
        create(
            "spec",
            "write a head.subnet that is public",
            &json!([
                way_out(&json!({"publicAddress": "Elastic"})),
                way_out(&json!({"publicAddress": "Elastic", "subnet": "private"})),
            ]),
            &json!([
                way_out(&json!({"publicAddress": "Elastic", "subnet": "public"})),
                way_out(&json!({"publicAddress": "None"})),
                {"head": {"publicAddress": "Elastic"}},
                {"network": existing, "head": {"publicAddress": "Elastic"}},
            ]),
        ),
    ]
}

fn network_updates() -> Vec<Case> {
    let subnets = |subnets: Value| json!({"network": {"subnets": subnets}});
    let (a, b) = (
        json!({"name": "a", "cidr": "10.0.1.0/24"}),
        json!({"name": "b", "cidr": "10.0.2.0/24"}),
    );
    let (first, second) = ("vpc-01234567", "vpc-89abcdef");
    let existing = |vpc: &str| json!({"network": {"existing": {"vpcId": vpc, "subnetIds": ["subnet-01234567"]}}});
    vec![
        update(
            "spec.network",
            "vpcCidr cannot change",
            &json!({"network": {"vpcCidr": "10.0.0.0/20"}}),
            &json!([{"network": {"vpcCidr": "10.0.0.0/21"}}, {}]),
            &json!([{"network": {"vpcCidr": "10.0.0.0/20", "adminCidrs": ["203.0.113.0/24"]}}]),
        ),
        update(
            "spec.network",
            "vpcCidr cannot change",
            &json!({}),
            &json!([{"network": {"vpcCidr": "10.0.0.0/20"}}]),
            &json!([{"network": {"vpcCidr": "10.0.0.0/16"}}]),
        ),
        update(
            "spec.network",
            "existing cannot be added",
            &existing(first),
            &json!([existing(second), {}]),
            &json!([{"network": existing(first)["network"], "suspend": true}]),
        ),
        update(
            "spec.network",
            "existing cannot be added",
            &json!({}),
            &json!([existing(first)]),
            &json!([{"suspend": true}]),
        ),
        update(
            "spec.network",
            "subnets can only be added",
            &subnets(json!([a, b])),
            &json!([subnets(json!([a])), subnets(json!([b])), {}]),
            &json!([
                subnets(json!([a, b, {"name": "c", "cidr": "10.0.3.0/24"}])),
                subnets(json!([b, a]))
            ]),
        ),
        update(
            "spec.network",
            "subnets can only be added",
            &subnets(json!([a])),
            &json!([subnets(json!([b]))]),
            // What is left out says the same.
            &json!([{}, {"network": {"vpcCidr": "10.0.0.0/16"}}]),
        ),
        update(
            "spec.network",
            "subnets can only be added",
            &json!({}),
            &json!([
                subnets(json!([b])),
                subnets(json!([{"name": "a", "cidr": "10.0.1.0/24", "public": false}]))
            ]),
            &json!([subnets(json!([a])), subnets(json!([a, b]))]),
        ),
        update(
            "spec.network.subnets[]",
            "a subnet cannot change",
            &subnets(json!([a])),
            &json!([
                subnets(json!([{"name": "a", "cidr": "10.0.2.0/24"}])),
                subnets(json!([{"name": "a", "cidr": "10.0.1.0/24", "public": false}])),
                subnets(json!([{"name": "a", "cidr": "10.0.1.0/24", "availabilityZone": "ap-southeast-1a"}])),
            ]),
            &json!([subnets(json!([{"name": "a", "cidr": "10.0.1.0/24", "public": true}]))]),
        ),
    ]
}

fn addresses() -> Vec<Case> {
    let vpc = |cidr: &str| json!({"network": {"vpcCidr": cidr}});
    let vpc_of =
        |vpc: &str, subnet: &str| json!({"network": {"vpcCidr": vpc, "subnets": [{"name": "a", "cidr": subnet}]}});
    let subnet = |cidr: &str| json!({"network": {"subnets": [{"name": "a", "cidr": cidr}]}});
    vec![
        create(
            "spec.network.vpcCidr",
            "write an IPv4 range",
            &json!([
                vpc("10.0.0.0"),
                vpc("10.0.0.0/33"),
                vpc("fd00::/20"),
                vpc("010.0.0.0/16")
            ]),
            &json!([vpc("10.0.0.0/18")]),
        ),
        create(
            "spec.network.vpcCidr",
            "write the range in canonical form",
            &json!([vpc("10.0.0.1/16")]),
            &json!([vpc("10.0.0.0/17")]),
        ),
        create(
            "spec.network.vpcCidr",
            "write a range from /16 to /28",
            &json!([vpc("10.0.0.0/15")]),
            &json!([
                vpc("10.0.0.0/16"),
                {"network": {"vpcCidr": "10.0.0.0/28", "subnets": [{"name": "a", "cidr": "10.0.0.0/28"}]}},
            ]),
        ),
        create(
            "spec.network.vpcCidr",
            "write another range",
            &json!([
                vpc_of("0.9.0.0/16", "0.9.0.0/24"),
                vpc_of("127.0.0.0/16", "127.0.0.0/24"),
                vpc_of("169.254.0.0/20", "169.254.0.0/24"),
                vpc_of("239.255.0.0/16", "239.255.0.0/24"),
            ]),
            &json!([
                vpc_of("100.64.0.0/16", "100.64.0.0/24"),
                vpc_of("169.253.0.0/16", "169.253.0.0/24")
            ]),
        ),
        create(
            "spec.network.subnets[].cidr",
            "write an IPv4 range",
            &json!([subnet("10.0.1.0-24"), subnet("fd00::/20")]),
            &json!([subnet("10.0.1.0/25")]),
        ),
        create(
            "spec.network.subnets[].cidr",
            "write the range in canonical form",
            &json!([subnet("10.0.1.7/24")]),
            &json!([subnet("10.0.1.0/24")]),
        ),
        create(
            "spec.network.subnets[].cidr",
            "write a range from /16 to /28",
            &json!([subnet("10.0.1.0/29")]),
            &json!([subnet("10.0.1.0/28")]),
        ),
    ]
}

fn ingress() -> Vec<Case> {
    let admin = |cidrs: Value| json!({"network": {"adminCidrs": cidrs}});
    let ingress = |cidrs: Value| json!({"network": {"ingress": [{"ports": "80", "cidrs": cidrs}]}});
    let ports = |ports: &str| json!({"network": {"ingress": [{"ports": ports, "cidrs": ["203.0.113.0/24"]}]}});
    vec![
        create(
            "spec.network.adminCidrs",
            "write IPv4 ranges",
            &json!([admin(json!(["203.0.113.7"])), admin(json!(["203.0.113.0/24", "::/0"]))]),
            &json!([admin(json!(["203.0.113.7/32", "0.0.0.0/0"]))]),
        ),
        create(
            "spec.network.adminCidrs",
            "write ranges in canonical form",
            &json!([admin(json!(["203.0.113.7/24"]))]),
            &json!([admin(json!(["203.0.113.0/24"]))]),
        ),
        create(
            "spec.network.ingress[].cidrs",
            "write IPv4 ranges",
            &json!([ingress(json!(["everywhere"]))]),
            &json!([ingress(json!(["0.0.0.0/0"]))]),
        ),
        create(
            "spec.network.ingress[].cidrs",
            "write ranges in canonical form",
            &json!([ingress(json!(["10.0.0.0/8", "10.1.0.0/8"]))]),
            &json!([ingress(json!(["10.0.0.0/8"]))]),
        ),
        create(
            "spec.network.ingress[].ports",
            "write one port",
            &json!([
                ports("http"),
                ports("0"),
                ports("080"),
                ports("65536"),
                ports("1-"),
                ports("1-70000"),
                ports("1-2-3")
            ]),
            &json!([ports("8265"), ports("1024-65535"), ports("80-80")]),
        ),
        create(
            "spec.network.ingress[].ports",
            "write the lower port",
            &json!([ports("6382-6379")]),
            &json!([ports("6379-6382")]),
        ),
    ]
}

fn existing() -> Vec<Case> {
    let (vpc, subnet, group) = (
        "vpc-0123456789abcdef0",
        "subnet-0123456789abcdef0",
        "sg-0123456789abcdef0",
    );
    let with = |name: &str, value: Value| {
        let mut existing = json!({"vpcId": vpc, "subnetIds": [subnet]});
        existing[name] = value;
        json!({"network": {"existing": existing}})
    };
    let beside = |name: &str, value: Value, groups: Value| {
        let mut network = with("securityGroupIds", groups)["network"].clone();
        network[name] = value;
        json!({"network": network})
    };
    vec![
        create(
            "spec.network",
            "write either existing",
            &json!([
                beside("vpcCidr", json!("10.0.0.0/16"), json!([])),
                beside("subnets", json!([{"name": "a", "cidr": "10.0.1.0/24"}]), json!([])),
            ]),
            &json!([with("vpcId", json!(vpc))]),
        ),
        create(
            "spec.network",
            "leave out ingress and adminCidrs",
            &json!([
                beside("adminCidrs", json!(["203.0.113.0/24"]), json!([group])),
                beside(
                    "ingress",
                    json!([{"ports": "80", "cidrs": ["203.0.113.0/24"]}]),
                    json!([group])
                ),
            ]),
            &json!([
                with("securityGroupIds", json!([group])),
                beside("adminCidrs", json!([]), json!([group])),
                beside("adminCidrs", json!(["203.0.113.0/24"]), json!([])),
            ]),
        ),
        create(
            "spec.network.existing.vpcId",
            "write the id of a VPC",
            &json!([with("vpcId", json!("my-vpc"))]),
            &json!([with("vpcId", json!("vpc-01234567"))]),
        ),
        create(
            "spec.network.existing.subnetIds",
            "write ids of subnets",
            &json!([with("subnetIds", json!([subnet, "subnet-x"]))]),
            &json!([with("subnetIds", json!([subnet, "subnet-01234567"]))]),
        ),
        create(
            "spec.network.existing.securityGroupIds",
            "write ids of security groups",
            &json!([with("securityGroupIds", json!(["default"]))]),
            &json!([with("securityGroupIds", json!([group]))]),
        ),
        create(
            "spec.network.existing.subnetIds",
            "write each id once",
            &json!([with("subnetIds", json!([subnet, subnet]))]),
            &json!([with("subnetIds", json!([subnet, "subnet-01234567"]))]),
        ),
        create(
            "spec.network.existing.securityGroupIds",
            "write each id once",
            &json!([with("securityGroupIds", json!([group, "sg-01234567", group]))]),
            &json!([with("securityGroupIds", json!([group, "sg-01234567"]))]),
        ),
    ]
}

/// A spec that says this of its head.
fn head(name: &str, value: impl Into<Value>) -> Value {
    json!({"head": one(name, value)})
}

/// A spec with a group of which it says this.
fn group(name: &str, value: impl Into<Value>) -> Value {
    let mut group = one(name, value);
    if name != "name" {
        group["name"] = "cpu".into();
    }
    json!({"workerGroups": [group]})
}

fn disk(size: i32, kind: &str) -> Value {
    json!({"sizeGiB": size, "type": kind})
}

fn one(name: &str, value: impl Into<Value>) -> Value {
    Value::Object([(name.to_owned(), value.into())].into_iter().collect())
}

fn machines() -> Vec<Case> {
    let key = |name: &str| json!({"keyPair": {"name": name}});
    let image = |name: &str, value: &str| head("image", one(name, value));
    vec![
        create(
            "spec.keyPair.name",
            "write the name of an EC2 key pair",
            &json!([key(""), key(" laptop"), key("schlüssel")]),
            &json!([key("my laptop"), key("k")]),
        ),
        create(
            "spec.head.instanceType",
            "write an EC2 instance type",
            &json!([
                head("instanceType", json!("medium")),
                head("instanceType", json!("T2.medium"))
            ]),
            &json!([
                head("instanceType", json!("m7i-flex.large")),
                head("instanceType", json!("u-6tb1.metal"))
            ]),
        ),
        create(
            "spec.head.image",
            "write either id or ssmParameter",
            &json!([head(
                "image",
                json!({"id": "ami-01234567", "ssmParameter": "/my/image"})
            )]),
            &json!([head("image", json!({}))]),
        ),
        create(
            "spec.head.image.id",
            "write the id of an image",
            &json!([image("id", "ubuntu"), image("id", "ami-xyz")]),
            &json!([image("id", "ami-003c463c8207b4dfa")]),
        ),
        create(
            "spec.head.image.ssmParameter",
            "write the name of an SSM parameter",
            &json!([image("ssmParameter", "/my image"), image("ssmParameter", "")]),
            &json!([image(
                "ssmParameter",
                "/aws/service/canonical/ubuntu/server/24.04/stable/current/amd64/hvm/ebs-gp3/ami-id"
            )]),
        ),
        create(
            "spec.workerGroups",
            "write at most 1000 replicas",
            &json!([{"workerGroups": [{"name": "a", "replicas": 1000}, {"name": "b", "replicas": 1}]}]),
            &json!([{"workerGroups": [{"name": "a", "replicas": 999}, {"name": "b", "replicas": 1}]}]),
        ),
        create(
            "spec.workerGroups[].name",
            "write lower-case letters",
            &json!([
                group("name", json!("GPU")),
                group("name", json!("-")),
                group("name", json!(""))
            ]),
            &json!([{"workerGroups": [{"name": "gpu-8"}]}]),
        ),
        create(
            "spec.workerGroups[].instanceTypes",
            "write EC2 instance types",
            &json!([group("instanceTypes", json!(["t2.medium", "large"]))]),
            &json!([group("instanceTypes", json!(["t2.medium", "c7g.2xlarge"]))]),
        ),
    ]
}

fn disks() -> Vec<Case> {
    vec![
        create(
            "spec.head.rootVolume",
            "write a sizeGiB of at least 8",
            &json!([head("rootVolume", disk(7, "gp3"))]),
            &json!([head("rootVolume", disk(8, "gp3"))]),
        ),
        create(
            "spec.head.rootVolume",
            "write a sizeGiB of at most",
            &json!([
                head("rootVolume", disk(65_537, "gp3")),
                head("rootVolume", disk(16_385, "gp2"))
            ]),
            &json!([
                head("rootVolume", disk(65_536, "gp3")),
                head("rootVolume", disk(16_384, "gp2"))
            ]),
        ),
        create(
            "spec.workerGroups[].rootVolume",
            "write a sizeGiB of at least 8",
            &json!([group("rootVolume", disk(0, "gp2"))]),
            &json!([group("rootVolume", disk(8, "gp2"))]),
        ),
        create(
            "spec.workerGroups[].rootVolume",
            "write a sizeGiB of at most",
            &json!([group("rootVolume", disk(16_385, "gp2"))]),
            &json!([group("rootVolume", disk(16_385, "gp3"))]),
        ),
    ]
}

fn buckets() -> Vec<Case> {
    let bucket = |name: &str| json!({"buckets": [{"purpose": "raw", "name": name}]});
    let longest = "b".repeat(63);
    vec![
        create(
            "spec.buckets[].purpose",
            "write lower-case letters",
            &json!([{"buckets": [{"purpose": "Raw Data"}]}, {"buckets": [{"purpose": "raw-"}]}]),
            &json!([{"buckets": [{"purpose": "raw-data"}]}, {"buckets": []}]),
        ),
        create(
            "spec.buckets[].name",
            "write a bucket name of 3 to 63",
            &json!([
                bucket("ab"),
                bucket("Data"),
                bucket("data_1"),
                bucket("data-"),
                bucket("my..data")
            ]),
            &json!([bucket("my.data-1"), bucket(&longest)]),
        ),
        create(
            "spec.buckets[].name",
            "write a bucket name that does not look like",
            &json!([bucket("192.168.5.4")]),
            &json!([bucket("192.168.5")]),
        ),
        create(
            "spec.buckets[].name",
            "write a bucket name without a beginning",
            &json!([
                bucket("xn--data"),
                bucket("sthree-data"),
                bucket("data-s3alias"),
                bucket("data--ol-s3"),
                bucket("data.mrap")
            ]),
            &json!([bucket("data-xn--1"), bucket("s3alias-data"), bucket("datamrap")]),
        ),
        create(
            "spec.buckets",
            "write each bucket name once",
            &json!([{"buckets": [{"purpose": "a", "name": "same"}, {"purpose": "b", "name": "same"}]}]),
            &json!([{"buckets": [{"purpose": "a", "name": "one"}, {"purpose": "b"}, {"purpose": "c"}]}]),
        ),
        update(
            "spec.buckets[]",
            "the name of a bucket cannot",
            &bucket("data-1"),
            &json!([bucket("data-2"), {"buckets": [{"purpose": "raw"}]}]),
            &json!([
                {"buckets": [{"purpose": "raw", "name": "data-1"}, {"purpose": "more", "name": "data-2"}]},
                {"buckets": [{"purpose": "more"}]},
            ]),
        ),
        update(
            "spec.buckets[]",
            "the name of a bucket cannot",
            &json!({"buckets": [{"purpose": "raw"}]}),
            &json!([bucket("data-1")]),
            &json!([{"buckets": [{"purpose": "raw"}]}]),
        ),
    ]
}
