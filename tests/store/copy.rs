//! A store that is copied is the same store: from SQLite to PostgreSQL and back, cut off in the middle, in use.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::common::otlp::{self, Measure, point, span};
use crate::common::postgres::Server;
use crate::common::{binary, eventually};
use crate::place::{Place, change_file, id, newest, send, send_logs};
use crate::process::Process;
use throughline::dashboard::model::audit::{Action, AuditFilter, Ending, Intent};
use throughline::dashboard::model::otlp::interest::Interest;
use throughline::dashboard::model::otlp::points::{Arrival, Points};
use throughline::dashboard::store::check::check;
use throughline::dashboard::store::copy::{CopyError, copy};
use throughline::dashboard::store::{
    AuditLog, Ingest, Limits, Location, Metric, Order, Reader, SeriesFilter, Store, TraceFilter,
};

/// Traces of the store under test: two runs and a tail.
const TRACES: u64 = 38_000;

/// A sample of a level, some minutes old.
async fn sample(store: &Store, age_s: u64) {
    let time = otlp::now() - age_s * 1_000_000_000;
    let request =
        otlp::metrics("payments", "circuit_breaker.state", Measure::Gauge, &[point(time, age_s as f64)]);
    let arrival = Arrival { now: otlp::now(), oldest: 0 };
    let points = Points::read(&request, &Interest::default(), arrival).expect("a valid request");
    store.keep(points).await.expect("kept");
}

/// A row of the audit that has ended, and one that has not.
async fn deed(store: &Store) {
    let intent = || Intent {
        at: otlp::now(),
        action: Action::Redrive,
        role: "operator".into(),
        who: "alice".into(),
        session: None,
        broker: "eu".into(),
        virtual_host: "/".into(),
        queue: "dead".into(),
        detail: "all messages".into(),
    };
    let ended = store.begin_audit(intent()).await.expect("written");
    store.begin_audit(intent()).await.expect("written");
    let ending = Ending { at: otlp::now(), is_done: true, messages: 7, outcome: "7 sent".into() };
    store.end_audit(ended, ending).await.expect("written");
}

/// Fills a store with two runs and a tail: spans of several services, failures, links, logs, and some of it twice; and
/// samples in sealed chunks and in the tail.
async fn fill(place: &Place) {
    let store = place.open().await;
    deed(&store).await;
    sample(&store, 300).await;
    for first in (0..TRACES).step_by(2_000) {
        let roots: Vec<_> = (first..first + 2_000)
            .map(|number| {
                let root = span(number, 1, "GET /orders", 100_000 - number)
                    .with("correlation.id", &format!("c{}", number / 2));
                if number % 50 == 0 { root.failed("declined") } else { root }
            })
            .collect();
        send(&store, "gateway", &roots).await;
        let children: Vec<_> = (first..first + 2_000)
            .step_by(10)
            .map(|number| span(number, 2, "charge", 99_000 - number).parent(1).linked(number / 2))
            .collect();
        send(&store, "payments", &children).await;
        assert_eq!(send(&store, "gateway", &roots[..100]).await, 100, "known already");
        let (trace, correlation) = (first + 7, format!("c{first}"));
        send_logs(&store, "payments", &[("declined", Some(trace), None), ("lost", None, Some(&correlation))])
            .await;
    }
    sample(&store, 120).await;
    eventually("two runs are sealed", 60, async || (store.holdings().await.unwrap().runs == 2).then_some(()))
        .await;
    store.close().await;
}

/// What a store answers to every question, as text.
async fn answers(store: &Store, now: u64) -> Vec<String> {
    let (from, to) = (now - 600_000_000_000, now);
    let mut all = Vec::new();
    for order in [Order::Newest, Order::Longest, Order::MostErrors] {
        let page = store.traces(&TraceFilter { order, to: Some(to), ..newest(50) }).await.unwrap();
        all.push(format!("{page:?}"));
    }
    for number in [0, 7, 10, 50, 16_500, 20_000, 37_000, TRACES - 1] {
        all.push(format!("{:?}", store.trace(id(number)).await.unwrap().expect("it is there")));
        all.push(format!("{:?}", store.summary(id(number)).await.unwrap()));
        all.push(format!("{:?}", store.linking_to(id(number)).await.unwrap()));
    }
    for correlation in ["c0", "c2000", "c9000", "c16999"] {
        all.push(format!("{:?}", store.correlated(correlation).await.unwrap()));
    }
    all.push(format!("{:?}", store.services(from, to).await.unwrap()));
    all.push(format!("{:?}", store.activity(from, to, 20).await.unwrap()));
    all.push(format!("{:?}", store.service_rates(from, to, 20).await.unwrap()));
    let mut operations: Vec<_> =
        store.operations(from, to, None).await.unwrap().iter().map(|one| format!("{one:?}")).collect();
    operations.sort();
    all.extend(operations);
    let mut failing: Vec<_> =
        store.failing(from, to).await.unwrap().iter().map(|one| format!("{one:?}")).collect();
    failing.sort();
    all.extend(failing);
    all.push(format!("{:?}", store.calls(from, to).await.unwrap()));
    let metrics = vec![Metric::Named("circuit_breaker.state".into())];
    let found = store.series(&SeriesFilter { metrics, from, to, ..SeriesFilter::default() }).await.unwrap();
    all.push(format!("{:?}", found.series));
    all.push(format!(
        "{:?}",
        store.audited(&AuditFilter { most: 10, ..AuditFilter::default() }).await.unwrap()
    ));
    let holdings = store.holdings().await.unwrap();
    all.push(format!("{} {} {} {:?}", holdings.spans, holdings.logs, holdings.runs, holdings.oldest));
    all
}

async fn answers_at(place: &Place, now: u64) -> Vec<String> {
    let store = place.open().await;
    let all = answers(&store, now).await;
    store.close().await;
    all
}

async fn refused(from: &Location, to: &Location) -> CopyError {
    copy(from, to, |_, _| {}).await.expect_err("refused")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_there_and_back_is_the_same_store() {
    let (first, middle, last) = (Place::sqlite().await, Place::postgres().await, Place::sqlite().await);
    fill(&first).await;
    let now = otlp::now();
    let before = answers_at(&first, now).await;
    let mut told = Vec::new();
    let there =
        copy(&first.location(), &middle.location(), |done, all| told.push((done, all))).await.unwrap();
    let back = copy(&middle.location(), &last.location(), |_, _| {}).await.unwrap();
    assert_eq!((there.counts, there.counts.runs), (back.counts, 2));
    assert!(told.is_sorted() && told.first().unwrap().0 == 0, "{told:?}");
    assert_eq!(told.last().unwrap(), &(there.counts.bytes(), there.counts.bytes()));
    let whole = check(&first.location(), |_, _| {}).await.unwrap();
    assert_eq!((whole.spans, whole.samples, whole.trouble_count), (TRACES + TRACES / 10, 2, 0));
    assert_eq!((there.counts.audit.rows, back.counts.audit.rows), (2, 2));
    assert_eq!((there.counts.samples.rows, back.counts.samples.rows), (1, 1), "the other one is in the tail");
    for place in [&middle, &last] {
        assert_eq!(check(&place.location(), |_, _| {}).await.unwrap(), whole);
        for (one, other) in answers_at(place, now).await.iter().zip(&before) {
            assert_eq!(one, other);
        }
        // What was sent before the copy is known after it, and the copy takes in more.
        let store = place.open().await;
        let again = span(TRACES - 1, 1, "GET /orders", 100).with("correlation.id", "new");
        assert_eq!(send(&store, "gateway", std::slice::from_ref(&again)).await, 0);
        assert_eq!(send(&store, "gateway", &[again]).await, 1);
        store.close().await;
    }
    same_bytes(&first, &last).await;
    let error = refused(&first.location(), &last.location()).await;
    assert!(matches!(error, CopyError::Held(_)), "it has grown since: {error}");
}

/// Every row of every table that both files had when one was copied from the other.
async fn same_bytes(one: &Place, other: &Place) {
    let (Place::Sqlite(one), Place::Sqlite(other)) = (one, other) else { panic!("two files") };
    let script = "import sqlite3, sys\n\
        a, b = (sqlite3.connect('file:%s?mode=ro' % path, uri=True) for path in sys.argv[1:])\n\
        for table in ('block', 'run', 'run_page', 'run_chunk'):\n\
        \x20   rows = a.execute('SELECT * FROM %s ORDER BY id' % table).fetchall()\n\
        \x20   assert rows and rows == b.execute('SELECT * FROM %s ORDER BY id LIMIT %d' % (table, len(rows))).fetchall(), table\n";
    let file = |folder: &tempfile::TempDir| folder.path().join("store.db");
    let output =
        Command::new("python3").args(["-c", script]).arg(file(one)).arg(file(other)).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_that_is_killed_goes_on_where_it_was() {
    let (from, to) = (Place::sqlite().await, Place::postgres().await);
    fill(&from).await;
    to.open().await.close().await;
    let Place::Postgres(database) = &to else { unreachable!("just made") };
    let (Place::Sqlite(folder), url) = (&from, database.url()) else { unreachable!("just made") };
    // The second run is as slow as over a bad line.
    database
        .run(
            "CREATE FUNCTION throughline.slow() RETURNS trigger LANGUAGE plpgsql
                 AS 'BEGIN PERFORM pg_sleep(25); RETURN NEW; END';
             CREATE TRIGGER slow BEFORE INSERT ON throughline.run FOR EACH ROW WHEN (NEW.id > 2)
                 EXECUTE FUNCTION throughline.slow()",
        )
        .await;
    let source = format!("sqlite://{}", folder.path().join("store.db").display());
    let command = || {
        let mut command = Command::new(binary());
        command.args(["store", "copy", "--from", &source, "--to", &url, "--json"]);
        command
    };
    let mut copying = Process::start("the copy", &mut command());
    let sleeping = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'
                    AND datname = current_database()";
    eventually("it is in the middle", 60, async || (to.number(sleeping).await == 1).then_some(())).await;
    Command::new("kill").args(["-KILL", &copying.id().to_string()]).status().unwrap();
    assert_eq!(copying.ended(10), None);
    assert_eq!(to.number("SELECT count(*) FROM throughline.run").await, 1, "one run is over there");
    let end = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE wait_event = 'PgSleep'
               AND datname = current_database()";
    to.number(end).await;
    database.run("DROP TRIGGER slow ON throughline.run; DROP FUNCTION throughline.slow").await;

    let error = to.try_open(Limits::default()).await.err().expect("not finished").to_string();
    assert!(error.contains("not finished") && !error.contains('\n'), "{error}");
    let other = Place::sqlite().await;
    let store = other.open().await;
    send(&store, "a", &[span(1, 1, "other", 50)]).await;
    store.close().await;
    drop(store);
    let error = eventually("the lock of the one that was killed is gone", 20, async || {
        Some(refused(&other.location(), &to.location()).await)
            .filter(|error| !matches!(error, CopyError::Open(_)))
    })
    .await;
    assert!(matches!(error, CopyError::OfAnother(_)), "{error}");

    let output = command().output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(output.stderr.is_empty(), "no bar on a pipe");
    assert!(said.contains("\"runs\":2,\"runs_before\":1"), "{said}");
    let whole = check(&from.location(), |_, _| {}).await.unwrap();
    assert_eq!(check(&to.location(), |_, _| {}).await.unwrap(), whole);
    let now = otlp::now();
    assert_eq!(answers_at(&to, now).await, answers_at(&from, now).await);
    let again = eventually("the store that answered has let go", 10, async || {
        copy(&from.location(), &to.location(), |_, _| {}).await.ok()
    })
    .await;
    assert_eq!((again.runs_before, again.counts.runs), (2, 2), "done already");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_that_fails_goes_on_and_nothing_else_is_touched() {
    let (from, to) = (Place::sqlite().await, Place::sqlite().await);
    fill(&from).await;
    let Place::Sqlite(folder) = &to else { unreachable!("just made") };
    let file: PathBuf = folder.path().join("store.db");
    to.open().await.close().await;
    change_file(
        file.clone(),
        "CREATE TRIGGER stop BEFORE INSERT ON run WHEN NEW.id > 2
         BEGIN SELECT RAISE(ABORT, 'no more'); END",
    )
    .await;
    let error = refused(&from.location(), &to.location()).await;
    let words = error.to_string();
    assert!(matches!(error, CopyError::Stopped(_)) && words.contains("no more") && words.contains("goes on"));
    let error = to.try_open(Limits::default()).await.err().expect("not finished").to_string();
    assert!(error.contains("store.db") && error.contains("not finished"), "{error}");
    change_file(file.clone(), "DROP TRIGGER stop").await;
    for runs_before in [1, 2] {
        let copied = copy(&from.location(), &to.location(), |_, _| {}).await.unwrap();
        assert_eq!((copied.runs_before, copied.counts.runs), (runs_before, 2));
    }
    same_bytes(&from, &to).await;

    let holds = Place::sqlite().await;
    let store = holds.open().await;
    send(&store, "a", &[span(1, 1, "mine", 50)]).await;
    let error = refused(&from.location(), &holds.location()).await.to_string();
    assert!(error.contains("in use"), "{error}");
    store.close().await;
    drop(store);
    let error = refused(&from.location(), &holds.location()).await;
    assert!(matches!(error, CopyError::Held(_)) && !error.to_string().contains('\n'), "{error}");
    assert!(matches!(refused(&from.location(), &from.location()).await, CopyError::Same));
    let nowhere = Location::Sqlite(Path::new("/no/such/store.db").into());
    let error = refused(&nowhere, &holds.location()).await.to_string();
    assert!(error.contains("/no/such/store.db"), "{error}");
    let running = from.open().await;
    let error = refused(&from.location(), &Place::sqlite().await.location()).await.to_string();
    assert!(error.contains("in use"), "{error}");
    running.close().await;
}

/// Dashboards go on with the source, and none gets at the target.
#[tokio::test(flavor = "multi_thread")]
async fn a_shared_source_is_copied_while_it_is_in_use() {
    let server = Server::shared().await;
    let (from, to) = (Place::Postgres(server.database().await), Place::sqlite().await);
    fill(&from).await;
    let store = std::sync::Arc::new(from.open().await);
    let stop = tokio_util::sync::CancellationToken::new();
    let sender = tokio::spawn({
        let (store, stop) = (store.clone(), stop.clone());
        async move {
            // A run more is sealed in between.
            for batch in (0..).take_while(|_| !stop.is_cancelled()) {
                let spans: Vec<_> =
                    (0..500).map(|n| span(1_000_000 + batch * 500 + n, 1, "more", 10)).collect();
                send(&store, "more", &spans).await;
            }
        }
    });
    let begun = async || (store.holdings().await.unwrap().runs > 2).then_some(());
    eventually("it is in use", 60, begun).await;
    let copied = copy(&from.location(), &to.location(), |_, _| {}).await.unwrap();
    assert!(copied.counts.runs >= 3, "{copied:?}");
    stop.cancel();
    sender.await.unwrap();
    let checked = check(&to.location(), |_, _| {}).await.unwrap();
    assert_eq!((checked.trouble_count, checked.runs), (0, copied.counts.runs), "{:?}", checked.troubles);
    let copy_of_it = to.open().await;
    for number in [0, 20_000, TRACES - 1, 1_000_000, 1_001_000] {
        let (here, there) =
            (store.trace(id(number)).await.unwrap(), copy_of_it.trace(id(number)).await.unwrap());
        assert_eq!(format!("{here:?}"), format!("{there:?}"), "trace {number}");
    }
    // A database that dashboards use is no target.
    let error = refused(&to.location(), &from.location()).await.to_string();
    assert!(error.contains("in use"), "the copy is open: {error}");
    copy_of_it.close().await;
    drop(copy_of_it);
    eventually("a dashboard keeps the database", 10, async || {
        let error = refused(&to.location(), &from.location()).await.to_string();
        error.contains("a dashboard runs on").then_some(())
    })
    .await;
    tokio::time::timeout(Duration::from_secs(20), store.close()).await.unwrap();
}
