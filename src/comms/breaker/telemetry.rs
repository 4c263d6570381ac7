//! What a breaker tells: metrics when they are collected, an event and a log record when its state changes.
//!
//! Nothing here runs in a call that is let through but two counters; metrics are read out of the breakers when
//! somebody collects them. The names are those of [`crate::comms::names`].

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, Once, PoisonError, Weak};

use opentelemetry::trace::TraceContextExt as _;
use opentelemetry::{Context, KeyValue, global};

use super::machine::{Change, State};
use super::{Inner, Rejected, Snapshot};
use crate::comms::{SCOPE, names};

/// Calls since the start, in the order of [`names::BREAKER_RESULTS`].
#[derive(Default)]
pub(super) struct Totals([AtomicU64; 4]);

impl Totals {
    pub fn done(&self, failed: bool, slow: bool) {
        let result = match (failed, slow) {
            (true, _) => 1,
            (false, true) => 2,
            (false, false) => 0,
        };
        self.0[result].fetch_add(1, Ordering::Relaxed);
    }

    pub fn rejected(&self) {
        self.0[3].fetch_add(1, Ordering::Relaxed);
    }

    pub fn read(&self) -> [u64; 4] {
        self.0.each_ref().map(|total| total.load(Ordering::Relaxed))
    }
}

/// The breakers of the process.
static WATCHED: Mutex<Vec<Weak<Inner>>> = Mutex::new(Vec::new());
/// Instruments are made with the first breaker: the meter provider has to be there by then.
static INSTRUMENTS: Once = Once::new();

/// Has a breaker's metrics collected from now on, until it is dropped.
pub(super) fn watch(inner: &Arc<Inner>) {
    INSTRUMENTS.call_once(instruments);
    let mut watched = WATCHED.lock().unwrap_or_else(PoisonError::into_inner);
    watched.retain(|breaker| breaker.strong_count() > 0);
    watched.push(Arc::downgrade(inner));
}

/// One name's breakers, as one.
struct Seen {
    peer: Option<Arc<str>>,
    snapshot: Snapshot,
}

/// By name; of several of one name the state of the one that lets least through.
fn seen() -> BTreeMap<Arc<str>, Seen> {
    let breakers: Vec<_> = {
        let watched = WATCHED.lock().unwrap_or_else(PoisonError::into_inner);
        watched.iter().filter_map(Weak::upgrade).collect()
    };
    let mut seen: BTreeMap<Arc<str>, Seen> = BTreeMap::new();
    for breaker in breakers {
        let snapshot = breaker.snapshot();
        match seen.get_mut(&breaker.name) {
            None => {
                seen.insert(Arc::clone(&breaker.name), Seen { peer: breaker.peer.clone(), snapshot });
            }
            Some(other) => {
                let mut calls = snapshot.calls;
                for (sum, more) in calls.iter_mut().zip(other.snapshot.calls) {
                    *sum += more;
                }
                if strictness(snapshot.state) > strictness(other.snapshot.state) {
                    other.snapshot = snapshot;
                }
                other.snapshot.calls = calls;
            }
        }
    }
    seen
}

/// How little a state lets through.
fn strictness(state: State) -> u8 {
    match state {
        State::Closed => 0,
        State::HalfOpen => 1,
        State::Open => 2,
        State::ForcedOpen => 3,
    }
}

fn name_of(name: &Arc<str>) -> KeyValue {
    KeyValue::new(names::BREAKER_NAME, Arc::clone(name))
}

fn instruments() {
    let meter = global::meter(SCOPE);
    meter
        .u64_observable_gauge(names::METRIC_BREAKER_STATE)
        .with_description("1 for the state that the circuit breaker is in, 0 for the others")
        .with_callback(|gauge| {
            for (name, breaker) in seen() {
                for state in names::BREAKER_STATES {
                    let is = u64::from(breaker.snapshot.state.text() == state);
                    gauge.observe(is, &[name_of(&name), KeyValue::new(names::BREAKER_STATE, state)]);
                }
            }
        })
        .build();
    meter
        .u64_observable_counter(names::METRIC_BREAKER_CALLS)
        .with_unit("{call}")
        .with_description("Calls behind the circuit breaker by how they ended")
        .with_callback(|counter| {
            for (name, breaker) in seen() {
                for (result, calls) in names::BREAKER_RESULTS.into_iter().zip(breaker.snapshot.calls) {
                    let mut attributes = vec![name_of(&name), KeyValue::new(names::BREAKER_RESULT, result)];
                    attributes.extend(peer(&breaker.peer));
                    counter.observe(calls, &attributes);
                }
            }
        })
        .build();
    rate(names::METRIC_BREAKER_FAILURE_RATE, "Share of failed calls in the window", |s| s.failure_rate);
    rate(names::METRIC_BREAKER_SLOW_RATE, "Share of slow calls in the window", |s| s.slow_rate);
}

fn rate(metric: &'static str, description: &'static str, of: fn(&Snapshot) -> Option<f64>) {
    global::meter(SCOPE)
        .f64_observable_gauge(metric)
        .with_unit("1")
        .with_description(description)
        .with_callback(move |gauge| {
            for (name, breaker) in seen() {
                if let Some(rate) = of(&breaker.snapshot) {
                    gauge.observe(rate, &[name_of(&name)]);
                }
            }
        })
        .build();
}

fn peer(peer: &Option<Arc<str>>) -> Option<KeyValue> {
    peer.as_ref().map(|peer| KeyValue::new(names::SERVICE_PEER_NAME, Arc::clone(peer)))
}

/// An event on the span at hand, and a log record of the same name.
pub(super) fn changed(breaker: &Inner, change: &Change) {
    let policy = breaker.config.to_string();
    let mut attributes = vec![
        name_of(&breaker.name),
        KeyValue::new(names::EVENT_FROM, change.from.text()),
        KeyValue::new(names::EVENT_TO, change.to.text()),
        KeyValue::new(names::BREAKER_REASON, change.reason.clone()),
        KeyValue::new(names::BREAKER_POLICY, policy.clone()),
    ];
    attributes.extend(peer(&breaker.peer));
    Context::map_current(|context| context.span().add_event(names::EVENT_BREAKER_STATE_CHANGE, attributes));

    let (name, peer) = (&*breaker.name, breaker.peer.as_deref());
    let (from, to, reason) = (change.from.text(), change.to.text(), &*change.reason);
    // The level is part of a log record's static description.
    macro_rules! log {
        ($level:expr) => {
            tracing::event!(
                name: names::EVENT_BREAKER_STATE_CHANGE,
                $level,
                circuit_breaker.name = name,
                from,
                to,
                circuit_breaker.reason = reason,
                circuit_breaker.policy = &*policy,
                service.peer.name = peer,
                "circuit breaker {name}: {from} to {to}, {reason}"
            )
        };
    }
    match change.to {
        State::Open | State::ForcedOpen => log!(tracing::Level::WARN),
        State::Closed | State::HalfOpen => log!(tracing::Level::INFO),
    }
}

/// An event on the span at hand, so that the traces that were turned away can be found.
pub(super) fn rejected(rejected: &Rejected) {
    let mut attributes =
        vec![name_of(&rejected.breaker), KeyValue::new(names::BREAKER_STATE, rejected.state.text())];
    attributes.extend(peer(&rejected.peer));
    Context::map_current(|context| context.span().add_event(names::EVENT_BREAKER_REJECTED, attributes));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::comms::breaker::{Breaker, BreakerConfig, Outcome};

    #[test]
    fn breakers_of_one_name_are_one_and_those_that_are_gone_are_none() {
        let one = Breaker::new("telemetry-test", BreakerConfig::default()).with_peer("stock");
        let other = Breaker::new("telemetry-test", BreakerConfig::default());
        for breaker in [&one, &other] {
            breaker.acquire().expect("closed").record(Outcome::Success);
        }
        other.force_open();
        other.acquire().expect_err("open");
        let name: Arc<str> = "telemetry-test".into();
        let told = seen().remove(&name).expect("seen");
        assert_eq!((told.snapshot.state, told.snapshot.calls), (State::ForcedOpen, [2, 0, 0, 1]));
        assert_eq!(told.peer.as_deref(), Some("stock"));
        drop(other);
        assert_eq!(seen()[&name].snapshot.state, State::Closed);
        drop(one);
        assert!(!seen().contains_key(&name));
    }
}
