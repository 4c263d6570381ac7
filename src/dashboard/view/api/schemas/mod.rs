//! What answers look like, by name. Each schema is closed: the tests fail where an answer has a field that is not told here.
//!
//! * [`telemetry`]: traces, logs, stories. * [`system`]: the map, services, queues, breakers.
//! * [`messages`]: messages, looks, redrives, the audit. * this file: what they share, and Throughline itself.

mod messages;
mod system;
mod telemetry;

use super::schema::{Schema, flag, list, map, maybe, number, object, of, text, time, whole, word};

/// All of them, in the order of the document.
pub fn all() -> Vec<(&'static str, Schema)> {
    let mut all =
        vec![("Error", error()), ("Overview", overview()), ("Status", status()), ("Scenarios", scenarios())];
    all.extend(telemetry::all());
    all.extend(system::all());
    all.extend(messages::all());
    all
}

/// The ends of the time that an answer covers.
fn range() -> [(&'static str, Schema); 2] {
    [("from", time("Begin of the time")), ("to", time("End of the time"))]
}

/// An object with the range and other fields.
fn ranged(fields: &[(&str, Schema)]) -> Schema {
    let mut all: Vec<(&str, Schema)> = range().into();
    all.extend(fields.iter().cloned());
    object(&all)
}

fn error() -> Schema {
    object(&[
        ("error", text("What is wrong; of a request, with the name of the parameter or field")),
        ("advice", text("What to do about it")),
        ("column?", whole("Of a query: the character at which it is wrong, from 1")),
    ])
}

fn overview() -> Schema {
    let trouble = object(&[
        ("kind", word(&["errors", "refused", "slow"])),
        ("since", time("When it began")),
        ("service?", text("Where it breaks")),
        ("operation?", text("The operation that most of it is of")),
        ("why?", text("The reason of most of it; may be empty")),
        ("brokeIn?", whole("Traces that broke there in the last five minutes")),
        ("ofTraces?", whole("Traces that touched the service")),
        ("newest?", text("The newest such trace")),
        ("p95Nanos?", whole("Of requests, now")),
        ("usualNanos?", whole("The usual p95")),
    ]);
    let failed = object(&[
        ("correlation", maybe(text("The correlation ID"))),
        ("outcome", word(&["dead_lettered", "waits", "retried_well", "answered", "failed"])),
        ("queue", maybe(text("Where its message lies or waits"))),
        ("status", maybe(whole("What the caller was answered"))),
        ("trace", of("TraceSummary")),
    ]);
    let step = object(&[
        ("time", time("Begin of the step")),
        ("spans", whole("Spans")),
        ("requests", whole("Traces whose root ended")),
        ("failedRequests", whole("Of them, those that failed")),
        ("p95Nanos", maybe(whole("95th percentile of their durations"))),
    ]);
    ranged(&[
        ("spans", whole("Spans of the time")),
        ("requests", whole("Requests of the time")),
        ("failedRequests", whole("Of them, those that failed")),
        ("troubles", list(trouble)),
        ("openBreakers", list(of("BreakerBrief"))),
        ("queues", list(of("Queue"))),
        ("failedStories", list(failed)),
        ("steps", list(step)),
    ])
}

fn status() -> Schema {
    let source = object(&[
        ("name", text("Which way in")),
        ("kind", text("What comes there")),
        ("state", word(&["well", "silent", "broken"])),
        ("lastHeard", maybe(time("When the last request came"))),
        ("perSecond", maybe(number("Spans and logs over the last minute"))),
        ("note", text("What else is to be said; may be empty")),
    ]);
    let refused = object(&[
        ("reason", text("Why")),
        ("service", maybe(text("Who sent it"))),
        ("count", whole("How many spans and logs")),
    ]);
    let store = object(&[
        ("engine", text("SQLite or PostgreSQL")),
        ("location", text("Where it is, without any password")),
        ("spans", whole("Kept")),
        ("logs", whole("Kept")),
        ("series", whole("Series of metrics heard lately")),
        ("bytes", whole("On disk, indexes included")),
        ("maxBytes", maybe(whole("Above it the oldest goes; null is no limit"))),
        ("maxAgeSeconds", maybe(whole("Older traces go"))),
        ("maxLogAgeSeconds", maybe(whole("Older logs go"))),
        ("full", flag("The disk is full, and nothing is taken in")),
        ("oldest", maybe(time("Start of the oldest span"))),
        ("queued", whole("Batches that wait for the writer")),
        ("queueCapacity", whole("How many may")),
        ("unreadable", list(text("A part of the store that cannot be read"))),
    ]);
    object(&[
        ("version", text("Of this Throughline")),
        ("started", time("When the process began")),
        ("now", time("Its clock")),
        ("sources", list(source)),
        ("acceptedSpans", whole("Since the start, as are the next ones")),
        ("acceptedLogs", whole("")),
        ("keptPoints", whole("Data points of metrics")),
        ("receivedBytes", whole("After decompression")),
        ("commitP95Nanos", maybe(whole("From arrival to commit"))),
        ("turnedAway", whole("Requests that were told to come again")),
        ("refused", list(refused)),
        (
            "metricsNotKept",
            list(object(&[("name", text("Empty for several")), ("points", whole("Data points"))])),
        ),
        ("store", store),
    ])
}

fn scenarios() -> Schema {
    object(&[(
        "scenarios",
        list(object(&[
            ("name", text("As addresses have it")),
            ("title", text("")),
            ("does", text("What happens")),
            ("look", text("What to look at")),
            ("page", maybe(text("The page to begin with"))),
            ("on", flag("")),
            ("until", maybe(time("When it ends by itself"))),
        ])),
    )])
}

/// Attributes, headers, properties: names with values of any kind.
fn values(says: &str) -> Schema {
    let mut schema = map(super::schema::any("Any JSON; text where a secret in it is masked"));
    schema["description"] = says.into();
    schema
}
