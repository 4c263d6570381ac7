//! What is asked of the store itself, without a page around it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use throughline::dashboard::model::TraceId;
use throughline::dashboard::model::correlation::Keys;
use throughline::dashboard::model::otlp::Batch;
use throughline::dashboard::query::language;
use throughline::dashboard::store::{Ingest, Limits, Reader, Store, TraceFilter};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use super::HOUR;
use super::report::Report;
use super::server::Place;
use super::workload::{PER_REQUEST, PER_TRACE, SERVICES, USERS, now, request, trace_id};

/// From this number of a request on none was sent before.
const ANOTHER: u64 = 1 << 30;
/// Requests that are under way at once.
const SENDERS: usize = 8;

/// Asks the store itself, opened in this process: alone, and while it takes so many spans a second in, where that is not 0.
pub async fn in_process(report: &mut Report, place: &Place, spans: u64, rate: f64) {
    let store = Store::open(&place.location(), Limits::default(), &Keys::default()).await;
    let store = Arc::new(store.expect("the store opens"));
    of(report, "read", &store, spans).await;
    if rate > 0.0 {
        let every = Duration::from_secs_f64(PER_REQUEST as f64 / rate);
        let enough = CancellationToken::new();
        let taking = take_in(store.clone(), spans / PER_REQUEST + ANOTHER, every, enough.clone());
        let taking = AbortOnDropHandle::new(tokio::spawn(taking));
        let started = Instant::now();
        of(report, "read at half the rate", &store, spans).await;
        enough.cancel();
        let taken = taking.await.expect("all taken in") * PER_REQUEST;
        report.row("taken in a second meanwhile", "spans", taken as f64 / started.elapsed().as_secs_f64());
    }
    store.close().await;
}

/// Takes a request in each time that `every` has passed, until it is enough, and waits for those under way; gives how many. Several are
/// at once, as from several senders. A thread of its own writes them, as another process would.
async fn take_in(store: Arc<Store>, first: u64, every: Duration, enough: CancellationToken) -> u64 {
    let (written, mut requests) = mpsc::channel(SENDERS);
    let writer = std::thread::spawn(move || {
        let begin = now();
        (first..).map(|number| request(number, begin)).all(|request| written.blocking_send(request).is_ok())
    });
    let mut ticks = tokio::time::interval(every);
    let (mut under_way, mut taken) = (JoinSet::new(), 0);
    while enough.run_until_cancelled(ticks.tick()).await.is_some() {
        let request = requests.recv().await.expect("requests without end");
        while under_way.len() >= SENDERS {
            under_way.join_next().await.expect("one").expect("stored");
        }
        let store = store.clone();
        under_way.spawn(async move {
            let batch = Batch::traces(request, &Keys::default()).expect("a valid request");
            store.ingest(batch).await.expect("stored");
        });
        taken += 1;
    }
    under_way.join_all().await;
    drop(requests);
    writer.join().expect("the writer ends");
    taken
}

async fn of(report: &mut Report, how: &str, store: &Store, spans: u64) {
    let traces = spans / PER_TRACE;
    let to = now();
    let list = |filter: TraceFilter| async move { store.traces(&filter).await.expect("a list").rows.len() };
    let of_query = move |query: String| async move {
        let select = language::read(&query).expect("a query").selection();
        list(TraceFilter { limit: 20, select: Some(select), ..TraceFilter::default() }).await
    };
    let of_service = move |n: u64| async move {
        let service = Some(format!("service-{}", n % SERVICES));
        list(TraceFilter { limit: 20, service, ..TraceFilter::default() }).await
    };
    let by_id = move |n: u64| async move {
        let id = TraceId(trace_id(n * 7919 % traces));
        store.trace(id).await.expect("a trace").map_or(0, |trace| trace.spans.len())
    };
    measure(report, &format!("{how}: trace by ID"), 400, by_id).await;
    measure(report, &format!("{how}: 20 newest of a service"), 200, of_service).await;
    measure(report, &format!("{how}: attribute of one trace"), 200, |n| {
        of_query(format!("span.order.ref = order-{}", n * 7919 % traces))
    })
    .await;
    measure(report, &format!("{how}: 20 newest of a user"), 200, |n| {
        of_query(format!("span.user.id = user-{}", n * 479 % USERS))
    })
    .await;
    measure(report, &format!("{how}: correlation ID"), 200, move |n| async move {
        let found = store.correlated(&format!("order-{}", n * 7919 % traces)).await;
        found.expect("a correlation").traces.len()
    })
    .await;
    for (length, name) in [(HOUR, "an hour"), (24 * HOUR, "a day")] {
        let from = to - length;
        measure(report, &format!("{how}: calls of {name}"), 50, move |_| async move {
            store.calls(from, to).await.expect("calls").len()
        })
        .await;
        measure(report, &format!("{how}: operations of {name}"), 50, move |_| async move {
            store.operations(from, to, None).await.expect("operations").len()
        })
        .await;
        measure(report, &format!("{how}: services of {name} in 60 steps"), 50, move |_| async move {
            store.service_rates(from, to, 60).await.expect("services").len()
        })
        .await;
        measure(report, &format!("{how}: instances of {name} in 12 steps"), 50, move |_| async move {
            store.instance_rates(from, to, 12, None).await.expect("instances").len()
        })
        .await;
    }
}

/// Asks again and again, the first three times not counted; each is to find something.
async fn measure<F: Future<Output = usize>>(
    report: &mut Report,
    what: &str,
    count: u64,
    ask: impl Fn(u64) -> F,
) {
    if !super::is_asked(what) {
        return;
    }
    let mut times = Vec::new();
    for n in (0..3).chain(0..count) {
        let started = Instant::now();
        assert!(ask(n).await > 0, "{what}: number {n} found nothing");
        times.push(started.elapsed().as_secs_f64() * 1000.0);
    }
    report.times(what, times.split_off(3), 0);
}
