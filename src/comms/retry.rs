//! Trying again what failed for a passing reason.
//!
//! Only for calls that may be made twice. The time between tries grows and is jittered, so that a service
//! that comes back is not met by all its callers at once.

use std::future::Future;
use std::time::Duration;

use backon::{BackoffBuilder as _, ExponentialBuilder, Retryable as _};

/// How often and how long to wait.
#[derive(Clone, Copy, Debug)]
pub struct Backoff {
    /// The wait before the second try; each further one doubles.
    pub first: Duration,
    /// No wait is longer.
    pub longest: Duration,
    /// Tries after the first.
    pub retries: usize,
}

impl Default for Backoff {
    fn default() -> Self {
        Self { first: Duration::from_millis(50), longest: Duration::from_secs(2), retries: 3 }
    }
}

impl Backoff {
    /// The waits one after the other, without jitter: for a supervisor that counts its own tries.
    pub fn delays(&self) -> impl Iterator<Item = Duration> + use<> {
        ExponentialBuilder::default()
            .with_min_delay(self.first)
            .with_max_delay(self.longest)
            .with_max_times(self.retries)
            .build()
    }

    /// Runs `operation` until it succeeds, fails for a reason that `is_transient` denies, or the retries are
    /// used up.
    ///
    /// # Errors
    /// The last try's.
    pub async fn run<T, E, F, Fut>(&self, operation: F, is_transient: impl FnMut(&E) -> bool) -> Result<T, E>
    where
        E: std::fmt::Display,
        F: FnMut() -> Fut,
        Fut: Future<Output = Result<T, E>>,
    {
        let backoff = ExponentialBuilder::default()
            .with_min_delay(self.first)
            .with_max_delay(self.longest)
            .with_max_times(self.retries)
            .with_jitter();
        operation
            .retry(backoff)
            .when(is_transient)
            .notify(|error, wait| {
                tracing::debug!(%error, wait_ms = wait.as_millis() as u64, "trying again");
            })
            .await
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    const QUICK: Backoff =
        Backoff { first: Duration::from_millis(1), longest: Duration::from_millis(2), retries: 3 };

    #[tokio::test]
    async fn tries_again_until_it_works() {
        let tries = AtomicUsize::new(0);
        let operation = async || match tries.fetch_add(1, Ordering::Relaxed) {
            0 | 1 => Err("away"),
            n => Ok(n),
        };
        assert_eq!(QUICK.run(operation, |_| true).await, Ok(2));
    }

    #[tokio::test]
    async fn gives_up_at_the_limit_and_at_once_on_a_lasting_error() {
        let tries = AtomicUsize::new(0);
        let operation = async || {
            tries.fetch_add(1, Ordering::Relaxed);
            Err::<(), _>("away")
        };
        assert_eq!(QUICK.run(operation, |_| true).await, Err("away"));
        assert_eq!(tries.swap(0, Ordering::Relaxed), 4);
        assert_eq!(QUICK.run(operation, |_| false).await, Err("away"));
        assert_eq!(tries.load(Ordering::Relaxed), 1);
    }
}
