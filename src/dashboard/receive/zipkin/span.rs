//! A span as Zipkin has it, and the list of them in JSON.
//!
//! Each span is converted as soon as it is read: a list of very small spans would be many times as large in memory as
//! on the wire.

use bytes::Bytes;
use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, SeqAccess, Visitor};
use serde_path_to_error::{Deserializer as Tracked, Track};

use super::convert::Converter;
use super::parts::{Annotations, Tags};
use crate::dashboard::receive::json::check_brackets;
use crate::dashboard::receive::json::shape::{Text, Unsigned, nullable, shape};

shape! {
    Span {
        trace_id: Id<16>,
        id: Id<8>,
        parent_id: Id<8>,
        kind: Kind,
        name: Text<'a>,
        timestamp: Unsigned,
        duration: Unsigned,
        local_endpoint: Endpoint<'a>,
        remote_endpoint: Endpoint<'a>,
        annotations: Annotations,
        tags: Tags<'a>,
        shared: bool,
    }
    Endpoint {
        service_name: Text<'a>,
        ipv4: Text<'a>,
        ipv6: Text<'a>,
        port: u16,
    }
}

/// Which part a span has in a call or a message; without one it is within its process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Kind {
    #[default]
    #[serde(skip)]
    Local,
    Client,
    Server,
    Producer,
    Consumer,
}

/// An ID of `N` bytes, or bytes that are none: those cost their span alone.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Id<const N: usize>(pub Vec<u8>);

impl<const N: usize> Id<N> {
    /// Reads hex digits in either case, of which Zipkin lets zeros in front be left out. What is none is empty.
    pub fn of_hex(text: &str) -> Self {
        let mut id = vec![0; N];
        if text.is_empty() || text.len() > 2 * N {
            return Self::default();
        }
        for (place, byte) in text.bytes().rev().enumerate() {
            let Some(digit) = char::from(byte).to_digit(16) else { return Self::default() };
            id[N - 1 - place / 2] |= (digit as u8) << (4 * (place % 2));
        }
        Self(id)
    }

    /// Takes bytes, with zeros before those of a 64-bit trace ID.
    pub fn of_bytes(bytes: &[u8]) -> Self {
        let mut id = vec![0; if bytes.len() == 8 { N - 8 } else { 0 }];
        id.extend_from_slice(&bytes[..bytes.len().min(N + 1)]);
        Self(id)
    }
}

impl<'de, const N: usize> Deserialize<'de> for Id<N> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        Ok(Self::of_hex(&Text::deserialize(from)?))
    }
}

/// Reads a JSON list into an OTLP request. The error names the field that is wrong.
pub fn list(body: &[u8]) -> Result<Bytes, String> {
    // Text that is not UTF-8 costs its characters, not the request.
    let text = String::from_utf8_lossy(body);
    if text.trim().is_empty() {
        return Err("the body is empty; an empty list is []".to_owned());
    }
    check_brackets(&text)?;
    let mut converter = Converter::default();
    let mut json = serde_json::Deserializer::from_str(&text);
    let read = List(&mut converter).deserialize(&mut json).and_then(|()| json.end());
    match read {
        Ok(()) => Ok(converter.finish()),
        Err(error) => Err(named(&text, &error)),
    }
}

/// The words for an error. Where it lies is looked for only now, since remembering the way costs each good request.
fn named(text: &str, error: &serde_json::Error) -> String {
    let mut track = Track::new();
    let mut json = serde_json::Deserializer::from_str(text);
    let again = List(&mut Converter::default()).deserialize(Tracked::new(&mut json, &mut track));
    match (again, track.path().to_string()) {
        (Err(error), field) if field != "." => format!("{field}: {error}"),
        _ => error.to_string(),
    }
}

/// Takes the spans of a list one by one.
struct List<'c>(&'c mut Converter);

impl<'de> DeserializeSeed<'de> for List<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<(), D::Error> {
        from.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for List<'_> {
    type Value = ();

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a list of spans")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        while let Some(span) = list.next_element::<Span<'de>>()? {
            self.0.add(&span);
        }
        Ok(())
    }
}
