//! The story of one correlation ID: from all its traces and logs to one account of what happened.
//!
//! [`tell`] goes through these rooms, each of which knows only those before it:
//!
//! * [`read`]: what one span says, by new and by old attribute names.
//! * [`steps`]: all spans in one list with sane parents and times.
//! * [`mail`]: messages, their deliveries and where they waited; `buried` adds what taps saw among the dead letters.
//! * [`ending`]: where it broke, or where it is now.
//! * [`way`]: the one line to follow through all of it.
//! * [`verdict`]: the ending in words.
//! * [`acts`]: the story in order, each act told by `telling`, breakers by `switches`, messages that
//!   no span tells of by `tapped`; [`about`] finds what the application says of its
//!   subject.
//! * [`axis`]: a time axis on which idle gaps are folded; [`chart`]: lanes, bars and marks on it, drawn by `artist`.
//! * [`sequence`]: who spoke to whom.
//!
//! Positions are percentages and row numbers. What must not live here: HTML, formats of numbers and times,
//! anything that waits or reads a store.

pub mod about;
pub mod acts;
mod artist;
pub mod axis;
mod buried;
pub mod chart;
pub mod ending;
pub mod mail;
pub mod read;
pub mod sequence;
pub mod steps;
pub mod switches;
mod tapped;
mod telling;
pub mod verdict;
pub mod way;

#[cfg(test)]
pub mod fixture;
#[cfg(test)]
mod tests;

use std::collections::{BTreeSet, HashSet};

use crate::dashboard::model::{LogRecord, Message, Nanos, SpanId, Trace, TraceId};
use crate::dashboard::query::breakers::near::Near;
use crate::dashboard::query::redact;
pub use acts::{Act, ActKind, Acts, Ref, Weight};
pub use chart::Chart;
pub use ending::State;
pub use sequence::Sequence;
pub use steps::Skew;
pub use verdict::Verdict;

/// What a story is told from.
#[derive(Debug, Default)]
pub struct Material {
    /// Oldest first.
    pub traces: Vec<Trace>,
    /// Of them, those that only a span link ties to the others.
    pub tied_by_link: BTreeSet<TraceId>,
    /// Logs that carry the ID and name no trace, by time.
    pub logs: Vec<LogRecord>,
    /// Messages that a tap saw and that name no trace, by time; those of traces are theirs.
    pub messages: Vec<Message>,
    /// Changes of the breakers of its services while it ran, by time, whoever told of them.
    pub changes: Vec<Near>,
    /// Traces that carry the ID too but were not read, being many, large or damaged.
    pub left_out: usize,
}

/// What the reader wants to see of it. It changes what is listed and drawn, never the verdict.
#[derive(Debug, Clone, Default)]
pub struct Wish {
    /// Only what this service does.
    pub service: Option<String>,
    /// Only acts of this kind.
    pub kind: Option<ActKind>,
    /// Also what is quiet: every span.
    pub quiet: bool,
    /// The chart to scale, gaps unfolded.
    pub true_scale: bool,
}

/// One account of everything that carries a correlation ID.
#[derive(Debug)]
pub struct Story {
    pub now: Nanos,
    pub verdict: Verdict,
    pub facts: Facts,
    pub acts: Acts,
    pub chart: Chart,
    pub sequence: Sequence,
    /// All logs by time.
    pub logs: Vec<LogLine>,
    pub skew: Option<Skew>,
}

/// The figures under the verdict.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Facts {
    pub first: Nanos,
    pub last: Nanos,
    /// Time in queues, overlapping waits counted once, in ns.
    pub waiting: u64,
    pub traces: usize,
    pub left_out: usize,
    pub spans: usize,
    pub messages: usize,
    pub logs: usize,
    /// By first appearance.
    pub services: Vec<String>,
    /// What the story is about, by its own attributes: `order.id` and its value. At most two.
    pub about: Vec<(String, String)>,
}

impl Material {
    /// All messages that a tap saw.
    fn seen(&self) -> impl Iterator<Item = &Message> {
        self.traces.iter().flat_map(|trace| &trace.messages).chain(&self.messages)
    }
}

impl Facts {
    /// From the first to the last act, in ns.
    pub fn length(&self) -> u64 {
        self.last.saturating_sub(self.first)
    }
}

/// A log of the story.
#[derive(Debug, Clone, PartialEq)]
pub struct LogLine {
    pub time: Nanos,
    pub service: String,
    pub level: &'static str,
    pub severity: u8,
    pub text: String,
    pub trace: Option<TraceId>,
    pub span: Option<SpanId>,
    /// How long after the end of its trace it was written, where that is long, in ns.
    pub late: Option<u64>,
}

/// A log so long after the end of its trace is told as an act of its own.
const LATE: u64 = 1_000_000_000;
/// The longest text of a log kept, in characters.
const MAX_LOG_TEXT: usize = 2_000;

/// Tells the story.
pub fn tell(material: &Material, wish: &Wish, now: Nanos) -> Story {
    let steps = steps::Steps::of(&material.traces, now);
    let mut mail = mail::Mail::of(&steps);
    buried::settle(&mut mail, &steps, material);
    let logs = all_logs(material, &steps, now);
    let facts = facts(material, &steps, &mail, &logs, now);
    let ending = ending::Ending::of(&steps, &mail, &facts, now);
    let way = way::Way::of(&steps, &mail, &ending);
    let switches = switches::all(material, &steps);
    let scene = Scene {
        material,
        steps: &steps,
        mail: &mail,
        logs: &logs,
        facts: &facts,
        ending: &ending,
        switches: &switches,
        now,
    };
    let verdict = verdict::verdict(&scene);
    let chart = chart::draw(&scene, &way, wish);
    let acts = acts::tell(&scene, &way, wish);
    let sequence = sequence::draw(&scene, &way, &chart, wish);
    Story { now, verdict, facts, acts, chart, sequence, logs, skew: steps.skew.clone() }
}

/// Everything found out, for those who tell or draw it.
struct Scene<'a> {
    material: &'a Material,
    steps: &'a steps::Steps<'a>,
    mail: &'a mail::Mail,
    logs: &'a [LogLine],
    facts: &'a Facts,
    ending: &'a ending::Ending,
    /// What breakers did, by time.
    switches: &'a [switches::Switch],
    now: Nanos,
}

/// Logs of the traces and those without one, by time.
fn all_logs(material: &Material, steps: &steps::Steps, now: Nanos) -> Vec<LogLine> {
    let mut ends = vec![0; material.traces.len()];
    for step in &steps.list {
        ends[step.trace] = step.end.max(ends[step.trace]);
    }
    let own = material.traces.iter().zip(ends).flat_map(|(trace, end)| {
        trace.logs.iter().map(move |log| line(log, Some(end).filter(|end| *end > 0)))
    });
    let mut logs: Vec<LogLine> = own.chain(material.logs.iter().map(|log| line(log, None))).collect();
    logs.sort_by_key(|log| (!steps::plausible(log.time, now), log.time));
    logs
}

fn line(log: &LogRecord, trace_end: Option<Nanos>) -> LogLine {
    let text = match log.body.to_text() {
        body if body.is_empty() => log.event_name.clone(),
        body => body,
    };
    let text = redact::shown("", &text).0;
    let text = match text.char_indices().nth(MAX_LOG_TEXT) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    };
    let late = trace_end.map(|end| log.time.saturating_sub(end)).filter(|late| *late >= LATE);
    LogLine {
        time: log.time,
        service: log.service().to_owned(),
        level: log.level(),
        severity: log.severity,
        text,
        trace: log.trace_id,
        span: log.span_id,
        late,
    }
}

fn facts(
    material: &Material,
    steps: &steps::Steps,
    mail: &mail::Mail,
    logs: &[LogLine],
    now: Nanos,
) -> Facts {
    let good: Vec<_> = steps.list.iter().filter(|step| step.plausible).collect();
    let times = || logs.iter().map(|log| log.time).filter(|time| steps::plausible(*time, now));
    let seen = || material.seen().map(|message| message.seen).filter(|time| steps::plausible(*time, now));
    let last = good.iter().map(|step| step.end).chain(times()).chain(seen()).max();
    let first = good.iter().map(|step| step.start).chain(times()).chain(seen()).min();
    let mut by_time: Vec<_> = steps.list.iter().collect();
    by_time.sort_by_key(|step| step.order);
    let mut known = HashSet::new();
    let named = by_time.iter().map(|step| step.service()).chain(logs.iter().map(|log| log.service.as_str()));
    let services = named.filter(|name| known.insert(*name)).map(str::to_owned).collect();
    Facts {
        first: first.unwrap_or(now),
        last: last.unwrap_or(now),
        waiting: covered(mail.deliveries().filter_map(|(_, delivery)| delivery.wait.as_ref())),
        traces: material.traces.len(),
        left_out: material.left_out,
        spans: steps.list.len(),
        messages: mail.posts.len() + tapped::unheard(material, steps, mail).len(),
        logs: logs.len(),
        services,
        about: about::facts(steps),
    }
}

/// The time that the waits cover together.
fn covered<'a>(waits: impl Iterator<Item = &'a mail::Wait>) -> u64 {
    let mut waits: Vec<(Nanos, Nanos)> = waits.map(|wait| (wait.from, wait.to)).collect();
    waits.sort_unstable();
    let mut sum = 0;
    let mut until = 0;
    for (from, to) in waits {
        sum += to.saturating_sub(from.max(until));
        until = until.max(to);
    }
    sum
}
