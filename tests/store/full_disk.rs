//! A disk that is full, for real: a small file system of the test's own, in which the dashboard keeps its store, or a
//! PostgreSQL server its database.
//!
//! Mounts are seen by the dashboard or the server alone (`unshare` of util-linux), and end with it.

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use crate::common::otlp::{request, span, trace_hex};
use crate::common::postgres::{Database, Server};
use crate::common::{binary, client, eventually};
use crate::place::noise;
use crate::process::{Dashboard, Process};
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions as _, Connection as _};
use throughline::dashboard::model::correlation::Keys;
use throughline::dashboard::model::otlp::Batch;
use throughline::dashboard::store::{Ingest as _, Limits, Location, PostgresUrl, Reader as _, Store};

const BALLAST: u64 = 16 << 20;

/// A dashboard whose store lies on a file system of its own.
struct Small {
    _process: Process,
    disk: PathBuf,
    pages: String,
    http: String,
    client: reqwest::Client,
}

impl Small {
    /// Starts it on a disk of some MiB that holds the files of `folder`.
    fn start(folder: &Path, mib: u64, flags: &str) -> Self {
        let disk = folder.join("disk");
        std::fs::create_dir(&disk).expect("a folder");
        let script = format!(
            "mount -t tmpfs -o size={mib}m none {disk} && (cp {folder}/store.db {disk}/ 2>/dev/null; true) && \
             exec {binary} dashboard --listen 127.0.0.1:0 --otlp-grpc 127.0.0.1:0 --otlp-http 127.0.0.1:0 \
             --store sqlite://{disk}/store.db {flags}",
            disk = disk.display(),
            folder = folder.display(),
            binary = binary().display(),
        );
        let process =
            Process::start("the dashboard", Command::new("unshare").args(["-rm", "sh", "-c", &script]));
        let (pages, http) = (process.told("pages on ", 30), process.told("OTLP over HTTP on ", 30));
        // As the dashboard sees it.
        let disk = PathBuf::from(format!("/proc/{}/root{}", process.id(), disk.display()));
        Self { _process: process, disk, pages, http, client: client() }
    }

    /// Starts it on a database that lies on its server's small disk.
    fn on(database: &Database, folder: &Path, flags: &[&str]) -> Self {
        let url = database.url();
        let flags: Vec<&str> = ["--store", &url].iter().chain(flags).copied().collect();
        let Dashboard { process, pages, http, .. } = Dashboard::with(folder, &flags);
        Self { _process: process, disk: database.server.disk(), pages, http, client: client() }
    }

    /// Fills the disk with another file up to so many bytes.
    fn fill(&self, but: u64) {
        let mut file = File::create(self.disk.join("others")).expect("a file");
        let mut size = 0;
        while let Ok(written) = file.write(&[7; 4096]) {
            size += written as u64;
        }
        file.set_len(size - but).expect("it gets shorter");
    }

    async fn send(&self, number: u64) -> u16 {
        let body = request("load", &[span(number, 1, "work", 10).with("noise", &noise(number, 8_000))]);
        let sent = self.client.post(format!("http://{}/v1/traces", self.http));
        let sent = sent.header("content-type", "application/x-protobuf").body(body).send().await;
        sent.expect("an answer").status().as_u16()
    }

    async fn get(&self, path: &str) -> (u16, String) {
        let answer = self.client.get(format!("{}{path}", self.pages)).send().await.expect("an answer");
        (answer.status().as_u16(), answer.text().await.expect("text"))
    }

    async fn has(&self, number: u64) -> bool {
        self.get(&format!("/traces/{}/otlp.json", trace_hex(number))).await.0 == 200
    }

    /// Sends again and again for a time; true once something is taken.
    async fn is_taken_within(&self, time: Duration, taken: &mut Vec<u64>) -> bool {
        let until = Instant::now() + time;
        while Instant::now() < until {
            let number = taken[taken.len() - 1] + 1;
            if self.send(number).await == 200 {
                taken.push(number);
                return true;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        false
    }

    /// Sends until one is turned away; gives those that were taken.
    async fn send_until_full(&self, first: u64) -> Vec<u64> {
        let mut taken = Vec::new();
        for number in first..first + 5_000 {
            match self.send(number).await {
                200 => taken.push(number),
                refused => {
                    assert_eq!(refused, 503, "after {}", taken.len());
                    return taken;
                }
            }
        }
        panic!("the disk does not get full");
    }
}

/// Makes a store one file.
async fn write_log_back(file: &Path) {
    let options = SqliteConnectOptions::new().filename(file);
    let mut connection = options.connect().await.expect("it opens");
    sqlx::query("PRAGMA wal_checkpoint(TRUNCATE)").execute(&mut connection).await.expect("nobody reads");
    connection.close().await.expect("it closes");
}

#[tokio::test(flavor = "multi_thread")]
async fn senders_are_turned_away_until_there_is_room_again() {
    let folder = tempfile::tempdir().unwrap();
    let small = Small::start(folder.path(), 48, "--keep-size 0");
    let ballast = || std::fs::metadata(small.disk.join("store.db.ballast")).unwrap().len();
    assert_eq!((small.send(1).await, ballast()), (200, BALLAST));
    small.fill(2 << 20);
    let mut taken = small.send_until_full(2).await;
    assert!(taken.len() > 50, "only {} fit in", taken.len());
    // Once the log is written back there may be some room more.
    while small.is_taken_within(Duration::from_secs(3), &mut taken).await {}
    // Now and then it is tried to take it back.
    eventually("it is given up", 10, async || (ballast() == 0).then_some(())).await;
    for number in [1, 2, taken[taken.len() - 1]] {
        assert!(small.has(number).await, "trace {number} can be read while the disk is full");
    }
    let (status, text) = small.get("/status").await;
    assert!(status == 200 && text.contains("The disk is full"), "{text}");
    // Nothing of it is due, so nothing is removed, and the room is not taken by new data.
    assert!(!small.is_taken_within(Duration::from_secs(2), &mut taken).await);
    std::fs::remove_file(small.disk.join("others")).unwrap();
    eventually("it is taken again", 10, async || (small.send(20_000).await == 200).then_some(())).await;
    assert_eq!(ballast(), BALLAST, "and kept for the next time");
    for number in taken.iter().chain(&[1, 20_000]) {
        assert!(small.has(*number).await, "trace {number} was acknowledged");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_due_is_removed_from_a_disk_without_room() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("store.db");
    let bytes = two_runs_and_a_tail(&Location::Sqlite(file.clone())).await;
    write_log_back(&file).await;
    let most = bytes + (1 << 20);
    let mib = (bytes + BALLAST) / (1 << 20) + 12;
    let small = Small::start(folder.path(), mib, &format!("--keep-size {most}"));
    assert!(small.has(0).await && small.has(33_999).await);
    small.fill(4 << 20);
    let taken = small.send_until_full(100_000).await;
    // What was taken makes the oldest run due, and there is no room to remove it in but for the ballast.
    eventually("the oldest run goes", 20, async || (!small.has(0).await).then_some(())).await;
    eventually("data is taken again", 20, async || (small.send(200_000).await == 200).then_some(())).await;
    for number in taken.iter().chain(&[33_999, 200_000]) {
        assert!(small.has(*number).await, "trace {number} stays");
    }
    assert_eq!(std::fs::metadata(small.disk.join("store.db.ballast")).unwrap().len(), BALLAST);
}

/// Traces with text that does not compress; gives their bytes in the store.
async fn two_runs_and_a_tail(location: &Location) -> u64 {
    let limits = Limits { max_bytes: 0, ..Limits::default() };
    let store = Store::open(location, limits, &Keys::default()).await.unwrap();
    for first in (0..34_000u64).step_by(500) {
        let spans: Vec<_> = (first..first + 500)
            .map(|number| span(number, 1, "old", 10_000).with("noise", &noise(number, 400)))
            .collect();
        let batch = Batch::traces(request("old", &spans).into(), &Keys::default()).unwrap();
        store.ingest(batch).await.unwrap();
    }
    let holdings = eventually("two runs are sealed", 60, async || {
        let holdings = store.holdings().await.unwrap();
        (holdings.runs == 2).then_some(holdings)
    })
    .await;
    store.close().await;
    holdings.bytes
}

#[tokio::test(flavor = "multi_thread")]
async fn senders_are_turned_away_until_postgresql_has_room_again() {
    let (server, folder) = (Server::own_with_disk(48).await, tempfile::tempdir().unwrap());
    let database = server.database_on_its_disk().await;
    let small = Small::on(&database, folder.path(), &["--keep-size", "0"]);
    assert_eq!(small.send(1).await, 200);
    small.fill(2 << 20);
    let mut taken = small.send_until_full(2).await;
    assert!(taken.len() > 50, "only {} fit in", taken.len());
    // What was written in vain is used again once the server has noticed.
    while small.is_taken_within(Duration::from_secs(4), &mut taken).await {}
    // A dashboard that starts just now shows the same.
    let other = Small::on(&database, folder.path(), &["--keep-size", "0"]);
    for dashboard in [&small, &other] {
        for number in [1, 2, taken[taken.len() - 1]] {
            assert!(dashboard.has(number).await, "trace {number} can be read while the disk is full");
        }
        assert_eq!(dashboard.send(30_000).await, 503);
        for path in ["/", "/traces", "/logs"] {
            assert_eq!(dashboard.get(path).await.0, 200, "{path}");
        }
        let (status, text) = dashboard.get("/status").await;
        assert!(status == 200 && text.contains("The disk is full"), "{text}");
    }
    std::fs::remove_file(small.disk.join("others")).unwrap();
    for (dashboard, number) in [(&small, 20_000), (&other, 20_001)] {
        eventually("it is taken again", 10, async || (dashboard.send(number).await == 200).then_some(()))
            .await;
        assert!(!dashboard.get("/status").await.1.contains("The disk is full"));
    }
    for number in taken.iter().chain(&[1, 20_000, 20_001]) {
        assert!(small.has(*number).await, "trace {number} was acknowledged");
    }
}

/// Makes a database one that has removed rows before. A server that removes the first rows of all keeps a map of free
/// pages for each index from then on; where the disk has no page left for that map, its vacuum fails, and rows that are
/// gone make no room.
async fn has_removed_before(database: &Database) {
    let mut connection = sqlx::PgConnection::connect(&database.url()).await.expect("it takes connections");
    let rows = "INSERT INTO throughline.block (id, data) SELECT -row, (
        SELECT string_agg(decode(md5(row || '/' || part), 'hex'), '') FROM generate_series(1, 250) part
    ) FROM generate_series(1, 2000) row";
    for statement in [rows, "DELETE FROM throughline.block WHERE id < 0"] {
        sqlx::query(statement).execute(&mut connection).await.expect("there is room");
    }
    let maps = "SELECT min(pg_relation_size(indexrelid, 'fsm')) FROM pg_index JOIN pg_class ON reltoastrelid = indrelid
                WHERE pg_class.oid = 'throughline.block'::regclass";
    // A second one looks through what the first has taken out of an index, once nobody may see it any more.
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        sqlx::query("VACUUM").execute(&mut connection).await.expect("there is room");
        let maps: i64 =
            sqlx::query_scalar(maps).fetch_one(&mut connection).await.expect("the table is there");
        if maps > 0 {
            break;
        }
        assert!(Instant::now() < deadline, "the index of the large values has no map");
    }
    connection.close().await.expect("it closes");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_due_makes_room_in_postgresql() {
    let (server, folder) = (Server::own_with_disk(128).await, tempfile::tempdir().unwrap());
    let database = server.database_on_its_disk().await;
    let bytes = two_runs_and_a_tail(&Location::Postgres(PostgresUrl::new(&database.url()))).await;
    has_removed_before(&database).await;
    let most = (bytes + (1 << 20)).to_string();
    let small = Small::on(&database, folder.path(), &["--keep-size", &most]);
    assert!(small.has(0).await && small.has(33_999).await);
    small.fill(3 << 20);
    let taken = small.send_until_full(100_000).await;
    // What was taken makes the oldest run due. Its rows go without a new page, and their room is used again.
    eventually("the oldest run goes", 30, async || (!small.has(0).await).then_some(())).await;
    eventually("data is taken again", 30, async || (small.send(200_000).await == 200).then_some(())).await;
    for number in taken.iter().chain(&[33_999, 200_000]) {
        assert!(small.has(*number).await, "trace {number} stays");
    }
}
