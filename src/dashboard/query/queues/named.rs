//! Queues of RabbitMQ that spans tell of: a consumer names `exchange:key:queue`, or the queue alone.

use std::collections::BTreeSet;

use crate::dashboard::model::Nanos;
use crate::dashboard::store::{Call, Reader, StoreError};

/// Who took messages in so long is looked at.
const LATELY: Nanos = 24 * 3600 * 1_000_000_000;
const SYSTEM: &str = "rabbitmq";

/// Names of the queues that messages were taken from in the day before `now`, whatever their broker and virtual host.
///
/// # Errors
/// The store cannot be read.
pub async fn lately(reader: &dyn Reader, now: Nanos) -> Result<Vec<String>, StoreError> {
    Ok(of(&reader.calls(now.saturating_sub(LATELY), now).await?))
}

fn of(calls: &[Call]) -> Vec<String> {
    let taken = calls.iter().filter_map(|call| call.taken_from.as_ref());
    let ours = taken.filter(|from| from.system == SYSTEM);
    // What is named by the broker is one connection's alone.
    let names = ours.map(|from| from.name.rsplit(':').next().unwrap_or_default());
    let shared = names.filter(|name| !name.is_empty() && name.len() <= 255 && !name.starts_with("amq."));
    shared.map(str::to_owned).collect::<BTreeSet<_>>().into_iter().collect()
}
