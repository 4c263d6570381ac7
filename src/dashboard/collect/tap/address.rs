//! A tap in the settings: `eu-1=amqp://user:password@127.0.0.1:5672/vhost`, `sqlite://throughline-broker.db`.

use std::fmt;
use std::str::FromStr;

use lapin::uri::AMQPUri;

use super::super::address::{Address, Authorities, Broker, RABBITMQ_CA, file_of};
use crate::amqp::{self, NoTrust};
use crate::comms::names;
use crate::dashboard::model::messages::Source;

/// In seconds, unless the address says otherwise: a broker that hangs is noticed after two of them.
const HEARTBEAT: u16 = 5;

/// Why a setting is no tap; without its text, which may hold a password.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WrongTap {
    #[error(
        "--tap (THROUGHLINE_TAP), number {0}, is no address: write [NAME=]amqp://USER:PASSWORD@HOST:5672/VHOST, with special characters as %XX (a virtual host / is %2F), or [NAME=]sqlite://FILE for the embedded broker"
    )]
    Form(usize),
    #[error("--tap (THROUGHLINE_TAP), number {0}, {1}; {RABBITMQ_CA} names a file of authorities")]
    NoTrust(usize, NoTrust),
    #[error("--tap (THROUGHLINE_TAP) names two taps {0:?}: write NAME=amqp://…, each with another name")]
    Twice(String),
}

/// How a broker is reached.
#[derive(Clone)]
pub enum Way {
    RabbitMq(Box<amqp::Way>),
    /// The embedded broker's file, as a URL.
    Embedded(String),
}

/// A broker whose messages are to be seen.
#[derive(Clone)]
pub struct Tap {
    /// As given, or host and port; `throughline` for the embedded broker, as its figures call it.
    pub name: String,
    pub way: Way,
}

impl fmt::Debug for Tap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tap").field("source", &self.source()).finish()
    }
}

impl Tap {
    /// Reads a setting of several addresses.
    ///
    /// # Errors
    /// One is no address, or two taps have one name.
    pub fn read(addresses: &[Address], authorities: &Authorities) -> Result<Vec<Self>, WrongTap> {
        let mut taps: Vec<Self> = Vec::new();
        for (number, address) in (1..).zip(addresses) {
            let tap = Self::one(address, number, authorities)?;
            let same = |known: &Self| {
                let (a, b) = (known.source(), tap.source());
                a.broker == b.broker && a.virtual_host == b.virtual_host
            };
            if taps.iter().any(same) {
                return Err(WrongTap::Twice(tap.name));
            }
            taps.push(tap);
        }
        Ok(taps)
    }

    fn one(address: &Address, number: usize, authorities: &Authorities) -> Result<Self, WrongTap> {
        let (name, url) = address.named().ok_or(WrongTap::Form(number))?;
        if file_of(url).is_some() {
            let name = name.unwrap_or(names::SYSTEM_THROUGHLINE).to_owned();
            return Ok(Self { name, way: Way::Embedded(url.to_owned()) });
        }
        let mut uri = AMQPUri::from_str(url).map_err(|_| WrongTap::Form(number))?;
        uri.query.heartbeat.get_or_insert(HEARTBEAT);
        let own = || format!("{}:{}", uri.authority.host, uri.authority.port);
        let name = name.map_or_else(own, str::to_owned);
        let way =
            amqp::Way::new(uri, authorities.file()).map_err(|error| WrongTap::NoTrust(number, error))?;
        Ok(Self { name, way: Way::RabbitMq(Box::new(way)) })
    }

    /// What it is, without user and password.
    pub fn source(&self) -> Source {
        match &self.way {
            Way::RabbitMq(way) => Source {
                broker: self.name.clone(),
                system: names::SYSTEM_RABBITMQ.to_owned(),
                server: format!("{}:{}", way.uri().authority.host, way.uri().authority.port),
                virtual_host: way.uri().vhost.clone(),
            },
            Way::Embedded(url) => Source {
                broker: self.name.clone(),
                system: names::SYSTEM_THROUGHLINE.to_owned(),
                server: file_of(url).unwrap_or_default().to_owned(),
                virtual_host: String::new(),
            },
        }
    }

    /// The management interface of the same broker: of the same name, or else on the same host.
    pub(super) fn api<'a>(&self, apis: &'a [Broker]) -> Option<&'a Broker> {
        let Way::RabbitMq(way) = &self.way else { return None };
        let named = apis.iter().find(|api| api.name == self.name);
        named.or_else(|| apis.iter().find(|api| api.host() == way.uri().authority.host))
    }

    /// Whether its session sees by itself that it is to end, and tidies up.
    pub(super) fn ends_itself(&self) -> bool {
        matches!(self.way, Way::Embedded(_))
    }
}

/// An exchange of the settings, with one routing key where it routes by equality: `orders`, `orders.direct=placed`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exchange {
    pub name: String,
    pub key: Option<String>,
}

impl FromStr for Exchange {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, key) = match text.trim().split_once('=') {
            Some((name, key)) => (name, Some(key.to_owned())),
            None => (text.trim(), None),
        };
        let is_short = |text: &str| text.len() <= 255;
        if name.is_empty() || !is_short(name) || !key.as_deref().is_none_or(is_short) {
            return Err(
                "write EXCHANGE, or EXCHANGE=KEY for a direct one, each with 255 bytes at most".into()
            );
        }
        Ok(Self { name: name.to_owned(), key })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(texts: &[&str]) -> Result<Vec<Tap>, WrongTap> {
        let addresses: Vec<Address> = texts.iter().map(|text| text.parse().expect("any text")).collect();
        Tap::read(&addresses, &Authorities::default())
    }

    #[test]
    fn names_are_given_or_made_and_passwords_are_never_shown() {
        let taps = read(&[
            "eu-1=amqp://tap:s%40cret@mq.example:5673/a%2Fb",
            "amqp://guest:cret@127.0.0.1",
            "sqlite:///tmp/broker.db?mode=rw",
        ])
        .unwrap();
        let source = taps[0].source();
        assert_eq!(
            (source.broker.as_str(), source.server.as_str(), source.virtual_host.as_str()),
            ("eu-1", "mq.example:5673", "a/b")
        );
        assert_eq!((taps[1].name.as_str(), taps[1].source().virtual_host.as_str()), ("127.0.0.1:5672", "/"));
        assert_eq!(taps[2].source().server, "/tmp/broker.db");
        assert!(!format!("{taps:?}").contains("cret"));
    }

    #[test]
    fn what_is_no_tap_is_refused_without_its_text() {
        for wrong in ["", "127.0.0.1", "http://guest:cret@h", "sqlite://", "amqp//cret"] {
            let error = read(&["amqp://h", wrong]).unwrap_err();
            assert_eq!(error, WrongTap::Form(2), "{wrong}");
            assert!(!error.to_string().contains("cret@"));
        }
        assert_eq!(read(&["a=amqp://h", "a=amqp://i"]).unwrap_err(), WrongTap::Twice("a".into()));
        assert!(read(&["a=amqp://h/x", "a=amqp://h/y"]).is_ok(), "two virtual hosts of one broker");
        assert_eq!("o=k".parse(), Ok(Exchange { name: "o".into(), key: Some("k".into()) }));
        for wrong in ["", "=k", &"x".repeat(256)] {
            assert!(wrong.parse::<Exchange>().is_err(), "{wrong}");
        }
    }
}
