//! `throughline dashboard`: the receiver, the store and the pages.

use std::io;

use crate::comms::shutdown;
use crate::config::dashboard::DashboardSettings;
use crate::dashboard::collect::address::Authorities;
use crate::dashboard::collect::{self, Broker, Cluster, Tap, TapSettings};
use crate::dashboard::documents::Documents;
use crate::dashboard::operate::Brokers;
use crate::dashboard::operate::address::Known;
use crate::dashboard::query::messages::body::Schemas;
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

/// The Kafkas that are asked.
fn clusters(given: Vec<Cluster>, brokers: &[Broker]) -> anyhow::Result<Vec<Cluster>> {
    const SETTING: &str = "--kafka-groups (THROUGHLINE_KAFKA_GROUPS)";
    if !given.is_empty() && !cfg!(feature = "kafka") {
        anyhow::bail!(
            "{SETTING}: this build has no Kafka in it; build one with `cargo install --path . --features kafka`, or let an \
             OpenTelemetry Collector send the lag"
        );
    }
    let mut names: Vec<&str> = brokers.iter().map(|broker| broker.name.as_str()).collect();
    for Cluster { name, .. } in &given {
        if names.contains(&name.as_str()) {
            anyhow::bail!(
                "{SETTING} names two brokers {name:?}: write NAME=HOST:PORT, each with another name"
            );
        }
        names.push(name);
    }
    Ok(given)
}

/// Serves until the process is asked to end.
pub async fn run(args: Args) -> anyhow::Result<()> {
    logs::init(&args.settings.log)?;
    let end_with_stdin = args.end_with_stdin;
    let dashboard = Dashboard::start(settings(args)?).await?;
    tracing::info!("pages on http://{}", dashboard.listen);
    tracing::info!("OTLP over gRPC on {}", dashboard.otlp_grpc);
    tracing::info!("OTLP over HTTP on {}", dashboard.otlp_http);
    if let Some(zipkin) = dashboard.zipkin {
        tracing::info!("Zipkin's spans on {zipkin}");
    }
    tracing::info!("store is {}", dashboard.store_location());
    until(shutdown::requested(end_with_stdin), dashboard).await
}

fn settings(args: Args) -> anyhow::Result<Settings> {
    let given = args.settings;
    let addresses = given.rabbitmq_api.iter().chain(&given.rabbitmq_amqp).chain(&given.tap);
    let authorities = Authorities::read(given.rabbitmq_ca, addresses)?;
    let brokers = Broker::read(&given.rabbitmq_api, &authorities)?;
    let known: Vec<Known> = brokers
        .iter()
        .map(|broker| Known {
            name: broker.name.clone(),
            host: broker.host().to_owned(),
            login: broker.login(),
        })
        .collect();
    let clusters = clusters(given.kafka_groups, &brokers)?;
    Ok(Settings {
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
            audit_age: given.keep_audit,
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
        operator_keys: given.operator_key,
        admin_keys: given.admin_key,
        hosts: given.host,
        allow_remote: given.allow_remote,
        demo: args.demo,
        scenarios_url: given.scenarios_url,
        documents: Documents::new(given.documents)?,
        hands: Brokers::read(&given.rabbitmq_amqp, &given.embedded_broker, &known, &authorities)?,
        brokers,
        clusters,
        ask_brokers: collect::EVERY,
        passive_queues: given.rabbitmq_queue,
        taps: Tap::read(&given.tap, &authorities)?,
        tap: TapSettings {
            exclude: given.tap_exclude,
            exchanges: given.tap_exchange,
            body: given.tap_body as usize,
        },
        schemas: Schemas::read(&given.descriptor_set)?,
        first_request: Settings::FIRST_REQUEST,
    })
}

/// Serves until the process is asked to end, or the store cannot go on.
async fn until(
    requested: impl Future<Output = io::Result<&str>>,
    dashboard: Dashboard,
) -> anyhow::Result<()> {
    tokio::select! {
        requested = requested => requested?,
        () = dashboard.broken() => anyhow::bail!(
            "the store {} has ended by a fault of the program, which is told above; what was acknowledged is kept: start the dashboard again, and report the fault",
            dashboard.store_location(),
        ),
    };
    tracing::info!("ending: no new requests, writing what has come");
    dashboard.stop().await;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::future::pending;
    use std::time::Duration;

    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        args: Args,
    }

    /// A dashboard on a file, at free ports.
    async fn dashboard(file: &str) -> Dashboard {
        let free = ["--listen", "--otlp-grpc", "--otlp-http"].map(|flag| [flag, "127.0.0.1:0"]);
        let line = ["dashboard", "--store", file].into_iter().chain(free.into_iter().flatten());
        Dashboard::start(settings(Line::parse_from(line).args).unwrap()).await.unwrap()
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_fault_of_the_writer_is_an_error_that_names_the_store() {
        let folder = tempfile::tempdir().unwrap();
        let file = format!("sqlite://{}", folder.path().join("a.db").display());
        let first = dashboard(&file).await;
        first.break_store().await;
        let ended = tokio::time::timeout(Duration::from_secs(20), until(pending(), first)).await;
        let error = ended.expect("it ends").expect_err("with an error").to_string();
        assert!(error.contains("a.db") && error.contains("start the dashboard again"), "{error}");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn without_a_fault_it_serves_until_it_is_asked_to_end() {
        let folder = tempfile::tempdir().unwrap();
        let file = format!("sqlite://{}", folder.path().join("a.db").display());
        let first = dashboard(&file).await;
        until(async { Ok("interrupted") }, first).await.unwrap();
        dashboard(&file).await.stop().await;
    }
}
