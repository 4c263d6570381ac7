//! Who of the shop may call whom and what for, and how nobody listens in: tokens and certificates, where the settings have
//! them.
//!
//! Each service signs with a key of its own and checks with the public keys of all. The supervisor makes them at its start;
//! they are kept nowhere. A service that is started alone has none, and then wants none of its callers.

use crate::comms::http::Transport;
use crate::comms::security::{Credentials, PublicKey, SigningKey, Tls, TokenSource, Tokens};
use crate::config::demo::ServiceSettings;

use super::shop::ServiceName;

/// What each service may do at those that it calls. Whoever is not here has no token.
const GRANTS: [(ServiceName, ServiceName, &[&str]); 6] = [
    (ServiceName::Gateway, ServiceName::Orders, &[scopes::ORDERS_READ, scopes::ORDERS_WRITE]),
    (ServiceName::Gateway, ServiceName::Users, &[scopes::USERS_READ]),
    (ServiceName::Gateway, ServiceName::Inventory, &[scopes::STOCK_READ]),
    (ServiceName::Orders, ServiceName::Users, &[scopes::USERS_READ]),
    (ServiceName::Orders, ServiceName::Inventory, &[scopes::STOCK_WRITE]),
    (ServiceName::Orders, ServiceName::Payments, &[scopes::PAYMENTS_WRITE]),
];

/// What a token may be for.
pub mod scopes {
    pub const ORDERS_READ: &str = "orders:read";
    pub const ORDERS_WRITE: &str = "orders:write";
    pub const USERS_READ: &str = "users:read";
    /// No service of the shop makes users: who has a key of its own may (`--trust-key`).
    pub const USERS_WRITE: &str = "users:write";
    pub const STOCK_READ: &str = "stock:read";
    pub const STOCK_WRITE: &str = "stock:write";
    pub const PAYMENTS_WRITE: &str = "payments:write";
}

/// A service's keys and certificates; cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Security {
    source: Option<TokenSource>,
    /// Checks who calls; none where anybody may.
    pub tokens: Option<Tokens>,
    pub tls: Option<Tls>,
}

impl Security {
    /// What the settings say.
    ///
    /// # Errors
    /// A key or a certificate cannot be read.
    pub fn of(settings: &ServiceSettings) -> anyhow::Result<Self> {
        let name = settings.name.text();
        let some = |text: &Option<String>| text.clone().filter(|text| !text.trim().is_empty());
        let key = some(&settings.token_key).map(|text| SigningKey::read(&text)).transpose();
        let key = key.map_err(|error| error.context("--token-key (THROUGHLINE_TOKEN_KEY)"))?;
        let trusted = some(&settings.token_trust);
        let keys =
            trusted.as_deref().map(|all| all.split(',').map(PublicKey::read).collect::<Result<Vec<_>, _>>());
        let keys =
            keys.transpose().map_err(|error| error.context("--token-trust (THROUGHLINE_TOKEN_TRUST)"))?;
        let tls = settings.certs.as_ref().map(|folder| Tls::load(folder, name)).transpose();
        let tls = tls.map_err(|error| error.context("--certs (THROUGHLINE_SERVICE_CERTS)"))?;
        Ok(Self { source: key.map(TokenSource::new), tokens: keys.map(|keys| Tokens::new(name, keys)), tls })
    }

    /// How a service says who it is to another.
    pub fn credentials(&self, caller: ServiceName, called: ServiceName) -> Option<Credentials> {
        let (.., scopes) = GRANTS.iter().find(|(by, of, _)| (*by, *of) == (caller, called))?;
        Some(self.source.as_ref()?.for_audience(called.text(), scopes))
    }

    /// How its clients connect.
    pub fn transport(&self) -> Transport {
        Transport { tls: self.tls.clone(), ..Transport::default() }
    }
}
