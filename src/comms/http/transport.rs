//! How a client uses its connections: which HTTP it speaks and how large bodies may be.

use std::time::Duration;

use reqwest::header::HeaderMap;

/// Connections to one other service. The default suits most.
///
/// Answers may come compressed with gzip: the client says so, and counts a body's bytes after it was decoded, so that
/// a small answer that becomes a huge one is refused like any other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transport {
    /// Speaks HTTP/2 from the first byte, over `http` too, because the service is known to. Without it HTTP/2 is agreed
    /// upon in the TLS handshake of `https`, and `http` is HTTP/1.1.
    pub http2_prior_knowledge: bool,
    /// Larger bodies of requests are not sent, in bytes; 8 MiB by default.
    pub max_request_body: usize,
    /// Larger bodies of answers are refused, in bytes after decoding; 8 MiB by default.
    pub max_answer_body: usize,
}

impl Default for Transport {
    fn default() -> Self {
        let limit = 8 * 1024 * 1024;
        Self { http2_prior_knowledge: false, max_request_body: limit, max_answer_body: limit }
    }
}

impl Transport {
    /// A client with these connections, kept open and shared.
    pub(super) fn client(&self, timeout: Duration, headers: HeaderMap) -> reqwest::Result<reqwest::Client> {
        let builder = reqwest::Client::builder()
            .timeout(timeout)
            .connect_timeout(timeout.min(Duration::from_secs(2)))
            .default_headers(headers)
            .user_agent(concat!("throughline/", env!("CARGO_PKG_VERSION")))
            .no_proxy();
        let builder = if self.http2_prior_knowledge { builder.http2_prior_knowledge() } else { builder };
        builder.build()
    }
}
