//! A broker in the settings: `eu-1=http://user:password@127.0.0.1:15672`.

use std::convert::Infallible;
use std::fmt;
use std::str::FromStr;

use reqwest::Url;

/// What was written in the settings. Its text may hold a password, so it is neither shown nor part of an error.
#[derive(Clone)]
pub struct Address(String);

impl FromStr for Address {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(Self(text.trim().to_owned()))
    }
}

impl Address {
    /// Name, where there is one, and address of `NAME=SCHEME://…`; `None` without a scheme.
    pub fn named(&self) -> Option<(Option<&str>, &str)> {
        let scheme = self.0.find("://")?;
        Some(match self.0[..scheme].rsplit_once('=') {
            Some((name, _)) => {
                (Some(name.trim()).filter(|name| !name.is_empty()), self.0[name.len() + 1..].trim())
            }
            None => (None, &self.0),
        })
    }
}

/// The file of `sqlite://FILE?…`.
pub fn file_of(url: &str) -> Option<&str> {
    url.strip_prefix("sqlite://")?.split('?').next().filter(|file| !file.is_empty())
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Address(…)")
    }
}

/// Why a setting is no address; without its text, which may hold a password.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WrongAddress {
    #[error(
        "--rabbitmq-api (THROUGHLINE_RABBITMQ_API), number {0}, is no address: write http://USER:PASSWORD@HOST:15672, or NAME=http://…, with special characters of the password as %XX"
    )]
    Form(usize),
    #[error(
        "--rabbitmq-api (THROUGHLINE_RABBITMQ_API) names two brokers {0:?}: write NAME=http://…, each with another name"
    )]
    Twice(String),
}

/// A broker that is to be asked.
#[derive(Clone, PartialEq)]
pub struct Broker {
    /// As given, or host and port.
    pub name: String,
    /// With user and password.
    url: Url,
}

impl fmt::Debug for Broker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Broker").field("name", &self.name).field("url", &self.shown()).finish()
    }
}

impl Broker {
    /// Reads a setting of several addresses.
    ///
    /// # Errors
    /// One is no address, or two brokers have one name.
    pub fn read(addresses: &[Address]) -> Result<Vec<Self>, WrongAddress> {
        let mut brokers: Vec<Self> = Vec::new();
        for (number, address) in (1..).zip(addresses) {
            let broker = Self::one(address).ok_or(WrongAddress::Form(number))?;
            if brokers.iter().any(|known| known.name == broker.name) {
                return Err(WrongAddress::Twice(broker.name));
            }
            brokers.push(broker);
        }
        Ok(brokers)
    }

    fn one(address: &Address) -> Option<Self> {
        let (name, url) = address.named()?;
        let mut url = Url::parse(url).ok()?;
        let host = url.host_str()?.to_owned();
        if !matches!(url.scheme(), "http" | "https") || url.query().is_some() || url.fragment().is_some() {
            return None;
        }
        if !url.path().ends_with('/') {
            url.set_path(&format!("{}/", url.path()));
        }
        let own = || format!("{host}:{}", url.port_or_known_default().unwrap_or(15_672));
        let name = name.map_or_else(own, str::to_owned);
        Some(Self { name, url })
    }

    /// The address without user and password.
    pub fn shown(&self) -> String {
        let mut url = self.url.clone();
        // Both fail only for addresses that have no host.
        let _ = (url.set_username(""), url.set_password(None));
        url.to_string()
    }

    /// The user.
    pub fn user(&self) -> &str {
        self.url.username()
    }

    /// The host without port.
    pub fn host(&self) -> &str {
        self.url.host_str().unwrap_or_default()
    }

    /// User and password as they stand in the address, for the same broker over AMQP: `user:pass%20word`.
    pub fn login(&self) -> String {
        format!("{}:{}", self.url.username(), self.url.password().unwrap_or_default())
    }

    /// An address of the interface, with user and password.
    pub(super) fn at(&self, path: &str) -> Option<Url> {
        self.url.join(path).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(texts: &[&str]) -> Result<Vec<Broker>, WrongAddress> {
        let addresses: Vec<Address> = texts.iter().map(|text| text.parse().expect("any text")).collect();
        Broker::read(&addresses)
    }

    #[test]
    fn names_are_given_or_made_and_passwords_are_never_shown() {
        let all =
            read(&["eu-1=http://monitor:s%40cret=1@127.0.0.1:15672", "https://mq.example/rabbit"]).unwrap();
        assert_eq!(all[0].name, "eu-1");
        assert_eq!(all[0].shown(), "http://127.0.0.1:15672/");
        assert_eq!(all[0].user(), "monitor");
        assert_eq!(
            (all[1].name.as_str(), all[1].shown().as_str()),
            ("mq.example:443", "https://mq.example/rabbit/")
        );
        assert!(!format!("{all:?}").contains("cret"));
        let address: Address = "http://a:cret@h".parse().unwrap();
        assert!(!format!("{address:?}").contains("cret"));
    }

    #[test]
    fn what_is_no_address_is_refused_without_its_text() {
        for wrong in ["", "127.0.0.1:15672", "amqp://guest:cret@127.0.0.1", "http://", "http://h?x=cret"] {
            let error = read(&["http://h", wrong]).unwrap_err();
            assert_eq!(error, WrongAddress::Form(2), "{wrong}");
            assert!(!error.to_string().contains("cret"));
        }
        assert_eq!(read(&["a=http://h", "a=http://i"]), Err(WrongAddress::Twice("a".into())));
    }
}
