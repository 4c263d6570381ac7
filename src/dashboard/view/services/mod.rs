//! `GET /services` and `GET /services/{name}`: how services do.
//!
//! * This file: the list. * [`one`]: the page of one. * [`spark`]: a trend in a row. * [`data`]: the same as JSON.

mod data;
mod one;
pub mod spark;

use std::sync::Arc;

use askama::Template;
use axum::extract::State;

use super::PageState;
use super::connect;
use super::error::PageError;
use super::escape::Html;
use super::format;
use super::frame::{Frame, Nav};
use super::html::{PageResult, page};
use super::map::{panel, period};
use super::visit::Visit;
use crate::dashboard::query::map::share;
use crate::dashboard::query::services::{Line, Services};
use crate::dashboard::store::Rates;

pub use data::{list as list_data, show as data};
pub use one::show;

/// Rows of the list, and with `all=1`.
const ROWS: usize = 50;
const ALL_ROWS: usize = 1_000;
/// Versions named in a row.
const VERSIONS: usize = 2;
/// Longest text of a filter and longest name of a service, in bytes.
const MAX_TEXT: usize = 1_000;

/// In which order services are listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Order {
    Worst,
    Name,
    Rate,
    P95,
}

const ORDERS: [(Order, &str, &str); 4] = [
    (Order::Worst, "worst", "worst first"),
    (Order::Name, "name", "by name"),
    (Order::Rate, "rate", "by rate"),
    (Order::P95, "p95", "by p95"),
];

/// The list.
#[derive(Template)]
#[template(path = "services.html")]
struct ListPage {
    frame: Frame,
    all: Arc<Services>,
    /// Indexes of what is listed.
    rows: Vec<usize>,
    more: usize,
    order: Order,
    find: Option<String>,
}

/// Handler of `GET /services`.
pub async fn list(State(state): State<PageState>, visit: Visit) -> PageResult {
    let asked = read(&visit)?;
    let all = state.services.get(&*state.reader, period(&visit)).await?;
    if !all.ever {
        return connect::empty(&visit, &state, Nav::Services);
    }
    let limit = if visit.params.on("all") { ALL_ROWS } else { ROWS };
    let mut rows = sorted(&all, &asked);
    let more = rows.len().saturating_sub(limit);
    rows.truncate(limit);
    let frame = visit.frame(Nav::Services, "Services").live();
    page(&ListPage { frame, all, rows, more, order: asked.order, find: asked.find })
}

/// What the address asks for.
struct Asked {
    order: Order,
    find: Option<String>,
}

fn read(visit: &Visit) -> Result<Asked, PageError> {
    let find = visit.params.text("find").map(str::to_owned);
    if find.as_ref().is_some_and(|text| text.len() > MAX_TEXT) {
        return Err(PageError::bad(format!("“find” is longer than {MAX_TEXT} bytes.")));
    }
    let order = match visit.params.text("order") {
        None => Order::Worst,
        Some(word) => {
            ORDERS.iter().find(|(_, known, _)| *known == word).map(|(order, ..)| *order).ok_or_else(|| {
                let word = format::shortened(word, 20);
                PageError::bad(format!("“order” may be worst, name, rate or p95, not “{word}”."))
            })?
        }
    };
    Ok(Asked { order, find })
}

/// The services that are asked for, as indexes.
fn sorted(all: &Services, asked: &Asked) -> Vec<usize> {
    let text = asked.find.as_ref().map(|text| text.to_lowercase());
    let named = |index: &usize| {
        text.as_ref().is_none_or(|text| all.services[*index].name.to_lowercase().contains(text))
    };
    let mut rows: Vec<usize> = (0..all.services.len()).filter(named).collect();
    let of = |index: &usize| &all.services[*index].total;
    // They come by name, which a stable sort keeps among equals.
    match asked.order {
        Order::Name => {}
        Order::Rate => rows.sort_by_key(|index| std::cmp::Reverse(of(index).count)),
        Order::P95 => {
            rows.sort_by_cached_key(|index| std::cmp::Reverse(of(index).durations.quantile(0.95)));
        }
        Order::Worst => rows.sort_by_cached_key(|index| {
            let rates = of(index);
            std::cmp::Reverse(((share(rates) * 1_000.0).round() as u64, rates.errors, rates.count))
        }),
    }
    rows
}

impl ListPage {
    fn line(&self, index: &usize) -> &Line {
        &self.all.services[*index]
    }

    /// The sentence that the page opens with.
    fn verdict(&self) -> String {
        let mut bad: Vec<&Line> = self.all.services.iter().filter(|line| line.is_bad()).collect();
        bad.sort_by_key(|line| std::cmp::Reverse((line.total.errors, line.total.count)));
        let well = (self.all.services.len() - bad.len()) as u64;
        let name = |line: &Line| format::shortened(&line.name, 60);
        let others = match well {
            0 => String::new(),
            1 => ", one is well".to_owned(),
            well => format!(", {} are well", format::count(well)),
        };
        match bad.as_slice() {
            [] if well == 0 => format!("Nothing came {}", self.frame.visit.range.phrase()),
            [] => "No service keeps failing".to_owned(),
            [one] => format!("{} fails{others}", name(one)),
            [one, two] => format!("{} and {} fail{others}", name(one), name(two)),
            [one, rest @ ..] => format!("{} and {} more fail{others}", name(one), rest.len()),
        }
    }

    /// Those that fail worst, for the sentence below.
    fn failing(&self) -> Vec<(&Line, String)> {
        let mut bad: Vec<&Line> = self.all.services.iter().filter(|line| line.is_bad()).collect();
        bad.sort_by_key(|line| std::cmp::Reverse((line.total.errors, line.total.count)));
        bad.into_iter().take(3).map(|line| (line, format::percent(share(&line.total)))).collect()
    }

    fn orders(&self) -> Vec<(String, &'static str, bool)> {
        let link = |(order, word, name): (Order, &'static str, &'static str)| {
            let word = (order != Order::Worst).then_some(word);
            (self.frame.here(&[("order", word)]), name, order == self.order)
        };
        ORDERS.map(link).into()
    }

    fn rate(&self, line: &Line) -> Html {
        self.frame.often(line.total.count, self.all.seconds)
    }

    fn share(&self, rates: &Rates) -> Html {
        panel::failing(rates)
    }

    fn quantile(&self, rates: &Rates, share: f64) -> Html {
        panel::duration(&self.frame, rates.durations.quantile(share))
    }

    fn level(&self, rates: &Rates) -> &'static str {
        panel::level(rates)
    }

    fn counted(&self) -> String {
        format::counted(self.all.services.len() as u64, "service", "services")
    }

    fn rate_spark(&self, line: &Line) -> Html {
        spark::of(&line.steps, "", |rates| Some(rates.count as f64), |most| format!("at most {most} a step"))
    }

    fn failing_spark(&self, line: &Line) -> Html {
        let class = if line.total.errors > 0 { "e" } else { "" };
        let failing = |rates: &Rates| (rates.count > 0).then(|| share(rates));
        spark::of(&line.steps, class, failing, |most| format!("at most {}", format::percent(most)))
    }

    fn p95_spark(&self, line: &Line) -> Html {
        let p95 = |rates: &Rates| rates.durations.quantile(0.95).map(|ns| ns as f64);
        spark::of(&line.steps, "", p95, |most| format!("at most {}", format::duration(most as u64)))
    }

    /// When it was seen last; nothing where that is the end of the range.
    fn seen(&self, line: &Line) -> Html {
        last_seen(&self.frame, line.last_seen)
    }

    fn versions(&self, line: &Line) -> String {
        versions(&line.versions)
    }

    /// The hidden fields that the filter form sends along.
    fn kept(&self) -> Vec<&(String, String)> {
        self.frame.visit.params.0.iter().filter(|(key, _)| key != "find").collect()
    }
}

/// The versions that run, newest first; `—` where none is known.
fn versions(all: &[String]) -> String {
    let named = all.iter().rev().take(VERSIONS).map(|version| format::shortened(version, 24));
    let mut out = named.collect::<Vec<_>>().join(", ");
    if all.len() > VERSIONS {
        out += &format!(", +{}", all.len() - VERSIONS);
    }
    if out.is_empty() { "—".to_owned() } else { out }
}

/// When something was seen last: `now`, or an age.
fn last_seen(frame: &Frame, at: u64) -> Html {
    if at == 0 {
        return askama::filters::Safe(r#"<span class="none">—</span>"#.to_owned());
    }
    if frame.visit.range.preset.is_some() && frame.visit.now.saturating_sub(at) < 2_000_000_000 {
        return askama::filters::Safe("now".to_owned());
    }
    let age = format!("{} ago", frame.age(&at));
    let time = frame.time(&at);
    // The moment with its zone is in the title; the age is what is read.
    let (open, _) = time.0.split_once('>').unwrap_or(("<time", ""));
    askama::filters::Safe(format!("{open}>{}</time>", super::escape::escaped(&age)))
}
