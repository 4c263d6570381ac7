//! A store that is packed tightly is smaller and answers the same; it may be cut off and goes on.

use std::process::Command;

use crate::common::otlp::span;
use crate::common::{binary, eventually};
use crate::place::{Place, id, newest, send, send_logs};
use throughline::dashboard::store::check::check;
use throughline::dashboard::store::compact::compact;
use throughline::dashboard::store::{Reader, Store, TraceFilter};

const AGENTS: [&str; 3] = [
    "shop-client/2.1 (linux; x86_64)",
    "Mozilla/5.0 (X11; Linux x86_64) Gecko/20100101",
    "okhttp/4.12.0 shop-android/7.3",
];

/// Fills a store until it has `runs`, with a tail behind them.
async fn fill(place: &Place, runs: usize, from: u64) -> u64 {
    let store = place.open().await;
    let mut next = from;
    while store.holdings().await.unwrap().runs < runs {
        let spans: Vec<_> = (next..next + 1_000)
            .map(|number| {
                span(number, 1, "GET /orders", 90_000)
                    .with("correlation.id", &format!("c{}", number / 2))
                    .with("url.path", &format!("/shops/{}/orders/{number}", number.wrapping_mul(7_919) % 501))
                    .with("user.id", &format!("user-{}", number.wrapping_mul(0x9e37_79b9_7f4a_7c15) % 5_000))
                    .with("server.address", &format!("orders-{}.shop.internal", number % 7))
                    .with("user_agent.original", AGENTS[number as usize * 7 % 3])
            })
            .collect();
        send(&store, "orders", &spans).await;
        send_logs(&store, "orders", &[("taken", Some(next), None)]).await;
        next += 1_000;
    }
    send(&store, "orders", &[span(next, 1, "latest", 50)]).await;
    store.close().await;
    next
}

async fn answers(store: &Store, last: u64) -> String {
    let page = store.traces(&newest(100)).await.unwrap();
    let chosen = store.traces(&TraceFilter { correlation: Some("c300".into()), ..newest(5) }).await.unwrap();
    let mut all = format!("{page:?} {chosen:?} {:?}", store.correlated("c17").await.unwrap());
    for number in [0, 1, 999, 5_000, 16_001, last - 1, last] {
        all += &format!("{:?}", store.trace(id(number)).await.unwrap().expect("it is there"));
    }
    all
}

async fn answers_at(place: &Place, last: u64) -> String {
    let store = place.open().await;
    let all = answers(&store, last).await;
    store.close().await;
    all
}

async fn gets_smaller(place: &Place) {
    let last = fill(place, 1, 0).await;
    let (before, whole) = (answers_at(place, last).await, check(&place.location(), |_, _| {}).await.unwrap());
    let mut told = Vec::new();
    let done = compact(&place.location(), |done, all| told.push((done, all))).await.unwrap();
    assert!(done.after < done.before, "{} became {}", done.before, done.after);
    assert!(done.runs == 1 && done.rows > 30, "{done:?}");
    assert!(told.is_sorted() && told[told.len() - 1].0 == told[0].1, "{told:?}");
    assert_eq!(check(&place.location(), |_, _| {}).await.unwrap(), whole);
    assert_eq!(answers_at(place, last).await, before);
    // The next time there is nothing to do; later, what has come since.
    let again = compact(&place.location(), |_, _| {}).await.unwrap();
    assert_eq!((again.runs, again.rows), (0, 0));
    let last = fill(place, 2, last + 1).await;
    let more = compact(&place.location(), |_, _| {}).await.unwrap();
    assert_eq!(more.runs, 1, "{more:?}");
    let checked = check(&place.location(), |_, _| {}).await.unwrap();
    assert_eq!(
        (checked.trouble_count, checked.runs, checked.spans),
        (0, 2, last + 1),
        "{:?}",
        checked.troubles
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_gets_smaller_and_answers_the_same() {
    let place = Place::sqlite().await;
    gets_smaller(&place).await;
    let running = place.open().await;
    let error = compact(&place.location(), |_, _| {}).await.expect_err("in use").to_string();
    assert!(error.contains("store.db") && error.contains("in use"), "{error}");
    running.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_gets_smaller_and_answers_the_same() {
    gets_smaller(&Place::postgres().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_cut_off_goes_on() {
    let place = Place::sqlite().await;
    let last = fill(&place, 2, 0).await;
    let before = answers_at(&place, last).await;
    // Cut off in the middle of the first run.
    let cut = tokio::time::timeout(std::time::Duration::from_secs(60), async {
        let (location, cut) = (place.location(), tokio_util::sync::CancellationToken::new());
        let work = compact(&location, |done, all| {
            if done * 4 > all {
                cut.cancel();
            }
        });
        tokio::select! {
            biased;
            () = cut.cancelled() => true,
            _ = work => false,
        }
    });
    assert!(cut.await.expect("in time"), "it was not cut off");
    let Place::Sqlite(folder) = &place else { unreachable!("just made") };
    let file = format!("sqlite://{}", folder.path().join("store.db").display());
    let output = eventually("the file is let go of", 10, async || {
        let output = Command::new(binary()).args(["store", "compact", "--store", &file, "--json"]).output();
        Some(output.unwrap()).filter(|output| output.status.success())
    })
    .await;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(said.contains("\"runs\":2") && said.contains("\"given_back\":true"), "{said}");
    assert!(output.stderr.is_empty(), "no bar on a pipe");
    assert_eq!(check(&place.location(), |_, _| {}).await.unwrap().trouble_count, 0);
    assert_eq!(answers_at(&place, last).await, before);
}
