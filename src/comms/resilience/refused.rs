//! A call that was ended by what is to protect it, and not by the service that was called.

use std::sync::Arc;
use std::time::Duration;

use opentelemetry::trace::TraceContextExt as _;
use opentelemetry::{Context, KeyValue};
use tonic::{Code, Status};

use super::retry::Transient;
use crate::comms::breaker::{CountsAsFailure, Rejected};
use crate::comms::names;

/// Why a call was not made, or not waited for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// No answer within the time that there was.
    #[error("no answer within {0:?}")]
    TimedOut(Duration),
    /// The circuit breaker is open.
    #[error(transparent)]
    Rejected(#[from] Rejected),
    /// So many calls are on their way already that none ended within the wait.
    #[error("`{bulkhead}` has {at_once} calls on their way, and none ended within {waited:?}")]
    Full { bulkhead: Arc<str>, at_once: usize, waited: Duration },
    /// The caller makes more calls than it may.
    #[error("more calls than are allowed; the next one in {:.2} s", retry_after.as_secs_f64())]
    Limited { retry_after: Duration },
    /// Another caller asked for the same at the same time, and failed.
    #[error("asked together with another caller: {0}")]
    Together(Arc<str>),
}

impl Refused {
    /// Says so on the span at hand; a breaker has said so itself.
    pub(super) fn noted(self) -> Self {
        if !matches!(self, Self::Rejected(_) | Self::Together(_)) {
            let reason = vec![KeyValue::new(names::EVENT_REASON, self.to_string())];
            Context::map_current(|context| context.span().add_event(names::EVENT_REFUSED, reason));
        }
        self
    }
}

impl Transient for Refused {
    /// A try that took too long, and a place that may be free in a moment.
    fn is_transient(&self) -> bool {
        matches!(self, Self::TimedOut(_) | Self::Full { .. })
    }
}

impl CountsAsFailure for Refused {
    /// A timeout is the other side's; the rest never reached it.
    fn counts_as_failure(&self) -> bool {
        matches!(self, Self::TimedOut(_))
    }
}

impl From<Refused> for Status {
    fn from(refused: Refused) -> Self {
        let code = match refused {
            Refused::TimedOut(_) => Code::DeadlineExceeded,
            Refused::Rejected(_) | Refused::Together(_) => Code::Unavailable,
            Refused::Full { .. } | Refused::Limited { .. } => Code::ResourceExhausted,
        };
        Self::new(code, refused.to_string())
    }
}

impl Transient for tower::BoxError {
    /// What is inside decides; an error of an unknown type is taken to last.
    fn is_transient(&self) -> bool {
        use crate::comms::http::CallError;
        if let Some(refused) = self.downcast_ref::<Refused>() {
            return refused.is_transient();
        }
        if let Some(error) = self.downcast_ref::<CallError>() {
            return error.is_transient();
        }
        if let Some(error) = self.downcast_ref::<std::io::Error>() {
            return error.is_transient();
        }
        self.downcast_ref::<Status>().is_some_and(Transient::is_transient)
    }
}

impl Transient for std::io::Error {
    /// The connection was not made or was cut off.
    fn is_transient(&self) -> bool {
        use std::io::ErrorKind as Kind;
        let passing = [
            Kind::ConnectionRefused,
            Kind::ConnectionReset,
            Kind::ConnectionAborted,
            Kind::NotConnected,
            Kind::BrokenPipe,
            Kind::TimedOut,
            Kind::UnexpectedEof,
        ];
        passing.contains(&self.kind())
    }
}
