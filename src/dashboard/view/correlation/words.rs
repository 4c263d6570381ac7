//! The story's sentences as HTML, as plain text and as Markdown.

use std::fmt::Write;
use std::ops::Range;

use axum::http::HeaderValue;

use crate::dashboard::model::Nanos;
use crate::dashboard::query::prose::{Piece, Prose};
use crate::dashboard::query::story::{Act, Ref, Story, Weight};
use crate::dashboard::view::escape::{Html, escaped};
use crate::dashboard::view::frame::Frame;
use crate::dashboard::view::visit::Visit;
use crate::dashboard::view::{format, zone};

/// Acts in a Markdown export.
const MAX_EXPORTED: usize = 150;

/// A time of day with milliseconds; the whole time in its title.
pub fn clock(frame: &Frame, at: Nanos) -> Html {
    let zone = &frame.visit.zone;
    askama::filters::Safe(format!(
        r#"<time datetime="{}" title="{} · {} ago">{}</time>"#,
        zone::rfc3339(at),
        zone::utc(at),
        format::age(at, frame.visit.now),
        zone.moment(at, at)
    ))
}

/// When an act was: its time of day and how long after the begin. For a wait, its length.
pub fn when(frame: &Frame, act: &Act, begin: Nanos, now: Nanos) -> Html {
    let Some(at) = act.at else {
        return askama::filters::Safe(
            r#"<time title="the time that was sent cannot be true">—</time>"#.to_owned(),
        );
    };
    if let Some(length) = act.length {
        return askama::filters::Safe(format!("<time>{}</time>", format::duration(length)));
    }
    let since = match at.saturating_sub(begin) {
        _ if act.weight == Weight::Now || at == now => "now".to_owned(),
        0 => "start".to_owned(),
        since => format!("+{}", format::duration(since)),
    };
    let text = if act.weight == Weight::Now {
        frame.visit.zone.clock(at, at, true)
    } else {
        frame.visit.zone.moment(at, at)
    };
    askama::filters::Safe(format!(
        r#"<time datetime="{}" title="{}">{text}<small>{since}</small></time>"#,
        zone::rfc3339(at),
        zone::utc(at)
    ))
}

/// Links of an act, logs only where they are on the page, and what the application says of its subject.
pub fn refs(frame: &Frame, act: &Act, logs: &Range<usize>) -> Html {
    let mut out = String::new();
    for reference in &act.refs {
        let (to, word) = match reference {
            Ref::Span(trace, span) => (frame.span_link(trace, span), "span".to_owned()),
            Ref::Cause(trace, span) => (frame.span_link(trace, span), "where it broke".to_owned()),
            Ref::Message(id) => (frame.message_link(id), "message".to_owned()),
            Ref::Breaker(service, name) => {
                let at = act.at.unwrap_or(frame.visit.now);
                (frame.breaker_at(service, name, at), "breaker".to_owned())
            }
            Ref::Log(index, _) if !logs.contains(index) => continue,
            Ref::Log(index, 1) => (format!("#log-{index}"), "log".to_owned()),
            Ref::Log(index, count) => (format!("#log-{index}"), format!("{count} logs")),
        };
        let _ = write!(out, "<a href=\"{}\">{word}</a> ", escaped(&to));
    }
    for (key, value) in &act.details {
        let _ = write!(out, r#"<span class="note">{} <code>{}</code></span> "#, escaped(key), escaped(value));
    }
    askama::filters::Safe(out)
}

/// The story as Markdown, for an incident note.
pub fn markdown(visit: &Visit, id: &str, story: &Story, mermaid: &str, host: Option<&HeaderValue>) -> String {
    let mut out = String::new();
    let zone = visit.zone.abbreviation(story.facts.first);
    let day = visit.zone.day(story.facts.first);
    let _ = writeln!(out, "# {}\n", md(visit, &story.verdict.headline));
    let _ = writeln!(out, "Correlation {}, {day}, times in {zone}.", md_code(id));
    if let Some(host) = host.and_then(|host| host.to_str().ok()) {
        let _ = writeln!(out, "Page: <http://{host}/correlations/{}>", format::segment(id));
    }
    if !story.verdict.lede.is_empty() {
        let _ = writeln!(out, "\n{}", md(visit, &story.verdict.lede));
    }
    let facts = &story.facts;
    let _ = writeln!(out, "\n- First to last act: {}", format::duration(facts.length()));
    if facts.waiting > 0 {
        let _ = writeln!(out, "- Waiting in queues: {}", format::duration(facts.waiting));
    }
    let _ = writeln!(
        out,
        "- Traces {}, spans {}, messages {}, logs {}",
        facts.traces, facts.spans, facts.messages, facts.logs
    );
    let names: Vec<String> = facts.services.iter().take(MAX_EXPORTED).map(|name| md_text(name)).collect();
    let _ = writeln!(out, "- Services: {}", names.join(", "));
    for (key, value) in &facts.about {
        let _ = writeln!(out, "- {}: {}", md_text(key), md_code(value));
    }
    let _ = writeln!(out, "\n## The story\n");
    for act in story.acts.list.iter().take(MAX_EXPORTED) {
        let _ = writeln!(out, "- {}{}", md_when(visit, act), md_act(visit, act));
    }
    if let Some(more) = story.acts.list.len().checked_sub(MAX_EXPORTED).filter(|more| *more > 0) {
        let _ = writeln!(out, "- … and {more} more acts");
    }
    if !mermaid.is_empty() {
        // Nothing in it can end the fence: a backtick is an entity there.
        let _ = write!(out, "\n## Who spoke to whom\n\n```mermaid\n{mermaid}```\n");
    }
    out
}

fn md_when(visit: &Visit, act: &Act) -> String {
    match (act.length, act.at) {
        (Some(length), _) => format!("*{}* ", format::duration(length)),
        (None, Some(at)) => format!("`{}` ", visit.zone.moment(at, at)),
        (None, None) => "`—` ".to_owned(),
    }
}

fn md_act(visit: &Visit, act: &Act) -> String {
    let mark = if act.first_failure { " **First failure.**" } else { "" };
    let details = act.details.iter().map(|(key, value)| format!(" {} {}", md_text(key), md_code(value)));
    format!("{}{mark}{}", md(visit, &act.said), details.collect::<String>())
}

fn md(visit: &Visit, prose: &Prose) -> String {
    let piece = |piece: &Piece| match piece {
        Piece::Text(text) => md_text(text),
        Piece::Service(text) | Piece::Strong(text) | Piece::Breaker(_, text) => {
            format!("**{}**", md_text(text))
        }
        Piece::Code(text) => md_code(text),
        Piece::Error(text) => format!("*{}*", md_text(text)),
        Piece::Duration(ns) => format::duration(*ns),
        Piece::Moment(at, _) => visit.zone.moment(*at, visit.now),
    };
    prose.0.iter().map(piece).collect()
}

/// Text that Markdown shows as it is.
fn md_text(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for sign in text.chars().map(visible) {
        if matches!(sign, '\\' | '`' | '*' | '_' | '[' | ']' | '<' | '>' | '#' | '|' | '!' | '~' | '&') {
            out.push('\\');
        }
        out.push(sign);
    }
    out
}

/// Text as a piece of code. A backtick would end it.
fn md_code(text: &str) -> String {
    let text: String = text.chars().map(visible).map(|sign| if sign == '`' { '\'' } else { sign }).collect();
    format!("`{text}`")
}

/// Line breaks become spaces, what cannot be seen becomes a sign.
pub fn visible(sign: char) -> char {
    match sign {
        '\n' | '\r' | '\t' => ' ',
        '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' => {
            '\u{fffd}'
        }
        sign if sign.is_control() => '\u{fffd}',
        sign => sign,
    }
}
