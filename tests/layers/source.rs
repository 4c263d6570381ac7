//! Reads Rust source far enough to tell which paths it names: comments and texts out, `use` trees unfolded,
//! `crate`, `super` and `self` resolved. Code under `#[cfg(test)]` is left out.

use std::path::Path;

/// A word or a sign of the source, with its line.
#[derive(Debug, Clone, PartialEq)]
pub struct Token {
    pub text: String,
    pub line: usize,
}

/// A path that the source names, such as `crate::dashboard::model::Span` or `tokio::spawn`.
#[derive(Debug, Clone, PartialEq)]
pub struct Named {
    pub path: String,
    pub line: usize,
    /// Index of the first token after it; for a path inside a `use` tree, after the tree's part.
    pub end: usize,
    /// Index of its first token.
    pub begin: usize,
}

/// A file of `src`, read.
pub struct Source {
    /// The file's path from the root of the repository, with `/`.
    pub file: String,
    /// Path of the module, such as `crate::dashboard::view`.
    pub module: String,
    pub lines: usize,
    pub documented: bool,
    pub tokens: Vec<Token>,
    pub named: Vec<Named>,
}

impl Source {
    /// Reads `text` as the file `file` (`src/dashboard/view/mod.rs`).
    pub fn read(file: &str, text: &str) -> Self {
        let module = module_of(file);
        let tokens = without_tests(tokens(text));
        let named = names(&tokens, &module);
        let documented = text.lines().any(|line| line.starts_with("//! "));
        Self { file: file.into(), module, lines: text.lines().count(), documented, tokens, named }
    }

    /// Whether the file is `room` or lies in it; rooms are written without `crate::`.
    pub fn is_in(&self, room: &str) -> bool {
        within(&self.module, &format!("crate::{room}"))
    }
}

/// Whether a path is `prefix` or below it.
pub fn within(path: &str, prefix: &str) -> bool {
    path.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
}

/// The module that a file holds: `src/a/mod.rs` and `src/a.rs` are `crate::a`; the roots are `crate`.
fn module_of(file: &str) -> String {
    let parts = Path::new(file.trim_start_matches("src/")).with_extension("");
    let mut module = vec!["crate".to_owned()];
    module.extend(parts.iter().map(|part| part.to_string_lossy().into_owned()));
    if matches!(module.last().map(String::as_str), Some("mod" | "lib" | "main")) {
        module.pop();
    }
    module.join("::")
}

fn is_word(token: &Token) -> bool {
    token.text.starts_with(|c: char| c.is_alphabetic() || c == '_')
}

/// Splits into words, `::` and single signs. Comments vanish; texts and characters become `""`.
fn tokens(text: &str) -> Vec<Token> {
    let (chars, mut at, mut line) = (text.chars().collect::<Vec<_>>(), 0, 1);
    let mut out: Vec<Token> = Vec::new();
    while at < chars.len() {
        let begin = at;
        let rest = &chars[at..];
        let word = chars[at].is_alphanumeric() || chars[at] == '_';
        if rest.starts_with(&['/', '/']) {
            at += rest.iter().position(|&c| c == '\n').unwrap_or(rest.len());
        } else if rest.starts_with(&['/', '*']) {
            at += comment(rest);
        } else if let Some(length) = literal(rest) {
            at += length;
            out.push(Token { text: "\"\"".into(), line });
        } else if word {
            at += rest.iter().take_while(|c| c.is_alphanumeric() || **c == '_').count();
            out.push(Token { text: chars[begin..at].iter().collect(), line });
        } else if rest.starts_with(&[':', ':']) {
            at += 2;
            out.push(Token { text: "::".into(), line });
        } else {
            at += 1;
            if !chars[begin].is_whitespace() {
                out.push(Token { text: chars[begin].into(), line });
            }
        }
        line += chars[begin..at.min(chars.len())].iter().filter(|&&c| c == '\n').count();
    }
    out
}

/// Length of the block comment that `rest` begins with; they nest.
fn comment(rest: &[char]) -> usize {
    let (mut depth, mut at) = (0, 0);
    while at < rest.len() {
        match rest.get(at..at + 2) {
            Some(['/', '*']) => (depth, at) = (depth + 1, at + 2),
            Some(['*', '/']) => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            return at;
        }
    }
    at
}

/// Length of the text or character that `rest` begins with; a lifetime is none.
fn literal(rest: &[char]) -> Option<usize> {
    let prefix = rest.iter().take_while(|c| matches!(c, 'b' | 'c' | 'r')).count();
    let hashes = rest[prefix..].iter().take_while(|&&c| c == '#').count();
    let raw = rest[..prefix].contains(&'r');
    let at = prefix + if raw { hashes } else { 0 };
    match rest.get(at)? {
        '"' if raw => {
            let mut close = vec!['"'];
            close.extend(std::iter::repeat_n('#', hashes));
            let body = &rest[at + 1..];
            let end = body.windows(close.len()).position(|window| window == close).unwrap_or(body.len());
            Some(at + 1 + end + close.len())
        }
        '"' => Some(at + quoted(&rest[at..], '"')),
        '\'' if prefix <= 1 && !raw => {
            let escaped = rest.get(at + 1) == Some(&'\\');
            let closed = rest.get(at + 2) == Some(&'\'');
            (escaped || closed).then(|| at + quoted(&rest[at..], '\''))
        }
        _ => None,
    }
}

/// Length up to and with the closing quote.
fn quoted(rest: &[char], quote: char) -> usize {
    let mut at = 1;
    while at < rest.len() && rest[at] != quote {
        at += if rest[at] == '\\' { 2 } else { 1 };
    }
    at + 1
}

/// Leaves out what `#[cfg(test)]` stands before: an item up to its `;` or its closing brace.
fn without_tests(tokens: Vec<Token>) -> Vec<Token> {
    let mark = ["#", "[", "cfg", "(", "test", ")", "]"];
    let mut out = Vec::with_capacity(tokens.len());
    let mut at = 0;
    while at < tokens.len() {
        let begins = tokens[at..].iter().map(|token| token.text.as_str()).take(mark.len()).eq(mark);
        if begins {
            at = after_item(&tokens, at + mark.len());
        } else {
            out.push(tokens[at].clone());
            at += 1;
        }
    }
    out
}

fn after_item(tokens: &[Token], mut at: usize) -> usize {
    let mut depth = 0usize;
    while at < tokens.len() {
        match tokens[at].text.as_str() {
            "{" => depth += 1,
            "}" if depth <= 1 => return at + 1,
            "}" => depth -= 1,
            ";" if depth == 0 => return at + 1,
            _ => {}
        }
        at += 1;
    }
    at
}

/// Every path of two parts or more that is named, and every `use`.
fn names(tokens: &[Token], file_module: &str) -> Vec<Named> {
    let children = children(tokens);
    let mut named = Vec::new();
    // Inline modules: their name and the depth of braces that they end at.
    let (mut inline, mut depth): (Vec<(String, usize)>, usize) = (Vec::new(), 0);
    let mut at = 0;
    while at < tokens.len() {
        let text = tokens[at].text.as_str();
        let module = inline.iter().fold(file_module.to_owned(), |path, (name, _)| format!("{path}::{name}"));
        match text {
            "mod" if tokens.get(at + 2).is_some_and(|next| next.text == "{") => {
                depth += 1;
                inline.push((tokens[at + 1].text.clone(), depth));
                at += 3;
            }
            "use" => {
                let mut part = Part { tokens, module: &module, children: &children, named: &mut named };
                at = part.unfold(at + 1, Vec::new());
            }
            "{" => (depth, at) = (depth + 1, at + 1),
            "}" => {
                inline.retain(|(_, end)| *end < depth);
                (depth, at) = (depth.saturating_sub(1), at + 1);
            }
            _ if is_word(&tokens[at]) && !follows_path(tokens, at) => {
                let mut parts = vec![text.to_owned()];
                let begin = at;
                at += 1;
                while at + 1 < tokens.len() && tokens[at].text == "::" && is_word(&tokens[at + 1]) {
                    parts.push(tokens[at + 1].text.clone());
                    at += 2;
                }
                if parts.len() > 1 {
                    let path = resolve(&parts, &module, &children);
                    named.push(Named { path, line: tokens[begin].line, begin, end: at });
                }
            }
            _ => at += 1,
        }
    }
    named
}

fn follows_path(tokens: &[Token], at: usize) -> bool {
    at > 0 && matches!(tokens[at - 1].text.as_str(), "::" | ".")
}

/// The modules that the file declares.
fn children(tokens: &[Token]) -> Vec<String> {
    let declared = tokens.windows(2).filter(|pair| pair[0].text == "mod" && is_word(&pair[1]));
    declared.map(|pair| pair[1].text.clone()).collect()
}

/// Where a `use` tree is unfolded.
struct Part<'a> {
    tokens: &'a [Token],
    module: &'a str,
    children: &'a [String],
    named: &'a mut Vec<Named>,
}

impl Part<'_> {
    /// Unfolds the tree at `at` under `prefix`; gives the index after it.
    fn unfold(&mut self, mut at: usize, prefix: Vec<String>) -> usize {
        let (begin, mut parts) = (at, prefix);
        while let Some(token) = self.tokens.get(at) {
            match token.text.as_str() {
                "::" | "*" => at += 1,
                "{" => {
                    at += 1;
                    while self.tokens.get(at).is_some_and(|token| token.text != "}") {
                        at = self.unfold(at, parts.clone());
                        if self.tokens.get(at).is_some_and(|token| token.text == ",") {
                            at += 1;
                        }
                    }
                    return at + 1;
                }
                "as" => at += 2,
                "self" if !parts.is_empty() => at += 1,
                _ if is_word(token) => {
                    parts.push(token.text.clone());
                    at += 1;
                }
                _ => break,
            }
        }
        let path = resolve(&parts, self.module, self.children);
        let line = self.tokens.get(begin).map_or(0, |token| token.line);
        self.named.push(Named { path, line, begin, end: at });
        at
    }
}

/// The whole path, from `crate` or from the name of another crate.
fn resolve(parts: &[String], module: &str, children: &[String]) -> String {
    let mut base: Vec<&str> = Vec::new();
    let mut rest = parts.iter().map(String::as_str).peekable();
    match parts.first().map(String::as_str) {
        Some("crate" | "throughline") => {
            rest.next();
            base.push("crate");
        }
        Some("super") => {
            base.extend(module.split("::"));
            while rest.next_if_eq(&"super").is_some() {
                base.pop();
            }
        }
        Some("self") => {
            rest.next();
            base.extend(module.split("::"));
        }
        Some(first) if children.iter().any(|child| child == first) => base.extend(module.split("::")),
        _ => {}
    }
    base.extend(rest);
    base.join("::")
}
