//! `kubectl apply` of the example ends in exactly the lab: on AWS, in the status, in Events, and nowhere the key.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use aws_sdk_ec2::types as ec2;
use aws_sdk_s3::types as s3;
use k8s_openapi::api::core::v1::Secret;
use kube::{Api, ResourceExt};
use rayward::api::RayCluster;

use super::{are_ours, pairs, rules, tagged, the_group};
use crate::support::account::{LAB, bucket_tags, machines};
use crate::support::cluster::condition;
use crate::support::scene::Scene;
use crate::support::stand_in::{Call, REGION};
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
        let tags = bucket_tags(&scene.aws, name).await;
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
    let columns = [
        "NAME", "PHASE", "HEAD", "WORKERS", "READY", "REASON", "IDLE", "SINCE", "AGE",
    ];
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
