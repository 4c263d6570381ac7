//! When the process is asked to end.

use crate::comms::shutdown;

/// Returns on Ctrl-C or SIGTERM, and at the end of standard input if that is asked for.
pub async fn asked(end_with_stdin: bool) {
    // Without a handler the signal itself ends the process, so an error has nothing to add.
    if shutdown::requested(end_with_stdin).await.is_err() {
        std::future::pending::<()>().await;
    }
}
