//! Zipkin's `POST /api/v2/spans`, JSON or protobuf, on an address of its own.
//!
//! * [`span`]: a span as Zipkin has it, and the list of them in JSON.
//! * [`wire`]: the same list in protobuf.
//! * [`parts`]: tags and annotations, put into OTLP's bytes as they are read.
//! * [`convert`]: spans into the OTLP request that everything else reads.
//!
//! Rules: <https://zipkin.io/zipkin-api/> and `zipkin.proto`. A list is answered with 202 after its commit. What has not the
//! shape of a list of spans is refused whole, as Zipkin does, with a text that names the field. A span whose IDs are not
//! valid costs itself alone, where Zipkin would refuse its list: it is counted, and the 202 says so in its body, which
//! Zipkin leaves empty and reporters do not read.

mod convert;
mod parts;
mod span;
mod wire;

use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::header::AUTHORIZATION;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::any;

use super::counters::{Outcome, Transport};
use super::http::{cors, media_type, status_of_body, status_of_refusal, with_advice};
use super::{Accepted, Receiver, Refusal, Signal};

/// How a list is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Encoding {
    Json,
    Protobuf,
}

impl Encoding {
    /// JSON where the sender does not say: some reporters do not.
    fn of(headers: &HeaderMap) -> Option<Self> {
        match media_type(headers).as_deref() {
            None | Some("application/json") => Some(Encoding::Json),
            Some("application/x-protobuf" | "application/protobuf") => Some(Encoding::Protobuf),
            Some(_) => None,
        }
    }
}

/// The routes of the receiver.
pub fn router(receiver: Arc<Receiver>) -> Router {
    let cors = cors(&receiver.settings.cors_origins);
    let router = Router::new().route("/api/v2/spans", any(take)).fallback(not_here).with_state(receiver);
    match cors {
        Some(cors) => router.layer(cors),
        None => router,
    }
}

async fn not_here() -> Response {
    let message = "spans of Zipkin's version 2 are taken at /api/v2/spans; the pages are on another port";
    answer(StatusCode::NOT_FOUND, message)
}

async fn take(State(receiver): State<Arc<Receiver>>, request: Request) -> Response {
    if request.method() != Method::POST {
        return answer(StatusCode::METHOD_NOT_ALLOWED, "only POST is taken here");
    }
    match accept(&receiver, request).await {
        Ok(accepted) => answer(StatusCode::ACCEPTED, &accepted.message),
        Err((status, message)) => answer(status, &message),
    }
}

/// Reads, converts and stores; or gives what a refusal is answered with.
async fn accept(receiver: &Receiver, request: Request) -> Result<Accepted, (StatusCode, String)> {
    let count = |outcome| receiver.counters.request(Transport::Zipkin, Signal::Traces, outcome, 0);
    let refused = |refusal: &Refusal| (status_of_refusal(refusal).0, refusal.to_string());
    let (parts, body) = request.into_parts();
    let shown = parts.headers.get(AUTHORIZATION).map(HeaderValue::as_bytes);
    receiver.may_send(shown).map_err(|refusal| {
        count(Outcome::of(&refusal));
        refused(&refusal)
    })?;
    let encoding = Encoding::of(&parts.headers).ok_or_else(|| {
        count(Outcome::Malformed);
        let message = "Content-Type must be application/json or application/x-protobuf";
        (StatusCode::UNSUPPORTED_MEDIA_TYPE, message.to_owned())
    })?;
    let (bytes, _share) = receiver.bodies.read(&parts.headers, body).await.map_err(|error| {
        count(error.outcome());
        (status_of_body(&error).0, error.to_string())
    })?;
    let request = match encoding {
        Encoding::Json => span::list(&bytes),
        Encoding::Protobuf => wire::list(&bytes),
    };
    let request = request.map_err(|error| {
        count(Outcome::Malformed);
        refused(&Refusal::Malformed(error))
    })?;
    receiver.take(Transport::Zipkin, Signal::Traces, request).await.map_err(|refusal| refused(&refusal))
}

/// An answer in words; Zipkin's are plain text.
fn answer(status: StatusCode, message: &str) -> Response {
    with_advice((status, message.to_owned()).into_response())
}
