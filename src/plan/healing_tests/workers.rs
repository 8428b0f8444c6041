//! Workers that were in Ray.

use super::*;
use crate::{
    api::Phase,
    ray::facts::{Blindness, Others, Stage},
    resources::instance::InstanceState,
};

#[test]
fn a_lost_worker_climbs_one_step_a_window_and_is_replaced_in_the_end() {
    let mut lab = joined_lab();
    let lost = worker(&lab);
    lab.ray.broken.insert(lost.clone());
    assert_eq!(lab.pass_for(75), Vec::<String>::new(), "it may come back by itself");
    assert_eq!(reason(&lab, Subject::Workers), Some(Reason::Healing));
    let done = lab.pass_for(15);
    assert_eq!(done.len(), 1, "{done:?}");
    assert!(done[0].starts_with(&format!("restart Ray on {lost}: Ray has not listed it")));
    assert_eq!(lab.pass_for(165), Vec::<String>::new(), "the restart has its time");
    let reboot = format!("reboot {lost}: Ray lost it, and a restart of Ray did not bring it back");
    assert_eq!(lab.pass_for(15), [reboot]);
    assert_eq!(lab.pass_for(165), Vec::<String>::new(), "so has the reboot");
    let done = lab.pass_for(15);
    let replaced = format!("terminate {lost}: did not come back into Ray after a reboot");
    assert_eq!(done[0], replaced, "{done:?}");
    assert!(done[1].starts_with("record launch"), "{done:?}");
    lab.pass_for(30);
    assert_eq!(lab.observed.recorded.workers.as_deref(), Some("2/2"));
    assert_eq!(lab.observed.recorded.phase, Some(Phase::Ready));
}

#[test]
fn a_step_that_helps_is_the_last_and_after_a_while_the_ladder_begins_anew() {
    for mends in ["RestartRay", "Reboot"] {
        let mut lab = joined_lab();
        let lost = worker(&lab);
        lab.ray.broken.insert(lost.clone());
        lab.ray.mended_by.insert(lost.clone(), mends);
        let done = lab.pass_for(600);
        assert!(!done.iter().any(|line| line.starts_with("terminate")), "{done:?}");
        assert_eq!(lab.observed.recorded.phase, Some(Phase::Ready));
        // It stayed for longer than a window: the first step comes first again.
        lab.ray.broken.insert(lost.clone());
        let done = lab.pass_for(105);
        assert_eq!(done.len(), 1, "{done:?}");
        assert!(done[0].starts_with("restart Ray"), "{done:?}");
    }
}

#[test]
fn a_worker_that_falls_again_at_once_goes_on_where_it_was() {
    let mut lab = joined_lab();
    let lost = worker(&lab);
    lab.ray.broken.insert(lost.clone());
    lab.ray.mended_by.insert(lost.clone(), "RestartRay");
    lab.pass_for(90);
    lab.pass_for(30);
    assert_eq!(lab.observed.recorded.workers.as_deref(), Some("2/2"));
    lab.ray.broken.insert(lost.clone());
    let done = lab.pass_for(180);
    assert_eq!(done.len(), 1, "{done:?}");
    assert!(done[0].starts_with("reboot"), "{done:?}");
}

#[test]
fn a_worker_that_cannot_be_reached_is_rebooted_after_a_window() {
    let mut lab = joined_lab();
    let lost = worker(&lab);
    lab.ray.unreachable.insert(lost.clone());
    assert_eq!(lab.pass_for(180), Vec::<String>::new());
    let done = lab.pass_for(15);
    assert_eq!(
        done,
        [format!("reboot {lost}: Ray lost it, and it cannot be reached over SSH")]
    );
}

#[test]
fn the_console_of_a_lost_worker_that_nothing_reaches_is_read_before_it_is_replaced() {
    let mut lab = joined_lab();
    let lost = worker(&lab);
    lab.ray.unreachable.insert(lost.clone());
    lab.ray.consoles.insert(lost.clone(), vec!["Out of memory".into()]);
    let done = lab.pass_for(600);
    let at = |line: &str| done.iter().position(|done| done.starts_with(line));
    let read = at(&format!("read the console of {lost}"));
    let replaced = at(&format!(
        "terminate {lost}: did not come back into Ray after a reboot; its console ends with: Out of memory"
    ));
    assert!(at(&format!("reboot {lost}")) < read && read < replaced, "{done:?}");
}

#[test]
fn what_ec2_says_needs_no_ladder() {
    let mut lab = joined_lab();
    let gone = worker(&lab);
    lab.machine_mut(&gone).state = InstanceState::Terminated;
    let done = lab.pass_for(15);
    assert!(done[0].starts_with("record launch"), "{done:?}");
}

#[test]
fn a_worker_that_fails_ec2s_checks_is_told_while_it_works_and_healed_once_it_does_not() {
    let mut lab = joined_lab();
    let impaired = worker(&lab);
    lab.machine_mut(&impaired).impaired = true;
    assert_eq!(lab.pass_for(3600), Vec::<String>::new(), "Ray lists it as alive");
    assert_eq!(reason(&lab, Subject::Workers), Some(Reason::Impaired));
    lab.ray.unknown = Some(Blindness::Slow);
    lab.ray.unreachable.insert(impaired.clone());
    assert_eq!(lab.pass_for(3600), Vec::<String>::new(), "and nobody knows");
    lab.ray.unknown = None;
    assert_eq!(lab.pass_for(75), Vec::<String>::new());
    let reboot = format!("reboot {impaired}: fails EC2's status checks, and is not in Ray");
    assert_eq!(lab.pass_for(30), [reboot]);
    assert_eq!(lab.pass_for(150), Vec::<String>::new(), "the reboot has its time");
    let done = lab.pass_for(30);
    assert_eq!(done[0], format!("read the console of {impaired}"), "{done:?}");
    let replaced = format!("terminate {impaired}: fails EC2's status checks, and is not in Ray after a reboot; ");
    assert!(done[1].starts_with(&replaced), "{done:?}");
    lab.pass_for(30);
    assert_eq!(lab.observed.recorded.phase, Some(Phase::Ready));
}

#[test]
fn a_new_worker_that_fails_ec2s_checks_is_rebooted_and_then_replaced() {
    let mut lab = joined_lab();
    lab.ray.failing = Some("hangs".into());
    lab.cluster.groups[0].replicas = 3;
    let before = lab.live(WORKER);
    lab.run();
    lab.pass();
    let new = lab.live(WORKER).into_iter().find(|id| !before.contains(id)).unwrap();
    lab.machine_mut(&new).impaired = true;
    let done = lab.pass_for(600);
    assert!(done[0].starts_with(&format!("reboot {new}: fails EC2")), "{done:?}");
    assert!(done[1].starts_with(&format!("terminate {new}: fails EC2")), "{done:?}");
}

#[test]
fn a_new_worker_that_tells_how_far_it_is_has_its_join_time_whatever_ec2s_checks_say() {
    let mut lab = joined_lab();
    lab.ray.withhold_tokens = true;
    lab.cluster.groups[0].replicas = 3;
    let before = lab.live(WORKER);
    lab.settle();
    lab.arrive();
    let new = lab.live(WORKER).into_iter().find(|id| !before.contains(id)).unwrap();
    lab.ray.stages.insert(new.clone(), Stage::Installing);
    lab.machine_mut(&new).impaired = true;
    let mut done = lab.pass_for(570);
    done.retain(|line| !line.starts_with("give"));
    assert_eq!(done, Vec::<String>::new());
}

#[test]
fn nothing_is_decided_about_workers_while_the_head_is_unknown() {
    for why in [
        Blindness::NotLooked,
        Blindness::KeyMissing,
        Blindness::NoWayIn,
        Blindness::HostKeyChanged {
            shown: "SHA256:x".into(),
        },
        Blindness::AccessDenied,
        Blindness::ForwardingDenied,
        Blindness::Slow,
        Blindness::TokenRefused,
        Blindness::Incomplete,
        Blindness::Stale,
        Blindness::Garbled,
        Blindness::WrongPeer,
    ] {
        let mut lab = joined_lab();
        lab.ray.others = Others::Answering;
        lab.ray.broken.insert(worker(&lab));
        lab.pass_for(60);
        lab.ray.unknown = Some(why.clone());
        assert_eq!(lab.pass_for(3600), Vec::<String>::new(), "{why:?}");
        assert_eq!(reason(&lab, Subject::Workers), Some(Reason::HeadUnknown), "{why:?}");
        assert_eq!(reason(&lab, Subject::Head), Some(Reason::from(&why)), "{why:?}");
    }
}

#[test]
fn a_new_head_gives_its_workers_time_to_come_back() {
    let mut lab = joined_lab();
    let (old, workers) = (head(&lab), lab.live(WORKER));
    lab.machine_mut(&old).state = InstanceState::Terminated;
    let done = lab.pass_for(60);
    assert!(done.iter().any(|line| line.starts_with("launch 1")), "{done:?}");
    assert_eq!(lab.live(WORKER), workers, "they stay");
    assert_eq!(lab.observed.recorded.workers.as_deref(), Some("2/2"), "and join it");
    // Those that do not come by themselves have the join time, and then the ladder begins.
    lab.ray.broken.extend(workers.clone());
    lab.ray.sessions += 1;
    let done = lab.pass_for(600);
    assert_eq!(done, [] as [String; 0]);
    let done = lab.pass_for(15);
    assert_eq!(done.len(), 2, "{done:?}");
    assert!(done.iter().all(|line| line.starts_with("restart Ray")), "{done:?}");
}

#[test]
fn where_most_are_lost_at_once_they_are_replaced_a_few_at_a_time() {
    let mut lab = Scenario::lab();
    lab.cluster.groups[0].replicas = 30;
    lab.limits.launch_cap_factor = 100;
    lab.run();
    lab.pass();
    lab.now += jiff::SignedDuration::from_hours(1);
    lab.pass();
    let lost: Vec<String> = lab.live(WORKER).into_iter().take(20).collect();
    lab.ray.broken.extend(lost.clone());
    let done = lab.pass_for(435);
    let restarts = done.iter().filter(|line| line.starts_with("restart Ray")).count();
    assert_eq!(restarts, 20, "steps that cost nothing go on: {done:?}");
    lab.now += jiff::SignedDuration::from_secs(15);
    lab.arrive();
    lab.look();
    let plan = lab.plan();
    let terminated = plan
        .actions
        .iter()
        .filter(|action| action.to_string().starts_with("terminate"));
    assert_eq!(terminated.count(), 3, "a tenth");
    let told = waits(&lab, Subject::Workers);
    assert!(
        told.iter().any(|(_, message)| message.contains("a few at a time")),
        "{told:?}"
    );
    // All are replaced in the end.
    lab.pass_for(600);
    assert_eq!(lab.observed.recorded.workers.as_deref(), Some("30/30"));
    assert!(!lab.live(WORKER).iter().any(|id| lost.contains(id)));
}

#[test]
fn a_lost_worker_that_lets_nobody_in_is_told_and_left_alone() {
    let changed = Blindness::HostKeyChanged {
        shown: "SHA256:x".into(),
    };
    for (why, what) in [
        (changed, "rayward.dev/accept-host-key=SHA256:x"),
        (Blindness::AccessDenied, "Restore the Secret"),
        (Blindness::ForwardingDenied, "AllowTcpForwarding"),
    ] {
        let mut lab = joined_lab();
        let lost = worker(&lab);
        lab.ray.broken.insert(lost.clone());
        lab.ray.refused.insert(lost.clone(), why.clone());
        assert_eq!(lab.pass_for(3600), Vec::<String>::new(), "{why:?}");
        let told = waits(&lab, Subject::Workers);
        assert_eq!(told[0].0, Reason::from(&why));
        assert!(told[0].0.needs_person() && told[0].1.contains(what), "{told:?}");
        let worker = &lab.observed.recorded.worker_groups[0].machines[0];
        assert!(worker.message.as_ref().is_some_and(|message| message.contains(what)));
    }
}

#[test]
fn a_worker_that_works_and_lets_nobody_in_is_told_at_once_and_left_alone() {
    let changed = Blindness::HostKeyChanged {
        shown: "SHA256:x".into(),
    };
    for (why, what) in [
        (changed, "rayward.dev/accept-host-key=SHA256:x"),
        (Blindness::AccessDenied, "Restore the Secret"),
    ] {
        let mut lab = joined_lab();
        let shut = worker(&lab);
        lab.ray.refused.insert(shut.clone(), why.clone());
        assert_eq!(lab.pass_for(15), Vec::<String>::new(), "{why:?}");
        let told = waits(&lab, Subject::Workers);
        assert_eq!((told.len(), told[0].0), (1, Reason::from(&why)));
        assert!(
            told[0].1.starts_with(&format!("{shut}: works in Ray")) && told[0].1.contains(what),
            "{told:?}"
        );
        let status = &lab.observed.recorded;
        let mut stalled = status
            .conditions
            .iter()
            .filter(|condition| condition.type_ == "Stalled");
        assert!(
            stalled.any(|stalled| stalled.reason == why.name()),
            "an Event tells of it"
        );
        assert_eq!(status.workers.as_deref(), Some("2/2"));
        assert_eq!(lab.pass_for(3600), Vec::<String>::new(), "{why:?}");
        lab.ray.refused.clear();
        assert_eq!(lab.pass_for(15), Vec::<String>::new());
        assert_eq!(lab.observed.recorded.phase, Some(Phase::Ready));
    }
}

#[test]
fn a_lost_secret_is_not_told_of_each_worker() {
    let mut lab = joined_lab();
    for id in lab.live(WORKER) {
        lab.ray.refused.insert(id, Blindness::KeyMissing);
    }
    assert_eq!(lab.pass_for(15), Vec::<String>::new());
    assert_eq!(waits(&lab, Subject::Workers), []);
}

#[test]
fn a_worker_that_works_is_left_alone_and_told_if_its_disk_is_full() {
    let mut lab = joined_lab();
    let unwell = worker(&lab);
    lab.ray.full.insert(unwell.clone());
    assert_eq!(lab.pass_for(3600), Vec::<String>::new());
    let told = waits(&lab, Subject::Workers);
    assert_eq!(told[0].0, Reason::DiskFull);
    assert!(
        told[0].1.starts_with(&unwell) && told[0].1.contains("make room"),
        "{told:?}"
    );
    lab.ray.full.clear();
    lab.pass_for(30);
    assert_eq!(lab.observed.recorded.phase, Some(Phase::Ready));
}

#[test]
fn a_step_names_what_the_machine_says_of_its_trouble() {
    let mut lab = joined_lab();
    let lost = worker(&lab);
    lab.ray.broken.insert(lost.clone());
    lab.ray.full.insert(lost);
    let done = lab.pass_for(90);
    assert!(done[0].starts_with("restart Ray on"), "{done:?}");
    assert!(done[0].ends_with("; its disk is full"), "{done:?}");
}
