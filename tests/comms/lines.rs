//! What is logged in this process, at every level, by whichever library.

use std::sync::{Arc, LazyLock, Mutex};

use tracing_subscriber::layer::SubscriberExt as _;

/// One subscriber for the process: one of a thread would miss what other threads log, and tests share the process. So
/// each test looks for lines that only it can have caused, or for what no line may hold.
static LINES: LazyLock<Lines> = LazyLock::new(|| {
    let lines = Lines::default();
    let writer = lines.clone();
    let layer = tracing_subscriber::fmt::layer().with_ansi(false).with_writer(move || writer.clone());
    tracing::subscriber::set_global_default(tracing_subscriber::registry().with(layer))
        .expect("the only one");
    lines
});

#[derive(Clone, Default)]
pub struct Lines(Arc<Mutex<Vec<u8>>>);

impl Lines {
    /// Keeps what is logged from now on, if it was not kept already.
    pub fn keep() -> Self {
        LINES.clone()
    }

    /// All lines so far.
    pub fn text(&self) -> String {
        String::from_utf8(self.0.lock().expect("alive").clone()).expect("text")
    }
}

impl std::io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().expect("alive").write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
