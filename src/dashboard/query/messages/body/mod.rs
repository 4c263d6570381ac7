//! What the body of a message says: inflated, decoded, its secrets masked, and why where that cannot be done.
//!
//! * [`inflate`]: gzip, deflate, zstd, within a limit.
//! * [`event`]: the envelope of CloudEvents.
//! * [`schema`]: Protocol Buffers by the descriptor sets of the settings.
//! * [`json`]: JSON as a tree that keeps what was sent; [`hex`]: bytes as they are.
//!
//! A decoder that fails says so and why; then the next one is tried, and bytes can be shown always. A body may be of any
//! size and hold anything: what is made of it is bounded here.

pub mod event;
pub mod hex;
pub mod inflate;
pub mod json;
pub mod schema;
#[cfg(test)]
mod tests;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::super::redact;
use crate::dashboard::model::Value;
use crate::dashboard::model::value::{Attributes, find};
use event::{Event, Mode};
use hex::Hex;
use json::Tree;
pub use schema::Schemas;

/// Bytes of text that are shown.
pub const MOST_TEXT: usize = 256 << 10;

/// A body with what its message says of it.
#[derive(Debug, Clone, Default)]
pub struct Sent<'a> {
    pub body: &'a [u8],
    /// Bytes of the whole body, of which `body` may be the beginning.
    pub size: u64,
    /// The properties `content_type`, `content_encoding` and `type`; empty where there is none.
    pub content_type: &'a str,
    pub content_encoding: &'a str,
    pub kind: &'a str,
    pub headers: &'a [(String, Value)],
    /// Shows what would be masked. Only who may is to ask for it.
    pub reveal: bool,
}

impl Sent<'_> {
    fn is_cut(&self) -> bool {
        self.size > self.body.len() as u64
    }
}

/// A way to show a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    Json,
    Text,
    Hex,
}

impl Form {
    /// The word in an address.
    pub fn word(self) -> &'static str {
        match self {
            Form::Json => "json",
            Form::Text => "text",
            Form::Hex => "hex",
        }
    }

    /// The form of a word.
    pub fn parse(word: &str) -> Option<Self> {
        [Form::Json, Form::Text, Form::Hex].into_iter().find(|form| form.word() == word)
    }
}

/// What was done to read it, in order.
#[derive(Debug, Clone, PartialEq)]
pub enum Step {
    Inflated {
        encoding: &'static str,
        from: usize,
        to: usize,
        /// Whether that is all of it.
        whole: bool,
    },
    CloudEvent(Mode),
    /// The event's data stood in it as base64.
    Data64,
    /// Decoded as this message of Protocol Buffers.
    Protobuf(String),
    /// Read as text in another encoding than UTF-8.
    Charset(&'static str),
}

/// What a body says.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Body {
    pub steps: Vec<Step>,
    /// What could not be done and why, each as a sentence for a person.
    pub troubles: Vec<String>,
    /// The envelope, where it is a CloudEvent.
    pub event: Option<Event>,
    pub tree: Option<Tree>,
    /// As text, with secrets masked. For bytes that are no text it is absent.
    pub text: Option<String>,
    /// Bytes of text beyond [`MOST_TEXT`].
    pub text_left: usize,
    /// `None` where bytes would show what is masked.
    pub hex: Option<Hex>,
    /// Places masked.
    pub masked: usize,
    /// Bytes kept and bytes sent, where they are not the same.
    pub cut: Option<(u64, u64)>,
}

impl Body {
    /// The ways in which it can be shown, the best first.
    pub fn forms(&self) -> Vec<Form> {
        let json = self.tree.as_ref().map(|_| Form::Json);
        let text = self.text.as_ref().map(|_| Form::Text);
        let hex = self.hex.as_ref().map(|_| Form::Hex);
        json.into_iter().chain(text).chain(hex).collect()
    }

    /// The beginning in one line, for a list.
    pub fn preview(&self, most: usize) -> String {
        let Some(text) = &self.text else {
            return self.hex.as_ref().map(|hex| hex.begin(16)).unwrap_or_default();
        };
        let mut out = String::new();
        for word in text.split_whitespace() {
            if out.chars().count() + word.chars().count() + 1 > most {
                out.extend(word.chars().take(most.saturating_sub(out.chars().count())));
                return out + "…";
            }
            if !out.is_empty() {
                out.push(' ');
            }
            out.push_str(word);
        }
        out
    }
}

/// Reads a body.
pub fn read(sent: &Sent<'_>, schemas: &Schemas) -> Body {
    let mut body =
        Body { cut: sent.is_cut().then_some((sent.body.len() as u64, sent.size)), ..Body::default() };
    let mut is_cut = sent.is_cut();
    let mut bytes = sent.body.to_vec();
    match inflate::inflate(sent.content_encoding, &bytes) {
        None => {}
        Some(Ok(inflated)) => {
            let (from, to) = (bytes.len(), inflated.bytes.len());
            body.steps.push(Step::Inflated {
                encoding: inflated.encoding,
                from,
                to,
                whole: inflated.whole && !is_cut,
            });
            (bytes, is_cut) = (inflated.bytes, is_cut || !inflated.whole);
        }
        Some(Err(why)) => body.troubles.push(why),
    }
    let mut content_type = sent.content_type.to_owned();
    if let Some((event, data)) = event::read(&content_type, sent.headers, &bytes) {
        body.steps.push(Step::CloudEvent(event.mode));
        if let Some(data) = data {
            match STANDARD.decode(data.as_bytes()) {
                Ok(decoded) => {
                    body.steps.push(Step::Data64);
                    bytes = decoded;
                    content_type = event.data_type.clone();
                }
                Err(error) => body.troubles.push(format!("Its data_base64 is no base64: {error}.")),
            }
        } else if event.mode == Mode::Binary && content_type.is_empty() {
            content_type = event.data_type.clone();
        }
        body.event = Some(event);
    }
    let names = names(sent, &content_type, body.event.as_ref());
    if let Some(json) = protobuf(&content_type, &names, &bytes, is_cut, schemas, &mut body) {
        if let Ok(read) = json::read(&json, false, sent.reveal) {
            body.masked += read.masked;
            body.text = Some(read.text);
            body.tree = Some(read.tree);
        }
    } else {
        text(&content_type, &bytes, is_cut, sent.reveal, &mut body);
    }
    // Bytes would show what is masked; a text with its masks is shown as its bytes instead.
    body.hex = match (&body.text, body.masked) {
        (_, 0) => Some(hex::of(&bytes)),
        (Some(text), _) if !body.steps.iter().any(|step| matches!(step, Step::Protobuf(_))) => {
            Some(hex::of(text.as_bytes()))
        }
        _ => None,
    };
    if let Some(text) = &mut body.text
        && text.len() > MOST_TEXT
    {
        let end = text.floor_char_boundary(MOST_TEXT);
        body.text_left = text.len() - end;
        text.truncate(end);
    }
    body
}

/// Under which names a schema may know it, the surest first.
fn names(sent: &Sent<'_>, content_type: &str, event: Option<&Event>) -> Vec<String> {
    let mut names = Vec::new();
    for key in ["messagetype", "message", "proto", "type"] {
        names.extend(parameter(content_type, key));
    }
    for key in ["x-protobuf-type", "protobuf-type", "x-proto-type", "proto-type", "x-protobuf-message"] {
        let header = sent.headers.iter().find(|(name, _)| name.eq_ignore_ascii_case(key));
        names.extend(header.and_then(|(_, value)| value.as_str()).map(str::to_owned));
    }
    if !sent.kind.is_empty() {
        names.push(sent.kind.to_owned());
    }
    if let Some(event) = event {
        names.extend(
            event.schema.rsplit(['/', '#']).next().filter(|name| !name.is_empty()).map(str::to_owned),
        );
        names.push(event.kind.clone());
    }
    names
}

/// A parameter of a content type, such as `charset`.
fn parameter(content_type: &str, wanted: &str) -> Option<String> {
    content_type.split(';').skip(1).find_map(|pair| {
        let (key, value) = pair.split_once('=')?;
        let value = value.trim().trim_matches('"');
        (key.trim().eq_ignore_ascii_case(wanted) && !value.is_empty()).then(|| value.to_owned())
    })
}

/// The type without its parameters, in lower case.
fn essence(content_type: &str) -> String {
    content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

/// The JSON of a message of Protocol Buffers, where it is one as far as can be told.
fn protobuf(
    content_type: &str,
    names: &[String],
    bytes: &[u8],
    is_cut: bool,
    schemas: &Schemas,
    body: &mut Body,
) -> Option<String> {
    let essence = essence(content_type);
    let is_said = ["protobuf", "proto", "vnd.google.protobuf", "x-google-protobuf"]
        .iter()
        .any(|word| essence.ends_with(word));
    let says_other = essence.contains("json") || essence.contains("xml") || essence.starts_with("text/");
    if bytes.is_empty() || says_other || (!is_said && is_text(bytes, is_cut)) {
        return None;
    }
    let Some(found) = schemas.find(names) else {
        if is_said {
            body.troubles.push(schemas.lacks(names));
        }
        return None;
    };
    let name = found.full_name().to_owned();
    if is_cut {
        body.troubles.push(format!(
            "It is a {name} of Protocol Buffers, and only its beginning is kept, which cannot be decoded."
        ));
        return None;
    }
    match schema::json(found, bytes) {
        Ok(json) => {
            body.steps.push(Step::Protobuf(name));
            Some(json)
        }
        Err(why) => {
            body.troubles.push(format!("It cannot be decoded as {name} of Protocol Buffers: {why}."));
            None
        }
    }
}

/// Reads text, JSON where it is that.
fn text(content_type: &str, bytes: &[u8], is_cut: bool, reveal: bool, body: &mut Body) {
    let charset = parameter(content_type, "charset").unwrap_or_default().to_ascii_lowercase();
    let essence = essence(content_type);
    let says_json = essence.contains("json");
    let decoded = match charset.as_str() {
        "iso-8859-1" | "latin1" | "windows-1252" => {
            body.steps.push(Step::Charset("ISO 8859-1"));
            Some(bytes.iter().map(|byte| char::from(*byte)).collect())
        }
        "utf-16" | "utf-16le" | "utf-16be" => {
            body.steps.push(Step::Charset("UTF-16"));
            Some(utf16(bytes, charset == "utf-16be"))
        }
        _ if is_text(bytes, is_cut) => Some(String::from_utf8_lossy(whole_signs(bytes)).into_owned()),
        _ => None,
    };
    let Some(text) = decoded else {
        let at = std::str::from_utf8(bytes).err().map(|error| error.valid_up_to());
        if says_json || essence.starts_with("text/") || essence.ends_with("xml") {
            body.troubles.push(match at {
                Some(at) => format!("Its content type is {essence}, and byte {at} is no UTF-8."),
                None => {
                    format!("Its content type is {essence}, and it holds control characters as bytes do.")
                }
            });
        }
        // A secret may stand in bytes too.
        let (_, masked) = shown(&String::from_utf8_lossy(bytes), reveal);
        if masked > 0 {
            body.masked += masked;
            body.troubles.push(
                "It is no text, and holds what looks like a secret: its bytes are not shown.".to_owned(),
            );
        }
        return;
    };
    let begins = text.trim_start_matches('\u{feff}').trim_start();
    if says_json || begins.starts_with(['{', '[']) {
        match json::read(&text, is_cut, reveal) {
            Ok(read) => {
                body.masked += read.masked;
                body.text = Some(read.text);
                body.tree = Some(read.tree);
                return;
            }
            Err(why) if says_json => {
                body.troubles.push(format!("It is no JSON, although its content type says so: {why}."))
            }
            Err(_) => {}
        }
    }
    let (text, masked) = shown(&text, reveal);
    body.masked += masked;
    body.text = Some(text);
}

/// A text as it may be shown, and in how many places it is masked.
fn shown(text: &str, reveal: bool) -> (String, usize) {
    if reveal {
        return (text.to_owned(), 0);
    }
    let (text, in_fields) = redact::without_fields(text);
    let (text, any) = redact::shown("", &text);
    (text, in_fields + usize::from(any))
}

/// Whether bytes are text: UTF-8 without the control characters that no text has. One sign may be cut at the end.
fn is_text(bytes: &[u8], is_cut: bool) -> bool {
    let bytes = if is_cut { whole_signs(bytes) } else { bytes };
    let control = |byte: &u8| matches!(byte, 0..=8 | 11 | 14..=26 | 28..=31);
    std::str::from_utf8(bytes).is_ok() && !bytes.iter().any(control)
}

/// Bytes without the beginning of a sign at their end.
fn whole_signs(bytes: &[u8]) -> &[u8] {
    match std::str::from_utf8(bytes) {
        Err(error) if error.error_len().is_none() => &bytes[..error.valid_up_to()],
        _ => bytes,
    }
}

fn utf16(bytes: &[u8], big_endian: bool) -> String {
    let (bytes, big_endian) = match bytes {
        [0xfe, 0xff, rest @ ..] => (rest, true),
        [0xff, 0xfe, rest @ ..] => (rest, false),
        all => (all, big_endian),
    };
    let units = bytes.chunks_exact(2).map(|pair| match big_endian {
        true => u16::from_be_bytes([pair[0], pair[1]]),
        false => u16::from_le_bytes([pair[0], pair[1]]),
    });
    char::decode_utf16(units).map(|sign| sign.unwrap_or(char::REPLACEMENT_CHARACTER)).collect()
}

/// Looks a header up by its name, in upper or lower case.
pub fn header<'a>(headers: &'a Attributes, name: &str) -> Option<&'a Value> {
    find(headers, name)
        .or_else(|| headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value))
}
