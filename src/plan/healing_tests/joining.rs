//! Workers that never were in Ray.

use super::*;
use crate::{
    api::Phase,
    aws::ErrorClass,
    observe::Refusal,
    resources::{Kind, instance::InstanceState},
};

/// A lab whose new workers fail.
fn failing_lab() -> Scenario {
    let mut lab = Scenario::lab();
    lab.limits.launch_cap_factor = 100;
    lab.ray.failing = Some("setup.sh: exit 1".into());
    lab.run();
    lab.pass();
    lab
}

fn launches(done: &[String]) -> usize {
    done.iter().filter(|line| line.starts_with("launch")).count()
}

#[test]
fn a_worker_that_never_joins_is_replaced_once_what_it_said_is_written_down() {
    let mut lab = failing_lab();
    let workers = lab.live(WORKER);
    assert_eq!(lab.pass_for(585), Vec::<String>::new());
    assert_eq!(
        waits(&lab, Subject::Workers),
        [(Reason::Joining, format!("{}: setup.sh: exit 1", workers.join(", ")))]
    );
    let worker = &lab.observed.recorded.worker_groups[0].machines[0];
    assert_eq!(worker.message.as_deref(), Some("setup.sh: exit 1"));
    lab.now += jiff::SignedDuration::from_secs(15);
    let plan = lab.plan();
    assert_eq!(plan.actions, [], "first it is written down");
    assert_eq!(plan.next_check, Some(std::time::Duration::from_secs(1)));
    lab.pass();
    let failures = lab.observed.recorded.worker_groups[0].failures.clone().unwrap();
    assert_eq!((failures.count, failures.message.as_str()), (2, "setup.sh: exit 1"));
    assert_eq!(failures.machines, workers);
    let done = lab.pass_for(15);
    lab.ray.failing = None;
    let reason = "never joined Ray within 600 s: setup.sh: exit 1";
    assert!(
        done.contains(&format!("terminate {}: {reason}", workers[0])),
        "{done:?}"
    );
    assert_eq!(launches(&done), 1, "both in one call: {done:?}");
    lab.pass_for(30);
    assert_eq!(lab.observed.recorded.phase, Some(Phase::Ready));
    assert_eq!(
        lab.observed.recorded.worker_groups[0].failures, None,
        "one that joins begins anew"
    );
}

#[test]
fn the_same_fault_on_machine_after_machine_ends_the_replacing_and_is_told() {
    let mut lab = failing_lab();
    let done = lab.pass_for(2 * 3600);
    assert_eq!(launches(&done[..done.len().min(8)]), 1, "two, then two more: {done:?}");
    assert!(lab.live(WORKER).len() <= 1);
    let (reason, message) = waits(&lab, Subject::Workers)
        .into_iter()
        .find(|(reason, _)| reason.needs_person())
        .unwrap();
    assert_eq!(reason, Reason::RepeatedFailure);
    assert!(
        message.contains("setup.sh: exit 1") && message.contains("setupScript"),
        "{message}"
    );
    assert_eq!(lab.observed.recorded.phase, Some(Phase::Stalled));
    // One an hour is tried, and what is joined or in Ray is never touched.
    let launched: usize = launches(&done);
    assert_eq!(launched, 1 + 1, "{done:?}");
}

/// A lab that launches no further workers, and whose next one would join.
fn held_lab() -> Scenario {
    let mut lab = failing_lab();
    lab.pass_for(1500);
    assert_eq!(lab.live(WORKER), Vec::<String>::new());
    lab.ray.failing = None;
    lab
}

#[test]
fn what_reaches_the_next_machine_or_a_lost_status_begins_anew() {
    let begin: [fn(&mut Scenario); 6] = [
        |lab| {
            _ = lab
                .cluster
                .environment
                .insert("PIP_INDEX_URL".into(), "https://a".into());
        },
        |lab| {
            _ = lab.cluster.groups[0]
                .ray_start_params
                .insert("num-cpus".into(), "1".into());
        },
        |lab| lab.cluster.groups[0].instance_types = vec!["t2.large".into()],
        |lab| lab.cluster.groups[0].root_volume.size_gib = 200,
        |lab| lab.cluster.groups[0].iam_instance_profile = Some("other".into()),
        |lab| lab.observed.recorded.worker_groups.clear(),
    ];
    for begin in begin {
        let mut lab = held_lab();
        begin(&mut lab);
        lab.cluster.generation += 1;
        lab.pass_for(60);
        assert_eq!(lab.observed.recorded.workers.as_deref(), Some("2/2"));
    }
}

#[test]
fn an_edit_that_does_not_reach_the_next_machine_keeps_the_brake() {
    let edit: [fn(&mut Scenario); 4] = [
        |lab| _ = lab.cluster.tags.insert("team".into(), "ml".into()),
        |lab| lab.cluster.groups.push(super::super::scenario::group("none", 0)),
        |lab| lab.cluster.groups[0].replicas = 3,
        // The head goes on as it was made, and workers are made as it was.
        |lab| lab.cluster.software.setup_script = Some("true".into()),
    ];
    let mut lab = held_lab();
    for edit in edit {
        edit(&mut lab);
        lab.cluster.generation += 1;
        assert_eq!(launches(&lab.pass_for(60)), 0);
        let told = waits(&lab, Subject::Workers);
        assert!(
            told.iter().any(|(reason, _)| *reason == Reason::RepeatedFailure),
            "{told:?}"
        );
    }
    // Another head is made from the script that was corrected.
    let head = head(&lab);
    lab.machine_mut(&head).state = InstanceState::Terminated;
    lab.pass_for(120);
    assert_eq!(lab.observed.recorded.workers.as_deref(), Some("3/3"));
}

#[test]
fn a_machine_that_joins_in_time_is_left_alone_however_long_it_takes() {
    let mut lab = failing_lab();
    lab.pass_for(590);
    lab.ray.failing = None;
    lab.ray.broken.clear();
    assert_eq!(lab.pass_for(60), Vec::<String>::new());
    assert_eq!(lab.observed.recorded.workers.as_deref(), Some("2/2"));
}

#[test]
fn a_worker_that_is_started_again_has_its_join_time_again() {
    let mut lab = joined_lab();
    let stopped = worker(&lab);
    lab.machine_mut(&stopped).state = InstanceState::Stopped;
    lab.ray.broken.insert(stopped.clone());
    // Ray says that its node died long ago.
    let done = lab.pass_for(60);
    assert_eq!(done, [format!("start {stopped}")]);
}

#[test]
fn a_thousand_workers_that_fail_fit_into_a_status() {
    let mut lab = Scenario::lab();
    lab.limits.launch_cap_factor = 100;
    lab.cluster.groups[0].replicas = 1000;
    lab.ray.failing = Some("\u{1F600}".repeat(1200));
    lab.run();
    lab.pass();
    let status = serde_json::to_vec(&lab.observed.recorded).unwrap();
    assert!(status.len() < 1_200_000, "{} bytes", status.len());
    let machines = &lab.observed.recorded.worker_groups[0].machines;
    let letters = |index: usize| machines[index].message.as_ref().unwrap().chars().count();
    assert_eq!((machines.len(), letters(0), letters(999)), (1000, 1200, 104));
}

/// A lab of so many workers that nothing reaches since their launch, the moment before they are given up.
fn silent_lab(replicas: u32) -> Scenario {
    let mut lab = Scenario::lab();
    lab.limits.launch_cap_factor = 100;
    lab.cluster.groups[0].replicas = replicas;
    lab.settle();
    lab.ray.unreachable = lab.live(WORKER).into_iter().collect();
    lab.run();
    lab.pass();
    assert_eq!(lab.pass_for(585), Vec::<String>::new());
    lab
}

#[test]
fn what_a_silent_worker_wrote_on_its_console_is_kept_before_it_goes() {
    for (instance_type, latest) in [("t2.medium", false), ("m5.large", true)] {
        let mut lab = silent_lab(1);
        let gone = worker(&lab);
        lab.machine_mut(&gone).instance_type = instance_type.into();
        lab.ray.consoles.insert(
            gone.clone(),
            vec!["Cannot open root device".into(), "Kernel panic".into()],
        );
        lab.now += jiff::SignedDuration::from_secs(15);
        let key = format!("ReadConsole {{ id: \"{gone}\", latest: {latest} }}");
        let asked = format!("{:?}", lab.plan().actions);
        assert!(asked.contains(&key), "{asked}");
        assert_eq!(
            lab.pass(),
            [format!("read the console of {gone}")],
            "once, and it is written down first"
        );
        let said =
            "it cannot be reached over SSH: no answer; its console ends with: Cannot open root device | Kernel panic";
        let failures = lab.observed.recorded.worker_groups[0].failures.clone().unwrap();
        assert_eq!((failures.count, failures.message.as_str()), (1, said));
        let done = lab.pass_for(15);
        let reason = format!("never joined Ray within 600 s: {said}");
        assert_eq!(done[0], format!("terminate {gone}: {reason}"));
    }
}

#[test]
fn a_console_that_aws_does_not_show_is_no_reason_to_wait() {
    for class in [ErrorClass::Terminal, ErrorClass::Throttled, ErrorClass::Retryable] {
        let mut lab = silent_lab(1);
        let gone = worker(&lab);
        lab.now += jiff::SignedDuration::from_secs(15);
        let [asked] = &lab.plan().actions[..] else {
            panic!("{:?}", lab.lines())
        };
        let refusal = Refusal {
            class,
            kind: Kind::Instance,
            code: "UnauthorizedOperation".into(),
            message: "no".into(),
            times: 1,
            until: lab.now + jiff::SignedDuration::from_hours(1),
        };
        lab.observed.refusals.insert(asked.key(), refusal);
        assert_eq!(lab.pass(), Vec::<String>::new(), "{class:?}");
        assert_eq!(
            reason(&lab, Subject::Workers),
            Some(Reason::MachinesPending),
            "{class:?}"
        );
        let done = lab.pass_for(15);
        assert!(
            done[0].starts_with(&format!("terminate {gone}: never joined")),
            "{done:?}"
        );
    }
}

#[test]
fn of_many_silent_workers_a_few_consoles_are_read() {
    let mut lab = silent_lab(20);
    let done = lab.pass_for(15);
    assert!(done.iter().all(|line| line.starts_with("read the console")), "{done:?}");
    assert_eq!(done.len(), 4);
    let failures = lab.observed.recorded.worker_groups[0].failures.clone().unwrap();
    assert_eq!(failures.count, 20);
    assert!(
        failures.message.ends_with("its console shows nothing"),
        "{}",
        failures.message
    );
    let done = lab.pass_for(15);
    assert!(
        !done.iter().any(|line| line.starts_with("read the console")),
        "{done:?}"
    );
}
