//! Which errors are the other side's failure: it was not reached, it took too long, it could not do its work.
//!
//! A refusal is none: a service that answers 404 or `NOT_FOUND` works.

use tonic::Code;

use crate::comms::http::{CallError, CallErrorKind};
use crate::comms::resilience::Refused;

/// Whether an error tells that the called service is in trouble.
pub trait CountsAsFailure {
    fn counts_as_failure(&self) -> bool;
}

impl CountsAsFailure for CallError {
    /// No connection, no answer in time, an answer cut off, a status of 500 or more. No status below, no answer
    /// of another shape than the caller reads, and none that names a breaker further down: the service works.
    fn counts_as_failure(&self) -> bool {
        match &self.kind {
            CallErrorKind::Connect | CallErrorKind::Timeout | CallErrorKind::Request => true,
            CallErrorKind::Status(status) => status.is_server_error() && self.turned_away_by.is_none(),
            CallErrorKind::Body | CallErrorKind::Invalid | CallErrorKind::Rejected => false,
        }
    }
}

impl CountsAsFailure for tonic::Status {
    fn counts_as_failure(&self) -> bool {
        self.code().counts_as_failure()
    }
}

impl CountsAsFailure for Code {
    /// The codes that gRPC's own HTTP mapping has as server errors, but for `UNIMPLEMENTED`: that is a caller's
    /// mistake, and does not pass.
    fn counts_as_failure(&self) -> bool {
        matches!(
            self,
            Code::Unknown | Code::DeadlineExceeded | Code::Internal | Code::Unavailable | Code::DataLoss
        )
    }
}

impl CountsAsFailure for std::io::Error {
    fn counts_as_failure(&self) -> bool {
        true
    }
}

impl CountsAsFailure for Box<dyn std::error::Error + Send + Sync> {
    /// What is inside decides; an error of an unknown type counts.
    fn counts_as_failure(&self) -> bool {
        if let Some(error) = self.downcast_ref::<CallError>() {
            return error.counts_as_failure();
        }
        if let Some(refused) = self.downcast_ref::<Refused>() {
            return refused.counts_as_failure();
        }
        self.downcast_ref::<tonic::Status>().is_none_or(CountsAsFailure::counts_as_failure)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_by_a_service_that_works_is_no_failure() {
        for fine in [
            Code::Ok,
            Code::NotFound,
            Code::InvalidArgument,
            Code::PermissionDenied,
            Code::ResourceExhausted,
            Code::Unimplemented,
            Code::Cancelled,
        ] {
            assert!(!fine.counts_as_failure(), "{fine:?}");
        }
        for bad in [Code::Unavailable, Code::DeadlineExceeded, Code::Internal, Code::Unknown, Code::DataLoss]
        {
            assert!(bad.counts_as_failure(), "{bad:?}");
        }
    }
}
