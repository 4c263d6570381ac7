//! What every page is drawn in: header, navigation, search, time range, and helpers that templates call.
//!
//! A page's template extends `base.html` and holds a field `frame: Frame`; everything here can be called on it:
//! `{{ frame.svc(name) }}`, `{{ frame.time(at) }}`, `{{ frame.duration(ns) }}`, `{{ frame.short_id(id) }}`,
//! `{{ frame.icon("err") }}`, `{{ frame.link("/traces") }}`.

use std::fmt::Write;

use super::escape::{Html, escaped};
use super::range::PRESETS;
use super::visit::{Params, Visit};
use super::{assets, format, zone};
use crate::dashboard::model::{Failure, Nanos, SpanId, TraceId, TraceSummary};
use crate::dashboard::query::prose::{Piece, Prose};

/// The page that is marked as the current one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Nav {
    Overview,
    Traces,
    Logs,
    Map,
    Services,
    Queues,
    Messages,
    Breakers,
    Status,
    /// None of them: a result of a search, an error.
    Other,
}

/// The context of `base.html`.
pub struct Frame {
    /// The page's title, for the window and bookmarks.
    pub title: String,
    pub nav: Nav,
    pub visit: Visit,
    /// Whether the page asks for itself again when something has come. Off where the range is fixed.
    pub refresh: bool,
    /// Whether the page hears of changes without asking for all of itself again.
    pub stream: bool,
    /// The text in the search box.
    pub searched: String,
}

impl Frame {
    /// The frame around a page; nothing in it is live until a page says so.
    pub fn new(visit: Visit, nav: Nav, title: String) -> Self {
        Self { title, nav, visit, refresh: false, stream: false, searched: String::new() }
    }

    /// Makes the page live where its range moves with the clock.
    pub fn live(mut self) -> Self {
        self.refresh = self.visit.range.preset.is_some();
        self
    }

    /// What of the store cannot be read. Asked when the page is drawn, so that what it met itself is told.
    pub fn damage(&self) -> Option<String> {
        let places = self.visit.state.reader.damage();
        let first = places.first()?;
        let others = places.len() - 1;
        let more = match others {
            0 => String::new(),
            _ => format!(" And {}.", format::counted(others as u64, "other part", "other parts")),
        };
        Some(format!("Part of the store cannot be read, so something may be missing here: {first}.{more}"))
    }

    /// Where failures of the demo shop can be switched on, if they can.
    pub fn scenarios(&self) -> Option<String> {
        self.visit.state.scenarios.as_ref().map(|_| self.link("/scenarios"))
    }

    /// Where somebody who may only look can log in to do more, or at all.
    pub fn log_in(&self) -> Option<String> {
        let wants = self.visit.state.gate.has_keys() && !self.visit.session;
        wants.then(|| format!("/login?next={}", format::encoded(&self.itself())))
    }

    /// The pages of the navigation: address, name, whether it is this one.
    pub fn pages(&self) -> Vec<(String, &'static str, bool)> {
        [
            ("/", "Overview", Nav::Overview),
            ("/traces", "Traces", Nav::Traces),
            ("/logs", "Logs", Nav::Logs),
            ("/map", "Map", Nav::Map),
            ("/queues", "Queues", Nav::Queues),
            ("/messages", "Messages", Nav::Messages),
            ("/breakers", "Breakers", Nav::Breakers),
            ("/services", "Services", Nav::Services),
        ]
        .map(|(path, name, nav)| (self.link(path), name, self.nav == nav))
        .into()
    }

    /// `path` with the time range of this page.
    pub fn link(&self, path: &str) -> String {
        self.link_with(path, &[])
    }

    /// `path` with `params` and the time range of this page.
    pub fn link_with(&self, path: &str, params: &[(&str, &str)]) -> String {
        let mut pairs: Vec<(String, String)> =
            params.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        pairs.extend(self.visit.range.params().into_iter().map(|(key, value)| (key.to_owned(), value)));
        format!("{path}{}", Params(pairs).write())
    }

    /// This page's own address, changed.
    pub fn here(&self, changes: &[(&str, Option<&str>)]) -> String {
        format!("{}{}", self.visit.path, self.visit.params.with(changes).write())
    }

    /// This page's own address.
    pub fn itself(&self) -> String {
        self.here(&[])
    }

    /// This page's own address with `key` set.
    pub fn with(&self, key: &str, value: &str) -> String {
        self.here(&[(key, Some(value))])
    }

    /// This page's own address without `key`.
    pub fn without(&self, key: &str) -> String {
        self.here(&[(key, None)])
    }

    /// Why something failed, cut to what fits into a row.
    pub fn why(&self, failure: &Failure) -> String {
        let why = if failure.why.is_empty() { &failure.span_name } else { &failure.why };
        format::shortened(why, 140)
    }

    /// The ranges that one click chooses: address, name, whether it is this one.
    pub fn presets(&self) -> Vec<(String, &'static str, bool)> {
        PRESETS
            .map(|(word, name, _)| {
                let to = self.here(&[("last", Some(word)), ("from", None), ("to", None), ("after", None)]);
                (to, name, self.visit.range.preset == Some(word))
            })
            .into()
    }

    /// What the form of the time range has to send along: the rest of the query.
    pub fn kept_params(&self) -> Vec<&(String, String)> {
        self.visit
            .params
            .0
            .iter()
            .filter(|(key, _)| !matches!(key.as_str(), "last" | "from" | "to" | "after"))
            .collect()
    }

    /// The range's name, `Last 1 h`.
    pub fn range_name(&self) -> String {
        self.visit.range.name()
    }

    /// The range's ends in the visitor's zone: `13:21 – 14:21 CET`.
    pub fn range_ends(&self) -> String {
        let (range, zone) = (&self.visit.range, &self.visit.zone);
        format!(
            "{} – {} {}",
            zone.clock(range.from, self.visit.now, false),
            zone.clock(range.to, self.visit.now, false),
            zone.abbreviation(range.to)
        )
    }

    /// The range's begin or end as the form takes it back.
    pub fn local(&self, at: &Nanos) -> String {
        self.visit.zone.local(*at)
    }

    /// The abbreviation of the visitor's zone now.
    pub fn zone_name(&self) -> String {
        self.visit.zone.abbreviation(self.visit.now)
    }

    /// The address of a file of `static/`.
    pub fn asset(&self, name: &str) -> String {
        assets::address(name)
    }

    /// Whether htmx was there when the binary was built.
    pub fn lively(&self) -> bool {
        assets::has("htmx.js")
    }

    /// The number of this build, to be read by a person.
    pub fn version(&self) -> &'static str {
        env!("CARGO_PKG_VERSION")
    }

    /// Where an icon of `icons.svg` is, for a `use` in a drawing.
    pub fn icon_address(&self, name: &str) -> String {
        format!("{}#i-{name}", assets::address("icons.svg"))
    }

    /// An icon of `icons.svg` that only repeats the text beside it.
    pub fn icon(&self, name: &str) -> Html {
        askama::filters::Safe(format!(
            r##"<svg class="ic" aria-hidden="true"><use href="{}"/></svg>"##,
            self.icon_address(name)
        ))
    }

    /// An icon that says something by itself, coloured by `class`.
    pub fn sign(&self, name: &str, class: &str, says: &str) -> Html {
        askama::filters::Safe(format!(
            r##"<svg class="ic {class}" role="img" aria-label="{}"><use href="{}#i-{name}"/></svg>"##,
            escaped(says),
            assets::address("icons.svg")
        ))
    }

    /// A service in its colour.
    pub fn svc(&self, name: &str) -> Html {
        askama::filters::Safe(format!(
            r#"<span class="svc c{}">{}</span>"#,
            format::slot(name),
            escaped(&format::shortened(name, 80))
        ))
    }

    /// A service in its colour, as a link to its page.
    pub fn svc_link(&self, name: &str) -> Html {
        let href = escaped(&self.service_link(name)).to_string();
        askama::filters::Safe(format!(r#"<a href="{href}">{}</a>"#, self.svc(name).0))
    }

    /// The class of a service's colour.
    pub fn slot(&self, name: &str) -> String {
        format!("c{}", format::slot(name))
    }

    /// An ID, shortened, whole in its title.
    pub fn short_id(&self, id: &str) -> Html {
        askama::filters::Safe(format!(
            r#"<code class="id" title="{}">{}</code>"#,
            escaped(&format::shortened(id, 300)),
            escaped(&format::short_id(id))
        ))
    }

    /// A moment in the visitor's zone, UTC and age in its title. `—` for a time that was not told.
    pub fn time(&self, at: &Nanos) -> Html {
        self.time_as(*at, &self.visit.zone.moment(*at, self.visit.now))
    }

    /// A moment to the second.
    pub fn time_short(&self, at: &Nanos) -> Html {
        self.time_as(*at, &self.visit.zone.clock(*at, self.visit.now, true))
    }

    fn time_as(&self, at: Nanos, text: &str) -> Html {
        let mut out = String::new();
        if at == 0 {
            out.push_str(r#"<span class="none" title="no time was sent">—</span>"#);
        } else {
            let age = format::age(at, self.visit.now);
            let ago = if at > self.visit.now { "" } else { " ago" };
            let _ = write!(
                out,
                r#"<time datetime="{}" title="{} · {age}{ago}">{}</time>"#,
                zone::rfc3339(at),
                zone::utc(at),
                escaped(text)
            );
        }
        askama::filters::Safe(out)
    }

    /// How long ago: `17 m`.
    pub fn age(&self, at: &Nanos) -> String {
        format::age(*at, self.visit.now)
    }

    /// A duration in ns, its unit in lighter ink.
    pub fn duration(&self, ns: &u64) -> Html {
        let (number, unit) = format::duration_parts(*ns);
        askama::filters::Safe(match unit {
            "" => number,
            _ => format!(r#"{number}{}<span class="unit">{unit}</span>"#, format::NBSP),
        })
    }

    /// How long a trace took.
    pub fn length(&self, trace: &TraceSummary) -> Html {
        self.duration(&trace.duration())
    }

    /// A duration in ns as plain text.
    pub fn duration_text(&self, ns: &u64) -> String {
        format::duration(*ns)
    }

    /// How often `count` in so many seconds is, its unit in lighter ink.
    pub fn often(&self, count: u64, seconds: f64) -> Html {
        let (number, unit) = format::often_parts(count as f64 / seconds);
        askama::filters::Safe(format!(r#"{number}{}<span class="unit">{unit}</span>"#, format::NBSP))
    }

    /// A whole number with gaps between thousands.
    pub fn count(&self, number: &u64) -> String {
        format::count(*number)
    }

    /// A sentence with its services, codes and errors marked.
    pub fn prose(&self, prose: &Prose) -> Html {
        let mut out = String::new();
        for piece in &prose.0 {
            let short = |text: &str| escaped(&format::shortened(text, 400));
            let _ = match piece {
                Piece::Text(text) => write!(out, "{}", short(text)),
                Piece::Service(name) => write!(out, "{}", self.svc(name).0),
                Piece::Strong(text) => write!(out, r#"<b class="strong">{}</b>"#, short(text)),
                Piece::Code(text) => write!(out, "<code>{}</code>", short(text)),
                Piece::Error(text) => write!(out, r#"<span class="err-t">{}</span>"#, short(text)),
                Piece::Breaker(service, name) => {
                    let to = escaped(&self.breaker_named(service, name, None));
                    write!(out, r#"<a href="{to}">{}</a>"#, short(name))
                }
                Piece::Duration(ns) => write!(out, "{}", format::duration(*ns)),
                Piece::Moment(at, None) => write!(out, "{}", self.time(at).0),
                Piece::Moment(at, Some((trace, span))) => {
                    let to = escaped(&self.span_link(trace, span));
                    write!(out, r#"<a href="{to}">{}</a>"#, self.time(at).0)
                }
            };
        }
        askama::filters::Safe(out)
    }

    /// The page of a service.
    pub fn service_link(&self, name: &str) -> String {
        self.link(&format!("/services/{}", format::segment(name)))
    }

    /// The page of a trace.
    pub fn trace_link(&self, id: &TraceId) -> String {
        self.link(&format!("/traces/{id}"))
    }

    /// The page of a trace with one span opened.
    pub fn span_link(&self, trace: &TraceId, span: &SpanId) -> String {
        self.link_with(&format!("/traces/{trace}"), &[("span", &span.to_string())])
    }

    /// The list of logs, narrowed by `params`, over a time range that holds all of `times`, and an hour more for those
    /// that come late.
    pub fn logs_link(&self, times: impl Iterator<Item = Nanos>, params: &[(&str, &str)]) -> String {
        const BEFORE: Nanos = 1_000_000_000;
        const AFTER: Nanos = 3_600_000_000_000;
        let ends = times.filter(|at| *at > 0).fold(None, |ends: Option<(Nanos, Nanos)>, at| {
            Some(ends.map_or((at, at), |(first, last)| (first.min(at), last.max(at))))
        });
        let Some((first, last)) = ends else { return self.link_with("/logs", params) };
        let range = [
            ("from", zone::rfc3339(first.saturating_sub(BEFORE))),
            ("to", zone::rfc3339(last.saturating_add(AFTER))),
        ];
        let all = params.iter().copied().chain(range.iter().map(|(key, value)| (*key, value.as_str())));
        let pairs = all.map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
        format!("/logs{}", Params(pairs).write())
    }

    /// The page of a correlation ID.
    pub fn correlation_link(&self, id: &str) -> String {
        self.link(&format!("/correlations/{}", format::segment(id)))
    }
}
