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
    let commits = Changes { commits: state.reader.commits(), jobs: state.desk.jobs.changes() };
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
            let count = commits.seen();
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

/// What a page may show anew: what was committed, and redrives under way.
struct Changes {
    commits: watch::Receiver<u64>,
    jobs: watch::Receiver<u64>,
}

impl Changes {
    /// The count of both, as [`PageState::seen`] gives it to a page.
    fn seen(&mut self) -> u64 {
        *self.commits.borrow_and_update() + *self.jobs.borrow_and_update()
    }
}

/// Waits for the next change, not before [`PACE`] is over; false when there will be none.
async fn wait(changes: &mut Changes) -> bool {
    tokio::time::sleep(PACE).await;
    tokio::select! {
        changed = changes.commits.changed() => changed.is_ok(),
        changed = changes.jobs.changed() => changed.is_ok(),
    }
}
