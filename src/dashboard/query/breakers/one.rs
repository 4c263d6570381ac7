//! One breaker: its changes with what tripped it, what became of calls, and what it turned away.

use std::collections::HashSet;

use super::evidence::{self, Change, Rejection};
use super::kept::Listed;
use super::signal::{self, Says};
use super::track::{self, Heard};
use super::{Breaker, Key, Library, Outcome, State};
use crate::dashboard::model::{Kind, Nanos, Span, SpanId, Trace, TraceId, TraceSummary};
use crate::dashboard::query::semantics::Semantics;
use crate::dashboard::query::{growth, redact};
use crate::dashboard::store::{LogFilter, Reader, SeriesFilter, StatusFilter, StoreError, TraceFilter};

const S: Nanos = 1_000_000_000;
/// Changes that are listed.
pub const MOST_TRANSITIONS: usize = 50;
/// Of them, the newest whose causes are looked for.
const EXPLAINED: usize = 5;
/// A call that failed so long before a breaker opened may have tripped it.
const BEFORE: Nanos = 60 * S;
/// Exports tell late that a breaker opened, and a call may begin long before it fails.
const AROUND: Nanos = 120 * S;
/// Traces looked at for one change, spans of a trace that is opened for it, and causes that are listed.
const CAUSE_TRACES: usize = 20;
const LARGE: u32 = 5_000;
pub const MOST_CAUSES: usize = 5;
/// Rejected calls that are listed.
const MOST_REJECTED: usize = 20;
/// Instances change together within this.
const TOGETHER: Nanos = 10 * S;
/// Series of calls of one service that are read: those of all its breakers and processes.
const MOST_SERIES: usize = 10_000;
/// Steps of the chart, at most and at least.
const STEPS: usize = 60;
const LEAST_STEPS: u64 = 4;

/// What a page about one breaker shows.
#[derive(Debug, Clone, PartialEq)]
pub struct One {
    pub breaker: Breaker,
    /// The newest first.
    pub transitions: Vec<Transition>,
    /// Calls a second over the range, by what became of them; only what is told.
    pub calls: Vec<(Outcome, Vec<Option<f64>>)>,
    /// What its events say beside the change: thresholds and the like.
    pub settings: Vec<(String, String)>,
    /// The newest first.
    pub rejected: Vec<Rejected>,
}

/// A change, of one instance or of several at once.
#[derive(Debug, Clone, PartialEq)]
pub struct Transition {
    /// When the first of the instances changed.
    pub at: Nanos,
    pub from: State,
    pub to: State,
    pub instances: Vec<String>,
    /// The span, if one told of it.
    pub told: Option<(TraceId, SpanId)>,
    /// Whether a span or log told of it, so that the moment is exact.
    pub exact: bool,
    /// What whoever named the change said of it.
    pub reason: Option<String>,
    pub because: Because,
}

/// Why it changed.
#[derive(Debug, Clone, PartialEq)]
pub enum Because {
    /// Calls that failed just before: the newest ones, and how many were found.
    Failures(Vec<Cause>, usize),
    /// It had been open for so long.
    Waited(Nanos),
    /// Calls were let through to try, and went well.
    TrialsPassed,
    /// A trial call failed.
    TrialFailed,
    /// Nothing that is stored tells.
    Untold,
}

/// A call that failed shortly before a breaker opened.
#[derive(Debug, Clone, PartialEq)]
pub struct Cause {
    pub trace: TraceId,
    pub span: SpanId,
    pub name: String,
    /// Whom it called, as far as it says.
    pub peer: Option<String>,
    pub why: String,
    /// When it failed.
    pub time: Nanos,
    pub correlation: Option<String>,
}

/// A trace that the breaker turned away.
#[derive(Debug, Clone, PartialEq)]
pub struct Rejected {
    pub rejection: Rejection,
    /// What the trace began as.
    pub root: String,
    /// What was answered to who began it.
    pub answered: Option<String>,
    pub correlation: Option<String>,
}

/// Whether a name in an address is this name: NUL cannot stand in an address.
pub fn is_named(name: &str, asked: &str) -> bool {
    name == asked || name.contains('\0') && name.replace('\0', "\u{2400}") == asked
}

/// The breaker that an address asks for. Without a library it is the first of that name.
pub fn find<'a>(
    listed: &'a Listed,
    service: &str,
    name: &str,
    library: Option<Library>,
) -> Option<&'a Breaker> {
    listed.breakers.iter().find(|breaker| {
        let key = &breaker.key;
        is_named(&key.service, service)
            && is_named(&key.name, name)
            && library.is_none_or(|one| key.library == one)
    })
}

/// Everything about one of the breakers listed.
pub async fn one(reader: &dyn Reader, listed: &Listed, breaker: &Breaker) -> Result<One, StoreError> {
    let (from, to, key) = (listed.from, listed.to, &breaker.key);
    let of_it =
        |change: &&Change| change.service == key.service && change.name == key.name && change.time >= from;
    let mut changes: Vec<Change> = listed.changes.iter().filter(of_it).cloned().collect();
    let mut transitions = transitions(breaker, &changes, from);
    if key.library == Library::Resilience4j && changes.is_empty() {
        changes = in_logs(reader, key, &transitions).await?;
        sharpen(&mut transitions, &changes);
    }
    explain(reader, breaker, &mut transitions).await?;
    let details = changes.iter().rev().flat_map(|change| &change.details);
    let mut named = HashSet::new();
    let settings = details.filter(|(key, _)| named.insert(key.clone())).take(12);
    let settings = settings.map(|(key, value)| (key.clone(), redact::shown(key, value).0)).collect();
    Ok(One {
        transitions,
        calls: calls(reader, key, from, to).await?,
        settings,
        rejected: rejected(reader, breaker, from, to).await?,
        breaker: breaker.clone(),
    })
}

/// The changes of all instances, the newest first, those that happened together as one.
pub(super) fn transitions(breaker: &Breaker, changes: &[Change], from: Nanos) -> Vec<Transition> {
    let mut all: Vec<Transition> = Vec::new();
    for instance in &breaker.instances {
        // What nothing is known of in between does not hide that the state is another one after it; and who is heard of
        // first when it is open did open.
        let mut before = None;
        for one in instance.strip.iter().filter(|one| one.state != State::Unknown) {
            let known = before.replace(one.state);
            let is_change = known.map_or(one.state.is_open(), |state| state != one.state);
            if one.from > from && is_change {
                all.push(Transition {
                    at: one.from,
                    from: known.unwrap_or(State::Unknown),
                    to: one.state,
                    instances: vec![instance.name.clone()],
                    told: None,
                    exact: false,
                    reason: None,
                    because: Because::Untold,
                });
            }
        }
    }
    // Shorter than the time between two exports: no sample tells of it, its event does.
    for change in changes {
        let near = |one: &&Transition| one.to == change.to && one.at.abs_diff(change.time) <= 2 * TOGETHER;
        let known = all.iter().find(near).is_some();
        if !known {
            all.push(Transition {
                at: change.time,
                from: change.from.unwrap_or(State::Unknown),
                to: change.to,
                instances: vec![change.instance.clone()],
                told: None,
                exact: true,
                reason: change.reason.clone(),
                because: Because::Untold,
            });
        }
    }
    all.sort_by(|a, b| b.at.cmp(&a.at).then_with(|| a.instances.cmp(&b.instances)));
    let mut merged: Vec<Transition> = Vec::new();
    for one in all {
        let same = |known: &&mut Transition| {
            (known.from, known.to) == (one.from, one.to)
                && known.at - one.at <= TOGETHER
                && !known.instances.contains(&one.instances[0])
        };
        match merged.iter_mut().rev().take(8).find(same) {
            Some(known) => {
                known.at = one.at;
                known.instances.extend(one.instances);
            }
            None => merged.push(one),
        }
    }
    merged.truncate(MOST_TRANSITIONS);
    sharpen(&mut merged, changes);
    merged.sort_by_key(|one| std::cmp::Reverse(one.at));
    merged
}

/// Takes the moment, and the span, from whoever named the change.
fn sharpen(transitions: &mut [Transition], changes: &[Change]) {
    for one in transitions {
        let near = changes
            .iter()
            .filter(|change| change.to == one.to && one.at.abs_diff(change.time) <= 2 * TOGETHER);
        if let Some(change) = near.min_by_key(|change| one.at.abs_diff(change.time)) {
            one.at = change.time;
            one.exact = true;
            one.reason = change.reason.as_ref().map(|reason| redact::shown("", reason).0);
            one.told = change.trace.zip(change.span);
        }
    }
}

/// Changes that resilience4j's users log: `CircuitBreaker 'payments' changed state from CLOSED to OPEN`. Only around
/// changes that are known already, since a text is looked for in each log.
async fn in_logs(
    reader: &dyn Reader,
    key: &Key,
    transitions: &[Transition],
) -> Result<Vec<Change>, StoreError> {
    let mut changes = Vec::new();
    for one in transitions.iter().take(EXPLAINED) {
        let filter = LogFilter {
            from: Some(one.at.saturating_sub(AROUND)),
            to: Some(one.at.saturating_add(TOGETHER)),
            service: Some(key.service.clone()),
            text: Some("changed state from".to_owned()),
            limit: 20,
            ..LogFilter::default()
        };
        for row in reader.logs(&filter).await?.rows {
            let text = row.log.body.to_text();
            let Some((before, after)) = text.split_once(" changed state from ") else { continue };
            let states = after.split_once(" to ").map(|(from, to)| {
                let to = to.split(|sign: char| !sign.is_ascii_alphabetic() && sign != '_').next();
                (State::named(from), to.and_then(State::named))
            });
            if let Some((from, Some(to))) = states
                && before.ends_with(&format!("CircuitBreaker '{}'", key.name))
            {
                changes.push(Change {
                    time: row.time,
                    service: key.service.clone(),
                    instance: row.log.resource.instance(),
                    name: key.name.clone(),
                    from,
                    to,
                    peer: None,
                    trace: row.log.trace_id,
                    span: row.log.span_id,
                    by_log: true,
                    reason: None,
                    details: Vec::new(),
                });
            }
        }
    }
    Ok(changes)
}

async fn explain(
    reader: &dyn Reader,
    breaker: &Breaker,
    transitions: &mut [Transition],
) -> Result<(), StoreError> {
    let opened: Vec<Nanos> = transitions.iter().filter(|one| one.to.is_open()).map(|one| one.at).collect();
    for (number, one) in transitions.iter_mut().enumerate() {
        one.because = match (one.from, one.to) {
            (State::HalfOpen, State::Closed) => Because::TrialsPassed,
            (_, State::HalfOpen) => {
                let begin = opened.iter().find(|opened| **opened < one.at);
                begin.map_or(Because::Untold, |begin| Because::Waited(one.at - begin))
            }
            (_, to) if to.is_open() && number < 2 * EXPLAINED => match causes(reader, breaker, one).await? {
                (causes, _) if causes.is_empty() && one.from == State::HalfOpen => Because::TrialFailed,
                (causes, _) if causes.is_empty() => Because::Untold,
                (causes, count) => Because::Failures(causes, count),
            },
            _ => Because::Untold,
        };
    }
    Ok(())
}

/// The calls that failed just before: those to what the breaker guards, else any of its service.
async fn causes(
    reader: &dyn Reader,
    breaker: &Breaker,
    opened: &Transition,
) -> Result<(Vec<Cause>, usize), StoreError> {
    // A moment that an export told may be later than the change by as much as lies between two exports.
    let until = opened.at.saturating_add(S);
    let filter = TraceFilter {
        from: Some(opened.at.saturating_sub(BEFORE + AROUND)),
        to: Some(until),
        service: Some(breaker.key.service.clone()),
        status: Some(StatusFilter::Error),
        limit: CAUSE_TRACES,
        ..TraceFilter::default()
    };
    let mut found: Vec<(u8, Cause)> = Vec::new();
    let rows = reader.traces(&filter).await?.rows;
    let small: Vec<TraceSummary> = rows.into_iter().filter(|summary| summary.spans <= LARGE).collect();
    let ids: Vec<TraceId> = small.iter().map(|summary| summary.trace_id).collect();
    // In the order of the IDs, so each beside its summary.
    for (summary, (_, trace)) in small.iter().zip(reader.each_trace(&ids).await) {
        let Some(trace) = trace? else { continue };
        let correlation = summary.correlation().map(|one| one.value.clone());
        let failed = trace.spans.iter().filter(|span| {
            span.failed()
                && span.service() == breaker.key.service
                && evidence::rejection(span).is_none()
                && (opened.at.saturating_sub(BEFORE)..=until).contains(&span.end)
        });
        for span in failed {
            found.push((nearness(breaker, span, &trace), cause(span, correlation.clone())));
        }
    }
    let best = found.iter().map(|(near, _)| *near).min();
    let mut causes: Vec<Cause> =
        found.into_iter().filter(|(near, _)| Some(*near) == best).map(|(_, cause)| cause).collect();
    causes.sort_by_key(|cause| std::cmp::Reverse(cause.time));
    let count = causes.len();
    causes.truncate(MOST_CAUSES);
    Ok((causes, count))
}

/// How likely a failed span is what the breaker guards; 0 is best.
fn nearness(breaker: &Breaker, span: &Span, trace: &Trace) -> u8 {
    let guards = |name: &str| breaker.peer.as_deref() == Some(name) || breaker.key.name == name;
    let peer = Semantics(span).peer();
    let called = trace
        .spans
        .iter()
        .find(|other| other.parent == Some(span.span_id) && other.service() != span.service());
    if peer.is_some_and(guards) || called.is_some_and(|other| guards(other.service())) {
        0
    } else if matches!(span.kind, Kind::Client | Kind::Producer) {
        1
    } else if span.kind == Kind::Internal {
        2
    } else {
        3
    }
}

fn cause(span: &Span, correlation: Option<String>) -> Cause {
    let semantics = Semantics(span);
    Cause {
        trace: span.trace_id,
        span: span.span_id,
        name: span.name.clone(),
        peer: semantics.peer().map(str::to_owned),
        why: semantics.reason().map(|why| redact::shown("", &why).0).unwrap_or_default(),
        time: span.end,
        correlation,
    }
}

/// Calls a second in steps of the range.
async fn calls(
    reader: &dyn Reader,
    key: &Key,
    from: Nanos,
    to: Nanos,
) -> Result<Vec<(Outcome, Vec<Option<f64>>)>, StoreError> {
    let filter = SeriesFilter {
        metrics: signal::metrics_of_calls(key.library),
        services: Some(HashSet::from([key.service.clone()])),
        from,
        to,
        most: MOST_SERIES,
        ..SeriesFilter::default()
    };
    let heard = track::hear(reader.series(&filter).await?.series, from);
    let of_it: Vec<&Heard> = heard.iter().filter(|heard| heard.signal.key == *key).collect();
    // Each step holds an export or two: else every other one would look as if nothing were known.
    let between = of_it.iter().filter_map(|heard| match heard.series.samples.as_slice() {
        [first, .., last] => Some((last.time - first.time) / (heard.series.samples.len() as u64 - 1)),
        _ => None,
    });
    let between = between.min().unwrap_or(S).max(S);
    let steps = ((to - from) / (between + between / 2)).clamp(LEAST_STEPS, STEPS as u64) as usize;
    let mut all = Vec::new();
    for outcome in Outcome::ALL {
        let mut sums: Option<Vec<Option<f64>>> = None;
        for heard in of_it.iter().filter(|heard| heard.signal.says == Says::Calls(outcome)) {
            let rates = growth::per_second(&heard.grown, from, to, steps);
            let sums = sums.get_or_insert_with(|| vec![None; steps]);
            for (sum, rate) in sums.iter_mut().zip(rates) {
                *sum = rate.map(|rate| sum.unwrap_or(0.0) + rate).or(*sum);
            }
        }
        all.extend(sums.map(|sums| (outcome, sums)));
    }
    Ok(all)
}

/// The newest calls that it turned away.
async fn rejected(
    reader: &dyn Reader,
    breaker: &Breaker,
    from: Nanos,
    to: Nanos,
) -> Result<Vec<Rejected>, StoreError> {
    let key = &breaker.key;
    let (found, _) = evidence::rejections(reader, from, to, Some(&key.service)).await?;
    let fits = |rejection: &&Rejection| match &rejection.name {
        Some(name) => *name == key.name,
        None => rejection.library == key.library,
    };
    let mut traces = HashSet::new();
    let mut rejected = Vec::new();
    for rejection in found.iter().rev().filter(fits) {
        if rejected.len() >= MOST_REJECTED {
            break;
        }
        if rejection.trace.is_some_and(|trace| !traces.insert(trace)) {
            continue;
        }
        let summary = match rejection.trace {
            Some(trace) => reader.summary(trace).await?,
            None => None,
        };
        let root = summary.as_ref().and_then(|summary| summary.root.as_ref());
        rejected.push(Rejected {
            root: root.map_or_else(String::new, |root| root.name.clone()),
            answered: root.and_then(|root| root.answer).map(|status| status.to_string()),
            correlation: summary.as_ref().and_then(|one| one.correlation()).map(|one| one.value.clone()),
            rejection: rejection.clone(),
        });
    }
    Ok(rejected)
}
