//! The command line: one file a command, each a thin caller of the rooms below.
//!
//! What must not live here: anything that a test could want without a process.

pub mod certs;
pub mod dashboard;
pub mod demo;
pub mod load;
mod logs;
mod progress;
pub mod service;
pub mod store;

use std::process::ExitCode;

use clap::Parser;

/// Follow one request through every service, call, message and breaker that it touched.
#[derive(Parser)]
#[command(version, about, propagate_version = true)]
struct Line {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand)]
enum Command {
    Dashboard(Box<dashboard::Args>),
    Demo(Box<demo::Args>),
    Service(Box<service::Args>),
    Load(Box<load::Args>),
    Store(Box<store::Args>),
    Certs(Box<certs::Args>),
}

/// Parses the arguments, runs the command and gives the exit code: 0 is success, 2 wrong usage, 1 all else.
pub fn run() -> ExitCode {
    let line = Line::parse();
    let result = tokio::runtime::Runtime::new().map_err(anyhow::Error::from).and_then(|runtime| {
        runtime.block_on(async {
            match line.command {
                Command::Dashboard(args) => dashboard::run(*args).await,
                Command::Demo(args) => demo::run(*args).await,
                Command::Service(args) => service::run(*args).await,
                Command::Load(args) => load::run(*args).await,
                Command::Store(args) => store::run(*args).await,
                Command::Certs(args) => certs::run(&args),
            }
        })
    });
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("throughline: {error:#}");
            ExitCode::FAILURE
        }
    }
}
