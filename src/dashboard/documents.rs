//! Where services' interfaces are described: what the settings name, and a service's page leads to.
//!
//! What must not live here: what is written in those documents; nobody here reads them.

use std::collections::BTreeMap;
use std::str::FromStr;

/// A description of a service's interface: `SERVICE=URL`, or `SERVICE=TITLE=URL` where there are several.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document {
    pub service: String,
    /// How it is called on the service's page; [`Self::UNTITLED`] where the settings give no title.
    pub title: String,
    /// With `http://` or `https://`.
    pub url: String,
}

/// Why a setting is no description.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WrongDocument {
    #[error("write SERVICE=URL or SERVICE=TITLE=URL, with http:// or https://")]
    Form,
    #[error("a title has 1 to {} characters, and no control characters", Document::LONGEST_TITLE)]
    Title,
    #[error(
        "--document (THROUGHLINE_DOCUMENT) names two documents {title:?} of {service:?}: write {service}=TITLE=URL, each with \
         another title"
    )]
    Twice { service: String, title: String },
}

impl Document {
    pub const UNTITLED: &str = "Its interface";
    /// In characters.
    pub const LONGEST_TITLE: usize = 40;
}

impl FromStr for Document {
    type Err = WrongDocument;

    /// What follows the service is its address, or else a title with the address behind it: addresses hold `=` too.
    fn from_str(text: &str) -> Result<Self, WrongDocument> {
        let (service, rest) = text.trim().split_once('=').ok_or(WrongDocument::Form)?;
        let (title, url) = match rest.split_once('=') {
            Some((title, url)) if !is_web(rest) => (Some(title.trim()), url.trim_start()),
            _ => (None, rest),
        };
        let is_broken = url.contains(|c: char| c.is_whitespace() || c.is_control());
        if service.is_empty() || !is_web(url) || is_broken {
            return Err(WrongDocument::Form);
        }
        let title = title.unwrap_or(Self::UNTITLED);
        let fits = (1..=Self::LONGEST_TITLE).contains(&title.chars().count());
        if !fits || title.contains(char::is_control) {
            return Err(WrongDocument::Title);
        }
        Ok(Self { service: service.to_owned(), title: title.to_owned(), url: url.to_owned() })
    }
}

fn is_web(url: &str) -> bool {
    url.starts_with("http://") || url.starts_with("https://")
}

/// The documents of all services, each service's in the order of the settings.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Documents(BTreeMap<String, Vec<Document>>);

impl Documents {
    /// Sorts them by service.
    ///
    /// # Errors
    /// Two of a service have the same title: nobody could tell one link from the other.
    pub fn new(all: impl IntoIterator<Item = Document>) -> Result<Self, WrongDocument> {
        let mut by_service: BTreeMap<String, Vec<Document>> = BTreeMap::new();
        for document in all {
            let of_service = by_service.entry(document.service.clone()).or_default();
            if of_service.iter().any(|known| known.title == document.title) {
                let Document { service, title, .. } = document;
                return Err(WrongDocument::Twice { service, title });
            }
            of_service.push(document);
        }
        Ok(Self(by_service))
    }

    /// Those of a service; none where the settings name none.
    pub fn of(&self, service: &str) -> &[Document] {
        self.0.get(service).map_or(&[], Vec::as_slice)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<(String, String, String), WrongDocument> {
        text.parse().map(|Document { service, title, url }| (service, title, url))
    }

    #[test]
    fn a_description_is_a_service_perhaps_a_title_and_a_web_address() {
        for (text, service, title, url) in [
            ("orders=http://h/a=b", "orders", "Its interface", "http://h/a=b"),
            ("shop:orders=https://h", "shop:orders", "Its interface", "https://h"),
            ("orders=AsyncAPI=http://h/a?b=c", "orders", "AsyncAPI", "http://h/a?b=c"),
            (" gateway=GraphQL schema=https://h ", "gateway", "GraphQL schema", "https://h"),
        ] {
            assert_eq!(read(text), Ok((service.into(), title.into(), url.into())), "{text}");
        }
    }

    #[test]
    fn what_is_no_description_is_refused_with_how_to_write_one() {
        for bad in [
            "",
            "orders",
            "=http://h",
            "orders=h",
            "orders=javascript:x",
            "orders=http://h/ a",
            "orders=OpenAPI",
            "orders=OpenAPI=",
            "orders=OpenAPI=javascript:x",
            "orders=OpenAPI=AsyncAPI=http://h",
            "=OpenAPI=http://h",
        ] {
            assert!(read(bad).is_err_and(|error| error.to_string().contains("SERVICE=TITLE=URL")), "{bad}");
        }
        let long = format!("orders={}=http://h", "a".repeat(41));
        for bad in ["orders==http://h", "orders= =http://h", "orders=a\u{7}b=http://h", &long] {
            assert!(read(bad).is_err_and(|error| error.to_string().contains("1 to 40 characters")), "{bad}");
        }
    }

    #[test]
    fn a_service_has_several_documents_and_each_another_title() {
        let all = |texts: &[&str]| Documents::new(texts.iter().map(|text| text.parse().expect("one")));
        let known =
            all(&["orders=B=http://h/b", "payments=http://h/p", "orders=A=http://h/a"]).expect("different");
        let titles: Vec<_> = known.of("orders").iter().map(|one| one.title.as_str()).collect();
        assert_eq!(titles, ["B", "A"], "in the order of the settings");
        assert!(known.of("users").is_empty());
        for twice in [["orders=http://a", "orders=http://b"], ["orders=A=http://a", "orders=A=http://b"]] {
            let error = all(&twice).expect_err("the same title").to_string();
            assert!(error.contains("--document") && error.contains("orders=TITLE=URL"), "{error}");
        }
    }
}
