//! One signal that tells all parts of a process to end, in the order that the process chooses.

use std::io;

use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

/// Waits until the process is asked to end: Ctrl-C, SIGTERM, or, if asked for, the end of standard input.
///
/// The end of standard input is how a supervised process notices that its supervisor is gone, however that
/// came about: the supervisor holds the other end of the pipe.
///
/// # Errors
/// Signal handlers could not be installed.
pub async fn requested(end_with_stdin: bool) -> io::Result<&'static str> {
    let stdin_closed =
        async { if end_with_stdin { stdin_closed().await } else { std::future::pending().await } };
    tokio::select! {
        result = tokio::signal::ctrl_c() => result.map(|()| "interrupted"),
        result = terminated() => result.map(|()| "terminated"),
        () = stdin_closed => Ok("the supervisor is gone"),
    }
}

/// Waits for the wish to end for as long as it is kept; to be kept until all parts have ended.
#[must_use = "dropping it cancels the token"]
pub struct Waiting {
    token: CancellationToken,
    _task: AbortOnDropHandle<()>,
}

impl Waiting {
    /// A token that is cancelled when the process is asked to end. Cancelling it ends the wait.
    pub fn token(&self) -> CancellationToken {
        self.token.clone()
    }
}

/// Begins to wait, within a runtime, for what [`requested`] waits for.
pub fn wait(end_with_stdin: bool) -> Waiting {
    let token = CancellationToken::new();
    let guard = token.clone().drop_guard();
    let ended_otherwise = token.clone();
    let task = tokio::spawn(async move {
        tokio::select! {
            reason = requested(end_with_stdin) => match reason {
                Ok(reason) => tracing::debug!(reason, "asked to end"),
                Err(error) => tracing::error!(%error, "cannot listen for signals; ending"),
            },
            () = ended_otherwise.cancelled() => {}
        }
        drop(guard);
    });
    Waiting { token, _task: AbortOnDropHandle::new(task) }
}

#[cfg(unix)]
async fn terminated() -> io::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    signal(SignalKind::terminate())?.recv().await;
    Ok(())
}

#[cfg(not(unix))]
async fn terminated() -> io::Result<()> {
    std::future::pending().await
}

/// Reads and forgets what arrives until the other end is closed or broken.
///
/// On a thread of its own, not on the runtime's: a read of standard input cannot be cancelled, and the
/// runtime would wait for it at its own end.
async fn stdin_closed() {
    let (closed, wait) = tokio::sync::oneshot::channel();
    let reader = std::thread::Builder::new().name("stdin".into()).spawn(move || {
        let _ = io::copy(&mut io::stdin().lock(), &mut io::sink());
        let _ = closed.send(());
    });
    if let Err(error) = reader {
        tracing::error!(%error, "cannot watch standard input");
        std::future::pending::<()>().await;
    }
    let _ = wait.await;
}
