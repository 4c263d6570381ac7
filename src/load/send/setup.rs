//! What can be wrong before the load begins, each in a line that says what to do.

use super::{Failure, Kind, Protocol, Target};

/// Why no load was put on the receiver.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    #[error("--endpoint {endpoint:?} is no address: {why}; write it like {example}")]
    Endpoint { endpoint: String, why: String, example: &'static str },
    #[error("--header {name:?} cannot be sent: {why}")]
    Header { name: String, why: String },
    #[error(
        "nothing listens on {endpoint} ({why}): start a receiver with `throughline dashboard`, or name another with \
         --endpoint"
    )]
    Unreachable { endpoint: String, why: String },
    #[error(
        "what listens on {endpoint} does not speak OTLP over {spoken} ({why}): check --endpoint, or try \
         --protocol {other}"
    )]
    Foreign { endpoint: String, spoken: &'static str, other: &'static str, why: String },
    #[error(
        "{endpoint} lets nobody in without a key ({why}): give it with --header 'authorization=Bearer KEY'"
    )]
    Denied { endpoint: String, why: String },
    #[error("{endpoint} refuses traces: {why}")]
    Refused { endpoint: String, why: String },
    #[error("the HTTP client cannot be made: {0}")]
    Client(#[source] reqwest::Error),
}

impl SetupError {
    /// The endpoint is not one.
    pub(super) fn endpoint(target: &Target, why: impl ToString) -> Self {
        let example = match target.protocol {
            Protocol::Grpc => "http://127.0.0.1:4317",
            Protocol::Http => "http://127.0.0.1:4318",
        };
        Self::Endpoint { endpoint: target.endpoint.clone(), why: why.to_string(), example }
    }

    /// Reads the answer to the first request; `None` where a load can begin all the same.
    pub(super) fn of(target: &Target, failure: Failure) -> Option<Self> {
        let (endpoint, why) = (target.endpoint.clone(), failure.reason);
        match failure.kind {
            // A receiver that is busy is one.
            Kind::Passing => None,
            Kind::Unreachable => Some(Self::Unreachable { endpoint, why }),
            Kind::Denied => Some(Self::Denied { endpoint, why }),
            Kind::Lasting => Some(Self::Refused { endpoint, why }),
            Kind::Foreign | Kind::Broken => {
                let (spoken, other) = match target.protocol {
                    Protocol::Grpc => ("gRPC", "http"),
                    Protocol::Http => ("HTTP", "grpc"),
                };
                Some(Self::Foreign { endpoint, spoken, other, why })
            }
        }
    }
}
