//! `/audit` and `/api/audit`: what was done to brokers and seen of what is masked, by whom, and what came of it.

use askama::Template;
use axum::Json;
use axum::extract::State;
use serde_json::{Value, json};

use super::error::PageError;
use super::escape::{Html, escaped};
use super::frame::{Frame, Nav};
use super::html::{PageResult, page};
use super::operate::queue_link;
use super::visit::Visit;
use super::{PageState, format};
use crate::dashboard::model::audit::{Action, AuditFilter, Audited};
use crate::dashboard::operate::Place;

/// Rows of a page.
const ROWS: usize = 100;
/// Rows of an answer for a program.
const MOST: usize = 1_000;

/// What the address asks for. The time range counts only where the address has one: an audit is read from its end.
fn asked(visit: &Visit, most: usize) -> Result<AuditFilter, PageError> {
    let text = |key: &str| visit.params.text(key).map(str::to_owned);
    let action = match visit.params.text("action") {
        None => None,
        Some(name) => Some(Action::named(name).ok_or_else(|| {
            let all = Action::ALL.map(Action::name).join(", ");
            PageError::bad(format!("“action” is one of {all}, not “{}”.", format::shortened(name, 20)))
        })?),
    };
    let before = match visit.params.text("before") {
        None => None,
        Some(number) => Some(
            number.parse().map_err(|_| PageError::bad("“before” is the number of a row of the audit."))?,
        ),
    };
    let ranged = ["last", "from", "to"].iter().any(|key| visit.params.text(key).is_some());
    let (from, to) = if ranged { (visit.range.from, visit.range.to.saturating_add(1)) } else { (0, 0) };
    Ok(AuditFilter {
        from,
        to,
        action,
        who: text("who"),
        broker: text("broker"),
        virtual_host: text("vhost"),
        queue: text("queue"),
        only_trouble: visit.params.on("trouble"),
        before,
        most,
    })
}

#[derive(Template)]
#[template(path = "audit.html")]
struct AuditPage {
    frame: Frame,
    filter: AuditFilter,
    rows: Vec<Audited>,
    more: bool,
    /// The row that a deed led to.
    marked: Option<u64>,
}

/// Handler of `GET /audit`.
pub async fn show(State(state): State<PageState>, visit: Visit) -> PageResult {
    let filter = asked(&visit, ROWS + 1)?;
    let mut rows = state.desk.audited(&filter).await?;
    let more = rows.len() > ROWS;
    rows.truncate(ROWS);
    let marked = visit.params.text("row").and_then(|row| row.parse().ok());
    let mut frame = visit.frame(Nav::Other, "What was done");
    frame.refresh = filter.before.is_none();
    page(&AuditPage { frame, filter, rows, more, marked })
}

/// Handler of `GET /api/audit`: `action`, `who`, `broker`, `vhost`, `queue`, `trouble`, `before`, `limit` and a time range.
pub async fn data(State(state): State<PageState>, visit: Visit) -> Result<Json<Value>, PageError> {
    let most = visit.params.number("limit", 1..=MOST, ROWS)?;
    let rows = state.desk.audited(&asked(&visit, most)?).await?;
    let next = (rows.len() == most).then(|| rows.last().map(|row| row.id)).flatten();
    Ok(Json(json!({ "rows": rows.iter().map(of).collect::<Vec<_>>(), "before": next })))
}

fn of(row: &Audited) -> Value {
    let (intent, ending) = (&row.intent, row.ending.as_ref());
    json!({
        "id": row.id,
        "at": intent.at.to_string(),
        "action": intent.action.name(),
        "role": intent.role,
        "who": intent.who,
        "session": intent.session,
        "broker": intent.broker,
        "vhost": intent.virtual_host,
        "queue": intent.queue,
        "detail": intent.detail,
        "ended": ending.map(|ending| ending.at.to_string()),
        "done": ending.map(|ending| ending.is_done),
        "messages": ending.map(|ending| ending.messages),
        "outcome": ending.map(|ending| &ending.outcome),
    })
}

impl AuditPage {
    fn headline(&self) -> String {
        match self.rows.len() {
            0 if self.narrows() => "Nothing like that was done".to_owned(),
            0 => "Nothing was done yet".to_owned(),
            _ => "What was done".to_owned(),
        }
    }

    fn narrows(&self) -> bool {
        AuditFilter { most: 0, before: None, ..self.filter.clone() } != AuditFilter::default()
    }

    fn actions(&self) -> [Action; 6] {
        Action::ALL
    }

    fn is(&self, action: &Action) -> bool {
        self.filter.action == Some(*action)
    }

    /// In words.
    fn action(&self, row: &Audited) -> &'static str {
        match row.intent.action {
            Action::Peek => "looked into",
            Action::Reveal => "revealed",
            Action::DryRun => "dry run of a redrive",
            Action::Redrive => "redrove",
            Action::Republish => "published a copy",
            Action::Purge => "purged",
        }
    }

    fn queue(&self, row: &Audited) -> String {
        let place = Place {
            broker: row.intent.broker.clone(),
            virtual_host: row.intent.virtual_host.clone(),
            queue: row.intent.queue.clone(),
        };
        queue_link(&self.frame, &place)
    }

    /// The page with each result, while this process knows it.
    fn results(&self, row: &Audited) -> Option<String> {
        self.frame.visit.state.desk.jobs.find(row.id).map(|job| format!("/redrives/{}", job.id))
    }

    fn outcome(&self, row: &Audited) -> Html {
        let (class, icon, text) = match &row.ending {
            Some(ending) if ending.is_done => ("quiet wraps", "ok", ending.outcome.clone()),
            Some(ending) => ("err wraps", "err", ending.outcome.clone()),
            None if self.frame.visit.state.desk.jobs.find(row.id).is_some() => {
                ("quiet wraps", "unknown", "under way".to_owned())
            }
            None => (
                "warn wraps",
                "warn",
                "no end: it is under way elsewhere, or Throughline ended in the middle. Messages that were just on their way, 128 at \
                 most, may be both here and where they were sent"
                    .to_owned(),
            ),
        };
        askama::filters::Safe(format!(
            r#"<span class="badge {class}">{}{}</span>"#,
            self.frame.icon(icon).0,
            escaped(&format::shortened(&text, 600))
        ))
    }

    fn next(&self) -> Option<String> {
        let last = self.rows.last().filter(|_| self.more)?;
        Some(self.frame.with("before", &last.id.to_string()))
    }

    fn shortened(&self, text: &str, most: usize) -> String {
        format::shortened(text, most)
    }
}
