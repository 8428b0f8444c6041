//! SSH on a machine: who may sign in, programs, and ways through it.

use std::collections::HashMap;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use hyper_util::rt::TokioIo;
use russh::keys::ssh_key::private::{Ed25519Keypair, PrivateKey};
use russh::keys::{HashAlg, PublicKey};
use russh::server::{Auth, ChannelOpenHandle, Config, Handler, Msg, Session, VerifiedPublicKey, run_stream};
use russh::{Channel, ChannelId, ChannelOpenFailure, Disconnect, MethodKind, MethodSet};
use sha2::{Digest, Sha256};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use super::commands::reads_input;
use super::node::Node;
use super::trouble::Trouble;
use super::{Light, dashboard};

/// The user that the controller signs in as.
const USER: &str = "rayward";
/// Where the dashboard listens.
const DASHBOARD: u32 = 8265;
/// How often a machine that does not answer is asked whether it does again.
const AGAIN: Duration = Duration::from_millis(50);

/// The host key of a machine: its own, and the same in every run of it until it gets another one.
fn host_key(instance: &str, number: u32) -> PrivateKey {
    let seed: [u8; 32] = Sha256::digest(format!("{instance}/{number}")).into();
    PrivateKey::from(Ed25519Keypair::from_seed(&seed))
}

/// The fingerprint of a machine's host key, `SHA256:...`.
pub(super) fn fingerprint(instance: &str, number: u32) -> String {
    host_key(instance, number)
        .public_key()
        .fingerprint(HashAlg::Sha256)
        .to_string()
}

/// A machine of an account.
#[derive(Clone)]
pub(super) struct Place {
    pub(super) light: Arc<Light>,
    pub(super) instance: String,
}

impl Place {
    /// Asks something about the machine; `None` when it is gone.
    fn ask<R>(&self, what: impl FnOnce(&Node) -> R) -> Option<R> {
        self.light.with(|state| state.nodes.get(&self.instance).map(what))
    }

    fn has(&self, trouble: &Trouble) -> bool {
        self.ask(|node| node.has(trouble)).unwrap_or_default()
    }

    /// Answers one connection to it, until the connection ends or the machine does.
    pub(super) async fn serve(self, stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) {
        if self.has(&Trouble::SshClosed) {
            return;
        }
        let Some((number, boot)) = self.ask(|node| (node.host_keys, node.boot.clone())) else {
            return;
        };
        if self.has(&Trouble::SshSilent) {
            // The stream stays open, unread.
            boot.cancelled().await;
            return;
        }
        self.light.calm(&self.instance).await;
        let host_key = host_key(&self.instance, number);
        serve(vec![self], host_key, stream).await;
    }
}

/// Answers one connection to a private address that several machines have: the key that opens one of them decides. All
/// have the host key of the address, since that is shown first.
pub(super) async fn serve_one_of(places: Vec<Place>, address: Ipv4Addr, stream: TcpStream) {
    serve(places, host_key(&address.to_string(), 0), stream).await;
}

/// Boxed: a way through a machine leads here again.
fn serve<S>(places: Vec<Place>, host_key: PrivateKey, stream: S) -> BoxFuture<'static, ()>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let config = Config {
        methods: MethodSet::from(&[MethodKind::PublicKey][..]),
        auth_rejection_time: Duration::ZERO,
        keys: vec![host_key],
        inactivity_timeout: None,
        ..Config::default()
    };
    let (entered, boot) = oneshot::channel();
    let visitor = Visitor {
        places,
        entered: Some(entered),
        programs: HashMap::new(),
    };
    Box::pin(async move {
        let Ok(session) = run_stream(Arc::new(config), stream, visitor).await else {
            return;
        };
        let handle = session.handle();
        let machine_ends = async {
            match boot.await {
                Ok(boot) => CancellationToken::cancelled(&boot).await,
                // Nobody entered: the session ends by itself.
                Err(_) => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = session => {}
            () = machine_ends => {
                // It may have ended in this very moment.
                let why = "the machine goes down".into();
                let _ = handle
                    .disconnect(Disconnect::ByApplication, why, String::new())
                    .await;
            }
        }
    })
}

impl Light {
    /// Waits while nothing gets to a machine.
    pub(super) async fn calm(&self, instance: &str) {
        let is_cut_off = || self.with(|state| state.nodes.get(instance).is_some_and(|node| node.has(&Trouble::Cable)));
        while is_cut_off() {
            tokio::time::sleep(AGAIN).await;
        }
    }
}

/// Somebody's connection to a machine.
struct Visitor {
    /// The machine; before a key has decided, those that it may be. Never empty.
    places: Vec<Place>,
    /// Is told, once, what ends with the machine.
    entered: Option<oneshot::Sender<CancellationToken>>,
    /// Programs that wait for the end of their input: the command line, and what came so far.
    programs: HashMap<ChannelId, (String, Vec<u8>)>,
}

impl Visitor {
    fn here(&self) -> &Place {
        &self.places[0]
    }

    /// Goes to the machine that the key opens.
    fn enter(&mut self, user: &str, key: &PublicKey) -> bool {
        let key = key.to_openssh().unwrap_or_default();
        let opens = |place: &&Place| {
            user == USER
                && !place.has(&Trouble::KeyRefused)
                && place.ask(|node| node.machine.lets_in(&key)).unwrap_or_default()
        };
        let Some(place) = self.places.iter().find(opens).cloned() else {
            self.here().light.with(|state| state.counts.refused += 1);
            return false;
        };
        if let Some((entered, boot)) = self.entered.take().zip(place.ask(|node| node.boot.clone())) {
            // The connection may have ended in this very moment.
            let _ = entered.send(boot);
        }
        self.places = vec![place];
        true
    }

    async fn run(
        &self,
        channel: ChannelId,
        line: &str,
        input: &[u8],
        session: &mut Session,
    ) -> Result<(), russh::Error> {
        let Place { light, instance } = self.here();
        light.calm(instance).await;
        light.look().await;
        let input = String::from_utf8_lossy(input);
        let outcome = light.with(|state| state.run(instance, line, &input));
        session.data(channel, outcome.output.into_bytes())?;
        if !outcome.errors.is_empty() {
            session.extended_data(channel, 1, outcome.errors.into_bytes())?;
        }
        session.exit_status_request(channel, outcome.code)?;
        session.eof(channel)?;
        session.close(channel)
    }
}

impl Handler for Visitor {
    type Error = russh::Error;

    async fn auth_publickey(&mut self, user: &str, key: VerifiedPublicKey<'_>) -> Result<Auth, Self::Error> {
        Ok(if self.enter(user, key.public_key) {
            Auth::Accept
        } else {
            Auth::reject()
        })
    }

    async fn channel_open_session(
        &mut self,
        _: Channel<Msg>,
        reply: ChannelOpenHandle,
        _: &mut Session,
    ) -> Result<(), Self::Error> {
        reply.accept().await;
        Ok(())
    }

    async fn exec_request(
        &mut self,
        channel: ChannelId,
        line: &[u8],
        session: &mut Session,
    ) -> Result<(), Self::Error> {
        let line = String::from_utf8_lossy(line).into_owned();
        session.channel_success(channel)?;
        if reads_input(&line) {
            self.programs.insert(channel, (line, Vec::new()));
            return Ok(());
        }
        self.run(channel, &line, &[], session).await
    }

    async fn data(&mut self, channel: ChannelId, data: &[u8], _: &mut Session) -> Result<(), Self::Error> {
        if let Some((_, input)) = self.programs.get_mut(&channel) {
            input.extend_from_slice(data);
        }
        Ok(())
    }

    async fn channel_eof(&mut self, channel: ChannelId, session: &mut Session) -> Result<(), Self::Error> {
        match self.programs.remove(&channel) {
            Some((line, input)) => self.run(channel, &line, &input, session).await,
            None => Ok(()),
        }
    }

    async fn channel_open_direct_tcpip(
        &mut self,
        channel: Channel<Msg>,
        host: &str,
        port: u32,
        _: &str,
        _: u32,
        reply: ChannelOpenHandle,
        _: &mut Session,
    ) -> Result<(), Self::Error> {
        let Place { light, instance } = self.here().clone();
        light.look().await;
        if self.here().has(&Trouble::NoForwarding) {
            reply.reject(ChannelOpenFailure::AdministrativelyProhibited).await;
            return Ok(());
        }
        if port == DASHBOARD && matches!(host, "127.0.0.1" | "localhost") {
            let listens = light.with(|state| {
                let node = state.nodes.get(&instance);
                state.rays.contains_key(&instance) && node.is_some_and(|node| !node.has(&Trouble::Dashboard))
            });
            if listens {
                reply.accept().await;
                let stream = TokioIo::new(channel.into_stream());
                tokio::spawn(dashboard::serve(light, instance, stream));
                return Ok(());
            }
        }
        let worker = host.parse().ok().filter(|_| port == 22).and_then(|address| {
            light.with(|state| {
                let vpc = state.nodes.get(&instance)?.machine.vpc.clone();
                state.at_private(address, vpc.as_deref()).into_iter().next()
            })
        });
        let worker = worker.map(|instance| Place {
            light: Arc::clone(&light),
            instance,
        });
        let Some(worker) = worker.filter(|worker| !worker.has(&Trouble::SshClosed)) else {
            reply.reject(ChannelOpenFailure::ConnectFailed).await;
            return Ok(());
        };
        light.with(|state| state.counts.inner_connections += 1);
        tokio::spawn(async move {
            light.calm(&worker.instance).await;
            reply.accept().await;
            worker.serve(channel.into_stream()).await;
        });
        Ok(())
    }
}
