//! Verdicts and figures of queues.

use super::read::Read;
use super::*;
use crate::dashboard::fixture::queues::{self as fixture, figure, kafka_figure};
use crate::dashboard::fixture::reader::Memory;
use crate::dashboard::model::queues as names;
use crate::dashboard::store::Series;

const S: Nanos = 1_000_000_000;
const NOW: Nanos = 1_795_440_000 * S;

/// The queues of an hour.
fn queues(series: Vec<Series>, brokers: &[Arc<BrokerStatus>]) -> Vec<Queue> {
    let series = kafka::as_queues(series);
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
        said[..8],
        [
            ("notifications.sms", "no_consumer"),
            ("payments.charge", "growing"),
            ("orders", "growing"),
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

/// A figure of a group's reading of a partition.
fn of_partition(metric: &str, partition: &str, value: impl Fn(u64) -> Option<f64>) -> Series {
    let attributes = [("group", "billing"), ("partition", partition), ("topic", "orders")];
    kafka_figure(NOW, metric, &attributes, value)
}

#[test]
fn what_a_group_of_kafka_has_not_read_is_a_queue_with_the_lag_of_all_partitions() {
    let all = queues(fixture::series(NOW), &[]);
    let of = |group: &str| {
        let found = all.iter().find(|queue| queue.key.virtual_host == group);
        found.unwrap_or_else(|| panic!("{group}"))
    };
    let billing = of("billing");
    let key = Key { broker: "log-1".into(), virtual_host: "billing".into(), name: "orders".into() };
    assert_eq!((&billing.key, billing.is_kafka), (&key, true));
    assert_eq!((billing.ready, billing.consumers), (Some(3.0 * 2.0 * 360.0), Some(3.0)));
    let rates = (billing.incoming.map(f64::round), billing.outgoing.map(|rate| (rate * 10.0).round()));
    assert_eq!(rates, (Some(12.0), Some(114.0)), "records a second of three partitions");
    let Verdict::Growing { per_second, .. } = billing.verdict else { panic!("{:?}", billing.verdict) };
    assert!((per_second - 0.6).abs() < 0.01, "{per_second}");
    assert_eq!(of("search-index").verdict, Verdict::Flowing);
    assert!(
        all.iter().filter(|queue| queue.is_kafka).count() == 2,
        "a topic is a queue for who reads it only"
    );
}

#[test]
fn a_partition_that_is_missing_or_was_never_committed_makes_no_lag_smaller() {
    // The second partition is not told at the end, and at one time before; the third has no offset yet.
    let lag = "kafka_consumergroup_lag";
    let exporter = |partition: &str, value: &dyn Fn(u64) -> Option<f64>| {
        let attributes = [("consumergroup", "billing"), ("partition", partition), ("topic", "orders")];
        kafka_figure(NOW, lag, &attributes, value)
    };
    let series = vec![
        exporter("0", &|_| Some(10.0)),
        exporter("1", &|at| (at != 330).then_some(5.0)),
        exporter("2", &|_| Some(-1.0)),
    ];
    let all = queues(series, &[]);
    assert_eq!((all.len(), all[0].ready, all[0].verdict.clone()), (1, Some(15.0), Verdict::Steady));
    assert!(all[0].trend.iter().flatten().all(|level| *level == 15.0), "{:?}", all[0].trend);
}

#[test]
fn a_group_that_was_set_back_did_not_read_backwards_and_without_members_nobody_reads() {
    let series = vec![
        of_partition("kafka.consumer_group.lag", "0", |at| Some(if at < 359 { 0.0 } else { 9_000.0 })),
        of_partition("kafka.consumer_group.offset", "0", |at| Some(if at < 359 { 9_000.0 } else { 0.0 })),
        kafka_figure(NOW, "kafka.consumer_group.members", &[("group", "billing")], |at| {
            Some(if at < 300 { 2.0 } else { 0.0 })
        }),
    ];
    let all = queues(series, &[]);
    assert_eq!(all[0].outgoing, Some(0.0));
    assert_eq!(all[0].verdict, Verdict::NoConsumer { since: Some(NOW - 60 * 10 * S) });
}

#[tokio::test]
async fn who_asks_at_the_same_moment_shares_an_answer_until_something_new_is_told() {
    let memory = Memory::new(Vec::new());
    let queues = Queues::default();
    // Up to a moment that is over: what is kept of it does not grow old while the test looks.
    let ask = async |brokers: Vec<Arc<BrokerStatus>>| {
        queues.get(&memory, Period::Fixed(NOW - 3_600 * S, NOW), brokers).await.expect("it can be read")
    };
    let board = fixture::board(NOW);
    let (first, second) = (ask(board.brokers()).await, ask(board.brokers()).await);
    assert!(Arc::ptr_eq(&first, &second) && !first.queues.is_empty());

    let mut told = BrokerStatus::clone(&board.brokers()[0]);
    told.queues[0].name = "brand-new".to_owned();
    board.put(told);
    let third = ask(board.brokers()).await;
    assert!(third.queues.iter().any(|queue| queue.key.name == "brand-new"), "a broker told something new");

    memory.commit();
    let fourth = ask(board.brokers()).await;
    assert!(!Arc::ptr_eq(&third, &fourth), "something was committed");
    assert_eq!(third.queues, fourth.queues);
}
