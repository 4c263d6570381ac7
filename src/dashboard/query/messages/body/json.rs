//! JSON as a tree that shows what was sent: keys in their order, twice where they came twice, numbers with all their
//! digits. serde_json says whether it is JSON; the tree is then made out of the text itself.

use std::ops::Range;

use serde::de::IgnoredAny;

use super::super::super::redact::{self, MASK};

/// Values of a tree; further ones are counted.
pub const MOST_NODES: usize = 3_000;
/// How deep values may be nested: as deep as serde_json reads them.
const MOST_DEPTH: usize = 128;
/// Characters of a text in a tree.
const MOST_SIGNS: usize = 2_000;

/// A value.
#[derive(Debug, Clone, PartialEq)]
pub enum Node {
    Object(Vec<Member>),
    Array(Vec<Member>),
    /// As it was written, with quotes and escapes.
    Text(String),
    Number(String),
    /// `true`, `false`, `null`.
    Word(String),
    /// What stood here, in words: `16 characters`.
    Masked(String),
    /// Here the text ends too early.
    Cut,
}

/// A value with its key as it was written, where it is in an object.
#[derive(Debug, Clone, PartialEq)]
pub struct Member {
    pub key: Option<String>,
    pub value: Node,
}

/// A whole text.
#[derive(Debug, Clone, PartialEq)]
pub struct Tree {
    pub root: Node,
    /// Values that are in it.
    pub nodes: usize,
    /// Values beyond [`MOST_NODES`].
    pub left: usize,
}

/// A text that was read.
#[derive(Debug)]
pub struct Read {
    pub tree: Tree,
    /// The text as it was sent, but for what is masked.
    pub text: String,
    /// Places masked.
    pub masked: usize,
}

/// Reads JSON; of one that `is_cut`, as much as is there.
///
/// # Errors
/// It is none; the text says what and where.
pub fn read(text: &str, is_cut: bool, reveal: bool) -> Result<Read, String> {
    let begin = text.len() - text.trim_start_matches('\u{feff}').len();
    if depth(&text[begin..]) > MOST_DEPTH {
        return Err(format!("it is nested more than {MOST_DEPTH} deep"));
    }
    match serde_json::from_str::<IgnoredAny>(&text[begin..]) {
        Ok(_) => {}
        Err(error) if is_cut && error.is_eof() => {}
        Err(error) => return Err(error.to_string()),
    }
    let mut scanner = Scanner { text, at: begin, reveal, nodes: 0, left: 0, edits: Vec::new() };
    let root = scanner.value(false);
    let Scanner { nodes, left, edits, .. } = scanner;
    let masked = edits.len();
    Ok(Read { tree: Tree { root, nodes, left }, text: edited(text, edits), masked })
}

/// How deep brackets are nested, those in texts left out.
fn depth(text: &str) -> usize {
    let (mut depth, mut most, mut quoted, mut escaped) = (0_usize, 0, false, false);
    for byte in text.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b'{' | b'[' if !quoted => {
                depth += 1;
                most = most.max(depth);
            }
            b'}' | b']' if !quoted => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    most
}

/// The text with places replaced; they are in order and do not overlap.
fn edited(text: &str, edits: Vec<(Range<usize>, String)>) -> String {
    let mut out = String::with_capacity(text.len());
    let mut from = 0;
    for (range, with) in edits {
        out.push_str(&text[from..range.start]);
        out.push_str(&with);
        from = range.end;
    }
    out.push_str(&text[from..]);
    out
}

/// Reads a text that is JSON, or the beginning of one.
struct Scanner<'a> {
    text: &'a str,
    at: usize,
    reveal: bool,
    nodes: usize,
    left: usize,
    edits: Vec<(Range<usize>, String)>,
}

impl<'a> Scanner<'a> {
    /// The next sign that is no space.
    fn peek(&mut self) -> Option<u8> {
        let rest = &self.text.as_bytes()[self.at..];
        self.at += rest.iter().take_while(|byte| byte.is_ascii_whitespace()).count();
        self.text.as_bytes().get(self.at).copied()
    }

    /// A value; one that `is_secret` is told by its size alone.
    fn value(&mut self, is_secret: bool) -> Node {
        let first = self.peek();
        let start = self.at;
        if is_secret && !self.reveal && !matches!(first, None | Some(b'n')) {
            let (nodes, left, edits) = (self.nodes, self.left, self.edits.len());
            let what = match self.plain(first) {
                Node::Object(members) => counted(members.len(), "field", "fields"),
                Node::Array(members) => counted(members.len(), "item", "items"),
                _ => {
                    let raw = self.text[start..self.at].trim_matches('"');
                    counted(raw.chars().count(), "character", "characters")
                }
            };
            (self.nodes, self.left) = (nodes + 1, left);
            self.edits.truncate(edits);
            self.edits.push((start..self.at, format!("\"{MASK}\"")));
            return Node::Masked(what);
        }
        self.plain(first)
    }

    fn plain(&mut self, first: Option<u8>) -> Node {
        self.nodes += 1;
        match first {
            Some(b'{') => Node::Object(self.members(b'}')),
            Some(b'[') => Node::Array(self.members(b']')),
            Some(b'"') => self.string(),
            Some(_) => {
                let rest = &self.text[self.at..];
                let end = rest.find(|sign: char| sign.is_ascii_whitespace() || ",]}".contains(sign));
                let word = &rest[..end.unwrap_or(rest.len())];
                self.at += word.len();
                match word.starts_with(|sign: char| sign == '-' || sign.is_ascii_digit()) {
                    true => Node::Number(cut(word)),
                    false => Node::Word(cut(word)),
                }
            }
            None => Node::Cut,
        }
    }

    fn members(&mut self, end: u8) -> Vec<Member> {
        self.at += 1;
        let mut members = Vec::new();
        loop {
            match self.peek() {
                None => {
                    members.push(Member { key: None, value: Node::Cut });
                    return members;
                }
                Some(sign) if sign == end => {
                    self.at += 1;
                    return members;
                }
                Some(b',') => {
                    self.at += 1;
                    continue;
                }
                Some(_) => {}
            }
            let key = (end == b'}').then(|| self.literal());
            let is_secret = key.is_some_and(|key| {
                let plain = serde_json::from_str::<String>(key);
                redact::field_is_secret(plain.as_deref().unwrap_or(key))
            });
            if key.is_some() && self.peek() == Some(b':') {
                self.at += 1;
            }
            let has_room = self.nodes < MOST_NODES;
            let nodes = self.nodes;
            let value = self.value(is_secret);
            if has_room {
                members.push(Member { key: key.map(cut), value });
            } else {
                self.left += 1;
                self.nodes = nodes;
            }
        }
    }

    /// A text with its quotes, as it was written.
    fn literal(&mut self) -> &'a str {
        let bytes = self.text.as_bytes();
        let start = self.at;
        let mut at = (start + 1).min(bytes.len());
        while at < bytes.len() && bytes[at] != b'"' {
            at += if bytes[at] == b'\\' { 2 } else { 1 };
        }
        self.at = self.text.ceil_char_boundary((at + 1).min(bytes.len()));
        &self.text[start..self.at]
    }

    fn string(&mut self) -> Node {
        let start = self.at;
        let literal = self.literal();
        if self.reveal {
            return Node::Text(cut(literal));
        }
        let plain = serde_json::from_str::<String>(literal);
        let plain = plain.as_deref().unwrap_or_else(|_| literal.trim_start_matches('"'));
        match redact::shown("", plain) {
            (shown, true) => {
                let shown = serde_json::Value::String(shown).to_string();
                self.edits.push((start..self.at, shown.clone()));
                Node::Text(cut(&shown))
            }
            (_, false) => Node::Text(cut(literal)),
        }
    }
}

fn cut(text: &str) -> String {
    match text.char_indices().nth(MOST_SIGNS) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

fn counted(number: usize, one: &str, many: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { many })
}
