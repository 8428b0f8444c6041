//! `rayward-node` on a machine: what each call does, and how it ends.

use super::state::{Call, State};

/// How a program ended.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Outcome {
    pub(crate) code: u32,
    pub(crate) output: String,
    pub(crate) errors: String,
}

impl Outcome {
    fn failed(code: u32, errors: impl Into<String>) -> Self {
        Self {
            code,
            output: String::new(),
            errors: errors.into(),
        }
    }
}

/// A command line in words, as a shell without variables takes it apart.
pub(crate) fn words(line: &str) -> Vec<String> {
    let (mut words, mut word, mut quote) = (Vec::new(), None::<String>, None);
    let mut characters = line.chars();
    while let Some(character) = characters.next() {
        match (character, quote) {
            ('\\', None | Some('"')) => word.get_or_insert_default().extend(characters.next()),
            ('\'' | '"', None) => {
                quote = Some(character);
                word.get_or_insert_default();
            }
            (_, Some(open)) if character == open => quote = None,
            (' ' | '\t' | '\n', None) => words.extend(word.take()),
            _ => word.get_or_insert_default().push(character),
        }
    }
    words.extend(word);
    words
}

/// Whether a command takes its input to the end before it does anything.
pub(crate) fn reads_input(line: &str) -> bool {
    words(line).last().is_some_and(|word| word == "token")
}

impl State {
    /// Runs a command line on a machine.
    pub(crate) fn run(&mut self, instance: &str, line: &str, input: &str) -> Outcome {
        let words = words(line);
        let mut words: Vec<&str> = words.iter().map(String::as_str).collect();
        if words.first() == Some(&"sudo") {
            let options = words.iter().skip(1).take_while(|word| word.starts_with('-')).count();
            words.drain(..=options);
        }
        let program = words.first().copied().unwrap_or_default();
        if !matches!(program, "rayward-node" | "/usr/local/bin/rayward-node") {
            return Outcome::failed(127, format!("bash: line 1: {program}: command not found\n"));
        }
        let call = words[1..].to_vec();
        if call != ["report"] {
            self.counts.calls.push(Call {
                instance: instance.to_owned(),
                words: call.iter().map(|word| (*word).to_owned()).collect(),
            });
        }
        let outcome = self.call(instance, &call, input);
        self.advance();
        outcome
    }

    fn call(&mut self, instance: &str, call: &[&str], input: &str) -> Outcome {
        let is_head_known = self.rays.contains_key(instance) || self.head_of(instance).is_some();
        let Some(node) = self.nodes.get_mut(instance) else {
            return Outcome::failed(255, "the machine is gone\n");
        };
        match call {
            ["report"] => {
                node.reports += 1;
                let output = format!("{}\n", node.report(is_head_known));
                return Outcome {
                    output,
                    ..Outcome::default()
                };
            }
            ["token"] if input.trim().is_empty() => return Outcome::failed(1, "no token on standard input\n"),
            ["token"] => node.take_token(input.trim()),
            ["restart-ray"] => node.life.restarts += 1,
            ["head-address", address] => match address.parse() {
                Ok(address) => node.take_head_address(address),
                Err(_) => return Outcome::failed(64, format!("{address} is no IPv4 address\n")),
            },
            ["drain", node_id, reason, seconds, message] if seconds.parse::<u64>().is_ok() => {
                return self.drain(instance, node_id, reason, message);
            }
            _ => return Outcome::failed(64, format!("rayward-node: no such call: {}\n", call.join(" "))),
        }
        Outcome::default()
    }

    fn drain(&mut self, head: &str, node_id: &str, reason: &str, message: &str) -> Outcome {
        let is_idle_reason = match reason {
            "DRAIN_NODE_REASON_IDLE_TERMINATION" => true,
            "DRAIN_NODE_REASON_PREEMPTION" => false,
            _ => return Outcome::failed(64, format!("{reason} is no reason\n")),
        };
        let worker = self
            .rays
            .get(head)
            .and_then(|ray| ray.instance_of(node_id))
            .map(str::to_owned);
        if is_idle_reason && worker.is_some_and(|worker| self.cpus_used(&worker) > 0.0) {
            return Outcome::failed(3, "The drain request is not accepted: the node is not idle\n");
        }
        match self
            .rays
            .get_mut(head)
            .map(|ray| ray.drain(node_id, is_idle_reason, message))
        {
            Some(Ok(())) => Outcome::default(),
            Some(Err(why)) => Outcome::failed(1, format!("{why}\n")),
            None => Outcome::failed(1, "Ray does not run here\n"),
        }
    }
}
