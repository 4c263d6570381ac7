//! Connections and channels, and what their errors mean to a person.

use std::time::Duration;

use lapin::options::QueueDeclareOptions;
use lapin::protocol::{AMQPErrorKind, AMQPSoftError};
use lapin::types::FieldTable;
use lapin::{Channel, Connection, ConnectionProperties, Error, ErrorKind};

use super::super::Trouble;
use super::wire::short;
use crate::amqp::{self, Passing, Way};
use crate::dashboard::collect::address::RABBITMQ_CA;

/// How long a connection may take: a broker that hangs takes it and says nothing.
const ATTEMPT: Duration = Duration::from_secs(5);
const CLOSE: Duration = Duration::from_secs(2);
/// In seconds: a broker that hangs is noticed after two of them.
const HEARTBEAT: u16 = 10;
/// As what RabbitMQ's own list of connections shows us.
const NAME: &str = "throughline dashboard";

/// What the broker was asked about.
#[derive(Clone, Copy)]
pub(super) enum Asked<'a> {
    Queue(&'a str),
    Exchange(&'a str),
    Nothing,
}

/// Connects to a virtual host; `passing` is told of each message that is taken.
pub(super) async fn connect(
    name: &str,
    way: &Way,
    virtual_host: &str,
    passing: &Passing,
) -> Result<Connection, Trouble> {
    let way = way.with(|uri| {
        uri.vhost = virtual_host.to_owned();
        uri.query.heartbeat.get_or_insert(HEARTBEAT);
    });
    let (host, port) = (&way.uri().authority.host, way.uri().authority.port);
    let whom = format!("RabbitMQ “{name}” at {host}:{port} (--rabbitmq-amqp)");
    let properties = ConnectionProperties::default().with_connection_name(NAME.into());
    let connecting = way.connect(properties, passing.clone());
    let error = match tokio::time::timeout(ATTEMPT, connecting).await {
        Ok(Ok(connection)) => return Ok(connection),
        Ok(Err(error)) => error,
        Err(_) => return Err(Trouble::Away(format!("{whom} did not answer within 5 s"))),
    };
    Err(Trouble::Away(format!("{whom} {}", amqp::why_not(&error, way.uri(), RABBITMQ_CA))))
}

/// A new channel.
pub(super) async fn channel(connection: &Connection) -> Result<Channel, Trouble> {
    connection.create_channel().await.map_err(|error| trouble(&error, Asked::Nothing))
}

/// How many messages of a queue are ready, by a passive declare: it changes nothing.
pub(super) async fn ready(channel: &Channel, queue: &str) -> Result<u64, Trouble> {
    let passive = QueueDeclareOptions { passive: true, ..Default::default() };
    let declared = channel.queue_declare(short(queue), passive, FieldTable::default()).await;
    declared.map(|told| u64::from(told.message_count())).map_err(|error| trouble(&error, Asked::Queue(queue)))
}

/// Ends a connection in order; what is left unsettled goes back.
pub(super) async fn close(connection: Connection) {
    let closed = tokio::time::timeout(CLOSE, connection.close(200, "done".into())).await;
    if !matches!(closed, Ok(Ok(()))) {
        tracing::debug!("a connection to RabbitMQ was not closed in order");
    }
}

/// What an error says.
pub(super) fn trouble(error: &Error, asked: Asked<'_>) -> Trouble {
    let ErrorKind::ProtocolError(told) = error.kind() else {
        return Trouble::Away(format!("the connection to RabbitMQ was lost: {error}"));
    };
    match (told.kind(), asked) {
        (AMQPErrorKind::Soft(AMQPSoftError::NOTFOUND), Asked::Queue(queue)) => {
            Trouble::NoQueue(queue.to_owned())
        }
        (AMQPErrorKind::Soft(AMQPSoftError::NOTFOUND), Asked::Exchange(name)) => {
            Trouble::Refused(format!("there is no exchange “{name}”"))
        }
        (AMQPErrorKind::Soft(AMQPSoftError::ACCESSREFUSED), _) => Trouble::Refused(format!(
            "the user of --rabbitmq-amqp lacks a permission (redriving takes read on the queue and write on the exchange): {}",
            told.get_message()
        )),
        (AMQPErrorKind::Soft(_), _) => Trouble::Refused(format!("RabbitMQ refuses: {}", told.get_message())),
        (AMQPErrorKind::Hard(_), _) => {
            Trouble::Away(format!("RabbitMQ ended the connection: {}", told.get_message()))
        }
    }
}
