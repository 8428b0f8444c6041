//! The head.

use std::time::Duration;

use super::*;
use crate::{
    api::{ControllerAccess, Phase, WhenUnreachable},
    controller::events::of_ray,
    ray::facts::{Blindness, Others, Stage},
    resources::instance::InstanceState,
};

#[test]
fn a_dead_ray_is_restarted_then_its_machine_rebooted_then_told() {
    for why in [Blindness::DashboardDown, Blindness::GcsDown] {
        let mut lab = joined_lab();
        let head = head(&lab);
        lab.ray.unknown = Some(why.clone());
        assert_eq!(lab.pass_for(75), Vec::<String>::new(), "its supervision acts first");
        assert_eq!(reason(&lab, Subject::Head), Some(Reason::from(&why)));
        let done = lab.pass_for(15);
        assert_eq!(done.len(), 1, "{done:?}");
        assert!(done[0].starts_with(&format!("restart Ray on {head}: its Ray is down ({})", why.name())));
        assert_eq!(lab.pass_for(165), Vec::<String>::new());
        let done = lab.pass_for(15);
        assert_eq!(done.len(), 1, "{done:?}");
        assert!(done[0].starts_with(&format!("reboot {head}: a restart of its Ray did not help")));
        assert_eq!(lab.pass_for(165), Vec::<String>::new());
        assert_eq!(lab.pass_for(7200), Vec::<String>::new(), "its disk is the user's");
        assert_eq!(reason(&lab, Subject::Head), Some(Reason::HeadUnhealed));
        assert_eq!(lab.observed.recorded.phase, Some(Phase::Stalled));
        // It comes back, stays, and falls again: the first step comes first.
        lab.ray.unknown = None;
        lab.pass_for(240);
        assert_eq!(lab.observed.recorded.phase, Some(Phase::Ready));
        lab.ray.unknown = Some(why);
        let done = lab.pass_for(90);
        assert!(done[0].starts_with("restart Ray"), "{done:?}");
    }
}

/// A lab whose head cannot be reached.
fn unreachable_lab(others: Others) -> Scenario {
    let mut lab = joined_lab();
    lab.ray.others = others;
    lab.ray.unreachable.insert(head(&lab));
    lab
}

#[test]
fn a_head_that_cannot_be_reached_is_rebooted_once_and_then_told() {
    for others in [Others::Answering, Others::None, Others::Silent] {
        let mut lab = unreachable_lab(others);
        let head = head(&lab);
        // Where there is nobody to compare with, EC2 has to say so too.
        lab.machine_mut(&head).impaired = others != Others::Answering;
        assert_eq!(lab.pass_for(600), Vec::<String>::new());
        assert_eq!(reason(&lab, Subject::Head), Some(Reason::Unreachable));
        let done = lab.pass_for(15);
        assert_eq!(done.len(), 1, "{done:?}");
        assert!(
            done[0].starts_with(&format!("reboot {head}: it cannot be reached since")),
            "{done:?}"
        );
        assert_eq!(lab.pass_for(7200), Vec::<String>::new(), "once");
        assert_eq!(reason(&lab, Subject::Head), Some(Reason::HeadUnhealed));
    }
}

#[test]
fn a_head_is_not_rebooted_where_the_fault_may_be_ours_or_the_spec_says_so() {
    for others in [Others::Silent, Others::None] {
        let mut lab = unreachable_lab(others);
        assert_eq!(lab.pass_for(3600), Vec::<String>::new());
        let told = waits(&lab, Subject::Head);
        assert_eq!(told[0].0, Reason::Unreachable);
        assert!(told[0].1.contains("EC2's status checks of it fail too"), "{told:?}");
        // When others answer again nothing of this cluster is news.
        lab.look();
        assert_eq!(lab.plan().next_check, Some(lab.limits.ray.look_interval));
        lab.ray.others = Others::Answering;
        assert!(lab.pass_for(15)[0].starts_with("reboot"));
    }

    let mut lab = unreachable_lab(Others::None);
    let id = head(&lab);
    lab.machine_mut(&id).impaired = true;
    lab.observed.machine_sweep_age = Duration::from_mins(2);
    assert_eq!(lab.pass_for(3600), Vec::<String>::new());
    assert_eq!(
        reason(&lab, Subject::Head),
        Some(Reason::Unreachable),
        "AWS does not answer either"
    );

    let mut lab = unreachable_lab(Others::Answering);
    lab.cluster.head.when_unreachable = WhenUnreachable::Keep;
    lab.pass_for(60);
    let told = waits(&lab, Subject::Head);
    assert!(told[0].1.contains("is not rebooted"), "{told:?}");
    assert_eq!(lab.pass_for(3600), Vec::<String>::new());
    let told = waits(&lab, Subject::Head);
    assert_eq!(told[0].0, Reason::HeadUnhealed);
    assert!(told[0].1.contains("head.whenUnreachable is Keep"), "{told:?}");
}

#[test]
fn what_a_reboot_does_not_mend_is_told_with_what_to_do() {
    let cases = [
        (Blindness::NoWayIn, "--egress-cidrs"),
        (Blindness::NoWayIn, "network.controllerAccess"),
        (Blindness::NoWayIn, "network.adminCidrs"),
        (
            Blindness::HostKeyChanged {
                shown: "SHA256:x".into(),
            },
            "rayward.dev/accept-host-key=SHA256:x",
        ),
        (Blindness::KeyMissing, "lab-ssh"),
        (Blindness::AccessDenied, "lab-ssh"),
        (Blindness::ForwardingDenied, "AllowTcpForwarding"),
        (Blindness::TokenRefused, "ray-token"),
        (Blindness::WrongPeer, "network.controllerAccess"),
    ];
    for (why, what) in cases {
        let mut lab = joined_lab();
        lab.ray.others = Others::Answering;
        lab.ray.unknown = Some(why.clone());
        assert_eq!(lab.pass_for(3600), Vec::<String>::new(), "{why:?}");
        let told = waits(&lab, Subject::Head);
        assert_eq!(told[0].0, Reason::from(&why));
        assert!(told[0].0.needs_person() && told[0].1.contains(what), "{told:?}");
        assert!(told[0].1.contains("is not known since 2026-"), "{told:?}");
        assert_eq!(lab.observed.recorded.phase, Some(Phase::Stalled));
    }
}

#[test]
fn a_head_without_an_address_for_the_controller_has_no_way_in() {
    let mut lab = Scenario::lab();
    lab.run();
    lab.cluster.controller_access = ControllerAccess::Public;
    let id = head(&lab);
    lab.machine_mut(&id).public_address = None;
    lab.ray.unknown = Some(Blindness::NotLooked);
    lab.pass();
    assert_eq!(reason(&lab, Subject::Head), Some(Reason::NoWayIn));
    lab.cluster.controller_access = ControllerAccess::Private;
    let address = lab.plan().interest.head.map(|head| head.address.to_string());
    assert_eq!(address.as_deref(), Some("10.0.1.10"));
}

#[test]
fn what_every_first_start_goes_through_is_no_news() {
    for why in [Blindness::DashboardDown, Blindness::Incomplete, Blindness::Slow] {
        let mut lab = Scenario::lab();
        lab.ray.unknown = Some(why.clone());
        lab.run();
        let before = lab.observed.recorded.clone();
        lab.pass();
        lab.pass_for(60);
        assert_eq!(reason(&lab, Subject::Head), Some(Reason::Joining), "{why:?}");
        assert_eq!(of_ray(&before, &lab.observed.recorded), [], "{why:?}");
        // No head takes that long with its dashboard, and one that was known is told of at once.
        lab.pass_for(30);
        assert_ne!(reason(&lab, Subject::Head), Some(Reason::Joining), "{why:?}");
        let mut lab = joined_lab();
        let before = lab.observed.recorded.clone();
        lab.ray.unknown = Some(why.clone());
        lab.pass();
        let [event] = &of_ray(&before, &lab.observed.recorded)[..] else {
            panic!("{why:?} is not told")
        };
        assert_eq!(event.reason, why.name());
        assert!(!event.note.contains("2026-"), "{}", event.note);
    }
}

#[test]
fn a_slow_head_may_be_at_work() {
    for why in [
        Blindness::Slow,
        Blindness::Incomplete,
        Blindness::Stale,
        Blindness::Garbled,
    ] {
        let mut lab = joined_lab();
        lab.ray.others = Others::Answering;
        lab.ray.unknown = Some(why.clone());
        assert_eq!(lab.pass_for(3600), Vec::<String>::new(), "{why:?}");
        // But where its unit is down, that is why, after the grace of its supervision.
        lab.ray.broken.insert(head(&lab));
        assert_eq!(lab.pass_for(75), Vec::<String>::new(), "{why:?}");
        let done = lab.pass_for(15);
        assert!(done[0].starts_with("restart Ray"), "{why:?}: {done:?}");
    }
}

#[test]
fn a_head_that_boots_is_on_its_way_and_its_stage_is_told() {
    let mut lab = Scenario::lab();
    lab.ray.unknown = Some(Blindness::DashboardDown);
    lab.run();
    let id = head(&lab);
    lab.ray.tokens.remove(&id);
    lab.ray.withhold_tokens = true;
    lab.pass();
    assert_eq!(
        waits(&lab, Subject::Head),
        [(Reason::Joining, format!("{id}: waiting for the cluster's token"))]
    );
    assert_eq!(reason(&lab, Subject::Workers), Some(Reason::DependencyPending));
    assert_eq!(lab.observed.recorded.phase, Some(Phase::Provisioning));
    assert_eq!(
        lab.observed.recorded.head.as_ref().unwrap().message.as_deref(),
        Some("waiting for the cluster's token")
    );
}

#[test]
fn a_head_that_cannot_be_set_up_is_told_with_its_last_lines_and_kept() {
    let mut lab = Scenario::lab();
    lab.ray.unknown = Some(Blindness::DashboardDown);
    lab.run();
    lab.ray.failing = Some("pip: no such version 9.9.9".into());
    lab.ray.broken.insert(head(&lab));
    lab.pass();
    assert_eq!(lab.pass_for(3600), Vec::<String>::new());
    let told = waits(&lab, Subject::Head);
    assert_eq!(told[0].0, Reason::BootstrapFailed);
    assert!(
        told[0].1.contains("pip: no such version 9.9.9") && told[0].1.contains("terminate"),
        "{told:?}"
    );
    assert_eq!(lab.observed.recorded.phase, Some(Phase::Stalled));
}

#[test]
fn a_head_whose_ray_ends_at_each_start_is_told_once_and_climbs_no_ladder() {
    let mut lab = Scenario::lab();
    lab.ray.unknown = Some(Blindness::DashboardDown);
    lab.run();
    let id = head(&lab);
    lab.ray.broken.insert(id.clone());
    let mut told = Vec::new();
    for count in 2..240 {
        let stage = if count % 2 == 0 { Stage::Starting } else { Stage::Failed };
        lab.ray.stages.insert(id.clone(), stage);
        lab.ray.ends.insert(id.clone(), count);
        assert_eq!(lab.pass_for(15), Vec::<String>::new(), "{count}");
        told.extend(waits(&lab, Subject::Head));
    }
    told.dedup();
    assert_eq!(told.len(), 1, "{told:?}");
    assert_eq!(told[0].0, Reason::BootstrapFailed);
    assert!(told[0].1.contains("rayStartParams"), "{told:?}");
}

#[test]
fn a_stopped_head_is_started_and_its_time_begins_then() {
    let mut lab = unreachable_lab(Others::Answering);
    lab.pass_for(540);
    let id = head(&lab);
    lab.machine_mut(&id).state = InstanceState::Stopped;
    let done = lab.pass_for(15);
    assert_eq!(done, [format!("start {id}")]);
    assert_eq!(lab.pass_for(300), Vec::<String>::new());
    assert_eq!(reason(&lab, Subject::Head), Some(Reason::Joining));
}

/// Everything that may be met for an hour without anything being done about it.
const WAITED_FOR: [Blindness; 5] = [
    Blindness::Slow,
    Blindness::Incomplete,
    Blindness::Stale,
    Blindness::Garbled,
    Blindness::TokenRefused,
];

#[test]
fn a_ladder_begins_with_its_own_fault_whatever_was_met_before() {
    for before in WAITED_FOR.into_iter().chain([Blindness::Unreachable]) {
        for (why, grace) in [
            (Blindness::DashboardDown, 75),
            (Blindness::GcsDown, 75),
            (Blindness::Unreachable, 600),
        ] {
            if why == before {
                continue;
            }
            let mut lab = joined_lab();
            lab.ray.others = Others::Answering;
            lab.ray.unknown = Some(before.clone());
            let hour = if before == Blindness::Unreachable { 540 } else { 3600 };
            assert_eq!(lab.pass_for(hour), Vec::<String>::new(), "{before:?}");
            lab.ray.unknown = Some(why.clone());
            if why == Blindness::Unreachable {
                lab.ray.unreachable.insert(head(&lab));
            }
            assert_eq!(lab.pass_for(grace), Vec::<String>::new(), "{before:?}, then {why:?}");
            // Once again what was met before, and the time begins anew.
            lab.ray.unknown = Some(before.clone());
            lab.ray.unreachable.clear();
            assert_eq!(lab.pass_for(15), Vec::<String>::new(), "{before:?}, then {why:?}");
            lab.ray.unknown = Some(why.clone());
            if why == Blindness::Unreachable {
                lab.ray.unreachable.insert(head(&lab));
            }
            assert_eq!(
                lab.pass_for(grace),
                Vec::<String>::new(),
                "{before:?}, then {why:?} again"
            );
            let done = lab.pass_for(15);
            assert_eq!(done.len(), 1, "{before:?}, then {why:?}: {done:?}");
        }
    }
}

#[test]
fn a_connection_that_breaks_while_the_machine_tells_of_itself_begins_no_ladder() {
    for before in WAITED_FOR {
        let mut lab = joined_lab();
        lab.ray.others = Others::Answering;
        lab.ray.unknown = Some(before.clone());
        assert_eq!(lab.pass_for(3600), Vec::<String>::new(), "{before:?}");
        lab.ray.unknown = Some(Blindness::Unreachable);
        assert_eq!(
            lab.pass_for(3600),
            Vec::<String>::new(),
            "{before:?}, then a broken one"
        );
        // What is silent from then on has its own time.
        lab.ray.unreachable.insert(head(&lab));
        assert_eq!(lab.pass_for(600), Vec::<String>::new(), "{before:?}");
        assert!(lab.pass_for(15)[0].starts_with("reboot"), "{before:?}");
    }
}

#[test]
fn one_look_is_no_reason_for_the_next_step_either() {
    let mut lab = joined_lab();
    lab.ray.unknown = Some(Blindness::GcsDown);
    assert_eq!(lab.pass_for(90).len(), 1, "Ray is restarted");
    // It helps for less than a window, and then one look meets the same.
    lab.ray.unknown = None;
    lab.pass_for(150);
    lab.ray.unknown = Some(Blindness::Slow);
    lab.pass_for(60);
    lab.ray.unknown = Some(Blindness::GcsDown);
    assert_eq!(lab.pass_for(75), Vec::<String>::new());
    assert!(lab.pass_for(15)[0].starts_with("reboot"));
}

#[test]
fn a_new_head_has_its_grace_once_its_ray_runs() {
    let mut lab = Scenario::lab();
    lab.ray.unknown = Some(Blindness::DashboardDown);
    lab.run();
    let id = head(&lab);
    lab.ray.stages.insert(id.clone(), Stage::Installing);
    lab.pass();
    assert_eq!(lab.pass_for(300), Vec::<String>::new());
    // Its Ray runs, and the looks beside it met no dashboard yet.
    lab.ray.stages.insert(id, Stage::Running);
    assert_eq!(lab.pass_for(75), Vec::<String>::new());
    assert!(lab.pass_for(15)[0].starts_with("restart Ray"));
}

#[test]
fn a_head_that_is_being_set_up_climbs_no_ladder_however_long_it_takes() {
    for stage in [
        Stage::Booting,
        Stage::Installing,
        Stage::SettingUp,
        Stage::WaitingForToken,
    ] {
        let mut lab = Scenario::lab();
        lab.run();
        let id = head(&lab);
        lab.ray.unknown = Some(Blindness::DashboardDown);
        lab.ray.stages.insert(id.clone(), stage);
        lab.pass();
        lab.observed.recorded.head.as_mut().unwrap().joined_time = None;
        assert_eq!(lab.pass_for(3600), Vec::<String>::new(), "{stage:?}");
        let told = waits(&lab, Subject::Head);
        assert_eq!(told[0].0, Reason::Joining, "{stage:?}");
        assert!(told[0].1.contains("takes longer than 600 s"), "{told:?}");
    }
}

#[test]
fn a_head_that_fails_ec2s_checks_is_never_replaced() {
    let mut lab = joined_lab();
    let id = head(&lab);
    lab.machine_mut(&id).impaired = true;
    assert_eq!(lab.pass_for(3600), Vec::<String>::new(), "its Ray answers");
    assert_eq!(reason(&lab, Subject::Head), Some(Reason::Impaired));
    for why in WAITED_FOR {
        lab.ray.unknown = Some(why.clone());
        assert_eq!(lab.pass_for(3600), Vec::<String>::new(), "{why:?}");
    }
    lab.ray.unknown = None;
    lab.ray.unreachable.insert(id.clone());
    let done = lab.pass_for(7200);
    assert_eq!(done.len(), 1, "{done:?}");
    assert!(done[0].starts_with(&format!("reboot {id}")), "{done:?}");
    assert_eq!(reason(&lab, Subject::Head), Some(Reason::HeadUnhealed));
}

#[test]
fn a_head_whose_disk_is_full_is_told_and_left_alone() {
    let mut lab = joined_lab();
    lab.ray.full.insert(head(&lab));
    assert_eq!(lab.pass_for(3600), Vec::<String>::new());
    let told = waits(&lab, Subject::Head);
    assert_eq!(told[0].0, Reason::DiskFull);
    assert!(told[0].1.contains("make room"), "{told:?}");
}
