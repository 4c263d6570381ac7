//! Requests made by hand: every shape, what cannot be placed, labels without bound, what is no message.

use super::super::super::proto::{put_bytes, put_fixed64, put_message, put_uint};
use super::*;
use crate::dashboard::model::Follows;

const NOW: Nanos = 1_795_439_001_446_000_000;
const MS: Nanos = 1_000_000;

fn read(request: &[u8]) -> Points {
    Points::read(request, &Interest::default(), Arrival { now: NOW, oldest: NOW / 2 }).expect("it is valid")
}

fn attribute(out: &mut Vec<u8>, field: u32, key: &str, value: &str) {
    put_message(out, field, |out| {
        put_bytes(out, 1, key.as_bytes());
        put_message(out, 2, |out| put_bytes(out, 1, value.as_bytes()));
    });
}

/// A request of one metric: its data is what `fill` writes into field `field`.
fn request(resource: &[(&str, &str)], name: &str, field: u32, fill: impl Fn(&mut Vec<u8>)) -> Vec<u8> {
    let mut out = Vec::new();
    put_message(&mut out, 1, |out| {
        put_message(out, 2, |out| {
            put_message(out, 2, |out| {
                put_message(out, field, &fill);
                put_bytes(out, 3, b"By");
                put_bytes(out, 1, name.as_bytes());
            });
            put_message(out, 1, |out| put_bytes(out, 1, b"the library"));
        });
        put_message(out, 1, |out| {
            resource.iter().for_each(|(key, value)| attribute(out, 1, key, value));
        });
    });
    out
}

fn number(time: Nanos, value: f64, attributes: &[(&str, &str)]) -> Vec<u8> {
    let mut out = Vec::new();
    attributes.iter().for_each(|(key, value)| attribute(&mut out, 7, key, value));
    put_fixed64(&mut out, 2, time.saturating_sub(9 * MS));
    put_fixed64(&mut out, 3, time);
    put_fixed64(&mut out, 4, value.to_bits());
    out
}

const SHOP: &[(&str, &str)] = &[("service.name", "shop"), ("service.instance.id", "one")];

#[test]
fn a_gauge_is_read_whole_whatever_the_order_of_its_fields() {
    let points = read(&request(SHOP, "jvm.memory.used", 5, |out| {
        for (time, kind) in [(NOW - 5 * MS + 999, "heap"), (NOW, "heap"), (NOW, "other")] {
            put_bytes(out, 1, &number(time, 1.5, &[("z", "1"), ("jvm.memory.type", kind)]));
        }
    }));
    assert_eq!((points.series.len(), points.samples.len()), (2, 3));
    let series = &points.series[0];
    assert_eq!(
        (series.name.as_str(), series.service.as_str(), series.instance.as_str(), series.scope.as_str()),
        ("jvm.memory.used", "shop", "one", "the library")
    );
    assert_eq!((series.unit.as_str(), series.kind.follows()), ("By", Follows::Level));
    assert_eq!((series.attribute("jvm.memory.type"), series.attribute("y")), (Some("heap"), None));
    let (number, sample) = points.samples[0];
    assert_eq!((number, sample.time, sample.value), (0, NOW - 5 * MS, 1.5), "to the millisecond");
    assert_eq!(sample.start, NOW - 14 * MS);
}

#[test]
fn each_shape_says_how_its_samples_follow() {
    let sum = |temporality: u64, monotonic: u64| {
        read(&request(SHOP, "jvm.x", 7, |out| {
            put_message(out, 1, |out| {
                put_fixed64(out, 3, NOW);
                put_fixed64(out, 6, -7_i64 as u64);
            });
            put_uint(out, 2, temporality);
            put_uint(out, 3, monotonic);
        }))
    };
    for (temporality, monotonic, follows) in
        [(2, 1, Follows::Total), (2, 0, Follows::Level), (1, 1, Follows::Growth), (1, 0, Follows::Growth)]
    {
        let points = sum(temporality, monotonic);
        assert_eq!(points.series[0].kind.follows(), follows);
        assert_eq!(points.samples[0].1.value, -7.0);
    }
    let of_none = sum(0, 1);
    assert_eq!((of_none.samples.len(), of_none.rejected_points()), (0, 1));
    assert_eq!(of_none.rejected[0].reason, PointReason::Temporality);

    for (field, attributes, bounds) in [(9, 9, (11, 12)), (10, 1, (12, 13)), (11, 7, (0, 0))] {
        let points = read(&request(SHOP, "messaging.process.duration", field, |out| {
            put_message(out, 1, |out| {
                put_fixed64(out, 3, NOW);
                put_fixed64(out, 4, 12);
                put_fixed64(out, 5, 3.5_f64.to_bits());
                attribute(out, attributes, "queue", "orders");
                if bounds.0 > 0 {
                    put_fixed64(out, bounds.0, 0.25_f64.to_bits());
                    put_fixed64(out, bounds.1, 2.0_f64.to_bits());
                }
            });
            put_uint(out, 2, 2);
        }));
        let (series, sample) = (&points.series[0], points.samples[0].1);
        assert_eq!((series.kind.follows(), series.attribute("queue")), (Follows::Total, Some("orders")));
        let told = bounds.0 > 0;
        assert_eq!((sample.value, sample.sum), (12.0, Some(3.5)), "field {field}");
        assert_eq!((sample.min, sample.max), (told.then_some(0.25), told.then_some(2.0)), "field {field}");
    }
}

#[test]
fn what_is_of_no_interest_is_counted_by_name() {
    let points =
        |name: &str| read(&request(SHOP, name, 9, |out| (0..3).for_each(|_| put_bytes(out, 1, &[])))).passed;
    assert_eq!(
        points("http.server.duration").into_iter().collect::<Vec<_>>(),
        [("http.server.duration".to_owned(), 3)]
    );
    let long = "ü".repeat(5_000);
    assert!(points(&long).into_keys().next().is_some_and(|name| name.len() <= MAX_TEXT));
    let mut many = Vec::new();
    for number in 0..3_000 {
        many.extend(request(SHOP, &format!("shop.{number}"), 5, |out| put_bytes(out, 1, &[])));
    }
    let passed = read(&many).passed;
    assert_eq!((passed.len(), passed.values().sum::<u64>()), (1_001, 3_000));
    assert_eq!(passed[""], 2_000);
}

#[test]
fn points_that_cannot_be_placed_are_left_out_alone() {
    let points = read(&request(&[], "go.memory.used", 5, |out| {
        put_bytes(out, 1, &number(0, 1.0, &[]));
        put_bytes(out, 1, &number(NOW / 2 - 1, 1.0, &[]));
        put_message(out, 1, |out| put_fixed64(out, 3, NOW));
        for blank in [f64::NAN, f64::INFINITY] {
            put_bytes(out, 1, &number(NOW, blank, &[]));
        }
        let mut gone = number(NOW, 4.0, &[]);
        put_uint(&mut gone, 8, 1);
        put_bytes(out, 1, &gone);
        put_bytes(out, 1, &number(u64::MAX, 5.0, &[]));
        put_bytes(out, 1, &number(NOW + 1_000 * MS, 6.0, &[]));
    }));
    let mut reasons: Vec<_> = points.rejected.iter().map(|one| (one.reason, one.points)).collect();
    reasons.sort_unstable();
    assert_eq!(reasons, [(PointReason::NoTime, 1), (PointReason::TooOld, 1), (PointReason::NoValue, 1)]);
    assert_eq!((points.rejected_points(), points.blank), (3, 3));
    assert_eq!(points.rejected[0].service, "unknown_service");
    let kept: Vec<_> = points.samples.iter().map(|(_, sample)| (sample.time, sample.value)).collect();
    assert_eq!(kept, [(NOW, 5.0), (NOW + 1_000 * MS, 6.0)], "what is a year ahead counts on arrival");
}

#[test]
fn the_process_is_known_by_what_the_resource_says() {
    for (resource, instance) in [
        (&[("service.instance.id", "i"), ("k8s.pod.name", "p")][..], "i"),
        (&[("k8s.pod.name", "p"), ("host.name", "h")], "p"),
        (&[("host.name", "h"), ("process.pid", "12")], "h/12"),
        (&[("host.name", "h")], "h"),
        (&[("service.instance.id", ""), ("telemetry.sdk.name", "io.micrometer")], ""),
    ] {
        let points = read(&request(resource, "circuit", 5, |out| {
            put_bytes(out, 1, &number(NOW, 1.0, &[]));
        }));
        assert_eq!(points.series[0].instance, instance, "{resource:?}");
    }
}

#[test]
fn labels_without_bound_are_cut_and_stay_apart() {
    let long = "x".repeat(1 << 20);
    let one = format!("{long}1");
    let two = format!("{long}2");
    let keys: Vec<String> = (0..10_000).map(|number| format!("key{number:05}")).collect();
    let points = read(&request(SHOP, "process.x", 5, |out| {
        for value in [&one, &two, &one] {
            put_bytes(out, 1, &number(NOW, 1.0, &[("path", value)]));
        }
        for last in ["a", "b"] {
            let mut many: Vec<(&str, &str)> = keys.iter().map(|key| (key.as_str(), "v")).collect();
            many.push(("zzz", last));
            put_bytes(out, 1, &number(NOW, 1.0, &many));
        }
    }));
    assert_eq!(points.series.len(), 4);
    for series in &points.series {
        assert!(series.attributes.len() <= MAX_ATTRIBUTES + 1);
        assert!(series.attributes.iter().all(|(key, value)| key.len() <= MAX_KEY && value.len() <= MAX_TEXT));
        assert!(series.attribute(CUT).is_some());
        assert!(series.attributes.is_sorted());
    }
}

#[test]
fn what_is_no_message_fails_and_never_panics() {
    let whole = request(SHOP, "jvm.memory.used", 5, |out| {
        put_bytes(out, 1, &number(NOW, 1.5, &[("a", "b")]));
    });
    let arrival = Arrival { now: NOW, oldest: 0 };
    let mut failed = 0;
    for length in 0..whole.len() {
        failed += usize::from(Points::read(&whole[..length], &Interest::default(), arrival).is_err());
    }
    assert_eq!(failed, whole.len() - 1, "all but the empty one");
    for place in 0..whole.len() {
        for bit in 0..8 {
            let mut broken = whole.clone();
            broken[place] ^= 1 << bit;
            let _ = Points::read(&broken, &Interest::default(), arrival);
        }
    }
    // An attribute nested 101 deep; a text that is not UTF-8; a value of the wrong wire type.
    let mut deep = Vec::new();
    for _ in 0..101 {
        let mut outer = Vec::new();
        put_message(&mut outer, 5, |out| put_bytes(out, 1, &deep));
        deep = outer;
    }
    let deep = request(SHOP, "jvm.x", 5, |out| {
        put_message(out, 1, |out| {
            put_message(out, 7, |out| {
                put_bytes(out, 1, b"key");
                put_bytes(out, 2, &deep);
            });
        });
    });
    assert_eq!(Points::read(&deep, &Interest::default(), arrival).err(), Some(WireError::TooDeep));
    let odd = request(SHOP, "jvm.x", 5, |out| {
        put_message(out, 1, |out| {
            put_fixed64(out, 3, NOW);
            put_fixed64(out, 4, 0);
            put_message(out, 7, |out| put_bytes(out, 1, &[0xff, 0xfe]));
        });
    });
    assert_eq!(read(&odd).series[0].attributes, [("\u{fffd}\u{fffd}".to_owned(), String::new())]);
    let wrong = request(SHOP, "jvm.x", 5, |out| {
        put_message(out, 1, |out| put_bytes(out, 3, b"eight by"));
    });
    assert_eq!(Points::read(&wrong, &Interest::default(), arrival).err(), Some(WireError::WrongType(3)));
}
