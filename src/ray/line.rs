//! The way into one cluster: what opens it, and the kept connection to its head.

use std::{sync::Arc, time::Duration};

use russh::keys::PrivateKey;
use tokio::{
    sync::Mutex,
    time::{Instant, timeout},
};

use super::{
    facts::Blindness,
    failure::Failure,
    keys::{Access, ClusterRef, Keys},
    ssh::{Connection, Dialler, Target},
};

/// How long the Secret may take to be read.
const READING: Duration = Duration::from_secs(10);

/// What opens a cluster, made ready for use.
pub(super) struct Opened {
    key: Arc<PrivateKey>,
    /// The token of its Ray.
    pub(super) token: String,
    read_at: Instant,
}

#[derive(Default)]
struct Kept {
    opened: Option<Arc<Opened>>,
    connection: Option<Arc<Connection>>,
}

/// See the module. Whoever asks for the connection while it is being made waits for the same one.
pub(super) struct Line {
    cluster: ClusterRef,
    keys: Arc<dyn Keys>,
    dialler: Arc<Dialler>,
    kept: Mutex<Kept>,
}

impl Line {
    pub(super) fn new(cluster: ClusterRef, keys: Arc<dyn Keys>, dialler: Arc<Dialler>) -> Self {
        Self {
            cluster,
            keys,
            dialler,
            kept: Mutex::default(),
        }
    }

    /// What opens the cluster, as it was read last.
    pub(super) async fn opened(&self) -> Result<Arc<Opened>, Failure> {
        self.open(&mut *self.kept.lock().await).await
    }

    async fn open(&self, kept: &mut Kept) -> Result<Arc<Opened>, Failure> {
        if let Some(opened) = &kept.opened {
            return Ok(Arc::clone(opened));
        }
        let missing = |message: String| Failure::new(Blindness::KeyMissing, message);
        let Ok(access) = timeout(READING, self.keys.access(&self.cluster)).await else {
            let message = format!(
                "the Secret of {}/{} could not be read in time",
                self.cluster.namespace, self.cluster.name
            );
            return Err(missing(message));
        };
        let Access { private_key, token } = access.map_err(missing)?;
        // The error tells what kind of thing is wrong, never the text of the key.
        let key = PrivateKey::from_openssh(&private_key)
            .map_err(|error| missing(format!("the private key in the Secret cannot be read: {error}")))?;
        let opened = Arc::new(Opened {
            key: Arc::new(key),
            token,
            read_at: Instant::now(),
        });
        kept.opened = Some(Arc::clone(&opened));
        Ok(opened)
    }

    /// The same as it was read less than `age` ago: what was read long ago may have been replaced. Where many machines
    /// come at the same time it is read once for all of them.
    pub(super) async fn opened_within(&self, age: Duration) -> Result<Arc<Opened>, Failure> {
        let mut kept = self.kept.lock().await;
        if kept
            .opened
            .as_ref()
            .is_some_and(|opened| opened.read_at.elapsed() >= age)
        {
            kept.opened = None;
        }
        self.open(&mut kept).await
    }

    /// The Secret is read again before the next use.
    pub(super) async fn read_again(&self) {
        self.kept.lock().await.opened = None;
    }

    /// The connection to the head: the kept one, while it holds, is not worn and its host key is still right, else a
    /// new one.
    pub(super) async fn head(&self, head: &Target) -> Result<Arc<Connection>, Failure> {
        let mut kept = self.kept.lock().await;
        if let Some(connection) = &kept.connection
            && !connection.is_broken()
            && !connection.is_worn()
            && head.pin.permits(&connection.fingerprint)
        {
            return Ok(Arc::clone(connection));
        }
        kept.connection = None;
        let opened = self.open(&mut kept).await?;
        match self.dialler.connect(head, &opened.key).await {
            Ok(connection) => {
                let connection = Arc::new(connection);
                kept.connection = Some(Arc::clone(&connection));
                Ok(connection)
            }
            Err(failure) => {
                if failure.why == Blindness::AccessDenied {
                    kept.opened = None;
                }
                Err(failure)
            }
        }
    }

    /// A connection to a worker through the head's, for one use.
    pub(super) async fn worker(&self, head: &Connection, worker: &Target) -> Result<Connection, Failure> {
        let opened = self.opened().await?;
        self.dialler.connect_through(head, worker, &opened.key).await
    }

    /// Closes the connection; the next use makes a new one.
    pub(super) async fn hang_up(&self) {
        self.kept.lock().await.connection = None;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use async_trait::async_trait;
    use russh::keys::ssh_key::{LineEnding, private::Ed25519Keypair};

    use super::*;

    /// Counts how often it is read.
    struct Counted(AtomicU32);

    #[async_trait]
    impl Keys for Counted {
        async fn access(&self, _: &ClusterRef) -> Result<Access, String> {
            let count = self.0.fetch_add(1, Ordering::Relaxed);
            let key = PrivateKey::from(Ed25519Keypair::from_seed(&[7; 32]));
            Ok(Access {
                private_key: key.to_openssh(LineEnding::LF).unwrap().to_string(),
                token: count.to_string(),
            })
        }
    }

    #[tokio::test]
    async fn for_many_machines_that_come_together_the_secret_is_read_once_and_later_again() {
        let keys = Arc::new(Counted(AtomicU32::new(0)));
        let cluster = ClusterRef {
            namespace: "ml".into(),
            name: "lab".into(),
            uid: "u".into(),
        };
        let dialler = Arc::new(Dialler::new(Duration::from_secs(1)));
        let line = Line::new(cluster, Arc::clone(&keys) as Arc<dyn Keys>, dialler);
        let hour = Duration::from_hours(1);
        for _ in 0..100 {
            assert_eq!(line.opened_within(hour).await.unwrap().token, "0");
        }
        assert_eq!(line.opened_within(Duration::ZERO).await.unwrap().token, "1", "too old");
        assert_eq!(line.opened().await.unwrap().token, "1", "the kept one");
        line.read_again().await;
        assert_eq!(line.opened_within(hour).await.unwrap().token, "2", "it was refused");
    }
}
