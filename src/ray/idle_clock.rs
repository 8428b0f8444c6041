//! For how long a cluster has been seen unused without a gap, and whether the times of day since then can be believed.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::time::Instant;

/// By how much the two clocks may drift apart before one of them jumped.
const JUMP: Duration = Duration::from_secs(30);

/// See the module.
#[derive(Clone, Debug)]
pub struct IdleClock {
    /// Looks further apart than this leave a gap.
    gap: Duration,
    /// The first and the last of the looks in a row that showed no use, by when they began.
    run: Option<(Instant, Instant)>,
    /// The last look failed.
    missed: bool,
    /// Both clocks at the last look, at first when watching began.
    last: (Instant, Timestamp),
    /// When the clock of the operating system was seen to have jumped last.
    jumped: Option<Instant>,
}

impl IdleClock {
    /// Watching begins.
    #[must_use]
    pub fn new(gap: Duration, now: Instant, day: Timestamp) -> Self {
        Self {
            gap,
            run: None,
            missed: false,
            last: (now, day),
            jumped: None,
        }
    }

    /// A look that began at `now` showed use, or that this is another Ray.
    pub fn used(&mut self, now: Instant, day: Timestamp) {
        self.look(now, day, false);
        self.run = None;
    }

    /// A look that began at `now` showed no use.
    pub fn idle(&mut self, now: Instant, day: Timestamp) {
        self.look(now, day, false);
        self.run = match self.run {
            Some((first, last)) if now.duration_since(last) < self.gap => Some((first, now)),
            _ => Some((now, now)),
        };
    }

    /// A look that began at `now` failed: it proves nothing, and leaves a gap only with those beside it.
    pub fn unknown(&mut self, now: Instant, day: Timestamp) {
        self.look(now, day, true);
    }

    fn look(&mut self, now: Instant, day: Timestamp, missed: bool) {
        if self.jumps(now, day) {
            self.jumped = Some(now);
        }
        (self.last, self.missed) = ((now, day), missed);
    }

    /// From the first to the last look of those in a row that showed no use; zero when the last one is too old, or
    /// failed.
    #[must_use]
    pub fn idle_for(&self, now: Instant) -> Duration {
        match self.run {
            Some((first, last)) if !self.missed && now.duration_since(last) < self.gap => last.duration_since(first),
            _ => Duration::ZERO,
        }
    }

    /// How long ago the clock of the operating system was seen to have jumped last.
    #[must_use]
    pub fn jumped(&self, now: Instant, day: Timestamp) -> Option<Duration> {
        if self.jumps(now, day) {
            return Some(Duration::ZERO);
        }
        self.jumped.map(|at| now.duration_since(at))
    }

    fn jumps(&self, now: Instant, day: Timestamp) -> bool {
        let (then, day_then) = self.last;
        let passed = SignedDuration::try_from(now.duration_since(then)).unwrap_or(SignedDuration::MAX);
        let by_day = day.duration_since(day_then);
        by_day.saturating_sub(passed).unsigned_abs() > JUMP
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GAP: Duration = Duration::from_secs(45);

    struct Clocks {
        start: Instant,
        day: Timestamp,
    }

    impl Clocks {
        fn at(&self, seconds: i64) -> (Instant, Timestamp) {
            let passed = Duration::from_secs(seconds.unsigned_abs());
            (self.start + passed, self.day + SignedDuration::from_secs(seconds))
        }
    }

    fn begun() -> (Clocks, IdleClock) {
        let clocks = Clocks {
            start: Instant::now(),
            day: Timestamp::UNIX_EPOCH,
        };
        let clock = IdleClock::new(GAP, clocks.start, clocks.day);
        (clocks, clock)
    }

    fn idle(clock: &mut IdleClock, clocks: &Clocks, seconds: &[i64]) {
        for second in seconds {
            let (now, day) = clocks.at(*second);
            clock.idle(now, day);
        }
    }

    #[test]
    fn looks_in_a_row_without_use_add_up() {
        let (clocks, mut clock) = begun();
        idle(&mut clock, &clocks, &[10]);
        assert_eq!(clock.idle_for(clocks.at(10).0), Duration::ZERO);
        idle(&mut clock, &clocks, &[25, 69]);
        assert_eq!(clock.idle_for(clocks.at(70).0), Duration::from_secs(59));
    }

    #[test]
    fn use_failures_and_a_gap_each_begin_anew_and_one_failure_does_not() {
        let (clocks, mut clock) = begun();
        idle(&mut clock, &clocks, &[10, 20]);
        let (now, day) = clocks.at(30);
        clock.used(now, day);
        assert_eq!(clock.idle_for(now), Duration::ZERO);
        idle(&mut clock, &clocks, &[40, 50]);
        assert_eq!(clock.idle_for(clocks.at(50).0), Duration::from_secs(10));

        for (next, expected) in [(64, 54), (65, 0)] {
            let (clocks, mut clock) = begun();
            idle(&mut clock, &clocks, &[10, 20]);
            for second in [30, 45] {
                let (now, day) = clocks.at(second);
                clock.unknown(now, day);
                assert_eq!(clock.idle_for(now), Duration::ZERO, "a look that failed proves nothing");
            }
            idle(&mut clock, &clocks, &[next]);
            let proven = clock.idle_for(clocks.at(next).0);
            assert_eq!(proven, Duration::from_secs(expected), "{next}");
        }
        let (clocks, mut clock) = begun();
        idle(&mut clock, &clocks, &[10, 20, 65]);
        assert_eq!(clock.idle_for(clocks.at(65).0), Duration::ZERO);
    }

    #[test]
    fn without_a_further_look_it_does_not_go_on() {
        let (clocks, mut clock) = begun();
        idle(&mut clock, &clocks, &[10, 20]);
        assert_eq!(clock.idle_for(clocks.at(64).0), Duration::from_secs(10));
        assert_eq!(clock.idle_for(clocks.at(65).0), Duration::ZERO);
    }

    #[test]
    fn a_jump_of_the_clock_in_either_direction_is_dated() {
        for jump in [3600, -3600] {
            let (clocks, mut clock) = begun();
            idle(&mut clock, &clocks, &[10, 20]);
            let (now, day) = clocks.at(30);
            assert_eq!(clock.jumped(now, day + SignedDuration::from_secs(29)), None);
            let later = |seconds| (clocks.at(seconds).0, clocks.at(seconds + jump).1);
            let (now, day) = later(30);
            assert_eq!(clock.jumped(now, day), Some(Duration::ZERO), "before the next look");
            clock.idle(now, day);
            let (now, day) = later(50);
            clock.used(now, day);
            assert_eq!(clock.jumped(now, day), Some(Duration::from_secs(20)));
            // Set back again: another jump.
            let (now, day) = clocks.at(60);
            assert_eq!(clock.jumped(now, day), Some(Duration::ZERO));
        }
    }

    #[test]
    fn a_clock_that_drifts_a_little_with_every_look_does_not_jump() {
        let (clocks, mut clock) = begun();
        for look in 1..1000 {
            let (now, day) = (clocks.at(look * 15).0, clocks.at(look * 16).1);
            clock.idle(now, day);
            assert_eq!(clock.jumped(now, day), None);
        }
    }
}
