//! A budget for reads that AWS has only one thing at a time: a few at once, each followed by a pause.

use std::{sync::Arc, time::Duration};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// See the module.
#[derive(Debug)]
pub struct Pace {
    places: Arc<Semaphore>,
    pause: Duration,
}

/// The right to read one thing.
#[derive(Debug)]
pub struct Turn {
    place: Option<OwnedSemaphorePermit>,
    pause: Duration,
}

impl Pace {
    /// At most `at_once` at the same time, and the place of each is free again only `pause` after its end: at most
    /// `at_once / pause` a second.
    #[must_use]
    pub fn new(at_once: usize, pause: Duration) -> Self {
        Self {
            places: Arc::new(Semaphore::new(at_once)),
            pause,
        }
    }

    /// A turn, or `None` when none came within `patience`: then it is better to come back than to hold up a pass.
    pub async fn turn(&self, patience: Duration) -> Option<Turn> {
        let place = tokio::time::timeout(patience, Arc::clone(&self.places).acquire_owned()).await;
        let place = place.ok()?.ok()?;
        Some(Turn {
            place: Some(place),
            pause: self.pause,
        })
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let (place, pause) = (self.place.take(), self.pause);
        // Without a runtime (at the end of the process) the place is free at once.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move {
                tokio::time::sleep(pause).await;
                drop(place);
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_place_is_free_again_only_after_the_pause() {
        let pause = Duration::from_millis(20);
        let pace = Pace::new(1, pause);
        let began = tokio::time::Instant::now();
        let turn = pace.turn(Duration::ZERO).await.unwrap();
        assert!(pace.turn(Duration::from_millis(1)).await.is_none());
        drop(turn);
        assert!(pace.turn(Duration::from_secs(10)).await.is_some());
        assert!(began.elapsed() >= pause);
    }
}
