//! Stories to test with: the demo shop's failing order, and what foreign instrumentations send.

use std::sync::Arc;

use super::Material;
use crate::dashboard::model::{
    Event, Kind, Link, LogRecord, Nanos, Resource, Scope, Span, SpanId, StatusCode, Trace, TraceId, Value,
};

/// Begin of all stories: 2026-11-23 13:03:21.446 UTC.
pub const T0: Nanos = 1_795_439_001_446_000_000;
/// A millisecond in ns.
pub const MS: u64 = 1_000_000;
/// The correlation ID of all stories.
pub const ID: &str = "7f3a9c1e-52d4-4b8e-9a60-c1d20be84f17";

/// Builds traces, span by span.
pub struct Sheet {
    pub trace: Trace,
}

pub fn trace_id(number: u8) -> TraceId {
    TraceId([number; 16])
}

pub fn span_id(number: u16) -> SpanId {
    let [high, low] = number.to_be_bytes();
    SpanId([0xa0, 0, 0, 0, 0, 0, high, low])
}

fn resource(service: &str) -> Arc<Resource> {
    Arc::new(Resource { attributes: vec![("service.name".into(), Value::Text(service.into()))] })
}

fn value(text: &str) -> Value {
    text.parse().map(Value::Int).unwrap_or_else(|_| Value::Text(text.into()))
}

/// `key=value` pairs, parted by `|`. Digits become a number.
fn attributes(text: &str) -> Vec<(String, Value)> {
    let pairs = text.split('|').filter(|pair| !pair.is_empty());
    pairs.filter_map(|pair| pair.split_once('=')).map(|(key, text)| (key.into(), value(text))).collect()
}

impl Sheet {
    pub fn new(number: u8) -> Self {
        Self { trace: Trace::new(trace_id(number), Vec::new(), Vec::new()) }
    }

    /// A span; `parent` 0 is none. `when` is start and end in ms after [`T0`].
    pub fn span(
        &mut self,
        (id, parent): (u16, u16),
        service: &str,
        (kind, name): (Kind, &str),
        when: (u64, u64),
        attrs: &str,
    ) -> &mut Span {
        self.trace.spans.push(Span {
            trace_id: self.trace.id,
            span_id: span_id(id),
            parent: (parent > 0).then(|| span_id(parent)),
            name: name.into(),
            kind,
            start: T0 + when.0 * MS,
            end: T0 + when.1 * MS,
            status: StatusCode::Unset,
            status_message: String::new(),
            attributes: attributes(attrs),
            events: Vec::new(),
            links: Vec::new(),
            trace_state: String::new(),
            flags: 257,
            dropped: 0,
            resource: resource(service),
            scope: Arc::new(Scope::default()),
        });
        let last = self.trace.spans.len() - 1;
        &mut self.trace.spans[last]
    }

    pub fn log(&mut self, span: u16, service: &str, severity: u8, at: u64, text: &str) {
        let log = log(service, severity, at, text, Some((self.trace.id, span_id(span))));
        self.trace.logs.push(log);
    }
}

pub fn log(
    service: &str,
    severity: u8,
    at: u64,
    text: &str,
    context: Option<(TraceId, SpanId)>,
) -> LogRecord {
    LogRecord {
        time: T0 + at * MS,
        severity,
        severity_text: String::new(),
        body: Value::Text(text.into()),
        attributes: attributes(&format!("correlation.id={ID}")),
        trace_id: context.map(|(trace, _)| trace),
        span_id: context.map(|(_, span)| span),
        event_name: String::new(),
        resource: resource(service),
        scope: Arc::new(Scope::default()),
    }
}

/// Marks a span as failed, with an exception event.
pub fn fail(span: &mut Span, message: &str) {
    span.status = StatusCode::Error;
    span.status_message = message.into();
    let attributes = attributes(&format!("exception.type=CardDeclined|exception.message={message}"));
    span.events.push(Event { time: span.end, name: "exception".into(), attributes });
}

pub fn link(span: &mut Span, trace: u8, to: u16) {
    span.links.push(Link { trace_id: trace_id(trace), span_id: Some(span_id(to)), attributes: Vec::new() });
}

/// A story of these traces.
pub fn story_of(sheets: Vec<Sheet>) -> Material {
    Material { traces: sheets.into_iter().map(|sheet| sheet.trace).collect(), ..Material::default() }
}

const DECLINED: &str = "card_declined: do_not_honor";

/// A consumer's attributes as the toolkit sends them.
fn consumer(message: &str, key: &str, queue: &str, number: u32, settle: &str) -> String {
    let settle = if settle.is_empty() { "throughline.settle.outcome=ack" } else { settle };
    format!(
        "messaging.system=throughline|messaging.operation.type=process|messaging.message.id={message}\
         |messaging.destination.name=orders:{key}:{queue}|messaging.rabbitmq.destination.routing_key={key}\
         |correlation.id={ID}|throughline.queue={queue}|throughline.delivery.number={number}|{settle}"
    )
}

fn producer(message: &str, key: &str) -> String {
    format!(
        "messaging.system=throughline|messaging.operation.type=send|messaging.message.id={message}\
         |messaging.destination.name=orders:{key}|messaging.rabbitmq.destination.routing_key={key}\
         |correlation.id={ID}"
    )
}

/// One delivery of `order.placed` to payments that the card processor declines.
fn declined(sheet: &mut Sheet, (id, parent): (u16, u16), number: u32, start: u64, settle: &str) {
    use Kind::{Client, Consumer};
    let end = start + 240;
    let attrs = consumer("m-1", "order.placed", "payments.charge", number, settle);
    let span =
        sheet.span((id, parent), "payments", (Consumer, "process payments.charge"), (start, end), &attrs);
    fail(span, DECLINED);
    let call = "service.peer.name=card-processor|http.request.method=POST|url.full=https://card.example/captures\
                |http.response.status_code=402|payment.amount=24890|payment.currency=EUR|order.id=ord_90412";
    let span = sheet.span((id + 1, id), "payments", (Client, "POST /captures"), (start + 14, end - 8), call);
    fail(span, DECLINED);
    sheet.log(id, "payments", 17, end - 6, "card declined: do_not_honor");
}

/// The first trace of the failing order, up to the first delivery.
fn order(settle: &str) -> Sheet {
    use Kind::{Client, Consumer, Internal, Producer, Server};
    let mut a = Sheet::new(0xa1);
    let http = |method: &str, route: &str, status: u32| {
        format!(
            "http.request.method={method}|http.route={route}|http.response.status_code={status}|correlation.id={ID}"
        )
    };
    let grpc = "rpc.system.name=grpc|rpc.method=user.UserService/GetUser|rpc.response.status_code=OK";
    a.span(
        (1, 0),
        "gateway",
        (Server, "POST /orders"),
        (0, 412),
        &(http("POST", "/orders", 202) + "|user.id=usr_18833"),
    );
    a.span((2, 1), "gateway", (Client, "user.UserService/GetUser"), (10, 48), grpc);
    a.span((3, 2), "users", (Server, "user.UserService/GetUser"), (13, 45), grpc);
    a.span((4, 1), "gateway", (Client, "POST /orders"), (52, 408), &http("POST", "/orders", 202));
    a.span(
        (5, 4),
        "orders",
        (Server, "POST /orders"),
        (56, 404),
        &(http("POST", "/orders", 202) + "|order.id=ord_90412"),
    );
    a.span((6, 5), "orders", (Client, "POST /reservations"), (66, 130), &http("POST", "/reservations", 201));
    a.span(
        (7, 6),
        "inventory",
        (Server, "POST /reservations"),
        (71, 127),
        &(http("POST", "/reservations", 201) + "|order.id=ord_90412"),
    );
    a.span(
        (8, 7),
        "inventory",
        (Client, "UPDATE stock"),
        (80, 110),
        "db.system=sqlite|db.query.text=UPDATE stock",
    );
    a.span(
        (9, 5),
        "orders",
        (Client, "POST /authorizations"),
        (150, 340),
        &http("POST", "/authorizations", 200),
    );
    a.span(
        (10, 9),
        "payments",
        (Server, "POST /authorizations"),
        (162, 332),
        &http("POST", "/authorizations", 200),
    );
    a.span((11, 5), "orders", (Internal, "save order"), (345, 362), "");
    a.span(
        (12, 5),
        "orders",
        (Producer, "send orders:order.placed"),
        (364, 368),
        &producer("m-1", "order.placed"),
    );
    declined(&mut a, (13, 12), 1, 414, settle);
    for (id, service, queue, start, end) in [
        (15, "inventory", "inventory.commit", 380, 402),
        (16, "notifications", "notifications.email", 390, 520),
        (17, "analytics", "analytics.events", 395, 414),
    ] {
        let attrs = consumer("m-1", "order.placed", queue, 1, "");
        a.span((id, 12), service, (Consumer, &format!("process {queue}")), (start, end), &attrs);
    }
    a.log(1, "gateway", 9, 70, "order accepted");
    a.log(5, "orders", 9, 360, "order ord_90412 placed");
    a
}

/// The demo shop's failing order: declined three times in three traces, then dead-lettered.
pub fn dead_lettered() -> Material {
    use Kind::{Consumer, Producer};
    let retry = |ms: u32| {
        format!(
            "throughline.settle.outcome=retry|throughline.settle.destination=payments.charge|throughline.settle.delay_ms={ms}"
        )
    };
    let a = order(&retry(2000));
    let mut b = Sheet::new(0xb2);
    declined(&mut b, (21, 0), 2, 2_660, &retry(4000));
    link(&mut b.trace.spans[0], 0xa1, 13);
    let mut c = Sheet::new(0xc3);
    let dead = "throughline.settle.outcome=dead_letter|throughline.settle.destination=orders.dlq";
    declined(&mut c, (31, 0), 3, 6_910, dead);
    link(&mut c.trace.spans[0], 0xa1, 13);
    c.span(
        (33, 31),
        "payments",
        (Producer, "send orders:payment.failed"),
        (7_143, 7_146),
        &producer("m-2", "payment.failed"),
    );
    for (id, service, queue, start, end) in [
        (34, "orders", "orders.payments", 7_160, 7_210),
        (35, "notifications", "notifications.email", 7_165, 7_380),
        (36, "analytics", "analytics.events", 7_168, 7_180),
    ] {
        let attrs = consumer("m-2", "payment.failed", queue, 1, "");
        c.span((id, 33), service, (Consumer, &format!("process {queue}")), (start, end), &attrs);
    }
    c.log(34, "orders", 13, 7_190, "order ord_90412 set to payment_failed");
    story_of(vec![a, b, c])
}

/// Declined once, then captured on the second delivery.
pub fn retried() -> Material {
    let settle = "throughline.settle.outcome=retry|throughline.settle.destination=payments.charge|throughline.settle.delay_ms=2000";
    let a = order(settle);
    let mut b = Sheet::new(0xb2);
    let attrs = consumer("m-1", "order.placed", "payments.charge", 2, "");
    b.span((21, 0), "payments", (Kind::Consumer, "process payments.charge"), (2_660, 2_900), &attrs);
    link(&mut b.trace.spans[0], 0xa1, 13);
    story_of(vec![a, b])
}

/// Declined once; the second delivery is still to come.
pub fn waiting() -> Material {
    story_of(vec![order(
        "throughline.settle.outcome=retry|throughline.settle.destination=payments.charge|throughline.settle.delay_ms=2000",
    )])
}

/// Everything went well, without a retry.
pub fn well() -> Material {
    let mut a = order("throughline.settle.outcome=ack");
    for span in &mut a.trace.spans {
        (span.status, span.status_message) = (StatusCode::Unset, String::new());
    }
    a.trace.logs.retain(|log| log.severity < 17);
    story_of(vec![a])
}

/// Python services with pika: doubled producers, no queue names, a requeued message, old HTTP names.
pub fn pika() -> Material {
    use Kind::{Consumer, Producer, Server};
    let mut a = Sheet::new(0xd4);
    let message = format!(
        "messaging.system=rabbitmq|messaging.destination=orders|messaging.message.id=7|messaging.conversation_id={ID}"
    );
    a.span(
        (1, 0),
        "shop",
        (Server, "POST /orders"),
        (0, 40),
        "http.method=POST|http.target=/orders?x=1|http.status_code=200",
    );
    a.span(
        (2, 1),
        "shop",
        (Producer, "orders send"),
        (10, 30),
        &(message.clone() + "|messaging.temp_destination=true"),
    );
    a.span(
        (3, 2),
        "shop",
        (Producer, "orders send"),
        (11, 29),
        &(message.clone() + "|messaging.temp_destination=true"),
    );
    let take = message + "|messaging.operation=receive";
    let span = a.span((4, 3), "shipper", (Consumer, "orders receive"), (60, 90), &take);
    fail(span, "no carrier");
    a.span((5, 3), "shipper", (Consumer, "orders receive"), (5_000, 5_020), &take);
    story_of(vec![a])
}

/// Two services with old names, and a failure that the caller answers for; a log without a trace.
pub fn old_names() -> Material {
    use Kind::{Client, Server};
    let mut a = Sheet::new(0xe5);
    let span = a.span(
        (1, 0),
        "web",
        (Server, "GET /cart"),
        (0, 120),
        "http.method=GET|http.target=/cart|http.status_code=502",
    );
    fail(span, "");
    let span = a.span(
        (2, 1),
        "web",
        (Client, "HTTP GET"),
        (10, 110),
        "http.method=GET|http.url=http://prices:8080/p?q=1|http.status_code=500",
    );
    fail(span, "");
    let span = a.span(
        (3, 2),
        "prices",
        (Server, "/p"),
        (12, 105),
        "http.method=GET|http.target=/p|http.status_code=500",
    );
    fail(span, "table prices is locked");
    let mut story = story_of(vec![a]);
    story.logs.push(log("cleaner", 13, 4_000, "cart was dropped", None));
    story
}

/// Two traces that only a span link ties together, neither with a message.
pub fn tied_by_link() -> Material {
    let mut a = Sheet::new(0xf6);
    a.span((1, 0), "import", (Kind::Internal, "read file"), (0, 900), "file.id=f-1|correlation.id=x");
    let mut b = Sheet::new(0xf7);
    let span = b.span((2, 0), "import", (Kind::Internal, "write rows"), (60_000, 61_000), "file.id=f-1");
    link(span, 0xf6, 1);
    let mut story = story_of(vec![a, b]);
    story.tied_by_link.insert(trace_id(0xf7));
    story
}

/// A request for what is not there: the caller's client span failed, no server did.
pub fn not_found() -> Material {
    use Kind::{Client, Server};
    let mut a = Sheet::new(0xe7);
    let http = "http.request.method=GET|http.route=/orders/{id}|http.response.status_code=404";
    a.span((1, 0), "gateway", (Server, "GET /orders/{id}"), (0, 14), http);
    let call = format!("{http}|service.peer.name=orders");
    a.span((2, 1), "gateway", (Client, "GET"), (1, 12), &call).status = StatusCode::Error;
    a.span((3, 2), "orders", (Server, "GET /orders/{id}"), (3, 10), http);
    story_of(vec![a])
}

/// The same call to a server that is not there, from a service that goes on without it.
pub fn gone_on() -> Material {
    let mut story = not_found();
    let spans = &mut story.traces[0].spans;
    spans.pop();
    spans[0].attributes.retain(|(key, _)| key != "http.response.status_code");
    spans[1].attributes.retain(|(key, _)| key != "http.response.status_code");
    spans[1].status_message = "connection refused".into();
    story
}
