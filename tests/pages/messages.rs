//! Messages as taps see them: on a real RabbitMQ with every kind of exchange and queue, on the embedded broker, and sent in
//! by OTLP; what is hostile in them; and a broker that goes away.

use std::sync::Arc;
use std::time::Duration;

use crate::common::contract::told;
use crate::common::rabbitmq::{Server, VirtualHost};
use crate::common::{Running, client, eventually, otlp};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use lapin::options::BasicPublishOptions;
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Connection, ConnectionProperties};
use serde_json::{Value, json};
use throughline::comms::correlation::CorrelationId;
use throughline::comms::queue::{Broker as _, EmbeddedBroker, Message, QueueSpec};
use throughline::dashboard::collect::address::Authorities;
use throughline::dashboard::collect::tap::Exchange;
use throughline::dashboard::collect::{Address, Broker, Tap};

fn address(text: String) -> Address {
    text.parse().expect("any text")
}

async fn page(server: &Running, path: &str) -> (u16, String) {
    let answer = client().get(server.page(path)).send().await.expect("an answer");
    (answer.status().as_u16(), answer.text().await.expect("a text").replace('\u{a0}', " "))
}

async fn ask(server: &Server, method: reqwest::Method, path: &str, body: Value) -> Value {
    let request = client().request(method, server.management(path)).basic_auth("guest", Some("guest"));
    let answer = request.json(&body).send().await.expect("an answer");
    assert!(answer.status().is_success(), "{path}: {}", answer.status());
    serde_json::from_slice(&answer.bytes().await.expect("a body")).unwrap_or_default()
}

/// Publishes by the management interface.
async fn publish(host: &VirtualHost, exchange: &str, key: &str, properties: Value, body: &[u8]) {
    let message = json!({ "properties": properties, "routing_key": key,
        "payload": STANDARD.encode(body), "payload_encoding": "base64" });
    let path = format!("/api/exchanges/{}/{exchange}/publish", host.name);
    let answer = ask(&host.server, reqwest::Method::POST, &path, message).await;
    assert_eq!(answer["routed"], true, "{exchange} {key}");
}

async fn exchange(host: &VirtualHost, name: &str, kind: &str) {
    let path = format!("/api/exchanges/{}/{name}", host.name);
    ask(&host.server, reqwest::Method::PUT, &path, json!({ "type": kind, "durable": true })).await;
}

async fn queue(host: &VirtualHost, name: &str, arguments: Value) {
    let path = format!("/api/queues/{}/{name}", host.name);
    ask(&host.server, reqwest::Method::PUT, &path, json!({ "durable": true, "arguments": arguments })).await;
}

async fn bind(host: &VirtualHost, exchange: &str, queue: &str, key: &str, arguments: Value) {
    let path = format!("/api/bindings/{}/e/{exchange}/q/{queue}", host.name);
    ask(&host.server, reqwest::Method::POST, &path, json!({ "routing_key": key, "arguments": arguments }))
        .await;
}

/// A virtual host with exchanges of every type and queues of every type.
async fn shop(host: &VirtualHost) {
    for (name, kind) in [
        ("orders", "topic"),
        ("all", "fanout"),
        ("by-header", "headers"),
        ("jobs", "direct"),
        ("dlx", "fanout"),
        ("private", "topic"),
    ] {
        exchange(host, name, kind).await;
    }
    queue(host, "payments", json!({ "x-queue-type": "classic", "x-dead-letter-exchange": "dlx" })).await;
    queue(host, "stock", json!({ "x-queue-type": "quorum" })).await;
    queue(host, "audit", json!({ "x-queue-type": "stream" })).await;
    queue(host, "buried", json!({})).await;
    bind(host, "orders", "payments", "order.*", json!({})).await;
    bind(host, "orders", "stock", "#", json!({})).await;
    bind(host, "all", "audit", "", json!({})).await;
    bind(host, "by-header", "stock", "", json!({ "x-match": "all", "tenant": "eu" })).await;
    bind(host, "jobs", "stock", "go", json!({})).await;
    bind(host, "dlx", "buried", "", json!({})).await;
    bind(host, "private", "stock", "#", json!({})).await;
}

/// A dashboard that taps a virtual host.
async fn tapping(host: &VirtualHost) -> Running {
    let api = host.server.management("").replace("http://", "http://guest:guest@");
    let server = Running::with(|settings| {
        settings.brokers =
            Broker::read(&[address(format!("eu={api}"))], &Authorities::default()).expect("an address");
        settings.taps =
            Tap::read(&[address(format!("eu={}", host.url()))], &Authorities::default()).expect("an address");
        settings.tap.exclude = vec!["priv*".to_owned(), "amq.*".to_owned()];
    })
    .await;
    listening(&server).await;
    server
}

/// Waits until the first tap listens, and gives its state.
async fn listening(server: &Running) -> Value {
    eventually("the tap listens", 60, async || {
        let tap = told(server, "/api/messages").await["taps"][0].clone();
        tap["listeningSince"].is_string().then_some(tap)
    })
    .await
}

/// Waits until messages match, as many as wanted.
async fn seen(server: &Running, query: &str, count: usize) -> Vec<Value> {
    eventually(query, 60, async || {
        let list = told(server, &format!("/api/messages?last=1h&{query}")).await;
        let all = list["messages"].as_array().expect("a list").clone();
        (all.len() >= count).then_some(all)
    })
    .await
}

#[tokio::test]
async fn every_exchange_is_seen_with_properties_headers_body_and_where_it_went() {
    let rabbit = Server::shared().await;
    let host = rabbit.virtual_host().await;
    shop(&host).await;
    let server = tapping(&host).await;
    let tap = listening(&server).await;
    assert_eq!(tap["exchanges"], json!(["all", "by-header", "dlx", "jobs", "orders"]));
    let left: Vec<_> =
        tap["leftOut"].as_array().expect("a list").iter().map(|one| &one["exchange"]).collect();
    assert!(left.iter().any(|name| *name == "private"), "{left:?}");

    let trace = "0af7651916cd43dd8448eb211c80319c";
    let properties = json!({ "message_id": "m-topic", "correlation_id": "corr-1", "type": "order.placed",
        "content_type": "application/json", "delivery_mode": 2, "app_id": "orders",
        "headers": { "traceparent": format!("00-{trace}-b7ad6b7169203331-03"), "x-tenant": "eu", "x-api-key": "s3cret" } });
    let body = br#"{"order":"ord_1","card_number":"4242424242424242"}"#;
    publish(&host, "orders", "order.placed", properties, body).await;
    publish(&host, "all", "", json!({ "message_id": "m-fanout" }), b"plain text").await;
    publish(
        &host,
        "by-header",
        "",
        json!({ "message_id": "m-headers", "headers": { "tenant": "eu" } }),
        &[0, 255],
    )
    .await;
    publish(&host, "jobs", "go", json!({ "message_id": "m-direct" }), b"").await;
    publish(&host, "private", "x", json!({ "message_id": "m-private" }), b"not for us").await;
    publish(&host, "orders", "no.id", json!({}), b"nameless").await;

    let all = seen(&server, "", 5).await;
    let one = |id: &str| all.iter().find(|one| one["id"] == id).unwrap_or_else(|| panic!("{id} in {all:?}"));
    let topic = one("m-topic");
    assert_eq!(topic["queues"], json!(["payments", "stock"]));
    assert_eq!((topic["trace"].as_str(), topic["correlation"].as_str()), (Some(trace), Some("corr-1")));
    assert_eq!(
        (topic["properties"]["app_id"].as_str(), topic["broker"].as_str()),
        (Some("orders"), Some("eu"))
    );
    assert_eq!(topic["headers"]["x-api-key"], "•••");
    assert!(!topic.to_string().contains("4242") && topic["body"]["masked"] == 1, "{topic}");
    assert_eq!(one("m-fanout")["queues"], json!(["audit"]));
    assert_eq!(one("m-headers")["body"]["hex"], "00ff");
    assert_eq!(one("m-direct")["queues"], json!(["stock"]));
    assert!(all.iter().all(|one| one["id"] != "m-private"), "what is excluded is not seen");
    let nameless = all.iter().find(|one| one["body"]["text"] == "nameless").expect("it is seen");
    let name = nameless["id"].as_str().expect("a name").to_owned();
    assert!(name.starts_with('~'));

    for (query, id) in [
        ("id=m-topic", "m-topic"),
        ("correlation=corr-1", "m-topic"),
        ("exchange=all", "m-fanout"),
        ("key=go", "m-direct"),
        ("queue=payments", "m-topic"),
        ("type=order.placed", "m-topic"),
        ("header=x-tenant%3Deu", "m-topic"),
        ("text=PLAIN", "m-fanout"),
    ] {
        let found = seen(&server, query, 1).await;
        assert!(found.iter().any(|one| one["id"] == id), "{query}: {found:?}");
    }
    let none = told(&server, "/api/messages?header=x-tenant%3Dus").await;
    assert_eq!(none["messages"], json!([]));

    // The pages: the list, the message, its forms; the search box; and no tap queue among the queues.
    let (_, list) = page(&server, "/messages?last=1h").await;
    assert!(
        list.contains("m-topic") && list.contains("/messages/m-topic") && !list.contains("4242"),
        "{list}"
    );
    let (status, shown) = page(&server, "/messages/m-topic").await;
    assert_eq!(status, 200);
    for part in [
        "order.placed was published",
        "masked, 16 characters",
        "exchange orders",
        "to 2 queues",
        "corr-1",
        trace,
        "2, kept on disk",
    ] {
        assert!(shown.contains(part), "{part}: {shown}");
    }
    assert!(!shown.contains("4242") && !shown.contains("s3cret"));
    let (_, hex) = page(&server, "/messages/m-headers?as=hex").await;
    assert!(hex.contains("00000000  00 ff"), "{hex}");
    let (status, _) = page(&server, &format!("/messages/{name}")).await;
    assert_eq!(status, 200, "a message without an ID has a page too");
    let found =
        reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build().expect("a client");
    let answer = found.get(server.page("/search?q=m-topic")).send().await.expect("an answer");
    assert!(answer.headers()["location"].to_str().expect("text").starts_with("/messages/m-topic"));
    let queues = told(&server, "/api/queues").await.to_string();
    assert!(!queues.contains("throughline.tap"), "{queues}");
    let (_, logs) = page(&server, "/logs").await;
    assert!(!logs.contains("nameless"));
    let (_, story) = page(&server, "/correlations/corr-1").await;
    assert!(story.contains("A tap saw") && story.contains("/messages/m-topic"), "{story}");

    let csv = client().get(server.page("/api/messages.csv?id=m-topic")).send().await.expect("an answer");
    assert!(csv.headers()["content-disposition"].to_str().expect("text").contains("messages.csv"));
    let csv = csv.text().await.expect("a text");
    assert!(csv.lines().count() == 2 && csv.contains("\"m-topic\"") && !csv.contains("4242"), "{csv}");
}

#[tokio::test]
async fn a_dead_letter_tells_why_it_is_one() {
    let rabbit = Server::shared().await;
    let host = rabbit.virtual_host().await;
    shop(&host).await;
    let server = tapping(&host).await;
    publish(&host, "orders", "order.placed", json!({ "message_id": "poison" }), b"{}").await;
    let get = json!({ "count": 1, "ackmode": "reject_requeue_false", "encoding": "auto" });
    eventually("it is rejected", 30, async || {
        let path = format!("/api/queues/{}/payments/get", host.name);
        let got = ask(&host.server, reqwest::Method::POST, &path, get.clone()).await;
        got.as_array().is_some_and(|all| !all.is_empty()).then_some(())
    })
    .await;
    let all = seen(&server, "id=poison", 2).await;
    assert_eq!((all[0]["exchange"].as_str(), all[0]["deadLetter"].as_bool()), (Some("dlx"), Some(true)));
    let one = told(&server, "/api/messages/poison").await;
    assert_eq!((one["state"].as_str(), one["deaths"][0]["what"].as_str()), (Some("dead"), Some("rejected")));
    let (_, shown) = page(&server, "/messages/poison").await;
    for part in [
        "is a dead letter",
        "a consumer refused it",
        "exchange orders with key order.placed",
        "Seen 2 times",
        "to buried",
    ] {
        assert!(shown.contains(part), "{part}: {shown}");
    }
}

#[tokio::test]
async fn what_is_hostile_in_a_message_does_no_harm() {
    let rabbit = Server::shared().await;
    let host = rabbit.virtual_host().await;
    shop(&host).await;
    let server = tapping(&host).await;
    let uri = host.url().parse::<lapin::uri::AMQPUri>().expect("an address");
    let connection = Connection::connect_uri(uri, ConnectionProperties::default()).await.expect("connected");
    let channel = connection.create_channel().await.expect("a channel");
    let send = async |id: &str, key: &str, properties: BasicProperties, body: &[u8]| {
        let properties = properties.with_message_id(id.into());
        channel
            .basic_publish("orders".into(), key.into(), BasicPublishOptions::default(), body, properties)
            .await
            .expect("published");
    };
    let markup = "<script>alert(1)</script>";
    let text = |text: &str| AMQPValue::LongString(text.into());
    let mut odd = FieldTable::default();
    odd.insert(markup.into(), text(markup));
    odd.insert("bytes".into(), AMQPValue::LongString(vec![0xff, 0xfe, 0].into()));
    odd.insert("formula".into(), text("=HYPERLINK(\"http://evil\")"));
    let properties = BasicProperties::default().with_headers(odd).with_content_type(markup.into());
    send(markup, markup, properties, format!("{{\"{markup}\":\"\u{202e}\"}}").as_bytes()).await;
    // As deep as the management interface takes it; the screen's own test goes deeper.
    let mut deep = json!(true);
    for _ in 0..400 {
        deep = json!({ "in": deep });
    }
    publish(&host, "orders", "k", json!({ "message_id": "deep", "headers": { "deep": deep } }), b"x").await;
    let mut many = FieldTable::default();
    for number in 0..5_000 {
        many.insert(format!("h{number}").as_str().into(), AMQPValue::LongInt(number));
    }
    send("many", "k", BasicProperties::default().with_headers(many), b"x").await;
    send("large", "k", BasicProperties::default(), &vec![b'x'; 128 << 20]).await;
    send("=1+1", "k", BasicProperties::default(), b"=cmd()").await;
    send("after", "k", BasicProperties::default(), b"still here").await;

    seen(&server, "id=after", 1).await;
    let (status, shown) = page(&server, "/messages/%3Cscript%3Ealert(1)%3C%2Fscript%3E").await;
    assert_eq!(status, 200, "{shown}");
    assert!(
        !shown.contains("<script>alert") && shown.contains("&lt;script&gt;") && shown.contains("⟨U+202E⟩")
    );
    let (_, list) = page(&server, "/messages?last=1h").await;
    assert!(!list.contains("<script>alert"), "{list}");
    let many = &seen(&server, "id=many", 1).await[0];
    assert_eq!(many["headersLeftOut"].as_u64(), Some(5_000 - 128));
    let deep = &seen(&server, "id=deep", 1).await[0];
    assert!(deep["headers"]["deep"].to_string().contains('…'), "{deep}");
    let large = &seen(&server, "id=large", 1).await[0];
    assert_eq!((large["size"].as_u64(), large["body"]["kept"].as_u64()), (Some(128 << 20), Some(65_536)));
    let (_, csv) = page(&server, "/api/messages.csv?last=1h").await;
    assert!(csv.contains("\"'=1+1\"") && csv.contains("\"'=cmd()\""), "{csv}");
    for (path, status) in [
        ("/messages/none-such", 404),
        ("/messages?limit=0", 400),
        ("/messages?limit=abc", 400),
        ("/messages?after=tampered", 400),
        ("/messages?header=x", 400),
        ("/messages/after?as=xml", 400),
        ("/messages/after?seen=9", 400),
        ("/messages/%00", 400),
        ("/api/messages/none-such", 404),
        ("/messages?text=' OR 1=1--", 200),
    ] {
        assert_eq!(page(&server, path).await.0, status, "{path}");
    }
}

#[tokio::test]
async fn a_tap_tells_of_its_loss_and_comes_back() {
    let rabbit: Arc<Server> = Server::own().await;
    let host = rabbit.virtual_host().await;
    exchange(&host, "orders", "topic").await;
    queue(&host, "work", json!({})).await;
    bind(&host, "orders", "work", "#", json!({})).await;
    let server = Running::with(|settings| {
        // No management interface: the exchange is named.
        settings.taps =
            Tap::read(&[address(format!("eu={}", host.url()))], &Authorities::default()).expect("an address");
        settings.tap.exchanges = vec!["orders".parse::<Exchange>().expect("an exchange")];
    })
    .await;
    listening(&server).await;
    publish(&host, "orders", "a", json!({ "message_id": "before" }), b"1").await;
    seen(&server, "id=before", 1).await;
    rabbit.kill();
    let shown = eventually("the loss is told", 30, async || {
        let (_, shown) = page(&server, "/messages?last=1h").await;
        shown.contains("messages are not seen for").then_some(shown)
    })
    .await;
    assert!(
        shown.contains("RabbitMQ eu at 127.0.0.1") && shown.contains("before"),
        "what was seen stays: {shown}"
    );
    assert!(!shown.contains("guest"), "no user and no password");
    assert!(page(&server, "/status").await.1.contains("A source does not work"));
    rabbit.start().await;
    listening(&server).await;
    publish(&host, "orders", "a", json!({ "message_id": "behind" }), b"2").await;
    seen(&server, "id=behind", 1).await;
}

#[tokio::test]
async fn the_embedded_broker_is_tapped_and_works_as_before() {
    let folder = tempfile::tempdir().expect("a folder");
    let url = format!("sqlite://{}", folder.path().join("broker.db").display());
    let server = Running::with(|settings| {
        settings.taps = Tap::read(&[address(url.clone())], &Authorities::default()).expect("an address");
        settings.tap.exclude = vec!["private".to_owned()];
    })
    .await;
    let (_, shown) = page(&server, "/messages").await;
    assert!(shown.contains("Messages"), "{shown}");
    let broker = EmbeddedBroker::open(&url).await.expect("a broker");
    broker.declare_exchange("orders").await.expect("declared");
    broker.declare_exchange("private").await.expect("declared");
    let dead = QueueSpec::durable("orders.dlq");
    broker.declare_queue(&dead).await.expect("declared");
    broker
        .declare_queue(&QueueSpec::durable("payments").dead_letters_to("orders.dlq"))
        .await
        .expect("declared");
    for exchange in ["orders", "private"] {
        broker.bind(exchange, "order.*", "payments").await.expect("bound");
    }
    eventually("both exchanges are known", 30, async || {
        let tap = told(&server, "/api/messages").await["taps"][0].clone();
        (tap["exchanges"] == json!(["orders"]) && tap["leftOut"][0]["exchange"] == "private").then_some(())
    })
    .await;
    let mut message = Message::json("order.placed", 1, &json!({ "order": "ord_7" })).expect("JSON");
    message.correlation_id = CorrelationId::parse("corr-7").expect("an ID");
    broker.publish("orders", "order.placed", &message).await.expect("published");
    broker.publish("private", "order.placed", &message).await.expect("published");
    let unroutable = broker.publish("orders", "nobody.wants", &message).await.expect_err("no queue is bound");
    assert_eq!(unroutable.kind(), "unroutable", "a tap makes nothing routable");
    let found = seen(&server, "exchange=orders", 1).await;
    assert_eq!((found.len(), found[0]["queues"].clone()), (1, json!(["payments"])));
    assert_eq!(found[0]["id"].as_str(), Some(message.id.as_str()));
    assert_eq!(found[0]["body"]["text"], "{\"order\":\"ord_7\"}");
    let queues: Vec<String> =
        broker.queues().await.expect("queues").into_iter().map(|queue| queue.name).collect();
    assert_eq!(queues, ["orders.dlq", "payments"], "the tap's queue is nobody's");

    let mut deliveries = broker.consume("payments", 1).await.expect("a consumer");
    deliveries.next().await.expect("a delivery").dead_letter("card declined").await.expect("settled");
    let found = seen(&server, "queue=orders.dlq", 1).await;
    assert_eq!(found[0]["deadLetter"], true);
    let (_, shown) = page(&server, &format!("/messages/{}", message.id)).await;
    for part in ["is a dead letter", "card declined", "so far", "corr-7"] {
        assert!(shown.contains(part), "{part}: {shown}");
    }
    assert!(told(&server, "/api/messages?exchange=private").await["messages"] == json!([]));
    broker.close().await;
    drop(server);
}

#[tokio::test]
async fn messages_that_others_saw_come_by_otlp() {
    let server = Running::start().await;
    let (_, empty) = page(&server, "/messages?l=otlp").await;
    for part in ["No messages seen", "RabbitMQ", "scope.name = throughline.tap"] {
        assert!(empty.contains(part), "{part}: {empty}");
    }
    let attribute = |key: &str, value: &str| json!({ "key": key, "value": { "stringValue": value } });
    let now = otlp::now();
    let request = json!({ "resourceLogs": [{ "scopeLogs": [{ "scope": { "name": "throughline.tap" }, "logRecords": [{
        "timeUnixNano": now.to_string(), "body": { "stringValue": "{\"a\":1}" },
        "attributes": [attribute("messaging.destination.name", "kafka-topic"), attribute("messaging.message.id", "k-1"),
            attribute("messaging.header.tenant", "eu")],
    }] }] }] });
    let answer = client().post(server.otlp("/v1/logs")).json(&request).send().await.expect("an answer");
    assert_eq!(answer.status(), 200);
    let found = seen(&server, "id=k-1", 1).await;
    assert_eq!(
        (found[0]["exchange"].as_str(), found[0]["headers"]["tenant"].as_str()),
        (Some("kafka-topic"), Some("eu"))
    );
    let (_, shown) = page(&server, "/messages").await;
    assert!(shown.contains("k-1") && shown.contains("No tap is on"), "{shown}");
    let (_, logs) = page(&server, "/logs/otlp.jsonl").await;
    assert_eq!(logs, "");
    tokio::time::timeout(Duration::from_secs(20), server.dashboard.stop()).await.expect("it ends in time");
}
