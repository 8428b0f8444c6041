//! What is wrong with a machine, and what puts it right.

use std::time::{Duration, Instant};

/// What is wrong.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Trouble {
    /// Its raylet is dead. On the head that is all of Ray.
    Raylet,
    /// Ray's GCS on the head is dead: the dashboard says so, and hangs where it needs it.
    Gcs,
    /// Nothing listens at the head's dashboard port.
    Dashboard,
    /// The machine has come no further than this, and its Ray does not run. Stages are those of `rayward-node report`.
    Stuck {
        stage: &'static str,
        message: String,
        lines: Vec<String>,
    },
    /// SSH connections are closed at once; those that are open end.
    SshClosed,
    /// SSH connections are taken, and nothing is ever said.
    SshSilent,
    /// The key of the user data is not accepted.
    KeyRefused,
    /// SSH forwards nothing: neither to the dashboard nor to other machines.
    NoForwarding,
    /// Nothing comes from or gets to the machine any more, on open connections either.
    Cable,
}

impl Trouble {
    /// A set-up script that failed.
    pub(crate) fn failed(message: &str, lines: &[&str]) -> Self {
        Self::Stuck {
            stage: "failed",
            message: message.to_owned(),
            lines: lines.iter().map(|line| (*line).to_owned()).collect(),
        }
    }
}

/// What puts it right.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Until {
    /// Time.
    After(Duration),
    /// `rayward-node restart-ray`, or anything more.
    Restart,
    /// A reboot, or a stop and start.
    Reboot,
    /// Nothing but another machine, or the test.
    Replaced,
}

/// What a machine has gone through: which boot it is in, and how often its Ray was started anew on request.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Life {
    pub(crate) boot: u32,
    pub(crate) restarts: u32,
}

/// A trouble, since when it is there, and until when.
#[derive(Clone, Debug)]
pub(crate) struct Lasting {
    pub(crate) trouble: Trouble,
    pub(crate) until: Until,
    pub(crate) since: Instant,
    pub(crate) life: Life,
}

impl Lasting {
    /// Whether it is still there.
    pub(crate) fn is_there(&self, now: Instant, life: Life) -> bool {
        match self.until {
            Until::After(time) => now < self.since + time,
            Until::Restart => life == self.life,
            Until::Reboot => life.boot == self.life.boot,
            Until::Replaced => true,
        }
    }
}
