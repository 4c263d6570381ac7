//! What the address of the list of logs asks for.

use crate::dashboard::model::correlation;
use crate::dashboard::model::{Severity, TraceId};
use crate::dashboard::store::{LogCursor, LogFilter, LogKind};
use crate::dashboard::view::error::PageError;
use crate::dashboard::view::format;
use crate::dashboard::view::visit::{Params, Visit};

/// Rows of a page where the address does not say.
pub const USUAL_LIMIT: usize = 50;
/// Longest text that is looked for, and longest attribute, in bytes.
const MAX_TEXT: usize = 1_000;
/// Most attributes asked for at once.
const MAX_ATTRIBUTES: usize = 8;

/// Reads the filter; an error names the field that cannot be read.
pub fn read(visit: &Visit, usual_limit: usize) -> Result<LogFilter, PageError> {
    let params = &visit.params;
    let text = |key: &str, most: usize| match params.text(key) {
        Some(text) if text.len() > most => {
            Err(PageError::bad(format!("“{key}” is longer than {} bytes.", format::count(most as u64))))
        }
        text => Ok(text.map(str::to_owned)),
    };
    Ok(LogFilter {
        kind: LogKind::Logs,
        from: Some(visit.range.from),
        to: Some(visit.range.to),
        service: text("service", MAX_TEXT)?,
        least_severity: severity(params)?.map_or(0, Severity::least),
        trace: trace(params)?,
        correlation: text("correlation", correlation::MAX_LEN)?,
        attributes: attributes(params)?,
        text: text("text", MAX_TEXT)?,
        limit: params.number("limit", 1..=LogFilter::MAX_LIMIT, usual_limit)?,
        after: match params.text("after") {
            None => None,
            Some(text) => Some(read_cursor(text).ok_or_else(|| {
                PageError::bad(
                    "“after” is not a place in this list: it was changed on the way. Begin at the first page.",
                )
            })?),
        },
    })
}

/// The least severity, if there is one.
pub fn severity(params: &Params) -> Result<Option<Severity>, PageError> {
    match params.text("severity") {
        None | Some("any") => Ok(None),
        Some(word) => Severity::parse(word).map(Some).ok_or_else(|| {
            PageError::bad(format!(
                "“severity” may be trace, debug, info, warn, error, fatal or any, not “{}”.",
                format::shortened(word, 20)
            ))
        }),
    }
}

fn trace(params: &Params) -> Result<Option<TraceId>, PageError> {
    let Some(text) = params.text("trace") else { return Ok(None) };
    TraceId::parse(text).map(Some).map_err(|_| {
        PageError::bad(format!(
            "“trace” is a trace ID, 32 hexadecimal digits, not “{}”.",
            format::shortened(text, 40)
        ))
    })
}

/// `attr=key=value`, any number of times.
fn attributes(params: &Params) -> Result<Vec<(String, String)>, PageError> {
    let mut found = Vec::new();
    let given = params.0.iter().filter(|(key, value)| key == "attr" && !value.is_empty());
    for (_, text) in given {
        let pair = text.split_once('=').map(|(key, value)| (key.trim(), value));
        let Some((key, value)) = pair.filter(|(key, _)| !key.is_empty()) else {
            return Err(PageError::bad(format!(
                "“attr” is a key and a value such as order.id=42, not “{}”.",
                format::shortened(text, 40)
            )));
        };
        if text.len() > MAX_TEXT || found.len() >= MAX_ATTRIBUTES {
            return Err(PageError::bad(format!(
                "“attr” is given more than {MAX_ATTRIBUTES} times, or longer than {} bytes.",
                format::count(MAX_TEXT as u64)
            )));
        }
        found.push((key.to_owned(), value.to_owned()));
    }
    Ok(found)
}

/// A cursor as text, with a check so that a changed one is noticed.
pub fn write_cursor(cursor: LogCursor) -> String {
    let LogCursor { time, run, rank } = cursor;
    format!("{time:x}-{run:x}-{rank:x}-{:08x}", check(cursor))
}

/// Reads what [`write_cursor`] wrote.
pub fn read_cursor(text: &str) -> Option<LogCursor> {
    let mut parts = text.splitn(4, '-');
    let mut number = || u64::from_str_radix(parts.next()?, 16).ok();
    let (time, run, rank) = (number()?, number()?, u32::try_from(number()?).ok()?);
    let cursor = LogCursor { time, run, rank };
    (parts.next()? == format!("{:08x}", check(cursor))).then_some(cursor)
}

fn check(LogCursor { time, run, rank }: LogCursor) -> u32 {
    xxhash_rust::xxh3::xxh3_64(format!("logs {time} {run} {rank}").as_bytes()) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_changed_cursor_is_noticed() {
        let cursor = LogCursor { time: 1_795_440_068_000_000_000, run: 27, rank: 3 };
        let text = write_cursor(cursor);
        assert_eq!(read_cursor(&text), Some(cursor));
        for changed in ["", "a-b-c-d", &text[1..], &format!("{text}0"), &text.replace("1b", "1c")] {
            assert_eq!(read_cursor(changed), None, "{changed}");
        }
    }
}
