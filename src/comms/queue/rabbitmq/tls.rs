//! TLS to RabbitMQ (`amqps://`): whom to trust, and connections that speak it.
//!
//! The client's own TLS would bring forty crates, most of them to read PKCS #12. It takes any connection, though, so it gets
//! one over which rustls speaks already.

use std::fmt;
use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_rs::traits::Reactor;
use async_rs::util::RuntimeParts;
use async_rs::{Runtime, Tokio};
use futures_util::Stream;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{CertificateError, ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_util::compat::{Compat, TokioAsyncReadCompatExt as _};

use crate::comms::queue::broker::BrokerError;

/// Connects with TLS; for the rest it is Tokio.
#[derive(Clone)]
pub(super) struct Dialler {
    tokio: Tokio,
    connector: TlsConnector,
    host: ServerName<'static>,
}

impl fmt::Debug for Dialler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dialler").field("host", &self.host).finish_non_exhaustive()
    }
}

impl Dialler {
    /// Connects to `host`, whose certificate must be signed by an authority in the PEM file `ca`, or by one that the
    /// system trusts where none is given. To be made inside Tokio.
    ///
    /// # Errors
    /// The host is no name for a certificate, or there is nobody to trust.
    pub fn new(host: &str, ca: Option<&Path>) -> Result<Self, BrokerError> {
        let host = ServerName::try_from(host.to_owned()).map_err(|error| BrokerError::Invalid {
            what: "the address of RabbitMQ",
            why: format!("has a host that no certificate can name ({error})"),
        })?;
        let roots = match ca {
            Some(file) => authorities(file)
                .map_err(|why| BrokerError::Invalid { what: "the CA (`ca`) for RabbitMQ", why })?,
            None => system().map_err(|why| BrokerError::Invalid { what: "amqps://", why })?,
        };
        let config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|error| BrokerError::Unavailable(error.into()))?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Self { tokio: Tokio::current(), connector: TlsConnector::from(Arc::new(config)), host })
    }

    /// What the client runs on.
    pub fn runtime(&self) -> Runtime<RuntimeParts<Tokio, Self>> {
        Runtime::new(RuntimeParts::new(self.tokio.clone(), self.clone()))
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

fn system() -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    let found = rustls_native_certs::load_native_certs();
    roots.add_parsable_certificates(found.certs);
    if roots.is_empty() {
        return Err("finds no authorities on this system to trust; give RabbitMQ's own as `ca`".to_owned());
    }
    Ok(roots)
}

/// What is wrong in words, and whether it will stay so.
pub(super) fn told(error: &rustls::Error) -> (String, bool) {
    match error {
        rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer) => {
            let text = "its certificate is signed by an authority that is not trusted here; give it as `ca`";
            (text.to_owned(), true)
        }
        rustls::Error::InvalidCertificate(why) => (format!("its certificate is refused: {why}"), true),
        rustls::Error::InvalidMessage(_) => {
            ("it does not speak TLS on this port (mostly 5671 does); or use amqp://".to_owned(), true)
        }
        other => (format!("TLS: {other}"), false),
    }
}

impl Reactor for Dialler {
    type TcpStream = Compat<TlsStream<TcpStream>>;
    type Sleep = <Tokio as Reactor>::Sleep;

    #[expect(refining_impl_trait, reason = "it is never used, and has nothing to hide")]
    fn register<H: Read + Write + Send + 'static>(&self, _: H) -> io::Result<Self::TcpStream> {
        Err(io::Error::new(io::ErrorKind::Unsupported, "only connections of its own"))
    }

    fn sleep(&self, duration: Duration) -> Self::Sleep {
        self.tokio.sleep(duration)
    }

    fn interval(&self, duration: Duration) -> impl Stream<Item = Instant> + Send + 'static {
        self.tokio.interval(duration)
    }

    fn tcp_connect_addr(
        &self,
        address: SocketAddr,
    ) -> impl Future<Output = io::Result<Self::TcpStream>> + Send + 'static {
        let (connector, host) = (self.connector.clone(), self.host.clone());
        async move {
            let stream = TcpStream::connect(address).await?;
            stream.set_nodelay(true)?;
            Ok(connector.connect(host, stream).await?.compat())
        }
    }
}
