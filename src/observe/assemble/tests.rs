use serde_json::json;

use super::*;
use crate::{
    api::{HeadStatus, NetworkStatus, RayCluster, SubnetStatus},
    aws::Scope,
    resources::{
        Answer, Change, Listing, Resource,
        address::Address,
        instance::{self, client_token},
        key_pair::KeyPair,
        security_group::SecurityGroup,
        subnet::Subnet,
        vpc::{Vpc, VpcChange},
    },
    sweep::tests::snapshot,
    tags::Tags,
    validate::{Installation, validate},
};

const UID: &str = "0f3a2b1c-0000-4000-8000-123456789abc";

fn cluster(network: &serde_json::Value) -> ValidCluster {
    let object: RayCluster = serde_json::from_value(json!({
        "apiVersion": "rayward.dev/v1alpha1", "kind": "RayCluster",
        "metadata": {"name": "lab", "namespace": "ml", "uid": UID, "generation": 1},
        "spec": {"region": "ap-southeast-1", "network": network, "keyPair": {"name": "mine"}},
    }))
    .unwrap();
    let installation = Installation {
        id: "inst".into(),
        egress_cidrs: vec![],
    };
    validate(&object, &installation, "ns-uid").unwrap()
}

fn own() -> ValidCluster {
    cluster(&json!({}))
}

fn brought() -> ValidCluster {
    cluster(&json!({"existing": {"vpcId": "vpc-0a", "subnetIds": ["subnet-0a"]}}))
}

fn tagged(uid: &str) -> Tags {
    Tags::from([
        (tags::INSTALLATION.into(), "inst".into()),
        (tags::CLUSTER_UID.into(), uid.into()),
        (tags::CLUSTER.into(), "ml/lab".into()),
    ])
}

fn vpc(id: &str, tags: Tags) -> Vpc {
    Vpc {
        id: id.into(),
        cidr: "10.0.0.0/16".into(),
        dns_support: true,
        dns_hostnames: true,
        in_the_way: None,
        tags,
    }
}

fn subnet(id: &str, vpc_id: &str, tags: Tags) -> Subnet {
    Subnet {
        id: id.into(),
        vpc_id: vpc_id.into(),
        cidr: "10.0.1.0/24".into(),
        availability_zone: "ap-southeast-1a".into(),
        maps_public_addresses: true,
        tags,
    }
}

fn machine(id: &str, vpc_id: &str, tags: Tags, token: Option<String>) -> instance::Instance {
    instance::Instance {
        vpc_id: Some(vpc_id.into()),
        client_token: token,
        tags,
        ..instance::sample(id)
    }
}

fn recorded(vpc_id: &str, subnet_id: &str) -> RayClusterStatus {
    RayClusterStatus {
        cluster_uid: Some(UID.into()),
        network: Some(NetworkStatus {
            vpc_id: Some(vpc_id.into()),
            subnets: vec![SubnetStatus {
                name: "a".into(),
                id: subnet_id.into(),
                availability_zone: None,
            }],
            ..NetworkStatus::default()
        }),
        ..RayClusterStatus::default()
    }
}

fn everywhere() -> Scope {
    Scope {
        installation: "inst".into(),
        token_prefix: token_prefix("inst"),
        vpc_ids: vec!["vpc-0a".into(), "vpc-0b".into()],
        bucket_names: vec![],
    }
}

/// One cluster as sweeps show it that found these things.
fn look(cluster: &ValidCluster, status: RayClusterStatus, found: &[Listing]) -> Observed {
    let now = Instant::now();
    look_with(cluster, status, found, &everywhere(), &Memory::new(now), now)
}

fn look_with(
    cluster: &ValidCluster,
    status: RayClusterStatus,
    found: &[Listing],
    scope: &Scope,
    memory: &Memory,
    now: Instant,
) -> Observed {
    observe(Facts {
        cluster,
        snapshot: &snapshot(&[now], scope, found),
        memory,
        ray: RayFacts::default(),
        kube: KubeFacts {
            wishes: Wishes::default(),
            status,
            key: Source::Known(KeySecret::Missing),
            stopped: None,
            has_finalizer: true,
        },
        account: Source::Known("111122223333".into()),
        image: Source::Unknown("not asked".into()),
        exhausted: BTreeMap::new(),
        consistency_window: Duration::from_mins(1),
        now,
    })
}

fn ids<T: Resource>(items: &BTreeMap<String, T>) -> Vec<&str> {
    items.values().map(Resource::id).collect()
}

#[test]
fn what_carries_our_uid_is_ours_and_what_lies_in_our_vpc_is_seen() {
    let observed = look(
        &own(),
        RayClusterStatus::default(),
        &[
            Listing::Vpc(vec![vpc("vpc-0a", tagged(UID)), vpc("vpc-0b", tagged("other"))]),
            Listing::Subnet(vec![
                subnet("subnet-1", "vpc-0a", tagged(UID)),
                subnet("subnet-2", "vpc-0a", Tags::new()),
                subnet("subnet-3", "vpc-0b", tagged("other")),
            ]),
        ],
    );
    let inventory = &observed.inventory;
    assert_eq!(ids(&inventory.vpc.ours), ["vpc-0a"]);
    assert!(inventory.vpc.others.is_empty());
    assert_eq!(ids(&inventory.subnet.ours), ["subnet-1"]);
    assert_eq!(ids(&inventory.subnet.others), ["subnet-2"]);
    assert_eq!(inventory.subnet.ours["subnet-1"].tags, tagged(UID), "with all its tags");
}

#[test]
fn a_machine_that_lost_its_tags_is_known_by_the_token_that_launched_it() {
    let token = |uid: &str| Some(client_token("inst", uid, 7));
    let elsewhere = Some(client_token("another installation", UID, 7));
    let observed = look(
        &own(),
        RayClusterStatus::default(),
        &[Listing::Instance(vec![
            machine("i-1", "vpc-0b", Tags::new(), token(UID)),
            machine("i-2", "vpc-0b", tagged("another"), token(UID)),
            machine("i-3", "vpc-0b", Tags::new(), token("1111")),
            machine("i-4", "vpc-0b", Tags::new(), elsewhere),
        ])],
    );
    assert_eq!(ids(&observed.inventory.instance.ours), ["i-1", "i-2"]);
}

#[test]
fn what_lost_its_tags_is_known_by_our_own_record_where_it_lies_in_our_vpc() {
    let found = || {
        vec![
            Listing::Vpc(vec![vpc("vpc-0a", Tags::new()), vpc("vpc-0b", Tags::new())]),
            Listing::Subnet(vec![
                subnet("subnet-1", "vpc-0a", Tags::new()),
                subnet("subnet-2", "vpc-0a", Tags::new()),
            ]),
        ]
    };
    let observed = look(&own(), recorded("vpc-0a", "subnet-1"), &found());
    assert_eq!(ids(&observed.inventory.vpc.ours), ["vpc-0a"]);
    assert_eq!(ids(&observed.inventory.subnet.ours), ["subnet-1"]);
    assert_eq!(ids(&observed.inventory.subnet.others), ["subnet-2"]);

    let of_another = RayClusterStatus {
        cluster_uid: Some("another".into()),
        ..recorded("vpc-0a", "subnet-1")
    };
    let observed = look(&own(), of_another, &found());
    assert!(
        observed.inventory.vpc.ours.is_empty(),
        "a restored status proves nothing"
    );

    let found = vec![
        Listing::Vpc(vec![vpc("vpc-0a", tagged(UID)), vpc("vpc-0b", Tags::new())]),
        Listing::Subnet(vec![subnet("subnet-1", "vpc-0b", Tags::new())]),
    ];
    let observed = look(&own(), recorded("vpc-0a", "subnet-1"), &found);
    assert!(observed.inventory.subnet.ours.is_empty(), "it lies somewhere else");
}

#[test]
fn a_vpc_is_known_by_what_only_we_put_into_it_and_not_by_a_machine_whose_tags_were_copied() {
    let vpcs = || Listing::Vpc(vec![vpc("vpc-0a", Tags::new())]);
    let status = RayClusterStatus::default;
    let with_subnet = vec![vpcs(), Listing::Subnet(vec![subnet("subnet-1", "vpc-0a", tagged(UID))])];
    assert_eq!(
        ids(&look(&own(), status(), &with_subnet).inventory.vpc.ours),
        ["vpc-0a"]
    );
    let launched = Listing::Instance(vec![machine(
        "i-1",
        "vpc-0a",
        Tags::new(),
        Some(client_token("inst", UID, 1)),
    )]);
    let observed = look(&own(), status(), &[vpcs(), launched]);
    assert_eq!(ids(&observed.inventory.vpc.ours), ["vpc-0a"]);
    let copied = Listing::Instance(vec![machine("i-1", "vpc-0a", tagged(UID), None)]);
    assert!(look(&own(), status(), &[vpcs(), copied]).inventory.vpc.ours.is_empty());
    let others = Listing::Vpc(vec![vpc("vpc-0a", tagged("other"))]);
    let inside = Listing::Subnet(vec![subnet("subnet-1", "vpc-0a", tagged(UID))]);
    assert!(look(&own(), status(), &[others, inside]).inventory.vpc.ours.is_empty());
}

#[test]
fn what_the_user_brought_is_never_ours_whatever_tags_and_record_say() {
    let found = vec![
        Listing::Vpc(vec![vpc("vpc-0a", tagged(UID))]),
        Listing::Subnet(vec![
            subnet("subnet-0a", "vpc-0a", tagged(UID)),
            subnet("subnet-0b", "vpc-0a", Tags::new()),
        ]),
        Listing::Instance(vec![machine("i-1", "vpc-0a", tagged(UID), None)]),
    ];
    let observed = look(&brought(), recorded("vpc-0a", "subnet-0b"), &found);
    let inventory = &observed.inventory;
    assert!(inventory.vpc.ours.is_empty() && inventory.subnet.ours.is_empty());
    assert_eq!(ids(&inventory.vpc.others), ["vpc-0a"]);
    assert_eq!(ids(&inventory.subnet.others), ["subnet-0a", "subnet-0b"]);
    assert_eq!(ids(&inventory.instance.ours), ["i-1"]);
}

#[test]
fn in_the_users_vpc_a_group_that_lost_its_tags_is_known_by_our_record() {
    let group = |id: &str| SecurityGroup {
        id: id.into(),
        name: "a name".into(),
        vpc_id: "vpc-0a".into(),
        ingress: BTreeSet::new(),
        egress: BTreeSet::new(),
        tags: Tags::new(),
    };
    let brought = cluster(&json!({
        "existing": {"vpcId": "vpc-0a", "subnetIds": ["subnet-0a"], "securityGroupIds": ["sg-users"]},
    }));
    let mut status = recorded("vpc-0a", "subnet-0a");
    if let Some(network) = &mut status.network {
        network.security_group_ids = vec!["sg-ours".into(), "sg-users".into()];
    }
    let found = vec![Listing::SecurityGroup(
        ["sg-ours", "sg-users", "sg-else"].map(group).into(),
    )];
    let groups = look(&brought, status, &found).inventory.security_group;
    assert_eq!(ids(&groups.ours), ["sg-ours"]);
    assert_eq!(ids(&groups.others), ["sg-else", "sg-users"]);
}

#[test]
fn a_key_pair_is_seen_by_its_name_the_users_and_one_with_the_name_of_ours() {
    let pair = |id: &str, name: &str| KeyPair {
        id: id.into(),
        name: name.into(),
        public_key: String::new(),
        tags: Tags::new(),
    };
    let found = vec![Listing::KeyPair(vec![
        pair("key-1", "mine"),
        pair("key-2", "theirs"),
        pair("key-3", "rayward-ml-lab-0f3a2b1c"),
    ])];
    let observed = look(&own(), RayClusterStatus::default(), &found);
    assert_eq!(ids(&observed.inventory.key_pair.others), ["key-1", "key-3"]);
}

#[test]
fn an_elastic_address_that_lost_its_tags_is_known_by_our_record_unless_others_use_it() {
    let status = RayClusterStatus {
        head: Some(HeadStatus {
            allocation_id: Some("eipalloc-1".into()),
            ..HeadStatus::default()
        }),
        ..recorded("vpc-0a", "subnet-1")
    };
    let look_at = |status: &RayClusterStatus, association: Option<&str>, user: Option<&str>, tags: Tags| {
        let address = |id: &str| Address {
            id: id.into(),
            public_address: "192.0.2.9".into(),
            association_id: association.map(Into::into),
            instance_id: user.map(Into::into),
            tags: tags.clone(),
        };
        let token = Some(client_token("inst", UID, 7));
        let found = vec![
            Listing::Instance(vec![machine("i-1", "vpc-0b", Tags::new(), token)]),
            Listing::Address(vec![address("eipalloc-1"), address("eipalloc-2")]),
        ];
        let shelf = look(&own(), status.clone(), &found).inventory.address;
        let all = [&shelf.ours, &shelf.others];
        all.map(|side| side.keys().cloned().collect::<Vec<_>>().join(" "))
    };
    let untagged = Tags::new;
    assert_eq!(look_at(&status, None, None, untagged()), ["eipalloc-1", ""]);
    let on = Some("eipassoc-1");
    assert_eq!(look_at(&status, on, Some("i-1"), untagged()), ["eipalloc-1", ""]);
    assert_eq!(look_at(&status, on, Some("i-2"), untagged()), ["", "eipalloc-1"]);
    assert_eq!(look_at(&status, on, None, untagged()), ["", "eipalloc-1"]);
    assert_eq!(look_at(&status, None, None, tagged("another")), ["", ""]);
    let unrecorded = recorded("vpc-0a", "subnet-1");
    assert_eq!(look_at(&unrecorded, on, Some("i-1"), untagged()), ["", ""]);
}

#[test]
fn a_kind_is_swept_when_all_vpcs_of_the_cluster_were_looked_into() {
    let (now, nowhere) = (
        Instant::now(),
        Scope {
            vpc_ids: vec![],
            ..everywhere()
        },
    );
    let memory = Memory::new(now);
    let look = |cluster: &ValidCluster, status, found: &[Listing], memory: &Memory| {
        look_with(cluster, status, found, &nowhere, memory, now)
    };
    let fresh = look(&own(), RayClusterStatus::default(), &[], &memory);
    assert_eq!(
        fresh.inventory.subnet.swept,
        Source::Known(()),
        "a new cluster has no VPC"
    );
    let Source::Unknown(why) = look(&brought(), RayClusterStatus::default(), &[], &memory)
        .inventory
        .subnet
        .swept
    else {
        panic!("nobody looked into the user's VPC");
    };
    assert!(why.message.contains("vpc-0a"), "{why}");

    let found = || vec![Listing::Vpc(vec![vpc("vpc-0a", tagged(UID))])];
    let status = RayClusterStatus::default;
    let observed = look(&own(), status(), &found(), &memory);
    assert!(matches!(observed.inventory.subnet.swept, Source::Unknown(_)));
    let mut made = Memory::new(now);
    let change = Change::Vpc(VpcChange::Create {
        cidr: "10.0.0.0/16".into(),
        tags: Tags::new(),
    });
    made.performed("k", change, Answer::Created("vpc-0a".into()), now);
    let observed = look(&own(), status(), &found(), &made);
    assert_eq!(
        observed.inventory.subnet.swept,
        Source::Known(()),
        "we made it: nothing else was in it"
    );
}

#[test]
fn a_predecessor_is_alive_with_our_name_and_another_uid() {
    let gone = instance::Instance {
        state: instance::InstanceState::Terminated,
        ..machine("i-2", "vpc-0b", tagged("older"), None)
    };
    let mut released = vpc("vpc-0c", tagged("older"));
    released.tags.insert(tags::RELEASED_BY.into(), "inst/ns-uid/lab".into());
    let found = vec![
        Listing::Vpc(vec![vpc("vpc-0a", tagged(UID)), released]),
        Listing::Instance(vec![machine("i-1", "vpc-0b", tagged("older"), None), gone]),
    ];
    let observed = look(&own(), RayClusterStatus::default(), &found);
    assert_eq!(observed.predecessors, ["i-1"]);
}

#[test]
fn a_cluster_of_our_name_that_another_installation_has_in_the_same_vpc_is_no_predecessor() {
    let mut tags = tagged("theirs");
    tags.insert(tags::INSTALLATION.into(), "another".into());
    let token = Some(client_token("another", "theirs", 7));
    let found = vec![Listing::Instance(vec![machine("i-1", "vpc-0a", tags, token)])];
    let observed = look(&brought(), RayClusterStatus::default(), &found);
    assert_eq!(observed.predecessors, [""; 0]);
    assert_eq!(ids(&observed.inventory.instance.others), ["i-1"]);
}

#[test]
fn the_record_of_launches_of_another_object_counts_as_lost() {
    let status = RayClusterStatus {
        last_launch: Some(7),
        head: Some(HeadStatus {
            instance_id: Some("i-1".into()),
            ..HeadStatus::default()
        }),
        ..recorded("vpc-0a", "subnet-1")
    };
    let other = RayClusterStatus {
        cluster_uid: Some("another".into()),
        ..status.clone()
    };
    assert_eq!(look(&own(), status, &[]).ledger.last, Some(7));
    let observed = look(&own(), other, &[]);
    assert_eq!(
        (observed.ledger, observed.recorded),
        (Ledger::default(), RayClusterStatus::default())
    );
}

#[test]
fn the_ages_are_those_of_the_sweeps() {
    let now = Instant::now();
    let began = now - Duration::from_secs(20);
    let swept = snapshot(&[began], &everywhere(), &[]);
    let (cluster, memory) = (own(), Memory::new(now));
    let never = Snapshot::default();
    let facts = |snapshot| Facts {
        snapshot,
        cluster: &cluster,
        memory: &memory,
        ray: RayFacts::default(),
        kube: KubeFacts {
            wishes: Wishes::default(),
            status: RayClusterStatus::default(),
            key: Source::Known(KeySecret::Missing),
            stopped: None,
            has_finalizer: true,
        },
        account: Source::Known("111122223333".into()),
        image: Source::Unknown("not asked".into()),
        exhausted: BTreeMap::new(),
        consistency_window: Duration::from_mins(1),
        now,
    };
    let observed = observe(facts(&swept));
    assert_eq!(
        (observed.sweep_age, observed.machine_sweep_age),
        (now - began, now - began)
    );
    let observed = observe(facts(&never));
    assert_eq!(observed.machine_sweep_age, Duration::MAX);
    assert!(matches!(observed.inventory.instance.swept, Source::Unknown(_)));
}
