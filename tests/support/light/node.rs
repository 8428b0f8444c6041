//! One machine: what it has been given, what is wrong with it, and what `rayward-node` says and does there.

use std::net::Ipv4Addr;
use std::time::{Duration, Instant, SystemTime};

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tokio_util::sync::CancellationToken;

use super::machine::Machine;
use super::trouble::{Lasting, Life, Trouble};

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Node {
    pub(crate) machine: Machine,
    pub(crate) life: Life,
    /// Cancelled when this boot of it ends, and its connections with it.
    pub(crate) boot: CancellationToken,
    pub(crate) token: Option<String>,
    /// Where it was told that its head is, since its launch.
    head_told: Option<Ipv4Addr>,
    pub(crate) ssh_sessions: u32,
    pub(crate) jupyter_kernels: u32,
    pub(crate) troubles: Vec<Lasting>,
    /// It was drained, and has not been started anew since.
    pub(crate) drained_in: Option<Life>,
    /// Since when nothing keeps it from joining.
    pub(crate) able_since: Option<Instant>,
    /// Counts the host keys that it had.
    pub(crate) host_keys: u32,
    /// The uid that its label tells in place of its cluster's.
    pub(crate) poses_as: Option<String>,
    /// How often it was asked for a report.
    pub(crate) reports: u64,
}

impl Node {
    /// Takes what the account says of it now.
    pub(crate) fn learn(&mut self, machine: Machine) {
        let boots_anew = machine.runs() && machine.booted_at != self.machine.booted_at;
        if boots_anew {
            self.life.boot += 1;
        }
        if boots_anew || !machine.runs() {
            self.boot.cancel();
        }
        if machine.vpc.is_some() {
            self.machine = machine;
        } else {
            // What is left of a terminated instance has neither tags nor addresses.
            self.machine.state = machine.state;
        }
        if self.machine.runs() && self.boot.is_cancelled() {
            self.boot = CancellationToken::new();
        }
    }

    /// Where it looks for its head: where it was told last, else where its user data says.
    pub(crate) fn head_address(&self) -> Option<Ipv4Addr> {
        self.head_told.or_else(|| self.machine.said("head")?.parse().ok())
    }

    /// Whether it has come so far that SSH answers.
    pub(crate) fn is_up(&self, boot: Duration) -> bool {
        let booted = self.machine.booted_at.unwrap_or_default();
        let now = SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap_or_default();
        self.machine.runs() && booted + boot.as_secs_f64() <= now.as_secs_f64()
    }

    /// Its trouble of a kind.
    pub(crate) fn trouble(&self, is_it: impl Fn(&Trouble) -> bool) -> Option<&Trouble> {
        let now = Instant::now();
        let mut lasting = self.troubles.iter().filter(|each| each.is_there(now, self.life));
        lasting.find(|each| is_it(&each.trouble)).map(|each| &each.trouble)
    }

    /// Whether it has this trouble.
    pub(crate) fn has(&self, trouble: &Trouble) -> bool {
        self.trouble(|each| each == trouble).is_some()
    }

    /// Whether its Ray can run, as far as it is up to the machine itself.
    pub(crate) fn can_run_ray(&self, boot: Duration) -> bool {
        let ails = |trouble: &Trouble| matches!(trouble, Trouble::Raylet | Trouble::Stuck { .. });
        self.is_up(boot) && self.token.is_some() && self.drained_in != Some(self.life) && self.trouble(ails).is_none()
    }

    /// What `rayward-node report` prints. `is_head_known`: a head answers where it looks for one.
    pub(crate) fn report(&self, is_head_known: bool) -> Value {
        let waits = |stage: &'static str, message: &str| (stage, message.to_owned(), Vec::new());
        let (stage, message, lines) = match self.trouble(|each| matches!(each, Trouble::Stuck { .. })) {
            Some(Trouble::Stuck { stage, message, lines }) => (*stage, message.clone(), lines.clone()),
            _ if self.token.is_none() => waits("waiting-for-token", "waiting for the cluster's token"),
            _ if !is_head_known => waits("waiting-for-head", "the head does not answer yet"),
            _ => waits("running", "Ray runs"),
        };
        let tail = &self.machine.id[self.machine.id.len().saturating_sub(11)..];
        let boot = format!("{:08x}-0000-4000-8000-0{tail}", self.life.boot);
        let hash = self.token.as_ref().map_or_else(String::new, |token| {
            let digest = Sha256::digest(format!("{boot}{token}"));
            format!("{digest:x}")[..16].to_owned()
        });
        json!({
            "stage": stage, "message": message, "lines": lines,
            "sshSessions": self.ssh_sessions, "jupyterKernels": self.jupyter_kernels,
            "rayActive": stage == "running", "hasToken": self.token.is_some(),
            "headAddress": self.head_address(),
            "bootId": boot, "tokenHash": hash,
        })
    }

    /// Ends every connection to it.
    pub(crate) fn end_connections(&mut self) {
        std::mem::take(&mut self.boot).cancel();
    }

    /// Takes a token. Another one than before starts Ray anew.
    pub(crate) fn take_token(&mut self, token: &str) {
        let before = self.token.replace(token.to_owned());
        if before.is_some_and(|before| before != token) {
            self.life.restarts += 1;
        }
    }

    /// Takes the head's address. Another one than before starts Ray anew.
    pub(crate) fn take_head_address(&mut self, address: Ipv4Addr) {
        let before = self.head_address();
        self.head_told = Some(address);
        if before.is_some_and(|before| before != address) {
            self.life.restarts += 1;
        }
    }
}
