//! The command line: one file a command, each a thin caller of the rooms below.
//!
//! What must not live here: anything that a test could want without a process.

use std::process::ExitCode;

/// Parses the arguments, runs the command and gives the exit code: 0 is success, 2 wrong usage, 1 all else.
pub fn run() -> ExitCode {
    ExitCode::SUCCESS
}
