//! Who may do what: the keys of the settings, and the sessions that a browser gets for one.
//!
//! * [`Key`], [`Keyring`]: keys, held as hashes, and what each allows. The receiver asks it directly.
//! * [`roles`]: viewer, operator, admin; [`gate`]: what the pages ask: a key or a session, logins and their limit.
//! * [`sessions`]: who is logged in.
//!
//! What must not live here: HTTP; both transports and the pages bring what was shown as bytes.

pub mod gate;
pub mod roles;
pub mod sessions;

use std::fmt;
use std::str::FromStr;

use sha2::{Digest as _, Sha256};
use subtle::{Choice, ConstantTimeEq as _};

pub use roles::{Role, Visitor};

/// SHA-256 of a secret. Keys and tokens are long and random, so no slow hash is needed to hide them.
type Digest = [u8; 32];

fn digest(secret: &[u8]) -> Digest {
    Sha256::digest(secret).into()
}

/// What a key allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Right {
    /// To send telemetry.
    Send,
    /// To read the pages and everything beside them.
    Read,
}

/// A key of the settings, held as its hash: the text is gone once it was read.
#[derive(Clone, PartialEq, Eq)]
pub struct Key(Digest);

impl Key {
    fn of(text: &[u8]) -> Self {
        Self(digest(text.trim_ascii()))
    }

    /// What tells it from others in an audit: the begin of its hash, which gives nothing of the key away.
    fn mark(&self) -> String {
        self.0[..4].iter().fold("key ".to_owned(), |mark, byte| format!("{mark}{byte:02x}"))
    }

    /// In a time that does not depend on where the two differ.
    fn same(&self, other: &Self) -> Choice {
        self.0.as_slice().ct_eq(other.0.as_slice())
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(•••)")
    }
}

impl FromStr for Key {
    type Err = &'static str;

    /// Space around a key is not part of it. An empty one is refused: everybody could show it.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.trim_ascii().is_empty() {
            return Err("a key is not empty; leave the setting out to ask for none");
        }
        Ok(Self::of(text.as_bytes()))
    }
}

/// Why somebody is turned away.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// No key was shown, or one that is in no setting.
    #[error("no valid key: send it as `Authorization: Bearer KEY`")]
    Unknown,
    /// A read key where telemetry is sent.
    #[error("this key is for reading; sending takes one of --ingest-key")]
    OnlyReads,
    /// An ingest key where something is read.
    #[error("this key is for sending; reading takes one of --read-key")]
    OnlySends,
}

/// The same key was given for two rights.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0} and {1} hold the same key: who has the one could do what the other is for; give each setting its own"
)]
pub struct SameKey(&'static str, &'static str);

/// The keys of the settings. Several for one right allow a change of keys; none lets everybody in.
#[derive(Debug, Clone, Default)]
pub struct Keyring {
    ingest: Vec<Key>,
    read: Vec<Key>,
    operator: Vec<Key>,
    admin: Vec<Key>,
}

impl Keyring {
    /// The keys for sending and those for reading.
    pub fn new(ingest: Vec<Key>, read: Vec<Key>) -> Result<Self, SameKey> {
        Self { ingest, read, ..Self::default() }.apart()
    }

    /// These, with keys of operators and admins.
    pub fn with_roles(self, operator: Vec<Key>, admin: Vec<Key>) -> Result<Self, SameKey> {
        Self { operator, admin, ..self }.apart()
    }

    /// Itself, where no two settings hold the same key.
    fn apart(self) -> Result<Self, SameKey> {
        let all = [
            ("--ingest-key", &self.ingest),
            ("--read-key", &self.read),
            ("--operator-key", &self.operator),
            ("--admin-key", &self.admin),
        ];
        for (at, (one, keys)) in all.iter().enumerate() {
            for (other, others) in &all[at + 1..] {
                if keys.iter().any(|key| others.contains(key)) {
                    return Err(SameKey(one, other));
                }
            }
        }
        Ok(self)
    }

    /// Whether some key opens more than what is open to all.
    pub fn has_page_keys(&self) -> bool {
        self.guards(Right::Read) || self.has_roles()
    }

    /// Whether there are keys of operators or admins.
    pub fn has_roles(&self) -> bool {
        !self.operator.is_empty() || !self.admin.is_empty()
    }

    /// The role that a key opens, and who its holder is called; `name` is what they say of themselves.
    ///
    /// # Errors
    /// It opens none.
    pub fn role_of(&self, shown: &[u8], name: Option<&str>) -> Result<Visitor, Denied> {
        let shown = Key::of(shown);
        // All lists are gone through to their ends, whatever is found.
        let found =
            [(Role::Admin, &self.admin), (Role::Operator, &self.operator), (Role::Viewer, &self.read)]
                .map(|(role, keys)| (role, bool::from(holds(keys, &shown))));
        let sends = bool::from(holds(&self.ingest, &shown));
        match found.into_iter().find(|(_, holds)| *holds) {
            Some((role, _)) => Ok(Visitor::keyed(role, &shown, name)),
            None if sends => Err(Denied::OnlySends),
            None => Err(Denied::Unknown),
        }
    }

    /// Whether a key is needed for `right`.
    pub fn guards(&self, right: Right) -> bool {
        !self.keys(right).is_empty()
    }

    /// Whether the holder of `shown` has `right`.
    pub fn check(&self, right: Right, shown: Option<&[u8]>) -> Result<(), Denied> {
        if !self.guards(right) {
            return Ok(());
        }
        let shown = Key::of(shown.ok_or(Denied::Unknown)?);
        let reads = [&self.read, &self.operator, &self.admin];
        // All lists are gone through to their ends, whatever is found.
        let reads = reads.into_iter().fold(Choice::from(0), |found, keys| found | holds(keys, &shown));
        let (mine, others, wrong) = match right {
            Right::Send => (holds(&self.ingest, &shown), reads, Denied::OnlyReads),
            Right::Read => (reads, holds(&self.ingest, &shown), Denied::OnlySends),
        };
        if mine.into() {
            Ok(())
        } else if others.into() {
            Err(wrong)
        } else {
            Err(Denied::Unknown)
        }
    }

    fn keys(&self, right: Right) -> &[Key] {
        match right {
            Right::Send => &self.ingest,
            Right::Read => &self.read,
        }
    }
}

fn holds(keys: &[Key], shown: &Key) -> Choice {
    keys.iter().fold(Choice::from(0), |found, key| found | key.same(shown))
}

/// The key in the value of an `authorization` header, where its scheme is Bearer
/// (<https://www.rfc-editor.org/rfc/rfc6750#section-2.1>; a scheme is the same in capitals).
pub fn bearer(authorization: &[u8]) -> Option<&[u8]> {
    let (scheme, key) = authorization.split_at_checked("Bearer ".len())?;
    scheme.eq_ignore_ascii_case(b"Bearer ").then_some(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(texts: &[&str]) -> Vec<Key> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn a_key_opens_its_own_door_only() {
        let both = Keyring::new(keys(&["in-1", "in-2"]), keys(&["read-1", "read-2"])).unwrap();
        for (right, shown, expected) in [
            (Right::Send, Some("in-1"), Ok(())),
            (Right::Send, Some("in-2"), Ok(())),
            (Right::Send, Some("read-2"), Err(Denied::OnlyReads)),
            (Right::Send, Some("in-"), Err(Denied::Unknown)),
            (Right::Send, Some(""), Err(Denied::Unknown)),
            (Right::Send, None, Err(Denied::Unknown)),
            (Right::Read, Some("read-1"), Ok(())),
            (Right::Read, Some("in-1"), Err(Denied::OnlySends)),
            (Right::Read, Some("READ-1"), Err(Denied::Unknown)),
        ] {
            assert_eq!(both.check(right, shown.map(str::as_bytes)), expected, "{right:?} {shown:?}");
        }
        let reading = Keyring::new(Vec::new(), keys(&["read-1"])).unwrap();
        assert_eq!(
            reading.check(Right::Send, Some(b"read-1")),
            Ok(()),
            "where no key is asked for, none is wrong"
        );
    }

    #[test]
    fn a_key_is_not_empty_not_for_both_and_never_printed() {
        for empty in ["", " ", "\t\r\n"] {
            assert!(empty.parse::<Key>().is_err(), "{empty:?}");
        }
        assert_eq!(keys(&[" spaced\r"]), keys(&["spaced"]));
        let same = Keyring::new(keys(&["a", "b"]), keys(&["c", "a"])).unwrap_err();
        assert!(same.to_string().starts_with("--ingest-key and --read-key hold the same key"), "{same}");
        let ring = Keyring::new(keys(&["a"]), keys(&["b"])).unwrap();
        let same = ring.with_roles(keys(&["c"]), keys(&["b"])).unwrap_err();
        assert!(same.to_string().starts_with("--read-key and --admin-key hold the same key"), "{same}");
        assert!(!format!("{:?}", keys(&["spaced"])).contains("spaced"));
    }

    #[test]
    fn a_key_opens_its_role_and_reading_with_it() {
        let ring = Keyring::new(keys(&["in"]), keys(&["read"])).unwrap();
        let ring = ring.with_roles(keys(&["op"]), keys(&["ad"])).unwrap();
        for (shown, role) in [
            ("read", Ok(Role::Viewer)),
            ("op", Ok(Role::Operator)),
            ("ad", Ok(Role::Admin)),
            ("in", Err(Denied::OnlySends)),
            ("", Err(Denied::Unknown)),
            ("oper", Err(Denied::Unknown)),
        ] {
            let found = ring.role_of(shown.as_bytes(), Some("alice"));
            assert_eq!(found.as_ref().map(|visitor| visitor.role).map_err(|denied| *denied), role, "{shown}");
            if let Ok(visitor) = found {
                assert!(
                    visitor.who.starts_with("alice, key ") && !visitor.who.contains(shown),
                    "{visitor:?}"
                );
                assert_eq!(ring.check(Right::Read, Some(shown.as_bytes())), Ok(()));
                assert_eq!(ring.check(Right::Send, Some(shown.as_bytes())), Err(Denied::OnlyReads));
            }
        }
        assert!(Role::Viewer < Role::Operator && Role::Operator < Role::Admin);
    }

    #[test]
    fn the_scheme_is_bearer_in_any_capitals() {
        for (value, key) in [
            ("Bearer k", Some("k")),
            ("bearer k", Some("k")),
            ("Basic k", None),
            ("Bearer", None),
            ("k", None),
            ("", None),
        ] {
            assert_eq!(bearer(value.as_bytes()), key.map(str::as_bytes), "{value:?}");
        }
    }
}
