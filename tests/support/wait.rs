//! Waiting for a condition, with a deadline and a message that says what was seen last.

use std::time::{Duration, Instant};

/// How long a local program may take to do what it does in a second or two on an idle machine.
pub(crate) const PATIENCE: Duration = Duration::from_mins(1);

/// Probes until the probe returns `Ok`. Panics after `deadline` with the last `Err`, which should say what was seen.
pub(crate) async fn until<T>(what: &str, deadline: Duration, mut probe: impl AsyncFnMut() -> Result<T, String>) -> T {
    let started = Instant::now();
    let mut pause = Duration::from_millis(20);
    loop {
        let seen = match probe().await {
            Ok(value) => return value,
            Err(seen) => seen,
        };
        assert!(
            started.elapsed() < deadline,
            "waited {deadline:?} for: {what}\nlast seen: {seen}"
        );
        tokio::time::sleep(pause).await;
        pause = (pause * 3 / 2).min(Duration::from_millis(250));
    }
}
