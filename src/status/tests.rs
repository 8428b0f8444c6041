//! What each condition says, from facts and plans made by hand.

use std::{collections::BTreeMap, fs, time::Duration};

use serde_json::{Value, json};

use super::*;
use crate::{
    observe::{Ledger, Shelf},
    plan::{Action, Finding, Reason, Subject, Waiting},
    resources::{
        Inventory,
        instance::{Instance, InstanceState, sample},
    },
    tags,
    validate::{Installation, validate},
};

const NOW: &str = "2026-01-01T12:00:00Z";

fn object(spec: &Value) -> RayCluster {
    let mut object = json!({
        "apiVersion": "rayward.dev/v1alpha1", "kind": "RayCluster",
        "metadata": {"name": "lab", "namespace": "ml", "uid": "u-1", "generation": 3},
        "spec": {"region": "r", "buckets": [], "workerGroups": [{"name": "cpu", "replicas": 2}]},
    });
    let spec = spec.as_object().unwrap().clone();
    object["spec"].as_object_mut().unwrap().extend(spec);
    serde_json::from_value(object).unwrap()
}

fn machine(id: &str, role: &str, state: InstanceState) -> Instance {
    let mut tags = tags::Tags::from([(tags::ROLE.to_owned(), role.to_owned())]);
    if role == "worker" {
        tags.insert(tags::GROUP.into(), "cpu".into());
    }
    Instance {
        state,
        tags,
        private_address: Some(format!("10.0.1.{}", id.len() + 8)),
        public_address: (state == InstanceState::Running).then(|| "203.0.113.9".into()),
        ..sample(id)
    }
}

/// A pass and what it found; a test changes what it is about.
struct Pass {
    object: RayCluster,
    observed: Observed,
    plan: Plan,
    previous: RayClusterStatus,
    now: Timestamp,
}

impl Pass {
    /// The lab, all of it running.
    fn settled() -> Self {
        use InstanceState::Running;
        let mut inventory = Inventory::default();
        let machines = [
            machine("i-h", "head", Running),
            machine("i-w1", "worker", Running),
            machine("i-w2", "worker", Running),
        ];
        inventory.instance = Shelf {
            swept: Source::Known(()),
            ours: machines
                .into_iter()
                .map(|machine| (machine.id.clone(), machine))
                .collect(),
            others: BTreeMap::new(),
        };
        let observed = Observed {
            account: Source::Known("123456789012".into()),
            inventory,
            image: Source::Unknown("not needed here".into()),
            key: Source::Known(KeySecret::Present {
                public_key: "ssh-ed25519 A".into(),
            }),
            ledger: Ledger::default(),
            recorded: RayClusterStatus::default(),
            stopped: None,
            has_finalizer: true,
            predecessors: Vec::new(),
            exhausted: BTreeMap::new(),
            refusals: BTreeMap::new(),
            clean_sweeps: 0,
            sweep_age: Duration::ZERO,
            machine_sweep_age: Duration::ZERO,
        };
        Self {
            object: object(&json!({})),
            observed,
            plan: Plan::default(),
            previous: RayClusterStatus::default(),
            now: NOW.parse().unwrap(),
        }
    }

    fn set_state(&mut self, id: &str, state: InstanceState) {
        self.observed.inventory.instance.ours.get_mut(id).unwrap().state = state;
    }

    fn wait(&mut self, subject: Subject, reason: Reason, message: &str) {
        self.plan.waiting.push(Waiting {
            subject,
            reason,
            message: message.into(),
        });
    }

    fn status(&self) -> RayClusterStatus {
        let installation = Installation::default();
        let cluster = validate(&self.object, &installation, "ns-uid").unwrap();
        status(&StatusInputs {
            cluster: &cluster,
            observed: &self.observed,
            plan: &self.plan,
            limits: &Limits::default(),
            previous: &self.previous,
            key_secret: "lab-ssh",
            now: self.now,
        })
    }

    /// Makes the status, as the controller would, the one before the next.
    fn write(&mut self) -> RayClusterStatus {
        self.previous = self.status();
        self.previous.clone()
    }
}

/// `status reason` of a condition; empty where it is not there.
fn told(status: &RayClusterStatus, kind: ConditionType) -> String {
    find(status, kind).map_or_else(String::new, |found| format!("{} {}", found.status, found.reason))
}

fn find(status: &RayClusterStatus, kind: ConditionType) -> Option<&Condition> {
    status
        .conditions
        .iter()
        .find(|condition| condition.type_ == kind.name())
}

fn message(status: &RayClusterStatus, kind: ConditionType) -> &str {
    &find(status, kind).unwrap().message
}

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
fn the_same_facts_give_the_same_status_whenever_it_is_made() {
    let mut pass = Pass::settled();
    pass.wait(Subject::Workers, Reason::MachinesPending, "i-w3 starting");
    let first = pass.write();
    pass.now = "2026-01-01T18:00:00Z".parse().unwrap();
    assert_eq!(pass.status(), first);
    assert!(is_same(&pass.status(), &first));
}

#[test]
fn the_time_of_a_condition_changes_with_its_status_only() {
    let mut pass = Pass::settled();
    pass.write();
    pass.now = "2026-01-01T13:00:00.5Z".parse().unwrap();
    pass.set_state("i-w1", InstanceState::Pending);
    pass.wait(Subject::Workers, Reason::MachinesPending, "i-w1 starting");
    let status = pass.write();
    let since = |status: &RayClusterStatus, kind| find(status, kind).unwrap().last_transition_time.0.to_string();
    assert_eq!(since(&status, ConditionType::WorkersReady), "2026-01-01T13:00:00Z");
    assert_eq!(since(&status, ConditionType::HeadReady), NOW);
    pass.now = "2026-01-01T14:00:00Z".parse().unwrap();
    pass.plan.waiting[0].message = "i-w1 still starting".into();
    let status = pass.status();
    assert_eq!(since(&status, ConditionType::WorkersReady), "2026-01-01T13:00:00Z");
    assert_eq!(message(&status, ConditionType::WorkersReady), "i-w1 still starting");
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
    assert_eq!(message(&status, ConditionType::WorkersReady), "0 of 2 workers run");
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
fn a_lost_key_is_the_reason_of_the_head() {
    let mut pass = Pass::settled();
    pass.wait(Subject::Key, Reason::KeyLost, "Secret lab-ssh is gone");
    let status = pass.status();
    assert_eq!(told(&status, ConditionType::HeadReady), "False KeyLost");
    assert_eq!(told(&status, ConditionType::Stalled), "True KeyLost");
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
    pass.plan.actions.push(Action::MarkStopped(None));
    let status = pass.status();
    assert_eq!(told(&status, ConditionType::Ready), "False Provisioning");
    assert_eq!(
        message(&status, ConditionType::Reconciling),
        "remove the mark of being stopped"
    );
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
fn the_address_of_a_head_outlives_it() {
    let mut pass = Pass::settled();
    pass.write();
    pass.observed.inventory.instance.ours.remove("i-h");
    let head = pass.status().head.unwrap();
    assert_eq!(head.private_address.as_deref(), Some("10.0.1.11"));
    assert_eq!((head.instance_id, head.address), (None, None));
}

#[test]
fn an_elastic_address_shows_as_soon_as_it_is_on_the_head() {
    let mut pass = Pass::settled();
    let address = crate::resources::address::Address {
        id: "eipalloc-1".into(),
        public_address: "192.0.2.9".into(),
        association_id: Some("eipassoc-1".into()),
        instance_id: Some("i-h".into()),
        tags: tags::Tags::new(),
    };
    let shelf = &mut pass.observed.inventory.address;
    shelf.swept = Source::Known(());
    shelf.ours.insert(address.id.clone(), address);
    let head = pass.status().head.unwrap();
    assert_eq!(head.public_address.as_deref(), Some("192.0.2.9"));
    assert_eq!(
        (head.address, head.allocation_id),
        (head.public_address, Some("eipalloc-1".into()))
    );
}

#[test]
fn the_parts_of_the_network_are_named_and_stay_named_while_nobody_looks() {
    use crate::resources::{subnet::Subnet, vpc::Vpc};
    let mut pass = Pass::settled();
    let (vpc, subnet) = ("vpc-1".to_owned(), "subnet-1".to_owned());
    pass.observed.inventory.vpc.swept = Source::Known(());
    let found = Vpc {
        id: vpc.clone(),
        cidr: "10.0.0.0/16".into(),
        dns_support: true,
        dns_hostnames: true,
        tags: tags::Tags::new(),
    };
    pass.observed.inventory.vpc.ours.insert(vpc.clone(), found);
    pass.observed.inventory.subnet.swept = Source::Known(());
    let found = Subnet {
        id: subnet.clone(),
        vpc_id: vpc.clone(),
        cidr: "10.0.1.0/24".into(),
        availability_zone: "ra".into(),
        maps_public_addresses: true,
        tags: tags::Tags::new(),
    };
    pass.observed.inventory.subnet.ours.insert(subnet.clone(), found);
    let network = pass.write().network.unwrap();
    assert_eq!(network.vpc_id, Some(vpc));
    assert_eq!(
        (network.subnets[0].name.as_str(), &network.subnets[0].id),
        ("a", &subnet)
    );
    pass.observed.inventory.vpc = Shelf::default();
    pass.observed.inventory.subnet = Shelf::default();
    assert_eq!(pass.status().network, Some(network));

    let spec =
        json!({"network": {"existing": {"vpcId": "vpc-9", "subnetIds": ["subnet-9"], "securityGroupIds": ["sg-9"]}}});
    pass.object = object(&spec);
    let network = pass.status().network.unwrap();
    assert_eq!(
        (network.vpc_id.as_deref(), network.subnets[0].id.as_str()),
        (Some("vpc-9"), "subnet-9")
    );
    assert_eq!(network.security_group_ids, ["sg-9"]);
}

#[test]
fn a_status_of_another_object_counts_as_lost() {
    let mut pass = Pass::settled();
    pass.previous = pass.status();
    pass.previous.cluster_uid = Some("u-0".into());
    pass.observed.inventory.instance = Shelf::default();
    assert_eq!(pass.status().head, None);
}

#[test]
fn launches_are_carried_over_until_they_count_no_more() {
    let launch = |number: u64, recorded_at: &str, state: LaunchState| -> Launch {
        let mut launch = json!({
            "number": number, "count": 1, "instanceType": "t2.medium", "subnetId": "subnet-1",
            "availabilityZone": "ra", "imageId": "ami-1", "rootDevice": "/dev/sda1", "rootVolume": {},
            "securityGroupIds": [], "publicAddress": true, "revision": "ami-1", "tags": {},
            "recordedAt": recorded_at,
        });
        launch["state"] = serde_json::to_value(state).unwrap();
        serde_json::from_value(launch).unwrap()
    };
    let mut pass = Pass::settled();
    pass.observed.ledger = Ledger {
        launches: vec![
            launch(1, "2026-01-01T10:00:00Z", LaunchState::Open),
            launch(2, "2026-01-01T10:00:00Z", LaunchState::Launched),
            launch(3, "2026-01-01T11:30:00Z", LaunchState::Launched),
        ],
        last: Some(3),
        held_until: Some(NOW.parse().unwrap()),
    };
    let status = pass.status();
    assert_eq!(
        status.launches,
        [
            pass.observed.ledger.launches[0].clone(),
            pass.observed.ledger.launches[2].clone()
        ]
    );
    assert_eq!(
        (status.last_launch, status.launches_held_until),
        (Some(3), Some(NOW.parse().unwrap()))
    );
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

#[test]
fn conditions_of_others_do_not_make_a_status_another() {
    let mut pass = Pass::settled();
    let status = pass.write();
    let mut with_other = status.clone();
    let mut other = status.conditions[0].clone();
    other.type_ = "example.com/Audited".into();
    with_other.conditions.push(other);
    assert!(is_same(&status, &with_other));
    with_other.conditions[0].message = "else".into();
    assert!(!is_same(&status, &with_other));
}

#[test]
fn a_long_message_is_cut() {
    let mut pass = Pass::settled();
    pass.wait(Subject::Workers, Reason::NoCapacity, &"é".repeat(5000));
    assert!(message(&pass.status(), ConditionType::WorkersReady).chars().count() < 1100);
}

/// The page lists the words that programs may rely on: each that the code has, and none that it has not.
#[test]
fn the_reference_page_lists_every_condition_reason_and_phase() {
    let page = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/reference-conditions.md")).unwrap();
    let table = |heading: &str| -> Vec<(String, String)> {
        let section = page
            .split("\n## ")
            .find(|section| section.starts_with(heading))
            .unwrap();
        let rows = section.lines().filter(|line| line.starts_with("| `"));
        let cells = rows.map(|row| row.split('|').map(|cell| cell.trim().replace('`', "")).collect());
        cells
            .map(|cells: Vec<String>| (cells[1].clone(), cells[2].clone()))
            .collect()
    };
    let polarity = |kind: &ConditionType| match kind.polarity() {
        Polarity::Normal => "always; True is good",
        Polarity::Abnormal => "only while True",
        Polarity::Wish => "only while spec.suspend",
    };
    let conditions: Vec<_> = ConditionType::ALL
        .iter()
        .map(|kind| (kind.name().to_owned(), polarity(kind).to_owned()))
        .collect();
    assert_eq!(table("Conditions"), conditions);
    let names = |heading| table(heading).into_iter().map(|(name, _)| name).collect::<Vec<_>>();
    let reasons = Standing::ALL
        .iter()
        .map(|reason| reason.name())
        .chain(Reason::ALL.iter().map(|reason| reason.name()));
    assert_eq!(names("Reasons"), reasons.collect::<Vec<_>>());
    let person: Vec<_> = table("Reasons")
        .into_iter()
        .filter(|(_, who)| who == "you")
        .map(|(name, _)| name)
        .collect();
    let needs_person = Reason::ALL
        .iter()
        .filter(|reason| reason.needs_person())
        .map(|reason| reason.name());
    assert_eq!(
        person,
        std::iter::once(Standing::InvalidSpec.name())
            .chain(needs_person)
            .collect::<Vec<_>>()
    );
    let phases: Vec<_> = Phase::ALL.iter().map(|phase| format!("{phase:?}")).collect();
    assert_eq!(names("Phases"), phases);
}
