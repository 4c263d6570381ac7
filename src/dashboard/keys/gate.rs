//! The gate of the pages: a key or a session lets in and says as whom, a key opens a session, and not too many wrong
//! ones are looked at.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::sessions::Sessions;
use super::{Denied, Keyring, Right, Role, Visitor};

/// Wrong keys within [`WINDOW`] after which no login is looked at.
pub const WRONG_LOGINS: usize = 10;
/// How long a wrong key counts.
pub const WINDOW: Duration = Duration::from_secs(60);

/// Why nobody was logged in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LoginError {
    #[error(transparent)]
    Denied(#[from] Denied),
    /// Too many wrong keys lately, whoever sent them; the next is looked at after this time.
    #[error("too many wrong keys")]
    TooMany(Duration),
    /// The system has no random numbers for a token.
    #[error("no random numbers: {0}")]
    Random(#[from] getrandom::Error),
}

/// What the pages ask.
#[derive(Default)]
pub struct Gate {
    keyring: Arc<Keyring>,
    sessions: Sessions,
    /// When the wrong keys of the last [`WINDOW`] came, oldest first; [`WRONG_LOGINS`] at most.
    wrong: Mutex<VecDeque<Instant>>,
    /// What somebody may do who is asked for no key.
    open_to: Role,
}

impl Gate {
    /// A gate for the keys of `keyring`. `alone` says that nobody but who sits at this machine reaches the pages: where
    /// there are no keys at all, they are an operator.
    pub fn new(keyring: Arc<Keyring>, alone: bool) -> Self {
        let open_to = if alone && !keyring.has_page_keys() { Role::Operator } else { Role::Viewer };
        Self { keyring, open_to, ..Self::default() }
    }

    /// Whether there is a key to log in with.
    pub fn has_keys(&self) -> bool {
        self.keyring.has_page_keys()
    }

    /// Whether nobody reads without a key.
    pub fn guards(&self) -> bool {
        self.keyring.guards(Right::Read)
    }

    /// Who a visitor is. A key that is shown decides; only without one does the session.
    pub fn admit(&self, key: Option<&[u8]>, session: Option<&str>) -> Result<Visitor, Denied> {
        match key {
            Some(key) if self.has_keys() => self.keyring.role_of(key, None),
            Some(_) => Ok(Visitor::unknown(self.open_to)),
            None => match session.and_then(|token| self.session(token)) {
                Some(visitor) => Ok(visitor),
                None if self.guards() => Err(Denied::Unknown),
                None => Ok(Visitor::unknown(self.open_to)),
            },
        }
    }

    /// Whose open session a token is of.
    pub fn session(&self, token: &str) -> Option<Visitor> {
        self.sessions.of(token, Instant::now())
    }

    /// Opens a session for the holder of a key, who may say a name, and gives its token.
    pub fn log_in(&self, key: &[u8], name: Option<&str>) -> Result<String, LoginError> {
        self.log_in_at(key, name, Instant::now())
    }

    /// Ends a session.
    pub fn log_out(&self, token: &str) {
        self.sessions.close(token);
    }

    fn log_in_at(&self, key: &[u8], name: Option<&str>, now: Instant) -> Result<String, LoginError> {
        // Held until the key was looked at: attempts at the same time are counted one after the other.
        let mut wrong = self.wrong.lock().expect("no holder panics");
        wrong.retain(|at| now.saturating_duration_since(*at) < WINDOW);
        if wrong.len() >= WRONG_LOGINS {
            return Err(LoginError::TooMany(WINDOW - now.saturating_duration_since(wrong[0])));
        }
        match self.keyring.role_of(key, name) {
            Ok(visitor) => Ok(self.sessions.open(visitor, now)?),
            Err(denied) => {
                wrong.push_back(now);
                Err(denied.into())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wrong_keys_are_looked_at_ten_times_a_minute() {
        let keyring = Keyring::new(Vec::new(), vec!["right".parse().unwrap()]).unwrap();
        let (gate, begin) = (Gate::new(Arc::new(keyring), true), Instant::now());
        let log_in = |key: &str, second| {
            gate.log_in_at(key.as_bytes(), None, begin + Duration::from_secs(second)).map(|_| ())
        };
        for second in 0..10 {
            assert_eq!(log_in("wrong", second), Err(Denied::Unknown.into()));
            assert!(second == 9 || log_in("right", second).is_ok(), "a right key does not count");
        }
        assert_eq!(log_in("right", 20), Err(LoginError::TooMany(Duration::from_secs(40))));
        assert_eq!(log_in("right", 60), Ok(()), "the first wrong one is a minute old");
        assert_eq!(log_in("wrong", 60), Err(Denied::Unknown.into()));
        assert_eq!(log_in("right", 60), Err(LoginError::TooMany(Duration::from_secs(1))));
    }
    #[test]
    fn who_shows_nothing_is_an_operator_only_alone_and_without_any_key() {
        let key = |text: &str| vec![text.parse().unwrap()];
        let none = Vec::new;
        for (read, operator, alone, shown, expected) in [
            (none(), none(), true, None, Ok(Role::Operator)),
            (none(), none(), true, Some("any"), Ok(Role::Operator)),
            (none(), none(), false, None, Ok(Role::Viewer)),
            (none(), key("op"), true, None, Ok(Role::Viewer)),
            (none(), key("op"), true, Some("op"), Ok(Role::Operator)),
            (none(), key("op"), true, Some("oops"), Err(Denied::Unknown)),
            (key("read"), none(), true, None, Err(Denied::Unknown)),
            (key("read"), none(), true, Some("read"), Ok(Role::Viewer)),
            (key("read"), key("op"), false, Some("op"), Ok(Role::Operator)),
        ] {
            let keyring = Keyring::new(Vec::new(), read).unwrap().with_roles(operator, Vec::new()).unwrap();
            let gate = Gate::new(Arc::new(keyring), alone);
            let role = gate.admit(shown.map(str::as_bytes), None).map(|visitor| visitor.role);
            assert_eq!(role, expected, "{alone} {shown:?}");
            if expected.is_ok() && shown == Some("op") {
                let token = gate.log_in(b"op", Some("alice")).unwrap();
                let visitor = gate.admit(None, Some(&token)).unwrap();
                assert!(visitor.role == Role::Operator && visitor.session.is_some(), "{visitor:?}");
            }
        }
    }
}
