//! Tokens between services: a JWT says who calls (`sub`), whom (`aud`), in whose name (`iss`), what for (`scope`), and
//! until when (`exp`).
//!
//! ```
//! # fn main() -> anyhow::Result<()> {
//! use throughline::comms::security::{SigningKey, TokenSource, Tokens};
//!
//! let key = SigningKey::generate("orders")?;
//! let tokens = Tokens::new("payments", [key.public()]);
//! let source = TokenSource::new(key).for_audience("payments", &["payments:write"]);
//! let caller = tokens.check(&source.token()?).expect("it holds");
//! assert_eq!(caller.subject, "orders");
//! assert!(caller.scopes.contains("payments:write"));
//! # Ok(()) }
//! ```
//!
//! A key is changed without a gap: the new one is added where tokens are checked ([`Tokens::add`]), then signs
//! ([`TokenSource::rotate`]), and the old one is taken away ([`Tokens::remove`]) once its last token is over. Both are told
//! apart by `kid`, and a key signs for its own issuer alone.

use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, header};
use futures_util::future::BoxFuture;
use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Algorithm, Header, Validation, decode, decode_header, encode};
use serde::{Deserialize, Serialize};

use super::keys::{PublicKey, SigningKey};
use super::principal::{Authenticate, Denied, Fault, Principal};

/// How long a token holds unless told otherwise: no longer than a key that was taken away may do harm.
const LIFETIME: Duration = Duration::from_secs(300);
/// How far the clocks of two services may be apart.
const LEEWAY: Duration = Duration::from_secs(30);
/// Longer ones are not looked at, in bytes.
const LONGEST: usize = 4096;

#[derive(Serialize, Deserialize)]
struct Claims {
    iss: String,
    sub: String,
    aud: String,
    iat: u64,
    exp: u64,
    /// With spaces between, as RFC 8693 has it.
    #[serde(default)]
    scope: String,
}

/// Makes tokens in a service's name; clones share the key.
#[derive(Clone)]
pub struct TokenSource {
    key: Arc<RwLock<Arc<SigningKey>>>,
    lifetime: Duration,
}

impl TokenSource {
    /// Signs in the name of the key's issuer.
    pub fn new(key: SigningKey) -> Self {
        Self { key: Arc::new(RwLock::new(Arc::new(key))), lifetime: LIFETIME }
    }

    /// Tokens hold for so long; five minutes unless said.
    pub fn lifetime(self, lifetime: Duration) -> Self {
        Self { lifetime, ..self }
    }

    /// Another key signs from here on.
    pub fn rotate(&self, key: SigningKey) {
        *self.key.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(key);
    }

    /// For calls to one service.
    pub fn for_audience(&self, audience: &str, scopes: &[&str]) -> Credentials {
        let inner = Inner {
            source: self.clone(),
            audience: audience.to_owned(),
            scope: scopes.join(" "),
            kept: Mutex::new(None),
        };
        Credentials(Arc::new(inner))
    }

    fn sign(&self, key: &SigningKey, audience: &str, scope: &str) -> anyhow::Result<(String, u64)> {
        let now = now();
        let exp = now + self.lifetime.as_secs();
        let claims = Claims {
            iss: key.issuer.clone(),
            sub: key.issuer.clone(),
            aud: audience.to_owned(),
            iat: now,
            exp,
            scope: scope.to_owned(),
        };
        let header = Header { kid: Some(key.id.clone()), ..Header::new(Algorithm::EdDSA) };
        let token = encode(&header, &claims, &key.encoding());
        Ok((token.map_err(|error| anyhow::anyhow!("a token cannot be signed: {error}"))?, exp))
    }
}

impl fmt::Debug for TokenSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenSource").field("lifetime", &self.lifetime).finish_non_exhaustive()
    }
}

/// What a client says of itself to one service; cheap to clone.
#[derive(Clone)]
pub struct Credentials(Arc<Inner>);

struct Inner {
    source: TokenSource,
    audience: String,
    scope: String,
    kept: Mutex<Option<Kept>>,
}

/// A token that holds for some time yet.
struct Kept {
    key: String,
    header: HeaderValue,
    renew_at: u64,
}

impl Credentials {
    /// A token of its own.
    ///
    /// # Errors
    /// It cannot be signed.
    pub fn token(&self) -> anyhow::Result<String> {
        let key = Arc::clone(&self.0.source.key.read().unwrap_or_else(PoisonError::into_inner));
        Ok(self.0.source.sign(&key, &self.0.audience, &self.0.scope)?.0)
    }

    /// The value of `Authorization`, kept until a fifth of its time is left.
    ///
    /// # Errors
    /// As [`Self::token`].
    pub fn header(&self) -> anyhow::Result<HeaderValue> {
        let source = &self.0.source;
        let key = Arc::clone(&source.key.read().unwrap_or_else(PoisonError::into_inner));
        let mut kept = self.0.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let now = now();
        if let Some(kept) = kept.as_ref().filter(|kept| kept.key == key.id && now < kept.renew_at) {
            return Ok(kept.header.clone());
        }
        let (token, exp) = source.sign(&key, &self.0.audience, &self.0.scope)?;
        let mut header = HeaderValue::try_from(format!("Bearer {token}"))?;
        // Neither logs nor HTTP/2's table of headers keep it.
        header.set_sensitive(true);
        let renew_at = exp.saturating_sub(source.lifetime.as_secs() / 5);
        *kept = Some(Kept { key: key.id.clone(), header: header.clone(), renew_at });
        Ok(header)
    }

    /// Puts it into a request, in place of what is there.
    ///
    /// # Errors
    /// As [`Self::token`].
    pub fn put(&self, headers: &mut HeaderMap) -> anyhow::Result<()> {
        headers.insert(header::AUTHORIZATION, self.header()?);
        Ok(())
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Inner { audience, scope, .. } = &*self.0;
        f.debug_struct("Credentials")
            .field("audience", audience)
            .field("scope", scope)
            .finish_non_exhaustive()
    }
}

/// Checks tokens that are meant for one service; cheap to clone, and clones share the keys.
#[derive(Clone, Debug)]
pub struct Tokens {
    keys: Arc<RwLock<HashMap<String, PublicKey>>>,
    audience: Arc<str>,
    leeway: Duration,
}

impl Tokens {
    /// Those for the service `audience`, by the keys of those who may call it.
    pub fn new(audience: &str, keys: impl IntoIterator<Item = PublicKey>) -> Self {
        let keys = keys.into_iter().map(|key| (key.id.clone(), key)).collect();
        Self { keys: Arc::new(RwLock::new(keys)), audience: audience.into(), leeway: LEEWAY }
    }

    /// How far the clocks may be apart; half a minute unless said.
    pub fn leeway(self, leeway: Duration) -> Self {
        Self { leeway, ..self }
    }

    /// A further key, beside those that are there.
    pub fn add(&self, key: PublicKey) {
        self.keys.write().unwrap_or_else(PoisonError::into_inner).insert(key.id.clone(), key);
    }

    /// Takes a key away by its ID; its tokens hold no longer.
    pub fn remove(&self, id: &str) {
        self.keys.write().unwrap_or_else(PoisonError::into_inner).remove(id);
    }

    /// Who a token speaks for.
    ///
    /// # Errors
    /// It does not hold. The text says why, without the token and what is in it.
    pub fn check(&self, token: &str) -> Result<Principal, Denied> {
        let malformed = |why: &str| refused(Fault::Malformed, why);
        if token.len() > LONGEST {
            return Err(malformed("it is too long"));
        }
        let header = decode_header(token).map_err(|_| malformed("it is no JWT"))?;
        let id = header.kid.ok_or_else(|| malformed("it names no key (kid)"))?;
        let keys = self.keys.read().unwrap_or_else(PoisonError::into_inner);
        let key = keys.get(&id).cloned();
        drop(keys);
        let key = key.ok_or_else(|| refused(Fault::Foreign, "its key is unknown here"))?;
        // The one algorithm, whatever the header says.
        let mut wanted = Validation::new(Algorithm::EdDSA);
        wanted.leeway = self.leeway.as_secs();
        wanted.validate_nbf = true;
        wanted.set_audience(&[&self.audience]);
        wanted.set_issuer(&[&key.issuer]);
        wanted.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
        let claims = decode::<Claims>(token, &key.decoding(), &wanted);
        let claims = claims.map_err(|error| self.told(error.kind()))?.claims;
        let scopes: BTreeSet<String> = claims.scope.split_whitespace().map(str::to_owned).collect();
        Ok(Principal { subject: claims.sub, scopes })
    }

    fn told(&self, why: &ErrorKind) -> Denied {
        match why {
            ErrorKind::ExpiredSignature => refused(Fault::Expired, "it has expired"),
            ErrorKind::ImmatureSignature => refused(Fault::Early, "it does not hold yet"),
            ErrorKind::InvalidAudience => {
                refused(Fault::Foreign, format!("it is for another service than {}", self.audience))
            }
            ErrorKind::InvalidIssuer => refused(Fault::Foreign, "it is signed by a key of another issuer"),
            ErrorKind::InvalidSignature => refused(Fault::Forged, "its signature is wrong"),
            ErrorKind::InvalidAlgorithm => refused(Fault::Forged, "its algorithm is not EdDSA"),
            ErrorKind::MissingRequiredClaim(claim) => {
                refused(Fault::Malformed, format!("it lacks the claim `{claim}`"))
            }
            _ => refused(Fault::Malformed, "it cannot be read"),
        }
    }

    /// Who a request's token speaks for; none where it has none.
    ///
    /// # Errors
    /// It does not hold.
    pub fn of(&self, headers: &HeaderMap) -> Result<Option<Principal>, Denied> {
        let Some(value) = headers.get(header::AUTHORIZATION) else { return Ok(None) };
        let text = value.to_str().unwrap_or_default();
        let bearer = text.split_once(' ').filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
        let Some((_, token)) = bearer else {
            return Err(refused(Fault::Malformed, "the header Authorization is no Bearer TOKEN"));
        };
        self.check(token.trim()).map(Some)
    }
}

impl Authenticate for Tokens {
    fn authenticate<'a>(&'a self, request: &'a Parts) -> BoxFuture<'a, Result<Option<Principal>, Denied>> {
        Box::pin(std::future::ready(self.of(&request.headers)))
    }
}

fn refused(fault: Fault, why: impl Into<String>) -> Denied {
    Denied::Invalid { fault, why: why.into() }
}

/// In seconds since 1970.
fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs())
}
