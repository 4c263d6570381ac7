//! `/redrives/{id}`: how far a redrive has come, and what became of each message.

use std::fmt::Write as _;
use std::sync::Arc;

use askama::Template;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Redirect, Response};

use super::{address, must_be, queue_link};
use crate::dashboard::keys::Role;
use crate::dashboard::model::audit::Action;
use crate::dashboard::operate::job::{Ended, Job, Outcome, Progress, Row};
use crate::dashboard::operate::order::Order;
use crate::dashboard::view::PageState;
use crate::dashboard::view::error::PageError;
use crate::dashboard::view::escape::{Html, escaped};
use crate::dashboard::view::format;
use crate::dashboard::view::frame::{Frame, Nav};
use crate::dashboard::view::html::{PageResult, page};
use crate::dashboard::view::visit::Visit;

/// Results of a page.
const ROWS: usize = 200;

#[derive(Template)]
#[template(path = "redrive.html")]
struct JobPage {
    frame: Frame,
    job: Arc<Job>,
    progress: Progress,
    /// `sent`, `kept` or `unknown`, where only those are wanted.
    only: Option<String>,
    from: usize,
    rows: Vec<Row>,
    more: bool,
}

/// A job by what the address says.
///
/// # Errors
/// There is none, or no more.
pub fn wanted(state: &PageState, id: &str) -> Result<Arc<Job>, PageError> {
    let job = id.parse().ok().and_then(|id| state.desk.jobs.find(id));
    job.ok_or_else(|| {
        PageError::missing(
            "No such redrive here",
            "Results are kept for the last fifty redrives and not beyond a restart. The audit still says what was done.",
        )
    })
}

/// The redrive that somebody is about to stop or to do in earnest.
///
/// # Errors
/// The visitor is no operator; there is none, or no more.
pub async fn may_change(state: &PageState, visit: &Visit, id: &str) -> Result<Arc<Job>, PageError> {
    let job = wanted(state, id);
    match &job {
        Ok(job) => must_be(visit, Role::Operator, Action::Redrive, &job.place).await?,
        // Who may not is not told which there are.
        Err(_) => visit.must_be(Role::Operator)?,
    }
    job
}

/// Handler of `GET /redrives/{id}`: `only` is an outcome, `from` the first result of the page.
pub async fn show(State(state): State<PageState>, visit: Visit, Path(id): Path<String>) -> PageResult {
    visit.must_be(Role::Operator)?;
    let job = wanted(&state, &id)?;
    let from = visit.params.number("from", 0..=1_000_000, 0).unwrap_or(0);
    let only = visit.params.text("only").map(str::to_owned);
    let progress = job.progress();
    let fits = |row: &&Row| only.as_deref().is_none_or(|only| class(&row.outcome) == only);
    let mut rows: Vec<Row> =
        progress.results.iter().filter(fits).skip(from).take(ROWS + 1).cloned().collect();
    let more = rows.len() > ROWS;
    rows.truncate(ROWS);
    let verb = if job.order.is_dry { "Dry run" } else { "Redrive" };
    let mut frame = visit.frame(Nav::Queues, format!("{verb} {}", job.id));
    frame.refresh = progress.ended.is_none();
    page(&JobPage { frame, job, progress, only, from, rows, more })
}

/// Handler of `POST /redrives/{id}/stop`.
pub async fn stop(
    State(state): State<PageState>,
    visit: Visit,
    Path(id): Path<String>,
) -> Result<Response, PageError> {
    let job = may_change(&state, &visit, &id).await?;
    job.stop.cancel();
    Ok(Redirect::to(&format!("/redrives/{}", job.id)).into_response())
}

/// Handler of `POST /redrives/{id}/go`: does in earnest what a dry run looked at.
pub async fn go(
    State(state): State<PageState>,
    visit: Visit,
    Path(id): Path<String>,
) -> Result<Response, PageError> {
    let dry = may_change(&state, &visit, &id).await?;
    let order = Order { is_dry: false, ..dry.order.clone() };
    let job = state.desk.redrive(&visit.visitor, &dry.place, order).await?;
    Ok(Redirect::to(&format!("/redrives/{}", job.id)).into_response())
}

fn class(outcome: &Outcome) -> &'static str {
    match outcome {
        Outcome::Sent | Outcome::SentPerhapsTwice | Outcome::Would => "sent",
        Outcome::Kept(_) => "kept",
        Outcome::Unknown(_) => "unknown",
    }
}

/// What has come of it so far: `12 sent, 2 kept where they were`.
pub fn line(progress: &Progress, is_dry: bool) -> String {
    let mut out = match &progress.ended {
        None => "under way: ".to_owned(),
        Some((_, Ended::Stopped)) => "stopped: ".to_owned(),
        Some((_, Ended::Failed(_))) => "failed: ".to_owned(),
        Some((_, Ended::Done)) => String::new(),
    };
    let sent = if is_dry { "would be sent" } else { "sent" };
    let _ = write!(out, "{} {sent}", format::count(progress.sent));
    if progress.kept > 0 {
        let _ = write!(out, ", {} kept where they were", format::count(progress.kept));
    }
    if progress.unknown > 0 {
        let _ = write!(out, ", {} perhaps in both places", format::count(progress.unknown));
    }
    out
}

/// Progress as a bar: what was sent, and what was not.
pub fn bar(progress: &Progress) -> Html {
    let all = progress.ready.unwrap_or(0).max(progress.meant).max(1) as f64;
    let all = if progress.ended.is_some() { progress.meant.max(1) as f64 } else { all };
    let share = |count: u64| (count as f64 / all * 100.0).min(100.0);
    let (sent, failed) = (share(progress.sent), share(progress.kept + progress.unknown));
    askama::filters::Safe(format!(
        r#"<svg class="prog" role="img" aria-label="{}"><rect class="bg" width="100%" height="6" rx="3"/><rect class="fg" width="{sent:.1}%" height="6" rx="3"/><rect class="fe" x="{sent:.1}%" width="{failed:.1}%" height="6" rx="3"/></svg>"#,
        escaped(&line(progress, false))
    ))
}

impl JobPage {
    fn headline(&self) -> String {
        let (queue, progress) = (format::shortened(&self.job.place.queue, 80), &self.progress);
        let messages = |count| format::counted(count, "message", "messages");
        match (&progress.ended, self.job.order.is_dry) {
            (None, false) => format!("Redriving from {queue}: {} sent so far", messages(progress.sent)),
            (None, true) => format!("Looking what a redrive of {queue} would do"),
            (Some((_, Ended::Failed(_))), _) => format!("The redrive of {queue} broke off"),
            (Some((_, Ended::Stopped)), _) => {
                format!("Stopped: {} of {queue} were sent", messages(progress.sent))
            }
            (Some(_), true) if progress.meant == 0 => {
                format!("A redrive of {queue} would find no such message")
            }
            (Some(_), true) => format!("{} of {queue} would be sent", messages(progress.sent)),
            (Some(_), false) if progress.meant == 0 => format!("No message of {queue} is like that"),
            (Some(_), false) if progress.kept + progress.unknown > 0 => format!(
                "{} of {queue} {} sent, {} not",
                messages(progress.sent),
                if progress.sent == 1 { "was" } else { "were" },
                format::count(progress.kept + progress.unknown)
            ),
            (Some(_), false) => {
                let were = if progress.sent == 1 { "was" } else { "were" };
                format!("{} of {queue} {were} sent", messages(progress.sent))
            }
        }
    }

    /// `err`, `warn` or nothing.
    fn level(&self) -> &'static str {
        match &self.progress.ended {
            Some((_, Ended::Failed(_))) => "err",
            _ if self.progress.kept + self.progress.unknown > 0 => "warn",
            _ => "",
        }
    }

    fn what(&self) -> String {
        super::sentence(&format::shortened(&self.job.order.words(), 400))
    }

    fn why(&self) -> Option<String> {
        match &self.progress.ended {
            Some((_, Ended::Failed(why))) => Some(super::sentence(why)),
            _ => None,
        }
    }

    /// What the button after a dry run says.
    fn in_earnest(&self) -> Option<String> {
        let is_over = self.job.order.is_dry && self.progress.ended.is_some() && self.progress.sent > 0;
        is_over.then(|| format!("Redrive {}", format::counted(self.progress.sent, "message", "messages")))
    }

    fn bar(&self) -> Html {
        bar(&self.progress)
    }

    fn messages(&self) -> String {
        self.frame.link(&address(&self.job.place, "messages"))
    }

    fn queue(&self) -> String {
        queue_link(&self.frame, &self.job.place)
    }

    fn ways(&self) -> [(&'static str, String, u64, bool); 4] {
        let way = |only: Option<&str>, name, count| {
            let to = self.frame.here(&[("only", only), ("from", None)]);
            (name, to, count, self.only.as_deref() == only)
        };
        let progress = &self.progress;
        let sent = if self.job.order.is_dry { "would be sent" } else { "sent" };
        [
            way(None, "all", progress.sent + progress.kept + progress.unknown),
            way(Some("sent"), sent, progress.sent),
            way(Some("kept"), "kept", progress.kept),
            way(Some("unknown"), "perhaps in both places", progress.unknown),
        ]
    }

    fn next(&self) -> String {
        self.frame.with("from", &(self.from + ROWS).to_string())
    }

    fn name(&self, row: &Row) -> Html {
        let none = || format!("no ID, {}", &row.mark[..8.min(row.mark.len())]);
        self.frame.short_id(&row.message_id.clone().unwrap_or_else(none))
    }

    fn left_out(&self) -> Option<String> {
        let count = self.progress.left_out();
        (count > 0).then(|| format!("{} more were counted and not kept", format::count(count)))
    }

    fn place(&self, row: &Row) -> String {
        match &row.to {
            None => "—".to_owned(),
            Some((exchange, key)) if exchange.is_empty() => format!("queue {}", format::shortened(key, 80)),
            Some((exchange, key)) => {
                format!("{}, key {}", format::shortened(exchange, 80), format::shortened(key, 80))
            }
        }
    }

    fn badge(&self, row: &Row) -> Html {
        let (class, icon, text) = match &row.outcome {
            Outcome::Sent => ("quiet", "ok", "sent".to_owned()),
            Outcome::SentPerhapsTwice => (
                "warn wraps",
                "warn",
                "sent, perhaps for the second time: the last redrive ended in the middle".to_owned(),
            ),
            Outcome::Would => ("quiet", "ok", "would be sent".to_owned()),
            Outcome::Kept(why) => ("err wraps", "err", format!("kept here: {}", format::shortened(why, 300))),
            Outcome::Unknown(why) => {
                ("warn wraps", "warn", format!("perhaps in both places: {}", format::shortened(why, 300)))
            }
        };
        askama::filters::Safe(format!(
            r#"<span class="badge {class}">{}{}</span>"#,
            self.frame.icon(icon).0,
            escaped(&text)
        ))
    }
}
