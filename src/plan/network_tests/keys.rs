//! The cluster's key, and key pairs: ours, of the user's, and of others.

use super::{findings, lab, made, only, stuck, waits};
use crate::{
    observe::{KeySecret, Source},
    plan::{Reason, scenario::Scenario},
    resources::{Inventory, instance::InstanceState, key_pair::KeyPair},
    tags::Tags,
};

fn key(lab: &mut Scenario, secret: KeySecret) {
    lab.observed.key = Source::Known(secret);
}

#[test]
fn the_key_is_made_before_machines_and_never_behind_their_backs() {
    let mut lab = lab();
    key(&mut lab, KeySecret::Missing);
    assert_eq!(lab.lines()[0], "create the cluster's key");
    let mut lab = made();
    for secret in [
        KeySecret::Missing,
        KeySecret::Unusable("the Secret holds no key".into()),
    ] {
        key(&mut lab, secret);
        let plan = lab.plan();
        assert_eq!(stuck(&plan), Some(Reason::KeyLost));
    }
    for machine in lab.observed.inventory.instance.ours.values_mut() {
        machine.state = InstanceState::Terminated;
    }
    assert_eq!(
        waits(&lab.plan())[0].0,
        Reason::Refused,
        "a Secret that is not ours is not replaced"
    );
    key(&mut lab, KeySecret::Missing);
    assert_eq!(lab.lines(), ["create the cluster's key"]);
}

#[test]
fn a_key_pair_with_another_key_is_imported_again_but_never_one_of_others() {
    let mut lab = made();
    only(&mut lab.observed.inventory.key_pair.ours).public_key = "ssh-ed25519 BBBB".into();
    assert_eq!(
        findings(&lab.plan()),
        ["Repaired: keypair-2 held another key than the cluster's Secret"]
    );
    assert_eq!(
        lab.settle(),
        [
            "delete key pair rayward-ml-lab-0f3a2b1c (keypair-2)",
            "import key pair rayward-ml-lab-0f3a2b1c"
        ]
    );

    let inventory = &mut lab.observed.inventory;
    let (id, pair) = inventory.key_pair.ours.pop_first().unwrap();
    let untagged = KeyPair {
        tags: Tags::new(),
        ..pair
    };
    let others = &mut inventory.key_pair.others;
    others.insert(id.clone(), untagged.clone());
    assert!(
        lab.lines()[0].starts_with(&format!("tag {id} with")),
        "the key proves it ours"
    );
    let another = KeyPair {
        public_key: "ssh-ed25519 BBBB".into(),
        ..untagged
    };
    lab.observed.inventory.key_pair.others.insert(id, another);
    let plan = lab.plan();
    assert_eq!(stuck(&plan), Some(Reason::ForeignResource));
}

#[test]
fn a_key_pair_that_lost_its_tags_goes_with_its_cluster_if_the_secret_proves_it() {
    let mut lab = made();
    lab.cluster.deleting = true;
    lab.observed.inventory = Inventory {
        key_pair: lab.observed.inventory.key_pair.clone(),
        ..Scenario::lab().observed.inventory
    };
    let shelf = &mut lab.observed.inventory.key_pair;
    let (id, mut pair) = shelf.ours.pop_first().unwrap();
    pair.tags.clear();
    shelf.others.insert(id.clone(), pair);

    let present = lab.observed.key.clone();
    lab.observed.key = Source::Unknown("not looked up yet".into());
    assert_eq!(stuck(&lab.plan()), Some(Reason::NotObserved));
    key(&mut lab, KeySecret::Missing);
    let kept =
        format!("Kept: {id} has the name of this cluster's key pair, but neither its tags nor the key of its Secret");
    assert_eq!(findings(&lab.plan()), [kept]);

    lab.observed.key = present;
    let done = lab.settle();
    assert!(done[0].starts_with(&format!("tag {id} with")), "{done:?}");
    assert_eq!(done[1..], [format!("delete key pair rayward-ml-lab-0f3a2b1c ({id})")]);
}

#[test]
fn a_key_pair_of_the_users_is_only_looked_for() {
    let mut lab = lab();
    lab.cluster.key_pair = Some("mine".into());
    let theirs = KeyPair {
        id: "key-theirs".into(),
        name: "mine".into(),
        public_key: String::new(),
        tags: Tags::new(),
    };
    lab.observed.inventory.key_pair.others.insert(theirs.id.clone(), theirs);
    let done = lab.run();
    assert!(done.iter().all(|line| !line.contains("key pair")), "{done:?}");
    assert_eq!(lab.observed.ledger.launches[0].key_name.as_deref(), Some("mine"));
}
