//! Who may read, and as whom: a key or a session before every page and everything beside it; see
//! [`crate::dashboard::keys`].
//!
//! A person who comes without either is led to the login; a program is told what to send. Files and the login itself
//! are open.

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Redirect, Response};

use super::visit::cookie;
use super::{PageState, format, login};
use crate::dashboard::keys::{self, Denied, Role, Visitor};

/// The cookie that holds a session's token.
const SESSION: &str = "throughline_session";

/// The token of the request's session cookie, whether or not it is good for anything.
pub fn session(headers: &HeaderMap) -> Option<String> {
    cookie(headers, SESSION)
}

/// The header that gives a browser its session; `None` takes it away. Not `Secure`: the server speaks plain HTTP and
/// is not told whether something in front of it speaks TLS.
pub fn session_cookie(token: Option<&str>) -> String {
    let age = if token.is_some() { keys::sessions::LIFETIME.as_secs() } else { 0 };
    format!("{SESSION}={}; Path=/; Max-Age={age}; HttpOnly; SameSite=Strict", token.unwrap_or_default())
}

/// Lets readers through to pages; others who come with a browser go to the login.
pub async fn page(State(state): State<PageState>, request: Request, next: Next) -> Response {
    let Err(denied) = check(&state, request.headers()) else { return next.run(request).await };
    if !is_navigation(&request) {
        return refuse(denied);
    }
    let here = request.uri().path_and_query().map_or("/", |here| here.as_str());
    if session(request.headers()).is_none() {
        return Redirect::to(&format!("/login?next={}", format::encoded(here))).into_response();
    }
    // The cookie is forged, or older than its session.
    login::over(&state, request.headers(), request.uri(), here)
}

/// Lets readers through to everything that is no page.
pub async fn data(State(state): State<PageState>, request: Request, next: Next) -> Response {
    match check(&state, request.headers()) {
        Ok(_) => next.run(request).await,
        Err(denied) => refuse(denied),
    }
}

fn check(state: &PageState, headers: &HeaderMap) -> Result<Visitor, Denied> {
    state.gate.admit(shown_key(headers), session(headers).as_deref())
}

/// Who asks. Behind [`page`] and [`data`] it is always somebody; elsewhere, as for an error page, who may nothing is a
/// viewer.
pub fn visitor(state: &PageState, headers: &HeaderMap) -> Visitor {
    check(state, headers).unwrap_or_else(|_| Visitor::unknown(Role::Viewer))
}

fn shown_key(headers: &HeaderMap) -> Option<&[u8]> {
    headers.get(header::AUTHORIZATION).and_then(|value| keys::bearer(value.as_bytes()))
}

/// Whether a person asks for a page by following a link: not a program, not a script on a page, nobody with a key.
fn is_navigation(request: &Request) -> bool {
    let headers = request.headers();
    let accepts_html = headers.get_all(header::ACCEPT).iter().any(|accepted| {
        accepted.to_str().is_ok_and(|accepted| accepted.to_ascii_lowercase().contains("text/html"))
    });
    let by_script = headers.contains_key("hx-request")
        || headers.get("sec-fetch-mode").is_some_and(|mode| mode != "navigate");
    matches!(*request.method(), Method::GET | Method::HEAD)
        && accepts_html
        && !by_script
        && shown_key(headers).is_none()
}

/// The answer to a program: 401 where a key is missing or wrong, 403 where it is for something else.
fn refuse(denied: Denied) -> Response {
    match denied {
        Denied::Unknown => {
            let text = format!("{denied}; with a browser, log in at /login\n");
            (StatusCode::UNAUTHORIZED, [bearer_wanted()], text).into_response()
        }
        Denied::OnlyReads | Denied::OnlySends => {
            (StatusCode::FORBIDDEN, format!("{denied}\n")).into_response()
        }
    }
}

/// What every 401 has to say (<https://www.rfc-editor.org/rfc/rfc9110#section-15.5.2>).
pub fn bearer_wanted() -> (header::HeaderName, HeaderValue) {
    (header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"))
}
