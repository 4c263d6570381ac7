//! Real processes for tests: the built binary, foreign services, a browser. Each ends with the test, whatever comes.
#![allow(dead_code)]

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Lines remembered of what a process writes; older ones are forgotten.
const REMEMBERED: usize = 5_000;

/// The root of the repository.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A tool that tests need and that `scripts/prepare` or the system's packages bring.
///
/// # Panics
/// It is not there; the message says what to install.
pub fn tool(path: PathBuf, how: &str) -> PathBuf {
    assert!(path.exists(), "{} is missing: {how}", path.display());
    path
}

/// What a process has written, and whether it may still write.
#[derive(Default)]
struct Written {
    lines: VecDeque<String>,
    open: usize,
}

/// A child process in a group of its own, whose output is read line by line.
pub struct Process {
    name: String,
    child: Child,
    written: Arc<(Mutex<Written>, Condvar)>,
    readers: Vec<JoinHandle<()>>,
}

impl Process {
    /// Starts it with its output read.
    pub fn start(name: &str, command: &mut Command) -> Self {
        let command = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.process_group(0).spawn().unwrap_or_else(|error| panic!("{name}: {error}"));
        let written = Arc::new((Mutex::new(Written { open: 2, ..Default::default() }), Condvar::new()));
        let outputs: [Box<dyn Read + Send>; 2] = [
            Box::new(child.stdout.take().expect("stdout is piped")),
            Box::new(child.stderr.take().expect("stderr is piped")),
        ];
        let readers = outputs.map(|output| {
            let written = written.clone();
            std::thread::spawn(move || read(output, &written))
        });
        Self { name: name.into(), child, written, readers: readers.into() }
    }

    /// Its process ID.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Waits for a line with `what` in it and gives what comes after.
    pub fn told(&self, what: &str, seconds: u64) -> String {
        let (written, changed) = &*self.written;
        let deadline = Instant::now() + Duration::from_secs(seconds);
        let mut state = written.lock().expect("no reader panics");
        loop {
            if let Some((_, rest)) = state.lines.iter().find_map(|line| line.split_once(what)) {
                return rest.trim().to_owned();
            }
            let left = deadline.saturating_duration_since(Instant::now());
            assert!(
                state.open > 0 && !left.is_zero(),
                "{} did not say {what:?}; it said:\n{}",
                self.name,
                state.lines.iter().map(String::as_str).collect::<Vec<_>>().join("\n")
            );
            state = changed.wait_timeout(state, left).expect("no reader panics").0;
        }
    }

    /// All that it has written.
    pub fn output(&self) -> String {
        let state = self.written.0.lock().expect("no reader panics");
        state.lines.iter().map(String::as_str).collect::<Vec<_>>().join("\n")
    }

    /// Waits for its end and gives its exit code; `None` where a signal ended it.
    pub fn ended(&mut self, seconds: u64) -> Option<i32> {
        let deadline = Instant::now() + Duration::from_secs(seconds);
        loop {
            if let Some(status) = self.child.try_wait().expect("it is our child") {
                self.readers.drain(..).for_each(|reader| reader.join().expect("no reader panics"));
                return status.code();
            }
            assert!(
                Instant::now() < deadline,
                "{} did not end in {seconds} s:\n{}",
                self.name,
                self.output()
            );
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Asks it to end as an operator would, and gives its exit code.
    pub fn terminate(&mut self, seconds: u64) -> Option<i32> {
        self.signal("-TERM", &self.child.id().to_string());
        self.ended(seconds)
    }

    fn signal(&self, signal: &str, whom: &str) {
        let sent = Command::new("kill").args([signal, "--", whom]).stderr(Stdio::null()).status();
        assert!(sent.is_ok(), "`kill` is there on every Unix");
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            // The whole group: a browser has children of its own.
            let _ = Command::new("kill").args(["-KILL", "--", &format!("-{}", self.child.id())]).status();
            let _ = self.child.wait();
        }
    }
}

fn read(output: impl Read, written: &(Mutex<Written>, Condvar)) {
    for line in BufReader::new(output).split(b'\n').map_while(Result::ok) {
        let mut state = written.0.lock().expect("no reader panics");
        if state.lines.len() == REMEMBERED {
            state.lines.pop_front();
        }
        state.lines.push_back(String::from_utf8_lossy(&line).into_owned());
        written.1.notify_all();
    }
    written.0.lock().expect("no reader panics").open -= 1;
    written.1.notify_all();
}

/// `throughline dashboard` with a store of its own.
pub struct Dashboard {
    pub process: Process,
    /// Address of the pages, with `http://`.
    pub pages: String,
    /// Address of OTLP over gRPC, without a scheme.
    pub grpc: String,
    /// Address of OTLP over HTTP, without a scheme.
    pub http: String,
}

impl Dashboard {
    /// Starts it on free ports, its store in `folder`.
    pub fn start(folder: &Path) -> Self {
        Self::with(folder, &[])
    }

    /// Starts it on free ports with further arguments.
    pub fn with(folder: &Path, arguments: &[&str]) -> Self {
        Self::spawn(folder, ["127.0.0.1:0"; 3], arguments)
    }

    /// Starts it at addresses.
    pub fn at(folder: &Path, listen: &str, grpc: &str, http: &str) -> Self {
        Self::spawn(folder, [listen, grpc, http], &[])
    }

    fn spawn(folder: &Path, [listen, grpc, http]: [&str; 3], arguments: &[&str]) -> Self {
        let store = format!("sqlite://{}", folder.join("store.db").display());
        let process = Process::start(
            "the dashboard",
            Command::new(env!("CARGO_BIN_EXE_throughline"))
                .current_dir(folder)
                .args(["dashboard", "--listen", listen, "--otlp-grpc", grpc, "--otlp-http", http])
                .args(["--store", &store])
                .args(arguments),
        );
        let pages = process.told("pages on ", 30);
        let grpc = process.told("OTLP over gRPC on ", 30);
        let http = process.told("OTLP over HTTP on ", 30);
        Self { process, pages, grpc, http }
    }
}
