//! In which manner a dashboard answers, when not properly.

use std::time::Duration;

/// How a request is answered.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Manner {
    /// Not at all; the connection stays.
    Hang,
    /// Properly, after some time.
    Slow(Duration),
    /// With the first half, and then the connection ends.
    Half,
    /// With something that is not JSON.
    Garbage,
    /// With a status, and nothing else.
    Status(u16),
    /// With fewer rows than there are, and saying so.
    Truncated,
    /// With a warning that a part could not be asked.
    Partial,
    /// With `"result": false`.
    Failed,
    /// With what was true that long ago: `clusterStatus.time`.
    Old(Duration),
    /// With `null` in place of the contents, as while the head boots.
    Null,
}

/// Which requests of which heads it is about.
#[derive(Clone, Debug)]
pub(crate) struct Manners {
    /// The head's instance id; empty: every head.
    pub(crate) instance: String,
    /// What the path begins with; empty: all paths.
    pub(crate) path: String,
    pub(crate) manner: Manner,
}

impl Manners {
    /// Whether a request is meant.
    pub(crate) fn mean(&self, instance: &str, path: &str) -> bool {
        (self.instance.is_empty() || self.instance == instance) && path.starts_with(&self.path)
    }
}
