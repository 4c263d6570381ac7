//! Our own telemetry: traces, metrics and logs over OTLP, and readable logs on standard error.
//!
//! The only user of the OpenTelemetry SDK. The toolkit and the services use the API crate and `tracing`, so
//! they work the same without any of this.
//!
//! | file | what lives there |
//! |---|---|
//! | `mod.rs` | settings, [`init`], the [`Guard`] that flushes |
//! | `export.rs` | the OTLP exporters and their providers |
//! | `format.rs` | log lines with trace and correlation ID, as text or JSON |
//! | `testing/` | recorders of spans and metrics for tests of services |

mod export;
mod format;
pub mod testing;

use std::io::IsTerminal as _;
use std::time::Duration;

use opentelemetry::propagation::TextMapCompositePropagator;
use opentelemetry::trace::TracerProvider as _;
use opentelemetry_appender_tracing::layer::OpenTelemetryTracingBridge;
use opentelemetry_sdk::propagation::{BaggagePropagator, TraceContextPropagator};
use tracing::Level;
use tracing_subscriber::filter::{EnvFilter, FilterExt as _, LevelFilter, Targets, filter_fn};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{Layer as _, fmt};

use self::export::Providers;
use self::format::{JsonLines, TextLines};

/// How logs are written to standard error.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// One readable line each.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// How telemetry is sent: <https://opentelemetry.io/docs/specs/otlp/>.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Protocol {
    #[default]
    Grpc,
    /// Protobuf over HTTP/1.1.
    Http,
}

/// What a process says about itself, and where to.
#[derive(Clone, Debug)]
pub struct Settings {
    pub service_name: String,
    pub service_version: String,
    /// The group of services it belongs to, such as `shop`.
    pub service_namespace: Option<String>,
    /// The OTLP receiver, such as `http://127.0.0.1:4317`, or 4318 for HTTP; without one nothing is exported.
    pub otlp_endpoint: Option<String>,
    pub otlp_protocol: Protocol,
    /// Whether what is sent is compressed with gzip.
    pub otlp_gzip: bool,
    pub log_format: LogFormat,
    /// What goes to standard error, in the syntax of `tracing_subscriber`'s `EnvFilter`; exports are not
    /// affected.
    pub log_filter: String,
}

impl Settings {
    /// Exports nothing, in no namespace; what is to be exported goes over gRPC as it is, and logs from `info` on are lines of text.
    pub fn new(service_name: &str, service_version: &str) -> Self {
        Self {
            service_name: service_name.to_owned(),
            service_version: service_version.to_owned(),
            service_namespace: None,
            otlp_endpoint: None,
            otlp_protocol: Protocol::default(),
            otlp_gzip: false,
            log_format: LogFormat::default(),
            log_filter: "info".to_owned(),
        }
    }
}

/// How long [`Guard::shutdown`] waits for the receiver.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(3);

/// Libraries that carry the exports themselves. Exporting what they log would never end.
const SILENT: [&str; 7] = ["h2", "hyper", "hyper_util", "tonic", "reqwest", "tower", "opentelemetry"];

/// Keeps the exporters; [`Guard::shutdown`] sends what is left.
#[must_use = "dropping it loses the last telemetry"]
pub struct Guard {
    providers: Option<Providers>,
}

impl Guard {
    /// Sends what is left and ends the exporters. Waits some seconds at most.
    pub async fn shutdown(mut self) {
        let Some(providers) = self.providers.take() else { return };
        // The providers block until their threads are done, and these need the runtime to send.
        let flushed = tokio::task::spawn_blocking(move || providers.shutdown(FLUSH_TIMEOUT)).await;
        match flushed {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, "the last telemetry may be lost"),
            Err(error) => tracing::warn!(%error, "the last telemetry may be lost"),
        }
    }
}

/// Sets up telemetry for the whole process, within a runtime. To be called once, before any span or instrument
/// is made.
///
/// # Errors
/// It was called before, or the endpoint or the filter is malformed. An endpoint that nobody listens on is not
/// an error.
pub fn init(settings: &Settings) -> anyhow::Result<Guard> {
    let filter = EnvFilter::try_new(&settings.log_filter)
        .map_err(|e| anyhow::anyhow!("`{}` is not a log filter: {e}", settings.log_filter))?;
    let lines = fmt::layer().with_writer(std::io::stderr).with_ansi(std::io::stderr().is_terminal());
    let lines = match settings.log_format {
        LogFormat::Text => lines.event_format(TextLines).with_filter(filter).boxed(),
        LogFormat::Json => lines.event_format(JsonLines).with_filter(filter).boxed(),
    };
    opentelemetry::global::set_text_map_propagator(TextMapCompositePropagator::new(vec![
        Box::new(TraceContextPropagator::new()),
        Box::new(BaggagePropagator::new()),
    ]));
    let registry = tracing_subscriber::registry().with(lines);
    let Some(endpoint) = &settings.otlp_endpoint else {
        registry.try_init()?;
        return Ok(Guard { providers: None });
    };
    let uri: Option<axum::http::Uri> = endpoint.parse().ok();
    anyhow::ensure!(
        uri.is_some_and(|uri| uri.scheme_str() == Some("http") && uri.authority().is_some()),
        "`{endpoint}` is not an address to export to: it must be that of an OTLP receiver, such as \
         http://127.0.0.1:4317"
    );
    let providers = Providers::new(settings, endpoint)?;
    let tracer = providers.traces.tracer(crate::comms::SCOPE);
    // Events go out as log records; as span events too, each would be shown twice.
    let spans = tracing_opentelemetry::layer()
        .with_tracer(tracer)
        .with_location(false)
        .with_threads(false)
        .with_target(false)
        .with_tracked_inactivity(false)
        .with_filter(filter_fn(|meta| meta.is_span()).and(exported()));
    let records = OpenTelemetryTracingBridge::new(&providers.logs).with_filter(exported());
    registry.with(spans).with(records).try_init()?;
    opentelemetry::global::set_tracer_provider(providers.traces.clone());
    opentelemetry::global::set_meter_provider(providers.metrics.clone());
    Ok(Guard { providers: Some(providers) })
}

fn exported() -> Targets {
    let silent = SILENT.into_iter().map(|target| (target, LevelFilter::OFF));
    let base = Targets::new().with_default(Level::INFO).with_target("sqlx", Level::WARN);
    // It logs whole messages, bodies too, when they are returned; the toolkit says what happened without them.
    base.with_target("lapin", LevelFilter::OFF).with_targets(silent)
}
