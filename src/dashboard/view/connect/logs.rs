//! How a service of each language sends its logs: what the list of logs shows while there are none.

use askama::Template;

use super::{Connect, Language, SAY_WHERE};
use crate::dashboard::view::PageState;
use crate::dashboard::view::frame::{Frame, Nav};
use crate::dashboard::view::html::{PageResult, page};
use crate::dashboard::view::visit::Visit;

const SEND: &str = "Let logs go the same way as spans";
const WRITE: &str = "Log as before";

static LANGUAGES: [Language; 7] = [
    Language {
        word: "python",
        name: "Python",
        steps: &[
            (SAY_WHERE, "export OTEL_EXPORTER_OTLP_ENDPOINT=http://{grpc}\nexport OTEL_SERVICE_NAME=orders"),
            (
                SEND,
                "export OTEL_LOGS_EXPORTER=otlp\nexport OTEL_PYTHON_LOGGING_AUTO_INSTRUMENTATION_ENABLED=true\nopentelemetry-instrument python -m orders",
            ),
            (
                WRITE,
                "logging.getLogger(\"orders\").error(\"card declined\", extra={\"correlation.id\": id, \"order.id\": 42})",
            ),
        ],
        note: "Python's root logger lets warnings and worse through unless its level is set to INFO.",
    },
    Language {
        word: "node",
        name: "Node",
        steps: &[
            (SAY_WHERE, "export OTEL_EXPORTER_OTLP_ENDPOINT=http://{http}\nexport OTEL_SERVICE_NAME=orders"),
            (
                SEND,
                "export OTEL_LOGS_EXPORTER=otlp\nnode --require @opentelemetry/auto-instrumentations-node/register orders.js",
            ),
            (WRITE, "pino().error({ \"correlation.id\": id, \"order.id\": 42 }, \"card declined\");"),
        ],
        note: "Pino and Bunyan are taken as they are; Winston needs @opentelemetry/winston-transport beside it. console.log is not sent.",
    },
    Language {
        word: "java",
        name: "Java",
        steps: &[
            (SAY_WHERE, "export OTEL_EXPORTER_OTLP_ENDPOINT=http://{http}\nexport OTEL_SERVICE_NAME=orders"),
            (
                SEND,
                "export OTEL_LOGS_EXPORTER=otlp\nexport OTEL_INSTRUMENTATION_LOGBACK_APPENDER_EXPERIMENTAL_CAPTURE_MDC_ATTRIBUTES=*\njava -javaagent:opentelemetry-javaagent.jar -jar orders.jar",
            ),
            (WRITE, "MDC.put(\"correlation.id\", id);\nlog.error(\"card declined\", exception);"),
        ],
        note: "The agent takes what Logback, Log4j and java.util.logging write; the second variable sends the MDC of Logback along.",
    },
    Language {
        word: "go",
        name: "Go",
        steps: &[
            (SAY_WHERE, "export OTEL_EXPORTER_OTLP_ENDPOINT=http://{grpc}\nexport OTEL_SERVICE_NAME=orders"),
            (
                SEND,
                "// once, in main\nexporter, err := otlploggrpc.New(ctx)\nprovider := sdklog.NewLoggerProvider(sdklog.WithProcessor(sdklog.NewBatchProcessor(exporter)))\nlogger := otelslog.NewLogger(\"orders\", otelslog.WithLoggerProvider(provider))",
            ),
            (WRITE, "logger.ErrorContext(ctx, \"card declined\", \"correlation.id\", id, \"order.id\", 42)"),
        ],
        note: "otelslog is of go.opentelemetry.io/contrib/bridges; zap, logrus and logr have bridges beside it. The context carries the trace.",
    },
    Language {
        word: "dotnet",
        name: ".NET",
        steps: &[
            (
                SAY_WHERE,
                "export OTEL_EXPORTER_OTLP_ENDPOINT=http://{http}\nexport OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf\nexport OTEL_SERVICE_NAME=orders",
            ),
            (
                SEND,
                "export OTEL_LOGS_EXPORTER=otlp\nexport OTEL_DOTNET_AUTO_LOGS_INCLUDE_FORMATTED_MESSAGE=true\n. $HOME/.otel-dotnet-auto/instrument.sh\ndotnet orders.dll",
            ),
            (WRITE, "logger.LogError(exception, \"order {OrderId}: card declined\", 42);"),
        ],
        note: "With the bare SDK: builder.Logging.AddOpenTelemetry(logs => logs.AddOtlpExporter()).",
    },
    Language {
        word: "rust",
        name: "Rust",
        steps: &[
            (SAY_WHERE, "export OTEL_EXPORTER_OTLP_ENDPOINT=http://{grpc}\nexport OTEL_SERVICE_NAME=orders"),
            (
                SEND,
                "// once, in main\nlet exporter = LogExporter::builder().with_tonic().build()?;\nlet provider = SdkLoggerProvider::builder().with_batch_exporter(exporter).build();\ntracing_subscriber::registry().with(OpenTelemetryTracingBridge::new(&provider)).init();",
            ),
            (WRITE, "tracing::error!(correlation.id = %id, order.id = 42, \"card declined\");"),
        ],
        note: "The bridge is in opentelemetry-appender-tracing. Leave out what the exporter itself logs (hyper, tonic, h2), or it feeds itself.",
    },
    Language {
        word: "browser",
        name: "Browser",
        steps: &[
            ("Send JSON over HTTP", "new OTLPLogExporter({ url: \"http://{http}/v1/logs\" })"),
            ("Allow the page's origin", "throughline dashboard --cors-origin http://localhost:3000"),
            (
                WRITE,
                "logger.emit({ severityNumber: SeverityNumber.ERROR, body: \"card declined\", attributes: { \"correlation.id\": id } });",
            ),
        ],
        note: "A browser asks first whether it may send; without the allowed origin nothing arrives.",
    },
];

#[derive(Template)]
#[template(path = "logs_empty.html")]
struct EmptyPage {
    frame: Frame,
    connect: Connect,
}

/// The page that stands where logs would be; it looks again when something has come.
pub fn empty(visit: &Visit, state: &PageState) -> PageResult {
    let mut frame = visit.frame(Nav::Logs, "No logs yet");
    frame.refresh = true;
    page(&EmptyPage { connect: Connect::of(&LANGUAGES, visit, state), frame })
}
