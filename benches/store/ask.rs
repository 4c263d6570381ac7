//! What is asked: pages over HTTP, and the store's own reads.

use std::time::Instant;

use throughline::dashboard::model::TraceId;
use throughline::dashboard::model::correlation::Keys;
use throughline::dashboard::query::language;
use throughline::dashboard::store::{Limits, Reader, Store, TraceFilter};
use throughline::dashboard::view::zone::rfc3339;

use super::report::Report;
use super::server::Place;
use super::workload::{PER_TRACE, SERVICES, USERS, hex, now, trace_id};

const SECOND: u64 = 1_000_000_000;
const DAY: u64 = 86_400 * SECOND;

/// Addresses that ask for the same kind of thing.
pub struct Question {
    what: &'static str,
    paths: Vec<String>,
}

/// A query in the address of a list of 20 traces.
fn search(query: String) -> String {
    let query: String = query
        .bytes()
        .map(
            |byte| {
                if byte.is_ascii_alphanumeric() { char::from(byte).into() } else { format!("%{byte:02x}") }
            },
        )
        .collect();
    format!("/traces?last=7d&limit=20&query={query}")
}

/// The pages that are asked for, of a store of so many spans.
pub fn pages(spans: u64, begin: u64) -> Vec<Question> {
    let traces = spans / PER_TRACE;
    let question = |what, count: u64, path: &dyn Fn(u64) -> String| Question {
        what,
        paths: (0..count).map(path).collect(),
    };
    let region = |n: u64| ["eu-central-1", "us-east-1", "ap-south-1"][n as usize % 3];
    vec![
        question("trace by ID, OTLP JSON", 200, &|n| {
            format!("/traces/{}/otlp.json", hex(trace_id(n * 7919 % traces)))
        }),
        question("trace, HTML", 200, &|n| format!("/traces/{}", hex(trace_id(n * 6007 % traces)))),
        question("20 newest of a service, HTML", 100, &|n| {
            format!("/traces?last=7d&limit=20&service=service-{}", n % SERVICES)
        }),
        question("newest of a service, HTML", 100, &|n| {
            format!("/traces?last=7d&service=service-{}", n % SERVICES)
        }),
        question("newest failed, HTML", 50, &|_| "/traces?last=7d&status=error".into()),
        question("attribute of one trace, HTML", 100, &|n| {
            search(format!("span.order.ref = order-{}", n * 7919 % traces))
        }),
        question("attribute of none, HTML", 100, &|n| search(format!("span.order.ref = nobody-{n}"))),
        question("20 newest of a user, HTML", 100, &|n| {
            search(format!("span.user.id = user-{}", n * 479 % USERS))
        }),
        question("20 newest of a common attribute, HTML", 50, &|n| {
            search(format!(".shop.region = {}", region(n)))
        }),
        question("20 newest of a service in a range, HTML", 50, &|n| {
            search(format!("service.name = service-{} and duration > 12ms", n % SERVICES))
        }),
        question("correlation, HTML", 100, &|n| format!("/correlations/order-{}", n * 7919 % traces)),
        question("overview, HTML", 50, &|_| "/?last=24h".into()),
        question("map, HTML", 50, &|_| "/map?last=24h".into()),
        question("map of another time each, HTML", 50, &|n| format!("/map{}", another_day(n, begin))),
        question("services, HTML", 50, &|_| "/services?last=24h".into()),
        question("services of another time each, HTML", 50, &|n| {
            format!("/services{}", another_day(n, begin))
        }),
        question("a service, HTML", 50, &|n| format!("/services/service-{}?last=24h", n % SERVICES)),
        question("overview of another time each, HTML", 50, &|n| another_time(n, begin)),
    ]
}

/// The Overview of a day that nobody asked for before: it cannot be one that is kept.
fn another_time(n: u64, began: u64) -> String {
    format!("/{}", another_day(n, began))
}

/// A day that nobody asked for before, as the end of an address.
fn another_day(n: u64, began: u64) -> String {
    let at = |seconds: u64| rfc3339(seconds * SECOND);
    let to = began / SECOND + 60 + n;
    format!("?from={}&to={}", at(to - 86_400), at(to))
}

/// Asks for pages one after the other, the first three of each kind not counted.
pub async fn over_http(report: &mut Report, when: &str, base: &str, questions: &[Question]) {
    let client = reqwest::Client::builder().build().expect("a client");
    for Question { what, paths } in questions {
        let (mut times, mut size) = (Vec::new(), 0);
        for (index, path) in paths[..3].iter().chain(paths).enumerate() {
            let started = Instant::now();
            let answer = client.get(format!("{base}{path}")).send().await.expect("an answer");
            let status = answer.status();
            let body = answer.bytes().await.expect("a body");
            assert!(status.is_success(), "{path}: {status}");
            if index >= 3 {
                times.push(started.elapsed().as_secs_f64() * 1000.0);
            }
            size = size.max(body.len());
        }
        report.times(&format!("{what}{when}"), times, size);
    }
}

/// Asks the store itself, opened in this process.
pub async fn in_process(report: &mut Report, place: &Place, spans: u64, begin: u64) {
    let store = Store::open(&place.location(), Limits::default(), &Keys::default()).await;
    let store = store.expect("the store opens");
    let traces = spans / PER_TRACE;
    let (to, store) = (now().max(begin + DAY / 24), &store);
    let list = |filter: TraceFilter| async move { store.traces(&filter).await.expect("a list").rows.len() };
    let of_query = move |query: String| async move {
        let select = language::read(&query).expect("a query").selection();
        list(TraceFilter { limit: 20, select: Some(select), ..TraceFilter::default() }).await
    };
    let of_service = move |n: u64| async move {
        let service = Some(format!("service-{}", n % SERVICES));
        list(TraceFilter { limit: 20, service, ..TraceFilter::default() }).await
    };
    let by_id = move |n: u64| async move {
        let id = TraceId(trace_id(n * 7919 % traces));
        store.trace(id).await.expect("a trace").map_or(0, |trace| trace.spans.len())
    };
    measure(report, "read: trace by ID", 400, by_id).await;
    measure(report, "read: 20 newest of a service", 200, of_service).await;
    measure(report, "read: attribute of one trace", 200, |n| {
        of_query(format!("span.order.ref = order-{}", n * 7919 % traces))
    })
    .await;
    measure(report, "read: 20 newest of a user", 200, |n| {
        of_query(format!("span.user.id = user-{}", n * 479 % USERS))
    })
    .await;
    measure(report, "read: correlation ID", 200, move |n| async move {
        let found = store.correlated(&format!("order-{}", n * 7919 % traces)).await;
        found.expect("a correlation").traces.len()
    })
    .await;
    for (length, name) in [(DAY / 24, "an hour"), (DAY, "a day")] {
        let from = to - length;
        measure(report, &format!("read: calls of {name}"), 50, move |_| async move {
            store.calls(from, to).await.expect("calls").len()
        })
        .await;
        measure(report, &format!("read: operations of {name}"), 50, move |_| async move {
            store.operations(from, to, None).await.expect("operations").len()
        })
        .await;
        measure(report, &format!("read: services of {name} in 60 steps"), 50, move |_| async move {
            store.service_rates(from, to, 60).await.expect("services").len()
        })
        .await;
        measure(report, &format!("read: instances of {name} in 12 steps"), 50, move |_| async move {
            store.instance_rates(from, to, 12, None).await.expect("instances").len()
        })
        .await;
    }
    store.close().await;
}

/// Asks again and again, the first three times not counted; each is to find something.
async fn measure<F: Future<Output = usize>>(
    report: &mut Report,
    what: &str,
    count: u64,
    ask: impl Fn(u64) -> F,
) {
    if std::env::var("BENCH_ASK").is_ok_and(|wanted| !what.contains(&wanted)) {
        return;
    }
    let mut times = Vec::new();
    for n in (0..3).chain(0..count) {
        let started = Instant::now();
        assert!(ask(n).await > 0, "{what}: number {n} found nothing");
        times.push(started.elapsed().as_secs_f64() * 1000.0);
    }
    report.times(what, times.split_off(3), 0);
}
