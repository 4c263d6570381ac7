//! The test trace: what "Send a test trace" on an empty page sends, through the receiver like anybody's.

use std::sync::Arc;

use async_trait::async_trait;
use xxhash_rust::xxh3::xxh3_128;

use super::model::otlp::span_field;
use super::model::proto::{put_bytes, put_fixed64, put_message, put_uint};
use super::model::{Nanos, TraceId, now};
use super::receive::counters::Transport;
use super::receive::{Receiver, Signal};
use super::view::TestTrace;

/// One span of the test trace: name, kind, depth in the call, start and end in milliseconds.
const SPANS: [(&str, u64, usize, u64, u64); 4] = [
    ("GET /hello", 2, 0, 0, 120),
    ("look up the greeting", 1, 1, 8, 70),
    ("SELECT greetings", 3, 2, 15, 62),
    ("render the greeting", 1, 1, 74, 112),
];

/// Sends test traces through a receiver.
pub struct Sender {
    receiver: Arc<Receiver>,
}

impl Sender {
    /// A sender in front of a receiver.
    pub fn new(receiver: Arc<Receiver>) -> Self {
        Self { receiver }
    }
}

#[async_trait]
impl TestTrace for Sender {
    async fn send(&self) -> Result<TraceId, String> {
        let now = now();
        // Unique enough for a trace that somebody asked for by hand: the time to the nanosecond, hashed.
        let id = TraceId(xxh3_128(&now.to_le_bytes()).to_be_bytes());
        let request = request(id, now);
        match self.receiver.take(Transport::Http, Signal::Traces, request.into()).await {
            Ok(_) => Ok(id),
            Err(refusal) => Err(refusal.to_string()),
        }
    }
}

fn request(id: TraceId, now: Nanos) -> Vec<u8> {
    let begin = now - 120_000_000;
    let mut out = Vec::new();
    put_message(&mut out, 1, |out| {
        put_message(out, 1, |out| attribute(out, 1, "service.name", "throughline-test"));
        put_message(out, 2, |out| {
            put_message(out, 1, |out| put_bytes(out, 1, b"throughline"));
            for (index, item) in SPANS.iter().enumerate() {
                put_message(out, 2, |out| span(out, id, begin, index, item));
            }
        });
    });
    out
}

fn span(
    out: &mut Vec<u8>,
    id: TraceId,
    begin: Nanos,
    index: usize,
    (name, kind, depth, from, to): &(&str, u64, usize, u64, u64),
) {
    // The parent is the nearest span before it that is one level up.
    let parent = SPANS[..index].iter().rposition(|before| before.2 + 1 == *depth);
    put_bytes(out, span_field::TRACE_ID, &id.0);
    put_bytes(out, span_field::SPAN_ID, &span_id(id, index));
    if let Some(parent) = parent {
        put_bytes(out, span_field::PARENT, &span_id(id, parent));
    }
    put_bytes(out, span_field::NAME, name.as_bytes());
    put_uint(out, span_field::KIND, *kind);
    put_fixed64(out, span_field::START, begin + from * 1_000_000);
    put_fixed64(out, span_field::END, begin + to * 1_000_000);
    attribute(out, span_field::ATTRIBUTES, "correlation.id", &format!("test-{}", &id.to_string()[..8]));
}

fn span_id(id: TraceId, index: usize) -> [u8; 8] {
    let mut bytes: [u8; 8] = id.0[..8].try_into().expect("eight of sixteen bytes");
    bytes[7] = index as u8 + 1;
    bytes
}

fn attribute(out: &mut Vec<u8>, field: u32, key: &str, value: &str) {
    put_message(out, field, |out| {
        put_bytes(out, 1, key.as_bytes());
        put_message(out, 2, |out| put_bytes(out, 1, value.as_bytes()));
    });
}
