//! The small query language of the search box and of `/traces?query=`:
//!
//! ```text
//! service.name = payments and status = error and duration > 250ms
//! ```
//!
//! Conditions are joined by `and`. Keys: `service.name` (or `service`), `name`, `status`, `duration`,
//! `correlation.id`. All are equal (`=`) but `duration`, which is longer (`>`, `>=`) or shorter (`<`, `<=`).
//! A value with spaces stands in quotes.

use crate::dashboard::store::{StatusFilter, TraceFilter};

/// Why a query cannot be read, and where: the column counts characters from 1.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what}")]
pub struct QueryError {
    pub column: usize,
    pub what: String,
}

/// Whether a text is meant as a query: it compares something.
pub fn looks_like_query(text: &str) -> bool {
    text.contains(['=', '<', '>'])
}

/// Reads `text` into what a list of traces can be asked for.
pub fn read(text: &str) -> Result<TraceFilter, QueryError> {
    let mut tokens = tokens(text)?.into_iter().peekable();
    let mut filter = TraceFilter::default();
    let end = text.chars().count() + 1;
    loop {
        let mut next = |wanted: &str| {
            tokens.next().ok_or_else(|| QueryError { column: end, what: format!("here {wanted} is missing") })
        };
        let key = next("a key such as service.name")?;
        if key.kind == Kind::Operator {
            return Err(key.error("a condition begins with a key such as service.name".to_owned()));
        }
        let operator = next("= or < or >")?;
        if operator.kind != Kind::Operator {
            return Err(operator.error(format!("after “{}” comes =, < or >", cut(&key.text))));
        }
        let value = next("a value")?;
        apply(&mut filter, &key, &operator, &value)?;
        match tokens.next() {
            None => return Ok(filter),
            Some(word) if word.kind == Kind::Word && word.text.eq_ignore_ascii_case("and") => {}
            Some(other) => {
                return Err(other.error(format!("“and” joins two conditions, not “{}”", cut(&other.text))));
            }
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Word,
    Quoted,
    Operator,
}

#[derive(Debug, Clone)]
struct Token {
    kind: Kind,
    text: String,
    column: usize,
}

impl Token {
    fn error(&self, what: String) -> QueryError {
        QueryError { column: self.column, what }
    }
}

/// At most 30 characters of what somebody wrote, for a message.
fn cut(text: &str) -> String {
    text.chars().take(30).collect()
}

fn tokens(text: &str) -> Result<Vec<Token>, QueryError> {
    let signs: Vec<char> = text.chars().collect();
    let mut tokens = Vec::new();
    let mut at = 0;
    while at < signs.len() {
        let column = at + 1;
        let sign = signs[at];
        if sign.is_whitespace() {
            at += 1;
            continue;
        }
        let (kind, text) = if sign == '"' {
            let (text, after) = quoted(&signs, at)?;
            at = after;
            (Kind::Quoted, text)
        } else if is_operator(sign) {
            let begin = at;
            while at < signs.len() && is_operator(signs[at]) {
                at += 1;
            }
            (Kind::Operator, signs[begin..at].iter().collect())
        } else {
            let begin = at;
            while at < signs.len()
                && !signs[at].is_whitespace()
                && !is_operator(signs[at])
                && signs[at] != '"'
            {
                at += 1;
            }
            (Kind::Word, signs[begin..at].iter().collect())
        };
        tokens.push(Token { kind, text, column });
    }
    Ok(tokens)
}

fn is_operator(sign: char) -> bool {
    matches!(sign, '=' | '<' | '>' | '!')
}

/// The text between two quotes, and where it goes on; `\"` and `\\` stand for themselves.
fn quoted(signs: &[char], begin: usize) -> Result<(String, usize), QueryError> {
    let mut text = String::new();
    let mut at = begin + 1;
    while let Some(&sign) = signs.get(at) {
        match sign {
            '"' => return Ok((text, at + 1)),
            '\\' if matches!(signs.get(at + 1), Some('"' | '\\')) => {
                text.push(signs[at + 1]);
                at += 2;
            }
            other => {
                text.push(other);
                at += 1;
            }
        }
    }
    Err(QueryError { column: begin + 1, what: "this quote is not closed".to_owned() })
}

fn apply(filter: &mut TraceFilter, key: &Token, operator: &Token, value: &Token) -> Result<(), QueryError> {
    if value.kind == Kind::Operator {
        return Err(value.error("here a value is missing".to_owned()));
    }
    let name = key.text.to_ascii_lowercase();
    if name == "duration" {
        return apply_duration(filter, operator, value);
    }
    let known = matches!(name.as_str(), "service.name" | "service" | "name" | "status" | "correlation.id");
    if !known {
        return Err(key.error(format!(
            "“{}” cannot be asked for; keys are service.name, name, status, duration, correlation.id",
            cut(&key.text)
        )));
    }
    if operator.text != "=" {
        return Err(operator.error(format!("{name} can only be compared with =")));
    }
    match name.as_str() {
        "service.name" | "service" => filter.service = Some(value.text.clone()),
        "name" => filter.operation = Some(value.text.clone()),
        "correlation.id" => filter.correlation = Some(value.text.clone()),
        _ => {
            filter.status = Some(match value.text.to_ascii_lowercase().as_str() {
                "error" => StatusFilter::Error,
                "ok" => StatusFilter::Ok,
                _ => return Err(value.error("status is error or ok".to_owned())),
            });
        }
    }
    Ok(())
}

fn apply_duration(filter: &mut TraceFilter, operator: &Token, value: &Token) -> Result<(), QueryError> {
    let ns = duration(&value.text).ok_or_else(|| {
        value.error("a duration is a number with ns, us, ms, s, m or h, as in 250ms".to_owned())
    })?;
    match operator.text.as_str() {
        ">" => filter.min_duration = Some(ns.saturating_add(1)),
        ">=" => filter.min_duration = Some(ns),
        "<" => filter.max_duration = Some(ns.saturating_sub(1)),
        "<=" => filter.max_duration = Some(ns),
        _ => return Err(operator.error("duration is compared with > or <".to_owned())),
    }
    Ok(())
}

/// Nanoseconds of `250ms`, `1.5 s`, `2m`. A number alone is refused: nobody knows its unit.
pub fn duration(text: &str) -> Option<u64> {
    let text = text.trim();
    let unit_at = text.find(|sign: char| !sign.is_ascii_digit() && sign != '.')?;
    let (number, unit) = text.split_at(unit_at);
    let number: f64 = number.parse().ok()?;
    let size = match unit.trim() {
        "ns" => 1.0,
        "us" | "µs" | "μs" => 1e3,
        "ms" => 1e6,
        "s" => 1e9,
        "m" | "min" => 60e9,
        "h" => 3600e9,
        _ => return None,
    };
    let ns = number * size;
    (ns.is_finite() && ns < 1e19).then_some(ns as u64)
}

/// `filter`'s conditions as a query.
pub fn write(filter: &TraceFilter) -> String {
    let quote = |text: &str| {
        let plain = !text.is_empty()
            && !text.contains(|sign: char| sign.is_whitespace() || is_operator(sign) || sign == '"');
        if plain {
            text.to_owned()
        } else {
            format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
        }
    };
    let mut parts = Vec::new();
    let mut add = |key: &str, value: &Option<String>| {
        if let Some(value) = value {
            parts.push(format!("{key} = {}", quote(value)));
        }
    };
    add("service.name", &filter.service);
    add("name", &filter.operation);
    add("correlation.id", &filter.correlation);
    match filter.status {
        Some(StatusFilter::Error) => parts.push("status = error".to_owned()),
        Some(StatusFilter::Ok) => parts.push("status = ok".to_owned()),
        // Asked by the Overview only.
        Some(StatusFilter::Broke) => parts.push("status = error".to_owned()),
        None => {}
    }
    if let Some(ns) = filter.min_duration {
        parts.push(format!("duration >= {}", written(ns)));
    }
    if let Some(ns) = filter.max_duration {
        parts.push(format!("duration <= {}", written(ns)));
    }
    parts.join(" and ")
}

/// A duration without loss, in the largest unit that divides it.
pub fn written(ns: u64) -> String {
    [(1_000_000_000, "s"), (1_000_000, "ms"), (1_000, "us")]
        .into_iter()
        .find(|(size, _)| ns > 0 && ns.is_multiple_of(*size))
        .map_or_else(|| format!("{ns}ns"), |(size, unit)| format!("{}{unit}", ns / size))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conditions_are_read() {
        let filter =
            read(r#"service.name = payments and status = error and duration > 250ms and name = "GET /a b""#);
        let filter = filter.unwrap();
        assert_eq!(filter.service.as_deref(), Some("payments"));
        assert_eq!(filter.status, Some(StatusFilter::Error));
        assert_eq!(filter.min_duration, Some(250_000_001));
        assert_eq!(filter.operation.as_deref(), Some("GET /a b"));
        assert_eq!(read("duration<=1.5s").unwrap().max_duration, Some(1_500_000_000));
        let literal = read("correlation.id = \"' OR 1=1--%_\\\\\"").unwrap();
        assert_eq!(literal.correlation.as_deref(), Some("' OR 1=1--%_\\"));
    }

    #[test]
    fn what_is_written_is_read_again() {
        let query = r#"service.name = "a \"b\" c" and status = ok and duration >= 2ms and duration <= 3s"#;
        let filter = read(query).unwrap();
        assert_eq!(read(&write(&filter)).unwrap(), filter);
    }

    #[test]
    fn a_bad_query_says_where() {
        for (query, column) in [
            ("", 1),
            ("service.name", 13),
            ("service.name =", 15),
            ("service.name payments", 14),
            ("= payments", 1),
            ("color = red", 1),
            ("status = maybe", 10),
            ("duration > 250", 12),
            ("duration = 250ms", 10),
            ("name < a", 6),
            ("name = a or name = b", 10),
            ("name = \"a", 8),
            ("status = ok and", 16),
        ] {
            assert_eq!(read(query).unwrap_err().column, column, "{query}");
        }
    }
}
