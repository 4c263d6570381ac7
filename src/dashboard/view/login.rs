//! `/login` and `/logout`: a key opens a session in its role, a button ends it.
//!
//! The key is never shown again, neither on the page nor in the log.

use std::time::Duration;

use askama::Template;
use axum::Form;
use axum::extract::rejection::FormRejection;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri, header};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::{MethodRouter, get};
use serde::Deserialize;

use super::access;
use super::frame::{Frame, Nav};
use super::html::{PageResult, page};
use super::visit::Visit;
use super::{PageState, error::PageError, format};
use crate::dashboard::keys::Denied;
use crate::dashboard::keys::gate::LoginError;

/// Bytes of a login's form: a key and a path.
const MAX_FORM: usize = 16 << 10;
/// Longest name of a visitor, in characters.
const MAX_NAME: usize = 60;
/// Longest path that is followed after the login.
const MAX_NEXT: usize = 4 << 10;

/// The context of `login.html`.
#[derive(Template)]
#[template(path = "login.html")]
struct LoginPage {
    frame: Frame,
    /// Where the login leads.
    next: String,
    /// Why the page is shown again.
    trouble: Option<String>,
}

/// What the form sends.
#[derive(Deserialize)]
struct Given {
    key: String,
    /// What the audit calls the visitor; who knows the key may choose it.
    name: Option<String>,
    next: Option<String>,
}

/// The routes of `/login`.
pub fn routes() -> MethodRouter<PageState> {
    get(show).post(log_in).layer(DefaultBodyLimit::max(MAX_FORM))
}

async fn show(visit: Visit, headers: HeaderMap) -> PageResult {
    let next = inside(visit.params.get("next")).to_owned();
    if visit.session || !visit.state.gate.has_keys() {
        return Ok(Redirect::to(&next).into_response());
    }
    let from_elsewhere = headers.get("sec-fetch-site").is_some_and(|site| site == "cross-site");
    let again = format!("0;url={next}");
    let mut response = draw(&visit, next, None)?;
    if from_elsewhere && let Ok(again) = HeaderValue::from_str(&again) {
        // A link on another site: the browser kept the cookie back (SameSite=Strict). Asked from here, it sends it.
        response.headers_mut().insert(header::REFRESH, again);
    }
    Ok(response)
}

async fn log_in(
    State(state): State<PageState>,
    headers: HeaderMap,
    uri: Uri,
    form: Result<Form<Given>, FormRejection>,
) -> PageResult {
    let Form(given) = form.map_err(|_| PageError::bad("The form of the login cannot be read."))?;
    let next = inside(given.next.as_deref()).to_owned();
    if !state.gate.has_keys() {
        return Ok(Redirect::to(&next).into_response());
    }
    let name = given.name.as_deref().map(str::trim).filter(|name| !name.is_empty());
    let name = name.map(|name| format::shortened(name, MAX_NAME));
    let error = match state.gate.log_in(given.key.as_bytes(), name.as_deref()) {
        Ok(token) => {
            let cookie = [(header::SET_COOKIE, access::session_cookie(Some(&token)))];
            return Ok((cookie, Redirect::to(&next)).into_response());
        }
        Err(error) => error,
    };
    tracing::warn!(%error, "a login was refused");
    let visit = Visit::read(&headers, &uri, &state, false)?;
    let (status, trouble) = match error {
        LoginError::Denied(Denied::Unknown) => (
            StatusCode::UNAUTHORIZED,
            "This key is not valid. It is one of --read-key, --operator-key or --admin-key.".to_owned(),
        ),
        LoginError::Denied(Denied::OnlySends | Denied::OnlyReads) => {
            let trouble = "This key is for sending telemetry. Reading takes one of --read-key.";
            (StatusCode::FORBIDDEN, trouble.to_owned())
        }
        LoginError::TooMany(wait) => {
            let trouble = format!(
                "Too many wrong keys. Try again in {}.",
                format::counted(seconds(wait), "second", "seconds")
            );
            (StatusCode::TOO_MANY_REQUESTS, trouble)
        }
        LoginError::Random(_) => return Err(PageError::Internal),
    };
    let mut response = (status, draw(&visit, next, Some(trouble))?).into_response();
    if status == StatusCode::UNAUTHORIZED {
        response.headers_mut().extend([access::bearer_wanted()]);
    }
    if let LoginError::TooMany(wait) = error {
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds(wait)));
    }
    Ok(response)
}

/// Handler of `POST /logout`.
pub async fn log_out(State(state): State<PageState>, headers: HeaderMap) -> Response {
    if let Some(token) = access::session(&headers) {
        state.gate.log_out(&token);
    }
    ([(header::SET_COOKIE, access::session_cookie(None))], Redirect::to("/login")).into_response()
}

/// The login in place of a page, for a browser whose session is over or never was.
pub fn over(state: &PageState, headers: &HeaderMap, uri: &Uri, next: &str) -> Response {
    let trouble = "The session is over. Log in again.".to_owned();
    Visit::read(headers, uri, state, false)
        .and_then(|visit| draw(&visit, inside(Some(next)).to_owned(), Some(trouble)))
        .map(|page| (StatusCode::UNAUTHORIZED, [access::bearer_wanted()], page).into_response())
        .unwrap_or_else(PageError::into_response)
}

fn draw(visit: &Visit, next: String, trouble: Option<String>) -> PageResult {
    page(&LoginPage { frame: visit.frame(Nav::Other, "Log in"), next, trouble })
}

/// Whole seconds, rounded up.
fn seconds(wait: Duration) -> u64 {
    wait.as_secs() + u64::from(wait.subsec_nanos() > 0)
}

/// The path of `next` where it is one on this server, else `/`. Browsers take `//host` and `/\host` for other hosts,
/// and leave tabs and line ends out before they look.
fn inside(next: Option<&str>) -> &str {
    next.filter(|next| is_inside(next)).unwrap_or("/")
}

/// Whether an address is a path on this server.
pub fn is_inside(to: &str) -> bool {
    to.len() <= MAX_NEXT
        && to.starts_with('/')
        && !to.starts_with("//")
        && to.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_login_leads_nowhere_else() {
        for (next, inside) in [
            ("/traces?last=1h&from=%2F%2Fx", "/traces?last=1h&from=%2F%2Fx"),
            ("/correlations/a%20b", "/correlations/a%20b"),
            ("/", "/"),
            ("//evil.example", "/"),
            ("/\\evil.example", "/"),
            ("/a\\b", "/"),
            ("/\t/evil.example", "/"),
            ("/a\r\nSet-Cookie: x", "/"),
            ("https://evil.example", "/"),
            ("javascript:alert(1)", "/"),
            ("evil", "/"),
            ("/Ä", "/"),
            ("", "/"),
        ] {
            assert_eq!(super::inside(Some(next)), inside, "{next:?}");
        }
        assert_eq!(super::inside(None), "/");
        assert_eq!(super::inside(Some(&format!("/{}", "a".repeat(MAX_NEXT)))), "/");
    }
}
