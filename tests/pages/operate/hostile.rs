//! Messages that would do harm, and a broker that is spoken to over TLS alone.

use serde_json::json;
use throughline::dashboard::collect::address::Authorities;
use throughline::dashboard::collect::{Address, Broker};
use throughline::dashboard::operate::Brokers;

use super::support::{self, Rabbit, at, ended, get, post, settings, text};
use crate::common::rabbitmq::Server;
use crate::common::{Running, eventually, raw_amqp};

#[tokio::test]
async fn headers_nested_thousands_deep_are_looked_at_and_stay_where_they_are() {
    let rabbit = Rabbit::own_host(&Server::shared().await).await;
    rabbit.dead_lettering("classic").await;
    let deep = raw_amqp::deep_headers(9_000, "m-deep");
    raw_amqp::publish(rabbit.server.port(), &rabbit.host, ("", "dead"), &deep, b"{}");
    rabbit.publish("", "dead", "m-plain", &json!({})).await;
    rabbit.holds("dead", 2).await;
    let server = Running::with(|it| settings(it, &rabbit, "eu")).await;
    support::known(&server, &rabbit, "dead").await;

    let (status, looked) = post(&server, &at(&rabbit, "eu", "dead", "peek"), json!({ "count": 2 })).await;
    assert_eq!(status, 200, "{looked}");
    let messages = looked["messages"].as_array().expect("a list");
    let told: Vec<_> =
        messages.iter().map(|one| (&one["properties"]["message_id"], &one["altered"])).collect();
    assert_eq!(told, [(&json!("m-deep"), &json!(true)), (&json!("m-plain"), &json!(false))]);

    // What is asked wrongly is told as JSON, with the field.
    for (order, part) in [
        (json!({ "all": true, "to": "moon" }), "“to” is origin"),
        (json!({ "to": "other" }), "No message is named"),
        (json!({ "all": "yes" }), "at “all”"),
    ] {
        let (status, told) = post(&server, &at(&rabbit, "eu", "dead", "redrive"), order).await;
        assert!(status == 400 && told["error"].to_string().contains(part), "{status} {told}");
    }
    let order = json!({ "all": true, "to": "other", "exchange": "", "key": "other" });
    let (_, job) = post(&server, &at(&rabbit, "eu", "dead", "redrive"), order).await;
    let job = ended(&server, &job).await;
    assert_eq!((&job["sent"], &job["kept"]), (&json!(1), &json!(1)), "{job}");
    let why = job["results"].as_array().expect("a list").iter().find(|row| row["messageId"] == "m-deep");
    assert!(why.expect("a result")["why"].to_string().contains("nested too deep"), "{job}");
    rabbit.holds("other", 1).await;
    rabbit.holds("dead", 1).await;
}

#[tokio::test]
async fn over_tls_queues_are_seen_and_messages_moved_and_a_stranger_is_named() {
    let server = Server::with_tls().await;
    let rabbit = Rabbit::of(&server, "/").await;
    rabbit.dead_lettering("classic").await;
    rabbit.publish("", "dead", "m-1", &json!({})).await;
    let address = |text: String| -> Address { text.parse().expect("any text") };
    let api = address(format!("eu={}", server.tls_management()));
    let amqp = address(format!("eu={}", server.tls_url("localhost")));
    let with = |authority: &str| {
        let authorities = Authorities::read(Some(server.certificate(authority)), [&api]).expect("a file");
        let brokers = Broker::read(std::slice::from_ref(&api), &authorities).expect("an address");
        let hands = Brokers::read(std::slice::from_ref(&amqp), &[], &[], &authorities).expect("an address");
        (brokers, hands)
    };

    let (brokers, hands) = with("authority");
    let dashboard = Running::with(|it| (it.brokers, it.hands) = (brokers, hands)).await;
    support::known(&dashboard, &rabbit, "dead").await;
    let order = json!({ "all": true, "to": "other", "exchange": "", "key": "other" });
    let (_, job) = post(&dashboard, &at(&rabbit, "eu", "dead", "redrive"), order).await;
    assert_eq!(ended(&dashboard, &job).await["sent"], 1);
    rabbit.holds("other", 1).await;

    let (brokers, hands) = with("stranger");
    let dashboard = Running::with(|it| (it.brokers, it.hands) = (brokers, hands)).await;
    eventually("the stranger is named", 20, async || {
        let told = get(&dashboard, "/api/queues").await.to_string();
        told.contains("UnknownIssuer").then_some(())
    })
    .await;
    let look = json!({ "count": 1, "acceptCount": true });
    let (status, told) = post(&dashboard, &at(&rabbit, "eu", "other", "peek"), look).await;
    assert!(status >= 400 && told.to_string().contains("--rabbitmq-ca"), "{status} {told}");
    assert!(text(&dashboard, "/queues").await.contains("cannot be reached"));
}
