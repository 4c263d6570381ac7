//! The way to a RabbitMQ: TCP or TLS, with a screen before the client library.
//!
//! The toolkit, the taps and who acts on messages speak AMQP by the same library, and each of them reads what anybody may
//! have published. So they connect here.
//!
//! * [`Way`]: where to, whom to trust, and what of a body passes. It makes connections.
//! * [`screen`]: what comes from the broker is made harmless before it is parsed. [`walk`]: the fields of frames.
//! * [`trust`]: TLS, authorities, and what its errors mean. [`stream`]: a connection behind the screen.
//!
//! What must not live here: queues, envelopes, retries, pages. This room knows bytes and no message.

mod screen;
mod stream;
mod trust;
mod walk;

use std::fmt;
use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};
use std::{io, io::Read, io::Write};

use async_rs::traits::Reactor;
use async_rs::util::RuntimeParts;
use async_rs::{Runtime, Tokio};
use futures_util::Stream;
use lapin::protocol::{AMQPErrorKind, AMQPHardError, AMQPSoftError};
use lapin::uri::{AMQPScheme, AMQPUri};
use lapin::{Connection, ConnectionProperties, ErrorKind};
use tokio::net::TcpStream;
use tokio_util::either::Either;

pub use screen::{Passed, Passing};
use stream::Screened;
pub use trust::NoTrust;
use trust::Trust;

/// How a broker is reached.
#[derive(Clone)]
pub struct Way {
    uri: AMQPUri,
    trust: Option<Trust>,
}

impl fmt::Debug for Way {
    /// Without user and password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Way")
            .field("host", &self.uri.authority.host)
            .field("port", &self.uri.authority.port)
            .field("virtual_host", &self.uri.vhost)
            .field("tls", &self.trust.is_some())
            .finish()
    }
}

impl Way {
    /// To a broker by its address; for `amqps://` the broker's certificate must be signed by an authority in the PEM file
    /// `ca`, or by one that the system trusts where none is given. A file is not looked at for `amqp://`.
    ///
    /// # Errors
    /// The host is no name for a certificate, or there is nobody to trust.
    pub fn new(mut uri: AMQPUri, ca: Option<&Path>) -> Result<Self, NoTrust> {
        let trust = match uri.scheme {
            AMQPScheme::AMQPS => Some(Trust::new(&uri.authority.host, ca)?),
            AMQPScheme::AMQP => None,
        };
        // The library is not told of TLS: what it gets speaks it already.
        uri.scheme = AMQPScheme::AMQP;
        Ok(Self { uri, trust })
    }

    /// The address, without its scheme's TLS.
    pub fn uri(&self) -> &AMQPUri {
        &self.uri
    }

    /// The same broker by an address that differs in some of its parts.
    pub fn with(&self, change: impl FnOnce(&mut AMQPUri)) -> Self {
        let mut other = self.clone();
        change(&mut other.uri);
        other
    }

    /// Connects; [`Passing`] says what of messages passes, and is told of each. To be called inside Tokio.
    ///
    /// # Errors
    /// As the library's; [`told`] has words for those of TLS.
    pub async fn connect(
        &self,
        properties: ConnectionProperties,
        passing: Passing,
    ) -> Result<Connection, lapin::Error> {
        let tokio = Tokio::current();
        let dialler = Dialler { tokio: tokio.clone(), trust: self.trust.clone(), passing };
        let runtime = Runtime::new(RuntimeParts::new(tokio, dialler));
        Connection::connect_uri_with_runtime(self.uri.clone(), properties, runtime).await
    }
}

/// What an error of TLS means, in words that name the setting of the authorities, and whether it will stay so; `None` for
/// other errors.
pub fn told(error: &lapin::Error, setting: &str) -> Option<(String, bool)> {
    match error.kind() {
        ErrorKind::IOError(io) => {
            Some(trust::told(io.get_ref().and_then(|inner| inner.downcast_ref())?, setting))
        }
        _ => None,
    }
}

/// Why there is no connection, as what the broker does: “refuses the login of …”. `setting` names that of the authorities.
pub fn why_not(error: &lapin::Error, uri: &AMQPUri, setting: &str) -> String {
    let (user, host) = (&uri.authority.userinfo.username, &uri.vhost);
    if let ErrorKind::ProtocolError(why) = error.kind() {
        return match why.kind() {
            AMQPErrorKind::Soft(AMQPSoftError::ACCESSREFUSED) => {
                format!("refuses the login of “{user}”: the password is wrong, or the user is not there")
            }
            AMQPErrorKind::Hard(AMQPHardError::NOTALLOWED) => format!(
                "does not let “{user}” into virtual host “{host}”: it is not there, or the user has no permissions in it"
            ),
            _ => format!("refuses: {}", why.get_message()),
        };
    }
    match told(error, setting) {
        Some((told, _)) => format!("cannot be reached: {told}"),
        None => format!("cannot be reached: {error}"),
    }
}

/// Makes connections for the library; for the rest it is Tokio.
#[derive(Debug, Clone)]
struct Dialler {
    tokio: Tokio,
    trust: Option<Trust>,
    passing: Passing,
}

impl Reactor for Dialler {
    type TcpStream = Screened<Either<TcpStream, trust::TlsStream>>;
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
        let (trust, passing) = (self.trust.clone(), self.passing.clone());
        async move {
            let stream = TcpStream::connect(address).await?;
            stream.set_nodelay(true)?;
            let stream = match trust {
                None => Either::Left(stream),
                Some(trust) => Either::Right(trust.over(stream).await?),
            };
            Ok(Screened::new(stream, passing))
        }
    }
}
