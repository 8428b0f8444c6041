//! The end of the process: a signal stops new work at once, what is in flight is finished.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::aws::Fence;

/// How long what is in flight may take after a signal; a pod is given longer than this by default.
pub const GRACE: Duration = Duration::from_secs(7);

/// How long the last Events may take after that.
pub const LAST_WORDS: Duration = Duration::from_secs(1);

/// Whether this process is to end. While it is not, it may change AWS; leadership will be asked here too.
#[derive(Clone, Debug, Default)]
pub struct Shutdown(CancellationToken);

impl Shutdown {
    /// Cancelled when the process is to end.
    #[must_use]
    pub fn token(&self) -> &CancellationToken {
        &self.0
    }

    /// Ends the process's work when SIGTERM or SIGINT comes.
    ///
    /// # Errors
    /// When the process may not handle signals.
    pub fn on_signal(&self) -> std::io::Result<()> {
        use tokio::signal::unix::{SignalKind, signal};
        let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        let token = self.0.clone();
        tokio::spawn(async move {
            let name = tokio::select! {
                _ = terminate.recv() => "SIGTERM",
                _ = interrupt.recv() => "SIGINT",
            };
            tracing::info!(
                signal = name,
                "ending: nothing new is started, what is in flight is finished"
            );
            token.cancel();
        });
        Ok(())
    }
}

impl Fence for Shutdown {
    fn may_change(&self) -> bool {
        !self.0.is_cancelled()
    }
}
