//! Where a client's calls go, read from its base URL once.

use std::sync::Arc;

use opentelemetry::KeyValue;
use reqwest::Url;

use crate::comms::names;

/// A base URL, in the parts that each call needs. Cheap to clone.
#[derive(Clone)]
pub(in crate::comms) struct Address(Arc<Parts>);

struct Parts {
    /// As it is parsed, without a slash at its end.
    base: String,
    url: Url,
    host: Option<Arc<str>>,
}

impl Address {
    /// # Errors
    /// It is no http or https URL, or has a query or a fragment, which would end before the paths begin.
    pub fn parse(base_url: &str) -> anyhow::Result<Self> {
        let url = Url::parse(base_url).map_err(|e| anyhow::anyhow!("`{base_url}` is not a URL: {e}"))?;
        anyhow::ensure!(matches!(url.scheme(), "http" | "https"), "`{base_url}` is not an http or https URL");
        let ends = url.query().is_none() && url.fragment().is_none();
        anyhow::ensure!(ends, "`{base_url}` has a query or a fragment: the address of a service has neither");
        let (base, host) = (url.as_str().trim_end_matches('/').to_owned(), url.host_str().map(Arc::from));
        Ok(Self(Arc::new(Parts { base, url, host })))
    }

    /// The whole base URL.
    pub fn url(&self) -> &Url {
        &self.0.url
    }

    /// Base and path.
    pub fn join(&self, path: &str) -> String {
        [&self.0.base, path].concat()
    }

    /// What [`Self::join`] gave for a path, parsed. Where the path is a plain one, scheme and host are taken as they are
    /// known: to parse them is most of the work.
    ///
    /// # Errors
    /// It is no URL.
    pub fn parsed(&self, joined: &str) -> Result<Url, <Url as std::str::FromStr>::Err> {
        let path = &joined[self.0.base.len()..];
        if self.0.url.path() == "/" && is_plain(path) { self.0.url.join(path) } else { Url::parse(joined) }
    }

    /// `server.address` and `server.port`.
    pub fn attributes(&self) -> impl Iterator<Item = KeyValue> + use<> {
        let host = self.0.host.clone().map(|host| KeyValue::new(names::SERVER_ADDRESS, host));
        let port = self.0.url.port_or_known_default();
        host.into_iter().chain(port.map(|port| KeyValue::new(names::SERVER_PORT, i64::from(port))))
    }
}

/// Whether a path with its query can be read by itself as it is read behind a host: it begins with one slash (two would
/// begin a host) and has none of the letters that URLs drop or take for others.
fn is_plain(path: &str) -> bool {
    let usual = |b: u8| {
        b.is_ascii_alphanumeric()
            || matches!(b, b'/' | b'-' | b'.' | b'_' | b'~' | b'?' | b'=' | b'&' | b'%' | b'+' | b',' | b':')
    };
    path.starts_with('/') && !path.starts_with("//") && path.bytes().all(usual)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_never_changes_the_host_and_reads_as_the_whole_does() {
        let paths = [
            "",
            "/",
            "/a",
            "/a/b?c=d&e=%2F",
            "/a/../b",
            "/../../b",
            "/./a/",
            "//evil.example/a",
            "///evil.example",
            "/\\evil.example",
            "/\t/evil.example",
            "/\n/evil.example",
            "?q=1",
            "#f",
            "/a#f",
            "/ü",
            "/a b",
            "/a?b=c/../d",
            "/%2e%2e/a",
            "/a:b",
            "/:80",
            "/a//b",
            "/..//evil.example/",
            "/.//evil.example/",
        ];
        for base in [
            "http://shop.example:8080",
            "http://shop.example",
            "https://ada:pw@shop.example/",
            "http://[::1]:80",
            "http://shop.example/api",
            "http://shop.example/api/",
            " http://shop.example\n",
            "http://shop.example/a/..",
            "http:\\\\shop.example\\",
        ] {
            let address = Address::parse(base).expect(base);
            for path in paths {
                let joined = address.join(path);
                let parsed = address.parsed(&joined).expect(path);
                assert_eq!(parsed, Url::parse(&joined).expect(path), "{base} {path:?}");
                assert_eq!(parsed.host_str(), address.url().host_str(), "{base} {path:?}");
            }
        }
    }

    #[test]
    fn what_is_no_address_of_a_service_is_refused() {
        for bad in ["", "shop", "ftp://shop", "http://", "amqp://shop", "http://shop?a", "http://shop/#a"] {
            assert!(Address::parse(bad).is_err(), "{bad}");
        }
    }
}
