//! Declarations, and the way of a message from an exchange into every queue that wants it.

use std::collections::BTreeSet;

use sqlx::{Row as _, Sqlite, Transaction};

use super::{Inner, columns, unavailable};
use crate::comms::names;
use crate::comms::queue::broker::{self, BrokerError, QueueSpec};

use crate::comms::queue::message::Message;
use crate::comms::queue::topic;

pub(super) async fn declare_exchange(inner: &Inner, name: &str) -> Result<(), BrokerError> {
    broker::check_name("the name of the exchange", name)?;
    sqlx::query("INSERT INTO exchange (name) VALUES (?) ON CONFLICT DO NOTHING")
        .bind(name)
        .execute(&inner.durable)
        .await
        .map_err(unavailable)?;
    Ok(())
}

/// The last declaration's limits count.
pub(super) async fn declare_queue(inner: &Inner, spec: &QueueSpec) -> Result<(), BrokerError> {
    broker::check_name("the name of the queue", &spec.name)?;
    sqlx::query(
        "INSERT INTO queue (name, max_deliveries, dead_letter_queue, max_length) VALUES (?, ?, ?, ?)
         ON CONFLICT (name) DO UPDATE SET max_deliveries = excluded.max_deliveries,
             dead_letter_queue = excluded.dead_letter_queue, max_length = excluded.max_length",
    )
    .bind(&spec.name)
    .bind(spec.max_deliveries)
    .bind(&spec.dead_letter_queue)
    .bind(spec.max_length)
    .execute(&inner.durable)
    .await
    .map_err(unavailable)?;
    Ok(())
}

pub(super) async fn bind(
    inner: &Inner,
    exchange: &str,
    pattern: &str,
    queue: &str,
) -> Result<(), BrokerError> {
    broker::check_name("the pattern of the binding", pattern)?;
    let mut tx = inner.durable.begin_with("BEGIN IMMEDIATE").await.map_err(unavailable)?;
    if !exchange_exists(&mut tx, exchange).await? {
        return Err(BrokerError::NoExchange(exchange.to_owned()));
    }
    let queue_row = sqlx::query("SELECT 1 FROM queue WHERE name = ?").bind(queue);
    if queue_row.fetch_optional(&mut *tx).await.map_err(unavailable)?.is_none() {
        return Err(BrokerError::NoQueue(queue.to_owned()));
    }
    sqlx::query("INSERT INTO binding (exchange, pattern, queue) VALUES (?, ?, ?) ON CONFLICT DO NOTHING")
        .bind(exchange)
        .bind(pattern)
        .bind(queue)
        .execute(&mut *tx)
        .await
        .map_err(unavailable)?;
    tx.commit().await.map_err(unavailable)
}

async fn exchange_exists(tx: &mut Transaction<'_, Sqlite>, name: &str) -> Result<bool, BrokerError> {
    let row = sqlx::query("SELECT 1 FROM exchange WHERE name = ?").bind(name);
    Ok(row.fetch_optional(&mut **tx).await.map_err(unavailable)?.is_some())
}

pub(super) async fn publish(
    inner: &Inner,
    exchange: &str,
    routing_key: &str,
    message: &Message,
) -> Result<(), BrokerError> {
    broker::check(exchange, routing_key, message)?;
    let mut tx = inner.durable.begin_with("BEGIN IMMEDIATE").await.map_err(unavailable)?;
    let queues = route(&mut tx, exchange, routing_key).await?;
    // A tap takes messages besides others, and nobody works on what it takes.
    if queues.iter().all(|queue| queue == names::QUEUE_TAP) {
        return Err(BrokerError::Unroutable {
            exchange: exchange.to_owned(),
            routing_key: routing_key.to_owned(),
        });
    }
    for queue in &queues {
        insert(&mut tx, queue, exchange, routing_key, message).await?;
        make_room(&mut tx, queue).await?;
    }
    tx.commit().await.map_err(unavailable)
}

/// The queues whose bindings match, each once.
async fn route(
    tx: &mut Transaction<'_, Sqlite>,
    exchange: &str,
    routing_key: &str,
) -> Result<BTreeSet<String>, BrokerError> {
    if !exchange_exists(tx, exchange).await? {
        return Err(BrokerError::NoExchange(exchange.to_owned()));
    }
    let rows = sqlx::query("SELECT pattern, queue FROM binding WHERE exchange = ?")
        .bind(exchange)
        .fetch_all(&mut **tx)
        .await
        .map_err(unavailable)?;
    let matching = rows.iter().filter(|row| topic::matches(&row.get::<String, _>("pattern"), routing_key));
    Ok(matching.map(|row| row.get("queue")).collect())
}

async fn insert(
    tx: &mut Transaction<'_, Sqlite>,
    queue: &str,
    exchange: &str,
    routing_key: &str,
    message: &Message,
) -> Result<(), BrokerError> {
    let headers = serde_json::to_string(&message.headers).map_err(unavailable)?;
    let insert = sqlx::query(
        "INSERT INTO message (queue, exchange, routing_key, message_id, type, version, time_ms,
             correlation_id, causation_id, content_type, headers, body)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
    )
    .bind(queue)
    .bind(exchange)
    .bind(routing_key);
    columns::bind(insert, message, headers).execute(&mut **tx).await.map_err(unavailable)?;
    Ok(())
}

/// Removes the oldest messages above the queue's limit, if it has one.
pub(super) async fn make_room(tx: &mut Transaction<'_, Sqlite>, queue: &str) -> Result<(), BrokerError> {
    let limit: Option<i64> = sqlx::query_scalar("SELECT max_length FROM queue WHERE name = ?")
        .bind(queue)
        .fetch_one(&mut **tx)
        .await
        .map_err(unavailable)?;
    let Some(limit) = limit else { return Ok(()) };
    sqlx::query(
        "DELETE FROM message WHERE queue = ?1 AND seq <= (
             SELECT seq FROM message WHERE queue = ?1 ORDER BY seq DESC LIMIT 1 OFFSET ?2)",
    )
    .bind(queue)
    .bind(limit)
    .execute(&mut **tx)
    .await
    .map_err(unavailable)?;
    Ok(())
}
