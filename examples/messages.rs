//! Messages that are neither lost nor counted twice: an outbox on one side, an inbox on the other, versions between them, and a
//! dead letter that says what is wrong with it.
//!
//! ```text
//! cargo run --example messages --no-default-features --features comms
//! cargo run --example messages --no-default-features --features comms -- amqp://guest:guest@127.0.0.1:5672/%2F
//! ```
//!
//! Without an address the broker is a file in a temporary folder. What it prints is the same on both.

use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use serde_json::json;
use sqlx::sqlite::{SqliteConnectOptions, SqlitePool};
use throughline::comms::queue::rabbitmq::Settings;
use throughline::comms::queue::{
    Broker, Consumer, Contracts, EmbeddedBroker, Failure, Message, Publisher, QueueSpec, RabbitMqBroker,
    Received, inbox, outbox,
};
use tokio_util::sync::CancellationToken;

const EXCHANGE: &str = "example.payments";
const QUEUE: &str = "example.ledger";
const DEAD: &str = "example.ledger.dead";

/// A payment in its newest shape. The older one had cents alone.
#[derive(Deserialize)]
struct Paid {
    cents: u64,
    currency: String,
}

/// What the ledger takes, and how version 1 becomes version 2.
fn contracts() -> anyhow::Result<Contracts> {
    let cents = json!({ "type": "integer", "minimum": 1 });
    let first = json!({ "type": "object", "required": ["cents"], "properties": { "cents": cents } });
    let second = json!({
        "type": "object",
        "required": ["cents", "currency"],
        "properties": { "cents": cents, "currency": { "enum": ["EUR", "USD"] } },
    });
    Contracts::default().first("payment.made", 1, &first)?.next("payment.made", 2, &second, |mut old| {
        old["currency"] = "EUR".into();
        Ok(old)
    })
}

/// A service's own database.
async fn database(folder: &std::path::Path, name: &str) -> anyhow::Result<SqlitePool> {
    let options = SqliteConnectOptions::new().filename(folder.join(name)).create_if_missing(true);
    let pool = SqlitePool::connect_with(options).await?;
    outbox::prepare(&pool).await?;
    inbox::prepare(&pool).await?;
    sqlx::raw_sql("CREATE TABLE entry (what TEXT NOT NULL, cents INTEGER NOT NULL)").execute(&pool).await?;
    Ok(pool)
}

/// Notes a payment and what tells of it, both or neither.
async fn pay(pool: &SqlitePool, cents: i64, message: &Message) -> anyhow::Result<()> {
    let mut change = pool.begin().await?;
    sqlx::query("INSERT INTO entry VALUES ('paid', ?)").bind(cents).execute(&mut *change).await?;
    outbox::add(&mut change, EXCHANGE, "payment.made", message).await?;
    change.commit().await?;
    Ok(())
}

/// Books a payment, once, however often its message comes.
async fn book(pool: &SqlitePool, received: &Received) -> Result<(), Failure> {
    let paid: Paid = received.message.decode().map_err(|e| Failure::permanent("malformed", e.to_string()))?;
    let booking = async {
        let mut change = pool.begin().await?;
        let is_first = inbox::is_first(&mut change, &received.queue, &received.message.id).await?;
        if is_first {
            let cents = i64::try_from(paid.cents).unwrap_or(i64::MAX);
            sqlx::query("INSERT INTO entry VALUES (?, ?)")
                .bind(&paid.currency)
                .bind(cents)
                .execute(&mut *change)
                .await?;
        }
        change.commit().await?;
        Ok::<_, sqlx::Error>(is_first)
    };
    let is_first = booking.await.map_err(|e| Failure::transient("database", e.to_string()))?;
    println!("booked {} {}: {}", paid.cents, paid.currency, if is_first { "new" } else { "was there" });
    Ok(())
}

async fn broker() -> anyhow::Result<(Arc<dyn Broker>, tempfile::TempDir)> {
    let folder = tempfile::tempdir()?;
    let broker: Arc<dyn Broker> = match std::env::args().nth(1) {
        Some(url) => Arc::new(RabbitMqBroker::connect(Settings::new(&url, "example")).await?),
        None => {
            let file = format!("sqlite://{}", folder.path().join("broker.db").display());
            Arc::new(EmbeddedBroker::open(&file).await?)
        }
    };
    broker.declare_exchange(EXCHANGE).await?;
    broker.declare_queue(&QueueSpec::durable(DEAD)).await?;
    broker.declare_queue(&QueueSpec::durable(QUEUE).dead_letters_to(DEAD)).await?;
    broker.bind(EXCHANGE, "payment.*", QUEUE).await?;
    Ok((broker, folder))
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let (broker, folder) = broker().await?;
    let (payments, ledger) =
        (database(folder.path(), "payments.db").await?, database(folder.path(), "ledger.db").await?);
    let stop = CancellationToken::new();

    // The sender: three payments, one of them told in the old shape and twice, and one that fits no version.
    let old = Message::json("payment.made", 1, &json!({ "cents": 250 }))?;
    pay(&payments, 250, &old).await?;
    pay(&payments, 990, &Message::json("payment.made", 2, &json!({ "cents": 990, "currency": "USD" }))?)
        .await?;
    pay(&payments, 0, &Message::json("payment.made", 2, &json!({ "cents": 0, "currency": "Taler" }))?)
        .await?;
    println!("{} messages wait in the outbox", outbox::waiting(&payments).await?);
    let publisher = Publisher::new(Arc::clone(&broker));
    let relay = outbox::Relay::new(payments.clone(), publisher.clone());
    while relay.send_due().await? > 0 {}
    // As after a crash between the confirm and the note of it.
    publisher.publish(EXCHANGE, "payment.made", old).await?;
    println!("{} messages wait in the outbox", outbox::waiting(&payments).await?);

    // The receiver.
    let (pool, booked) = (ledger.clone(), Arc::new(tokio::sync::Semaphore::new(0)));
    let done = Arc::clone(&booked);
    let guarded = contracts()?.guard(move |received: Received| {
        let (pool, done) = (pool.clone(), Arc::clone(&done));
        async move {
            book(&pool, &received).await?;
            done.add_permits(1);
            Ok(())
        }
    });
    let consuming =
        tokio::spawn(Consumer::new(Arc::clone(&broker), QUEUE).prefetch(1).run(stop.clone(), guarded));
    drop(booked.acquire_many(3).await?);
    let mut dead = broker.consume(DEAD, 1).await?;
    let letter = tokio::time::timeout(Duration::from_secs(30), dead.next()).await??;
    println!("dead letter: {}", letter.message.headers["x-death-reason"]);
    letter.ack().await?;
    let total: i64 = sqlx::query_scalar("SELECT sum(cents) FROM entry").fetch_one(&ledger).await?;
    println!("in the ledger: {total} cents");
    stop.cancel();
    consuming.await??;
    broker.close().await;
    Ok(())
}
