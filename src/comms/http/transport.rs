//! How a client uses its connections: which HTTP it speaks and how large bodies may be.

use std::time::Duration;

use reqwest::header::HeaderMap;

use crate::comms::security::Tls;

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
    /// The service's own certificate and the authority that its peer's must be of, for `https`. Without it a peer's
    /// certificate must be of an authority that the system trusts, and none is shown.
    pub tls: Option<Tls>,
}

impl Default for Transport {
    fn default() -> Self {
        let limit = 8 * 1024 * 1024;
        Self { http2_prior_knowledge: false, max_request_body: limit, max_answer_body: limit, tls: None }
    }
}

impl Transport {
    /// A client with these connections, kept open and shared.
    pub(super) fn client(&self, timeout: Duration, headers: HeaderMap) -> anyhow::Result<reqwest::Client> {
        Ok(self.builder(timeout)?.timeout(timeout).default_headers(headers).build()?)
    }

    /// A client that passes on what it is given: bodies as they are coded, and answers that lead elsewhere. The timeout is
    /// that of each read, since a body may be on its way for long.
    pub(in crate::comms) fn forwarder(&self, timeout: Duration) -> anyhow::Result<reqwest::Client> {
        let redirect = reqwest::redirect::Policy::none();
        Ok(self.builder(timeout)?.read_timeout(timeout).no_gzip().redirect(redirect).build()?)
    }

    fn builder(&self, timeout: Duration) -> anyhow::Result<reqwest::ClientBuilder> {
        // The process may have installed a provider already; that one is kept.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let builder = reqwest::Client::builder()
            .connect_timeout(timeout.min(Duration::from_secs(2)))
            .user_agent(concat!("throughline/", env!("CARGO_PKG_VERSION")))
            .no_proxy();
        let builder = if self.http2_prior_knowledge { builder.http2_prior_knowledge() } else { builder };
        Ok(match &self.tls {
            Some(tls) => builder.tls_backend_preconfigured(tls.client_config()?),
            None => builder,
        })
    }
}
