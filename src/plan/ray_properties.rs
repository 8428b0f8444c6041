//! What holds for every plan about Ray, whatever happened to it: tried on generated histories.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use proptest::{collection::vec, prelude::*};

use super::{
    Action,
    fleet::{HEAD, WORKER},
    scenario::{Scenario, group},
};
use crate::{
    api::Phase,
    ray::{
        facts::{Blindness, NodeState, Others},
        step::MachineStep,
    },
    resources::{
        Change,
        instance::{InstanceChange, InstanceState},
    },
};

/// Something that happens to a cluster's Ray.
#[derive(Clone, Debug)]
pub(super) enum Event {
    WorkerBreaks(usize, Option<&'static str>),
    WorkerCannotBeReached(usize),
    WorkerMends(usize),
    MachineFailsChecks(usize, bool),
    WritesFail(bool),
    StepsFail(bool),
    WorkerWorks(usize),
    HeadIsUnknown(Blindness),
    HeadIsKnown,
    HeadCannotBeReached,
    NewSession,
    HeadIsTerminated,
    NewWorkersFail(bool),
    DrainsHang(bool),
    Others(Others),
    ControllerForgets,
    Scale(usize, u32),
    TimePasses(i64),
}

pub(super) fn events(scales: bool) -> impl Strategy<Value = Vec<Event>> {
    let mended = prop_oneof![Just(None), Just(Some("RestartRay")), Just(Some("Reboot"))];
    let why = prop_oneof![
        Just(Blindness::NotLooked),
        Just(Blindness::Unreachable),
        Just(Blindness::DashboardDown),
        Just(Blindness::GcsDown),
        Just(Blindness::Slow),
        Just(Blindness::TokenRefused),
        Just(Blindness::WrongPeer),
    ];
    let others = prop_oneof![Just(Others::None), Just(Others::Answering), Just(Others::Silent)];
    let rest = prop_oneof![
        (0..6_usize, mended).prop_map(|(index, mended)| Event::WorkerBreaks(index, mended)),
        (0..6_usize).prop_map(Event::WorkerCannotBeReached),
        (0..6_usize).prop_map(Event::WorkerMends),
        (0..6_usize).prop_map(Event::WorkerWorks),
        (0..8_usize, any::<bool>()).prop_map(|(index, fails)| Event::MachineFailsChecks(index, fails)),
        any::<bool>().prop_map(Event::WritesFail),
        any::<bool>().prop_map(Event::StepsFail),
        why.prop_map(Event::HeadIsUnknown),
        Just(Event::HeadIsKnown),
        Just(Event::HeadCannotBeReached),
        Just(Event::NewSession),
        Just(Event::HeadIsTerminated),
        any::<bool>().prop_map(Event::NewWorkersFail),
        any::<bool>().prop_map(Event::DrainsHang),
        others.prop_map(Event::Others),
        Just(Event::ControllerForgets),
    ];
    let time = (1..600_i64).prop_map(Event::TimePasses);
    let scale = (0..2_usize, 0..5_u32).prop_map(|(group, replicas)| Event::Scale(group, replicas));
    let weight = u32::from(scales) * 3;
    vec(prop_oneof![6 => rest, 8 => time, weight => scale], 0..16)
}

pub(super) fn scenario() -> Scenario {
    let mut scenario = Scenario::lab();
    scenario.cluster.groups.push(group("big", 3));
    scenario.limits.launch_cap_factor = 1000;
    scenario.run();
    scenario.pass();
    scenario
}

pub(super) fn happen(lab: &mut Scenario, event: &Event) {
    let worker = |lab: &Scenario, index: usize| {
        let workers = lab.live(WORKER);
        (!workers.is_empty()).then(|| workers[index % workers.len()].clone())
    };
    let head = lab.live(HEAD).pop();
    match event {
        Event::WorkerBreaks(index, mended) => {
            if let Some(id) = worker(lab, *index) {
                if let Some(step) = mended {
                    lab.ray.mended_by.insert(id.clone(), step);
                }
                lab.ray.broken.insert(id);
            }
        }
        Event::WorkerCannotBeReached(index) => lab.ray.unreachable.extend(worker(lab, *index)),
        Event::WorkerMends(index) => {
            if let Some(id) = worker(lab, *index) {
                lab.ray.broken.remove(&id);
                lab.ray.unreachable.remove(&id);
            }
        }
        Event::MachineFailsChecks(index, fails) => {
            let machines: Vec<String> = head.into_iter().chain(lab.live(WORKER)).collect();
            if let Some(id) = machines.get(*index) {
                lab.machine_mut(id).impaired = *fails;
            }
        }
        Event::WorkerWorks(index) => lab.ray.busy.extend(worker(lab, *index)),
        Event::HeadIsUnknown(why) => lab.ray.unknown = Some(why.clone()),
        Event::HeadIsKnown => {
            lab.ray.unknown = None;
            if let Some(head) = head {
                lab.ray.unreachable.remove(&head);
            }
        }
        Event::HeadCannotBeReached => lab.ray.unreachable.extend(head),
        Event::NewSession => lab.ray.sessions += 1,
        Event::HeadIsTerminated => {
            if let Some(head) = head {
                lab.machine_mut(&head).state = InstanceState::Terminated;
            }
        }
        Event::NewWorkersFail(fail) => lab.ray.failing = fail.then(|| "exit 1".into()),
        Event::DrainsHang(hang) => lab.ray.hangs_in_drain = *hang,
        Event::Others(others) => lab.ray.others = *others,
        Event::ControllerForgets => {
            lab.observed.recorded.worker_groups.clear();
            lab.observed.ledger.launches.clear();
        }
        Event::Scale(group, replicas) => lab.cluster.groups[*group].replicas = *replicas,
        Event::TimePasses(_) | Event::WritesFail(_) | Event::StepsFail(_) => {}
    }
}

/// What an action does to which machines, if it is a step on one or its end.
fn steps(action: &Action) -> Vec<(&str, &'static str)> {
    match action {
        Action::Machine(step @ (MachineStep::RestartRay { .. } | MachineStep::Drain { .. })) => {
            vec![(step.instance_id(), step.name())]
        }
        Action::Aws(Change::Instance(InstanceChange::Reboot { ids, .. })) => {
            ids.iter().map(|id| (id.as_str(), "Reboot")).collect()
        }
        Action::Aws(Change::Instance(InstanceChange::Terminate { ids, .. })) => {
            ids.iter().map(|id| (id.as_str(), "Terminate")).collect()
        }
        _ => Vec::new(),
    }
}

/// Machines whose newest node lives, by what was looked at last; `None`: Ray is not known.
fn alive(lab: &Scenario) -> Option<BTreeSet<String>> {
    let head = lab.live(HEAD);
    let view = lab.observed.ray.view.known()?;
    let nodes = || view.nodes.iter().filter(|node| node.state == NodeState::Alive);
    let is_its = nodes().any(|node| node.is_head && node.instance_id.as_ref().is_some_and(|id| head.contains(id)));
    is_its.then(|| nodes().filter_map(|node| node.instance_id.clone()).collect())
}

/// Runs a history, a pass every 15 s, and calls `check` with each plan before it is carried out.
fn run(
    history: &[Event],
    mut check: impl FnMut(&Scenario, &[Action]) -> Result<(), TestCaseError>,
) -> Result<Scenario, TestCaseError> {
    let mut lab = scenario();
    let (mut writes_fail, mut steps_fail) = (false, false);
    for event in history {
        happen(&mut lab, event);
        match event {
            Event::WritesFail(fail) => writes_fail = *fail,
            Event::StepsFail(fail) => steps_fail = *fail,
            _ => {}
        }
        let Event::TimePasses(seconds) = event else { continue };
        for _ in 0..=seconds / 15 {
            lab.now += SignedDuration::from_secs(15);
            lab.arrive();
            lab.look();
            for _ in 0..20 {
                let mut actions = lab.plan().actions;
                // What cannot be written down before is not done.
                actions.retain(|action| !writes_fail || steps(action).is_empty());
                if actions.is_empty() {
                    break;
                }
                check(&lab, &actions)?;
                for action in &actions {
                    match action {
                        Action::Machine(step @ MachineStep::RestartRay { .. }) if steps_fail => {
                            lab.note_step(step.instance_id(), step.name());
                        }
                        action => lab.carry_out(action),
                    }
                }
            }
            if !writes_fail {
                lab.write();
            }
        }
    }
    Ok(lab)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    /// While Ray is not known nothing is done to a worker, and what works in it is never touched. (Nobody asks for
    /// fewer here.)
    #[test]
    fn nothing_is_done_on_unknown_and_nothing_to_what_works(history in events(false)) {
        run(&history, |lab, actions| {
            let alive = alive(lab);
            let workers = lab.live(WORKER);
            for (id, step) in actions.iter().flat_map(steps) {
                let is_worker = workers.iter().any(|worker| worker == id);
                match &alive {
                    None => prop_assert!(!is_worker, "{step} of {id} while Ray is unknown"),
                    Some(alive) => prop_assert!(!alive.contains(id), "{step} of {id}, which is alive"),
                }
                prop_assert!(is_worker || step != "Terminate", "the head is never replaced for its Ray");
            }
            Ok(())
        })?;
    }

    /// One step a machine, and the next not before a window has passed.
    #[test]
    fn never_two_steps_at_once(history in events(false)) {
        let mut last: BTreeMap<String, Timestamp> = BTreeMap::new();
        run(&history, |lab, actions| {
            let window = SignedDuration::try_from(lab.limits.ray.heal_window).unwrap_or_default();
            for (id, step) in actions.iter().flat_map(steps) {
                if let Some(before) = last.insert(id.to_owned(), lab.now) {
                    let passed = lab.now.duration_since(before);
                    prop_assert!(passed >= window, "{step} of {id} {passed:#} after the step before");
                }
            }
            Ok(())
        })?;
    }

    /// However many break, drain and come: never more than asked for, or than there were before.
    #[test]
    fn never_more_than_asked_for(history in events(true)) {
        run(&history, |lab, actions| {
            for group in &lab.cluster.groups {
                let launched = actions.iter().filter_map(|action| match action {
                    Action::Aws(Change::Instance(InstanceChange::Launch { launch, .. }))
                        if launch.group.as_deref() == Some(&group.name) => Some(launch.count),
                    _ => None,
                });
                let before = lab.machines_of(Some(&group.name));
                let after = before + launched.sum::<u32>();
                prop_assert!(after <= before.max(group.replicas), "{}: {after} of {}", group.name, group.replicas);
            }
            Ok(())
        })?;
    }

    /// Whatever happened, when Ray fares well again all that is asked for joins, and then nothing is done.
    #[test]
    fn when_ray_heals_all_workers_are_joined(history in events(true)) {
        let mut lab = run(&history, |_, _| Ok(()))?;
        lab.ray.unknown = None;
        lab.ray.broken.clear();
        lab.ray.unreachable.clear();
        lab.heal();
        lab.ray.failing = None;
        lab.ray.hangs_in_drain = false;
        for _ in 0..120 {
            lab.now += SignedDuration::from_mins(1);
            lab.pass();
        }
        let status = &lab.observed.recorded;
        prop_assert_eq!(status.phase, Some(Phase::Ready), "{:?}", lab.plan().waiting);
        for group in &status.worker_groups {
            prop_assert_eq!(group.joined, group.desired);
        }
        prop_assert_eq!(lab.pass_for(15), Vec::<String>::new());
    }
}
