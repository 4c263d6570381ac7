//! `throughline store …`: what can be done with a store while no dashboard runs on it.

use std::io::{IsTerminal as _, Write as _};

use crate::config::store::StoreSettings;
use crate::dashboard::store::check::{Checked, check};

/// Looks after a store
#[derive(clap::Args, Debug)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand, Debug)]
enum Command {
    /// Reads all of a store and names what cannot be read; changes nothing
    ///
    /// Ends with exit code 1 where something cannot be read. End the dashboard first where the store is a SQLite file.
    Check(StoreSettings),
}

/// Runs the command.
///
/// # Errors
/// The store cannot be opened, or something in it cannot be read.
pub async fn run(args: Args) -> anyhow::Result<()> {
    match args.command {
        Command::Check(settings) => {
            let shown = std::io::stderr().is_terminal();
            let progress = |done: u64, all: u64| {
                if shown {
                    eprint!("\r{:>3} %", done * 100 / all.max(1));
                    // A progress that cannot be shown is no reason to stop.
                    let _ = std::io::stderr().flush();
                }
            };
            let checked = check(&settings.store, progress).await?;
            if shown {
                eprintln!();
            }
            report(&checked)
        }
    }
}

fn report(checked: &Checked) -> anyhow::Result<()> {
    let Checked { runs, blocks, spans, logs, samples, troubles, trouble_count } = checked;
    println!(
        "{spans} spans, {logs} logs and {samples} samples of metrics in {blocks} blocks; {runs} sealed runs"
    );
    if *trouble_count == 0 {
        println!("All of it can be read.");
        return Ok(());
    }
    troubles.iter().for_each(|trouble| println!("  {trouble}"));
    let more = trouble_count - troubles.len() as u64;
    if more > 0 {
        println!("  and {more} more");
    }
    anyhow::bail!(
        "{trouble_count} things in the store cannot be read; everything else can, and the dashboard leaves them out"
    )
}
