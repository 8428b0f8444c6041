//! When AWS throttles one change, all changes of its account and region go slower together, and faster again bit by
//! bit as they succeed.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use tokio::time::Instant;

use super::{Access, Aws, AwsError, ErrorClass, Image, Scope};
use crate::{
    resources::{Answer, Change, Kind, Listing},
    validate::ImageRef,
};

/// Between two changes after the first throttled one; it doubles with each further one.
const FIRST: Duration = Duration::from_millis(50);
/// The longest time between two changes.
const LONGEST: Duration = Duration::from_secs(2);
/// EC2 lets an account start machines twice a second in a region, and five times at once after a rest ("Request
/// throttling for the Amazon EC2 API").
const LAUNCHES: (Duration, u32) = (Duration::from_millis(500), 5);

/// An account and region whose changes go through one brake.
pub struct Braked {
    aws: Arc<dyn Aws>,
    changes: Mutex<Changes>,
    launches: Mutex<Launches>,
}

/// How far apart changes are.
#[derive(Debug)]
struct Changes {
    /// Zero as long as nothing is throttled.
    apart: Duration,
    next: Instant,
}

/// When the next launches may begin.
#[derive(Debug)]
struct Launches {
    /// When all places of a rested account are free again.
    rested: Instant,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Changes {
    /// When a change that comes now may begin.
    fn turn(&mut self, now: Instant) -> Instant {
        let turn = self.next.max(now);
        self.next = turn + self.apart;
        turn
    }

    fn throttled(&mut self, now: Instant) {
        self.apart = (self.apart * 2).clamp(FIRST, LONGEST);
        self.next = self.next.max(now + self.apart);
    }

    fn succeeded(&mut self) {
        self.apart = match self.apart.mul_f64(0.9) {
            apart if apart < FIRST / 2 => Duration::ZERO,
            apart => apart,
        };
    }
}

impl Launches {
    /// When a launch that comes now may begin.
    fn turn(&mut self, now: Instant) -> Instant {
        let (apart, at_once) = LAUNCHES;
        self.rested = self.rested.max(now) + apart;
        let turn = self.rested.checked_sub(apart * at_once).unwrap_or(now);
        turn.max(now)
    }
}

impl Braked {
    /// Puts a brake before the changes of `aws`.
    #[must_use]
    pub fn new(aws: Arc<dyn Aws>) -> Self {
        let now = Instant::now();
        Self {
            aws,
            changes: Mutex::new(Changes {
                apart: Duration::ZERO,
                next: now,
            }),
            launches: Mutex::new(Launches { rested: now }),
        }
    }

    fn note<T>(&self, result: &Result<T, AwsError>) {
        if matches!(result, Err(error) if error.class == ErrorClass::Throttled) {
            lock(&self.changes).throttled(Instant::now());
        }
    }
}

#[async_trait]
impl Aws for Braked {
    async fn account(&self) -> Result<String, AwsError> {
        self.aws.account().await
    }

    async fn list(&self, kind: Kind, scope: &Scope) -> Result<Listing, AwsError> {
        let result = self.aws.list(kind, scope).await;
        self.note(&result);
        result
    }

    async fn image(&self, image: &ImageRef) -> Result<Image, AwsError> {
        self.aws.image(image).await
    }

    async fn apply(&self, change: &Change) -> Result<Answer, AwsError> {
        let now = Instant::now();
        let mut turn = lock(&self.changes).turn(now);
        if change.call().access() == Access::Launch {
            turn = turn.max(lock(&self.launches).turn(now));
        }
        if turn > now {
            tokio::time::sleep_until(turn).await;
        }
        let result = self.aws.apply(change).await;
        self.note(&result);
        if result.is_ok() {
            lock(&self.changes).succeeded();
        }
        result
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_waits_until_something_is_throttled() {
        let now = Instant::now();
        let mut changes = Changes {
            apart: Duration::ZERO,
            next: now,
        };
        assert_eq!((changes.turn(now), changes.turn(now)), (now, now));
        changes.throttled(now);
        assert_eq!(changes.turn(now), now + FIRST);
        assert_eq!(changes.turn(now), now + FIRST * 2);
    }

    #[test]
    fn changes_get_slower_up_to_a_limit_and_at_full_speed_again_as_they_succeed() {
        let now = Instant::now();
        let mut changes = Changes {
            apart: Duration::ZERO,
            next: now,
        };
        (0..20).for_each(|_| changes.throttled(now));
        assert_eq!(changes.apart, LONGEST);
        let successes = (0..100).take_while(|_| {
            changes.succeeded();
            !changes.apart.is_zero()
        });
        assert!((20..60).contains(&successes.count()));
    }

    #[test]
    fn a_rested_account_starts_some_machines_at_once_and_then_two_a_second() {
        let now = Instant::now();
        let mut launches = Launches { rested: now };
        let waits: Vec<u128> = (0..8).map(|_| (launches.turn(now) - now).as_millis()).collect();
        assert_eq!(waits, [0, 0, 0, 0, 0, 500, 1000, 1500]);
        let later = now + Duration::from_mins(1);
        assert_eq!(launches.turn(later), later);
    }
}
