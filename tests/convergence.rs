//! Generated stories on a fake account: whatever goes wrong on the way, a cluster becomes what its spec says, never has
//! a machine more than asked for, touches nothing of others, and leaves nothing behind.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use proptest::{collection::vec, prelude::*, sample::select, test_runner::Config};
use rayward::{
    aws::ErrorClass,
    resources::{Change, Inventory, instance::InstanceState, subnet::Subnet, vpc::Vpc},
    tags::{self, Tags},
};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::fake::{
    Fault, Habits,
    world::{Object, World},
};

const UID: &str = "0f3a2b1c-0000-4000-8000-123456789abc";

/// A spec, as far as it makes a difference to machines and addresses.
#[derive(Clone, Debug)]
struct Wish {
    groups: Vec<u32>,
    elastic: bool,
}

impl Wish {
    fn spec(&self) -> Value {
        let group = |(index, replicas): (usize, &u32)| json!({"name": format!("g{index}"), "replicas": replicas});
        let groups: Vec<Value> = self.groups.iter().enumerate().map(group).collect();
        let address = if self.elastic { "Elastic" } else { "Dynamic" };
        json!({
            "region": "ap-southeast-1",
            "head": {"publicAddress": address, "image": {"id": "ami-003c463c8207b4dfa"}},
            "workerGroups": groups,
            "network": {"adminCidrs": ["192.0.2.0/24"], "ingress": [{"ports": "8265", "cidrs": ["192.0.2.0/24"]}]},
        })
    }

    fn machines(&self) -> usize {
        1 + self.groups.iter().map(|replicas| *replicas as usize).sum::<usize>()
    }
}

fn wishes() -> impl Strategy<Value = Wish> {
    (vec(0_u32..4, 0..3), any::<bool>()).prop_map(|(groups, elastic)| Wish { groups, elastic })
}

/// What goes wrong with the first calls, one after the other.
fn troubles() -> impl Strategy<Value = Vec<Option<Fault>>> {
    let faults = select(vec![
        None,
        None,
        None,
        Some(Fault::AnswerLost),
        Some(Fault::Refused(ErrorClass::Retryable)),
        Some(Fault::Refused(ErrorClass::Throttled)),
        Some(Fault::Refused(ErrorClass::Waiting)),
        Some(Fault::Refused(ErrorClass::NotFound)),
    ]);
    vec(faults, 0..60)
}

fn live(inventory: &Inventory) -> usize {
    let machines = inventory.instance.ours.values();
    let is_live = |state| !matches!(state, InstanceState::ShuttingDown | InstanceState::Terminated);
    machines.filter(|machine| is_live(machine.state)).count()
}

/// A VPC with a subnet that somebody else has, with a name as ours would have it.
fn somebody_elses(inventory: &mut Inventory) {
    let tags = Tags::from([(tags::NAME.into(), "rayward-ml-lab-vpc".into())]);
    let vpc = Vpc {
        id: "vpc-theirs".into(),
        cidr: "10.0.0.0/16".into(),
        dns_support: true,
        dns_hostnames: false,
        in_the_way: None,
        tags: tags.clone(),
    };
    inventory.vpc.ours.insert(vpc.id.clone(), vpc);
    let subnet = Subnet {
        id: "subnet-theirs".into(),
        vpc_id: "vpc-theirs".into(),
        cidr: "10.0.1.0/24".into(),
        availability_zone: "ap-southeast-1a".into(),
        maps_public_addresses: false,
        tags,
    };
    inventory.subnet.ours.insert(subnet.id.clone(), subnet);
}

/// An account in which the first calls go wrong as `troubles` says, and in which somebody else has something.
fn world(habits: Habits, troubles: Vec<Option<Fault>>) -> World {
    let world = World::new(habits);
    world.fake.disturb(somebody_elses);
    let mut troubles = troubles.into_iter();
    world.fake.fail_by(move |_| troubles.next().flatten());
    world
}

fn check(world: &World, wish: &Wish) {
    let inventory = world.fake.inventory();
    assert_eq!(live(&inventory), wish.machines());
    assert!(
        world.fake.most_machines() <= wish.machines(),
        "{} machines at once",
        world.fake.most_machines()
    );
    let mine = world.holds(UID);
    assert_eq!(
        (
            mine.vpc.ours.len(),
            mine.subnet.ours.len(),
            mine.internet_gateway.ours.len()
        ),
        (1, 1, 1)
    );
    assert_eq!((mine.security_group.ours.len(), mine.key_pair.ours.len()), (1, 1));
    assert_eq!(mine.address.ours.len(), usize::from(wish.elastic));
    assert_eq!(world.fake.buckets().len(), 4);
    untouched(&inventory);
}

fn untouched(inventory: &Inventory) {
    let mut theirs = Inventory::default();
    somebody_elses(&mut theirs);
    assert_eq!(inventory.vpc.ours.get("vpc-theirs"), theirs.vpc.ours.get("vpc-theirs"));
    assert_eq!(
        inventory.subnet.ours.get("subnet-theirs"),
        theirs.subnet.ours.get("subnet-theirs")
    );
}

/// Nothing is left but buckets, which carry no uid any more.
fn check_gone(world: &World, object: &Object) {
    assert!(!object.kept.has_finalizer());
    let mut left = world.holds(UID);
    left.instance
        .ours
        .retain(|_, machine| machine.state != InstanceState::Terminated);
    assert_eq!(left.ids(), []);
    let buckets = world.fake.buckets();
    assert_eq!(buckets.len(), 4);
    assert!(buckets.values().all(|tags| !tags.contains_key(tags::CLUSTER_UID)));
    untouched(&world.fake.inventory());
}

fn run(story: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime").block_on(story);
}

fn cases(cases: u32) -> Config {
    Config {
        cases,
        failure_persistence: None,
        ..Config::default()
    }
}

proptest! {
    #![proptest_config(cases(48))]

    #[test]
    fn whatever_goes_wrong_a_cluster_becomes_what_its_spec_says_and_goes_without_a_trace(
        wish in wishes(), making in troubles(), going in troubles(),
    ) {
        run(async {
            let world = world(Habits::default(), making);
            let mut object = Object::new("lab", UID, &wish.spec());
            world.converge(&mut object).await;
            check(&world, &wish);
            let mut going = going.into_iter();
            world.fake.fail_by(move |_| going.next().flatten());
            object.delete();
            world.converge(&mut object).await;
            check_gone(&world, &object);
        });
    }

    #[test]
    fn a_process_that_dies_between_any_two_calls_is_followed_by_the_same_end(
        wish in wishes(), deaths in vec(1_usize..8, 0..12), deleting in any::<bool>(),
    ) {
        run(async {
            let world = world(Habits::default(), vec![]);
            let mut object = Object::new("lab", UID, &wish.spec());
            if deleting {
                world.converge(&mut object).await;
                object.delete();
            }
            for calls in deaths {
                let stop = CancellationToken::new();
                let (left, ends) = (Arc::new(AtomicUsize::new(calls)), stop.clone());
                // The last call is carried out, and nobody hears its answer.
                world.fake.fail_by(move |_| {
                    let is_last = left.fetch_sub(1, Ordering::Relaxed) <= 1;
                    if is_last {
                        ends.cancel();
                    }
                    is_last.then_some(Fault::AnswerLost)
                });
                world.pass(&mut object, &stop).await;
                object.restart();
                world.clock.advance(Duration::from_mins(6));
                if deleting && !object.kept.has_finalizer() {
                    break;
                }
            }
            world.fake.recover();
            world.converge(&mut object).await;
            if deleting {
                check_gone(&world, &object);
            } else {
                check(&world, &wish);
            }
        });
    }

}

proptest! {
    #![proptest_config(cases(16))]

    #[test]
    fn reads_that_lag_behind_double_nothing(wish in wishes(), making in troubles()) {
        run(async {
            let habits = Habits { lag: Duration::from_millis(30), ..Habits::default() };
            let world = world(habits, making);
            let mut object = Object::new("lab", UID, &wish.spec());
            world.converge(&mut object).await;
            // What was made twice is taken away once everybody would see it in use.
            world.clock.advance(Duration::from_mins(2));
            world.converge(&mut object).await;
            check(&world, &wish);
        });
    }
}

#[tokio::test]
async fn a_converged_cluster_is_left_alone() {
    let world = world(Habits::default(), vec![]);
    let wish = Wish {
        groups: vec![2],
        elastic: false,
    };
    let mut object = Object::new("lab", UID, &wish.spec());
    world.converge(&mut object).await;
    let (_, changes) = world.fake.calls();
    for _ in 0..5 {
        world.clock.advance(Duration::from_mins(2));
        let outcome = world.pass(&mut object, &CancellationToken::new()).await;
        assert!(
            outcome.plan.is_converged() && outcome.plan.findings.is_empty(),
            "{:?}",
            outcome.plan
        );
    }
    assert_eq!(world.fake.calls().1, changes);
}

#[tokio::test]
async fn groups_are_scaled_up_and_down_and_nothing_else_is_touched() {
    let world = world(Habits::default(), vec![]);
    let mut object = Object::new(
        "lab",
        UID,
        &Wish {
            groups: vec![2],
            elastic: false,
        }
        .spec(),
    );
    world.converge(&mut object).await;
    let before: BTreeSet<String> = world.holds(UID).instance.ours.into_keys().collect();
    for replicas in [3, 1] {
        object.change(|spec| spec.worker_groups[0].replicas = replicas);
        world.converge(&mut object).await;
        let mine = world.fake.inventory();
        assert_eq!(live(&mine), 1 + replicas as usize);
    }
    let left: BTreeSet<String> = world.holds(UID).instance.ours.into_keys().collect();
    assert!(left.is_subset(&before), "the newest went first");
}

#[tokio::test]
async fn where_there_is_no_capacity_the_next_type_is_tried_and_a_partial_launch_is_completed() {
    let world = world(Habits::default(), vec![]);
    world.fake.limit("c5.large", "ap-southeast-1a", 0);
    world.fake.limit("m5.large", "ap-southeast-1a", 2);
    let mut spec = Wish {
        groups: vec![],
        elastic: false,
    }
    .spec();
    spec["workerGroups"] =
        json!([{"name": "cpu", "replicas": 3, "instanceTypes": ["c5.large", "m5.large", "r5.large"]}]);
    let mut object = Object::new("lab", UID, &spec);
    world.converge(&mut object).await;
    let machines = world.holds(UID).instance.ours;
    let of = |kind: &str| {
        machines
            .values()
            .filter(|machine| machine.instance_type == kind)
            .count()
    };
    assert_eq!((of("c5.large"), of("m5.large"), of("r5.large")), (0, 2, 1));
    let launches = world.fake.performed();
    let launches = launches.iter().filter(|change| matches!(change, Change::Instance(_)));
    assert_eq!(launches.count(), 3, "the head, two and one");
}

/// Makes every change whose line begins so fail, and counts them; after a thousand the pass is ended.
fn refuse_all(world: &World, beginning: &'static str, class: ErrorClass) -> (Arc<AtomicUsize>, CancellationToken) {
    let (count, stop) = (Arc::new(AtomicUsize::new(0)), CancellationToken::new());
    let (counted, ends) = (Arc::clone(&count), stop.clone());
    world.fake.fail_by(move |change| {
        if !change.to_string().starts_with(beginning) {
            return None;
        }
        if counted.fetch_add(1, Ordering::Relaxed) > 1000 {
            ends.cancel();
        }
        Some(Fault::Refused(class))
    });
    (count, stop)
}

#[tokio::test]
async fn many_refusals_are_no_loop() {
    let world = world(Habits::default(), vec![]);
    let wish = Wish {
        groups: vec![80],
        elastic: false,
    };
    let mut object = Object::new("lab", UID, &wish.spec());
    world.converge(&mut object).await;
    object.change(|spec| spec.suspend = true);
    world.converge(&mut object).await;
    object.change(|spec| spec.suspend = false);
    let (count, stop) = refuse_all(&world, "start ", ErrorClass::Capacity);
    world.pass(&mut object, &stop).await;
    let made = count.load(Ordering::Relaxed);
    assert!(made < 250, "{made} calls to start 81 machines");
}

#[tokio::test]
async fn what_a_dead_process_launched_unseen_is_not_left_behind_in_somebodys_network() {
    let habits = Habits {
        lag: Duration::from_secs(1),
        ..Habits::default()
    };
    let world = world(habits, vec![]);
    let mut spec = Wish {
        groups: vec![],
        elastic: false,
    }
    .spec();
    spec["network"] = json!({"existing": {"vpcId": "vpc-theirs", "subnetIds": ["subnet-theirs"]}});
    let mut object = Object::new("lab", UID, &spec);
    let stop = CancellationToken::new();
    let ends = stop.clone();
    world.fake.fail_by(move |change| {
        let is_launch = change.to_string().starts_with("launch ");
        if is_launch {
            ends.cancel();
        }
        is_launch.then_some(Fault::AnswerLost)
    });
    while !stop.is_cancelled() {
        world.pass(&mut object, &stop).await;
    }
    assert_eq!(live(&world.fake.inventory()), 1);
    world.fake.recover();
    object.restart();
    object.delete();
    world.converge(&mut object).await;
    assert_eq!(live(&world.fake.inventory()), 0);
    let left = world.holds(UID);
    assert_eq!((left.security_group.ours.len(), left.key_pair.ours.len()), (0, 0));
}
