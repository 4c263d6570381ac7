//! Keys that sign tokens, and those that check them: Ed25519, so that who checks cannot sign.
//!
//! `jsonwebtoken` leaves the arithmetic to a provider. Ours is ring, which is in the tree for TLS already (decision 36).

use std::fmt;
use std::sync::Once;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::crypto::{CryptoProvider, JwtSigner, JwtVerifier, KeyUtils};
use jsonwebtoken::errors::{Error, ErrorKind};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey};
use ring::rand::SystemRandom;
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};

/// Names of issuers and keys: they are parts of one text.
const LONGEST: usize = 64;

/// A key that signs tokens in the name of an issuer. Neither logs nor errors show it.
#[derive(Clone)]
pub struct SigningKey {
    pub(super) issuer: String,
    pub(super) id: String,
    pkcs8: Vec<u8>,
    public: Vec<u8>,
}

/// What checks the tokens of a [`SigningKey`]; no secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicKey {
    pub(super) issuer: String,
    pub(super) id: String,
    bytes: Vec<u8>,
}

impl SigningKey {
    /// A new key of an issuer, which is a service's name; its ID (`kid`) is made.
    ///
    /// # Errors
    /// The name is none, or the system gives no random numbers.
    pub fn generate(issuer: &str) -> anyhow::Result<Self> {
        let made = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new());
        let made = made.map_err(|_| anyhow::anyhow!("the system gives no random numbers"))?;
        Self::new(issuer, &uuid::Uuid::now_v7().simple().to_string(), made.as_ref())
    }

    fn new(issuer: &str, id: &str, pkcs8: &[u8]) -> anyhow::Result<Self> {
        named(issuer)?;
        named(id)?;
        let pair = Ed25519KeyPair::from_pkcs8_maybe_unchecked(pkcs8);
        let pair = pair.map_err(|error| anyhow::anyhow!("the key is no Ed25519 key in PKCS #8: {error}"))?;
        let (issuer, id) = (issuer.to_owned(), id.to_owned());
        Ok(Self { issuer, id, pkcs8: pkcs8.to_vec(), public: pair.public_key().as_ref().to_vec() })
    }

    /// `ISSUER.KID.KEY`, as [`Self::to_secret_text`] writes it.
    ///
    /// # Errors
    /// It is not; the text says which part, and not what it holds.
    pub fn read(text: &str) -> anyhow::Result<Self> {
        let (issuer, id, key) = parts(text)?;
        Self::new(issuer, id, &key)
    }

    /// For a variable or a file of one service. It holds the secret.
    pub fn to_secret_text(&self) -> String {
        format!("{}.{}.{}", self.issuer, self.id, URL_SAFE_NO_PAD.encode(&self.pkcs8))
    }

    /// What others check its tokens with.
    pub fn public(&self) -> PublicKey {
        PublicKey { issuer: self.issuer.clone(), id: self.id.clone(), bytes: self.public.clone() }
    }

    pub(super) fn encoding(&self) -> EncodingKey {
        provide();
        EncodingKey::from_ed_der(&self.pkcs8)
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningKey")
            .field("issuer", &self.issuer)
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

impl PublicKey {
    /// `ISSUER.KID.KEY`, as it is shown.
    ///
    /// # Errors
    /// It is not; the text says which part.
    pub fn read(text: &str) -> anyhow::Result<Self> {
        let (issuer, id, bytes) = parts(text)?;
        named(issuer)?;
        named(id)?;
        anyhow::ensure!(bytes.len() == 32, "an Ed25519 key has 32 bytes, and this one {}", bytes.len());
        Ok(Self { issuer: issuer.to_owned(), id: id.to_owned(), bytes })
    }

    pub(super) fn decoding(&self) -> DecodingKey {
        provide();
        DecodingKey::from_ed_der(&self.bytes)
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.issuer, self.id, URL_SAFE_NO_PAD.encode(&self.bytes))
    }
}

fn parts(text: &str) -> anyhow::Result<(&str, &str, Vec<u8>)> {
    let mut parts = text.trim().split('.');
    let (Some(issuer), Some(id), Some(key), None) = (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        anyhow::bail!("a key is written as ISSUER.KID.KEY");
    };
    let key = URL_SAFE_NO_PAD.decode(key);
    let key = key.map_err(|_| anyhow::anyhow!("the third part of a key is base64url without padding"))?;
    Ok((issuer, id, key))
}

fn named(name: &str) -> anyhow::Result<()> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
    let fits = (1..=LONGEST).contains(&name.len()) && name.bytes().all(plain);
    anyhow::ensure!(fits, "an issuer and a key's ID have 1 to {LONGEST} letters, digits, - and _");
    Ok(())
}

struct Ring(Ed25519KeyPair);
struct RingVerifier(Vec<u8>);

/// Installs ours, unless the process has another.
fn provide() {
    static ONCE: Once = Once::new();
    static PROVIDER: CryptoProvider = CryptoProvider {
        signer_factory: |algorithm, key| {
            only_ours(*algorithm)?;
            let pair = Ed25519KeyPair::from_pkcs8_maybe_unchecked(key.as_bytes());
            Ok(Box::new(Ring(pair.map_err(|_| Error::from(ErrorKind::InvalidEddsaKey))?)))
        },
        verifier_factory: |algorithm, key| {
            only_ours(*algorithm)?;
            Ok(Box::new(RingVerifier(key.try_get_as_bytes()?.to_vec())))
        },
        key_utils: KeyUtils::new_unimplemented(),
    };
    ONCE.call_once(|| {
        let _ = PROVIDER.install_default();
    });
}

fn only_ours(algorithm: Algorithm) -> Result<(), Error> {
    if algorithm == Algorithm::EdDSA { Ok(()) } else { Err(ErrorKind::InvalidAlgorithm.into()) }
}

impl signature::Signer<Vec<u8>> for Ring {
    fn try_sign(&self, message: &[u8]) -> Result<Vec<u8>, signature::Error> {
        Ok(self.0.sign(message).as_ref().to_vec())
    }
}

impl JwtSigner for Ring {
    fn algorithm(&self) -> Algorithm {
        Algorithm::EdDSA
    }
}

impl signature::Verifier<Vec<u8>> for RingVerifier {
    fn verify(&self, message: &[u8], signature: &Vec<u8>) -> Result<(), signature::Error> {
        let key = UnparsedPublicKey::new(&ED25519, &self.0);
        key.verify(message, signature).map_err(|_| signature::Error::new())
    }
}

impl JwtVerifier for RingVerifier {
    fn algorithm(&self) -> Algorithm {
        Algorithm::EdDSA
    }
}
