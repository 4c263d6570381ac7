//! Spans that have ended, and assertions over them.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use opentelemetry::propagation::TextMapCompositePropagator;
use opentelemetry::trace::{SpanKind, Status};
use opentelemetry::{Value, global};
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::propagation::{BaggagePropagator, TraceContextPropagator};
use opentelemetry_sdk::trace::{SdkTracerProvider, SpanData, SpanExporter};

use crate::comms::correlation::CorrelationId;
use crate::comms::names;

/// How often [`SpanRecorder::wait`] looks.
const LOOK: Duration = Duration::from_millis(5);

/// Keeps every span that ends in this process; cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct SpanRecorder {
    ended: Arc<Mutex<Vec<SpanData>>>,
}

impl SpanExporter for SpanRecorder {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        self.ended.lock().unwrap_or_else(PoisonError::into_inner).extend(batch);
        Ok(())
    }
}

impl SpanRecorder {
    /// The process's recorder. The first call makes it where all spans go, and sets the propagators of W3C, in place of
    /// [`crate::telemetry::init`]. Tests that run side by side share it: each looks at its own correlation ID.
    pub fn install() -> Self {
        static RECORDER: OnceLock<SpanRecorder> = OnceLock::new();
        let install = || {
            let recorder = Self::default();
            let provider = SdkTracerProvider::builder().with_simple_exporter(recorder.clone()).build();
            global::set_tracer_provider(provider);
            global::set_text_map_propagator(TextMapCompositePropagator::new(vec![
                Box::new(TraceContextPropagator::new()),
                Box::new(BaggagePropagator::new()),
            ]));
            recorder
        };
        RECORDER.get_or_init(install).clone()
    }

    /// The spans of a correlation ID that have ended by now, the first to begin first.
    pub fn of(&self, id: &CorrelationId) -> Spans {
        let of_it = |span: &&SpanData| text(span, names::CORRELATION_ID).is_some_and(|of| of == id.as_str());
        self.pick(of_it)
    }

    /// All spans that have ended by now and that `wanted` wants.
    pub fn matching(&self, wanted: impl Fn(&Recorded) -> bool) -> Spans {
        let Spans(all) = self.pick(|_| true);
        Spans(all.into_iter().filter(wanted).collect())
    }

    /// Waits until the spans of a correlation ID are as `enough` wants them: what a service does after its answer ends
    /// later.
    ///
    /// # Panics
    /// They are not within `patience`; the message lists those that are there.
    pub async fn wait(
        &self,
        id: &CorrelationId,
        patience: Duration,
        enough: impl Fn(&Spans) -> bool,
    ) -> Spans {
        let until = tokio::time::Instant::now() + patience;
        loop {
            let spans = self.of(id);
            if enough(&spans) {
                return spans;
            }
            assert!(
                tokio::time::Instant::now() < until,
                "not within {patience:?}; there were {}",
                spans.listed()
            );
            tokio::time::sleep(LOOK).await;
        }
    }

    fn pick(&self, wanted: impl Fn(&&SpanData) -> bool) -> Spans {
        let ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner);
        let mut picked: Vec<Recorded> = ended.iter().filter(wanted).cloned().map(Recorded).collect();
        picked.sort_by_key(|span| span.0.start_time);
        Spans(picked)
    }
}

/// An attribute as text.
fn text(span: &SpanData, key: &str) -> Option<String> {
    let value = span.attributes.iter().find(|attribute| attribute.key.as_str() == key)?;
    Some(value.value.as_str().into_owned())
}

/// Some spans, the first to begin first.
#[derive(Clone, Debug)]
pub struct Spans(Vec<Recorded>);

impl Spans {
    pub fn iter(&self) -> impl Iterator<Item = &Recorded> {
        self.0.iter()
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many have this name.
    pub fn count(&self, name: &str) -> usize {
        self.0.iter().filter(|span| span.0.name == name).count()
    }

    /// The only span of this name.
    ///
    /// # Panics
    /// There is none, or more than one.
    #[track_caller]
    pub fn one(&self, name: &str) -> &Recorded {
        assert_eq!(self.count(name), 1, "spans named `{name}`; there were {}", self.listed());
        self.0.iter().find(|span| span.0.name == name).expect("counted")
    }

    /// The only span of this name and kind: a call has one on either side.
    ///
    /// # Panics
    /// There is none, or more than one.
    #[track_caller]
    pub fn one_of(&self, kind: &SpanKind, name: &str) -> &Recorded {
        let of_kind = Self(self.0.iter().filter(|span| span.0.span_kind == *kind).cloned().collect());
        assert_eq!(of_kind.count(name), 1, "{kind:?} spans named `{name}`; there were {}", self.listed());
        self.0.iter().find(|span| span.0.name == name && span.0.span_kind == *kind).expect("counted")
    }

    /// That they belong to one trace, and each to another that is there but for one, the root.
    ///
    /// # Panics
    /// They do not.
    #[track_caller]
    pub fn are_one_trace(&self) -> &Self {
        let traces: BTreeSet<_> = self.0.iter().map(|s| s.0.span_context.trace_id().to_bytes()).collect();
        assert_eq!(traces.len(), 1, "traces of {}", self.listed());
        let ids: BTreeSet<_> = self.0.iter().map(|s| s.0.span_context.span_id().to_bytes()).collect();
        let roots = self.0.iter().filter(|s| !ids.contains(&s.0.parent_span_id.to_bytes())).count();
        assert_eq!(roots, 1, "spans whose parent is not among {}", self.listed());
        self
    }

    fn listed(&self) -> String {
        let of = |span: &Recorded| format!("{:?} `{}`", span.0.span_kind, span.0.name);
        if self.0.is_empty() {
            "none".to_owned()
        } else {
            self.0.iter().map(of).collect::<Vec<_>>().join(", ")
        }
    }
}

/// One span that has ended; each assertion gives it back for the next.
#[derive(Clone, Debug)]
pub struct Recorded(pub SpanData);

impl Recorded {
    /// An attribute as text; none where there is none.
    pub fn attribute(&self, key: &str) -> Option<String> {
        text(&self.0, key)
    }

    /// That an attribute has this value.
    ///
    /// # Panics
    /// It is not there or has another.
    #[track_caller]
    pub fn has(&self, key: &str, value: impl Into<Value>) -> &Self {
        let found = self.0.attributes.iter().find(|attribute| attribute.key.as_str() == key);
        let name = &self.0.name;
        assert_eq!(
            found.map(|f| &f.value),
            Some(&value.into()),
            "`{key}` of `{name}`, which has {:?}",
            self.0.attributes
        );
        self
    }

    /// That it did not fail.
    ///
    /// # Panics
    /// Its status is an error.
    #[track_caller]
    pub fn is_fine(&self) -> &Self {
        assert!(
            !matches!(self.0.status, Status::Error { .. }),
            "`{}` failed: {:?}",
            self.0.name,
            self.0.status
        );
        self
    }

    /// That it failed with this `error.type`.
    ///
    /// # Panics
    /// It did not, or with another.
    #[track_caller]
    pub fn failed_with(&self, error_type: &str) -> &Self {
        let failed = matches!(self.0.status, Status::Error { .. });
        assert!(failed, "`{}` did not fail: {:?}", self.0.name, self.0.status);
        self.has(names::ERROR_TYPE, error_type.to_owned())
    }

    /// That it is a child of the other, in the same trace.
    ///
    /// # Panics
    /// It is not.
    #[track_caller]
    pub fn is_child_of(&self, parent: &Self) -> &Self {
        let (own, other) = (&self.0, &parent.0);
        let (of, at) = (own.span_context.trace_id(), other.span_context.trace_id());
        assert_eq!(
            (of, own.parent_span_id),
            (at, other.span_context.span_id()),
            "`{}` under `{}`",
            own.name,
            other.name
        );
        self
    }

    /// That something of this name happened during it.
    ///
    /// # Panics
    /// It did not.
    #[track_caller]
    pub fn has_event(&self, name: &str) -> &Self {
        let events: Vec<_> = self.0.events.iter().map(|event| event.name.as_ref()).collect();
        assert!(events.contains(&name), "no event `{name}` in `{}`, which has {events:?}", self.0.name);
        self
    }
}
