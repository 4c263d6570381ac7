//! `throughline demo`: the dashboard, the demo shop and load on it, all as child processes.

use crate::config::demo::DemoSettings;
use crate::demo::supervisor;

/// Starts the dashboard and the demo shop, and puts load on it
#[derive(clap::Args, Debug)]
pub struct Args {
    #[command(flatten)]
    pub settings: DemoSettings,
}

/// Runs all of it until the process is asked to end.
///
/// # Errors
/// A port is in use, or a child does not start.
pub async fn run(args: Args) -> anyhow::Result<()> {
    supervisor::run(args.settings).await
}
