//! A real RabbitMQ for tests: a node of their own on loopback, with the management plugin, its own name, ports and
//! folders; a virtual host for each test.
//!
//! One server serves all tests of a binary. It outlives each of them and ends with the process, however that ends: a
//! watcher holds the other end of a pipe. A server of a test's own ends when it is dropped.

use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::watcher::Watcher;

const HOW: &str = "install it (Debian: apt-get install --no-install-recommends rabbitmq-server)";
/// On a machine that many share.
const START: Duration = Duration::from_secs(240);
static SHARED: tokio::sync::OnceCell<Arc<Server>> = tokio::sync::OnceCell::const_new();
static NUMBER: AtomicU32 = AtomicU32::new(1);

/// A server: one node with everything that belongs to it.
pub struct Server {
    /// Its data, logs, settings and cookie.
    folder: PathBuf,
    ports: Ports,
    /// Whether it lives as long as the process.
    is_shared: bool,
    running: Mutex<Option<Running>>,
}

#[derive(Clone, Copy)]
struct Ports {
    amqp: u16,
    /// AMQP over TLS.
    amqps: u16,
    management: u16,
    /// The management API over TLS.
    sealed: u16,
    /// Between nodes, and where they ask for each other: ours alone, so that no other node of the machine is touched.
    distribution: u16,
    epmd: u16,
}

impl Ports {
    /// Free ones, all held until all are known.
    fn free() -> Self {
        let held = [(); 6].map(|()| TcpListener::bind("127.0.0.1:0").expect("a free port"));
        let [amqp, amqps, management, sealed, distribution, epmd] =
            held.each_ref().map(|listener| listener.local_addr().expect("it is bound").port());
        Self { amqp, amqps, management, sealed, distribution, epmd }
    }
}

/// A start of the server.
struct Running {
    /// The leader of a process group that holds the node and all that it starts.
    leader: Child,
    /// Ends that group when this process is gone.
    watcher: Watcher,
}

/// The program itself. Debian's `/usr/sbin/rabbitmq-server` knows two users only; the one that it calls knows any.
///
/// # Panics
/// There is none: a test that is left out would look like one that passed.
fn program(name: &str, places: &[&str]) -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let places = places.iter().map(PathBuf::from).chain(std::env::split_paths(&path));
    let found = places.map(|folder| folder.join(name)).find(|path| path.is_file());
    found.unwrap_or_else(|| panic!("RabbitMQ's {name} is missing: {HOW}"))
}

/// The user that the server runs as, where we are root.
fn other_user() -> Option<(u32, u32)> {
    let id = |arguments: &[&str]| -> Option<u32> {
        let output = Command::new("id").args(arguments).output().ok()?;
        String::from_utf8_lossy(&output.stdout).trim().parse().ok()
    };
    if id(&["-u"])? != 0 {
        return None;
    }
    let user = ["rabbitmq", "nobody"].into_iter().find(|user| id(&["-u", user]).is_some())?;
    Some((id(&["-u", user])?, id(&["-g", user])?))
}

fn signal(signal: &str, whom: &str) {
    let sent = Command::new("kill").args([signal, "--", whom]).stderr(Stdio::null()).status();
    assert!(sent.is_ok(), "`kill` is there on every Unix");
}

impl Server {
    /// The server that the tests of this binary share. It must not be harmed: see [`Self::own`].
    pub async fn shared() -> Arc<Self> {
        let make = || async {
            let server = Self::make(true, false);
            server.start().await;
            Arc::new(server)
        };
        SHARED.get_or_init(make).await.clone()
    }

    /// A server for one test that does it harm.
    pub async fn own() -> Arc<Self> {
        let server = Self::make(false, false);
        server.start().await;
        Arc::new(server)
    }

    /// A server for one test that speaks TLS too, as `localhost`.
    pub async fn with_tls() -> Arc<Self> {
        let server = Self::make(false, true);
        server.start().await;
        Arc::new(server)
    }

    fn make(is_shared: bool, has_tls: bool) -> Self {
        let folder = tempfile::Builder::new().prefix("rabbitmq-").tempdir().expect("a folder").keep();
        let server = Self { folder, ports: Ports::free(), is_shared, running: Mutex::new(None) };
        let mut settings = format!(
            "listeners.tcp.local = 127.0.0.1:{}\nmanagement.tcp.ip = 127.0.0.1\nmanagement.tcp.port = {}\n\
             collect_statistics_interval = 1000\n",
            server.ports.amqp, server.ports.management
        );
        if has_tls {
            server.certify();
            let (port, folder) = (server.ports.amqps, server.folder.display());
            settings += &format!(
                "listeners.ssl.local = 127.0.0.1:{port}\nssl_options.cacertfile = {folder}/authority.crt\n\
                 ssl_options.certfile = {folder}/server.crt\nssl_options.keyfile = {folder}/server.key\n\
                 ssl_options.verify = verify_none\nssl_options.fail_if_no_peer_cert = false\n\
                 management.ssl.ip = 127.0.0.1\nmanagement.ssl.port = {}\n\
                 management.ssl.cacertfile = {folder}/authority.crt\nmanagement.ssl.certfile = {folder}/server.crt\n\
                 management.ssl.keyfile = {folder}/server.key\n",
                server.ports.sealed
            );
        }
        std::fs::write(server.folder.join("rabbitmq.conf"), settings).expect("it is ours");
        std::fs::write(server.folder.join("plugins"), "[rabbitmq_management].").expect("it is ours");
        for path in
            [server.folder.clone(), server.folder.join("rabbitmq.conf"), server.folder.join("plugins")]
        {
            if let Some((user, group)) = other_user() {
                chown(&path, Some(user), Some(group)).expect("we are root");
            }
            std::fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).expect("it is ours");
        }
        server
    }

    /// Makes an authority and, signed by it, the server's certificate for the name `localhost`.
    fn certify(&self) {
        let openssl = |arguments: &str| {
            let made = Command::new("openssl").args(arguments.split(' ')).current_dir(&self.folder).output();
            let made = made.unwrap_or_else(|error| panic!("openssl: {error}; install it (Debian: openssl)"));
            assert!(made.status.success(), "openssl {arguments}: {}", String::from_utf8_lossy(&made.stderr));
        };
        let key = "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes";
        for name in ["authority", "stranger"] {
            openssl(&format!("req -x509 {key} -days 2 -subj /CN={name} -keyout {name}.key -out {name}.crt"));
        }
        openssl(&format!(
            "req {key} -subj /CN=localhost -addext subjectAltName=DNS:localhost -keyout server.key -out server.csr"
        ));
        openssl(
            "x509 -req -in server.csr -CA authority.crt -CAkey authority.key -CAcreateserial -days 2 \
             -copy_extensions copy -out server.crt",
        );
        if let Some((user, group)) = other_user() {
            chown(self.folder.join("server.key"), Some(user), Some(group)).expect("we are root");
        }
    }

    /// The certificate of an authority: `authority` signed the server's, `stranger` did not.
    pub fn certificate(&self, of: &str) -> PathBuf {
        self.folder.join(format!("{of}.crt"))
    }

    /// Its address over TLS, by the name or number of its host.
    pub fn tls_url(&self, host: &str) -> String {
        format!("amqps://guest:guest@{host}:{}/%2F", self.ports.amqps)
    }

    /// The address of its management API over TLS.
    pub fn tls_management(&self) -> String {
        format!("https://guest:guest@localhost:{}", self.ports.sealed)
    }

    /// Starts it, again after an end of any kind, and waits until it takes connections.
    pub async fn start(&self) {
        self.spawn();
        let deadline = Instant::now() + START;
        while !self.is_ready().await {
            let log = || std::fs::read_to_string(self.folder.join("log")).unwrap_or_default();
            assert!(self.is_running(), "RabbitMQ ended at its start:\n{}", log());
            assert!(Instant::now() < deadline, "RabbitMQ does not start:\n{}", log());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    fn spawn(&self) {
        let epmd = program("epmd", &[]);
        let server = program("rabbitmq-server", &["/usr/lib/rabbitmq/bin"]);
        let log = std::fs::File::options().create(true).append(true).open(self.folder.join("log"));
        let log = log.expect("a file");
        // Our own epmd in the foreground, so that the node starts none that would outlive it.
        let mut command = Command::new("sh");
        command.args(["-c", "\"$1\" & exec \"$2\"", "sh"]).arg(epmd).arg(server);
        if let Some((user, group)) = other_user() {
            command.uid(user).gid(group);
        }
        let leader = command
            .process_group(0)
            .current_dir(&self.folder)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .envs(self.environment())
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a file"))
            .stderr(log)
            .spawn()
            .expect("a shell starts");
        let group = format!("-{}", leader.id());
        let watcher = Watcher::over(&group, self.is_shared.then_some(self.folder.as_path()));
        let before = self.lock().replace(Running { leader, watcher });
        assert!(before.is_none(), "it was running already");
    }

    fn environment(&self) -> Vec<(&'static str, String)> {
        let inside = |name: &str| self.folder.join(name).display().to_string();
        let Ports { distribution, epmd, .. } = self.ports;
        vec![
            ("HOME", inside("")),
            ("RABBITMQ_NODENAME", format!("test-{}@localhost", self.ports.amqp)),
            ("RABBITMQ_MNESIA_BASE", inside("data")),
            ("RABBITMQ_LOGS", "-".to_owned()),
            ("RABBITMQ_LOG_BASE", inside("logs")),
            ("RABBITMQ_CONFIG_FILE", inside("rabbitmq.conf")),
            ("RABBITMQ_CONF_ENV_FILE", inside("none")),
            ("RABBITMQ_ENABLED_PLUGINS_FILE", inside("plugins")),
            ("RABBITMQ_PID_FILE", inside("pid")),
            ("RABBITMQ_DIST_PORT", distribution.to_string()),
            ("RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS", "-kernel inet_dist_use_interface {127,0,0,1}".to_owned()),
            ("ERL_EPMD_PORT", epmd.to_string()),
            ("ERL_EPMD_ADDRESS", "127.0.0.1".to_owned()),
        ]
    }

    /// Whether it takes connections and tells of itself, by its own word.
    async fn is_ready(&self) -> bool {
        let listening = format!("/api/health/checks/port-listener/{}", self.ports.amqp);
        for path in [listening.as_str(), "/api/overview", "/api/vhosts"] {
            let request = super::client().get(self.management(path)).basic_auth("guest", Some("guest"));
            if !request.send().await.is_ok_and(|answer| answer.status().is_success()) {
                return false;
            }
        }
        true
    }

    fn is_running(&self) -> bool {
        self.lock().as_mut().is_some_and(|running| matches!(running.leader.try_wait(), Ok(None)))
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Running>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends it in an instant, as a power cut would.
    pub fn kill(&self) {
        let Some(mut running) = self.lock().take() else { return };
        signal("-KILL", &format!("-{}", running.leader.id()));
        running.leader.wait().expect("it is our child");
        // The node is the leader's child: it is gone when nobody listens any more.
        let deadline = Instant::now() + Duration::from_secs(10);
        while TcpStream::connect(("127.0.0.1", self.ports.amqp)).is_ok() {
            assert!(Instant::now() < deadline, "killed, and still there");
            std::thread::sleep(Duration::from_millis(5));
        }
        running.watcher.end();
    }

    /// Ends it in order, as an operator does.
    pub async fn stop(&self) {
        let leader = self.lock().as_ref().map(|running| running.leader.id());
        let Some(leader) = leader else { return };
        signal("-TERM", &leader.to_string());
        super::eventually("RabbitMQ ends", 60, async || (!self.is_running()).then_some(())).await;
        // What is left of the group: its epmd.
        self.kill();
    }

    /// Ends it in order and starts it again.
    pub async fn restart(&self) {
        self.stop().await;
        self.start().await;
    }

    /// Removes all that an ended one has kept: queues, messages, users, virtual hosts.
    pub fn forget(&self) {
        assert!(!self.is_running(), "it must be ended first");
        std::fs::remove_dir_all(self.folder.join("data")).expect("it is ours");
    }

    /// Stops all its processes where they are, as a machine that hangs: connections stay, nothing answers.
    pub fn freeze(&self) {
        self.to_all("-STOP");
    }

    /// Lets it go on.
    pub fn thaw(&self) {
        self.to_all("-CONT");
    }

    fn to_all(&self, what: &str) {
        let leader = self.lock().as_ref().map(|running| running.leader.id()).expect("it runs");
        signal(what, &format!("-{leader}"));
    }

    /// Its port for AMQP on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.ports.amqp
    }

    /// An address of the management API, where `guest` with the password `guest` may do everything.
    pub fn management(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.ports.management)
    }

    /// The address of a virtual host by its name; `/` is the one that is always there.
    pub fn url(&self, virtual_host: &str) -> String {
        let name = virtual_host.replace('%', "%25").replace('/', "%2F");
        format!("amqp://guest:guest@127.0.0.1:{}/{name}", self.ports.amqp)
    }

    /// Asks the management API.
    pub async fn ask(&self, path: &str) -> Value {
        let request = super::client().get(self.management(path)).basic_auth("guest", Some("guest"));
        let answer = request.send().await.expect("an answer").error_for_status().expect("success");
        answer.json().await.expect("JSON")
    }

    async fn put(&self, path: &str, body: Value) {
        let request = super::client().put(self.management(path)).basic_auth("guest", Some("guest"));
        let answer = request.json(&body).send().await.expect("an answer");
        answer.error_for_status().expect("success");
    }

    /// Makes an empty virtual host.
    pub async fn virtual_host(self: &Arc<Self>) -> VirtualHost {
        let name = format!("test-{}", NUMBER.fetch_add(1, Ordering::Relaxed));
        self.put(&format!("/api/vhosts/{name}"), json!({})).await;
        let everything = json!({ "configure": ".*", "write": ".*", "read": ".*" });
        self.put(&format!("/api/permissions/{name}/guest"), everything).await;
        VirtualHost { server: self.clone(), name }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
        // What cannot be removed lies in the system's folder for such things.
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// A virtual host of a test's own.
pub struct VirtualHost {
    pub server: Arc<Server>,
    pub name: String,
}

impl VirtualHost {
    /// Its address.
    pub fn url(&self) -> String {
        self.server.url(&self.name)
    }

    /// What the server tells of a queue. Its counts lag by a second, and are missing at first.
    pub async fn queue(&self, name: &str) -> Value {
        self.server.ask(&format!("/api/queues/{}/{name}", self.name)).await
    }
}
