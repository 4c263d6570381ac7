//! What holds for logs whatever the store is kept in: each is found by everything that it can be found by, in the tail as
//! in runs, and where not all was looked at the page says so.

use std::time::Duration;

use throughline::dashboard::model::correlation::Keys;
use throughline::dashboard::model::otlp::Batch;
use throughline::dashboard::model::{Nanos, Severity};
use throughline::dashboard::store::{Ingest, Limits, LogFilter, LogPage, Reader, Store};

use super::place::{Place, id, send};
use crate::common;
use crate::common::otlp::{self, TestLog, log, span};

const MS: Nanos = 1_000_000;

pub async fn list(store: &Store, service: Option<&str>, logs: &[TestLog]) {
    let request = otlp::log_request(service, logs);
    let batch = Batch::logs(request.into(), &Keys::default()).expect("a valid request");
    store.ingest(batch).await.expect("stored");
}

/// Fills the tail until it is sealed.
pub async fn seal(store: &Store, first: u64) {
    let runs = store.holdings().await.unwrap().runs;
    for first in (first..first + 17_000).step_by(1_000) {
        let spans: Vec<_> = (first..first + 1_000).map(|number| span(number, 1, "fill", 90_000)).collect();
        send(store, "filler", &spans).await;
    }
    common::eventually("the tail is sealed", 20, async || {
        (store.holdings().await.unwrap().runs > runs).then_some(())
    })
    .await;
}

/// All pages of a filter, one after the other: body and time of each log.
async fn all(store: &Store, filter: &LogFilter) -> Texts {
    let (mut found, mut after) = (Vec::new(), filter.after);
    loop {
        let page = store.logs(&LogFilter { after, ..filter.clone() }).await.unwrap();
        assert!(page.rows.len() <= filter.limit && page.unreadable == 0 && page.not_indexed == 0);
        assert!(page.next.is_none() || page.rows.len() == filter.limit || !page.complete);
        found.extend(page.rows.iter().map(|row| (row.log.body.to_text(), row.time)));
        after = page.next;
        if after.is_none() {
            assert!(page.complete);
            return found;
        }
    }
}

/// What was sent, known apart from the store.
struct Sent {
    service: &'static str,
    log: TestLog,
}

impl Sent {
    /// Number `number` of a mixture: three have the same time each, some name no trace or have no correlation ID.
    fn new(number: u64, begin: Nanos) -> Self {
        let word = ["Card DECLINED", "Größe ÄÖ", "100% of a_b\\c", "plain"][number as usize % 4];
        let body = format!("{word} {number}.");
        let mut log = log(&body, number * 7 % 25, begin + number * 37 % 400 * MS);
        if !number.is_multiple_of(4) {
            log = log.of(number % 50);
        }
        if number.is_multiple_of(6) {
            log = log.with("correlation.id", &format!("c{}", number % 5));
        }
        log = log.with("order.id", &(number % 10).to_string());
        Self { service: ["orders", "payments", "größe"][number as usize / 20 % 3], log }
    }

    fn text(&self) -> String {
        String::from_utf8(self.log.body.clone()).unwrap()
    }

    fn has(&self, key: &str, value: &str) -> bool {
        self.log.attributes.iter().any(|(name, held)| name == key && held == value)
    }
}

/// Bodies and times of logs.
type Texts = Vec<(String, Nanos)>;

/// Whether a log carries a correlation ID, or anything else of its trace does; trace 7 has one on a span.
fn carries(one: &Sent, value: &str, sent: &[Sent]) -> bool {
    let of_trace = |trace: u64| {
        let also = |other: &Sent| other.log.trace == Some(trace) && other.has("correlation.id", value);
        value == "on-a-span" && trace == 7 || sent.iter().any(also)
    };
    one.has("correlation.id", value) || one.log.trace.is_some_and(of_trace)
}

/// What a filter has to find.
fn matching(filter: &LogFilter, sent: &[Sent]) -> Texts {
    let wanted = sent.iter().filter(|one| {
        let text = one.text().to_lowercase();
        filter.from.is_none_or(|from| one.log.time >= from)
            && filter.to.is_none_or(|to| one.log.time <= to)
            && filter.service.as_deref().is_none_or(|name| one.service == name)
            && one.log.severity >= u64::from(filter.least_severity)
            && filter.trace.is_none_or(|trace| one.log.trace.map(id) == Some(trace))
            && filter.correlation.as_deref().is_none_or(|value| carries(one, value, sent))
            && filter.text.as_ref().is_none_or(|wanted| text.contains(&wanted.to_lowercase()))
            && filter
                .attributes
                .iter()
                .all(|(key, value)| one.has(key, value) || key == "service.name" && one.service == value)
    });
    wanted.map(|one| (one.text(), one.log.time)).collect()
}

/// Each filter alone and combined. Those whose name begins with "no" find nothing.
fn filters(begin: Nanos) -> Vec<(&'static str, LogFilter)> {
    let all = LogFilter { limit: 1000, ..LogFilter::default() };
    let text = |text: &str| LogFilter { text: Some(text.into()), ..all.clone() };
    let least = |least_severity| LogFilter { least_severity, ..all.clone() };
    let time =
        |from, to| LogFilter { from: Some(begin + from * MS), to: Some(begin + to * MS), ..all.clone() };
    let service = |name: &str| LogFilter { service: Some(name.into()), ..all.clone() };
    let trace = |number| LogFilter { trace: Some(id(number)), ..all.clone() };
    let correlation = |value: &str| LogFilter { correlation: Some(value.into()), ..all.clone() };
    let attribute =
        |key: &str, value: &str| LogFilter { attributes: vec![(key.into(), value.into())], ..all.clone() };
    let several = LogFilter {
        service: Some("payments".into()),
        least_severity: Severity::Info.least(),
        text: Some("größe".into()),
        attributes: attribute("order.id", "5").attributes,
        ..time(20, 390)
    };
    let story = LogFilter { trace: Some(id(7)), least_severity: 5, ..correlation("on-a-span") };
    vec![
        ("all", all.clone()),
        ("time", time(50, 299)),
        ("one time", time(37, 37)),
        ("no time", time(5, 4)),
        ("service", service("größe")),
        ("no service", service("order")),
        ("severity", least(Severity::Error.least())),
        ("told", least(1)),
        ("within a band", least(15)),
        ("trace", trace(7)),
        ("no trace", trace(4_000_000)),
        ("correlation", correlation("c1")),
        ("on a span", correlation("on-a-span")),
        ("no correlation", correlation("c")),
        ("attribute", attribute("order.id", "3")),
        ("of a resource", attribute("service.name", "orders")),
        ("no attribute", attribute("order.id", "33")),
        ("text", text("dEcLiNeD 1")),
        ("text of others", text("gRÖßE äö")),
        ("text with signs", text("% OF a_b\\")),
        ("no pattern", text("100_ of")),
        ("no text", text("nowhere")),
        ("several", several),
        ("of a trace and a story", story),
    ]
}

pub async fn logs_are_found_by_everything_in_the_tail_and_in_runs(place: &Place) {
    let mut store = place.open().await;
    let begin = otlp::now() / MS * MS - 600_000 * MS;
    let mut sent = Vec::new();
    send(&store, "gateway", &[span(7, 1, "POST /orders", 590_000).with("correlation.id", "on-a-span")]).await;
    for round in 0..3u64 {
        let new: Vec<_> = (round * 400..round * 400 + 400).map(|number| Sent::new(number, begin)).collect();
        for group in new.chunks(20) {
            let logs: Vec<_> = group.iter().map(|one| one.log.clone()).collect();
            list(&store, Some(group[0].service), &logs).await;
        }
        sent.extend(new);
        for limit in [1000, 7] {
            for (name, filter) in filters(begin) {
                let mut wanted = matching(&filter, &sent);
                assert_eq!(wanted.is_empty(), name.starts_with("no "), "{name} tells nothing");
                let mut found = all(&store, &LogFilter { limit, ..filter.clone() }).await;
                assert!(found.is_sorted_by(|a, b| a.1 >= b.1), "{name}: newest first");
                found.sort();
                wanted.sort();
                assert_eq!(found, wanted, "{name}, {limit} a page, round {round}");
                counts_agree(&store, &filter, &wanted, &sent).await;
            }
        }
        match round {
            0 => seal(&store, 100_000).await,
            1 => {
                seal(&store, 200_000).await;
                store = place.reopen(store).await;
            }
            _ => {}
        }
    }
    assert_eq!(store.holdings().await.unwrap().runs, 2);
    store.close().await;
}

/// Logs counted over time are those that are found, unless texts and attributes are left to be looked at.
async fn counts_agree(store: &Store, filter: &LogFilter, wanted: &[(String, Nanos)], sent: &[Sent]) {
    let counts = store.log_counts(filter, 20).await.unwrap();
    assert!(counts.complete);
    if filter.reads_logs() {
        assert!(counts.total() >= wanted.len() as u64);
        return;
    }
    let mut steps = vec![[0u64; Severity::COUNT]; counts.steps.len()];
    for one in sent {
        if wanted.contains(&(one.text(), one.log.time)) {
            let step = (one.log.time - counts.from) / counts.step;
            steps[step as usize][Severity::of(one.log.severity as u8) as usize] += 1;
        }
    }
    assert_eq!(counts.steps, steps, "{filter:?}");
}

fn found(page: &LogPage) -> Vec<String> {
    page.rows.iter().map(|row| row.log.body.to_text()).collect()
}

pub async fn a_log_that_says_nothing_of_itself_is_found_all_the_same(place: &Place) {
    let store = place.open().await;
    let before = otlp::now();
    let year = 365 * 86_400_000 * MS;
    let logs = [
        log("no time", 0, 0),
        TestLog { observed: before - 1_000 * MS, ..log("observed", 40, 0) },
        log("a year ahead", 9, before + year),
        log("long ago", 9, 1),
        log("", 9, before - 2_000 * MS),
    ];
    list(&store, None, &logs).await;
    let after = otlp::now();
    let newest = LogFilter { limit: 10, ..LogFilter::default() };
    let unknown = LogFilter { service: Some("unknown_service".into()), from: Some(1), ..newest.clone() };
    let mut store = store;
    for round in 0..2 {
        if round == 1 {
            store = place.reopen(store).await;
        }
        for filter in [&newest, &unknown] {
            let page = store.logs(filter).await.unwrap();
            // What cannot have been yet, or does not say when it was, came when it was received.
            let (came, rest) = page.rows.split_at(2);
            assert!(came.iter().all(|row| (before..=after).contains(&row.time)), "round {round}");
            let texts: Vec<_> = rest.iter().map(|row| (row.log.body.to_text(), row.time)).collect();
            let texts: Vec<_> = texts.iter().map(|(text, time)| (text.as_str(), *time)).collect();
            assert_eq!(
                texts,
                [("observed", before - 1_000 * MS), ("", before - 2_000 * MS), ("long ago", 1)]
            );
        }
        let fatal = LogFilter { least_severity: Severity::Fatal.least(), ..newest.clone() };
        assert_eq!(found(&store.logs(&fatal).await.unwrap()), ["observed"]);
        let counts =
            store.log_counts(&LogFilter { from: Some(before - 10_000 * MS), ..newest.clone() }, 5).await;
        assert_eq!(counts.unwrap().totals(), [1, 0, 0, 2, 0, 0, 1]);
    }
    store.close().await;
}

pub async fn pages_go_on_among_equal_times_while_the_tail_is_sealed(place: &Place) {
    let store = place.open().await;
    let now = otlp::now();
    let logs: Vec<_> =
        (0..10_000).map(|number| log(&format!("{number}"), 9, now - 1_000 * MS).of(number % 100)).collect();
    for logs in logs.chunks(1_000) {
        list(&store, Some("a"), logs).await;
    }
    let filter = LogFilter { limit: 700, ..LogFilter::default() };
    let first = store.logs(&filter).await.unwrap();
    let second = store.logs(&LogFilter { after: first.next, ..filter.clone() }).await.unwrap();
    assert!(second.examined < 3_500, "{} rows looked at for 700", second.examined);
    seal(&store, 100_000).await;
    // Newer ones do not push the page that is turned to.
    list(&store, Some("a"), &[log("newer", 9, now), log("equal", 9, now - 1_000 * MS)]).await;
    let store = place.reopen(store).await;
    let mut texts: Vec<_> = found(&first).into_iter().chain(found(&second)).collect();
    let rest = all(&store, &LogFilter { after: second.next, ..filter.clone() }).await;
    texts.extend(rest.into_iter().map(|(text, _)| text));
    let order = texts.clone();
    texts.sort_by_key(|text| text.parse::<u64>().unwrap());
    assert_eq!(texts, (0..10_000).map(|number| number.to_string()).collect::<Vec<_>>());
    let whole: Vec<_> = all(&store, &filter).await.into_iter().map(|(text, _)| text).collect();
    assert_eq!(whole[..2], ["newer", "equal"]);
    assert_eq!(whole[2..], order, "the same order as before the seal");
    store.close().await;
}

pub async fn late_logs_of_an_old_trace_are_found_by_it(place: &Place) {
    let store = place.open().await;
    let now = otlp::now();
    send(&store, "gateway", &[span(1, 1, "POST /orders", 3_600_000).with("correlation.id", "c-old")]).await;
    list(&store, Some("orders"), &[log("early", 9, now - 3_600_000 * MS).of(1)]).await;
    seal(&store, 100_000).await;
    list(&store, Some("orders"), &[log("late", 17, now - 1_000 * MS).of(1), log("other", 9, now).of(2)])
        .await;
    let newest = LogFilter { limit: 10, ..LogFilter::default() };
    for filter in [
        LogFilter { trace: Some(id(1)), ..newest.clone() },
        LogFilter { correlation: Some("c-old".into()), ..newest.clone() },
    ] {
        assert_eq!(found(&store.logs(&filter).await.unwrap()), ["late", "early"], "{filter:?}");
        let lately = LogFilter { from: Some(now - 60_000 * MS), ..filter };
        assert_eq!(found(&store.logs(&lately).await.unwrap()), ["late"]);
    }
    store.close().await;
}

pub async fn a_search_that_ends_before_its_range_says_so_and_goes_on(place: &Place) {
    let store = place.open().await;
    let begin = otlp::now() - 100_000 * MS;
    let total = LogFilter::OPENED + 3_000;
    for first in (0..total).step_by(3_000) {
        let logs: Vec<_> = (first..first + 3_000)
            .map(|number| log(if number == 5 { "the Needle" } else { "hay" }, 9, begin + number * MS))
            .collect();
        list(&store, Some("a"), &logs).await;
    }
    let filter = LogFilter { text: Some("needle".into()), limit: 10, ..LogFilter::default() };
    let page = store.logs(&filter).await.unwrap();
    assert!(!page.complete && page.rows.is_empty(), "{} rows", page.rows.len());
    assert_eq!((page.opened, page.examined >= page.opened), (LogFilter::OPENED, true));
    let rest = store.logs(&LogFilter { after: page.next, ..filter }).await.unwrap();
    assert_eq!((found(&rest), rest.complete, rest.opened), (vec!["the Needle".to_owned()], true, 3_000));
    store.close().await;
}

pub async fn logs_of_a_broken_block_are_counted_and_the_rest_stays_readable(place: &Place) {
    let store = place.open().await;
    let now = otlp::now();
    for number in 1..=3 {
        list(&store, Some("a"), &[log(&format!("log {number}"), 9, now - (10 - number) * MS)]).await;
    }
    place
        .change(
            "UPDATE block SET data = substr(data, 1, length(data) / 2) || x'5a' ||
             substr(data, length(data) / 2 + 2) WHERE id = 4",
            "UPDATE throughline.block SET data = set_byte(data, length(data) / 2,
             255 - get_byte(data, length(data) / 2)) WHERE id = 4",
        )
        .await;
    let filter = LogFilter { limit: 10, ..LogFilter::default() };
    for text in [None, Some("LOG".to_owned())] {
        let page = store.logs(&LogFilter { text, ..filter.clone() }).await.unwrap();
        assert_eq!((found(&page), page.unreadable), (vec!["log 3".to_owned(), "log 1".to_owned()], 1));
    }
    store.close().await;
}

pub async fn logs_go_with_their_run(place: &Place) {
    let store = place.open().await;
    list(&store, Some("a"), &[log("old", 9, otlp::now() - 5_000 * MS)]).await;
    seal(&store, 100_000).await;
    list(&store, Some("a"), &[log("new", 9, otlp::now())]).await;
    store.close().await;
    drop(store);
    let limits = Limits { max_bytes: 1, every: Duration::from_millis(20), ..Limits::default() };
    let store = place.open_with(limits).await;
    let filter = LogFilter { limit: 10, ..LogFilter::default() };
    common::eventually("the run is removed", 20, async || {
        (store.holdings().await.unwrap().runs == 0).then_some(())
    })
    .await;
    assert_eq!(found(&store.logs(&filter).await.unwrap()), ["new"]);
    store.close().await;
}
