//! Bytes into [`Span`]s and [`LogRecord`]s, when somebody looks.
//!
//! What is stored was walked on arrival, so a wire error here means a damaged store, not a bad sender.

use std::sync::Arc;

use super::super::proto::{Field, WireError, fields};
use super::super::value::{Attributes, Value};
use super::super::{Event, Kind, Link, LogRecord, Nanos, Resource, Scope, Span, SpanId, StatusCode, TraceId};
use super::{MAX_DEPTH, log_field, peek::key_value, span_field};

/// Reads a `Span`. `None` where an ID is not valid, which nothing stored has.
pub fn span(message: &[u8], resource: &Arc<Resource>, scope: &Arc<Scope>) -> Result<Option<Span>, WireError> {
    let (mut trace_id, mut span_id) = (None, None);
    let mut span = blank_span(resource, scope);
    for field in fields(message) {
        let field = field?;
        match field.number {
            span_field::TRACE_ID => trace_id = TraceId::from_slice(field.bytes()?),
            span_field::SPAN_ID => span_id = SpanId::from_slice(field.bytes()?),
            span_field::PARENT => span.parent = SpanId::from_slice(field.bytes()?),
            span_field::NAME => span.name = text(&field)?,
            span_field::KIND => span.kind = Kind::from_wire(field.varint()?),
            span_field::START => span.start = field.fixed64()?,
            span_field::END => span.end = field.fixed64()?,
            span_field::ATTRIBUTES => span.attributes.push(attribute(field.bytes()?)?),
            span_field::EVENTS => span.events.push(event(field.bytes()?)?),
            span_field::LINKS => span.links.extend(link(field.bytes()?)?),
            span_field::STATUS => (span.status, span.status_message) = status(field.bytes()?)?,
            span_field::TRACE_STATE => span.trace_state = text(&field)?,
            span_field::FLAGS => span.flags = field.fixed32()?,
            span_field::DROPPED_ATTRIBUTES | span_field::DROPPED_EVENTS | span_field::DROPPED_LINKS => {
                span.dropped += field.varint()?;
            }
            _ => {}
        }
    }
    span.events.sort_by_key(|event| event.time);
    Ok(trace_id.zip(span_id).map(|(trace_id, span_id)| Span { trace_id, span_id, ..span }))
}

fn blank_span(resource: &Arc<Resource>, scope: &Arc<Scope>) -> Span {
    Span {
        trace_id: TraceId([0; 16]),
        span_id: SpanId([0; 8]),
        parent: None,
        name: String::new(),
        kind: Kind::Unspecified,
        start: 0,
        end: 0,
        status: StatusCode::Unset,
        status_message: String::new(),
        attributes: Vec::new(),
        events: Vec::new(),
        links: Vec::new(),
        trace_state: String::new(),
        flags: 0,
        dropped: 0,
        resource: resource.clone(),
        scope: scope.clone(),
    }
}

/// Reads a `LogRecord`.
pub fn log(message: &[u8], resource: &Arc<Resource>, scope: &Arc<Scope>) -> Result<LogRecord, WireError> {
    let mut observed: Nanos = 0;
    let mut log = LogRecord {
        time: 0,
        severity: 0,
        severity_text: String::new(),
        body: Value::Empty,
        attributes: Vec::new(),
        trace_id: None,
        span_id: None,
        event_name: String::new(),
        resource: resource.clone(),
        scope: scope.clone(),
    };
    for field in fields(message) {
        let field = field?;
        match field.number {
            log_field::TIME => log.time = field.fixed64()?,
            log_field::OBSERVED => observed = field.fixed64()?,
            log_field::SEVERITY => log.severity = field.varint()?.min(24) as u8,
            log_field::SEVERITY_TEXT => log.severity_text = text(&field)?,
            log_field::BODY => log.body = value(field.bytes()?, 0)?,
            log_field::ATTRIBUTES => log.attributes.push(attribute(field.bytes()?)?),
            log_field::TRACE_ID => log.trace_id = TraceId::from_slice(field.bytes()?),
            log_field::SPAN_ID => log.span_id = SpanId::from_slice(field.bytes()?),
            log_field::EVENT_NAME => log.event_name = text(&field)?,
            _ => {}
        }
    }
    if log.time == 0 {
        log.time = observed;
    }
    Ok(log)
}

/// Reads a `Resource`.
pub fn resource(message: &[u8]) -> Result<Resource, WireError> {
    Ok(Resource { attributes: attributes(message, 1)? })
}

/// Reads an `InstrumentationScope`.
pub fn scope(message: &[u8]) -> Result<Scope, WireError> {
    let mut scope = Scope { attributes: attributes(message, 3)?, ..Scope::default() };
    for field in fields(message) {
        let field = field?;
        match field.number {
            1 => scope.name = text(&field)?,
            2 => scope.version = text(&field)?,
            _ => {}
        }
    }
    Ok(scope)
}

fn text(field: &Field<'_>) -> Result<String, WireError> {
    Ok(String::from_utf8_lossy(field.bytes()?).into_owned())
}

/// The attributes in field `number` of a message.
pub(super) fn attributes(message: &[u8], number: u32) -> Result<Attributes, WireError> {
    let mut found = Vec::new();
    for field in fields(message) {
        let field = field?;
        if field.number == number {
            found.push(attribute(field.bytes()?)?);
        }
    }
    Ok(found)
}

fn attribute(message: &[u8]) -> Result<(String, Value), WireError> {
    attribute_at(message, 0)
}

fn attribute_at(message: &[u8], depth: usize) -> Result<(String, Value), WireError> {
    let (key, encoded) = key_value(message)?;
    Ok((String::from_utf8_lossy(key).into_owned(), value(encoded, depth)?))
}

/// Reads an `AnyValue`.
fn value(message: &[u8], depth: usize) -> Result<Value, WireError> {
    let mut read = Value::Empty;
    for field in fields(message) {
        let field = field?;
        read = match field.number {
            1 => Value::Text(text(&field)?),
            2 => Value::Bool(field.varint()? != 0),
            3 => Value::Int(field.varint()? as i64),
            4 => Value::Double(f64::from_bits(field.fixed64()?)),
            5 | 6 if depth >= MAX_DEPTH => return Err(WireError::TooDeep),
            5 => Value::List(
                fields(field.bytes()?)
                    .map(|item| value(item?.bytes()?, depth + 1))
                    .collect::<Result<_, _>>()?,
            ),
            6 => Value::Map(
                fields(field.bytes()?)
                    .map(|entry| attribute_at(entry?.bytes()?, depth + 1))
                    .collect::<Result<_, _>>()?,
            ),
            7 => Value::Bytes(field.bytes()?.to_vec()),
            _ => read,
        };
    }
    Ok(read)
}

fn event(message: &[u8]) -> Result<Event, WireError> {
    let mut event = Event { attributes: attributes(message, 3)?, ..Event::default() };
    for field in fields(message) {
        let field = field?;
        match field.number {
            1 => event.time = field.fixed64()?,
            2 => event.name = text(&field)?,
            _ => {}
        }
    }
    Ok(event)
}

fn link(message: &[u8]) -> Result<Option<Link>, WireError> {
    let (mut trace_id, mut span_id) = (None, None);
    for field in fields(message) {
        let field = field?;
        match field.number {
            1 => trace_id = TraceId::from_slice(field.bytes()?),
            2 => span_id = SpanId::from_slice(field.bytes()?),
            _ => {}
        }
    }
    let attributes = attributes(message, 4)?;
    Ok(trace_id.map(|trace_id| Link { trace_id, span_id, attributes }))
}

fn status(message: &[u8]) -> Result<(StatusCode, String), WireError> {
    let (mut code, mut words) = (StatusCode::Unset, String::new());
    for field in fields(message) {
        let field = field?;
        match field.number {
            2 => words = text(&field)?,
            3 => {
                code = match field.varint()? {
                    1 => StatusCode::Ok,
                    2 => StatusCode::Error,
                    _ => StatusCode::Unset,
                }
            }
            _ => {}
        }
    }
    Ok((code, words))
}
