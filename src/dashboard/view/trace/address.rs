//! What the address of a trace's page asks for.

use std::collections::HashSet;

use super::super::error::PageError;
use super::super::visit::Params;
use crate::dashboard::model::SpanId;
use crate::dashboard::query::waterfall::Hide;

/// Collapsed or unfolded spans in one address.
const MOST_NAMED: usize = 200;

/// What the address asks for.
#[derive(Clone)]
pub struct Address {
    pub span: Option<SpanId>,
    pub find: String,
    pub wanted_match: Option<usize>,
    pub collapse: Vec<SpanId>,
    /// Spans whose run of internal spans is shown whole.
    pub unfold: Vec<SpanId>,
    pub depth: Option<u32>,
    pub errors: bool,
    /// Whether runs of internal spans are folded.
    pub fold: bool,
    pub path: bool,
    pub adjusted: bool,
    pub zoom: Option<(u64, u64)>,
    pub row: Option<usize>,
}

impl Address {
    /// Reads the query; what cannot be understood is an error.
    pub fn read(params: &Params) -> Result<Self, PageError> {
        let span = match params.text("span") {
            None => None,
            Some(id) => Some(span_id("span", id)?),
        };
        let (mut collapse, mut depth) = (Vec::new(), None);
        for part in params.text("collapse").unwrap_or_default().split(',').filter(|part| !part.is_empty()) {
            match part.strip_prefix("depth:").map(str::parse) {
                Some(Ok(number)) => depth = Some(number),
                Some(Err(_)) => {
                    return Err(PageError::bad("“collapse”: after “depth:” comes a whole number."));
                }
                None => collapse.push(span_id("collapse", part)?),
            }
        }
        let unfold = params.text("unfold").unwrap_or_default().split(',').filter(|part| !part.is_empty());
        let unfold = unfold.map(|part| span_id("unfold", part)).collect::<Result<Vec<_>, _>>()?;
        for (key, ids) in [("collapse", &collapse), ("unfold", &unfold)] {
            if ids.len() > MOST_NAMED {
                return Err(PageError::bad(format!("“{key}” names too many spans.")));
            }
        }
        let fold = match params.text("fold") {
            None | Some("on") => true,
            Some("off") => false,
            Some(_) => return Err(PageError::bad("“fold” may be “on” or “off”.")),
        };
        let zoom = match params.text("zoom") {
            None => None,
            Some(text) => Some(
                text.split_once('-')
                    .and_then(|(from, to)| Some((from.parse().ok()?, to.parse().ok()?)))
                    .filter(|(from, to)| from < to)
                    .ok_or_else(|| {
                        PageError::bad("“zoom” is two numbers of nanoseconds, as in 1000-2000.")
                    })?,
            ),
        };
        let adjusted = match params.text("clock") {
            None | Some("sent") => false,
            Some("adjusted") => true,
            Some(_) => return Err(PageError::bad("“clock” may be “sent” or “adjusted”.")),
        };
        let number = |key: &str| match params.text(key) {
            None => Ok(None),
            Some(_) => params.number(key, 0..=10_000_000, 0).map(Some),
        };
        Ok(Self {
            span,
            find: params.text("find").unwrap_or_default().to_owned(),
            wanted_match: number("match")?,
            collapse,
            unfold,
            depth,
            errors: params.on("errors"),
            fold,
            path: params.get("path") != Some("0"),
            adjusted,
            zoom,
            row: number("row")?,
        })
    }

    /// What it hides; never the spans of `wanted`.
    pub fn hide(&self, wanted: impl Iterator<Item = SpanId>) -> Hide {
        Hide {
            collapsed: self.collapse.iter().copied().collect(),
            below_depth: self.depth,
            all_but_errors: self.errors,
            internal: self.fold,
            open: if self.fold {
                self.unfold.iter().copied().chain(wanted).collect()
            } else {
                HashSet::new()
            },
        }
    }

    /// `unfold` with one span added.
    pub fn unfolded(&self, id: SpanId) -> String {
        let ids: Vec<String> = self.unfold.iter().chain([&id]).map(SpanId::to_string).collect();
        ids.join(",")
    }

    /// `collapse` with one span added or taken away; a depth gives way to single spans.
    pub fn toggled(&self, id: SpanId) -> Option<String> {
        let mut ids: Vec<String> =
            self.collapse.iter().filter(|other| **other != id).map(SpanId::to_string).collect();
        if ids.len() == self.collapse.len() && self.depth.is_none() {
            ids.push(id.to_string());
        }
        (!ids.is_empty()).then(|| ids.join(","))
    }
}

fn span_id(key: &str, text: &str) -> Result<SpanId, PageError> {
    SpanId::parse(text).map_err(|error| PageError::bad(format!("“{key}”: {error}.")))
}
