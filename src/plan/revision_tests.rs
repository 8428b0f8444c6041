//! One revision at a time: what workers are made from while the spec says something else, and what is told of it.

use super::{
    Action, Finding, Outcome, Reason,
    fleet::{HEAD, WORKER},
    revision::revision,
    scenario::Scenario,
};
use crate::{
    api::{Launch, Revision},
    resources::{Change, instance::InstanceChange},
    tags,
};

/// The lab, all of it running.
fn running_lab() -> Scenario {
    let mut lab = Scenario::lab();
    lab.run();
    assert_eq!((lab.live(HEAD).len(), lab.live(WORKER).len()), (1, 2));
    lab
}

/// Launches what is lacking; returns the last record and the user data that was sent.
fn launch_one(lab: &mut Scenario) -> (Launch, String) {
    for _ in 0..10 {
        for action in lab.plan().actions {
            if let Action::Aws(Change::Instance(InstanceChange::Launch { launch, user_data, .. })) = &action {
                return ((**launch).clone(), user_data.clone());
            }
            lab.carry_out(&action);
        }
    }
    panic!("nothing is launched: {:?}", lab.plan());
}

fn outdated(lab: &Scenario) -> Vec<Finding> {
    let findings = lab.plan().findings.into_iter();
    findings
        .filter(|finding| finding.outcome == Outcome::Outdated)
        .collect()
}

#[test]
fn workers_are_made_from_the_heads_revision_until_the_head_is_replaced() {
    let mut lab = running_lab();
    let before = revision("ami-1", &lab.cluster.software);
    lab.cluster.software.ray_version = "2.61.0".into();
    lab.cluster.software.pip_packages = vec!["xgboost-cpu".into()];
    lab.cluster.groups[0].replicas = 3;
    let (launch, user_data) = launch_one(&mut lab);
    assert_eq!(
        (&launch.revision, &launch.tags[tags::REVISION]),
        (&before.id, &before.id)
    );
    assert!(user_data.contains("ray_version='2.60.0'") && !user_data.contains("/etc/rayward/pip-packages\n"));
    assert!(user_data.contains("head='10.0.1.10'"));

    let head = lab.live(HEAD).remove(0);
    lab.machine_mut(&head).state = crate::resources::instance::InstanceState::Terminated;
    let (launch, user_data) = launch_one(&mut lab);
    let wanted = revision("ami-1", &lab.cluster.software);
    assert_eq!((launch.group, launch.head_revision), (None, Some(wanted.clone())));
    assert_ne!(wanted.id, before.id);
    assert!(user_data.contains("ray_version='2.61.0'") && user_data.contains("/etc/rayward/pip-packages\n"));
}

#[test]
fn what_the_head_was_made_from_outlives_the_record_of_its_launch_in_the_status() {
    let mut lab = running_lab();
    let before = revision("ami-1", &lab.cluster.software);
    lab.observed.ledger.launches.clear();
    lab.observed.recorded.revision = Some(before.clone());
    lab.cluster.software.setup_script = Some("true".into());
    lab.cluster.groups[0].replicas = 3;
    assert_eq!(launch_one(&mut lab).0.revision, before.id);
}

#[test]
fn no_worker_is_made_from_something_else_when_nothing_tells_what_the_head_was_made_from() {
    let mut lab = running_lab();
    let software = lab.cluster.software.clone();
    lab.observed.ledger.launches.clear();
    lab.cluster.software.ray_version = "2.61.0".into();
    lab.cluster.groups[0].replicas = 3;
    let plan = lab.plan();
    assert!(plan.actions.is_empty(), "{:?}", plan.actions);
    let waiting = plan
        .waiting
        .iter()
        .find(|waiting| waiting.reason == Reason::RevisionLost);
    let message = &waiting.expect("the workers wait").message;
    assert!(message.contains("or terminate the head"), "{message}");
    // The former spec says it again.
    lab.cluster.software = software;
    let expected = revision("ami-1", &lab.cluster.software).id;
    assert_eq!(launch_one(&mut lab).0.revision, expected);
}

#[test]
fn a_launch_without_an_answer_is_not_repeated_with_other_user_data() {
    let mut lab = running_lab();
    lab.cluster.groups[0].replicas = 3;
    let record = lab.plan().actions.remove(0);
    lab.carry_out(&record);
    assert!(lab.lines()[0].starts_with("launch 1 x t2.medium"), "{:?}", lab.lines());
    let same = lab.cluster.clone();
    let mut others = [same.clone(), same.clone(), same.clone()];
    others[0].environment.insert("A".into(), "1".into());
    others[1].groups[0]
        .ray_start_params
        .insert("num-cpus".into(), "1".into());
    others[2].groups[0].iam_instance_profile = Some("lab".into());
    for other in others {
        lab.cluster = other;
        assert_eq!(lab.lines(), Vec::<String>::new(), "{:?}", lab.cluster);
    }
    lab.cluster = same;
    assert!(lab.lines()[0].starts_with("launch 1 x t2.medium"));
}

#[test]
fn what_differs_is_told_part_by_part() {
    let mut lab = running_lab();
    assert_eq!(outdated(&lab), []);
    lab.cluster.software.ray_version = "2.61.0".into();
    lab.cluster.software.pip_packages = vec!["pandas".into(), "xgboost-cpu".into()];
    lab.cluster.software.setup_script = Some("true".into());
    let told = outdated(&lab);
    assert_eq!(told.len(), 1, "the workers are as the head is: {told:?}");
    let what = &told[0].what;
    for part in [
        "rayVersion 2.60.0, now 2.61.0",
        "pipPackages none, now pandas xgboost-cpu",
        "setupScript none, now ",
    ] {
        assert!(what.contains(part), "{part} is not in {what}");
    }

    let mut lab = running_lab();
    lab.cluster.environment.insert("A".into(), "1".into());
    lab.cluster.groups[0].iam_instance_profile = Some("lab".into());
    let told = outdated(&lab);
    assert_eq!(told.len(), 3);
    assert_eq!(told[0].what, "the head: environment as of its launch");
    assert_eq!(
        told[1].what,
        "worker of group cpu: environment, iamInstanceProfile as of its launch"
    );

    let mut lab = running_lab();
    let head = lab.live(HEAD).remove(0);
    let elsewhere = Revision::default().id;
    lab.machine_mut(&head).tags.insert(tags::REVISION.into(), elsewhere);
    lab.settle();
    let expected = revision("ami-1", &lab.cluster.software).id;
    assert_eq!(lab.machine_mut(&head).tags[tags::REVISION], expected, "it is put back");
}
