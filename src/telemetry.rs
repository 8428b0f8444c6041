//! The log: structured, on standard error, for machines or for people.

use tracing_subscriber::{EnvFilter, fmt, layer::SubscriberExt, util::SubscriberInitExt};

use crate::config::LogFormat;

/// Starts the log. Each pass is a span with the cluster and the number of the pass.
///
/// # Errors
/// When the filter cannot be read, with what is wrong in it.
pub fn start(format: LogFormat, filter: &str) -> Result<(), String> {
    let filter = EnvFilter::builder()
        .parse(filter)
        .map_err(|error| format!("--log {filter:?} cannot be read: {error}; write for example rayward=debug,warn"))?;
    let registry = tracing_subscriber::registry().with(filter);
    match format {
        LogFormat::Json => {
            let layer = fmt::layer()
                .json()
                .flatten_event(true)
                .with_span_list(false)
                .with_writer(std::io::stderr);
            registry.with(layer).init();
        }
        LogFormat::Human => {
            let layer = fmt::layer()
                .with_target(false)
                .with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr()))
                .with_writer(std::io::stderr);
            registry.with(layer).init();
        }
    }
    Ok(())
}
