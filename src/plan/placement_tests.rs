//! Changes of the spec that machines do not follow while they run: each is named.

use super::{Outcome, scenario::Scenario};
use crate::{api::PublicAddress, tags, validate::Network};

/// The lab with a second subnet, all of it running.
fn running_lab() -> Scenario {
    let mut lab = Scenario::lab();
    if let Network::Own { subnets, .. } = &mut lab.cluster.network {
        let mut second = subnets[0].clone();
        (second.name, second.cidr) = ("b".into(), "10.0.2.0/24".parse().unwrap());
        subnets.push(second);
    }
    lab.run();
    assert_eq!(outdated(&lab), Vec::<String>::new());
    lab
}

/// What is said of machines that were made from an older spec, without their ids.
fn outdated(lab: &Scenario) -> Vec<String> {
    let plan = lab.plan();
    let outdated = plan.findings.iter().filter(|found| found.outcome == Outcome::Outdated);
    outdated.map(|found| found.what.clone()).collect()
}

#[test]
fn another_subnet_is_told_and_one_that_the_spec_still_allows_is_not() {
    let mut lab = running_lab();
    lab.cluster.head.subnet = Some("a".into());
    lab.cluster.groups[0].subnets = vec!["b".into(), "a".into()];
    assert_eq!(outdated(&lab), Vec::<String>::new());
    lab.cluster.head.subnet = Some("b".into());
    lab.cluster.groups[0].subnets = vec!["b".into()];
    let worker = "worker of group cpu: subnet a, now b";
    assert_eq!(outdated(&lab), ["the head: subnet a, now b", worker, worker]);
}

#[test]
fn another_key_pair_is_told_of_every_machine() {
    let mut lab = running_lab();
    lab.cluster.key_pair = Some("mine".into());
    let told = outdated(&lab);
    assert_eq!(told.len(), 3);
    assert!(told.iter().all(|told| told.ends_with(", now mine")), "{told:?}");
}

#[test]
fn a_public_address_that_the_head_keeps_or_cannot_get_is_told() {
    let mut lab = running_lab();
    lab.cluster.head.public_address = PublicAddress::None;
    assert_eq!(outdated(&lab), ["the head: public address 203.0.113.9, now None"]);
    let head = lab.live(super::fleet::HEAD).remove(0);
    lab.machine_mut(&head).public_address = None;
    assert_eq!(outdated(&lab), Vec::<String>::new());
    lab.cluster.head.public_address = PublicAddress::Dynamic;
    assert_eq!(outdated(&lab), ["the head: no public address, now Dynamic"]);
    lab.cluster.head.public_address = PublicAddress::Elastic;
    assert_eq!(outdated(&lab), Vec::<String>::new(), "it gets one while it runs");
}

#[test]
fn a_disk_is_told_by_its_tag_which_the_record_of_the_launch_puts_back() {
    let mut lab = running_lab();
    let head = lab.live(super::fleet::HEAD).remove(0);
    let lose = |lab: &mut Scenario| {
        let tags = &mut lab.machine_mut(&head).tags;
        (tags.remove(tags::ROOT_VOLUME), tags.remove(tags::CREATED_AT))
    };
    let were = lose(&mut lab);
    assert_eq!(lab.run().len(), 1);
    assert_eq!(lose(&mut lab), were);
    lab.observed.ledger.launches.clear();
    let unknown = "the head: disk unknown, for the tag rayward.dev/root-volume is gone";
    assert_eq!(outdated(&lab), [unknown]);
}
