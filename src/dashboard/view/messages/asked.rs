//! What the address of the list of messages asks for.

use crate::dashboard::model::correlation;
use crate::dashboard::model::messages::{BROKER, EXCHANGE, HEADER, ID, KEY, KIND, QUEUE, ROUTING_KEY};
use crate::dashboard::store::{LogFilter, LogKind};
use crate::dashboard::view::error::PageError;
use crate::dashboard::view::format;
use crate::dashboard::view::logs::read_cursor;
use crate::dashboard::view::visit::Visit;

/// Rows of a page where the address does not say.
pub const USUAL_LIMIT: usize = 50;
/// Longest text that is looked for, in bytes.
const MAX_TEXT: usize = 1_000;
/// Most headers asked for at once.
const MAX_HEADERS: usize = 8;

/// The fields of the form, as they were given.
#[derive(Debug, Clone, Default)]
pub struct Asked {
    pub id: Option<String>,
    pub correlation: Option<String>,
    pub exchange: Option<String>,
    pub key: Option<String>,
    pub queue: Option<String>,
    pub kind: Option<String>,
    pub broker: Option<String>,
    pub headers: Vec<(String, String)>,
    pub text: Option<String>,
}

impl Asked {
    /// Reads them; an error names the field that cannot be read.
    pub fn read(visit: &Visit) -> Result<Self, PageError> {
        let text = |key: &str, most: usize| match visit.params.text(key) {
            Some(text) if text.len() > most => {
                Err(PageError::bad(format!("“{key}” is longer than {} bytes.", format::count(most as u64))))
            }
            text => Ok(text.map(str::to_owned)),
        };
        Ok(Self {
            id: text("id", MAX_TEXT)?,
            correlation: text("correlation", correlation::MAX_LEN)?,
            exchange: text("exchange", MAX_TEXT)?,
            key: text("key", MAX_TEXT)?,
            queue: text("queue", MAX_TEXT)?,
            kind: text("type", MAX_TEXT)?,
            broker: text("broker", MAX_TEXT)?,
            headers: headers(visit)?,
            text: text("text", MAX_TEXT)?,
        })
    }

    /// Whether it asks for some messages only.
    pub fn narrows(&self) -> bool {
        let fields = [
            &self.id,
            &self.correlation,
            &self.exchange,
            &self.key,
            &self.queue,
            &self.kind,
            &self.broker,
            &self.text,
        ];
        fields.iter().any(|field| field.is_some()) || !self.headers.is_empty()
    }

    /// The question to the store.
    ///
    /// # Errors
    /// Limit or place in the list cannot be read.
    pub fn filter(&self, visit: &Visit, usual_limit: usize) -> Result<LogFilter, PageError> {
        let id_key = if self.id.as_ref().is_some_and(|id| id.starts_with('~')) { KEY } else { ID };
        let fields = [
            (id_key, &self.id),
            (EXCHANGE, &self.exchange),
            (ROUTING_KEY, &self.key),
            (QUEUE, &self.queue),
            (KIND, &self.kind),
            (BROKER, &self.broker),
        ];
        let own = fields.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value.clone()?)));
        let headers = self.headers.iter().map(|(name, value)| (format!("{HEADER}{name}"), value.clone()));
        Ok(LogFilter {
            kind: LogKind::Messages,
            from: Some(visit.range.from),
            to: Some(visit.range.to),
            correlation: self.correlation.clone(),
            attributes: own.chain(headers).collect(),
            text: self.text.clone(),
            limit: visit.params.number("limit", 1..=LogFilter::MAX_LIMIT, usual_limit)?,
            after: match visit.params.text("after") {
                None => None,
                Some(text) => Some(read_cursor(text).ok_or_else(|| {
                    PageError::bad(
                        "“after” is not a place in this list: it was changed on the way. Begin at the first page.",
                    )
                })?),
            },
            ..LogFilter::default()
        })
    }
}

/// `header=name=value`, any number of times.
fn headers(visit: &Visit) -> Result<Vec<(String, String)>, PageError> {
    let mut found = Vec::new();
    let given = visit.params.0.iter().filter(|(key, value)| key == "header" && !value.is_empty());
    for (_, text) in given {
        let pair = text.split_once('=').map(|(name, value)| (name.trim(), value));
        let Some((name, value)) = pair.filter(|(name, _)| !name.is_empty()) else {
            return Err(PageError::bad(format!(
                "“header” is a name and a value such as x-tenant=eu, not “{}”.",
                format::shortened(text, 40)
            )));
        };
        if text.len() > MAX_TEXT || found.len() >= MAX_HEADERS {
            return Err(PageError::bad(format!(
                "“header” is given more than {MAX_HEADERS} times, or longer than {} bytes.",
                format::count(MAX_TEXT as u64)
            )));
        }
        found.push((name.to_owned(), value.to_owned()));
    }
    Ok(found)
}
