//! Whether machines count as joined, joining, lost, drained or unknown: each row a case.

use jiff::SignedDuration;

use super::{fleet::HEAD, scenario::Scenario};
use crate::{
    api::Membership::{self, Drained, Draining, Joined, Joining, Lost, Unknown},
    plan::fleet::WORKER,
    ray::{
        facts::{Blindness, Look, Node, NodeState},
        step::MachineStep,
    },
    resources::instance::InstanceState,
};

/// The lab, all of it in Ray, and its status written.
fn joined_lab() -> Scenario {
    let mut lab = Scenario::lab();
    lab.run();
    lab.pass();
    assert_eq!(told(&lab), [Some(Joined), Some(Joined)]);
    lab
}

fn told(lab: &Scenario) -> Vec<Option<Membership>> {
    let groups = &lab.observed.recorded.worker_groups;
    groups[0].machines.iter().map(|worker| worker.ray).collect()
}

/// What the status says of the first worker after a look and some time.
fn after(lab: &mut Scenario, seconds: i64) -> Option<Membership> {
    lab.now += SignedDuration::from_secs(seconds);
    lab.look();
    lab.write();
    told(lab)[0]
}

#[test]
fn a_machine_joins_once_ray_lists_it_and_its_time_stays() {
    let mut lab = Scenario::lab();
    lab.run();
    lab.pass();
    let joined = |lab: &Scenario| lab.observed.recorded.worker_groups[0].machines[0].joined_time;
    let first = joined(&lab);
    assert!(first.is_some());
    lab.pass_for(60);
    assert_eq!(joined(&lab), first);
    let head = lab.observed.recorded.head.as_ref().unwrap();
    assert_eq!((head.ray, head.joined_time), (Some(Joined), first));
}

#[test]
fn a_dead_worker_is_on_its_way_until_it_counts_as_lost() {
    let mut lab = joined_lab();
    let worker = lab.live(WORKER).remove(0);
    lab.ray.broken.insert(worker.clone());
    assert_eq!(after(&mut lab, 15), Some(Joining));
    assert_eq!(after(&mut lab, 74), Some(Joining));
    assert_eq!(after(&mut lab, 1), Some(Lost));
    lab.ray.broken.clear();
    assert_eq!(after(&mut lab, 15), Some(Joined), "a newer node lives");
    assert_eq!(lab.observed.recorded.worker_groups[0].machines[0].missing_since, None);
}

#[test]
fn a_worker_that_never_joined_has_its_join_time() {
    let mut lab = Scenario::lab();
    lab.ray.failing = Some("no pip".into());
    lab.run();
    assert_eq!(after(&mut lab, 0), Some(Joining));
    assert_eq!(after(&mut lab, 599), Some(Joining));
    assert_eq!(after(&mut lab, 1), Some(Lost));
}

#[test]
fn nobody_is_judged_while_the_head_is_unknown_and_a_long_time_of_it_does_not_count() {
    let mut lab = joined_lab();
    let workers = lab.live(WORKER);
    lab.ray.broken.insert(workers[0].clone());
    after(&mut lab, 15);
    lab.ray.unknown = Some(Blindness::Slow);
    after(&mut lab, 15);
    assert_eq!(told(&lab), [Some(Unknown), Some(Unknown)]);
    lab.ray.unknown = None;
    assert_eq!(after(&mut lab, 50), Some(Joining), "65 s");
    assert_eq!(after(&mut lab, 15), Some(Lost), "a short gap does not begin anew");

    let mut lab = joined_lab();
    let workers = lab.live(WORKER);
    lab.ray.broken.insert(workers[0].clone());
    after(&mut lab, 15);
    lab.ray.unknown = Some(Blindness::Slow);
    after(&mut lab, 15);
    after(&mut lab, 300);
    lab.ray.unknown = None;
    assert_eq!(after(&mut lab, 15), Some(Joining), "nobody saw whether it came back");
    assert_eq!(after(&mut lab, 75), Some(Lost));
}

#[test]
fn another_session_knows_nobody_and_everyone_has_the_join_time_to_come_back() {
    let mut lab = joined_lab();
    lab.ray.broken.extend(lab.live(WORKER));
    after(&mut lab, 15);
    lab.ray.sessions += 1;
    assert_eq!(after(&mut lab, 60), Some(Joining), "75 s, and a new Ray");
    assert_eq!(after(&mut lab, 599), Some(Joining));
    assert_eq!(after(&mut lab, 1), Some(Lost));
}

#[test]
fn a_look_at_the_head_before_tells_nothing_of_the_next_one() {
    let mut lab = joined_lab();
    let head = lab.live(HEAD).remove(0);
    lab.machine_mut(&head).state = InstanceState::Terminated;
    // The next head runs, and the last look is still of the one before.
    lab.settle();
    lab.arrive();
    lab.write();
    assert_eq!(told(&lab), [Some(Unknown), Some(Unknown)]);
    assert!(lab.observed.recorded.ray_unknown_since.is_some());
}

#[test]
fn a_worker_that_drains_leaves() {
    let mut lab = joined_lab();
    let worker = lab.live(WORKER).remove(0);
    lab.note_step(&worker, "Drain");
    assert_eq!(after(&mut lab, 0), Some(Draining));
    let step = MachineStep::Drain {
        instance_id: worker,
        node_id: String::new(),
        force: false,
        deadline: std::time::Duration::ZERO,
        reason: String::new(),
    };
    lab.step(&step);
    assert_eq!(after(&mut lab, 15), Some(Drained));
}

#[test]
fn a_machine_that_does_not_run_is_in_no_state_of_ray() {
    let mut lab = joined_lab();
    let worker = lab.live(WORKER).remove(0);
    lab.machine_mut(&worker).state = InstanceState::Stopped;
    assert_eq!(after(&mut lab, 0), None);
    let machine = &lab.observed.recorded.worker_groups[0].machines[0];
    assert_eq!((machine.missing_since, machine.joined_time.is_some()), (None, true));
}

#[test]
fn the_plan_names_whom_to_look_at_and_by_which_key() {
    let mut lab = joined_lab();
    let (head, workers) = (lab.live(HEAD).remove(0), lab.live(WORKER));
    lab.observed.ray.host_keys.insert(head.clone(), "SHA256:h".into());
    lab.write();
    let interest = lab.plan().interest;
    let reached = interest
        .head
        .as_ref()
        .map(|peer| (peer.instance_id.as_str(), peer.address.to_string()));
    assert_eq!(reached, Some((head.as_str(), "203.0.113.9".to_owned())));
    assert_eq!(interest.head.unwrap().host_key.as_deref(), Some("SHA256:h"));
    assert_eq!((interest.closely.len(), interest.widely.len()), (0, 2));
    lab.ray.broken.insert(workers[0].clone());
    lab.look();
    let interest = lab.plan().interest;
    assert_eq!(interest.closely[0].instance_id, workers[0]);
    assert!(interest.closely[0].address.to_string().starts_with("10.0.1."));
    assert_eq!(
        interest.head.unwrap().host_key.as_deref(),
        Some("SHA256:h"),
        "from the status"
    );
    lab.machine_mut(&head).state = InstanceState::Stopped;
    assert_eq!(lab.plan().interest.head, None);
}

#[test]
fn a_machine_is_brought_its_token_and_a_worker_the_heads_new_address() {
    let mut lab = joined_lab();
    let workers = lab.live(WORKER);
    lab.ray.tokens.remove(&workers[0]);
    lab.look();
    assert_eq!(lab.lines(), [format!("give {} the cluster's token", workers[0])]);
    lab.settle();
    lab.ray.heads.insert(workers[1].clone(), "10.0.1.4".into());
    lab.look();
    assert_eq!(lab.lines(), [format!("tell {} that its head is 10.0.1.10", workers[1])]);
    lab.settle();
    assert_eq!(lab.lines(), Vec::<String>::new());
}

#[test]
fn while_this_process_did_not_look_nobodys_time_ran_out() {
    let mut lab = joined_lab();
    let worker = lab.live(WORKER).remove(0);
    lab.ray.broken.insert(worker);
    assert_eq!(after(&mut lab, 5), Some(Joining));
    lab.now += SignedDuration::from_hours(1);
    lab.ray.watched_since = Some(lab.now);
    assert_eq!(after(&mut lab, 0), Some(Joining));
    assert_eq!(after(&mut lab, 74), Some(Joining));
    assert_eq!(after(&mut lab, 1), Some(Lost));

    let mut lab = Scenario::lab();
    lab.ray.failing = Some("waiting for the cluster's token".into());
    lab.run();
    lab.write();
    lab.now += SignedDuration::from_hours(1);
    lab.ray.watched_since = Some(lab.now);
    assert_eq!(after(&mut lab, 599), Some(Joining));
    assert_eq!(after(&mut lab, 1), Some(Lost));
}

#[test]
fn nobody_is_lost_by_what_was_seen_before_its_time_was_over() {
    let mut lab = joined_lab();
    let worker = lab.live(WORKER).remove(0);
    lab.ray.broken.insert(worker);
    assert_eq!(after(&mut lab, 15), Some(Joining));
    lab.look();
    lab.now += SignedDuration::from_secs(80);
    let Look::Known { age, .. } = &mut lab.observed.ray.view else {
        panic!()
    };
    *age = std::time::Duration::from_secs(6);
    lab.write();
    assert_eq!(told(&lab)[0], Some(Joining), "the last look was after 74 s");
    let Look::Known { age, .. } = &mut lab.observed.ray.view else {
        panic!()
    };
    *age = std::time::Duration::from_secs(5);
    lab.write();
    assert_eq!(told(&lab)[0], Some(Lost));
}

#[test]
fn a_node_that_lives_counts_whatever_the_clocks_of_dead_ones_said() {
    let mut lab = joined_lab();
    let worker = lab.live(WORKER).remove(0);
    lab.look();
    let Look::Known { fact, .. } = &mut lab.observed.ray.view else {
        panic!()
    };
    let nodes = &mut std::sync::Arc::make_mut(fact).nodes;
    let own = nodes
        .iter()
        .position(|node| node.instance_id.as_ref() == Some(&worker))
        .unwrap();
    let with = |state: NodeState, hours: i64, in_use| Node {
        state,
        in_use: Some(in_use),
        started_at: nodes[own].started_at + SignedDuration::from_hours(hours),
        ..nodes[own].clone()
    };
    let dead = NodeState::Dead {
        ended_at: None,
        drained: false,
        message: String::new(),
    };
    let more = [with(dead, 9, false), with(NodeState::Alive, -1, true)];
    nodes.extend(more);
    lab.write();
    assert_eq!(told(&lab)[0], Some(Joined));
    // Any node of it that works is work: an idle one goes in its place.
    lab.cluster.groups[0].replicas = 1;
    let lines = lab.lines();
    assert!(
        lines[0].starts_with("drain") && !lines[0].contains(&worker),
        "{lines:?}"
    );
}
