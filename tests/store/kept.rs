//! What pages keep of the past is what a look without it finds, whichever time is asked for first.

use std::sync::Arc;

use throughline::dashboard::query::breakers::{Breakers, Key, Rejection, State, Stretch};
use throughline::dashboard::query::kept::Period;
use throughline::dashboard::query::queues::{Queue, Queues};
use throughline::dashboard::store::Store;

use crate::common::otlp::{self, Measure, TestPoint, point, span};
use crate::place::{Place, id, send};
use crate::series::keep;

const S: u64 = 1_000_000_000;
const MINUTE: u64 = 60 * S;
const HOURS: u64 = 30;
/// Traces with a call that was turned away, how many minutes ago, and by which breaker.
const REFUSED: [(u64, u64, &str); 4] =
    [(1, 20 * 60 - 5, "pay"), (2, 12 * 60 - 5, "pay"), (3, 31, "ship"), (4, 1, "pay")];

#[derive(Default)]
struct Pages {
    queues: Queues,
    breakers: Breakers,
}

/// What is told of a breaker; since when it stands may be known from before the time that is asked for.
type Told = (Key, State, Vec<Stretch>, Option<Rejection>);

impl Pages {
    async fn look(&self, store: &Store, from: u64, to: u64) -> (Vec<Queue>, Vec<Told>) {
        let period = Period::Fixed(from, to);
        let queues = self.queues.get(store, period, Vec::new()).await.unwrap();
        let breakers = self.breakers.get(store, period).await.unwrap();
        assert!(queues.complete && breakers.complete);
        let told = breakers.breakers.iter().cloned();
        let told = told.map(|one| (one.key, one.state, one.strip, one.rejection)).collect();
        (Arc::unwrap_or_clone(queues).queues, told)
    }
}

fn of_queue(name: &str, time: u64, ready: f64) -> TestPoint {
    point(time, ready).with("rabbitmq.queue.name", name).with("state", "ready")
}

/// A breaker that is open for the first ten minutes of each three hours.
fn of_breaker(time: u64, minute: u64) -> [TestPoint; 2] {
    let open = f64::from(u8::from(minute % 180 < 10));
    [("open", open), ("closed", 1.0 - open)].map(|(state, value)| {
        point(time, value).with("circuit_breaker.name", "pay").with("circuit_breaker.state", state)
    })
}

pub async fn what_is_kept_of_the_past_is_what_a_look_without_it_finds(place: &Place) {
    let store = place.open().await;
    let now = otlp::now();
    for (trace, ago_minutes, breaker) in REFUSED {
        let refused = span(trace, 1, "charge", ago_minutes * 60_000).with("error.type", "circuit_open");
        send(&store, "shop", &[refused.with("circuit_breaker.name", breaker)]).await;
    }
    let begin = now - HOURS * 60 * MINUTE;
    let minutes = || (0..HOURS * 60).map(|minute| (begin + minute * MINUTE, minute));
    let depth = |minute: u64| (minute % 500) as f64;
    let orders: Vec<_> = minutes().map(|(time, minute)| of_queue("orders", time, depth(minute))).collect();
    // Told of in the first ten hours alone.
    let mail: Vec<_> = minutes().take(600).map(|(time, _)| of_queue("mail", time, 7.0)).collect();
    for points in [orders, mail] {
        keep(&store, "broker", "rabbitmq.message.current", Measure::UpDown, &points).await;
    }
    let states: Vec<_> = minutes().flat_map(|(time, minute)| of_breaker(time, minute)).collect();
    keep(&store, "shop", "circuit_breaker.state", Measure::Gauge, &states).await;
    let kept = Pages::default();
    // How long before now each range ends, and how long it is.
    let ranges = [
        (0, 24 * 60),
        (0, 69),
        // Within the one before, with steps as long.
        (8, 60),
        (25, 24 * 60),
        (35, 60),
        (11 * 60, 24 * 60),
        (19 * 60, 60),
        (2, 24 * 60),
    ];
    for (ago, length) in ranges {
        let to = now - ago * MINUTE;
        let from = to - length * MINUTE;
        let found = kept.look(&store, from, to).await;
        assert_eq!(found, Pages::default().look(&store, from, to).await, "{length} min, {ago} min ago");
        let names: Vec<&str> = found.0.iter().map(|queue| queue.key.name.as_str()).collect();
        let mail = from < begin + 600 * MINUTE;
        assert!(names.contains(&"orders") && names.contains(&"mail") == mail, "{names:?}");
        // A step holds one figure of its own, or the one before.
        let orders = found.0.iter().find(|queue| queue.key.name == "orders").expect("it is there");
        let each = length / 60;
        for (step, told) in (0..).zip(&orders.trend) {
            let minute = (from + step * length * MINUTE / 60).saturating_sub(begin) / MINUTE;
            if minute < 3 * each {
                continue;
            }
            let told = told.unwrap_or_else(|| panic!("step {step} of {length} min is not told"));
            let near = (minute - 2 * each..=minute + each + 1).map(depth);
            assert!(near.into_iter().any(|depth| depth == told), "step {step} of {length} min is {told}");
        }
        for breaker in ["pay", "ship"] {
            let is_it = |(_, minutes, name): &&(u64, u64, &str)| {
                *name == breaker && (ago..ago + length).contains(minutes)
            };
            let newest = REFUSED.iter().rev().find(is_it).map(|(trace, ..)| id(*trace));
            let told = found.1.iter().find(|(key, ..)| key.name == breaker);
            let rejected = told.and_then(|(.., rejection)| rejection.as_ref()?.trace);
            assert_eq!(rejected, newest, "{breaker}, {length} min, {ago} min ago");
        }
    }

    // A call that is turned away now, in a trace that began before what is kept ends.
    let refused = span(5, 2, "charge", 2_000).parent(1).with("error.type", "circuit_open");
    let long = [span(5, 1, "order", 9 * 60_000), refused.with("circuit_breaker.name", "slow")];
    send(&store, "shop", &long).await;
    let to = otlp::now();
    let found = kept.look(&store, to - 60 * MINUTE, to).await;
    assert!(found.1.iter().any(|(key, ..)| key.name == "slow"), "{:?}", found.1);

    // What comes late is seen.
    let hour_ago = now - 60 * MINUTE;
    let late = [of_queue("orders", hour_ago + S, 9_000.0), of_queue("mail", hour_ago, 1.0)];
    keep(&store, "broker", "rabbitmq.message.current", Measure::UpDown, &late).await;
    let found = kept.look(&store, now - 24 * 60 * MINUTE, now).await;
    let mail = found.0.iter().find(|queue| queue.key.name == "mail").expect("it is there");
    assert_eq!(mail.ready, Some(1.0));
    assert_eq!(found, Pages::default().look(&store, now - 24 * 60 * MINUTE, now).await);
    store.close().await;
}
