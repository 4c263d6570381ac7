//! What the tests of the demo share: a small OTLP receiver that remembers, and the demo as a child process.

#![allow(dead_code)] // Each test takes what it needs.

pub mod story;

use std::io::{BufRead as _, BufReader, Read as _};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use opentelemetry_proto::tonic::collector::logs::v1::logs_service_server::{LogsService, LogsServiceServer};
use opentelemetry_proto::tonic::collector::logs::v1::{ExportLogsServiceRequest, ExportLogsServiceResponse};
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{
    TraceService, TraceServiceServer,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::{KeyValue, any_value::Value};
use opentelemetry_proto::tonic::trace::v1::Span;
use tonic::{Request, Response, Status};

pub const SOON: Duration = Duration::from_secs(30);

/// The services, in the order of the table.
pub const NAMES: [&str; 8] =
    ["gateway", "orders", "users", "payments", "inventory", "notifications", "analytics", "bank"];

/// A span with the service that sent it.
#[derive(Clone, Debug)]
pub struct Seen {
    pub service: String,
    /// The version that the service ran as.
    pub version: String,
    pub span: Span,
}

impl Seen {
    /// An attribute as text; empty where there is none.
    pub fn text(&self, key: &str) -> String {
        text(&self.span.attributes, key)
    }
}

pub fn text(attributes: &[KeyValue], key: &str) -> String {
    let value = attributes.iter().find(|kv| kv.key == key).and_then(|kv| kv.value.as_ref()?.value.clone());
    match value {
        Some(Value::StringValue(text)) => text,
        Some(Value::IntValue(number)) => number.to_string(),
        Some(other) => format!("{other:?}"),
        None => String::new(),
    }
}

/// A log record's body and attributes.
type Record = (String, Vec<KeyValue>);

/// Remembers every span and log record that it receives.
#[derive(Clone, Default)]
pub struct Receiver {
    spans: Arc<Mutex<Vec<Seen>>>,
    logs: Arc<Mutex<Vec<Record>>>,
}

#[tonic::async_trait]
impl TraceService for Receiver {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        for group in request.into_inner().resource_spans {
            let resource = group.resource.unwrap_or_default();
            let service = text(&resource.attributes, "service.name");
            let version = text(&resource.attributes, "service.version");
            assert_eq!(text(&resource.attributes, "service.namespace"), "shop");
            assert!(!text(&resource.attributes, "service.instance.id").is_empty());
            let spans = group.scope_spans.into_iter().flat_map(|scope| scope.spans);
            let seen = spans.map(|span| Seen { service: service.clone(), version: version.clone(), span });
            self.spans.lock().expect("lock").extend(seen);
        }
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

#[tonic::async_trait]
impl LogsService for Receiver {
    async fn export(
        &self,
        request: Request<ExportLogsServiceRequest>,
    ) -> Result<Response<ExportLogsServiceResponse>, Status> {
        for group in request.into_inner().resource_logs {
            for record in group.scope_logs.into_iter().flat_map(|scope| scope.log_records) {
                let body = match record.body.and_then(|body| body.value) {
                    Some(Value::StringValue(text)) => text,
                    other => format!("{other:?}"),
                };
                self.logs.lock().expect("lock").push((body, record.attributes));
            }
        }
        Ok(Response::new(ExportLogsServiceResponse::default()))
    }
}

impl Receiver {
    /// Listens on a free port for as long as the test's runtime lives.
    pub async fn start() -> (Self, SocketAddr) {
        let receiver = Self::default();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let routes = tonic::service::Routes::new(TraceServiceServer::new(receiver.clone()))
            .add_service(LogsServiceServer::new(receiver.clone()))
            .into_axum_router();
        tokio::spawn(async move { axum::serve(listener, routes).await });
        (receiver, address)
    }

    /// The spans with a correlation ID, once `enough` is content with them.
    pub async fn spans(&self, correlation: &str, enough: impl Fn(&[Seen]) -> bool) -> Vec<Seen> {
        let deadline = Instant::now() + SOON;
        loop {
            let mut found = self.spans.lock().expect("lock").clone();
            found.retain(|seen| seen.text("correlation.id") == correlation);
            if enough(&found) {
                return found;
            }
            if Instant::now() > deadline {
                let names: Vec<_> = found.iter().map(|s| format!("{}: {}", s.service, s.span.name)).collect();
                panic!("not seen in time; there are {names:#?}");
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Everything received so far.
    pub fn all_spans(&self) -> Vec<Seen> {
        self.spans.lock().expect("lock").clone()
    }

    /// The attributes of log records whose body contains a text.
    pub fn logs(&self, containing: &str) -> Vec<Vec<KeyValue>> {
        let logs = self.logs.lock().expect("lock");
        logs.iter().filter(|(body, _)| body.contains(containing)).map(|(_, a)| a.clone()).collect()
    }
}

/// The demo without a dashboard and without load, with no latency and short retries.
pub struct Demo {
    pub child: Child,
    /// The addresses of the eight services, in the order of the table.
    pub services: Vec<String>,
    pub dir: tempfile::TempDir,
}

impl Demo {
    pub fn command(dir: &tempfile::TempDir) -> Command {
        Self::command_with(dir, &[])
    }

    /// The same with further flags, which may stand in for the usual ones.
    fn command_with(dir: &tempfile::TempDir, flags: &[String]) -> Command {
        let name = |flag: &str| flag.split('=').next().map(str::to_owned);
        let usual = ["--rate=0", "--latency=0", "--retry-delay-ms=50", "--breaker-wait-ms=1500"];
        let usual = usual.iter().filter(|usual| flags.iter().all(|flag| name(flag) != name(usual)));
        let mut command = Command::new(env!("CARGO_BIN_EXE_throughline"));
        command.arg("demo").arg("--no-dashboard").arg(format!("--broker={}", broker_url(dir)));
        command.args(usual).args(flags);
        command.current_dir(dir.path()).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// Starts it on free ports and waits until it announces that it is ready.
    pub fn start(otlp: SocketAddr) -> Self {
        Self::start_with(otlp, &[])
    }

    /// The same with further flags.
    pub fn start_with(otlp: SocketAddr, flags: &[String]) -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        let mut command = Self::command_with(&dir, flags);
        command.arg(format!("--otlp-grpc={otlp}"));
        for name in NAMES {
            command.arg(format!("--{name}-port=0"));
        }
        let mut child = command.spawn().expect("the demo starts");
        let mut services = Vec::new();
        for line in BufReader::new(child.stdout.as_mut().expect("stdout")).lines() {
            let line = line.expect("a line");
            services.extend(
                line.split_whitespace()
                    .nth(1)
                    .filter(|w| w.starts_with("http://127") || w.starts_with("https://127"))
                    .and_then(|w| Some(w.split_once("://")?.1.to_owned())),
            );
            if line.contains("Ctrl-C") {
                break;
            }
        }
        if services.len() != NAMES.len() {
            let _ = child.kill();
            let mut said = String::new();
            child.stderr.take().expect("stderr").read_to_string(&mut said).expect("text");
            panic!("the table names {services:?} and not all services:\n{said}");
        }
        Self { child, services, dir }
    }

    pub fn gateway(&self) -> String {
        format!("http://{}", self.services[0])
    }

    /// The process IDs of the services that the supervisor keeps now, by name.
    #[cfg(target_os = "linux")]
    pub fn children(&self) -> std::collections::BTreeMap<String, u32> {
        let parent = format!("PPid:\t{}", self.child.id());
        let service = |id: u32| {
            let status = std::fs::read_to_string(format!("/proc/{id}/status")).ok()?;
            let command = std::fs::read_to_string(format!("/proc/{id}/cmdline")).ok()?;
            let mut words = command.split('\0').skip_while(|word| *word != "service");
            status
                .lines()
                .any(|line| line == parent)
                .then(|| words.nth(1).map(|name| (name.to_owned(), id)))?
        };
        let processes = std::fs::read_dir("/proc").expect("the processes").flatten();
        processes.filter_map(|entry| service(entry.file_name().to_str()?.parse().ok()?)).collect()
    }

    /// Waits until a service is another process than `before`, and ready. Gives its process ID.
    #[cfg(target_os = "linux")]
    pub async fn replaced(&self, service: &str, before: u32) -> u32 {
        let at = NAMES.iter().position(|name| *name == service).expect("a service");
        let ready = format!("http://{}/readyz", self.services[at]);
        let deadline = Instant::now() + SOON;
        loop {
            let now = self.children().get(service).copied().filter(|now| *now != before);
            let answer = story::client().get(&ready).send().await;
            if let Some(now) = now.filter(|_| answer.is_ok_and(|answer| answer.status().is_success())) {
                return now;
            }
            assert!(Instant::now() < deadline, "{service} is not back: {:?}", self.children());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Ends a service as a crash would, and waits until it is back.
    #[cfg(target_os = "linux")]
    pub async fn crash(&self, service: &str) {
        let id = self.children()[service];
        kill(id);
        self.replaced(service, id).await;
    }

    pub fn signal(&self, signal: &str) {
        let id = self.child.id().to_string();
        assert!(Command::new("kill").args([signal, &id]).status().expect("kill runs").success());
    }

    /// Stops a service as it stands, but not while it has the broker's file locked: all others would stand still with it. The same
    /// service goes on after a signal `-CONT` to the number that this gives.
    #[cfg(target_os = "linux")]
    pub async fn stop_at_rest(&self, service: &str) -> u32 {
        use sqlx::{ConnectOptions as _, Connection as _};
        let path = self.dir.path().join("broker.db");
        let options = sqlx::sqlite::SqliteConnectOptions::new().filename(path);
        let mut broker = options.busy_timeout(Duration::from_millis(500)).connect().await.expect("a file");
        let id = self.children()[service];
        let deadline = Instant::now() + SOON;
        loop {
            signal(id, "-STOP");
            let free = broker.begin_with("BEGIN IMMEDIATE").await;
            match free {
                Ok(nothing) => {
                    nothing.rollback().await.expect("given back");
                    return id;
                }
                Err(error) => assert!(Instant::now() < deadline, "{error}"),
            }
            signal(id, "-CONT");
        }
    }

    /// Waits for the end; gives the exit code and what was written to standard error.
    pub fn wait(&mut self) -> (Option<i32>, String) {
        let deadline = Instant::now() + SOON;
        let status = loop {
            if let Some(status) = self.child.try_wait().expect("a status") {
                break status;
            }
            assert!(Instant::now() < deadline, "the demo does not end");
            std::thread::sleep(Duration::from_millis(20));
        };
        let mut text = String::new();
        self.child.stderr.take().expect("stderr").read_to_string(&mut text).expect("text");
        (status.code(), text)
    }

    /// Waits until nobody listens on any service's port.
    pub fn assert_all_gone(&self) {
        let deadline = Instant::now() + SOON;
        for address in &self.services {
            while std::net::TcpStream::connect(address).is_ok() {
                assert!(Instant::now() < deadline, "{address} is still served");
                std::thread::sleep(Duration::from_millis(20));
            }
        }
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The demo with its dashboard, on free ports and without latency.
pub struct Whole {
    child: Child,
    /// Where the dashboard's pages are, and where the gateway is.
    pub pages: String,
    pub gateway: String,
    /// What it said until it was ready.
    pub said: Vec<String>,
    _dir: tempfile::TempDir,
}

impl Whole {
    /// Starts it with further flags and waits until it announces that it is ready.
    pub fn start(flags: &[&str]) -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        let mut command = Command::new(env!("CARGO_BIN_EXE_throughline"));
        command.current_dir(dir.path()).arg("demo").args(NAMES.map(|name| format!("--{name}-port=0")));
        command.args(["--listen=127.0.0.1:0", "--otlp-grpc=127.0.0.1:0", "--otlp-http=127.0.0.1:0"]);
        command.arg("--latency=0").args(flags);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().expect("the demo starts");
        let lines = BufReader::new(child.stdout.take().expect("stdout")).lines();
        let (mut pages, mut gateway, mut said) = (String::new(), String::new(), Vec::new());
        for line in lines {
            let line = line.expect("a line");
            let mut words = line.split_whitespace();
            if let Some(address) = line.strip_prefix("Throughline is at ") {
                pages = address.trim().to_owned();
            } else if words.next() == Some("gateway") {
                gateway = words.next().expect("an address").to_owned();
            }
            let is_ready = line.contains("Ctrl-C");
            said.push(line);
            if is_ready {
                break;
            }
        }
        Self { child, pages, gateway, said, _dir: dir }
    }
}

impl Drop for Whole {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Waits until `check` gives something.
pub async fn eventually<T, F: Future<Output = Option<T>>>(what: &str, mut check: impl FnMut() -> F) -> T {
    let deadline = Instant::now() + SOON;
    loop {
        if let Some(found) = check().await {
            return found;
        }
        assert!(Instant::now() < deadline, "not in time: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

pub fn broker_url(dir: &tempfile::TempDir) -> String {
    format!("sqlite://{}", dir.path().join("broker.db").display())
}

/// Ends a process as a crash would.
#[cfg(target_os = "linux")]
pub fn kill(id: u32) {
    signal(id, "-KILL");
}

/// Sends a process a signal.
#[cfg(target_os = "linux")]
pub fn signal(id: u32, signal: &str) {
    assert!(Command::new("kill").args([signal, &id.to_string()]).status().expect("kill runs").success());
}
