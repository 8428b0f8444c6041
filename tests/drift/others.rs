//! What others put into the network of a cluster is told and never touched.

use aws_sdk_ec2::types as ec2;
use rayward::api::NetworkStatus;

use super::{HEAD, changes_since, last_seq, ready, tcp};
use crate::support::account::machines;
use crate::support::cluster::condition;
use crate::support::scene::Scene;
use crate::support::sweeps::sweeps;
use crate::support::wait::PATIENCE;

/// What somebody put beside what is ours, named as ours are.
struct Theirs {
    group: String,
    machine: String,
}

impl Theirs {
    /// A group, a machine, a route, an egress rule and another VPC.
    async fn make(scene: &Scene, network: &NetworkStatus) -> Self {
        let client = scene.aws.ec2();
        let named = |kind: ec2::ResourceType, role: &str| {
            let name = format!("rayward-{}-lab-{role}", scene.space.name);
            let tag = ec2::Tag::builder().key("Name").value(name).build();
            ec2::TagSpecification::builder().resource_type(kind).tags(tag).build()
        };

        let request = client
            .create_security_group()
            .set_vpc_id(network.vpc_id.clone())
            .group_name("theirs")
            .description("theirs");
        let request = request.tag_specifications(named(ec2::ResourceType::SecurityGroup, "security-group"));
        let group = request.send().await.expect("a group").group_id.expect("an id");
        let request = client
            .run_instances()
            .min_count(1)
            .max_count(1)
            .subnet_id(&network.subnets[0].id);
        let request = request
            .image_id("ami-003c463c8207b4dfa")
            .instance_type(ec2::InstanceType::T2Medium);
        let request = request.tag_specifications(named(ec2::ResourceType::Instance, "worker-cpu"));
        let launched = request.security_group_ids(&group).send().await.expect("an instance");
        let machine = launched.instances()[0].instance_id().expect("an id").to_owned();
        let request = client
            .create_route()
            .set_route_table_id(network.route_table_id.clone())
            .destination_cidr_block("192.0.2.0/24");
        let request = request.set_gateway_id(network.internet_gateway_id.clone());
        request.send().await.expect("a route");
        let request = client
            .authorize_security_group_egress()
            .group_id(&network.security_group_ids[0]);
        request
            .ip_permissions(tcp(25, "192.0.2.0/24"))
            .send()
            .await
            .expect("an egress rule");
        let request = client.create_vpc().cidr_block("10.0.0.0/16");
        let request = request.tag_specifications(named(ec2::ResourceType::Vpc, "vpc"));
        request.send().await.expect("a VPC");
        Self { group, machine }
    }
}

#[tokio::test]
async fn what_is_not_ours_is_told_and_never_touched() {
    let scene = Scene::start().await;
    let manifest = HEAD.replace("buckets: []", "buckets: []\n  workerGroups: [{name: cpu, replicas: 1}]");
    let (lab, network) = ready(&scene, &manifest).await;
    let theirs = Theirs::make(&scene, &network).await;
    let seq = last_seq(&scene);
    let with_theirs = scene.made().await;

    let table = network.route_table_id.as_deref().expect("a route table");
    let group = network.security_group_ids[0].as_str();
    let drifted = scene
        .space
        .wait_until("lab", "what is kept is told", PATIENCE, |cluster| {
            let message = condition(cluster, "Drifted").map(|drifted| drifted.message.as_str());
            [table, "192.0.2.0/24", group, "tcp 25", &theirs.group, &theirs.machine]
                .iter()
                .all(|part| message.is_some_and(|message| message.contains(part)))
        })
        .await;
    assert_eq!(condition(&drifted, "Drifted").expect("it is there").reason, "Kept");
    assert_eq!(condition(&drifted, "Ready").expect("it is there").status, "True");
    sweeps(&scene.aws, 3).await;
    let changes = changes_since(&scene, seq);
    assert!(changes.is_empty(), "{changes:?}");
    assert_eq!(scene.made().await, with_theirs);
    assert_eq!(machines(&scene.aws).await.len(), 3);

    let status = lab.status.expect("a status");
    let worker = status.worker_groups[0].machines[0].instance_id.as_str();
    a_lost_worker_is_replaced_all_the_same(&scene, worker, &theirs.machine).await;
}

/// A machine of others is no worker.
async fn a_lost_worker_is_replaced_all_the_same(scene: &Scene, worker: &str, their_machine: &str) {
    let client = scene.aws.ec2();
    client
        .terminate_instances()
        .instance_ids(worker)
        .send()
        .await
        .expect("it is terminated");
    scene
        .space
        .wait_until("lab", "another worker runs", PATIENCE, |cluster| {
            let group = cluster.status.as_ref().and_then(|status| status.worker_groups.first());
            group.is_some_and(|group| {
                group.running == 1
                    && group.machines[0].instance_id != worker
                    && group.machines[0].instance_id != their_machine
            })
        })
        .await;
    let launched = client
        .describe_instances()
        .instance_ids(their_machine)
        .send()
        .await
        .expect("their machine");
    let state = launched.reservations()[0].instances()[0]
        .state()
        .and_then(|state| state.name());
    assert_eq!(state, Some(&ec2::InstanceStateName::Running));
}
