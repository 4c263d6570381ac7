//! A tree as text that is read as the same tree again.

use std::fmt::{Display, Formatter, Result};

use super::tree::{
    Condition, Field, INTRINSICS, Intrinsic, Join, Literal, Operator, Query, SCOPES, Scope, Spans,
};
use super::{read, token};

impl Display for Query {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        match &self.spans {
            Spans::Where(Some(condition)) => write!(f, "{condition}"),
            spans => write!(f, "{spans}"),
        }
    }
}

impl Display for Spans {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        match self {
            Spans::Where(None) => f.write_str("{ }"),
            Spans::Where(Some(condition)) => write!(f, "{{ {condition} }}"),
            Spans::Joined(left, join, right) => {
                let sign = match join {
                    Join::And => "&&",
                    Join::Or => "||",
                    Join::Child => ">",
                    Join::Descendant => ">>",
                    Join::Sibling => "~",
                };
                // All bind from left to right, "||" weakest.
                let weaker =
                    |side: &Spans| *join != Join::Or && matches!(side, Spans::Joined(_, Join::Or, _));
                if weaker(left) {
                    write!(f, "({left})")?
                } else {
                    write!(f, "{left}")?
                }
                write!(f, " {sign} ")?;
                if matches!(**right, Spans::Joined(..)) {
                    write!(f, "({right})")
                } else {
                    write!(f, "{right}")
                }
            }
        }
    }
}

impl Display for Condition {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        match self {
            Condition::And(left, right) => {
                let sides = (Part(left, false), Part(right, true));
                write!(f, "{} and {}", sides.0, sides.1)
            }
            Condition::Or(left, right) => match **right {
                Condition::Or(..) => write!(f, "{left} or ({right})"),
                _ => write!(f, "{left} or {right}"),
            },
            Condition::Not(inner) => write!(f, "not {}", Part(inner, true)),
            Condition::Compare(field, operator, literal) => {
                let sign = match operator {
                    Operator::Equal => "=",
                    Operator::Unequal => "!=",
                    Operator::Less => "<",
                    Operator::LessOrEqual => "<=",
                    Operator::Greater => ">",
                    Operator::GreaterOrEqual => ">=",
                };
                write!(f, "{field} {sign} {literal}")
            }
            Condition::Match(field, pattern) => {
                write!(f, "{field} {} {}", if pattern.negated { "!~" } else { "=~" }, quoted(&pattern.text))
            }
            Condition::Exists(field) => write!(f, "{field} != nil"),
            Condition::Missing(field) => write!(f, "{field} = nil"),
        }
    }
}

/// A part of an `and` or `not`, in parentheses where it would be read otherwise.
struct Part<'a>(&'a Condition, bool);

impl Display for Part<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        match self {
            Part(Condition::Or(..), _) | Part(Condition::And(..), true) => write!(f, "({})", self.0),
            Part(other, _) => write!(f, "{other}"),
        }
    }
}

impl Display for Field {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        match self {
            Field::Intrinsic(Intrinsic::Correlation) => f.write_str("correlation.id"),
            Field::Intrinsic(intrinsic) => {
                let name = INTRINSICS.iter().find(|(_, known)| known == intrinsic);
                f.write_str(name.map_or("name", |(name, _)| name))
            }
            Field::Attribute(Scope::Resource, key) if key == "service.name" => f.write_str(key),
            Field::Attribute(scope, key) => {
                let prefix =
                    SCOPES.iter().find(|(_, known)| known == scope).map_or(".", |(prefix, _)| prefix);
                let plain = is_plain(key);
                // A key that reads as one without its dot is written without it.
                let prefix = if *scope == Scope::Any && plain && key.contains('.') && reads_back(key) {
                    ""
                } else {
                    prefix
                };
                if plain { write!(f, "{prefix}{key}") } else { write!(f, "{prefix}{}", quoted(key)) }
            }
        }
    }
}

/// Whether a key without a scope before it is read as that key.
fn reads_back(key: &str) -> bool {
    !SCOPES.iter().any(|(prefix, _)| key.starts_with(prefix))
        && !INTRINSICS.iter().any(|(name, _)| name.eq_ignore_ascii_case(key))
}

impl Display for Literal {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        match self {
            Literal::Text(text) => f.write_str(&quoted(text)),
            Literal::Word(word) if is_plain(word) => f.write_str(word),
            Literal::Word(word) => f.write_str(&quoted(word)),
            Literal::Int(number) => write!(f, "{number}"),
            Literal::Double(number) => write!(f, "{number:?}"),
            Literal::Bool(truth) => write!(f, "{truth}"),
            Literal::Duration(ns) => f.write_str(&duration(*ns)),
            Literal::Status(code) => f.write_str(code.word()),
            Literal::Kind(kind) => f.write_str(kind.word()),
        }
    }
}

/// The query for what has this attribute with this value, given as its type (`text`, `int`, `double`, `bool`) and
/// text; `None` for other types.
pub fn equality(scope: Scope, key: &str, kind: &str, text: &str) -> Option<String> {
    let literal = match kind {
        "text" => Literal::Text(text.to_owned()),
        "int" => Literal::Int(text.parse().ok()?),
        "double" => Literal::Double(text.parse().ok().filter(|number: &f64| number.is_finite())?),
        "bool" => Literal::Bool(text.parse().ok()?),
        _ => return None,
    };
    let field = Field::Attribute(scope, key.to_owned());
    Some(Condition::Compare(field, Operator::Equal, literal).to_string())
}

/// A key behind its scope, such as `span.`, in quotes where it needs them.
pub fn scoped(scope: &str, key: &str) -> String {
    if is_plain(key) { format!("{scope}{key}") } else { format!("{scope}{}", quoted(key)) }
}

/// A text as a value, in quotes where it would be read as something else without.
pub fn value(text: &str) -> String {
    let is_word = matches!(read::of_attribute(text), Literal::Word(_));
    if is_word && is_plain(text) { text.to_owned() } else { quoted(text) }
}

/// Whether a text is one word to the reader.
fn is_plain(text: &str) -> bool {
    let one = |tokens: Vec<token::Placed>| matches!(&tokens[..], [token::Placed { token: token::Token::Word(word), .. }] if word == text);
    let reserved = ["and", "or", "not", "nil"].iter().any(|word| word.eq_ignore_ascii_case(text));
    !reserved && token::cut(text).is_ok_and(one)
}

fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

/// A duration without loss, in the largest unit that divides it.
pub fn duration(ns: u64) -> String {
    [(1_000_000_000, "s"), (1_000_000, "ms"), (1_000, "us")]
        .into_iter()
        .find(|(size, _)| ns > 0 && ns.is_multiple_of(*size))
        .map_or_else(|| format!("{ns}ns"), |(size, unit)| format!("{}{unit}", ns / size))
}
