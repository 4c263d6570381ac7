//! One breaker: its changes and what tripped it, what became of calls, what it turned away, and its instances.

use askama::Template;
use axum::extract::State as From;

use super::{badge, finding, period, shown, strip};
use crate::dashboard::model::Nanos;
use crate::dashboard::query::breakers::kept::Listed;
use crate::dashboard::query::breakers::one::{
    self as query, Because, MOST_TRANSITIONS, One, Rejected, Transition,
};
use crate::dashboard::query::breakers::{Breaker, Known, Library, Outcome, State, evidence};
use crate::dashboard::query::language;
use crate::dashboard::query::map::Place;
use crate::dashboard::view::PageState;
use crate::dashboard::view::chart::{self, Lines};
use crate::dashboard::view::error::PageError;
use crate::dashboard::view::escape::{Html, escaped};
use crate::dashboard::view::format;
use crate::dashboard::view::frame::{Frame, Nav};
use crate::dashboard::view::html::{PageResult, page};
use crate::dashboard::view::visit::Visit;

/// Instances that are listed.
const MOST_INSTANCES: usize = 100;

#[derive(Template)]
#[template(path = "breaker.html")]
struct OnePage {
    frame: Frame,
    one: One,
    transitions: Vec<TransitionRow>,
    instances: Vec<InstanceRow>,
    legend: Vec<(&'static str, &'static str, String)>,
    chart: Option<Html>,
    service_link: String,
    /// The edge that it guards, where that is known.
    map_link: Option<String>,
    traces_link: String,
    rejected_link: String,
    logs_link: String,
    list_link: String,
}

/// A change as it is shown.
struct TransitionRow {
    at: Html,
    from: Html,
    to: Html,
    because: Html,
    instances: String,
    told: Option<String>,
}

struct InstanceRow {
    name: String,
    badge: Html,
    since: String,
    known: &'static str,
    strip: Html,
    heard: Html,
}

/// What the address asks for.
pub fn asked(visit: &Visit) -> Result<(String, String, Option<Library>), PageError> {
    let missing =
        |key: &str| PageError::bad(format!("“{key}” is missing: the address of a breaker names its {key}."));
    let service =
        visit.params.get("service").filter(|text| !text.is_empty()).ok_or_else(|| missing("service"))?;
    let name = visit.params.get("name").ok_or_else(|| missing("name"))?;
    let library = match visit.params.text("library") {
        None => None,
        Some(code) => Some(Library::coded(code).ok_or_else(|| {
            PageError::bad(format!("“library” is not one that is known: “{}”.", format::shortened(code, 20)))
        })?),
    };
    Ok((service.to_owned(), name.to_owned(), library))
}

/// The breaker that the address asks for, or why there is none.
pub fn wanted<'a>(visit: &Visit, listed: &'a Listed) -> Result<&'a Breaker, PageError> {
    let (service, name, library) = asked(visit)?;
    query::find(listed, &service, &name, library).ok_or_else(|| {
        PageError::missing(
            "No such breaker",
            format!(
                "No breaker “{}” of “{}” was heard {}. Choose a longer time range, or look at the list.",
                format::shortened(&name, 60),
                format::shortened(&service, 60),
                visit.range.phrase()
            ),
        )
    })
}

/// Handler of `GET /breakers/one?service=&name=&library=`.
pub async fn show(From(state): From<PageState>, visit: Visit) -> PageResult {
    asked(&visit)?;
    let listed = state.breakers.get(&*state.reader, period(&visit)).await?;
    let breaker = wanted(&visit, &listed)?;
    let one = query::one(&*state.reader, &listed, breaker).await?;
    let title = format!("{} in {}", shown(&breaker.key), format::shortened(&breaker.key.service, 60));
    let frame = visit.frame(Nav::Breakers, title).live();
    page(&draw(frame, one, (listed.from, listed.to)))
}

fn draw(frame: Frame, one: One, range: (Nanos, Nanos)) -> OnePage {
    let key = &one.breaker.key;
    let service = language::value(&key.service);
    let heard = one.breaker.heard.max(1);
    let transitions = one.transitions.iter().map(|transition| line(&frame, transition, heard)).collect();
    let instances = one.breaker.instances.iter().take(MOST_INSTANCES);
    let instances = instances
        .map(|instance| InstanceRow {
            name: instance.name.clone(),
            badge: badge(&frame, instance.state),
            since: instance.since.map_or_else(|| "—".to_owned(), |since| frame.age(&since)),
            known: if instance.state == State::Unknown { "silent" } else { instance.known.word() },
            strip: strip::strip(&frame.visit, &instance.strip, "long"),
            heard: frame.time_short(&instance.heard),
        })
        .collect();
    let (legend, chart) = calls(&frame, &one, range);
    let traces = format!("service.name = {service} and status = error");
    OnePage {
        transitions,
        instances,
        legend,
        chart,
        service_link: frame.service_link(&key.service),
        map_link: one.breaker.peer.as_deref().map(|peer| on_the_map(&frame, &key.service, peer)),
        traces_link: frame.link_with("/traces", &[("query", &traces)]),
        rejected_link: frame.link_with("/traces", &[("query", &evidence::query(&key.service, key.library))]),
        logs_link: frame.link_with("/logs", &[("service", &key.service), ("text", &key.name)]),
        list_link: frame.link("/breakers"),
        frame,
        one,
    }
}

/// The map with the edge open that leads from a service to what a breaker of it guards.
fn on_the_map(frame: &Frame, service: &str, peer: &str) -> String {
    // No address holds a NUL; its picture stands for it.
    let [caller, callee] = [service, peer].map(|name| name.replace('\0', "\u{2400}"));
    let caller = Place::Service(caller).id();
    // By its name alone: it may be a service, a database or somebody outside.
    frame.link_with("/map", &[("focus", &caller), ("caller", &caller), ("callee", &callee)])
}

fn line(frame: &Frame, transition: &Transition, heard: usize) -> TransitionRow {
    let at = frame.time(&transition.at);
    let at = match transition.exact {
        true => at,
        false => askama::filters::Safe(format!(
            r#"<span title="told by an export: it happened up to one export earlier">{}</span>"#,
            at.0
        )),
    };
    TransitionRow {
        at,
        from: badge(frame, transition.from),
        to: badge(frame, transition.to),
        because: because(frame, transition),
        instances: format!("{} of {}", transition.instances.len(), heard.max(transition.instances.len())),
        told: transition.told.map(|(trace, span)| frame.span_link(&trace, &span)),
    }
}

/// Why it changed, with links to the spans and stories.
fn because(frame: &Frame, transition: &Transition) -> Html {
    let said = transition.reason.as_ref().map(|reason| escaped(&format::shortened(reason, 160)));
    let text = match &transition.because {
        Because::Untold | Because::TrialFailed | Because::TrialsPassed | Because::Waited(_)
            if said.is_some() =>
        {
            said.clone().unwrap_or_default()
        }
        Because::Waited(time) => format!("{} had passed", escaped(&format::duration(*time))),
        Because::TrialsPassed => "trial calls passed".to_owned(),
        Because::TrialFailed => "a trial call failed".to_owned(),
        Because::Untold => r#"<span class="none" title="nothing that is stored tells">—</span>"#.to_owned(),
        Because::Failures(causes, count) => {
            let mut text = format!(
                "{} just before",
                escaped(&format::counted(*count as u64, "call failed", "calls failed"))
            );
            for (number, cause) in causes.iter().enumerate() {
                let why = if cause.why.is_empty() { &cause.name } else { &cause.why };
                text.push_str(if number == 0 { ": " } else { ", " });
                text.push_str(&format!(
                    r#"<a href="{}" title="{} at {}">{}</a>"#,
                    escaped(&frame.span_link(&cause.trace, &cause.span)),
                    escaped(&format::shortened(&cause.name, 120)),
                    escaped(&frame.visit.zone.moment(cause.time, frame.visit.now)),
                    escaped(&format::shortened(why, 80))
                ));
                if let Some(id) = &cause.correlation {
                    text.push_str(&format!(
                        r#" (<a href="{}">story</a>)"#,
                        escaped(&frame.correlation_link(id))
                    ));
                }
                // One reason said five times is said once.
                if causes.iter().all(|other| other.why == cause.why) {
                    break;
                }
            }
            match said {
                Some(said) => format!("{said}; {text}"),
                None => text,
            }
        }
    };
    askama::filters::Safe(text)
}

/// The legend with the newest rates, and the chart, where anything is told of calls.
fn calls(
    frame: &Frame,
    one: &One,
    range: (Nanos, Nanos),
) -> (Vec<(&'static str, &'static str, String)>, Option<Html>) {
    let per_second = |value: f64| format!("{} /s", format::rate(value));
    let class = |outcome: Outcome| match outcome {
        Outcome::Succeeded => "",
        Outcome::Failed => "e",
        Outcome::Rejected => "q",
    };
    let legend = one.calls.iter().map(|(outcome, values)| {
        let now = values.iter().rev().flatten().next();
        (class(*outcome), outcome.word(), now.map_or_else(|| "—".to_owned(), |now| per_second(*now)))
    });
    let lines: Vec<_> =
        one.calls.iter().map(|(outcome, values)| (values.as_slice(), class(*outcome))).collect();
    let chart = (!lines.is_empty()).then(|| {
        let label = "Calls a second by result: succeeded, failed, rejected";
        chart::lines(&frame.visit, range, &Lines { label, lines: &lines, unit: per_second, marks: &[] })
    });
    (legend.collect(), chart)
}

impl OnePage {
    fn breaker(&self) -> &Breaker {
        &self.one.breaker
    }

    fn name(&self) -> String {
        shown(&self.one.breaker.key)
    }

    /// The sentence that the page opens with.
    fn headline(&self) -> String {
        let breaker = &self.one.breaker;
        match breaker.state {
            State::Unknown if breaker.known == Known::Rejections => {
                format!(
                    "{} of {} turned calls away",
                    self.name(),
                    format::shortened(&breaker.key.service, 60)
                )
            }
            State::Unknown => format!("Nothing is heard of {} in {}", self.name(), breaker.key.service),
            state if state.is_trouble() => finding(breaker),
            state => format!(
                "{} is {} in {}",
                self.name(),
                state.word(),
                format::shortened(&breaker.key.service, 60)
            ),
        }
    }

    fn level(&self) -> &'static str {
        match self.one.breaker.state {
            state if state.is_open() => "err",
            state if state.is_trouble() => "warn",
            _ => "",
        }
    }

    /// The sentences below.
    fn lede(&self) -> String {
        let breaker = &self.one.breaker;
        let frame = &self.frame;
        let mut parts = Vec::new();
        if let Some(peer) = &breaker.peer {
            parts.push(format!("It guards calls to {}.", format::shortened(peer, 80)));
        }
        match breaker.since {
            Some(since) if breaker.state == State::Unknown => {
                parts.push(format!("It was last heard {} ago.", frame.age(&since)))
            }
            Some(since) if breaker.older => {
                parts.push(format!(
                    "It has been so for longer than was looked back, {} at least.",
                    frame.age(&since)
                ));
            }
            Some(since) => parts.push(format!("It has been so for {}.", frame.age(&since))),
            None => {}
        }
        if let Some(failing) = breaker.failing {
            parts.push(format!("{} of its calls failed in the last 5 minutes.", format::percent(failing)));
        }
        if let Some(rejected) = breaker.rejected.filter(|rate| *rate > 0.0) {
            parts.push(format!("It turns {} /s away.", format::rate(rejected)));
        }
        parts.join(" ")
    }

    /// How the state is known.
    fn how(&self) -> &'static str {
        self.one.breaker.known.sentence()
    }

    fn library(&self) -> &'static str {
        self.one.breaker.key.library.name()
    }

    fn many_transitions(&self) -> bool {
        self.transitions.len() >= MOST_TRANSITIONS
    }

    fn more_instances(&self) -> usize {
        self.one.breaker.instances.len().saturating_sub(MOST_INSTANCES)
    }

    /// Where a rejected call is looked at.
    fn rejected_span(&self, rejected: &Rejected) -> Option<String> {
        let (trace, span) = (rejected.rejection.trace?, rejected.rejection.span);
        Some(match span {
            Some(span) => self.frame.span_link(&trace, &span),
            None => self.frame.trace_link(&trace),
        })
    }

    fn cut(&self, text: &str) -> String {
        format::shortened(text, 120)
    }
}
