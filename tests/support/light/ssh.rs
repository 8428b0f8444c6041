//! SSH on a machine: who may sign in, programs, and ways through it.

use std::collections::HashMap;
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

use super::commands::reads_input;
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

/// Answers one connection to a machine, until it ends or the machine does. Boxed: a way through leads here again.
pub(super) fn serve<S>(light: Arc<Light>, instance: String, stream: S) -> BoxFuture<'static, ()>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    Box::pin(async move {
        let known = light.with(|state| {
            let node = state.nodes.get(&instance)?;
            Some((node.host_keys, node.boot.clone(), node.has(&Trouble::SshSilent)))
        });
        let Some((number, boot, is_silent)) = known else { return };
        if is_silent {
            // The stream stays open, unread.
            boot.cancelled().await;
            return;
        }
        light.calm(&instance).await;
        let config = Config {
            methods: MethodSet::from(&[MethodKind::PublicKey][..]),
            auth_rejection_time: Duration::ZERO,
            keys: vec![host_key(&instance, number)],
            inactivity_timeout: None,
            ..Config::default()
        };
        let visitor = Visitor {
            light: Arc::clone(&light),
            instance: instance.clone(),
            programs: HashMap::new(),
        };
        let Ok(session) = run_stream(Arc::new(config), stream, visitor).await else {
            return;
        };
        let handle = session.handle();
        tokio::select! {
            _ = session => {}
            () = boot.cancelled() => {
                // It may have ended in this very moment.
                let _ = handle.disconnect(Disconnect::ByApplication, "the machine goes down".into(), String::new()).await;
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
    light: Arc<Light>,
    instance: String,
    /// Programs that wait for the end of their input: the command line, and what came so far.
    programs: HashMap<ChannelId, (String, Vec<u8>)>,
}

impl Visitor {
    fn may_enter(&self, user: &str, key: &PublicKey) -> bool {
        let key = key.to_openssh().unwrap_or_default();
        let may = self.light.with(|state| {
            let node = state.nodes.get(&self.instance)?;
            Some(user == USER && node.machine.lets_in(&key) && !node.has(&Trouble::KeyRefused))
        });
        may.unwrap_or_default()
    }

    async fn run(
        &self,
        channel: ChannelId,
        line: &str,
        input: &[u8],
        session: &mut Session,
    ) -> Result<(), russh::Error> {
        self.light.calm(&self.instance).await;
        self.light.look().await;
        let input = String::from_utf8_lossy(input);
        let outcome = self.light.with(|state| state.run(&self.instance, line, &input));
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
        if self.may_enter(user, key.public_key) {
            return Ok(Auth::Accept);
        }
        self.light.with(|state| state.counts.refused += 1);
        Ok(Auth::reject())
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
        let light = Arc::clone(&self.light);
        light.look().await;
        if port == DASHBOARD && matches!(host, "127.0.0.1" | "localhost") {
            let listens = light.with(|state| {
                let node = state.nodes.get(&self.instance);
                state.rays.contains_key(&self.instance) && node.is_some_and(|node| !node.has(&Trouble::Dashboard))
            });
            if listens {
                reply.accept().await;
                let stream = TokioIo::new(channel.into_stream());
                tokio::spawn(dashboard::serve(light, self.instance.clone(), stream));
                return Ok(());
            }
        }
        let worker = host.parse().ok().filter(|_| port == 22).and_then(|address| {
            light.with(|state| {
                let vpc = state.nodes.get(&self.instance)?.machine.vpc.clone();
                let worker = state.at_private(address, vpc.as_deref())?;
                let node = state.nodes.get(&worker)?;
                (!node.has(&Trouble::SshClosed)).then_some(worker)
            })
        });
        let Some(worker) = worker else {
            reply.reject(ChannelOpenFailure::ConnectFailed).await;
            return Ok(());
        };
        light.with(|state| state.counts.inner_connections += 1);
        tokio::spawn(async move {
            light.calm(&worker).await;
            reply.accept().await;
            serve(light, worker, channel.into_stream()).await;
        });
        Ok(())
    }
}
