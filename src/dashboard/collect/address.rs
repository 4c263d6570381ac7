//! A broker in the settings: `eu-1=http://user:password@127.0.0.1:15672`, and whom to trust over TLS.

use std::convert::Infallible;
use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;

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

impl Address {
    /// Whether it asks for TLS.
    fn is_sealed(&self) -> bool {
        self.named().is_some_and(|(_, url)| url.starts_with("https://") || url.starts_with("amqps://"))
    }
}

/// The authorities that alone are trusted by brokers' certificates; those of the system where no file is given.
#[derive(Clone, Default, PartialEq)]
pub struct Authorities(Option<(PathBuf, Arc<[u8]>)>);

impl fmt::Debug for Authorities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Authorities").field(&self.file()).finish()
    }
}

impl Authorities {
    /// Reads the setting; `addresses` are all those of brokers. Where none of them asks for TLS nobody is to be trusted, and
    /// the file is not looked at: the variable may be meant for a service beside.
    ///
    /// # Errors
    /// The file is no PEM file with certificates.
    pub fn read<'a>(
        file: Option<PathBuf>,
        addresses: impl IntoIterator<Item = &'a Address>,
    ) -> Result<Self, WrongAddress> {
        let sealed = addresses.into_iter().any(Address::is_sealed);
        let Some(file) = file.filter(|_| sealed) else { return Ok(Self::default()) };
        let wrong = |why: String| WrongAddress::Authorities { file: file.display().to_string(), why };
        let pem = std::fs::read(&file).map_err(|error| wrong(format!("cannot be read: {error}")))?;
        match reqwest::Certificate::from_pem_bundle(&pem) {
            Ok(all) if !all.is_empty() => Ok(Self(Some((file, pem.into())))),
            Ok(_) => Err(wrong("holds no certificate (BEGIN CERTIFICATE)".into())),
            Err(error) => Err(wrong(format!("is no PEM file of certificates: {error}"))),
        }
    }

    /// The file, where one is given.
    pub fn file(&self) -> Option<&Path> {
        self.0.as_ref().map(|(file, _)| file.as_path())
    }

    /// For HTTP; `None` for those of the system.
    pub(super) fn certificates(&self) -> Option<Vec<reqwest::Certificate>> {
        // They were read once already.
        self.0.as_ref().map(|(_, pem)| reqwest::Certificate::from_pem_bundle(pem).unwrap_or_default())
    }
}

/// The setting of the authorities, as errors name it.
pub const RABBITMQ_CA: &str = "--rabbitmq-ca (THROUGHLINE_RABBITMQ_CA)";

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
    #[error("{RABBITMQ_CA} names {file}, which {why}")]
    Authorities { file: String, why: String },
}

/// A broker that is to be asked.
#[derive(Clone, PartialEq)]
pub struct Broker {
    /// As given, or host and port.
    pub name: String,
    /// With user and password.
    url: Url,
    /// Whom to trust over TLS.
    pub(super) authorities: Authorities,
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
    pub fn read(addresses: &[Address], authorities: &Authorities) -> Result<Vec<Self>, WrongAddress> {
        let mut brokers: Vec<Self> = Vec::new();
        for (number, address) in (1..).zip(addresses) {
            let broker = Self::one(address, authorities).ok_or(WrongAddress::Form(number))?;
            if brokers.iter().any(|known| known.name == broker.name) {
                return Err(WrongAddress::Twice(broker.name));
            }
            brokers.push(broker);
        }
        Ok(brokers)
    }

    fn one(address: &Address, authorities: &Authorities) -> Option<Self> {
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
        Some(Self { name, url, authorities: authorities.clone() })
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
        Broker::read(&addresses, &Authorities::default())
    }

    #[test]
    fn authorities_are_read_once_and_wrong_ones_are_told_with_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let (none, empty) = (folder.path().join("none.pem"), folder.path().join("empty.pem"));
        std::fs::write(&empty, "no certificate").unwrap();
        let (sealed, plain): (Address, Address) =
            ("https://h".parse().unwrap(), "x=amqp://h".parse().unwrap());
        let read = |file: &Path, address: &Address| Authorities::read(Some(file.to_owned()), [address]);
        assert_eq!(read(&none, &plain), Ok(Authorities::default()));
        for (file, part) in [(&none, "cannot be read"), (&empty, "holds no certificate")] {
            let told = read(file, &sealed).unwrap_err().to_string();
            assert!(told.contains(part) && told.contains(&file.display().to_string()), "{told}");
        }
        let own = rcgen::generate_simple_self_signed(["h".to_owned()]).unwrap();
        std::fs::write(&empty, own.cert.pem()).unwrap();
        let authorities = read(&empty, &"y=amqps://h".parse().unwrap()).unwrap();
        assert_eq!(authorities.certificates().map(|all| all.len()), Some(1));
        assert_eq!(Authorities::read(None, [&plain]), Ok(Authorities::default()));
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
