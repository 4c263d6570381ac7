//! `GET /live`: tells a tab that something new was committed, by server-sent events.
//!
//! One stream per tab. The first event says where the store stands, so that a tab which was away (or which
//! outlived a restart of the server) sees at once whether it missed something. After that, at most one event a
//! second, however many commits there are.

use std::convert::Infallible;
use std::time::Duration;

use axum::extract::State;
use axum::response::sse::{Event, KeepAlive, Sse};
use futures_util::Stream;
use futures_util::stream;
use tokio::sync::watch;

use super::PageState;

/// The shortest time between two events of a stream.
const PACE: Duration = Duration::from_secs(1);
/// How long a browser waits before it connects again.
const RETRY: Duration = Duration::from_secs(1);
/// How often a comment is sent where nothing happens, so that proxies do not close the stream.
const ALIVE: Duration = Duration::from_secs(15);

/// Handler of `GET /live`.
pub async fn live(State(state): State<PageState>) -> Sse<impl Stream<Item = Result<Event, Infallible>>> {
    let epoch = state.settings.started;
    let commits = state.reader.commits();
    let closing = state.closing.clone();
    let events = stream::unfold((commits, true), move |(mut commits, first)| {
        let closing = closing.clone();
        async move {
            if !first {
                let go_on = tokio::select! {
                    () = closing.cancelled() => false,
                    changed = wait(&mut commits) => changed,
                };
                if !go_on {
                    return None;
                }
            }
            let count = *commits.borrow_and_update();
            let event = Event::default()
                .event("changed")
                .retry(RETRY)
                .id(format!("{epoch}-{count}"))
                .data(format!("{epoch}-{count}"));
            Some((Ok(event), (commits, false)))
        }
    });
    Sse::new(events).keep_alive(KeepAlive::new().interval(ALIVE))
}

/// Waits for the next commit, not before [`PACE`] is over; false when there will be none.
async fn wait(commits: &mut watch::Receiver<u64>) -> bool {
    tokio::time::sleep(PACE).await;
    commits.changed().await.is_ok()
}
