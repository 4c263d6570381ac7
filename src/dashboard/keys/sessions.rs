//! Who is logged in: opaque random tokens, in memory, for a time, and not too many.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use super::{Digest, Visitor, digest};

/// How long a session lasts, from the login on.
pub const LIFETIME: Duration = Duration::from_secs(12 * 60 * 60);
/// Sessions at once; beyond it the oldest ends.
pub const MOST: usize = 1_000;

/// A session: when it ends, and whose it is.
type Open = (Instant, Visitor);

/// The open sessions by the hash of their token. They end with the process too.
#[derive(Default)]
pub struct Sessions(Mutex<HashMap<Digest, Open>>);

impl Sessions {
    /// Opens one for a visitor and gives its token, 64 hexadecimal digits. The error: the system has no random numbers.
    pub fn open(&self, visitor: Visitor, now: Instant) -> Result<String, getrandom::Error> {
        let mut random = [0; 32];
        getrandom::fill(&mut random)?;
        let token: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
        let mut open = self.0.lock().expect("no holder panics");
        open.retain(|_, (end, _)| *end > now);
        if open.len() >= MOST
            && let Some(oldest) = open.iter().min_by_key(|(_, (end, _))| *end).map(|(token, _)| *token)
        {
            open.remove(&oldest);
        }
        let hash = digest(token.as_bytes());
        let mark: String = hash[..4].iter().map(|byte| format!("{byte:02x}")).collect();
        open.insert(hash, (now + LIFETIME, Visitor { session: Some(mark.into()), ..visitor }));
        Ok(token)
    }

    /// Whose open session `token` is of. It is looked up by its hash, so the time tells nothing of it.
    pub fn of(&self, token: &str, now: Instant) -> Option<Visitor> {
        let open = self.0.lock().expect("no holder panics");
        open.get(&digest(token.as_bytes())).filter(|(end, _)| *end > now).map(|(_, visitor)| visitor.clone())
    }

    /// Ends the session of `token`, if there is one.
    pub fn close(&self, token: &str) {
        self.0.lock().expect("no holder panics").remove(&digest(token.as_bytes()));
    }
}

#[cfg(test)]
mod tests {
    use super::super::Role;
    use super::*;

    fn somebody() -> Visitor {
        Visitor::unknown(Role::Operator)
    }

    #[test]
    fn a_session_ends_by_time_and_by_itself() {
        let (sessions, now) = (Sessions::default(), Instant::now());
        let (one, other) = (sessions.open(somebody(), now).unwrap(), sessions.open(somebody(), now).unwrap());
        assert!(one != other && one.len() == 64);
        assert!(sessions.of(&one, now + LIFETIME - Duration::from_secs(1)).is_some());
        assert!(sessions.of(&one, now + LIFETIME).is_none());
        let visitor = sessions.of(&one, now).expect("it is open");
        let mark = visitor.session.expect("a session has a mark");
        assert!(visitor.role == Role::Operator && !one.contains(&*mark), "{mark}");
        sessions.close(&one);
        assert!(sessions.of(&one, now).is_none() && sessions.of(&other, now).is_some());
        assert!(sessions.of("", now).is_none());
    }

    #[test]
    fn the_oldest_goes_where_there_are_too_many() {
        let (sessions, begin) = (Sessions::default(), Instant::now());
        let at = |second: usize| begin + Duration::from_secs(second as u64);
        let tokens: Vec<_> =
            (0..=MOST).map(|second| sessions.open(somebody(), at(second)).unwrap()).collect();
        let holds: Vec<_> = tokens.iter().map(|token| sessions.of(token, at(MOST)).is_some()).collect();
        assert!(!holds[0] && holds[1..].iter().all(|holds| *holds));
    }
}
