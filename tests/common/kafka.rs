//! A real Kafka for tests: one node on loopback that is broker and controller, with its own ports and folder; a prefix
//! for each test.
//!
//! One server serves all tests of a binary and ends with the process, however that ends: a watcher holds the other end of
//! a pipe. A server of a test's own ends when it is dropped.

use std::net::{TcpListener, TcpStream};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::watcher::Watcher;
use throughline::comms::queue::kafka::Settings;

/// On a machine that many share.
const START: Duration = Duration::from_secs(120);
static SHARED: tokio::sync::OnceCell<Arc<Server>> = tokio::sync::OnceCell::const_new();
static NUMBER: AtomicU32 = AtomicU32::new(1);

pub struct Server {
    /// Its records, settings and log.
    folder: PathBuf,
    port: u16,
    /// Whether it lives as long as the process.
    is_shared: bool,
    running: Mutex<Option<Running>>,
}

struct Running {
    java: Child,
    /// Ends it when this process is gone.
    watcher: Watcher,
}

fn java(class: &str) -> Command {
    let jars = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/kafka/lib");
    assert!(jars.join(".ready").is_file(), "Kafka is missing: run scripts/prepare");
    let mut command = Command::new("java");
    // It is to start quickly, and lives for a minute.
    command.args(["-Xmx384m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xshare:auto", "-cp"]);
    command.arg(jars.join("*")).arg(class).stdin(Stdio::null());
    command
}

impl Server {
    /// The server that the tests of this binary share. It must not be harmed: see [`Self::own`].
    pub async fn shared() -> Arc<Self> {
        SHARED.get_or_init(|| Self::make(true)).await.clone()
    }

    /// A server for one test that does it harm.
    pub async fn own() -> Arc<Self> {
        Self::make(false).await
    }

    async fn make(is_shared: bool) -> Arc<Self> {
        let made = tokio::task::spawn_blocking(move || {
            let server = Self::format(is_shared);
            server.start();
            server
        });
        Arc::new(made.await.expect("Kafka starts"))
    }

    fn format(is_shared: bool) -> Self {
        let folder = tempfile::Builder::new().prefix("kafka-").tempdir().expect("a folder").keep();
        let held = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").expect("a free port"));
        let [port, controller] =
            held.each_ref().map(|listener| listener.local_addr().expect("it is bound").port());
        drop(held);
        let settings = format!(
            "process.roles=broker,controller\nnode.id=1\ncontroller.quorum.voters=1@127.0.0.1:{controller}\n\
             listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}\n\
             advertised.listeners=PLAINTEXT://127.0.0.1:{port}\ncontroller.listener.names=CONTROLLER\n\
             log.dirs={}/data\nnum.partitions=1\noffsets.topic.num.partitions=1\n\
             offsets.topic.replication.factor=1\ntransaction.state.log.replication.factor=1\n\
             transaction.state.log.min.isr=1\nshare.coordinator.state.topic.replication.factor=1\n\
             group.initial.rebalance.delay.ms=0\nauto.create.topics.enable=false\n\
             broker.session.timeout.ms=2000\nbroker.heartbeat.interval.ms=200\n",
            folder.display()
        );
        std::fs::write(folder.join("server.properties"), settings).expect("it is ours");
        let server = Self { folder, port, is_shared, running: Mutex::new(None) };
        let made = java("kafka.tools.StorageTool")
            .args(["format", "-t", "throughline-tests-00A", "-c"])
            .arg(server.folder.join("server.properties"))
            .output()
            .expect("Java is there: see scripts/prepare");
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        server
    }

    /// Starts it, again after a kill, and waits until it takes connections. Blocks.
    pub fn start(&self) {
        let log = std::fs::File::options().create(true).append(true).open(self.folder.join("log"));
        let log = log.expect("a file");
        let java = java("kafka.Kafka")
            .arg(self.folder.join("server.properties"))
            .process_group(0)
            .current_dir(&self.folder)
            .stdout(log.try_clone().expect("a file"))
            .stderr(log)
            .spawn()
            .expect("Java is there: see scripts/prepare");
        let watcher = Watcher::over(&java.id().to_string(), self.is_shared.then_some(self.folder.as_path()));
        *self.lock() = Some(Running { java, watcher });
        let deadline = Instant::now() + START;
        while TcpStream::connect(("127.0.0.1", self.port)).is_err() {
            let log = || std::fs::read_to_string(self.folder.join("log")).unwrap_or_default();
            let ended = self.lock().as_mut().is_none_or(|it| !matches!(it.java.try_wait(), Ok(None)));
            assert!(!ended, "Kafka ended at its start:\n{}", log());
            assert!(Instant::now() < deadline, "Kafka does not start:\n{}", log());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Running>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends it in an instant.
    pub fn kill(&self) {
        let Some(Running { mut java, watcher }) = self.lock().take() else { return };
        java.kill().expect("it is our child");
        java.wait().expect("it is our child");
        watcher.end();
    }

    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// A part of it that no other test sees.
    pub fn prefix(self: &Arc<Self>) -> Prefix {
        Prefix { server: Arc::clone(self), name: format!("t{}.", NUMBER.fetch_add(1, Ordering::Relaxed)) }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
        // What cannot be removed lies in the system's folder for such things.
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// The topics and groups of one test.
pub struct Prefix {
    pub server: Arc<Server>,
    pub name: String,
}

impl Prefix {
    /// Settings with one partition, so that order is kept in all.
    pub fn settings(&self) -> Settings {
        Settings {
            prefix: self.name.clone(),
            partitions: 1,
            patience: Duration::from_secs(30),
            ..Settings::new(&self.server.address(), "contract")
        }
    }
}
