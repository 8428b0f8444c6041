//! The tasks of the process. Some it cannot do without: when one of those ends although nobody asked for it, the whole
//! process ends with an error, to be started anew, and does not look alive while nothing is looked after.

use std::{
    any::Any,
    panic::AssertUnwindSafe,
    sync::{Arc, OnceLock},
    time::Duration,
};

use futures::FutureExt;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// Tasks that all end with the process. Clones share them.
#[derive(Clone, Debug)]
pub struct Tasks {
    tracker: TaskTracker,
    stop: CancellationToken,
    failure: Arc<OnceLock<String>>,
}

impl Tasks {
    /// No task yet. `stop` says that the process is to end.
    #[must_use]
    pub fn new(stop: CancellationToken) -> Self {
        Self {
            tracker: TaskTracker::new(),
            stop,
            failure: Arc::default(),
        }
    }

    /// Cancelled when the process is to end.
    #[must_use]
    pub fn stop(&self) -> &CancellationToken {
        &self.stop
    }

    /// Runs `task`, which ends by itself.
    pub fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.tracker.spawn(task);
    }

    /// Runs `task`, which ends only because the process is to end. If it ends before, the process is ended.
    pub fn keep(&self, what: &str, task: impl Future<Output = ()> + Send + 'static) {
        let (tasks, what) = (self.clone(), what.to_owned());
        self.tracker.spawn(async move {
            let ended = AssertUnwindSafe(task).catch_unwind().await;
            let how = match &ended {
                Ok(()) if tasks.stop.is_cancelled() => return,
                Ok(()) => "it ended by itself",
                Err(panic) => words(&**panic),
            };
            let failure = format!("{what} broke off, and nothing can be done without it: {how}");
            tracing::error!("{failure}");
            // The first one is the cause.
            let _ = tasks.failure.set(failure);
            tasks.stop.cancel();
        });
    }

    /// Waits for all tasks, no longer than `grace`.
    ///
    /// # Errors
    /// What broke off, where that is why the process ends.
    pub async fn end(&self, grace: Duration) -> Result<(), String> {
        self.tracker.close();
        if tokio::time::timeout(grace, self.tracker.wait()).await.is_err() {
            tracing::warn!("not everything in flight was finished in time; its launches are on record");
        }
        self.failure.get().cloned().map_or(Ok(()), Err)
    }
}

/// What a panic says.
pub(super) fn words(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("it panicked")
}

#[cfg(test)]
mod tests {
    use super::*;

    const GRACE: Duration = Duration::from_secs(7);

    #[tokio::test]
    async fn a_kept_task_that_ends_by_itself_or_panics_ends_the_process_with_an_error() {
        let ends: fn() = || {};
        for (task, how) in [(ends, "it ended by itself"), (|| panic!("no {}", "luck"), "no luck")] {
            let tasks = Tasks::new(CancellationToken::new());
            tasks.keep("the watch", async move { task() });
            tasks.stop().cancelled().await;
            let failure = tasks.end(GRACE).await.unwrap_err();
            assert!(failure.contains("the watch") && failure.contains(how), "{failure}");
        }
    }

    #[tokio::test]
    async fn what_ends_because_it_was_asked_to_is_no_error() {
        let tasks = Tasks::new(CancellationToken::new());
        let stop = tasks.stop().clone();
        tasks.keep("the watch", async move { stop.cancelled().await });
        tasks.spawn(async {});
        tasks.stop().cancel();
        assert_eq!(tasks.end(GRACE).await, Ok(()));
    }
}
