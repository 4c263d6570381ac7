//! What the search box leads to: `/search?q=`. An exact hit goes straight to its page, several are a list.

use askama::Template;
use axum::extract::State;
use axum::response::{IntoResponse, Redirect};

use super::frame::{Frame, Nav};
use super::html::{PageResult, page};
use super::visit::Visit;
use super::{PageState, format};
use crate::dashboard::query::search::{self, Found, Hit};

/// One hit in the list.
struct Line {
    kind: &'static str,
    id: String,
    href: String,
    note: String,
}

#[derive(Template)]
#[template(path = "search.html")]
struct SearchPage {
    frame: Frame,
    text: String,
    lines: Vec<Line>,
    /// Where logs are that contain the text.
    logs: String,
    tried: String,
    too_long: bool,
    bad_query: Option<(String, String)>,
}

/// Handler of `GET /search`.
pub async fn search(State(state): State<PageState>, visit: Visit) -> PageResult {
    let text = visit.params.text("q").unwrap_or_default().to_owned();
    let found = search::find(state.reader.as_ref(), &text, visit.now).await?;
    let mut frame = visit.frame(Nav::Other, "Search");
    frame.searched = text.clone();
    if let [only] = found.hits.as_slice() {
        return Ok(Redirect::to(&line(&frame, only).href).into_response());
    }
    if let Some(Ok(())) = found.query {
        return Ok(Redirect::to(&frame.link_with("/traces", &[("query", &text)])).into_response());
    }
    page(&draw(frame, text, found))
}

fn draw(frame: Frame, text: String, found: Found) -> SearchPage {
    let bad_query = match found.query {
        Some(Err(error)) => {
            Some((error.to_string(), format!("{}^", " ".repeat(error.column.saturating_sub(1)))))
        }
        _ => None,
    };
    SearchPage {
        lines: found.hits.iter().map(|hit| line(&frame, hit)).collect(),
        tried: found.tried.join(", "),
        logs: frame.link_with("/logs", &[("text", text.trim())]),
        too_long: text.len() > search::MAX_LEN,
        text: format::shortened(&text, 200),
        bad_query,
        frame,
    }
}

fn line(frame: &Frame, hit: &Hit) -> Line {
    match hit {
        Hit::Trace(summary) => Line {
            kind: "Trace",
            id: summary.trace_id.to_string(),
            href: frame.trace_link(&summary.trace_id),
            note: summary
                .root
                .as_ref()
                .map_or_else(String::new, |root| format!("{} {}", root.service, root.name)),
        },
        Hit::Span(span, trace) => Line {
            kind: "Span",
            id: span.to_string(),
            href: frame.link_with(&format!("/traces/{trace}"), &[("span", &span.to_string())]),
            note: format!("in trace {}", format::short_id(&trace.to_string())),
        },
        Hit::Correlation(id, count) => Line {
            kind: "Correlation",
            id: id.clone(),
            href: frame.correlation_link(id),
            note: format::counted(*count as u64, "trace or log", "traces and logs"),
        },
        Hit::Message(id) => {
            Line { kind: "Message", id: id.clone(), href: frame.message_link(id), note: String::new() }
        }
        Hit::Service(name) => {
            Line { kind: "Service", id: name.clone(), href: frame.service_link(name), note: String::new() }
        }
    }
}
