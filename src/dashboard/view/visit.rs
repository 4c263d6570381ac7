//! One visit of a page: what every handler wants to know of the request, and the frame it draws around.

use axum::extract::FromRequestParts;
use axum::http::{HeaderMap, Uri, header, request::Parts};

use super::{
    PageState, access, error::PageError, format, frame::Frame, frame::Nav, range::Range, zone::Zone,
};
use crate::dashboard::keys::{Role, Visitor};
use crate::dashboard::model::Nanos;
use crate::dashboard::query::prose::Prose;

/// The query of an address, decoded, in order.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Params(pub Vec<(String, String)>);

impl Params {
    /// Longest text that is looked for, in bytes, and most pairs of one key.
    pub const MAX_TEXT: usize = 1_000;
    const MOST_PAIRS: usize = 8;

    /// Reads the query of `uri`. What is not percent-encoded UTF-8 is refused.
    pub fn read(uri: &Uri) -> Result<Self, PageError> {
        let pairs = axum::extract::Query::<Vec<(String, String)>>::try_from_uri(uri)
            .map_err(|_| PageError::bad("The part of the address after “?” cannot be read."))?
            .0;
        if pairs.iter().any(|(key, value)| key.contains('\0') || value.contains('\0')) {
            return Err(PageError::bad("The address holds a NUL character."));
        }
        Ok(Self(pairs))
    }

    /// The first value of `key`.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.0.iter().find(|(name, _)| name == key).map(|(_, value)| value.as_str())
    }

    /// The first value of `key`, trimmed, unless that is empty.
    pub fn text(&self, key: &str) -> Option<&str> {
        self.get(key).map(str::trim).filter(|text| !text.is_empty())
    }

    /// As [`Self::text`], of so many bytes at most.
    pub fn text_within(&self, key: &str, most: usize) -> Result<Option<String>, PageError> {
        match self.text(key) {
            Some(text) if text.len() > most => {
                Err(PageError::bad(format!("“{key}” is longer than {} bytes.", format::count(most as u64))))
            }
            text => Ok(text.map(str::to_owned)),
        }
    }

    /// `key=name=value`, any number of times up to [`Self::MOST_PAIRS`]; `means` says in an error what it is:
    /// `a name and a value such as x-tenant=eu`.
    pub fn pairs(&self, key: &str, means: &str) -> Result<Vec<(String, String)>, PageError> {
        let mut found = Vec::new();
        for (_, text) in self.0.iter().filter(|(known, value)| known == key && !value.is_empty()) {
            let pair = text.split_once('=').map(|(name, value)| (name.trim(), value));
            let Some((name, value)) = pair.filter(|(name, _)| !name.is_empty()) else {
                return Err(PageError::bad(format!(
                    "“{key}” is {means}, not “{}”.",
                    format::shortened(text, 40)
                )));
            };
            if text.len() > Self::MAX_TEXT || found.len() >= Self::MOST_PAIRS {
                return Err(PageError::bad(format!(
                    "“{key}” is given more than {} times, or longer than {} bytes.",
                    Self::MOST_PAIRS,
                    format::count(Self::MAX_TEXT as u64)
                )));
            }
            found.push((name.to_owned(), value.to_owned()));
        }
        Ok(found)
    }

    /// These without one value of a key, at the first page of the list.
    pub fn without(&self, key: &str, value: &str) -> Self {
        let mut params = self.with(&[("after", None)]);
        params.0.retain(|(known, given)| known != key || given != value);
        params
    }

    /// The place in a list after which it goes on, where the address has one.
    pub fn after<T>(&self, read: impl Fn(&str) -> Option<T>) -> Result<Option<T>, PageError> {
        let lost = "“after” is not a place in this list: it was changed on the way. Begin at the first page.";
        self.text("after").map(|text| read(text).ok_or_else(|| PageError::bad(lost))).transpose()
    }

    /// Whether a switch such as `errors=1` is on.
    pub fn on(&self, key: &str) -> bool {
        matches!(self.get(key), Some("1" | "true" | "on"))
    }

    /// A whole number within `allowed`, or `usual` where the address does not say.
    pub fn number(
        &self,
        key: &str,
        allowed: std::ops::RangeInclusive<usize>,
        usual: usize,
    ) -> Result<usize, PageError> {
        let Some(text) = self.text(key) else { return Ok(usual) };
        text.parse().ok().filter(|number| allowed.contains(number)).ok_or_else(|| {
            PageError::bad(format!(
                "“{key}” is a whole number from {} to {}, not “{}”.",
                allowed.start(),
                allowed.end(),
                format::shortened(text, 20)
            ))
        })
    }

    /// These with `changes` made: a key with `None` is left out, one with a value is set, at its old place.
    pub fn with(&self, changes: &[(&str, Option<&str>)]) -> Self {
        let mut pairs: Vec<(String, String)> = Vec::with_capacity(self.0.len() + changes.len());
        let mut done = vec![false; changes.len()];
        for (key, value) in &self.0 {
            match changes.iter().position(|(changed, _)| changed == key) {
                None => pairs.push((key.clone(), value.clone())),
                Some(at) => {
                    if let (Some(new), false) = (changes[at].1, done[at]) {
                        pairs.push((key.clone(), new.to_owned()));
                    }
                    done[at] = true;
                }
            }
        }
        for ((key, value), _) in changes.iter().zip(done).filter(|(_, done)| !done) {
            if let Some(value) = value {
                pairs.push(((*key).to_owned(), (*value).to_owned()));
            }
        }
        Self(pairs)
    }

    /// `?a=1&b=2`, or nothing.
    pub fn write(&self) -> String {
        let mut out = String::new();
        for (key, value) in &self.0 {
            out.push(if out.is_empty() { '?' } else { '&' });
            out.push_str(&format::encoded(key));
            out.push('=');
            out.push_str(&format::encoded(value));
        }
        out
    }
}

/// A request for a page, read.
#[derive(Clone)]
pub struct Visit {
    pub path: String,
    pub params: Params,
    pub zone: Zone,
    pub range: Range,
    /// When the request came, in ns.
    pub now: Nanos,
    /// `light` or `dark` where it was chosen; else the system decides.
    pub theme: Option<&'static str>,
    /// Whether the visitor is logged in, and so can log out.
    pub session: bool,
    /// Who asks, and what they may do.
    pub visitor: Visitor,
    /// Number of changes when the request came, before anything was read for it: what comes while the page is made counts as
    /// not seen, and the script asks again.
    pub seen: u64,
    pub state: PageState,
}

impl Visit {
    /// Reads a request. What is wrong with the query is an error only where `strict`: an error page itself
    /// has to be drawn for any request.
    pub fn read(headers: &HeaderMap, uri: &Uri, state: &PageState, strict: bool) -> Result<Self, PageError> {
        let (now, seen) = (now(), state.seen());
        let zone = cookie(headers, "tz").map_or_else(Zone::utc, |name| Zone::named(&name));
        let theme = match cookie(headers, "theme").as_deref() {
            Some("light") => Some("light"),
            Some("dark") => Some("dark"),
            _ => None,
        };
        let session = access::session(headers).is_some_and(|token| state.gate.session(&token).is_some());
        let visitor = access::visitor(state, headers);
        let (params, range) = match Params::read(uri) {
            Ok(params) => {
                let range = Range::read(&params, &zone, now);
                (params, if strict { range? } else { range.unwrap_or_else(|_| Range::usual(now)) })
            }
            Err(error) if strict => return Err(error),
            Err(_) => (Params::default(), Range::usual(now)),
        };
        let path = uri.path().to_owned();
        Ok(Self { path, params, zone, range, now, theme, session, visitor, seen, state: state.clone() })
    }

    /// The frame of a page titled `title`, under `nav` in the navigation.
    pub fn frame(&self, nav: Nav, title: impl Into<String>) -> Frame {
        Frame::new(self.clone(), nav, title.into())
    }

    /// Goes on only for somebody of this role.
    ///
    /// # Errors
    /// The visitor has a lesser one.
    pub fn must_be(&self, needs: Role) -> Result<(), PageError> {
        if self.visitor.may(needs) {
            return Ok(());
        }
        Err(PageError::Forbidden { needs, is: self.visitor.role, keys: self.state.gate.has_keys() })
    }

    /// A sentence as plain text, moments in the visitor's zone.
    pub fn plain(&self, prose: &Prose) -> String {
        prose.plain(format::duration, |at| self.zone.moment(at, self.now))
    }
}

impl FromRequestParts<PageState> for Visit {
    type Rejection = PageError;

    async fn from_request_parts(parts: &mut Parts, state: &PageState) -> Result<Self, PageError> {
        Self::read(&parts.headers, &parts.uri, state, true)
    }
}

pub use crate::dashboard::model::now;

/// The value of a cookie, percent-decoded where it is a zone's slash.
pub(super) fn cookie(headers: &HeaderMap, name: &str) -> Option<String> {
    headers
        .get_all(header::COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|line| line.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .find(|(key, _)| *key == name)
        .map(|(_, value)| value.replace("%2F", "/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn params(pairs: &[(&str, &str)]) -> Params {
        Params(pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect())
    }

    #[test]
    fn a_query_is_changed_in_place() {
        let before = params(&[("a", "1"), ("b", "2"), ("a", "3")]);
        assert_eq!(before.with(&[("a", Some("x y")), ("c", Some("4"))]).write(), "?a=x%20y&b=2&c=4");
        assert_eq!(before.with(&[("a", None), ("b", None)]).write(), "");
    }

    #[test]
    fn numbers_have_bounds() {
        for bad in ["-1", "1000000000", "abc", "1.5", "0"] {
            assert!(params(&[("limit", bad)]).number("limit", 1..=1000, 50).is_err(), "{bad}");
        }
        assert_eq!(params(&[("limit", "7")]).number("limit", 1..=1000, 50).unwrap(), 7);
        assert_eq!(params(&[("limit", " ")]).number("limit", 1..=1000, 50).unwrap(), 50);
    }

    #[test]
    fn cookies_are_found_among_others() {
        let mut headers = HeaderMap::new();
        headers.insert(header::COOKIE, "a=b; tz=Europe%2FBerlin; theme=dark".parse().unwrap());
        assert_eq!(cookie(&headers, "tz").as_deref(), Some("Europe/Berlin"));
        assert_eq!(cookie(&headers, "z"), None);
    }
}
