//! How each library tells of its breakers: what the list of breakers shows while there are none.

use askama::Template;

use super::{Connect, Language};
use crate::dashboard::view::PageState;
use crate::dashboard::view::frame::{Frame, Nav};
use crate::dashboard::view::html::{PageResult, page};
use crate::dashboard::view::visit::Visit;

const SEND: &str = "Send metrics here";
const TELL: &str = "Let breakers tell";

static LIBRARIES: [Language; 7] = [
    Language {
        word: "resilience4j",
        name: "resilience4j, Spring",
        steps: &[
            (
                SEND,
                "# application.properties, with micrometer-registry-otlp and resilience4j-micrometer\nmanagement.otlp.metrics.export.url=http://{http}/v1/metrics\nmanagement.otlp.metrics.export.step=10s",
            ),
            (
                TELL,
                "// without Spring, once\nTaggedCircuitBreakerMetrics.ofCircuitBreakerRegistry(breakers).bindTo(otlpRegistry);",
            ),
        ],
        note: "The gauge names the state. Record the exception of a refused call on its span, and the page lists the traces that were turned away.",
    },
    Language {
        word: "polly",
        name: "Polly 8",
        steps: &[
            (SEND, "export OTEL_EXPORTER_OTLP_ENDPOINT=http://{grpc}"),
            (
                TELL,
                "builder.Services.AddOpenTelemetry().WithMetrics(m => m.AddMeter(\"Polly\").AddOtlpExporter());",
            ),
        ],
        note: "Polly counts changes only: a breaker shows once it has changed for the first time.",
    },
    Language {
        word: "opossum",
        name: "opossum (Node)",
        steps: &[
            (SEND, "export OTEL_EXPORTER_OTLP_ENDPOINT=http://{http}\nexport OTEL_METRICS_EXPORTER=otlp"),
            (
                TELL,
                "const events = metrics.getMeter(\"opossum-metrics\").createCounter(\"circuit\");\nfor (const event of [\"fire\", \"success\", \"failure\", \"reject\", \"open\", \"halfOpen\", \"close\"])\n  breaker.on(event, () => events.add(1, { name: breaker.name, event }));",
            ),
        ],
        note: "opossum has no OpenTelemetry plugin of its own; these are the names of its Prometheus plugin.",
    },
    Language {
        word: "failsafe",
        name: "failsafe",
        steps: &[
            (SEND, "export OTEL_EXPORTER_OTLP_ENDPOINT=http://{http}\nexport OTEL_METRICS_EXPORTER=otlp"),
            (
                TELL,
                "// counter failsafe.circuit_breaker.state_change.count\nbreaker.onOpen(e -> changes.add(1, Attributes.of(stringKey(\"failsafe.circuit_breaker.state\"), \"open\")));",
            ),
        ],
        note: "The same for onHalfOpen (half_open) and onClose (closed); give the breaker’s name as failsafe.circuit_breaker.name.",
    },
    Language {
        word: "hystrix",
        name: "Hystrix",
        steps: &[(
            TELL,
            "HystrixPlugins.getInstance().registerMetricsPublisher(\n  new MicrometerMetricsPublisher(otlpRegistry, HystrixMetricsPublisherDefault.getInstance()));",
        )],
        note: "Only hystrix.circuit.breaker.open is read; 1 is open.",
    },
    Language {
        word: "envoy",
        name: "Envoy, Istio",
        steps: &[(
            TELL,
            "stats_sinks:\n- name: envoy.stat_sinks.open_telemetry\n  typed_config:\n    \"@type\": type.googleapis.com/envoy.extensions.stat_sinks.open_telemetry.v3.SinkConfig\n    grpc_service: { envoy_grpc: { cluster_name: throughline } }  # {grpc}",
        )],
        note: "What Envoy calls a circuit breaker is a limit: the page says “saturated”. Ejected hosts make it “partly open”.",
    },
    Language {
        word: "own",
        name: "Anything else",
        steps: &[
            (
                "A gauge that names the state",
                "circuit_breaker.state{circuit_breaker.name=\"payments\", circuit_breaker.state=\"open\"} 1\ncircuit_breaker.state{circuit_breaker.name=\"payments\", circuit_breaker.state=\"closed\"} 0",
            ),
            (
                "An event when it changes",
                "span.addEvent(\"circuit_breaker.state_change\", {\n  \"circuit_breaker.name\": \"payments\", \"service.peer.name\": \"payments\",\n  \"from\": \"closed\", \"to\": \"open\" })",
            ),
        ],
        note: "Either is enough; with both, the page knows the moment and the span. States are closed, open and half_open.",
    },
];

#[derive(Template)]
#[template(path = "breakers_empty.html")]
struct EmptyPage {
    frame: Frame,
    connect: Connect,
}

/// The page that stands where breakers would be; it looks again when something has come.
pub fn empty(visit: &Visit, state: &PageState) -> PageResult {
    let mut frame = visit.frame(Nav::Breakers, "No breakers heard");
    frame.refresh = true;
    page(&EmptyPage { connect: Connect::of(&LIBRARIES, visit, state), frame })
}
