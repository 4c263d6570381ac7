//! How a client of the toolkit calls: one set of settings for HTTP and gRPC.

use std::time::Duration;

use super::retry::Retry;
use crate::comms::breaker::BreakerConfig;

/// How calls to one other service are made. The default suits most; [`Policy::plain`] turns all of it off.
#[derive(Clone, Debug)]
pub struct Policy {
    /// For a whole call, its retries and the answer's body included; 5 s by default.
    pub timeout: Duration,
    /// Retries of calls that may be made twice; none where this is `None`.
    pub retry: Option<Retry>,
    /// The breaker; none where this is `None`. By default a call is slow that takes half the timeout.
    pub breaker: Option<BreakerConfig>,
}

impl Default for Policy {
    fn default() -> Self {
        Self::with_timeout(Duration::from_secs(5))
    }
}

impl Policy {
    /// The default with another timeout.
    pub fn with_timeout(timeout: Duration) -> Self {
        let breaker = BreakerConfig { slow_after: Some(timeout / 2), ..BreakerConfig::default() };
        Self { timeout, retry: Some(Retry::default()), breaker: Some(breaker) }
    }

    /// A timeout, and neither retries nor a breaker.
    pub fn plain(timeout: Duration) -> Self {
        Self { timeout, retry: None, breaker: None }
    }

    /// The same with this breaker.
    pub fn breaker(self, breaker: BreakerConfig) -> Self {
        Self { breaker: Some(breaker), ..self }
    }

    /// The same with these retries.
    pub fn retry(self, retry: Retry) -> Self {
        Self { retry: Some(retry), ..self }
    }
}
