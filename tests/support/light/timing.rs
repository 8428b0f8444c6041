//! How long what machines do takes them.

use std::time::Duration;

/// Everything is quick unless a test says otherwise; a real machine takes tens of seconds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Timing {
    /// From `running` until SSH answers.
    pub(crate) boot: Duration,
    /// From having all that Ray needs until the raylet has joined.
    pub(crate) join: Duration,
    /// From the death of a raylet until Ray says so.
    pub(crate) death: Duration,
    /// From the end of the last work on a drained node until it is gone.
    pub(crate) drain: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            boot: Duration::ZERO,
            join: Duration::ZERO,
            death: Duration::from_millis(300),
            drain: Duration::from_millis(300),
        }
    }
}
