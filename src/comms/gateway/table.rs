//! The table: which requests go where, and under which path.

use std::time::Duration;

use axum::routing::MethodFilter;

use super::cache::CacheRule;
use crate::comms::security::Access;

/// A line of the table.
#[derive(Clone, Debug)]
pub struct Route {
    pub(super) methods: MethodFilter,
    pub(super) pattern: String,
    pub(super) upstream: String,
    pub(super) target: String,
    pub(super) access: Access,
    pub(super) cache: Option<CacheRule>,
    pub(super) timeout: Option<Duration>,
    pub(super) most_body: Option<usize>,
}

impl Route {
    /// Requests with a method and a path. In the path `{name}` stands for one segment and `{*name}`, at its end, for one or
    /// more.
    pub fn new(methods: MethodFilter, pattern: &str) -> Self {
        Self {
            methods,
            pattern: pattern.to_owned(),
            upstream: String::new(),
            target: pattern.to_owned(),
            access: Access::Anyone,
            cache: None,
            timeout: None,
            most_body: None,
        }
    }

    /// GET, and with it HEAD.
    pub fn get(pattern: &str) -> Self {
        Self::new(MethodFilter::GET, pattern)
    }

    pub fn post(pattern: &str) -> Self {
        Self::new(MethodFilter::POST, pattern)
    }

    /// Everything below a prefix, by any method: `/stock` takes `/stock/a/b`.
    pub fn prefix(prefix: &str) -> Self {
        let methods = MethodFilter::GET
            .or(MethodFilter::POST)
            .or(MethodFilter::PUT)
            .or(MethodFilter::PATCH)
            .or(MethodFilter::DELETE)
            .or(MethodFilter::OPTIONS);
        Self::new(methods, &format!("{}/{{*rest}}", prefix.trim_end_matches('/')))
    }

    /// To which service, under which path: `/products/{sku}`, where the names are those of the pattern.
    pub fn to(mut self, upstream: &str, target: &str) -> Self {
        (self.upstream, self.target) = (upstream.to_owned(), target.to_owned());
        self
    }

    /// What it wants of who calls; nothing, unless said.
    pub fn access(mut self, access: Access) -> Self {
        self.access = access;
        self
    }

    /// Answers to GET are kept by a rule.
    pub fn cached(mut self, rule: CacheRule) -> Self {
        self.cache = Some(rule);
        self
    }

    /// Another timeout than the upstream's, for the answer's head with all tries.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// Another limit on a request's body than the gateway's, in bytes.
    pub fn most_body(mut self, bytes: usize) -> Self {
        self.most_body = Some(bytes);
        self
    }
}

/// A segment of a path with variables.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Segment {
    Text(String),
    One(String),
    Rest(String),
}

/// A path with variables, read.
#[derive(Clone, Debug)]
pub(super) struct Path(Vec<Segment>);

impl Path {
    /// # Errors
    /// It does not begin with a slash, a variable is not a segment of its own, has no name or one twice, or `{*…}` is not
    /// the end.
    pub fn read(text: &str) -> anyhow::Result<Self> {
        let inner = text.strip_prefix('/');
        let inner = inner.ok_or_else(|| anyhow::anyhow!("the path `{text}` does not begin with a slash"))?;
        let mut segments: Vec<Segment> = Vec::new();
        for part in inner.split('/') {
            anyhow::ensure!(
                !matches!(segments.last(), Some(Segment::Rest(_))),
                "`{text}`: nothing may follow {{*…}}"
            );
            let variable = part.strip_prefix('{').and_then(|part| part.strip_suffix('}'));
            let segment = match variable {
                None if part.contains(['{', '}', '?', '#']) => {
                    anyhow::bail!("`{text}`: `{part}` is neither a text nor a variable")
                }
                None => Segment::Text(part.to_owned()),
                Some(name) => {
                    let (name, rest) = name.strip_prefix('*').map_or((name, false), |name| (name, true));
                    let named =
                        !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
                    anyhow::ensure!(named, "`{text}`: `{part}` has no name of letters, digits and _");
                    anyhow::ensure!(
                        segments.iter().all(|other| other.name() != Some(name)),
                        "`{text}` has {part} twice"
                    );
                    if rest { Segment::Rest(name.to_owned()) } else { Segment::One(name.to_owned()) }
                }
            };
            segments.push(segment);
        }
        Ok(Self(segments))
    }

    /// That all variables of a target are there to fill in.
    pub fn covers(&self, target: &Self) -> bool {
        target.0.iter().all(|wanted| match wanted {
            Segment::Text(_) => true,
            variable => self.0.contains(variable),
        })
    }

    /// The same for all patterns that match the same paths.
    pub fn shape(&self) -> String {
        let one = |segment: &Segment| match segment {
            Segment::Text(text) => text.clone(),
            Segment::One(_) => "{}".to_owned(),
            Segment::Rest(_) => "{*}".to_owned(),
        };
        self.0.iter().map(one).collect::<Vec<_>>().join("/")
    }

    /// The target for a request's path, as it was sent. None where a variable would lead out of its place: `..`, however it
    /// is written.
    pub fn rewrite(&self, target: &Self, path: &str) -> Option<String> {
        let mut left = path.strip_prefix('/')?;
        let mut values: Vec<(&str, &str)> = Vec::new();
        for segment in &self.0 {
            if let Segment::Rest(name) = segment {
                values.push((name, left));
                break;
            }
            let (part, after) = left.split_once('/').unwrap_or((left, ""));
            if let Segment::One(name) = segment {
                values.push((name, part));
            }
            left = after;
        }
        if values.iter().any(|(_, value)| leads_out(value)) {
            return None;
        }
        let mut filled = String::new();
        for segment in &target.0 {
            filled.push('/');
            match segment {
                Segment::Text(text) => filled.push_str(text),
                Segment::One(name) | Segment::Rest(name) => {
                    filled.push_str(values.iter().find(|(of, _)| of == name)?.1);
                }
            }
        }
        Some(filled)
    }
}

impl Segment {
    fn name(&self) -> Option<&str> {
        match self {
            Self::Text(_) => None,
            Self::One(name) | Self::Rest(name) => Some(name),
        }
    }
}

/// Whether a part of a path is a step up or to nowhere, once somebody has decoded it.
fn leads_out(part: &str) -> bool {
    let plain = part.to_ascii_lowercase().replace("%2e", ".").replace("%2f", "/").replace("%5c", "\\");
    plain.contains('\\') || plain.split('/').any(|step| matches!(step, "." | ".."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_rewritten_as_they_were_sent_and_lead_nowhere_else() {
        let read = |text| Path::read(text).expect("a path");
        for (pattern, target, path, wanted) in [
            ("/catalog", "/products", "/catalog", Some("/products")),
            ("/catalog/{sku}", "/products/{sku}", "/catalog/lamp%20x", Some("/products/lamp%20x")),
            ("/catalog/{sku}", "/products/{sku}", "/catalog/a%2Fb", Some("/products/a%2Fb")),
            ("/a/{x}/{y}", "/{y}/to/{x}", "/a/1/2", Some("/2/to/1")),
            ("/stock/{*rest}", "/{*rest}", "/stock/a/b//c", Some("/a/b//c")),
            ("/catalog/{sku}", "/products/{sku}", "/catalog/..", None),
            ("/catalog/{sku}", "/products/{sku}", "/catalog/%2E%2e", None),
            ("/catalog/{sku}", "/products/{sku}", "/catalog/..%2f..%2fadmin", None),
            ("/catalog/{sku}", "/products/{sku}", "/catalog/..%5cadmin", None),
            ("/stock/{*rest}", "/{*rest}", "/stock/a/../../b", None),
        ] {
            let (pattern, target) = (read(pattern), read(target));
            assert!(pattern.covers(&target));
            assert_eq!(pattern.rewrite(&target, path).as_deref(), wanted, "{path}");
        }
        assert!(!read("/a/{x}").covers(&read("/b/{y}")));
        assert!(!read("/a/{x}").covers(&read("/b/{*x}")));
        assert_eq!(read("/a/{x}").shape(), read("/a/{y}").shape());
    }

    #[test]
    fn a_path_that_cannot_be_read_is_refused_with_the_part_that_is_wrong() {
        for (bad, says) in [
            ("", "slash"),
            ("a/b", "slash"),
            ("/a{b}", "`a{b}`"),
            ("/{}", "no name"),
            ("/{a-b}", "no name"),
            ("/{a}/{a}", "twice"),
            ("/{*a}/b", "follow"),
            ("/a?b", "`a?b`"),
        ] {
            let error = Path::read(bad).expect_err(bad).to_string();
            assert!(error.contains(says), "{bad}: {error}");
        }
    }
}
