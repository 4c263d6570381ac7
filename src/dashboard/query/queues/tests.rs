//! Verdicts and figures of queues.

use super::read::Read;
use super::*;
use crate::dashboard::fixture::queues::{self as fixture, figure};
use crate::dashboard::model::queues as names;
use crate::dashboard::store::Series;

const S: Nanos = 1_000_000_000;
const NOW: Nanos = 1_795_440_000 * S;

/// The queues of an hour.
fn queues(series: Vec<Series>, brokers: &[Arc<BrokerStatus>]) -> Vec<Queue> {
    let lately = series
        .iter()
        .cloned()
        .filter_map(|mut one| {
            one.samples.retain(|sample| sample.time >= NOW - read::LATELY);
            (!one.samples.is_empty()).then_some(one)
        })
        .collect();
    let read = Read { from: NOW - 3_600 * S, to: NOW, lately, long: series, complete: true };
    gather::gather(&read, brokers)
}

/// One queue, by how many messages were ready at each of 360 answers.
fn of(name: &str, ready: impl Fn(u64) -> Option<f64>) -> Queue {
    let queue = (names::BROKER, "b", name);
    let series = figure(NOW, queue, (names::CURRENT, Some("ready")), ready);
    queues(vec![series], &[]).remove(0)
}

#[test]
fn the_worst_stands_first_and_each_has_its_verdict() {
    let board = fixture::board(NOW);
    let all = queues(fixture::series(NOW), &board.brokers());
    let said: Vec<(&str, &str)> =
        all.iter().map(|queue| (queue.key.name.as_str(), queue.verdict.code())).collect();
    assert_eq!(
        said[..7],
        [
            ("notifications.sms", "no_consumer"),
            ("payments.charge", "growing"),
            ("orders.dlq", "dead_letters"),
            ("reports", "silent"),
            ("analytics.events", "draining"),
            ("payments.retry", "delays"),
            ("größe/大 & co", "steady"),
        ]
    );
    let sms = &all[0];
    assert_eq!(sms.verdict, Verdict::NoConsumer { since: Some(NOW - 72 * 10 * S) });
    assert_eq!((sms.incoming, sms.outgoing), (Some(11.7), None), "what nobody told is unknown");
    let Verdict::Growing { per_second, full_in: Some(left) } = all[1].verdict else { panic!("{:?}", all[1]) };
    assert!((per_second - 2.0).abs() < 0.01 && (left - 48_350.0).abs() < 100.0, "{per_second} {left}");
    let new = all.iter().find(|queue| queue.key.name == "just-declared").expect("the broker told of it");
    assert_eq!((new.ready, new.verdict.code()), (None, "unknown"), "no figure yet is not nothing");
}

#[test]
fn a_slope_needs_messages_time_and_a_line() {
    assert_eq!(
        of("q", |at| Some(100.0 + (at % 2) as f64 * 50.0)).verdict,
        Verdict::Steady,
        "it goes up and down"
    );
    assert_eq!(
        of("q", |at| Some(1_000.0 + at as f64 / 60.0)).verdict,
        Verdict::Steady,
        "one message in ten minutes"
    );
    assert_eq!(
        of("q", |at| (at > 357).then_some(at as f64 * 100.0)).verdict,
        Verdict::Steady,
        "for 20 seconds"
    );
    assert!(
        matches!(of("q", |at| Some(at as f64)).verdict, Verdict::Growing { full_in: None, .. }),
        "no limit is known"
    );
    // It drains, and not in a line.
    let jumps = of("q", |at| Some(5_000.0 - at as f64 * 10.0 + (at % 7) as f64 * 60.0));
    assert!(matches!(jumps.verdict, Verdict::Draining { empty_in: None, .. }), "{:?}", jumps.verdict);
    assert!(matches!(
        of("q", |at| Some(5_000.0 - at as f64 * 10.0)).verdict,
        Verdict::Draining { empty_in: Some(_), .. }
    ));
    assert_eq!(of("q", |_| Some(0.0)).verdict, Verdict::Empty, "nobody told of rates");
}

#[test]
fn names_of_dead_letter_queues_are_known_by_their_parts() {
    for name in
        ["orders.dlq", "orders-dead-letter", "Orders.DLX", "orders_error", "dead_letters/eu", "x.deadletter"]
    {
        assert!(gather::is_dead_by_name(name), "{name}");
    }
    for name in ["orders", "deadline", "errors.read", "dlqs2", ""] {
        assert!(!gather::is_dead_by_name(name), "{name}");
    }
}

#[test]
fn a_queue_that_its_broker_does_not_list_is_gone_and_one_seen_twice_is_one() {
    let told = BrokerStatus {
        name: "b".into(),
        address: String::new(),
        reached: Some(NOW),
        failing: None,
        left_out: 0,
        queues: vec![QueueFacts {
            virtual_host: "/".into(),
            name: "here".into(),
            node: Some("rabbit@one".into()),
            ..QueueFacts::default()
        }],
    };
    let ready = (names::CURRENT, Some("ready"));
    let series = vec![
        figure(NOW, (names::BROKER, "b", "here"), ready, |_| Some(0.0)),
        figure(NOW, (names::NODE, "rabbit@one", "here"), ready, |_| Some(0.0)),
        figure(NOW, (names::BROKER, "b", "was"), ready, |at| (at < 357).then_some(4.0)),
    ];
    let brokers = [Arc::new(told.clone())];
    let all = queues(series.clone(), &brokers);
    let said: Vec<_> = all.iter().map(|queue| (&*queue.key.name, queue.verdict.code())).collect();
    assert_eq!(said, [("here", "empty"), ("was", "gone")]);
    // Where not all queues are kept, one that is missing may be there.
    let all = queues(series, &[Arc::new(BrokerStatus { left_out: 1, ..told })]);
    assert_eq!(all[0].verdict, Verdict::Steady);
}
