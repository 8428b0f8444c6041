//! Waiting for a condition, with a deadline and a message that says what was seen last.

use std::time::{Duration, Instant};

/// How long a local program may take to do what it does in a second or two on an idle machine.
pub(crate) const PATIENCE: Duration = Duration::from_mins(1);

/// Time that a wait has taken. A machine that stands still for a while (a paused virtual machine, a laptop's lid) stops
/// the programs that are waited for, too: of a long gap only a few seconds count.
pub(crate) struct Waited {
    total: Duration,
    last: Instant,
}

impl Waited {
    /// No time yet.
    pub(crate) fn nothing() -> Self {
        Self {
            total: Duration::ZERO,
            last: Instant::now(),
        }
    }

    /// The time so far. To be asked often.
    pub(crate) fn so_far(&mut self) -> Duration {
        self.total += self.last.elapsed().min(Duration::from_secs(5));
        self.last = Instant::now();
        self.total
    }
}

/// Probes until the probe returns `Ok`. Panics after `deadline` with the last `Err`, which should say what was seen.
pub(crate) async fn until<T>(what: &str, deadline: Duration, mut probe: impl AsyncFnMut() -> Result<T, String>) -> T {
    let mut waited = Waited::nothing();
    let mut pause = Duration::from_millis(20);
    loop {
        let seen = match probe().await {
            Ok(value) => return value,
            Err(seen) => seen,
        };
        assert!(
            waited.so_far() < deadline,
            "waited {deadline:?} for: {what}\nlast seen: {seen}"
        );
        tokio::time::sleep(pause).await;
        pause = (pause * 3 / 2).min(Duration::from_millis(250));
    }
}
