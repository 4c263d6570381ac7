//! What is being typed in the middle of a query.

use super::token::{self, Placed, Token};
use super::tree::INTRINSICS;
use super::write;

/// Operators that can stand behind a key.
pub const OPERATORS: [&str; 8] = ["=", "!=", ">", ">=", "<", "<=", "=~", "!~"];
/// What can stand behind a condition.
pub const JOINTS: [&str; 2] = ["and", "or"];

/// What is wanted at a place.
#[derive(Debug, Clone, PartialEq)]
pub enum Typed {
    Key,
    Operator,
    /// The value of this key, as it is written.
    Value(String),
    Joint,
    /// A text in quotes of which nothing is known.
    Nothing,
}

/// A place in a line.
#[derive(Debug, Clone, PartialEq)]
pub struct Place {
    pub wanted: Typed,
    /// Where the word begins that is being typed, in characters from 0.
    pub from: usize,
    /// The word so far.
    pub part: String,
}

/// What is being typed at character `at` of a line.
pub fn typed(line: &str, at: usize) -> Place {
    let before: String = line.chars().take(at).collect();
    let at = before.chars().count();
    // A quote that is open holds the value that is being typed.
    let (mut tokens, open) = match token::cut(&before) {
        Ok(tokens) => (tokens, None),
        Err(error) => {
            let from = error.column - 1;
            let head: String = before.chars().take(from).collect();
            (token::cut(&head).unwrap_or_default(), Some(from))
        }
    };
    let part = |from: usize| before.chars().skip(from).collect::<String>();
    if let Some(from) = open {
        let wanted = match (tokens.pop(), tokens.pop()) {
            (Some(Placed { token: Token::Sign(sign), .. }), Some(Placed { token: Token::Word(key), .. }))
                if OPERATORS.contains(&sign) =>
            {
                Typed::Value(key)
            }
            _ => Typed::Nothing,
        };
        return Place { wanted, from, part: part(from) };
    }
    // A word that the line ends with is still being typed.
    let unfinished = !before.ends_with(char::is_whitespace)
        && matches!(tokens.last(), Some(Placed { token: Token::Word(_), .. }));
    let from = if unfinished { tokens.pop().map_or(at, |placed| placed.column - 1) } else { at };
    let is_joint = |word: &str| ["and", "or", "not"].iter().any(|joint| joint.eq_ignore_ascii_case(word));
    let key_before = |tokens: &[Placed]| match tokens {
        [.., Placed { token: Token::Word(key), .. }, _] => Some(key.clone()),
        _ => None,
    };
    let wanted = match tokens.last().map(|placed| &placed.token) {
        None => Typed::Key,
        Some(Token::Sign(sign)) if OPERATORS.contains(sign) => {
            key_before(&tokens).map_or(Typed::Nothing, Typed::Value)
        }
        Some(Token::Sign("}")) => Typed::Nothing,
        Some(Token::Sign(")")) => Typed::Joint,
        Some(Token::Sign(_)) => Typed::Key,
        Some(Token::Word(word)) if is_joint(word) => Typed::Key,
        Some(Token::Word(_) | Token::Quoted(_)) => {
            let of_value = matches!(
                tokens.get(tokens.len().wrapping_sub(2)).map(|placed| &placed.token),
                Some(Token::Sign(sign)) if OPERATORS.contains(sign)
            );
            if of_value { Typed::Joint } else { Typed::Operator }
        }
    };
    Place { wanted, from, part: part(from) }
}

/// The keys that every query can use.
pub fn keys() -> impl Iterator<Item = &'static str> {
    let mut last = None;
    let first_names = INTRINSICS.iter().filter(move |(_, field)| last.replace(*field) != Some(*field));
    ["service.name"].into_iter().chain(first_names.map(|(name, _)| *name)).chain(["correlation.id"])
}

/// The words that a key has for values; none where they are texts or numbers.
pub fn words_of(key: &str) -> &'static [&'static str] {
    match key {
        "status" | "span:status" => &["error", "ok", "unset"],
        "kind" | "span:kind" => &["server", "client", "producer", "consumer", "internal"],
        _ => &[],
    }
}

/// An attribute's key as it is written behind its scope.
pub fn key(scope: &str, key: &str) -> String {
    write::scoped(scope, key)
}
