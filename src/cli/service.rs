//! `throughline service NAME`: one service of the demo shop.

use crate::config::demo::ServiceSettings;
use crate::demo;

/// Runs one service of the demo shop
#[derive(clap::Args, Debug)]
pub struct Args {
    #[command(flatten)]
    pub settings: ServiceSettings,
}

/// Runs it until the process is asked to end.
///
/// # Errors
/// A setting is wrong, the port is in use, or the broker's file cannot be opened.
pub async fn run(args: Args) -> anyhow::Result<()> {
    demo::service::run(args.settings).await
}
