//! The series of all queues, read within bounds: all figures of the last minutes, and few over the whole time.

use super::kafka;
use crate::dashboard::model::queues as names;
use crate::dashboard::model::{Nanos, now};
use crate::dashboard::store::{Metric, Reader, Series, SeriesFilter, StoreError};

const S: Nanos = 1_000_000_000;
/// Rates and slopes are those of so long before the end.
pub const LATELY: Nanos = 600 * S;
/// Steps of a trend.
pub const STEPS: u64 = 60;
/// Series of one answer: six for each of a thousand queues of several brokers.
const MOST_SERIES: usize = 20_000;

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

/// Reads `from..to`.
pub async fn read(reader: &dyn Reader, from: Nanos, to: Nanos) -> Result<Read, StoreError> {
    let to = to.min(now()).max(from);
    let named = |names: &[&str]| {
        names.iter().map(|name| Metric::Named((*name).to_owned())).chain(kafka::metrics()).collect()
    };
    let filter = SeriesFilter {
        metrics: named(&[
            names::CURRENT,
            names::CONSUMERS,
            names::PUBLISHED,
            names::DELIVERED,
            names::ACKNOWLEDGED,
        ]),
        from: to.saturating_sub(LATELY),
        to,
        step: 10 * S,
        most: MOST_SERIES,
        ..SeriesFilter::default()
    };
    let lately = reader.series(&filter).await?;
    let filter = SeriesFilter {
        metrics: named(&[names::CURRENT, names::CONSUMERS]),
        from,
        step: (to - from) / STEPS,
        ..filter
    };
    let long = reader.series(&filter).await?;
    let whole = [&lately, &long].iter().all(|found| found.complete && found.left_out == 0);
    let (lately, long) = (kafka::as_queues(lately.series), kafka::as_queues(long.series));
    Ok(Read { from, to, lately, long, complete: whole })
}
