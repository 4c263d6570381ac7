//! Queues, from a real RabbitMQ and from what a Collector sends to the page.

use std::sync::Arc;

use crate::common::breakers::attributes;
use crate::common::contract::told;
use crate::common::rabbitmq::Server;
use crate::common::{Running, client, eventually, otlp};
use crate::rates_support;
use serde_json::{Value, json};
use throughline::dashboard::collect::address::Authorities;
use throughline::dashboard::collect::{Address, Broker};
use throughline::dashboard::operate::Brokers;

const S: u64 = 1_000_000_000;

fn brokers(addresses: &[String]) -> Vec<Broker> {
    let addresses: Vec<Address> = addresses.iter().map(|text| text.parse().expect("any text")).collect();
    Broker::read(&addresses, &Authorities::default()).expect("addresses")
}

/// A server's management interface as a setting.
fn api(name: &str, server: &Server, login: &str) -> String {
    format!("{name}={}", server.management("").replace("http://", &format!("http://{login}@")))
}

async fn page(server: &Running, path: &str) -> (u16, String) {
    let answer = client().get(server.page(path)).send().await.expect("an answer");
    (answer.status().as_u16(), answer.text().await.expect("a text").replace('\u{a0}', " "))
}

fn queue(list: &Value, broker: &str, name: &str) -> Option<Value> {
    let all = list["queues"].as_array()?;
    all.iter().find(|one| one["name"] == name && one["broker"] == broker).cloned()
}

/// Waits until the dashboard tells of a queue what is wanted.
async fn until(server: &Running, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
    eventually(what, 60, async || {
        let list = told(server, "/api/queues").await;
        wanted(&list).then_some(list)
    })
    .await
}

async fn ask(server: &Server, method: reqwest::Method, path: &str, body: Value) {
    let request = client().request(method, server.management(path)).basic_auth("guest", Some("guest"));
    let answer = request.json(&body).send().await.expect("an answer");
    assert!(answer.status().is_success(), "{path}: {}", answer.status());
}

async fn declare(server: &Server, name: &str, arguments: Value) {
    let path = format!("/api/queues/%2F/{name}");
    ask(server, reqwest::Method::PUT, &path, json!({ "durable": true, "arguments": arguments })).await;
}

async fn publish(server: &Server, queue: &str, count: usize) {
    for _ in 0..count {
        let body =
            json!({ "properties": {}, "routing_key": queue, "payload": "x", "payload_encoding": "string" });
        ask(server, reqwest::Method::POST, "/api/exchanges/%2F/amq.default/publish", body).await;
    }
}

/// A user that may look and nothing else.
async fn observer(server: &Server) {
    let user = json!({ "password": "look", "tags": "monitoring" });
    ask(server, reqwest::Method::PUT, "/api/users/observer", user).await;
    let nothing = json!({ "configure": "^$", "write": "^$", "read": "^$" });
    ask(server, reqwest::Method::PUT, "/api/permissions/%2F/observer", nothing).await;
}

/// A queue in a virtual host whose name has a slash in it.
async fn with_a_slash(server: &Server) {
    ask(server, reqwest::Method::PUT, "/api/vhosts/eu%2Fshop", json!({})).await;
    let nothing = json!({ "configure": "^$", "write": "^$", "read": "^$" });
    ask(server, reqwest::Method::PUT, "/api/permissions/eu%2Fshop/observer", nothing).await;
    let all = json!({ "configure": ".*", "write": ".*", "read": ".*" });
    ask(server, reqwest::Method::PUT, "/api/permissions/eu%2Fshop/guest", all).await;
    ask(server, reqwest::Method::PUT, "/api/queues/eu%2Fshop/parcels", json!({ "durable": true })).await;
}

/// The broker takes connections and answers nothing: that is told, what it told before stays, and the pages do not wait for it.
async fn it_stands_still_and_goes_on(rabbit: &Server, server: &Running) {
    rabbit.freeze();
    let why = |list: &Value| list["brokers"][0]["failing"]["why"].as_str().unwrap_or_default().to_owned();
    let list = until(server, "it does not answer", |list| why(list).contains("did not answer within")).await;
    assert_eq!(queue(&list, "eu", "work/größe").expect("it stays")["ready"], 7.0);
    let (status, html) = page(server, "/queues").await;
    assert!(status == 200 && html.contains("did not answer within"), "{html}");
    rabbit.thaw();
    until(server, "it answers again", |list| list["brokers"][0]["failing"].is_null()).await;
}

/// Binds the queue, takes from it without acknowledging, and looks at its page.
async fn who_leads_into_a_queue_and_who_takes_from_it_is_told(rabbit: &Server, server: &Running, one: &str) {
    for (exchange, key, arguments) in [
        ("amq.topic", "work.#", json!({})),
        ("amq.headers", "", json!({ "x-match": "any", "size": "<größe>" })),
    ] {
        let path = format!("/api/bindings/%2F/e/{exchange}/q/work%2Fgr%C3%B6%C3%9Fe");
        ask(rabbit, reqwest::Method::POST, &path, json!({ "routing_key": key, "arguments": arguments }))
            .await;
    }
    let connection =
        lapin::Connection::connect(&rabbit.url("/"), Default::default()).await.expect("connected");
    let channel = connection.create_channel().await.expect("a channel");
    channel.basic_qos(1, Default::default()).await.expect("a prefetch");
    let queue = "work/größe".into();
    let consumer = channel.basic_consume(queue, "packer".into(), Default::default(), Default::default());
    let consumer = consumer.await.expect("a consumer");
    let html = eventually("the page tells of bindings and of the consumer", 60, async || {
        let (_, html) = page(server, one).await;
        (html.contains("packer") && html.contains("amq.topic")).then_some(html)
    })
    .await;
    let drawn = "amq.headers, amq.topic lead to work/größe; taken by 1 consumer; dead letters go to buried";
    let shown = ["work.#", "amq.headers", "size=&lt;größe&gt;", "prefetch 1 · acknowledges · guest", drawn];
    for shown in shown {
        assert!(html.contains(shown), "{shown} in {}", &html[html.find("What leads").unwrap_or(0)..]);
    }
    drop(consumer);
    connection.close(200, "done".into()).await.expect("closed");
}

#[tokio::test]
async fn a_rabbitmq_is_watched_by_a_user_that_may_only_look_through_its_end_and_back() {
    let rabbit: Arc<Server> = Server::own().await;
    observer(&rabbit).await;
    declare(
        &rabbit,
        "work%2Fgr%C3%B6%C3%9Fe",
        json!({
            "x-dead-letter-exchange": "", "x-dead-letter-routing-key": "buried", "x-max-length": 5000,
        }),
    )
    .await;
    declare(&rabbit, "buried", json!({})).await;
    publish(&rabbit, "work/größe", 3).await;
    publish(&rabbit, "buried", 2).await;
    with_a_slash(&rabbit).await;
    let asked = brokers(&[
        api("eu", &rabbit, "observer:look"),
        api("wrong", &rabbit, "observer:secretguess"),
        "nobody=http://127.0.0.1:1".to_owned(),
    ]);
    let server = Running::with(|settings| settings.brokers = asked).await;

    let list = until(&server, "its depth is known", |list| {
        queue(list, "eu", "work/größe").is_some_and(|one| one["ready"] == 3.0)
            && queue(list, "eu", "buried").is_some_and(|one| one["ready"] == 2.0)
    })
    .await;
    let work = queue(&list, "eu", "work/größe").expect("it is there");
    assert_eq!((work["verdict"].as_str(), work["consumers"].as_f64()), (Some("no_consumer"), Some(0.0)));
    assert_eq!(work["facts"]["deadLetterQueues"], json!(["buried"]));
    assert_eq!(
        (work["facts"]["maxLength"].as_u64(), work["facts"]["type"].as_str()),
        (Some(5000), Some("classic"))
    );
    let buried = queue(&list, "eu", "buried").expect("it is there");
    assert_eq!(buried["verdict"], "dead_letters", "known by who dead-letters into it, not by its name");

    // The two that fail are told apart, and say nothing of any password.
    let brokers = list["brokers"].as_array().expect("a list").clone();
    let why = |name: &str| {
        let broker = brokers.iter().find(|broker| broker["name"] == name).expect("it is asked");
        broker["failing"]["why"].as_str().unwrap_or_default().to_owned()
    };
    assert!(why("wrong").contains("refuses the login of “observer”"), "{}", why("wrong"));
    assert!(why("nobody").contains("cannot be reached"), "{}", why("nobody"));
    let (_, html) = page(&server, "/queues").await;
    assert!(html.contains("RabbitMQ wrong") && html.contains("RabbitMQ nobody"), "both are on the page");
    assert!(!html.contains("secretguess") && !html.contains(":look"), "and no password is");
    let one = "/queues/one?broker=eu&vhost=%2F&name=work%2Fgr%C3%B6%C3%9Fe";
    let (status, html) = page(&server, one).await;
    assert_eq!(status, 200);
    assert!(html.contains("x-max-length") && html.contains("buried"));
    assert!(html.contains("No exchange; messages come by the default one"), "nothing is bound to it");
    assert!(html.contains("Nobody takes from it now"));
    assert!(html.contains("The place of work/größe; dead letters go to buried"), "where they go is drawn");
    let (_, html) = page(&server, "/queues/one?broker=eu&vhost=%2F&name=buried").await;
    assert!(html.contains("dead letters of work/größe come to it"), "and where they come from");

    who_leads_into_a_queue_and_who_takes_from_it_is_told(&rabbit, &server, one).await;

    // More comes, rates are told; one is deleted. A total has to be known before it can be seen to grow.
    until(&server, "what came in is known over two steps", |list| {
        queue(list, "eu", "work/größe").is_some_and(|one| one["inPerSecond"].is_number())
    })
    .await;
    publish(&rabbit, "work/größe", 4).await;
    ask(&rabbit, reqwest::Method::DELETE, "/api/queues/%2F/buried", json!({})).await;
    until(&server, "seven wait, and who counts sees them come in", |list| {
        queue(list, "eu", "work/größe").is_some_and(|one| {
            one["ready"] == 7.0 && one["inPerSecond"].as_f64().is_some_and(|rate| rate > 0.0)
        })
    })
    .await;
    until(&server, "the deleted one is gone", |list| {
        queue(list, "eu", "buried").is_some_and(|one| one["verdict"] == "gone" && one["facts"].is_null())
    })
    .await;

    let (status, html) = page(&server, "/queues/one?broker=eu&vhost=eu%2Fshop&name=parcels").await;
    assert_eq!(status, 200);
    assert!(html.contains("No exchange; messages come by the default one"), "it is asked under its own name");
    it_stands_still_and_goes_on(&rabbit, &server).await;

    // Its end is told, its last figures stay, and it is heard again.
    rabbit.stop().await;
    let failing = |list: &Value| list["brokers"][0]["failing"].is_object();
    let list = until(&server, "its end is told", failing).await;
    assert_eq!(queue(&list, "eu", "work/größe").expect("it stays")["ready"], 7.0);
    assert!(list["brokers"][0]["reached"].is_string());
    rabbit.start().await;
    until(&server, "it is heard again", |list| !failing(list)).await;
}

/// A consumer's span over RabbitMQ.
async fn taken_from(server: &Running, destination: &str) {
    let span = otlp::span(1, 1, "process", 500)
        .with("messaging.system", "rabbitmq")
        .with("messaging.destination.name", destination);
    let body = otlp::request("mailer", &[rates_support::of_kind(rates_support::CONSUMER, span)]);
    let request = client().post(server.otlp("/v1/traces")).header("content-type", "application/x-protobuf");
    assert_eq!(request.body(body).send().await.expect("an answer").status(), 200);
}

#[tokio::test]
async fn a_rabbitmq_without_a_management_interface_is_asked_over_amqp() {
    let rabbit = Server::own().await;
    observer(&rabbit).await;
    for (name, messages) in [("work", 3), ("mail", 1), ("unheard", 1)] {
        declare(&rabbit, name, json!({})).await;
        publish(&rabbit, name, messages).await;
    }
    let addresses = [("bare", "look"), ("wrong", "secretguess")].map(|(name, password)| {
        let url = rabbit.url("/").replace("guest:guest", &format!("observer:{password}"));
        format!("{name}={url}").parse::<Address>().expect("any text")
    });
    let hands = Brokers::read(&addresses, &[], &[], &Authorities::default()).expect("addresses");
    let queues = ["work", "later"].map(str::to_owned).to_vec();
    let server = Running::with(|it| (it.hands, it.passive_queues) = (hands, queues)).await;
    taken_from(&server, "orders:placed:mail").await;

    let known = |list: &Value, name: &str, ready: f64| {
        queue(list, "bare", name).is_some_and(|one| one["ready"] == ready && one["consumers"] == 0.0)
    };
    let list = until(&server, "its depths are known, of those named by spans too", |list| {
        known(list, "work", 3.0) && known(list, "mail", 1.0)
    })
    .await;
    let work = queue(&list, "bare", "work").expect("it is there");
    assert_eq!((&work["verdict"], &work["unacknowledged"]), (&json!("no_consumer"), &Value::Null));
    let later = queue(&list, "bare", "later").expect("it is named in the settings");
    assert_eq!((&later["ready"], &later["facts"]["state"]), (&Value::Null, &json!("not there")));
    assert!(queue(&list, "bare", "unheard").is_none(), "nobody named it");
    let failing = |list: &Value, name: &str| {
        let all = list["brokers"].as_array().expect("a list").clone();
        all.iter().find(|one| one["name"] == name).expect("it is asked")["failing"].clone()
    };
    let why = failing(&list, "wrong")["why"].to_string();
    assert!(why.contains("refuses the login of “observer”") && !why.contains("guess"), "{why}");

    rabbit.kill();
    let list = until(&server, "its end is told", |list| failing(list, "bare").is_object()).await;
    assert!(known(&list, "work", 3.0), "its last figures stay");
    rabbit.start().await;
    until(&server, "it is heard again", |list| failing(list, "bare").is_null()).await;
}

/// A request as the Collector's receiver sends it: each queue is a resource of its own, with no service.
fn collector(node: &str, name: &str, at: u64, ready: i64, consumers: i64, published: i64) -> Value {
    let point = |value: i64, pairs: &[(&str, &str)]| {
        json!({ "attributes": attributes(pairs), "timeUnixNano": at.to_string(),
            "startTimeUnixNano": (at - 4_000 * S).to_string(), "asInt": value.to_string() })
    };
    let sum = |name: &str, monotonic: bool, points: Vec<Value>| {
        json!({ "name": name, "unit": "{messages}",
            "sum": { "aggregationTemporality": 2, "isMonotonic": monotonic, "dataPoints": points } })
    };
    json!({ "resourceMetrics": [{
        "resource": { "attributes": attributes(&[
            ("rabbitmq.node.name", node), ("rabbitmq.queue.name", name), ("rabbitmq.vhost.name", "/"),
        ]) },
        "scopeMetrics": [{ "scope": { "name": "github.com/open-telemetry/opentelemetry-collector-contrib/receiver/rabbitmqreceiver" },
            "metrics": [
                sum("rabbitmq.message.current", false, vec![
                    point(ready, &[("state", "ready")]), point(0, &[("state", "unacknowledged")]),
                ]),
                sum("rabbitmq.consumer.count", false, vec![point(consumers, &[])]),
                sum("rabbitmq.message.published", true, vec![point(published, &[])]),
            ] }],
    }] })
}

#[tokio::test]
async fn what_a_collector_sends_is_told_apart_by_queue_and_judged_alike() {
    let server = Running::start().await;
    let now = otlp::now();
    for step in 0..18_i64 {
        let at = now - (17 - step as u64) * 30 * S;
        for body in [
            collector("rabbit@a", "orders", at, 20 + step * 30, 2, 1_000 + step * 60),
            collector("rabbit@a", "mail", at, 5, i64::from(step < 6), 10),
            collector("rabbit@b", "orders", at, 0, 1, 7),
        ] {
            let request =
                client().post(server.otlp("/v1/metrics")).header("content-type", "application/json");
            let answer = request.body(body.to_string()).send().await.expect("an answer");
            assert_eq!(answer.status(), 200);
        }
    }
    let list = told(&server, "/api/queues").await;
    assert_eq!(list["queues"].as_array().expect("a list").len(), 3, "{list}");
    let orders = queue(&list, "rabbit@a", "orders").expect("it was sent");
    assert_eq!((orders["verdict"].as_str(), orders["ready"].as_f64()), (Some("growing"), Some(530.0)));
    assert!((orders["growthPerSecond"].as_f64().expect("a slope") - 1.0).abs() < 0.05, "{orders}");
    assert!((orders["inPerSecond"].as_f64().expect("a rate") - 2.0).abs() < 0.05, "{orders}");
    assert_eq!((&orders["facts"], &orders["outPerSecond"]), (&Value::Null, &Value::Null));
    let mail = queue(&list, "rabbit@a", "mail").expect("it was sent");
    let since = mail["since"].as_str().and_then(|since| since.parse::<u64>().ok()).expect("a time");
    assert_eq!(mail["verdict"], "no_consumer");
    assert!(
        since.abs_diff(now - 11 * 30 * S) <= 61 * S,
        "to the step of what is read: {}",
        (now - since) / S
    );
    assert_eq!(queue(&list, "rabbit@b", "orders").expect("it was sent")["verdict"], "idle");
    let (status, html) = page(&server, "/queues").await;
    assert!(status == 200 && html.contains("2 queues need you, mail first"), "{html}");
    let (status, html) = page(&server, "/queues/one?broker=rabbit%40a&vhost=%2F&name=none").await;
    assert!(status == 404 && html.contains("No such queue"), "{html}");
}

/// What the Collector's kafkametrics receiver sends of a topic of two partitions that a group reads; one request.
fn kafkametrics(cluster: &str, at: u64, [end, offset]: [i64; 2], members: i64) -> Value {
    let gauge = |name: &str, points: Vec<(Vec<(&str, &str)>, i64)>| {
        let points = points.into_iter().map(|(pairs, value)| {
            json!({ "attributes": attributes(&pairs), "timeUnixNano": at.to_string(), "asInt": value.to_string() })
        });
        json!({ "name": name, "gauge": { "dataPoints": points.collect::<Vec<_>>() } })
    };
    let of_both = |group: bool, value: i64| {
        let of = |partition| {
            let group = group.then_some(("group", "billing"));
            (group.into_iter().chain([("topic", "orders"), ("partition", partition)]).collect(), value)
        };
        vec![of("0"), of("1")]
    };
    json!({ "resourceMetrics": [{
        "resource": { "attributes": attributes(&[("kafka.cluster.alias", cluster)]) },
        "scopeMetrics": [{ "scope": { "name": "github.com/open-telemetry/opentelemetry-collector-contrib/receiver/kafkametricsreceiver" },
            "metrics": [
                gauge("kafka.consumer_group.lag", of_both(true, end - offset)),
                gauge("kafka.consumer_group.offset", of_both(true, offset)),
                gauge("kafka.consumer_group.members", vec![(vec![("group", "billing")], members)]),
                gauge("kafka.partition.current_offset", of_both(false, end)),
                gauge("kafka.brokers", vec![(vec![], 3)]),
            ] }],
    }] })
}

#[tokio::test]
async fn the_lag_of_a_kafka_group_that_a_collector_sends_is_a_queue_of_its_cluster() {
    let server = Running::start().await;
    let now = otlp::now();
    for step in 0..18_i64 {
        let at = now - (17 - step as u64) * 30 * S;
        for body in [
            kafkametrics("eu", at, [1_000 + step * 60, 900 + step * 30], 2),
            kafkametrics("us", at, [500, 500 - 20], i64::from(step < 6)),
        ] {
            let request =
                client().post(server.otlp("/v1/metrics")).header("content-type", "application/json");
            let answer = request.body(body.to_string()).send().await.expect("an answer");
            assert_eq!(answer.status(), 200);
        }
    }
    let list = told(&server, "/api/queues").await;
    assert_eq!(list["queues"].as_array().expect("a list").len(), 2, "{list}");
    let eu = queue(&list, "eu", "orders").expect("it was sent");
    assert_eq!(
        (&eu["kind"], &eu["vhost"], &eu["verdict"]),
        (&json!("consumer_group"), &json!("billing"), &json!("growing"))
    );
    assert_eq!(
        (eu["ready"].as_f64(), eu["consumers"].as_f64()),
        (Some(2.0 * (100.0 + 17.0 * 30.0)), Some(2.0))
    );
    assert!((eu["inPerSecond"].as_f64().expect("a rate") - 4.0).abs() < 0.1, "{eu}");
    assert!((eu["outPerSecond"].as_f64().expect("a rate") - 2.0).abs() < 0.1, "{eu}");
    let us = queue(&list, "us", "orders").expect("it was sent");
    assert_eq!((&us["verdict"], us["ready"].as_f64()), (&json!("no_consumer"), Some(40.0)));
    let one = told(&server, "/api/queues/one?broker=eu&vhost=billing&name=orders").await;
    let lags: Vec<f64> =
        one["overTime"]["ready"].as_array().expect("a list").iter().filter_map(Value::as_f64).collect();
    assert!(lags.len() >= 18 && lags.is_sorted() && lags.last() == Some(&1_220.0), "{lags:?}");
    let (_, page) = page(&server, "/queues").await;
    assert!(page.contains("billing on orders") && page.contains("2 queues need you"), "{page}");
}
