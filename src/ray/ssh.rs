//! SSH to a machine: a kept connection that knows whose host key it saw, commands, and streams to what listens behind
//! it.

use std::{
    fmt,
    net::Ipv4Addr,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use russh::{
    ChannelMsg, ChannelOpenFailure, ChannelStream,
    client::{self, Handle, Msg},
    keys::{HashAlg, PrivateKey, PrivateKeyWithHashAlg, PublicKeyOrCertificate},
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    sync::Semaphore,
    time::timeout,
};

use super::{
    facts::Blindness,
    failure::{Failure, excerpt},
};
use crate::bootstrap::USER;

/// Where SSH answers on every machine.
pub const PORT: u16 = 22;
/// How much of a command's output is read, each of standard output and error.
const MOST_OUTPUT: usize = 64 * 1024;
/// A connection on which nothing came for so long is asked whether it lives; three times.
const KEEPALIVE: Duration = Duration::from_secs(15);
/// After so many streams a connection is worn: russh (0.65) keeps some 3 KiB of each that is closed from our side until
/// the connection ends.
const MOST_STREAMS: u32 = 64;
/// How many handshakes are under way at the same time: each computes for a millisecond or two.
const MOST_HANDSHAKES: usize = 64;

/// Which host keys are right for a machine.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pin {
    /// Fingerprint of the key that it showed before; `None`: this is the first contact, any key is right.
    pub known: Option<String>,
    /// Fingerprint that a person accepts instead.
    pub accepted: Option<String>,
}

impl Pin {
    /// Whether a key with this fingerprint is right.
    #[must_use]
    pub fn permits(&self, shown: &str) -> bool {
        self.known
            .as_ref()
            .is_none_or(|known| known == shown || self.accepted.as_deref() == Some(shown))
    }
}

/// A machine to connect to.
#[derive(Clone, Debug)]
pub struct Target {
    /// What it is in messages: its instance id.
    pub name: String,
    /// Where it answers.
    pub address: Ipv4Addr,
    /// Its host key.
    pub pin: Pin,
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.name, self.address)
    }
}

/// Makes connections; one for the whole process.
pub struct Dialler {
    config: Arc<client::Config>,
    handshakes: Semaphore,
    /// How long connecting, shaking hands and signing in may take, each.
    limit: Duration,
}

impl Dialler {
    /// A dialler that gives connecting, and then the handshake, so much time.
    #[must_use]
    pub fn new(limit: Duration) -> Self {
        let config = client::Config {
            keepalive_interval: Some(KEEPALIVE),
            keepalive_max: 3,
            nodelay: true,
            ..client::Config::default()
        };
        Self {
            config: Arc::new(config),
            handshakes: Semaphore::new(MOST_HANDSHAKES),
            limit,
        }
    }

    /// Connects over the network.
    ///
    /// # Errors
    /// `Unreachable`, `HostKeyChanged`, `AccessDenied`, or `Garbled` when no SSH server answers.
    pub async fn connect(&self, target: &Target, key: &Arc<PrivateKey>) -> Result<Connection, Failure> {
        let limit = self.limit;
        let stream = match timeout(limit, TcpStream::connect((target.address, PORT))).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => {
                let message = format!("no SSH connection to {target}: {error}");
                return Err(Failure::new(Blindness::Unreachable, message));
            }
            Err(_) => {
                let message = format!("no SSH connection to {target}: no answer within {limit:?}");
                return Err(Failure::new(Blindness::Unreachable, message));
            }
        };
        // Small packets are the whole traffic: waiting to fill them costs 40 ms each.
        let _ = stream.set_nodelay(true);
        self.shake_hands(target, key, stream).await
    }

    /// Connects through another machine.
    ///
    /// # Errors
    /// As [`Self::connect`], and `ForwardingDenied`.
    pub async fn connect_through(
        &self,
        between: &Connection,
        target: &Target,
        key: &Arc<PrivateKey>,
    ) -> Result<Connection, Failure> {
        let stream = between
            .stream(&target.address.to_string(), PORT, self.limit)
            .await
            .map_err(|trouble| {
                let why = match trouble {
                    Trouble::Prohibited(_) => Blindness::ForwardingDenied,
                    _ => Blindness::Unreachable,
                };
                let message = format!("no SSH connection to {target} through {}: {trouble}", between.target);
                Failure::new(why, message)
            })?;
        self.shake_hands(target, key, stream).await
    }

    async fn shake_hands<S>(&self, target: &Target, key: &Arc<PrivateKey>, stream: S) -> Result<Connection, Failure>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let _permit = self.handshakes.acquire().await;
        let shown = Arc::new(OnceLock::new());
        let host_key = HostKey {
            pin: target.pin.clone(),
            shown: Arc::clone(&shown),
        };
        let config = Arc::clone(&self.config);
        let signing_in = async {
            let mut handle = client::connect_stream(config, stream, host_key).await?;
            let key = PrivateKeyWithHashAlg::new(Arc::clone(key), None);
            let answer = handle.authenticate_publickey(USER, key).await?;
            Ok::<_, russh::Error>((handle, answer.success()))
        };
        let ended = timeout(self.limit, signing_in).await;
        let shown = shown.get().cloned().unwrap_or_default();
        match ended {
            Ok(Ok((handle, true))) => Ok(Connection {
                handle,
                fingerprint: shown,
                target: target.to_string(),
                streams: AtomicU32::new(0),
            }),
            Ok(Ok((_, false))) => Err(Failure::new(
                Blindness::AccessDenied,
                format!(
                    "{target} does not accept the controller's key for the user {USER}: it was launched with another \
                     one, or ~{USER}/.ssh/authorized_keys was changed"
                ),
            )),
            Ok(Err(_)) if !shown.is_empty() && !target.pin.permits(&shown) => {
                let before = target.pin.known.as_deref().unwrap_or_default();
                let message = format!(
                    "{target} shows the SSH host key {shown}, and showed {before} before: if that is right, set the \
                     annotation rayward.dev/accept-host-key to the new one"
                );
                Err(Failure::new(Blindness::HostKeyChanged { shown }, message))
            }
            Ok(Err(error)) => {
                let why = match error {
                    russh::Error::IO(_) | russh::Error::HUP | russh::Error::Disconnect | russh::Error::SendError => {
                        Blindness::Unreachable
                    }
                    _ => Blindness::Garbled,
                };
                let message = format!("no SSH connection to {target}: {}", excerpt(&error.to_string(), 200));
                Err(Failure::new(why, message))
            }
            Err(_) => {
                let message = format!("no SSH connection to {target}: no handshake within {:?}", self.limit);
                Err(Failure::new(Blindness::Unreachable, message))
            }
        }
    }
}

/// Judges the key that a server shows, and keeps its fingerprint.
struct HostKey {
    pin: Pin,
    shown: Arc<OnceLock<String>>,
}

impl client::Handler for HostKey {
    type Error = russh::Error;

    async fn check_server_key(&mut self, key: &PublicKeyOrCertificate) -> Result<bool, Self::Error> {
        let fingerprint = key.public_key().fingerprint(HashAlg::Sha256).to_string();
        let is_right = self.pin.permits(&fingerprint);
        let _ = self.shown.set(fingerprint);
        Ok(is_right)
    }
}

/// Why a stream or a command did not come about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// Nothing answers there, or not as it should; the machine's reason.
    Refused(String),
    /// The machine's SSH server does not permit it; its reason.
    Prohibited(String),
    /// No answer for so long.
    Silent(Duration),
    /// The connection broke.
    Broken(String),
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(reason) | Self::Prohibited(reason) => f.write_str(reason),
            Self::Silent(limit) => write!(f, "no answer within {limit:?}"),
            Self::Broken(reason) => write!(f, "the SSH connection broke: {reason}"),
        }
    }
}

impl From<russh::Error> for Trouble {
    fn from(error: russh::Error) -> Self {
        match error {
            russh::Error::ChannelOpenFailure(ChannelOpenFailure::ConnectFailed) => {
                Self::Refused("nothing answers there".into())
            }
            russh::Error::ChannelOpenFailure(reason) => {
                Self::Prohibited(format!("its SSH server does not permit it ({reason:?})"))
            }
            error => Self::Broken(excerpt(&error.to_string(), 200)),
        }
    }
}

/// What a command said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Output {
    /// Its exit code; `None`: a signal ended it.
    pub code: Option<u32>,
    /// Its standard output; at most 64 KiB of it.
    pub stdout: Vec<u8>,
    /// Its standard error; at most 64 KiB of it.
    pub stderr: Vec<u8>,
}

/// A signed-in connection. It ends when it is dropped and no stream of it is left.
pub struct Connection {
    handle: Handle<HostKey>,
    /// Fingerprint of the host key, `SHA256:...`.
    pub fingerprint: String,
    target: String,
    /// How many were opened.
    streams: AtomicU32,
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection")
            .field("target", &self.target)
            .finish_non_exhaustive()
    }
}

impl Connection {
    /// Whether it has broken.
    #[must_use]
    pub fn is_broken(&self) -> bool {
        self.handle.is_closed()
    }

    /// Whether another one had better take its place: each stream that it had left something behind.
    #[must_use]
    pub fn is_worn(&self) -> bool {
        self.streams.load(Ordering::Relaxed) >= MOST_STREAMS
    }

    /// Whether the other side still answers.
    pub async fn answers(&self, limit: Duration) -> bool {
        let answered = matches!(timeout(limit, self.handle.send_ping()).await, Ok(Ok(())));
        answered && !self.is_broken()
    }

    /// A stream to what listens on `host` as the machine sees it.
    ///
    /// # Errors
    /// Why there is none.
    pub async fn stream(&self, host: &str, port: u16, limit: Duration) -> Result<ChannelStream<Msg>, Trouble> {
        self.streams.fetch_add(1, Ordering::Relaxed);
        let opening = self
            .handle
            .channel_open_direct_tcpip(host, u32::from(port), "127.0.0.1", 0);
        match timeout(limit, opening).await {
            Ok(channel) => Ok(channel?.into_stream()),
            Err(_) => Err(Trouble::Silent(limit)),
        }
    }

    /// Runs a command and gives it `input`.
    ///
    /// # Errors
    /// When it did not come to its end.
    pub async fn run(&self, command: &str, input: Option<&[u8]>, limit: Duration) -> Result<Output, Trouble> {
        let Ok(channel) = timeout(limit, self.handle.channel_open_session()).await else {
            return Err(Trouble::Silent(limit));
        };
        let mut channel = channel?;
        let running = async {
            channel.exec(true, command).await?;
            if let Some(input) = input {
                channel.data_bytes(input.to_vec()).await?;
            }
            channel.eof().await?;
            let mut output = Output::default();
            let mut has_ended = false;
            while let Some(message) = channel.wait().await {
                match message {
                    ChannelMsg::Data { data } => append(&mut output.stdout, &data),
                    ChannelMsg::ExtendedData { data, ext: 1 } => append(&mut output.stderr, &data),
                    ChannelMsg::ExitStatus { exit_status } => {
                        output.code = Some(exit_status);
                        has_ended = true;
                    }
                    ChannelMsg::ExitSignal { .. } => has_ended = true,
                    ChannelMsg::Failure => return Err(Trouble::Refused("SSH does not permit commands".into())),
                    _ => {}
                }
            }
            if has_ended {
                Ok(output)
            } else {
                Err(Trouble::Broken("it closed before the command's end".into()))
            }
        };
        let ended = timeout(limit, running).await;
        if !matches!(ended, Ok(Ok(_))) {
            let _ = timeout(limit, channel.close()).await;
        }
        ended.unwrap_or(Err(Trouble::Silent(limit)))
    }
}

fn append(to: &mut Vec<u8>, data: &[u8]) {
    let room = MOST_OUTPUT.saturating_sub(to.len());
    to.extend_from_slice(&data[..data.len().min(room)]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_key_is_right_and_then_only_that_one_or_what_a_person_accepts() {
        let (old, new) = ("SHA256:old", "SHA256:new");
        assert!(Pin::default().permits(new));
        let known = Pin {
            known: Some(old.into()),
            accepted: None,
        };
        assert!(known.permits(old) && !known.permits(new));
        let accepted = Pin {
            accepted: Some(new.into()),
            ..known
        };
        assert!(accepted.permits(old) && accepted.permits(new) && !accepted.permits("SHA256:other"));
    }

    #[test]
    fn no_more_output_than_the_bound_is_kept() {
        let mut kept = vec![0; MOST_OUTPUT - 1];
        append(&mut kept, b"abc");
        append(&mut kept, b"abc");
        assert_eq!(kept.len(), MOST_OUTPUT);
    }
}
