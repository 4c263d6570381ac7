//! Why there is no answer of an upstream, and what a client is told of it.

use std::sync::Arc;
use std::time::Duration;

use axum::http::{StatusCode, header};
use axum::response::Response;

use crate::comms::breaker::{CountsAsFailure, Rejected};
use crate::comms::http::Problem;
use crate::comms::names;
use crate::comms::resilience::{Refused, Transient};

/// A request that an upstream did not answer, or answered that it cannot.
#[derive(Debug)]
pub(super) enum Failure {
    /// No connection.
    Connect,
    /// No answer in time.
    TimedOut,
    /// The connection broke, or what came is no HTTP.
    CutOff(String),
    /// The request's body is longer than it may be, in bytes.
    TooLarge(usize),
    /// The request cannot be written.
    Unwritable(String),
    /// The breaker is open.
    Rejected(Rejected),
    /// Somebody asked for the same at the same time, and failed.
    Together(Arc<str>),
    /// It answered that it cannot: 5xx.
    Answer(Box<Response>),
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Connect => f.write_str("it cannot be reached"),
            Self::TimedOut => f.write_str("it gave no answer in time"),
            Self::CutOff(why) => write!(f, "its answer was cut off: {why}"),
            Self::TooLarge(most) => write!(f, "the body is longer than {most} bytes"),
            Self::Unwritable(why) => write!(f, "the request cannot be passed on: {why}"),
            Self::Rejected(rejected) => write!(f, "{rejected}"),
            Self::Together(why) => f.write_str(why),
            Self::Answer(response) => write!(f, "it answered {}", response.status().as_u16()),
        }
    }
}

impl From<Refused> for Failure {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Rejected(rejected) => Self::Rejected(rejected),
            Refused::TimedOut(_) => Self::TimedOut,
            Refused::Together(why) => Self::Together(why),
            other => Self::Together(other.to_string().into()),
        }
    }
}

/// Whether an answer says that another breaker, further down, is open: who gave it is well.
fn turned_away(response: &Response) -> bool {
    response.headers().contains_key(names::X_CIRCUIT_BREAKER)
}

impl Transient for Failure {
    fn is_transient(&self) -> bool {
        match self {
            Self::Connect | Self::TimedOut | Self::CutOff(_) => true,
            Self::Answer(response) => {
                matches!(response.status().as_u16(), 502..=504) && !turned_away(response)
            }
            Self::TooLarge(_) | Self::Unwritable(_) | Self::Rejected(_) | Self::Together(_) => false,
        }
    }

    fn retry_after(&self) -> Option<Duration> {
        let Self::Answer(response) = self else { return None };
        let seconds = response.headers().get(header::RETRY_AFTER)?.to_str().ok()?.parse().ok()?;
        Some(Duration::from_secs(seconds))
    }
}

impl CountsAsFailure for Failure {
    fn counts_as_failure(&self) -> bool {
        match self {
            Self::Connect | Self::TimedOut | Self::CutOff(_) => true,
            Self::Answer(response) => !turned_away(response),
            Self::TooLarge(_) | Self::Unwritable(_) | Self::Rejected(_) | Self::Together(_) => false,
        }
    }
}

impl Failure {
    /// The value of `error.type`.
    pub fn error_type(&self) -> String {
        match self {
            Self::Connect => "connect".into(),
            Self::TimedOut => "timeout".into(),
            Self::CutOff(_) => "request".into(),
            Self::TooLarge(_) => "too_large".into(),
            Self::Unwritable(_) => "invalid".into(),
            Self::Rejected(_) => names::ERROR_BREAKER_OPEN.into(),
            Self::Together(_) => "together".into(),
            Self::Answer(response) => response.status().as_u16().to_string(),
        }
    }

    /// What is counted where the request is at fault.
    pub fn reason(&self) -> Option<&'static str> {
        match self {
            Self::TooLarge(_) => Some("body_too_large"),
            _ => None,
        }
    }

    /// What a client is told, which is nothing of the inside but the upstream's name.
    pub fn problem(&self, upstream: &str) -> Problem {
        match self {
            Self::TimedOut => {
                Problem::new(StatusCode::GATEWAY_TIMEOUT, format!("{upstream} gave no answer in time"))
            }
            Self::Connect => Problem::new(StatusCode::BAD_GATEWAY, format!("{upstream} cannot be reached")),
            Self::CutOff(_) | Self::Together(_) => {
                Problem::new(StatusCode::BAD_GATEWAY, format!("{upstream} gave no usable answer"))
            }
            Self::TooLarge(_) => Problem::new(StatusCode::PAYLOAD_TOO_LARGE, self.to_string()),
            Self::Unwritable(_) => Problem::new(StatusCode::BAD_REQUEST, self.to_string()),
            Self::Rejected(rejected) => {
                let detail = format!("{upstream} is not available right now");
                let problem =
                    Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail).breaker(&rejected.breaker);
                match rejected.retry_after {
                    Some(wait) => problem.retry_after(wait),
                    None => problem,
                }
            }
            Self::Answer(response) => {
                Problem::new(response.status(), format!("{upstream} cannot answer at the moment"))
            }
        }
    }
}
