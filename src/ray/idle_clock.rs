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
    /// Both clocks at the last look that showed use, at first when watching began.
    used: (Instant, Timestamp),
    jumped: bool,
}

impl IdleClock {
    /// Watching begins.
    #[must_use]
    pub fn new(gap: Duration, now: Instant, day: Timestamp) -> Self {
        Self {
            gap,
            run: None,
            used: (now, day),
            jumped: false,
        }
    }

    /// A look that began at `now` showed use.
    pub fn used(&mut self, now: Instant, day: Timestamp) {
        self.run = None;
        self.used = (now, day);
        self.jumped = false;
    }

    /// A look that began at `now` showed no use.
    pub fn idle(&mut self, now: Instant, day: Timestamp) {
        self.jumped = self.has_jumped(now, day);
        self.run = match self.run {
            Some((first, last)) if now.duration_since(last) < self.gap => Some((first, now)),
            _ => Some((now, now)),
        };
    }

    /// A look that began at `now` failed.
    pub fn unknown(&mut self, now: Instant, day: Timestamp) {
        self.jumped = self.has_jumped(now, day);
        self.run = None;
    }

    /// From the first to the last look of those in a row that showed no use; zero when the last one is too old.
    #[must_use]
    pub fn idle_for(&self, now: Instant) -> Duration {
        match self.run {
            Some((first, last)) if now.duration_since(last) < self.gap => last.duration_since(first),
            _ => Duration::ZERO,
        }
    }

    /// Whether the clock of the operating system jumped since the last look that showed use.
    #[must_use]
    pub fn has_jumped(&self, now: Instant, day: Timestamp) -> bool {
        let (then, day_then) = self.used;
        let passed = SignedDuration::try_from(now.duration_since(then)).unwrap_or(SignedDuration::MAX);
        let by_day = day.duration_since(day_then);
        self.jumped || by_day.saturating_sub(passed).unsigned_abs() > JUMP
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
    fn use_a_failure_and_a_gap_each_begin_anew() {
        for spoil in [
            |clock: &mut IdleClock, (now, day)| clock.used(now, day),
            |clock: &mut IdleClock, (now, day)| clock.unknown(now, day),
        ] {
            let (clocks, mut clock) = begun();
            idle(&mut clock, &clocks, &[10, 20]);
            spoil(&mut clock, clocks.at(30));
            assert_eq!(clock.idle_for(clocks.at(30).0), Duration::ZERO);
            idle(&mut clock, &clocks, &[40, 50]);
            assert_eq!(clock.idle_for(clocks.at(50).0), Duration::from_secs(10));
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
    fn a_jump_of_the_clock_in_either_direction_is_known_until_the_next_use() {
        for jump in [3600, -3600] {
            let (clocks, mut clock) = begun();
            idle(&mut clock, &clocks, &[10, 20]);
            let (now, day) = clocks.at(30);
            assert!(!clock.has_jumped(now, day + SignedDuration::from_secs(29)));
            let later = day + SignedDuration::from_secs(jump);
            clock.idle(now, later);
            // Set back again: the time in between was still wrong.
            assert!(clock.has_jumped(now, day));
            clock.used(now, later);
            assert!(!clock.has_jumped(now, later));
        }
    }
}
