//! Messages for programs: `/api/messages`, `/api/messages/{id}`, and the exports `/api/messages.json` and `.csv`.
//!
//! Secrets are masked as on the pages. Times are nanoseconds since 1970, as text.

use axum::Json;
use axum::extract::{Path, State as From};
use axum::response::Response;
use serde_json::{Value, json};

use super::asked::{Asked, USUAL_LIMIT};
use super::{one, sent_of, tap_name};
use crate::dashboard::model::Message;
use crate::dashboard::model::messages::{Seen, TapStatus};
use crate::dashboard::query::messages::body::{self as reading, Schemas, Sent};
use crate::dashboard::query::messages::deaths;
use crate::dashboard::query::messages::way::{self, End, Mark, Stop, Who};
use crate::dashboard::query::redact;
use crate::dashboard::store::{LogFilter, LogPage};
use crate::dashboard::view::PageState;
use crate::dashboard::view::download::{file, no_formula, quoted};
use crate::dashboard::view::error::PageError;
use crate::dashboard::view::logs::write_cursor;
use crate::dashboard::view::visit::Visit;

async fn found(state: &PageState, visit: &Visit, usual: usize) -> Result<(LogPage, Vec<Message>), PageError> {
    let filter = Asked::read(visit)?.filter(visit, usual)?;
    let page = state.reader.logs(&filter).await?;
    let messages = page.rows.iter().filter_map(|row| Message::of(&row.log)).collect();
    Ok((page, messages))
}

/// Handler of `GET /api/messages`: the fields of the page's form, `limit` (at most 1 000), `after` and the time range.
pub async fn list(From(state): From<PageState>, visit: Visit) -> Result<Json<Value>, PageError> {
    let (page, messages) = found(&state, &visit, USUAL_LIMIT).await?;
    Ok(Json(json!({
        "from": visit.range.from.to_string(),
        "to": visit.range.to.to_string(),
        "complete": page.complete,
        "next": page.next.map(write_cursor),
        "taps": state.board.taps().iter().map(of_tap).collect::<Vec<_>>(),
        "messages": messages.iter().map(|message| of_message(message, &state.schemas)).collect::<Vec<_>>(),
    })))
}

/// Handler of `GET /api/messages/{id}`.
pub async fn show(
    From(state): From<PageState>,
    Path(id): Path<String>,
    visit: Visit,
) -> Result<Json<Value>, PageError> {
    let known = one::known(&state, &id).await?;
    let way = way::of(&known, visit.now);
    let deaths = known.last().map(deaths::of).unwrap_or_default();
    Ok(Json(json!({
        "id": known.id,
        "title": way.title,
        "says": visit.plain(&way.told),
        "state": match way.end {
            End::Published => "published",
            End::Taken => "taken",
            End::Failing => "failing",
            End::Dead => "dead",
            End::Unknown => "unknown",
        },
        "correlation": way.correlation,
        "way": way.stops.iter().map(of_stop).collect::<Vec<_>>(),
        "deaths": deaths.iter().map(|death| json!({
            "what": death.what, "times": death.times, "queue": death.queue,
            "first": death.first.map(|at| at.to_string()), "means": death.means,
        })).collect::<Vec<_>>(),
        "traces": known.traces.iter().map(|trace| trace.id.to_string()).collect::<Vec<_>>(),
        "seen": known.seen.iter().map(|message| of_message(message, &state.schemas)).collect::<Vec<_>>(),
    })))
}

/// Handler of `GET /api/messages.json`: up to a thousand messages as a file, one array.
pub async fn export(From(state): From<PageState>, visit: Visit) -> Result<Response, PageError> {
    let (_, messages) = found(&state, &visit, LogFilter::MAX_LIMIT).await?;
    let all: Vec<Value> = messages.iter().map(|message| of_message(message, &state.schemas)).collect();
    Ok(file("messages.json", "application/json", Value::Array(all).to_string()))
}

/// Handler of `GET /api/messages.csv`: the same as a table.
pub async fn csv(From(state): From<PageState>, visit: Visit) -> Result<Response, PageError> {
    let (_, messages) = found(&state, &visit, LogFilter::MAX_LIMIT).await?;
    let mut out = String::from(
        "seen,message_id,correlation_id,type,broker,vhost,exchange,routing_key,queues,content_type,size,trace_id,span_id,headers,body\r\n",
    );
    for message in &messages {
        let headers: serde_json::Map<String, Value> = headers(message);
        let body = body(message, &state.schemas);
        let text = body["text"].as_str().map_or_else(String::new, str::to_owned);
        let cells = [
            crate::dashboard::view::zone::rfc3339(message.seen),
            message.name().to_owned(),
            message.correlation_id.clone(),
            message.kind.clone(),
            message.source.broker.clone(),
            message.source.virtual_host.clone(),
            message.exchange.clone(),
            message.routing_key.clone(),
            message.queues.join(" "),
            message.property("content_type"),
            message.size.to_string(),
            message.trace_id.map(|id| id.to_string()).unwrap_or_default(),
            message.span_id.map(|id| id.to_string()).unwrap_or_default(),
            Value::Object(headers).to_string(),
            text,
        ];
        out.push_str(&cells.iter().map(|text| cell(text)).collect::<Vec<_>>().join(","));
        out.push_str("\r\n");
    }
    Ok(file("messages.csv", "text/csv; charset=utf-8", out))
}

/// A cell of a table.
fn cell(text: &str) -> String {
    quoted(&no_formula(text))
}

fn of_tap(tap: &TapStatus) -> Value {
    json!({
        "name": tap_name(tap),
        "broker": tap.source.broker,
        "vhost": tap.source.virtual_host,
        "listeningSince": tap.listening.map(|at| at.to_string()),
        "failing": tap.failing.as_ref().map(|(why, since)| json!({ "why": why, "since": since.to_string() })),
        "exchanges": tap.exchanges,
        "leftOut": tap.left_out.iter().map(|(name, why)| json!({ "exchange": name, "why": why })).collect::<Vec<_>>(),
        "seen": tap.seen(),
        "letGo": tap.dropped(),
        "last": tap.last().map(|at| at.to_string()),
    })
}

fn headers(message: &Message) -> serde_json::Map<String, Value> {
    let shown = |(name, value): &(String, crate::dashboard::model::Value)| {
        let (text, masked) = redact::field(name, &value.to_text());
        (name.clone(), if masked { Value::String(text) } else { value.to_json() })
    };
    message.headers.iter().map(shown).collect()
}

/// A message, its secrets masked.
fn of_message(message: &Message, schemas: &Schemas) -> Value {
    let properties: serde_json::Map<String, Value> =
        message.properties.iter().map(|(name, value)| (name.clone(), redacted(name, value))).collect();
    json!({
        "id": message.name(),
        "seen": message.seen.to_string(),
        "deadLetter": message.how == Seen::DeadLettered || !deaths::of(message).is_empty(),
        "broker": message.source.broker,
        "vhost": message.source.virtual_host,
        "exchange": message.exchange,
        "routingKey": message.routing_key,
        "queues": message.queues,
        "correlation": Some(&message.correlation_id).filter(|id| !id.is_empty()),
        "type": Some(&message.kind).filter(|kind| !kind.is_empty()),
        "properties": properties,
        "headers": headers(message),
        "headersLeftOut": message.headers_left,
        "trace": message.trace_id.map(|id| id.to_string()),
        "span": message.span_id.map(|id| id.to_string()),
        "size": message.size,
        "body": body(message, schemas),
    })
}

/// A value, masked where its name or it itself says that it is a secret.
pub fn redacted(name: &str, value: &crate::dashboard::model::Value) -> Value {
    match redact::shown(name, &value.to_text()) {
        (text, true) => Value::String(text),
        (_, false) => value.to_json(),
    }
}

/// What its body says: `text`, or `hex` where it is none.
fn body(message: &Message, schemas: &Schemas) -> Value {
    let (content_type, encoding) = (message.property("content_type"), message.property("content_encoding"));
    let sent = Sent { content_type: &content_type, content_encoding: &encoding, ..sent_of(message) };
    let body = reading::read(&sent, schemas);
    let hex = || {
        let lines = body.hex.as_ref().map(|hex| hex.lines.iter().map(|line| line.hex.replace(' ', "")));
        lines.map(|lines| lines.collect::<String>())
    };
    json!({
        "text": body.text,
        "hex": if body.text.is_none() { hex() } else { None },
        "masked": body.masked,
        "kept": message.body.len(),
        "troubles": body.troubles,
        "steps": super::body::steps(&body),
    })
}

fn of_stop(stop: &Stop) -> Value {
    let (kind, name) = match &stop.who {
        Who::Service(name) => ("service", name),
        Who::Exchange(name) => ("exchange", name),
        Who::Queue(name) => ("queue", name),
        Who::Words(words) => ("other", words),
    };
    json!({
        "kind": kind,
        "name": name,
        "what": stop.what,
        "bad": stop.mark == Mark::Bad,
        "waitedNanos": stop.length.map(|(ns, _)| ns.to_string()),
        "at": stop.at.map(|at| at.to_string()),
        "trace": stop.span.map(|(trace, _)| trace.to_string()),
        "span": stop.span.map(|(_, span)| span.to_string()),
        "note": redact::shown("", &stop.note).0,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_are_quoted_and_no_formulas() {
        for (text, expected) in [
            ("plain", "\"plain\""),
            ("a \"b\", c", "\"a \"\"b\"\", c\""),
            ("=HYPERLINK(\"http://evil\")", "\"'=HYPERLINK(\"\"http://evil\"\")\""),
            (" +1", "\"' +1\""),
            ("-1", "\"'-1\""),
            ("@x", "\"'@x\""),
            ("\t=1", "\"'\t=1\""),
        ] {
            assert_eq!(cell(text), expected, "{text}");
        }
    }
}
