//! What the address of a trace's page asks for.

use super::super::error::PageError;
use super::super::visit::Params;
use crate::dashboard::model::SpanId;
use crate::dashboard::query::waterfall::Hide;

/// Collapsed spans in one address.
const MOST_COLLAPSED: usize = 200;

/// What the address asks for.
#[derive(Clone)]
pub struct Address {
    pub span: Option<SpanId>,
    pub find: String,
    pub wanted_match: Option<usize>,
    pub collapse: Vec<SpanId>,
    pub depth: Option<u32>,
    pub errors: bool,
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
            Some(id) => Some(SpanId::parse(id).map_err(|error| PageError::bad(format!("“span”: {error}.")))?),
        };
        let (mut collapse, mut depth) = (Vec::new(), None);
        for part in params.text("collapse").unwrap_or_default().split(',').filter(|part| !part.is_empty()) {
            match part.strip_prefix("depth:").map(str::parse) {
                Some(Ok(number)) => depth = Some(number),
                Some(Err(_)) => {
                    return Err(PageError::bad("“collapse”: after “depth:” comes a whole number."));
                }
                None => collapse.push(
                    SpanId::parse(part).map_err(|error| PageError::bad(format!("“collapse”: {error}.")))?,
                ),
            }
        }
        if collapse.len() > MOST_COLLAPSED {
            return Err(PageError::bad("“collapse” names too many spans."));
        }
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
            depth,
            errors: params.on("errors"),
            path: params.get("path") != Some("0"),
            adjusted,
            zoom,
            row: number("row")?,
        })
    }

    /// What it hides.
    pub fn hide(&self) -> Hide {
        Hide {
            collapsed: self.collapse.iter().copied().collect(),
            below_depth: self.depth,
            all_but_errors: self.errors,
        }
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
