//! `throughline dashboard`: the receiver, the store and the pages.

use crate::comms::shutdown;
use crate::config::dashboard::DashboardSettings;
use crate::dashboard::collect::{self, Broker};
use crate::dashboard::receive;
use crate::dashboard::serve::{Dashboard, Settings};
use crate::dashboard::store::Limits;

use super::logs;

/// Receives OpenTelemetry data, keeps it and shows it
#[derive(clap::Args, Debug)]
#[command(args_override_self = true)]
pub struct Args {
    #[command(flatten)]
    pub settings: DashboardSettings,

    /// Says on the pages that the demo shop runs beside them
    #[arg(long, hide = true)]
    pub demo: bool,

    /// Ends when standard input is closed: for a supervisor that holds the other end
    #[arg(long, hide = true)]
    pub end_with_stdin: bool,
}

/// Serves until the process is asked to end.
pub async fn run(args: Args) -> anyhow::Result<()> {
    let given = args.settings;
    logs::init(&given.log)?;
    let settings = Settings {
        listen: given.listen,
        otlp_grpc: given.otlp_grpc,
        otlp_http: given.otlp_http,
        zipkin: given.zipkin,
        store: given.store,
        limits: Limits {
            max_age: given.keep,
            max_log_age: given.keep_logs,
            max_log_bytes: given.keep_logs_size,
            max_bytes: given.keep_size,
            metrics_age: given.keep_metrics,
            metrics_bytes: given.keep_metrics_size,
            ..Limits::default()
        },
        receive: receive::Settings {
            max_request: given.max_request as usize,
            cors_origins: given.cors_origin,
            correlation_keys: given.correlation_key,
            kept_metrics: given.keep_metric,
            metrics_age: given.keep_metrics,
            ..receive::Settings::default()
        },
        ingest_keys: given.ingest_key,
        read_keys: given.read_key,
        hosts: given.host,
        allow_remote: given.allow_remote,
        demo: args.demo,
        scenarios_url: given.scenarios_url,
        documents: given.documents.into_iter().collect(),
        brokers: Broker::read(&given.rabbitmq_api)?,
        ask_brokers: collect::EVERY,
        first_request: Settings::FIRST_REQUEST,
    };
    let dashboard = Dashboard::start(settings).await?;
    tracing::info!("pages on http://{}", dashboard.listen);
    tracing::info!("OTLP over gRPC on {}", dashboard.otlp_grpc);
    tracing::info!("OTLP over HTTP on {}", dashboard.otlp_http);
    if let Some(zipkin) = dashboard.zipkin {
        tracing::info!("Zipkin's spans on {zipkin}");
    }
    tracing::info!("store is {}", dashboard.store_location());
    shutdown::requested(args.end_with_stdin).await?;
    tracing::info!("ending: no new requests, writing what has come");
    dashboard.stop().await;
    Ok(())
}
