//! The pages of queues over what brokers and a Collector tell.

use super::*;
use crate::dashboard::fixture::queues;
use crate::dashboard::fixture::reader::Memory;
use crate::dashboard::view;

async fn get(path: &str) -> Answer {
    let now = now();
    let mut memory = Memory::new(Vec::new());
    memory.series = queues::series(now);
    let mut state = super::serve::state(Vec::new());
    state.reader = std::sync::Arc::new(memory);
    state.board = std::sync::Arc::new(queues::board(now));
    let answer = super::get(&view::router(state), path).await;
    Answer { text: answer.text.replace([format::NBSP, '\u{202f}'], " "), ..answer }
}

#[tokio::test]
async fn the_list_says_first_what_needs_somebody() {
    let page = get("/queues").await;
    assert_eq!(page.status, StatusCode::OK);
    page.has(&[
        "4 queues need you, notifications.sms first",
        "no consumer for 12 m",
        "growing: full in 13 h",
        "45 dead letters",
        "draining: empty in",
        "holds messages for a delay",
        "last heard 10 m ago",
        "eu-1 /shop",
        "payments.retry",
        "RabbitMQ eu-2",
        "it cannot be reached: Connection refused. Its last figures are those of",
        "größe/大 &amp; co",
        r#"<span class="none" title="not told">—</span>"#,
    ]);
    page.lacks("<script>alert");
    let narrowed = get("/queues?find=CHARGE&broker=eu-1").await;
    narrowed.has(&["1 queue<", "payments.charge"]);
    narrowed.lacks("analytics.events</a>");
    get("/queues?trouble=1").await.has(&["4 queues<"]);
    get("/queues?find=billing").await.has(&["1 queue<", "billing on orders", "Kafka group"]);
    get("/queues?find=nothing").await.has(&["No queue is like that"]);
    let bad = get("/queues?limit=0").await;
    assert_eq!(bad.status, StatusCode::BAD_REQUEST);
    bad.has(&["“limit” is a whole number from 1 to 1000"]);
}

#[tokio::test]
async fn a_queue_has_a_page_whatever_its_name_and_one_that_is_not_there_says_what_to_do() {
    let page = get("/queues/one?broker=eu-1&vhost=%2Fshop&name=payments.charge").await;
    assert_eq!(page.status, StatusCode::OK);
    page.has(&[
        "payments.charge is growing: full in",
        "Messages ready and unacknowledged",
        "Messages a second, in and out",
        "Dead-letter exchange",
        "100 000 messages",
        "x-queue-type",
        "No trace tells who sends to it",
        "messaging.destination.name",
    ]);
    let odd = "/queues/one?broker=rabbit%40us-1&vhost=%2F&name=gr%C3%B6%C3%9Fe%2F%E5%A4%A7%20%26%20co";
    get(odd).await.has(&["größe/大 &amp; co is steady", "start it with <code>--rabbitmq-api</code>"]);
    let group = get("/queues/one?broker=log-1&vhost=billing&name=orders").await;
    group.has(&[
        "The lag of billing on orders is growing",
        "<dt>Lag</dt><dd>2 160",
        "Members of the group",
        "Consumer group",
    ]);
    group.lacks("What leads into it");
    let new = get("/queues/one?broker=eu-1&vhost=%2Fshop&name=just-declared").await;
    new.has(&["How many messages wait in just-declared is not known yet"]);
    let missing = get("/queues/one?broker=eu-1&name=nobody").await;
    assert_eq!(missing.status, StatusCode::NOT_FOUND);
    missing.has(&["No such queue", "Choose a longer time range"]);
    let bad = get("/queues/one?broker=eu-1").await;
    assert_eq!(bad.status, StatusCode::BAD_REQUEST);
    bad.has(&["“name” is missing"]);
}

#[tokio::test]
async fn the_overview_tells_of_queues_that_need_somebody() {
    let page = get("/").await;
    page.has(&["notifications.sms", "no consumer for 12 m", "payments.charge", "45 dead letters"]);
    page.lacks("analytics.events");
    page.lacks("All quiet");
}

#[tokio::test]
async fn without_queues_the_page_says_how_to_connect_a_broker() {
    let page = super::get(&pages(Vec::new()), "/queues").await;
    page.has(
        &["No queues heard", "set_user_tags throughline monitoring", "--rabbitmq-api", "^$"]
            .map(|text| if text == "--rabbitmq-api" { "THROUGHLINE_RABBITMQ_API" } else { text }),
    );
    super::get(&pages(Vec::new()), "/queues?l=collector").await.has(&["receivers: [rabbitmq]"]);
}

#[tokio::test]
async fn programs_get_the_same_with_null_for_what_is_unknown() {
    let all: serde_json::Value = serde_json::from_str(&get("/api/queues").await.text).unwrap();
    let queues = all["queues"].as_array().unwrap();
    let of = |name: &str| queues.iter().find(|queue| queue["name"] == name).unwrap();
    assert_eq!(of("notifications.sms")["verdict"], "no_consumer");
    assert_eq!(of("just-declared")["ready"], serde_json::Value::Null);
    assert_eq!(of("payments.charge")["facts"]["deadLetterExchange"], "dead");
    assert!(all["brokers"][1]["failing"]["why"].as_str().unwrap().contains("refused"));
    let one = get("/api/queues/one?broker=eu-1&vhost=%2Fshop&name=payments.charge").await;
    let one: serde_json::Value = serde_json::from_str(&one.text).unwrap();
    assert_eq!(one["overTime"]["ready"].as_array().unwrap().len(), 120);
}
