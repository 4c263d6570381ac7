//! A body as HTML: JSON as lines that fold, text, bytes. No script is needed to fold.

use std::fmt::Write as _;

use crate::dashboard::query::messages::body::event::Mode;
use crate::dashboard::query::messages::body::json::{Member, Node};
use crate::dashboard::query::messages::body::{Body, Form, Step};
use crate::dashboard::view::escape::{Html, escaped};
use crate::dashboard::view::format;

/// Lines of a text that are drawn.
const MOST_LINES: usize = 2_000;
/// A tree of more values than this is folded below its second level.
const LONG: usize = 120;

/// A body drawn, with what was found in it.
pub struct Drawn {
    pub html: Html,
    /// Places that have the text that is looked for.
    pub hits: usize,
}

/// Draws a body in a form, with lines marked that have `find` in them, in upper or lower case.
pub fn draw(body: &Body, form: Form, find: Option<&str>) -> Drawn {
    let find = find.map(str::to_lowercase);
    let mut drawing = Drawing { out: String::new(), find, hits: 0, is_long: false };
    match (form, &body.tree, &body.text, &body.hex) {
        (Form::Json, Some(tree), ..) => {
            drawing.is_long = tree.nodes > LONG;
            drawing.out.push_str(
                r#"<div class="body tree" tabindex="0" role="region" aria-label="Body of the message"><ol>"#,
            );
            drawing.member(&Member { key: None, value: tree.root.clone() }, 0, true);
            drawing.out.push_str("</ol></div>");
            if tree.left > 0 {
                let _ = write!(
                    drawing.out,
                    r#"<p class="note">{} are not shown here; the text has them.</p>"#,
                    format::counted(tree.left as u64, "further value", "further values")
                );
            }
        }
        (Form::Text | Form::Json, _, Some(text), _) => drawing.text(text, body.text_left),
        (_, _, _, Some(hex)) => {
            drawing.out.push_str(r#"<div class="body" tabindex="0" role="region" aria-label="Bytes of the message"><pre class="hex">"#);
            for line in &hex.lines {
                let _ = writeln!(drawing.out, "{:08x}  {:<48}  {}", line.at, line.hex, escaped(&line.signs));
            }
            drawing.out.push_str("</pre></div>");
            if hex.left > 0 {
                let _ =
                    write!(drawing.out, r#"<p class="note">{} more.</p>"#, format::bytes(hex.left as u64));
            }
        }
        _ => drawing.out.push_str(r#"<p class="quiet">There is nothing to show of it.</p>"#),
    }
    Drawn { html: askama::filters::Safe(drawing.out), hits: drawing.hits }
}

/// What was done to read it, in words.
pub fn steps(body: &Body) -> Vec<String> {
    let step = |step: &Step| match step {
        Step::Inflated { encoding, from, to, whole } => {
            let part = if *whole { "" } else { ", the beginning of it" };
            format!(
                "{encoding}, {} inflated to {}{part}",
                format::bytes(*from as u64),
                format::bytes(*to as u64)
            )
        }
        Step::CloudEvent(Mode::Structured) => "a CloudEvent, structured".to_owned(),
        Step::CloudEvent(Mode::Binary) => "a CloudEvent, its envelope in the headers".to_owned(),
        Step::Data64 => "its data was base64".to_owned(),
        Step::Protobuf(name) => format!("Protocol Buffers, {}", format::shortened(name, 120)),
        Step::Charset(name) => (*name).to_owned(),
    };
    body.steps.iter().map(step).collect()
}

struct Drawing {
    out: String,
    find: Option<String>,
    hits: usize,
    is_long: bool,
}

impl Drawing {
    fn text(&mut self, text: &str, left: usize) {
        self.out.push_str(
            r#"<div class="body" tabindex="0" role="region" aria-label="Body of the message"><ol>"#,
        );
        for line in text.lines().take(MOST_LINES) {
            let hit = self.class(&[line]);
            let _ = write!(self.out, "<li{hit}><span>{}</span></li>", escaped(line));
        }
        self.out.push_str("</ol></div>");
        let lines = text.lines().count().saturating_sub(MOST_LINES);
        if lines > 0 || left > 0 {
            let _ = write!(
                self.out,
                r#"<p class="note">{} and {} more.</p>"#,
                format::counted(lines as u64, "line", "lines"),
                format::bytes(left as u64)
            );
        }
    }

    /// The class of a line that has what is looked for.
    fn class(&mut self, texts: &[&str]) -> &'static str {
        let Some(find) = &self.find else { return "" };
        if texts.iter().any(|text| text.to_lowercase().contains(find)) {
            self.hits += 1;
            return r#" class="hit""#;
        }
        ""
    }

    fn member(&mut self, member: &Member, depth: usize, is_last: bool) {
        let key = member.key.as_deref();
        let comma = if is_last { "" } else { "," };
        let mut before = String::new();
        if let Some(key) = key {
            let _ = write!(before, r#"<span class="k">{}</span>: "#, escaped(key));
        }
        let (members, brackets, words) = match &member.value {
            Node::Object(members) => (members, ("{", "}"), ("key", "keys")),
            Node::Array(members) => (members, ("[", "]"), ("item", "items")),
            scalar => {
                let (class, text) = scalar_of(scalar);
                let hit = self.class(&[key.unwrap_or_default(), text]);
                let value = match scalar {
                    Node::Masked(what) => format!(
                        r#"<span class="mask" title="Hidden: it looks like a secret">masked, {}</span>"#,
                        escaped(what)
                    ),
                    _ => format!(r#"<span class="{class}">{}</span>"#, escaped(text)),
                };
                let _ = write!(self.out, "<li{hit}><span>{before}{value}{comma}</span></li>");
                return;
            }
        };
        let hit = self.class(&[key.unwrap_or_default()]);
        if members.is_empty() {
            let _ =
                write!(self.out, "<li{hit}><span>{before}{}{}{comma}</span></li>", brackets.0, brackets.1);
            return;
        }
        let count = format::counted(members.len() as u64, words.0, words.1);
        let folded = self.is_long && depth >= 2 && members.len() > 3 && self.find.is_none();
        let open = if folded { "" } else { " open" };
        let _ = write!(
            self.out,
            r#"<li{hit}><details{open}><summary>{before}<span class="open">{}</span><span class="shut fold-b">{} {count} {}</span></summary><ol>"#,
            brackets.0, brackets.0, brackets.1
        );
        for (member, number) in members.iter().zip(1..) {
            self.member(member, depth + 1, number == members.len());
        }
        let _ = write!(self.out, r#"</ol><span class="end">{}{comma}</span></details></li>"#, brackets.1);
    }
}

/// The class and the text of a value that holds no others.
fn scalar_of(node: &Node) -> (&'static str, &str) {
    match node {
        Node::Text(text) => ("s", text),
        Node::Number(text) | Node::Word(text) => ("n", text),
        Node::Masked(what) => ("u", what),
        Node::Cut => ("u", "… cut here"),
        Node::Object(_) | Node::Array(_) => ("", ""),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dashboard::query::messages::body::{Schemas, Sent, read};

    fn body(text: &[u8]) -> Body {
        let sent =
            Sent { body: text, size: text.len() as u64, content_type: "application/json", ..Sent::default() };
        read(&sent, &Schemas::default())
    }

    #[test]
    fn json_folds_and_is_escaped_and_marked() {
        let body = body(br#"{"<b>":"<script>","a":{"x":1,"password":"hunter2"},"list":[],"n":[1,2]}"#);
        let drawn = draw(&body, Form::Json, Some("SCRIPT"));
        let html = &drawn.html.0;
        assert!(!html.contains("<script>") && html.contains("&lt;script&gt;"), "{html}");
        assert!(html.contains("masked, 7 characters") && !html.contains("hunter2"), "{html}");
        assert_eq!((drawn.hits, html.matches(r#"class="hit""#).count()), (1, 1));
        assert!(html.contains("2\u{a0}keys") && html.contains("[]"), "{html}");
        assert_eq!(html.matches("<details").count(), html.matches("</details>").count());
    }

    #[test]
    fn a_form_that_it_lacks_is_the_next_best() {
        let body = body(b"\x00\xff<b>");
        let drawn = draw(&body, Form::Json, None);
        assert!(
            drawn.html.0.contains("00000000  00 ff 3c") && drawn.html.0.contains("..&lt;b&gt;"),
            "{}",
            drawn.html.0
        );
    }
}
