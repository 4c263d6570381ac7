//! Traces made one after the other, at the rate that was asked for, and handed to the senders.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::encode::{self, Batches, Parcel, Resources};
use super::pace::Pace;
use super::plan::System;
use super::tally::Tally;
use super::tree::{self, Tree};
use super::{Extent, GRACE, Settings};

/// How long a span waits at most for its request to be full.
const OLDEST: Duration = Duration::from_secs(1);

/// Makes traces until the load is through or `stop`, and waits where the senders are not ready. Gives
/// the time for which the rate was not kept to.
pub(super) async fn run(
    settings: &Settings,
    system: &System,
    tally: &Tally,
    parcels: mpsc::Sender<Parcel>,
    stop: &CancellationToken,
) -> Duration {
    let until = match settings.extent {
        Extent::For(long) => Some(Instant::now() + long),
        Extent::Spans(_) => None,
    };
    let mut desk = Desk::new(settings, system, tally, parcels, stop);
    let mut pace = settings.rate.map(|rate| Pace::new(rate, Instant::now()));
    for number in 0.. {
        let tree = tree::grow(system, &settings.shape, number);
        let wait = pace.as_mut().map_or(Duration::ZERO, |pace| pace.take(tree.spans.len(), Instant::now()));
        let over = |now: Instant| until.is_some_and(|until| now >= until) || stop.is_cancelled();
        if over(Instant::now() + wait) {
            break;
        }
        // A timer is no finer than a millisecond; what is shorter is slept together.
        if wait > Duration::from_millis(1) {
            tokio::select! {
                awake = desk.sleep(wait) => if awake.is_none() { break },
                () = stop.cancelled() => break,
            }
        }
        let taken = desk.put(&tree).await;
        let enough = matches!(settings.extent, Extent::Spans(most) if desk.made >= most);
        if taken.is_none() || enough {
            break;
        }
    }
    // What was made is sent; who does not take it any more has said so in the tally.
    let _ = desk.flush().await;
    pace.map_or(Duration::ZERO, |pace| pace.lost())
}

/// Where spans become requests.
struct Desk<'a> {
    settings: &'a Settings,
    system: &'a System,
    resources: Resources,
    spans: Batches<opentelemetry_proto::tonic::trace::v1::Span>,
    records: Batches<opentelemetry_proto::tonic::logs::v1::LogRecord>,
    flushed: Instant,
    made: u64,
    tally: &'a Tally,
    parcels: mpsc::Sender<Parcel>,
    stop: &'a CancellationToken,
}

impl<'a> Desk<'a> {
    fn new(
        settings: &'a Settings,
        system: &'a System,
        tally: &'a Tally,
        parcels: mpsc::Sender<Parcel>,
        stop: &'a CancellationToken,
    ) -> Self {
        let (most, by_service) = (settings.batch, settings.by_service);
        Self {
            settings,
            system,
            resources: Resources::of(system),
            spans: Batches::new(most, by_service),
            records: Batches::new(most, by_service),
            flushed: Instant::now(),
            made: 0,
            tally,
            parcels,
            stop,
        }
    }

    /// Adds a trace, as if its last span had just ended; `None` when nobody sends any more.
    async fn put(&mut self, tree: &Tree) -> Option<()> {
        let begin = now().saturating_sub(tree.length);
        for draft in &tree.spans {
            let source = (draft.service, draft.instance);
            let span = encode::span(self.system, &self.settings.shape, tree, draft, begin);
            self.made += 1;
            if let Some(full) = self.spans.add(source, span) {
                self.hand(encode::traces(&self.resources, full)).await?;
            }
            if draft.logged {
                let record = encode::record(self.system, tree, draft, begin);
                if let Some(full) = self.records.add(source, record) {
                    self.hand(encode::logs(&self.resources, full)).await?;
                }
            }
        }
        self.tally.traces.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        if self.flushed.elapsed() >= OLDEST { self.flush().await } else { Some(()) }
    }

    /// Waits for the next trace, and sends meanwhile what would get old.
    async fn sleep(&mut self, wait: Duration) -> Option<()> {
        let wake = Instant::now() + wait;
        while self.flushed + OLDEST < wake {
            tokio::time::sleep_until((self.flushed + OLDEST).into()).await;
            self.flush().await?;
        }
        tokio::time::sleep_until(wake.into()).await;
        Some(())
    }

    /// Sends what waits.
    async fn flush(&mut self) -> Option<()> {
        self.flushed = Instant::now();
        for groups in self.spans.rest() {
            self.hand(encode::traces(&self.resources, groups)).await?;
        }
        for groups in self.records.rest() {
            self.hand(encode::logs(&self.resources, groups)).await?;
        }
        Some(())
    }

    /// Gives a request to the next sender that is free; once the load was asked to end, not for long.
    async fn hand(&mut self, parcel: Parcel) -> Option<()> {
        let too_long = async {
            self.stop.cancelled().await;
            tokio::time::sleep(GRACE).await;
        };
        let began = Instant::now();
        let place = tokio::select! {
            place = self.parcels.reserve() => place.ok()?,
            () = too_long => return None,
        };
        self.tally.waited(began.elapsed());
        self.tally.sent(&parcel);
        place.send(parcel);
        Some(())
    }
}

/// Nanoseconds since 1970.
fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos() as u64)
}
