//! The lab: `kubectl apply` of the example ends in exactly what it says, and in nothing else.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use aws_sdk_ec2::types as ec2;
use aws_sdk_s3::types as s3;
use k8s_openapi::api::core::v1::Secret;
use kube::{Api, ResourceExt};
use rayward::api::RayCluster;
use serde_json::json;

use crate::support::account::{LAB, machines};
use crate::support::cluster::condition;
use crate::support::scene::Scene;
use crate::support::stand_in::{Call, REGION};
use crate::support::sweeps::{is_of_sweep, sweeps};
use crate::support::wait::{PATIENCE, until};

/// What the example opens to the range of documentation, and the group to itself.
const INGRESS: [&str; 6] = [
    "-1 itself",
    "tcp 1024-65535 203.0.113.0/24",
    "tcp 22-22 203.0.113.0/24",
    "tcp 443-443 203.0.113.0/24",
    "tcp 6379-6382 203.0.113.0/24",
    "tcp 80-80 203.0.113.0/24",
];

/// A cluster with as little as possible: what a test of the network needs.
const SMALL: &str = "
apiVersion: rayward.dev/v1alpha1
kind: RayCluster
metadata: {name: small}
spec: {region: ap-southeast-1, buckets: []}
";

#[tokio::test]
async fn kubectl_apply_of_the_example_makes_exactly_the_lab() {
    let scene = Scene::start().await;
    scene.kubectl(&["apply", "-f", "deploy/examples/lab.yaml"]);
    scene.kubectl(&["wait", "--for=condition=Ready", "rwc/lab", "--timeout=60s"]);
    let lab = scene.space.cluster("lab").await;

    let made = scene.made().await;
    let counts: BTreeMap<&str, usize> = made.iter().map(|(kind, ids)| (*kind, ids.len())).collect();
    assert_eq!(counts, LAB.into(), "{made:?}");
    the_network_is_as_asked_for(&scene, &lab).await;
    the_machines_are_as_asked_for(&scene, &lab).await;
    the_buckets_are_as_asked_for(&scene, &lab).await;
    the_status_tells_what_there_is(&scene, &lab).await;

    let changes = scene.aws.changes();
    assert!(changes.len() <= 45, "{} changing calls", changes.len());
    assert!(changes.iter().all(|call| call.error.is_none()), "{changes:?}");
    let launches = changes.iter().filter(|call| call.action == "RunInstances");
    assert_eq!(launches.clone().count(), 2, "one for the head, one for the group");
    for launch in launches {
        let disk = &launch.params["BlockDeviceMappings"][0]["Ebs"];
        assert_eq!(
            disk["DeleteOnTermination"], true,
            "a disk goes with its machine: {disk}"
        );
    }
    each_change_is_told(&scene, &changes).await;
    the_key_stays_in_its_secret(&scene, &lab).await;
}

async fn the_network_is_as_asked_for(scene: &Scene, lab: &RayCluster) {
    let client = scene.aws.ec2();
    let network = lab.status.as_ref().and_then(|status| status.network.clone());
    let network = network.expect("the status tells of the network");
    let vpc_id = network.vpc_id.expect("a VPC");

    let vpc = client.describe_vpcs().vpc_ids(&vpc_id).send().await.expect("the VPC");
    let vpc = &vpc.vpcs()[0];
    assert_eq!(vpc.cidr_block(), Some("10.0.0.0/16"));
    tagged(lab, "vpc", None, vpc.tags());
    for name in [
        ec2::VpcAttributeName::EnableDnsSupport,
        ec2::VpcAttributeName::EnableDnsHostnames,
    ] {
        let request = client.describe_vpc_attribute().vpc_id(&vpc_id).attribute(name.clone());
        let answer = request.send().await.expect("an attribute");
        let value = answer.enable_dns_support.or(answer.enable_dns_hostnames);
        assert_eq!(value.and_then(|value| value.value), Some(true), "{name}");
    }

    let gateway_id = network.internet_gateway_id.expect("a gateway");
    let gateway = client.describe_internet_gateways().internet_gateway_ids(&gateway_id);
    let gateway = gateway.send().await.expect("the gateway");
    let gateway = &gateway.internet_gateways()[0];
    assert_eq!(gateway.attachments()[0].vpc_id(), Some(vpc_id.as_str()));
    tagged(lab, "internet-gateway", None, gateway.tags());

    assert_eq!((network.subnets.len(), network.subnets[0].name.as_str()), (1, "a"));
    let subnet_id = &network.subnets[0].id;
    let subnet = client.describe_subnets().subnet_ids(subnet_id).send().await;
    let subnet = subnet.expect("the subnet");
    let subnet = &subnet.subnets()[0];
    assert_eq!(subnet.vpc_id(), Some(vpc_id.as_str()));
    assert_eq!(subnet.cidr_block(), Some("10.0.1.0/24"));
    assert_eq!(subnet.map_public_ip_on_launch(), Some(true));
    assert_eq!(
        subnet.availability_zone(),
        network.subnets[0].availability_zone.as_deref()
    );
    tagged(lab, "subnet", Some("a"), subnet.tags());

    let table_id = network.route_table_id.expect("a route table");
    let table = client.describe_route_tables().route_table_ids(&table_id).send().await;
    let table = table.expect("the route table");
    let table = &table.route_tables()[0];
    let routes: BTreeSet<_> = table
        .routes()
        .iter()
        .map(|route| (route.destination_cidr_block(), route.gateway_id()))
        .collect();
    let wanted = [
        (Some("0.0.0.0/0"), Some(gateway_id.as_str())),
        (Some("10.0.0.0/16"), Some("local")),
    ];
    assert_eq!(routes, wanted.into());
    let associations: Vec<_> = table
        .associations()
        .iter()
        .map(ec2::RouteTableAssociation::subnet_id)
        .collect();
    assert_eq!(associations, [Some(subnet_id.as_str())]);
    tagged(lab, "route-table", None, table.tags());

    assert_eq!(network.security_group_ids.len(), 1);
    let group = the_group(scene, &network.security_group_ids[0]).await;
    assert_eq!(group.vpc_id(), Some(vpc_id.as_str()));
    assert_eq!(rules(&group, group.ip_permissions()), INGRESS);
    assert_eq!(rules(&group, group.ip_permissions_egress()), ["-1 0.0.0.0/0"]);
    tagged(lab, "security-group", None, group.tags());
}

async fn the_machines_are_as_asked_for(scene: &Scene, lab: &RayCluster) {
    let status = lab.status.as_ref().expect("a status");
    let network = status.network.as_ref().expect("a network");
    let key_pairs = scene.aws.ec2().describe_key_pairs().send().await.expect("key pairs");
    let key_pair = &key_pairs.key_pairs()[0];
    tagged(lab, "key-pair", None, key_pair.tags());

    let machines = machines(&scene.aws).await;
    let mut roles: Vec<&str> = Vec::new();
    for machine in &machines {
        let id = machine.instance_id().expect("an id");
        assert_eq!(machine.instance_type(), Some(&ec2::InstanceType::T2Medium), "{id}");
        assert_eq!(machine.image_id(), Some("ami-003c463c8207b4dfa"), "{id}");
        assert_eq!(machine.key_name(), key_pair.key_name(), "{id}");
        assert_eq!(machine.subnet_id(), Some(network.subnets[0].id.as_str()), "{id}");
        let groups = machine
            .security_groups()
            .iter()
            .filter_map(ec2::GroupIdentifier::group_id);
        assert_eq!(groups.collect::<Vec<_>>(), network.security_group_ids, "{id}");
        assert!(machine.public_ip_address().is_some(), "{id}");
        let metadata = machine.metadata_options().expect("metadata options");
        assert_eq!(metadata.http_tokens(), Some(&ec2::HttpTokensState::Required), "{id}");
        assert_eq!(metadata.http_put_response_hop_limit(), Some(1), "{id}");
        assert_eq!(
            metadata.instance_metadata_tags(),
            Some(&ec2::InstanceMetadataTagsState::Disabled),
            "{id}"
        );
        let role = machine.tags().iter().find(|tag| tag.key() == Some("rayward.dev/role"));
        let role = role.and_then(ec2::Tag::value).expect("a role");
        tagged(lab, role, (role == "worker").then_some("cpu"), machine.tags());
        roles.push(role);
    }
    roles.sort_unstable();
    assert_eq!(roles, ["head", "worker", "worker"]);

    let volumes = scene.aws.ec2().describe_volumes().send().await.expect("volumes");
    for volume in volumes.volumes() {
        assert_eq!(volume.size(), Some(100));
        assert_eq!(volume.volume_type(), Some(&ec2::VolumeType::Gp3));
        assert_eq!(volume.encrypted(), Some(true));
        let holder = volume.attachments()[0].instance_id();
        let machine = machines.iter().find(|machine| machine.instance_id() == holder);
        let machine = machine.expect("a machine of the lab");
        let disks = machine.block_device_mappings();
        let disk = disks[0].ebs().expect("a disk");
        assert_eq!((disks.len(), disk.volume_id()), (1, volume.volume_id()));
        assert_eq!(
            pairs(volume.tags()),
            pairs(machine.tags()),
            "a disk carries the tags of its machine"
        );
    }
    let interfaces = scene.aws.ec2().describe_network_interfaces().send().await;
    for interface in interfaces.expect("interfaces").network_interfaces() {
        let tags = pairs(interface.tag_set());
        assert_eq!(tags.get("rayward.dev/cluster-uid"), lab.metadata.uid.as_ref());
    }
}

async fn the_buckets_are_as_asked_for(scene: &Scene, lab: &RayCluster) {
    let client = scene.aws.s3();
    let buckets = &lab.status.as_ref().expect("a status").buckets;
    let purposes: Vec<&str> = buckets.iter().map(|bucket| bucket.purpose.as_str()).collect();
    assert_eq!(purposes, ["raw", "features", "training", "models"]);
    for bucket in buckets {
        let name = bucket.name.as_str();
        assert!(bucket.ready, "{name}");
        let location = client
            .get_bucket_location()
            .bucket(name)
            .send()
            .await
            .expect("a location");
        assert_eq!(
            location.location_constraint().map(s3::BucketLocationConstraint::as_str),
            Some(REGION)
        );
        let versioning = client.get_bucket_versioning().bucket(name).send().await;
        let versioning = versioning.expect("versioning");
        assert_eq!(
            versioning.status(),
            Some(&s3::BucketVersioningStatus::Enabled),
            "{name}"
        );
        let encryption = client.get_bucket_encryption().bucket(name).send().await;
        let encryption = encryption.expect("encryption").server_side_encryption_configuration;
        let rules = encryption.expect("a configuration").rules;
        let by_default = rules[0].apply_server_side_encryption_by_default();
        let by_default = by_default.expect("a default");
        assert_eq!(by_default.sse_algorithm(), &s3::ServerSideEncryption::Aes256, "{name}");
        let block = client.get_public_access_block().bucket(name).send().await;
        let block = block.expect("a block").public_access_block_configuration;
        let all = s3::PublicAccessBlockConfiguration::builder()
            .block_public_acls(true)
            .ignore_public_acls(true)
            .block_public_policy(true)
            .restrict_public_buckets(true);
        assert_eq!(block, Some(all.build()), "{name}");
        let grants = client.get_bucket_acl().bucket(name).send().await.expect("an ACL");
        let grantees: Vec<_> = grants.grants().iter().filter_map(s3::Grant::grantee).collect();
        assert!(
            grantees.iter().all(|grantee| grantee.uri().is_none()),
            "{name}: {grantees:?}"
        );
        assert!(client.get_bucket_policy().bucket(name).send().await.is_err(), "{name}");
        let tags = crate::support::account::bucket_tags(&scene.aws, name).await;
        are_ours(lab, "bucket", Some(&bucket.purpose), &tags);
    }
}

/// What the lab prints at its end, and what `kubectl` and others go by.
async fn the_status_tells_what_there_is(scene: &Scene, lab: &RayCluster) {
    let status = lab.status.as_ref().expect("a status");
    let machines = machines(&scene.aws).await;
    let by_id = |id: &str| machines.iter().find(|machine| machine.instance_id() == Some(id));
    let head = status.head.as_ref().expect("a head");
    let machine = by_id(head.instance_id.as_deref().expect("an id")).expect("the head");
    assert!(head.private_address.is_some() && head.public_address.is_some());
    assert_eq!(head.private_address.as_deref(), machine.private_ip_address());
    assert_eq!(head.public_address.as_deref(), machine.public_ip_address());
    assert_eq!(head.address, head.public_address);
    assert_eq!(head.state.as_deref(), Some("running"));

    let group = &status.worker_groups[0];
    assert_eq!((group.name.as_str(), group.desired, group.running), ("cpu", 2, 2));
    assert_eq!(group.machines.len(), 2);
    for worker in &group.machines {
        let machine = by_id(&worker.instance_id).expect("a worker");
        assert!(worker.private_address.is_some());
        assert_eq!(worker.private_address.as_deref(), machine.private_ip_address());
    }

    assert_eq!(status.observed_generation, lab.metadata.generation);
    for condition in &status.conditions {
        assert_eq!(
            condition.observed_generation, lab.metadata.generation,
            "{}",
            condition.type_
        );
    }
    for good in [
        "Ready",
        "NetworkReady",
        "HeadReady",
        "WorkersReady",
        "BucketsReady",
        "UpToDate",
    ] {
        let status = condition(lab, good).map(|condition| condition.status.as_str());
        assert_eq!(status, Some("True"), "{good}");
    }
    for absent in ["Reconciling", "Stalled", "Drifted", "Suspended", "DeletionBlocked"] {
        assert_eq!(condition(lab, absent), None);
    }

    let table = scene.kubectl(&["get", "rwc"]);
    let mut lines = table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let columns = ["NAME", "PHASE", "HEAD", "WORKERS", "READY", "REASON", "AGE"];
    assert_eq!(lines.next().expect("a heading"), columns);
    let row = lines.next().expect("a row");
    let address = head.address.as_deref().expect("an address");
    assert_eq!(row[..6], ["lab", "Ready", address, "2/2", "True", "AsSpecified"]);
}

/// Which reason of an Event goes with which call, and how the ids begin that it has to name; S3's name buckets.
const TOLD: [(&str, &str, &str); 18] = [
    ("CreateVpc", "VpcCreated", "vpc-"),
    ("ModifyVpcAttribute", "VpcAttributeModified", "vpc-"),
    ("CreateInternetGateway", "InternetGatewayCreated", "igw-"),
    ("AttachInternetGateway", "InternetGatewayAttached", "igw-"),
    ("CreateSubnet", "SubnetCreated", "subnet-"),
    ("ModifySubnetAttribute", "SubnetAttributeModified", "subnet-"),
    ("CreateRouteTable", "RouteTableCreated", "rtb-"),
    ("CreateRoute", "RouteCreated", "rtb-"),
    ("AssociateRouteTable", "RouteTableAssociated", "rtb-"),
    ("CreateSecurityGroup", "SecurityGroupCreated", "sg-"),
    ("AuthorizeSecurityGroupIngress", "SecurityGroupIngressAuthorized", "sg-"),
    ("ImportKeyPair", "KeyPairImported", "key-"),
    ("RunInstances", "InstancesLaunched", "i-"),
    ("CreateBucket", "BucketCreated", ""),
    ("PutBucketTagging", "BucketTaggingSet", ""),
    ("PutBucketVersioning", "BucketVersioningSet", ""),
    ("PutBucketEncryption", "BucketEncryptionSet", ""),
    ("PutPublicAccessBlock", "PublicAccessBlockSet", ""),
];

async fn each_change_is_told(scene: &Scene, changes: &[Call]) {
    until("an Event for each change", PATIENCE, async || {
        let events = scene.space.events().await;
        for call in changes {
            let (_, reason, prefix) = TOLD
                .iter()
                .find(|(action, ..)| *action == call.action)
                .unwrap_or_else(|| panic!("the lab needs no {}", call.action));
            for id in named(call, prefix) {
                let told = |event: &String| event.starts_with(&format!("{reason}: ")) && event.contains(&id);
                if !events.iter().any(told) {
                    return Err(format!("no {reason} tells of {id}: {events:#?}"));
                }
            }
        }
        assert!(!events.iter().any(|event| event.starts_with("Drifted")), "{events:#?}");
        Ok(())
    })
    .await;
}

/// The ids of one kind in a call and its answer, at least one.
fn named(call: &Call, prefix: &str) -> Vec<String> {
    let mut ids = Vec::new();
    if call.service == "s3" {
        ids.extend(call.params["Bucket"].as_str().map(str::to_owned));
    } else {
        let params = call.params.as_object().into_iter().flatten();
        let values = params.filter_map(|(_, value)| value.as_str()).map(str::to_owned);
        // Not `vpc-cidr-assoc-...`.
        let is_of_kind = |id: &String| id.strip_prefix(prefix).is_some_and(|rest| !rest.contains('-'));
        ids.extend(values.chain(call.ids.clone()).filter(is_of_kind));
    }
    assert!(!ids.is_empty(), "{call:?}");
    ids
}

async fn the_key_stays_in_its_secret(scene: &Scene, lab: &RayCluster) {
    let secrets: Api<Secret> = Api::namespaced(scene.space.client.clone(), &scene.space.name);
    let name = lab.status.as_ref().and_then(|status| status.key_secret.clone());
    let secret = secrets
        .get(&name.expect("the status names it"))
        .await
        .expect("the Secret");
    let owner = &secret.owner_references()[0];
    assert_eq!(Some(&owner.uid), lab.metadata.uid.as_ref());
    assert_eq!((owner.kind.as_str(), owner.controller), ("RayCluster", Some(true)));
    assert_eq!(secret.type_.as_deref(), Some("kubernetes.io/ssh-auth"));

    let data = secret.data.expect("data");
    let private = String::from_utf8(data["ssh-privatekey"].0.clone()).expect("text");
    let lines: Vec<&str> = private.lines().filter(|line| !line.starts_with("-----")).collect();
    assert!(lines.len() > 3, "an OpenSSH key has several lines");
    let log = fs::read_to_string(scene.controller.log()).expect("a log");
    assert!(log.contains("VPC"), "the log tells what is done");
    let status = serde_json::to_string(&lab).expect("JSON");
    let events = scene.space.events().await.join("\n");
    let metrics = scene.controller.metrics();
    let calls = format!("{:?}", scene.aws.calls());
    for (place, text) in [
        ("log", log),
        ("object", status),
        ("Events", events),
        ("metrics", metrics),
        ("AWS calls", calls),
    ] {
        // The first line says only that it is a key of this kind.
        assert!(
            lines[1..].iter().all(|line| !text.contains(line)),
            "the {place} holds the private key"
        );
    }
}

#[tokio::test]
async fn a_ready_cluster_is_left_alone() {
    // Settings of buckets are looked at once an interval: not in this test.
    let scene = Scene::start_with(&["--bucket-interval=10000h"]).await;
    let manifest = ["apply", "-f", "deploy/examples/lab.yaml"];
    scene.kubectl(&manifest);
    let ready = scene.space.wait_for("lab", "Ready", "True", PATIENCE).await;
    let seq = scene.aws.calls().last().map_or(0, |call| call.seq);
    sweeps(&scene.aws, 4).await;
    let later = scene.space.cluster("lab").await;
    assert_eq!(
        later.metadata.resource_version, ready.metadata.resource_version,
        "{later:?}"
    );

    assert!(scene.kubectl(&manifest).contains("unchanged"));
    let passes = passes(&scene);
    for round in 0..5 {
        let touch = json!({"metadata": {"annotations": {"example.com/round": round.to_string()}}});
        scene
            .space
            .patch("lab", &touch)
            .await
            .expect("an annotation is accepted");
        until("a pass over the touched object", PATIENCE, async || {
            let now = self::passes(&scene);
            if now > passes + round {
                Ok(())
            } else {
                Err(now.to_string())
            }
        })
        .await;
    }
    let touched = scene.space.cluster("lab").await;
    sweeps(&scene.aws, 2).await;
    let last = scene.space.cluster("lab").await;
    assert_eq!(last.metadata.resource_version, touched.metadata.resource_version);
    assert_eq!(last.metadata.generation, ready.metadata.generation);
    assert_eq!(last.status, ready.status);

    let calls = scene.aws.calls_since(seq);
    let others: Vec<&Call> = calls.iter().filter(|call| call.change || !is_of_sweep(call)).collect();
    assert!(others.is_empty(), "quiet passes call AWS: {others:?}");
}

/// How many passes have ended.
fn passes(scene: &Scene) -> u64 {
    let metrics = scene.controller.metrics();
    let counts = metrics
        .lines()
        .filter(|line| line.starts_with("rayward_reconcile_total{"));
    counts
        .filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok())
        .sum()
}

#[tokio::test]
async fn a_region_is_all_that_a_manifest_needs() {
    let scene = Scene::start().await;
    let manifest = "
apiVersion: rayward.dev/v1alpha1
kind: RayCluster
metadata: {name: minimal}
spec: {region: ap-southeast-1}
";
    scene.space.apply(manifest).await.expect("it is accepted");
    let cluster = scene.space.wait_for("minimal", "Ready", "True", PATIENCE).await;

    let made = scene.made().await;
    let counts: BTreeMap<&str, usize> = made.iter().map(|(kind, ids)| (*kind, ids.len())).collect();
    let mut expected: BTreeMap<&str, usize> = LAB.into();
    expected.extend([("machine", 1), ("volume", 1), ("network interface", 1)]);
    assert_eq!(counts, expected, "{made:?}");
    let status = cluster.status.expect("a status");
    assert_eq!(status.workers.as_deref(), Some("0/0"));
    let group = &status.network.expect("a network").security_group_ids[0];
    let group = the_group(&scene, group).await;
    assert_eq!(
        rules(&group, group.ip_permissions()),
        ["-1 itself"],
        "closed unless the spec says otherwise"
    );
    let machines = machines(&scene.aws).await;
    let image = scene
        .aws
        .ec2()
        .describe_images()
        .image_ids(machines[0].image_id().expect("an image"));
    let image = image.send().await.expect("the image");
    let name = image.images()[0].name().expect("a name");
    assert!(name.contains("ubuntu"), "{name}");
}

#[tokio::test]
async fn the_heads_public_address_follows_the_spec() {
    let scene = Scene::start().await;
    scene.space.apply(SMALL).await.expect("it is accepted");
    let dynamic = scene.space.wait_for("small", "Ready", "True", PATIENCE).await;
    let head = dynamic.status.and_then(|status| status.head).expect("a head");
    let first = head.public_address.expect("a public address");

    let elastic = json!({"spec": {"head": {"publicAddress": "Elastic"}}});
    scene.space.patch("small", &elastic).await.expect("it is accepted");
    let elastic = scene.space.wait_for("small", "Ready", "True", PATIENCE).await;
    let addresses = scene.aws.ec2().describe_addresses().send().await.expect("addresses");
    assert_eq!(addresses.addresses().len(), 1);
    let address = &addresses.addresses()[0];
    tagged(&elastic, "address", None, address.tags());
    let now = elastic.status.and_then(|status| status.head).expect("a head");
    assert_eq!(now.instance_id, head.instance_id, "the same machine");
    assert_eq!(address.instance_id(), head.instance_id.as_deref());
    assert_eq!(address.allocation_id(), now.allocation_id.as_deref());
    assert_eq!(address.public_ip(), now.public_address.as_deref());
    assert_eq!(now.address, now.public_address);
    assert_ne!(now.public_address.as_deref(), Some(first.as_str()));

    let dynamic = json!({"spec": {"head": {"publicAddress": "Dynamic"}}});
    scene.space.patch("small", &dynamic).await.expect("it is accepted");
    let elastic_address = now.public_address;
    let again = scene
        .space
        .wait_until("small", "the head has an address of Amazon's", PATIENCE, |cluster| {
            let head = cluster.status.as_ref().and_then(|status| status.head.as_ref());
            let ready = condition(cluster, "Ready").is_some_and(|ready| {
                ready.status == "True" && ready.observed_generation == cluster.metadata.generation
            });
            ready && head.is_some_and(|head| head.public_address.is_some() && head.public_address != elastic_address)
        })
        .await;
    let now = again.status.and_then(|status| status.head).expect("a head");
    assert_eq!((now.instance_id, now.allocation_id), (head.instance_id, None));
    assert_eq!(now.private_address, head.private_address);
    assert!(!scene.made().await.contains_key("address"), "it is given back");
}

#[tokio::test]
async fn a_head_can_do_without_a_public_address() {
    let scene = Scene::start().await;
    let manifest = SMALL.replace("buckets: []", "buckets: [], head: {publicAddress: None}");
    scene.space.apply(&manifest).await.expect("it is accepted");
    let cluster = scene.space.wait_for("small", "Ready", "True", PATIENCE).await;
    let head = cluster.status.and_then(|status| status.head).expect("a head");
    assert_eq!(head.public_address, None);
    assert!(head.address.is_some() && head.address == head.private_address);
    assert_eq!(machines(&scene.aws).await[0].public_ip_address(), None);
    assert!(!scene.made().await.contains_key("address"));
}

#[tokio::test]
async fn the_network_and_the_tags_follow_the_spec() {
    let scene = Scene::start().await;
    let manifest = SMALL.replace(
        "buckets: []",
        "buckets: [{purpose: raw}], workerGroups: [{name: cpu, replicas: 1}]",
    );
    scene.space.apply(&manifest).await.expect("it is accepted");
    let before = scene.space.wait_for("small", "Ready", "True", PATIENCE).await;
    let network = before.status.and_then(|status| status.network).expect("a network");
    let group_id = network.security_group_ids[0].as_str();

    let subnets = json!([
        {"name": "a", "cidr": "10.0.1.0/24", "public": true},
        {"name": "b", "cidr": "10.0.2.0/24", "public": true},
        {"name": "c", "cidr": "10.0.3.0/24", "public": false},
    ]);
    let grown = json!({"spec": {"network": {
        "subnets": subnets,
        "ingress": [{"ports": "8265", "cidrs": ["198.51.100.0/24"]}],
    }}});
    scene.space.patch("small", &grown).await.expect("it is accepted");
    let after = scene.space.wait_for("small", "Ready", "True", PATIENCE).await;
    let network = after.status.and_then(|status| status.network).expect("a network");
    let names: Vec<&str> = network.subnets.iter().map(|subnet| subnet.name.as_str()).collect();
    assert_eq!(names, ["a", "b", "c"]);
    let found = scene.aws.ec2().describe_subnets();
    let found = found.set_subnet_ids(Some(network.subnets.iter().map(|subnet| subnet.id.clone()).collect()));
    let found = found.send().await.expect("the subnets");
    let mut found: Vec<_> = found
        .subnets()
        .iter()
        .map(|subnet| {
            (
                subnet.cidr_block().unwrap_or_default(),
                subnet.map_public_ip_on_launch(),
            )
        })
        .collect();
    found.sort_unstable();
    let wanted = [
        ("10.0.1.0/24", Some(true)),
        ("10.0.2.0/24", Some(true)),
        ("10.0.3.0/24", Some(false)),
    ];
    assert_eq!(found, wanted);
    let table = network.route_table_id.expect("a route table");
    let table = scene
        .aws
        .ec2()
        .describe_route_tables()
        .route_table_ids(table)
        .send()
        .await;
    let table = &table.expect("the route table").route_tables()[0].clone();
    let associated: BTreeSet<_> = table
        .associations()
        .iter()
        .filter_map(|each| each.subnet_id())
        .collect();
    let public: BTreeSet<_> = network.subnets[..2].iter().map(|subnet| subnet.id.as_str()).collect();
    assert_eq!(associated, public, "a private subnet has no way out");
    let group = the_group(&scene, group_id).await;
    assert_eq!(
        rules(&group, group.ip_permissions()),
        ["-1 itself", "tcp 8265-8265 198.51.100.0/24"]
    );

    let changed = json!({"spec": {"tags": {"team": "blue"}, "network": {"ingress": []}}});
    scene.space.patch("small", &changed).await.expect("it is accepted");
    scene.space.wait_for("small", "Ready", "True", PATIENCE).await;
    let group = the_group(&scene, group_id).await;
    assert_eq!(rules(&group, group.ip_permissions()), ["-1 itself"]);
    all_carry(&scene, "team", "blue").await;

    let changed = json!({"spec": {"tags": {"team": "red"}}});
    scene.space.patch("small", &changed).await.expect("it is accepted");
    scene.space.wait_for("small", "Ready", "True", PATIENCE).await;
    all_carry(&scene, "team", "red").await;
}

/// Whether everything that Rayward made has this tag.
async fn all_carry(scene: &Scene, key: &str, value: &str) {
    let made = scene.made().await;
    let all = scene.aws.ec2().describe_tags().send().await.expect("tags");
    let tags: BTreeMap<&str, &str> = all
        .tags()
        .iter()
        .filter(|tag| tag.key() == Some(key))
        .filter_map(|tag| Some((tag.resource_id()?, tag.value()?)))
        .collect();
    let network = scene
        .space
        .cluster("small")
        .await
        .status
        .and_then(|status| status.network);
    let network = network.expect("a network");
    for (kind, ids) in made {
        for id in ids {
            let found = match kind {
                "bucket" => crate::support::account::bucket_tags(&scene.aws, &id).await.remove(key),
                // An interface keeps the tags with which it was launched.
                "network interface" => continue,
                // Those that came with the VPC are AWS's.
                "route table" if network.route_table_id.as_ref() != Some(&id) => continue,
                "security group" if !network.security_group_ids.contains(&id) => continue,
                _ => tags.get(id.as_str()).map(|value| (*value).to_owned()),
            };
            assert_eq!(found.as_deref(), Some(value), "{kind} {id}");
        }
    }
}

#[tokio::test]
async fn a_key_pair_of_the_users_is_used_and_never_touched() {
    let scene = Scene::start().await;
    let client = scene.aws.ec2();
    client
        .create_key_pair()
        .key_name("mine")
        .send()
        .await
        .expect("a key pair");
    let theirs = client.describe_key_pairs().send().await.expect("key pairs");
    let manifest = SMALL.replace("buckets: []", "buckets: [], keyPair: {name: mine}");
    scene.space.apply(&manifest).await.expect("it is accepted");
    let cluster = scene.space.wait_for("small", "Ready", "True", PATIENCE).await;

    let machine = &machines(&scene.aws).await[0];
    assert_eq!(machine.key_name(), Some("mine"));
    assert_eq!(
        client.describe_key_pairs().send().await.expect("key pairs").key_pairs(),
        theirs.key_pairs()
    );
    let secrets: Api<Secret> = Api::namespaced(scene.space.client.clone(), &scene.space.name);
    let name = cluster
        .status
        .and_then(|status| status.key_secret)
        .expect("a key of Rayward's own beside it");
    assert!(secrets.get_opt(&name).await.expect("an answer").is_some());

    scene.space.delete("small").await;
    scene.space.wait_until_gone("small", PATIENCE).await;
    assert_eq!(
        client.describe_key_pairs().send().await.expect("key pairs").key_pairs(),
        theirs.key_pairs()
    );
}

#[tokio::test]
async fn a_key_pair_that_is_missing_is_told_and_waited_for() {
    let scene = Scene::start().await;
    let manifest = SMALL.replace("buckets: []", "buckets: [], keyPair: {name: mine}");
    scene.space.apply(&manifest).await.expect("it is accepted");
    let stalled = scene.space.wait_for("small", "Stalled", "True", PATIENCE).await;
    let message = &condition(&stalled, "Stalled").expect("it is there").message;
    assert!(message.contains("no key pair mine in ap-southeast-1"), "{message}");
    sweeps(&scene.aws, 2).await;
    assert!(machines(&scene.aws).await.is_empty(), "nothing is launched without it");

    scene
        .aws
        .ec2()
        .create_key_pair()
        .key_name("mine")
        .send()
        .await
        .expect("a key pair");
    scene.space.wait_for("small", "Ready", "True", PATIENCE).await;
    assert_eq!(machines(&scene.aws).await[0].key_name(), Some("mine"));
}

/// The security group with this id.
async fn the_group(scene: &Scene, id: &str) -> ec2::SecurityGroup {
    let groups = scene.aws.ec2().describe_security_groups().group_ids(id).send().await;
    groups.expect("the group").security_groups()[0].clone()
}

/// Rules in one line each, sorted.
fn rules(group: &ec2::SecurityGroup, permissions: &[ec2::IpPermission]) -> Vec<String> {
    let mut rules = Vec::new();
    for permission in permissions {
        let protocol = permission.ip_protocol().unwrap_or_default();
        let ports = permission.from_port().zip(permission.to_port());
        let ports = ports.map(|(from, to)| format!(" {from}-{to}")).unwrap_or_default();
        let ranges = permission.ip_ranges().iter().filter_map(ec2::IpRange::cidr_ip);
        let groups = permission
            .user_id_group_pairs()
            .iter()
            .filter_map(ec2::UserIdGroupPair::group_id);
        let groups = groups.map(|id| if Some(id) == group.group_id() { "itself" } else { id });
        rules.extend(ranges.chain(groups).map(|peer| format!("{protocol}{ports} {peer}")));
    }
    rules.sort_unstable();
    rules
}

fn pairs(tags: &[ec2::Tag]) -> BTreeMap<String, String> {
    let pair = |tag: &ec2::Tag| Some((tag.key()?.to_owned(), tag.value()?.to_owned()));
    tags.iter().filter_map(pair).collect()
}

fn tagged(cluster: &RayCluster, role: &str, group: Option<&str>, tags: &[ec2::Tag]) {
    are_ours(cluster, role, group, &pairs(tags));
}

/// Whether tags say whose a thing is and what for.
fn are_ours(cluster: &RayCluster, role: &str, group: Option<&str>, tags: &BTreeMap<String, String>) {
    let tag = |key: &str| tags.get(key).map(String::as_str);
    let (namespace, name) = (cluster.namespace().expect("a namespace"), cluster.name_any());
    assert_eq!(
        tag("rayward.dev/cluster-uid"),
        cluster.metadata.uid.as_deref(),
        "{role}"
    );
    assert_eq!(
        tag("rayward.dev/cluster"),
        Some(format!("{namespace}/{name}").as_str()),
        "{role}"
    );
    assert_eq!(tag("rayward.dev/role"), Some(role));
    assert_eq!(tag("rayward.dev/group"), group, "{role}");
    assert!(tag("rayward.dev/installation").is_some(), "{role}");
    assert!(tag("rayward.dev/created-at").is_some(), "{role}");
    assert!(
        tag("Name").is_some_and(|found| found.starts_with(&format!("rayward-{namespace}-{name}-"))),
        "{role}"
    );
}
