//! For tests of services: what they would have exported, kept in memory, and assertions that say what was there instead.
//!
//! ```no_run
//! # async fn place_an_order(_: &throughline::comms::correlation::CorrelationId) {}
//! # #[tokio::main] async fn main() {
//! use throughline::comms::correlation::CorrelationId;
//! use throughline::telemetry::testing::{MetricRecorder, SpanRecorder};
//!
//! let (spans, metrics) = (SpanRecorder::install(), MetricRecorder::install());
//! let id = CorrelationId::generate("test");
//! place_an_order(&id).await;
//! let spans = spans.of(&id);
//! spans.one("POST /orders").has("http.response.status_code", 201).is_fine();
//! spans.are_one_trace();
//! assert_eq!(metrics.sum("throughline.requests.refused", &[("http.route", "/orders")]), 0.0);
//! # }
//! ```
//!
//! Either does without the other. Both come first in a test: clients, servers, publishers, consumers, buses and layers get their
//! tracer and their instruments when they are made, and those that are older than a recorder tell it nothing.
//!
//! | file | what lives there |
//! |---|---|
//! | `spans.rs` | [`SpanRecorder`] |
//! | `metrics.rs` | [`MetricRecorder`] |

mod metrics;
mod spans;

pub use metrics::{Measured, MetricRecorder};
pub use spans::{Recorded, SpanRecorder, Spans};
