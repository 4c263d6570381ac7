//! Stories told from fixtures: verdicts, acts, waits, drawings, and shapes that must not break anything.

use super::acts::Weight;
use super::fixture::{self, MS, Sheet, T0, story_of};
use super::sequence::Row;
use super::*;
use crate::dashboard::model::{Event, Kind, Value};
use crate::dashboard::query::breakers::near::Near;
use crate::dashboard::query::breakers::one::{Because, Transition};
use crate::dashboard::query::breakers::{Key, Library, State as BreakerState};
use crate::dashboard::query::prose::Prose;

/// A sentence as plain text; durations in whole milliseconds.
fn plain(prose: &Prose) -> String {
    prose.plain(|ns| format!("{} ms", ns / MS), |at| format!("+{}", (at - T0) / MS))
}

fn told(material: &Material, after_ms: u64) -> Story {
    tell(material, &Wish::default(), T0 + after_ms * MS)
}

fn lines(story: &Story) -> Vec<String> {
    story.acts.list.iter().map(|act| plain(&act.said)).collect()
}

fn has(story: &Story, text: &str) -> bool {
    let lines = lines(story);
    assert!(lines.iter().any(|line| line.contains(text)), "no {text:?} in {lines:#?}");
    true
}

#[test]
fn tells_the_dead_letter_of_the_failing_order() {
    let story = told(&fixture::dead_lettered(), 60_000);
    assert_eq!(story.verdict.state, State::DeadLettered);
    assert_eq!(
        plain(&story.verdict.headline),
        "Dead-lettered in orders.dlq after 3 deliveries: card_declined: do_not_honor"
    );
    let lede = plain(&story.verdict.lede);
    assert!(lede.starts_with("First failed in payments at +646, calling card-processor."), "{lede}");
    assert!(lede.contains("went to orders.dlq 52850 ms ago and has not been seen since"), "{lede}");
    assert!(lede.contains("gateway answered POST /orders with 202 after 412 ms"), "{lede}");
    let (trace, span) = story.verdict.cause.unwrap();
    assert_eq!((trace, span), (fixture::trace_id(0xc3), fixture::span_id(32)));
    let facts = &story.facts;
    assert_eq!((facts.traces, facts.messages, facts.logs, facts.services.len()), (3, 2, 6, 7));
    assert_eq!(facts.length(), 7_380 * MS);
    assert_eq!(facts.about, [("order.id".to_owned(), "ord_90412".to_owned())]);
    // 364..414 first, then the two retries; the short waits of the others overlap or follow.
    assert!((6_000 * MS..6_200 * MS).contains(&facts.waiting), "{}", facts.waiting);
}

#[test]
fn the_acts_are_in_order_with_waits_and_the_first_failure() {
    let story = told(&fixture::dead_lettered(), 60_000);
    let lines = lines(&story);
    let at = |text: &str| {
        lines
            .iter()
            .position(|line| line.contains(text))
            .unwrap_or_else(|| panic!("no {text:?} in {lines:#?}"))
    };
    let order = [
        at("gateway answered POST /orders with 202 after 412 ms."),
        at("inventory answered POST /reservations with 201 after 56 ms for orders"),
        at("orders published order.placed; it reached 4 queues."),
        at(
            "payments took delivery 1 of order.placed from payments.charge: card_declined: do_not_honor. Back to payments.charge, to be delivered again in 2000 ms.",
        ),
        at("payments took delivery 2 of order.placed: card_declined"),
        at("payments took delivery 3 of order.placed: card_declined"),
        at("That was the last delivery: the message went to orders.dlq."),
        at("not seen again since it went to orders.dlq"),
        at("It is here. Another try would be delivery 4."),
    ];
    assert!(order.is_sorted(), "{order:?} {lines:#?}");
    let firsts: Vec<_> = story.acts.list.iter().filter(|act| act.first_failure).collect();
    assert_eq!(firsts.len(), 1);
    assert_eq!(firsts[0].at, Some(T0 + 646 * MS));
    let waits: Vec<(u64, String)> =
        story.acts.list.iter().filter_map(|act| Some((act.length? / MS, plain(&act.said)))).collect();
    assert_eq!(waits[0], (2_006, "waited in payments.charge".to_owned()));
    assert_eq!(waits[1], (4_010, "waited in payments.charge".to_owned()));
    assert_eq!(waits[2].0, 52_850);
    assert!(story.acts.quiet > 8, "{}", story.acts.quiet);
    assert_eq!(story.acts.list[0].details, [("user.id".to_owned(), "usr_18833".to_owned())]);
    let failed = story.acts.list.iter().find(|act| act.first_failure).unwrap();
    assert!(failed.refs.iter().any(|reference| matches!(reference, Ref::Log(..))), "{:?}", failed.refs);
}

#[test]
fn the_chart_folds_the_waits_and_shows_where_the_message_is() {
    let story = told(&fixture::dead_lettered(), 60_000);
    let lanes: Vec<&str> = story
        .chart
        .lanes
        .iter()
        .map(|lane| match lane {
            chart::Lane::Service(name) => name.as_str(),
            chart::Lane::Place(place) => place.name(),
        })
        .collect();
    assert_eq!(
        lanes,
        [
            "gateway",
            "users",
            "orders",
            "inventory",
            "payments",
            "payments.charge",
            "notifications",
            "analytics",
            "orders.dlq"
        ]
    );
    let busy: Vec<bool> = story.chart.axis.pieces.iter().map(axis::Piece::is_busy).collect();
    assert_eq!(busy, [true, false, true, false, true, false]);
    assert_eq!(story.chart.heads.len(), 3);
    assert_eq!(story.chart.heads[0].one.as_ref().unwrap().2, "gateway POST /orders");
    assert_eq!(story.chart.here.unwrap().0, 8);
    assert_eq!(story.chart.marks.len(), 3);
    assert_eq!(story.chart.roofs.len(), 3);
    let dashed =
        story.chart.way.iter().filter(|part| matches!(part, chart::WayPart::Across { waits: true, .. }));
    assert_eq!(dashed.count(), 4);
    let solid: Vec<usize> = story
        .chart
        .way
        .iter()
        .filter_map(|part| match part {
            chart::WayPart::Across { lane, waits: false, .. } => Some(*lane),
            _ => None,
        })
        .collect();
    assert_eq!(solid, [0, 2, 4, 4, 4], "gateway, orders, payments three times");
}

#[test]
fn the_sequence_names_deliveries_and_the_dead_letter() {
    let story = told(&fixture::dead_lettered(), 60_000);
    let sequence = &story.sequence;
    let labels: Vec<&str> = sequence
        .rows
        .iter()
        .filter_map(|row| match row {
            Row::Exchange { label, .. } => Some(label.as_str()),
            Row::Gap(_) | Row::Change { .. } => None,
        })
        .collect();
    for wanted in ["POST /orders", "order.placed", "delivery 1", "delivery 2", "delivery 3"] {
        assert!(labels.contains(&wanted), "{wanted} in {labels:?}");
    }
    assert!(labels.contains(&"dead-lettered: card_declined: do_not_honor"), "{labels:?}");
    assert_eq!(sequence.rows.iter().filter(|row| matches!(row, Row::Gap(_))).count(), 2);
    assert!(sequence.parties.len() <= 8 && sequence.rows.len() <= 40);
    assert_eq!(sequence.parties[sequence.here.unwrap()].name(), "orders.dlq");
}

#[test]
fn a_retry_that_succeeds_is_no_failure() {
    let story = told(&fixture::retried(), 60_000);
    assert_eq!(story.verdict.state, State::Retried);
    assert_eq!(
        plain(&story.verdict.headline),
        "Retried, then succeeded (at first: card_declined: do_not_honor)"
    );
    assert!(plain(&story.verdict.lede).contains("payments succeeded with delivery 2 at +2900"));
    assert!(story.chart.here.is_none());
    has(&story, "payments took delivery 2 of order.placed.");
}

#[test]
fn a_message_that_waits_for_its_retry_is_said_to_wait_then_to_be_overdue() {
    let story = told(&fixture::waiting(), 1_654);
    assert_eq!(story.verdict.state, State::Waiting);
    assert_eq!(
        plain(&story.verdict.headline),
        "Waiting in payments.charge for delivery 2: card_declined: do_not_honor"
    );
    has(&story, "It is here. Delivery 2 is due in 1000 ms.");
    let story = told(&fixture::waiting(), 600_000);
    assert_eq!(story.verdict.state, State::Overdue);
    assert!(plain(&story.verdict.headline).starts_with("Delivery 2 from payments.charge is overdue"));
}

#[test]
fn all_well_is_said_in_one_line_and_fresh_stories_are_still_running() {
    let story = told(&fixture::well(), 600_000);
    assert_eq!(story.verdict.state, State::Well);
    assert_eq!(plain(&story.verdict.headline), "All went well: 7 services in 654 ms");
    assert!(!story.acts.list.iter().any(|act| act.weight == Weight::Bad));
    let story = told(&fixture::well(), 3_000);
    assert_eq!(story.verdict.state, State::Running);
    assert!(plain(&story.verdict.lede).contains("Last heard from"));
}

#[test]
fn pika_doubles_producers_and_hides_queues() {
    let story = told(&fixture::pika(), 600_000);
    assert_eq!(story.facts.messages, 1);
    assert_eq!(story.verdict.state, State::Retried);
    assert_eq!(lines(&story).iter().filter(|line| line.contains("published")).count(), 1);
    has(&story, "shipper took orders: no carrier.");
    has(&story, "shipper took delivery 2 of orders.");
    has(&story, "shop answered POST /orders with 200 after 40 ms.");
    // One trace, two pieces: the wait between them is folded.
    let heads: Vec<bool> = story.chart.heads.iter().map(|head| head.goes_on).collect();
    assert_eq!(heads, [false, true]);
    let text = lines(&story).join("\n");
    assert!(!text.contains("Back to") && !text.contains("dead"), "{text}");
}

#[test]
fn old_names_are_read_and_lone_logs_are_told() {
    let story = told(&fixture::old_names(), 600_000);
    assert_eq!(story.verdict.state, State::Failed);
    assert_eq!(plain(&story.verdict.headline), "Failed in prices: table prices is locked");
    has(&story, "prices failed GET /p: table prices is locked.");
    has(&story, "web answered 502 to GET /cart after 120 ms.");
    has(&story, "cleaner logged: cart was dropped");
    assert_eq!(story.facts.messages, 0);
    let first = story.acts.list.iter().find(|act| act.first_failure).unwrap();
    assert_eq!(first.services[0], "prices");
}

#[test]
fn a_link_ties_two_traces_without_messages() {
    let story = told(&fixture::tied_by_link(), 600_000);
    assert_eq!(story.verdict.state, State::Well);
    has(&story, "import began read file.");
    has(&story, "import began write rows.");
    assert!(story.chart.heads[1].by_link && !story.chart.heads[0].by_link);
    // The line goes over the link, from the first trace to the second.
    let visits = story.chart.way.iter().filter(|part| matches!(part, chart::WayPart::Across { .. })).count();
    assert_eq!(visits, 2);
    assert_eq!(story.facts.about, [("file.id".to_owned(), "f-1".to_owned())]);
}

#[test]
fn only_logs_and_nothing_at_all_are_stories_too() {
    let mut material = Material::default();
    assert_eq!(told(&material, 0).verdict.state, State::OnlyLogs);
    material.logs.push(fixture::log("cleaner", 9, 10, "swept", None));
    let story = told(&material, 1_000);
    assert_eq!(plain(&story.verdict.headline), "Only logs carry this ID: 1 log of 1 service");
    has(&story, "cleaner logged: swept");
}

#[test]
fn what_was_not_found_is_an_answer_and_not_a_failure() {
    let story = told(&fixture::not_found(), 600_000);
    assert_eq!(story.verdict.state, State::Refused);
    assert_eq!(plain(&story.verdict.headline), "gateway answered 404 to GET /orders/{id}");
    assert!(!plain(&story.verdict.lede).contains("failed"));
    assert!(story.acts.list.iter().all(|act| act.weight != Weight::Bad && !act.first_failure));
    assert!(story.chart.marks.is_empty());
}

#[test]
fn a_call_that_failed_is_told_where_its_caller_went_on() {
    let story = told(&fixture::gone_on(), 600_000);
    assert_eq!(story.verdict.state, State::Recovered);
    assert_eq!(
        plain(&story.verdict.headline),
        "Went through, though gateway’s call to orders failed: connection refused"
    );
    has(&story, "gateway went on without GET /orders/{id} of orders: connection refused.");
}

#[test]
fn secrets_are_masked_wherever_they_stand() {
    let token = "eyJhbGciOiJub25lIn0.eyJzdWIiOiJtZSJ9.c2lnbmF0dXJl";
    let mut sheet = Sheet::new(1);
    let span =
        sheet.span((1, 0), "web", (Kind::Server, "GET /"), (0, 9), "user.password=hunter2|login.token=abc");
    fixture::fail(span, &format!("refused Bearer {token} by http://me:hunter2@db.example/x"));
    sheet.log(1, "web", 17, 5, &format!("Authorization: Bearer {token}"));
    let story = told(&story_of(vec![sheet]), 100_000);
    let all = format!("{:?}{:?}{:?}", story.verdict, story.acts.list, story.logs);
    assert!(all.contains("refused") && !all.contains(token) && !all.contains("hunter2"), "{all}");
    assert!(!all.contains("login.token"), "{all}");
}

#[test]
fn filters_narrow_acts_but_not_the_verdict() {
    let wish = Wish { service: Some("inventory".into()), kind: Some(ActKind::Message), ..Wish::default() };
    let story = tell(&fixture::dead_lettered(), &wish, T0 + 60_000 * MS);
    assert_eq!(story.verdict.state, State::DeadLettered);
    assert_eq!(lines(&story), ["inventory took order.placed from inventory.commit."]);
    assert!(story.acts.filtered > 5);
    let all = Wish { quiet: true, ..Wish::default() };
    let story = tell(&fixture::dead_lettered(), &all, T0 + 60_000 * MS);
    has(&story, "UPDATE stock");
    assert_eq!(story.acts.quiet, 0);
}

#[test]
fn hostile_shapes_end() {
    let mut sheet = Sheet::new(1);
    // A cycle, a span that is its own parent, times of 0, far ahead and backwards.
    sheet.span((1, 2), "a", (Kind::Internal, "one"), (0, 10), "");
    sheet.span((2, 1), "a", (Kind::Internal, "two"), (0, 10), "");
    sheet.span((3, 3), "b", (Kind::Server, ""), (5, 5), "");
    sheet.span((4, 9), "b", (Kind::Consumer, "recv"), (6, 7), "");
    let span = sheet.span((5, 3), "b", (Kind::Client, "zero"), (0, 0), "");
    (span.start, span.end) = (0, 0);
    let span = sheet.span((6, 3), "b", (Kind::Client, "far"), (0, 0), "");
    (span.start, span.end) = (u64::MAX, u64::MAX);
    sheet.span((7, 3), "b", (Kind::Producer, "back"), (9, 2), "messaging.message.id=1");
    let story = told(&story_of(vec![sheet]), 100);
    assert_eq!(story.facts.length(), 10 * MS);
    assert_eq!(story.facts.spans, 7);
}

#[test]
fn a_clock_that_is_behind_changes_neither_order_nor_sense() {
    let mut sheet = Sheet::new(1);
    sheet.span((1, 0), "ahead", (Kind::Server, "GET /"), (1_000, 1_100), "http.method=GET|http.target=/");
    sheet.span((2, 1), "behind", (Kind::Server, "GET /in"), (10, 60), "http.method=GET|http.target=/in");
    let story = told(&story_of(vec![sheet]), 100_000);
    let skew = story.skew.as_ref().unwrap();
    assert_eq!((skew.ahead.as_str(), skew.behind.as_str(), skew.by), ("ahead", "behind", 990 * MS));
    assert!(lines(&story)[0].starts_with("ahead answered"), "{:?}", lines(&story));
}

#[test]
fn large_stories_stay_bounded() {
    let mut sheets = Vec::new();
    for number in 0..200u8 {
        let mut sheet = Sheet::new(number.max(1));
        let at = u64::from(number) * 30_000;
        for id in 0..100u16 {
            let service = format!("service-{}", id % 30);
            let span = sheet.span(
                (id + 1, id),
                &service,
                (Kind::Server, "GET /deep"),
                (at, at + 100),
                "http.method=GET|http.target=/",
            );
            if id % 7 == 0 {
                fixture::fail(span, "deep trouble");
            }
        }
        sheets.push(sheet);
    }
    let material = story_of(sheets);
    let story = told(&material, 6_000_000);
    assert!(story.chart.lanes.len() <= 18 && story.chart.more_lanes == 12);
    assert!(story.chart.bars.len() < 2_000 && story.chart.bands.len() <= 60);
    assert!(story.sequence.rows.len() <= 80 && story.sequence.left_out > 0);
}

#[test]
fn a_chain_as_deep_as_a_trace_does_not_overflow_the_stack() {
    let mut sheet = Sheet::new(1);
    for id in 1..20_000u16 {
        sheet.span((id, id - 1), "deep", (Kind::Internal, "step"), (0, 10), "");
    }
    sheet.trace.spans.reverse();
    let story = told(&story_of(vec![sheet]), 100_000);
    assert_eq!(story.facts.spans, 19_999);
    assert_eq!(story.chart.bars.len(), 1);
}

/// A change of the breaker `cards` of payments, as metrics tell of it.
fn near(at_ms: u64, from: BreakerState, to: BreakerState) -> Near {
    Near {
        key: Key { service: "payments".into(), name: "cards".into(), library: Library::Resilience4j },
        change: Transition {
            at: T0 + at_ms * MS,
            from,
            to,
            instances: vec!["a".into(), "b".into()],
            told: None,
            exact: false,
            reason: None,
            because: Because::Untold,
        },
    }
}

#[test]
fn breakers_that_only_metrics_tell_of_are_in_the_story_its_verdict_and_its_drawings() {
    use BreakerState::{Closed, Open};
    let changes = vec![near(700, Closed, Open), near(5_000, Open, Closed)];
    let material = Material { changes, ..fixture::dead_lettered() };
    let story = told(&material, 60_000);
    let lede = plain(&story.verdict.lede);
    assert!(lede.contains("The breaker cards of payments opened at +700 and closed at +5000."), "{lede}");
    let breaker = Ref::Breaker("payments".into(), "cards".into());
    let acts: Vec<_> = story.acts.list.iter().filter(|act| act.refs.contains(&breaker)).collect();
    let said: Vec<String> = acts.iter().map(|act| plain(&act.said)).collect();
    assert_eq!(
        said,
        [
            "The breaker cards of payments opened in 2 instances, metrics tell.",
            "The breaker cards of payments closed in 2 instances, metrics tell."
        ]
    );
    let lane = story.chart.lanes.iter().position(|lane| *lane == chart::Lane::Service("payments".into()));
    let marks: Vec<_> = story.chart.switches.iter().map(|mark| (Some(mark.lane), mark.state)).collect();
    assert_eq!(marks, [(lane, Open), (lane, Closed)]);
    let rows = story.sequence.rows.iter();
    let drawn: Vec<_> = rows
        .filter_map(|row| if let Row::Change { state, .. } = row { Some(*state) } else { None })
        .collect();
    assert_eq!(drawn, [Open, Closed]);
}

#[test]
fn what_a_span_tells_of_a_breaker_is_not_told_again_by_metrics() {
    let mut material = Material {
        changes: vec![near(8_000, BreakerState::Closed, BreakerState::Open)],
        ..fixture::dead_lettered()
    };
    let span = &mut material.traces[0].spans[12];
    assert_eq!(span.service(), "payments");
    let text = |key: &str, text: &str| (key.to_owned(), Value::Text(text.into()));
    span.events.push(Event {
        time: T0 + 640 * MS,
        name: "circuit_breaker.state_change".into(),
        attributes: vec![text("circuit_breaker.name", "cards"), text("from", "closed"), text("to", "open")],
    });
    let story = told(&material, 60_000);
    assert_eq!(lines(&story).iter().filter(|line| line.contains("The breaker cards")).count(), 1);
    assert!(plain(&story.verdict.lede).contains("The breaker cards of payments opened at +640."));
}

#[test]
fn a_call_that_a_breaker_turned_away_is_where_it_broke() {
    let mut sheet = Sheet::new(5);
    sheet.span((1, 0), "orders", (Kind::Server, "POST /orders"), (0, 20), "http.request.method=POST");
    let attrs = "error.type=circuit_breaker.open|circuit_breaker.name=payments";
    sheet.span((2, 1), "orders", (Kind::Client, "POST /authorizations"), (5, 6), attrs);
    for span in &mut sheet.trace.spans {
        span.status = crate::dashboard::model::StatusCode::Error;
    }
    let mut opened = near(0, BreakerState::Closed, BreakerState::Open);
    opened.key = Key { service: "orders".into(), name: "payments".into(), library: Library::Convention };
    opened.change.at = T0 - 30_000 * MS;
    let story = told(&Material { changes: vec![opened], ..story_of(vec![sheet]) }, 60_000);
    assert_eq!(plain(&story.verdict.headline), "Failed in orders: the breaker payments was open");
    let say = story.verdict.lede.plain(
        |ns| format!("{} ms", ns / MS),
        |at| {
            if at < T0 { format!("-{}", (T0 - at) / MS) } else { format!("+{}", (at - T0) / MS) }
        },
    );
    let wanted = "The breaker payments of orders turned a call away at +6; it had opened at -30000.";
    assert!(say.contains(wanted), "{say}");
}
