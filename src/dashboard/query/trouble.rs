//! What is wrong now, from failed traces and activity: which services fail more than before, what is slow,
//! whether anything still arrives. Says nothing that the figures do not carry.

use crate::dashboard::model::{Nanos, TraceSummary};
use crate::dashboard::store::Activity;

/// What counts as now.
pub const RECENT: Nanos = 300_000_000_000;
/// Requests that a p95 has to stand on before it is compared.
const ENOUGH: u64 = 20;
/// A p95 this many times its usual value is worth a line.
const SLOWER: u64 = 3;
/// Silence after steady arrivals that is worth a line.
const SILENCE: Nanos = 180_000_000_000;
/// Points of a small chart.
pub const POINTS: usize = 30;

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq)]
pub enum Trouble {
    Failing(Failing),
    /// p95 of all requests now and before, in ns.
    Slow {
        now: u64,
        before: u64,
    },
    /// Nothing has arrived since.
    Silent {
        since: Nanos,
    },
}

/// A service in which requests break.
#[derive(Debug, Clone, PartialEq)]
pub struct Failing {
    pub service: String,
    /// Traces that broke there in the last [`RECENT`], and in the time of the same length before it.
    pub recent: u64,
    pub before: u64,
    /// Where most of them broke, and how many of the recent ones.
    pub operation: String,
    pub at_operation: u64,
    /// The commonest reason.
    pub why: String,
    /// The first failure of the current run.
    pub since: Nanos,
    /// Failures over the whole range, in [`POINTS`] steps.
    pub over_time: Vec<u64>,
}

/// Reads the failed traces of `from..now` (newest first) and the activity of the same time.
pub fn find(failed: &[TraceSummary], activity: &[Activity], from: Nanos, now: Nanos) -> Vec<Trouble> {
    let mut troubles: Vec<Trouble> = failing(failed, from, now).into_iter().map(Trouble::Failing).collect();
    troubles.extend(slow(activity, now));
    troubles.extend(silent(activity, now));
    troubles
}

fn failing(failed: &[TraceSummary], from: Nanos, now: Nanos) -> Vec<Failing> {
    let mut services: Vec<&str> = failed
        .iter()
        .filter_map(|one| one.failure.as_ref())
        .map(|failure| failure.service.as_str())
        .collect();
    services.sort_unstable();
    services.dedup();
    let recent_from = now.saturating_sub(RECENT);
    let mut out: Vec<Failing> = services
        .into_iter()
        .filter_map(|service| {
            let failures: Vec<_> = failed
                .iter()
                .filter_map(|one| one.failure.as_ref())
                .filter(|one| one.service == service)
                .collect();
            let recent: Vec<_> = failures.iter().filter(|one| one.time >= recent_from).collect();
            if recent.is_empty() {
                return None;
            }
            let (operation, at_operation) = commonest(recent.iter().map(|one| one.span_name.as_str()));
            let before_from = recent_from.saturating_sub(RECENT);
            Some(Failing {
                service: service.to_owned(),
                recent: recent.len() as u64,
                before: failures.iter().filter(|one| (before_from..recent_from).contains(&one.time)).count()
                    as u64,
                operation: operation.to_owned(),
                at_operation,
                why: commonest(recent.iter().map(|one| one.why.as_str()).filter(|why| !why.is_empty()))
                    .0
                    .to_owned(),
                since: since(failures.iter().map(|one| one.time)),
                over_time: over_time(failures.iter().map(|one| one.time), from, now),
            })
        })
        .collect();
    out.sort_by_key(|one| std::cmp::Reverse(one.recent));
    out
}

/// What occurs most, and how often; the first of equals.
fn commonest<'a>(texts: impl Iterator<Item = &'a str>) -> (&'a str, u64) {
    let mut counts: Vec<(&str, u64)> = Vec::new();
    for text in texts {
        match counts.iter_mut().find(|(other, _)| *other == text) {
            Some((_, count)) => *count += 1,
            None => counts.push((text, 1)),
        }
    }
    counts.into_iter().rev().max_by_key(|(_, count)| *count).unwrap_or_default()
}

/// Begin of the run of failures that goes on now: the last gap of [`RECENT`] ends before it.
fn since(times: impl Iterator<Item = Nanos>) -> Nanos {
    let mut times: Vec<_> = times.collect();
    times.sort_unstable_by(|one, other| other.cmp(one));
    let mut since = times.first().copied().unwrap_or(0);
    for time in times {
        if since - time > RECENT {
            break;
        }
        since = time;
    }
    since
}

fn over_time(times: impl Iterator<Item = Nanos>, from: Nanos, now: Nanos) -> Vec<u64> {
    let step = (now.saturating_sub(from) / POINTS as u64).max(1);
    let mut counts = vec![0; POINTS];
    for time in times.filter(|time| *time >= from) {
        counts[(((time - from) / step) as usize).min(POINTS - 1)] += 1;
    }
    counts
}

/// The p95 of the last minutes against that of the time before, both weighted by requests.
fn slow(activity: &[Activity], now: Nanos) -> Option<Trouble> {
    let recent_from = now.saturating_sub(RECENT);
    let average = |steps: &[&Activity]| {
        let requests: u64 = steps.iter().map(|step| step.requests).sum();
        let sum: u128 =
            steps.iter().map(|step| u128::from(step.p95.unwrap_or(0)) * u128::from(step.requests)).sum();
        (requests >= ENOUGH).then(|| (sum / u128::from(requests)) as u64)
    };
    let (recent, before): (Vec<_>, Vec<_>) =
        activity.iter().filter(|step| step.p95.is_some()).partition(|step| step.start >= recent_from);
    let (now, before) = (average(&recent)?, average(&before)?);
    (now > before.saturating_mul(SLOWER)).then_some(Trouble::Slow { now, before })
}

/// Steady arrivals that stopped.
fn silent(activity: &[Activity], now: Nanos) -> Option<Trouble> {
    let last = activity.iter().rposition(|step| step.spans > 0)?;
    let end = activity.get(last + 1).map_or(now, |next| next.start);
    let busy = activity[..=last].iter().rev().take(5).filter(|step| step.spans > 0).count();
    (now.saturating_sub(end) > SILENCE && busy >= 3).then_some(Trouble::Silent { since: end })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dashboard::fixture::build::NOW;
    use crate::dashboard::fixture::{reader::summary, shop};

    const MINUTE: Nanos = 60_000_000_000;

    fn step(start: Nanos, requests: u64, p95: u64) -> Activity {
        Activity { start, spans: requests * 3, requests, failed: 0, p95: (requests > 0).then_some(p95) }
    }

    #[test]
    fn a_failing_service_is_named_with_place_and_reason() {
        let failed: Vec<_> = shop::story(NOW - 4 * MINUTE).iter().map(summary).collect();
        let Trouble::Failing(found) = &find(&failed, &[], NOW - 60 * MINUTE, NOW)[0] else {
            panic!("not failing")
        };
        assert_eq!((found.service.as_str(), found.recent, found.before), ("payments", 2, 0));
        assert_eq!(found.operation, "POST card-processor /capture");
        assert_eq!(found.why, "card_declined");
        assert_eq!(found.over_time.iter().sum::<u64>(), 2);
    }

    #[test]
    fn what_is_over_is_not_wrong_now() {
        let failed: Vec<_> = shop::story(NOW - 30 * MINUTE).iter().map(summary).collect();
        assert!(find(&failed, &[], NOW - 60 * MINUTE, NOW).is_empty());
    }

    #[test]
    fn slowness_and_silence_are_noticed() {
        let steady = |slow: u64| -> Vec<_> {
            (0..60).map(|at| step(NOW - (60 - at) * MINUTE, 10, if at >= 55 { slow } else { 100 })).collect()
        };
        assert_eq!(
            find(&[], &steady(900), NOW - 60 * MINUTE, NOW),
            [Trouble::Slow { now: 900, before: 100 }]
        );
        assert!(find(&[], &steady(200), NOW - 60 * MINUTE, NOW).is_empty());
        let stopped: Vec<_> =
            (0..60).map(|at| step(NOW - (60 - at) * MINUTE, if at < 50 { 10 } else { 0 }, 100)).collect();
        assert_eq!(
            find(&[], &stopped, NOW - 60 * MINUTE, NOW),
            [Trouble::Silent { since: NOW - 10 * MINUTE }]
        );
    }
}
