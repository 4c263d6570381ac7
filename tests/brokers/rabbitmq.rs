//! The contract of a broker on a real RabbitMQ, and what only a server has to keep.

use std::sync::Arc;
use std::time::Duration;

use crate::broker_contract::{self, Place};
use crate::common;
use crate::common::rabbitmq::{Server, VirtualHost};
use lapin::BasicProperties;
use lapin::options::{BasicPublishOptions, QueueDeclareOptions};
use lapin::types::{AMQPValue, FieldTable};
use throughline::comms::correlation::CorrelationId;
use throughline::comms::names;
use throughline::comms::queue::broker::MAX_BODY;
use throughline::comms::queue::rabbitmq::Settings;
use throughline::comms::queue::{Broker, BrokerError, Publisher, QueueSpec, RabbitMqBroker};

const SOON: Duration = Duration::from_secs(20);

#[async_trait::async_trait]
impl Place for VirtualHost {
    async fn handle(&self) -> Arc<dyn Broker> {
        let settings = Settings { settling: Duration::ZERO, ..Settings::new(&self.url(), "contract") };
        Arc::new(RabbitMqBroker::connect(settings).await.expect("the broker is there"))
    }
}

async fn place() -> VirtualHost {
    Server::shared().await.virtual_host().await
}

contract!(place());

#[tokio::test]
async fn the_example_of_messages_is_the_same_on_a_real_broker() {
    let url = place().await.url();
    let running = move || common::examples::says("messages", &[&url], &common::examples::MESSAGES);
    tokio::task::spawn_blocking(running).await.expect("it says so");
}

#[tokio::test]
async fn a_queue_of_other_settings_is_told_with_the_way_out() {
    let broker = place().await.declared().await;
    let other = QueueSpec::durable("mail").max_length(3);
    let error = broker.declare_queue(&other).await.expect_err("it differs");
    assert!(matches!(&error, BrokerError::Conflict { name, .. } if name == "mail"), "{error}");
    let text = error.to_string();
    assert!(text.contains("x-") && text.contains("delete it"), "{text}");
}

#[tokio::test]
async fn who_is_not_let_in_is_told_at_once_and_without_the_password() {
    let server = Server::shared().await;
    let port = server.port();
    let table = [
        (format!("amqp://guest:s3cret@127.0.0.1:{port}/%2F"), "denied"),
        (format!("amqp://guest:guest@127.0.0.1:{port}/nowhere"), "denied"),
        ("amqp://guest:s3cret@127.0.0.1:1/%2F".to_owned(), "unavailable"),
        ("http://guest:s3cret@127.0.0.1/".to_owned(), "invalid"),
        ("s3cret".to_owned(), "invalid"),
    ];
    for (url, kind) in table {
        let settings = Settings { patience: Duration::from_secs(2), ..Settings::new(&url, "stranger") };
        let connecting = tokio::time::timeout(SOON, RabbitMqBroker::connect(settings));
        let error = connecting.await.expect("in time").err().expect("not let in");
        assert_eq!(error.kind(), kind, "{error}");
        assert!(!error.to_string().contains("s3cret"), "{error}");
    }
}

#[tokio::test]
async fn over_tls_with_an_authority_of_our_own_it_is_the_same() {
    let server = Server::with_tls().await;
    let ca = Some(server.certificate("authority"));
    let settings = Settings { ca, ..Settings::new(&server.tls_url("localhost"), "sealed") };
    let broker = RabbitMqBroker::connect(settings).await.expect("it is trusted");
    broker.declare_exchange("orders").await.expect("exchange");
    broker.declare_queue(&QueueSpec::durable("mail")).await.expect("queue");
    broker.bind("orders", "#", "mail").await.expect("binding");
    let mut deliveries = broker.consume("mail", 1).await.expect("consumer");
    broker.publish("orders", "k", &broker_contract::message(1)).await.expect("published");
    assert_eq!(broker_contract::body(&mut deliveries).await, 1);
    let connections = server.ask("/api/connections").await;
    let connections = connections.as_array().expect("a list");
    assert!(connections.iter().all(|connection| connection["ssl"] != false), "{connections:?}");
    server.kill();
    server.start().await;
    broker.publish("orders", "k", &broker_contract::message(2)).await.expect("published after an outage");
    assert_eq!(broker_contract::body(&mut deliveries).await, 2);
}

#[tokio::test]
async fn who_is_not_to_be_trusted_over_tls_is_told_at_once_with_the_setting() {
    let server = Server::with_tls().await;
    let folder = tempfile::tempdir().expect("a folder");
    let none = folder.path().join("none.pem");
    std::fs::write(&none, "no certificate").expect("written");
    let (ours, stranger) = (server.certificate("authority"), server.certificate("stranger"));
    let (named, plain) = (server.tls_url("localhost"), server.url("/"));
    let table = [
        (named.clone(), None, "", "`ca`"),
        (named.clone(), Some(stranger), "denied", "not trusted here; give it as `ca`"),
        (server.tls_url("127.0.0.1"), Some(ours.clone()), "denied", "certificate is refused"),
        (plain.replace("amqp://", "amqps://"), Some(ours.clone()), "denied", "does not speak TLS"),
        (plain, Some(ours), "invalid", "use amqps://"),
        (named.clone(), Some(none), "invalid", "the CA (`ca`) for RabbitMQ holds no certificate"),
        (named, Some(folder.path().join("missing.pem")), "invalid", "missing.pem: No such file"),
    ];
    for (url, ca, kind, part) in table {
        let settings = Settings { ca, patience: Duration::from_secs(5), ..Settings::new(&url, "stranger") };
        let asked = std::time::Instant::now();
        let error = RabbitMqBroker::connect(settings).await.err().expect("not connected");
        let text = error.to_string();
        assert!(text.contains(part), "{part}: {text}");
        // Where the system trusts nobody at all, that is said.
        assert!(kind.is_empty() || error.kind() == kind, "{kind}: {text}");
        assert!(asked.elapsed() < Duration::from_secs(4), "at once: {text}");
        assert!(!text.contains("guest"), "neither user nor password: {text}");
    }
}

#[tokio::test]
async fn a_queue_that_is_full_and_refuses_is_waited_for_and_then_told() {
    let host = place().await;
    let settings = Settings { patience: Duration::from_secs(1), ..Settings::new(&host.url(), "hasty") };
    let broker = RabbitMqBroker::connect(settings).await.expect("connected");
    broker.declare_exchange("orders").await.expect("exchange");
    // As somebody else has set it up: it takes one message and refuses the next.
    let foreign = Foreign::new(&host).await;
    let mut arguments = FieldTable::default();
    arguments.insert("x-max-length".into(), AMQPValue::LongInt(1));
    arguments.insert("x-overflow".into(), long("reject-publish"));
    let options = QueueDeclareOptions { durable: true, ..Default::default() };
    foreign.channel.queue_declare("full".into(), options, arguments).await.expect("queue");
    broker.bind("orders", "#", "full").await.expect("binding");
    broker.publish("orders", "k", &broker_contract::message(1)).await.expect("there is room");
    let error = broker.publish("orders", "k", &broker_contract::message(2)).await.expect_err("it is full");
    assert!(error.to_string().contains("full"), "{error}");
    let settings = Settings { patience: Duration::from_secs(30), ..Settings::new(&host.url(), "patient") };
    let patient = RabbitMqBroker::connect(settings).await.expect("connected");
    let third = broker_contract::message(3);
    let waiting = patient.publish("orders", "k", &third);
    let (published, _) = tokio::join!(waiting, foreign.get("full"));
    published.expect("taken as soon as there is room");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_exchange_that_goes_away_is_told_to_those_alone_who_send_to_it() {
    let host = place().await;
    let broker = host.declared().await;
    broker.declare_exchange("doomed").await.expect("exchange");
    broker.bind("doomed", "#", "mail").await.expect("binding");
    for exchange in ["orders", "doomed"] {
        broker.publish(exchange, "order.placed", &broker_contract::message(0)).await.expect("published");
    }
    let foreign = Foreign::new(&host).await;
    foreign.channel.exchange_delete("doomed".into(), Default::default()).await.expect("deleted");
    let mut senders = tokio::task::JoinSet::new();
    for n in 0..100_u32 {
        let broker = Arc::clone(&broker);
        senders.spawn(async move {
            let exchange = if n % 10 == 3 { "doomed" } else { "orders" };
            (n, broker.publish(exchange, "order.placed", &broker_contract::message(n)).await)
        });
    }
    for (n, sent) in senders.join_all().await {
        let is_told = matches!(&sent, Err(BrokerError::NoExchange(name)) if name == "doomed");
        assert!(if n % 10 == 3 { is_told } else { sent.is_ok() }, "{n}: {sent:?}");
    }
}

/// A program that is not ours, with a connection of its own.
struct Foreign {
    _connection: lapin::Connection,
    channel: lapin::Channel,
}

impl Foreign {
    async fn new(host: &VirtualHost) -> Self {
        let connection =
            lapin::Connection::connect(&host.url(), Default::default()).await.expect("connected");
        let channel = connection.create_channel().await.expect("a channel");
        channel.confirm_select(Default::default()).await.expect("confirms");
        Self { _connection: connection, channel }
    }

    async fn send(&self, properties: BasicProperties, body: &[u8]) {
        let options = BasicPublishOptions { mandatory: true, ..Default::default() };
        let sent = self
            .channel
            .basic_publish("orders".into(), "order.placed".into(), options, body, properties)
            .await;
        let answer = sent.expect("sent").await.expect("an answer");
        assert!(answer.is_ack() && answer.take_message().is_none());
    }

    async fn get(&self, queue: &str) -> lapin::message::Delivery {
        let got = self.channel.basic_get(queue.into(), Default::default()).await.expect("an answer");
        let got = got.expect("a message");
        got.ack(Default::default()).await.expect("ack");
        got.delivery
    }
}

fn headers(entries: impl IntoIterator<Item = (&'static str, AMQPValue)>) -> BasicProperties {
    let mut table = FieldTable::default();
    for (name, value) in entries {
        table.insert(name.into(), value);
    }
    BasicProperties::default().with_headers(table)
}

fn long(text: &str) -> AMQPValue {
    AMQPValue::LongString(text.into())
}

#[tokio::test]
async fn headers_of_any_type_become_text_and_a_retry_keeps_them_as_they_were() {
    let host = place().await;
    let broker = host.declared().await;
    let foreign = Foreign::new(&host).await;
    let mut deep = AMQPValue::Boolean(true);
    for _ in 0..40 {
        deep = AMQPValue::FieldArray(vec![deep].into());
    }
    let mut table = FieldTable::default();
    table.insert("a".into(), AMQPValue::LongLongInt(-5));
    table.insert("b".into(), long("<b>"));
    let sent = [
        ("number", AMQPValue::LongInt(-17), "-17".to_owned()),
        ("yes", AMQPValue::Boolean(true), "true".into()),
        ("half", AMQPValue::Double(0.5), "0.5".into()),
        ("time", AMQPValue::Timestamp(u64::MAX), u64::MAX.to_string()),
        ("nothing", AMQPValue::Void, String::new()),
        ("bytes", AMQPValue::ByteArray(vec![0, 255].into()), "00ff".into()),
        ("latin", AMQPValue::LongString(vec![b'a', 0xff].into()), "a\u{fffd}".into()),
        ("table", AMQPValue::FieldTable(table), r#"{"a":-5,"b":"<b>"}"#.into()),
        ("deep", deep, format!("{}\"…\"{}", "[".repeat(8), "]".repeat(8))),
        ("traceparent", AMQPValue::LongInt(1), "1".into()),
        ("x-message-version", long("two"), "…".into()),
    ];
    foreign.send(headers(sent.clone().map(|(name, value, _)| (name, value))), b"{}").await;
    let mut deliveries = broker.consume("mail", 1).await.expect("consumer");
    let got = broker_contract::next(&mut deliveries).await;
    for (name, _, expected) in sent.iter().filter(|(name, ..)| *name != "x-message-version") {
        assert_eq!(&got.message.headers[*name], expected, "{name}");
    }
    let of = &got.message;
    assert_eq!((of.version, of.kind.as_str(), of.content_type.as_str()), (0, "order.placed", ""));
    let id = of.id.clone();
    got.retry(Duration::ZERO).await.expect("retry");
    // Another look at it, as another program sees it.
    let again = broker_contract::next(&mut deliveries).await;
    assert_eq!((again.number, &again.message.id), (2, &id), "the ID that it was given stays");
    again.dead_letter("enough").await.expect("dead letter");
    let letter = foreign.get("dead").await;
    let kept = letter.properties.headers().clone().expect("headers");
    for (name, value, _) in &sent {
        assert_eq!(kept.inner().get(*name), Some(value), "{name}");
    }
    assert_eq!(kept.inner().get(names::HEADER_DEATH_REASON), Some(&long("enough")));
}

#[tokio::test]
async fn a_correlation_id_that_is_none_is_replaced_and_noted() {
    let host = place().await;
    let broker = host.declared().await;
    let foreign = Foreign::new(&host).await;
    let mut deliveries = broker.consume("mail", 1).await.expect("consumer");
    let large = "y".repeat(10_000);
    for (refused, noted) in [("a\nb", "a\\nb"), (large.as_str(), &large[..128]), ("ünï", "ünï")] {
        foreign.send(headers([(names::X_CORRELATION_ID, long(refused))]), b"1").await;
        let got = broker_contract::next(&mut deliveries).await;
        let id = got.message.correlation_id.clone();
        assert!(id.as_str().starts_with("mail-"), "{id}");
        let kept = &got.message.headers[names::HEADER_REFUSED_CORRELATION_ID];
        assert_eq!(kept.trim_end_matches('…'), noted);
        // The fresh one stays with the message.
        got.retry(Duration::ZERO).await.expect("retry");
        let again = broker_contract::next(&mut deliveries).await;
        assert_eq!(again.message.correlation_id, id);
        again.ack().await.expect("ack");
    }
    // The property of a reply is its own; a header goes first, and either will do.
    let both =
        headers([(names::X_CORRELATION_ID, long("from-header"))]).with_correlation_id("reply-17".into());
    foreign.send(both, b"1").await;
    foreign.send(BasicProperties::default().with_correlation_id("property-1".into()), b"1").await;
    for expected in ["from-header", "property-1"] {
        let got = broker_contract::next(&mut deliveries).await;
        assert_eq!(got.message.correlation_id.as_str(), expected);
        got.ack().await.expect("ack");
    }
}

#[tokio::test]
async fn a_body_too_large_goes_to_the_dead_letters_with_the_reason() {
    let host = place().await;
    let broker = host.declared().await;
    let foreign = Foreign::new(&host).await;
    foreign.send(BasicProperties::default(), &vec![b'1'; MAX_BODY + 1]).await;
    foreign.send(BasicProperties::default(), b"2").await;
    let mut deliveries = broker.consume("mail", 1).await.expect("consumer");
    assert_eq!(broker_contract::body(&mut deliveries).await, 2, "it is handed out to nobody");
    let letter = foreign.get("dead").await;
    assert_eq!(letter.data.len(), MAX_BODY + 1, "and is not lost");
    let kept = letter.properties.headers().clone().expect("headers");
    let reason = format!("the body has {} bytes, above the limit of {MAX_BODY}", MAX_BODY + 1);
    assert_eq!(kept.inner().get(names::HEADER_DEATH_REASON), Some(&long(&reason)));
}

#[tokio::test]
async fn what_we_send_is_persistent_and_names_itself() {
    let host = place().await;
    let broker = host.declared().await;
    let mut sent = broker_contract::message(1);
    sent.correlation_id = CorrelationId::parse("order-17").expect("an ID");
    sent.causation_id = Some("earlier".into());
    Publisher::new(broker).publish("orders", "order.placed", sent.clone()).await.expect("published");
    let got = Foreign::new(&host).await.get("mail").await;
    let of = &got.properties;
    assert_eq!(of.delivery_mode(), &Some(2));
    assert_eq!(of.correlation_id().as_ref().map(|id| id.as_str()), Some("order-17"));
    assert_eq!(of.message_id().as_ref().map(|id| id.as_str()), Some(sent.id.as_str()));
    assert_eq!(of.kind().as_ref().map(|kind| kind.as_str()), Some("order.placed"));
    assert_eq!(of.content_type().as_ref().map(|kind| kind.as_str()), Some("application/json"));
    assert_eq!(of.app_id().as_ref().map(|app| app.as_str()), Some("contract"));
    let seconds = sent.time.duration_since(std::time::UNIX_EPOCH).expect("after 1970").as_secs();
    assert_eq!(of.timestamp(), &Some(seconds));
    let table = of.headers().clone().expect("headers");
    assert_eq!(table.inner().get(names::X_CORRELATION_ID), Some(&long("order-17")));
    assert_eq!(table.inner().get(names::HEADER_CAUSATION_ID), Some(&long("earlier")));
    assert_eq!(table.inner().get(names::HEADER_VERSION), Some(&AMQPValue::LongLongInt(1)));
}

#[tokio::test]
async fn headers_nested_thousands_deep_end_no_consumer() {
    let host = place().await;
    let broker = host.declared().await;
    let mut deliveries = broker.consume("mail", 1).await.expect("consumer");
    let deep = common::raw_amqp::deep_headers(9_000, "m-deep");
    common::raw_amqp::publish(host.server.port(), &host.name, ("orders", "order.placed"), &deep, b"1");
    broker.publish("orders", "order.placed", &broker_contract::message(2)).await.expect("published");
    let got = broker_contract::next(&mut deliveries).await;
    assert_eq!(got.message.id, "m-deep", "it is handed out as any other");
    // The copy that waits for the retry is read too.
    got.retry(Duration::ZERO).await.expect("retry");
    let mut bodies =
        [broker_contract::body(&mut deliveries).await, broker_contract::body(&mut deliveries).await];
    bodies.sort_unstable();
    assert_eq!(bodies, [1, 2]);
}
