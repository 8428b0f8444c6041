//! When a kind is swept next.

use std::time::Duration;

use tokio::time::Instant;

use crate::{aws::ErrorClass, resources::Kind};

/// How often AWS is looked at; the first two are flags of `rayward run`, and the rest follows from them or is fixed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SweepIntervals {
    /// Machines.
    pub machines: Duration,
    /// Everything else.
    pub network: Duration,
    /// How soon a kind is swept again when something was not listed any more.
    pub second_look: Duration,
    /// A kind is swept no more often than this, whoever asks.
    pub shortest: Duration,
    /// First delay after a failure; it doubles with each, up to the interval of the network.
    pub retry: Duration,
    /// After this long without a good sweep, what was seen counts as unknown; several times the longest interval.
    pub stale_after: Duration,
    /// Sweeps at the same time.
    pub concurrency: usize,
}

impl Default for SweepIntervals {
    fn default() -> Self {
        Self {
            machines: Duration::from_secs(15),
            network: Duration::from_mins(1),
            second_look: Duration::from_secs(3),
            shortest: Duration::from_secs(1),
            retry: Duration::from_secs(1),
            stale_after: Duration::from_mins(5),
            concurrency: Kind::ALL.len(),
        }
    }
}

impl SweepIntervals {
    /// Looks at machines and at everything else so often.
    #[must_use]
    pub fn new(machines: Duration, network: Duration) -> Self {
        let fixed = Self::default();
        Self {
            machines,
            network,
            // A sweep that fails once or comes late makes nothing unknown.
            stale_after: fixed.stale_after.max(3 * machines.max(network)),
            ..fixed
        }
    }

    /// The interval of a kind.
    #[must_use]
    pub fn of(&self, kind: Kind) -> Duration {
        match kind {
            Kind::Instance => self.machines,
            _ => self.network,
        }
    }
}

/// What the time of the next sweep of one kind depends on.
#[derive(Debug, Default)]
pub(super) struct Pace {
    last: Option<Last>,
    /// Somebody needs a sweep that begins after this.
    wanted_after: Option<Instant>,
    failures: u32,
}

#[derive(Debug)]
struct Last {
    began: Instant,
    /// Not before, where it failed.
    not_before: Option<Instant>,
    misses: bool,
    /// Part of the interval by which this turn is shorter or longer, so that kinds and regions drift apart.
    jitter: f64,
}

impl Pace {
    pub(super) fn demand(&mut self, after: Instant) {
        self.wanted_after = Some(self.wanted_after.map_or(after, |earlier| earlier.max(after)));
    }

    /// When the next sweep begins.
    pub(super) fn due(&self, interval: Duration, intervals: &SweepIntervals) -> Instant {
        let now = Instant::now();
        let Some(last) = &self.last else { return now };
        let mut due = last.began + interval.mul_f64(1.0 + last.jitter);
        if last.misses {
            due = due.min(last.began + intervals.second_look);
        }
        if self.wanted_after.is_some_and(|after| last.began <= after) {
            due = due.min(last.began + intervals.shortest);
        }
        last.not_before.unwrap_or(due)
    }

    pub(super) fn succeeded(&mut self, began: Instant, misses: bool) {
        self.failures = 0;
        self.last = Some(Last {
            began,
            not_before: None,
            misses,
            jitter: rand::random_range(-0.1..0.1),
        });
    }

    /// Says how long nothing of this kind is tried now. `random` lies between 0 and 1.
    pub(super) fn failed(
        &mut self,
        began: Instant,
        class: ErrorClass,
        intervals: &SweepIntervals,
        random: f64,
    ) -> Duration {
        self.failures = self.failures.saturating_add(1);
        let slower = if class == ErrorClass::Throttled { 4 } else { 1 };
        let doubled = intervals.retry * slower * 2_u32.saturating_pow(self.failures.min(16) - 1);
        let hold = doubled.min(intervals.network).mul_f64(0.5 + random / 2.0);
        self.last = Some(Last {
            began,
            not_before: Some(Instant::now() + hold),
            misses: false,
            jitter: 0.0,
        });
        hold
    }

    /// Starts anew; says whether there was anything to forget.
    pub(super) fn reset(&mut self) -> bool {
        let used = self.last.is_some() || self.wanted_after.is_some();
        *self = Self::default();
        used
    }
}
