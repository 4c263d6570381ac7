//! What is asked over HTTP.

use std::time::Instant;

use throughline::dashboard::view::zone::rfc3339;

use super::report::Report;
use super::workload::{PER_TRACE, SERVICES, USERS, hex, trace_id};

const SECOND: u64 = 1_000_000_000;

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
pub fn pages(spans: u64, now: u64) -> Vec<Question> {
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
        question("map of another time each, HTML", 50, &|n| format!("/map{}", another_day(n, now))),
        question("services, HTML", 50, &|_| "/services?last=24h".into()),
        question("services of another time each, HTML", 50, &|n| format!("/services{}", another_day(n, now))),
        question("a service, HTML", 50, &|n| format!("/services/service-{}?last=24h", n % SERVICES)),
        question("queues, HTML", 50, &|_| "/queues?last=24h".into()),
        question("queues of another time each, HTML", 50, &|n| format!("/queues{}", another_day(n, now))),
        question("a queue, HTML", 50, &|n| {
            format!("/queues/one?broker=rabbit%40bench&vhost=%2F&name=queue-{n}&last=24h")
        }),
        question("breakers, HTML", 50, &|_| "/breakers?last=24h".into()),
        question("breakers of another time each, HTML", 50, &|n| format!("/breakers{}", another_day(n, now))),
        question("a breaker, HTML", 50, &|n| {
            format!("/breakers/one?service=service-{}&name=breaker-3&last=24h", n % SERVICES)
        }),
        question("overview of another time each, HTML", 50, &|n| format!("/{}", another_day(n, now))),
    ]
}

/// A day that nobody asked for before, as the end of an address: what is shown cannot be what is kept.
fn another_day(n: u64, now: u64) -> String {
    let at = |seconds: u64| rfc3339(seconds * SECOND);
    let to = now / SECOND - n;
    format!("?from={}&to={}", at(to - 86_400), at(to))
}

/// Asks for pages one after the other, the first three of each kind not counted.
pub async fn over_http(report: &mut Report, when: &str, base: &str, questions: &[Question]) {
    let client = reqwest::Client::builder().build().expect("a client");
    for Question { what, paths } in questions {
        if !super::is_asked(what) {
            continue;
        }
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
