//! What holds for every plan, whatever happened to the cluster: tried on generated histories.

use jiff::SignedDuration;
use proptest::{collection::vec, prelude::*};

use super::{
    Action,
    scenario::{Scenario, group},
};
use crate::{
    aws::{AwsCall, AwsError, ErrorClass},
    observe::{Pool, Shortage},
    resources::{
        Change,
        instance::{InstanceChange, InstanceState},
    },
};

/// Something that happens to a cluster between two passes.
#[derive(Clone, Debug)]
enum Event {
    Scale(usize, u32),
    Suspend(bool),
    MachineGoesTo(usize, InstanceState),
    MachineFailsChecks(usize),
    MachineLosesTags(usize),
    MachinesArrive,
    LaunchIsRefused(ErrorClass),
    LaunchAnswerIsLost,
    ZoneRunsOut,
    ThingLosesTags(usize),
    TimePasses(i64),
    OneStep,
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    use InstanceState as S;
    let state = prop_oneof![
        Just(S::Stopped),
        Just(S::Stopping),
        Just(S::ShuttingDown),
        Just(S::Terminated)
    ];
    let class = prop_oneof![
        Just(ErrorClass::Terminal),
        Just(ErrorClass::Capacity),
        Just(ErrorClass::Retryable),
        Just(ErrorClass::Throttled)
    ];
    let event = prop_oneof![
        (0..2_usize, 0..5_u32).prop_map(|(group, replicas)| Event::Scale(group, replicas)),
        any::<bool>().prop_map(Event::Suspend),
        (0..8_usize, state).prop_map(|(index, state)| Event::MachineGoesTo(index, state)),
        (0..8_usize).prop_map(Event::MachineFailsChecks),
        (0..8_usize).prop_map(Event::MachineLosesTags),
        Just(Event::MachinesArrive),
        class.prop_map(Event::LaunchIsRefused),
        Just(Event::LaunchAnswerIsLost),
        Just(Event::ZoneRunsOut),
        (0..8_usize).prop_map(Event::ThingLosesTags),
        (1..400_i64).prop_map(Event::TimePasses),
        Just(Event::OneStep),
    ];
    vec(event, 0..25)
}

fn scenario() -> Scenario {
    let mut scenario = Scenario::lab();
    scenario.cluster.groups.push(group("big", 1));
    // The cap has its own tests; here it would only hide what is planned.
    scenario.limits.launch_cap_factor = 1000;
    scenario.add_foreign_things();
    scenario
}

fn happen(scenario: &mut Scenario, event: &Event) {
    let machine = |scenario: &Scenario, index: usize| {
        let ids: Vec<String> = scenario.observed.inventory.instance.ours.keys().cloned().collect();
        (!ids.is_empty()).then(|| ids[index % ids.len()].clone())
    };
    match event {
        Event::Scale(group, replicas) => scenario.cluster.groups[*group].replicas = *replicas,
        Event::Suspend(suspend) => scenario.cluster.suspend = *suspend,
        Event::MachineGoesTo(index, state) => {
            if let Some(id) = machine(scenario, *index) {
                let machine = scenario.machine_mut(&id);
                if !machine.is_lost() {
                    machine.state = *state;
                }
            }
        }
        Event::MachineFailsChecks(index) => {
            if let Some(id) = machine(scenario, *index) {
                scenario.machine_mut(&id).impaired = true;
            }
        }
        Event::MachineLosesTags(index) => {
            if let Some(id) = machine(scenario, *index) {
                scenario.machine_mut(&id).tags.clear();
            }
        }
        Event::MachinesArrive => _ = scenario.arrive(),
        Event::LaunchIsRefused(class) => refuse_launch(scenario, *class),
        Event::LaunchAnswerIsLost => lose_answer(scenario),
        Event::ZoneRunsOut => {
            let pool = Pool {
                instance_type: "t2.medium".into(),
                availability_zone: "ap-southeast-1a".into(),
            };
            scenario
                .observed
                .exhausted
                .insert(Shortage::Capacity(pool), scenario.now + SignedDuration::from_mins(3));
        }
        Event::ThingLosesTags(index) => scenario.lose_tags(*index),
        Event::TimePasses(seconds) => scenario.now += SignedDuration::from_secs(*seconds),
        Event::OneStep => {
            if let Some(action) = scenario.plan().actions.first() {
                scenario.carry_out(action);
            }
        }
    }
}

fn planned_launch(scenario: &Scenario) -> Option<Action> {
    let is_launch = |action: &Action| matches!(action, Action::Aws(Change::Instance(InstanceChange::Launch { .. })));
    scenario.plan().actions.into_iter().find(is_launch)
}

fn refuse_launch(scenario: &mut Scenario, class: ErrorClass) {
    let Some(Action::Aws(Change::Instance(InstanceChange::Launch { launch, .. }))) = planned_launch(scenario) else {
        return;
    };
    let error = AwsError {
        call: AwsCall::RunInstances,
        subject: "group".into(),
        class,
        code: "Code".into(),
        message: String::new(),
    };
    scenario
        .observed
        .ledger
        .settle(launch.number, Err(&error), scenario.now);
}

/// The launch is carried out on AWS, and nobody hears of it.
fn lose_answer(scenario: &mut Scenario) {
    let Some(action) = planned_launch(scenario) else { return };
    let ledger = scenario.observed.ledger.clone();
    scenario.carry_out(&action);
    scenario.observed.ledger = ledger;
}

/// Machines that will run, and those that the planned calls would add.
fn count(scenario: &Scenario, group: Option<&str>) -> u32 {
    let live = scenario.machines_of(group);
    let plan = scenario.plan();
    let planned = plan.actions.iter().map(|action| match action {
        Action::Aws(Change::Instance(InstanceChange::Launch { launch, token, .. }))
            if launch.group.as_deref() == group =>
        {
            // A token that was carried out before gives the same machines back.
            let known = scenario.observed.inventory.instance.ours.values();
            let before = known
                .filter(|machine| machine.client_token.as_ref() == Some(token))
                .count();
            if before > 0 { 0 } else { launch.count }
        }
        _ => 0,
    });
    live + planned.sum::<u32>()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 192, ..ProptestConfig::default() })]

    /// Whatever happened, in the end there is what was asked for, and then nothing is planned.
    #[test]
    fn every_history_ends_in_what_was_asked_for(history in events()) {
        let mut scenario = scenario();
        for event in &history {
            happen(&mut scenario, event);
        }
        scenario.cluster.suspend = false;
        // What was refused, held back or out of capacity has its time again.
        scenario.now += SignedDuration::from_hours(3);
        scenario.observed.exhausted.clear();
        scenario.heal();
        scenario.run();
        let plan = scenario.plan();
        prop_assert!(plan.is_converged(), "{plan:?}");
        prop_assert_eq!(scenario.machines_of(None), 1);
        for group in &scenario.cluster.groups {
            prop_assert_eq!(scenario.machines_of(Some(&group.name)), group.replicas, "group {}", group.name);
        }
    }

    /// No plan leads above what is asked for, the machines that are there and pending counted.
    #[test]
    fn never_more_machines_than_asked_for(history in events()) {
        let mut scenario = scenario();
        for event in &history {
            happen(&mut scenario, event);
            let groups = scenario.cluster.groups.iter();
            let groups: Vec<_> = groups.map(|group| (group.name.clone(), group.replicas)).collect();
            let before = |group: Option<&str>| scenario.machines_of(group);
            prop_assert!(count(&scenario, None) <= before(None).max(1));
            for (group, replicas) in &groups {
                let asked = before(Some(group)).max(*replicas);
                prop_assert!(count(&scenario, Some(group)) <= asked, "{group}: {:?}", scenario.lines());
            }
        }
    }

    /// Nothing that is not ours is in any plan, in creation as in deletion.
    #[test]
    fn nothing_of_others_is_ever_planned(history in events(), deleting in any::<bool>()) {
        let mut scenario = scenario();
        for event in &history {
            happen(&mut scenario, event);
        }
        scenario.cluster.deleting = deleting;
        for _ in 0..20 {
            let actions = scenario.plan().actions;
            for action in &actions {
                let text = serde_json::to_string(action).unwrap_or_default();
                prop_assert!(!text.contains("foreign"), "{action}");
            }
            for action in &actions {
                scenario.carry_out(action);
            }
        }
    }

    /// The same facts give the same plan.
    #[test]
    fn a_plan_is_a_function_of_its_inputs(history in events()) {
        let mut scenario = scenario();
        for event in &history {
            happen(&mut scenario, event);
            prop_assert_eq!(scenario.plan(), scenario.plan());
        }
    }

    /// A deleted cluster leaves nothing, whatever state it was in.
    #[test]
    fn a_deleted_cluster_leaves_nothing(history in events()) {
        let mut scenario = Scenario::lab();
        scenario.cluster.groups.push(group("big", 1));
        for event in &history {
            happen(&mut scenario, event);
        }
        scenario.cluster.deleting = true;
        scenario.observed.has_finalizer = true;
        scenario.run();
        prop_assert_eq!(scenario.observed.inventory.ids(), vec![]);
        scenario.observed.clean_sweeps = 2;
        scenario.run();
        prop_assert!(!scenario.observed.has_finalizer);
    }
}
