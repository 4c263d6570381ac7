//! Mutual TLS between services: each shows a certificate, and takes only those of the one authority that it knows.
//!
//! Made of three PEM files, as `throughline certs` writes them: the authority's certificate, the service's own, its key.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tonic::transport::{Certificate, ClientTlsConfig, Identity};

/// Who does not shake hands in this time is not waited for.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// Handshakes at a time; further connections wait to be taken.
const AT_ONCE: usize = 256;

/// A service's certificate and key, and the authority of those that it trusts; cheap to clone. Nothing shows the key.
#[derive(Clone, PartialEq, Eq)]
pub struct Tls(Arc<Pem>);

#[derive(PartialEq, Eq)]
struct Pem {
    authority: Vec<u8>,
    certificate: Vec<u8>,
    key: Vec<u8>,
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls").finish_non_exhaustive()
    }
}

impl Tls {
    /// From PEM.
    ///
    /// # Errors
    /// One of them is none, or the key is not the certificate's.
    pub fn from_pem(authority: &[u8], certificate: &[u8], key: &[u8]) -> anyhow::Result<Self> {
        let [authority, certificate, key] = [authority, certificate, key].map(<[u8]>::to_vec);
        let tls = Self(Arc::new(Pem { authority, certificate, key }));
        tls.client_config()?;
        tls.server_config()?;
        Ok(tls)
    }

    /// From a folder of `throughline certs`: `ca.pem`, `NAME.pem` and `NAME.key`.
    ///
    /// # Errors
    /// A file is missing or not what it is to be; the text names it.
    pub fn load(folder: &Path, name: &str) -> anyhow::Result<Self> {
        let read = |file: String| {
            let path = folder.join(file);
            std::fs::read(&path).with_context(|| format!("cannot read {}", path.display()))
        };
        let (authority, certificate) = (read("ca.pem".into())?, read(format!("{name}.pem"))?);
        let key = read(format!("{name}.key"))?;
        Self::from_pem(&authority, &certificate, &key)
            .with_context(|| format!("the certificates of {name} in {}", folder.display()))
    }

    fn roots(&self) -> anyhow::Result<Arc<RootCertStore>> {
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(&self.0.authority) {
            roots.add(certificate.context("the authority's certificate is no PEM")?)?;
        }
        anyhow::ensure!(!roots.is_empty(), "the authority's file holds no certificate");
        Ok(Arc::new(roots))
    }

    fn own(&self) -> anyhow::Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)> {
        let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&self.0.certificate).collect();
        let certificates = certificates.context("the certificate is no PEM")?;
        anyhow::ensure!(!certificates.is_empty(), "the certificate's file holds none");
        // What is wrong with it is not for a log.
        let key =
            PrivateKeyDer::from_pem_slice(&self.0.key).ok().context("the key is no private key in PEM")?;
        Ok((certificates, key))
    }

    /// For clients: the peer's certificate must be the authority's, and hold for its host.
    ///
    /// # Errors
    /// See [`Self::from_pem`].
    pub fn client_config(&self) -> anyhow::Result<ClientConfig> {
        provide();
        let (certificates, key) = self.own()?;
        let config = ClientConfig::builder().with_root_certificates(self.roots()?);
        let mut config =
            config.with_client_auth_cert(certificates, key).context("the key and its certificate")?;
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(config)
    }

    /// For servers: a client without a certificate of the authority is not served.
    ///
    /// # Errors
    /// See [`Self::from_pem`].
    pub fn server_config(&self) -> anyhow::Result<ServerConfig> {
        provide();
        let (certificates, key) = self.own()?;
        let clients = WebPkiClientVerifier::builder(self.roots()?).build()?;
        let config = ServerConfig::builder().with_client_cert_verifier(clients);
        let mut config = config.with_single_cert(certificates, key).context("the key and its certificate")?;
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(config)
    }

    /// For tonic's clients, with an address that begins with `https://`.
    pub fn grpc(&self) -> ClientTlsConfig {
        provide();
        ClientTlsConfig::new()
            .ca_certificate(Certificate::from_pem(&self.0.authority))
            .identity(Identity::from_pem(&self.0.certificate, &self.0.key))
    }
}

/// The process may have installed a provider already; that one is kept.
fn provide() {
    let _ = rustls::crypto::ring::default_provider().install_default();
}

/// Takes connections over TLS, for `axum::serve`; who shakes hands slowly holds up nobody. A handshake that fails is
/// logged with the reason.
///
/// With the clients' addresses: `listener.tap_io(|_| ())`, and `into_make_service_with_connect_info::<SocketAddr>()`.
pub struct TlsListener {
    inner: TcpListener,
    acceptor: TlsAcceptor,
    shaking: JoinSet<Option<(TlsStream<TcpStream>, SocketAddr)>>,
}

impl TlsListener {
    /// # Errors
    /// See [`Tls::from_pem`].
    pub fn new(inner: TcpListener, tls: &Tls) -> anyhow::Result<Self> {
        let acceptor = TlsAcceptor::from(Arc::new(tls.server_config()?));
        Ok(Self { inner, acceptor, shaking: JoinSet::new() })
    }

    fn shake(&mut self, stream: TcpStream, address: SocketAddr) {
        let acceptor = self.acceptor.clone();
        self.shaking.spawn(async move {
            let why = match tokio::time::timeout(HANDSHAKE, acceptor.accept(stream)).await {
                Ok(Ok(stream)) => return Some((stream, address)),
                Ok(Err(error)) => error.to_string(),
                Err(_) => format!("not within {HANDSHAKE:?}"),
            };
            tracing::warn!(client.address = %address.ip(), "TLS handshake failed: {why}");
            None
        });
    }
}

impl axum::serve::Listener for TlsListener {
    type Io = TlsStream<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, SocketAddr) {
        loop {
            tokio::select! {
                Some(shaken) = self.shaking.join_next() => {
                    if let Ok(Some(connection)) = shaken {
                        return connection;
                    }
                }
                accepted = self.inner.accept(), if self.shaking.len() < AT_ONCE => match accepted {
                    Ok((stream, address)) => self.shake(stream, address),
                    Err(error) => {
                        // As axum does: what is not this connection's own fault (no descriptors) passes.
                        tracing::warn!("no connection can be taken: {error}");
                        tokio::time::sleep(Duration::from_millis(200)).await;
                    }
                },
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.inner.local_addr()
    }
}
