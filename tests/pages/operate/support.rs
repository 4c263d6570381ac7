//! A RabbitMQ with queues that dead-letter, and requests to a dashboard that acts on it.
#![allow(dead_code)]

use std::sync::Arc;

use lapin::options::{
    BasicGetOptions, BasicPublishOptions, BasicRejectOptions, ConfirmSelectOptions, QueueDeclareOptions,
};
use lapin::types::FieldTable;
use lapin::{BasicProperties, Channel, Connection, ConnectionProperties};
use reqwest::Method;
use serde_json::{Value, json};
use throughline::dashboard::collect;
use throughline::dashboard::collect::Address;
use throughline::dashboard::collect::address::Authorities;
use throughline::dashboard::operate::Brokers;
use throughline::dashboard::serve::Settings;

use crate::common::rabbitmq::Server;
use crate::common::{Running, client, contract, eventually};

/// A virtual host of a server.
pub struct Rabbit {
    pub server: Arc<Server>,
    pub host: String,
}

/// A name as one segment of a path.
pub fn segment(name: &str) -> String {
    name.bytes()
        .map(|byte| match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' => char::from(byte).to_string(),
            _ => format!("%{byte:02X}"),
        })
        .collect()
}

impl Rabbit {
    /// An empty virtual host.
    pub async fn own_host(server: &Arc<Server>) -> Self {
        let host = server.virtual_host().await;
        Self { server: server.clone(), host: host.name }
    }

    /// A virtual host by its name, made where it is missing.
    pub async fn of(server: &Arc<Server>, host: &str) -> Self {
        let rabbit = Self { server: server.clone(), host: host.to_owned() };
        let name = segment(host);
        rabbit.ask(Method::PUT, &format!("/api/vhosts/{name}"), json!({})).await;
        let everything = json!({ "configure": ".*", "write": ".*", "read": ".*" });
        rabbit.ask(Method::PUT, &format!("/api/permissions/{name}/guest"), everything).await;
        rabbit
    }

    /// An address of the management API in this host.
    pub fn path(&self, kind: &str, rest: &str) -> String {
        format!("/api/{kind}/{}/{rest}", segment(&self.host))
    }

    /// Asks the management API.
    pub async fn ask(&self, method: Method, path: &str, body: Value) -> Value {
        let request =
            client().request(method, self.server.management(path)).basic_auth("guest", Some("guest"));
        let answer = request.json(&body).send().await.expect("an answer");
        let status = answer.status();
        let text = answer.text().await.expect("a text");
        assert!(status.is_success(), "{path}: {status} {text}");
        serde_json::from_str(&text).unwrap_or(Value::Null)
    }

    /// Makes a durable queue.
    pub async fn declare(&self, name: &str, arguments: Value) {
        let path = self.path("queues", &segment(name));
        self.ask(Method::PUT, &path, json!({ "durable": true, "arguments": arguments })).await;
    }

    /// Exchange `orders` → queue `work` → dead letters in `dead`; and a queue `other`. Both of the first are of a kind.
    pub async fn dead_lettering(&self, kind: &str) {
        for (name, kind) in [("orders", "topic"), ("dlx", "fanout")] {
            self.ask(Method::PUT, &self.path("exchanges", name), json!({ "type": kind, "durable": true }))
                .await;
        }
        self.declare("work", json!({ "x-queue-type": kind, "x-dead-letter-exchange": "dlx" })).await;
        self.declare("dead", json!({ "x-queue-type": kind })).await;
        self.declare("other", json!({})).await;
        for (exchange, queue, key) in [("orders", "work", "order.placed"), ("dlx", "dead", "")] {
            let path = self.path("bindings", &format!("e/{exchange}/q/{queue}"));
            self.ask(Method::POST, &path, json!({ "routing_key": key })).await;
        }
    }

    /// Publishes a JSON message with an ID.
    pub async fn publish(&self, exchange: &str, key: &str, id: &str, body: &Value) {
        let exchange = if exchange.is_empty() { "amq.default" } else { exchange };
        let properties = json!({
            "message_id": id, "content_type": "application/json", "delivery_mode": 2, "app_id": "shop",
            "headers": { "x-correlation-id": format!("c-{id}") },
        });
        let body = json!({ "properties": properties, "routing_key": key, "payload": body.to_string(), "payload_encoding": "string" });
        let told =
            self.ask(Method::POST, &self.path("exchanges", &format!("{exchange}/publish")), body).await;
        assert_eq!(told["routed"], true);
    }

    /// A connection over AMQP and a channel with confirms.
    pub async fn channel(&self) -> (Connection, Channel) {
        let url = self.server.url(&self.host);
        let connection =
            Connection::connect(&url, ConnectionProperties::default()).await.expect("a connection");
        let channel = connection.create_channel().await.expect("a channel");
        channel.confirm_select(ConfirmSelectOptions::default()).await.expect("confirms");
        (connection, channel)
    }

    /// Publishes many small messages to a queue, `PREFIX0` and so on.
    pub async fn publish_many(&self, queue: &str, count: usize, prefix: &str) {
        let (_connection, channel) = self.channel().await;
        for number in 0..count {
            let properties = BasicProperties::default()
                .with_message_id(format!("{prefix}{number}").into())
                .with_delivery_mode(2);
            let options = BasicPublishOptions::default();
            let body = format!("{{\"n\":{number}}}");
            let sent =
                channel.basic_publish("".into(), queue.into(), options, body.as_bytes(), properties).await;
            drop(sent.expect("it is sent"));
        }
        channel.wait_for_confirms().await.expect("all are confirmed");
    }

    /// Publishes a message of a size.
    pub async fn publish_large(&self, queue: &str, bytes: usize) {
        let (_connection, channel) = self.channel().await;
        let (options, properties) = (BasicPublishOptions::default(), BasicProperties::default());
        let body = vec![b'x'; bytes];
        let sent = channel.basic_publish("".into(), queue.into(), options, &body, properties).await;
        sent.expect("it is sent").await.expect("it is confirmed");
    }

    /// Refuses the first messages of a queue, so that they are dead letters.
    pub async fn refuse(&self, queue: &str, count: usize) {
        self.holds(queue, count as u64).await;
        let (_connection, channel) = self.channel().await;
        for _ in 0..count {
            let got = channel.basic_get(queue.into(), BasicGetOptions::default()).await.expect("an answer");
            let got = got.expect("a message");
            got.delivery.acker.reject(BasicRejectOptions { requeue: false }).await.expect("it is refused");
        }
        channel.close(200, "done".into()).await.expect("it closes");
    }

    /// Bytes of a queue's first message, which stays.
    pub async fn size_of_first(&self, queue: &str) -> usize {
        let (_connection, channel) = self.channel().await;
        let got = channel.basic_get(queue.into(), BasicGetOptions::default()).await.expect("an answer");
        got.expect("a message").delivery.data.len()
    }

    /// How many messages are ready in a queue.
    pub async fn ready(&self, queue: &str) -> u64 {
        let (connection, channel) = self.channel().await;
        let passive = QueueDeclareOptions { passive: true, ..Default::default() };
        let told =
            channel.queue_declare(queue.into(), passive, FieldTable::default()).await.expect("it is there");
        let ready = u64::from(told.message_count());
        connection.close(200, "done".into()).await.expect("it closes");
        ready
    }

    /// Waits until so many messages are ready.
    pub async fn holds(&self, queue: &str, count: u64) {
        eventually(&format!("{queue} holds {count}"), 20, async || {
            (self.ready(queue).await == count).then_some(())
        })
        .await;
    }

    /// Takes messages out.
    pub async fn take(&self, queue: &str, count: usize) -> Vec<Value> {
        let body = json!({ "count": count, "ackmode": "ack_requeue_false", "encoding": "auto" });
        let got =
            self.ask(Method::POST, &self.path("queues", &format!("{}/get", segment(queue))), body).await;
        let got = got.as_array().expect("a list").clone();
        assert_eq!(got.len(), count, "{got:?}");
        got
    }
}

/// Ways to act on brokers, as the settings have them.
pub fn hands(address: &str) -> Brokers {
    let address: Address = address.parse().expect("any text");
    Brokers::read(&[address], &[], &[], &Authorities::default()).expect("an address")
}

/// Lets a dashboard look at a RabbitMQ and act on it, under a name.
pub fn settings(settings: &mut Settings, rabbit: &Rabbit, name: &str) {
    let api = rabbit.server.management("").replace("http://", &format!("{name}=http://guest:guest@"));
    let api: collect::Address = api.parse().expect("any text");
    settings.brokers = collect::Broker::read(&[api], &Authorities::default()).expect("an address");
    settings.hands = hands(&format!("{name}=amqp://guest:guest@127.0.0.1:{}", rabbit.server.port()));
}

/// An address of a queue's under `/api`.
pub fn at(rabbit: &Rabbit, broker: &str, queue: &str, what: &str) -> String {
    format!("/api/queues/{}/{}/{}/{what}", segment(broker), segment(&rabbit.host), segment(queue))
}

/// Waits until the dashboard knows what kind a queue is.
pub async fn known(server: &Running, rabbit: &Rabbit, queue: &str) {
    eventually("the queue is known", 30, async || {
        let list = get(server, "/api/queues?limit=1000").await;
        let mut all = list["queues"].as_array()?.iter();
        all.find(|one| {
            one["name"] == queue && one["vhost"] == rabbit.host.as_str() && one["facts"].is_object()
        })
        .map(|_| ())
    })
    .await;
}

/// Sends JSON and gives status and answer.
pub async fn post(server: &Running, path: &str, body: Value) -> (u16, Value) {
    contract::post(server, path, &body).await
}

/// Asks for JSON.
pub async fn get(server: &Running, path: &str) -> Value {
    contract::get(server, path).await.1
}

/// A page, its no-break spaces as spaces.
pub async fn text(server: &Running, path: &str) -> String {
    let answer = client().get(server.page(path)).send().await.expect("an answer");
    answer.text().await.expect("a text").replace('\u{a0}', " ")
}

/// Waits for the end of a redrive and its row in the audit, and gives it with its results.
pub async fn ended(server: &Running, job: &Value) -> Value {
    let id = job["id"].as_u64().unwrap_or_else(|| panic!("no redrive: {job}"));
    eventually("the redrive ends", 60, async || {
        let job = get(server, &format!("/api/redrives/{id}")).await;
        let rows = audit(server, "").await;
        let row = rows.iter().find(|row| row["id"] == id)?;
        (!job["ended"].is_null() && !row["ended"].is_null()).then_some(job)
    })
    .await
}

/// Rows of the audit.
pub async fn audit(server: &Running, query: &str) -> Vec<Value> {
    let answer = get(server, &format!("/api/audit{query}")).await;
    answer["rows"].as_array().unwrap_or_else(|| panic!("no rows: {answer}")).clone()
}

/// A client that shows redirects instead of following them.
pub fn browser() -> reqwest::Client {
    drop(client());
    reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build().expect("a client")
}
