//! How far long work has come, in one line on a terminal; nothing where stderr is a file or a pipe.

use std::io::{IsTerminal as _, Write as _};
use std::time::{Duration, Instant};

/// Cells of the bar.
const CELLS: u64 = 30;
/// Time between two drawings.
const EVERY: Duration = Duration::from_millis(100);

/// A bar on stderr.
pub struct Bar {
    shown: bool,
    drawn: Option<Instant>,
}

impl Bar {
    /// A bar that is drawn with the first [`Bar::at`].
    pub fn new() -> Self {
        Self { shown: std::io::stderr().is_terminal(), drawn: None }
    }

    /// Shows how many of how many are done.
    pub fn at(&mut self, done: u64, all: u64) {
        let soon = self.drawn.is_some_and(|drawn| drawn.elapsed() < EVERY);
        if !self.shown || soon && done < all {
            return;
        }
        self.drawn = Some(Instant::now());
        let all = all.max(1);
        let cells = (u128::from(done) * u128::from(CELLS) / u128::from(all)) as usize;
        let percent = u128::from(done) * 100 / u128::from(all);
        eprint!("\r{:·<1$} {percent:>3} %", "█".repeat(cells), CELLS as usize);
        // A progress that cannot be shown is no reason to stop.
        let _ = std::io::stderr().flush();
    }

    /// Leaves the line.
    pub fn end(&self) {
        if self.drawn.is_some() {
            eprintln!();
        }
    }
}
