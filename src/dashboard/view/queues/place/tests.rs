//! The drawing of a queue's place: what it says, to those who see it and to those who do not, whatever names are.

use std::sync::Arc;

use axum::http::{HeaderMap, Uri};

use super::*;
use crate::dashboard::fixture::queues as fixture;
use crate::dashboard::fixture::reader::Memory;
use crate::dashboard::model::queues::{Bound, QueueDetail};
use crate::dashboard::query::kept::Period;
use crate::dashboard::query::queues::Queues;
use crate::dashboard::view::frame::Nav;
use crate::dashboard::view::tests::serve;
use crate::dashboard::view::visit::{Visit, now};

const H: u64 = 3_600_000_000_000;

async fn drawn(name: &str, one: &One, bindings: &[(&str, &str)]) -> Option<String> {
    let now = now();
    let mut memory = Memory::new(Vec::new());
    memory.series = fixture::series(now);
    let brokers = fixture::board(now).brokers();
    let listed = Queues::default().get(&memory, Period::Fixed(now - H, now), brokers).await.unwrap();
    let queue = listed.queues.iter().find(|queue| queue.key.name == name).unwrap();
    let bound = |(exchange, key): &(&str, &str)| Bound {
        exchange: (*exchange).to_owned(),
        key: (*key).to_owned(),
        arguments: Vec::new(),
    };
    let bindings = bindings.iter().map(bound).collect();
    let detail = Detail::Told(Arc::new(QueueDetail { bindings, ..QueueDetail::default() }));
    let uri = Uri::from_static("/queues/one");
    let visit = Visit::read(&HeaderMap::new(), &uri, &serve::state(Vec::new()), true).unwrap();
    let frame = visit.frame(Nav::Queues, "A queue");
    let drawing = draw(&frame, queue, one, &detail, &listed)?;
    Some(drawing.0.replace([format::NBSP, '\u{202f}'], " "))
}

fn services(names: &[&str]) -> Vec<(String, u64)> {
    names.iter().map(|name| ((*name).to_owned(), 12)).collect()
}

#[tokio::test]
async fn a_queue_stands_between_who_sends_who_takes_and_where_messages_go_that_nobody_took() {
    let one = One {
        publishers: services(&["orders", "<b>&"]),
        takers: services(&["payments", "a", "b", "c", "d"]),
        ..One::default()
    };
    let bindings = [("orders", "order.placed"), ("orders", "order.retried"), ("<script>", "#")];
    let svg = drawn("payments.charge", &one, &bindings).await.unwrap();
    for part in [
        "orders, &lt;b&gt;&amp; send by orders, &lt;script&gt; to payments.charge",
        "taken by payments, a, b, and 2 more",
        "payments.retry keeps messages for a time",
        "<title>order.placed, order.retried</title>order.placed, order.…",
        "4 consumers",
        "40 unacked",
        "312 ready, for a time",
        r#"href="/services/payments"#,
        "name=payments.retry",
        "box here",
    ] {
        assert!(svg.contains(part), "{part} in {svg}");
    }
    assert!(!svg.contains("<script>") && !svg.contains("<b>"), "{svg}");
    // Each element that is opened is closed.
    for tag in ["svg", "a", "g", "text", "title"] {
        let opened = svg.matches(&format!("<{tag} ")).count() + svg.matches(&format!("<{tag}>")).count();
        assert_eq!(opened, svg.matches(&format!("</{tag}>")).count(), "{tag} in {svg}");
    }
}

#[tokio::test]
async fn consumers_without_spans_are_drawn_and_a_queue_with_nothing_around_it_is_not() {
    let svg = drawn("analytics.events", &One::default(), &[]).await.unwrap();
    assert!(svg.contains("6 consumers") && svg.contains("no span tells of it"), "{svg}");
    assert_eq!(drawn("orders.dlq", &One::default(), &[]).await, None);
}

#[tokio::test]
async fn a_queue_of_delays_passes_on_after_its_time() {
    let svg = drawn("payments.retry", &One::default(), &[]).await.unwrap();
    assert!(svg.contains("after its time go to payments.charge"), "{svg}");
    assert!(!svg.contains("dead letter"), "what it passes on is no dead letter: {svg}");
    assert!(svg.contains("payments.charge pass on to it") && svg.contains("to wait"), "{svg}");
}

#[tokio::test]
async fn where_no_broker_tells_its_bindings_spans_name_exchange_and_key() {
    let destinations = ["orders:order.placed:orders.dlq", "orders.dlq", "other:orders.dlq"];
    let one = One { destinations: destinations.map(str::to_owned).into(), ..One::default() };
    let svg = drawn("orders.dlq", &one, &[]).await.unwrap();
    assert!(svg.contains("orders, other lead to orders.dlq") && svg.contains("order.placed"), "{svg}");
    let told = drawn("orders.dlq", &one, &[("bound", "#")]).await.unwrap();
    assert!(told.contains("bound lead to orders.dlq"), "the broker knows better: {told}");
}
