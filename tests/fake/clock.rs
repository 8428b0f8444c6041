//! A clock that a test moves on.

use std::{
    sync::atomic::{AtomicI64, AtomicU64, Ordering},
    time::Duration,
};

use jiff::Timestamp;
use rayward::execute;

/// Seconds since 1970, and chance that repeats itself.
#[derive(Debug)]
pub(crate) struct Clock {
    seconds: AtomicI64,
    chance: AtomicU64,
}

impl Default for Clock {
    fn default() -> Self {
        Self {
            seconds: AtomicI64::new(1_795_000_000),
            chance: AtomicU64::new(1),
        }
    }
}

impl Clock {
    /// Lets time pass.
    pub(crate) fn advance(&self, by: Duration) {
        self.seconds.fetch_add(by.as_secs().cast_signed(), Ordering::Relaxed);
    }
}

impl execute::Clock for Clock {
    fn now(&self) -> Timestamp {
        Timestamp::from_second(self.seconds.load(Ordering::Relaxed)).expect("a time that can be told")
    }

    fn jitter(&self) -> f64 {
        let next = self.chance.fetch_add(7, Ordering::Relaxed);
        f64::from(u32::try_from(next % 100).unwrap_or_default()) / 100.0
    }
}
