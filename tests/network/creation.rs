//! What is folded is what EC2 shows, from the first call to the last; what was made already, or twice, is no trouble.

use std::collections::BTreeMap;

use jiff::SignedDuration;
use rayward::aws::ErrorClass;
use rayward::plan::Action;
use rayward::resources::Change;
use rayward::resources::address::AddressChange;
use rayward::tags::Tags;
use serde_json::json;

use super::{World, cluster, is_settled, lab_network, one};
use crate::support::stand_in::StandIn;

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
    assert!(is_settled(&plan) && plan.findings.is_empty(), "{plan:#?}");
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
    assert!(is_settled(&plan), "{plan:#?}");
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
