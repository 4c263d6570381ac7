//! How many requests each client may make, and how it is told.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::extract::ConnectInfo;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

use crate::comms::http::Problem;
use crate::comms::resilience::{RateLimit, Refused};
use crate::comms::security::Principal;

/// A client's name is not kept longer than this, in characters.
const LONGEST: usize = 128;

type Key = dyn Fn(&Parts, Option<&Principal>) -> String + Send + Sync;

/// So many requests a second of each client.
#[derive(Clone)]
pub struct ClientLimit {
    limit: RateLimit<String>,
    policy: HeaderValue,
    window: u64,
    key: Arc<Key>,
}

impl ClientLimit {
    /// `per_second`, and `burst` at once after a pause. Clients are told apart by who they are, or else by their address.
    pub fn new(per_second: u32, burst: u32) -> Self {
        let (per_second, burst) = (per_second.max(1), burst.max(1));
        let window = u64::from(burst.div_ceil(per_second));
        let policy = HeaderValue::try_from(format!(r#""client";q={burst};w={window}"#));
        Self {
            limit: RateLimit::of_each(per_second, burst),
            policy: policy.unwrap_or_else(|_| HeaderValue::from_static(r#""client""#)),
            window,
            key: Arc::new(name_or_address),
        }
    }

    /// Another way to tell clients apart.
    pub fn by(self, key: impl Fn(&Parts, Option<&Principal>) -> String + Send + Sync + 'static) -> Self {
        Self { key: Arc::new(key), ..self }
    }

    /// Counts a request; gives how many more its client may make at once.
    pub(super) fn take(&self, parts: &Parts, caller: Option<&Principal>) -> Result<u32, Problem> {
        let key: String = (self.key)(parts, caller).chars().take(LONGEST).collect();
        // Counted by who asks, with the route.
        self.limit.try_take(&key).map_err(|refused| {
            let problem = Problem::new(StatusCode::TOO_MANY_REQUESTS, refused.to_string());
            let Refused::Limited { retry_after } = refused else { return problem };
            let wait = u64::try_from(retry_after.as_millis().div_ceil(1000)).unwrap_or(u64::MAX);
            let mut headers = HeaderMap::new();
            self.tell(&mut headers, 0, wait);
            let told = headers.into_iter().filter_map(|(name, value)| Some((name?, value)));
            told.fold(problem.retry_after(retry_after), |problem, (name, value)| problem.header(name, value))
        })
    }

    /// The headers of "RateLimit header fields for HTTP" (draft-ietf-httpapi-ratelimit-headers-10): how many are left, and
    /// in how many seconds there are all of them again.
    pub(super) fn tell(&self, headers: &mut HeaderMap, left: u32, after: u64) {
        headers.insert(HeaderName::from_static("ratelimit-policy"), self.policy.clone());
        if let Ok(value) = HeaderValue::try_from(format!(r#""client";r={left};t={after}"#)) {
            headers.insert(HeaderName::from_static("ratelimit"), value);
        }
    }

    pub(super) fn window(&self) -> u64 {
        self.window
    }
}

fn name_or_address(parts: &Parts, caller: Option<&Principal>) -> String {
    match caller {
        Some(caller) => format!("@{}", caller.subject),
        None => {
            let info = parts.extensions.get::<ConnectInfo<SocketAddr>>();
            info.map_or_else(String::new, |info| info.0.ip().to_string())
        }
    }
}
