//! Signals of each library, and states over time out of samples.

use std::sync::Arc;

use super::signal::{self, Says};
use super::track::{self, Tracks};
use super::*;
use crate::dashboard::fixture::breakers as fixture;
use crate::dashboard::fixture::reader::Memory;
use crate::dashboard::model::series::Kind;
use crate::dashboard::model::{Identity, Sample};
use crate::dashboard::query::kept::Period;
use crate::dashboard::store::{Series, SeriesFilter};

const S: Nanos = 1_000_000_000;
const BEGIN: Nanos = 1_795_440_000 * S;

fn identity(name: &str, kind: Kind, attributes: &[(&str, &str)]) -> Identity {
    let mut attributes: Vec<(String, String)> =
        attributes.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    attributes.sort();
    Identity {
        name: name.to_owned(),
        service: "shop".to_owned(),
        instance: "one".to_owned(),
        scope: String::new(),
        unit: String::new(),
        kind,
        attributes,
    }
}

#[test]
fn each_library_is_read_by_its_own_names() {
    use Library::{Convention, Envoy, Failsafe, Hystrix, Opossum, Polly, Resilience4j};
    type Case<'a> = (&'a str, &'a [(&'a str, &'a str)], Option<(Library, &'a str, Says)>);
    let cases: [Case<'_>; 27] = [
        (
            "resilience4j.circuitbreaker.state",
            &[("name", "pay"), ("state", "half_open")],
            Some((Resilience4j, "pay", Says::Is(State::HalfOpen))),
        ),
        (
            "resilience4j_circuitbreaker_state",
            &[("name", "pay"), ("state", "forced_open"), ("group", "none")],
            Some((Resilience4j, "pay", Says::Is(State::ForcedOpen))),
        ),
        ("resilience4j.circuitbreaker.state", &[("name", "pay"), ("state", "2")], None),
        ("resilience4j.circuitbreaker.state", &[("name", "pay")], None),
        (
            "resilience4j.circuitbreaker.calls",
            &[("name", "pay"), ("kind", "failed")],
            Some((Resilience4j, "pay", Says::Calls(Outcome::Failed))),
        ),
        (
            "resilience4j_circuitbreaker_calls_seconds",
            &[("name", "pay"), ("kind", "successful")],
            Some((Resilience4j, "pay", Says::Calls(Outcome::Succeeded))),
        ),
        (
            "resilience4j.circuitbreaker.calls.max",
            &[("name", "pay"), ("kind", "failed")],
            Some((Resilience4j, "pay", Says::There)),
        ),
        (
            "resilience4j.circuitbreaker.not.permitted.calls",
            &[("name", "pay"), ("kind", "not_permitted")],
            Some((Resilience4j, "pay", Says::Calls(Outcome::Rejected))),
        ),
        (
            "resilience4j_circuitbreaker_not_permitted_calls_total",
            &[("name", "pay")],
            Some((Resilience4j, "pay", Says::Calls(Outcome::Rejected))),
        ),
        (
            "resilience4j.circuitbreaker.failure.rate",
            &[("name", "pay")],
            Some((Resilience4j, "pay", Says::FailureRate(100))),
        ),
        (
            "resilience4j.circuitbreaker.slow.call.rate",
            &[("name", "pay")],
            Some((Resilience4j, "pay", Says::There)),
        ),
        (
            "resilience.polly.strategy.events",
            &[
                ("event.name", "OnCircuitOpened"),
                ("pipeline.name", "card"),
                ("strategy.name", "CircuitBreaker"),
            ],
            Some((Polly, "card", Says::Moved(State::Open))),
        ),
        (
            "resilience.polly.strategy.events",
            &[("event.name", "OnCircuitHalfOpened"), ("pipeline.name", "card"), ("strategy.name", "cb")],
            Some((Polly, "card/cb", Says::Moved(State::HalfOpen))),
        ),
        ("resilience.polly.strategy.events", &[("event.name", "OnRetry"), ("pipeline.name", "card")], None),
        ("resilience.polly.pipeline.duration", &[("pipeline.name", "card")], None),
        (
            "failsafe.circuit_breaker.state_change.count",
            &[("failsafe.circuit_breaker.state", "half_open"), ("failsafe.circuit_breaker.name", "tax")],
            Some((Failsafe, "tax", Says::Moved(State::HalfOpen))),
        ),
        (
            "failsafe.circuit_breaker.state_change.count",
            &[("failsafe.circuit_breaker.state", "open")],
            Some((Failsafe, "circuit breaker", Says::Moved(State::Open))),
        ),
        (
            "circuit",
            &[("name", "charge"), ("event", "halfOpen")],
            Some((Opossum, "charge", Says::Moved(State::HalfOpen))),
        ),
        ("circuit", &[("name", "charge"), ("event", "timeout")], Some((Opossum, "charge", Says::There))),
        ("circuit_perf", &[("name", "charge"), ("event", "open")], Some((Opossum, "charge", Says::There))),
        (
            "hystrix.circuit.breaker.open",
            &[("group", "g"), ("key", "Charge")],
            Some((Hystrix, "Charge", Says::Flag(State::Open))),
        ),
        (
            "cluster.payments.eu.circuit_breakers.default.rq_open",
            &[],
            Some((Envoy, "payments.eu", Says::Flag(State::Saturated))),
        ),
        (
            "cluster.payments.circuit_breakers.default.remaining_rq",
            &[],
            Some((Envoy, "payments", Says::There)),
        ),
        (
            "envoy_cluster_outlier_detection_ejections_active",
            &[("envoy_cluster_name", "pay_eu")],
            Some((Envoy, "pay_eu", Says::Flag(State::Partly))),
        ),
        (
            "circuit_breaker.state",
            &[("circuit_breaker.name", "pay"), ("circuit_breaker.state", "open")],
            Some((Convention, "pay", Says::Is(State::Open))),
        ),
        (
            "circuit_breaker.calls",
            &[("circuit_breaker.name", "pay"), ("circuit_breaker.result", "rejected")],
            Some((Convention, "pay", Says::Calls(Outcome::Rejected))),
        ),
        ("circuit_breaker.state", &[("circuit_breaker.state", "open")], None),
    ];
    for (name, attributes, expected) in cases {
        let identity = identity(name, Kind::GAUGE, attributes);
        if let Some((library, _, Says::Calls(_))) = expected {
            let metrics = signal::metrics_of_calls(library);
            assert!(
                SeriesFilter { metrics, ..SeriesFilter::default() }.fits(&identity),
                "{name} is not asked for"
            );
        }
        let read = signal::of(&identity);
        let read = read.as_ref().map(|signal| (signal.key.library, signal.key.name.as_str(), signal.says));
        assert_eq!(read, expected, "{name} {attributes:?}");
    }
    let istio = "cluster.outbound|8080|v1|pay.shop.svc.cluster.local.circuit_breakers.default.cx_open";
    let read = signal::of(&identity(istio, Kind::GAUGE, &[])).unwrap();
    assert_eq!(read.peer.as_deref(), Some("pay.shop.svc.cluster.local"));
}

/// The series of a gauge of states, exported each ten seconds: the states in order, `None` is no export.
fn gauge(states: &[Option<State>]) -> Vec<Series> {
    let named = [("closed", State::Closed), ("open", State::Open), ("half_open", State::HalfOpen)];
    let series = named.map(|(word, state)| {
        let attributes = [("circuit_breaker.name", "pay"), ("circuit_breaker.state", word)];
        // Each series has its own time within an export.
        let own = state as u64 * 7_000_000;
        let samples = (0u64..).zip(states).filter_map(|(number, now)| {
            let value = f64::from(u8::from((*now)? == state));
            Some(Sample::of(BEGIN + number * 10 * S + own, 0, value))
        });
        Series {
            identity: Arc::new(identity("circuit_breaker.state", Kind::GAUGE, &attributes)),
            before: None,
            samples: samples.collect(),
        }
    });
    series.into()
}

fn go_on(tracks: &mut Tracks, found: impl Into<Vec<Series>>, from: Nanos, now: Nanos) {
    track::go_on(tracks, &track::hear(found.into(), from), now);
}

/// States and how many tens of seconds each lasted.
fn told(tracks: &Tracks, end: Nanos) -> Vec<(State, u64)> {
    let track = tracks.values().next().expect("one instance");
    let (_, _, strip) = track.until(BEGIN, end, end);
    strip.iter().map(|one| (one.state, (one.to - one.from + S) / (10 * S))).collect()
}

#[test]
fn a_gauge_is_settled_export_by_export_and_silence_is_unknown() {
    use State::{Closed, HalfOpen, Open, Unknown};
    let mut states = vec![Some(Closed); 6];
    states.extend([Some(Open); 3]);
    states.extend([Some(HalfOpen), Some(Closed), Some(Closed)]);
    states.extend([None; 5]);
    states.extend([Some(Open); 2]);
    let end = BEGIN + states.len() as u64 * 10 * S;
    let expected = [(Closed, 6), (Open, 3), (HalfOpen, 1), (Closed, 2), (Unknown, 5), (Open, 2)];

    let mut whole = Tracks::new();
    go_on(&mut whole, gauge(&states), BEGIN, end);
    assert_eq!(told(&whole, end), expected);

    // The same read in two parts, whatever lies at the border.
    for border in 1..states.len() {
        let mut parts = Tracks::new();
        let mut later = states.clone();
        later[..border].fill(None);
        go_on(&mut parts, gauge(&states[..border]), BEGIN, end);
        go_on(&mut parts, gauge(&later), BEGIN + border as u64 * 10 * S, end);
        assert_eq!(told(&parts, end), expected, "parted at {border}");
    }

    let later = end + 31 * S;
    assert_eq!(told(&whole, later).last(), Some(&(Unknown, 3)), "three exports are missing");
    let (state, ..) = whole.values().next().unwrap().until(BEGIN, end + 19 * S, end + 19 * S);
    assert_eq!(state, Open, "two are not");
}

#[test]
fn counters_tell_by_growing_and_are_assumed_closed_before() {
    let counter = |event: &str, values: &[(u64, f64)]| Series {
        identity: Arc::new(identity("circuit", Kind::COUNTER, &[("name", "charge"), ("event", event)])),
        before: None,
        samples: values
            .iter()
            .map(|(at, value)| Sample::of(BEGIN + at * 10 * S, BEGIN - S, *value))
            .collect(),
    };
    let every = |until: u64| (0..until).map(|at| (at, at as f64)).collect::<Vec<_>>();
    let mut tracks = Tracks::new();
    go_on(&mut tracks, [counter("fire", &every(9))], BEGIN, BEGIN + 90 * S);
    assert_eq!(told(&tracks, BEGIN + 90 * S), [(State::Assumed, 9)]);
    assert_eq!(tracks.values().next().unwrap().known, Known::NeverMoved);

    let found = [
        counter("fire", &every(9)),
        // Appears with 1, as opossum's do.
        counter("open", &[(3, 1.0), (4, 1.0), (5, 1.0), (6, 2.0), (7, 2.0), (8, 2.0)]),
        counter("halfOpen", &[(5, 1.0), (6, 1.0), (7, 2.0), (8, 2.0)]),
        counter("close", &[(7, 1.0), (8, 1.0)]),
    ];
    let mut tracks = Tracks::new();
    go_on(&mut tracks, found, BEGIN, BEGIN + 90 * S);
    use State::{Assumed, Closed, HalfOpen, Open};
    let expected = [(Assumed, 3), (Open, 2), (HalfOpen, 1), (Open, 1), (Closed, 2)];
    assert_eq!(told(&tracks, BEGIN + 90 * S), expected);
    assert_eq!(tracks.values().next().unwrap().known, Known::Counter);
}

#[test]
fn a_short_opening_is_not_lost_where_samples_became_one() {
    let mut found = gauge(&[Some(State::Closed); 8]);
    let open =
        found.iter_mut().find(|series| series.identity.attribute("circuit_breaker.state") == Some("open"));
    let open = open.unwrap();
    (open.samples[4].min, open.samples[4].max) = (Some(0.0), Some(1.0));
    let mut tracks = Tracks::new();
    go_on(&mut tracks, found, BEGIN, BEGIN + 80 * S);
    let states: Vec<State> = told(&tracks, BEGIN + 80 * S).iter().map(|(state, _)| *state).collect();
    assert_eq!(states, [State::Closed, State::Open, State::Closed]);
}

#[test]
fn exports_in_quick_succession_are_told_apart() {
    let counter = |event: &str, values: &[(u64, f64)]| Series {
        identity: Arc::new(identity("circuit", Kind::COUNTER, &[("name", "charge"), ("event", event)])),
        before: None,
        samples: values
            .iter()
            .map(|(at, value)| Sample::of(BEGIN + at * S / 10 * 4, BEGIN - S, *value))
            .collect(),
    };
    let found = [
        counter("fire", &(0..9).map(|at| (at, at as f64)).collect::<Vec<_>>()),
        counter("open", &(1..9).map(|at| (at, 1.0)).collect::<Vec<_>>()),
        counter("halfOpen", &(3..9).map(|at| (at, 1.0)).collect::<Vec<_>>()),
        counter("close", &(4..9).map(|at| (at, 1.0)).collect::<Vec<_>>()),
    ];
    let end = BEGIN + 4 * S;
    let mut tracks = Tracks::new();
    go_on(&mut tracks, found, BEGIN, end);
    let (_, _, strip) = tracks.values().next().expect("one instance").until(BEGIN, end, end);
    let told: Vec<_> = strip.iter().map(|one| (one.state, (one.from - BEGIN) * 10 / S)).collect();
    use State::{Assumed, Closed, HalfOpen, Open};
    assert_eq!(told, [(Assumed, 0), (Open, 4), (HalfOpen, 12), (Closed, 16)]);
}

#[test]
fn names_of_states_are_read_and_numbers_are_not() {
    for (text, state) in [
        ("HALF_OPEN", Some(State::HalfOpen)),
        ("halfOpen", Some(State::HalfOpen)),
        ("half-open", Some(State::HalfOpen)),
        ("Isolated", Some(State::ForcedOpen)),
        ("metrics_only", Some(State::MetricsOnly)),
        ("0", None),
        ("1", None),
        ("", None),
    ] {
        assert_eq!(State::named(text), state, "{text}");
    }
}

#[tokio::test]
async fn a_time_that_is_over_is_told_alike_whatever_was_read_before_it() {
    let end = crate::dashboard::model::now() - 60 * S;
    let mut memory = Memory::new(Vec::new());
    memory.series = fixture::series(end);
    let kept = kept::Breakers::default();
    kept.get(&memory, Period::Last(3_600 * S)).await.unwrap();
    let told = |listed: &kept::Listed| -> Vec<(Key, State, Vec<Stretch>)> {
        let told = |one: &Breaker| (one.key.clone(), one.state, one.strip.clone());
        let mut all: Vec<_> = listed.breakers.iter().map(told).collect();
        all.sort_by(|one, other| one.0.cmp(&other.0));
        all
    };
    let mut states = std::collections::HashSet::new();
    for ago in (600..3_500).step_by(47) {
        let (from, to) = (end - 2 * 3_600 * S, end - ago * S);
        let listed = kept.get(&memory, Period::Fixed(from, to)).await.unwrap();
        let alone = kept::list(&memory, from, to).await.unwrap();
        assert_eq!(told(&listed), told(&alone), "{ago} s before the end");
        states.extend(listed.breakers.iter().map(|one| one.state));
    }
    assert!(states.len() > 2, "{states:?}");
}
