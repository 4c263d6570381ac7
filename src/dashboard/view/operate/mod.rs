//! Acting on messages: the page of a queue's messages, redrives, and the same for programs.
//!
//! * [`messages`]: the page; [`message`]: one message, and what it says when it is revealed; [`export`]: as JSON and CSV.
//! * [`asked`]: what forms and programs ask for; [`deeds`]: the forms' answers; [`json`]: those for programs.
//! * [`job`]: a redrive on its way.
//!
//! A deed takes a POST, an operator or an admin, and is written down by the desk before it is done; so is the attempt of
//! somebody who may not.

pub mod asked;
pub mod deeds;
pub mod export;
pub mod job;
pub mod json;
pub mod message;
pub mod messages;

use axum::Router;
use axum::extract::rejection::PathRejection;
use axum::extract::{DefaultBodyLimit, FromRequestParts, Path};
use axum::http::request::Parts;
use axum::routing::{get, post};

use super::PageState;
use super::error::PageError;
use super::format;
use super::frame::Frame;
use super::visit::Visit;
use crate::dashboard::keys::Role;
use crate::dashboard::model::audit::Action;
use crate::dashboard::operate::order::Nature;
use crate::dashboard::operate::{Place, Trouble};

/// Bytes of a form: a body that is edited is as long as what is kept of it, and grows when it is encoded.
const MAX_FORM: usize = 1 << 20;

/// The pages.
pub fn pages() -> Router<PageState> {
    Router::new()
        .route("/queues/{broker}/{vhost}/{name}/messages", get(messages::show))
        .route("/redrives/{id}", get(job::show))
}

/// What is no page: forms, downloads and answers for programs.
pub fn data() -> Router<PageState> {
    Router::new()
        .route("/queues/{broker}/{vhost}/{name}/peek", post(deeds::peek))
        .route("/queues/{broker}/{vhost}/{name}/reveal", post(message::reveal))
        .route("/queues/{broker}/{vhost}/{name}/redrive", post(deeds::redrive))
        .route("/queues/{broker}/{vhost}/{name}/purge", post(deeds::purge))
        .route("/queues/{broker}/{vhost}/{name}/messages.json", get(export::json))
        .route("/queues/{broker}/{vhost}/{name}/messages.csv", get(export::csv))
        .route("/redrives/{id}/stop", post(job::stop))
        .route("/redrives/{id}/go", post(job::go))
        .route("/api/queues/{broker}/{vhost}/{name}/peek", post(json::peek))
        .route("/api/queues/{broker}/{vhost}/{name}/redrive", post(json::redrive))
        .route("/api/queues/{broker}/{vhost}/{name}/republish", post(json::republish))
        .route("/api/queues/{broker}/{vhost}/{name}/purge", post(json::purge))
        .route("/api/redrives/{id}", get(json::job))
        .route("/api/redrives/{id}/stop", post(json::stop))
        .layer(DefaultBodyLimit::max(MAX_FORM))
}

/// A queue, as the address names it.
pub struct At(pub Place);

impl FromRequestParts<PageState> for At {
    type Rejection = PageError;

    async fn from_request_parts(parts: &mut Parts, state: &PageState) -> Result<Self, PageError> {
        let path: Result<Path<(String, String, String)>, PathRejection> =
            Path::from_request_parts(parts, state).await;
        let Path((broker, virtual_host, queue)) = path
            .map_err(|_| PageError::bad("The address does not name a broker, a virtual host and a queue."))?;
        if [&broker, &virtual_host, &queue].iter().any(|name| name.contains('\0') || name.len() > 1024) {
            return Err(PageError::bad("The address names a queue that cannot be."));
        }
        Ok(Self(Place { broker, virtual_host, queue }))
    }
}

/// Goes on only for somebody of this role; the attempt of anybody else is written into the audit.
///
/// # Errors
/// The visitor has a lesser role.
pub async fn must_be(visit: &Visit, needs: Role, action: Action, place: &Place) -> Result<(), PageError> {
    let refused = visit.must_be(needs);
    if refused.is_err() {
        visit.state.desk.refused(&visit.visitor, action, place, needs.name()).await;
    }
    refused
}

/// The address of something of a queue: `messages`, `peek`.
pub fn address(place: &Place, what: &str) -> String {
    let [broker, host, queue] =
        [&place.broker, &place.virtual_host, &place.queue].map(|name| format::segment(name));
    format!("/queues/{broker}/{host}/{queue}/{what}")
}

/// The page of the queue itself.
pub fn queue_link(frame: &Frame, place: &Place) -> String {
    let params = [("broker", &*place.broker), ("vhost", &place.virtual_host), ("name", &place.queue)];
    frame.link_with("/queues/one", &params)
}

/// The messages of a queue, for a link from its page: where Throughline can act on its broker.
pub fn messages_link(frame: &Frame, broker: &str, virtual_host: &str, queue: &str) -> Option<String> {
    let place =
        Place { broker: broker.to_owned(), virtual_host: virtual_host.to_owned(), queue: queue.to_owned() };
    let can = frame.visit.state.desk.can_act_on(broker);
    can.then(|| frame.link(&address(&place, "messages")))
}

/// What kind of queue it is, as far as its broker told.
pub fn nature(state: &PageState, place: &Place) -> Nature {
    let brokers = state.board.brokers();
    let facts = brokers.iter().filter(|broker| broker.name == place.broker).find_map(|broker| {
        let mine = |facts: &&_| is_at(facts, place);
        broker.queues.iter().find(mine)
    });
    let Some(facts) = facts else { return Nature::default() };
    let limit = facts.arguments.iter().find(|(name, _)| name == "x-delivery-limit");
    Nature {
        kind: facts.kind.clone(),
        delivery_limit: limit.and_then(|(_, value)| value.parse().ok()).or(facts.delivery_limit),
    }
}

fn is_at(facts: &crate::dashboard::model::queues::QueueFacts, place: &Place) -> bool {
    facts.virtual_host == place.virtual_host && facts.name == place.queue
}

impl From<Trouble> for PageError {
    fn from(trouble: Trouble) -> Self {
        let text = sentence(&trouble.to_string());
        match trouble {
            Trouble::NoHands(_) => Self::missing("Nothing can be done here", text),
            Trouble::NoQueue(_) => Self::missing("No such queue", text),
            Trouble::Away(_) => Self::Elsewhere(text),
            Trouble::Refused(_) => Self::Conflict(text),
            Trouble::Invalid(_) => Self::bad(text),
            Trouble::Audit(error) => Self::Store(error),
        }
    }
}

/// A text of ours as a sentence.
pub fn sentence(text: &str) -> String {
    let mut signs = text.chars();
    let first: String = signs.next().into_iter().flat_map(char::to_uppercase).collect();
    let end = if text.ends_with(['.', '!', '?']) { "" } else { "." };
    format!("{first}{}{end}", signs.as_str())
}

/// The number of a look, where the address has one.
pub fn peek_of(visit: &Visit) -> Option<u64> {
    visit.params.text("peek").and_then(|text| text.parse().ok())
}
