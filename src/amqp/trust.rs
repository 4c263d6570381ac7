//! TLS to RabbitMQ (`amqps://`): whom to trust, and what its errors mean.
//!
//! The client library's own TLS would bring forty crates, most of them to read PKCS #12.

use std::path::Path;
use std::sync::Arc;
use std::{fmt, io};

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{CertificateError, ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// A connection with TLS.
pub(super) type TlsStream = tokio_rustls::client::TlsStream<TcpStream>;

/// Why no certificate could be trusted; each text goes on after the name of the setting.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoTrust {
    /// The address has a host that no certificate can name.
    #[error("has a host that no certificate can name ({0})")]
    Host(String),
    /// The file of authorities is of no use.
    #[error("{0}")]
    File(String),
    /// No file was given, and the system trusts nobody.
    #[error("asks for TLS, and this system has no authorities to trust; give RabbitMQ's own")]
    System,
    /// The library for TLS refuses its own defaults.
    #[error("cannot be spoken to by TLS: {0}")]
    Library(String),
}

/// Whom to trust, and the name that the certificate has to have.
#[derive(Clone)]
pub(super) struct Trust {
    connector: TlsConnector,
    host: ServerName<'static>,
}

impl fmt::Debug for Trust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Trust").field("host", &self.host).finish_non_exhaustive()
    }
}

impl Trust {
    /// Of a host and a PEM file of authorities, or those of the system.
    pub fn new(host: &str, ca: Option<&Path>) -> Result<Self, NoTrust> {
        let host = ServerName::try_from(host.to_owned()).map_err(|error| NoTrust::Host(error.to_string()))?;
        let roots = match ca {
            Some(file) => authorities(file).map_err(NoTrust::File)?,
            None => system()?,
        };
        let config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|error| NoTrust::Library(error.to_string()))?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Self { connector: TlsConnector::from(Arc::new(config)), host })
    }

    /// Speaks TLS over a connection.
    pub async fn over(self, stream: TcpStream) -> io::Result<TlsStream> {
        self.connector.connect(self.host, stream).await
    }
}

fn authorities(file: &Path) -> Result<RootCertStore, String> {
    let shown = file.display();
    let read = std::fs::read(file).map_err(|error| format!("cannot be read: {shown}: {error}"))?;
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(&read) {
        let certificate = certificate.map_err(|error| format!("is no PEM file: {shown}: {error}"))?;
        roots.add(certificate).map_err(|error| format!("holds a certificate of no use: {shown}: {error}"))?;
    }
    if roots.is_empty() {
        return Err(format!("holds no certificate (BEGIN CERTIFICATE): {shown}"));
    }
    Ok(roots)
}

fn system() -> Result<RootCertStore, NoTrust> {
    let mut roots = RootCertStore::empty();
    let found = rustls_native_certs::load_native_certs();
    roots.add_parsable_certificates(found.certs);
    if roots.is_empty() {
        return Err(NoTrust::System);
    }
    Ok(roots)
}

/// What is wrong in words, and whether it will stay so.
pub(super) fn told(error: &rustls::Error, setting: &str) -> (String, bool) {
    match error {
        rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer) => {
            let text = "its certificate is signed by an authority that is not trusted here; give it as";
            (format!("{text} {setting}"), true)
        }
        rustls::Error::InvalidCertificate(why) => (format!("its certificate is refused: {why}"), true),
        rustls::Error::InvalidMessage(_) => {
            ("it does not speak TLS on this port (mostly 5671 does); or use amqp://".to_owned(), true)
        }
        other => (format!("TLS: {other}"), false),
    }
}
