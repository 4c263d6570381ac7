//! What a failed call to another service tells: who, what, where, why, and under which correlation ID.

use std::fmt;
use std::time::Duration;

use reqwest::{Method, StatusCode};

use crate::comms::breaker::Rejected;
use crate::comms::correlation::CorrelationId;
use crate::comms::names;
use crate::comms::resilience::Transient;

/// Why a call failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CallErrorKind {
    /// No connection to the service.
    Connect,
    /// No answer within the client's timeout.
    Timeout,
    /// An answer with a status of 400 or more.
    Status(StatusCode),
    /// An answer that is too large or not of the expected type.
    Body,
    /// The request was cut off.
    Request,
    /// The request could not be made: its body or one of its headers cannot be written.
    Invalid,
    /// Not made: the circuit breaker is open. The source is a [`crate::comms::breaker::Rejected`].
    Rejected,
}

/// A call to another service that failed.
#[derive(Debug, thiserror::Error)]
pub struct CallError {
    pub kind: CallErrorKind,
    pub method: Method,
    /// Without user name, password and the secrets in its query.
    pub url: String,
    pub correlation_id: CorrelationId,
    /// The start of the answer's body, if there was one: at most 512 characters, no control characters.
    pub body_excerpt: String,
    /// How long to leave the service alone, where it or the breaker said so.
    pub retry_after: Option<Duration>,
    /// The breaker further down that turned the request away, where the answer names one (`x-circuit-breaker`): the
    /// service that answered is not in trouble itself.
    pub turned_away_by: Option<String>,
    #[source]
    pub source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl CallError {
    /// The answer's status, if there was an answer.
    pub fn status(&self) -> Option<StatusCode> {
        match self.kind {
            CallErrorKind::Status(status) => Some(status),
            _ => None,
        }
    }

    /// Whether the same call may succeed in a moment. Not so where a breaker is open: it stays so for a while.
    pub fn is_transient(&self) -> bool {
        match self.kind {
            CallErrorKind::Connect | CallErrorKind::Timeout => true,
            CallErrorKind::Status(status) => {
                matches!(status.as_u16(), 429 | 502 | 503 | 504) && self.turned_away_by.is_none()
            }
            CallErrorKind::Body
            | CallErrorKind::Request
            | CallErrorKind::Invalid
            | CallErrorKind::Rejected => false,
        }
    }

    /// The innermost reason, where the kind alone does not tell it.
    fn cause(&self) -> Option<&(dyn std::error::Error + 'static)> {
        let told =
            matches!(self.kind, CallErrorKind::Status(_) | CallErrorKind::Timeout | CallErrorKind::Rejected);
        let outer = self.source.as_deref().filter(|_| !told)?;
        let mut cause: &(dyn std::error::Error + 'static) = outer;
        while let Some(inner) = cause.source() {
            cause = inner;
        }
        Some(cause)
    }

    /// What the circuit breaker said, if it is why the call was not made.
    pub fn rejected(&self) -> Option<&Rejected> {
        self.source.as_ref()?.downcast_ref()
    }

    /// The value of `error.type` for it: low in cardinality.
    pub fn error_type(&self) -> String {
        match self.kind {
            CallErrorKind::Connect => "connect".into(),
            CallErrorKind::Timeout => "timeout".into(),
            CallErrorKind::Status(status) => status.as_u16().to_string(),
            CallErrorKind::Body => "body".into(),
            CallErrorKind::Request => "request".into(),
            CallErrorKind::Invalid => "invalid".into(),
            CallErrorKind::Rejected => names::ERROR_BREAKER_OPEN.into(),
        }
    }
}

impl Transient for CallError {
    fn is_transient(&self) -> bool {
        Self::is_transient(self)
    }

    fn retry_after(&self) -> Option<Duration> {
        self.retry_after
    }
}

impl fmt::Display for CallError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} ", self.method, self.url)?;
        match self.kind {
            CallErrorKind::Connect => f.write_str("found no connection")?,
            CallErrorKind::Timeout => f.write_str("got no answer in time")?,
            CallErrorKind::Status(status) => write!(f, "answered {}", status.as_u16())?,
            CallErrorKind::Body => f.write_str("answered with an unexpected body")?,
            CallErrorKind::Request => f.write_str("was cut off")?,
            CallErrorKind::Invalid => f.write_str("could not be written")?,
            CallErrorKind::Rejected => match self.rejected() {
                Some(rejected) => {
                    write!(f, "was not made: {rejected}")?;
                    if let Some(wait) = self.retry_after {
                        write!(f, ", which tries again in {:.1} s", wait.as_secs_f64())?;
                    }
                }
                None => f.write_str("was rejected by a circuit breaker")?,
            },
        }
        write!(f, " (correlation {})", self.correlation_id)?;
        if let Some(cause) = self.cause() {
            write!(f, ": {cause}")?;
        }
        if !self.body_excerpt.is_empty() {
            write!(f, ": {}", self.body_excerpt)?;
        }
        Ok(())
    }
}

/// The start of a body for an error message: lossy text without control characters.
pub(super) fn excerpt(body: &[u8]) -> String {
    String::from_utf8_lossy(&body[..body.len().min(2048)])
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .take(512)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn excerpts_are_short_and_on_one_line() {
        assert_eq!(excerpt(b"out\r\nof \x1b[31mstock\xff"), "out  of  [31mstock\u{fffd}");
        assert_eq!(excerpt("ü".repeat(5000).as_bytes()).chars().count(), 512);
    }
}
