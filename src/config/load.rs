//! Settings of the load: where it goes, how much of it, what its traces are like.
//!
//! Where it goes has the variables that OpenTelemetry gave to every exporter; the rest are flags only, since they
//! are different for each load.

use std::str::FromStr;
use std::time::Duration;

use crate::load::plan::{Shape, System};
use crate::load::send::{Compression, Protocol, Target};
use crate::load::{Extent, Settings};

/// How long a load lasts that nobody limits.
const USUAL: Duration = Duration::from_secs(30);
/// Most spans that depth and fan-out may give a trace.
const MOST_SPANS: f64 = 1e6;

/// Where the load goes, how much of it, and what it is like.
#[derive(clap::Args, Debug, Clone)]
pub struct LoadSettings {
    #[command(flatten)]
    much: Much,
    #[command(flatten)]
    like: Like,
    #[command(flatten)]
    to: To,
}

#[derive(clap::Args, Debug, Clone)]
#[command(next_help_heading = "Where it goes")]
struct To {
    /// The receiver's address, without paths
    #[arg(
        long,
        env = "OTEL_EXPORTER_OTLP_ENDPOINT",
        value_name = "URL",
        default_value = "http://127.0.0.1:4317",
        default_value_if("protocol", "http", "http://127.0.0.1:4318"),
        default_value_if("protocol", "http/protobuf", "http://127.0.0.1:4318")
    )]
    endpoint: String,

    /// How OTLP is spoken
    #[arg(long, env = "OTEL_EXPORTER_OTLP_PROTOCOL", value_name = "PROTOCOL", default_value = "grpc")]
    protocol: Speaks,

    /// How requests are compressed
    #[arg(long, env = "OTEL_EXPORTER_OTLP_COMPRESSION", value_name = "METHOD", default_value = "none")]
    compression: Packs,

    /// Header to send with each request, such as `authorization=Bearer KEY`; may be repeated
    #[arg(
        long,
        env = "OTEL_EXPORTER_OTLP_HEADERS",
        value_name = "NAME=VALUE",
        value_delimiter = ',',
        value_parser = header,
        hide_env_values = true
    )]
    header: Vec<(String, String)>,

    /// How long a request is tried again that the receiver does not take yet, such as 60s or 5m
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = time)]
    retry_for: Duration,
}

#[derive(clap::Args, Debug, Clone)]
#[command(next_help_heading = "How much")]
struct Much {
    /// Spans a second, or `unlimited` for as many as the receiver takes
    #[arg(long, value_name = "SPANS", default_value = "1000")]
    rate: Rate,

    /// End after so many spans; the last trace is made whole
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u64).range(1..), conflicts_with = "duration")]
    spans: Option<u64>,

    /// End after so long, such as 30s or 5m [default: 30s]
    #[arg(long, value_name = "TIME", value_parser = time)]
    duration: Option<Duration>,

    /// Requests on their way at the same time, each over a connection of its own
    #[arg(long, value_name = "COUNT", default_value = "4", value_parser = count::<1, 256>)]
    workers: usize,

    /// Spans, or log records, of a request
    #[arg(long, value_name = "COUNT", default_value = "512", value_parser = count::<1, 100_000>)]
    batch: usize,

    /// Put spans of one service only into a request, as its own SDK would; otherwise they are mixed, as by a collector
    #[arg(long)]
    by_service: bool,
}

#[derive(clap::Args, Debug, Clone)]
#[command(next_help_heading = "What it is like")]
struct Like {
    /// Services of the system
    #[arg(long, value_name = "COUNT", default_value = "12", value_parser = count::<1, 10_000>)]
    services: usize,

    /// Operations of each service
    #[arg(long, value_name = "COUNT", default_value = "8", value_parser = count::<1, 1_000>)]
    operations: usize,

    /// Services that a request passes through, one behind the other [default: 4, or as many as there are]
    #[arg(long, value_name = "COUNT", value_parser = count::<1, 32>)]
    depth: Option<usize>,

    /// Services that each service calls for a request
    #[arg(long, value_name = "COUNT", default_value = "2", value_parser = count::<1, 1_000>)]
    fan_out: usize,

    /// Spans of each trace: calls are left out or repeated until there are so many
    #[arg(long, value_name = "COUNT", value_parser = count::<1, 1_000_000>)]
    spans_per_trace: Option<usize>,

    /// Share of the traces that fail, from 0 to 1
    #[arg(long, value_name = "SHARE", default_value = "0.02", value_parser = share)]
    error_share: f64,

    /// Queues between services, by turns joined by parent (RabbitMQ) and by link (Kafka)
    #[arg(long, value_name = "COUNT", default_value = "2", value_parser = count::<0, 1_000>)]
    queues: usize,

    /// Attributes of a span; those of the semantic conventions are always there
    #[arg(long, value_name = "COUNT", default_value = "10", value_parser = count::<0, 1_000>)]
    attributes: usize,

    /// Different users, sessions and entities
    #[arg(long, value_name = "COUNT", default_value = "10000", value_parser = clap::value_parser!(u64).range(1..=1_000_000_000_000))]
    cardinality: u64,

    /// Share of the traces that carry a correlation ID, from 0 to 1, or `always`
    #[arg(long, value_name = "SHARE", default_value = "always", value_parser = share_or_always)]
    correlation_ids: f64,

    /// Share of the spans that write a log record, from 0 to 1
    #[arg(long, value_name = "SHARE", default_value = "0", value_parser = share)]
    logs: f64,

    /// Make the traces of this seed: the same IDs, spans and durations each time; by default a new one
    #[arg(long, value_name = "NUMBER")]
    seed: Option<u64>,
}

impl LoadSettings {
    /// The load that was asked for.
    ///
    /// # Errors
    /// Depth, fan-out and services do not go together; names the flags.
    pub fn settings(self) -> anyhow::Result<Settings> {
        let Self { to, much, like } = self;
        let depth = like.depth.unwrap_or(like.services.min(4));
        anyhow::ensure!(
            depth <= like.services,
            "--depth {depth} needs as many services: raise --services {} or lower --depth",
            like.services
        );
        let shape = Shape {
            services: like.services,
            operations: like.operations,
            depth,
            fan_out: like.fan_out,
            queues: like.queues,
            spans_per_trace: like.spans_per_trace,
            error_share: like.error_share,
            correlation_share: like.correlation_ids,
            log_share: like.logs,
            attributes: like.attributes,
            cardinality: like.cardinality,
            seed: like.seed.unwrap_or_else(|| rand::random::<u32>().into()),
        };
        let most = System::most_spans(&shape);
        anyhow::ensure!(
            most <= MOST_SPANS || shape.spans_per_trace.is_some(),
            "--depth {depth} with --fan-out {} makes traces of up to {most:.0} spans: lower one of them, or set \
             --spans-per-trace",
            shape.fan_out
        );
        let target = Target {
            endpoint: to.endpoint,
            protocol: to.protocol.into(),
            compression: to.compression.into(),
            // A variable that is set to nothing is not set.
            headers: to.header.into_iter().filter(|(name, _)| !name.is_empty()).collect(),
            workers: much.workers,
            retry_for: to.retry_for,
        };
        let extent = match much.spans {
            Some(spans) => Extent::Spans(spans),
            None => Extent::For(much.duration.unwrap_or(USUAL)),
        };
        let (batch, by_service) = (much.batch, much.by_service);
        Ok(Settings { target, shape, rate: much.rate.0, extent, batch, by_service })
    }
}

/// The protocols of OTLP, by their short names and by those that OpenTelemetry gives them.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Speaks {
    Grpc,
    #[value(alias = "http/protobuf")]
    Http,
}

impl From<Speaks> for Protocol {
    fn from(protocol: Speaks) -> Self {
        match protocol {
            Speaks::Grpc => Self::Grpc,
            Speaks::Http => Self::Http,
        }
    }
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Packs {
    None,
    Gzip,
    Zstd,
}

impl From<Packs> for Compression {
    fn from(compression: Packs) -> Self {
        match compression {
            Packs::None => Self::None,
            Packs::Gzip => Self::Gzip,
            Packs::Zstd => Self::Zstd,
        }
    }
}

/// Spans a second; none for no limit.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Rate(Option<f64>);

impl FromStr for Rate {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "unlimited" {
            return Ok(Self(None));
        }
        match text.parse::<f64>() {
            Ok(rate) if (0.001..=1e9).contains(&rate) => Ok(Self(Some(rate))),
            _ => Err("write a number of spans a second, or `unlimited`".into()),
        }
    }
}

/// Reads a count from `LEAST` to `MOST`.
fn count<const LEAST: usize, const MOST: usize>(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(count) if (LEAST..=MOST).contains(&count) => Ok(count),
        _ => Err(format!("must be a number from {LEAST} to {MOST}")),
    }
}

fn share(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(share) if (0.0..=1.0).contains(&share) => Ok(share),
        _ => Err("must be a share from 0 to 1, such as 0.02".into()),
    }
}

fn share_or_always(text: &str) -> Result<f64, String> {
    if text == "always" { Ok(1.0) } else { share(text).map_err(|error| format!("{error}, or `always`")) }
}

/// `30s`, `5m`, `1h 30m`.
fn time(text: &str) -> Result<Duration, String> {
    let time = text.parse::<jiff::SignedDuration>().ok().and_then(|time| Duration::try_from(time).ok());
    time.filter(|time| !time.is_zero()).ok_or_else(|| "write a time as 30s, 5m or 1h".into())
}

fn header(text: &str) -> Result<(String, String), String> {
    if text.trim().is_empty() {
        return Ok(Default::default());
    }
    let (name, value) = text.split_once('=').ok_or("write a header as NAME=VALUE")?;
    Ok((name.trim().to_owned(), value.trim().to_owned()))
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    #[derive(clap::Parser)]
    struct Load {
        #[command(flatten)]
        settings: LoadSettings,
    }

    fn read(flags: &[&str]) -> anyhow::Result<Settings> {
        Load::try_parse_from([&["load"], flags].concat())?.settings.settings()
    }

    #[test]
    fn what_nobody_says_goes_together() {
        let usual = read(&[]).expect("the defaults");
        assert_eq!((usual.rate, usual.extent), (Some(1000.0), Extent::For(USUAL)));
        assert_eq!((usual.shape.services, usual.shape.depth, usual.batch), (12, 4, 512));
        let few = read(&["--services=2", "--rate=unlimited", "--spans=5", "--correlation-ids=0.5"]);
        let few = few.expect("a small system");
        assert_eq!((few.shape.depth, few.rate, few.extent), (2, None, Extent::Spans(5)));
        assert_eq!(few.shape.correlation_share, 0.5);
        for (protocol, endpoint) in [("grpc", ":4317"), ("http", ":4318"), ("http/protobuf", ":4318")] {
            let target = read(&["--protocol", protocol]).expect("a protocol").target;
            assert!(target.endpoint.ends_with(endpoint), "{protocol}: {}", target.endpoint);
        }
        let keys = read(&["--header", "authorization=Bearer a=b"]).expect("a header").target.headers;
        assert_eq!(keys, [("authorization".to_owned(), "Bearer a=b".to_owned())]);
    }

    #[test]
    fn what_does_not_go_is_refused_by_the_name_of_its_flag() {
        for (flags, words) in [
            (&["--depth=5", "--services=4"][..], &["--depth 5", "--services"][..]),
            (&["--depth=12", "--fan-out=9"], &["--depth", "--fan-out", "--spans-per-trace"]),
            (&["--spans=5", "--duration=3s"], &["--spans", "--duration"]),
            (&["--rate=fast"], &["--rate", "unlimited"]),
            (&["--rate=0"], &["--rate"]),
            (&["--duration=soon"], &["--duration", "30s"]),
            (&["--error-share=2"], &["--error-share", "0 to 1"]),
            (&["--correlation-ids=never"], &["--correlation-ids", "always"]),
            (&["--header=secret"], &["--header", "NAME=VALUE"]),
            (&["--workers=0"], &["--workers"]),
            (&["--protocol=zipkin"], &["--protocol", "grpc"]),
        ] {
            let error = read(flags).expect_err("it is refused").to_string();
            assert!(words.iter().all(|word| error.contains(word)), "{flags:?}: {error}");
        }
    }
}
