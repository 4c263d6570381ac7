//! When the process is asked to end.

/// Returns on Ctrl-C or SIGTERM.
pub async fn asked() {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        if let Ok(mut terminate) = signal(SignalKind::terminate()) {
            tokio::select! {
                _ = tokio::signal::ctrl_c() => {}
                _ = terminate.recv() => {}
            }
            return;
        }
    }
    // Without a handler the signal itself ends the process, so an error has nothing to add.
    let _ = tokio::signal::ctrl_c().await;
}
