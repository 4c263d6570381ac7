//! The OTLP exporters. Batches leave twice or more a second, so that a trace shows up while one looks.

use std::time::Duration;

use opentelemetry::KeyValue;
use opentelemetry::logs::LogRecord as _;
use opentelemetry_otlp::{
    Compression, LogExporter, MetricExporter, Protocol as OtlpProtocol, SpanExporter, WithExportConfig as _,
    WithHttpConfig as _, WithTonicConfig as _,
};
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::logs::{BatchLogProcessor, LogProcessor, SdkLogRecord, SdkLoggerProvider};
use opentelemetry_sdk::metrics::{PeriodicReader, SdkMeterProvider};
use opentelemetry_sdk::trace::{BatchSpanProcessor, SdkTracerProvider};
use opentelemetry_sdk::{Resource, logs, trace};

use super::{Protocol, Settings};
use crate::comms::{correlation, names};

const BATCH_DELAY: Duration = Duration::from_millis(300);
const METRIC_INTERVAL: Duration = Duration::from_secs(5);
const EXPORT_TIMEOUT: Duration = Duration::from_secs(5);

/// The three providers of a process.
pub(super) struct Providers {
    pub traces: SdkTracerProvider,
    pub logs: SdkLoggerProvider,
    pub metrics: SdkMeterProvider,
}

/// Who we are, on everything exported.
fn resource(settings: &Settings) -> Resource {
    let namespace = settings.service_namespace.iter().map(|n| KeyValue::new("service.namespace", n.clone()));
    Resource::builder()
        .with_service_name(settings.service_name.clone())
        .with_attributes([
            KeyValue::new("service.version", settings.service_version.clone()),
            KeyValue::new("service.instance.id", uuid::Uuid::new_v4().to_string()),
        ])
        .with_attributes(namespace)
        .build()
}

/// Makes an exporter of a signal, over gRPC or HTTP as the settings say.
macro_rules! exporter {
    ($exporter:ident, $settings:expr, $endpoint:expr, $path:literal) => {{
        let compression = $settings.otlp_gzip.then_some(Compression::Gzip);
        match $settings.otlp_protocol {
            Protocol::Grpc => {
                let builder = $exporter::builder().with_tonic();
                let builder = match compression {
                    Some(compression) => builder.with_compression(compression),
                    None => builder,
                };
                builder.with_endpoint($endpoint).with_timeout(EXPORT_TIMEOUT).build()?
            }
            Protocol::Http => {
                let builder = $exporter::builder().with_http().with_protocol(OtlpProtocol::HttpBinary);
                let builder = match compression {
                    Some(compression) => builder.with_compression(compression),
                    None => builder,
                };
                let endpoint = format!("{}{}", $endpoint.trim_end_matches('/'), $path);
                builder.with_endpoint(endpoint).with_timeout(EXPORT_TIMEOUT).build()?
            }
        }
    }};
}

impl Providers {
    pub fn new(settings: &Settings, endpoint: &str) -> anyhow::Result<Self> {
        if settings.otlp_protocol == Protocol::Http {
            // Its client wants one even where it speaks plain HTTP; a provider that is installed already is kept.
            let _ = rustls::crypto::ring::default_provider().install_default();
        }
        let resource = resource(settings);
        let spans = exporter!(SpanExporter, settings, endpoint, "/v1/traces");
        let span_batches = trace::BatchConfigBuilder::default()
            .with_scheduled_delay(BATCH_DELAY)
            .with_max_queue_size(4096)
            .build();
        let traces = SdkTracerProvider::builder()
            .with_resource(resource.clone())
            .with_span_processor(BatchSpanProcessor::builder(spans).with_batch_config(span_batches).build())
            .build();

        let records = exporter!(LogExporter, settings, endpoint, "/v1/logs");
        let record_batches = logs::BatchConfigBuilder::default().with_scheduled_delay(BATCH_DELAY).build();
        let logs = SdkLoggerProvider::builder()
            .with_resource(resource.clone())
            .with_log_processor(Correlate)
            .with_log_processor(BatchLogProcessor::builder(records).with_batch_config(record_batches).build())
            .build();

        let points = exporter!(MetricExporter, settings, endpoint, "/v1/metrics");
        let metrics = SdkMeterProvider::builder()
            .with_resource(resource)
            .with_reader(PeriodicReader::builder(points).with_interval(METRIC_INTERVAL).build())
            .build();
        Ok(Self { traces, logs, metrics })
    }

    /// Blocks; spans first, since they are what people look for.
    pub fn shutdown(self, timeout: Duration) -> OTelSdkResult {
        let traces = self.traces.shutdown_with_timeout(timeout);
        let logs = self.logs.shutdown_with_timeout(timeout);
        let metrics = self.metrics.shutdown_with_timeout(timeout);
        traces.and(logs).and(metrics)
    }
}

/// Adds the correlation ID of the task to its log records.
#[derive(Debug)]
struct Correlate;

impl LogProcessor for Correlate {
    fn emit(&self, record: &mut SdkLogRecord, _: &opentelemetry::InstrumentationScope) {
        if let Some(id) = correlation::current() {
            record.add_attribute(names::CORRELATION_ID, id.as_str().to_owned());
        }
    }

    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    fn shutdown_with_timeout(&self, _: Duration) -> OTelSdkResult {
        Ok(())
    }
}
