//! The messages of a look as JSON and as CSV, their secrets masked.

use axum::extract::State;
use axum::response::Response;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

use super::message::{self, body_of, pairs};
use super::{At, peek_of};
use crate::dashboard::keys::Role;
use crate::dashboard::operate::kept::Peeked;
use crate::dashboard::operate::letter::{Letter, text_of};
use crate::dashboard::query::messages::body::Schemas;
use crate::dashboard::view::PageState;
use crate::dashboard::view::download::{file, no_formula, quoted};
use crate::dashboard::view::error::PageError;
use crate::dashboard::view::visit::Visit;

/// The columns of the CSV.
const COLUMNS: [&str; 12] = [
    "number",
    "mark",
    "message_id",
    "correlation_id",
    "exchange",
    "routing_key",
    "died_in",
    "reason",
    "redelivered",
    "bytes",
    "headers",
    "body",
];

/// Handler of `GET …/messages.json?peek=`.
pub async fn json(
    State(state): State<PageState>,
    visit: Visit,
    At(place): At,
) -> Result<Response, PageError> {
    visit.must_be(Role::Operator)?;
    let peeked =
        peek_of(&visit).and_then(|peek| state.desk.kept.find(peek, &place)).ok_or_else(message::forgotten)?;
    let text =
        serde_json::to_string_pretty(&of(&peeked, false, &state.schemas)).map_err(|_| PageError::Internal)?;
    Ok(file(&format!("messages-{}.json", peeked.id), "application/json", text))
}

/// Handler of `GET …/messages.csv?peek=`.
pub async fn csv(State(state): State<PageState>, visit: Visit, At(place): At) -> Result<Response, PageError> {
    visit.must_be(Role::Operator)?;
    let peeked =
        peek_of(&visit).and_then(|peek| state.desk.kept.find(peek, &place)).ok_or_else(message::forgotten)?;
    let mut out = COLUMNS.join(",") + "\r\n";
    for (number, letter) in (1..).zip(&peeked.letters) {
        let fields = row(number, letter, &state.schemas).map(|field| cell(&field));
        out.push_str(&fields.join(","));
        out.push_str("\r\n");
    }
    Ok(file(&format!("messages-{}.csv", peeked.id), "text/csv; charset=utf-8", out))
}

fn row(number: u64, letter: &Letter, schemas: &Schemas) -> [String; 12] {
    let of = |name: &str| letter.property(name).unwrap_or_default().to_owned();
    let headers = masked_headers(letter, false);
    [
        number.to_string(),
        letter.mark.clone(),
        of("message_id"),
        of("correlation_id"),
        letter.exchange.clone(),
        letter.routing_key.clone(),
        letter.died_in().unwrap_or_default(),
        letter.reason().unwrap_or_default(),
        letter.redelivered.to_string(),
        letter.size.to_string(),
        Value::Object(headers).to_string(),
        body_of(letter, false, schemas).text.unwrap_or_default(),
    ]
}

/// A field, in quotes where it needs them.
fn cell(text: &str) -> String {
    let text = no_formula(text);
    if text.contains(['"', ',', '\n', '\r', '\'']) { quoted(&text) } else { text }
}

fn masked_headers(letter: &Letter, reveal: bool) -> Map<String, Value> {
    if reveal {
        return letter.headers.iter().cloned().collect();
    }
    let all = letter.headers.iter().map(|(name, value)| (name.as_str(), text_of(value)));
    let shown = pairs(all, false).into_iter();
    // What is not masked keeps its type.
    let pairs = shown.zip(&letter.headers).map(|(pair, (name, value))| {
        (name.clone(), if pair.masked { Value::String(pair.value) } else { value.clone() })
    });
    pairs.collect()
}

/// A look as JSON.
pub fn of(peeked: &Peeked, reveal: bool, schemas: &Schemas) -> Value {
    json!({
        "peek": peeked.id,
        "at": peeked.at.to_string(),
        "broker": peeked.place.broker,
        "vhost": peeked.place.virtual_host,
        "queue": peeked.place.queue,
        "masked": !reveal,
        "messages": peeked.letters.iter().map(|letter| of_letter(letter, reveal, schemas)).collect::<Vec<_>>(),
    })
}

fn of_letter(letter: &Letter, reveal: bool, schemas: &Schemas) -> Value {
    let all = letter.properties.iter().map(|(name, value)| (*name, value.clone()));
    let properties: Map<String, Value> =
        pairs(all, reveal).into_iter().map(|pair| (pair.name, Value::String(pair.value))).collect();
    let body = body_of(letter, reveal, schemas);
    json!({
        "mark": letter.mark,
        "exchange": letter.exchange,
        "routingKey": letter.routing_key,
        "redelivered": letter.redelivered,
        "properties": properties,
        "headers": masked_headers(letter, reveal),
        "origin": letter.origin().map(|(exchange, key)| json!({ "exchange": exchange, "routingKey": key })),
        "diedIn": letter.died_in(),
        "reason": letter.reason(),
        "bytes": letter.size,
        "altered": letter.altered,
        "bodyCut": !letter.is_whole(),
        "body": body.text,
        "bodyBase64": body.text.is_none().then(|| STANDARD.encode(&letter.body)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_cell_is_a_formula() {
        for (text, written) in [
            ("plain", "plain"),
            ("a,b", "\"a,b\""),
            ("say \"x\"", "\"say \"\"x\"\"\""),
            ("=HYPERLINK(\"http://evil\")", "\"'=HYPERLINK(\"\"http://evil\"\")\""),
            ("+1", "\"'+1\""),
            ("-1", "\"'-1\""),
            ("@x", "\"'@x\""),
            ("\tx", "\"'\tx\""),
            ("two\nlines", "\"two\nlines\""),
            (" =1", "\"' =1\""),
        ] {
            assert_eq!(cell(text), written, "{text:?}");
        }
    }
}
