//! The series of all queues, read within bounds: all figures of the last minutes, and few over the whole time.

use super::kafka;
use super::long::{Long, MOST_SERIES};
use crate::dashboard::model::queues as names;
use crate::dashboard::model::{Nanos, now};
use crate::dashboard::store::{Metric, Reader, Series, SeriesFilter, StoreError};

const S: Nanos = 1_000_000_000;
/// Rates and slopes are those of so long before the end.
pub const LATELY: Nanos = 600 * S;

/// What was read.
#[derive(Debug, Default)]
pub struct Read {
    pub from: Nanos,
    pub to: Nanos,
    /// All figures of the last minutes.
    pub lately: Vec<Series>,
    /// Messages and consumers over the time.
    pub long: Vec<Series>,
    pub complete: bool,
}

/// Reads `from..to`; of the long time what is not kept.
pub async fn read(reader: &dyn Reader, long: &Long, from: Nanos, to: Nanos) -> Result<Read, StoreError> {
    let to = to.min(now()).max(from);
    let own = [names::CURRENT, names::CONSUMERS, names::PUBLISHED, names::DELIVERED, names::ACKNOWLEDGED];
    let own = own.map(|name| Metric::Named(name.to_owned()));
    let filter = SeriesFilter {
        metrics: own.into_iter().chain(kafka::metrics()).collect(),
        from: to.saturating_sub(LATELY),
        to,
        step: 10 * S,
        most: MOST_SERIES,
        ..SeriesFilter::default()
    };
    let lately = reader.series(&filter).await?;
    let (long, whole) = long.read(reader, from, to).await?;
    let complete = whole && lately.is_whole();
    let (lately, long) = (kafka::as_queues(lately.series), kafka::as_queues(long));
    Ok(Read { from, to, lately, long, complete })
}
