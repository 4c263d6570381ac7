//! Messages between services of other languages over a real RabbitMQ, each under its own instrumentation: pika in Python publishes,
//! amqplib in Node takes. What Throughline joins of it (spans of both, what its tap saw, what the broker tells) is the test.

use crate::common::rabbitmq::{Server, VirtualHost};
use crate::common::{client, eventually};
use crate::process::{Dashboard, Process};
use crate::services::{Protocol, node, page, python, trace};
use serde_json::{Value, json};

/// A dashboard that asks the broker and taps it.
fn dashboard(folder: &std::path::Path, host: &VirtualHost) -> Dashboard {
    let api = host.server.management("").replace("http://", "eu=http://guest:guest@");
    let tap = format!("eu={}", host.url());
    Dashboard::with(folder, &["--rabbitmq-api", &api, "--tap", &tap])
}

fn mailer(dashboard: &Dashboard, host: &VirtualHost) -> Process {
    let mut command = node("mailer.js");
    command.arg(host.url()).envs(Protocol::HttpProtobuf.variables("mailer", dashboard));
    let process = Process::start("mailer", &mut command);
    process.told("ready", 60);
    process
}

fn orders(dashboard: &Dashboard, host: &VirtualHost) -> (Process, String) {
    let mut command = python("orders.py");
    command.arg(host.url()).envs(Protocol::HttpProtobuf.variables("orders", dashboard));
    let process = Process::start("orders", &mut command);
    let address = format!("http://127.0.0.1:{}", process.told("listening on ", 60));
    (process, address)
}

async fn place(orders: &str, order: &str) {
    let request = client()
        .post(format!("{orders}/orders/{order}"))
        .header("x-correlation-id", format!("story-{order}"));
    assert_eq!(request.send().await.expect("an answer").status(), 201);
}

async fn api(dashboard: &Dashboard, path: &str) -> Value {
    let (status, text) = page(dashboard, path).await;
    assert_eq!(status, 200, "{path}: {text}");
    serde_json::from_str(&text).expect("JSON")
}

/// Waits until what is told under an address is as wanted.
async fn until(dashboard: &Dashboard, path: &str, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
    eventually(what, 60, async || {
        let told = api(dashboard, path).await;
        wanted(&told).then_some(told)
    })
    .await
}

#[tokio::test]
async fn what_pika_publishes_and_amqplib_takes_is_one_story() {
    let rabbit = Server::shared().await;
    let host = rabbit.virtual_host().await;
    let folder = tempfile::tempdir().expect("a folder");
    let dashboard = dashboard(folder.path(), &host);
    let _mailer = mailer(&dashboard, &host);
    let (_orders, address) = orders(&dashboard, &host);
    until(&dashboard, "/api/messages", "the tap listens to both exchanges", |list| {
        let tap = &list["taps"][0];
        let exchanges = tap["exchanges"].as_array();
        tap["listeningSince"].is_string()
            && exchanges.is_some_and(|all| ["orders", "dead"].iter().all(|name| all.contains(&json!(name))))
    })
    .await;
    place(&address, "7").await;
    place(&address, "poison").await;

    // One trace over both, by the context that pika put into the headers and amqplib took out of them.
    let spans = ["orders: POST /orders/<order>", "orders: orders send", "mailer: mail process"];
    let (id, _) = trace(&dashboard, "story-7", &spans).await;
    let message = until(&dashboard, "/api/messages/placed-7", "who took it is joined to it", |message| {
        message["state"] == "taken"
    })
    .await;
    assert_eq!(message["traces"], json!([id]));
    let way = message["way"].as_array().expect("its way");
    let way: Vec<_> = way.iter().map(|stop| stop["name"].as_str().unwrap_or_default()).collect();
    assert_eq!(way, ["orders", "orders", "mail", "mailer"]);

    // What amqplib refuses is a dead letter.
    let dead = until(&dashboard, "/api/messages/placed-poison", "it is a dead letter", |message| {
        message["state"] == "dead"
    })
    .await;
    assert_eq!(
        (dead["deaths"][0]["what"].as_str(), dead["deaths"][0]["queue"].as_str()),
        (Some("rejected"), Some("mail"))
    );

    until(&dashboard, "/api/map?last=15m", "the map has the whole way", |map| {
        let edges = map["edges"].as_array().into_iter().flatten();
        let edges: Vec<_> = edges.map(|edge| (edge["from"].as_str(), edge["to"].as_str())).collect();
        [
            ("service:orders", "exchange:rabbitmq:orders"),
            ("exchange:rabbitmq:orders", "queue:rabbitmq:mail"),
            ("queue:rabbitmq:mail", "service:mailer"),
        ]
        .iter()
        .all(|(from, to)| edges.contains(&(Some(from), Some(to))))
    })
    .await;

    let one = format!("broker=eu&vhost={}&name=mail&last=15m", host.name);
    let queue =
        until(&dashboard, &format!("/api/queues/one?{one}"), "both sides of the queue are known", |queue| {
            !queue["publishers"].is_null() && queue["facts"]["deadLetterQueues"] == json!(["mail.dlq"])
        })
        .await;
    let names = |side: &str| queue[side][0]["service"].clone();
    assert_eq!((names("publishers"), names("takers")), (json!("orders"), json!("mailer")), "{queue}");
    let (_, drawn) = page(&dashboard, &format!("/queues/one?{one}")).await;
    assert!(
        drawn.contains("orders send by orders to mail; taken by mailer; dead letters go to mail.dlq"),
        "{drawn}"
    );

    let (_, story) = page(&dashboard, "/correlations/story-poison").await;
    // No span tells of it: what the tap saw does.
    for part in
        ["Dead-lettered in mail.dlq after 1 delivery", "no address is known for poison", "placed-poison"]
    {
        assert!(story.contains(part), "{part} in {story}");
    }
}
