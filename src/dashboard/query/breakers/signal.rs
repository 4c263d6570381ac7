//! What one series of a metric says of a breaker, by the names that libraries really send.
//!
//! Names are compared with their underscores read as dots, as the table of metrics of interest does, so that what came by
//! way of Prometheus is known too.

use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};

use super::{Key, Library, Outcome, State};
use crate::dashboard::model::Identity;
use crate::dashboard::store::Metric;

/// What the names of metrics of breakers begin with.
const BEGINS: [&str; 9] = [
    "circuit",
    "cluster.",
    "envoy.cluster.",
    "envoy_cluster_",
    "failsafe",
    "hystrix",
    "resilience.polly",
    "resilience4j",
    "resilience_polly",
];

/// The metrics to ask for.
pub fn metrics() -> impl Iterator<Item = Metric> {
    BEGINS.into_iter().map(|begin| Metric::Begins(begin.to_owned()))
}

/// The metrics in which a library may count calls: a few among many.
pub fn metrics_of_calls(library: Library) -> Vec<Metric> {
    let dotted: &[&str] = match library {
        Library::Resilience4j => {
            &["resilience4j.circuitbreaker.calls", "resilience4j.circuitbreaker.not.permitted.calls"]
        }
        Library::Convention => {
            &["circuit.breaker.calls", "circuit.breaker.rejected", "circuit.breaker.rejections"]
        }
        Library::Opossum => return vec![Metric::Named("circuit".to_owned())],
        Library::Polly | Library::Failsafe | Library::Hystrix | Library::Envoy => &[],
    };
    dotted.iter().flat_map(|name| separated(name)).map(Metric::Begins).collect()
}

/// A name with each of its dots as a dot and as an underscore.
fn separated(dotted: &str) -> Vec<String> {
    let mut parts = dotted.split('.');
    let first = vec![parts.next().unwrap_or_default().to_owned()];
    parts.fold(first, |heads, part| {
        let both = |head: String| ['.', '_'].map(|separator| format!("{head}{separator}{part}"));
        heads.into_iter().flat_map(both).collect()
    })
}

/// What a series says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Says {
    /// 1 while the breaker is in this state; one of a set.
    Is(State),
    /// 1 or more while in this state, 0 while closed.
    Flag(State),
    /// Counts changes to this state.
    Moved(State),
    /// Counts calls that ended so.
    Calls(Outcome),
    /// Share of failed calls, 1 of what is all of them; below 0 there were too few.
    FailureRate(u8),
    /// Only that the breaker is there.
    There,
}

/// A series that tells of a breaker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signal {
    pub key: Key,
    pub instance: String,
    pub peer: Option<String>,
    pub says: Says,
    /// Tells the series of one instance apart.
    pub slot: u64,
}

/// Reads a series; `None` where it tells of no breaker.
pub fn of(identity: &Identity) -> Option<Signal> {
    let dotted = identity.name.replace('_', ".");
    let (library, told) = read(&dotted, identity)?;
    let peer = told.peer.or_else(|| {
        let keys = ["service.peer.name", "service_peer_name", "peer.service", "peer_service"];
        first(identity, &keys).map(str::to_owned)
    });
    let key = Key { service: identity.service.clone(), name: told.name, library };
    let slot =
        BuildHasherDefault::<DefaultHasher>::default().hash_one((&identity.name, &identity.attributes));
    let mut instance = identity.instance.clone();
    if let Some(part) =
        first(identity, &["pipeline.instance", "pipeline_instance"]).filter(|_| library == Library::Polly)
    {
        instance = if instance.is_empty() { part.to_owned() } else { format!("{instance}/{part}") };
    }
    Some(Signal { key, instance, peer, says: told.says, slot })
}

struct Told {
    name: String,
    peer: Option<String>,
    says: Says,
}

fn told(name: impl Into<String>, says: Says) -> Told {
    Told { name: name.into(), peer: None, says }
}

fn read(dotted: &str, identity: &Identity) -> Option<(Library, Told)> {
    if let Some(rest) = dotted.strip_prefix("resilience4j.circuitbreaker.") {
        return Some((Library::Resilience4j, resilience4j(rest, identity)?));
    }
    if let Some(rest) = dotted.strip_prefix("resilience.polly.strategy.events") {
        return Some((Library::Polly, polly(identity).filter(|_| is_end(rest))?));
    }
    if dotted.starts_with("failsafe.circuit.breaker.") {
        return Some((Library::Failsafe, failsafe(dotted, identity)?));
    }
    if dotted == "circuit" || dotted.starts_with("circuit.perf") {
        return Some((Library::Opossum, opossum(dotted, identity)?));
    }
    if let Some(rest) = dotted.strip_prefix("hystrix.circuit.breaker.") {
        let name = first(identity, &["key", "name", "commandkey"])?;
        return Some((
            Library::Hystrix,
            told(name, if is(rest, "open") { Says::Flag(State::Open) } else { Says::There }),
        ));
    }
    if let Some(rest) = dotted.strip_prefix("circuit.breaker.") {
        return Some((Library::Convention, convention(rest, identity)?));
    }
    Some((Library::Envoy, envoy(dotted, identity)?))
}

fn resilience4j(rest: &str, identity: &Identity) -> Option<Told> {
    let name = first(identity, &["name"])?;
    let kind = first(identity, &["kind"]);
    let says = if is(rest, "state") {
        Says::Is(State::named(first(identity, &["state"])?)?)
    } else if is(rest, "calls") || is(rest, "calls.seconds") || is(rest, "calls.milliseconds") {
        match kind {
            Some("successful") => Says::Calls(Outcome::Succeeded),
            Some("failed") => Says::Calls(Outcome::Failed),
            _ => Says::There,
        }
    } else if is(rest, "not.permitted.calls") {
        Says::Calls(Outcome::Rejected)
    } else if is(rest, "failure.rate") {
        Says::FailureRate(100)
    } else {
        Says::There
    };
    Some(told(name, says))
}

/// Polly counts events of all its strategies; those of breakers have names of their own.
fn polly(identity: &Identity) -> Option<Told> {
    let moved = match first(identity, &["event.name", "event_name"])? {
        "OnCircuitOpened" => State::Open,
        "OnCircuitClosed" => State::Closed,
        "OnCircuitHalfOpened" => State::HalfOpen,
        _ => return None,
    };
    let strategy = first(identity, &["strategy.name", "strategy_name"]);
    let strategy = strategy.filter(|name| *name != "CircuitBreaker" && *name != "(null)");
    let pipeline = first(identity, &["pipeline.name", "pipeline_name"]).filter(|name| *name != "(null)");
    let name = match (pipeline, strategy) {
        (Some(pipeline), Some(strategy)) => format!("{pipeline}/{strategy}"),
        (Some(one), None) | (None, Some(one)) => one.to_owned(),
        (None, None) => "CircuitBreaker".to_owned(),
    };
    Some(told(name, Says::Moved(moved)))
}

fn failsafe(dotted: &str, identity: &Identity) -> Option<Told> {
    let names =
        ["failsafe.circuit_breaker.name", "failsafe.policy.name", "failsafe_circuit_breaker_name", "name"];
    let name = first(identity, &names).unwrap_or("circuit breaker");
    let state =
        first(identity, &["failsafe.circuit_breaker.state", "failsafe_circuit_breaker_state", "state"]);
    let counts = dotted.contains(".state.change");
    let moved = state.and_then(State::named).filter(|_| counts);
    Some(told(name, moved.map_or(Says::There, Says::Moved)))
}

/// A timeout is counted as a failure too, so it is left out here.
fn opossum(dotted: &str, identity: &Identity) -> Option<Told> {
    let name = first(identity, &["name"])?;
    let event = first(identity, &["event"])?;
    let says = match event {
        _ if dotted != "circuit" => Says::There,
        "open" => Says::Moved(State::Open),
        "halfOpen" => Says::Moved(State::HalfOpen),
        "close" => Says::Moved(State::Closed),
        "success" => Says::Calls(Outcome::Succeeded),
        "failure" => Says::Calls(Outcome::Failed),
        "reject" => Says::Calls(Outcome::Rejected),
        _ => Says::There,
    };
    Some(told(name, says))
}

fn convention(rest: &str, identity: &Identity) -> Option<Told> {
    let name = first(identity, &["circuit_breaker.name", "circuit_breaker_name", "name"])?;
    let results =
        ["circuit_breaker.result", "circuit_breaker.outcome", "circuit_breaker_result", "result", "outcome"];
    let says = if is(rest, "state") {
        let state = first(identity, &["circuit_breaker.state", "circuit_breaker_state", "state"])?;
        Says::Is(State::named(state)?)
    } else if is(rest, "calls") {
        match first(identity, &results)? {
            // Slow ones succeeded, too late.
            "success" | "succeeded" | "ok" | "slow" => Says::Calls(Outcome::Succeeded),
            "failure" | "failed" | "error" | "timeout" => Says::Calls(Outcome::Failed),
            "rejected" | "reject" | "not_permitted" => Says::Calls(Outcome::Rejected),
            _ => Says::There,
        }
    } else if is(rest, "rejected") || is(rest, "rejections") || is(rest, "calls.rejected") {
        Says::Calls(Outcome::Rejected)
    } else if is(rest, "failure.rate") {
        Says::FailureRate(1)
    } else {
        Says::There
    };
    Some(told(name, says))
}

/// `cluster.NAME.circuit_breakers.PRIORITY.rq_open` and `cluster.NAME.outlier_detection.ejections_active`, or with the
/// cluster's name in a label. Dots and underscores have the same length, so places in both texts are the same.
fn envoy(dotted: &str, identity: &Identity) -> Option<Told> {
    let at = dotted.find("circuit.breakers.").or_else(|| dotted.find("outlier.detection."))?;
    let label = ["envoy.cluster_name", "envoy_cluster_name", "cluster_name", "envoy.cluster.name"];
    let cluster = match first(identity, &label) {
        Some(name) => name,
        None => identity.name.get("cluster.".len()..at)?.trim_end_matches(['.', '_']),
    };
    let ends = |end: &str| dotted.ends_with(end);
    let says = if dotted[at..].starts_with("circuit") && ends(".open") {
        Says::Flag(State::Saturated)
    } else if ends("ejections.active") {
        Says::Flag(State::Partly)
    } else {
        Says::There
    };
    // Istio: `outbound|8080|v1|payments.shop.svc.cluster.local`.
    let peer = cluster.rsplit('|').next().filter(|peer| !peer.is_empty());
    Some(Told { name: cluster.to_owned(), peer: peer.map(str::to_owned), says })
        .filter(|told| !told.name.is_empty())
}

/// Whether a name ends as `wanted`, or with the `total` that Prometheus adds.
fn is(rest: &str, wanted: &str) -> bool {
    rest.strip_prefix(wanted).is_some_and(is_end)
}

fn is_end(rest: &str) -> bool {
    matches!(rest, "" | ".total" | ".count")
}

fn first<'a>(identity: &'a Identity, keys: &[&str]) -> Option<&'a str> {
    keys.iter().find_map(|key| identity.attribute(key)).filter(|value| !value.is_empty())
}
