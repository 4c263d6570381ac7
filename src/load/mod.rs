//! The load generator: traces of a system that is not there, sent to any OTLP receiver.
//!
//! | module | what lives there |
//! |---|---|
//! | [`plan`] | the system: services in layers, their operations, databases and queues |
//! | [`names`] | what the parts of the system are called |
//! | [`tree`] | one trace: which spans, when, and which of them fail |
//! | [`attributes`] | what a span says, in the words of the semantic conventions |
//! | [`encode`] | spans and log records as OTLP requests |
//! | [`pace`] | the rate that is kept to |
//! | [`produce`] | traces made one after the other and handed to the senders |
//! | [`send`] | requests over gRPC and HTTP, tried again as OTLP asks |
//! | [`tally`] | what was sent and what became of it |
//! | [`report`] | the tally in the end, for people and for programs |
//!
//! What must not live here: anything of the dashboard. The load knows it as an address to send to, and writes OTLP
//! with OpenTelemetry's own types, so that a mistake in our reading of the wire is not made twice.

pub mod attributes;
pub mod encode;
mod names;
pub mod pace;
pub mod plan;
mod produce;
pub mod report;
pub mod send;
pub mod tally;
#[cfg(test)]
mod tests;
pub mod tree;

use std::io::Write as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{Mutex, mpsc};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use encode::Parcel;
use plan::{Shape, System};
use report::Report;
use send::{Sender, SetupError, Target};
use tally::Tally;

/// How long requests on their way may still be answered after the load was asked to end.
const GRACE: Duration = Duration::from_secs(3);

/// A load: what is made, how much of it, and where it goes.
#[derive(Debug, Clone)]
pub struct Settings {
    pub target: Target,
    pub shape: Shape,
    /// Spans a second; `None` for as many as the receiver takes.
    pub rate: Option<f64>,
    pub extent: Extent,
    /// Spans of a request, or log records.
    pub batch: usize,
    /// Whether a request holds spans of one service only, as each service's own SDK sends them.
    pub by_service: bool,
}

/// When a load is over.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Extent {
    /// So many spans, and then those that the last trace still needs.
    Spans(u64),
    /// So long.
    For(Duration),
}

/// Puts the load on the receiver until it is through or `stop`, and tells what became of it. With `progress` it
/// writes a line to standard error each second.
///
/// # Errors
/// There is no receiver of OTLP at the endpoint, or it lets nobody in. What goes wrong later is in the report.
pub async fn run(settings: Settings, stop: CancellationToken, progress: bool) -> Result<Report, SetupError> {
    let senders = (0..settings.target.workers)
        .map(|_| Sender::new(&settings.target))
        .collect::<Result<Vec<_>, SetupError>>()?;
    if let Some(first) = senders.first() {
        first.check(&settings.target).await?;
    }
    let system = System::plan(&settings.shape);
    let tally = Arc::new(Tally::default());
    let began = Instant::now();
    // Room for one request a sender: what is made ahead is old when it is sent.
    let (parcels, queue) = mpsc::channel::<Parcel>(settings.target.workers);
    let queue = Arc::new(Mutex::new(queue));
    let mut workers = JoinSet::new();
    for sender in senders {
        let (queue, tally, stop) = (queue.clone(), tally.clone(), stop.clone());
        workers.spawn(async move { work(&sender, &queue, &tally, &stop).await });
    }
    drop(queue);
    let lines = async { if progress { show(&tally, began).await } else { std::future::pending().await } };
    let making = async {
        let lost = produce::run(&settings, &system, &tally, parcels, &stop).await;
        finish(&mut workers, &stop).await;
        lost
    };
    let lost = tokio::select! {
        lost = making => lost,
        () = lines => unreachable!("lines are written for as long as the load is on"),
    };
    if progress {
        eprint!("\r\x1b[K");
    }
    Ok(Report::new(&settings, &tally, lost, began.elapsed()))
}

/// Sends what is made until nothing more comes.
async fn work(
    sender: &Sender,
    queue: &Mutex<mpsc::Receiver<Parcel>>,
    tally: &Tally,
    stop: &CancellationToken,
) {
    loop {
        // A statement of its own: the lock is held while waiting for a parcel, never while sending it.
        let next = queue.lock().await.recv().await;
        let Some(parcel) = next else { return };
        sender.deliver(&parcel, tally, stop).await;
    }
}

/// Waits for the senders; once the load was asked to end, not for long.
async fn finish(workers: &mut JoinSet<()>, stop: &CancellationToken) {
    let too_long = async {
        stop.cancelled().await;
        tokio::time::sleep(GRACE).await;
    };
    tokio::select! {
        () = async { while workers.join_next().await.is_some() {} } => {}
        () = too_long => workers.shutdown().await,
    }
}

/// Writes a line each second over the one before.
async fn show(tally: &Tally, began: Instant) {
    let mut interval = tokio::time::interval(Duration::from_secs(1));
    let mut before = 0;
    interval.tick().await;
    loop {
        interval.tick().await;
        let acknowledged = tally.spans.acknowledged();
        let line = report::progress(tally, began.elapsed(), acknowledged - before);
        before = acknowledged;
        eprint!("\r\x1b[K{line}");
        // A terminal that is gone is no reason to end the load.
        let _ = std::io::stderr().flush();
    }
}
