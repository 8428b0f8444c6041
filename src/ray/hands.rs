//! Doing a step on a machine: one call of `rayward-node` over the connection that looks, too.

use std::{net::Ipv4Addr, sync::Arc, time::Duration};

use async_trait::async_trait;
use tokio::time::Instant;

use super::{
    facts::Peer,
    failure::excerpt,
    ssh::Output,
    step::{Hands, MachineStep, StepAnswer, StepError},
    watcher::Watcher,
};

/// How long a call may take; Ray's own drain is a Python program that takes seconds to start.
const LIMIT: Duration = Duration::from_secs(30);
/// For how long a token that was read is as good as read again.
const RECENTLY: Duration = Duration::from_secs(5);
/// Exit code of a drain that Ray refused because the node works.
const BUSY: u32 = 3;
/// How long the reason of a drain may be.
const MOST_LETTERS: usize = 200;

/// The hands of one cluster.
pub(super) struct WatchersHands(pub(super) Arc<Watcher>);

fn error(message: String) -> StepError {
    StepError { message }
}

/// A word of a shell command.
fn quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', r"'\''"))
}

/// The call for a step. Everything in it is quoted or of a form that needs no quotes.
fn command(step: &MachineStep) -> Result<String, StepError> {
    Ok(match step {
        MachineStep::GiveToken { .. } => "sudo rayward-node token".into(),
        MachineStep::RestartRay { .. } => "sudo rayward-node restart-ray".into(),
        MachineStep::SetHead { instance_id, address } => {
            let address: Ipv4Addr = address.parse().map_err(|_| {
                error(format!(
                    "{instance_id} cannot be told its head: {address} is no IPv4 address"
                ))
            })?;
            format!("sudo rayward-node head-address {address}")
        }
        MachineStep::Drain {
            node_id,
            force,
            deadline,
            reason,
            ..
        } => {
            let why = if *force {
                "DRAIN_NODE_REASON_PREEMPTION"
            } else {
                "DRAIN_NODE_REASON_IDLE_TERMINATION"
            };
            let (node_id, reason) = (quoted(node_id), quoted(&excerpt(reason, MOST_LETTERS)));
            let seconds = deadline.as_secs();
            format!("sudo rayward-node drain {node_id} {why} {seconds} {reason}")
        }
    })
}

fn answer(step: &MachineStep, output: &Output) -> Result<StepAnswer, StepError> {
    match output.code {
        Some(0) => Ok(StepAnswer::Done),
        Some(BUSY) if matches!(step, MachineStep::Drain { .. }) => Ok(StepAnswer::Busy),
        code => {
            let code = code.map_or("a signal".into(), |code| format!("code {code}"));
            let words = excerpt(&String::from_utf8_lossy(&output.stderr), MOST_LETTERS);
            Err(error(format!("could not {step}: it ended with {code}: {words}")))
        }
    }
}

#[async_trait]
impl Hands for WatchersHands {
    async fn perform(&self, step: &MachineStep) -> Result<StepAnswer, StepError> {
        let answer = self.call(step).await;
        match answer {
            Ok(_) => {
                self.0.knowledge().note(step, Instant::now());
                self.0.wake();
            }
            // It is planned again after the next look, whose time is not changed: what fails at once would be tried
            // without a pause.
            Err(_) => self.0.owe(),
        }
        answer
    }
}

impl WatchersHands {
    async fn call(&self, step: &MachineStep) -> Result<StepAnswer, StepError> {
        let watcher = &self.0;
        let failed = |why: &dyn std::fmt::Display| error(format!("could not {step}: {why}"));
        let interest = watcher.interest();
        let Some(head) = &interest.head else {
            return Err(failed(&"there is no head"));
        };
        let command = command(step)?;
        let is_step_on_head = matches!(step, MachineStep::Drain { .. }) || step.instance_id() == head.instance_id;
        let worker = if is_step_on_head {
            None
        } else {
            let mut workers = interest.closely.iter().chain(&interest.widely);
            let named = |peer: &&Peer| peer.instance_id == step.instance_id();
            Some(
                workers
                    .find(named)
                    .ok_or_else(|| failed(&"it is not among the running machines"))?,
            )
        };
        let token = if matches!(step, MachineStep::GiveToken { .. }) {
            let opened = watcher
                .line
                .opened_within(RECENTLY)
                .await
                .map_err(|failure| failed(&failure))?;
            Some(format!("{}\n", opened.token))
        } else {
            None
        };
        let input = token.as_deref().map(str::as_bytes);
        let connection = watcher.head(&interest).await.map_err(|failure| failed(&failure))?;
        let output = match worker {
            None => connection.run(&command, input, LIMIT).await,
            Some(worker) => {
                let connection = watcher.worker(&connection, worker, &interest).await;
                let connection = connection.map_err(|failure| failed(&failure))?;
                connection.run(&command, input, LIMIT).await
            }
        };
        answer(step, &output.map_err(|trouble| failed(&trouble))?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drain(force: bool, reason: &str) -> MachineStep {
        MachineStep::Drain {
            instance_id: "i-1".into(),
            node_id: "b3".into(),
            force,
            deadline: Duration::from_mins(5),
            reason: reason.into(),
        }
    }

    #[test]
    fn each_step_is_one_call() {
        let instance_id = String::from("i-1");
        let give = MachineStep::GiveToken {
            instance_id: instance_id.clone(),
        };
        assert_eq!(command(&give).unwrap(), "sudo rayward-node token");
        let set = |address: &str| MachineStep::SetHead {
            instance_id: instance_id.clone(),
            address: address.into(),
        };
        assert_eq!(
            command(&set("10.0.1.4")).unwrap(),
            "sudo rayward-node head-address 10.0.1.4"
        );
        assert!(command(&set("10.0.1.4; reboot")).is_err());
        assert_eq!(
            command(&drain(false, "one too many")).unwrap(),
            "sudo rayward-node drain 'b3' DRAIN_NODE_REASON_IDLE_TERMINATION 300 'one too many'"
        );
        assert!(
            command(&drain(true, ""))
                .unwrap()
                .contains("DRAIN_NODE_REASON_PREEMPTION")
        );
    }

    #[test]
    fn what_others_wrote_cannot_leave_its_quotes() {
        let call = command(&drain(false, "it's; $(reboot)\n`x`")).unwrap();
        assert!(call.ends_with(r"'it'\''s; $(reboot) `x`'"), "{call}");
    }

    #[test]
    fn only_a_drain_is_refused_by_a_busy_node() {
        let output = |code| Output {
            code: Some(code),
            stdout: Vec::new(),
            stderr: b"no such node\n".to_vec(),
        };
        let drain = drain(false, "idle");
        assert_eq!(answer(&drain, &output(0)), Ok(StepAnswer::Done));
        assert_eq!(answer(&drain, &output(3)), Ok(StepAnswer::Busy));
        let failed = answer(&drain, &output(1)).unwrap_err();
        assert_eq!(
            failed.message,
            "could not drain i-1: idle: it ended with code 1: no such node"
        );
        let restart = MachineStep::RestartRay {
            instance_id: "i-1".into(),
            reason: "lost".into(),
        };
        assert!(answer(&restart, &output(3)).is_err());
    }
}
