//! What the pages show, as JSON.

use super::super::operation::{Answer, Group, Method, Operation, Param, path, query, range};
use super::super::schema::{any, flag, object, of, text};
use super::super::{story, traces};
use crate::dashboard::keys::Role;
use crate::dashboard::store::{LogFilter, TraceFilter};

const TRACE: &str = "/api/traces/4bf92f3577b34da6a3ce929d0e0e4736";

/// All of them.
pub fn all() -> Vec<Operation> {
    let mut all = telemetry();
    all.extend(system());
    all.extend(messages());
    all.extend(itself());
    all
}

fn after() -> Param {
    query("after", "“next” of the page before")
}

fn telemetry() -> Vec<Operation> {
    let get = |path, title, schema| Operation::get(Group::Telemetry, path, title, of(schema));
    vec![
        get("/api/traces", "Traces that match, newest first", "Traces")
            .says("The same query, limits and order as on the page. What a query cannot find by the index alone it looks for within \
                   a budget; “complete” says whether that sufficed, and “next” goes on.")
            .example("/api/traces?last=24h&query=status%20%3D%20error&limit=20")
            .with([
                query("query", "TraceQL's names and operators: status = error and service.name = orders"),
                query("service", "Only traces that this service has a part in"),
                query("name", "Only traces with a span of this name"),
                query("correlation", "Only traces with this correlation ID"),
                query("status", "Of the trace").one_of(&["error", "ok", "any"]),
                query("min", "Shortest duration, such as 250ms"),
                query("max", "Longest duration"),
                query("order", "What stands first").one_of(&["newest", "longest", "spans", "errors"]),
                query("limit", "Traces of an answer").number(1, TraceFilter::MAX_LIMIT, 50),
                after(),
            ])
            .with(range()),
        get("/api/traces/{id}", "One trace", "Trace")
            .says("Spans in the order of the waterfall, parents before children, secrets masked; with what broke, the critical path, \
                   and logs. As OTLP/JSON, unmasked and whole: `/traces/{id}/otlp.json`; for Jaeger: `/traces/{id}/jaeger.json`.")
            .example(TRACE)
            .with([
                path("id", "The trace ID, 32 hexadecimal digits"),
                query("limit", "Spans of an answer").number(1, traces::MOST_SPANS, traces::USUAL_SPANS),
                query("row", "The first span's place, from 0").number(0, i32::MAX as usize, 0),
                query("clock", "Whether called processes are moved into their callers").one_of(&["sent", "adjusted"]),
            ]),
        get("/api/logs", "Logs that match, newest first", "Logs")
            .example("/api/logs?last=24h&severity=error")
            .with([
                query("service", "Who wrote it"),
                query("severity", "The least").one_of(&["trace", "debug", "info", "warn", "error", "fatal", "any"]),
                query("trace", "Of this trace"),
                query("correlation", "With this correlation ID"),
                query("attr", "KEY=VALUE: with this attribute").repeated(),
                query("text", "Its text contains this"),
                query("limit", "Logs of an answer").number(1, LogFilter::MAX_LIMIT, 50),
                after(),
            ])
            .with(range()),
        get("/api/correlations/{id}", "The story of a correlation ID", "Story")
            .says("Everything that carries the ID, across traces: where it is now or where it broke, and each act in order. \
                   As Markdown or as a sequence diagram: `/correlations/{id}?format=markdown` or `mermaid`.")
            .example("/api/correlations/order-1042")
            .with([
                path("id", "The correlation ID"),
                query("service", "Only what this service does"),
                query("kind", "Only acts of this kind").one_of(&["requests", "messages", "logs"]),
                query("all", "Also what is quiet: every span").switch(),
                query("act", "The first act's place, from 0").number(0, i32::MAX as usize, 0),
                query("limit", "Acts of an answer").number(1, story::MOST_ACTS, story::USUAL_ACTS),
            ]),
        get("/api/search", "What an ID or a name is", "Search")
            .says("As the search box: a trace, span, message or correlation ID, or a service.")
            .example("/api/search?q=order-1042")
            .with([query("q", "An ID, a service or a query").needed()]),
        get("/api/series", "Samples of metrics", "Series")
            .says("Metrics that are kept. “growth” is how a total grew from one sample to the next, resets of its sender left out.")
            .example("/api/series?name=rabbitmq.*&last=1h&step=60")
            .with([
                query("name", "A metric's name, or its beginning and “*”; 20 at most").needed().repeated(),
                query("service", "Who sent it"),
                query("attribute", "KEY:VALUE: with this attribute; 20 at most").repeated(),
                query("step", "Seconds that are put together; 0 gives every sample").number(0, 31_536_000, 0),
            ])
            .with(range()),
    ]
}

fn system() -> Vec<Operation> {
    let get = |path, title, schema| Operation::get(Group::System, path, title, of(schema));
    vec![
        get("/api/overview", "What is wrong now", "Overview")
            .says("Services that fail, breakers that are open, queues that need somebody, and the newest failed stories.")
            .with(range()),
        get("/api/map", "What calls and sends to what", "Map")
            .example("/api/map?last=24h")
            .with([
                query("focus", "Only a node and its neighbours: its ID or name"),
                query("find", "Only nodes whose name contains this"),
                query("show", "Which edges").one_of(&["all", "calls", "messages"]),
                query("failing", "Only edges with failures").switch(),
            ])
            .with(range()),
        get("/api/services", "Services", "Services")
            .with([
                query("find", "Only names that contain this"),
                query("order", "What stands first").one_of(&["worst", "name", "rate", "p95"]),
            ])
            .with(range()),
        get("/api/services/{name}", "One service", "Service")
            .example("/api/services/orders?last=24h")
            .with([
                path("name", "The service's name"),
                query("find", "Only operations that contain this"),
                query("order", "Which operation stands first").one_of(&["rate", "failing", "p95", "name"]),
                query("all", "More operations").switch(),
            ])
            .with(range()),
        get("/api/queues", "Queues", "Queues")
            .with([
                query("find", "Only names that contain this"),
                query("broker", "Only of this broker"),
                query("trouble", "Only queues that need somebody").switch(),
                query("limit", "Queues of an answer").number(1, 1_000, 100),
            ])
            .with(range()),
        get("/api/queues/one", "One queue over time", "QueueOverTime")
            .example("/api/queues/one?broker=eu-1&vhost=%2F&name=orders.dlq")
            .with([
                query("broker", "Its broker").needed(),
                query("vhost", "Its virtual host; / unless said"),
                query("name", "Its name").needed(),
            ])
            .with(range()),
        get("/api/breakers", "Circuit breakers", "Breakers")
            .with([
                query("service", "Only in this service"),
                query("state", "Only in this state; half_open, forced_open and the like, or any"),
                query("limit", "Breakers of an answer").number(1, 1_000, 100),
            ])
            .with(range()),
        get("/api/breakers/one", "One breaker: what tripped it and what it turned away", "Breaker")
            .example("/api/breakers/one?service=orders&name=payments")
            .with([
                query("service", "Where it is").needed(),
                query("name", "Its name").needed(),
                query("library", "Where two of one name differ by it").one_of(&[
                    "resilience4j", "polly", "failsafe", "opossum", "hystrix", "envoy", "convention",
                ]),
            ])
            .with(range()),
    ]
}

/// What messages are found by.
fn narrowing(usual: usize) -> Vec<Param> {
    let mut params = vec![
        query("id", "The message ID"),
        query("correlation", "The correlation ID"),
        query("exchange", "Where it was published"),
        query("key", "Its routing key"),
        query("queue", "A queue that its exchange led to"),
        query("type", "Its type"),
        query("broker", "Its broker"),
        query("header", "NAME=VALUE: with this header").repeated(),
        query("text", "Its body contains this"),
        query("limit", "Messages of an answer").number(1, LogFilter::MAX_LIMIT, usual),
        after(),
    ];
    params.extend(range());
    params
}

fn messages() -> Vec<Operation> {
    let get = |path, title, schema| Operation::get(Group::Messages, path, title, of(schema));
    let file = |path, title, kind| Operation {
        answer: Answer::File(kind),
        ..Operation::get(Group::Messages, path, title, any(""))
    };
    vec![
        get("/api/messages", "Messages that a tap saw, newest first", "Messages").with(narrowing(50)),
        get("/api/messages/{id}", "The way of a message", "MessageWay")
            .says("From the span that sent it through exchange and queues to those that took it, out of what taps and spans tell.")
            .example("/api/messages/2f6f2f1e-6f0e-4d8e-9f52-0d9f6f3a1b10")
            .with([path("id", "The message ID")]),
        file("/api/messages.json", "Messages as a file of JSON", "application/json").with(narrowing(LogFilter::MAX_LIMIT)),
        file("/api/messages.csv", "Messages as a table", "text/csv").with(narrowing(LogFilter::MAX_LIMIT)),
    ]
}

fn itself() -> Vec<Operation> {
    let get = |path, title, schema| Operation::get(Group::Itself, path, title, schema);
    let switched = || object(&[("name", text("")), ("on", flag(""))]);
    let switch = |path, title, example| Operation {
        elsewhere: true,
        method: Method::Post,
        group: Group::Itself,
        role: Role::Viewer,
        example,
        ..get(path, title, switched())
    };
    let name = || path("name", "The scenario's name");
    vec![
        get("/api/status", "What Throughline receives and keeps", of("Status")),
        Operation { elsewhere: true, ..get("/api/scenarios", "Failures of the demo shop", of("Scenarios")) }
            .says("There where the dashboard knows a demo shop; 404 elsewhere."),
        switch("/api/scenarios/{name}/on", "Switch a failure on", "/api/scenarios/payment-outage/on")
            .with([name()]),
        switch("/api/scenarios/{name}/off", "Switch a failure off", "/api/scenarios/payment-outage/off")
            .with([name()]),
        get("/api/openapi.json", "This document", any("OpenAPI 3.1")),
    ]
}
