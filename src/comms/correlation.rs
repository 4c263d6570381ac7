//! The correlation ID: one name for everything that happens because of one request.
//!
//! A trace ends where work is retried, delayed or handed to another team; the correlation ID goes on. It
//! arrives in a header or is made at the edge, is kept for the current task, and leaves with every call and
//! message (see [`super::propagation`]).

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use opentelemetry::context::FutureExt as _;

/// The longest ID taken from outside, in bytes.
pub const MAX_LENGTH: usize = 128;

/// A valid correlation ID: 1 to 128 visible ASCII characters, so it is safe in headers and in logs.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CorrelationId(Arc<str>);

impl CorrelationId {
    /// The ID, if it is one.
    pub fn parse(raw: &str) -> Option<Self> {
        let valid = (1..=MAX_LENGTH).contains(&raw.len()) && raw.bytes().all(|b| b.is_ascii_graphic());
        valid.then(|| Self(raw.into()))
    }

    /// A new ID: the service that began the work, the time in milliseconds, nine random characters.
    pub fn generate(service: &str) -> Self {
        const DIGITS: &[u8; 36] = b"0123456789abcdefghijklmnopqrstuvwxyz";
        // Of the lower half all but the two highest bits are random, and nine characters take 47 of them.
        let mut random = uuid::Uuid::new_v4().as_u64_pair().1;
        let millis = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_millis());
        let mut id = String::with_capacity(MAX_LENGTH);
        id.extend(service.chars().filter(char::is_ascii_graphic).take(64));
        id.push('-');
        id.push_str(&millis.to_string());
        id.push('-');
        for _ in 0..9 {
            id.push(char::from(DIGITS[(random % 36) as usize]));
            random /= 36;
        }
        Self(id.into())
    }

    /// The ID from outside where it is valid, a new one otherwise.
    pub fn accept_or_generate(raw: Option<&str>, service: &str) -> Self {
        raw.and_then(Self::parse).unwrap_or_else(|| Self::generate(service))
    }

    /// As [`Self::accept_or_generate`], and what was refused where it was not taken.
    pub fn accept(raw: Option<&str>, service: &str) -> (Self, Option<Refused>) {
        match raw.and_then(Self::parse) {
            Some(id) => (id, None),
            None => (Self::generate(service), raw.and_then(|raw| Refused::of(raw.as_bytes()))),
        }
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// For attributes, without a copy.
    pub(super) fn shared(&self) -> Arc<str> {
        Arc::clone(&self.0)
    }
}

impl fmt::Display for CorrelationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for CorrelationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CorrelationId({})", self.0)
    }
}

/// What came in place of a correlation ID, fit for spans, logs and headers: without control characters, at most
/// [`MAX_LENGTH`] bytes of it, and `…` where there was more. Who sent it can be found by it, and it can do no harm.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused(String);

impl Refused {
    /// None where nothing was sent.
    pub fn of(raw: &[u8]) -> Option<Self> {
        // No less than what is shown: escaping makes nothing shorter.
        let start = &raw[..raw.len().min(4 * MAX_LENGTH)];
        let mut shown = String::from_utf8_lossy(start).escape_debug().to_string();
        if shown.len() > MAX_LENGTH {
            let end = (0..=MAX_LENGTH).rev().find(|end| shown.is_char_boundary(*end)).unwrap_or(0);
            shown.truncate(end);
            shown.push('…');
        }
        (!shown.is_empty()).then_some(Self(shown))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What the current task works for.
#[derive(Clone, Debug)]
pub struct Current {
    pub correlation_id: CorrelationId,
    /// The message being handled, if any: the cause of the messages sent meanwhile.
    pub causation_id: Option<String>,
}

tokio::task_local! {
    static CURRENT: Current;
}

/// Runs a future on behalf of a correlation ID.
pub fn scope<F: Future>(id: CorrelationId, work: F) -> impl Future<Output = F::Output> {
    CURRENT.scope(Current { correlation_id: id, causation_id: None }, work)
}

/// Runs a future on behalf of a correlation ID and of the message that is being handled.
pub fn scope_caused_by<F: Future>(
    id: CorrelationId,
    message_id: String,
    work: F,
) -> impl Future<Output = F::Output> {
    CURRENT.scope(Current { correlation_id: id, causation_id: Some(message_id) }, work)
}

/// The correlation ID that this task works for; none outside of any request or message.
pub fn current() -> Option<CorrelationId> {
    CURRENT.try_with(|c| c.correlation_id.clone()).ok()
}

/// The ID of the message that this task handles, if it does.
pub fn current_cause() -> Option<String> {
    CURRENT.try_with(|c| c.causation_id.clone()).ok().flatten()
}

/// What the current task works for, to be taken elsewhere; none outside of any request or message.
pub(super) fn held() -> Option<Current> {
    CURRENT.try_with(Clone::clone).ok()
}

/// Runs a future on behalf of what was held elsewhere.
pub(super) fn scope_as<F: Future>(held: Current, work: F) -> impl Future<Output = F::Output> {
    CURRENT.scope(held, work)
}

/// Makes a future carry the caller's correlation ID and trace context into another task, for `spawn`. Its deadline stays behind, since
/// most work that is spawned goes on after the answer; where somebody waits for it there is [`super::deadline::carry`].
pub fn carry<F: Future>(work: F) -> impl Future<Output = F::Output> {
    let current = held();
    let work = work.with_current_context();
    async move {
        match current {
            Some(current) => CURRENT.scope(current, work).await,
            None => work.await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::comms::deadline;

    #[test]
    fn takes_visible_ascii_up_to_the_limit() {
        for good in ["a", "order-17/b", "~!{}", &"x".repeat(MAX_LENGTH)] {
            assert_eq!(CorrelationId::parse(good).expect(good).as_str(), good);
        }
        for bad in ["", " ", "a b", "a\n", "ünï", "\0", &"x".repeat(MAX_LENGTH + 1)] {
            assert_eq!(CorrelationId::parse(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn what_is_refused_is_kept_escaped_and_short() {
        let accept = |raw: Option<&str>| CorrelationId::accept(raw, "test");
        assert_eq!(accept(Some("abc")), (CorrelationId::parse("abc").expect("valid"), None));
        for (raw, shown) in [
            (None, None),
            (Some(""), None),
            (Some("a\r\nb\u{202e}"), Some(r"a\r\nb\u{202e}")),
            (Some("ünï"), Some("ünï")),
        ] {
            let (id, refused) = accept(raw);
            assert!(id.as_str().starts_with("test-"), "{id}");
            assert_eq!(refused.as_ref().map(Refused::as_str), shown);
        }
        for long in ["x".repeat(10_240), "\n".repeat(10_240), "ü".repeat(5_000), "x".repeat(MAX_LENGTH + 1)]
        {
            let refused = accept(Some(&long)).1.expect("refused");
            assert!(refused.as_str().ends_with('…') && refused.as_str().len() == MAX_LENGTH + 3, "{refused}");
        }
        assert_eq!(Refused::of(b"a\xff").expect("refused").as_str(), "a\u{fffd}");
    }

    #[test]
    fn new_ids_are_valid_differ_and_name_the_service() {
        let ids: std::collections::HashSet<_> =
            (0..1000).map(|_| CorrelationId::generate("gateway")).collect();
        assert_eq!(ids.len(), 1000);
        for id in ids {
            assert!(id.as_str().starts_with("gateway-"), "{id}");
            assert!(CorrelationId::parse(id.as_str()).is_some());
        }
        let odd = CorrelationId::generate(&"ö \n".repeat(500));
        assert!(CorrelationId::parse(odd.as_str()).is_some());
    }

    #[tokio::test]
    async fn a_spawned_task_keeps_the_id_when_carried() {
        assert_eq!(current(), None);
        let id = CorrelationId::generate("test");
        scope_caused_by(id.clone(), "m-1".into(), async {
            assert_eq!(current().as_ref(), Some(&id));
            let seen = tokio::spawn(carry(async { (current(), current_cause()) })).await.expect("task");
            assert_eq!(seen, (Some(id.clone()), Some("m-1".to_owned())));
            let until = tokio::time::Instant::now() + std::time::Duration::from_secs(3);
            let spawned = deadline::scope(until, async {
                let here = || async { (deadline::current(), current()) };
                let waited_for = tokio::spawn(deadline::carry(carry(here()))).await.expect("task");
                (waited_for, tokio::spawn(carry(here())).await.expect("task"))
            });
            assert_eq!(spawned.await, ((Some(until), Some(id.clone())), (None, Some(id.clone()))));
        })
        .await;
    }
}
