//! What the parts of the system are called: services, routes, methods, queries, failures.
//!
//! What must not live here: which part uses which.

/// Services in the order in which they are taken: the door first, the deeper ones later.
const SERVICES: [&str; 24] = [
    "gateway",
    "orders",
    "accounts",
    "catalog",
    "checkout",
    "payments",
    "inventory",
    "shipping",
    "pricing",
    "fraud",
    "ledger",
    "carriers",
    "notifications",
    "search",
    "reviews",
    "vouchers",
    "taxes",
    "invoices",
    "profiles",
    "sessions",
    "warehouses",
    "media",
    "returns",
    "audit",
];

/// The n-th service; beyond the table they are numbered.
pub fn service(n: usize) -> String {
    let name = SERVICES[n % SERVICES.len()];
    match n / SERVICES.len() {
        0 => name.to_owned(),
        round => format!("{name}-{}", round + 1),
    }
}

/// What an operation does with a resource.
#[derive(Debug, Clone, Copy)]
pub struct Form {
    pub method: &'static str,
    /// After the resource.
    pub path: &'static str,
    /// The same over gRPC.
    pub rpc: &'static str,
    /// Whether the system is another one afterwards; then others are told.
    pub changes: bool,
}

const FORMS: [Form; 8] = [
    Form { method: "GET", path: "/{id}", rpc: "Get", changes: false },
    Form { method: "POST", path: "", rpc: "Create", changes: true },
    Form { method: "GET", path: "", rpc: "List", changes: false },
    Form { method: "PUT", path: "/{id}", rpc: "Update", changes: true },
    Form { method: "GET", path: "/{id}/history", rpc: "ListHistory", changes: false },
    Form { method: "POST", path: "/search", rpc: "Search", changes: false },
    Form { method: "DELETE", path: "/{id}", rpc: "Delete", changes: true },
    Form { method: "GET", path: "/summary", rpc: "Summarize", changes: false },
];

/// The n-th operation on a resource and the version of the interface that has it.
pub fn form(n: usize) -> (Form, usize) {
    (FORMS[n % FORMS.len()], n / FORMS.len() + 1)
}

/// `Orders` for `orders`.
pub fn capital(name: &str) -> String {
    let mut letters = name.chars();
    letters.next().map(|first| first.to_uppercase().chain(letters).collect()).unwrap_or_default()
}

/// Steps within a service that are worth a span.
pub const WORK: [&str; 8] = [
    "validate request",
    "check permissions",
    "map to domain",
    "apply rules",
    "calculate totals",
    "render answer",
    "serialize answer",
    "warm cache",
];

/// A kind of database: its `db.system.name`, its port, how it is asked and how it is changed.
#[derive(Debug, Clone, Copy)]
pub struct Database {
    pub system: &'static str,
    pub port: u16,
    pub read: (&'static str, &'static str),
    pub write: (&'static str, &'static str),
}

/// In the queries, `{}` is the collection.
pub const DATABASES: [Database; 4] = [
    Database {
        system: "postgresql",
        port: 5432,
        read: ("SELECT", "SELECT * FROM {} WHERE id = $1"),
        write: ("INSERT", "INSERT INTO {} (id, state, body) VALUES ($1, $2, $3)"),
    },
    Database {
        system: "mysql",
        port: 3306,
        read: ("SELECT", "SELECT id, state FROM {} WHERE customer_id = ?"),
        write: ("UPDATE", "UPDATE {} SET state = ? WHERE id = ?"),
    },
    Database {
        system: "mongodb",
        port: 27017,
        read: ("find", "{\"find\":\"{}\",\"filter\":{\"_id\":\"?\"}}"),
        write: ("insert", "{\"insert\":\"{}\",\"documents\":\"?\"}"),
    },
    Database { system: "redis", port: 6379, read: ("GET", "GET {}:?"), write: ("SET", "SET {}:? ?") },
];

/// Why something breaks, where it breaks first.
#[derive(Debug, Clone, Copy)]
pub struct Breakage {
    /// `exception.type` and `error.type`.
    pub kind: &'static str,
    pub message: &'static str,
    /// What a service answers that breaks like this.
    pub http: i64,
    pub grpc: &'static str,
}

/// The one of [`BREAKAGES`] that takes as long as it says.
pub const TIMEOUT: usize = 0;

pub const BREAKAGES: [Breakage; 4] = [
    Breakage {
        kind: "TimeoutError",
        message: "no answer within 2000 ms",
        http: 504,
        grpc: "DEADLINE_EXCEEDED",
    },
    Breakage { kind: "ConnectionError", message: "connection reset by peer", http: 503, grpc: "UNAVAILABLE" },
    Breakage {
        kind: "PoolExhaustedError",
        message: "all 20 connections are in use",
        http: 503,
        grpc: "RESOURCE_EXHAUSTED",
    },
    Breakage {
        kind: "ConflictError",
        message: "the row was changed by another transaction",
        http: 500,
        grpc: "ABORTED",
    },
];

/// What callers call themselves.
pub const AGENTS: [&str; 3] = [
    "shop-web/5.2 (Firefox 145; Linux x86_64)",
    "shop-ios/4.11 (iPhone; iOS 26.1)",
    "shop-android/4.9 (Android 16)",
];

/// What services call themselves.
pub const LIBRARY: &str = "shop-http-client/3.2 (hyper 1.8)";

/// Where the machines are.
pub const REGIONS: [&str; 3] = ["eu-central-1", "us-east-1", "ap-south-1"];
