//! Every case that breaks trace viewers, as rows.

use super::*;
use crate::dashboard::fixture::build::{MS, NOW, SpanExt, TraceBuilder};
use crate::dashboard::fixture::{cases, shop};
use crate::dashboard::model::Kind;

/// Rows as text: depth as dots, then the name.
fn drawn(waterfall: &Waterfall<'_>) -> Vec<String> {
    (0..waterfall.nodes.len())
        .map(|row| format!("{}{}", ".".repeat(waterfall.nodes[row].depth as usize), waterfall.span(row).name))
        .collect()
}

fn case(name: &str) -> Trace {
    cases::named(name, NOW)
}

#[test]
fn a_missing_parent_makes_a_marked_root() {
    let trace = case("missing parent");
    let waterfall = Waterfall::new(&trace, NOW, Clocks::AsSent);
    assert_eq!(drawn(&waterfall), ["POST /orders", ".validate"]);
    assert_eq!(waterfall.nodes[0].place, Place::ParentMissing);
}

#[test]
fn several_roots_are_in_time_order() {
    let trace = case("several roots");
    let waterfall = Waterfall::new(&trace, NOW, Clocks::AsSent);
    assert_eq!(drawn(&waterfall), ["first root", "second root", ".under the second"]);
}

#[test]
fn a_span_sent_twice_is_there_once() {
    let trace = case("sent twice");
    assert_eq!(drawn(&Waterfall::new(&trace, NOW, Clocks::AsSent)), ["GET /", "GET /other"]);
}

#[test]
fn client_and_server_of_one_id_hang_together() {
    let trace = case("one ID for client and server");
    let waterfall = Waterfall::new(&trace, NOW, Clocks::AsSent);
    assert_eq!(drawn(&waterfall), ["call users", ".handle call", "..SELECT"]);
}

#[test]
fn cycles_are_cut_and_marked_and_nothing_is_lost() {
    let trace = case("a cycle of parents");
    let waterfall = Waterfall::new(&trace, NOW, Clocks::AsSent);
    assert_eq!(drawn(&waterfall), ["a", ".b", "..c", "...below the cycle", "a real root"]);
    assert_eq!(waterfall.nodes[0].place, Place::CycleCut);
    assert_eq!(waterfall.nodes[4].place, Place::Root);
    let trace = case("its own parent");
    let waterfall = Waterfall::new(&trace, NOW, Clocks::AsSent);
    assert_eq!(drawn(&waterfall), ["GET /", ".below"]);
    assert_eq!(waterfall.nodes[0].place, Place::CycleCut);
}

#[test]
fn skewed_clocks_are_shown_raw_and_adjusted_on_demand() {
    let trace = case("clock skew");
    let raw = Waterfall::new(&trace, NOW, Clocks::AsSent);
    assert!(raw.skewed && !raw.adjusted);
    let server = raw.nodes.iter().find(|node| trace.spans[node.span].name == "handle call").unwrap();
    assert_eq!(server.start, trace.spans[server.span].start);
    let adjusted = Waterfall::new(&trace, NOW, Clocks::Adjusted);
    assert!(adjusted.adjusted);
    let begin = adjusted.nodes[0].start;
    let times: Vec<_> =
        adjusted.nodes.iter().map(|node| ((node.start - begin) / MS, (node.end - begin) / MS)).collect();
    // The server's 80 ms lie in the middle of the client's 100 ms, its own child moved along.
    assert_eq!(times, [(0, 100), (10, 90), (20, 80)]);
    assert_eq!(adjusted.nodes[1].moved, 510 * i128::from(MS));
}

#[test]
fn implausible_times_are_marked_and_off_the_scale() {
    let trace = case("implausible times");
    let waterfall = Waterfall::new(&trace, NOW, Clocks::AsSent);
    assert_eq!(waterfall.nodes.len(), 7);
    assert_eq!((waterfall.end - waterfall.begin) / MS, 100);
    let time = |name: &str| {
        let row = (0..7).find(|row| waterfall.span(*row).name == name).unwrap();
        waterfall.nodes[row].time
    };
    assert_eq!(time("zero duration"), Time::Plausible);
    assert_eq!(time("ends before it starts"), Time::Backwards);
    assert_eq!(time("start is 0"), Time::NoStart);
    assert_eq!(time("starts in the year 2500"), Time::FutureStart);
    assert_eq!(time("ends never"), Time::FutureEnd);
    assert_eq!(time("no end"), Time::NoEnd);
}

#[test]
fn a_trace_of_logs_only_has_no_rows() {
    let trace = case("only logs");
    let waterfall = Waterfall::new(&trace, NOW, Clocks::AsSent);
    assert!(waterfall.nodes.is_empty() && waterfall.end > waterfall.begin);
    assert!(waterfall.critical_path().is_empty());
}

#[test]
fn waits_are_measured_and_named() {
    let trace = shop::placed(NOW);
    let waterfall = Waterfall::new(&trace, NOW, Clocks::AsSent);
    let waits: Vec<_> = waterfall
        .nodes
        .iter()
        .filter_map(|node| {
            Some((node.wait.as_ref()?.queue.clone()?, (node.start - node.wait.as_ref()?.from) / MS))
        })
        .collect();
    let expected = [("notifications.email", 13), ("analytics.events", 18), ("payments.charge", 46)];
    assert_eq!(waits, expected.map(|(queue, ms)| (queue.to_owned(), ms)));
    assert_eq!(waterfall.waited() / MS, 77);
    assert_eq!(waterfall.messages(), 1);
}

#[test]
fn the_critical_path_is_one_line_from_begin_to_end() {
    let trace = shop::placed(NOW);
    let waterfall = Waterfall::new(&trace, NOW, Clocks::AsSent);
    let path = waterfall.critical_path();
    assert_eq!(path.first().unwrap().from, waterfall.begin);
    assert_eq!(path.last().unwrap().to, waterfall.end);
    assert!(path.windows(2).all(|pair| pair[0].to == pair[1].from));
    let waiting: Vec<_> =
        path.iter().filter(|one| one.waiting).map(|one| waterfall.span(one.row).name.as_str()).collect();
    assert_eq!(waiting, ["process payments.charge"]);
    let on_path = |name: &str| path.iter().any(|one| waterfall.span(one.row).name == name);
    assert!(on_path("POST card-processor /capture") && on_path("SELECT shop.users"));
    assert!(!on_path("SMTP smtp-relay:587") && !on_path("process analytics.events"));
}

#[test]
fn roots_apart_in_time_are_joined_by_a_wait() {
    let trace = case("several roots");
    let waterfall = Waterfall::new(&trace, NOW, Clocks::AsSent);
    let path = waterfall.critical_path();
    assert!(path.windows(2).all(|pair| pair[0].to == pair[1].from));
    assert!(path.iter().any(|one| one.waiting && (one.to - one.from) / MS == 10));
}

#[test]
fn rows_are_hidden_by_collapsing_and_by_errors_only() {
    let trace = shop::placed(NOW);
    let waterfall = Waterfall::new(&trace, NOW, Clocks::AsSent);
    let all = waterfall.shown(&Hide::default());
    assert_eq!(all.lines.len(), trace.spans.len());
    let users = waterfall.span(1).span_id;
    let hide = Hide { collapsed: [users].into(), ..Hide::default() };
    let shown = waterfall.shown(&hide);
    assert_eq!(shown.lines.len(), trace.spans.len() - 2);
    assert_eq!((shown.stands_for[2], shown.stands_for[3], shown.stands_for[4]), (1, 1, 2));
    let errors = waterfall.shown(&Hide { all_but_errors: true, ..Hide::default() });
    let names: Vec<_> = errors.lines.iter().map(|line| waterfall.span(line.row).name.as_str()).collect();
    let expected = [
        "POST /orders",
        "POST /orders",
        "POST /orders",
        "send orders:order.placed",
        "process payments.charge",
        "POST card-processor /capture",
    ];
    assert_eq!(names, expected);
    let top = waterfall.shown(&Hide { below_depth: Some(0), ..Hide::default() });
    assert_eq!((top.lines.len(), top.lines[0].row), (1, 0));
}

#[test]
fn find_looks_into_names_and_attributes() {
    let trace = shop::placed(NOW);
    let waterfall = Waterfall::new(&trace, NOW, Clocks::AsSent);
    assert_eq!(waterfall.find("CARD").len(), 3);
    assert_eq!(waterfall.find("ord_90412").len(), 2);
    assert_eq!(waterfall.find("nothing like it").len(), 0);
    assert_eq!(waterfall.find("").len(), 0);
}

#[test]
fn a_hundred_thousand_spans_deep_and_wide_are_laid_out() {
    for chain in [true, false] {
        let trace = cases::large(500, NOW, 100_000, chain);
        let waterfall = Waterfall::new(&trace, NOW, Clocks::AsSent);
        assert_eq!(waterfall.nodes.len(), 100_000);
        assert_eq!(waterfall.nodes[0].below, 99_999);
        let path = waterfall.critical_path();
        assert!(path.windows(2).all(|pair| pair[0].to == pair[1].from));
        assert_eq!(path.first().unwrap().from, waterfall.begin);
        assert_eq!(waterfall.shown(&Hide::default()).lines.len(), 100_000);
    }
}

#[test]
fn doubled_producers_are_one_message() {
    let mut t = TraceBuilder::new(7, NOW);
    t.span(1, 0, "py", "orders send", Kind::Producer, 0.0, 5.0).attr("messaging.message.id", "m1");
    t.span(2, 1, "py", "orders send", Kind::Producer, 1.0, 4.0).attr("messaging.message.id", "m1");
    t.span(3, 0, "node", "publish orders", Kind::Producer, 5.0, 6.0);
    t.span(4, 3, "node", "publish orders", Kind::Producer, 5.0, 6.0);
    let trace = t.build();
    assert_eq!(Waterfall::new(&trace, NOW, Clocks::AsSent).messages(), 2);
}
