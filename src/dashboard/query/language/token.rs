//! A text cut into words, texts in quotes and signs.

use super::QueryError;

/// What a token is.
#[derive(Debug, Clone, PartialEq)]
pub enum Token {
    Word(String),
    Quoted(String),
    /// One of [`SIGNS`].
    Sign(&'static str),
}

/// A token and where it begins.
#[derive(Debug, Clone, PartialEq)]
pub struct Placed {
    pub token: Token,
    pub column: usize,
}

/// The signs, longer ones before those that they begin with.
const SIGNS: &[&str] =
    &["&&", "||", ">>", ">=", "<=", "!=", "=~", "!~", "==", "=", ">", "<", "!", "~", "(", ")", "{", "}", "|"];

/// Cuts a text.
pub fn cut(text: &str) -> Result<Vec<Placed>, QueryError> {
    let signs: Vec<char> = text.chars().collect();
    let (mut tokens, mut at) = (Vec::new(), 0);
    while at < signs.len() {
        let begin = at;
        let token = if signs[at].is_whitespace() {
            at += 1;
            continue;
        } else if matches!(signs[at], '"' | '`') {
            let (text, after) = quoted(&signs, at)?;
            at = after;
            Token::Quoted(text)
        } else if let Some(sign) = sign(&signs[at..]) {
            at += sign.len();
            Token::Sign(if sign == "==" { "=" } else { sign })
        } else {
            Token::Word(word(&signs, &mut at)?)
        };
        tokens.push(Placed { token, column: begin + 1 });
    }
    Ok(tokens)
}

fn sign(rest: &[char]) -> Option<&'static str> {
    SIGNS.iter().copied().find(|sign| sign.chars().zip(rest).filter(|(a, b)| a == *b).count() == sign.len())
}

/// A word; a part of it may stand in quotes: `span."a key"`.
fn word(signs: &[char], at: &mut usize) -> Result<String, QueryError> {
    let mut word = String::new();
    while let Some(&next) = signs.get(*at) {
        if next == '"' && word.ends_with('.') {
            let (text, after) = quoted(signs, *at)?;
            word.push_str(&text);
            *at = after;
        } else if next.is_whitespace()
            || next == '"'
            || (sign(&signs[*at..]).is_some() && !inner(&word, next))
        {
            break;
        } else {
            word.push(next);
            *at += 1;
        }
    }
    Ok(word)
}

/// Whether a sign stands inside a word: `/users/{id}` and `/users/(all)` are written without quotes.
fn inner(word: &str, sign: char) -> bool {
    word.contains('/') && matches!(sign, '{' | '}' | '(' | ')' | '~' | '!')
}

/// The text between two quotes, and where it goes on. Within `"`, `\"` and `\\` stand for themselves; within
/// backticks everything does.
fn quoted(signs: &[char], begin: usize) -> Result<(String, usize), QueryError> {
    let quote = signs[begin];
    let (mut text, mut at) = (String::new(), begin + 1);
    while let Some(&sign) = signs.get(at) {
        match sign {
            sign if sign == quote => return Ok((text, at + 1)),
            '\\' if quote == '"' && matches!(signs.get(at + 1), Some('"' | '\\')) => {
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
