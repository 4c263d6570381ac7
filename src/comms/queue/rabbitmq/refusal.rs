//! What RabbitMQ's errors mean: a no to what was asked, or the loss of the connection.

use std::fmt;

use lapin::protocol::{AMQPErrorKind, AMQPSoftError};
use lapin::{Error, ErrorKind};

use crate::comms::queue::broker::BrokerError;

/// Why something was not done.
#[derive(Debug)]
pub(super) enum Refusal {
    /// The connection or the channel is gone; the same may work on the next.
    Lost(Error),
    /// The same will not work again.
    Final(BrokerError),
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Lost(error) => error.fmt(f),
            Self::Final(error) => error.fmt(f),
        }
    }
}

impl From<BrokerError> for Refusal {
    fn from(error: BrokerError) -> Self {
        Self::Final(error)
    }
}

impl From<Refusal> for BrokerError {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Lost(error) => Self::Unavailable(error.into()),
            Refusal::Final(error) => error,
        }
    }
}

/// What the broker was asked about: what is missing when it answers that something is.
#[derive(Clone, Copy)]
pub(super) enum Asked<'a> {
    Exchange(&'a str),
    Queue(&'a str),
    Binding { exchange: &'a str, queue: &'a str },
}

/// Tells a no from a loss.
pub(super) fn of(error: Error, asked: Asked<'_>) -> Refusal {
    let ErrorKind::ProtocolError(told) = error.kind() else { return Refusal::Lost(error) };
    let text = told.get_message().to_string();
    let name = match asked {
        Asked::Exchange(name) | Asked::Queue(name) | Asked::Binding { queue: name, .. } => name.to_owned(),
    };
    Refusal::Final(match told.kind() {
        AMQPErrorKind::Soft(AMQPSoftError::NOTFOUND) => match asked {
            Asked::Exchange(name) => BrokerError::NoExchange(name.to_owned()),
            Asked::Binding { exchange, .. } if text.contains("no exchange") => {
                BrokerError::NoExchange(exchange.to_owned())
            }
            Asked::Queue(_) | Asked::Binding { .. } => BrokerError::NoQueue(name),
        },
        AMQPErrorKind::Soft(AMQPSoftError::PRECONDITIONFAILED) => {
            BrokerError::Conflict { name, reason: text }
        }
        AMQPErrorKind::Soft(_) => BrokerError::Denied(text),
        // The broker ends the connection, most often because it ends itself.
        AMQPErrorKind::Hard(_) => return Refusal::Lost(error),
    })
}
