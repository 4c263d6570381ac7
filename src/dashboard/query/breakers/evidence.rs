//! What spans and logs tell of breakers: changes of state by name, and calls that were turned away.
//!
//! The selection that judges a trace notes what it finds, so that no trace is opened twice.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use super::{Library, State};
use crate::dashboard::model::value::{Attributes, find};
use crate::dashboard::model::{
    Event, LogRecord, Nanos, Resource, Span, SpanId, Trace, TraceId, TraceSummary, Value, hash,
};
use crate::dashboard::query::semantics::Semantics;
use crate::dashboard::store::{LogFilter, Plan, Reader, Selection, StoreError, TraceFilter, Verdict};

/// The event that names a change, on spans and logs.
pub const STATE_CHANGE: &str = "circuit_breaker.state_change";
const NAME_KEYS: [&str; 2] = ["circuit_breaker.name", "name"];
const FROM_KEYS: [&str; 3] = ["from", "circuit_breaker.state.from", "circuit_breaker.from"];
const TO_KEYS: [&str; 3] = ["to", "circuit_breaker.state.to", "circuit_breaker.to"];
const REASON: &str = "circuit_breaker.reason";
/// The span event of a call that was turned away.
pub const REJECTED: &str = "circuit_breaker.rejected";
const PEER_KEYS: [&str; 2] = ["service.peer.name", "peer.service"];
/// States as they are written in events; an index finds them as they stand.
const WRITTEN: [&str; 9] =
    ["open", "half_open", "closed", "half-open", "OPEN", "HALF_OPEN", "CLOSED", "forced_open", "isolated"];

/// What says that a call was turned away, as exceptions' types and as error types.
const REJECTIONS: [(&str, Library); 12] = [
    ("io.github.resilience4j.circuitbreaker.CallNotPermittedException", Library::Resilience4j),
    ("CallNotPermittedException", Library::Resilience4j),
    ("Polly.CircuitBreaker.BrokenCircuitException", Library::Polly),
    ("Polly.CircuitBreaker.IsolatedCircuitException", Library::Polly),
    ("dev.failsafe.CircuitBreakerOpenException", Library::Failsafe),
    ("net.jodah.failsafe.CircuitBreakerOpenException", Library::Failsafe),
    ("com.netflix.hystrix.exception.HystrixRuntimeException", Library::Hystrix),
    ("EOPENBREAKER", Library::Opossum),
    ("circuit_open", Library::Convention),
    ("circuit_breaker.open", Library::Convention),
    ("CircuitOpen", Library::Convention),
    ("pybreaker.CircuitBreakerError", Library::Convention),
];
/// Where those stand.
const REJECTION_KEYS: [&str; 3] = ["exception.type", "error.type", "code"];

/// Traces with changes of one reading, and those with rejected calls, of which there may be very many.
const MOST_TRACES: usize = 200;
pub const MOST_REJECTING: usize = 50;
/// Logs of one reading for each state.
const MOST_LOGS: usize = 200;
/// Changes or rejections of one trace.
const MOST_FOUND: usize = 500;
/// How long before a change its trace may have begun.
pub const UNDER_WAY: Nanos = 600_000_000_000;

/// A change of state that somebody named.
#[derive(Debug, Clone, PartialEq)]
pub struct Change {
    pub time: Nanos,
    pub service: String,
    /// The process, as far as the resource names it.
    pub instance: String,
    pub name: String,
    pub from: Option<State>,
    pub to: State,
    pub peer: Option<String>,
    pub trace: Option<TraceId>,
    pub span: Option<SpanId>,
    /// Told by a log, and not by an event of a span.
    pub by_log: bool,
    /// Why, in the sender's words.
    pub reason: Option<String>,
    /// What else the event says, as text: the breaker's settings.
    pub details: Vec<(String, String)>,
}

/// A call that a breaker turned away.
#[derive(Debug, Clone, PartialEq)]
pub struct Rejection {
    pub time: Nanos,
    pub service: String,
    /// The breaker's name, where it is told.
    pub name: Option<String>,
    pub library: Library,
    pub trace: Option<TraceId>,
    pub span: Option<SpanId>,
    /// The span's name, or the log's text.
    pub what: String,
    /// What was answered because of it, where the span says so.
    pub answered: Option<String>,
}

/// Reads the changes of `from..=to` that spans and logs name, by time; of one service, or of all. False where there were
/// more than one reading takes.
pub async fn changes(
    reader: &dyn Reader,
    from: Nanos,
    to: Nanos,
    service: Option<&str>,
) -> Result<(Vec<Change>, bool), StoreError> {
    let collector = Arc::new(Collector::of_changes(from, to, service));
    // A trace that is under way may have begun long before the change.
    let complete = collector.read(reader, from.saturating_sub(UNDER_WAY), to, MOST_TRACES).await?;
    let mut changes = std::mem::take(&mut collector.found().changes);
    for state in ["open", "half_open", "closed", "forced_open"] {
        for log in logs(reader, from, to, service, (TO_KEYS[0], state)).await? {
            changes.extend(change_of_log(&log));
        }
    }
    changes.sort_by_key(|change| change.time);
    Ok((changes, complete))
}

/// Reads the newest rejected calls of `from..=to` that spans and logs tell of, by time; of one service, or of all. False where
/// there were more than one reading takes.
pub async fn rejections(
    reader: &dyn Reader,
    from: Nanos,
    to: Nanos,
    service: Option<&str>,
) -> Result<(Vec<Rejection>, bool), StoreError> {
    let collector = Arc::new(Collector::of_rejections(from, to, service));
    let complete = collector.read(reader, from, to, MOST_REJECTING).await?;
    let mut rejections = std::mem::take(&mut collector.found().rejections);
    let logs = logs(reader, from, to, service, ("code", "EOPENBREAKER")).await?;
    rejections.extend(logs.iter().map(rejection_of_log));
    rejections.sort_by_key(|rejection| rejection.time);
    Ok((rejections, complete && logs.len() < MOST_LOGS))
}

async fn logs(
    reader: &dyn Reader,
    from: Nanos,
    to: Nanos,
    service: Option<&str>,
    (key, value): (&str, &str),
) -> Result<Vec<LogRecord>, StoreError> {
    let filter = LogFilter {
        from: Some(from),
        to: Some(to),
        service: service.map(str::to_owned),
        attributes: vec![(key.to_owned(), value.to_owned())],
        limit: MOST_LOGS,
        ..LogFilter::default()
    };
    Ok(reader.logs(&filter).await?.rows.into_iter().map(|row| row.log).collect())
}

/// Judges traces and notes what they tell.
struct Collector {
    from: Nanos,
    to: Nanos,
    service: Option<String>,
    /// Whether changes are wanted, else rejections.
    changes: bool,
    text: String,
    plan: Plan,
    found: Mutex<Found>,
}

#[derive(Default)]
struct Found {
    changes: Vec<Change>,
    rejections: Vec<Rejection>,
}

/// Selections are the same where their texts are; no two of these are.
static NUMBER: AtomicU64 = AtomicU64::new(0);

impl Collector {
    fn of_changes(from: Nanos, to: Nanos, service: Option<&str>) -> Self {
        Self::new((from, to), service, true, hashes(&TO_KEYS, &WRITTEN))
    }

    fn of_rejections(from: Nanos, to: Nanos, service: Option<&str>) -> Self {
        let types = hashes(&REJECTION_KEYS, &REJECTIONS.map(|(name, _)| name));
        // On a call that was turned away; on those that were not it says closed.
        let turned_away = hashes(&["circuit_breaker.state"], &["open", "forced_open"]);
        Self::new((from, to), service, false, [types, turned_away].concat())
    }

    fn new((from, to): (Nanos, Nanos), service: Option<&str>, changes: bool, hashes: Vec<u32>) -> Self {
        Self {
            from,
            to,
            service: service.map(str::to_owned),
            changes,
            text: format!("breakers {}", NUMBER.fetch_add(1, Ordering::Relaxed)),
            plan: Plan::Attribute(hashes),
            found: Mutex::default(),
        }
    }

    /// Lets the store show it the traces; false where there were more.
    async fn read(
        self: &Arc<Self>,
        reader: &dyn Reader,
        from: Nanos,
        to: Nanos,
        limit: usize,
    ) -> Result<bool, StoreError> {
        let filter = TraceFilter {
            from: Some(from),
            to: Some(to),
            service: self.service.clone(),
            select: Some(self.clone()),
            limit,
            ..TraceFilter::default()
        };
        let page = reader.traces(&filter).await?;
        Ok(page.complete && page.next.is_none())
    }

    fn found(&self) -> MutexGuard<'_, Found> {
        self.found.lock().expect("no holder panics")
    }
}

/// What an index finds attributes by that have one of the keys and one of the values.
fn hashes(keys: &[&str], values: &[&str]) -> Vec<u32> {
    let all = keys.iter().flat_map(|key| values.iter().map(move |value| (*key, *value)));
    all.filter_map(|(key, value)| hash::of(key, &Value::Text(value.to_owned()))).collect()
}

impl Selection for Collector {
    fn text(&self) -> &str {
        &self.text
    }

    fn plan(&self) -> &Plan {
        &self.plan
    }

    fn of_summary(&self, _: &TraceSummary) -> Verdict {
        Verdict::Open
    }

    fn of_trace(&self, _: &TraceSummary, trace: &Trace) -> bool {
        let mut found = self.found();
        let before = found.changes.len() + found.rejections.len();
        let of_service = |span: &&Span| self.service.as_ref().is_none_or(|service| service == span.service());
        for span in trace.spans.iter().filter(of_service) {
            if before + MOST_FOUND <= found.changes.len() + found.rejections.len() {
                break;
            }
            if self.changes {
                let inside = |change: &Change| (self.from..=self.to).contains(&change.time);
                found
                    .changes
                    .extend(span.events.iter().filter_map(|event| change(span, event)).filter(inside));
            } else {
                found.rejections.extend(rejection(span));
            }
        }
        before != found.changes.len() + found.rejections.len()
    }
}

fn text<'a>(attributes: &'a Attributes, keys: &[&str]) -> Option<&'a str> {
    keys.iter().find_map(|key| find(attributes, key)?.as_str()).filter(|text| !text.is_empty())
}

/// A name as series have it: they keep its first 256 bytes.
fn cut(name: &str) -> String {
    name[..name.floor_char_boundary(256)].to_owned()
}

/// The change that an event of a span names.
pub fn change(span: &Span, event: &Event) -> Option<Change> {
    if event.name != STATE_CHANGE {
        return None;
    }
    let time = if event.time == 0 { span.end } else { event.time };
    let told = told(time, &event.attributes, &span.attributes, &span.resource)?;
    Some(Change { trace: Some(span.trace_id), span: Some(span.span_id), ..told })
}

/// The change that a log names.
pub fn change_of_log(log: &LogRecord) -> Option<Change> {
    let named = log.event_name == STATE_CHANGE || find(&log.attributes, NAME_KEYS[0]).is_some();
    let told = told(log.time, &log.attributes, &Vec::new(), &log.resource).filter(|_| named)?;
    Some(Change { trace: log.trace_id, span: log.span_id, by_log: true, ..told })
}

fn told(time: Nanos, said: &Attributes, around: &Attributes, resource: &Resource) -> Option<Change> {
    let to = State::named(text(said, &TO_KEYS)?)?;
    let name = text(said, &NAME_KEYS).or_else(|| text(around, &NAME_KEYS[..1]));
    let peer = text(said, &PEER_KEYS).or_else(|| text(around, &PEER_KEYS)).map(str::to_owned);
    let known = |key: &str| {
        key == REASON
            || [&NAME_KEYS[..], &FROM_KEYS, &TO_KEYS, &PEER_KEYS].iter().any(|keys| keys.contains(&key))
    };
    let details = said.iter().filter(|(key, _)| !known(key) && key.starts_with("circuit_breaker."));
    Some(Change {
        time,
        service: cut(resource.service()),
        instance: cut(&resource.instance()),
        name: cut(name.or(peer.as_deref()).unwrap_or_default()),
        from: text(said, &FROM_KEYS).and_then(State::named),
        to,
        peer,
        trace: None,
        span: None,
        by_log: false,
        reason: text(said, &[REASON]).map(str::to_owned),
        details: details.map(|(key, value)| (key.clone(), value.to_text())).collect(),
    })
}

/// The rejection that a span tells of: an exception of a known type, or that type as its error.
pub fn rejection(span: &Span) -> Option<Rejection> {
    let events = span.events.iter().map(|event| (event.time, &event.attributes));
    let own = std::iter::once((span.end, &span.attributes));
    let refused = span.events.iter().find(|event| event.name == REJECTED);
    let refused = refused.map(|event| (event.time, &event.attributes, Library::Convention));
    let (time, said, library) = refused.or_else(|| {
        events.chain(own).find_map(|(time, said)| {
            let told = REJECTION_KEYS[..2].iter().find_map(|key| find(said, key)?.as_str())?;
            let (_, library) = REJECTIONS.iter().find(|(name, _)| *name == told)?;
            let message = text(said, &["exception.message"]).unwrap_or_default();
            // Hystrix throws one exception for whatever went wrong.
            let is = *library != Library::Hystrix || message.contains("short-circuited");
            is.then_some((time, said, *library))
        })
    })?;
    let message = text(said, &["exception.message"]).unwrap_or(&span.status_message);
    let name = text(said, &NAME_KEYS[..1]).or_else(|| text(&span.attributes, &NAME_KEYS[..1]));
    let semantics = Semantics(span);
    let status = semantics.http_status().map(|status| status.to_string()).or_else(|| semantics.rpc_status());
    Some(Rejection {
        time: if time == 0 { span.start } else { time },
        service: cut(span.service()),
        name: name.or_else(|| quoted(message)).map(cut),
        library,
        trace: Some(span.trace_id),
        span: Some(span.span_id),
        what: span.name.clone(),
        answered: status,
    })
}

fn rejection_of_log(log: &LogRecord) -> Rejection {
    Rejection {
        time: log.time,
        service: cut(log.service()),
        name: text(&log.attributes, &["circuit_breaker.name", "breaker", "circuit"]).map(cut),
        library: Library::Opossum,
        trace: log.trace_id,
        span: log.span_id,
        what: cut(&crate::dashboard::query::logs::text(log)),
        answered: None,
    }
}

/// The name in "CircuitBreaker 'payments' is OPEN and does not permit further calls".
fn quoted(message: &str) -> Option<&str> {
    let (before, rest) = message.split_once('\'')?;
    let (name, _) = rest.split_once("' ")?;
    (before.trim() == "CircuitBreaker" && !name.is_empty()).then_some(name)
}

/// What finds the rejected calls of a service in the list of traces.
pub fn query(service: &str, library: Library) -> String {
    use crate::dashboard::query::language::value;
    let types = REJECTIONS.iter().filter(|(_, of)| *of == library);
    let types: Vec<String> = types
        .flat_map(|(name, _)| {
            ["event.exception.type", "error.type"].map(|key| format!("{key} = {}", value(name)))
        })
        .collect();
    format!("service.name = {} and ({})", value(service), types.join(" or "))
}
