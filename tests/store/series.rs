//! What holds of metrics, whatever the store is kept in.

use std::time::Duration;

use throughline::dashboard::model::otlp::points::Arrival;
use throughline::dashboard::model::otlp::{Interest, Points};
use throughline::dashboard::model::{Follows, Sample};
use throughline::dashboard::store::check::check;
use throughline::dashboard::store::{
    FoundSeries, Ingest, Limits, Metric, Reader, Series, SeriesFilter, Store, Stored,
};

use super::place::{Place, send};
use crate::common::eventually;
use crate::common::otlp::{self, Measure, TestPoint, point, span};

const S: u64 = 1_000_000_000;
const H: u64 = 3_600 * S;
const DAY: u64 = 24 * H;

/// Sends points of one metric.
pub async fn keep(
    store: &Store,
    service: &str,
    name: &str,
    measure: Measure,
    points: &[TestPoint],
) -> Stored {
    let request = otlp::metrics(service, name, measure, points);
    let arrival = Arrival { now: otlp::now(), oldest: 0 };
    let points = Points::read(&request, &Interest::default(), arrival).expect("a valid request");
    store.keep(points).await.expect("kept")
}

pub fn named(name: &str, from: u64, to: u64) -> SeriesFilter {
    SeriesFilter { metrics: vec![Metric::Named(name.into())], from, to, ..SeriesFilter::default() }
}

pub async fn read(store: &Store, filter: &SeriesFilter) -> FoundSeries {
    store.series(filter).await.expect("a read")
}

/// The one series of a metric in a range.
async fn one(store: &Store, name: &str, from: u64, to: u64) -> Series {
    let mut found = read(store, &named(name, from, to)).await;
    assert_eq!((found.series.len(), found.complete, found.left_out), (1, true, 0), "{name}");
    found.series.remove(0)
}

fn values(samples: &[Sample]) -> Vec<(u64, f64)> {
    samples.iter().map(|sample| (sample.time, sample.value)).collect()
}

/// Fills the tail with spans until it is sealed.
pub async fn seal(store: &Store) {
    let runs = store.holdings().await.unwrap().runs;
    // Other IDs each time, else they were stored before.
    let base = otlp::now() / 1_000;
    for first in (0..17_000).step_by(1_000) {
        let spans: Vec<_> =
            (first..first + 1_000).map(|number| span(base + number, 1, "fill", 90_000)).collect();
        send(store, "filler", &spans).await;
    }
    eventually("the tail is sealed", 30, async || {
        (store.holdings().await.unwrap().runs > runs).then_some(())
    })
    .await;
}

/// A time at the begin of a minute, so long ago.
fn ago(age: u64) -> u64 {
    (otlp::now() - age) / (60 * S) * 60 * S
}

pub async fn samples_are_read_at_once_after_a_restart_and_after_a_seal(place: &Place) {
    let mut store = place.open().await;
    let begin = ago(600 * S);
    let gauge: Vec<_> = (0..5)
        .map(|at| point(begin + at * 10 * S, at as f64 * 1.5).with("name", "card").with("state", "open"))
        .collect();
    assert_eq!(keep(&store, "pay", "circuit_breaker.state", Measure::Gauge, &gauge).await, Stored::default());
    let counter = [point(begin + 7 * S, 1.0).since(begin).with("event", "open")];
    keep(&store, "shop", "circuit", Measure::Counter, &counter).await;
    let histogram = [point(begin + 8 * S, 9.0).since(begin)];
    keep(&store, "shop", "messaging.process.duration", Measure::Histogram, &histogram).await;
    // Late, and between what is there.
    let late = [point(begin + 15 * S, 2.0).with("name", "card").with("state", "open")];
    keep(&store, "pay", "circuit_breaker.state", Measure::Gauge, &late).await;
    let expected = [(0, 0.0), (10, 1.5), (15, 2.0), (20, 3.0), (30, 4.5), (40, 6.0)]
        .map(|(at, value)| (begin + at * S, value));
    for round in ["at once", "after a restart", "after a seal", "after both", "with more in the tail"] {
        match round {
            "after a restart" | "after both" => store = place.reopen(store).await,
            "after a seal" => seal(&store).await,
            "with more in the tail" => {
                // Sent again, and one more: what is sealed and what is not is one series.
                let mut again = gauge.clone();
                again.push(point(begin + 50 * S, 7.0).with("name", "card").with("state", "open"));
                keep(&store, "pay", "circuit_breaker.state", Measure::Gauge, &again).await;
            }
            _ => {}
        }
        let state = one(&store, "circuit_breaker.state", begin, begin + 45 * S).await;
        assert_eq!(values(&state.samples), expected, "{round}");
        assert_eq!((state.before, state.identity.service.as_str()), (None, "pay"), "{round}");
        assert_eq!(state.identity.attribute("state"), Some("open"));
        let opened = one(&store, "circuit", begin, begin + H).await;
        let all = [Sample::of(begin + 7 * S, begin, 1.0)];
        assert_eq!((&opened.samples[..], opened.identity.kind.follows()), (&all[..], Follows::Total));
        let took = one(&store, "messaging.process.duration", begin, begin + H).await;
        assert_eq!((took.samples[0].value, took.samples[0].sum), (9.0, Some(4.5)), "{round}");
        // A range cuts, and knows what stood before it.
        let cut = one(&store, "circuit_breaker.state", begin + 11 * S, begin + 20 * S).await;
        assert_eq!(values(&cut.samples), expected[2..4], "{round}");
        assert_eq!(cut.before.map(|sample| sample.value), Some(1.5), "{round}");
        let by_begin = SeriesFilter {
            metrics: vec![Metric::Begins("circ".into())],
            attributes: vec![("event".into(), "open".into())],
            ..named("", begin, begin + H)
        };
        assert_eq!(read(&store, &by_begin).await.series.len(), 1, "{round}");
        let other = SeriesFilter { services: Some(["pay".to_owned()].into()), ..by_begin };
        assert!(read(&store, &other).await.series.is_empty(), "{round}");
    }
    store.close().await;
    drop(store);
    let checked = check(&place.location(), |_, _| {}).await.expect("it opens");
    assert!(checked.samples >= 9 && checked.trouble_count == 0, "{checked:?}");
}

/// Reads of several metrics over several ranges that end now or some minutes ago; each must be the reads of its metrics
/// put together.
async fn reads(store: &Store, begin: u64) -> Vec<FoundSeries> {
    let minute = |number: u64| begin + number * 60 * S;
    let mut all = Vec::new();
    for (from, to) in [(19, 25), (14, 25), (4, 25), (0, 25), (17, 20), (24, 24)] {
        for step in [0, 60 * S] {
            let filter = |metrics: Vec<Metric>| SeriesFilter {
                metrics,
                step,
                ..named("", minute(from), minute(to) + 59 * S)
            };
            let begins = |name: &str| Metric::Begins(name.into());
            let metrics =
                [begins("circuit"), Metric::Named("rabbitmq.depth".into()), begins("resilience4j.")];
            let together = read(store, &filter(metrics.to_vec())).await;
            let mut apart = Vec::new();
            for metric in metrics {
                apart.extend(read(store, &filter(vec![metric])).await.series);
            }
            assert_eq!(together.series, apart, "minutes {from} to {to}, step {step}");
            assert!(together.complete && together.left_out == 0);
            all.push(together);
        }
    }
    all
}

pub async fn the_last_minutes_are_the_same_out_of_memory_and_out_of_chunks(place: &Place) {
    let mut store = place.open().await;
    let begin = ago(1_560 * S);
    // Each 20 s for 26 minutes: a level, totals of which one begins anew, growth; one that ends after 5 minutes, one that
    // lies between the names that are asked for.
    let times = || (0..78u64).map(|number| (number, begin + number * 20 * S));
    let level: Vec<_> = times().map(|(at, time)| point(time, (at % 7) as f64)).collect();
    keep(&store, "pay", "circuit_breaker.state", Measure::Gauge, &level).await;
    keep(&store, "pay", "process.open", Measure::Gauge, &level).await;
    keep(&store, "pay", "rabbitmq.depth", Measure::UpDown, &level[..15]).await;
    let total = |at: u64, time| match at {
        0..60 => point(time, at as f64).since(begin - H),
        _ => point(time, (at - 59) as f64).since(begin + 1_190 * S),
    };
    let total: Vec<_> = times().map(|(at, time)| total(at, time)).collect();
    keep(&store, "shop", "circuit", Measure::Counter, &total).await;
    let growth: Vec<_> = times().map(|(at, time)| point(time, at as f64)).collect();
    keep(&store, "shop", "resilience4j.circuitbreaker.calls", Measure::Delta, &growth).await;
    let unsealed = reads(&store, begin).await;
    assert_eq!(unsealed[0].series.len(), 3);
    assert_eq!(unsealed[0].series[1].before.map(|sample| sample.time), Some(begin + 1_120 * S));
    seal(&store).await;
    assert_eq!(reads(&store, begin).await, unsealed, "sealed");
    // What comes now, of a series and of a new one; late into what is sealed; and again.
    let now = [point(begin + 1_555 * S, 8.0), point(begin + 1_330 * S, 3.0), level[70].clone()];
    keep(&store, "pay", "circuit_breaker.state", Measure::Gauge, &now).await;
    keep(&store, "pay", "rabbitmq.depth", Measure::UpDown, &[point(begin + 1_500 * S, 1.0)]).await;
    keep(&store, "shop", "resilience4j.circuitbreaker.calls", Measure::Delta, &growth[50..]).await;
    let more = reads(&store, begin).await;
    assert_ne!(more, unsealed);
    assert_eq!(more[0].series[2].before.map(|sample| sample.time), Some(begin + 280 * S), "in no memory");
    seal(&store).await;
    assert_eq!(reads(&store, begin).await, more, "sealed twice");
    store = place.reopen(store).await;
    assert_eq!(reads(&store, begin).await, more, "after a restart there are chunks alone");
    keep(&store, "pay", "circuit_breaker.state", Measure::Gauge, &[point(begin + 1_450 * S, 5.0)]).await;
    let late = reads(&store, begin).await;
    assert_ne!(late, more);
    seal(&store).await;
    assert_eq!(reads(&store, begin).await, late, "late, after a restart");
}

pub async fn a_metrics_request_sent_again_changes_nothing(place: &Place) {
    let mut store = place.open().await;
    let begin = ago(300 * S);
    let points: Vec<_> = (1..4).map(|at| point(begin + at * 10 * S, 2.0).since(begin)).collect();
    let again = async |store: &Store| keep(store, "shop", "messaging.sent", Measure::Delta, &points).await;
    assert_eq!(again(&store).await.duplicates, 0);
    assert_eq!(again(&store).await.duplicates, 3);
    store = place.reopen(store).await;
    assert_eq!(again(&store).await.duplicates, 3, "known after a restart");
    seal(&store).await;
    // What is sealed is not looked into when it comes again; it counts once all the same.
    again(&store).await;
    for round in ["sealed", "and restarted"] {
        let sent = one(&store, "messaging.sent", begin, begin + H).await;
        assert_eq!(values(&sent.samples).len(), 3, "{round}");
        let wide = SeriesFilter { step: 600 * S, ..named("messaging.sent", begin, begin + H) };
        let sum: f64 = read(&store, &wide).await.series[0].samples.iter().map(|sample| sample.value).sum();
        assert_eq!(sum, 6.0, "{round}");
        if round == "sealed" {
            store = place.reopen(store).await;
        }
    }
}

pub async fn old_samples_are_thinned_by_their_age_and_go_at_last(place: &Place) {
    let limits = Limits { every: Duration::from_millis(50), ..Limits::default() };
    let store = place.open_with(limits).await;
    // A sample a second for 20 minutes: three hours ago, two days ago, twelve days ago.
    let ages = [(3 * H, "go.a", 10), (2 * DAY, "go.b", 60), (12 * DAY, "go.c", 600)];
    let now = otlp::now() / (600 * S) * 600 * S;
    for (age, name, _) in ages {
        let begin = now - age;
        // A level with a spike that lasts one second; a total that begins anew in the middle of a minute.
        let level: Vec<_> =
            (0..1_200).map(|at| point(begin + at * S, if at == 333 { 900.0 } else { 5.0 })).collect();
        keep(&store, "shop", &format!("{name}.level"), Measure::Gauge, &level).await;
        let total: Vec<_> = (0..1_200u64)
            .map(|at| match at {
                0..=634 => point(begin + at * S, 1_000.0 + at as f64).since(begin - DAY),
                _ => point(begin + at * S, (at - 634) as f64).since(begin + 634 * S),
            })
            .collect();
        keep(&store, "shop", &format!("{name}.total"), Measure::Counter, &total).await;
        let growth: Vec<_> = (0..1_200).map(|at| point(begin + at * S, 2.0)).collect();
        keep(&store, "shop", &format!("{name}.growth"), Measure::Delta, &growth).await;
    }
    seal(&store).await;
    for (age, name, width) in ages {
        let begin = now - age;
        // Read in ranges so small that the read itself thins nothing.
        let all = async |what: &str| {
            let mut samples = Vec::new();
            for from in (begin..begin + 1_200 * S).step_by(600 * S as usize) {
                let found = read(&store, &named(&format!("{name}.{what}"), from, from + 600 * S - 1)).await;
                samples.extend(found.series.into_iter().flat_map(|series| series.samples));
            }
            samples
        };
        let steps = 1_200 / width;
        let level = eventually(&format!("{name} is thinned to {width} s"), 20, async || {
            let level = all("level").await;
            (level.len() == steps).then_some(level)
        })
        .await;
        assert!(level.iter().all(|sample| sample.value == 5.0), "the newest of each step");
        let highest = level.iter().filter_map(|sample| sample.max).fold(0.0, f64::max);
        assert_eq!(highest, 900.0, "{name}: the spike is known");
        let total = all("total").await;
        assert_eq!(total.len(), steps + 1, "{name}: one more where it began anew");
        let grown: f64 = total
            .windows(2)
            .map(|pair| match pair[1].begins_anew(&pair[0]) {
                true => pair[1].value,
                false => pair[1].value - pair[0].value,
            })
            .sum();
        let first = total[0].value - 1_000.0;
        assert_eq!(grown + first, 634.0 + 565.0, "{name}: no growth is lost");
        let growth = all("growth").await;
        assert_eq!(growth.len(), steps, "{name}");
        assert_eq!(growth.iter().map(|sample| sample.value).sum::<f64>(), 2_400.0, "{name}");
    }
    store.close().await;
    drop(store);
    // Ten days are kept: the oldest goes, and the others stay.
    let store = place.open_with(Limits { metrics_age: Duration::from_secs(10 * 86_400), ..limits }).await;
    let anything = async |store: &Store, name: &str| {
        !read(store, &named(&format!("{name}.level"), 0, otlp::now())).await.series.is_empty()
    };
    eventually("what is too old is removed", 20, async || (!anything(&store, "go.c").await).then_some(()))
        .await;
    assert!(anything(&store, "go.a").await && anything(&store, "go.b").await);
    let points = [point(ago(0), 1.0)];
    keep(&store, "shop", "go.now", Measure::Gauge, &points).await;
    store.close().await;
    drop(store);
    let store = place.open_with(Limits { metrics_bytes: 1, ..limits }).await;
    eventually("what is too much is removed", 20, async || (!anything(&store, "go.a").await).then_some(()))
        .await;
    assert_eq!(read(&store, &named("go.now", 0, otlp::now())).await.series.len(), 1, "the tail stays");
}

pub async fn metrics_alone_are_sealed_before_memory_grows(place: &Place) {
    let store = place.open().await;
    let begin = ago(H);
    for half in 0..2u64 {
        let points: Vec<_> = (0..130_000u64)
            .map(|number| {
                let time = begin + half * 1_000 * S + number / 50 * 100_000_000;
                point(time, number as f64).with("queue", &(number % 50).to_string())
            })
            .collect();
        assert_eq!(
            keep(&store, "broker", "rabbitmq.depth", Measure::UpDown, &points).await,
            Stored::default()
        );
    }
    let holdings = eventually("the tail is sealed", 30, async || {
        let holdings = store.holdings().await.unwrap();
        (holdings.runs == 1).then_some(holdings)
    })
    .await;
    assert_eq!((holdings.spans, holdings.logs, holdings.oldest), (0, 0, None));
    store.close().await;
    drop(store);
    // The blocks of samples go with the seal, from a shared store a minute later.
    let (blocks, going) = match place {
        Place::Sqlite(_) => (check(&place.location(), |_, _| {}).await.expect("it opens").blocks, 0),
        Place::Postgres(_) => (2, place.number("SELECT count(*) FROM throughline.replaced").await),
    };
    assert_eq!(blocks as i64, going);
    let store = place.open().await;
    let filter = SeriesFilter { step: 60 * S, ..named("rabbitmq.depth", begin, begin + H) };
    let found = read(&store, &filter).await;
    assert_eq!((found.series.len(), found.complete), (50, true));
    let last = found.series.iter().flat_map(|series| series.samples.last()).map(|sample| sample.value);
    assert_eq!(last.fold(0.0, f64::max), 129_999.0);
    assert!(store.traces(&super::place::newest(5)).await.unwrap().rows.is_empty());
    assert_eq!(store.services(0, u64::MAX).await.unwrap(), [""; 0]);
}

pub async fn series_beyond_the_limit_are_left_out_and_said(place: &Place) {
    let store = place.open().await;
    let now = otlp::now();
    let points: Vec<_> =
        (0..1_100).map(|number| point(now, 1.0).with("id", &format!("{number:04}"))).collect();
    let stored = keep(&store, "shop", "process.open", Measure::Gauge, &points).await;
    assert_eq!(stored, Stored { duplicates: 0, beyond: 100 });
    let kept = store.kept_metrics().await.unwrap();
    assert_eq!((kept.series, kept.metrics.len(), kept.metrics[0].series), (1_000, 1, 1_000));
    assert_eq!(kept.metrics[0].services, ["shop"]);
    assert_eq!(kept.beyond, [("process.open".to_owned(), 100)]);
    let found = read(&store, &named("process.open", now - S, now)).await;
    assert_eq!((found.series.len(), found.left_out), (500, 500), "an answer is bounded too");
    let narrow = SeriesFilter {
        attributes: vec![("id".into(), "0999".into())],
        ..named("process.open", now - S, now)
    };
    assert_eq!(read(&store, &narrow).await.series.len(), 1);
    let newest = store.newest_samples(&narrow).await.unwrap();
    assert_eq!((newest.len(), newest[0].sample.value), (1, 1.0));
    // The same series go on; others still find no room.
    let more = [point(now + S, 2.0).with("id", "0999"), point(now + S, 2.0).with("id", "1099")];
    assert_eq!(keep(&store, "shop", "process.open", Measure::Gauge, &more).await.beyond, 1);
    assert_eq!(
        store.newest_samples(&SeriesFilter { to: now + S, ..narrow }).await.unwrap()[0].sample.value,
        2.0
    );
    // Nothing and nonsense.
    for filter in [SeriesFilter::default(), named("process.open", now, now - S), named("process", 0, now)] {
        assert!(read(&store, &filter).await.series.is_empty(), "{filter:?}");
    }
}
