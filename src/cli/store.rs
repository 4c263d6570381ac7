//! `throughline store …`: what can be done with a store beside the dashboard.

use super::progress::Bar;
use crate::comms::shutdown;
use crate::config::store::{CompactSettings, CopySettings, StoreSettings};
use crate::dashboard::store::check::{Checked, check};
use crate::dashboard::store::compact::{Compacted, compact};
use crate::dashboard::store::copy::{Copied, copy};

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
    /// Packs what is sealed tightly, and gives the space back
    ///
    /// Nothing but the size changes. It may be interrupted: the same command goes on where it stopped, and later ones do
    /// what has come since. End the dashboard first where the store is a SQLite file; the file is written anew at the end
    /// where there is room for a second copy of it.
    Compact(CompactSettings),
    /// Copies a store to an empty place, between SQLite and PostgreSQL in either direction
    ///
    /// Every block and index is copied as it is, and counted on both sides at the end. It may be interrupted: the same
    /// command goes on where it stopped, and until it is done no dashboard opens the copy. End the dashboard first where
    /// the source is a SQLite file; a PostgreSQL source may be in use, and is copied up to where it is when the copy
    /// ends. Prefer the variables where there is a password.
    Copy(CopySettings),
}

/// Runs the command.
///
/// # Errors
/// The store cannot be opened, or the work could not be done.
pub async fn run(args: Args) -> anyhow::Result<()> {
    let mut bar = Bar::new();
    match args.command {
        Command::Check(settings) => {
            let checked = check(&settings.store, |done, all| bar.at(done, all)).await;
            bar.end();
            report(&checked?)
        }
        Command::Compact(settings) => {
            let done = interruptible(compact(&settings.store.store, |done, all| bar.at(done, all))).await;
            bar.end();
            report_compact(&done??, settings.json);
            Ok(())
        }
        Command::Copy(settings) => {
            let copied =
                interruptible(copy(&settings.from, &settings.to, |done, all| bar.at(done, all))).await;
            bar.end();
            report_copy(&copied??, settings.json);
            Ok(())
        }
    }
}

/// Does work that may be interrupted and goes on with the next call.
async fn interruptible<T>(work: impl Future<Output = T>) -> anyhow::Result<T> {
    tokio::select! {
        done = work => Ok(done),
        why = shutdown::requested(false) => {
            anyhow::bail!("{}; the same command goes on where this one stopped", why?)
        }
    }
}

fn report_copy(copied: &Copied, json: bool) {
    let Copied { from, to, counts, runs_before } = copied;
    if json {
        let tables: serde_json::Map<_, _> = copied
            .tables()
            .map(|(name, count)| {
                (name.to_owned(), serde_json::json!({ "rows": count.rows, "bytes": count.bytes }))
            })
            .collect();
        let line = serde_json::json!({
            "from": from, "to": to, "runs": counts.runs, "runs_before": runs_before, "tables": tables,
            "bytes": counts.bytes(), "equal": true,
        });
        println!("{line}");
        return;
    }
    println!("{from} is copied to {to}: {} sealed runs, {} bytes", counts.runs, counts.bytes());
    if *runs_before > 0 {
        println!("  {runs_before} runs were there from before");
    }
    for (name, count) in copied.tables() {
        println!("  {name}: {} rows, {} bytes", count.rows, count.bytes);
    }
    println!("Both sides were counted, run by run, and are equal.");
}

fn report_compact(done: &Compacted, json: bool) {
    let Compacted { location, runs, rows, before, after, given_back } = done;
    if json {
        let line = serde_json::json!({
            "store": location, "runs": runs, "rows": rows, "bytes_before": before, "bytes_after": after,
            "given_back": given_back,
        });
        println!("{line}");
        return;
    }
    println!("{location}: {before} bytes became {after}; {rows} rows of {runs} sealed runs are smaller");
    if !given_back {
        println!(
            "PostgreSQL uses the space for what comes. To give it back to the system, an administrator runs \
             VACUUM FULL throughline.block, throughline.run_page, throughline.run_chunk, which locks them meanwhile."
        );
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
