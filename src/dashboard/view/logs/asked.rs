//! What the address of the list of logs asks for.

use crate::dashboard::model::correlation;
use crate::dashboard::model::{Severity, TraceId};
use crate::dashboard::store::{LogCursor, LogFilter, LogKind};
use crate::dashboard::view::error::PageError;
use crate::dashboard::view::format;
use crate::dashboard::view::visit::{Params, Visit};

/// Rows of a page where the address does not say.
pub const USUAL_LIMIT: usize = 50;
/// Reads the filter; an error names the field that cannot be read.
pub fn read(visit: &Visit, usual_limit: usize) -> Result<LogFilter, PageError> {
    let params = &visit.params;
    Ok(LogFilter {
        kind: LogKind::Logs,
        from: Some(visit.range.from),
        to: Some(visit.range.to),
        service: params.text_within("service", Params::MAX_TEXT)?,
        least_severity: severity(params)?.map_or(0, Severity::least),
        trace: trace(params)?,
        correlation: params.text_within("correlation", correlation::MAX_LEN)?,
        attributes: params.pairs("attr", "a key and a value such as order.id=42")?,
        text: params.text_within("text", Params::MAX_TEXT)?,
        limit: params.number("limit", 1..=LogFilter::MAX_LIMIT, usual_limit)?,
        after: params.after(read_cursor)?,
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
