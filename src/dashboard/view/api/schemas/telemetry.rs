//! Traces, logs, stories, samples of metrics.

use super::super::schema::{Schema, flag, list, map, maybe, number, object, of, text, time, whole, word};
use super::{ranged, values};

const KINDS: [&str; 6] = ["unspecified", "internal", "server", "client", "producer", "consumer"];

pub fn all() -> Vec<(&'static str, Schema)> {
    vec![
        ("TraceSummary", summary()),
        ("Traces", traces()),
        ("Trace", trace()),
        ("Span", span()),
        ("Log", log()),
        ("Logs", logs()),
        ("Story", story()),
        ("Search", search()),
        ("Series", series()),
    ]
}

fn summary() -> Schema {
    let root = object(&[
        ("service", text("")),
        ("name", text("")),
        ("kind", word(&KINDS)),
        ("durationNanos", whole("")),
        ("parentless", flag("False while no span without a parent has arrived")),
    ]);
    let share = object(&[("name", text("")), ("spans", whole("")), ("errors", whole(""))]);
    object(&[
        ("traceId", text("32 hexadecimal digits")),
        ("start", time("Earliest start of a span")),
        ("durationNanos", whole("To the latest end of a span")),
        ("spans", whole("")),
        ("errors", whole("Spans with the status ERROR")),
        ("refused", whole("Of them, calls that the other side refused")),
        ("logs", whole("")),
        ("root", maybe(root)),
        ("services", list(share)),
        ("servicesLeftOut", whole("")),
        ("correlations", list(text("A correlation ID, the best first"))),
        (
            "brokeAt",
            maybe(object(&[
                ("service", text("")),
                ("name", text("Of the span")),
                ("spanId", text("")),
                ("why", text("May be empty")),
            ])),
        ),
    ])
}

fn traces() -> Schema {
    ranged(&[
        ("query", text("The whole query, in the words that it was read as")),
        ("examined", whole("Traces looked at by the index")),
        ("opened", whole("Traces whose spans were looked at")),
        ("complete", flag("False where the budget or the limit ended before the time did")),
        ("next", maybe(text("Where the next page begins: “after” of the next request"))),
        ("traces", list(of("TraceSummary"))),
    ])
}

fn trace() -> Schema {
    let part = object(&[
        ("spanId", text("")),
        ("from", time("")),
        ("to", time("")),
        ("waiting", flag("A message lay in a queue, or nothing traced went on")),
    ]);
    object(&[
        ("traceId", text("")),
        ("title", text("The finding in a few words")),
        ("says", text("The finding in a sentence")),
        ("start", time("")),
        ("durationNanos", whole("")),
        ("waitedNanos", whole("In queues")),
        ("clocksDiffer", flag("A call begins before its caller: “clock=adjusted” moves it")),
        ("brokeAt", maybe(text("The span where it broke first"))),
        ("correlations", list(text(""))),
        ("criticalPath", list(part)),
        ("spans", list(of("Span"))),
        ("allSpans", whole("Rows of the whole trace; “row” and “limit” take a part")),
        ("logs", list(of("Log"))),
        ("allLogs", whole("")),
        ("messages", list(text("ID of a message that a tap saw"))),
    ])
}

fn span() -> Schema {
    let event = object(&[("time", time("")), ("name", text("")), ("attributes", values(""))]);
    let link = object(&[("traceId", text("")), ("spanId", maybe(text(""))), ("attributes", values(""))]);
    object(&[
        ("spanId", text("16 hexadecimal digits")),
        ("parentSpanId", maybe(text(""))),
        ("depth", whole("In the tree; parents stand before their children")),
        ("service", text("")),
        ("instance", maybe(text(""))),
        ("scope", text("The instrumentation; may be empty")),
        ("name", text("")),
        ("kind", word(&KINDS)),
        ("start", time("As sent, or adjusted")),
        ("durationNanos", whole("")),
        ("waitedNanos", maybe(whole("Of a consumer: how long its message lay in a queue"))),
        ("status", word(&["unset", "ok", "error"])),
        ("statusMessage", maybe(text(""))),
        ("attributes", values("Secrets are masked")),
        ("events", list(event)),
        ("links", list(link)),
    ])
}

fn log() -> Schema {
    object(&[
        ("time", maybe(time(""))),
        ("service", text("")),
        ("severity", whole("OTLP's number, 1 (TRACE) to 24 (FATAL4); 0 is not told")),
        ("level", maybe(word(&["trace", "debug", "info", "warn", "error", "fatal"]))),
        ("text", text("Its body; secrets are masked")),
        ("eventName", maybe(text(""))),
        ("attributes", values("")),
        ("correlation", maybe(text(""))),
        ("traceId", maybe(text(""))),
        ("spanId", maybe(text(""))),
    ])
}

fn logs() -> Schema {
    ranged(&[
        ("examined", whole("Rows of the index looked at")),
        ("opened", whole("Logs read")),
        ("complete", flag("False where the budget ended before the time did")),
        ("notIndexed", whole("Logs of a time before there was an index")),
        ("unreadable", whole("Logs whose part of the store is damaged")),
        ("next", maybe(text("“after” of the next request"))),
        ("logs", list(of("Log"))),
    ])
}

fn story() -> Schema {
    let reference = object(&[
        ("to", word(&["span", "cause", "message", "breaker"])),
        ("traceId?", text("")),
        ("spanId?", text("")),
        ("id?", text("Of a message")),
        ("service?", text("Of a breaker")),
        ("name?", text("Of a breaker")),
    ]);
    let act = object(&[
        ("at", maybe(time("Null where the time that was sent cannot be true"))),
        ("kind", word(&["requests", "messages", "logs"])),
        ("says", text("")),
        ("services", list(text(""))),
        ("lengthNanos", maybe(whole("Of a wait"))),
        ("firstFailure", flag("")),
        ("details", map(text("What the application says of its subject"))),
        ("refs", list(reference)),
    ]);
    let log = object(&[
        ("time", time("")),
        ("service", text("")),
        ("severity", whole("")),
        ("level", maybe(text(""))),
        ("text", text("")),
        ("traceId", maybe(text(""))),
        ("spanId", maybe(text(""))),
    ]);
    object(&[
        ("id", text("The correlation ID")),
        (
            "state",
            word(&[
                "dead_lettered",
                "failed",
                "waiting",
                "overdue",
                "retried",
                "recovered",
                "refused",
                "running",
                "well",
                "only_logs",
            ]),
        ),
        ("needsSomebody", flag("")),
        ("headline", text("Where it is now, or where it broke")),
        ("says", text("The same in sentences")),
        ("cause", maybe(object(&[("traceId", text("")), ("spanId", text(""))]))),
        ("first", time("The first act")),
        ("last", time("The last act")),
        ("waitedNanos", whole("In queues")),
        ("traces", list(text("A trace of it, oldest first"))),
        ("tracesLeftOut", whole("Traces that were not read, being many, large or damaged")),
        ("complete", flag("")),
        ("spans", whole("")),
        ("messages", whole("")),
        ("services", list(text(""))),
        ("about", map(text("What the story is about: order.id and the like"))),
        ("acts", list(act)),
        ("allActs", whole("“act” and “limit” take a part")),
        ("quietActs", whole("Acts that “all=1” adds")),
        ("filteredActs", whole("Acts that “service” and “kind” leave out")),
        ("logs", list(log)),
        ("allLogs", whole("")),
    ])
}

fn search() -> Schema {
    let hit = object(&[
        ("kind", word(&["trace", "span", "correlation", "message", "service"])),
        ("id", text("")),
        ("traceId?", text("Of a span")),
        ("tracesAndLogs?", whole("Of a correlation ID")),
    ]);
    object(&[
        ("hits", list(hit)),
        ("isQuery", flag("It is a query, for /api/traces")),
        ("tried", list(text("What it was looked for as, where nothing was found"))),
    ])
}

fn series() -> Schema {
    let sample = object(&[
        ("time", time("")),
        ("value", number("")),
        ("start?", time("Begin of the total")),
        ("sum?", number("Of a histogram")),
        ("min?", number("")),
        ("max?", number("")),
    ]);
    let one = object(&[
        ("name", text("Of the metric")),
        ("service", text("")),
        ("instance", text("May be empty")),
        ("scope", text("")),
        ("unit", text("")),
        ("kind", text("gauge, sum, histogram and the like")),
        ("temporality", word(&["delta", "cumulative"])),
        ("attributes", map(text(""))),
        ("before", maybe(sample.clone())),
        ("samples", list(sample.clone())),
        ("growth", list(sample)),
    ]);
    ranged(&[
        ("step", time("Nanoseconds of a step; 0 is every sample")),
        ("complete", flag("")),
        ("leftOut", whole("Series beyond the limit")),
        ("series", list(one)),
    ])
}
