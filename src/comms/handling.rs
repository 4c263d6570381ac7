//! Running a handler of somebody else's: it may take too long, and it may panic.

use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::time::Duration;

use futures_util::FutureExt as _;

use super::deadline;

/// How a handler ended that gave no result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stopped {
    /// It took longer than it may, and was dropped.
    TimedOut,
    Panicked,
}

/// Makes a handler's future and runs it for as long as it may take, which its calls know as their deadline.
pub(super) async fn run<F: Future>(
    limit: Duration,
    handler: impl FnOnce() -> F,
) -> Result<F::Output, Stopped> {
    // The handler is made and dropped in here too: either may panic as well.
    let work = AssertUnwindSafe(async { tokio::time::timeout(limit, handler()).await });
    match deadline::scope_for(limit, work.catch_unwind()).await {
        Ok(Ok(result)) => Ok(result),
        Ok(Err(_)) => Err(Stopped::TimedOut),
        Err(_) => Err(Stopped::Panicked),
    }
}
