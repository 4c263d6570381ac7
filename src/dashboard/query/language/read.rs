//! Tokens into a tree, by recursive descent.
//!
//! ```text
//! query     = joined | condition
//! joined    = joined_or (("&&" | ">" | ">>" | "~") …)*   "||" binds weakest
//! set       = "{" condition? "}" | "(" joined ")"
//! condition = all ("or" all)*      all = one ("and" one)*
//! one       = "not" one | "(" condition ")" | field operator value | field
//! ```

use regex::RegexBuilder;

use super::QueryError;
use super::token::{self, Placed, Token};
use super::tree::{
    Condition, Field, INTRINSICS, Intrinsic, Join, Literal, Operator, Pattern, Query, SCOPES, Scope, Spans,
};
use crate::dashboard::model::{Kind, StatusCode};

/// How deep parentheses and `not` may be nested.
const MAX_DEPTH: usize = 64;
/// Conditions of a query at most.
const MAX_CONDITIONS: usize = 100;
/// Memory that a compiled pattern may take: what needs more is a mistake or an attack.
const MAX_PATTERN: usize = 256 << 10;

/// Reads a query.
pub fn query(text: &str) -> Result<Query, QueryError> {
    let tokens = token::cut(text)?;
    let mut reader = Reader { tokens, at: 0, end: text.chars().count() + 1, depth: 0, conditions: 0 };
    let braces = reader.tokens.iter().any(|placed| placed.token == Token::Sign("{"));
    let spans = if braces { reader.any_of()? } else { Spans::Where(Some(reader.condition()?)) };
    match reader.peek() {
        None => Ok(Query { spans }),
        Some(Token::Sign("|")) => {
            Err(reader.error("aggregates after | are not understood; a query ends with its conditions"))
        }
        Some(Token::Sign("}" | ")")) => Err(reader.error("nothing is open that this could close")),
        Some(_) if braces => Err(reader.error("between two { } comes &&, ||, >, >> or ~")),
        Some(_) => Err(reader.error(format!("“and” or “or” joins two conditions, not {}", reader.shown()))),
    }
}

struct Reader {
    tokens: Vec<Placed>,
    at: usize,
    /// The column behind the last sign.
    end: usize,
    depth: usize,
    conditions: usize,
}

impl Reader {
    fn peek(&self) -> Option<&Token> {
        self.tokens.get(self.at).map(|placed| &placed.token)
    }

    /// The next token as it stands in a message.
    fn shown(&self) -> String {
        match self.peek() {
            None => "the end".to_owned(),
            Some(Token::Word(text) | Token::Quoted(text)) => {
                format!("“{}”", text.chars().take(30).collect::<String>())
            }
            Some(Token::Sign(sign)) => format!("“{sign}”"),
        }
    }

    /// An error at the next token.
    fn error(&self, what: impl Into<String>) -> QueryError {
        let column = self.tokens.get(self.at).map_or(self.end, |placed| placed.column);
        QueryError { column, what: what.into() }
    }

    /// Goes on if the next token is this sign.
    fn sign(&mut self, sign: &str) -> bool {
        let found = matches!(self.peek(), Some(Token::Sign(next)) if *next == sign);
        self.at += usize::from(found);
        found
    }

    /// Goes on if the next token is this word, in any case.
    fn word(&mut self, word: &str) -> bool {
        let found = matches!(self.peek(), Some(Token::Word(next)) if next.eq_ignore_ascii_case(word));
        self.at += usize::from(found);
        found
    }

    /// Reads something nested.
    fn deeper<T>(&mut self, read: impl FnOnce(&mut Self) -> Result<T, QueryError>) -> Result<T, QueryError> {
        if self.depth >= MAX_DEPTH {
            return Err(self.error(format!("it is nested more than {MAX_DEPTH} deep")));
        }
        self.depth += 1;
        let result = read(self);
        self.depth -= 1;
        result
    }

    fn any_of(&mut self) -> Result<Spans, QueryError> {
        let mut left = self.all_of()?;
        while self.sign("||") {
            left = Spans::Joined(Box::new(left), Join::Or, Box::new(self.all_of()?));
        }
        Ok(left)
    }

    fn all_of(&mut self) -> Result<Spans, QueryError> {
        let mut left = self.set()?;
        loop {
            let join = if self.sign("&&") {
                Join::And
            } else if self.sign(">>") {
                Join::Descendant
            } else if self.sign(">") {
                Join::Child
            } else if self.sign("~") {
                Join::Sibling
            } else {
                return Ok(left);
            };
            left = Spans::Joined(Box::new(left), join, Box::new(self.set()?));
        }
    }

    fn set(&mut self) -> Result<Spans, QueryError> {
        if self.sign("(") {
            let inner = self.deeper(Self::any_of)?;
            return if self.sign(")") { Ok(inner) } else { Err(self.error("here ) is missing")) };
        }
        if !self.sign("{") {
            return Err(self.error("here { is missing: conditions on one span stand in braces"));
        }
        if self.sign("}") {
            return Ok(Spans::Where(None));
        }
        let condition = self.condition()?;
        if self.sign("}") {
            return Ok(Spans::Where(Some(condition)));
        }
        Err(self.error(format!("“and”, “or” or }} comes here, not {}", self.shown())))
    }

    fn condition(&mut self) -> Result<Condition, QueryError> {
        let mut left = self.all()?;
        while self.word("or") || self.sign("||") {
            left = Condition::Or(Box::new(left), Box::new(self.all()?));
        }
        Ok(left)
    }

    fn all(&mut self) -> Result<Condition, QueryError> {
        let mut left = self.one()?;
        while self.word("and") || self.sign("&&") {
            left = Condition::And(Box::new(left), Box::new(self.one()?));
        }
        Ok(left)
    }

    fn one(&mut self) -> Result<Condition, QueryError> {
        if self.word("not") || self.sign("!") {
            return Ok(Condition::Not(Box::new(self.deeper(Self::one)?)));
        }
        if self.sign("(") {
            let inner = self.deeper(Self::condition)?;
            return if self.sign(")") { Ok(inner) } else { Err(self.error("here ) is missing")) };
        }
        self.conditions += 1;
        if self.conditions > MAX_CONDITIONS {
            return Err(self.error(format!("a query has at most {MAX_CONDITIONS} conditions")));
        }
        let field = self.field()?;
        let at_operator = self.at;
        let operator = match self.peek() {
            Some(Token::Sign("=")) => Operator::Equal,
            Some(Token::Sign("!=")) => Operator::Unequal,
            Some(Token::Sign("<")) => Operator::Less,
            Some(Token::Sign("<=")) => Operator::LessOrEqual,
            Some(Token::Sign(">")) => Operator::Greater,
            Some(Token::Sign(">=")) => Operator::GreaterOrEqual,
            Some(Token::Sign(sign @ ("=~" | "!~"))) => {
                let negated = *sign == "!~";
                self.at += 1;
                return self.pattern(field, negated);
            }
            Some(Token::Sign("&&" | "||" | ")" | "}")) | None if may_stand_alone(&field) => {
                return Ok(Condition::Exists(field));
            }
            Some(Token::Word(word)) if is_joint(word) && may_stand_alone(&field) => {
                return Ok(Condition::Exists(field));
            }
            _ => {
                return Err(self.error(format!(
                    "here =, !=, <, >, =~ or another comparison is missing, not {}",
                    self.shown()
                )));
            }
        };
        self.at += 1;
        self.compared(field, operator, at_operator)
    }

    fn field(&mut self) -> Result<Field, QueryError> {
        let Some(Token::Word(word)) = self.peek() else {
            return Err(self.error(match self.peek() {
                None => "here a condition such as service.name = orders is missing".to_owned(),
                Some(_) => {
                    format!("a condition begins with a key such as service.name, not with {}", self.shown())
                }
            }));
        };
        let field = field(word).ok_or_else(|| {
            self.error(format!(
                "{} cannot be asked for; keys are name, duration, status, kind, trace:duration, trace:rootName, \
                 correlation.id and attributes such as .http.route or resource.host.name",
                self.shown()
            ))
        })?;
        self.at += 1;
        Ok(field)
    }

    fn pattern(&mut self, field: Field, negated: bool) -> Result<Condition, QueryError> {
        let (Some(Token::Word(text)) | Some(Token::Quoted(text))) = self.peek() else {
            return Err(self.error("here a regular expression is missing"));
        };
        let built = RegexBuilder::new(&format!("^(?:{text})$")).size_limit(MAX_PATTERN).build();
        let regex = built.map_err(|error| {
            self.error(match error {
                regex::Error::CompiledTooBig(_) => "this regular expression is too large".to_owned(),
                other => {
                    let what = other.to_string();
                    let last = what.lines().last().unwrap_or_default().trim_start_matches("error: ");
                    format!("this is no regular expression: {last}")
                }
            })
        })?;
        let pattern = Pattern { text: text.clone(), negated, regex };
        self.at += 1;
        Ok(Condition::Match(field, pattern))
    }

    fn compared(
        &mut self,
        field: Field,
        operator: Operator,
        at_operator: usize,
    ) -> Result<Condition, QueryError> {
        let placed = |at: usize, what: String| QueryError { column: self.tokens[at].column, what };
        let equality = matches!(operator, Operator::Equal | Operator::Unequal);
        let literal = match self.peek() {
            Some(Token::Word(word)) if word == "nil" => {
                if !equality {
                    return Err(placed(at_operator, "nil is compared with = or !=".to_owned()));
                }
                self.at += 1;
                return Ok(match operator {
                    Operator::Equal => Condition::Missing(field),
                    _ => Condition::Exists(field),
                });
            }
            Some(Token::Word(word)) => literal(&field, word).map_err(|what| self.error(what))?,
            Some(Token::Quoted(text)) => match &field {
                Field::Intrinsic(intrinsic) if !holds_text(*intrinsic) => {
                    literal(&field, text).map_err(|what| self.error(what))?
                }
                _ => Literal::Text(text.clone()),
            },
            _ => return Err(self.error("here a value is missing".to_owned())),
        };
        if !equality && matches!(literal, Literal::Bool(_) | Literal::Status(_) | Literal::Kind(_)) {
            return Err(placed(at_operator, "this value is compared with = or !=".to_owned()));
        }
        self.at += 1;
        Ok(Condition::Compare(field, operator, literal))
    }
}

/// The field that a word names. A word that is nothing else and has a dot in it is an attribute's key.
fn field(word: &str) -> Option<Field> {
    if word == "service" {
        return Some(Field::Attribute(Scope::Resource, "service.name".to_owned()));
    }
    if let Some((_, intrinsic)) = INTRINSICS.iter().find(|(name, _)| name.eq_ignore_ascii_case(word)) {
        return Some(Field::Intrinsic(*intrinsic));
    }
    let scoped = SCOPES.iter().find_map(|(prefix, scope)| Some((*scope, word.strip_prefix(prefix)?)));
    let (scope, key) = match scoped {
        Some(scoped) => scoped,
        None if word.contains('.') || word.contains('_') => (Scope::Any, word),
        None => return None,
    };
    let scope = if key == "service.name" && scope == Scope::Any { Scope::Resource } else { scope };
    (!key.is_empty()).then(|| Field::Attribute(scope, key.to_owned()))
}

/// An attribute alone asks whether it is there; every span has a service.
fn may_stand_alone(field: &Field) -> bool {
    matches!(field, Field::Attribute(_, key) if key != "service.name")
}

fn is_joint(word: &str) -> bool {
    word.eq_ignore_ascii_case("and") || word.eq_ignore_ascii_case("or")
}

fn holds_text(intrinsic: Intrinsic) -> bool {
    !matches!(
        intrinsic,
        Intrinsic::Duration
            | Intrinsic::TraceDuration
            | Intrinsic::Status
            | Intrinsic::Kind
            | Intrinsic::TraceErrors
            | Intrinsic::TraceSpans
    )
}

/// What a word stands for beside this field.
fn literal(field: &Field, word: &str) -> Result<Literal, String> {
    match field {
        Field::Intrinsic(Intrinsic::Status) => match word.to_ascii_lowercase().as_str() {
            "error" => Ok(Literal::Status(StatusCode::Error)),
            "ok" => Ok(Literal::Status(StatusCode::Ok)),
            "unset" => Ok(Literal::Status(StatusCode::Unset)),
            _ => Err("status is error, ok or unset".to_owned()),
        },
        Field::Intrinsic(Intrinsic::Kind) => {
            let word = word.to_ascii_lowercase();
            let kind = (0..6).map(Kind::from_wire).find(|kind| kind.word() == word);
            kind.map(Literal::Kind).ok_or_else(|| {
                "kind is server, client, producer, consumer, internal or unspecified".to_owned()
            })
        }
        Field::Intrinsic(Intrinsic::Duration | Intrinsic::TraceDuration) => token::duration(word)
            .map(Literal::Duration)
            .ok_or_else(|| "a duration is a number with ns, us, ms, s, m or h, as in 250ms".to_owned()),
        Field::Intrinsic(Intrinsic::TraceErrors | Intrinsic::TraceSpans) => {
            word.parse().map(Literal::Int).map_err(|_| "here a whole number is wanted".to_owned())
        }
        Field::Intrinsic(_) => Ok(Literal::Word(word.to_owned())),
        Field::Attribute(..) => Ok(of_attribute(word)),
    }
}

/// What a word stands for beside an attribute.
pub fn of_attribute(word: &str) -> Literal {
    match word {
        "true" => Literal::Bool(true),
        "false" => Literal::Bool(false),
        _ => match (word.parse::<i64>(), word.parse::<f64>()) {
            (Ok(number), _) => Literal::Int(number),
            (_, Ok(number)) if number.is_finite() => Literal::Double(number),
            _ => token::duration(word).map_or_else(|| Literal::Word(word.to_owned()), Literal::Duration),
        },
    }
}
