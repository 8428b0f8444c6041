//! What happens by time alone, each at its time and with few passes.

use super::*;
use crate::{
    plan::fleet::{HEAD, WORKER},
    ray::facts::Others,
    resources::instance::InstanceState,
};

impl World {
    fn idle_after(minutes: u64) -> Self {
        Self::of(Lab::minutes(minutes))
    }

    fn busy() -> Self {
        let mut world = Self::idle_after(90);
        world.lab.uses(Signal::Actor);
        world.go(15).expect("it is in time");
        world
    }

    fn live(&self, role: &str) -> String {
        self.lab.scenario.live(role).remove(0)
    }

    /// Lets so many minutes pass.
    fn minutes(&mut self, minutes: i64) {
        self.go(minutes * 60)
            .unwrap_or_else(|late| panic!("{late}: {:#?}", self.told));
    }

    /// Seconds from `since` to the first thing told from then on that begins so.
    fn told_after(&self, since: Timestamp, what: &str) -> i64 {
        let mut told = self.told.iter().filter(|(at, _)| *at >= since);
        let found = told.find(|(_, line)| line.starts_with(what));
        let (at, _) = found.unwrap_or_else(|| panic!("{what}: not in {:#?}", self.told));
        at.duration_since(since).as_secs()
    }

    /// Makes sure that it was told within an interval after so many seconds.
    fn is_told(&self, since: Timestamp, what: &str, seconds: i64) {
        let took = self.told_after(since, what);
        let latest = seconds + INTERVAL.as_secs();
        assert!(
            (seconds..=latest).contains(&took),
            "{what}: {took} s, not {seconds}: {:#?}",
            self.told
        );
    }
}

#[test]
fn a_cluster_that_nobody_uses_is_told_and_stopped_with_a_handful_of_passes() {
    let mut world = World::busy();
    let since = world.now();
    world.lab.is_unused();
    world.minutes(100);
    world.is_told(since, "Idle True NotInUse", 0);
    world.is_told(since, "Idle True StoppingSoon", 80 * 60);
    world.is_told(since, "mark as stopped: Idle@", 90 * 60);
    world.is_told(since, "stop ", 90 * 60);
    assert!(world.passes < 40, "{} passes in 100 minutes", world.passes);
}

#[test]
fn what_a_person_postponed_follows_when_that_time_is_over() {
    let mut world = World::idle_after(20);
    let since = world.now();
    let until = since + SignedDuration::from_mins(300);
    world.edit(|lab| lab.scenario.observed.wishes.keep_alive_until = Some(until.to_string()));
    world.minutes(310);
    world.is_told(since, "Idle True StoppingSoon", 290 * 60);
    world.is_told(since, "stop ", 300 * 60);
}

#[test]
fn a_wake_starts_what_sleeps_and_the_clock_begins_anew() {
    let mut world = World::idle_after(20);
    world.minutes(60);
    let since = world.now();
    assert_eq!(world.lab.scenario.observed.recorded.idle_deadline, None, "it sleeps");
    world.edit(|lab| lab.wake("now"));
    world.minutes(30);
    world.is_told(since, "start ", 0);
    world.told_after(since, "Ready True");
    let woken = since + SignedDuration::from_secs(world.told_after(since, "Idle True"));
    let stopped = world.told_after(woken, "stop ");
    assert!((19 * 60..=21 * 60).contains(&stopped), "{stopped}");
}

#[test]
fn the_time_of_the_last_use_is_written_every_five_minutes() {
    let mut world = World::busy();
    let before = world.passes;
    world.minutes(60);
    let last = world.lab.scenario.observed.recorded.last_activity_time;
    let age = world.now().duration_since(last.expect("it is in use")).as_secs();
    assert!(age <= 300, "{age}");
    assert!(
        (10..20).contains(&(world.passes - before)),
        "{} passes",
        world.passes - before
    );
}

#[test]
fn a_lost_worker_climbs_its_ladder_in_time() {
    let mut world = World::busy();
    let (since, lost) = (world.now(), world.live(WORKER));
    world.lab.scenario.ray.broken.insert(lost.clone());
    world.minutes(12);
    let missing = since + INTERVAL;
    world.is_told(missing, &format!("restart Ray on {lost}"), 75);
    world.is_told(missing, &format!("reboot {lost}"), 75 + 180);
    world.is_told(missing, &format!("terminate {lost}"), 75 + 360);
    world.is_told(missing, "launch 1", 75 + 360);
}

#[test]
fn a_worker_that_cannot_be_reached_is_rebooted_in_time() {
    let mut world = World::busy();
    let (since, lost) = (world.now(), world.live(WORKER));
    world.lab.scenario.ray.unreachable.insert(lost.clone());
    world.minutes(12);
    world.is_told(since + INTERVAL, &format!("reboot {lost}"), 180);
    world.is_told(since + INTERVAL, &format!("terminate {lost}"), 360);
}

#[test]
fn workers_that_never_join_are_replaced_in_time_and_after_a_few_one_an_hour_is_tried() {
    let mut world = World::busy();
    let since = world.now();
    world.lab.scenario.ray.failing = Some("exit 1".into());
    world.edit(|lab| lab.scenario.cluster.groups[0].replicas = 5);
    world.minutes(150);
    world.told_after(since, "Stalled True RepeatedFailure");
    let first = world.told_after(since, "terminate ");
    assert!((600..660).contains(&first), "{first}");
    let held = since + SignedDuration::from_secs(first) + SignedDuration::from_mins(5);
    let tried = world.told_after(held, "launch 1");
    assert!((54 * 60..=57 * 60).contains(&tried), "{tried}");
}

#[test]
fn a_head_whose_ray_is_down_climbs_its_ladder_in_time() {
    let mut world = World::busy();
    let since = world.now();
    world.lab.scenario.ray.unknown = Some(Blindness::DashboardDown);
    world.minutes(15);
    let down = since + INTERVAL;
    world.is_told(down, "restart Ray on ", 75);
    world.is_told(down, "reboot ", 75 + 180);
    world.is_told(down, "HeadReady False HeadUnhealed", 75 + 360);
}

#[test]
fn a_head_that_cannot_be_reached_is_rebooted_in_time_and_when_others_answer_again() {
    for silent in [0, 25] {
        let mut world = World::busy();
        let (since, head) = (world.now(), world.live(HEAD));
        world.lab.scenario.ray.unreachable.insert(head.clone());
        if silent > 0 {
            world.lab.scenario.ray.others = Others::Silent;
            world.minutes(silent);
            assert!(
                !world.told.iter().any(|(_, line)| line.starts_with("reboot")),
                "it may be our own network"
            );
        }
        // That is no news of this cluster.
        world.lab.scenario.ray.others = Others::Answering;
        let answering = world.now();
        world.minutes(25);
        if silent == 0 {
            world.is_told(since + INTERVAL, &format!("reboot {head}"), 600);
        } else {
            world.is_told(answering, &format!("reboot {head}"), 0);
        }
        let rebooted = since + SignedDuration::from_secs(world.told_after(since, "reboot"));
        world.is_told(rebooted, "HeadReady False HeadUnhealed", 600);
    }
}

#[test]
fn a_ray_that_is_unknown_for_long_is_told_in_time() {
    let mut world = World::idle_after(90);
    world.lab.scenario.ray.others = Others::Silent;
    world.lab.scenario.ray.unknown = Some(Blindness::Slow);
    let since = world.now();
    world.minutes(100);
    world.is_told(since + INTERVAL, "Idle Unknown UnknownForLong", 90 * 60);
    assert!(
        !world.told.iter().any(|(_, line)| line.starts_with("stop ")),
        "{:#?}",
        world.told
    );
}

#[test]
fn workers_that_do_not_finish_draining_are_terminated_in_time() {
    let mut world = World::busy();
    world.lab.scenario.ray.hangs_in_drain = true;
    let since = world.now();
    world.edit(|lab| lab.scenario.cluster.groups[0].replicas = 1);
    world.minutes(7);
    world.is_told(since, "drain ", 0);
    world.is_told(since, "terminate ", 300);
}

#[test]
fn a_machine_that_hangs_while_it_stops_is_forced_in_time() {
    let mut world = World::idle_after(20);
    let since = world.now();
    world.edit(|lab| lab.scenario.cluster.suspend = true);
    let hanging: Vec<_> = world.lab.scenario.live(HEAD);
    assert_eq!(
        world.lab.scenario.machine_mut(&hanging[0]).state,
        InstanceState::Stopping
    );
    world.lab.scenario.hanging.extend(hanging);
    world.minutes(12);
    world.is_told(since, "force to stop ", 600);
}

#[test]
fn a_launch_that_stays_pending_is_given_up_in_time() {
    let mut world = World::busy();
    let since = world.now();
    world.edit(|lab| lab.scenario.cluster.groups[0].replicas = 3);
    let machines = world.lab.scenario.observed.inventory.instance.ours.values();
    let pending: Vec<_> = machines
        .filter(|machine| machine.state == InstanceState::Pending)
        .collect();
    let pending = pending[0].id.clone();
    world.lab.scenario.hanging.insert(pending.clone());
    world.minutes(7);
    world.is_told(since, &format!("terminate {pending}"), 300);
}

#[test]
fn what_was_first_met_while_the_head_was_unknown_is_not_taken_for_new_later() {
    let mut world = World::busy();
    world.lab.scenario.ray.others = Others::Silent;
    world.lab.scenario.ray.unreachable.insert(world.live(HEAD));
    world.minutes(5);
    // A status that was lost, and fewer workers.
    world.edit(|lab| {
        lab.scenario.observed.recorded.worker_groups.clear();
        lab.scenario.observed.ledger.launches.clear();
        lab.scenario.cluster.groups[0].replicas = 0;
    });
    world.minutes(60);
    assert!(
        !world.told.iter().any(|(_, line)| line.starts_with("terminate")),
        "{:#?}",
        world.told
    );
    world.lab.scenario.ray.unreachable.clear();
    let since = world.now();
    world.minutes(2);
    world.is_told(since, "drain ", 0);
}

#[test]
fn a_head_that_cannot_be_asked_is_called_lost_in_time() {
    let mut world = World::busy();
    world.lab.scenario.ray.unknown = Some(Blindness::DashboardDown);
    world.lab.scenario.ray.unreachable.insert(world.live(HEAD));
    world.minutes(2);
    let head = world.lab.scenario.observed.recorded.head.as_ref();
    assert_eq!(head.and_then(|head| head.ray), Some(crate::api::Membership::Lost));
}

#[test]
fn what_was_not_seen_for_one_late_look_alone_is_known_again_in_time() {
    let mut world = World::busy();
    world.pass_over_a_late_look();
    let since = world.now();
    world.minutes(1);
    world.is_told(since, "Idle Unknown Stale", 0);
    world.is_told(since, "Idle False InUse", 0);
    world.is_told(since, "Ready True", 0);
}
