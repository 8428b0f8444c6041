//! Ray's own launcher beside Rayward: `ray up` and `kubectl apply` take turns at making the same three nodes, of the
//! same image and machine type, on the same stand-in.

use std::{fs, os::unix::fs::OpenOptionsExt, path::PathBuf, time::Instant};

use aws_sdk_ec2::{
    primitives::Blob,
    types::{IpPermission, IpRange, UserIdGroupPair},
};
use russh::keys::ssh_key::{
    LineEnding,
    private::{Ed25519Keypair, PrivateKey},
};
use serde_json::{Value, json};

use crate::{
    figures::{Figure, Part},
    lab::{Lab, NAME, PATIENCE, WORKERS},
    support::{
        account::machines,
        logs,
        process::{Output, Process, command},
        real::{INTERNET, PROFILE, laptop::USER},
        repository,
        stand_in::{REGION, StandIn},
        wait::until,
    },
};

pub(crate) const PART: Part = Part("ray-up");
/// How often each is measured.
const TIMES: usize = 3;
/// Name of the launcher's cluster, of its key and of its security group.
const RAY_UP: &str = "ray-up";

/// The stand-in's image that has Ray.
const IMAGE: &str = "ami-0ac0ffee000000260";

/// Measures both in turns; or says why there can be no machines here.
pub(crate) async fn measure() -> Result<Vec<Figure>, &'static str> {
    let lab = Lab::prepare("bench-ray-up").await?;
    let launcher = Launcher::prepare(&lab.aws).await;
    let (mut rayward, mut ray_up) = (Vec::new(), Vec::new());
    for _ in 0..TIMES {
        let began = Instant::now();
        lab.apply().await;
        lab.space.wait_for(NAME, "Ready", "True", PATIENCE).await;
        rayward.push(began.elapsed().as_secs_f64());
        lab.delete().await;
        lab.wait_until_empty().await;
        ray_up.push(launcher.up().await);
        launcher.down().await;
        lab.wait_until_empty().await;
        println!(
            "  Rayward {:.1} s, ray up {:.1} s",
            rayward.last().copied().unwrap_or(f64::NAN),
            ray_up.last().copied().unwrap_or(f64::NAN)
        );
    }
    let (rayward, ray_up) = (median(rayward), median(ray_up));
    Ok(vec![
        PART.lower("kubectl apply to Ready, a head and two workers", rayward, "s", ray_up),
        PART.higher("the same three nodes by Ray's own `ray up`", ray_up, "s", rayward),
    ])
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// `ray up`, with the network that it needs.
struct Launcher<'a> {
    aws: &'a StandIn,
    config: PathBuf,
}

impl<'a> Launcher<'a> {
    async fn prepare(aws: &'a StandIn) -> Self {
        let folder = logs("bench-ray-up");
        let (key, config) = (folder.join("key.pem"), folder.join("ray-up.json"));
        import_key(aws, &key).await;
        let (subnet, group) = make_network(aws).await;
        let told = configuration(&subnet, &group, &key);
        fs::write(&config, told.to_string()).expect("the configuration can be written");
        Self { aws, config }
    }

    /// From the command to three nodes that Ray lists as alive, in seconds.
    async fn up(&self) -> f64 {
        let mut program = command(repository().join("deploy/sandbox/laptop"));
        program
            .current_dir(repository())
            .envs(self.aws.environment())
            .env("AWS_DEFAULT_REGION", REGION)
            .args(["ray", "up", "--yes", "--no-config-cache", "--log-style=record"])
            .arg(&self.config);
        let began = Instant::now();
        let mut launcher = Process::spawn(RAY_UP, &logs("bench-ray-up"), program, Output::Log);
        until("ray up has made three nodes", PATIENCE, async || {
            let has_failed = launcher.ended().is_some_and(|status| !status.success());
            assert!(!has_failed, "ray up failed\n{}", launcher.log_tail());
            match self.alive().await {
                Some(alive) if alive == 1 + WORKERS as usize => Ok(()),
                alive => Err(format!("{alive:?} nodes\n{}", launcher.log_tail())),
            }
        })
        .await;
        began.elapsed().as_secs_f64()
    }

    /// How many nodes the head's dashboard lists as alive, once it answers.
    async fn alive(&self) -> Option<usize> {
        let tag = |key, value| aws_sdk_ec2::types::Tag::builder().key(key).value(value).build();
        let (cluster, kind) = (tag("ray-cluster-name", RAY_UP), tag("ray-node-type", "head"));
        let found = machines(self.aws).await;
        let head = found
            .iter()
            .find(|each| each.tags().contains(&cluster) && each.tags().contains(&kind))?;
        let script = "curl -sS --max-time 5 'http://127.0.0.1:8265/api/v0/nodes?detail=true'";
        let done = self.aws.run_in(head.instance_id()?, script).ok()?;
        let answer: Value = serde_json::from_str(&done.stdout).ok()?;
        let rows = answer["data"]["result"]["result"].as_array()?;
        Some(rows.iter().filter(|row| row["state"] == "ALIVE").count())
    }

    /// Its machines go, the head first: it would replace the workers.
    async fn down(&self) {
        let mut found = machines(self.aws).await;
        found.sort_by_key(|each| each.tags().iter().all(|tag| tag.value() != Some("head")));
        for id in found.iter().filter_map(|each| each.instance_id()) {
            let request = self.aws.ec2().terminate_instances().instance_ids(id);
            request.send().await.expect("it is terminated");
        }
    }
}

async fn import_key(aws: &StandIn, path: &PathBuf) {
    let key = PrivateKey::from(Ed25519Keypair::from_seed(&[8; 32]));
    let private = key.to_openssh(LineEnding::LF).expect("OpenSSH's form");
    let mut file = fs::File::options();
    // ssh takes no key that others may read.
    let file = file.create(true).write(true).truncate(true).mode(0o600).open(path);
    std::io::Write::write_all(&mut file.expect("a file"), private.as_bytes()).expect("the key can be written");
    let public = key.public_key().to_openssh().expect("OpenSSH's form");
    let import = aws
        .ec2()
        .import_key_pair()
        .key_name(RAY_UP)
        .public_key_material(Blob::new(public));
    import.send().await.expect("the key is imported");
}

/// A subnet with a way out whose machines get public addresses, and a group that lets SSH in; their ids.
async fn make_network(aws: &StandIn) -> (String, String) {
    let client = aws.ec2();
    let vpc = client
        .create_vpc()
        .cidr_block("10.1.0.0/16")
        .send()
        .await
        .expect("a VPC")
        .vpc;
    let vpc = vpc.and_then(|vpc| vpc.vpc_id).expect("an id");
    let subnet = client
        .create_subnet()
        .vpc_id(&vpc)
        .cidr_block("10.1.1.0/24")
        .send()
        .await;
    let subnet = subnet
        .expect("a subnet")
        .subnet
        .and_then(|subnet| subnet.subnet_id)
        .expect("an id");
    let yes = aws_sdk_ec2::types::AttributeBooleanValue::builder().value(true).build();
    let public = client
        .modify_subnet_attribute()
        .subnet_id(&subnet)
        .map_public_ip_on_launch(yes);
    public.send().await.expect("its machines get public addresses");
    let gateway = client
        .create_internet_gateway()
        .send()
        .await
        .expect("a gateway")
        .internet_gateway;
    let gateway = gateway.and_then(|gateway| gateway.internet_gateway_id).expect("an id");
    let attach = client
        .attach_internet_gateway()
        .internet_gateway_id(&gateway)
        .vpc_id(&vpc);
    attach.send().await.expect("it is attached");
    let table = client
        .create_route_table()
        .vpc_id(&vpc)
        .send()
        .await
        .expect("a table")
        .route_table;
    let table = table.and_then(|table| table.route_table_id).expect("an id");
    let route = client
        .create_route()
        .route_table_id(&table)
        .destination_cidr_block("0.0.0.0/0");
    route.gateway_id(&gateway).send().await.expect("a route");
    let associate = client.associate_route_table().route_table_id(&table).subnet_id(&subnet);
    associate.send().await.expect("it is associated");
    let group = client
        .create_security_group()
        .vpc_id(&vpc)
        .group_name(RAY_UP)
        .description(RAY_UP);
    let group = group.send().await.expect("a group").group_id.expect("an id");
    let own = UserIdGroupPair::builder().group_id(&group).build();
    let from_here = IpRange::builder().cidr_ip(format!("{INTERNET}/32")).build();
    let among_themselves = IpPermission::builder()
        .ip_protocol("-1")
        .user_id_group_pairs(own)
        .build();
    let ssh = IpPermission::builder()
        .ip_protocol("tcp")
        .from_port(22)
        .to_port(22)
        .ip_ranges(from_here)
        .build();
    let permit = client.authorize_security_group_ingress().group_id(&group);
    let permit = permit.ip_permissions(among_themselves).ip_permissions(ssh);
    permit.send().await.expect("they may speak to each other");
    (subnet, group)
}

/// What `ray up` is told. There is nothing to install: it launches, signs in, and starts Ray.
fn configuration(subnet: &str, group: &str, key: &PathBuf) -> Value {
    let node = json!({
        "InstanceType": "t2.medium", "ImageId": IMAGE, "KeyName": RAY_UP,
        "SubnetIds": [subnet], "SecurityGroupIds": [group], "IamInstanceProfile": {"Name": PROFILE},
    });
    let start = |flags: &str| {
        format!(
            "export PATH=/opt/ray/bin:$PATH AWS_ENDPOINT_URL=http://{INTERNET}:4566; ulimit -n 65536; \
             ray start {flags} --num-cpus=2 --object-store-memory=100000000"
        )
    };
    let head = "--head --port=6379 --dashboard-host=127.0.0.1 --autoscaling-config=~/ray_bootstrap_config.yaml";
    json!({
        "cluster_name": RAY_UP,
        "max_workers": WORKERS,
        "provider": {"type": "aws", "region": REGION, "use_internal_ips": false, "cache_stopped_nodes": false},
        "auth": {"ssh_user": USER, "ssh_private_key": key},
        "available_node_types": {
            "head": {"resources": {}, "node_config": node},
            "cpu": {"min_workers": WORKERS, "max_workers": WORKERS, "resources": {}, "node_config": node},
        },
        "head_node_type": "head",
        "setup_commands": [],
        "head_setup_commands": [],
        "worker_setup_commands": [],
        "head_start_ray_commands": [start(head)],
        "worker_start_ray_commands": [start("--address=$RAY_HEAD_IP:6379")],
    })
}
