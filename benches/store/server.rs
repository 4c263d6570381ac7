//! The server under test, where it keeps its store, and what the system says of both.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use throughline::dashboard::store::Location;

use super::common::postgres::{Database, Server as Postgres};

/// Where the store is.
pub enum Place {
    Sqlite { file: PathBuf, _folder: Option<tempfile::TempDir> },
    Postgres { server: Arc<Postgres>, database: Database },
}

impl Place {
    /// A new one: `sqlite`, or `postgres` on a server of its own; or a file of SQLite's.
    pub async fn new(engine: &str, file: Option<PathBuf>) -> Self {
        if engine == "postgres" {
            let server = Postgres::own().await;
            let database = server.database().await;
            return Self::Postgres { server, database };
        }
        if let Some(file) = file {
            return Self::Sqlite { file, _folder: None };
        }
        let folder = tempfile::tempdir().expect("a folder");
        Self::Sqlite { file: folder.path().join("bench.db"), _folder: Some(folder) }
    }

    pub fn engine(&self) -> &'static str {
        match self {
            Self::Sqlite { .. } => "sqlite",
            Self::Postgres { .. } => "postgres",
        }
    }

    /// As `--store` takes it.
    pub fn url(&self) -> String {
        match self {
            Self::Sqlite { file, .. } => format!("sqlite://{}", file.display()),
            Self::Postgres { database, .. } => database.url(),
        }
    }

    pub fn location(&self) -> Location {
        self.url().parse().expect("the place of a store")
    }

    /// Bytes of the files.
    pub fn disk(&self) -> u64 {
        match self {
            Self::Sqlite { file, .. } => files(file.parent().expect("a folder")),
            Self::Postgres { server, .. } => files(&server.socket().join("base")),
        }
    }

    /// CPU seconds of the database's processes.
    fn cpu_s(&self) -> f64 {
        match self {
            Self::Sqlite { .. } => 0.0,
            Self::Postgres { server, .. } => family(&server.socket()).into_iter().map(cpu_s).sum(),
        }
    }
}

/// The processes of the server whose data lies in a folder.
fn family(data: &Path) -> Vec<u32> {
    let pid = std::fs::read_to_string(data.join("postmaster.pid")).expect("it runs");
    let first: u32 = pid.lines().next().and_then(|line| line.trim().parse().ok()).expect("a number");
    let children =
        std::fs::read_to_string(format!("/proc/{first}/task/{first}/children")).unwrap_or_default();
    std::iter::once(first).chain(children.split_whitespace().filter_map(|pid| pid.parse().ok())).collect()
}

/// Bytes of a folder's files, those in folders among them, but for the room that is kept for a full disk.
fn files(folder: &Path) -> u64 {
    let entries = std::fs::read_dir(folder).expect("the folder");
    let size = |path: PathBuf| match path.metadata() {
        _ if path.extension().is_some_and(|extension| extension == "ballast") => 0,
        Ok(found) if found.is_dir() => files(&path),
        Ok(found) => found.len(),
        Err(_) => 0,
    };
    entries.flatten().map(|entry| size(entry.path())).sum()
}

/// CPU seconds of a process, of all its threads and of the children that it has waited for; none where it is gone.
fn cpu_s(pid: u32) -> f64 {
    let Ok(stat) = std::fs::read_to_string(format!("/proc/{pid}/stat")) else { return 0.0 };
    let after = stat.rsplit_once(')').expect("a name in brackets").1;
    let ticks = after.split_whitespace().skip(11).take(4).map(|n| n.parse::<u64>().expect("a number"));
    ticks.sum::<u64>() as f64 / 100.0
}

/// CPU seconds.
#[derive(Debug, Clone, Copy)]
pub struct Cpu {
    pub server: f64,
    pub database: f64,
}

impl Cpu {
    pub fn all(self) -> f64 {
        self.server + self.database
    }
}

impl std::ops::Sub for Cpu {
    type Output = Self;

    fn sub(self, before: Self) -> Self {
        Self { server: self.server - before.server, database: self.database - before.database }
    }
}

/// The server.
pub struct Server<'a> {
    place: &'a Place,
    process: Child,
    pub pages: String,
    pub grpc: String,
}

impl<'a> Server<'a> {
    pub fn start(place: &'a Place) -> Self {
        let mut process = Command::new(env!("CARGO_BIN_EXE_throughline"))
            .args(["dashboard", "--listen", "127.0.0.1:0", "--otlp-grpc", "127.0.0.1:0"])
            .args(["--otlp-http", "127.0.0.1:0", "--store", &place.url()])
            .stderr(Stdio::piped())
            .spawn()
            .expect("the server starts");
        let (mut pages, mut grpc) = (String::new(), String::new());
        let mut lines = BufReader::new(process.stderr.take().expect("piped")).lines();
        while pages.is_empty() || grpc.is_empty() {
            let line = lines.next().expect("the server says where it listens").expect("text");
            if let Some((_, address)) = line.split_once("pages on ") {
                pages = address.trim().to_owned();
            } else if let Some((_, address)) = line.split_once("OTLP over gRPC on ") {
                grpc = format!("http://{}", address.trim());
            }
        }
        std::thread::spawn(move || lines.for_each(drop));
        Self { place, process, pages, grpc }
    }

    /// Waits until it takes requests.
    pub async fn ready(&self) {
        for _ in 0..6_000 {
            if reqwest::get(format!("{}/readyz", self.pages)).await.is_ok_and(|it| it.status().is_success()) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("the server is not ready after a minute");
    }

    /// Ends it as an operator does.
    pub fn stop(mut self) {
        let pid = rustix::process::Pid::from_child(&self.process);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).expect("it runs");
        assert!(self.process.wait().expect("it ends").success(), "it ends well");
    }

    pub fn cpu_s(&self) -> Cpu {
        Cpu { server: cpu_s(self.process.id()), database: self.place.cpu_s() }
    }

    pub fn rss_mb(&self) -> f64 {
        self.status("VmRSS:")
    }

    pub fn most_rss_mb(&self) -> f64 {
        self.status("VmHWM:")
    }

    fn status(&self, name: &str) -> f64 {
        let status =
            std::fs::read_to_string(format!("/proc/{}/status", self.process.id())).expect("a Linux system");
        let line = status.lines().find(|line| line.starts_with(name)).expect("a size");
        line.split_whitespace().nth(1).expect("a number").parse::<f64>().expect("a number") / 1024.0
    }
}

impl Drop for Server<'_> {
    fn drop(&mut self) {
        // The bench is over either way; a server that ended by itself is no concern.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
