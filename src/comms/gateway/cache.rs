//! Answers to GET, kept as RFC 9111 allows a shared cache, asked for once for all who want the same at the same time, and
//! given when they are old where the upstream fails (RFC 5861).
//!
//! Simpler than the standard allows, and on the safe side: only answers of 200 are kept; none to requests with
//! `Authorization`, `Cookie` or `Range`; none that set a cookie or vary by more than `Accept` and `Accept-Encoding`.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::response::Response;
use bytes::Bytes;
use futures_util::{StreamExt as _, stream};

use super::access::Notes;
use super::failure::Failure;
use super::upstream::{Outgoing, Payload, Upstream};
use crate::comms::names;
use crate::comms::resilience::{Cache, Lifetimes};

/// How answers of a route are kept, where they do not say it themselves by `Cache-Control`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CacheRule {
    /// How long one that says nothing is as good as a new one; zero, which is the default, for not at all.
    pub fresh_for: Duration,
    /// How long after that it is given where the upstream fails; a minute by default.
    pub stale_if_error: Duration,
    /// Longer bodies are not kept, in bytes; 1 MiB by default.
    pub most_body: usize,
}

impl Default for CacheRule {
    fn default() -> Self {
        Self { fresh_for: Duration::ZERO, stale_if_error: Duration::from_secs(60), most_body: 1 << 20 }
    }
}

/// What an answer depends on.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Key {
    upstream: Arc<str>,
    path: String,
    accept: Option<HeaderValue>,
    encoding: Option<HeaderValue>,
}

/// What those who ask together get.
enum Held {
    Answer(Stored),
    /// It is for one of them alone; the others have to ask themselves.
    Pass,
}

struct Stored {
    headers: HeaderMap,
    body: Bytes,
    at: Instant,
    /// How old it was when it came.
    age: Duration,
    fresh_for: Duration,
    stale_for: Duration,
}

/// The answers that a gateway keeps.
#[derive(Clone)]
pub(super) struct ResponseCache {
    cache: Cache<Key, Arc<Held>>,
}

/// One question to the cache.
pub(super) struct Asked<'a> {
    pub service: &'a str,
    pub upstream: &'a Upstream,
    pub rule: &'a CacheRule,
    /// The client's own headers, with its conditions.
    pub client: &'a HeaderMap,
    pub until: tokio::time::Instant,
}

impl ResponseCache {
    /// `most` is the size of all bodies and headers, in bytes.
    pub fn new(most: u64) -> Self {
        let lifetimes = Lifetimes {
            fresh_for: |held: &Arc<Held>| match &**held {
                Held::Answer(stored) => stored.fresh_for.saturating_sub(stored.age),
                Held::Pass => Duration::ZERO,
            },
            stale_for: |held| match &**held {
                Held::Answer(stored) => stored.stale_for,
                Held::Pass => Duration::ZERO,
            },
            weight: |held| match &**held {
                Held::Answer(stored) => u32::try_from(stored.size()).unwrap_or(u32::MAX),
                Held::Pass => 1,
            },
        };
        Self { cache: Cache::with_lifetimes(most, lifetimes) }
    }

    /// Whether the cache has a say in a request at all.
    pub fn takes(method: &Method, headers: &HeaderMap) -> bool {
        let personal = [header::AUTHORIZATION, header::COOKIE, header::RANGE, header::IF_MATCH];
        let no_store = directives(headers).any(|(name, _)| name == "no-store");
        *method == Method::GET && !no_store && !personal.iter().any(|name| headers.contains_key(name))
    }

    /// The answer: kept, or the upstream's.
    pub async fn answer(&self, asked: Asked<'_>, mut out: Outgoing) -> (Result<Response, Failure>, Notes) {
        for condition in [header::IF_NONE_MATCH, header::IF_MODIFIED_SINCE, header::IF_UNMODIFIED_SINCE] {
            out.headers.remove(condition);
        }
        let header = |name| asked.client.get(name).cloned();
        let key = Key {
            upstream: Arc::clone(&asked.upstream.name),
            path: out.path.clone(),
            accept: header(header::ACCEPT),
            encoding: header(header::ACCEPT_ENCODING),
        };
        let mut own = None;
        let mut notes = Notes { upstream: Some(asked.upstream.name.to_string()), ..Notes::default() };
        let mut did = None;
        let ask = async {
            let old = self.cache.kept(&key).await;
            let (answer, tries, how) = fetch(&asked, &out, old.as_deref()).await;
            notes.tries = tries;
            let held = match answer? {
                Fetched::Keep(stored) => Held::Answer(stored),
                Fetched::Give(response) => {
                    own = Some(response);
                    Held::Pass
                }
            };
            did = Some(how);
            Ok(Arc::new(held))
        };
        let held: Result<Arc<Held>, Failure> = self.cache.get(&key, ask).await;
        let answer = match (held, own) {
            (Err(failure), _) => Err(failure),
            (Ok(_), Some(response)) => Ok(response),
            (Ok(held), None) => match &*held {
                Held::Answer(stored) => {
                    notes.cache = Some(did.map_or_else(|| stored.hit(), str::to_owned));
                    Ok(stored.response(asked.client))
                }
                Held::Pass => {
                    let (answer, tries) = asked.upstream.send(asked.service, &out, asked.until).await;
                    notes.tries = tries;
                    answer
                }
            },
        };
        if notes.cache.is_none() {
            notes.cache = Some(did.unwrap_or("fwd=miss").to_owned());
        }
        (answer, notes)
    }
}

/// What came of asking the upstream.
enum Fetched {
    Keep(Stored),
    Give(Response),
}

/// Asks the upstream whether what is kept still holds, or for a new answer.
async fn fetch(
    asked: &Asked<'_>,
    out: &Outgoing,
    old: Option<&Held>,
) -> (Result<Fetched, Failure>, u32, &'static str) {
    let old = match old {
        Some(Held::Answer(stored)) => stored.headers.get(header::ETAG).map(|tag| (stored, tag)),
        _ => None,
    };
    let mut headers = out.headers.clone();
    if let Some((_, tag)) = old {
        headers.insert(header::IF_NONE_MATCH, tag.clone());
    }
    let (method, payload) = (out.method.clone(), Payload::Whole(Bytes::new()));
    let (path, template) = (out.path.clone(), Arc::clone(&out.template));
    let question = Outgoing { method, path, template, headers, payload };
    let (answer, tries) = asked.upstream.send(asked.service, &question, asked.until).await;
    let response = match (answer, old) {
        (Err(failure), _) => return (Err(failure), tries, "fwd=miss"),
        (Ok(response), Some((stored, _))) if response.status() == StatusCode::NOT_MODIFIED => {
            let renewed = stored.renewed(response.headers(), asked.rule);
            return (Ok(Fetched::Keep(renewed)), tries, "fwd=stale; fwd-status=304; stored");
        }
        (Ok(response), _) => response,
    };
    let kept = tokio::time::timeout_at(asked.until, keep(response, asked.rule)).await;
    match kept.unwrap_or(Err(Failure::TimedOut)) {
        Ok(Fetched::Keep(stored)) => (Ok(Fetched::Keep(stored)), tries, "fwd=miss; stored"),
        other => (other, tries, "fwd=miss"),
    }
}

/// Takes in an answer that may be kept; what may not, or is too long, goes on as it comes.
async fn keep(response: Response, rule: &CacheRule) -> Result<Fetched, Failure> {
    let Some((fresh_for, stale_for)) = lifetime(response.headers(), rule) else {
        return Ok(Fetched::Give(response));
    };
    if response.status() != StatusCode::OK {
        return Ok(Fetched::Give(response));
    }
    let (parts, body) = response.into_parts();
    let mut stream = body.into_data_stream();
    let (mut chunks, mut size) = (Vec::new(), 0);
    while let Some(chunk) = stream.next().await {
        let chunk = chunk.map_err(|error| Failure::CutOff(error.to_string()))?;
        size += chunk.len();
        chunks.push(chunk);
        if size > rule.most_body {
            let all = stream::iter(chunks.into_iter().map(Ok)).chain(stream);
            return Ok(Fetched::Give(Response::from_parts(parts, Body::from_stream(all))));
        }
    }
    let body = match <[Bytes; 1]>::try_from(chunks) {
        Ok([whole]) => whole,
        Err(chunks) => chunks.concat().into(),
    };
    let mut headers = parts.headers;
    // They were for the request that brought it.
    for name in [names::X_CORRELATION_ID, names::X_CIRCUIT_BREAKER] {
        headers.remove(name);
    }
    let age = headers.remove(header::AGE).and_then(|age| seconds(age.to_str().ok()?));
    let age = age.unwrap_or_default();
    let at = Instant::now();
    Ok(Fetched::Keep(Stored { headers, body, at, age, fresh_for, stale_for }))
}

/// How long an answer is fresh, and how long it is kept; none where it must not be.
fn lifetime(headers: &HeaderMap, rule: &CacheRule) -> Option<(Duration, Duration)> {
    let plain = |name: &str| {
        let name = name.trim();
        name.is_empty() || name.eq_ignore_ascii_case("accept") || name.eq_ignore_ascii_case("accept-encoding")
    };
    let varies = headers.get_all(header::VARY).iter();
    let varies = varies.map(|value| value.to_str().unwrap_or("*")).flat_map(|value| value.split(','));
    if headers.contains_key(header::SET_COOKIE) || !varies.into_iter().all(plain) {
        return None;
    }
    let (mut own, mut shared, mut stale, mut strict) = (None, None, rule.stale_if_error, false);
    for (name, value) in directives(headers) {
        match name.as_str() {
            "no-store" | "private" | "no-cache" => return None,
            "max-age" => own = Some(seconds(&value).unwrap_or_default()),
            "s-maxage" => shared = Some(seconds(&value).unwrap_or_default()),
            "stale-if-error" => stale = seconds(&value).unwrap_or_default(),
            "must-revalidate" | "proxy-revalidate" => strict = true,
            _ => {}
        }
    }
    let fresh = shared.or(own).unwrap_or(rule.fresh_for);
    Some((fresh, if strict { fresh } else { fresh.saturating_add(stale) }))
}

/// The directives of `Cache-Control`, in lower case, with their values.
fn directives(headers: &HeaderMap) -> impl Iterator<Item = (String, String)> {
    let all = headers.get_all(header::CACHE_CONTROL).iter().filter_map(|value| value.to_str().ok());
    all.flat_map(|value| value.split(',')).map(|directive| {
        let (name, value) = directive.split_once('=').unwrap_or((directive, ""));
        (name.trim().to_ascii_lowercase(), value.trim().trim_matches('"').to_owned())
    })
}

/// A year at most: longer is as good as for ever.
fn seconds(text: &str) -> Option<Duration> {
    Some(Duration::from_secs(text.parse::<u64>().ok()?.min(365 * 24 * 60 * 60)))
}

impl Stored {
    fn size(&self) -> usize {
        let headers = self.headers.iter().map(|(name, value)| name.as_str().len() + value.len());
        self.body.len() + headers.sum::<usize>()
    }

    fn age_now(&self) -> Duration {
        self.age + self.at.elapsed()
    }

    /// In the words of `Cache-Status`: for how long it is still fresh, or no more.
    fn hit(&self) -> String {
        let (fresh, age) = (self.fresh_for.as_secs(), self.age_now());
        if age <= self.fresh_for {
            format!("hit; ttl={}", fresh.saturating_sub(age.as_secs()))
        } else {
            format!("hit; ttl=-{}", (age - self.fresh_for).as_secs().max(1))
        }
    }

    /// The same answer, which the upstream says still holds.
    fn renewed(&self, news: &HeaderMap, rule: &CacheRule) -> Self {
        let mut headers = self.headers.clone();
        for name in [header::CACHE_CONTROL, header::DATE, header::ETAG, header::EXPIRES, header::VARY] {
            if let Some(value) = news.get(&name) {
                headers.insert(name, value.clone());
            }
        }
        let (fresh_for, stale_for) = lifetime(&headers, rule).unwrap_or_default();
        let (body, at) = (self.body.clone(), Instant::now());
        Self { headers, body, at, age: Duration::ZERO, fresh_for, stale_for }
    }

    /// For a client, which may have it already.
    fn response(&self, client: &HeaderMap) -> Response {
        let mut response = Response::new(Body::from(self.body.clone()));
        *response.headers_mut() = self.headers.clone();
        response.headers_mut().insert(header::AGE, HeaderValue::from(self.age_now().as_secs()));
        if self.is_known_to(client) {
            *response.status_mut() = StatusCode::NOT_MODIFIED;
            *response.body_mut() = Body::empty();
            let of_body: [HeaderName; 2] = [header::CONTENT_LENGTH, header::CONTENT_TYPE];
            of_body.iter().for_each(|name| drop(response.headers_mut().remove(name)));
        }
        response
    }

    /// RFC 9110, section 13.1.2: the weak comparison.
    fn is_known_to(&self, client: &HeaderMap) -> bool {
        let plain = |tag: &str| tag.trim().trim_start_matches("W/").to_owned();
        let Some(own) = self.headers.get(header::ETAG).and_then(|tag| tag.to_str().ok()).map(plain) else {
            return false;
        };
        let tags = client.get_all(header::IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
        tags.flat_map(|value| value.split(',')).any(|tag| tag.trim() == "*" || plain(tag) == own)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn how_long_an_answer_is_kept_is_its_own_to_say() {
        let rule = CacheRule { fresh_for: Duration::from_secs(5), ..CacheRule::default() };
        for (name, value, wanted) in [
            ("x-none", "", Some((5, 65))),
            ("cache-control", "max-age=10", Some((10, 70))),
            ("cache-control", "public, S-MaxAge=\"20\", max-age=10", Some((20, 80))),
            ("cache-control", "max-age=10, stale-if-error=1", Some((10, 11))),
            ("cache-control", "max-age=10, must-revalidate", Some((10, 10))),
            ("cache-control", "max-age=-1", Some((0, 60))),
            ("cache-control", "max-age=99999999999999999999999", Some((0, 60))),
            ("cache-control", "no-store", None),
            ("cache-control", "private, max-age=10", None),
            ("set-cookie", "a=b", None),
            ("vary", "Accept, accept-encoding", Some((5, 65))),
            ("vary", "Accept-Language", None),
            ("vary", "*", None),
        ] {
            let headers =
                HeaderMap::from_iter([(HeaderName::from_static(name), HeaderValue::from_static(value))]);
            let found = lifetime(&headers, &rule).map(|(fresh, stale)| (fresh.as_secs(), stale.as_secs()));
            assert_eq!(found, wanted, "{name}: {value}");
        }
    }
}
