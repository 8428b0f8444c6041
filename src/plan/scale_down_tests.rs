//! Which workers go when fewer are asked for, and how.

use super::{
    Reason,
    fleet::WORKER,
    scenario::{Scenario, group},
};
use crate::{
    ray::{facts::Blindness, step::DRAIN_FAILED},
    resources::instance::InstanceState,
};

/// A lab with four workers in Ray, the oldest first.
fn lab_of_four() -> (Scenario, Vec<String>) {
    let mut lab = Scenario::lab();
    lab.run();
    lab.cluster.groups[0].replicas = 4;
    lab.run();
    lab.pass();
    let mut workers = lab.live(WORKER);
    workers.sort_by_key(|id| (lab.observed.inventory.instance.ours[id].launch(), id.clone()));
    (lab, workers)
}

fn ask_for(lab: &mut Scenario, replicas: u32) {
    lab.cluster.groups[0].replicas = replicas;
}

#[test]
fn idle_workers_are_drained_and_then_terminated_the_newest_first() {
    let (mut lab, workers) = lab_of_four();
    lab.ray.busy.insert(workers[3].clone());
    lab.look();
    ask_for(&mut lab, 3);
    let reason = "group cpu has 4 machines, 3 are asked for";
    assert_eq!(lab.pass(), [format!("drain {}: {reason}", workers[2])]);
    assert_eq!(lab.pass(), [format!("terminate {}: {reason}", workers[2])]);
    lab.pass();
    assert_eq!(lab.observed.recorded.workers.as_deref(), Some("3/3"));
}

#[test]
fn a_worker_that_is_not_in_ray_goes_before_any_that_is() {
    let (mut lab, workers) = lab_of_four();
    lab.ray.broken.insert(workers[0].clone());
    lab.look();
    ask_for(&mut lab, 3);
    let done = lab.pass();
    assert_eq!(
        done,
        [format!(
            "terminate {}: group cpu has 4 machines, 3 are asked for",
            workers[0]
        )]
    );
}

#[test]
fn where_ray_refuses_another_goes_and_where_all_work_one_goes_all_the_same() {
    let (mut lab, workers) = lab_of_four();
    // What the look says of resources does not show it.
    lab.look();
    lab.ray.busy.insert(workers[3].clone());
    lab.cluster.groups[0].replicas = 3;
    let done = lab.settle();
    assert!(done[0].starts_with(&format!("drain {}", workers[3])), "{done:?}");
    assert!(done[1].starts_with(&format!("drain {}", workers[2])), "{done:?}");
    assert_eq!(done.len(), 2, "{done:?}");

    let (mut lab, workers) = lab_of_four();
    lab.ray.busy.extend(workers.clone());
    lab.look();
    lab.cluster.groups[0].replicas = 3;
    let plan = lab.plan();
    let json = serde_json::to_string(&plan.actions).unwrap();
    assert!(json.contains(&workers[3]) && json.contains("\"force\":true"), "{json}");
}

#[test]
fn what_does_not_finish_is_terminated_after_its_time_and_counts_until_then() {
    let (mut lab, workers) = lab_of_four();
    lab.ray.hangs_in_drain = true;
    ask_for(&mut lab, 3);
    lab.pass();
    assert_eq!(lab.plan().waiting[0].reason, Reason::Draining);
    assert_eq!(lab.pass_for(285), Vec::<String>::new());
    assert_eq!(lab.live(WORKER).len(), 4);
    // It is wanted again: its Ray ends all the same, so that another comes, and never a fifth.
    ask_for(&mut lab, 4);
    let done = lab.pass_for(15);
    assert!(done[0].starts_with(&format!("terminate {}", workers[3])), "{done:?}");
    lab.pass_for(60);
    assert_eq!(lab.observed.recorded.workers.as_deref(), Some("4/4"));
    assert!(!lab.live(WORKER).contains(&workers[3]));
}

#[test]
fn a_drained_worker_whose_ray_starts_again_is_drained_again_and_not_ended_at_work() {
    for is_noted in [true, false] {
        let (mut lab, workers) = lab_of_four();
        let gone = workers[3].clone();
        lab.ray.restarts_drained = true;
        ask_for(&mut lab, 3);
        let first = lab.pass();
        assert!(first[0].starts_with(&format!("drain {gone}")), "{first:?}");
        if !is_noted {
            // As a status of before it told the node.
            let groups = lab.observed.recorded.worker_groups.iter_mut();
            for step in groups
                .flat_map(|group| &mut group.machines)
                .filter_map(|machine| machine.last_step.as_mut())
            {
                step.node = None;
            }
            lab.observed.steps = lab.observed.recorded.steps();
        }
        // Longer than a drain may take: the new node got work meanwhile.
        lab.now += jiff::SignedDuration::from_mins(10);
        lab.ray.busy.insert(gone.clone());
        lab.ray.hangs_in_drain = true;
        let again = lab.pass();
        assert!(again[0].starts_with(&format!("drain {gone}")), "{again:?}");
        assert_eq!(again.len(), 1, "{again:?}");
        assert_eq!(lab.pass_for(270), Vec::<String>::new(), "it finishes what runs");
        let done = lab.pass_for(45);
        assert!(done[0].starts_with(&format!("terminate {gone}")), "{done:?}");
    }
}

#[test]
fn while_the_head_is_unknown_nobody_goes_who_may_work() {
    for forgets in [false, true] {
        let (mut lab, workers) = lab_of_four();
        lab.ray.unknown = Some(Blindness::Slow);
        lab.pass();
        if forgets {
            lab.observed.recorded.worker_groups.clear();
            lab.observed.ledger.launches.clear();
        }
        ask_for(&mut lab, 3);
        assert_eq!(lab.plan().actions, [], "nobody knows whether it ever was in Ray");
        assert_eq!(lab.pass_for(7200), Vec::<String>::new());
        assert_eq!(lab.plan().waiting.last().unwrap().reason, Reason::HeadUnknown);
        lab.cluster.groups.clear();
        assert_eq!(lab.pass_for(7200), Vec::<String>::new(), "a group that left the spec");
        lab.cluster.groups = vec![group("cpu", 3)];
        lab.ray.unknown = None;
        let done = lab.pass_for(15);
        assert!(done[0].starts_with(&format!("drain {}", workers[3])), "{done:?}");
    }
}

#[test]
fn what_never_was_in_ray_goes_although_the_head_is_unknown() {
    let (mut lab, workers) = lab_of_four();
    lab.ray.failing = Some("exit 1".into());
    ask_for(&mut lab, 5);
    lab.run();
    lab.pass();
    let new = lab.live(WORKER).into_iter().find(|id| !workers.contains(id)).unwrap();
    lab.ray.unknown = Some(Blindness::Slow);
    lab.pass();
    ask_for(&mut lab, 4);
    let done = lab.pass();
    assert!(done[0].starts_with(&format!("terminate {new}")), "{done:?}");
}

#[test]
fn what_joins_unseen_may_work_and_is_drained_once_its_head_is_known_again() {
    for unreachable in [false, true] {
        let (mut lab, workers) = lab_of_four();
        // The fifth boots while its head turns silent, and comes into Ray unseen.
        ask_for(&mut lab, 5);
        lab.settle();
        lab.arrive();
        lab.write();
        let new = lab.live(WORKER).into_iter().find(|id| !workers.contains(id)).unwrap();
        lab.ray.tokens.insert(new.clone());
        lab.ray.unknown = Some(Blindness::Slow);
        if unreachable {
            lab.ray.unreachable.insert(new.clone());
        }
        lab.pass();
        ask_for(&mut lab, 4);
        assert_eq!(lab.pass_for(7200), Vec::<String>::new());
        assert_eq!(lab.plan().waiting.last().unwrap().reason, Reason::HeadUnknown);
        lab.cluster.groups.clear();
        assert_eq!(lab.pass_for(3600), Vec::<String>::new(), "a group that left the spec");
        lab.cluster.groups = vec![group("cpu", 4)];
        lab.ray.unreachable.clear();
        lab.ray.unknown = None;
        let done = lab.pass_for(15);
        assert!(done[0].starts_with(&format!("drain {new}")), "{done:?}");
    }
}

/// Passes for so long in which every drain fails; the first line of what was planned last.
fn fail_drains(lab: &mut Scenario, seconds: i64) -> String {
    for _ in 0..seconds / 15 {
        lab.now += jiff::SignedDuration::from_secs(15);
        lab.look();
        let planned = lab.lines();
        if let Some(id) = planned.first().and_then(|line| line.strip_prefix("drain ")) {
            let id = id.split(':').next().unwrap_or_default();
            if !lab.observed.steps.contains_key(id) {
                lab.note_step(id, DRAIN_FAILED);
            }
        }
        lab.write();
    }
    lab.lines().into_iter().next().unwrap_or_default()
}

#[test]
fn what_cannot_be_drained_is_terminated_after_a_drains_time_of_trying() {
    let (mut lab, workers) = lab_of_four();
    ask_for(&mut lab, 3);
    assert!(fail_drains(&mut lab, 285).starts_with(&format!("drain {}", workers[3])));
    // The controller is away for an hour: nobody tried.
    lab.now += jiff::SignedDuration::from_hours(1);
    lab.ray.watched_since = Some(lab.now);
    assert!(fail_drains(&mut lab, 285).starts_with(&format!("drain {}", workers[3])));
    assert!(fail_drains(&mut lab, 30).starts_with(&format!("terminate {}", workers[3])));
}

#[test]
fn a_drain_that_failed_once_counts_neither_for_later_nor_while_nobody_can_be_drained() {
    let later: [fn(&mut Scenario); 2] = [
        |lab| {
            ask_for(lab, 4);
            lab.pass_for(3600);
            ask_for(lab, 3);
        },
        |lab| {
            lab.ray.unknown = Some(Blindness::Slow);
            lab.pass_for(600);
            lab.ray.unknown = None;
        },
    ];
    for (case, later) in later.into_iter().enumerate() {
        let (mut lab, workers) = lab_of_four();
        lab.ray.busy.extend(workers.clone());
        ask_for(&mut lab, 3);
        fail_drains(&mut lab, 15);
        assert_eq!(lab.observed.steps[&workers[3]].step, DRAIN_FAILED);
        later(&mut lab);
        let done = lab.pass_for(15);
        assert!(
            done[0].starts_with(&format!("drain {}", workers[3])),
            "{case}: {done:?}"
        );
    }
}

#[test]
fn a_group_that_left_the_spec_is_drained_and_another_grows_with_the_room_it_leaves() {
    let (mut lab, workers) = lab_of_four();
    lab.ray.hangs_in_drain = true;
    lab.cluster.groups = vec![group("big", 5)];
    let done = lab.pass();
    assert_eq!(
        done.iter().filter(|line| line.starts_with("drain")).count(),
        4,
        "{done:?}"
    );
    assert_eq!(lab.machines_of(Some("big")), 0, "they may be gone in a moment");
    assert!(lab.plan().next_check.is_some_and(|check| check.as_secs() <= 30));
    lab.pass_for(30);
    assert_eq!(
        lab.machines_of(Some("big")),
        1,
        "what works takes its time, and there is room for one"
    );
    lab.pass_for(315);
    assert_eq!(lab.machines_of(Some("big")), 5);
    assert!(!lab.live(WORKER).iter().any(|id| workers.contains(id)));
}

#[test]
fn a_machine_that_does_not_run_goes_at_once() {
    let (mut lab, workers) = lab_of_four();
    lab.machine_mut(&workers[1]).state = InstanceState::Stopped;
    lab.look();
    ask_for(&mut lab, 3);
    assert_eq!(
        lab.settle(),
        [format!(
            "terminate {}: group cpu has 4 machines, 3 are asked for",
            workers[1]
        )]
    );
}

#[test]
fn a_group_that_takes_anothers_place_grows_in_one_launch_although_draining_takes_its_time() {
    let launches = |done: &[String]| -> Vec<String> {
        let launches = done.iter().filter(|line| line.starts_with("launch "));
        launches
            .filter_map(|line| Some(line.split(" in ").next()?.to_owned()))
            .collect()
    };
    let (mut lab, workers) = lab_of_four();
    lab.ray.hangs_in_drain = true;
    lab.cluster.groups = vec![group("big", 4), group("small", 1)];
    let done = lab.pass();
    assert_eq!(
        done.iter().filter(|line| line.starts_with("drain ")).count(),
        4,
        "{done:?}"
    );
    assert_eq!(
        launches(&done),
        ["launch 1 x t2.medium"],
        "small, for which there is room"
    );
    assert_eq!(launches(&lab.pass_for(15)), [] as [String; 0]);
    for worker in &workers {
        lab.ray.drained(worker, lab.now);
    }
    assert_eq!(launches(&lab.pass_for(15)), ["launch 4 x t2.medium"]);
}
