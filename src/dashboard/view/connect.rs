//! How a service of each language is connected: what an empty page shows instead of nothing.

pub mod breakers;
pub mod logs;
pub mod messages;
pub mod queues;

use askama::Template;
use axum::extract::State;
use axum::response::{IntoResponse, Redirect, Response};

use super::error::PageError;
use super::frame::{Frame, Nav};
use super::html::{PageResult, page};
use super::visit::Visit;
use super::{PageState, format};
use crate::dashboard::store::StoreError;

/// One language: its word in the address, its name, its steps and what is to be known of it.
struct Language {
    word: &'static str,
    name: &'static str,
    /// Title and text; `{grpc}` and `{http}` stand for the receivers' addresses.
    steps: &'static [(&'static str, &'static str)],
    note: &'static str,
}

const SAY_WHERE: &str = "Say where Throughline is";
const START: &str = "Start the service with its instrumentation";
const CORRELATE: &str = "Let the correlation ID travel";

static LANGUAGES: [Language; 7] = [
    Language {
        word: "python",
        name: "Python",
        steps: &[
            (SAY_WHERE, "export OTEL_EXPORTER_OTLP_ENDPOINT=http://{grpc}\nexport OTEL_SERVICE_NAME=orders"),
            (START, "opentelemetry-instrument python -m orders"),
            (
                CORRELATE,
                "# so that one story spans several traces\nexport OTEL_INSTRUMENTATION_HTTP_CAPTURE_HEADERS_SERVER_REQUEST=x-correlation-id",
            ),
        ],
        note: "Python sends gRPC unless told otherwise, hence this port; for HTTP set OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf and use {http}.",
    },
    Language {
        word: "node",
        name: "Node",
        steps: &[
            (SAY_WHERE, "export OTEL_EXPORTER_OTLP_ENDPOINT=http://{http}\nexport OTEL_SERVICE_NAME=orders"),
            (START, "node --require @opentelemetry/auto-instrumentations-node/register orders.js"),
            (
                CORRELATE,
                "// where a request comes in\ntrace.getActiveSpan()?.setAttribute(\"correlation.id\", req.get(\"x-correlation-id\"));",
            ),
        ],
        note: "Node sends protobuf over HTTP unless told otherwise.",
    },
    Language {
        word: "java",
        name: "Java",
        steps: &[
            (SAY_WHERE, "export OTEL_EXPORTER_OTLP_ENDPOINT=http://{http}\nexport OTEL_SERVICE_NAME=orders"),
            (START, "java -javaagent:opentelemetry-javaagent.jar -jar orders.jar"),
            (
                CORRELATE,
                "# so that one story spans several traces\nexport OTEL_INSTRUMENTATION_HTTP_SERVER_CAPTURE_REQUEST_HEADERS=x-correlation-id",
            ),
        ],
        note: "The Java agent sends protobuf over HTTP unless told otherwise.",
    },
    Language {
        word: "go",
        name: "Go",
        steps: &[
            (SAY_WHERE, "export OTEL_EXPORTER_OTLP_ENDPOINT=http://{grpc}\nexport OTEL_SERVICE_NAME=orders"),
            (
                START,
                "// once, in main: the exporter reads the variable\nexporter, err := otlptracegrpc.New(ctx)\notel.SetTracerProvider(sdktrace.NewTracerProvider(sdktrace.WithBatcher(exporter)))",
            ),
            (CORRELATE, "span.SetAttributes(attribute.String(\"correlation.id\", id))"),
        ],
        note: "otlptracegrpc sends gRPC; with otlptracehttp use {http}. The http:// in front means: without TLS.",
    },
    Language {
        word: "dotnet",
        name: ".NET",
        steps: &[
            (
                SAY_WHERE,
                "export OTEL_EXPORTER_OTLP_ENDPOINT=http://{http}\nexport OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf\nexport OTEL_SERVICE_NAME=orders",
            ),
            (START, ". $HOME/.otel-dotnet-auto/instrument.sh\ndotnet orders.dll"),
            (CORRELATE, "Activity.Current?.SetTag(\"correlation.id\", id);"),
        ],
        note: "The automatic instrumentation sends protobuf over HTTP; the bare SDK sends gRPC, hence the protocol is said.",
    },
    Language {
        word: "rust",
        name: "Rust",
        steps: &[
            (SAY_WHERE, "export OTEL_EXPORTER_OTLP_ENDPOINT=http://{grpc}\nexport OTEL_SERVICE_NAME=orders"),
            (
                START,
                "// once, in main: the exporter reads the variable\nlet exporter = SpanExporter::builder().with_tonic().build()?;\nlet provider = SdkTracerProvider::builder().with_batch_exporter(exporter).build();",
            ),
            (CORRELATE, "span.set_attribute(KeyValue::new(\"correlation.id\", id));"),
        ],
        note: "Without the feature internal-logs of opentelemetry-otlp a failing export is silent.",
    },
    Language {
        word: "browser",
        name: "Browser",
        steps: &[
            ("Send JSON over HTTP", "new OTLPTraceExporter({ url: \"http://{http}/v1/traces\" })"),
            ("Allow the page's origin", "throughline dashboard --cors-origin http://localhost:3000"),
            (CORRELATE, "span.setAttribute(\"correlation.id\", id);"),
        ],
        note: "A browser asks first whether it may send; without the allowed origin nothing arrives.",
    },
];

/// A step as it is shown.
pub struct Step {
    pub title: String,
    pub text: String,
}

/// The context of `connect.html`.
pub struct Connect {
    /// Languages: address, name, whether it is this one.
    pub tabs: Vec<(String, &'static str, bool)>,
    pub steps: Vec<Step>,
    pub note: String,
    pub grpc: Option<String>,
    pub http: Option<String>,
    pub up: String,
    pub refused: String,
    pub any_refused: bool,
    pub test_trace: bool,
}

impl Connect {
    /// How spans are sent.
    pub fn new(visit: &Visit, state: &PageState) -> Self {
        Self::of(&LANGUAGES, visit, state)
    }

    /// For the language of the address (`l=`), Python where it names none.
    fn of(languages: &[Language], visit: &Visit, state: &PageState) -> Self {
        let wanted = visit.params.text("l").unwrap_or("python");
        let language = languages.iter().find(|language| language.word == wanted).unwrap_or(&languages[0]);
        let settings = &state.settings;
        let fill = |text: &str| {
            text.replace("{grpc}", settings.otlp_grpc.as_deref().unwrap_or("127.0.0.1:4317"))
                .replace("{http}", settings.otlp_http.as_deref().unwrap_or("127.0.0.1:4318"))
        };
        let refused = state.status.status().refused_total();
        Self {
            tabs: languages
                .iter()
                .map(|one| {
                    let to = format!("{}{}", visit.path, visit.params.with(&[("l", Some(one.word))]).write());
                    (to, one.name, one.word == language.word)
                })
                .collect(),
            steps: language
                .steps
                .iter()
                .enumerate()
                .map(|(at, (title, text))| Step { title: format!("{}. {title}", at + 1), text: fill(text) })
                .collect(),
            note: fill(language.note),
            grpc: settings.otlp_grpc.clone(),
            http: settings.otlp_http.clone(),
            up: format::age(settings.started, visit.now),
            refused: format::count(refused),
            any_refused: refused > 0,
            test_trace: state.test_trace.is_some(),
        }
    }
}

/// What stands where traces would be.
#[derive(Template)]
#[template(path = "empty.html")]
pub struct EmptyPage {
    pub frame: Frame,
    pub connect: Connect,
}

/// The page that stands in for `nav` while nothing is kept; it looks again when something has come.
pub fn empty(visit: &Visit, state: &PageState, nav: Nav) -> PageResult {
    let mut frame = visit.frame(nav, "No traces yet");
    frame.refresh = true;
    page(&EmptyPage { connect: Connect::new(visit, state), frame })
}

/// Handler of `POST /test-trace`: sends one through the receiver and opens it.
pub async fn send_test_trace(State(state): State<PageState>) -> Result<Response, PageError> {
    let Some(sender) = &state.test_trace else {
        return Err(PageError::missing("No test trace", "This Throughline does not send test traces."));
    };
    let id = sender.send().await.map_err(StoreError::Unavailable)?;
    Ok(Redirect::to(&format!("/traces/{id}")).into_response())
}
