//! One request that asks several services at the same time and joins what they say.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::Response;
use bytes::Bytes;
use futures_util::future::join_all;
use serde_json::{Map, Value, json};

use super::access::Notes;
use super::failure::Failure;
use super::table::Path;
use super::upstream::{Outgoing, Payload, Upstream};
use crate::comms::deadline;
use crate::comms::security::Access;

/// Longer answers are not joined, in bytes.
const MOST: usize = 4 << 20;

/// A GET that is answered by several services together, as one JSON object with a member for each part.
///
/// Where an optional part fails, the answer is 200 all the same: the member is `null`, and `errors` says of each such part
/// its name, the status and what is wrong. Where a required part fails, its failure is the answer.
#[derive(Clone, Debug)]
pub struct Aggregate {
    pub(super) pattern: String,
    pub(super) parts: Vec<Part>,
    pub(super) access: Access,
    timeout: Duration,
}

#[derive(Clone, Debug)]
pub(super) struct Part {
    pub name: String,
    pub upstream: String,
    pub target: String,
    required: bool,
}

impl Aggregate {
    /// At a path, with variables as those of a [`super::Route`].
    pub fn get(pattern: &str) -> Self {
        Self {
            pattern: pattern.to_owned(),
            parts: Vec::new(),
            access: Access::Anyone,
            timeout: Duration::from_secs(5),
        }
    }

    /// A part without which there is no answer.
    pub fn required(self, name: &str, upstream: &str, target: &str) -> Self {
        self.part(name, upstream, target, true)
    }

    /// A part that may be missing.
    pub fn optional(self, name: &str, upstream: &str, target: &str) -> Self {
        self.part(name, upstream, target, false)
    }

    fn part(mut self, name: &str, upstream: &str, target: &str, required: bool) -> Self {
        let [name, upstream, target] = [name, upstream, target].map(str::to_owned);
        self.parts.push(Part { name, upstream, target, required });
        self
    }

    /// What it wants of who calls; nothing, unless said.
    pub fn access(mut self, access: Access) -> Self {
        self.access = access;
        self
    }

    /// For all of it; 5 s unless said. A part that takes longer is missing.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }
}

/// A part whose upstream is known.
pub(super) struct Ready {
    pub part: Part,
    pub upstream: Upstream,
    pub target: Path,
}

/// What is wrong with a part.
struct Wrong {
    answer: Response,
    status: StatusCode,
    detail: String,
}

/// Asks all parts and joins them. `None` where the path leads out of its place.
pub(super) async fn answer(
    service: &str,
    aggregate: &Aggregate,
    pattern: &Path,
    parts: &[Ready],
    path: &str,
    headers: &HeaderMap,
) -> Option<(Response, Notes)> {
    let until = deadline::within(aggregate.timeout);
    let mut asked = Vec::new();
    for ready in parts {
        let path = pattern.rewrite(&ready.target, path)?;
        asked.push(ask(service, ready, path, headers, until));
    }
    let answers = join_all(asked).await;
    let mut notes = Notes { tries: 0, upstream: None, cache: None };
    let mut asked_of: Vec<&str> = Vec::new();
    let (mut joined, mut errors) = (Map::new(), Vec::new());
    for (ready, (answer, tries)) in parts.iter().zip(answers) {
        let name = &ready.part.name;
        notes.tries += tries;
        asked_of.push(&ready.part.upstream);
        match answer {
            Ok(value) => drop(joined.insert(name.clone(), value)),
            Err(wrong) if ready.part.required => {
                notes.upstream = Some(ready.part.upstream.clone());
                return Some((wrong.answer, notes));
            }
            Err(wrong) => {
                tracing::warn!(part = %name, upstream = %ready.part.upstream, "a part is missing: {}", wrong.detail);
                joined.insert(name.clone(), Value::Null);
                errors.push(json!({ "part": name, "status": wrong.status.as_u16(), "detail": wrong.detail }));
            }
        }
    }
    if !errors.is_empty() {
        joined.insert("errors".into(), errors.into());
    }
    notes.upstream = Some(asked_of.join(","));
    let mut response = Response::new(Body::from(Value::Object(joined).to_string()));
    let json = HeaderValue::from_static("application/json");
    response.headers_mut().insert(header::CONTENT_TYPE, json);
    Some((response, notes))
}

async fn ask(
    service: &str,
    ready: &Ready,
    path: String,
    headers: &HeaderMap,
    until: tokio::time::Instant,
) -> (Result<Value, Wrong>, u32) {
    let mut headers = headers.clone();
    // What is joined has to be whole, and readable here.
    for name in [
        header::ACCEPT_ENCODING,
        header::IF_NONE_MATCH,
        header::IF_MODIFIED_SINCE,
        header::IF_MATCH,
        header::RANGE,
        header::CONTENT_TYPE,
    ] {
        headers.remove(name);
    }
    headers.insert(header::ACCEPT, HeaderValue::from_static("application/json"));
    let (template, payload) = (Arc::from(ready.part.target.as_str()), Payload::Whole(Bytes::new()));
    let out = Outgoing { method: Method::GET, path, template, headers, payload };
    let (answer, tries) = ready.upstream.send(service, &out, until).await;
    let name = &ready.part.upstream;
    let answer = match answer {
        Ok(response) if !response.status().is_success() => {
            let status = response.status();
            Err(Wrong { status, detail: format!("{name} answered {}", status.as_u16()), answer: response })
        }
        Ok(response) => {
            let body = axum::body::to_bytes(response.into_body(), MOST);
            let read = match tokio::time::timeout_at(until, body).await {
                Err(_) => Err(Failure::TimedOut),
                Ok(Err(error)) => Err(Failure::CutOff(error.to_string())),
                Ok(Ok(bytes)) => {
                    serde_json::from_slice(&bytes).map_err(|error| Failure::CutOff(error.to_string()))
                }
            };
            read.map_err(|failure| Wrong::of(failure, name))
        }
        Err(failure) => Err(Wrong::of(failure, name)),
    };
    (answer, tries)
}

impl Wrong {
    fn of(failure: Failure, upstream: &str) -> Self {
        let problem = failure.problem(upstream);
        let (status, detail) = (problem.status(), problem.detail().to_owned());
        Self { status, detail, answer: super::answer_of(failure, upstream) }
    }
}
