//! What holds for every request and every answer: the Host check against DNS rebinding, the refusal of forms
//! from other sites, the security headers, and error pages drawn in the frame.

use std::net::IpAddr;

use askama::Template;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::frame::{Frame, Nav};
use super::visit::Visit;
use super::{PageState, error::PageError, html};

/// No inline script, no inline style, nothing from elsewhere.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
    connect-src 'self'; font-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

/// Refuses foreign hosts and forms from other sites before anything else happens.
pub async fn admit(State(state): State<PageState>, request: Request, next: Next) -> Response {
    if !host_is_ours(request.headers(), request.uri().host(), &state.settings.hosts) {
        return PageError::Host.into_response();
    }
    if !matches!(*request.method(), Method::GET | Method::HEAD) && !same_site(request.headers()) {
        return PageError::CrossSite.into_response();
    }
    next.run(request).await
}

/// Whether the request names us: a loopback name or address, or a configured host (name with or without port).
fn host_is_ours(headers: &HeaderMap, authority: Option<&str>, allowed: &[String]) -> bool {
    let Some(host) = headers.get(header::HOST).and_then(|host| host.to_str().ok()).or(authority) else {
        return false;
    };
    let name = without_port(host);
    let loopback = name
        .trim_start_matches('[')
        .trim_end_matches(']')
        .parse::<IpAddr>()
        .map_or_else(|_| name.eq_ignore_ascii_case("localhost"), |address| address.is_loopback());
    loopback || allowed.iter().any(|one| one.eq_ignore_ascii_case(name) || one.eq_ignore_ascii_case(host))
}

/// `host` without `:port`; an IPv6 address keeps its brackets.
fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) && !name.ends_with(':') => name,
        _ => host,
    }
}

/// Whether a request that changes something comes from our own page, or from no browser at all.
/// Browsers send Sec-Fetch-Site (Fetch Metadata) or at least Origin with every such request.
fn same_site(headers: &HeaderMap) -> bool {
    if let Some(site) = headers.get("sec-fetch-site") {
        return site == "same-origin" || site == "none";
    }
    let Some(origin) = headers.get(header::ORIGIN) else { return true };
    let origin = origin.to_str().ok().and_then(|origin| origin.split_once("://")).map(|(_, host)| host);
    origin.is_some() && origin == headers.get(header::HOST).and_then(|host| host.to_str().ok())
}

/// Sets the security headers on every answer, and keeps pages out of shared caches.
pub async fn headers(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    for (name, value) in [
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "same-origin"),
        (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}

/// The page of an error.
#[derive(Template)]
#[template(path = "error.html")]
struct ErrorPage {
    frame: Frame,
    error: PageError,
}

fn is_for_programs(path: &str) -> bool {
    path.starts_with("/api/")
}

/// Draws an answer that carries a [`PageError`], or that axum made itself, as a page, or as JSON for programs.
pub async fn draw_errors(State(state): State<PageState>, request: Request, next: Next) -> Response {
    let (headers, uri) = (request.headers().clone(), request.uri().clone());
    let mut response = next.run(request).await;
    let error = match response.extensions_mut().remove::<PageError>() {
        Some(error) => error,
        None => match response.status() {
            StatusCode::METHOD_NOT_ALLOWED => PageError::Method,
            StatusCode::BAD_REQUEST => PageError::bad("The address is not valid UTF-8."),
            StatusCode::INTERNAL_SERVER_ERROR => PageError::Internal,
            _ => return response,
        },
    };
    if error.status().is_server_error() {
        tracing::error!(path = uri.path(), error = %error, "page not shown");
    }
    let status = error.status();
    let allow = response.headers_mut().remove(header::ALLOW);
    let mut page = if is_for_programs(uri.path()) {
        error.for_programs()
    } else {
        let Ok(visit) = Visit::read(&headers, &uri, &state, false) else { return response };
        let frame = visit.frame(Nav::Other, error.title());
        match html::page(&ErrorPage { frame, error }) {
            Ok(page) => (status, page).into_response(),
            Err(_) => return response,
        }
    };
    if let Some(allow) = allow {
        page.headers_mut().insert(header::ALLOW, allow);
    }
    if status == StatusCode::SERVICE_UNAVAILABLE {
        page.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
    }
    page
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (HeaderName::from_static(name), value.parse().unwrap())).collect()
    }

    #[test]
    fn only_loopback_and_configured_hosts_are_answered() {
        let allowed = ["traces.example.com".to_owned()];
        for (host, ours) in [
            ("localhost", true),
            ("LOCALHOST:7070", true),
            ("127.0.0.1:7070", true),
            ("127.9.9.9", true),
            ("[::1]:7070", true),
            ("traces.example.com", true),
            ("traces.example.com:443", true),
            ("evil.example.com", false),
            ("127.0.0.1.evil.example.com", false),
            ("localhost.evil.example.com", false),
            ("10.0.0.1:7070", false),
            ("", false),
        ] {
            assert_eq!(host_is_ours(&with(&[("host", host)]), None, &allowed), ours, "{host}");
        }
        assert!(!host_is_ours(&HeaderMap::new(), None, &allowed));
    }

    #[test]
    fn forms_from_other_sites_are_refused() {
        for (headers, ours) in [
            (with(&[]), true),
            (with(&[("sec-fetch-site", "same-origin")]), true),
            (with(&[("sec-fetch-site", "cross-site")]), false),
            (with(&[("sec-fetch-site", "same-site")]), false),
            (with(&[("origin", "http://localhost:7070"), ("host", "localhost:7070")]), true),
            (with(&[("origin", "http://evil.example.com"), ("host", "localhost:7070")]), false),
            (with(&[("origin", "null"), ("host", "localhost:7070")]), false),
        ] {
            assert_eq!(same_site(&headers), ours, "{headers:?}");
        }
    }
}
