//! What each transport says of a message that no handler gets or that none could handle: in the dead letter's headers, in
//! the same words, and counted. How it gets to the dead letters is each transport's own.

use std::collections::BTreeMap;

use opentelemetry::metrics::Counter;
use opentelemetry::{KeyValue, StringValue};

use super::broker::MAX_BODY;
use crate::comms::{metrics, names};

/// The reason of one that was delivered as often as its queue allows, and never settled.
pub(super) const UNSETTLED: &str = "no consumer settled it within the limit";
/// The reason of one whose handler asks for a delivery more than its queue allows.
pub(super) const EXHAUSTED: &str = "the limit of deliveries is reached";

/// Why delivery `number` of a body of that many bytes reaches no handler: the kind, low in cardinality, and the reason.
pub(super) fn unfit(number: u32, max_deliveries: u32, size: usize) -> Option<(&'static str, String)> {
    if number > max_deliveries {
        return Some(("deliveries", UNSETTLED.to_owned()));
    }
    let reason = || format!("the body has {size} bytes, above the limit of {MAX_BODY}");
    (size > MAX_BODY).then(|| ("body_size", reason()))
}

/// Notes in a message's headers why it is a dead letter, of which queue, and after how many deliveries.
pub(super) fn note(
    headers: &mut BTreeMap<String, String>,
    reason: &str,
    queue: &str,
    deliveries: impl ToString,
) {
    headers.insert(names::HEADER_DEATH_REASON.to_owned(), reason.to_owned());
    headers.insert(names::HEADER_DEATH_QUEUE.to_owned(), queue.to_owned());
    headers.insert(names::HEADER_DEATH_DELIVERIES.to_owned(), deliveries.to_string());
}

/// Counts messages that no handler gets to see, and those of which a part was refused: [`names::METRIC_MESSAGES_REFUSED`].
#[derive(Clone)]
pub(super) struct Refusals(Counter<u64>);

impl Default for Refusals {
    fn default() -> Self {
        let about = "Messages that no handler got to see, or a part of which was refused, with the reason";
        Self(metrics::counter(names::METRIC_MESSAGES_REFUSED, "{message}", about))
    }
}

impl Refusals {
    /// One of a queue, and the kind of reason.
    pub fn count(&self, queue: &str, reason: impl Into<StringValue>) {
        let queue = KeyValue::new(names::QUEUE, queue.to_owned());
        self.0.add(1, &[queue, KeyValue::new(names::REFUSED_REASON, reason.into())]);
    }
}
