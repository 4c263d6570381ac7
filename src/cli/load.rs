//! `throughline load`: traces of a system that is not there, put on a receiver.

use std::io::IsTerminal as _;

use crate::comms::shutdown;
use crate::config::load::LoadSettings;
use crate::load;

/// Sends made-up but believable traces to an OTLP receiver, and tells what became of them
///
/// The traces are those of a shop whose services call each other over HTTP and gRPC, ask databases and send
/// messages; some of them fail. By default they go to `throughline dashboard` on this machine:
///
///   throughline load --rate 5000 --duration 1m
///
/// It ends with a table of what was sent, acknowledged and refused, and with exit code 1 where something was not
/// acknowledged. Ctrl-C ends it early with the same table.
#[derive(clap::Args, Debug)]
pub struct Args {
    #[command(flatten)]
    settings: LoadSettings,

    /// Print the result as a JSON object
    #[arg(long)]
    json: bool,
}

/// Runs the load until it is through or the process is asked to end.
///
/// # Errors
/// There is no receiver, or it did not acknowledge all.
pub async fn run(args: Args) -> anyhow::Result<()> {
    let settings = args.settings.settings()?;
    let ending = shutdown::wait(false);
    let report = load::run(settings, ending.token(), std::io::stderr().is_terminal()).await?;
    if args.json {
        println!("{}", serde_json::to_string(&report)?);
    } else {
        print!("{report}");
    }
    let lost = report.lost();
    anyhow::ensure!(lost == 0, "{lost} of what was sent was not acknowledged");
    Ok(())
}
