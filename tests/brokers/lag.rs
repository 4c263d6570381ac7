//! Throughline asks a real Kafka how far its groups are, and changes nothing there.

use std::sync::Arc;
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{CommitMode, Consumer as _, StreamConsumer};
use rdkafka::producer::{FutureProducer, FutureRecord};
use serde_json::{Value, json};
use throughline::dashboard::collect::Cluster;
use throughline::dashboard::model::now;
use throughline::dashboard::view::zone::rfc3339;

use crate::common::contract::told;
use crate::common::kafka::Server;
use crate::common::{Running, client, eventually};

fn config(server: &Server) -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", server.address());
    config
}

async fn produce(server: &Server, topic: &str, count: usize) {
    let producer: FutureProducer = config(server).create().expect("a producer");
    for number in 0..count {
        let key = number.to_string();
        let record = FutureRecord::to(topic).key(&key).payload("{}");
        producer.send(record, Duration::from_secs(20)).await.expect("kept");
    }
}

async fn consumer(server: &Server, group: &str, topic: &str) -> StreamConsumer {
    let mut config = config(server);
    config.set("group.id", group).set("auto.offset.reset", "earliest").set("enable.auto.commit", "false");
    let consumer: StreamConsumer = config.create().expect("a consumer");
    consumer.subscribe(&[topic]).expect("a subscription");
    consumer
}

/// Takes so many messages and commits them.
async fn take(consumer: &StreamConsumer, count: usize) {
    for _ in 0..count {
        let message = consumer.recv().await.expect("a message");
        consumer.commit_message(&message, CommitMode::Sync).expect("committed");
    }
}

/// The row of a group.
fn row_of<'a>(list: &'a Value, group: &str) -> Option<&'a Value> {
    list["queues"].as_array().expect("a list").iter().find(|row| row["vhost"] == group)
}

/// Waits until the row of a group is as expected.
async fn is(server: &Running, group: &str, wanted: Value) {
    let wanted = wanted.as_object().expect("an object");
    eventually(&format!("{group} is {wanted:?}"), 30, async || {
        let list = told(server, "/api/queues").await;
        let row = row_of(&list, group)?;
        assert_eq!(row["name"], "orders", "the only topic");
        wanted.iter().all(|(key, value)| row[key] == *value).then_some(())
    })
    .await;
}

/// Does with a server what blocks.
async fn aside(server: &Arc<Server>, work: fn(&Server)) {
    let server = server.clone();
    tokio::task::spawn_blocking(move || work(&server)).await.expect("it is done");
}

fn failing(list: &Value) -> &Value {
    &list["brokers"][0]["failing"]
}

#[tokio::test(flavor = "multi_thread")]
async fn what_groups_of_a_kafka_have_not_read_is_told_through_its_end_and_back() {
    let kafka = Server::own().await;
    let admin: AdminClient<DefaultClientContext> = config(&kafka).create().expect("an administrator");
    let topic = NewTopic::new("orders", 2, TopicReplication::Fixed(1));
    admin.create_topics([&topic], &AdminOptions::new()).await.expect("a topic");
    produce(&kafka, "orders", 20).await;
    let (billing, mail) =
        (consumer(&kafka, "billing", "orders").await, consumer(&kafka, "mail", "orders").await);
    take(&billing, 14).await;
    take(&mail, 20).await;

    let cluster: Cluster = format!("eu-1={}", kafka.address()).parse().expect("an address");
    let server = Running::with(|settings| settings.clusters = vec![cluster]).await;
    let row = json!({ "kind": "consumer_group", "broker": "eu-1", "consumers": 1.0, "sentBy": null });
    let of = |ready: f64| {
        let mut row = row.clone();
        row["ready"] = json!(ready);
        row
    };
    // A partition that a group has not committed to yet has no lag that anybody could tell.
    let list = billing.committed(Duration::from_secs(10)).expect("offsets");
    let read = list.elements();
    let both = read.iter().all(|one| one.offset().to_raw().is_some_and(|offset| offset >= 0));
    assert!(both, "of 14 messages some are of each partition: {read:?}");
    is(&server, "billing", of(6.0)).await;
    is(&server, "mail", of(0.0)).await;
    produce(&kafka, "orders", 5).await;
    is(&server, "billing", of(11.0)).await;
    // Who looks is no member: nothing was taken from the one that is there.
    take(&billing, 11).await;
    is(&server, "billing", of(0.0)).await;
    drop(mail);
    produce(&kafka, "orders", 1).await;
    is(&server, "mail", json!({ "ready": 6.0, "consumers": 0.0, "verdict": "no_consumer" })).await;

    aside(&kafka, Server::kill).await;
    eventually("its end is told", 30, async || {
        failing(&told(&server, "/api/queues").await).is_object().then_some(())
    })
    .await;
    let page = client().get(server.page("/queues")).send().await.expect("an answer");
    let page = page.text().await.expect("a page");
    assert!(page.contains("eu-1") && page.contains("does not tell of its queues"), "{page}");
    assert!(page.contains(&kafka.address()) && page.contains("billing"), "what was known stays");
    aside(&kafka, Server::start).await;
    eventually("it is heard again", 60, async || {
        failing(&told(&server, "/api/queues").await).is_null().then_some(())
    })
    .await;
    produce(&kafka, "orders", 2).await;
    is(&server, "mail", json!({ "ready": 8.0 })).await;
    // Rates take two steps of ten seconds; by now they are over.
    eventually("how fast records come and are read", 30, async || {
        let list = told(&server, "/api/queues").await;
        let billing = row_of(&list, "billing")?;
        (billing["inPerSecond"].is_number() && billing["outPerSecond"].is_number()).then_some(())
    })
    .await;
    // Of a time that is over nobody is gone because of what is now.
    let at = |ago: u64| rfc3339(now() - ago * 1_000_000_000);
    let rows = eventually("figures as old as that", 30, async || {
        let list = told(&server, &format!("/api/queues?from={}&to={}", at(600), at(17))).await;
        let rows = list["queues"].as_array().expect("a list").clone();
        (rows.len() == 2).then_some(rows)
    })
    .await;
    assert!(rows.iter().all(|row| row["verdict"] != "gone"), "{rows:?}");
    server.dashboard.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kafka_that_is_not_there_is_told_and_the_pages_live() {
    let cluster: Cluster = "127.0.0.1:1".parse().expect("an address");
    let server = Running::with(|settings| settings.clusters = vec![cluster]).await;
    let list = eventually("it is told", 30, async || {
        let list = told(&server, "/api/queues").await;
        failing(&list).is_object().then_some(list)
    })
    .await;
    let why = failing(&list)["why"].as_str().expect("a reason");
    assert!(why.contains("cannot be reached"), "{why}");
    assert_eq!(list["brokers"][0]["name"], "127.0.0.1:1");
    server.dashboard.stop().await;
}
