//! Dashboards as processes on one PostgreSQL: one is killed, the server goes away, and no password is shown. And a
//! disk that is full, under SQLite.

use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::common::otlp::{request, span, trace_hex};
use crate::common::postgres::Server;
use crate::common::{self, client, eventually};
use crate::place::noise;
use crate::process::{Dashboard, Process};

/// Sends one trace of a span; gives the status.
async fn post(client: &reqwest::Client, otlp: &str, number: u64, noise: &str) -> Option<u16> {
    let body = request("load", &[span(number, 1, "work", 10).with("noise", noise)]);
    let sent = client.post(format!("http://{otlp}/v1/traces"));
    let sent = sent.header("content-type", "application/x-protobuf").body(body).send().await;
    sent.ok().map(|answer| answer.status().as_u16())
}

/// The status of a page and its text.
async fn page(client: &reqwest::Client, address: String) -> (u16, String) {
    let answer = client.get(address).send().await.expect("an answer");
    (answer.status().as_u16(), answer.text().await.expect("text"))
}

fn download(pages: &str, number: u64) -> String {
    format!("{pages}/traces/{}/otlp.json", trace_hex(number))
}

#[tokio::test(flavor = "multi_thread")]
async fn one_of_two_dashboards_is_killed_and_the_other_has_everything() {
    let database = Server::shared().await.database().await;
    let folder = tempfile::tempdir().unwrap();
    let start = || Dashboard::with(folder.path(), &["--store", &database.url()]);
    let (first, second) = (start(), start());
    let (acknowledged, done) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicBool::new(false)));
    let senders: Vec<_> = [first.http.clone(), second.http.clone()]
        .into_iter()
        .zip(1u64..)
        .map(|(otlp, sender)| {
            let (acknowledged, done) = (acknowledged.clone(), done.clone());
            tokio::spawn(async move {
                let client = client();
                for number in (sender * 1_000_000..).take_while(|_| !done.load(Ordering::Relaxed)) {
                    match post(&client, &otlp, number, "").await {
                        Some(200) => acknowledged.lock().unwrap().push(number),
                        Some(_) => {}
                        // Killed.
                        None => return,
                    }
                }
            })
        })
        .collect();
    let reached = async |count: usize| {
        let enough = async || (acknowledged.lock().unwrap().len() >= count).then_some(());
        eventually("some are acknowledged", 60, enough).await;
    };
    reached(100).await;
    // The one that started first seals and removes; it goes without a word.
    drop(first);
    let before = acknowledged.lock().unwrap().len();
    reached(before + 100).await;
    done.store(true, Ordering::Relaxed);
    futures_util::future::join_all(senders).await;
    let client = client();
    let acknowledged = std::mem::take(&mut *acknowledged.lock().unwrap());
    assert!(acknowledged.iter().any(|number| *number < 2_000_000), "the first took some in");
    eventually("the other one shows all", 20, async || {
        for number in &acknowledged {
            let (status, text) = page(&client, download(&second.pages, *number)).await;
            if status != 200 || text.matches("\"spanId\"").count() != 1 {
                return None;
            }
        }
        Some(())
    })
    .await;
    let keeper = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objid = 2 AND granted
                  AND database = (SELECT oid FROM pg_database WHERE datname = current_database())";
    let keepers: i64 = eventually("the other one seals and removes now", 20, async || {
        let mut connection = database.connect().await;
        let keepers = sqlx::query_scalar(keeper).fetch_one(&mut connection).await.expect("a number");
        (keepers > 0).then_some(keepers)
    })
    .await;
    assert_eq!(keepers, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_its_server_a_dashboard_says_so_and_recovers() {
    let server = Server::own().await;
    let database = server.database().await;
    database.run("CREATE ROLE guarded LOGIN SUPERUSER PASSWORD 'do-not-show'").await;
    let url = database.url().replace("admin@", "guarded:do-not-show@");
    let folder = tempfile::tempdir().unwrap();
    let mut dashboard = Dashboard::with(folder.path(), &["--store", &url]);
    let client = client();
    assert_eq!(post(&client, &dashboard.http, 1, "").await, Some(200));
    let (_, status) = page(&client, format!("{}/status", dashboard.pages)).await;
    assert!(status.contains("PostgreSQL") && status.contains("guarded@localhost"), "{status}");
    server.stop();
    let began = Instant::now();
    assert_eq!(post(&client, &dashboard.http, 2, "").await, Some(503));
    assert!(began.elapsed() < Duration::from_secs(6), "told after {:?}", began.elapsed());
    let mut shown = status;
    for path in [format!("/traces/{}", trace_hex(1)), "/readyz".to_owned()] {
        let (status, text) = page(&client, format!("{}{path}", dashboard.pages)).await;
        assert_eq!(status, 503, "{path}: {text}");
        shown += &text;
    }
    server.start().await;
    for (number, path) in [(2, "/readyz"), (3, "/status")] {
        let taken = async || (post(&client, &dashboard.http, number, "").await == Some(200)).then_some(());
        eventually("it is taken again", 20, taken).await;
        assert_eq!(page(&client, format!("{}{path}", dashboard.pages)).await.0, 200, "{path}");
        assert_eq!(page(&client, download(&dashboard.pages, 1)).await.0, 200);
    }
    assert_eq!(dashboard.process.terminate(20), Some(0));
    shown += &dashboard.process.output();
    assert!(!shown.contains("do-not-show"), "the password is shown:\n{shown}");
}

/// A limit on the size of a file stands for a disk without room.
#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_turns_senders_away_and_keeps_what_was_acknowledged() {
    let folder = tempfile::tempdir().unwrap();
    let store = format!("sqlite://{}", folder.path().join("store.db").display());
    let limited = format!(
        "trap '' XFSZ; ulimit -f 2048; exec {} dashboard --listen 127.0.0.1:0 --otlp-grpc 127.0.0.1:0 \
         --otlp-http 127.0.0.1:0 --store {store}",
        common::binary().display()
    );
    let process = Process::start("the dashboard", Command::new("sh").args(["-c", &limited]));
    let (pages, http) = (process.told("pages on ", 30), process.told("OTLP over HTTP on ", 30));
    let client = client();
    let next = AtomicU64::new(1);
    let mut acknowledged = Vec::new();
    loop {
        let number = next.fetch_add(1, Ordering::Relaxed);
        match post(&client, &http, number, &noise(number, 8_000)).await {
            Some(200) => acknowledged.push(number),
            refused => break assert_eq!(refused, Some(503), "after {}", acknowledged.len()),
        }
        assert!(number < 2_000, "the limit is not felt");
    }
    assert!(acknowledged.len() > 20, "only {} fit in", acknowledged.len());
    for number in &acknowledged {
        assert_eq!(page(&client, download(&pages, *number)).await.0, 200, "trace {number} while it is full");
    }
    drop(process);
    let again = Dashboard::start(folder.path());
    for number in &acknowledged {
        assert_eq!(page(&client, download(&again.pages, *number)).await.0, 200, "trace {number} afterwards");
    }
    assert_eq!(post(&client, &again.http, 9_999, "").await, Some(200), "there is room again");
}
