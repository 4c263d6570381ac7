//! `GET /services/{name}`: one service over time, its operations, who calls it and whom it calls, its instances.

use std::sync::Arc;

use askama::Template;
use axum::extract::{Path, State};

use super::super::breakers::{self, Row};
use super::super::chart::{self, Lines, Mark};
use super::super::error::PageError;
use super::super::escape::Html;
use super::super::frame::{Frame, Nav};
use super::super::html::{PageResult, page};
use super::super::map::{self, panel};
use super::super::visit::Visit;
use super::super::{PageState, format};
use super::MAX_TEXT;
use crate::dashboard::documents::Document;
use crate::dashboard::query::kept::Period;
use crate::dashboard::query::map::{BAD, Place, share};
use crate::dashboard::query::services::{
    self, Change, Instance, Neighbour, Operation, OperationOrder, Service, Wanted,
};
use crate::dashboard::store::{OTHERS, Rates};

/// Operations that are listed, and with `all=1`.
const OPERATIONS: usize = 50;
const ALL_OPERATIONS: usize = 1_000;
/// Callers and callees that are listed.
const NEIGHBOURS: usize = 50;
/// Breakers that are listed.
const BREAKERS: usize = 20;
/// Changes that are named above the charts.
const CHANGES: usize = 12;

const ORDERS: [(OperationOrder, &str, &str); 4] = [
    (OperationOrder::Rate, "rate", "busiest first"),
    (OperationOrder::Failing, "failing", "worst first"),
    (OperationOrder::P95, "p95", "slowest first"),
    (OperationOrder::Name, "name", "by name"),
];

/// A chart with the figure above it.
struct Figure {
    name: &'static str,
    now: String,
    unit: String,
    note: &'static str,
    chart: Html,
}

/// The page.
#[derive(Template)]
#[template(path = "service.html")]
struct ServicePage {
    frame: Frame,
    service: Service,
    figures: Vec<Figure>,
    wanted: Wanted,
    /// Breakers in it, and those of others that guard it: the gravest first.
    breakers: Vec<Row>,
    more_breakers: usize,
    /// Where its interface is described.
    documents: Vec<Document>,
}

/// Handler of `GET /services/{name}`.
pub async fn show(State(state): State<PageState>, Path(name): Path<String>, visit: Visit) -> PageResult {
    let wanted = read(&visit, &name)?;
    let service = of(&state, &visit, &name, &wanted).await?;
    let all = breakers::of(&state, &visit).await?;
    let figures = if service.steps.is_empty() { Vec::new() } else { figures(&visit, &service) };
    let frame = visit.frame(Nav::Services, format::shortened(&service.name, 80)).live();
    let around = breakers::around(&all, &service.name);
    let more_breakers = around.len().saturating_sub(BREAKERS);
    let breakers = around.iter().take(BREAKERS).map(|one| breakers::row(&frame, one)).collect();
    let documents = state.settings.documents.of(&name).to_vec();
    page(&ServicePage { frame, service, figures, wanted, breakers, more_breakers, documents })
}

/// Reads what is wanted of the operations, and refuses what no service's name can be.
pub(super) fn read(visit: &Visit, name: &str) -> Result<Wanted, PageError> {
    let params = &visit.params;
    for (what, text) in [("The name of a service", Some(name)), ("“find”", params.text("find"))] {
        if text.is_some_and(|text| text.len() > MAX_TEXT) {
            return Err(PageError::bad(format!("{what} has at most {MAX_TEXT} bytes.")));
        }
    }
    if name.contains('\0') {
        return Err(PageError::bad("The address holds a NUL character."));
    }
    let order = match params.text("order") {
        None => OperationOrder::default(),
        Some(word) => {
            ORDERS.iter().find(|(_, known, _)| *known == word).map(|(order, ..)| *order).ok_or_else(|| {
                let word = format::shortened(word, 20);
                PageError::bad(format!("“order” may be rate, failing, p95 or name, not “{word}”."))
            })?
        }
    };
    let limit = if params.on("all") { ALL_OPERATIONS } else { OPERATIONS };
    Ok(Wanted { order, find: params.text("find").map(str::to_owned), limit })
}

/// The service of a visit's range; an error where nobody knows it.
pub(super) async fn of(
    state: &PageState,
    visit: &Visit,
    name: &str,
    wanted: &Wanted,
) -> Result<Service, PageError> {
    let around: Arc<_> = map::of(state, visit).await?;
    let range = match map::period(visit) {
        Period::Last(_) => (visit.range.from, visit.range.to),
        Period::Fixed(from, to) => (from, to),
    };
    let found = services::service(&*state.reader, &around, name, range, wanted).await?;
    found.ok_or_else(|| {
        let name = format::shortened(name, 80);
        PageError::missing(
            "No such service",
            format!(
                "No service is called “{name}” in what is kept. Upper and lower case count. The list of services has those \
                 that are there."
            ),
        )
    })
}

fn figures(visit: &Visit, service: &Service) -> Vec<Figure> {
    let steps = &service.steps;
    let begin = steps[0].0;
    let length = steps.get(1).map_or(visit.range.length(), |(second, _)| second - begin).max(1);
    let end = begin.saturating_add(length.saturating_mul(steps.len() as u64));
    let marks: Vec<Mark> = service.changes.iter().take(CHANGES).map(mark).collect();
    // A step that has only just begun would look like a fall.
    let whole = |at: u64| (visit.range.to.saturating_sub(at)).min(length);
    let rate: Vec<Option<f64>> = steps
        .iter()
        .map(|(at, rates)| (whole(*at) * 4 >= length).then(|| rates.count as f64 / (whole(*at) as f64 / 1e9)))
        .collect();
    let failing: Vec<Option<f64>> =
        steps.iter().map(|(_, rates)| (rates.count > 0).then(|| share(rates))).collect();
    let quantile = |of: f64| -> Vec<Option<f64>> {
        steps.iter().map(|(_, rates)| rates.durations.quantile(of).map(|ns| ns as f64)).collect()
    };
    let (p50, p95, p99) = (quantile(0.5), quantile(0.95), quantile(0.99));
    let draw = |label, lines: &[(&[Option<f64>], &str)], unit| {
        chart::lines(visit, (begin, end), &Lines { label, lines, unit, marks: &marks })
    };
    let (often, often_unit) = format::often_parts(service.total.count as f64 / service.seconds);
    let percent = format::percent(share(&service.total));
    let (now, unit) =
        service.total.durations.quantile(0.95).map_or(("—".to_owned(), ""), format::duration_parts);
    vec![
        Figure {
            name: "Rate",
            now: often,
            unit: often_unit.to_owned(),
            note: "",
            chart: draw("Requests a second", &[(&rate, "")], format::often),
        },
        Figure {
            name: "Failing",
            now: percent.trim_end_matches('%').trim_end_matches(format::NBSP).to_owned(),
            unit: "%".to_owned(),
            note: "",
            chart: draw("Share of failing requests", &[(&failing, "e")], format::percent),
        },
        Figure {
            name: "Duration p95",
            now,
            unit: unit.to_owned(),
            note: "p99 dashed, p50 thin",
            chart: draw("Durations: p50, p95 and p99", &[(&p50, "f"), (&p99, "q"), (&p95, "a")], |value| {
                format::duration(value as u64)
            }),
        },
    ]
}

fn mark(change: &Change) -> Mark {
    let version = format::shortened(&change.version, 24);
    let says = if change.again { format!("{version} again") } else { format!("{version} first seen") };
    Mark { at: change.at, says }
}

impl ServicePage {
    /// The sentence below the name.
    fn lede(&self) -> String {
        let phrase = self.frame.visit.range.phrase();
        let total = &self.service.total;
        if total.count == 0 {
            return format!(
                "It served nothing {phrase}. Choose a longer time range to see what it did before."
            );
        }
        let requests = format::counted(total.count, "request", "requests");
        match total.errors {
            0 => format!("{requests} {phrase}, none failed."),
            errors => format!("{} of {requests} failed {phrase}.", format::count(errors)),
        }
    }

    fn is_bad(&self) -> bool {
        self.service.total.errors >= 2 && share(&self.service.total) >= BAD
    }

    fn versions(&self) -> String {
        super::versions(&self.service.versions)
    }

    fn seen(&self, at: &u64) -> Html {
        super::last_seen(&self.frame, *at)
    }

    fn orders(&self) -> Vec<(String, &'static str, bool)> {
        let link = |(order, word, name): (OperationOrder, &'static str, &'static str)| {
            let word = (order != OperationOrder::default()).then_some(word);
            (self.frame.here(&[("order", word)]), name, order == self.wanted.order)
        };
        ORDERS.map(link).into()
    }

    fn rate(&self, rates: &Rates) -> Html {
        self.frame.often(rates.count, self.service.seconds)
    }

    fn share(&self, rates: &Rates) -> Html {
        panel::failing(rates)
    }

    fn quantile(&self, rates: &Rates, share: f64) -> Html {
        panel::duration(&self.frame, rates.durations.quantile(share))
    }

    fn place(&self, place: &Place) -> Html {
        panel::name(&self.frame, place)
    }

    /// Both lists with their titles.
    fn sides(&self) -> [(&'static str, &'static str, &[Neighbour]); 2] {
        [
            ("Called by", "Nobody was seen calling it", &self.service.callers),
            ("Calls", "It was seen calling nobody", &self.service.callees),
        ]
    }

    fn most(&self) -> usize {
        NEIGHBOURS
    }

    /// All breakers in it.
    fn all_breakers(&self) -> String {
        self.frame.link_with("/breakers", &[("service", &self.service.name)])
    }

    fn on_the_map(&self) -> String {
        let id = Place::Service(self.service.name.clone()).id();
        self.frame.link_with("/map", &[("focus", &id), ("node", &id)])
    }

    fn traces(&self, query: &str) -> String {
        self.frame.link_with("/traces", &[("query", query)])
    }

    fn slowest(&self, query: &str) -> String {
        self.frame.link_with("/traces", &[("query", query), ("order", "longest")])
    }

    fn all_logs(&self) -> String {
        self.frame.link_with("/logs", &[("service", &self.service.name)])
    }

    fn level(&self, rates: &Rates) -> &'static str {
        panel::level(rates)
    }

    /// A text cut to what fits into a row.
    fn cut(&self, text: &str) -> String {
        format::shortened(text, 80)
    }

    fn all_traces(&self) -> String {
        self.frame.link_with("/traces", &[("service", &self.service.name)])
    }

    fn operation<'a>(&self, operation: &'a Operation) -> &'a str {
        if operation.name == OTHERS { "others, counted together" } else { &operation.name }
    }

    fn instance<'a>(&self, instance: &'a Instance) -> &'a str {
        match instance.name.as_str() {
            "" => "—",
            OTHERS => "others, counted together",
            name => name,
        }
    }

    fn kept(&self) -> Vec<&(String, String)> {
        self.frame.visit.params.0.iter().filter(|(key, _)| key != "find").collect()
    }
}
