//! Ends a server that would outlive this process, however that ends: a shell holds the other end of a pipe.
#![allow(dead_code)]

use std::io::Write as _;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};

pub struct Watcher(Child);

impl Watcher {
    /// Watches over a process, or a group with a dash before its number, and a folder that goes with it.
    pub fn over(whom: &str, folder: Option<&Path>) -> Self {
        // Not the shell's own `kill`: that of some shells knows no groups.
        let watch = "read -r _ && exit; env kill -KILL -- \"$1\"; sleep 1; [ -z \"$2\" ] || rm -rf \"$2\"";
        let watcher = Command::new("sh")
            .args(["-c", watch, "sh", whom])
            .arg(folder.unwrap_or(Path::new("")))
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        Self(watcher.expect("a shell starts"))
    }

    /// There is nothing left to watch.
    pub fn end(mut self) {
        // A line tells it so.
        if let Some(mut lifeline) = self.0.stdin.take() {
            let told = lifeline.write_all(b"ended\n");
            assert!(told.is_ok(), "the watcher waits");
        }
        self.0.wait().expect("it is our child");
    }
}
