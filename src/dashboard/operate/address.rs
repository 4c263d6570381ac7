//! Brokers in the settings: `eu-1=amqp://user:password@127.0.0.1:5672`, and the file of the toolkit's own.
//!
//! A broker's address comes from here alone, never from a request.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use lapin::uri::AMQPUri;
use reqwest::Url;

use super::Hands;
use super::amqp::Amqp;
use super::embedded::Embedded;
use crate::amqp::{NoTrust, Way};
use crate::comms::names;
use crate::dashboard::collect::address::{Address, Authorities, RABBITMQ_CA, file_of};

/// Why a setting is no address; without its text, which may hold a password.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WrongAddress {
    #[error(
        "--rabbitmq-amqp (THROUGHLINE_RABBITMQ_AMQP), number {0}, is no address: write amqp://USER:PASSWORD@HOST:5672, or NAME=amqp://…, with special characters of the password as %XX and / in a virtual host as %2F"
    )]
    Form(usize),
    #[error(
        "--rabbitmq-amqp (THROUGHLINE_RABBITMQ_AMQP), number {0}, {1}; {RABBITMQ_CA} names a file of authorities"
    )]
    NoTrust(usize, NoTrust),
    #[error(
        "--rabbitmq-amqp (THROUGHLINE_RABBITMQ_AMQP), number {0}, names no user, and no --rabbitmq-api of the same name does: write amqp://USER:PASSWORD@HOST:5672"
    )]
    NoUser(usize),
    #[error(
        "--rabbitmq-amqp and --embedded-broker name two brokers {0:?}: write NAME=amqp://…, each with another name"
    )]
    Twice(String),
    #[error(
        "--embedded-broker (THROUGHLINE_EMBEDDED_BROKER) is no file: write sqlite://throughline-broker.db, or NAME=sqlite://…"
    )]
    File,
}

/// A RabbitMQ whose management interface is asked: its name, and whom it is asked as.
#[derive(Clone)]
pub struct Known {
    pub name: String,
    pub host: String,
    /// `user:password`, as it stands in an address.
    pub login: String,
}

/// The brokers that may be acted upon.
#[derive(Clone, Default)]
pub struct Brokers(pub(super) Vec<Arc<dyn Hands>>);

impl fmt::Debug for Brokers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.iter().map(|hands| hands.broker())).finish()
    }
}

impl Brokers {
    /// Names of those that are RabbitMQs, and how they are reached.
    pub fn ways(&self) -> Vec<(String, Way)> {
        let way = |hands: &Arc<dyn Hands>| Some((hands.broker().to_owned(), hands.way()?.clone()));
        self.0.iter().filter_map(way).collect()
    }

    /// Reads the settings. One over AMQP without a name has that of the only management interface, or of the one on its host;
    /// one without a user has its user.
    ///
    /// # Errors
    /// One is no address, or two brokers have one name.
    pub fn read(
        amqp: &[Address],
        embedded: &[Address],
        known: &[Known],
        authorities: &Authorities,
    ) -> Result<Self, WrongAddress> {
        let mut all: Vec<Arc<dyn Hands>> = Vec::new();
        for (number, address) in (1..).zip(amqp) {
            let known = if amqp.len() == 1 && known.len() == 1 { Only(&known[0]) } else { Of(known) };
            all.push(Arc::new(over_amqp(number, address, known, authorities)?));
        }
        for address in embedded {
            let (name, url) = address.named().ok_or(WrongAddress::File)?;
            let path = file_of(url).filter(|path| *path != ":memory:").ok_or(WrongAddress::File)?;
            let name = name.unwrap_or(names::SYSTEM_THROUGHLINE).to_owned();
            all.push(Arc::new(Embedded::new(name, PathBuf::from(path))));
        }
        for (at, hands) in all.iter().enumerate() {
            if all[..at].iter().any(|before| before.broker() == hands.broker()) {
                return Err(WrongAddress::Twice(hands.broker().to_owned()));
            }
        }
        Ok(Self(all))
    }
}

/// Which management interfaces may belong to an address.
enum Candidates<'a> {
    Only(&'a Known),
    Of(&'a [Known]),
}
use Candidates::{Of, Only};

fn over_amqp(
    number: usize,
    address: &Address,
    known: Candidates<'_>,
    authorities: &Authorities,
) -> Result<Amqp, WrongAddress> {
    let (name, url) = address.named().ok_or(WrongAddress::Form(number))?;
    let read = Url::parse(url).ok().filter(|url| url.host_str().is_some_and(|host| !host.is_empty()));
    let read = read.ok_or(WrongAddress::Form(number))?;
    let mut uri: AMQPUri = url.parse().map_err(|_| WrongAddress::Form(number))?;
    let host = uri.authority.host.clone();
    let known = match (name, known) {
        (Some(name), Only(known)) if known.name != name => None,
        (_, Only(known)) => Some(known),
        (Some(name), Of(all)) => all.iter().find(|known| known.name == name),
        (None, Of(all)) => all.iter().find(|known| known.host == host),
    };
    if read.username().is_empty() {
        let known =
            known.filter(|known| !known.login.starts_with(':')).ok_or(WrongAddress::NoUser(number))?;
        let login: Result<AMQPUri, _> = format!("amqp://{}@localhost", known.login).parse();
        uri.authority.userinfo = login.map_err(|_| WrongAddress::NoUser(number))?.authority.userinfo;
    }
    let name = name.or(known.map(|known| known.name.as_str()));
    let name = name.map_or_else(|| format!("{host}:{}", uri.authority.port), str::to_owned);
    let only = (!matches!(read.path(), "" | "/")).then(|| uri.vhost.clone());
    let way = Way::new(uri, authorities.file()).map_err(|error| WrongAddress::NoTrust(number, error))?;
    Ok(Amqp::new(name, way, only))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(amqp: &[&str], embedded: &[&str], known: &[(&str, &str)]) -> Result<Vec<String>, WrongAddress> {
        let parse = |texts: &[&str]| -> Vec<Address> {
            texts.iter().map(|text| text.parse().expect("any text")).collect()
        };
        let known: Vec<Known> = known
            .iter()
            .map(|(name, host)| Known {
                name: (*name).into(),
                host: (*host).into(),
                login: "monitor:cret".into(),
            })
            .collect();
        let none = Authorities::default();
        let brokers = Brokers::read(&parse(amqp), &parse(embedded), &known, &none)?;
        Ok(brokers.0.iter().map(|hands| hands.broker().to_owned()).collect())
    }

    #[test]
    fn names_are_given_taken_from_the_management_interface_or_made() {
        let (one, two) = ([("eu", "mq")], [("eu", "mq"), ("us", "mq2")]);
        for (amqp, known, name) in [
            ("amqp://a:b@h:5673", &[][..], "h:5673"),
            ("x=amqp://a:b=c@h", &[][..], "x"),
            ("amqp://a:b@elsewhere", &one[..], "eu"),
            ("amqp://mq2:5672", &two[..], "us"),
            ("us=amqp://elsewhere", &two[..], "us"),
        ] {
            assert_eq!(read(&[amqp], &[], known), Ok(vec![name.to_owned()]), "{amqp}");
        }
        assert_eq!(read(&[], &["sqlite://a.db"], &[]), Ok(vec!["throughline".to_owned()]));
        assert_eq!(read(&[], &["own=sqlite:///tmp/a.db?mode=ro"], &[]), Ok(vec!["own".to_owned()]));
    }

    #[test]
    fn what_is_no_address_is_refused_without_its_text() {
        for (wrong, error) in [
            ("", WrongAddress::Form(1)),
            ("127.0.0.1:5672", WrongAddress::Form(1)),
            ("http://guest:cret@h", WrongAddress::Form(1)),
            ("amqp://", WrongAddress::Form(1)),
            ("amqp://h:5672", WrongAddress::NoUser(1)),
        ] {
            let told = read(&[wrong], &[], &[]).unwrap_err();
            assert_eq!(told, error, "{wrong}");
            assert!(!told.to_string().contains("cret"));
        }
        for wrong in ["", "a.db", "postgres://h", "sqlite://", "sqlite://:memory:"] {
            assert_eq!(read(&[], &[wrong], &[]), Err(WrongAddress::File), "{wrong}");
        }
        let twice = read(&["a=amqp://u:p@h", "a=amqp://u:p@i"], &[], &[]);
        assert_eq!(twice, Err(WrongAddress::Twice("a".into())));
        let address: Address = "amqp://a:cret@h".parse().unwrap();
        assert!(!format!("{address:?}").contains("cret"));
    }
}
