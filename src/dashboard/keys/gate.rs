//! The gate of the pages: a read key or a session lets in, a read key opens a session, and not too many wrong ones
//! are looked at.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::sessions::Sessions;
use super::{Denied, Keyring, Right};

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
}

impl Gate {
    /// A gate for the read keys of `keyring`.
    pub fn new(keyring: Arc<Keyring>) -> Self {
        Self { keyring, ..Self::default() }
    }

    /// Whether anybody is asked for a key.
    pub fn guards(&self) -> bool {
        self.keyring.guards(Right::Read)
    }

    /// Whether a visitor may read. A key that is shown decides; only without one does the session.
    pub fn admit(&self, key: Option<&[u8]>, session: Option<&str>) -> Result<(), Denied> {
        if key.is_none() && session.is_some_and(|token| self.is_open(token)) {
            return Ok(());
        }
        self.keyring.check(Right::Read, key)
    }

    /// Whether the token is of an open session.
    pub fn is_open(&self, token: &str) -> bool {
        self.sessions.holds(token, Instant::now())
    }

    /// Opens a session for the holder of a read key and gives its token.
    pub fn log_in(&self, key: &[u8]) -> Result<String, LoginError> {
        self.log_in_at(key, Instant::now())
    }

    /// Ends a session.
    pub fn log_out(&self, token: &str) {
        self.sessions.close(token);
    }

    fn log_in_at(&self, key: &[u8], now: Instant) -> Result<String, LoginError> {
        // Held until the key was looked at: attempts at the same time are counted one after the other.
        let mut wrong = self.wrong.lock().expect("no holder panics");
        wrong.retain(|at| now.saturating_duration_since(*at) < WINDOW);
        if wrong.len() >= WRONG_LOGINS {
            return Err(LoginError::TooMany(WINDOW - now.saturating_duration_since(wrong[0])));
        }
        if let Err(denied) = self.keyring.check(Right::Read, Some(key)) {
            wrong.push_back(now);
            return Err(denied.into());
        }
        Ok(self.sessions.open(now)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wrong_keys_are_looked_at_ten_times_a_minute() {
        let keyring = Keyring::new(Vec::new(), vec!["right".parse().unwrap()]).unwrap();
        let (gate, begin) = (Gate::new(Arc::new(keyring)), Instant::now());
        let log_in = |key: &str, second| {
            gate.log_in_at(key.as_bytes(), begin + Duration::from_secs(second)).map(|_| ())
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
}
