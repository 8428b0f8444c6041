//! When a cluster that nobody uses goes down.

use std::{ops::RangeInclusive, time::Duration};

use super::ValidationError;
use crate::api::{IdleAction, IdleSignals, IdleSpec, WhenUnknown};

/// What [`Idle::timeout`] may be: shorter ones would stop a cluster between two looks at it.
const TIMEOUTS: RangeInclusive<Duration> = Duration::from_secs(10)..=Duration::from_hours(720);

/// What becomes of a cluster that nobody uses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Idle {
    /// How long nobody has to use it.
    pub timeout: Duration,
    /// What happens then.
    pub action: IdleAction,
    /// What happens when Ray is unknown for as long as that.
    pub when_unknown: WhenUnknown,
    /// Which people count.
    pub signals: IdleSignals,
}

impl Idle {
    /// Whether a machine has to be asked for people before it counts as not in use.
    #[must_use]
    pub fn asks_for_people(&self) -> bool {
        self.signals.ssh_sessions || self.signals.jupyter_kernels
    }
}

pub(super) fn idle(spec: &IdleSpec) -> Result<Idle, ValidationError> {
    let timeout = spec.timeout.parse::<jiff::SignedDuration>().ok();
    let timeout = timeout.and_then(|timeout| Duration::try_from(timeout).ok());
    let timeout = timeout.filter(|timeout| TIMEOUTS.contains(timeout));
    Ok(Idle {
        timeout: timeout.ok_or_else(|| ValidationError::IdleTimeout(spec.timeout.clone()))?,
        action: spec.action,
        when_unknown: spec.when_unknown,
        signals: spec.signals,
    })
}
