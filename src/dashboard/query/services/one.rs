//! One service: its rates over time, operations, callers and callees, instances.

use super::{Change, Instance, STEPS, last_seen, seconds, total, versions};
use crate::dashboard::model::Nanos;
use crate::dashboard::query::language;
use crate::dashboard::query::map::{Edge, EdgeKind, Map, Place, failed_in, share};
use crate::dashboard::store::{
    OTHERS, OperationRates, Rates, Reader, ServiceRates, StatusFilter, StoreError, TraceFilter, TracePage,
};

/// Failed traces that are listed.
const FAILED: usize = 5;
/// Instances that are listed.
pub const MAX_INSTANCES: usize = 100;

/// A service of a range of time.
#[derive(Debug, Clone, Default)]
pub struct Service {
    pub name: String,
    /// Length of what was counted, in seconds.
    pub seconds: f64,
    pub total: Rates,
    /// Begin of each step and what happened in it; none where nothing was seen in the range.
    pub steps: Vec<(Nanos, Rates)>,
    pub last_seen: Nanos,
    pub operations: Vec<Operation>,
    /// Operations that were asked for and are not listed, since they are too many.
    pub more_operations: usize,
    pub callers: Vec<Neighbour>,
    pub callees: Vec<Neighbour>,
    pub instances: Vec<Instance>,
    /// Instances in all.
    pub all_instances: usize,
    pub versions: Vec<String>,
    pub changes: Vec<Change>,
    /// The newest traces in which it failed.
    pub failed: TracePage,
    pub failed_query: String,
}

/// An operation with the queries that find traces of it.
#[derive(Debug, Clone)]
pub struct Operation {
    pub name: String,
    pub rates: Rates,
    /// `None` where it stands for others.
    pub query: Option<String>,
    pub failed_query: Option<String>,
}

/// Who calls it or what it calls.
#[derive(Debug, Clone)]
pub struct Neighbour {
    pub place: Place,
    pub kind: EdgeKind,
    pub rates: Rates,
    /// The median's time in the queue in ns, where messages are taken.
    pub waited: Option<u64>,
}

/// In which order operations are listed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum OperationOrder {
    #[default]
    Rate,
    Failing,
    P95,
    Name,
}

/// What of its operations is wanted.
#[derive(Debug, Clone, Default)]
pub struct Wanted {
    pub order: OperationOrder,
    /// A part of their name, in any case.
    pub find: Option<String>,
    pub limit: usize,
}

/// Asks the store for a service; `None` where nothing in the store is of that name. `map` is of the same range.
pub async fn service(
    reader: &dyn Reader,
    map: &Map,
    name: &str,
    (from, to): (Nanos, Nanos),
    wanted: &Wanted,
) -> Result<Option<Service>, StoreError> {
    let mut rates = reader.service_rates(from, to, STEPS).await?;
    rates.retain(|one| one.service == name);
    let instances = reader.instance_rates(from, to, STEPS, Some(name)).await?;
    let mut service = Service {
        name: name.to_owned(),
        seconds: seconds(&rates, to),
        versions: versions::current(&instances),
        changes: versions::changes(&instances),
        failed_query: failed_in(name),
        ..Service::default()
    };
    match rates.pop() {
        Some(ServiceRates { steps, .. }) => {
            (service.total, service.last_seen) = (total(&steps), last_seen(&steps, to));
            service.steps = steps;
        }
        // It may be one that only calls: then it has no operation, but a place on the map, or older data.
        None if map.find(&Place::Service(name.to_owned()).id()).is_none() => {
            let known = reader.services(0, Nanos::MAX).await?;
            if known.binary_search_by(|known| known.as_str().cmp(name)).is_err() {
                return Ok(None);
            }
        }
        None => {}
    }
    service.instances = versions::instances(instances, to);
    service.all_instances = service.instances.len();
    service.instances.truncate(MAX_INSTANCES);
    operations(&mut service, reader.operations(from, to, Some(name)).await?, wanted);
    neighbours(&mut service, map);
    if service.total.errors > 0 || service.callees.iter().any(|one| one.rates.errors > 0) {
        let filter = TraceFilter {
            from: Some(from),
            to: Some(to),
            service: Some(name.to_owned()),
            status: Some(StatusFilter::Error),
            limit: FAILED,
            ..TraceFilter::default()
        };
        service.failed = reader.traces(&filter).await?;
    }
    Ok(Some(service))
}

fn operations(service: &mut Service, mut all: Vec<OperationRates>, wanted: &Wanted) {
    if let Some(text) = wanted.find.as_ref().map(|text| text.to_lowercase()) {
        all.retain(|one| one.operation.to_lowercase().contains(&text));
    }
    // They come by name; a stable sort keeps that among equals.
    match wanted.order {
        OperationOrder::Name => {}
        OperationOrder::Rate => all.sort_by_key(|one| std::cmp::Reverse(one.rates.count)),
        OperationOrder::P95 => {
            all.sort_by_cached_key(|one| std::cmp::Reverse(one.rates.durations.quantile(0.95)));
        }
        OperationOrder::Failing => all.sort_by(|a, b| {
            let of = |one: &OperationRates| (share(&one.rates), one.rates.errors);
            let ((a, a_errors), (b, b_errors)) = (of(a), of(b));
            b.total_cmp(&a).then(b_errors.cmp(&a_errors))
        }),
    }
    service.more_operations = all.len().saturating_sub(wanted.limit);
    all.truncate(wanted.limit);
    let one = |of: OperationRates| {
        let named = of.operation != OTHERS;
        let query = named.then(|| of_operation(&of.service, &of.operation));
        Operation {
            failed_query: query.as_ref().map(|query| format!("{query} and status = error")),
            query,
            name: of.operation,
            rates: of.rates,
        }
    };
    service.operations = all.into_iter().map(one).collect();
}

/// The query of traces with an operation of a service.
pub fn of_operation(service: &str, operation: &str) -> String {
    let [service, name] = [service, operation].map(language::value);
    format!("service.name = {service} and name = {name}")
}

fn neighbours(service: &mut Service, map: &Map) {
    let Some(own) = map.find(&Place::Service(service.name.clone()).id()) else { return };
    let neighbour = |edge: &Edge, end: usize| Neighbour {
        place: map.nodes[end].place.clone(),
        kind: edge.kind,
        rates: edge.rates.clone(),
        waited: edge.waited.quantile(0.5).filter(|_| edge.kind == EdgeKind::Take),
    };
    let busiest = |list: &mut Vec<Neighbour>| list.sort_by_key(|one| std::cmp::Reverse(one.rates.count));
    let edges = || map.edges.iter();
    service.callers = edges().filter(|edge| edge.to == own).map(|edge| neighbour(edge, edge.from)).collect();
    service.callees = edges().filter(|edge| edge.from == own).map(|edge| neighbour(edge, edge.to)).collect();
    busiest(&mut service.callers);
    busiest(&mut service.callees);
}
