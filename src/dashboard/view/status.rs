//! What is received, refused and kept: `/status`.

use askama::Template;
use axum::extract::State;

use super::chart::{self, Series};
use super::escape::Html;
use super::frame::{Frame, Nav};
use super::html::{PageResult, page};
use super::range::Range;
use super::state::{Health, ReceiveStatus};
use super::visit::Visit;
use super::{PageState, format};
use crate::dashboard::store::Holdings;

#[derive(Template)]
#[template(path = "status.html")]
struct StatusPage {
    frame: Frame,
    title: &'static str,
    status: ReceiveStatus,
    holdings: Holdings,
    accepted: Option<Html>,
    refused: Option<Html>,
    refused_total: u64,
}

/// Handler of `GET /status`.
pub async fn status(State(state): State<PageState>, visit: Visit) -> PageResult {
    let mut status = state.status.status();
    let holdings = state.reader.holdings().await?;
    let rank = |health: Health| match health {
        Health::Broken => 0,
        Health::Silent => 1,
        Health::Well => 2,
    };
    status.sources.sort_by_key(|source| rank(source.health));
    let title = match status.sources.first().map(|source| source.health) {
        Some(Health::Broken) => "Something cannot be received",
        _ if status.turned_away > 0 => "Receiving, and at times more than can be written",
        _ if status.sources.iter().all(|source| source.health != Health::Well) => {
            "Listening; nothing comes at the moment"
        }
        _ => "Receiving well",
    };
    let mut frame = visit.frame(Nav::Status, "Status").live();
    if let (Some(first), Some(last)) = (status.minutes.first(), status.minutes.last()) {
        // These charts show the hour that the receivers remember, whatever the page's range is.
        frame.visit.range = Range { from: first.start, to: last.start + 60_000_000_000, preset: Some("1h") };
    }
    let chart = |values: Vec<Option<f64>>, class, says| {
        let write = |value: f64| format::rate(value);
        (!values.is_empty()).then(|| chart::line(&frame, &Series { values: &values, class, write, says }))
    };
    let accepted = chart(
        status.minutes.iter().map(|minute| Some(minute.accepted as f64 / 60.0)).collect(),
        "",
        "Spans and logs accepted per second",
    );
    let refused = chart(
        status.minutes.iter().map(|minute| Some(minute.refused as f64)).collect(),
        "e",
        "Spans and logs refused per minute",
    );
    frame.visit.range = visit.range.clone();
    let refused_total = status.refused_total();
    page(&StatusPage { frame, title, status, holdings, accepted, refused, refused_total })
}

impl StatusPage {
    fn is(&self, health: &Health, word: &str) -> bool {
        matches!(
            (health, word),
            (Health::Well, "well") | (Health::Silent, "silent") | (Health::Broken, "broken")
        )
    }

    fn bytes(&self, bytes: &u64) -> String {
        format::bytes(*bytes)
    }

    fn rate(&self, rate: &f64) -> String {
        format::rate(*rate)
    }

    fn seconds(&self, seconds: &u64) -> String {
        format::duration(seconds.saturating_mul(1_000_000_000))
    }
}
