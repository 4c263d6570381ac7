//! Deadlines: how long somebody still waits for what this task does.
//!
//! A caller says with each call how long it will wait: `grpc-timeout` over gRPC, `x-request-timeout-ms` over HTTP. The
//! servers of this toolkit keep it for the task, and its clients give no call more time than that is left, so that
//! nobody works on an answer that no one waits for.

use std::future::Future;
use std::time::Duration;

use axum::http::{HeaderMap, HeaderValue};
use tokio::time::Instant;

use super::names;

/// What is longer counts as no deadline, and so does what cannot be read.
const LONGEST: Duration = Duration::from_secs(60 * 60);

tokio::task_local! {
    static UNTIL: Instant;
}

/// Runs a future for somebody who waits until then, or shorter where this task's own deadline is sooner.
pub fn scope<F: Future>(until: Instant, work: F) -> impl Future<Output = F::Output> {
    UNTIL.scope(current().map_or(until, |outer| outer.min(until)), work)
}

/// Runs a future for somebody who waits until then, if anybody said until when.
pub(super) async fn scope_until<F: Future>(until: Option<Instant>, work: F) -> F::Output {
    match until {
        Some(until) => scope(until, work).await,
        None => work.await,
    }
}

/// Runs a future for somebody who waits so long, or shorter; where that is too long to be a deadline, as if nobody had said.
pub(super) async fn scope_for<F: Future>(time: Duration, work: F) -> F::Output {
    scope_until((time <= LONGEST).then(|| Instant::now() + time), work).await
}

/// Makes a future carry the caller's deadline into another task, for `spawn`, where somebody waits for what it does.
pub fn carry<F: Future>(work: F) -> impl Future<Output = F::Output> {
    scope_until(current(), work)
}

/// Until when somebody waits for what this task does; none where nobody said.
pub fn current() -> Option<Instant> {
    UNTIL.try_with(|until| *until).ok()
}

/// The end of a call that may take `timeout`: sooner where this task's deadline is.
pub fn within(timeout: Duration) -> Instant {
    let end = Instant::now() + timeout.min(LONGEST);
    current().map_or(end, |until| until.min(end))
}

/// Whether a call has about all of the time that its client gives one. What ends for want of time says something about the service
/// only then: otherwise the caller's deadline or earlier tries took the rest.
pub(super) fn is_own_time(left: Duration, timeout: Duration) -> bool {
    left >= timeout.mul_f64(0.9)
}

/// The value of `x-request-timeout-ms`.
pub(super) fn header(left: Duration) -> HeaderValue {
    HeaderValue::from(u64::try_from(left.as_millis()).unwrap_or(u64::MAX))
}

/// The value of `grpc-timeout`: at most eight digits and a unit.
pub(super) fn grpc_header(left: Duration) -> HeaderValue {
    let micros = left.as_micros();
    let text = if micros < 100_000_000 {
        format!("{micros}u")
    } else {
        format!("{}m", left.as_millis().min(99_999_999))
    };
    HeaderValue::try_from(text).unwrap_or_else(|_| HeaderValue::from_static("1H"))
}

/// Until when the caller waits, by either header.
pub(super) fn of(headers: &HeaderMap) -> Option<Instant> {
    let text = |name: &str| headers.get(name)?.to_str().ok();
    let left = match text(names::GRPC_TIMEOUT) {
        Some(text) => grpc(text)?,
        None => Duration::from_millis(text(names::X_REQUEST_TIMEOUT_MS)?.parse().ok()?),
    };
    (left <= LONGEST).then(|| Instant::now() + left)
}

/// `TimeoutValue TimeoutUnit` of gRPC over HTTP/2.
fn grpc(text: &str) -> Option<Duration> {
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if !(1..=8).contains(&digits.len()) || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let value: u64 = digits.parse().ok()?;
    match unit {
        "H" => Some(Duration::from_secs(value * 3600)),
        "M" => Some(Duration::from_secs(value * 60)),
        "S" => Some(Duration::from_secs(value)),
        "m" => Some(Duration::from_millis(value)),
        "u" => Some(Duration::from_micros(value)),
        "n" => Some(Duration::from_nanos(value)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_it_writes_and_nothing_else() {
        for millis in [0, 1, 99_999, 100_000, 3_600_000] {
            let left = Duration::from_millis(millis);
            assert_eq!(grpc(grpc_header(left).to_str().expect("text")), Some(left));
        }
        for bad in ["", "S", "1", "123456789m", "-1S", "1x", "1ü", "ü"] {
            assert_eq!(grpc(bad), None, "{bad:?}");
        }
        let mut headers = HeaderMap::new();
        assert!(of(&headers).is_none());
        for (value, known) in
            [("250", true), ("", false), ("-1", false), ("99999999999", false), ("1 s", false)]
        {
            headers.insert(names::X_REQUEST_TIMEOUT_MS, HeaderValue::from_static(value));
            assert_eq!(of(&headers).is_some(), known, "{value:?}");
        }
    }

    #[tokio::test]
    async fn the_sooner_deadline_holds() {
        let secs = Duration::from_secs;
        let start = Instant::now();
        assert!(within(secs(5)) >= start + secs(5));
        scope(start + secs(3), async {
            assert_eq!(within(secs(50)), start + secs(3));
            assert!(within(secs(1)) < start + secs(3));
            scope(start + secs(9), async { assert_eq!(current(), Some(start + secs(3))) }).await;
        })
        .await;
        assert_eq!(current(), None);
    }
}
