//! Services of other languages under their own OpenTelemetry SDKs, as their teams would run them: a checkout in Python
//! and a price service in Node, over each transport and encoding, compressed. What the pages show is the test.

use crate::common::{client, eventually};
use crate::process::{Dashboard, Process};
use crate::services::{Protocol, node, page, python, trace};
use serde_json::Value;

/// The price service in Node; gives its address.
fn prices(protocol: Protocol, dashboard: &Dashboard) -> (Process, String) {
    let mut command = node("prices.js");
    let process = Process::start("prices", command.envs(protocol.variables("prices", dashboard)));
    let address = format!("http://127.0.0.1:{}", process.told("listening on ", 60));
    (process, address)
}

/// The checkout in Python; gives its address.
fn checkout(protocol: Protocol, dashboard: &Dashboard, prices: &str) -> (Process, String) {
    let mut command = python("checkout.py");
    command.envs(protocol.variables("checkout", dashboard));
    let process = Process::start("checkout", command.env("PRICES_URL", prices));
    let address = format!("http://127.0.0.1:{}", process.told("listening on ", 60));
    (process, address)
}

/// One order that fails and one that goes well, through both services.
async fn follow(python: Protocol, node: Protocol) {
    let folder = tempfile::tempdir().expect("a folder");
    let dashboard = Dashboard::start(folder.path());
    let (mut prices, prices_at) = prices(node, &dashboard);
    let (mut checkout, checkout_at) = checkout(python, &dashboard, &prices_at);

    for (sku, correlation, status) in [("gone", "order-42/b", 500), ("tea", "order-43", 200)] {
        let request = client().get(format!("{checkout_at}/checkout/{sku}"));
        let answer = request.header("x-correlation-id", correlation).send().await.expect("an answer");
        assert_eq!(answer.status(), status, "{}\n{}", checkout.output(), prices.output());
    }

    let chain = ["checkout: GET /checkout/<sku>", "prices: GET /price/:sku", "checkout: GET /stock/<sku>"];
    let (failed, json) = trace(&dashboard, "order-42%2Fb", &chain).await;
    let text = json.to_string();
    assert!(text.contains("prices answered 500 for gone"), "Python's exception: {text}");
    assert!(text.contains("no price is known for gone"), "Node's exception: {text}");

    let (status, html) = page(&dashboard, &format!("/traces/{failed}")).await;
    assert_eq!(status, 200);
    for shown in ["checkout", "prices", "GET /price/:sku", "order-42"] {
        assert!(html.contains(shown), "the page of the trace shows {shown}");
    }
    eventually("a story with the failure and both logs", 30, || async {
        let (_, story) = page(&dashboard, "/correlations/order-42%2Fb").await;
        let all = ["prices", "no price for gone", "no price is known for gone"];
        all.iter().all(|text| story.contains(text)).then_some(())
    })
    .await;
    let (_, markdown) = page(&dashboard, "/correlations/order-42%2Fb?format=markdown").await;
    assert!(markdown.starts_with("# Failed in prices"), "{markdown}");

    let (well, _) = trace(&dashboard, "order-43", &chain).await;
    assert_ne!(well, failed);
    // Express wraps a handler in three spans that say nothing: one row stands for them until they are asked for. They
    // have to begin and end about together, which on a busy machine they do not in every trace.
    let mut traces = vec![well.clone()];
    for number in 44..54 {
        let request = client().get(format!("{checkout_at}/checkout/tea"));
        let correlation = format!("order-{number}");
        let answer = request.header("x-correlation-id", &correlation).send().await.expect("an answer");
        assert_eq!(answer.status(), 200, "{}\n{}", checkout.output(), prices.output());
        traces.push(trace(&dashboard, &correlation, &chain).await.0);
    }
    for (query, shown) in [("", ">3 internal spans</a>"), ("?fold=off", ">middleware - patched</a>")] {
        eventually(&format!("{shown} in a trace{query}"), 30, || async {
            for id in &traces {
                if page(&dashboard, &format!("/traces/{id}{query}")).await.1.contains(shown) {
                    return Some(());
                }
            }
            None
        })
        .await;
    }
    let (_, list) = page(&dashboard, "/traces?status=error").await;
    assert!(list.contains(&failed) && !list.contains(&well), "the list of failed traces");
    assert_metrics_are_kept(&dashboard).await;
    assert_nothing_refused(&dashboard, &[python, node]).await;

    assert_eq!(prices.terminate(20), Some(0), "{}", prices.output());
    checkout.terminate(20);
}

/// Node's runtime is read as series, more than one sample of it; what Python says of requests is counted by name.
async fn assert_metrics_are_kept(dashboard: &Dashboard) {
    let read = "/api/series?name=nodejs.eventloop.*&name=v8js.memory.heap.*&service=prices&last=15m";
    let series = eventually("two samples of the heap and of the event loop", 30, || async {
        let (status, json) = page(dashboard, read).await;
        let json: Value = serde_json::from_str(&json).ok().filter(|_| status == 200)?;
        let series = json["series"].as_array()?.clone();
        let long = |begin: &str| {
            series.iter().any(|one| {
                let samples = one["samples"].as_array().map_or(0, Vec::len);
                samples > 1 && one["name"].as_str().is_some_and(|name| name.starts_with(begin))
            })
        };
        (long("v8js.memory.heap.") && long("nodejs.eventloop.")).then_some(series)
    })
    .await;
    let used = |one: &&Value| {
        one["name"] == "v8js.memory.heap.used" && one["samples"][0]["value"].as_f64() > Some(0.0)
    };
    let heap = series.iter().find(used).expect("some space of the heap is in use");
    assert_eq!(heap["unit"], "By", "{heap}");
    assert!(heap["instance"].as_str().is_some_and(|instance| !instance.is_empty()), "{heap}");
    eventually("the page says what is kept and what is not", 30, || async {
        let (_, html) = page(dashboard, "/status").await;
        let (_, kept) = html.split_once("Metrics kept")?;
        let (kept, passed) = kept.split_once("Metrics not kept")?;
        (kept.contains("v8js.memory.heap.") && passed.contains("http.server.duration")).then_some(())
    })
    .await;
}

/// Every request was taken whole, over the transports that were asked for, metrics too.
async fn assert_nothing_refused(dashboard: &Dashboard, protocols: &[Protocol]) {
    for protocol in protocols {
        let asked = format!("transport=\"{}\"", protocol.transport());
        eventually(&format!("traces, logs and metrics with {asked}"), 20, || async {
            let (_, metrics) = page(dashboard, "/metrics").await;
            let taken = |signal: &str| {
                let signal = format!("signal=\"{signal}\"");
                metrics.lines().any(|line| line.contains(&asked) && line.contains(&signal))
            };
            (taken("traces") && taken("logs") && taken("metrics")).then_some(())
        })
        .await;
    }
    let (_, metrics) = page(dashboard, "/metrics").await;
    let requests = metrics.lines().filter(|line| line.starts_with("throughline_receive_requests_total{"));
    let refused: Vec<_> = requests.filter(|line| !line.contains("outcome=\"ok\"")).collect();
    assert!(refused.is_empty(), "{refused:?}");
}

#[tokio::test]
async fn python_over_grpc_and_node_over_http_json() {
    follow(Protocol::Grpc, Protocol::HttpJson).await;
}

#[tokio::test]
async fn python_and_node_over_http_protobuf() {
    follow(Protocol::HttpProtobuf, Protocol::HttpProtobuf).await;
}

#[tokio::test]
async fn node_over_grpc() {
    follow(Protocol::Grpc, Protocol::Grpc).await;
}
