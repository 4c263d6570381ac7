//! Which change came last, where one export tells of several.
//!
//! Counters say how often each change happened, not in what order. A breaker can only go from closed to open, from open
//! to half-open, and from there to open or closed; it can be closed or opened by hand. Most often one order fits.

use super::State;

/// Changes to open, half-open and closed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Moves {
    pub open: u32,
    pub half: u32,
    pub closed: u32,
}

/// More changes than this within one export are not put into order one by one.
const MOST: u32 = 4;

impl Moves {
    /// Counts changes to a state.
    pub fn add(&mut self, state: State, count: f64) {
        // A counter that claims more than this is not to be believed, and it makes no difference.
        let count = count.clamp(0.0, 1e6) as u32;
        match state {
            State::Open | State::ForcedOpen => self.open += count,
            State::HalfOpen => self.half += count,
            _ => self.closed += count,
        }
    }

    pub fn is_empty(self) -> bool {
        self == Self::default()
    }

    /// The state after them; `before` is the state in which they began.
    pub fn settle(self, before: State) -> State {
        let rests = |state: State| u32::from(state == before);
        let only = [(State::Open, self.open), (State::HalfOpen, self.half), (State::Closed, self.closed)];
        let mut some = only.iter().filter(|(_, count)| *count > 0);
        if let (Some((state, _)), None) = (some.next(), some.next()) {
            return *state;
        }
        // Full turns change nothing about where it ends.
        let turns = self.open.min(self.half).min(self.closed).saturating_sub(MOST);
        let left = Moves { open: self.open - turns, half: self.half - turns, closed: self.closed - turns };
        // Of several ends that fit, the one that lasts: half-open is left within a call or two.
        let preferred = [State::Closed, State::Open, State::HalfOpen];
        let ends = preferred.into_iter().filter(|end| left.ends_in(before, *end, false));
        let by_hand = preferred.into_iter().filter(|end| left.ends_in(before, *end, true));
        ends.chain(by_hand).next().unwrap_or(if self.open + rests(State::Open) > self.half {
            State::Open
        } else {
            State::Closed
        })
    }

    /// Whether some order of exactly these changes leads from one state to another.
    fn ends_in(self, from: State, to: State, by_hand: bool) -> bool {
        if self.open + self.half + self.closed > 4 * MOST {
            return false;
        }
        if self.is_empty() {
            return from == to;
        }
        let open = Moves { open: self.open.saturating_sub(1), ..self };
        let half = Moves { half: self.half.saturating_sub(1), ..self };
        let closed = Moves { closed: self.closed.saturating_sub(1), ..self };
        let may = |wanted: State| match (from, wanted) {
            (State::Open, State::HalfOpen) | (State::HalfOpen, State::Open | State::Closed) => true,
            (State::Open, State::Closed) => by_hand,
            (State::Open | State::HalfOpen, _) => false,
            // Closed, assumed, unknown.
            (State::Unknown, _) => true,
            (_, State::Open) => true,
            _ => by_hand && wanted != from && wanted != State::Closed,
        };
        (self.open > 0 && may(State::Open) && open.ends_in(State::Open, to, by_hand))
            || (self.half > 0 && may(State::HalfOpen) && half.ends_in(State::HalfOpen, to, by_hand))
            || (self.closed > 0 && may(State::Closed) && closed.ends_in(State::Closed, to, by_hand))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_of_several_changes_is_found_where_only_one_order_fits() {
        use State::{Assumed, Closed, HalfOpen, Open, Unknown};
        for (before, (open, half, closed), after) in [
            (Closed, (1, 0, 0), Open),
            (Open, (0, 1, 0), HalfOpen),
            (HalfOpen, (0, 0, 1), Closed),
            (Assumed, (1, 1, 0), HalfOpen),
            (Open, (1, 1, 0), Open),
            (Open, (0, 1, 1), Closed),
            (HalfOpen, (1, 0, 1), Open),
            (HalfOpen, (1, 1, 0), HalfOpen),
            (HalfOpen, (1, 1, 1), Closed),
            (Closed, (2, 1, 0), Open),
            (Closed, (2, 2, 1), Closed),
            (Closed, (1, 1, 1), Closed),
            (Open, (1, 2, 1), Closed),
            (Open, (1, 1, 1), Open),
            (Unknown, (1, 1, 0), Open),
            (Closed, (1, 0, 1), Closed),
            (Closed, (900_000, 900_000, 900_000), Closed),
            (Closed, (900_001, 900_000, 900_000), Open),
        ] {
            assert_eq!(
                Moves { open, half, closed }.settle(before),
                after,
                "{before:?} {open} {half} {closed}"
            );
        }
    }
}
