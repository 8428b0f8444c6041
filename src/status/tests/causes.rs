//! What single causes do to the conditions: a lost key, drift, an outdated machine, a spec that breaks a rule.

use super::*;

#[test]
fn a_lost_key_is_the_reason_of_the_head() {
    let mut pass = Pass::settled();
    pass.wait(Subject::Key, Reason::KeyLost, "Secret lab-ssh is gone");
    let status = pass.status();
    assert_eq!(told(&status, ConditionType::HeadReady), "False KeyLost");
    assert_eq!(told(&status, ConditionType::Stalled), "True KeyLost");
}

#[test]
fn an_impaired_machine_does_not_run_for_the_status() {
    let mut pass = Pass::settled();
    pass.observed.inventory.instance.ours.get_mut("i-h").unwrap().impaired = true;
    let status = pass.status();
    assert_eq!(told(&status, ConditionType::HeadReady), "False Provisioning");
}

#[test]
fn what_was_not_looked_at_is_unknown_and_its_facts_stay() {
    let mut pass = Pass::settled();
    let before = pass.write();
    pass.observed.inventory.instance = Shelf::default();
    pass.wait(Subject::Head, Reason::NotObserved, "machines: the call timed out");
    let status = pass.status();
    for kind in [
        ConditionType::Ready,
        ConditionType::HeadReady,
        ConditionType::WorkersReady,
        ConditionType::UpToDate,
    ] {
        assert_eq!(told(&status, kind), "Unknown NotObserved", "{kind:?}");
    }
    assert_eq!(status.head, before.head);
    assert_eq!(status.worker_groups, before.worker_groups);

    let mut pass = Pass::settled();
    pass.wait(Subject::Cluster, Reason::NotObserved, "volumes: the call timed out");
    assert_eq!(told(&pass.status(), ConditionType::Ready), "Unknown NotObserved");
}

#[test]
fn machines_of_an_older_spec_are_counted_and_named() {
    let mut pass = Pass::settled();
    pass.plan.findings.push(Finding::outdated(
        "i-w1",
        "worker of group cpu: type t2.medium, now t3.large",
    ));
    let status = pass.status();
    assert_eq!(told(&status, ConditionType::UpToDate), "False Outdated");
    assert!(message(&status, ConditionType::UpToDate).contains("i-w1 worker of group cpu: type t2.medium"));
    assert_eq!(status.worker_groups[0].outdated, 1);
    assert_eq!(told(&status, ConditionType::Ready), "True AsSpecified");
    assert_eq!(told(&status, ConditionType::Drifted), "");
}

#[test]
fn drift_says_what_is_put_right_and_what_is_kept() {
    let mut pass = Pass::settled();
    pass.plan
        .findings
        .push(Finding::kept("rtb-1", "has a route to 192.0.2.0/24"));
    let status = pass.status();
    assert_eq!(told(&status, ConditionType::Drifted), "True Kept");
    assert!(message(&status, ConditionType::Drifted).contains("rtb-1 has a route to 192.0.2.0/24"));
    assert_eq!(told(&status, ConditionType::Ready), "True AsSpecified");
    pass.plan
        .findings
        .push(Finding::repaired("vpc-1", "DNS support was off"));
    let status = pass.status();
    assert_eq!(told(&status, ConditionType::Drifted), "True Repairing");
    assert!(message(&status, ConditionType::Drifted).contains("vpc-1 DNS support was off"));
    assert!(message(&status, ConditionType::Drifted).contains("rtb-1"));
}

#[test]
fn a_group_that_was_removed_is_told_while_it_has_machines() {
    let mut pass = Pass::settled();
    pass.object = object(&json!({"workerGroups": []}));
    let status = pass.status();
    assert_eq!(
        (status.worker_groups[0].name.as_str(), status.worker_groups[0].desired),
        ("cpu", 0)
    );
    assert_eq!(told(&status, ConditionType::WorkersReady), "False Provisioning");
    for id in ["i-w1", "i-w2"] {
        pass.observed.inventory.instance.ours.remove(id);
    }
    let status = pass.status();
    assert!(status.worker_groups.is_empty());
    assert_eq!(told(&status, ConditionType::WorkersReady), "True AsSpecified");
}

#[test]
fn a_spec_that_breaks_a_rule_is_told_and_nothing_is_forgotten() {
    let mut pass = Pass::settled();
    let before = pass.write();
    pass.object.metadata.generation = Some(4);
    let error = ValidationError::TwoImages;
    let status = invalid(&pass.object, &error, &before, pass.now);
    assert_eq!(told(&status, ConditionType::Ready), "False InvalidSpec");
    assert_eq!(told(&status, ConditionType::Stalled), "True InvalidSpec");
    assert!(message(&status, ConditionType::Stalled).contains("head.image has both"));
    assert_eq!(status.observed_generation, Some(4));
    assert_eq!(
        (&status.head, &status.worker_groups),
        (&before.head, &before.worker_groups)
    );
}
