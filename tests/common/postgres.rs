//! A real PostgreSQL for tests: a server of their own on a socket in a temporary folder, a database for each test.
//!
//! One server serves all tests of a binary that run at the same time; the last that lets go of it ends it. A server of a
//! test's own may listen on loopback too, with TLS under a certificate that the test makes.

use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::time::{Duration, Instant};

use sqlx::{AssertSqlSafe, Connection as _, PgConnection};

const HOW: &str = "install it (Debian: apt-get install postgresql)";
static SHARED: Mutex<Weak<Server>> = Mutex::new(Weak::new());
static NUMBER: AtomicU32 = AtomicU32::new(1);

/// A server, ended when it is dropped.
pub struct Server {
    folder: tempfile::TempDir,
    child: Mutex<Option<Child>>,
    tcp: Option<Tcp>,
    /// MiB of a disk of its own beside its data.
    disk: Option<u64>,
}

/// How a server listens on loopback.
#[derive(Clone, Copy)]
struct Tcp {
    port: u16,
    tls: bool,
}

/// A program of PostgreSQL: on the path, or where Debian keeps it, the newest version.
///
/// # Panics
/// There is none: a test that is left out would look like one that passed.
fn program(name: &str) -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut found: Vec<PathBuf> = std::env::split_paths(&path).map(|folder| folder.join(name)).collect();
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let mut versions: Vec<PathBuf> = versions.map(|entry| entry.path()).collect();
    versions.sort_by_key(|path| {
        let version = path.file_name().and_then(|name| name.to_str()?.parse::<u32>().ok());
        std::cmp::Reverse(version.unwrap_or(0))
    });
    found.extend(versions.into_iter().map(|version| version.join("bin").join(name)));
    let first = found.into_iter().find(|path| path.is_file());
    first.unwrap_or_else(|| panic!("PostgreSQL's {name} is missing: {HOW}"))
}

/// A number that `id` tells.
fn id(arguments: &[&str]) -> Option<u32> {
    let output = Command::new("id").args(arguments).output().ok()?;
    String::from_utf8_lossy(&output.stdout).trim().parse().ok()
}

/// The user that the server runs as, where we are root: it refuses to run as that.
fn other_user() -> Option<(u32, u32)> {
    if id(&["-u"])? != 0 {
        return None;
    }
    let user = ["postgres", "nobody"].into_iter().find(|user| id(&["-u", user]).is_some())?;
    Some((id(&["-u", user])?, id(&["-g", user])?))
}

/// A program of a server with a small disk: it alone sees the disk, which ends with it. `unshare` of util-linux lets it
/// mount one as root of its own world, and be somebody else afterwards, since the server refuses to run as root.
fn command_beside(disk: &Path, mib: u64, name: &str) -> Command {
    let mut command = Command::new("unshare");
    let mount = format!("mount -t tmpfs -o size={mib}m none {} && exec \"$@\"", disk.display());
    command.args(["-rm", "sh", "-c", &mount, "sh", "unshare", "-U", "--map-user=1000", "--map-group=1000"]);
    command.arg("--").arg(program(name));
    command.current_dir("/").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command
}

fn command(name: &str) -> Command {
    let mut command = Command::new(program(name));
    if let Some((user, group)) = other_user() {
        command.uid(user).gid(group);
    }
    command.current_dir("/").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command
}

impl Server {
    /// The server that the tests of this binary share.
    pub async fn shared() -> Arc<Self> {
        let (server, is_new) = {
            let mut shared = SHARED.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
            match shared.upgrade() {
                Some(server) => (server, false),
                None => {
                    let server = Arc::new(Self::make(None, None));
                    *shared = Arc::downgrade(&server);
                    (server, true)
                }
            }
        };
        if is_new {
            server.start().await;
        }
        server.ready().await;
        server
    }

    /// A server for one test that does it harm.
    pub async fn own() -> Arc<Self> {
        let server = Self::make(None, None);
        server.start().await;
        Arc::new(server)
    }

    /// The same, with a disk of some MiB for [`Server::database_on_its_disk`]. What is on it ends with the server.
    pub async fn own_with_disk(mib: u64) -> Arc<Self> {
        let server = Self::make(None, Some(mib));
        server.start().await;
        Arc::new(server)
    }

    /// The same, on a port of loopback too; with `tls` nobody is let in there without.
    pub async fn own_on_tcp(tls: bool) -> Arc<Self> {
        let free = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = free.local_addr().expect("it is bound").port();
        drop(free);
        let server = Self::make(Some(Tcp { port, tls }), None);
        server.start().await;
        Arc::new(server)
    }

    fn make(tcp: Option<Tcp>, disk: Option<u64>) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let data = folder.path().join("data");
        std::fs::create_dir(&data).expect("a folder");
        std::fs::create_dir(folder.path().join("disk")).expect("a folder");
        std::fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o755)).expect("it is ours");
        std::fs::set_permissions(&data, PermissionsExt::from_mode(0o700)).expect("it is ours");
        if let Some((user, group)) = other_user().filter(|_| disk.is_none()) {
            chown(&data, Some(user), Some(group)).expect("we are root");
        }
        let server = Self { folder, child: Mutex::new(None), tcp, disk };
        let made = server
            .command("initdb")
            .args(["--auth=trust", "--username=admin", "--encoding=UTF8", "--no-locale", "--no-sync", "-D"])
            .arg(&data)
            .stderr(Stdio::piped())
            .output()
            .expect("initdb runs");
        assert!(made.status.success(), "initdb: {}", String::from_utf8_lossy(&made.stderr));
        // `guarded` needs a password; all others are let in.
        let host = if tcp.is_some_and(|tcp| tcp.tls) { "hostssl" } else { "host" };
        let who = format!(
            "local all guarded scram-sha-256\nlocal all all trust\n\
             {host} all guarded 127.0.0.1/32 scram-sha-256\n{host} all all 127.0.0.1/32 trust\n"
        );
        std::fs::write(data.join("pg_hba.conf"), who).expect("it is ours");
        if tcp.is_some_and(|tcp| tcp.tls) {
            server.certify();
        }
        server
    }

    fn command(&self, name: &str) -> Command {
        match self.disk {
            Some(mib) => command_beside(&self.folder.path().join("disk"), mib, name),
            None => command(name),
        }
    }

    /// Makes an authority and, signed by it, the server's certificate for the name `localhost`.
    fn certify(&self) {
        let folder = self.folder.path();
        let openssl = |arguments: &str| {
            let made = Command::new("openssl").args(arguments.split(' ')).current_dir(folder).output();
            let made = made.unwrap_or_else(|error| panic!("openssl: {error}; install it (Debian: openssl)"));
            assert!(made.status.success(), "openssl {arguments}: {}", String::from_utf8_lossy(&made.stderr));
        };
        let key = "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes";
        for name in ["authority", "stranger"] {
            openssl(&format!("req -x509 {key} -days 2 -subj /CN={name} -keyout {name}.key -out {name}.crt"));
        }
        openssl(&format!(
            "req {key} -subj /CN=localhost -addext subjectAltName=DNS:localhost -keyout data/server.key -out server.csr"
        ));
        openssl(
            "x509 -req -in server.csr -CA authority.crt -CAkey authority.key -CAcreateserial -days 2 \
             -copy_extensions copy -out data/server.crt",
        );
        let key = folder.join("data/server.key");
        std::fs::set_permissions(&key, PermissionsExt::from_mode(0o600)).expect("it is ours");
        if let Some((user, group)) = other_user() {
            chown(&key, Some(user), Some(group)).expect("we are root");
        }
    }

    /// The certificate of an authority: `authority` signed the server's, `stranger` did not.
    pub fn certificate(&self, of: &str) -> PathBuf {
        self.folder.path().join(format!("{of}.crt"))
    }

    /// Starts it, again after an end of any kind.
    pub async fn start(&self) {
        let data = self.folder.path().join("data");
        let deadline = Instant::now() + Duration::from_secs(30);
        loop {
            let log = std::fs::File::options().create(true).append(true).open(self.log()).expect("a file");
            let listen = match self.tcp {
                None => vec!["listen_addresses=".to_owned()],
                Some(Tcp { port, tls }) => vec![
                    "listen_addresses=127.0.0.1".to_owned(),
                    format!("port={port}"),
                    format!("ssl={}", if tls { "on" } else { "off" }),
                ],
            };
            let child = self
                .command("postgres")
                .arg("-D")
                .arg(&data)
                .arg("-k")
                .arg(&data)
                .args(["-c", "fsync=on", "-c", "max_connections=80"])
                // What was removed makes room once it was looked after, by default a minute later.
                .args(if self.disk.is_some() {
                    &["-c", "autovacuum_naptime=1s", "-c", "log_autovacuum_min_duration=0"][..]
                } else {
                    &[]
                })
                .args(listen.iter().flat_map(|setting| ["-c", setting]))
                .stderr(log)
                .spawn()
                .expect("postgres starts");
            *self.child.lock().expect("no holder panics") = Some(child);
            // After a hard end it may refuse until the last of its former processes has noticed.
            while self.is_running() && Instant::now() < deadline {
                if let Ok(connection) = PgConnection::connect(&self.url("postgres")).await {
                    connection.close().await.expect("it closes");
                    return;
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            let log = std::fs::read_to_string(self.log()).unwrap_or_default();
            assert!(Instant::now() < deadline, "PostgreSQL does not start:\n{log}");
        }
    }

    async fn ready(&self) {
        super::eventually("PostgreSQL answers", 30, async || {
            PgConnection::connect(&self.url("postgres")).await.ok().map(drop)
        })
        .await;
    }

    fn log(&self) -> PathBuf {
        self.folder.path().join("log")
    }

    /// The lines of its log that begin an entry or name its place; of those that differ in time alone the last.
    fn said(&self) -> Vec<String> {
        let log = std::fs::read_to_string(self.log()).unwrap_or_default();
        let mut seen = std::collections::HashSet::new();
        let told = log.lines().rev().filter(|line| !line.contains("STATEMENT:"));
        let told = told.filter_map(|line| line.split_once("] ").map(|(_, words)| (line, words)));
        let mut lines: Vec<String> =
            told.filter(|(_, words)| seen.insert(*words)).map(|(line, _)| line.to_owned()).take(60).collect();
        lines.reverse();
        lines
    }

    fn is_running(&self) -> bool {
        let mut child = self.child.lock().expect("no holder panics");
        child.as_mut().is_some_and(|child| matches!(child.try_wait(), Ok(None)))
    }

    /// Its socket's folder.
    pub fn socket(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// The address of a database, over the socket.
    pub fn url(&self, database: &str) -> String {
        let port = self.tcp.map_or(String::new(), |tcp| format!(":{}", tcp.port));
        format!("postgres://admin@localhost{port}/{database}?host={}", self.socket().display())
    }

    /// Its port on loopback.
    pub fn port(&self) -> u16 {
        self.tcp.expect("it listens on loopback").port
    }

    /// Ends it in an instant, as a power cut would.
    pub fn kill(&self) {
        self.end("-KILL");
    }

    /// Ends it as an operator does who does not wait for its clients.
    pub fn stop(&self) {
        self.end("-INT");
    }

    fn end(&self, signal: &str) {
        let Some(mut child) = self.child.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).take()
        else {
            return;
        };
        let sent = Command::new("kill").args([signal, &child.id().to_string()]).status();
        assert!(sent.is_ok(), "`kill` is there on every Unix");
        child.wait().expect("it is our child");
    }

    /// Makes an empty database.
    pub async fn database(self: &Arc<Self>) -> Database {
        self.make_database("").await
    }

    /// The same on the server's small disk.
    pub async fn database_on_its_disk(self: &Arc<Self>) -> Database {
        let disk = self.folder.path().join("disk");
        self.run(format!("CREATE TABLESPACE small LOCATION '{}'", disk.display())).await;
        self.make_database("TABLESPACE small").await
    }

    async fn make_database(self: &Arc<Self>, place: &str) -> Database {
        let name = format!("test_{}", NUMBER.fetch_add(1, Ordering::Relaxed));
        self.run(format!("CREATE DATABASE {name} {place}")).await;
        Database { server: self.clone(), name, over: None }
    }

    async fn run(&self, statement: String) {
        let mut connection = PgConnection::connect(&self.url("postgres")).await.expect("it runs");
        sqlx::query(AssertSqlSafe(statement)).execute(&mut connection).await.expect("it is done");
        connection.close().await.expect("it closes");
    }

    /// Its small disk, as it sees it.
    pub fn disk(&self) -> PathBuf {
        let child = self.child.lock().expect("no holder panics");
        let id = child.as_ref().expect("it runs").id();
        PathBuf::from(format!("/proc/{id}/root{}", self.folder.path().join("disk").display()))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("What PostgreSQL said, the last time of each:\n{}", self.said().join("\n"));
        }
        self.end("-INT");
    }
}

/// A database of a test's own.
pub struct Database {
    pub server: Arc<Server>,
    pub name: String,
    /// Host, port and parameters where it is to be reached over TCP.
    over: Option<(String, u16, String)>,
}

impl Database {
    /// The same, reached over TCP at a host and port with parameters such as `sslmode=disable`.
    pub fn over_tcp(self, host: &str, port: u16, parameters: &str) -> Self {
        Self { over: Some((host.to_owned(), port, parameters.to_owned())), ..self }
    }

    /// Its address.
    pub fn url(&self) -> String {
        match &self.over {
            None => self.server.url(&self.name),
            Some((host, port, parameters)) => {
                format!("postgres://admin@{host}:{port}/{}?{parameters}", self.name)
            }
        }
    }

    /// A connection, as another program has it: over the socket.
    pub async fn connect(&self) -> PgConnection {
        PgConnection::connect(&self.server.url(&self.name)).await.expect("it runs")
    }

    /// Runs statements, as another program could.
    pub async fn run(&self, statements: &str) {
        let mut connection = self.connect().await;
        sqlx::raw_sql(AssertSqlSafe(statements)).execute(&mut connection).await.expect("they run");
        connection.close().await.expect("it closes");
    }
}
