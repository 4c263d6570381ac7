//! The command line: one file a command, each a thin caller of the rooms below.
//!
//! What must not live here: anything that a test could want without a process.

pub mod demo;
pub mod service;

use std::process::ExitCode;

use clap::Parser;

#[derive(Parser)]
#[command(version, about)]
struct Line {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand)]
enum Command {
    Demo(demo::Args),
    Service(service::Args),
}

/// Parses the arguments, runs the command and gives the exit code: 0 is success, 2 wrong usage, 1 all else.
pub fn run() -> ExitCode {
    let line = Line::parse();
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("throughline: {error}");
            return ExitCode::FAILURE;
        }
    };
    let result = runtime.block_on(async {
        match line.command {
            Command::Demo(args) => demo::run(args).await,
            Command::Service(args) => service::run(args).await,
        }
    });
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("throughline: {error:#}");
            ExitCode::FAILURE
        }
    }
}
