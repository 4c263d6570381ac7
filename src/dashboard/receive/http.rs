//! OTLP over HTTP: `POST /v1/traces`, `/v1/logs` and `/v1/metrics`, protobuf or JSON.
//!
//! Rules: <https://opentelemetry.io/docs/specs/otlp/#otlphttp>. Every refusal is a `google.rpc.Status` in the
//! encoding of the request; senders try again on 429, 502, 503 and 504 only.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::header::{ALLOW, AUTHORIZATION, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use tower_http::cors::{AllowHeaders, AllowOrigin, CorsLayer};

use super::answer::{self, Code, RETRY_AFTER_S};
use super::body::BodyError;
use super::counters::{Outcome, Transport};
use super::{Receiver, Refusal, Signal, json};
use crate::dashboard::keys::Denied;

/// What a handler needs.
#[derive(Clone)]
struct Http {
    receiver: Arc<Receiver>,
}

/// The encoding of a request and so of its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Encoding {
    Protobuf,
    Json,
}

impl Encoding {
    fn of(headers: &HeaderMap) -> Option<Self> {
        match media_type(headers)?.as_str() {
            "application/x-protobuf" | "application/protobuf" => Some(Encoding::Protobuf),
            "application/json" => Some(Encoding::Json),
            _ => None,
        }
    }

    fn media_type(self) -> HeaderValue {
        HeaderValue::from_static(match self {
            Encoding::Protobuf => "application/x-protobuf",
            Encoding::Json => "application/json",
        })
    }
}

/// The media type of a request without its parameters, in lower case.
pub(super) fn media_type(headers: &HeaderMap) -> Option<String> {
    let value = headers.get(CONTENT_TYPE)?.to_str().ok()?;
    Some(value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase())
}

/// The routes of the receiver.
pub fn router(receiver: Arc<Receiver>) -> Router {
    let cors = cors(&receiver.settings.cors_origins);
    let mut router = Router::new();
    for signal in [Signal::Traces, Signal::Logs, Signal::Metrics] {
        let path = format!("/v1/{}", signal.word());
        router =
            router.route(&path, any(move |State(http): State<Http>, request| http.take(signal, request)));
    }
    let router = router.fallback(not_here).with_state(Http { receiver });
    match cors {
        Some(cors) => router.layer(cors),
        None => router,
    }
}

/// CORS for the origins of the settings; none, no headers.
pub(super) fn cors(origins: &[String]) -> Option<CorsLayer> {
    let allowed = match origins {
        [] => return None,
        [any] if any == "*" => AllowOrigin::any(),
        list => AllowOrigin::list(list.iter().filter_map(|origin| origin.parse().ok())),
    };
    let headers = AllowHeaders::mirror_request();
    Some(CorsLayer::new().allow_origin(allowed).allow_methods([Method::POST]).allow_headers(headers))
}

async fn not_here(request: Request) -> Response {
    let message = "OTLP/HTTP is at /v1/traces, /v1/logs and /v1/metrics; the pages are on another port";
    let encoding = Encoding::of(request.headers()).unwrap_or(Encoding::Json);
    refuse(encoding, StatusCode::NOT_FOUND, Code::Unimplemented, message)
}

impl Http {
    async fn take(self, signal: Signal, request: Request) -> Response {
        let encoding = Encoding::of(request.headers());
        if request.method() != Method::POST {
            let encoding = encoding.unwrap_or(Encoding::Json);
            return refuse(
                encoding,
                StatusCode::METHOD_NOT_ALLOWED,
                Code::Unimplemented,
                "only POST is taken here",
            );
        }
        let Some(encoding) = encoding else {
            let message = "Content-Type must be application/x-protobuf or application/json";
            self.count(signal, Outcome::Malformed);
            return refuse(
                Encoding::Json,
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                Code::InvalidArgument,
                message,
            );
        };
        match self.accept(signal, encoding, request).await {
            Ok(body) => ([(CONTENT_TYPE, encoding.media_type())], body).into_response(),
            Err(answer) => *answer,
        }
    }

    /// Reads, converts and stores; gives the body of the answer, or the whole answer of a refusal.
    async fn accept(
        &self,
        signal: Signal,
        encoding: Encoding,
        request: Request,
    ) -> Result<Vec<u8>, Box<Response>> {
        let (parts, body) = request.into_parts();
        let shown = parts.headers.get(AUTHORIZATION).map(HeaderValue::as_bytes);
        self.receiver.may_send(shown).map_err(|refusal| {
            self.count(signal, Outcome::of(&refusal));
            Box::new(refusal_answer(encoding, &refusal))
        })?;
        let read = self.receiver.bodies.read(&parts.headers, body).await;
        let too_much = |error: BodyError| {
            self.count(signal, error.outcome());
            Box::new(body_answer(encoding, &error))
        };
        let (bytes, _share) = read.map_err(too_much)?;
        let bytes = match encoding {
            Encoding::Protobuf => bytes,
            Encoding::Json => {
                let _held = self.receiver.bodies.hold(json::weight(&bytes)).map_err(too_much)?;
                json::to_protobuf(signal, &bytes).map_err(|error| {
                    self.count(signal, Outcome::Malformed);
                    Box::new(refusal_answer(encoding, &Refusal::Malformed(error)))
                })?
            }
        };
        let taken = self.receiver.take(Transport::Http, signal, bytes).await;
        let accepted = taken.map_err(|refusal| Box::new(refusal_answer(encoding, &refusal)))?;
        Ok(match encoding {
            Encoding::Protobuf => answer::success(&accepted),
            Encoding::Json => answer::success_json(signal, &accepted),
        })
    }

    /// Counts a request that was refused before it was read.
    fn count(&self, signal: Signal, outcome: Outcome) {
        self.receiver.counters.request(Transport::Http, signal, outcome, 0);
    }
}

fn body_answer(encoding: Encoding, error: &BodyError) -> Response {
    let (status, code) = status_of_body(error);
    refuse(encoding, status, code, &error.to_string())
}

fn refusal_answer(encoding: Encoding, refusal: &Refusal) -> Response {
    let (status, code) = status_of_refusal(refusal);
    refuse(encoding, status, code, &refusal.to_string())
}

/// What a body that was not read is answered with.
pub(super) fn status_of_body(error: &BodyError) -> (StatusCode, Code) {
    match error {
        BodyError::TooLarge(_) => (StatusCode::PAYLOAD_TOO_LARGE, Code::ResourceExhausted),
        BodyError::UnknownEncoding(_) => (StatusCode::UNSUPPORTED_MEDIA_TYPE, Code::InvalidArgument),
        BodyError::Corrupt(_) => (StatusCode::BAD_REQUEST, Code::InvalidArgument),
        BodyError::TooSlow => (StatusCode::REQUEST_TIMEOUT, Code::DeadlineExceeded),
        BodyError::Busy => (StatusCode::SERVICE_UNAVAILABLE, Code::Unavailable),
    }
}

/// What a request that was not taken is answered with.
pub(super) fn status_of_refusal(refusal: &Refusal) -> (StatusCode, Code) {
    match refusal {
        Refusal::Malformed(_) => (StatusCode::BAD_REQUEST, Code::InvalidArgument),
        Refusal::Denied(Denied::Unknown) => (StatusCode::UNAUTHORIZED, Code::Unauthenticated),
        Refusal::Denied(_) => (StatusCode::FORBIDDEN, Code::PermissionDenied),
        Refusal::Store(_) => (StatusCode::SERVICE_UNAVAILABLE, Code::Unavailable),
    }
}

/// A `google.rpc.Status` in the encoding of the request.
fn refuse(encoding: Encoding, status: StatusCode, code: Code, message: &str) -> Response {
    let body = match encoding {
        Encoding::Protobuf => answer::status(code, message),
        Encoding::Json => answer::status_json(code, message),
    };
    with_advice((status, [(CONTENT_TYPE, encoding.media_type())], Body::from(body)).into_response())
}

/// Adds the headers that tell a sender what to do about a status: when to come again, what to show.
pub(super) fn with_advice(mut response: Response) -> Response {
    match response.status() {
        StatusCode::SERVICE_UNAVAILABLE => {
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(RETRY_AFTER_S));
        }
        StatusCode::UNAUTHORIZED => {
            response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        StatusCode::METHOD_NOT_ALLOWED => {
            response.headers_mut().insert(ALLOW, HeaderValue::from_static("POST"));
        }
        _ => {}
    }
    response
}
