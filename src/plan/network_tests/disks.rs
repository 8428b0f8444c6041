//! Disks: their tags, and those that machines left behind.

use jiff::SignedDuration;

use super::{findings, lab, left_behind, made};
use crate::tags::{self};

#[test]
fn a_disk_without_tags_is_tagged_once_it_must_have_been_seen() {
    let mut lab = lab();
    lab.run();
    lab.observed.inventory.volume.ours.clear();
    assert_eq!(
        lab.lines(),
        Vec::<String>::new(),
        "the look at disks is older than the machines"
    );
    lab.now += SignedDuration::from_mins(2);
    let untagged = lab.lines();
    assert_eq!(
        untagged.len(),
        2,
        "the head's, and the workers' in one call: {untagged:?}"
    );
    let machine = lab.live("head").remove(0);
    lab.machine_mut(&machine)
        .tags
        .insert("aws:autoscaling".into(), "x".into());
    lab.settle();
    let disk = &lab.observed.inventory.volume.ours[&format!("vol-{machine}")];
    assert_eq!(disk.tags[tags::LAUNCH], "101");
    assert!(!disk.tags.contains_key("aws:autoscaling"), "only our tags");
}

#[test]
fn a_disk_that_a_machine_left_behind_is_told_and_goes_with_the_cluster() {
    let mut lab = made();
    let volumes = &mut lab.observed.inventory.volume.ours;
    volumes.insert("vol-left".into(), left_behind("vol-left", true, None));
    assert_eq!(lab.lines(), Vec::<String>::new());
    assert_eq!(
        findings(&lab.plan()),
        ["Kept: vol-left is a disk that a machine left behind: it is deleted with the cluster"]
    );
    lab.cluster.deleting = true;
    assert!(lab.run().contains(&"delete volume vol-left".to_owned()));
}
