//! What there is to ask for, as data: the document and the page are made of it, and the tests hold it against the routes.

use serde_json::{Value, json};

use super::schema::Schema;
use crate::dashboard::keys::Role;

/// An operation.
pub struct Operation {
    pub method: Method,
    /// With its variables in braces, as the router has it.
    pub path: &'static str,
    pub group: Group,
    /// A few words.
    pub title: &'static str,
    /// Sentences: what else is to be known.
    pub says: &'static str,
    /// Who may.
    pub role: Role,
    pub params: Vec<Param>,
    /// The JSON of a request.
    pub body: Option<Schema>,
    pub answer: Answer,
    /// Whether somebody else is asked for it: a broker, or the demo shop.
    pub elsewhere: bool,
    /// An address that works as an example, after the origin.
    pub example: &'static str,
    /// A body that works as an example.
    pub example_body: Option<Value>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    Get,
    Post,
}

impl Method {
    pub fn word(self) -> &'static str {
        match self {
            Method::Get => "get",
            Method::Post => "post",
        }
    }
}

/// What an answer is where all is well.
pub enum Answer {
    Json(u16, Schema),
    /// A file of this media type.
    File(&'static str),
}

/// Operations that belong together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Group {
    Telemetry,
    System,
    Messages,
    Acting,
    Itself,
}

impl Group {
    pub const ALL: [Group; 5] =
        [Group::Telemetry, Group::System, Group::Messages, Group::Acting, Group::Itself];

    pub fn name(self) -> &'static str {
        match self {
            Group::Telemetry => "Traces, logs, stories",
            Group::System => "Map, services, queues, breakers",
            Group::Messages => "Messages",
            Group::Acting => "Acting on messages",
            Group::Itself => "Throughline itself",
        }
    }
}

/// A parameter.
pub struct Param {
    pub name: &'static str,
    pub says: &'static str,
    pub schema: Schema,
    pub place: Place,
    /// Whether it may be given several times.
    pub repeats: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    Path,
    Query,
    /// Of the query, and it has to be there.
    Needed,
}

impl Operation {
    /// One that only reads.
    pub fn get(group: Group, path: &'static str, title: &'static str, answer: Schema) -> Self {
        Self {
            method: Method::Get,
            path,
            group,
            title,
            says: "",
            role: Role::Viewer,
            params: Vec::new(),
            body: None,
            answer: Answer::Json(200, answer),
            elsewhere: false,
            example: path,
            example_body: None,
        }
    }

    /// One that acts.
    pub fn post(path: &'static str, title: &'static str, role: Role, answer: Schema) -> Self {
        Self { method: Method::Post, role, elsewhere: true, ..Self::get(Group::Acting, path, title, answer) }
    }

    pub fn says(self, says: &'static str) -> Self {
        Self { says, ..self }
    }

    pub fn with(mut self, params: impl IntoIterator<Item = Param>) -> Self {
        self.params.extend(params);
        self
    }

    pub fn example(self, example: &'static str) -> Self {
        Self { example, ..self }
    }

    pub fn body(self, schema: Schema, example: Value) -> Self {
        Self { body: Some(schema), example_body: Some(example), ..self }
    }

    /// The name of the operation for programs that are generated: `getTracesById`.
    pub fn id(&self) -> String {
        let mut id = self.method.word().to_owned();
        for part in self.path.trim_start_matches("/api/").split(['/', '.', '-']) {
            let bare = part.trim_matches(['{', '}']);
            let by = if bare.len() < part.len() { "By" } else { "" };
            let mut letters = bare.chars();
            let first = letters.next().map(|first| first.to_ascii_uppercase());
            id.push_str(by);
            id.extend(first.into_iter().chain(letters));
        }
        id
    }
}

/// A parameter of the query.
pub fn query(name: &'static str, says: &'static str) -> Param {
    Param { name, says, schema: json!({ "type": "string" }), place: Place::Query, repeats: false }
}

/// A part of the path.
pub fn path(name: &'static str, says: &'static str) -> Param {
    Param { place: Place::Path, ..query(name, says) }
}

impl Param {
    pub fn needed(self) -> Self {
        Self { place: Place::Needed, ..self }
    }

    pub fn repeated(self) -> Self {
        Self { repeats: true, ..self }
    }

    pub fn one_of(self, words: &[&str]) -> Self {
        Self { schema: json!({ "type": "string", "enum": words }), ..self }
    }

    pub fn number(self, least: usize, most: usize, usual: usize) -> Self {
        let schema = json!({ "type": "integer", "minimum": least, "maximum": most, "default": usual });
        Self { schema, ..self }
    }

    pub fn switch(self) -> Self {
        Self { schema: json!({ "type": "string", "enum": ["1"] }), ..self }
    }
}

/// The time range, as on the pages.
pub fn range() -> [Param; 3] {
    [
        query("last", "The time until now, such as 15m, 24h or 7d; 1h unless said"),
        query(
            "from",
            "Begin of the time, in RFC 3339 or as 2026-11-25T10:00:00 in UTC; with “to” instead of “last”",
        ),
        query("to", "End of the time, as “from”"),
    ]
}
