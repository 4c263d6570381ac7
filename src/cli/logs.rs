//! The process's own logs: structured, to stderr, so that results on stdout stay clean.

use std::io::IsTerminal;

use anyhow::Context;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::time::SystemTime;

use crate::config::dashboard::{LogFormat, LogSettings};

/// Begins to log.
pub fn init(settings: &LogSettings) -> anyhow::Result<()> {
    let filter = EnvFilter::try_new(&settings.filter).with_context(|| {
        format!("--log {:?} is no filter; use a level such as info or debug", settings.filter)
    })?;
    // It writes all of a message that a broker returned, body and secrets too.
    let filter = filter.add_directive("lapin::returned_messages=off".parse()?);
    let logs = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_timer(SystemTime);
    match settings.log_format {
        LogFormat::Text => logs.with_target(false).init(),
        LogFormat::Json => logs.json().flatten_event(true).init(),
    }
    Ok(())
}
