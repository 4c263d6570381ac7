//! Instances and versions of a service: which are there, and when a version came.

use std::collections::BTreeSet;

use super::{last_seen, total};
use crate::dashboard::model::Nanos;
use crate::dashboard::store::{InstanceRates, Rates};

/// A version that was seen again after so many steps in which only others were, came again: a rollback.
const AWAY: usize = 5;

/// An instance of a service.
#[derive(Debug, Clone)]
pub struct Instance {
    /// May be empty.
    pub version: String,
    /// May be empty, or [`OTHERS`](crate::dashboard::store::OTHERS).
    pub name: String,
    pub total: Rates,
    /// Begin of the first step that it was seen in, and end of the last.
    pub first_seen: Nanos,
    pub last_seen: Nanos,
    /// Whether it was seen in the first step already, so that it may have been there before.
    pub from_start: bool,
}

/// A version that came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// Begin of the step in which it was seen first.
    pub at: Nanos,
    pub version: String,
    /// Whether it had been there before others.
    pub again: bool,
}

/// Those that came last first.
pub(super) fn instances(rates: Vec<InstanceRates>, to: Nanos) -> Vec<Instance> {
    let one = |rates: InstanceRates| {
        let first = rates.steps.iter().position(|(_, step)| step.count > 0).unwrap_or(0);
        Instance {
            first_seen: rates.steps.get(first).map_or(0, |(begin, _)| *begin),
            last_seen: last_seen(&rates.steps, to),
            from_start: first == 0,
            total: total(&rates.steps),
            version: rates.version,
            name: rates.instance,
        }
    };
    let mut all: Vec<Instance> = rates.into_iter().map(one).collect();
    all.sort_by(|a, b| {
        let order = b.first_seen.cmp(&a.first_seen);
        order.then_with(|| b.version.cmp(&a.version)).then_with(|| a.name.cmp(&b.name))
    });
    all
}

/// The versions of each step.
fn by_step(rates: &[InstanceRates]) -> Vec<(Nanos, BTreeSet<&str>)> {
    let Some(first) = rates.first() else { return Vec::new() };
    let mut steps: Vec<(Nanos, BTreeSet<&str>)> =
        first.steps.iter().map(|(begin, _)| (*begin, BTreeSet::new())).collect();
    for one in rates.iter().filter(|one| !one.version.is_empty()) {
        for ((_, versions), (_, rates)) in steps.iter_mut().zip(&one.steps) {
            if rates.count > 0 {
                versions.insert(&one.version);
            }
        }
    }
    steps
}

/// When versions came. Those of the first step with any were there before, as far as is known.
pub(super) fn changes(rates: &[InstanceRates]) -> Vec<Change> {
    let steps = by_step(rates);
    let mut seen: Vec<(&str, usize)> = Vec::new();
    let mut changes = Vec::new();
    for (number, (at, versions)) in steps.iter().filter(|(_, versions)| !versions.is_empty()).enumerate() {
        for version in versions {
            match seen.iter_mut().find(|(known, _)| known == version) {
                Some((_, last)) => {
                    if number - *last > AWAY {
                        changes.push(Change { at: *at, version: (*version).to_owned(), again: true });
                    }
                    *last = number;
                }
                None => {
                    if number > 0 {
                        changes.push(Change { at: *at, version: (*version).to_owned(), again: false });
                    }
                    seen.push((version, number));
                }
            }
        }
    }
    changes
}

/// The versions of the last step with any; those that came last at the end.
pub(super) fn current(rates: &[InstanceRates]) -> Vec<String> {
    let steps = by_step(rates);
    let Some((_, last)) = steps.iter().rev().find(|(_, versions)| !versions.is_empty()) else {
        return Vec::new();
    };
    let came = |version: &&str| steps.iter().position(|(_, versions)| versions.contains(version));
    let mut current: Vec<&str> = last.iter().copied().collect();
    current.sort_by_key(came);
    current.into_iter().map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An instance by what it counted in each step.
    fn instance(version: &str, name: &str, counts: &[u64]) -> InstanceRates {
        let step = |(number, count): (u64, &u64)| (number * 60, Rates { count: *count, ..Rates::default() });
        InstanceRates {
            service: "payments".into(),
            version: version.into(),
            instance: name.into(),
            steps: (0..).zip(counts).map(step).collect(),
        }
    }

    #[test]
    fn a_version_is_a_change_where_another_was_there_before() {
        let rates = [
            instance("1.0", "a", &[0, 5, 5, 5, 0, 0]),
            instance("1.1", "b", &[0, 0, 0, 4, 4, 4]),
            instance("", "c", &[9, 9, 9, 9, 9, 9]),
        ];
        assert_eq!(changes(&rates), [Change { at: 180, version: "1.1".into(), again: false }]);
        assert_eq!(current(&rates), ["1.1"]);
        let both = [instance("2", "a", &[0, 1]), instance("1", "b", &[1, 1])];
        assert_eq!(current(&both), ["1", "2"]);
        assert!(changes(&[]).is_empty() && current(&[]).is_empty());
    }

    #[test]
    fn a_rollback_is_a_change_and_a_quiet_instance_is_none() {
        let rolled =
            [instance("1", "a", &[3, 0, 0, 0, 0, 0, 0, 3]), instance("2", "b", &[0, 3, 3, 3, 3, 3, 3, 0])];
        let found: Vec<_> =
            changes(&rolled).into_iter().map(|one| (one.at, one.version, one.again)).collect();
        assert_eq!(found, [(60, "2".into(), false), (420, "1".into(), true)]);
        let quiet =
            [instance("1", "a", &[1, 0, 1, 0, 0, 1, 0, 0]), instance("2", "b", &[1, 1, 1, 1, 1, 1, 1, 1])];
        assert!(changes(&quiet).is_empty(), "{:?}", changes(&quiet));
    }

    #[test]
    fn instances_say_when_they_were_seen() {
        let all = instances(vec![instance("1", "a", &[1, 1, 0, 0]), instance("2", "b", &[0, 0, 1, 1])], 215);
        let seen: Vec<_> =
            all.iter().map(|one| (&*one.name, one.first_seen, one.last_seen, one.from_start)).collect();
        assert_eq!(seen, [("b", 120, 215, false), ("a", 0, 120, true)]);
    }
}
