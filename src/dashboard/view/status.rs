//! `GET /status`: what Throughline receives and refuses, and how its store does.

use askama::Template;
use axum::extract::State;

use super::chart::{self, Line};
use super::escape::Html;
use super::format;
use super::frame::{Frame, Nav};
use super::html::{PageResult, page};
use super::visit::Visit;
use super::{Health, PageState, ReceiveStatus, SourceStatus, messages};
use crate::dashboard::model::Nanos;
use crate::dashboard::model::messages::TapStatus;
use crate::dashboard::store::{Holdings, KeptMetric, KeptMetrics};

/// What the charts cover, by minute.
const HOUR: Nanos = 3_600_000_000_000;
const MINUTE: Nanos = 60_000_000_000;

/// Metrics listed on the page; the others are counted.
const LISTED: usize = 20;
/// Why points of a metric that is kept were not.
const BEYOND: &str = "too many series";

/// A metric of which points were not kept.
struct Passed<'a> {
    name: &'a str,
    why: &'static str,
    points: u64,
}

/// The page.
#[derive(Template)]
#[template(path = "status.html")]
struct StatusPage {
    frame: Frame,
    status: ReceiveStatus,
    holdings: Holdings,
    damage: Vec<String>,
    kept: KeptMetrics,
    accepted: Html,
    refused: Html,
    refused_in_hour: u64,
}

/// Handler of `GET /status`.
pub async fn show(State(state): State<PageState>, visit: Visit) -> PageResult {
    let status = of(&state);
    let (holdings, kept) = (state.reader.holdings().await?, state.reader.kept_metrics().await?);
    let range = (visit.now.saturating_sub(HOUR), visit.now);
    let first = range.0 / MINUTE + 1;
    let minute = |number: u64| status.minutes.iter().find(|minute| minute.start / MINUTE == number);
    let series = |of: fn(&super::Minute) -> f64| -> Vec<Option<f64>> {
        (first..first + 60).map(|number| Some(minute(number).map_or(0.0, of))).collect()
    };
    let accepted = series(|minute| minute.accepted as f64 / 60.0);
    let refused = series(|minute| minute.refused as f64);
    let per_second = |value: f64| format!("{} /s", format::rate(value));
    let per_minute = |value: f64| format!("{} /min", format::rate(value));
    let draw = |label, values: &[Option<f64>], class, unit| {
        chart::line(&visit, range, &Line { label, values, class, unit })
    };
    let accepted = draw("Spans and logs accepted a second", &accepted, "", per_second);
    let refused_chart = draw("Refused a minute", &refused, "e", per_minute);
    let refused_in_hour = refused.iter().flatten().sum::<f64>() as u64;
    let mut frame = visit.frame(Nav::Status, "What Throughline receives");
    frame.refresh = true;
    let damage = state.reader.damage();
    page(&StatusPage {
        frame,
        status,
        holdings,
        damage,
        kept,
        accepted,
        refused: refused_chart,
        refused_in_hour,
    })
}

/// What is received, taps among the sources.
pub(super) fn of(state: &PageState) -> ReceiveStatus {
    let mut status = state.status.status();
    status.sources.extend(state.board.taps().iter().map(of_tap));
    status
}

/// A tap as a source.
fn of_tap(tap: &TapStatus) -> SourceStatus {
    let dropped = match tap.dropped() {
        0 => String::new(),
        some => {
            format!("{} let go, as more came than can be kept", format::counted(some, "message", "messages"))
        }
    };
    SourceStatus {
        name: messages::tap_name(tap),
        kind: "messages".to_owned(),
        health: match (&tap.failing, tap.last()) {
            (Some(_), _) => Health::Broken,
            (None, Some(_)) => Health::Well,
            (None, None) => Health::Silent,
        },
        last_heard: tap.last(),
        rate: None,
        note: match &tap.failing {
            Some((why, _)) => why.clone(),
            None => dropped,
        },
    }
}

impl StatusPage {
    /// The sentence that the page opens with.
    fn verdict(&self) -> &'static str {
        if self.holdings.is_full {
            "The disk is full; senders are told to come again"
        } else if !self.damage.is_empty() {
            "Part of the store cannot be read"
        } else if self.status.sources.iter().any(|source| source.health == Health::Broken) {
            "A source does not work"
        } else if self.status.sources.iter().all(|source| source.last_heard.is_none()) {
            "Listening; nothing has come yet"
        } else if self.status.sources.iter().all(|source| source.health == Health::Silent) {
            "Listening; nothing comes at the moment"
        } else if self.status.turned_away > 0 {
            "Receiving; some requests had to come again"
        } else {
            "Receiving well"
        }
    }

    /// The sentence below it.
    fn lede(&self) -> String {
        let taken = format!(
            "{} and {} since the start {} ago",
            format::counted(self.status.accepted_spans, "span", "spans"),
            format::counted(self.status.accepted_logs, "log", "logs"),
            format::age(self.frame.visit.state.settings.started, self.frame.visit.now)
        );
        match self.status.refused_total() {
            0 => format!("{taken}; nothing was refused."),
            refused => format!("{taken}; {} refused, reasons below.", format::count(refused)),
        }
    }

    fn rate(&self, rate: &f64) -> String {
        format::rate(*rate)
    }

    fn bytes(&self, bytes: &u64) -> String {
        format::bytes(*bytes)
    }

    /// `1.20 GB of 10.0 GB`.
    fn disk(&self) -> String {
        match self.holdings.max_bytes {
            0 => format!("{}, no limit set", format::bytes(self.holdings.bytes)),
            most => format!("{} of {}", format::bytes(self.holdings.bytes), format::bytes(most)),
        }
    }

    /// The same for logs, where they have a limit of their own.
    fn disk_of_logs(&self) -> Option<String> {
        let Holdings { log_bytes, max_log_bytes, .. } = self.holdings;
        (max_log_bytes > 0)
            .then(|| format!("{} of {}", format::bytes(log_bytes), format::bytes(max_log_bytes)))
    }

    /// How long data is kept.
    fn keeps(&self) -> String {
        let Holdings { max_age_s, max_log_age_s, .. } = self.holdings;
        match max_age_s == max_log_age_s {
            true => self.for_so_long(&max_age_s),
            false => {
                format!("traces {}, logs {}", self.for_so_long(&max_age_s), self.for_so_long(&max_log_age_s))
            }
        }
    }

    /// An age that something is kept for.
    fn for_so_long(&self, seconds: &u64) -> String {
        match seconds {
            0 => "for ever".to_owned(),
            seconds => format!("for {}", format::duration(seconds * 1_000_000_000)),
        }
    }

    /// Metrics that are kept, the largest first, as many as are listed.
    fn kept_metrics(&self) -> Vec<&KeptMetric> {
        let mut metrics: Vec<_> = self.kept.metrics.iter().collect();
        metrics.sort_by_key(|metric| std::cmp::Reverse(metric.series));
        metrics.truncate(LISTED);
        metrics
    }

    /// Metrics that are not kept, each with why not, the most first, as many as are listed.
    fn passed_metrics(&self) -> Vec<Passed<'_>> {
        let beyond =
            self.kept.beyond.iter().map(|(name, points)| Passed { name, why: BEYOND, points: *points });
        let passed = self.status.metrics.passed.iter();
        let passed = passed.map(|(name, points)| Passed { name, why: "no page shows it", points: *points });
        let mut all: Vec<_> = beyond.chain(passed).collect();
        all.sort_by_key(|one| std::cmp::Reverse(one.points));
        all.truncate(LISTED);
        all
    }

    /// `42 series of 7 metrics in the last hour`.
    fn kept_note(&self) -> String {
        let series = format::counted(self.kept.series, "series", "series");
        let metrics = format::counted(self.kept.metrics.len() as u64, "metric", "metrics");
        format!("{series} of {metrics} in the last hour")
    }

    /// `1 204 points of 17 metrics`.
    fn passed_note(&self) -> String {
        let (passed, beyond) = (&self.status.metrics.passed, &self.kept.beyond);
        let points: u64 = passed.iter().chain(beyond).map(|(_, points)| points).sum();
        let metrics = format::counted((passed.len() + beyond.len()) as u64, "metric", "metrics");
        format!("{} of {metrics}", format::counted(points, "point", "points"))
    }

    /// `and 12 more metrics`, where not all are listed.
    fn more(&self, all: usize) -> Option<String> {
        let more = all.checked_sub(LISTED).filter(|more| *more > 0)? as u64;
        Some(format!("and {}", format::counted(more, "more metric", "more metrics")))
    }

    /// What is to be said of both lists together.
    fn metrics_note(&self) -> String {
        let keep = "To keep others, start with --keep-metric and the beginning of their names.";
        match self.status.metrics.blank {
            0 => keep.to_owned(),
            blank => format!("{} held no value. {keep}", format::counted(blank, "point", "points")),
        }
    }

    /// The whole of it as text, to be copied into a report.
    fn report(&self) -> String {
        let mut lines = vec![
            format!("Throughline {}: {}", self.frame.version(), self.verdict()),
            self.lede(),
            format!("store: {} {}, {}", self.holdings.engine, self.holdings.location, self.disk()),
        ];
        lines.extend(self.damage.iter().map(|place| format!("cannot be read: {place}")));
        lines.push(format!("metrics kept: {}; not kept: {}", self.kept_note(), self.passed_note()));
        lines.extend(self.status.sources.iter().map(|source| format!("{}: {}", source.name, source.note)));
        let refused = |refused: &super::Refused| {
            let sender = refused.service.as_deref().unwrap_or("unknown sender");
            format!("refused: {} x {} ({sender})", refused.count, refused.reason)
        };
        lines.extend(self.status.refused.iter().map(refused));
        lines.join("\n")
    }
}
