//! Zipkin's list in protobuf: `ListOfSpans` of `zipkin.proto`
//! (<https://github.com/openzipkin/zipkin-api/blob/master/zipkin.proto>), whose field numbers stand here.

use std::net::{Ipv4Addr, Ipv6Addr};

use bytes::Bytes;

use super::convert::Converter;
use super::parts::{Annotations, Tags};
use super::span::{Endpoint, Id, Kind, Span};
use crate::dashboard::model::proto::{Field, WireError, fields};
use crate::dashboard::receive::json::shape::{Text, Unsigned};

/// Reads a list into an OTLP request. The error names the field that is wrong.
pub fn list(body: &[u8]) -> Result<Bytes, String> {
    if body.is_empty() {
        return Err("the body is empty".to_owned());
    }
    let mut converter = Converter::default();
    let mut count = 0;
    for field in fields(body) {
        let field = field.map_err(|error| format!("after span {count}: {error}"))?;
        if field.number == 1 {
            let span = field.bytes().and_then(span).map_err(|error| format!("span {count}: {error}"))?;
            converter.add(&span);
            count += 1;
        }
    }
    Ok(converter.finish())
}

fn span(message: &[u8]) -> Result<Span<'_>, WireError> {
    let mut span = Span::default();
    for field in fields(message) {
        let field = field?;
        match field.number {
            1 => span.trace_id = Id::of_bytes(field.bytes()?),
            2 => span.parent_id = Id::of_bytes(field.bytes()?),
            3 => span.id = Id::of_bytes(field.bytes()?),
            4 => span.kind = kind(field.varint()?),
            5 => span.name = text(&field)?,
            6 => span.timestamp = Unsigned(field.fixed64()?),
            7 => span.duration = Unsigned(field.varint()?),
            8 => span.local_endpoint = endpoint(field.bytes()?)?,
            9 => span.remote_endpoint = endpoint(field.bytes()?)?,
            10 => annotation(&mut span.annotations, field.bytes()?)?,
            11 => tag(&mut span.tags, field.bytes()?)?,
            13 => span.shared = field.varint()? != 0,
            _ => {}
        }
    }
    Ok(span)
}

/// An unknown kind is none, as proto3 wants it.
fn kind(number: u64) -> Kind {
    match number {
        1 => Kind::Client,
        2 => Kind::Server,
        3 => Kind::Producer,
        4 => Kind::Consumer,
        _ => Kind::Local,
    }
}

fn endpoint(message: &[u8]) -> Result<Endpoint<'_>, WireError> {
    let mut endpoint = Endpoint::default();
    for field in fields(message) {
        let field = field?;
        match field.number {
            1 => endpoint.service_name = text(&field)?,
            2 => {
                let address = <[u8; 4]>::try_from(field.bytes()?).ok().map(Ipv4Addr::from);
                endpoint.ipv4 = spelled(address.map(|address| address.to_string()));
            }
            3 => {
                let address = <[u8; 16]>::try_from(field.bytes()?).ok().map(Ipv6Addr::from);
                endpoint.ipv6 = spelled(address.map(|address| address.to_string()));
            }
            4 => endpoint.port = u16::try_from(field.varint()?).unwrap_or_default(),
            _ => {}
        }
    }
    Ok(endpoint)
}

fn annotation(annotations: &mut Annotations, message: &[u8]) -> Result<(), WireError> {
    let (mut timestamp, mut value) = (0, Text::default());
    for field in fields(message) {
        let field = field?;
        match field.number {
            1 => timestamp = field.fixed64()?,
            2 => value = text(&field)?,
            _ => {}
        }
    }
    annotations.add(timestamp, &value);
    Ok(())
}

fn tag<'a>(tags: &mut Tags<'a>, entry: &'a [u8]) -> Result<(), WireError> {
    let (mut key, mut value) = (Text::default(), Text::default());
    for field in fields(entry) {
        let field = field?;
        match field.number {
            1 => key = text(&field)?,
            2 => value = text(&field)?,
            _ => {}
        }
    }
    tags.add(&key, value);
    Ok(())
}

fn text<'a>(field: &Field<'a>) -> Result<Text<'a>, WireError> {
    Ok(String::from_utf8_lossy(field.bytes()?).into())
}

fn spelled(address: Option<String>) -> Text<'static> {
    std::borrow::Cow::<str>::from(address.unwrap_or_default()).into()
}
