//! The Elastic IP address of a head.

use super::{findings, lab, made, only, stuck, waits};
use crate::{
    api::PublicAddress,
    plan::{Reason, scenario::Scenario},
    resources::{address::Address, instance::InstanceState},
    tags::Tags,
};

#[test]
fn an_elastic_address_follows_the_head_and_is_given_back() {
    let mut lab = lab();
    lab.cluster.head.public_address = PublicAddress::Elastic;
    let done = lab.run();
    assert!(done.contains(&"allocate an Elastic IP address".to_owned()), "{done:?}");
    let address = |lab: &mut Scenario| only(&mut lab.observed.inventory.address.ours).clone();
    let head = lab.live("head").remove(0);
    assert_eq!(address(&mut lab).instance_id.as_ref(), Some(&head));

    lab.machine_mut(&head).state = InstanceState::Terminated;
    lab.run();
    let next = lab.live("head").remove(0);
    assert_eq!(
        address(&mut lab).instance_id,
        Some(next.clone()),
        "it moves to the next head"
    );

    lab.cluster.head.public_address = PublicAddress::None;
    let id = address(&mut lab).id;
    assert_eq!(lab.settle(), [format!("disassociate {id}"), format!("release {id}")]);
}

#[test]
fn an_address_of_others_on_the_head_is_left_there() {
    let mut lab = made();
    lab.cluster.head.public_address = PublicAddress::Elastic;
    lab.settle();
    let head = lab.live("head").remove(0);
    let address: &mut Address = only(&mut lab.observed.inventory.address.ours);
    (address.association_id, address.instance_id) = (None, None);
    let head = lab.machine_mut(&head);
    (head.public_address, head.has_elastic_address) = (Some("198.51.100.7".into()), true);
    let plan = lab.plan();
    assert_eq!(plan.actions, []);
    let (reason, message) = waits(&plan).remove(0);
    assert_eq!(reason, Reason::ForeignResource);
    assert!(message.starts_with("198.51.100.7"), "{message}");
    // Nor is another allocated: it may be the cluster's, its tags and its record lost.
    lab.observed.inventory.address.ours.clear();
    let plan = lab.plan();
    assert_eq!(plan.actions, []);
    assert_eq!(waits(&plan)[0].0, Reason::ForeignResource);
}

#[test]
fn an_address_that_lost_its_tags_is_tagged_again() {
    let mut lab = made();
    lab.cluster.head.public_address = PublicAddress::Elastic;
    lab.settle();
    let address: &mut Address = only(&mut lab.observed.inventory.address.ours);
    address.tags.clear();
    let id = address.id.clone();
    let done = lab.settle();
    assert_eq!(done.len(), 1, "{done:?}");
    assert!(done[0].starts_with(&format!("tag {id} with")), "{done:?}");
}

#[test]
fn an_address_that_lost_its_tags_to_others_is_awaited_and_stays_theirs() {
    let mut lab = made();
    lab.cluster.head.public_address = PublicAddress::Elastic;
    let theirs = Address {
        id: "eipalloc-theirs".into(),
        public_address: "198.51.100.7".into(),
        association_id: Some("eipassoc-theirs".into()),
        instance_id: Some("i-theirs".into()),
        tags: Tags::new(),
    };
    let shelf = &mut lab.observed.inventory.address;
    shelf.others.insert(theirs.id.clone(), theirs);
    let plan = lab.plan();
    assert_eq!(stuck(&plan), Some(Reason::ForeignResource));
    let (_, message) = waits(&plan).remove(0);
    assert!(
        message.starts_with("eipalloc-theirs (198.51.100.7)") && message.contains("i-theirs"),
        "{message}"
    );
    lab.cluster.head.public_address = PublicAddress::Dynamic;
    let plan = lab.plan();
    assert_eq!(plan.actions, []);
    let told = "Kept: eipalloc-theirs was this cluster's Elastic IP address, lost its tags and is used by i-theirs";
    assert_eq!(findings(&plan), [told]);
}
