//! The map and the pages of services over what came by OTLP: the same out of the tail, out of runs and after a restart,
//! and over HTTP as a browser and a program ask for it.

use crate::common::contract::told;
use crate::common::otlp::{self, TestSpan, resource_request, span};
use crate::common::{Running, client};
use crate::rates_support::{CLIENT, CONSUMER, Kept, MS, PRODUCER, SECOND, lasting, of_kind};
use throughline::dashboard::query::map::{self, Map};
use throughline::dashboard::query::services;
use throughline::dashboard::store::{InstanceRates, OTHERS, Reader};

const MINUTE: u64 = 60 * SECOND;

/// The edges of a map as lines, fillers left out.
fn lines(map: &Map) -> Vec<String> {
    let line = |edge: &map::Edge| {
        let [from, to] = [edge.from, edge.to].map(|end| map.nodes[end].place.id());
        format!("{from} > {to} {} {} !{}", edge.kind.word(), edge.rates.count, edge.rates.errors)
    };
    map.edges.iter().map(line).collect()
}

/// An order by three services, a database and a broker, as its services send it: one request each.
fn order(trace: u64) -> [(&'static str, Vec<TestSpan>); 3] {
    let messaging = |span: TestSpan, name: &str| {
        span.with("messaging.system", "rabbitmq").with("messaging.destination.name", name)
    };
    let declined = |span: TestSpan| if trace.is_multiple_of(2) { span.failed("card_declined") } else { span };
    [
        (
            "gateway",
            vec![
                span(trace, 1, "POST /orders", 3_000),
                of_kind(CLIENT, lasting(15, span(trace, 2, "POST", 2_990)).parent(1)),
            ],
        ),
        (
            "orders",
            vec![
                span(trace, 3, "POST /orders", 2_985).parent(2),
                of_kind(CLIENT, span(trace, 4, "INSERT", 2_980).parent(3))
                    .with("db.system", "postgresql")
                    .with("db.name", "shop"),
                messaging(of_kind(PRODUCER, span(trace, 5, "send", 2_970).parent(3)), "orders:placed"),
            ],
        ),
        (
            "payments",
            vec![
                messaging(
                    of_kind(CONSUMER, span(trace, 6, "process", 2_000).parent(5)),
                    "orders:placed:payments.charge",
                ),
                declined(of_kind(CLIENT, span(trace, 7, "POST", 1_990).parent(6)))
                    .with("server.address", "card-processor"),
            ],
        ),
    ]
}

const EDGES: [&str; 7] = [
    "user > service:gateway call 4 !0",
    "service:gateway > service:orders call 4 !0",
    "service:orders > exchange:rabbitmq:orders send 4 !0",
    "service:orders > database:postgresql:shop query 4 !0",
    "service:payments > outside:card-processor call 4 !2",
    "exchange:rabbitmq:orders > queue:rabbitmq:payments.charge route 4 !0",
    "queue:rabbitmq:payments.charge > service:payments take 4 !0",
];

#[tokio::test]
async fn the_map_is_the_same_out_of_the_tail_out_of_a_run_and_after_a_restart() {
    let mut kept = Kept::open().await;
    for trace in 1..=4 {
        // Those that take come first: a graph that waits for the other half would be empty now.
        for (service, spans) in order(trace).iter().rev() {
            kept.send(service, spans).await;
        }
    }
    for round in ["tail", "run", "after a restart"] {
        let map = map::map(&kept.store, 0, u64::MAX).await.expect("a map");
        assert_eq!(lines(&map), EDGES, "{round}");
        let queue = &map.nodes[map.find("payments.charge").expect("the queue")];
        let waited = queue.waited.quantile(0.5).expect("time in the queue");
        assert!(waited.abs_diff(950 * MS) < 20 * MS, "{round}: {waited}");
        let edge = map.edge(map.find("payments").unwrap(), map.find("card-processor").unwrap()).unwrap();
        let details = map.edge_details(&kept.store, edge).await.expect("details");
        assert_eq!(details.failed.expect("what failed").page.rows.len(), 2, "{round}");
        match round {
            "tail" => kept.sealed().await,
            _ => kept = kept.reopened().await,
        }
    }
}

#[tokio::test]
async fn calls_over_time_are_those_of_the_edge_alone() {
    let kept = Kept::open().await;
    let call = |trace: u64, ago_ms: u64, to: &str| {
        of_kind(CLIENT, span(trace, 2, "POST", ago_ms).parent(1)).with("server.address", to)
    };
    let sent = [call(1, 1_000, "a"), call(2, 300_000, "a").failed("no"), call(3, 1_000, "b")];
    kept.send("orders", &sent).await;
    let now = otlp::now();
    for round in ["tail", "run"] {
        let map = map::map(&kept.store, now - 600 * SECOND, now + SECOND).await.expect("a map");
        let edge = map.edge(map.find("orders").unwrap(), map.find("a").unwrap()).unwrap();
        let steps = map.edge_details(&kept.store, edge).await.expect("details").steps;
        let sums = steps.iter().fold((0, 0), |sum, (_, step)| (sum.0 + step.count, sum.1 + step.errors));
        assert_eq!(sums, (2, 1), "{round}");
        let filled: Vec<u64> =
            steps.iter().filter(|(_, step)| step.count > 0).map(|(at, _)| (now - at) / MINUTE).collect();
        assert!(filled[0] >= 4 && *filled.last().unwrap() < 1, "{round}: {filled:?} minutes ago");
        kept.sealed().await;
    }
}

/// Sends a span of an instance; names that are empty are not sent.
async fn send_from(kept: &Kept, service: &str, version: &str, instance: (&str, &str), spans: &[TestSpan]) {
    let all = [("service.name", service), ("service.version", version), instance];
    let resource: Vec<_> = all.into_iter().filter(|(_, value)| !value.is_empty()).collect();
    let messages: Vec<_> = spans.iter().map(TestSpan::message).collect();
    kept.send_raw(resource_request(&resource, &messages)).await;
}

async fn instances(kept: &Kept, service: Option<&str>) -> Vec<InstanceRates> {
    let now = otlp::now();
    let mut all = kept.store.instance_rates(now - 20 * MINUTE, now, 60, service).await.expect("instances");
    all.retain(|one| one.service != "filler");
    all
}

#[tokio::test]
async fn instances_and_versions_are_counted_by_the_minute() {
    let mut kept = Kept::open().await;
    let at = |trace: u64, ago: u64| span(trace, 1, "GET /", ago * 60_000);
    send_from(&kept, "shop", "1.0", ("service.instance.id", "a"), &[at(1, 15), at(2, 14)]).await;
    send_from(&kept, "shop", "1.1", ("k8s.pod.name", "pod-b"), &[at(3, 5).failed("no"), at(4, 4)]).await;
    send_from(&kept, "shop", "", ("host.name", "host-c"), &[at(5, 4)]).await;
    send_from(&kept, "other", "", ("", ""), &[at(6, 3)]).await;
    // Only what the service serves and begins counts, as everywhere.
    let inner = of_kind(1, span(7, 2, "inner", 60_000).parent(1));
    send_from(&kept, "shop", "1.0", ("service.instance.id", "d"), &[inner]).await;
    for round in ["tail", "run", "after a restart"] {
        let all = instances(&kept, None).await;
        let count = |one: &InstanceRates| one.steps.iter().map(|(_, step)| step.count).sum::<u64>();
        let found: Vec<_> =
            all.iter().map(|one| (&*one.service, &*one.version, &*one.instance, count(one))).collect();
        let expected = [
            ("other", "", "", 1),
            ("shop", "", "host-c", 1),
            ("shop", "1.0", "a", 2),
            ("shop", "1.1", "pod-b", 2),
        ];
        assert_eq!(found, expected, "{round}");
        assert_eq!(instances(&kept, Some("other")).await.len(), 1, "{round}");
        let now = otlp::now();
        let map = Map::default();
        let wanted = services::Wanted { limit: 10, ..Default::default() };
        let range = (now - 20 * MINUTE, now);
        let shop = services::service(&kept.store, &map, "shop", range, &wanted)
            .await
            .expect("read")
            .expect("it is there");
        let versions: Vec<_> =
            shop.changes.iter().map(|one| (&*one.version, (now - one.at) / MINUTE)).collect();
        assert!(matches!(versions[..], [("1.1", 4..=6)]), "{round}: {versions:?}");
        assert_eq!((shop.total.count, shop.total.errors, shop.all_instances), (5, 1, 3), "{round}");
        match round {
            "tail" => kept.sealed().await,
            _ => kept = kept.reopened().await,
        }
    }
}

#[tokio::test]
async fn instances_without_end_are_counted_with_others() {
    let kept = Kept::open().await;
    for number in 0..700u64 {
        let root = span(number, 1, "GET /", 60_000);
        send_from(&kept, "shop", "1.0", ("service.instance.id", &format!("i-{number}")), &[root]).await;
    }
    for round in ["tail", "run"] {
        let all = instances(&kept, Some("shop")).await;
        let total: u64 = all.iter().flat_map(|one| &one.steps).map(|(_, step)| step.count).sum();
        assert_eq!(total, 700, "{round}: every span counts");
        assert!(all.len() <= 513, "{round}: {}", all.len());
        assert!(all.iter().any(|one| one.instance == OTHERS), "{round}");
        kept.sealed().await;
    }
}

async fn text(running: &Running, path: &str) -> (u16, String) {
    let answer = client().get(running.page(path)).send().await.expect("an answer");
    (answer.status().as_u16(), answer.text().await.expect("a text"))
}

#[tokio::test]
async fn what_came_over_the_wire_is_on_the_pages() {
    let running = Running::start().await;
    let (_, empty) = text(&running, "/map").await;
    assert!(empty.contains("No traces yet"), "{empty}");
    for trace in 1..=4 {
        for (service, spans) in order(trace) {
            let messages: Vec<_> = spans.iter().map(TestSpan::message).collect();
            let resource = [("service.name", service), ("service.version", "7.1"), ("host.name", "host-1")];
            let body = resource_request(&resource, &messages);
            let sent = client()
                .post(running.otlp("/v1/traces"))
                .header("content-type", "application/x-protobuf")
                .body(body)
                .send()
                .await
                .expect("an answer");
            assert!(sent.status().is_success());
        }
    }
    let map = told(&running, "/api/map").await;
    assert_eq!(map["edges"].as_array().expect("edges").len(), EDGES.len());
    let (_, page) = text(&running, "/map?node=payments").await;
    assert!(
        page.contains("payments has trouble with card-processor") || page.contains("can hardly reach"),
        "{page}"
    );
    let services = told(&running, "/api/services").await;
    let names: Vec<_> =
        services["services"].as_array().unwrap().iter().map(|one| one["name"].clone()).collect();
    assert_eq!(names.len(), 3, "{names:?}");
    let payments = told(&running, "/api/services/payments").await;
    assert_eq!(
        (&payments["versions"][0], &payments["instances"][0]["instance"]),
        (&"7.1".into(), &"host-1".into())
    );
    assert_eq!(payments["newestFailedTraces"].as_array().unwrap().len(), 2);
    let (status, page) = text(&running, "/services/payments").await;
    assert!(status == 200 && page.contains("process") && page.contains("host-1"), "{page}");
    let (status, page) = text(&running, "/services/Payments").await;
    assert!(status == 404 && page.contains("Upper and lower case count"), "{page}");
}
