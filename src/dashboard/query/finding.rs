//! One trace explained: a title that is a finding, and the sentence under it.

use super::prose::Prose;
use super::redact;
use super::semantics::Semantics;
use super::waterfall::{Place, Waterfall};
use crate::dashboard::model::{Kind, Span};

/// What is to be said of a trace first.
#[derive(Debug, Clone, PartialEq)]
pub struct Finding {
    pub title: Prose,
    pub sentence: Prose,
    /// The row where it broke first: the failed span that ended first.
    pub broke_at: Option<usize>,
}

/// Reads a trace as far as it has arrived.
pub fn of(waterfall: &Waterfall<'_>) -> Finding {
    let Some(root) = (0..waterfall.nodes.len()).find(|row| waterfall.nodes[*row].parent.is_none()) else {
        return Finding {
            title: Prose::new().text("Only logs have arrived"),
            sentence: Prose::new()
                .text("No span of this trace is here, or none any more; what was logged within it is below."),
            broke_at: None,
        };
    };
    let broke_at = broke_at(waterfall);
    let span = waterfall.span(root);
    let name = root_name(span);
    let title = match broke_at {
        None => Prose::new().text(format!("{} {}", span.service(), name)),
        Some(row) => {
            let broken = waterfall.span(row);
            let answered = Semantics(span).http_status().is_some() || Semantics(span).rpc_status().is_some();
            let verb = match (in_background(waterfall, root, row), answered) {
                (true, true) => "answered, then failed",
                (true, false) => "ended, then failed",
                (false, _) => "failed",
            };
            let place = if broken.service() == span.service() {
                String::new()
            } else {
                format!(" in {}", broken.service())
            };
            let title = Prose::new().text(format!("{} {} {verb}{place}", span.service(), name));
            match reason(broken) {
                Some(reason) => title.text(": ").text(short(&reason)),
                None => title,
            }
        }
    };
    Finding { title, sentence: sentence(waterfall, root, broke_at), broke_at }
}

/// The failed span that ended first; of a call chain that is the innermost.
fn broke_at(waterfall: &Waterfall<'_>) -> Option<usize> {
    let failed = (0..waterfall.nodes.len()).filter(|row| waterfall.span(*row).failed());
    failed.min_by_key(|row| {
        let node = &waterfall.nodes[*row];
        (node.end.max(node.start), std::cmp::Reverse(node.depth))
    })
}

/// Whether the failure came after the root had answered.
fn in_background(waterfall: &Waterfall<'_>, root: usize, broken: usize) -> bool {
    let (root_node, node) = (&waterfall.nodes[root], &waterfall.nodes[broken]);
    !waterfall.span(root).failed() && node.end > root_node.end
}

/// `POST /orders`: the span's name, or method and path where the name is the method alone.
fn root_name(span: &Span) -> String {
    let said = Semantics(span);
    match (said.http_method(), said.http_path()) {
        (Some(method), Some(path)) if span.name == method => format!("{method} {path}"),
        _ => span.name.clone(),
    }
}

fn sentence(waterfall: &Waterfall<'_>, root: usize, broke_at: Option<usize>) -> Prose {
    let span = waterfall.span(root);
    let node = &waterfall.nodes[root];
    let mut prose = Prose::new();
    if node.place == Place::ParentMissing {
        prose =
            prose.text("The beginning is missing: the first span here names a parent that has not arrived. ");
    }
    prose = prose.service(span.service()).text(" ").strong(root_name(span));
    let answered = Semantics(span).http_status().map(|status| status.to_string());
    let answered = answered.or_else(|| Semantics(span).rpc_status());
    prose = match (answered, span.kind) {
        (Some(status), Kind::Client) => prose.text(" got ").strong(status),
        (Some(status), _) => prose.text(" answered ").strong(status),
        (None, _) => prose.text(" ended"),
    };
    prose = match node.time.words() {
        None => prose.text(" after ").duration(node.end - node.start).text("."),
        Some(words) => prose.text(format!(" (times not plausible: {words}).")),
    };
    let Some(row) = broke_at else { return calm(waterfall, root, prose) };
    let broken = waterfall.span(row);
    prose = if in_background(waterfall, root, row) {
        prose.text(" In the background ")
    } else if row == root {
        prose.text(" It broke here, in ")
    } else {
        prose.text(" It broke first in ")
    };
    prose = prose.service(broken.service()).text(" at ").strong(&broken.name);
    match reason(broken) {
        Some(reason) => prose.text(": ").error(reason).text("."),
        None => prose.text("."),
    }
}

/// What is worth saying where nothing failed.
fn calm(waterfall: &Waterfall<'_>, root: usize, prose: Prose) -> Prose {
    let last = waterfall.nodes.iter().filter(|node| node.time.words().is_none()).map(|node| node.end).max();
    let root_end = waterfall.nodes[root].end;
    match last.and_then(|last| last.checked_sub(root_end)).filter(|later| *later > 0) {
        Some(later) => prose.text(" The last span ended ").duration(later).text(" later. Nothing failed."),
        None => prose.text(" Nothing failed."),
    }
}

/// Why a span failed, secrets masked.
fn reason(span: &Span) -> Option<String> {
    Semantics(span).reason().map(|reason| redact::shown("", &reason).0)
}

/// The first line of a reason, for a title.
fn short(reason: &str) -> String {
    let line = reason.lines().next().unwrap_or_default();
    match line.char_indices().nth(80) {
        Some((at, _)) => format!("{}…", line[..at].trim_end()),
        None => line.to_owned(),
    }
}
