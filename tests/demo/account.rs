//! What AWS holds, seen with AWS's own SDK and not with Rayward's eyes.

use std::collections::BTreeSet;

use aws_sdk_ec2::types::{InstanceStateName, IpPermission, IpRange};

use crate::support::stand_in::StandIn;

/// The account in which the demo's clusters live.
pub(crate) struct Account {
    ec2: aws_sdk_ec2::Client,
    s3: aws_sdk_s3::Client,
}

/// What was taken away.
pub(crate) struct Taken {
    /// The worker that was terminated.
    pub(crate) worker: String,
    /// The route table that lost its route.
    table: String,
    /// The group that was opened.
    group: String,
}

impl Account {
    /// The account of a stand-in.
    pub(crate) fn of(stand_in: &StandIn) -> Self {
        Self {
            ec2: stand_in.ec2(),
            s3: stand_in.s3(),
        }
    }

    /// Ids of the machines that run.
    pub(crate) async fn machines(&self) -> BTreeSet<String> {
        let answer = self.ec2.describe_instances().send().await.expect("EC2 answers");
        let machines = answer
            .reservations()
            .iter()
            .flat_map(|reservation| reservation.instances());
        let running = machines
            .filter(|machine| machine.state().and_then(|state| state.name()) == Some(&InstanceStateName::Running));
        running
            .filter_map(|machine| machine.instance_id().map(str::to_owned))
            .collect()
    }

    /// Checks that AWS holds the lab with this many machines, and nothing else; tells what there is.
    pub(crate) async fn check_lab(&self, machines: usize) -> String {
        let running = self.machines().await;
        assert_eq!(running.len(), machines, "machines: {running:?}");
        let things = self.things().await;
        let expected = [
            "1 VPC",
            "1 internet gateway",
            "1 subnet",
            "1 route table",
            "1 security group",
            "1 key pair",
        ];
        assert_eq!(things, expected, "what there is beside machines and buckets");
        let buckets = self.buckets().await;
        assert_eq!(buckets.len(), 4, "buckets: {buckets:?}");
        format!(
            "{}, {machines} machines, 4 buckets:\n{}",
            things.join(", "),
            buckets.join("\n")
        )
    }

    /// Checks that the buckets are all that is left; tells which.
    pub(crate) async fn check_nothing_but_buckets(&self) -> String {
        assert_eq!(self.machines().await, BTreeSet::new());
        assert_eq!(self.things().await, Vec::<String>::new());
        let buckets = self.buckets().await;
        assert_eq!(buckets.len(), 4, "buckets: {buckets:?}");
        format!("AWS holds the 4 buckets and nothing else:\n{}", buckets.join("\n"))
    }

    /// Terminates a worker, removes the default route, and opens a port to everybody.
    pub(crate) async fn take_away(&self) -> Taken {
        let answer = self.ec2.describe_instances().send().await.expect("EC2 answers");
        let machines = answer
            .reservations()
            .iter()
            .flat_map(|reservation| reservation.instances());
        let worker = machines
            .filter(|machine| machine.tags().iter().any(|tag| tag.value() == Some("worker")))
            .find_map(|machine| machine.instance_id().map(str::to_owned))
            .expect("a worker runs");
        self.ec2
            .terminate_instances()
            .instance_ids(&worker)
            .send()
            .await
            .expect("it is terminated");
        let (table, group) = (self.table().await, self.group().await);
        let route = self
            .ec2
            .delete_route()
            .route_table_id(&table)
            .destination_cidr_block("0.0.0.0/0");
        route.send().await.expect("the route is removed");
        let everybody = IpPermission::builder()
            .ip_protocol("tcp")
            .from_port(8265)
            .to_port(8265)
            .ip_ranges(IpRange::builder().cidr_ip("0.0.0.0/0").build())
            .build();
        let open = self
            .ec2
            .authorize_security_group_ingress()
            .group_id(&group)
            .ip_permissions(everybody);
        open.send().await.expect("the port is opened");
        Taken { worker, table, group }
    }

    /// Whether all of it is as it was: three machines without the lost one, the route, the closed port.
    pub(crate) async fn is_back(&self, taken: &Taken) -> Result<(), String> {
        let machines = self.machines().await;
        if machines.len() != 3 || machines.contains(&taken.worker) {
            return Err(format!("machines: {machines:?}"));
        }
        let tables = self
            .ec2
            .describe_route_tables()
            .route_table_ids(&taken.table)
            .send()
            .await;
        let tables = tables.map_err(|error| error.to_string())?;
        let routes = tables.route_tables().iter().flat_map(|table| table.routes());
        if !routes
            .into_iter()
            .any(|route| route.destination_cidr_block() == Some("0.0.0.0/0"))
        {
            return Err(format!("{} has no default route", taken.table));
        }
        let groups = self.ec2.describe_security_groups().group_ids(&taken.group).send().await;
        let groups = groups.map_err(|error| error.to_string())?;
        let rules = groups.security_groups().iter().flat_map(|group| group.ip_permissions());
        let open = |rule: &IpPermission| {
            rule.ip_ranges()
                .iter()
                .any(|range| range.cidr_ip() == Some("0.0.0.0/0"))
        };
        if rules.into_iter().any(open) {
            return Err(format!("{} is open to everybody", taken.group));
        }
        Ok(())
    }

    /// The cluster's route table: the one that carries tags.
    async fn table(&self) -> String {
        let answer = self.ec2.describe_route_tables().send().await.expect("EC2 answers");
        let ours = answer.route_tables().iter().find(|table| !table.tags().is_empty());
        ours.and_then(|table| table.route_table_id())
            .expect("the table is there")
            .to_owned()
    }

    /// The cluster's security group: the one that carries tags.
    async fn group(&self) -> String {
        let answer = self.ec2.describe_security_groups().send().await.expect("EC2 answers");
        let ours = answer.security_groups().iter().find(|group| !group.tags().is_empty());
        ours.and_then(|group| group.group_id())
            .expect("the group is there")
            .to_owned()
    }

    async fn buckets(&self) -> Vec<String> {
        let answer = self.s3.list_buckets().send().await.expect("S3 answers");
        answer
            .buckets()
            .iter()
            .filter_map(|bucket| bucket.name().map(str::to_owned))
            .collect()
    }

    /// What carries tags, counted, but for machines and buckets: a new account has default networks without any.
    async fn things(&self) -> Vec<String> {
        const SENT: &str = "EC2 answers";
        let ec2 = &self.ec2;
        let vpcs = ec2.describe_vpcs().send().await.expect(SENT);
        let gateways = ec2.describe_internet_gateways().send().await.expect(SENT);
        let subnets = ec2.describe_subnets().send().await.expect(SENT);
        let tables = ec2.describe_route_tables().send().await.expect(SENT);
        let groups = ec2.describe_security_groups().send().await.expect(SENT);
        let keys = ec2.describe_key_pairs().send().await.expect(SENT);
        let counts = [
            ("VPC", vpcs.vpcs().iter().filter(|each| !each.tags().is_empty()).count()),
            ("internet gateway", gateways.internet_gateways().len()),
            (
                "subnet",
                subnets.subnets().iter().filter(|each| !each.tags().is_empty()).count(),
            ),
            (
                "route table",
                tables
                    .route_tables()
                    .iter()
                    .filter(|each| !each.tags().is_empty())
                    .count(),
            ),
            (
                "security group",
                groups
                    .security_groups()
                    .iter()
                    .filter(|each| !each.tags().is_empty())
                    .count(),
            ),
            ("key pair", keys.key_pairs().len()),
        ];
        let there = counts.into_iter().filter(|(_, count)| *count > 0);
        there.map(|(name, count)| format!("{count} {name}")).collect()
    }
}
