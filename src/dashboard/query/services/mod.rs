//! How services do: rate, errors and durations over time, their instances and versions, out of rates alone.
//!
//! * This file: all of them. * [`one`]: one of them. * [`versions`]: which version came when.
//!
//! What must not live here: words in HTML, times in a zone.

mod one;
mod versions;

use std::collections::{BTreeMap, BTreeSet};

use super::map::{BAD, has_any, share};
use crate::dashboard::model::Nanos;
use crate::dashboard::store::{InstanceRates, OTHERS, Rates, Reader, ServiceRates, StoreError};

pub use one::{Neighbour, Operation, OperationOrder, Service, Wanted, of_operation, service};
pub use versions::{Change, Instance};

/// Steps of charts.
const STEPS: usize = 60;
/// Steps in which instances of all services are looked at: fewer, since they are many.
const INSTANCE_STEPS: usize = 12;

/// All services of a range of time.
#[derive(Debug, Clone, Default)]
pub struct Services {
    /// By name.
    pub services: Vec<Line>,
    /// Length of what was counted in seconds: whole buckets, so not quite the range's.
    pub seconds: f64,
    /// Whether the store has anything at all, in the range or not.
    pub ever: bool,
}

/// A service.
#[derive(Debug, Clone, Default)]
pub struct Line {
    pub name: String,
    /// Requests that it served, messages that it took, and what it began itself.
    pub total: Rates,
    /// Begin of each step and what happened in it.
    pub steps: Vec<(Nanos, Rates)>,
    /// The end of the last step in which anything happened, not later than the range's.
    pub last_seen: Nanos,
    pub instances: usize,
    /// Versions of the last step with any, the newest to be seen last.
    pub versions: Vec<String>,
}

impl Line {
    /// Whether enough fails that somebody has to look.
    pub fn is_bad(&self) -> bool {
        self.total.errors >= 2 && share(&self.total) >= BAD
    }
}

/// Asks the store for all of them.
pub async fn services(reader: &dyn Reader, from: Nanos, to: Nanos) -> Result<Services, StoreError> {
    let rates = reader.service_rates(from, to, STEPS).await?;
    let mut all = Services { seconds: seconds(&rates, to), ever: true, ..Services::default() };
    let mut known: BTreeMap<String, Vec<InstanceRates>> = BTreeMap::new();
    for one in reader.instance_rates(from, to, INSTANCE_STEPS, None).await? {
        known.entry(one.service.clone()).or_default().push(one);
    }
    for one in rates {
        let instances = known.remove(&one.service).unwrap_or_default();
        all.services.push(line(one, to, &instances));
    }
    if all.services.is_empty() {
        all.ever = has_any(reader).await?;
    }
    Ok(all)
}

fn line(rates: ServiceRates, to: Nanos, instances: &[InstanceRates]) -> Line {
    let named = instances.iter().filter(|one| one.instance != OTHERS || !one.version.is_empty());
    let names: BTreeSet<&str> = named.map(|one| one.instance.as_str()).collect();
    Line {
        total: total(&rates.steps),
        last_seen: last_seen(&rates.steps, to),
        instances: names.len(),
        versions: versions::current(instances),
        name: rates.service,
        steps: rates.steps,
    }
}

/// All steps together.
fn total(steps: &[(Nanos, Rates)]) -> Rates {
    let mut total = Rates::default();
    for (_, rates) in steps {
        total.count += rates.count;
        total.errors += rates.errors;
        total.durations.merge(&rates.durations);
    }
    total
}

/// The end of the last step with anything.
fn last_seen(steps: &[(Nanos, Rates)], to: Nanos) -> Nanos {
    let last = steps.iter().rposition(|(_, rates)| rates.count > 0);
    last.map_or(0, |last| steps.get(last + 1).map_or(to, |(begin, _)| *begin).min(to))
}

/// How long the steps last together, up to `to`.
fn seconds(rates: &[ServiceRates], to: Nanos) -> f64 {
    let begin = rates.first().and_then(|one| one.steps.first()).map_or(to, |(begin, _)| *begin);
    (to.saturating_sub(begin) as f64 / 1e9).max(1e-9)
}
