//! Settings of the demo shop: of one service, and of the supervisor that starts them all.
//!
//! Every setting has a flag and a variable; the flag wins.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::builder::PossibleValuesParser;
use clap::{Args, ValueEnum};

use crate::demo::scenarios;
use crate::demo::shop::ServiceName;
use crate::telemetry::{LogFormat, Protocol};

/// The broker's file unless another is named.
const BROKER: &str = "sqlite://throughline-broker.db";
/// The folder of the services' databases unless another is named.
const SHOP_DATA: &str = "throughline-shop";

/// The file of the scenarios that are on unless another is named.
const SCENARIOS: &str = "throughline-scenarios.json";

/// Where a service listens, whom it calls, how it behaves.
#[derive(Args, Clone, Debug)]
pub struct ServiceSettings {
    /// Which service to run
    #[arg(value_name = "NAME")]
    pub name: ServiceName,

    /// Address to listen on; by default 127.0.0.1 and the service's own port, and port 0 takes a free one
    #[arg(long, env = "THROUGHLINE_SERVICE_LISTEN", value_name = "ADDR")]
    pub listen: Option<SocketAddr>,

    /// OTLP receiver for traces, metrics and logs, port 4318 for http/protobuf; empty to export nothing
    #[arg(
        long,
        env = "OTEL_EXPORTER_OTLP_ENDPOINT",
        value_name = "URL",
        default_value = "http://127.0.0.1:4317",
        default_value_if("otlp_protocol", "http/protobuf", "http://127.0.0.1:4318")
    )]
    pub otlp_endpoint: String,

    /// How to export
    #[arg(long, env = "OTEL_EXPORTER_OTLP_PROTOCOL", value_name = "PROTOCOL", default_value = "grpc")]
    pub otlp_protocol: OtlpProtocol,

    /// How to compress what is exported
    #[arg(long, env = "OTEL_EXPORTER_OTLP_COMPRESSION", value_name = "METHOD", default_value = "none")]
    pub otlp_compression: OtlpCompression,

    /// File of the embedded broker
    #[arg(long, env = "THROUGHLINE_BROKER", value_name = "URL", default_value = BROKER)]
    pub broker: String,

    /// RabbitMQ in place of the embedded broker: amqp://USER:PASSWORD@HOST:5672/VHOST, with / in VHOST as %2F; or amqps://
    #[arg(long, env = "THROUGHLINE_RABBITMQ", value_name = "URL", hide_env_values = true)]
    pub rabbitmq: Option<String>,

    /// Kafka in place of the embedded broker, in a build with the feature `kafka`: HOST:PORT of one or more of its servers
    #[arg(long, env = "THROUGHLINE_KAFKA", value_name = "SERVERS")]
    pub kafka: Option<String>,

    /// PEM file of the authority that signed RabbitMQ's certificate, for amqps://; without it, those that the system trusts
    #[arg(long, env = "THROUGHLINE_RABBITMQ_CA", value_name = "FILE")]
    pub rabbitmq_ca: Option<PathBuf>,

    /// Folder for the services' own databases
    #[arg(long, env = "THROUGHLINE_SHOP_DATA", value_name = "FOLDER", default_value = SHOP_DATA)]
    pub shop_data: PathBuf,

    /// The orders service
    #[arg(long, env = "THROUGHLINE_ORDERS_URL", value_name = "URL", default_value = "http://127.0.0.1:7081")]
    pub orders_url: String,

    /// The users service (gRPC)
    #[arg(long, env = "THROUGHLINE_USERS_URL", value_name = "URL", default_value = "http://127.0.0.1:7082")]
    pub users_url: String,

    /// The payments service
    #[arg(
        long,
        env = "THROUGHLINE_PAYMENTS_URL",
        value_name = "URL",
        default_value = "http://127.0.0.1:7083"
    )]
    pub payments_url: String,

    /// The inventory service
    #[arg(
        long,
        env = "THROUGHLINE_INVENTORY_URL",
        value_name = "URL",
        default_value = "http://127.0.0.1:7084"
    )]
    pub inventory_url: String,

    /// The bank
    #[arg(long, env = "THROUGHLINE_BANK_URL", value_name = "URL", default_value = "http://127.0.0.1:7087")]
    pub bank_url: String,

    /// File of the scenarios that are switched on; the services of a shop share it
    #[arg(long, env = "THROUGHLINE_SCENARIOS", value_name = "FILE", default_value = SCENARIOS)]
    pub scenarios: PathBuf,

    /// Key that the service signs its tokens with, as ISSUER.KID.KEY; the demo makes one at its start
    #[arg(long, env = "THROUGHLINE_TOKEN_KEY", value_name = "KEY", hide_env_values = true)]
    pub token_key: Option<String>,

    /// Public keys of those whose tokens the service takes, as ISSUER.KID.KEY,…; without any, anybody may call it
    #[arg(long, env = "THROUGHLINE_TOKEN_TRUST", value_name = "KEYS")]
    pub token_trust: Option<String>,

    /// Folder of `throughline certs`: the service is served over mutual TLS (but for the gateway, whose customers have no
    /// certificates) and shows its own to those it calls, whose addresses begin with https then
    #[arg(long, env = "THROUGHLINE_SERVICE_CERTS", value_name = "FOLDER")]
    pub certs: Option<PathBuf>,

    /// The version that the service says it is
    #[arg(long, env = "THROUGHLINE_SERVICE_VERSION", value_name = "VERSION", default_value = env!("CARGO_PKG_VERSION"))]
    pub service_version: String,

    #[command(flatten)]
    pub behaviour: Behaviour,

    /// What to log on standard error, such as `info` or `warn,throughline=debug`
    #[arg(long, env = "THROUGHLINE_LOG", value_name = "FILTER", default_value = "info,sqlx=warn,lapin=off")]
    pub log: String,

    /// How to write logs
    #[arg(long, env = "THROUGHLINE_LOG_FORMAT", value_name = "FORMAT", default_value = "text")]
    pub log_format: LogStyle,

    /// End when standard input is closed: for a supervisor that holds the other end
    #[arg(long, hide = true)]
    pub end_with_stdin: bool,
}

/// How the simulated world of the shop behaves; the same for all its services.
#[derive(Args, Clone, Debug)]
pub struct Behaviour {
    /// Wait before the first retry of a message, in milliseconds; each further one doubles
    #[arg(long, env = "THROUGHLINE_RETRY_DELAY_MS", value_name = "MS", default_value_t = 2000)]
    pub retry_delay_ms: u64,

    /// How long the breaker before payments lets nothing through once it is open, in milliseconds
    #[arg(long, env = "THROUGHLINE_BREAKER_WAIT_MS", value_name = "MS", default_value_t = 10_000)]
    pub breaker_wait_ms: u64,

    /// Factor on all simulated latencies; 0 for none
    #[arg(long, env = "THROUGHLINE_LATENCY", value_name = "FACTOR", default_value_t = 1.0, value_parser = factor)]
    pub latency: f64,
}

/// The address of a broker, if one is asked for: an empty one is none.
pub fn address(setting: Option<&String>) -> Option<&str> {
    setting.map(|url| url.trim()).filter(|url| !url.is_empty())
}

impl Behaviour {
    pub fn retry_delay(&self) -> Duration {
        Duration::from_millis(self.retry_delay_ms)
    }

    pub fn breaker_wait(&self) -> Duration {
        Duration::from_millis(self.breaker_wait_ms)
    }
}

/// The protocols of OTLP that are spoken here, by the names that OpenTelemetry gives them.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum OtlpProtocol {
    Grpc,
    #[value(name = "http/protobuf")]
    Http,
}

impl From<OtlpProtocol> for Protocol {
    fn from(protocol: OtlpProtocol) -> Self {
        match protocol {
            OtlpProtocol::Grpc => Self::Grpc,
            OtlpProtocol::Http => Self::Http,
        }
    }
}

/// How exports are compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum OtlpCompression {
    None,
    Gzip,
}

/// How logs are written to standard error.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum LogStyle {
    Text,
    Json,
}

impl From<LogStyle> for LogFormat {
    fn from(style: LogStyle) -> Self {
        match style {
            LogStyle::Text => Self::Text,
            LogStyle::Json => Self::Json,
        }
    }
}

/// The whole demo: dashboard, services, load.
#[derive(Args, Clone, Debug)]
pub struct DemoSettings {
    /// Address of the dashboard's pages
    #[arg(long, env = "THROUGHLINE_LISTEN", value_name = "ADDR", default_value = "127.0.0.1:7070")]
    pub listen: SocketAddr,

    /// Address of the dashboard's OTLP/gRPC receiver
    #[arg(long, env = "THROUGHLINE_OTLP_GRPC", value_name = "ADDR", default_value = "127.0.0.1:4317")]
    pub otlp_grpc: SocketAddr,

    /// Address of the dashboard's OTLP/HTTP receiver
    #[arg(long, env = "THROUGHLINE_OTLP_HTTP", value_name = "ADDR", default_value = "127.0.0.1:4318")]
    pub otlp_http: SocketAddr,

    /// Where the dashboard keeps its data: sqlite://FILE or postgres://USER:PASSWORD@HOST:PORT/DATABASE
    #[arg(
        long,
        env = "THROUGHLINE_STORE",
        value_name = "URL",
        default_value = "sqlite://throughline.db",
        hide_env_values = true
    )]
    pub store: String,

    /// Start no dashboard; the services export to the receiver at --otlp-grpc
    #[arg(long)]
    pub no_dashboard: bool,

    /// File of the embedded broker
    #[arg(long, env = "THROUGHLINE_BROKER", value_name = "URL", default_value = BROKER)]
    pub broker: String,

    /// RabbitMQ in place of the embedded broker: amqp://USER:PASSWORD@HOST:5672/VHOST, with / in VHOST as %2F; or amqps://
    #[arg(long, env = "THROUGHLINE_RABBITMQ", value_name = "URL", hide_env_values = true)]
    pub rabbitmq: Option<String>,

    /// Kafka in place of the embedded broker, in a build with the feature `kafka`: HOST:PORT of one or more of its servers
    #[arg(long, env = "THROUGHLINE_KAFKA", value_name = "SERVERS")]
    pub kafka: Option<String>,

    /// PEM file of the authority that signed RabbitMQ's certificate, for amqps://; without it, those that the system trusts
    #[arg(long, env = "THROUGHLINE_RABBITMQ_CA", value_name = "FILE")]
    pub rabbitmq_ca: Option<PathBuf>,

    /// Folder for the services' own databases
    #[arg(long, env = "THROUGHLINE_SHOP_DATA", value_name = "FOLDER", default_value = SHOP_DATA)]
    pub shop_data: PathBuf,

    /// Orders a second, beside twice as many reads; 0 for no load
    #[arg(long, env = "THROUGHLINE_RATE", value_name = "N", default_value_t = 3.0, value_parser = rate)]
    pub rate: f64,

    /// What is to go wrong from the start, for as long as it usually does; may be given several times
    #[arg(long = "scenario", env = "THROUGHLINE_SCENARIO", value_name = "NAME", value_delimiter = ',', value_parser = PossibleValuesParser::new(scenarios::names()))]
    pub scenario: Vec<String>,

    /// File of the scenarios that are switched on, made anew at the start
    #[arg(long, env = "THROUGHLINE_SCENARIOS", value_name = "FILE", default_value = SCENARIOS)]
    pub scenarios: PathBuf,

    /// A further public key, as ISSUER.KID.KEY, whose tokens the services take; may be given several times
    #[arg(long, env = "THROUGHLINE_TRUST_KEY", value_name = "KEY", value_delimiter = ',')]
    pub trust_key: Vec<String>,

    /// The services call each other over mutual TLS, with certificates that are made at the start, in the folder certs of
    /// --shop-data
    #[arg(long, env = "THROUGHLINE_MTLS")]
    pub mtls: bool,

    #[command(flatten)]
    pub ports: Ports,

    #[command(flatten)]
    pub behaviour: Behaviour,

    /// What the dashboard logs on standard error
    #[arg(long, env = "THROUGHLINE_LOG", value_name = "FILTER", default_value = "warn")]
    pub log: String,

    /// What the services log on standard error; their logs are in the dashboard all the same
    #[arg(
        long,
        env = "THROUGHLINE_SERVICE_LOG",
        value_name = "FILTER",
        default_value = "error,throughline=off,lapin=off"
    )]
    pub service_log: String,

    /// Further arguments for the dashboard, passed on as they are
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "DASHBOARD ARGS")]
    pub dashboard: Vec<String>,
}

/// Ports of the services on 127.0.0.1; 0 takes a free one.
#[derive(Args, Clone, Debug)]
pub struct Ports {
    #[arg(long, env = "THROUGHLINE_GATEWAY_PORT", value_name = "PORT", default_value_t = ServiceName::Gateway.port())]
    pub gateway_port: u16,
    #[arg(long, env = "THROUGHLINE_ORDERS_PORT", value_name = "PORT", default_value_t = ServiceName::Orders.port())]
    pub orders_port: u16,
    #[arg(long, env = "THROUGHLINE_USERS_PORT", value_name = "PORT", default_value_t = ServiceName::Users.port())]
    pub users_port: u16,
    #[arg(long, env = "THROUGHLINE_PAYMENTS_PORT", value_name = "PORT", default_value_t = ServiceName::Payments.port())]
    pub payments_port: u16,
    #[arg(long, env = "THROUGHLINE_INVENTORY_PORT", value_name = "PORT", default_value_t = ServiceName::Inventory.port())]
    pub inventory_port: u16,
    #[arg(long, env = "THROUGHLINE_NOTIFICATIONS_PORT", value_name = "PORT", default_value_t = ServiceName::Notifications.port())]
    pub notifications_port: u16,
    #[arg(long, env = "THROUGHLINE_ANALYTICS_PORT", value_name = "PORT", default_value_t = ServiceName::Analytics.port())]
    pub analytics_port: u16,
    #[arg(long, env = "THROUGHLINE_BANK_PORT", value_name = "PORT", default_value_t = ServiceName::Bank.port())]
    pub bank_port: u16,
}

impl Ports {
    /// The port that was asked for.
    pub fn of(&self, name: ServiceName) -> u16 {
        match name {
            ServiceName::Gateway => self.gateway_port,
            ServiceName::Orders => self.orders_port,
            ServiceName::Users => self.users_port,
            ServiceName::Payments => self.payments_port,
            ServiceName::Inventory => self.inventory_port,
            ServiceName::Notifications => self.notifications_port,
            ServiceName::Analytics => self.analytics_port,
            ServiceName::Bank => self.bank_port,
        }
    }
}

fn factor(text: &str) -> Result<f64, String> {
    within(text, 10.0)
}

fn rate(text: &str) -> Result<f64, String> {
    within(text, 200.0)
}

fn within(text: &str, most: f64) -> Result<f64, String> {
    let value: f64 = text.parse().map_err(|_| "not a number".to_owned())?;
    if (0.0..=most).contains(&value) { Ok(value) } else { Err(format!("must be from 0 to {most}")) }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    #[derive(clap::Parser)]
    struct Demo {
        #[command(flatten)]
        settings: DemoSettings,
    }

    #[test]
    fn unknown_flags_at_the_end_are_the_dashboards() {
        let line = ["demo", "--rate", "0.5", "--listen", "127.0.0.1:1", "--retention", "3d"];
        let settings = Demo::try_parse_from(line).expect("parses").settings;
        assert_eq!((settings.rate, settings.listen.port()), (0.5, 1));
        assert_eq!(settings.dashboard, ["--retention", "3d"]);
    }

    #[test]
    fn scenarios_are_known_by_name() {
        let settings =
            Demo::try_parse_from(["demo", "--scenario", "payment-outage,slow-consumer"]).expect("parses");
        assert_eq!(settings.settings.scenario, ["payment-outage", "slow-consumer"]);
        let error =
            Demo::try_parse_from(["demo", "--scenario", "nonsense"]).err().expect("unknown").to_string();
        assert!(error.contains("payment-outage"), "{error}");
    }

    #[test]
    fn numbers_out_of_range_are_refused() {
        for bad in ["-1", "1e9", "NaN", "abc"] {
            assert!(Demo::try_parse_from(["demo", &format!("--rate={bad}")]).is_err(), "{bad}");
        }
    }
}
