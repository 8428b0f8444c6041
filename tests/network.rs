//! The network on EC2: what is planned is carried out, what is folded is what EC2 then shows, what somebody changes is
//! put right, and what is somebody else's stays as it is.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::time::Duration;

use aws_sdk_ec2::types::{
    AttributeBooleanValue, IpPermission, IpRange, ResourceType, Tag, TagSpecification, VolumeType,
};
use jiff::{SignedDuration, Timestamp};
use rayward::api::{Phase, RayClusterStatus};
use rayward::aws::{Aws, AwsError, Clients, ErrorClass, Image, Scope};
use rayward::observe::{KeySecret, Ledger, Observed, Source};
use rayward::plan::{Action, Inputs, Limits, Outcome, Plan, Reason, plan};
use rayward::resources::address::AddressChange;
use rayward::resources::instance::{InstanceChange, InstanceState, token_prefix};
use rayward::resources::{Answer, Change, Inventory, Kind, Listing, Resource};
use rayward::tags::{CLUSTER_UID, INSTALLATION, ROLE, Tags};
use rayward::validate::{Installation, ValidCluster, validate};
use serde_json::{Value, json};

use crate::support::aws::clients;
use crate::support::stand_in::{REGION, StandIn};
use crate::support::wait::{PATIENCE, until};

const UID: &str = "0f3a2b1c-0000-4000-8000-123456789abc";
const IMAGE: &str = "ami-003c463c8207b4dfa";
const PUBLIC_KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHd6kXUQ3pxnqAYMGqZ3vZK7LBhEFOlzGAuWS4rHtWmH rayward";
const ANOTHER_KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIE6mVYmHlYhdzQ0pVYmW1b5v3m3nA9Y0Fe1pG2Gm0b3C other";

fn cluster(network: &Value, public_address: &str) -> ValidCluster {
    let object = serde_json::from_value(json!({
        "apiVersion": "rayward.dev/v1alpha1", "kind": "RayCluster",
        "metadata": {"name": "lab", "namespace": "ml", "uid": UID, "generation": 1},
        "spec": {
            "region": REGION, "tags": {"team": "blue"}, "buckets": [], "network": network,
            "head": {"image": {"id": IMAGE}, "publicAddress": public_address},
        },
    }));
    let installation = Installation {
        id: "inst".into(),
        ..Installation::default()
    };
    validate(&object.expect("a RayCluster"), &installation, "ns-uid").expect("a valid cluster")
}

/// The kinds that are looked at, with the field of the inventory that they are in.
macro_rules! kinds {
    ($($Kind:ident: $field:ident),*) => {
        const KINDS: &[Kind] = &[$(Kind::$Kind),*];

        /// Puts a listing on its shelf.
        fn shelve(listing: Listing, inventory: &mut Inventory) {
            match listing {
                $(Listing::$Kind(items) => {
                    let shelf = &mut inventory.$field;
                    shelf.swept = Source::Known(());
                    (shelf.ours, shelf.others) = sort(items);
                })*
                other => panic!("not asked for: {other:?}"),
            }
        }

        /// Holds what is ours in one inventory against another.
        fn assert_same(kind: Kind, folded: &Inventory, seen: &Inventory, after: &Change) {
            match kind {
                $(Kind::$Kind => assert_eq!(folded.$field.ours, seen.$field.ours, "{after}: folded, then seen"),)*
                other => panic!("{other:?} is not looked at"),
            }
        }
    };
}

kinds! {
    Vpc: vpc, InternetGateway: internet_gateway, Subnet: subnet, RouteTable: route_table,
    SecurityGroup: security_group, NetworkInterface: network_interface, KeyPair: key_pair, Address: address,
    Volume: volume, Instance: instance
}

type Items<T> = BTreeMap<String, T>;

/// What carries the cluster's uid, and the rest.
fn sort<T: Resource + Debug>(items: Vec<T>) -> (Items<T>, Items<T>) {
    let items = items.into_iter().map(|item| (item.id().to_owned(), item));
    items.partition(|(_, item)| {
        let by_token = item.client_token().is_some_and(|token| token.contains(UID));
        by_token || item.tags().get(CLUSTER_UID).is_some_and(|uid| uid == UID)
    })
}

/// One cluster on one stand-in, and its passes.
struct World {
    stand_in: StandIn,
    clients: Clients,
    cluster: ValidCluster,
    observed: Observed,
    /// A VPC of the user's.
    vpc_id: Option<String>,
    /// How far the planner's clock is ahead: what was made is settled then, so that what differs is told.
    ahead: SignedDuration,
}

impl World {
    fn new(stand_in: StandIn, cluster: ValidCluster) -> Self {
        let observed = Observed {
            account: Source::Known("123456789012".into()),
            inventory: Inventory::default(),
            image: Source::Known(Image {
                id: IMAGE.into(),
                root_device: "/dev/sda1".into(),
                min_size_gib: 8,
            }),
            key: Source::Known(KeySecret::Present {
                public_key: PUBLIC_KEY.into(),
            }),
            ledger: Ledger {
                last: Some(0),
                ..Ledger::default()
            },
            recorded: RayClusterStatus::default(),
            stopped: None,
            has_finalizer: true,
            predecessors: Vec::new(),
            exhausted: BTreeMap::new(),
            refusals: BTreeMap::new(),
            clean_sweeps: 0,
            sweep_age: Duration::ZERO,
            machine_sweep_age: Duration::ZERO,
        };
        Self {
            clients: clients(&stand_in, REGION, "key"),
            stand_in,
            cluster,
            observed,
            vpc_id: None,
            ahead: SignedDuration::ZERO,
        }
    }

    async fn listing(&self, kind: Kind) -> Listing {
        let own = self.observed.inventory.vpc.ours.keys();
        let scope = Scope {
            installation: "inst".into(),
            token_prefix: token_prefix("inst"),
            vpc_ids: own.chain(&self.vpc_id).cloned().collect(),
            bucket_names: Vec::new(),
        };
        self.clients.list(kind, &scope).await.expect("EC2 lists")
    }

    async fn look(&mut self) {
        for kind in KINDS {
            let listing = self.listing(*kind).await;
            shelve(listing, &mut self.observed.inventory);
        }
    }

    fn plan(&self) -> Plan {
        plan(&Inputs {
            cluster: &self.cluster,
            observed: &self.observed,
            limits: &Limits::default(),
            now: Timestamp::now() + self.ahead,
        })
    }

    async fn apply(&self, change: &Change) -> Result<Answer, AwsError> {
        self.clients.apply(change).await
    }

    /// Carries out one action. What is folded has to be what a look then shows.
    async fn carry_out(&mut self, action: &Action) {
        let now = Timestamp::now();
        let change = match action {
            Action::Aws(change) => change,
            Action::RecordLaunches(launches) => {
                let since = now - SignedDuration::from_hours(1);
                self.observed.ledger.record(launches, since);
                return;
            }
            other => panic!("{other}"),
        };
        let answer = self.apply(change).await;
        let answer = answer.unwrap_or_else(|error| panic!("{change}: {error}"));
        self.observed.inventory.fold(change, &answer);
        if let Change::Instance(machines) = change {
            if let InstanceChange::Launch { launch, .. } = machines {
                self.observed.ledger.settle(launch.number, Ok(&answer), now);
            }
            self.machines_arrive().await;
            // Interfaces, disks and associations come and go with machines.
            self.look().await;
            return;
        }
        let folded = self.observed.inventory.clone();
        shelve(self.listing(change.kind()).await, &mut self.observed.inventory);
        assert_same(change.kind(), &folded, &self.observed.inventory, change);
    }

    async fn machines_arrive(&mut self) {
        let this = &*self;
        let listing = until("the machines arrive", PATIENCE, async || {
            let listing = this.listing(Kind::Instance).await;
            let Listing::Instance(machines) = &listing else {
                panic!("{listing:?}")
            };
            let arrived = |state| matches!(state, InstanceState::Running | InstanceState::Terminated);
            if machines.iter().all(|machine| arrived(machine.state)) {
                Ok(listing)
            } else {
                Err(format!("{machines:?}"))
            }
        })
        .await;
        shelve(listing, &mut self.observed.inventory);
    }

    /// Carries plans out until nothing is to be done; what was done, and the last plan.
    async fn settle(&mut self) -> (Vec<String>, Plan) {
        let mut done = Vec::new();
        loop {
            let plan = self.plan();
            if plan.actions.is_empty() {
                return (done, plan);
            }
            assert!(done.len() < 60, "{done:#?}");
            for action in plan.actions {
                done.push(action.to_string());
                self.carry_out(&action).await;
            }
        }
    }

    /// Looks, and carries plans out.
    async fn pass(&mut self) -> (Vec<String>, Plan) {
        self.look().await;
        self.settle().await
    }

    /// The whole of it, made, and looked at once more.
    async fn made(network: &Value, public_address: &str) -> Self {
        let mut world = Self::new(StandIn::start(), cluster(network, public_address));
        world.pass().await;
        world.look().await;
        world.ahead = SignedDuration::from_hours(1);
        // The wish was reached: from now on what differs was changed by somebody.
        world.observed.recorded.observed_generation = Some(world.cluster.generation);
        world.observed.recorded.phase = Some(Phase::Ready);
        let plan = world.plan();
        assert!(plan.is_converged() && plan.findings.is_empty(), "{plan:#?}");
        world
    }

    /// What is told of what somebody did, and that a pass puts it right.
    async fn repairs(&mut self, told: &[&str]) {
        self.look().await;
        let plan = self.plan();
        let repaired = |finding: &&rayward::plan::Finding| finding.outcome == Outcome::Repaired;
        let found: Vec<&str> = plan
            .findings
            .iter()
            .filter(repaired)
            .map(|found| found.what.as_str())
            .collect();
        assert_eq!(found.len(), told.len(), "{found:?}");
        for (found, told) in found.iter().zip(told) {
            assert!(found.contains(told), "{found} does not say {told}");
        }
        self.settle().await;
        self.look().await;
        let plan = self.plan();
        assert!(plan.is_converged(), "{plan:#?}");
    }

    fn vpc(&self) -> String {
        one(&self.observed.inventory.vpc.ours)
    }

    fn public_subnet(&self) -> String {
        let mut subnets = self.observed.inventory.subnet.ours.values();
        let public = subnets.find(|subnet| subnet.maps_public_addresses);
        public.expect("a public subnet").id.clone()
    }
}

/// The one id.
fn one<T>(items: &Items<T>) -> String {
    assert_eq!(items.len(), 1);
    items.keys().next().expect("one").clone()
}

fn on(value: bool) -> AttributeBooleanValue {
    AttributeBooleanValue::builder().value(value).build()
}

/// Two subnets, a public one and a private one, and two open ports.
fn lab_network() -> Value {
    json!({
        "vpcCidr": "10.0.0.0/16",
        "subnets": [
            {"name": "a", "cidr": "10.0.1.0/24"},
            {"name": "p", "cidr": "10.0.2.0/24", "public": false, "availabilityZone": format!("{REGION}b")},
        ],
        "ingress": [{"ports": "443", "cidrs": ["192.0.2.0/24"]}, {"ports": "6379-6382", "cidrs": ["198.51.100.0/24"]}],
        "adminCidrs": ["203.0.113.0/24"],
    })
}

#[tokio::test]
async fn what_is_folded_is_what_ec2_then_shows_from_the_first_call_to_the_last() {
    let mut world = World::made(&lab_network(), "Elastic").await;
    let inventory = &world.observed.inventory;
    let head = one(&inventory.instance.ours);
    let address = inventory.address.ours.values().next().expect("an address");
    assert_eq!(address.instance_id, Some(head));
    assert!(world.stand_in.changes().len() <= 20, "{:#?}", world.stand_in.changes());

    world.cluster.deleting = true;
    let (_, plan) = world.pass().await;
    world.look().await;
    assert_eq!(world.observed.inventory.ids(), [], "{plan:#?}");
    let ec2 = world.stand_in.ec2();
    let vpcs = ec2.describe_vpcs().send().await.expect("VPCs");
    assert_eq!(
        vpcs.vpcs().iter().filter(|vpc| vpc.is_default() == Some(false)).count(),
        0
    );
    let pairs = ec2.describe_key_pairs().send().await.expect("key pairs");
    assert_eq!(pairs.key_pairs().len(), 0);
    let addresses = ec2.describe_addresses().send().await.expect("addresses");
    assert_eq!(addresses.addresses().len(), 0);
}

#[tokio::test]
async fn the_longest_chain_of_calls_is_three() {
    let world = World::made(&lab_network(), "Dynamic").await;
    // What one call makes and another names.
    let mut depth: BTreeMap<String, usize> = BTreeMap::new();
    let (mut longest, mut chain) = (0, Vec::new());
    for call in world.stand_in.changes() {
        let text = call.params.to_string();
        let named = depth.iter().filter(|(id, _)| text.contains(id.as_str()));
        let own = 1 + named.map(|(_, depth)| *depth).max().unwrap_or(0);
        longest = longest.max(own);
        chain.push(format!("{own} {}", call.action));
        for id in call.ids.iter().filter(|id| !text.contains(id.as_str())) {
            depth.entry(id.clone()).or_insert(own);
        }
    }
    assert_eq!(longest, 3, "the VPC, the subnet, the head: {chain:#?}");
}

#[tokio::test]
async fn routes_and_associations_that_somebody_changes_are_put_right() {
    let mut world = World::made(&lab_network(), "Dynamic").await;
    let ec2 = world.stand_in.ec2();
    let (vpc, public) = (world.vpc(), world.public_subnet());
    let inventory = &world.observed.inventory;
    let (table, head) = (one(&inventory.route_table.ours), one(&inventory.instance.ours));

    let route = ec2
        .delete_route()
        .route_table_id(&table)
        .destination_cidr_block("0.0.0.0/0");
    route.send().await.expect("the route goes");
    world.repairs(&["the route to 0.0.0.0/0 was missing"]).await;

    let nowhere = ec2
        .replace_route()
        .route_table_id(&table)
        .destination_cidr_block("0.0.0.0/0");
    nowhere
        .instance_id(&head)
        .send()
        .await
        .expect("the route leads elsewhere");
    world.repairs(&["the route to 0.0.0.0/0 led to"]).await;

    let association = association(&world, &public);
    let gone = ec2.disassociate_route_table().association_id(association);
    gone.send().await.expect("the association goes");
    world.repairs(&["was not associated with"]).await;

    let other = ec2.create_route_table().vpc_id(&vpc).send().await.expect("a table");
    let other = other
        .route_table
        .and_then(|table| table.route_table_id)
        .expect("its id");
    let moved = ec2
        .replace_route_table_association()
        .route_table_id(&other)
        .association_id(self::association(&world, &public));
    moved.send().await.expect("the association moves");
    world.repairs(&["in place of"]).await;
}

#[tokio::test]
async fn rules_and_settings_that_somebody_changes_are_put_right() {
    let mut world = World::made(&lab_network(), "None").await;
    let ec2 = world.stand_in.ec2();
    let (vpc, public) = (world.vpc(), world.public_subnet());
    let group = one(&world.observed.inventory.security_group.ours);

    let rule = |port: i32, cidr: &str| {
        let range = IpRange::builder().cidr_ip(cidr).build();
        let ports = IpPermission::builder().ip_protocol("tcp").from_port(port).to_port(port);
        ports.ip_ranges(range).build()
    };
    let revoke = ec2.revoke_security_group_ingress().group_id(&group);
    revoke
        .ip_permissions(rule(443, "192.0.2.0/24"))
        .send()
        .await
        .expect("a rule goes");
    let add = ec2.authorize_security_group_ingress().group_id(&group);
    add.ip_permissions(rule(8265, "0.0.0.0/0"))
        .send()
        .await
        .expect("a rule comes");
    let everything = IpPermission::builder().ip_protocol("-1");
    let everything = everything
        .ip_ranges(IpRange::builder().cidr_ip("0.0.0.0/0").build())
        .build();
    let close = ec2.revoke_security_group_egress().group_id(&group);
    close
        .ip_permissions(everything)
        .send()
        .await
        .expect("the way out is closed");
    let told = [
        "ingress rules were missing: tcp 443 192.0.2.0/24",
        "ingress rules were added: tcp 8265 0.0.0.0/0",
        "the way out was closed",
    ];
    world.repairs(&told).await;

    let names = ec2.modify_vpc_attribute().vpc_id(&vpc);
    names
        .enable_dns_hostnames(on(false))
        .send()
        .await
        .expect("names are switched off");
    let mapping = ec2.modify_subnet_attribute().subnet_id(&public);
    mapping
        .map_public_ip_on_launch(on(false))
        .send()
        .await
        .expect("mapping is switched off");
    world
        .repairs(&["DNS host names were off", "public addresses were off"])
        .await;
}

#[tokio::test]
async fn tags_that_somebody_removes_come_back() {
    let mut world = World::made(&lab_network(), "None").await;
    let ec2 = world.stand_in.ec2();
    let (vpc, public) = (world.vpc(), world.public_subnet());
    let inventory = &world.observed.inventory;
    let (gateway, table) = (one(&inventory.internet_gateway.ours), one(&inventory.route_table.ours));
    let group = one(&inventory.security_group.ours);
    let pair = one(&inventory.key_pair.ours);
    let head = inventory.instance.ours.values().next().expect("a head");
    let disk = head.root_volume.clone().expect("a disk");

    let tags = ec2
        .delete_tags()
        .resources(&vpc)
        .resources(&gateway)
        .resources(&public)
        .resources(&table);
    let tags = tags.resources(&group).resources(&pair).resources(&disk);
    let tags = tags.tags(Tag::builder().key("team").build());
    tags.send().await.expect("tags go");
    world.repairs(&["tags were missing or changed: team"; 7]).await;
    let tags = ec2.delete_tags().resources(&disk);
    let tags = tags.tags(Tag::builder().key(INSTALLATION).build());
    tags.send().await.expect("the disk is not seen any more");
    world.repairs(&["tags were missing or changed: Name, "]).await;
}

fn association(world: &World, subnet: &str) -> String {
    let table = world
        .observed
        .inventory
        .route_table
        .ours
        .values()
        .next()
        .expect("a table");
    table.associations[subnet].clone()
}

#[tokio::test]
async fn a_gateway_comes_back_and_a_key_pair_with_another_key_is_replaced() {
    let mut world = World::made(&lab_network(), "None").await;
    let ec2 = world.stand_in.ec2();
    let inventory = &world.observed.inventory;
    let gateway = one(&inventory.internet_gateway.ours);
    let pair = inventory.key_pair.ours.values().next().expect("a key pair").clone();
    assert_eq!(pair.public_key, PUBLIC_KEY.trim_end_matches(" rayward"));

    let detach = ec2
        .detach_internet_gateway()
        .internet_gateway_id(&gateway)
        .vpc_id(world.vpc());
    detach.send().await.expect("the gateway is detached");
    world.repairs(&["was not attached to"]).await;

    ec2.delete_key_pair()
        .key_name(&pair.name)
        .send()
        .await
        .expect("it goes");
    let another = ec2.import_key_pair().key_name(&pair.name);
    let another = another
        .public_key_material(aws_sdk_ec2::primitives::Blob::new(ANOTHER_KEY))
        .tag_specifications(tagged(ResourceType::KeyPair, &pair.tags));
    another.send().await.expect("another key comes");
    world.repairs(&["held another key"]).await;
}

fn tagged(kind: ResourceType, tags: &Tags) -> TagSpecification {
    let tags = tags
        .iter()
        .map(|(key, value)| Tag::builder().key(key).value(value).build());
    TagSpecification::builder()
        .resource_type(kind)
        .set_tags(Some(tags.collect()))
        .build()
}

/// A call of ours whose answer was lost, or that a look did not show yet, is made again: what comes of it.
#[tokio::test]
async fn a_change_that_was_made_already_is_no_trouble() {
    let mut world = World::new(StandIn::start(), cluster(&lab_network(), "None"));
    world.look().await;
    let mut again = Vec::new();
    for _ in 0..3 {
        let actions = world.plan().actions;
        again.extend(actions.iter().filter_map(|action| match action {
            Action::Aws(change) if !matches!(change, Change::Instance(_)) => Some(change.clone()),
            _ => None,
        }));
        for action in actions {
            world.carry_out(&action).await;
        }
    }
    let (before, _) = world.settle().await;
    assert!(before.iter().all(|line| line.contains("launch")), "{before:?}");
    for change in again {
        // These two have no name that EC2 could compare: a second one is made, and goes again by itself.
        if matches!(
            change.call().action(),
            "CreateVpc" | "CreateInternetGateway" | "CreateRouteTable"
        ) {
            continue;
        }
        match world.apply(&change).await {
            Ok(_) => {}
            Err(error) => assert_eq!(error.class, ErrorClass::Waiting, "{change}: {error}"),
        }
    }
    world.look().await;
    let plan = world.plan();
    assert!(plan.is_converged() && plan.findings.is_empty(), "{plan:#?}");
}

#[tokio::test]
async fn what_was_made_and_never_answered_is_found_and_what_was_made_twice_goes() {
    let stand_in = StandIn::start();
    for action in [
        "CreateVpc",
        "CreateInternetGateway",
        "CreateSubnet",
        "CreateSecurityGroup",
        "ImportKeyPair",
    ] {
        stand_in.inject(&json!({"action": action, "kind": "lost-response"}));
    }
    let mut world = World::new(stand_in, cluster(&lab_network(), "None"));
    for _ in 0..6 {
        world.look().await;
        for action in world.plan().actions {
            if let Action::Aws(change) = &action
                && !matches!(change, Change::Instance(_))
                && let Ok(answer) = world.apply(change).await
            {
                world.observed.inventory.fold(change, &answer);
            }
        }
    }
    world.pass().await;
    let made = |action: &str| {
        let calls = world.stand_in.changes();
        calls.iter().filter(|call| call.action == action).count()
    };
    assert_eq!(
        [made("CreateVpc"), made("CreateSubnet"), made("ImportKeyPair")],
        [1, 2, 1]
    );

    // A crash between a call and the next look.
    for change in [world.vpc_change(), world.gateway_change()] {
        world.apply(&change).await.expect("a second one is made");
    }
    world.look().await;
    world.ahead = SignedDuration::from_hours(1);
    assert_eq!(world.observed.inventory.vpc.ours.len(), 2);
    let (done, plan) = world.settle().await;
    assert_eq!(done.len(), 2, "{done:?}");
    assert!(
        done[0].starts_with("delete VPC") && done[1].starts_with("delete internet gateway"),
        "{done:?}"
    );
    assert!(plan.is_converged(), "{plan:#?}");
}

impl World {
    fn vpc_change(&self) -> Change {
        let vpc = self.observed.inventory.vpc.ours.values().next().expect("a VPC");
        let (cidr, tags) = (vpc.cidr.clone(), vpc.tags.clone());
        Change::Vpc(rayward::resources::vpc::VpcChange::Create { cidr, tags })
    }

    fn gateway_change(&self) -> Change {
        let gateways = &self.observed.inventory.internet_gateway.ours;
        let tags = gateways.values().next().expect("a gateway").tags.clone();
        Change::InternetGateway(rayward::resources::internet_gateway::InternetGatewayChange::Create { tags })
    }
}

#[tokio::test]
async fn an_interface_of_others_holds_its_subnet_and_nothing_else() {
    let mut world = World::made(&lab_network(), "Dynamic").await;
    let ec2 = world.stand_in.ec2();
    let private = world
        .observed
        .inventory
        .subnet
        .ours
        .values()
        .find(|subnet| !subnet.maps_public_addresses);
    let private = private.expect("a private subnet").id.clone();
    let theirs = ec2.create_network_interface().subnet_id(&private).description("theirs");
    let theirs = theirs
        .send()
        .await
        .expect("an interface")
        .network_interface
        .expect("it");
    let theirs = theirs.network_interface_id.expect("its id");
    let left = ec2
        .create_volume()
        .availability_zone(format!("{REGION}a"))
        .size(1)
        .volume_type(VolumeType::Gp3);
    let ours = world
        .observed
        .inventory
        .vpc
        .ours
        .values()
        .next()
        .expect("a VPC")
        .tags
        .clone();
    let left = left.tag_specifications(tagged(ResourceType::Volume, &ours));
    left.send().await.expect("a disk that a machine left behind");

    world.cluster.deleting = true;
    world.pass().await;
    let (_, plan) = world.pass().await;
    let remaining: Vec<Kind> = world
        .observed
        .inventory
        .ids()
        .into_iter()
        .map(|(kind, _)| kind)
        .collect();
    assert_eq!(remaining, [Kind::Vpc, Kind::Subnet]);
    let blocked: Vec<_> = plan
        .waiting
        .iter()
        .filter(|wait| wait.reason == Reason::ForeignResource)
        .collect();
    assert!(
        blocked
            .iter()
            .any(|wait| wait.message.contains(&theirs) && wait.message.contains(&private)),
        "{blocked:?}"
    );

    let gone = ec2.delete_network_interface().network_interface_id(&theirs);
    gone.send().await.expect("the interface goes");
    world.pass().await;
    world.look().await;
    assert_eq!(world.observed.inventory.ids(), []);
}

#[tokio::test]
async fn a_network_of_the_users_stays_as_it_is_to_the_letter() {
    let stand_in = StandIn::start();
    let ec2 = stand_in.ec2();
    let vpc = ec2
        .create_vpc()
        .cidr_block("172.20.0.0/16")
        .send()
        .await
        .expect("a VPC");
    let vpc = vpc.vpc.and_then(|vpc| vpc.vpc_id).expect("its id");
    let mut subnets = Vec::new();
    for cidr in ["172.20.1.0/24", "172.20.2.0/24"] {
        let subnet = ec2
            .create_subnet()
            .vpc_id(&vpc)
            .cidr_block(cidr)
            .send()
            .await
            .expect("a subnet");
        subnets.push(subnet.subnet.and_then(|subnet| subnet.subnet_id).expect("its id"));
    }
    let unknown = json!({"existing": {"vpcId": vpc, "subnetIds": ["subnet-00000000000000000"]}});
    let mut world = World::new(stand_in, cluster(&unknown, "Dynamic"));
    world.vpc_id = Some(vpc.clone());
    world.look().await;
    let plan = world.plan();
    let missing = plan.waiting.iter().find(|wait| wait.reason == Reason::InvalidReference);
    assert!(
        missing
            .expect("a reference to nothing")
            .message
            .contains("subnet-00000000000000000")
    );
    let started = world.stand_in.changes().len();

    world.cluster = cluster(&json!({"existing": {"vpcId": vpc, "subnetIds": subnets}}), "Dynamic");
    let before = world.observed.inventory.clone();
    world.pass().await;
    world.look().await;
    let inventory = &world.observed.inventory;
    assert_eq!(inventory.vpc.others, before.vpc.others);
    assert_eq!(inventory.subnet.others, before.subnet.others);
    assert_eq!(inventory.route_table.others, before.route_table.others);
    assert_eq!(inventory.internet_gateway.others, before.internet_gateway.others);
    let head = inventory.instance.ours.values().next().expect("a head");
    assert_eq!(head.subnet_id.as_ref(), Some(&subnets[0]));
    let calls: Vec<String> = world.stand_in.changes()[started..]
        .iter()
        .map(|call| call.action.clone())
        .collect();
    assert_eq!(
        calls,
        [
            "ImportKeyPair",
            "CreateSecurityGroup",
            "AuthorizeSecurityGroupIngress",
            "RunInstances"
        ]
    );

    world.cluster.deleting = true;
    world.pass().await;
    world.look().await;
    let inventory = &world.observed.inventory;
    assert_eq!(inventory.ids(), []);
    assert_eq!(inventory.subnet.others, before.subnet.others);
    assert_eq!(inventory.security_group.others, before.security_group.others);
}

#[tokio::test]
async fn an_address_of_others_on_the_head_is_not_taken_off_it() {
    let mut world = World::made(&lab_network(), "None").await;
    let ec2 = world.stand_in.ec2();
    let head = one(&world.observed.inventory.instance.ours);
    let theirs = ec2.allocate_address().send().await.expect("an address");
    let theirs = theirs.allocation_id.expect("its id");
    let put = ec2.associate_address().allocation_id(&theirs).instance_id(&head);
    put.send().await.expect("it is put on the head");
    world.cluster = cluster(&lab_network(), "Elastic");
    let (done, plan) = world.pass().await;
    assert_eq!(done, ["allocate an Elastic IP address"], "{plan:#?}");
    assert_eq!(plan.waiting.len(), 1, "{plan:#?}");
    assert_eq!(plan.waiting[0].reason, Reason::ForeignResource);

    let given_back = ec2
        .describe_addresses()
        .allocation_ids(&theirs)
        .send()
        .await
        .expect("it");
    let association = given_back.addresses()[0]
        .association_id()
        .expect("its association")
        .to_owned();
    let off = ec2.disassociate_address().association_id(association);
    off.send().await.expect("it is taken off");
    let (_, plan) = world.pass().await;
    assert!(plan.is_converged(), "{plan:#?}");
    let address = world.observed.inventory.address.ours.values().next().expect("ours");
    assert_eq!(address.instance_id.as_ref(), Some(&head));
    assert_eq!(address.tags[ROLE], rayward::resources::address::ROLE);
}

#[tokio::test]
async fn a_full_quota_is_a_persons_matter() {
    let world = World::new(StandIn::start(), cluster(&lab_network(), "Elastic"));
    world
        .stand_in
        .inject(&json!({"action": "AllocateAddress", "kind": "quota"}));
    let change = Change::Address(AddressChange::Allocate { tags: Tags::new() });
    let error = world.apply(&change).await.expect_err("the quota is full");
    assert_eq!(
        (error.class, error.code.as_str()),
        (ErrorClass::Terminal, "AddressLimitExceeded")
    );
}
