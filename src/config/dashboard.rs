//! Settings of the dashboard: each a flag with its variable, its default and its words.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use crate::dashboard::collect::tap::Exchange;
use crate::dashboard::collect::{Address, Cluster};
use crate::dashboard::documents::Document;
use crate::dashboard::keys::Key;
use crate::dashboard::store::Location;

/// Where the dashboard listens, what it keeps, whom it lets in.
#[derive(clap::Args, Debug, Clone)]
pub struct DashboardSettings {
    /// Address of the pages; port 0 takes a free one
    #[arg(long, env = "THROUGHLINE_LISTEN", value_name = "ADDRESS", default_value = "127.0.0.1:7070")]
    pub listen: SocketAddr,

    /// Address of the OTLP receiver over gRPC
    #[arg(long, env = "THROUGHLINE_OTLP_GRPC", value_name = "ADDRESS", default_value = "127.0.0.1:4317")]
    pub otlp_grpc: SocketAddr,

    /// Address of the OTLP receiver over HTTP
    #[arg(long, env = "THROUGHLINE_OTLP_HTTP", value_name = "ADDRESS", default_value = "127.0.0.1:4318")]
    pub otlp_http: SocketAddr,

    /// Takes Zipkin's spans too, at this address or at Zipkin's own, 127.0.0.1:9411; without it none are taken
    #[arg(
        long,
        env = "THROUGHLINE_ZIPKIN",
        value_name = "ADDRESS",
        num_args = 0..=1,
        default_missing_value = "127.0.0.1:9411"
    )]
    pub zipkin: Option<SocketAddr>,

    /// Where traces and logs are kept: sqlite://FILE, or postgres://USER:PASSWORD@HOST:PORT/DATABASE, which several
    /// dashboards may share; prefer the variable where there is a password
    #[arg(
        long,
        env = "THROUGHLINE_STORE",
        value_name = "URL",
        default_value = "sqlite://throughline.db",
        hide_env_values = true
    )]
    pub store: Location,

    /// Age after which data is removed, such as 12h, 7d or 0 for never
    #[arg(long, env = "THROUGHLINE_KEEP", value_name = "AGE", default_value = "7d", value_parser = age)]
    pub keep: Duration,

    /// Age after which logs are removed, where that is not the same as of all else, such as 2d or 0 for never
    #[arg(long, env = "THROUGHLINE_KEEP_LOGS", value_name = "AGE", value_parser = age)]
    pub keep_logs: Option<Duration>,

    /// Size of the logs after which the oldest of them are removed and traces stay, such as 2GB or 0 for no limit of their own
    #[arg(long, env = "THROUGHLINE_KEEP_LOGS_SIZE", value_name = "SIZE", default_value = "0", value_parser = size)]
    pub keep_logs_size: u64,

    /// Size of the store after which the oldest data is removed, such as 500MB, 10GB or 0 for no limit
    #[arg(long, env = "THROUGHLINE_KEEP_SIZE", value_name = "SIZE", default_value = "10GB", value_parser = size)]
    pub keep_size: u64,

    /// Age after which samples of metrics are removed, such as 30d or 0 for never
    #[arg(long, env = "THROUGHLINE_KEEP_METRICS", value_name = "AGE", default_value = "30d", value_parser = age)]
    pub keep_metrics: Duration,

    /// Size of the samples of metrics after which the oldest are removed, such as 1GB or 0 for no limit
    #[arg(long, env = "THROUGHLINE_KEEP_METRICS_SIZE", value_name = "SIZE", default_value = "1GB", value_parser = size)]
    pub keep_metrics_size: u64,

    /// Age after which rows of the audit are removed, such as 2w or 0 for never; no limit by size removes them
    #[arg(long, env = "THROUGHLINE_KEEP_AUDIT", value_name = "AGE", default_value = "365d", value_parser = age)]
    pub keep_audit: Duration,

    /// Beginning of the names of metrics that are kept besides those of queues, breakers and runtimes; may be repeated
    #[arg(long, env = "THROUGHLINE_KEEP_METRIC", value_name = "PREFIX", value_delimiter = ',')]
    pub keep_metric: Vec<String>,

    /// Largest request that is taken, after decompression
    #[arg(long, env = "THROUGHLINE_MAX_REQUEST", value_name = "SIZE", default_value = "64MiB", value_parser = request_size)]
    pub max_request: u64,

    /// Origin whose browsers may send telemetry over HTTP, such as https://shop.example, or *; may be repeated
    #[arg(long, env = "THROUGHLINE_CORS_ORIGIN", value_name = "ORIGIN", value_delimiter = ',', value_parser = origin)]
    pub cors_origin: Vec<String>,

    /// Attribute key that carries a correlation ID besides the known ones; may be repeated
    #[arg(long, env = "THROUGHLINE_CORRELATION_KEY", value_name = "KEY", value_delimiter = ',')]
    pub correlation_key: Vec<String>,

    /// Key that senders must show as `Authorization: Bearer KEY`; two allow a change of keys
    #[arg(
        long,
        env = "THROUGHLINE_INGEST_KEY",
        value_name = "KEY",
        value_delimiter = ',',
        hide_env_values = true
    )]
    pub ingest_key: Vec<Key>,

    /// Key that readers must show as `Authorization: Bearer KEY` or at the login of the pages; two allow a change of keys
    #[arg(
        long,
        env = "THROUGHLINE_READ_KEY",
        value_name = "KEY",
        value_delimiter = ',',
        hide_env_values = true
    )]
    pub read_key: Vec<Key>,

    /// Key of who may act on messages: peek, reveal, redrive, publish again; shown like a read key, and reads too. Without
    /// any key everybody at this machine may
    #[arg(
        long,
        env = "THROUGHLINE_OPERATOR_KEY",
        value_name = "KEY",
        value_delimiter = ',',
        hide_env_values = true
    )]
    pub operator_key: Vec<Key>,

    /// Key of who may purge queues too
    #[arg(
        long,
        env = "THROUGHLINE_ADMIN_KEY",
        value_name = "KEY",
        value_delimiter = ',',
        hide_env_values = true
    )]
    pub admin_key: Vec<Key>,

    /// Host name under which the pages are reached besides localhost; may be repeated
    #[arg(long, env = "THROUGHLINE_HOST", value_name = "NAME", value_delimiter = ',')]
    pub host: Vec<String>,

    /// Management interface of a RabbitMQ whose queues are shown: [NAME=]http://USER:PASSWORD@HOST:15672; may be
    /// repeated. A user with the tag monitoring is enough; prefer the variable where there is a password
    #[arg(
        long,
        env = "THROUGHLINE_RABBITMQ_API",
        value_name = "URL",
        value_delimiter = ',',
        hide_env_values = true
    )]
    pub rabbitmq_api: Vec<Address>,

    /// Broker whose messages are seen and kept: [NAME=]amqp://USER:PASSWORD@HOST:5672/VHOST, or [NAME=]sqlite://FILE for
    /// the embedded one; amqps:// for TLS; may be repeated. Prefer the variable where there is a password
    #[arg(long, env = "THROUGHLINE_TAP", value_name = "URL", value_delimiter = ',', hide_env_values = true)]
    pub tap: Vec<Address>,

    /// Exchange whose messages are not to be seen, a * at its end stands for any rest; may be repeated
    #[arg(long, env = "THROUGHLINE_TAP_EXCLUDE", value_name = "EXCHANGE", value_delimiter = ',')]
    pub tap_exclude: Vec<String>,

    /// Exchange that is listened to although no management interface tells of it, with the routing key of a direct one as
    /// EXCHANGE=KEY; may be repeated
    #[arg(long, env = "THROUGHLINE_TAP_EXCHANGE", value_name = "EXCHANGE", value_delimiter = ',')]
    pub tap_exchange: Vec<Exchange>,

    /// How much of a message's body is kept, up to 1MiB
    #[arg(long, env = "THROUGHLINE_TAP_BODY", value_name = "SIZE", default_value = "64KiB", value_parser = body_size)]
    pub tap_body: u64,

    /// Descriptor set by which bodies of Protocol Buffers are read, as protoc --include_imports --descriptor_set_out=FILE
    /// writes it; may be repeated
    #[arg(long, env = "THROUGHLINE_DESCRIPTOR_SET", value_name = "FILE", value_delimiter = ',')]
    pub descriptor_set: Vec<PathBuf>,

    /// The same RabbitMQ over AMQP, so that its messages can be acted on: [NAME=]amqp://USER:PASSWORD@HOST:5672, with
    /// /VHOST for one virtual host alone; may be repeated. Without a user that of --rabbitmq-api is taken
    #[arg(
        long,
        env = "THROUGHLINE_RABBITMQ_AMQP",
        value_name = "URL",
        value_delimiter = ',',
        hide_env_values = true
    )]
    pub rabbitmq_amqp: Vec<Address>,

    /// Queue whose depth is asked over AMQP, by a passive declare, of the brokers of --rabbitmq-amqp that have no --rabbitmq-api;
    /// may be repeated. Queues that spans tell of are asked for without being named
    #[arg(long, env = "THROUGHLINE_RABBITMQ_QUEUE", value_name = "QUEUE", value_delimiter = ',', value_parser = queue)]
    pub rabbitmq_queue: Vec<String>,

    /// Kafka whose consumer groups are asked how far they are, in a build with the feature `kafka`: [NAME=]HOST:PORT, with more of its
    /// servers after commas; may be repeated, in the variable with ; between
    #[arg(long, env = "THROUGHLINE_KAFKA_GROUPS", value_name = "SERVERS", value_delimiter = ';')]
    pub kafka_groups: Vec<Cluster>,

    /// PEM file of the authorities that signed the brokers' certificates, for https:// in --rabbitmq-api and amqps:// in --tap
    /// and --rabbitmq-amqp; without it, those that the system trusts
    #[arg(long, env = "THROUGHLINE_RABBITMQ_CA", value_name = "FILE")]
    pub rabbitmq_ca: Option<PathBuf>,

    /// File of the toolkit's embedded broker whose messages can be acted on: [NAME=]sqlite://FILE; the demo sets it
    #[arg(long, env = "THROUGHLINE_EMBEDDED_BROKER", value_name = "URL", value_delimiter = ',')]
    pub embedded_broker: Vec<Address>,

    /// Where a service's interface is described, linked from its page: SERVICE=[TITLE=]URL, such as
    /// orders=https://docs.example/orders or orders=AsyncAPI=https://docs.example/messages; may be repeated, also for the same
    /// service with other titles
    #[arg(
        long = "document",
        env = "THROUGHLINE_DOCUMENT",
        value_name = "SERVICE=[TITLE=]URL",
        value_delimiter = ','
    )]
    pub documents: Vec<Document>,

    /// Listen beyond this machine without both kinds of keys: everybody who reaches it may send or read
    #[arg(long, env = "THROUGHLINE_ALLOW_REMOTE")]
    pub allow_remote: bool,

    /// The gateway of a demo shop whose failures can be switched on from the pages, such as http://127.0.0.1:7080
    #[arg(long, env = "THROUGHLINE_SCENARIOS_URL", value_name = "URL", hide = true, value_parser = gateway)]
    pub scenarios_url: Option<String>,

    #[command(flatten)]
    pub log: LogSettings,
}

/// How the process logs, to stderr.
#[derive(clap::Args, Debug, Clone)]
pub struct LogSettings {
    /// What is logged: a level, or targets with levels
    #[arg(long = "log", env = "THROUGHLINE_LOG", value_name = "FILTER", default_value = "info")]
    pub filter: String,

    /// Form of the log lines
    #[arg(long, env = "THROUGHLINE_LOG_FORMAT", value_name = "FORMAT", default_value = "text")]
    pub log_format: LogFormat,
}

/// A log line as text for a person or as JSON for a program.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    Text,
    Json,
}

/// A number with a unit after it.
fn split(text: &str) -> Result<(f64, &str), String> {
    let text = text.trim();
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let number: f64 = text[..end].parse().map_err(|_| format!("{text:?} does not begin with a number"))?;
    Ok((number, text[end..].trim()))
}

/// `90s`, `30m`, `12h`, `7d`, `4w`; `0` is never.
fn age(text: &str) -> Result<Duration, String> {
    let (number, unit) = split(text)?;
    let seconds = match unit {
        "" if number == 0.0 => 0.0,
        "s" => 1.0,
        "m" => 60.0,
        "h" => 3_600.0,
        "d" => 86_400.0,
        "w" => 604_800.0,
        _ => return Err("write an age as 90s, 30m, 12h, 7d or 4w".into()),
    };
    Duration::try_from_secs_f64(number * seconds).map_err(|_| "that is too long".into())
}

/// `500MB`, `10GB`, `64MiB`; plain numbers are bytes.
fn size(text: &str) -> Result<u64, String> {
    let (number, unit) = split(text)?;
    let factor: u64 = match unit.to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "kb" | "k" => 1_000,
        "mb" | "m" => 1_000_000,
        "gb" | "g" => 1_000_000_000,
        "tb" | "t" => 1_000_000_000_000,
        "kib" => 1 << 10,
        "mib" => 1 << 20,
        "gib" => 1 << 30,
        "tib" => 1 << 40,
        _ => return Err("write a size as 500MB, 10GB or 64MiB".into()),
    };
    Ok((number * factor as f64) as u64)
}

fn request_size(text: &str) -> Result<u64, String> {
    match size(text)? {
        bytes @ 1024..=1_073_741_824 => Ok(bytes),
        _ => Err("choose between 1kB and 1GiB".into()),
    }
}

fn body_size(text: &str) -> Result<u64, String> {
    match size(text)? {
        bytes @ 0..=1_048_576 => Ok(bytes),
        _ => Err("choose at most 1MiB".into()),
    }
}

/// A queue's name: AMQP has 255 bytes for it.
fn queue(text: &str) -> Result<String, String> {
    let name = text.trim();
    match name.len() {
        1..=255 => Ok(name.to_owned()),
        _ => Err("a queue's name has 1 to 255 bytes".into()),
    }
}

fn origin(text: &str) -> Result<String, String> {
    let plain = text.strip_prefix("http://").or_else(|| text.strip_prefix("https://"));
    let host = plain.is_some_and(|host| !host.is_empty() && !host.contains(['/', ' ']));
    if text == "*" || host {
        return Ok(text.to_owned());
    }
    Err("an origin is a scheme and a host without a path, such as https://shop.example, or *".into())
}

/// `http://HOST:PORT`, with nothing behind it.
fn gateway(text: &str) -> Result<String, String> {
    let base = text.strip_suffix('/').unwrap_or(text);
    let host = base.strip_prefix("http://").unwrap_or_default();
    if host.is_empty() || host.contains(|c: char| c.is_whitespace() || "/@?#\\".contains(c)) {
        return Err("an address of a gateway is http://HOST:PORT and nothing behind it".into());
    }
    Ok(base.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_ages_and_sizes() {
        assert_eq!(age("7d"), Ok(Duration::from_secs(604_800)));
        assert_eq!(age("0"), Ok(Duration::ZERO));
        assert_eq!(size("64MiB"), Ok(64 << 20));
        assert_eq!(size("1.5 GB"), Ok(1_500_000_000));
        for wrong in ["7", "d", "-1d", "1y"] {
            assert!(age(wrong).is_err(), "{wrong}");
        }
        for wrong in ["", "10XB", "GB"] {
            assert!(size(wrong).is_err(), "{wrong}");
        }
        assert!(body_size("2MiB").is_err() && body_size("0").is_ok());
        assert!(request_size("10B").is_err() && origin("shop.example").is_err());
        assert_eq!(gateway("http://127.0.0.1:7080/"), Ok("http://127.0.0.1:7080".into()));
        for wrong in ["", "127.0.0.1:7080", "https://shop", "http://", "http://u:p@shop", "http://shop/a"] {
            assert!(gateway(wrong).is_err(), "{wrong}");
        }
        assert_eq!(origin("https://shop.example:8443"), Ok("https://shop.example:8443".into()));
    }
}
