//! The settings of `rayward run`: flags, each also an environment variable `RAYWARD_*`.

use std::{net::SocketAddr, time::Duration};

use clap::{Args, CommandFactory, FromArgMatches, Parser, Subcommand, ValueEnum, builder::Resettable};
use ipnet::Ipv4Net;
use tracing_subscriber::EnvFilter;

use crate::{
    execute::Bounds,
    memory::RetryDelays,
    plan::{Limits, RayLimits},
    sweep::SweepIntervals,
};

/// How many actions of one cluster run side by side.
const WIDTH: usize = 16;
/// First pause after a throttled call; all changes of the region go slower besides.
const THROTTLED: Duration = Duration::from_secs(2);
/// The longest duration of a setting: points in time that are so far away can still be computed.
const LONGEST: Duration = Duration::from_hours(24_000);
/// The highest concurrency: a pass holds what it has read of its cluster.
const MOST_AT_ONCE: usize = 10_000;

/// Makes Ray clusters true on AWS and keeps them true.
#[derive(Debug, Parser)]
#[command(version, about, propagate_version = true)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

impl Cli {
    /// The command line of this process, which ends here when there is nothing to run. A variable that is set to
    /// nothing counts as not set: charts and files of settings do that to settings that they leave out.
    #[must_use]
    pub fn read() -> Self {
        let command = Self::command().mut_subcommands(|command| command.mut_args(without_empty_variable));
        Self::from_arg_matches(&command.get_matches()).unwrap_or_else(|error| error.exit())
    }
}

fn without_empty_variable(argument: clap::Arg) -> clap::Arg {
    match argument.get_env().and_then(std::env::var_os) {
        Some(value) if value.is_empty() => argument.env(Resettable::Reset),
        _ => argument,
    }
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the controller.
    ///
    /// The Kubernetes API is found by `KUBECONFIG`, then by the service account of the pod. AWS credentials come from
    /// the default chain of the AWS SDK; `AWS_ENDPOINT_URL` is honoured. A setting is a flag or the environment
    /// variable beside it (set to nothing it counts as not set); durations read like 90s, 5m or 1h30m.
    ///
    /// SIGTERM and SIGINT end it within 10 seconds and with code 0; what is in flight is finished. It ends with code 1
    /// when something is missing at the start, such as an API server that answers: whatever runs it starts it again.
    Run(Box<Config>),
    /// Print the `CustomResourceDefinition` of `RayCluster` as YAML.
    Crd,
}

/// The settings of `rayward run`.
#[derive(Clone, Debug, Args)]
pub struct Config {
    /// Look after the RayCluster objects of this namespace only.
    #[arg(long, env = "RAYWARD_WATCH_NAMESPACE", value_name = "NAMESPACE", value_parser = namespace)]
    pub watch_namespace: Option<String>,

    /// Name of this installation in the tag rayward.dev/installation; two controllers that share an AWS account need
    /// two names. It must never change while clusters exist [default: the uid of the namespace kube-system]
    #[arg(long, env = "RAYWARD_INSTALLATION", value_name = "NAME", value_parser = installation)]
    pub installation: Option<String>,

    /// Address ranges from which this controller reaches the heads over SSH, as AWS sees them; comma-separated.
    #[arg(long, env = "RAYWARD_EGRESS_CIDRS", value_name = "CIDR", value_delimiter = ',', value_parser = cidr)]
    pub egress_cidrs: Vec<Ipv4Net>,

    /// How many clusters are worked on at the same time.
    #[arg(long, env = "RAYWARD_CONCURRENCY", value_name = "NUMBER", default_value = "64", value_parser = concurrency)]
    pub concurrency: usize,

    /// How often machines are looked at.
    #[arg(long, env = "RAYWARD_SWEEP_INTERVAL", value_name = "DURATION", default_value = "15s",
        value_parser = duration)]
    pub sweep_interval: Duration,

    /// How often everything else is looked at.
    #[arg(long, env = "RAYWARD_NETWORK_SWEEP_INTERVAL", value_name = "DURATION", default_value = "60s",
        value_parser = duration)]
    pub network_sweep_interval: Duration,

    /// How long AWS may still show what was before a change.
    #[arg(long, env = "RAYWARD_CONSISTENCY_WINDOW", value_name = "DURATION", default_value = "60s",
        value_parser = duration)]
    pub consistency_window: Duration,

    /// How long one pass over a cluster may start new calls.
    #[arg(long, env = "RAYWARD_PASS_TIMEOUT", value_name = "DURATION", default_value = "60s", value_parser = duration)]
    pub pass_timeout: Duration,

    /// How long a single call to AWS or Kubernetes may take.
    #[arg(long, env = "RAYWARD_CALL_TIMEOUT", value_name = "DURATION", default_value = "10s", value_parser = duration)]
    pub call_timeout: Duration,

    /// How long a launched machine may be pending before it is given up.
    #[arg(long, env = "RAYWARD_LAUNCH_PENDING", value_name = "DURATION", default_value = "5m", value_parser = duration)]
    pub launch_pending: Duration,

    /// A cluster launches at most this many times its size in one launch window.
    #[arg(long, env = "RAYWARD_LAUNCH_CAP_FACTOR", value_name = "NUMBER", default_value = "3",
        value_parser = clap::value_parser!(u32).range(1..))]
    pub launch_cap_factor: u32,

    /// See --launch-cap-factor.
    #[arg(long, env = "RAYWARD_LAUNCH_WINDOW", value_name = "DURATION", default_value = "1h", value_parser = duration)]
    pub launch_window: Duration,

    /// How long nothing is launched after the record of launches in a status was lost.
    #[arg(long, env = "RAYWARD_LOST_RECORD_HOLD", value_name = "DURATION", default_value = "5m",
        value_parser = duration)]
    pub lost_record_hold: Duration,

    /// How old the known settings of a bucket may be.
    #[arg(long, env = "RAYWARD_BUCKET_INTERVAL", value_name = "DURATION", default_value = "1h",
        value_parser = duration)]
    pub bucket_interval: Duration,

    /// How long an instance type is skipped in a zone that has no capacity for it.
    #[arg(long, env = "RAYWARD_CAPACITY_SKIP", value_name = "DURATION", default_value = "3m", value_parser = duration)]
    pub capacity_skip: Duration,

    /// How long what AWS refused for good is not tried again at first; twice as long after each further refusal, up
    /// to an hour. A changed spec is tried at once.
    #[arg(long, env = "RAYWARD_REFUSAL_RETRY", value_name = "DURATION", default_value = "1m", value_parser = duration)]
    pub refusal_retry: Duration,

    /// How long a machine may hang in stopping or shutting-down before it counts as stuck.
    #[arg(long, env = "RAYWARD_STOP_TIMEOUT", value_name = "DURATION", default_value = "10m", value_parser = duration)]
    pub stop_timeout: Duration,

    /// How often a cluster's Ray is looked at.
    #[arg(long, env = "RAYWARD_LOOK_INTERVAL", value_name = "DURATION", default_value = "15s",
        value_parser = duration)]
    pub look_interval: Duration,

    /// How long a worker may take from running to its first appearance in Ray before it is replaced; of a head it is
    /// only told.
    #[arg(long, env = "RAYWARD_JOIN_TIMEOUT", value_name = "DURATION", default_value = "10m", value_parser = duration)]
    pub join_timeout: Duration,

    /// How long a worker that had joined Ray may be missing there, or a head's Ray may be down, before it is healed.
    #[arg(long, env = "RAYWARD_LOST_AFTER", value_name = "DURATION", default_value = "75s", value_parser = duration)]
    pub lost_after: Duration,

    /// How long a step that heals (restart Ray, reboot) may take to help before the next one.
    #[arg(long, env = "RAYWARD_HEAL_WINDOW", value_name = "DURATION", default_value = "3m", value_parser = duration)]
    pub heal_window: Duration,

    /// How long running work of a worker that is drained may take before its machine goes.
    #[arg(long, env = "RAYWARD_DRAIN_TIMEOUT", value_name = "DURATION", default_value = "5m",
        value_parser = duration)]
    pub drain_timeout: Duration,

    /// How long no connection may reach the head, in a row, before its machine is rebooted.
    #[arg(long, env = "RAYWARD_UNKNOWN_TIMEOUT", value_name = "DURATION", default_value = "10m",
        value_parser = duration)]
    pub unknown_timeout: Duration,

    /// How long a cluster must be known idle, without a gap in the looks, before it is stopped, at the least.
    #[arg(long, env = "RAYWARD_IDLE_PROOF", value_name = "DURATION", default_value = "10m", value_parser = duration)]
    pub idle_proof: Duration,

    /// How long a cluster whose Ray never answered since its head was started goes on, if its idle timeout is not
    /// longer.
    #[arg(long, env = "RAYWARD_UNSEEN_TIMEOUT", value_name = "DURATION", default_value = "2h", value_parser = duration)]
    pub unseen_timeout: Duration,

    /// After how many machines that fail in the same way no further one is launched.
    #[arg(long, env = "RAYWARD_REPEATED_FAILURES", value_name = "NUMBER", default_value = "3",
        value_parser = clap::value_parser!(u32).range(1..))]
    pub repeated_failures: u32,

    /// Address of /metrics, /healthz and /readyz. In a pod: 0.0.0.0:8080.
    #[arg(
        long,
        env = "RAYWARD_ADMIN_ADDRESS",
        value_name = "ADDRESS",
        default_value = "127.0.0.1:8080"
    )]
    pub admin_address: SocketAddr,

    /// Form of the log on standard error.
    #[arg(long, env = "RAYWARD_LOG_FORMAT", value_name = "FORMAT", default_value = "human")]
    pub log_format: LogFormat,

    /// What is logged: a level, or levels by module as in rayward=debug,warn.
    #[arg(
        long,
        env = "RAYWARD_LOG",
        value_name = "FILTER",
        default_value = "rayward=info,warn",
        value_parser = filter
    )]
    pub log: String,
}

/// Form of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// One JSON object a line.
    Json,
    /// For people.
    Human,
}

impl Config {
    /// The numbers that plans depend on.
    #[must_use]
    pub fn limits(&self) -> Limits {
        Limits {
            launch_pending: self.launch_pending,
            launch_cap_factor: self.launch_cap_factor,
            launch_window: self.launch_window,
            lost_record_hold: self.lost_record_hold,
            consistency_window: self.consistency_window,
            bucket_interval: self.bucket_interval,
            stop_timeout: self.stop_timeout,
            ray: RayLimits {
                look_interval: self.look_interval,
                join_timeout: self.join_timeout,
                lost_after: self.lost_after,
                heal_window: self.heal_window,
                drain_timeout: self.drain_timeout,
                unknown_timeout: self.unknown_timeout,
                idle_proof: self.idle_proof,
                unseen_timeout: self.unseen_timeout,
                repeated_failures: self.repeated_failures,
                ..RayLimits::default()
            },
        }
    }
}

impl Config {
    /// The numbers that executions depend on.
    #[must_use]
    pub fn bounds(&self) -> Bounds {
        Bounds {
            width: WIDTH,
            call_timeout: self.call_timeout,
            launch_window: self.launch_window,
            delays: RetryDelays {
                capacity: self.capacity_skip,
                throttled: THROTTLED,
                terminal: self.refusal_retry,
                ..RetryDelays::default()
            },
        }
    }

    /// How often AWS is looked at.
    #[must_use]
    pub fn intervals(&self) -> SweepIntervals {
        SweepIntervals::new(self.sweep_interval, self.network_sweep_interval)
    }
}

/// A duration above zero, as people write it.
fn duration(text: &str) -> Result<Duration, String> {
    let hint = "write a duration above zero and up to 24000h with its unit, for example 90s, 5m or 1h30m";
    let span: jiff::SignedDuration = text.parse().map_err(|_| hint.to_owned())?;
    Duration::try_from(span)
        .ok()
        .filter(|duration| !duration.is_zero() && *duration <= LONGEST)
        .ok_or_else(|| hint.to_owned())
}

fn concurrency(text: &str) -> Result<usize, String> {
    text.parse()
        .ok()
        .filter(|number| (1..=MOST_AT_ONCE).contains(number))
        .ok_or_else(|| format!("write a whole number from 1 to {MOST_AT_ONCE}"))
}

/// The name of a namespace; another one would make another path of the API.
fn namespace(text: &str) -> Result<String, String> {
    let is_fine = |letter: char| letter.is_ascii_lowercase() || letter.is_ascii_digit() || letter == '-';
    let is_name =
        (1..=63).contains(&text.len()) && text.chars().all(is_fine) && !text.starts_with('-') && !text.ends_with('-');
    if is_name {
        Ok(text.to_owned())
    } else {
        Err("write the name of one namespace, or leave the setting out to look after all".into())
    }
}

fn cidr(text: &str) -> Result<Ipv4Net, String> {
    text.parse()
        .map_err(|_| "write IPv4 ranges with their length and commas between them, for example 203.0.113.7/32".into())
}

/// A filter of the log, kept as text.
fn filter(text: &str) -> Result<String, String> {
    match EnvFilter::builder().parse(text) {
        Ok(_) => Ok(text.to_owned()),
        Err(error) => Err(format!("{error}; write for example rayward=debug,warn")),
    }
}

/// A name that can be the value of a tag and a part of an S3 tag filter.
fn installation(text: &str) -> Result<String, String> {
    let is_fine = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '-' | '_' | '.');
    if text.is_empty() || text.len() > 128 || !text.chars().all(is_fine) {
        return Err("write 1 to 128 letters, digits, dots, dashes or underscores".into());
    }
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use clap::error::ErrorKind;

    use super::*;

    fn parse(flags: &[&str]) -> Result<Config, clap::Error> {
        let cli = Cli::try_parse_from(["rayward", "run"].iter().chain(flags))?;
        match cli.command {
            Command::Run(config) => Ok(*config),
            Command::Crd => panic!("asked to run"),
        }
    }

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn the_defaults_are_the_planners() {
        assert_eq!(parse(&[]).unwrap().limits(), Limits::default());
    }

    #[test]
    fn durations_read_as_people_write_them() {
        let config = parse(&["--sweep-interval", "1h30m", "--launch-pending=250ms"]).unwrap();
        assert_eq!(config.sweep_interval, Duration::from_mins(90));
        assert_eq!(config.limits().launch_pending, Duration::from_millis(250));
    }

    #[test]
    fn what_is_looked_at_rarely_is_not_unknown_between_two_looks() {
        assert_eq!(parse(&[]).unwrap().intervals(), SweepIntervals::default());
        for flag in ["--sweep-interval=10m", "--network-sweep-interval=10m"] {
            let intervals = parse(&[flag]).unwrap().intervals();
            assert_eq!(intervals.stale_after, Duration::from_mins(30), "{flag}");
        }
    }

    #[test]
    fn bad_values_are_refused_with_what_to_write() {
        for flags in [
            ["--sweep-interval", "15"],
            ["--sweep-interval", "0s"],
            ["--call-timeout", "-5s"],
            ["--lost-record-hold", "24000h1s"],
            ["--pass-timeout", "99999999999h"],
            ["--concurrency", "0"],
            ["--concurrency", "10001"],
            ["--concurrency", "18446744073709551615"],
            ["--launch-cap-factor", "0"],
            ["--egress-cidrs", "10.0.0.1"],
            ["--egress-cidrs", "203.0.113.7/32,"],
            ["--installation", "a b"],
            ["--watch-namespace", ""],
            ["--watch-namespace", "ml/../prod"],
            ["--admin-address", "8080"],
            ["--log-format", "xml"],
            ["--log", "a=b=c"],
        ] {
            let error = parse(&[&flags.join("=")]).unwrap_err();
            assert!(
                matches!(error.kind(), ErrorKind::ValueValidation | ErrorKind::InvalidValue),
                "{flags:?}: {error}"
            );
            assert_eq!(error.exit_code(), 2);
        }
        for (flag, hint) in [
            ("--sweep-interval=15", "for example 90s"),
            ("--egress-cidrs=10.0.0.1", "for example 203.0.113.7/32"),
        ] {
            let error = parse(&[flag]).unwrap_err().to_string();
            assert!(error.contains(hint), "{error}");
        }
    }

    #[test]
    fn every_setting_has_an_environment_variable_and_a_help() {
        let command = Cli::command();
        let run = command.find_subcommand("run").unwrap();
        for argument in run
            .get_arguments()
            .filter(|argument| !matches!(argument.get_id().as_str(), "help" | "version"))
        {
            let flag = argument.get_long().unwrap();
            let expected = format!("RAYWARD_{}", flag.replace('-', "_").to_uppercase());
            assert_eq!(argument.get_env().unwrap().to_str(), Some(expected.as_str()));
            assert!(argument.get_help().is_some(), "{flag}");
        }
    }
}
