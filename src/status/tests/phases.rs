//! The phase, and the conditions that go with it, from creation to deletion.

use super::*;

#[test]
fn a_settled_cluster_is_ready_and_nothing_else_calls_for_attention() {
    let status = Pass::settled().status();
    assert_eq!(status.phase, Some(Phase::Ready));
    let all: Vec<_> = status
        .conditions
        .iter()
        .map(|found| (found.type_.as_str(), found.status.as_str()))
        .collect();
    let expected = [
        "Ready",
        "NetworkReady",
        "HeadReady",
        "WorkersReady",
        "BucketsReady",
        "UpToDate",
    ];
    assert_eq!(all, expected.map(|kind| (kind, "True")));
    assert!(
        status
            .conditions
            .iter()
            .all(|found| found.observed_generation == Some(3))
    );
    assert_eq!(status.observed_generation, Some(3));
    assert_eq!(status.workers.as_deref(), Some("2/2"));
    assert_eq!(status.key_secret.as_deref(), Some("lab-ssh"));
    let head = status.head.unwrap();
    assert_eq!(head.address.as_deref(), Some("203.0.113.9"));
    assert_eq!(head.private_address.as_deref(), Some("10.0.1.11"));
    let workers: Vec<_> = status.worker_groups[0]
        .machines
        .iter()
        .filter_map(|worker| worker.private_address.as_deref())
        .collect();
    assert_eq!(workers, ["10.0.1.12", "10.0.1.12"]);
}

#[test]
fn creation_is_told_as_provisioning_with_the_reason_of_the_first_part_that_waits() {
    let mut pass = Pass::settled();
    pass.observed.inventory.instance.ours.clear();
    pass.wait(Subject::Network, Reason::InTransition, "igw-1 is attaching");
    pass.wait(
        Subject::Head,
        Reason::DependencyPending,
        "the head waits for the network",
    );
    let status = pass.status();
    assert_eq!(status.phase, Some(Phase::Provisioning));
    assert_eq!(told(&status, ConditionType::Ready), "False InTransition");
    assert_eq!(told(&status, ConditionType::NetworkReady), "False InTransition");
    assert_eq!(told(&status, ConditionType::HeadReady), "False DependencyPending");
    assert_eq!(told(&status, ConditionType::WorkersReady), "False Provisioning");
    assert_eq!(message(&status, ConditionType::WorkersReady), "0 of 2 workers joined");
    assert_eq!(told(&status, ConditionType::Reconciling), "True Provisioning");
    assert_eq!(told(&status, ConditionType::Stalled), "");
    assert_eq!(status.workers.as_deref(), Some("0/2"));
}

#[test]
fn what_a_person_has_to_do_is_stalled_and_not_reconciling() {
    let mut pass = Pass::settled();
    pass.wait(
        Subject::Network,
        Reason::DependencyPending,
        "the subnet waits for the VPC",
    );
    pass.wait(
        Subject::Network,
        Reason::Refused,
        "ec2:CreateVpc vpc: VpcLimitExceeded: ask AWS for more VPCs",
    );
    let status = pass.status();
    assert_eq!(status.phase, Some(Phase::Stalled));
    for kind in [ConditionType::Ready, ConditionType::NetworkReady] {
        assert_eq!(told(&status, kind), "False Refused");
        assert!(message(&status, kind).starts_with("ec2:CreateVpc vpc: VpcLimitExceeded"));
    }
    assert_eq!(told(&status, ConditionType::Stalled), "True Refused");
    assert_eq!(told(&status, ConditionType::Reconciling), "");
}

#[test]
fn a_ready_cluster_that_loses_a_worker_is_degraded_and_one_that_grows_is_provisioning() {
    let mut pass = Pass::settled();
    pass.write();
    pass.observed.inventory.instance.ours.remove("i-w2");
    let status = pass.status();
    assert_eq!(status.phase, Some(Phase::Degraded));
    assert_eq!(told(&status, ConditionType::Reconciling), "True Recovering");
    assert_eq!(told(&status, ConditionType::Ready), "False Provisioning");
    assert_eq!(status.workers.as_deref(), Some("1/2"));

    let mut pass = Pass::settled();
    pass.write();
    pass.object = object(&json!({"workerGroups": [{"name": "cpu", "replicas": 3}]}));
    pass.object.metadata.generation = Some(4);
    let status = pass.write();
    assert_eq!(status.phase, Some(Phase::Provisioning));
    assert_eq!(pass.write().phase, Some(Phase::Provisioning));
}

#[test]
fn a_cluster_that_is_down_by_wish_is_neither_ready_nor_reconciling() {
    let mut pass = Pass::settled();
    pass.write();
    pass.object = object(&json!({"suspend": true}));
    pass.set_state("i-h", InstanceState::Stopping);
    pass.wait(Subject::Cluster, Reason::InTransition, "i-h stopping");
    let status = pass.write();
    assert_eq!(status.phase, Some(Phase::Suspending));
    assert_eq!(told(&status, ConditionType::Suspended), "False Suspending");
    assert_eq!(told(&status, ConditionType::Reconciling), "True Suspending");

    pass.plan.waiting.clear();
    for id in ["i-h", "i-w1", "i-w2"] {
        pass.set_state(id, InstanceState::Stopped);
    }
    let status = pass.write();
    assert_eq!(status.phase, Some(Phase::Suspended));
    assert_eq!(told(&status, ConditionType::Ready), "False Suspended");
    assert_eq!(told(&status, ConditionType::Suspended), "True Suspended");
    assert_eq!(told(&status, ConditionType::HeadReady), "False Suspended");
    assert_eq!(told(&status, ConditionType::Reconciling), "");
    assert_eq!(told(&status, ConditionType::Stalled), "");
    assert_eq!(status.head.unwrap().address, None);

    pass.object = object(&json!({"suspend": false}));
    pass.set_state("i-h", InstanceState::Pending);
    pass.wait(Subject::Head, Reason::MachinesPending, "i-h starting");
    let status = pass.write();
    assert_eq!(status.phase, Some(Phase::Resuming));
    assert_eq!(told(&status, ConditionType::Reconciling), "True Resuming");
    assert_eq!(told(&status, ConditionType::Suspended), "");
}

#[test]
fn deletion_names_its_blockers() {
    let mut pass = Pass::settled();
    pass.object.metadata.deletion_timestamp = Some(serde_json::from_value(json!(NOW)).unwrap());
    pass.wait(Subject::Cluster, Reason::InTransition, "i-h shutting down");
    let status = pass.write();
    assert_eq!(status.phase, Some(Phase::Deleting));
    assert_eq!(told(&status, ConditionType::Ready), "False Deleting");
    assert_eq!(told(&status, ConditionType::Reconciling), "True Deleting");
    assert_eq!(told(&status, ConditionType::DeletionBlocked), "");

    pass.wait(
        Subject::Network,
        Reason::ForeignResource,
        "eni-7 (load balancer x) is in subnet-1",
    );
    let status = pass.write();
    assert_eq!(told(&status, ConditionType::DeletionBlocked), "True ForeignResource");
    assert!(message(&status, ConditionType::DeletionBlocked).contains("eni-7"));
    assert_eq!(told(&status, ConditionType::Stalled), "True ForeignResource");
    assert_eq!(told(&status, ConditionType::Reconciling), "");
}

#[test]
fn what_is_left_to_do_keeps_a_cluster_from_being_ready() {
    let mut pass = Pass::settled();
    pass.plan.actions.push(Action::MarkStopped(StopMark {
        stopped: None,
        wake_handled: None,
        because: String::new(),
    }));
    let status = pass.status();
    assert_eq!(told(&status, ConditionType::Ready), "False Provisioning");
    assert_eq!(
        message(&status, ConditionType::Reconciling),
        "remove the mark of being stopped"
    );
}
