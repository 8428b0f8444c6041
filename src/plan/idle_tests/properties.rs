//! What holds for every history.

use proptest::{collection::vec, prelude::*};

use super::*;
use crate::api::WhenUnknown;

/// Something that happens between two passes.
#[derive(Clone, Debug)]
enum Event {
    Use(bool),
    Blind(bool),
    Minutes(i64),
    Jump(i64),
    Away(i64),
    Wipe,
    KeepAlive(Option<i64>),
    Suspend(bool),
    Wake(u8),
    Old,
    /// A worker cannot be asked who is on it, or can again.
    DarkWorker(bool),
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let event = prop_oneof![
        3 => any::<bool>().prop_map(Event::Use),
        2 => any::<bool>().prop_map(Event::Blind),
        8 => (1..25_i64).prop_map(Event::Minutes),
        1 => (-600..600_i64).prop_map(Event::Jump),
        1 => (1..600_i64).prop_map(Event::Away),
        1 => Just(Event::Wipe),
        1 => proptest::option::of(-60..120_i64).prop_map(Event::KeepAlive),
        1 => any::<bool>().prop_map(Event::Suspend),
        1 => (0..3_u8).prop_map(Event::Wake),
        1 => Just(Event::Old),
        2 => any::<bool>().prop_map(Event::DarkWorker),
    ];
    vec(event, 0..14)
}

fn happen(lab: &mut Lab, event: &Event) {
    let now = lab.scenario.now;
    match event {
        Event::Use(true) => lab.uses(Signal::Actor),
        Event::Use(false) => lab.is_unused(),
        Event::Blind(true) => lab.blind(Blindness::Slow),
        Event::Blind(false) => lab.scenario.ray.unknown = None,
        Event::Minutes(_) => {}
        Event::Jump(minutes) => {
            lab.scenario.now += SignedDuration::from_mins(*minutes);
            lab.jumped = Some(0);
        }
        Event::Away(minutes) => lab.away_for(*minutes),
        Event::Wipe => {
            let recorded = &mut lab.scenario.observed.recorded;
            (recorded.last_activity_time, recorded.idle_deadline) = (None, None);
            recorded.conditions.clear();
        }
        Event::KeepAlive(minutes) => {
            let until = minutes.map(|minutes| (now + SignedDuration::from_mins(minutes)).to_string());
            lab.scenario.observed.wishes.keep_alive_until = until;
        }
        Event::Suspend(suspend) => lab.scenario.cluster.suspend = *suspend,
        Event::Wake(text) => lab.wake(&text.to_string()),
        Event::DarkWorker(true) => {
            let worker = lab.scenario.live(crate::plan::fleet::WORKER).first().cloned();
            lab.scenario.ray.refused.extend(worker.map(|id| (id, Blindness::Slow)));
        }
        Event::DarkWorker(false) => lab.scenario.ray.refused.clear(),
        Event::Old => {
            lab.scenario.observed.recorded.last_activity_time = Some(Timestamp::UNIX_EPOCH);
        }
    }
}

/// How many passes of 15 s an event takes.
fn passes(event: &Event) -> i64 {
    if let Event::Minutes(minutes) = event {
        minutes * 4
    } else {
        1
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]

    /// Nothing goes down without its mark first, on Unknown, before the deadline that was told, or unseen.
    #[test]
    fn a_cluster_goes_down_only_known_idle_marked_and_after_its_deadline(history in events()) {
        let mut lab = Lab::minutes(20);
        lab.scenario.ray.others = crate::ray::facts::Others::Silent;
        for event in &history {
            happen(&mut lab, event);
            for _ in 0..passes(event) {
                lab.advance(15);
                lab.see();
                // A person may take a wish back.
                let told = lab.deadline().filter(|_| !matches!(event, Event::KeepAlive(_)));
                let marked = lab.scenario.observed.stopped.is_some();
                let known = lab.scenario.observed.ray.activity.known().cloned();
                let all_told = lab.scenario.observed.ray.reports.values().all(|report| report.known().is_some());
                let idle_for = lab.scenario.observed.ray.idle_for;
                let done = lab.scenario.settle();
                let is_stop = |line: &String| line.starts_with("stop ") || line.starts_with("terminate ");
                if let Some(at) = done.iter().position(is_stop) {
                    let is_marked_before = done[..at].iter().any(|line| line.starts_with("mark as stopped: "));
                    prop_assert!(marked || is_marked_before, "{done:?}");
                }
                if done.iter().any(|line| line.starts_with("mark as stopped: Idle@")) {
                    let activity = known.expect("it is known");
                    prop_assert!(activity.signals.is_empty());
                    prop_assert!(all_told, "nobody knows who is on the worker");
                    prop_assert!(idle_for >= Duration::from_mins(10), "{idle_for:?}");
                    prop_assert!(lab.jumped.is_none_or(|ago| ago >= 20 * 60));
                    prop_assert!(told.is_none_or(|told| told <= lab.scenario.now));
                    prop_assert!(!lab.scenario.cluster.suspend);
                }
                lab.scenario.write();
            }
        }
    }

    /// While nobody uses it, changes what they wish, or touches clock and status, the deadline only moves ahead.
    #[test]
    fn a_deadline_never_moves_earlier(history in events()) {
        let mut lab = Lab::minutes(20);
        lab.scenario.ray.others = crate::ray::facts::Others::Silent;
        for event in &history {
            happen(&mut lab, event);
            let mut before = match event {
                Event::Minutes(_) | Event::Away(_) | Event::Blind(_) | Event::Wake(_) => lab.deadline(),
                _ => None,
            };
            for _ in 0..passes(event) {
                lab.advance(15);
                lab.pass();
                if let (Some(before), Some(now)) = (before, lab.deadline()) {
                    prop_assert!(now >= before, "{before} then {now}");
                }
                before = lab.deadline().or(before);
            }
        }
    }

    /// What the spec says is suspended is down within a minute, and stays so.
    #[test]
    fn the_spec_wins(history in events()) {
        let mut lab = Lab::minutes(20);
        lab.scenario.cluster.idle.when_unknown = WhenUnknown::Stop;
        for event in &history {
            happen(&mut lab, event);
            (0..passes(event)).for_each(|_| { lab.advance(15); lab.pass(); });
        }
        lab.scenario.cluster.suspend = true;
        lab.pass_for(5);
        let machines = lab.scenario.observed.inventory.instance.ours.values();
        let up: Vec<_> = machines.filter(|machine| machine.state == InstanceState::Running).collect();
        prop_assert!(up.is_empty(), "{up:?}");
        lab.wake("please");
        prop_assert_eq!(lab.pass_for(5), Vec::<String>::new());
    }
}
