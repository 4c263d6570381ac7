//! Runs the programs of `examples/` and holds what they print.

use std::path::PathBuf;
use std::process::Command;

/// What `examples/messages.rs` says, whatever its broker.
pub const MESSAGES: [&str; 6] = [
    "3 messages wait",
    "0 messages wait",
    "booked 250 EUR: new",
    "booked 250 EUR: was there",
    "/currency",
    "in the ledger: 1240 cents",
];

/// Where cargo has put an example: beside the folder of this test's own file.
fn program(name: &str) -> PathBuf {
    let test = std::env::current_exe().expect("this test's file");
    let folder = test.parent().and_then(|deps| deps.parent()).expect("the folder of the profile");
    let program = folder.join("examples").join(name);
    assert!(program.exists(), "{} is not built: cargo build --examples", program.display());
    program
}

/// That an example, run in a folder of its own, ends well and prints these texts, one after the other.
pub fn says(name: &str, arguments: &[&str], texts: &[&str]) {
    let folder = tempfile::tempdir().expect("a folder");
    let ran = Command::new(program(name)).args(arguments).current_dir(folder.path()).output();
    let ran = ran.expect("it runs");
    assert!(ran.status.success(), "{name}: {}\n{}", ran.status, String::from_utf8_lossy(&ran.stderr));
    let printed = String::from_utf8(ran.stdout).expect("text");
    let mut rest = printed.as_str();
    for text in texts {
        let found = rest.find(text);
        rest = &rest[found.unwrap_or_else(|| panic!("{name} does not say `{text}` in\n{printed}"))..];
    }
}
