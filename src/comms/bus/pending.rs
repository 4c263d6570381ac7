//! How many events are on their way or being handled, so that who closes a bus knows when there are none.

use std::sync::Arc;

use tokio::sync::watch;

/// The count.
#[derive(Default)]
pub(super) struct Pending(Arc<watch::Sender<usize>>);

/// One of them, until it is dropped: handled, missed, or thrown away with its subscriber.
pub(super) struct Waiting(Arc<watch::Sender<usize>>);

impl Pending {
    pub fn one(&self) -> Waiting {
        self.0.send_modify(|count| *count += 1);
        Waiting(Arc::clone(&self.0))
    }

    /// Waits until there are none.
    pub async fn none(&self) {
        // Its sender is here, so it cannot be gone.
        let _ = self.0.subscribe().wait_for(|count| *count == 0).await;
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.send_modify(|count| *count -= 1);
    }
}
