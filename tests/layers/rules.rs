//! The rules of the house, as tables. `docs/ARCHITECTURE.md` says why each is there.

/// A room and all that it may use of this crate. A longer room's rule stands beside that of the room around it.
pub struct Layer {
    pub room: &'static str,
    /// Paths below `crate`; the room itself goes without saying.
    pub may_use: &'static [&'static str],
    /// Paths that it may not, although `may_use` holds something above them.
    pub never: &'static [&'static str],
}

pub const LAYERS: &[Layer] = &[
    // receive → model → store → query → view.
    Layer { room: "dashboard::model", may_use: &[], never: &[] },
    // Who may do what is asked by both ends of the way, and knows neither.
    Layer { room: "dashboard::keys", may_use: &[], never: &[] },
    // Addresses that the settings name and a page shows.
    Layer { room: "dashboard::documents", may_use: &[], never: &[] },
    Layer {
        room: "dashboard::receive",
        may_use: &[
            "dashboard::model",
            "dashboard::keys",
            "dashboard::store::Ingest",
            "dashboard::store::Stored",
            "dashboard::store::StoreError",
        ],
        never: &[],
    },
    // It sends figures in by the store's own door, as receivers do.
    Layer {
        room: "dashboard::collect",
        may_use: &["dashboard::model", "dashboard::store::Ingest", "comms::names", "amqp"],
        never: &[],
    },
    // It writes down what it does by a door of the store's own.
    Layer {
        room: "dashboard::operate",
        may_use: &[
            "dashboard::model",
            // Brokers are written in the settings in one way.
            "dashboard::collect::address",
            "dashboard::keys::Visitor",
            "dashboard::store::AuditLog",
            "dashboard::store::StoreError",
            "comms::names",
            "amqp",
        ],
        never: &[],
    },
    Layer { room: "dashboard::store", may_use: &["dashboard::model"], never: &[] },
    Layer {
        room: "dashboard::query",
        // The fixtures are there in tests only.
        may_use: &["dashboard::model", "dashboard::store", "dashboard::fixture", "comms::names"],
        never: &["dashboard::store::Store", "dashboard::store::Ingest", "dashboard::model::otlp"],
    },
    Layer {
        room: "dashboard::view",
        may_use: &[
            "dashboard::model",
            "dashboard::keys",
            "dashboard::documents",
            "dashboard::store",
            "dashboard::query",
            "dashboard::collect::Board",
            "dashboard::operate",
            "dashboard::fixture",
        ],
        never: &[
            "dashboard::store::Store",
            "dashboard::store::Ingest",
            "dashboard::model::otlp",
            "dashboard::model::proto",
        ],
    },
    // The dashboard shares with the toolkit the names on the wire and the way to a RabbitMQ.
    Layer { room: "dashboard", may_use: &["comms::names", "amqp"], never: &[] },
    // It knows bytes, and neither of those who read them.
    Layer { room: "amqp", may_use: &[], never: &[] },
    // The toolkit is built alone and by others.
    Layer { room: "comms", may_use: &["amqp"], never: &[] },
    Layer { room: "telemetry", may_use: &["comms"], never: &[] },
    // The shop knows the dashboard as an address to send to.
    Layer { room: "demo", may_use: &["comms", "telemetry", "config"], never: &["config::dashboard"] },
    // The load knows a receiver as an address too, and shares with services the names on the wire.
    Layer { room: "load", may_use: &["comms::names"], never: &[] },
    // Settings name types of those they are for, and do nothing.
    Layer {
        room: "config",
        may_use: &[
            "demo::shop",
            "demo::scenarios",
            "telemetry",
            "dashboard::store",
            "dashboard::keys",
            "dashboard::documents",
            "dashboard::collect",
            "dashboard::operate",
            "load",
        ],
        never: &[],
    },
];

/// A path from outside that only some rooms may use.
pub struct Owned {
    pub path: &'static str,
    pub rooms: &'static [&'static str],
    pub why: &'static str,
}

pub const OWNED: &[Owned] = &[
    Owned {
        path: "opentelemetry_sdk",
        rooms: &["telemetry"],
        why: "how telemetry is exported is decided in one place",
    },
    Owned {
        path: "opentelemetry_otlp",
        rooms: &["telemetry"],
        why: "how telemetry is exported is decided in one place",
    },
    Owned {
        path: "sqlx",
        rooms: &[
            "dashboard::store::sqlite",
            "dashboard::store::postgres",
            "dashboard::store::audit_rows",
            "dashboard::collect::tap::embedded",
            "comms::queue::embedded",
            "dashboard::operate::embedded",
            "comms::queue::inbox",
            "comms::queue::outbox",
            "demo::database",
        ],
        why: "SQL lives behind the traits of the store and the broker, beside a service's state, in the shop's own, and where a broker's file is tapped",
    },
    Owned {
        path: "lapin",
        rooms: &[
            "amqp",
            "comms::queue::rabbitmq",
            "dashboard::collect::tap",
            "dashboard::collect::passive",
            "dashboard::operate::amqp",
            "dashboard::operate::address",
        ],
        why: "AMQP is spoken behind the traits of the broker and of those who act on one, and by taps and who asks for depths, which know no service",
    },
    Owned { path: "askama", rooms: &["dashboard::view"], why: "HTML is made in the view" },
    Owned { path: "clap", rooms: &["cli", "config", "demo::shop"], why: "flags are read at the door" },
    Owned {
        path: "prometheus_client",
        rooms: &["dashboard::receive", "dashboard::store::latency", "dashboard::ops"],
        why: "only who counts and who shows counters knows their format",
    },
    Owned {
        path: "axum",
        rooms: &[
            "dashboard::receive",
            "dashboard::view",
            "dashboard::ops",
            "dashboard::serve",
            "comms",
            "demo",
            "telemetry",
        ],
        why: "model, store and query know no HTTP",
    },
    Owned {
        path: "tonic",
        rooms: &["dashboard::receive", "dashboard::serve", "comms", "demo", "load::send::grpc"],
        why: "model, store, query and view know no gRPC",
    },
    Owned {
        path: "opentelemetry_proto",
        rooms: &["load"],
        why: "the dashboard keeps OTLP as the bytes that came, and decodes what somebody looks at",
    },
    Owned { path: "sha2", rooms: &["dashboard::keys"], why: "secrets are kept in one place" },
    Owned { path: "subtle", rooms: &["dashboard::keys"], why: "secrets are compared in one place" },
    Owned { path: "getrandom", rooms: &["dashboard::keys"], why: "secrets are made in one place" },
    Owned {
        path: "hyper_util",
        rooms: &["dashboard::serve"],
        why: "the limits of HTTP are set in one place",
    },
    Owned { path: "tokio::sync::mpsc::unbounded_channel", rooms: &[], why: "a channel has a bound" },
    Owned { path: "tokio::sync::mpsc::UnboundedSender", rooms: &[], why: "a channel has a bound" },
    Owned { path: "tokio::sync::mpsc::UnboundedReceiver", rooms: &[], why: "a channel has a bound" },
    Owned { path: "std::sync::mpsc::channel", rooms: &[], why: "a channel has a bound: sync_channel" },
    Owned { path: "futures_util::mpsc", rooms: &[], why: "channels are tokio's" },
    Owned { path: "std::process::exit", rooms: &["cli"], why: "only the command line ends the process" },
];

/// What of `std::env` is no setting, and so may be asked anywhere.
pub const NO_SETTING: &[&str] = &["std::env::current_exe", "std::env::consts", "std::env::temp_dir"];

/// The rooms that may read the environment.
pub const READS_ENVIRONMENT: &[&str] = &["config"];

/// Functions that start a task or a thread and give the handle that owns it.
pub const SPAWN: &[&str] =
    &["tokio::spawn", "tokio::task::spawn", "std::thread::spawn", "tokio::task::spawn_local"];

/// Most lines of a file: beyond it holds more than one idea.
pub const MAX_LINES: usize = 500;

/// Shipped migrations with the FNV-1a sum of their bytes. A database out there has run them as they are:
/// to change the layout, add a file and its line here.
pub const MIGRATIONS: &[(&str, u64)] = &[
    ("migrations/broker/0001_queues.sql", 0x22c0_79ab_cc32_76dd),
    ("migrations/postgres/0001_blocks_and_runs.sql", 0xd944_9691_b3ee_00af),
    ("migrations/postgres/0002_samples.sql", 0xf3f4_1c48_2519_7863),
    ("migrations/postgres/0003_audit.sql", 0xd7e8_2524_ff0d_5fd4),
    ("migrations/sqlite/0001_blocks_and_runs.sql", 0x26ed_a930_9aa7_93f0),
    ("migrations/sqlite/0002_samples.sql", 0xaa4d_17d8_f9ae_00d8),
    ("migrations/sqlite/0003_audit.sql", 0x2d91_1cb2_d50b_4825),
];

/// A break that is meant: the file, a part of what is said about it, and why. One that is no longer needed is
/// itself a break.
pub const EXCUSED: &[(&str, &str, &str)] = &[];
