//! The acknowledgement contract against the real process: what was acknowledged is there after any end of it.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::common;
use crate::common::otlp::{request, span, trace_hex};
use tokio_util::sync::CancellationToken;

/// A dashboard process and where it listens.
struct Process {
    child: Child,
    pages: String,
    otlp: String,
}

impl Process {
    fn start(folder: &Path) -> Self {
        let mut child = command(folder).stderr(Stdio::piped()).spawn().expect("the binary starts");
        let mut lines = BufReader::new(child.stderr.take().expect("piped")).lines();
        let mut told: BTreeMap<&str, String> = BTreeMap::new();
        while told.len() < 2 {
            let line = lines.next().expect("it says where it listens").expect("text");
            for what in ["pages on ", "OTLP over HTTP on "] {
                if let Some((_, address)) = line.split_once(what) {
                    told.insert(what, address.trim().trim_start_matches("http://").to_owned());
                }
            }
        }
        std::thread::spawn(move || lines.for_each(drop));
        let address = |what| format!("http://{}", told[what]);
        Self { child, pages: address("pages on "), otlp: address("OTLP over HTTP on ") }
    }

    /// Asks it to end and gives its exit code.
    fn terminate(mut self) -> Option<i32> {
        Command::new("kill").arg(self.child.id().to_string()).status().expect("kill runs");
        let deadline = Instant::now() + Duration::from_secs(10);
        loop {
            if let Some(status) = self.child.try_wait().expect("it is our child") {
                return status.code();
            }
            assert!(Instant::now() < deadline, "SIGTERM did not end it within 10 s");
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Ended already where the test went well.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn command(folder: &Path) -> Command {
    let mut command = Command::new(common::binary());
    command
        .args([
            "dashboard",
            "--listen",
            "127.0.0.1:0",
            "--otlp-grpc",
            "127.0.0.1:0",
            "--otlp-http",
            "127.0.0.1:0",
        ])
        .args(["--store", &format!("sqlite://{}", folder.join("store.db").display())]);
    command
}

/// Traces sent and acknowledged so far.
#[derive(Default)]
struct Ledger {
    sent: BTreeSet<u64>,
    acknowledged: BTreeSet<u64>,
}

/// Sends traces of three spans, one after the other, until cancelled; a request without an answer is sent again.
async fn load(otlp: String, first: u64, ledger: Arc<Mutex<Ledger>>, stop: CancellationToken) {
    let client = common::client();
    for number in (first..).step_by(4) {
        let spans: Vec<_> = (1..=3).map(|n| span(number, n, "work", 10)).collect();
        ledger.lock().unwrap().sent.insert(number);
        let sending = client
            .post(format!("{otlp}/v1/traces"))
            .header("content-type", "application/x-protobuf")
            .body(request("load", &spans));
        tokio::select! {
            () = stop.cancelled() => return,
            answer = sending.send() => match answer {
                Ok(answer) if answer.status() == 200 => drop(ledger.lock().unwrap().acknowledged.insert(number)),
                _ => return,
            },
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_under_load_twenty_times_nothing_acknowledged_is_lost() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = Arc::new(Mutex::new(Ledger::default()));
    let mut process = Process::start(folder.path());
    for round in 0..20u64 {
        let stop = CancellationToken::new();
        let mut senders = tokio::task::JoinSet::new();
        for sender in 0..4 {
            senders.spawn(load(
                process.otlp.clone(),
                round * 1_000_000 + sender,
                ledger.clone(),
                stop.clone(),
            ));
        }
        let before = ledger.lock().unwrap().acknowledged.len();
        // A different moment each time, counted in acknowledgements rather than in time.
        let enough = before + 20 + (round as usize * 37) % 100;
        common::eventually("some are acknowledged", 20, async || {
            (ledger.lock().unwrap().acknowledged.len() >= enough).then_some(())
        })
        .await;
        process.child.kill().unwrap();
        process.child.wait().unwrap();
        stop.cancel();
        senders.join_all().await;
        let began = Instant::now();
        process = Process::start(folder.path());
        assert!(began.elapsed() < Duration::from_secs(5), "ready again within 5 s");
    }
    let client = common::client();
    let Ledger { sent, acknowledged } = std::mem::take(&mut *ledger.lock().unwrap());
    assert!(acknowledged.len() > 500);
    let mut stored = 0;
    for number in &sent {
        let address = format!("{}/traces/{}/otlp.json", process.pages, trace_hex(*number));
        let answer = client.get(address).send().await.unwrap();
        let found = answer.status() == 200;
        assert!(found || !acknowledged.contains(number), "trace {number} was acknowledged and is gone");
        if found {
            stored += 1;
            let spans = answer.text().await.unwrap().matches("\"spanId\"").count();
            assert_eq!(spans, 3, "trace {number} is whole, each span once");
        }
    }
    assert!(stored >= acknowledged.len() && stored <= sent.len());
    assert_eq!(process.terminate(), Some(0), "SIGTERM drains and exits with 0");
}

#[tokio::test]
async fn a_wrong_start_is_one_line_that_names_it() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("text.db"), "no database ".repeat(200)).unwrap();
    let taken = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let taken = taken.local_addr().unwrap().to_string();
    let text_db = format!("sqlite://{}", folder.path().join("text.db").display());
    let cases: [(&[&str], &[&str]); 16] = [
        (&["--listen", &taken], &[&taken, "in use", "--listen"]),
        (&["--otlp-grpc", &taken], &[&taken, "in use", "--otlp-grpc"]),
        // As where a Zipkin runs already.
        (&["--zipkin", &taken], &[&taken, "in use", "--zipkin"]),
        (&["--zipkin", "0.0.0.0:0"], &["--zipkin", "--ingest-key", "--read-key", "--allow-remote"]),
        (&["--otlp-http", "0.0.0.0:0"], &["--otlp-http", "--ingest-key", "--read-key", "--allow-remote"]),
        (&["--listen", "0.0.0.0:0", "--read-key", "r"], &["--listen", "--ingest-key", "--allow-remote"]),
        (&["--listen", "0.0.0.0:0", "--ingest-key", "i"], &["--listen", "--read-key", "--allow-remote"]),
        (&["--ingest-key", "a,b", "--read-key", "c,b"], &["--ingest-key", "--read-key", "same key"]),
        (&["--read-key", ""], &["--read-key", "not empty"]),
        // An address that no machine has (RFC 5737): past the check of the keys, and then there is nothing to listen on.
        (
            &["--listen", "192.0.2.1:0", "--ingest-key", "i", "--read-key", "r"],
            &["cannot listen on 192.0.2.1:0", "--listen"],
        ),
        (&["--listen", "192.0.2.1:0", "--allow-remote"], &["WARN", "--listen", "stands open", "--read-key"]),
        (
            &["--otlp-http", "192.0.2.1:0", "--allow-remote", "--read-key", "r"],
            &["WARN", "--otlp-http", "stands open", "--ingest-key"],
        ),
        (&["--store", &text_db], &["text.db", "not a SQLite database", "--store"]),
        (&["--store", "sqlite:///no/such/folder/x.db"], &["/no/such/folder/x.db", "--store"]),
        (&["--store", "mysql://x"], &["--store", "sqlite://FILE"]),
        (&["--keep", "soon"], &["--keep", "soon"]),
    ];
    for (flags, words) in cases {
        // One that starts all the same ends at once, and the test says so.
        let output = command(folder.path()).args(flags).arg("--end-with-stdin").stdin(Stdio::null()).output();
        let output = match output {
            Ok(output) => output,
            Err(error) => panic!("{flags:?}: {error}"),
        };
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success(), "{flags:?}");
        let line = said.lines().find(|line| words.iter().all(|word| line.contains(word)));
        assert!(line.is_some(), "{flags:?} said: {said}");
    }
}
