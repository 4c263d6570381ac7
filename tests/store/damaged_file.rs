//! A dashboard on a store that is damaged or not its own, in SQLite and in PostgreSQL: it says what is wrong and where, and
//! shows all the rest.

use std::process::Command;

use crate::common::otlp::{request, span, trace_hex};
use crate::common::{self, client};
use crate::place::{Place, send};
use crate::process::{Dashboard, Process};
use throughline::dashboard::store::{Location, Reader as _};

/// The store's address as a flag, and how it is named to people.
fn named(place: &Place) -> (String, String) {
    match place.location() {
        Location::Sqlite(path) => (format!("sqlite://{}", path.display()), path.display().to_string()),
        Location::Postgres(_) => {
            let Place::Postgres(database) = place else { unreachable!("it is kept there") };
            (database.url(), format!("postgres://admin@localhost/{}", database.name))
        }
    }
}

async fn places() -> [Place; 2] {
    [Place::sqlite().await, Place::postgres().await]
}

async fn page(dashboard: &Dashboard, path: &str) -> (u16, String) {
    let answer = client().get(format!("{}{path}", dashboard.pages)).send().await.expect("the pages answer");
    (answer.status().as_u16(), answer.text().await.expect("text"))
}

async fn post(dashboard: &Dashboard, body: Vec<u8>) -> u16 {
    let request = client().post(format!("http://{}/v1/traces", dashboard.http)).body(body);
    request
        .header("content-type", "application/x-protobuf")
        .send()
        .await
        .expect("an answer")
        .status()
        .as_u16()
}

/// Breaks the block of the second trace: every other number is a commit's.
async fn break_a_block(place: &Place) {
    place
        .change(
            "UPDATE block SET data = substr(data, 1, length(data) / 2) || x'5a5a' ||
             substr(data, length(data) / 2 + 3) WHERE id = 4",
            "UPDATE throughline.block SET data = set_byte(data, length(data) / 2,
             255 - get_byte(data, length(data) / 2)) WHERE id = 4",
        )
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_block_is_named_with_its_store_and_costs_its_own_traces_alone() {
    for place in places().await {
        let folder = tempfile::tempdir().unwrap();
        let (flag, name) = named(&place);
        let mut dashboard = Dashboard::with(folder.path(), &["--store", &flag]);
        for number in 1..=3 {
            let one = span(number, 1, &format!("part {number}"), 400 - number).with("correlation.id", "c-1");
            let one = if number == 1 { one } else { one.linked(number - 1) };
            assert_eq!(post(&dashboard, request("shop", &[one.with("color", "red")])).await, 200);
        }
        break_a_block(&place).await;
        let (status, text) = page(&dashboard, &format!("/traces/{}", trace_hex(2))).await;
        assert_eq!(status, 500, "{name}");
        assert!(text.contains("The store is damaged") && text.contains("block 4"), "{name}: {text}");
        // A search that has to look into the spans, the box, the story, what links, what completes: all without it.
        let paths = [
            "/traces?query=span.color%20%3D%20red".to_owned(),
            "/traces?query=span.color%20%3D~%20%22r.d%22".to_owned(),
            format!("/search?q={:016x}", 2),
            "/correlations/c-1".to_owned(),
            format!("/traces/{}", trace_hex(1)),
        ];
        for path in &paths {
            let (status, text) = page(&dashboard, path).await;
            assert_eq!(status, 200, "{name}{path}: {text}");
        }
        for path in &paths[..2] {
            let (_, text) = page(&dashboard, path).await;
            let found = [1, 2, 3].map(|number| text.contains(&trace_hex(number)));
            assert_eq!(found, [true, false, true], "{name}{path}");
        }
        let (_, story) = page(&dashboard, "/correlations/c-1").await;
        assert!(story.contains("part 1") && story.contains("part 3"), "{name}");
        assert!(story.contains("cannot be read") && story.contains(&trace_hex(2)), "{name}");
        assert_eq!(dashboard.process.terminate(20), Some(0));
        let said = dashboard.process.output();
        let line = said.lines().find(|line| line.contains("ERROR") && line.contains("block 4"));
        assert!(line.is_some_and(|line| line.contains(&name)), "{name} is not named: {said}");

        let mut again = Dashboard::with(folder.path(), &["--store", &flag]);
        let said = again.process.output();
        let line = said.lines().find(|line| line.contains("block 4"));
        assert!(line.is_some_and(|line| line.contains(&name) && line.contains("left out")), "{name}: {said}");
        for (number, expected) in [(1, 200), (2, 404), (3, 200)] {
            assert_eq!(
                page(&again, &format!("/traces/{}", trace_hex(number))).await.0,
                expected,
                "{name}: {number}"
            );
        }
        let (_, list) = page(&again, "/traces").await;
        assert_eq!([1, 2, 3].map(|number| list.contains(&trace_hex(number))), [true, false, true], "{name}");
        assert_eq!(post(&again, request("shop", &[span(4, 1, "goes on", 10)])).await, 200, "{name}");
        assert_eq!(again.process.terminate(20), Some(0));

        let mut command = Command::new(common::binary());
        let mut check = Process::start("the check", command.args(["store", "check", "--store", &flag]));
        assert_eq!(check.ended(20), Some(1), "{name}");
        assert!(check.output().contains("block 4"), "{name}: {}", check.output());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_of_another_version_or_program_is_left_alone_and_named_in_one_line() {
    // Two that are ours but for their version, two that somebody else made.
    let newer = (
        "INSERT INTO _sqlx_migrations VALUES (99, 'to come', 0, 1, x'00', 0)",
        "INSERT INTO throughline._sqlx_migrations VALUES (99, 'to come', now(), true, '', 0)",
    );
    let foreign = (
        "CREATE TABLE somebody_elses (id INTEGER)",
        "CREATE SCHEMA throughline; CREATE TABLE throughline.somebody_elses (id int)",
    );
    for (made_before, (sqlite, postgres), word) in
        [(true, newer, "newer"), (false, foreign, "another program")]
    {
        for place in places().await {
            if made_before {
                place.open().await.close().await;
            }
            place.change(sqlite, postgres).await;
            let (flag, name) = named(&place);
            for arguments in [
                vec![
                    "dashboard",
                    "--listen=127.0.0.1:0",
                    "--otlp-grpc=127.0.0.1:0",
                    "--otlp-http=127.0.0.1:0",
                ],
                vec!["store", "check"],
            ] {
                let mut command = Command::new(common::binary());
                let mut process =
                    Process::start("the program", command.args(&arguments).args(["--store", &flag]));
                assert_eq!(process.ended(20), Some(1), "{name}");
                let said = process.output();
                let lines: Vec<_> = said.lines().filter(|line| line.contains(&name)).collect();
                let [line] = lines.as_slice() else { panic!("{arguments:?}: one line names {name}: {said}") };
                assert!(line.contains(word) && line.contains("--store"), "{arguments:?}: {line}");
            }
        }
    }
}

/// Damage of a run's index: a page of terms, or a chunk of entries.
#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_index_is_named_on_the_page_and_what_it_led_to_is_found_all_the_same() {
    for place in places().await {
        let store = place.open().await;
        for first in (1..=17_000).step_by(1_000) {
            let one = |number: u64| {
                let span = span(number, 1, "GET /orders", 60_000 - number);
                if number % 1_000 == 7 { span.with("color", "red") } else { span }
            };
            send(&store, "shop", &(first..first + 1_000).map(one).collect::<Vec<_>>()).await;
        }
        common::eventually("a run is sealed", 30, async || {
            (store.holdings().await.unwrap().runs == 1).then_some(())
        })
        .await;
        store.close().await;
        drop(store);
        let (flag, name) = named(&place);
        for (what, sqlite, postgres, reds) in [
            // Distances from pair to pair that can be read and are others than those that were written.
            (
                "page",
                "UPDATE run_page SET data = substr(data, 1, 20) || x'0101' || substr(data, 23)",
                "UPDATE throughline.run_page SET data = set_byte(set_byte(data, 20, 1), 21, 1)",
                17,
            ),
            (
                "page",
                "UPDATE run_page SET data = x'ff'",
                "UPDATE throughline.run_page SET data = '\\xff'",
                17,
            ),
            (
                "chunk 0",
                "UPDATE run_chunk SET data = x'00' WHERE id & 16777215 = 0",
                "UPDATE throughline.run_chunk SET data = '\\x00' WHERE number = 0",
                16,
            ),
        ] {
            place.change(sqlite, postgres).await;
            let folder = tempfile::tempdir().unwrap();
            let mut dashboard = Dashboard::with(folder.path(), &["--store", &flag]);
            for path in [
                "/traces?query=span.color%20%3D%20red",
                "/traces?query=resource.service.name%20%3D%20shop&limit=17",
            ] {
                let (status, text) = page(&dashboard, path).await;
                assert_eq!(status, 200, "{name}{path}: {text}");
                let rows = text.matches("<tr role=\"row\"><th scope=\"row\"").count();
                assert_eq!(rows, if path.contains("red") { reds } else { 17 }, "{name}{path}");
                assert!(text.contains("cannot be read") && text.contains(what), "{name}{path}: {text}");
            }
            for path in [
                format!("/traces/{}", trace_hex(16_007)),
                "/search?q=0000000000000001".to_owned(),
                "/correlations/nobody".to_owned(),
                "/logs".to_owned(),
                "/".to_owned(),
            ] {
                let (status, text) = page(&dashboard, &path).await;
                assert!(status == 200 || path.contains("nobody") && status == 404, "{name}{path}: {text}");
            }
            let (_, text) = page(&dashboard, "/status").await;
            assert!(text.contains("What cannot be read") && text.contains(what), "{name}: {text}");
            assert_eq!(dashboard.process.terminate(20), Some(0));
            let said = dashboard.process.output();
            let line = said.lines().find(|line| line.contains("ERROR") && line.contains(what));
            assert!(line.is_some_and(|line| line.contains(&name)), "{name} is not named: {said}");
        }
    }
}

/// Damage of what a run's row tells: its rates, services and filter, or the numbers beside them.
#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_row_of_a_run_is_named_and_nothing_is_removed_for_it() {
    let undo = ("UPDATE run SET entries = entries - 1", "UPDATE throughline.run SET entries = entries - 1");
    for (sqlite, postgres, undo) in [
        (
            "UPDATE run SET entries = entries + 1",
            "UPDATE throughline.run SET entries = entries + 1",
            Some(undo),
        ),
        (
            "UPDATE run SET rest = substr(rest, 1, 40) || x'5a5a' || substr(rest, 43)",
            "UPDATE throughline.run SET rest = set_byte(rest, 41, 255 - get_byte(rest, 41))",
            None,
        ),
    ] {
        for place in places().await {
            let store = place.open().await;
            for first in (1..=17_000).step_by(1_000) {
                let spans = (first..first + 1_000).map(|number| span(number, 1, "GET /", 60_000 - number));
                send(&store, "shop", &spans.collect::<Vec<_>>()).await;
            }
            common::eventually("a run is sealed", 30, async || {
                (store.holdings().await.unwrap().runs == 1).then_some(())
            })
            .await;
            let before = store.holdings().await.unwrap();
            store.close().await;
            drop(store);
            place.change(sqlite, postgres).await;
            let (flag, name) = named(&place);
            let mut command = Command::new(common::binary());
            let free = ["--listen", "--otlp-grpc", "--otlp-http"].map(|flag| format!("{flag}=127.0.0.1:0"));
            command.arg("dashboard").args(free).args(["--store", &flag]);
            let mut process = Process::start("the dashboard", &mut command);
            assert_eq!(process.ended(20), Some(1), "{name}");
            let said = process.output();
            // The run's number is that of its first block.
            let is_named = |line: &str| ["run 1:", "run 2:"].iter().any(|run| line.contains(run));
            let line = said.lines().find(|line| line.contains(&name) && is_named(line));
            assert!(line.is_some(), "{name} and the run are not named: {said}");
            // Undone, all is there.
            if let Some((sqlite, postgres)) = undo {
                place.change(sqlite, postgres).await;
                let store = place.open().await;
                assert_eq!(store.holdings().await.unwrap().spans, before.spans, "{name}");
                store.close().await;
            }
        }
    }
}
