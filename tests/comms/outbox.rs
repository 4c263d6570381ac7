//! Outbox and inbox: a change of state and its message happen both or neither, and a message counts once, whatever
//! crashes between the steps.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use futures_util::future::BoxFuture;
use sqlx::sqlite::{SqliteConnectOptions, SqlitePool};
use throughline::comms::queue::broker::Deliveries;
use throughline::comms::queue::{
    Broker, BrokerError, EmbeddedBroker, Message, Publisher, QueueSpec, QueueStats, inbox, outbox,
};
use tokio_util::sync::CancellationToken;

const SOON: Duration = Duration::from_secs(10);

/// A service's database with a table of its own, and a broker with a queue `mail`.
struct Service {
    pool: SqlitePool,
    broker: Arc<dyn Broker>,
    dir: tempfile::TempDir,
}

impl Service {
    async fn new() -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        let url = format!("sqlite://{}", dir.path().join("broker.db").display());
        let broker: Arc<dyn Broker> = Arc::new(EmbeddedBroker::open(&url).await.expect("opens"));
        broker.declare_exchange("shop").await.expect("exchange");
        broker.declare_queue(&QueueSpec::durable("mail")).await.expect("queue");
        broker.bind("shop", "order.*", "mail").await.expect("binding");
        let pool = Self::open(&dir).await;
        sqlx::raw_sql("CREATE TABLE orders (n INTEGER NOT NULL)").execute(&pool).await.expect("a table");
        Self { pool, broker, dir }
    }

    /// As another process, or the same after a crash, opens it.
    async fn open(dir: &tempfile::TempDir) -> SqlitePool {
        let options =
            SqliteConnectOptions::new().filename(dir.path().join("service.db")).create_if_missing(true);
        let pool = SqlitePool::connect_with(options).await.expect("a database");
        for _ in 0..2 {
            outbox::prepare(&pool).await.expect("a table, also when it is there");
            inbox::prepare(&pool).await.expect("a table, also when it is there");
        }
        pool
    }

    /// Writes an order and its message, and commits or crashes before.
    async fn place(&self, n: u32, key: &str, commits: bool) -> Message {
        let message = Message::json("order.placed", 1, &n).expect("a message");
        let mut tx = self.pool.begin().await.expect("a transaction");
        sqlx::query("INSERT INTO orders (n) VALUES (?)").bind(n).execute(&mut *tx).await.expect("a row");
        outbox::add(&mut tx, "shop", key, &message).await.expect("a row");
        if commits {
            tx.commit().await.expect("committed");
        }
        message
    }

    fn relay_over(&self, broker: Arc<dyn Broker>) -> outbox::Relay {
        outbox::Relay::new(self.pool.clone(), Publisher::new(broker))
    }

    async fn orders(&self) -> i64 {
        sqlx::query_scalar("SELECT count(*) FROM orders").fetch_one(&self.pool).await.expect("a number")
    }

    async fn mail(&self) -> u64 {
        let queues = self.broker.queues().await.expect("queues");
        queues.iter().map(|queue| queue.ready + queue.unsettled + queue.delayed).sum()
    }

    /// The numbers of the next messages in the queue, with their IDs.
    async fn receive(&self, count: usize) -> Vec<(u32, String)> {
        let mut deliveries = self.broker.consume("mail", 1).await.expect("a consumer");
        let mut got = Vec::new();
        for _ in 0..count {
            let next =
                tokio::time::timeout(SOON, deliveries.next()).await.expect("in time").expect("a message");
            got.push((next.message.decode().expect("a number"), next.message.id.clone()));
            next.ack().await.expect("ack");
        }
        got
    }
}

#[tokio::test]
async fn the_change_and_its_message_are_there_together_or_not_at_all() {
    let service = Service::new().await;
    service.place(1, "order.placed", false).await;
    assert_eq!((service.orders().await, outbox::waiting(&service.pool).await.expect("a number")), (0, 0));
    let sent = service.place(2, "order.placed", true).await;
    assert_eq!((service.orders().await, outbox::waiting(&service.pool).await.expect("a number")), (1, 1));
    let relay = service.relay_over(Arc::clone(&service.broker));
    relay.send_due().await.expect("sent");
    relay.send_due().await.expect("nothing to send");
    assert_eq!(outbox::waiting(&service.pool).await.expect("a number"), 0);
    assert_eq!((service.mail().await, service.receive(1).await), (1, vec![(2, sent.id)]));
}

#[tokio::test]
async fn a_message_is_sent_as_it_was_written_and_in_order() {
    let service = Service::new().await;
    let mut written = Vec::new();
    for n in 0..150 {
        written.push((n, service.place(n, "order.placed", true).await.id));
    }
    let relay = service.relay_over(Arc::clone(&service.broker));
    let (waker, stop) = (relay.waker(), CancellationToken::new());
    let running = tokio::spawn(relay.run(stop.clone()));
    assert_eq!(service.receive(150).await, written, "more than it reads at once");
    let mut message = Message::json("order.placed", 4, &7).expect("a message");
    message.causation_id = Some("earlier".into());
    message.headers.insert("k".into(), "v".into());
    let mut tx = service.pool.begin().await.expect("a transaction");
    outbox::add(&mut tx, "shop", "order.paid", &message).await.expect("a row");
    outbox::add(&mut tx, "shop", "order.paid", &message).await.expect("the same ID again is nothing");
    tx.commit().await.expect("committed");
    waker.wake();
    let mut deliveries = service.broker.consume("mail", 1).await.expect("a consumer");
    let got = tokio::time::timeout(SOON, deliveries.next()).await.expect("in time").expect("a message");
    let received = &got.message;
    assert_eq!((received.version, &received.causation_id), (4, &message.causation_id));
    assert_eq!((&received.correlation_id, &received.id), (&message.correlation_id, &message.id));
    assert_eq!((received.headers["k"].as_str(), got.routing_key.as_str()), ("v", "order.paid"));
    got.ack().await.expect("ack");
    stop.cancel();
    tokio::time::timeout(SOON, running).await.expect("in time").expect("ends well");
    assert_eq!(service.mail().await, 0, "sent once");
}

/// A broker that is away for a while, or whose confirm never arrives: the sender crashes between publish and mark.
struct Shaky {
    broker: Arc<dyn Broker>,
    /// Publishes that are to fail before they are done.
    away: AtomicU32,
    /// Publishes that are done and not confirmed.
    unconfirmed: AtomicU32,
}

fn takes_one(counter: &AtomicU32) -> bool {
    counter.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok()
}

impl Broker for Shaky {
    fn system(&self) -> &'static str {
        self.broker.system()
    }

    fn declare_exchange<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<(), BrokerError>> {
        self.broker.declare_exchange(name)
    }

    fn declare_queue<'a>(&'a self, spec: &'a QueueSpec) -> BoxFuture<'a, Result<(), BrokerError>> {
        self.broker.declare_queue(spec)
    }

    fn bind<'a>(
        &'a self,
        exchange: &'a str,
        pattern: &'a str,
        queue: &'a str,
    ) -> BoxFuture<'a, Result<(), BrokerError>> {
        self.broker.bind(exchange, pattern, queue)
    }

    fn publish<'a>(
        &'a self,
        exchange: &'a str,
        routing_key: &'a str,
        message: &'a Message,
    ) -> BoxFuture<'a, Result<(), BrokerError>> {
        Box::pin(async move {
            if takes_one(&self.away) {
                return Err(BrokerError::Unavailable("away".into()));
            }
            self.broker.publish(exchange, routing_key, message).await?;
            if takes_one(&self.unconfirmed) {
                return Err(BrokerError::Unavailable("no confirm".into()));
            }
            Ok(())
        })
    }

    fn consume<'a>(
        &'a self,
        queue: &'a str,
        prefetch: usize,
    ) -> BoxFuture<'a, Result<Box<dyn Deliveries>, BrokerError>> {
        self.broker.consume(queue, prefetch)
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        self.broker.close()
    }

    fn queues(&self) -> BoxFuture<'_, Result<Vec<QueueStats>, BrokerError>> {
        self.broker.queues()
    }
}

#[tokio::test]
async fn an_outage_is_waited_out_and_a_crash_before_the_mark_sends_again_under_the_same_id() {
    let service = Service::new().await;
    let shaky = Shaky {
        broker: Arc::clone(&service.broker),
        away: AtomicU32::new(2),
        unconfirmed: AtomicU32::new(1),
    };
    let sent = service.place(1, "order.placed", true).await;
    let relay = service.relay_over(Arc::new(shaky));
    let stop = CancellationToken::new();
    let running = tokio::spawn(relay.run(stop.clone()));
    let got = service.receive(2).await;
    assert_eq!(got, vec![(1, sent.id.clone()), (1, sent.id)], "twice, and told apart by nothing");
    stop.cancel();
    tokio::time::timeout(SOON, running).await.expect("in time").expect("ends well");
    assert_eq!(outbox::waiting(&service.pool).await.expect("a number"), 0);

    // The other side counts it once.
    let pool = Service::open(&service.dir).await;
    let mut firsts = 0;
    for (_, id) in &got {
        let mut tx = pool.begin().await.expect("a transaction");
        firsts += u32::from(inbox::is_first(&mut tx, "mail", id).await.expect("noted"));
        tx.commit().await.expect("committed");
    }
    assert_eq!(firsts, 1);
}

#[tokio::test]
async fn what_the_broker_refuses_stays_with_the_reason_and_holds_up_nobody() {
    let service = Service::new().await;
    service.place(1, "nobody.wants.this", true).await;
    service.place(2, "order.placed", true).await;
    let relay = service.relay_over(Arc::clone(&service.broker));
    relay.send_due().await.expect("looked at both");
    assert_eq!(service.receive(1).await[0].0, 2);
    let (refused, reason): (i64, String) = sqlx::query_as("SELECT refused, reason FROM outbox")
        .fetch_one(&service.pool)
        .await
        .expect("it is kept");
    assert_eq!(refused, 1);
    assert!(reason.contains("nobody.wants.this"), "{reason}");
    // It is not tried again at once; when it is, and somebody wants it, it goes.
    assert_eq!(relay.send_due().await.expect("nothing is due"), 0);
    service.broker.bind("shop", "nobody.#", "mail").await.expect("binding");
    sqlx::raw_sql("UPDATE outbox SET due_ms = 0").execute(&service.pool).await.expect("time passes");
    relay.send_due().await.expect("sent");
    assert_eq!(service.receive(1).await[0].0, 1);
    assert_eq!(outbox::waiting(&service.pool).await.expect("a number"), 0);
}

#[tokio::test]
async fn a_crash_before_the_commit_leaves_the_message_to_be_handled() {
    let service = Service::new().await;
    let note = async |consumer: &str, commits: bool| {
        let mut tx = service.pool.begin().await.expect("a transaction");
        let is_first = inbox::is_first(&mut tx, consumer, "m-1").await.expect("noted");
        if is_first {
            sqlx::query("INSERT INTO orders (n) VALUES (1)").execute(&mut *tx).await.expect("a row");
        }
        if commits {
            tx.commit().await.expect("committed");
        }
        is_first
    };
    assert!(note("mail", false).await, "the handler crashes after the effect and before the commit");
    assert_eq!(service.orders().await, 0, "so there is no effect");
    assert!(note("mail", true).await, "the next delivery is the first that counts");
    assert!(!note("mail", true).await, "and another is none");
    assert_eq!(service.orders().await, 1);
    assert!(note("audit", true).await, "each consumer counts for itself");
    assert_eq!(inbox::forget(&service.pool, Duration::from_secs(60)).await.expect("done"), 0);
    sqlx::raw_sql("UPDATE inbox SET handled_ms = 0").execute(&service.pool).await.expect("time passes");
    assert_eq!(inbox::forget(&service.pool, Duration::from_secs(60)).await.expect("done"), 2);
}

#[tokio::test]
async fn a_handler_that_runs_twice_sends_the_same_message_twice() {
    let again = || {
        let mut message = Message::json("payment.captured", 1, &1).expect("a message");
        message.causation_id = Some("m-1".into());
        message.once_per_cause()
    };
    assert_eq!(
        (again().id, again().id),
        ("m-1/payment.captured".to_owned(), "m-1/payment.captured".to_owned())
    );
    let root = || Message::json("order.placed", 1, &1).expect("a message").once_per_cause().id;
    assert_ne!(root(), root(), "without a cause each is a message of its own");
}
