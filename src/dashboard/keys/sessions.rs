//! Who is logged in: opaque random tokens, in memory, for a time, and not too many.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use super::{Digest, digest};

/// How long a session lasts, from the login on.
pub const LIFETIME: Duration = Duration::from_secs(12 * 60 * 60);
/// Sessions at once; beyond it the oldest ends.
pub const MOST: usize = 1_000;

/// The open sessions: hash of the token, and when it ends. They end with the process too.
#[derive(Default)]
pub struct Sessions(Mutex<HashMap<Digest, Instant>>);

impl Sessions {
    /// Opens one and gives its token, 64 hexadecimal digits. The error: the system has no random numbers.
    pub fn open(&self, now: Instant) -> Result<String, getrandom::Error> {
        let mut random = [0; 32];
        getrandom::fill(&mut random)?;
        let token: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
        let mut open = self.0.lock().expect("no holder panics");
        open.retain(|_, end| *end > now);
        if open.len() >= MOST
            && let Some(oldest) = open.iter().min_by_key(|(_, end)| **end).map(|(token, _)| *token)
        {
            open.remove(&oldest);
        }
        open.insert(digest(token.as_bytes()), now + LIFETIME);
        Ok(token)
    }

    /// Whether `token` is of an open session. It is looked up by its hash, so the time tells nothing of it.
    pub fn holds(&self, token: &str, now: Instant) -> bool {
        let open = self.0.lock().expect("no holder panics");
        open.get(&digest(token.as_bytes())).is_some_and(|end| *end > now)
    }

    /// Ends the session of `token`, if there is one.
    pub fn close(&self, token: &str) {
        self.0.lock().expect("no holder panics").remove(&digest(token.as_bytes()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_ends_by_time_and_by_itself() {
        let (sessions, now) = (Sessions::default(), Instant::now());
        let (one, other) = (sessions.open(now).unwrap(), sessions.open(now).unwrap());
        assert!(one != other && one.len() == 64);
        assert!(sessions.holds(&one, now + LIFETIME - Duration::from_secs(1)));
        assert!(!sessions.holds(&one, now + LIFETIME));
        sessions.close(&one);
        assert!(!sessions.holds(&one, now) && sessions.holds(&other, now));
        assert!(!sessions.holds("", now));
    }

    #[test]
    fn the_oldest_goes_where_there_are_too_many() {
        let (sessions, begin) = (Sessions::default(), Instant::now());
        let at = |second: usize| begin + Duration::from_secs(second as u64);
        let tokens: Vec<_> = (0..=MOST).map(|second| sessions.open(at(second)).unwrap()).collect();
        let holds: Vec<_> = tokens.iter().map(|token| sessions.holds(token, at(MOST))).collect();
        assert!(!holds[0] && holds[1..].iter().all(|holds| *holds));
    }
}
