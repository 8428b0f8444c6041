//! The network on EC2: what is planned is carried out, what is folded is what EC2 then shows, what somebody changes is
//! put right, and what is somebody else's stays as it is.

mod creation;
mod drift;
mod others;

use std::collections::BTreeMap;
use std::fmt::Debug;

use aws_sdk_ec2::types::{ResourceType, Tag, TagSpecification};
use jiff::{SignedDuration, Timestamp};
use rayward::api::Phase;
use rayward::aws::{Aws, AwsError, Clients, Image, Scope};
use rayward::observe::{KeySecret, Ledger, Observed, Source};
use rayward::plan::{Action, Inputs, Limits, Outcome, Plan, Subject, plan};
use rayward::resources::instance::{InstanceChange, InstanceState, token_prefix};
use rayward::resources::{Answer, Change, Inventory, Kind, Listing, Resource};
use rayward::tags::{CLUSTER_UID, Tags};
use rayward::validate::{Installation, ValidCluster, validate};
use serde_json::{Value, json};

use crate::support::aws::clients;
use crate::support::stand_in::{REGION, StandIn};
use crate::support::wait::{PATIENCE, until};

const UID: &str = "0f3a2b1c-0000-4000-8000-123456789abc";
const IMAGE: &str = "ami-003c463c8207b4dfa";
const PUBLIC_KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHd6kXUQ3pxnqAYMGqZ3vZK7LBhEFOlzGAuWS4rHtWmH rayward";

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
            // Of others' addresses a cluster sees none but the one that its status names: here none does.
            inventory.address.others.clear();
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
            has_finalizer: true,
            ..Observed::default()
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
        assert!(is_settled(&plan) && plan.findings.is_empty(), "{plan:#?}");
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
        assert!(is_settled(&plan), "{plan:#?}");
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
/// Whether nothing is left to do on AWS: nobody looks into these machines, so their Ray is waited for.
fn is_settled(plan: &Plan) -> bool {
    let is_of_machines = |subject: Subject| matches!(subject, Subject::Head | Subject::Workers);
    plan.actions.is_empty() && plan.waiting.iter().all(|waiting| is_of_machines(waiting.subject))
}

fn one<T>(items: &Items<T>) -> String {
    assert_eq!(items.len(), 1);
    items.keys().next().expect("one").clone()
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

fn tagged(kind: ResourceType, tags: &Tags) -> TagSpecification {
    let tags = tags
        .iter()
        .map(|(key, value)| Tag::builder().key(key).value(value).build());
    TagSpecification::builder()
        .resource_type(kind)
        .set_tags(Some(tags.collect()))
        .build()
}
