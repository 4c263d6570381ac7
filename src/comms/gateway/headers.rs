//! Which headers go on and which end here.

use std::net::SocketAddr;

use axum::http::{HeaderMap, HeaderName, HeaderValue, header};

use crate::comms::names;

/// For one connection alone, whatever `Connection` says: RFC 9110, section 7.6.1, and what was so before it.
const HOP_BY_HOP: [HeaderName; 8] = [
    header::CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    header::TE,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];

/// What a client may not say for the gateway: it says it itself, or the upstream would take the client for a service.
const OURS: [&str; 8] = [
    names::X_CORRELATION_ID,
    names::X_SERVICE_NAME,
    names::X_REQUEST_TIMEOUT_MS,
    names::X_CIRCUIT_BREAKER,
    names::TRACEPARENT,
    names::TRACESTATE,
    names::BAGGAGE,
    "x-forwarded-host",
];

/// Takes out what is for one connection alone, and what `Connection` names.
pub(super) fn end_to_end(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| HeaderName::try_from(name.trim()).ok())
        .collect();
    for name in named.iter().chain(&HOP_BY_HOP) {
        headers.remove(name);
    }
    headers.remove(header::TRAILER);
}

/// A request's headers as the upstream is to get them.
pub(super) fn onward(from: &HeaderMap, peer: Option<SocketAddr>) -> HeaderMap {
    let mut headers = from.clone();
    end_to_end(&mut headers);
    for name in OURS {
        headers.remove(name);
    }
    // Made anew from the body, and by who has answered `100 Continue` already.
    headers.remove(header::CONTENT_LENGTH);
    headers.remove(header::EXPECT);
    if let Some(host) = headers.remove(header::HOST) {
        headers.insert("x-forwarded-host", host);
    }
    if let Some(peer) = peer {
        let before = from.get_all("x-forwarded-for").iter().filter_map(|value| value.to_str().ok());
        let ip = peer.ip().to_string();
        let all = before.chain([ip.as_str()]).collect::<Vec<_>>().join(", ");
        if let Ok(all) = HeaderValue::try_from(all) {
            headers.insert("x-forwarded-for", all);
        }
    }
    headers.append(header::VIA, HeaderValue::from_static("1.1 throughline"));
    headers
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_for_one_connection_ends_here_and_so_does_what_a_client_says_for_us() {
        let mut from = HeaderMap::new();
        for (name, value) in [
            ("connection", "close, X-Hop"),
            ("connection", "x-other"),
            ("x-hop", "1"),
            ("x-other", "1"),
            ("keep-alive", "timeout=5"),
            ("te", "trailers"),
            ("transfer-encoding", "chunked"),
            ("upgrade", "websocket"),
            ("proxy-authorization", "Basic x"),
            ("x-service-name", "orders"),
            ("x-circuit-breaker", "none"),
            ("host", "shop.example"),
            ("content-length", "3"),
            ("x-forwarded-for", "192.0.2.1"),
            ("accept", "text/plain"),
            ("authorization", "Bearer a"),
        ] {
            from.append(name, HeaderValue::from_static(value));
        }
        let to = onward(&from, Some(SocketAddr::from(([192, 0, 2, 7], 1))));
        let mut names: Vec<_> = to.keys().map(HeaderName::as_str).collect();
        names.sort_unstable();
        assert_eq!(names, ["accept", "authorization", "via", "x-forwarded-for", "x-forwarded-host"]);
        assert_eq!(to["x-forwarded-for"], "192.0.2.1, 192.0.2.7");
        assert_eq!(to["x-forwarded-host"], "shop.example");
    }
}
