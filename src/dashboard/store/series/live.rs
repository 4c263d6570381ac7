//! The series of the tail in memory: their samples since the last seal, those of the last minutes before it, and the newest
//! of every series heard lately.
//!
//! The number of series is limited, in all and of one metric of one service, so that a label without bound costs
//! neither memory nor disk. What is beyond is left out, and counted by the metric's name.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use super::super::StoreError;
use super::code;
use super::known::{Known, insert};
use super::select::{KeptMetric, KeptMetrics, Newest, SeriesFilter};
use crate::dashboard::model::Nanos;
use crate::dashboard::model::otlp::Points;
use crate::dashboard::model::series::{Identity, Sample};

/// Series kept at the same time.
pub const MAX_SERIES: usize = 10_000;
/// Of them of one metric of one service.
pub const MAX_OF_METRIC: usize = 1_000;
/// Samples after which the tail is sealed: 20 MB of them.
const SEAL_SAMPLES: usize = 250_000;
/// A series not heard for this long makes room for others.
const FORGET: Nanos = 3_600_000_000_000;
/// What is sealed stays in memory so long, for pages about the last minutes.
const STAYS: Nanos = 720_000_000_000;
/// As many samples of it at most as of the tail; then the oldest of them go earlier, by steps.
const MOST_STAYING: usize = SEAL_SAMPLES;
const STEPS: usize = 72;
/// A sample that comes so long after its time is late: who remembers what was read has to read again.
const LATE: Nanos = 300_000_000_000;
/// Names of metrics that are told apart among those beyond the limits.
const MAX_NAMES: usize = 1_000;

/// A series and its samples, by time.
pub type Piece = (Arc<Identity>, Vec<Sample>);

/// The series of the tail, and what came last of others.
#[derive(Default)]
pub struct Live {
    known: Vec<Known>,
    /// Where each is, and where there is room again.
    places: HashMap<Arc<Identity>, usize>,
    free: Vec<usize>,
    /// The same in order, for reads.
    order: BTreeMap<Arc<Identity>, usize>,
    /// Series by service and metric.
    of_metric: HashMap<(String, String), usize>,
    samples: usize,
    /// No sample of a series that is not known here is newer than this.
    unknown_until: Nanos,
    late: u64,
    beyond: BTreeMap<String, u64>,
}

/// What is to be committed of some metrics requests.
#[derive(Default)]
pub struct PointFlush {
    pub pieces: Vec<Piece>,
    /// Points that are there already, and points of series beyond the limits; by request.
    pub duplicates: Vec<u64>,
    pub beyond: Vec<u64>,
    names_beyond: Vec<(String, u64)>,
}

impl PointFlush {
    /// Whether there is nothing to take in.
    pub fn is_empty(&self) -> bool {
        self.pieces.is_empty() && self.names_beyond.is_empty()
    }

    /// The block that holds it; `None` where there is nothing to hold.
    pub fn block(&self) -> Result<Option<Vec<u8>>, StoreError> {
        if self.pieces.is_empty() {
            return Ok(None);
        }
        encode(&self.pieces).map(Some)
    }
}

/// Pieces as a record.
pub fn encode(pieces: &[Piece]) -> Result<Vec<u8>, StoreError> {
    code::encode(pieces.iter().map(|(identity, samples)| (&**identity, &samples[..])))
}

/// The pieces of a record.
pub fn decode(raw: &[u8]) -> Result<Vec<Piece>, StoreError> {
    let mut pieces = Vec::new();
    code::decode_raw(raw, |_| true, |identity, samples| pieces.push((Arc::new(identity), samples)))?;
    Ok(pieces)
}

impl Live {
    /// Looks what of some requests is new and within the limits. Changes nothing: it may yet fail to be committed.
    pub fn sift(&self, requests: &[&Points]) -> PointFlush {
        let mut sifting = Sifting { live: self, new: HashMap::new(), added: 0, of_metric: HashMap::new() };
        let mut flush = PointFlush::default();
        let mut names = BTreeMap::new();
        for points in requests {
            let (mut duplicates, mut beyond) = (0, 0);
            let admitted: Vec<bool> = points.series.iter().map(|identity| sifting.admits(identity)).collect();
            for (number, sample) in &points.samples {
                let identity = &points.series[*number as usize];
                if !admitted[*number as usize] {
                    beyond += 1;
                    *names.entry(identity.name.clone()).or_default() += 1;
                } else if !sifting.add(identity, sample) {
                    duplicates += 1;
                }
            }
            flush.duplicates.push(duplicates);
            flush.beyond.push(beyond);
        }
        flush.pieces = sifting.new.into_iter().filter(|(_, samples)| !samples.is_empty()).collect();
        flush.pieces.sort_unstable_by(|a, b| a.0.cmp(&b.0));
        flush.names_beyond = names.into_iter().collect();
        flush
    }

    /// Takes in what was committed of a flush, received at `now`.
    pub fn note(&mut self, flush: PointFlush, now: Nanos) {
        for (name, points) in flush.names_beyond {
            let known = self.beyond.contains_key(&name) || self.beyond.len() < MAX_NAMES;
            *self.beyond.entry(if known { name } else { String::new() }).or_default() += points;
        }
        self.add(flush.pieces, now);
        if self.places.len() >= MAX_SERIES {
            self.forget(now);
        }
    }

    /// Takes in pieces of a committed block, whatever the limits say: they are stored.
    pub fn add(&mut self, pieces: Vec<Piece>, now: Nanos) {
        for (identity, samples) in pieces {
            let place = *self.places.entry(identity).or_insert_with_key(|identity| {
                *self.of_metric.entry(metric_of(identity)).or_default() += 1;
                let place = self.free.pop().unwrap_or(self.known.len());
                if place == self.known.len() {
                    self.known.push(Known::default());
                }
                self.order.insert(identity.clone(), place);
                place
            });
            let known = &mut self.known[place];
            known.heard = now;
            for sample in samples {
                self.late += u64::from(sample.time.saturating_add(LATE) < now);
                self.samples += usize::from(known.add(sample));
            }
        }
    }

    /// The live series that follow when these are sealed: without samples of their own, each with its newest.
    pub fn next(&mut self, now: Nanos) {
        self.samples = 0;
        let cut = self.cut(now);
        self.known.iter_mut().for_each(|known| known.seal(cut));
        self.forget(now);
    }

    /// Since when samples stay.
    fn cut(&self, now: Nanos) -> Nanos {
        let step = STAYS / STEPS as Nanos;
        let mut counts = [0; STEPS];
        for time in self.known.iter().flat_map(|known| known.times_since(now.saturating_sub(STAYS))) {
            // What lies ahead is of the newest.
            counts[((now.saturating_sub(time) / step) as usize).min(STEPS - 1)] += 1;
        }
        let sums = counts.iter().scan(0, |sum, count| {
            *sum += count;
            Some(*sum)
        });
        let steps = sums.take_while(|sum| *sum <= MOST_STAYING).count() as Nanos;
        now.saturating_sub(steps * step)
    }

    /// Others stored samples that never came by here, none newer than `until`.
    pub fn missed(&mut self, until: Nanos) {
        self.unknown_until = self.unknown_until.max(until);
    }

    /// Makes room: lets go of series that were not heard for long and have no sample left.
    fn forget(&mut self, now: Nanos) {
        let Self { known, order, free, of_metric, unknown_until, .. } = self;
        self.places.retain(|identity, place| {
            let one = &mut known[*place];
            let stays = !one.samples().is_empty() || one.heard.saturating_add(FORGET) > now;
            if !stays {
                *unknown_until = one.newest().map_or(0, |newest| newest.time).max(*unknown_until);
                *one = Known::default();
                free.push(*place);
                order.remove(identity);
                if let Some(count) = of_metric.get_mut(&metric_of(identity)) {
                    *count -= 1;
                }
            }
            stays
        });
        of_metric.retain(|_, count| *count > 0);
    }

    /// How many samples came more than five minutes after their time.
    pub fn late(&self) -> u64 {
        self.late
    }

    /// Whether it is time to seal.
    pub fn is_full(&self) -> bool {
        self.samples >= SEAL_SAMPLES
    }

    /// Whether it holds no sample that is not sealed.
    pub fn is_empty(&self) -> bool {
        self.samples == 0
    }

    /// Whether only what [`Live::find`] gives can hold samples of a time on, as far as its series answer for it.
    pub fn answers(&self, from: Nanos) -> bool {
        self.unknown_until < from
    }

    /// All that is not sealed, in order.
    pub fn pieces(&self) -> Vec<Piece> {
        let all = self.order.iter().map(|(identity, place)| (identity, &self.known[*place]));
        let held = all.filter(|(_, known)| !known.samples().is_empty());
        held.map(|(identity, known)| (identity.clone(), known.samples().to_vec())).collect()
    }

    /// The series that a read asks for, by identity.
    pub fn find<'a>(
        &'a self,
        filter: &'a SeriesFilter,
    ) -> impl Iterator<Item = (&'a Arc<Identity>, &'a Known)> {
        let named = filter.names().into_iter().flat_map(|(low, high)| {
            // The least of all identities with this name.
            let first = Identity { name: low, ..Identity::default() };
            let rest = self.order.range::<Identity, _>(first..);
            rest.take_while(move |(identity, _)| identity.name.as_bytes() <= &high[..])
        });
        let asked = named.filter(|(identity, _)| filter.fits(identity));
        asked.map(|(identity, place)| (identity, &self.known[*place]))
    }

    /// The newest of each series that a read asks for, where it lies in the range; by identity.
    pub fn newest(&self, filter: &SeriesFilter) -> Vec<Newest> {
        let inside = |sample: &Sample| (filter.from..=filter.to).contains(&sample.time);
        let newest = self.find(filter).filter_map(|(identity, known)| {
            let sample = known.newest().filter(inside)?;
            Some(Newest { identity: identity.clone(), sample })
        });
        newest.collect()
    }

    /// What came lately, by metric.
    pub fn metrics(&self) -> KeptMetrics {
        let mut metrics: BTreeMap<&str, (KeptMetric, HashSet<&str>)> = BTreeMap::new();
        for (identity, place) in &self.order {
            let known = &self.known[*place];
            let (metric, services) = metrics.entry(&identity.name).or_insert_with(|| {
                let metric = KeptMetric {
                    name: identity.name.clone(),
                    unit: identity.unit.clone(),
                    kind: identity.kind.word(),
                    series: 0,
                    services: Vec::new(),
                    newest: 0,
                };
                (metric, HashSet::new())
            });
            metric.series += 1;
            metric.newest = metric.newest.max(known.newest().map_or(0, |sample| sample.time));
            services.insert(&identity.service);
        }
        let metrics = metrics.into_values().map(|(mut metric, services)| {
            metric.services = services.into_iter().map(str::to_owned).collect();
            metric.services.sort_unstable();
            metric
        });
        KeptMetrics {
            metrics: metrics.collect(),
            series: self.places.len() as u64,
            max_series: MAX_SERIES as u64,
            beyond: self.beyond.iter().map(|(name, points)| (name.clone(), *points)).collect(),
        }
    }
}

fn metric_of(identity: &Identity) -> (String, String) {
    (identity.service.clone(), identity.name.clone())
}

/// Requests that are looked through: what they add to the live series.
struct Sifting<'a> {
    live: &'a Live,
    new: HashMap<Arc<Identity>, Vec<Sample>>,
    /// Series that the requests add; and by service and metric.
    added: usize,
    of_metric: HashMap<(String, String), usize>,
}

impl Sifting<'_> {
    /// Whether a series is known or there is room for it.
    fn admits(&mut self, identity: &Arc<Identity>) -> bool {
        if self.live.places.contains_key(identity) || self.new.contains_key(identity) {
            return true;
        }
        let metric = metric_of(identity);
        let known = self.live.of_metric.get(&metric).copied().unwrap_or_default();
        let added = self.of_metric.entry(metric).or_default();
        if self.live.places.len() + self.added >= MAX_SERIES || known + *added >= MAX_OF_METRIC {
            return false;
        }
        *added += 1;
        self.added += 1;
        self.new.insert(identity.clone(), Vec::new());
        true
    }

    /// Takes a sample; false where its time is taken.
    fn add(&mut self, identity: &Arc<Identity>, sample: &Sample) -> bool {
        let place = self.live.places.get(identity);
        let is_there = place.is_some_and(|place| self.live.known[*place].holds(sample.time));
        !is_there && insert(self.new.entry(identity.clone()).or_default(), *sample)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dashboard::model::series::Kind;

    const S: Nanos = 1_000_000_000;

    fn identity(name: &str, number: usize) -> Arc<Identity> {
        Arc::new(Identity {
            name: name.into(),
            service: "shop".into(),
            instance: String::new(),
            scope: String::new(),
            unit: String::new(),
            kind: Kind::GAUGE,
            attributes: vec![("number".into(), number.to_string())],
        })
    }

    /// One sample of each of `series` of a metric, at a second.
    fn points(name: &str, series: std::ops::Range<usize>, second: u64) -> Points {
        let series: Vec<_> = series.map(|number| identity(name, number)).collect();
        let samples = (0..series.len() as u32).map(|number| (number, Sample::of(second * S, 0, 1.0)));
        Points { samples: samples.collect(), series, ..Points::default() }
    }

    fn take(live: &mut Live, points: &Points, now: Nanos) -> (u64, u64) {
        let flush = live.sift(&[points]);
        let counts = (flush.duplicates[0], flush.beyond[0]);
        live.note(flush, now);
        counts
    }

    #[test]
    fn a_request_that_comes_again_adds_nothing() {
        let mut live = Live::default();
        let (early, late) = (points("a", 0..3, 10), points("a", 0..3, 5));
        assert_eq!(take(&mut live, &early, 0), (0, 0));
        assert_eq!(take(&mut live, &late, 0), (0, 0), "out of order");
        assert_eq!(take(&mut live, &early, 0), (3, 0));
        assert_eq!(take(&mut live, &late, 0), (3, 0));
        let twice = live.sift(&[&points("a", 0..3, 11), &points("a", 0..3, 11)]);
        assert_eq!(twice.duplicates, [0, 3], "within one group");
        let samples: Vec<_> = live.pieces()[0].1.iter().map(|sample| sample.time / S).collect();
        assert_eq!(samples, [5, 10]);
        live.next(0);
        assert!(live.is_empty());
        assert_eq!(take(&mut live, &early, 0), (3, 0), "the newest is known after a seal");
    }

    #[test]
    fn series_are_limited_in_all_and_of_one_metric() {
        let mut live = Live::default();
        let (kept, beyond) = (MAX_OF_METRIC, 200);
        assert_eq!(take(&mut live, &points("a", 0..kept + beyond, 1), 0), (0, beyond as u64));
        assert_eq!(take(&mut live, &points("a", 0..kept + beyond, 2), 0), (0, beyond as u64));
        for number in 1..MAX_SERIES / MAX_OF_METRIC {
            assert_eq!(take(&mut live, &points(&format!("b{number}"), 0..kept, 1), 0), (0, 0));
        }
        assert_eq!(take(&mut live, &points("c", 0..1, 1), 0), (0, 1));
        let said = live.metrics();
        assert_eq!((said.series, said.max_series), (MAX_SERIES as u64, MAX_SERIES as u64));
        assert_eq!(said.beyond, [("a".to_owned(), 400), ("c".to_owned(), 1)]);
        // What is silent for an hour makes room, once it is sealed.
        live.next(2 * FORGET);
        assert_eq!(take(&mut live, &points("c", 0..1, 2), 2 * FORGET), (0, 0));
        assert_eq!(live.metrics().series, 1);
    }

    #[test]
    fn blocks_hold_what_is_taken() {
        let live = Live::default();
        let flush = live.sift(&[&points("b", 0..2, 1), &points("a", 0..2, 1)]);
        let block = flush.block().unwrap().expect("something to hold");
        let raw = super::super::super::block::decompress(&block).unwrap();
        assert!(code::holds_samples(&raw));
        assert_eq!(decode(&raw).unwrap(), flush.pieces);
        assert!(live.sift(&[]).block().unwrap().is_none());
    }
}
