//! What the made-up traces are like, as far as the flags promise it.

use std::collections::{BTreeMap, BTreeSet};

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::trace::v1::Span;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use prost::Message as _;

use super::encode::{self, Batches, Resources};
use super::plan::{Joined, Shape, System};
use super::tree::{Draft, Role, Tree, grow};

/// What nobody changes by a flag.
fn usual() -> Shape {
    Shape {
        services: 12,
        operations: 8,
        depth: 4,
        fan_out: 2,
        queues: 2,
        spans_per_trace: None,
        error_share: 0.02,
        correlation_share: 1.0,
        log_share: 0.0,
        attributes: 10,
        cardinality: 10_000,
        seed: 7,
    }
}

fn trees(shape: &Shape, count: u64) -> (System, Vec<Tree>) {
    let system = System::plan(shape);
    let trees = (0..count).map(|number| grow(&system, shape, number)).collect();
    (system, trees)
}

/// The span that a span is a child of.
fn parent<'a>(tree: &'a Tree, draft: &Draft) -> Option<&'a Draft> {
    let id = draft.parent?;
    Some(tree.spans.iter().find(|span| span.id == id).expect("a parent is in its trace"))
}

/// Services from the first to this one, by the requests that are under way.
fn depth(tree: &Tree, draft: &Draft) -> usize {
    let here = usize::from(matches!(draft.role, Role::Server { .. }));
    here + parent(tree, draft).map_or(0, |above| depth(tree, above))
}

fn is_call(draft: &Draft) -> bool {
    matches!(draft.role, Role::Client { .. })
}

fn encoded(system: &System, shape: &Shape, tree: &Tree) -> Vec<Span> {
    tree.spans.iter().map(|draft| encode::span(system, shape, tree, draft, 1_000_000_000)).collect()
}

#[test]
fn the_same_seed_makes_the_same_and_another_one_makes_others() {
    let all = |seed| {
        let shape = Shape { seed, ..usual() };
        let (system, trees) = trees(&shape, 50);
        let spans: Vec<_> = trees.iter().flat_map(|tree| encoded(&system, &shape, tree)).collect();
        (trees, spans)
    };
    assert_eq!(all(7), all(7));
    assert!(all(7).0.iter().zip(all(8).0).all(|(one, other)| one.spans[0].trace != other.spans[0].trace));
    let (_, trees) = trees(&usual(), 2_000);
    let ids: BTreeSet<_> = trees.iter().flat_map(|tree| tree.spans.iter().map(|span| span.id)).collect();
    assert_eq!(ids.len(), trees.iter().map(|tree| tree.spans.len()).sum::<usize>(), "no ID twice");
}

#[test]
fn calls_go_as_deep_and_as_wide_as_asked() {
    for (services, wanted, fan_out) in
        [(12, 4, 2), (12, 2, 3), (3, 3, 1), (1, 1, 2), (40, 6, 2), (2, 2, 5), (30, 1, 4)]
    {
        let shape = Shape { services, depth: wanted, fan_out, error_share: 0.1, ..usual() };
        let (_, trees) = trees(&shape, 150);
        let mut seen = BTreeSet::new();
        let (mut deepest, mut widest) = (0, 0);
        for tree in &trees {
            for draft in &tree.spans {
                deepest = deepest.max(depth(tree, draft));
                seen.insert(draft.service);
                let calls = tree.spans.iter().filter(|span| is_call(span) && span.parent == Some(draft.id));
                widest = widest.max(calls.count());
            }
        }
        let case = format!("{services} services, {wanted} deep, {fan_out} wide");
        assert_eq!(deepest, wanted, "{case}");
        assert_eq!(widest, if wanted == 1 { 0 } else { fan_out }, "{case}");
        assert_eq!(seen.len(), services, "{case}: each service has spans");
    }
}

#[test]
fn spans_lie_within_their_parents_and_calls_reach_whom_they_call() {
    let (_, trees) = trees(&Shape { error_share: 0.2, ..usual() }, 300);
    for tree in &trees {
        for draft in &tree.spans {
            assert!(draft.start <= draft.end && draft.end <= tree.length, "{draft:?}");
            let Some(above) = parent(tree, draft) else { continue };
            match draft.role {
                Role::Process { message, .. } => {
                    assert_eq!(message, above.id);
                    assert!(draft.start > above.end, "a message waits: {draft:?}");
                }
                Role::Server { operation } => {
                    assert_eq!(above.role, Role::Client { service: draft.service, operation });
                    assert!(above.start < draft.start && draft.end < above.end, "{draft:?} in {above:?}");
                }
                _ => {
                    assert_eq!((draft.service, draft.instance), (above.service, above.instance));
                    assert!(above.start < draft.start && draft.end < above.end, "{draft:?} in {above:?}");
                }
            }
        }
    }
}

#[test]
fn a_trace_has_as_many_spans_as_asked_however_it_would_be() {
    for count in [1, 2, 3, 17, 5_000] {
        for error_share in [0.0, 1.0] {
            let shape = Shape { spans_per_trace: Some(count), error_share, ..usual() };
            let (_, trees) = trees(&shape, 20);
            for tree in trees {
                assert_eq!(tree.spans.len(), count);
                assert_eq!(tree.spans[0].failure.is_some(), error_share > 0.0, "{count} spans");
            }
        }
    }
}

#[test]
fn a_failure_begins_in_one_place_and_goes_up_to_the_root() {
    let shape = Shape { error_share: 0.1, ..usual() };
    let (system, trees) = trees(&shape, 2_000);
    let failed: Vec<_> = trees.iter().filter(|tree| tree.spans[0].failure.is_some()).collect();
    assert!((150..250).contains(&failed.len()), "one in ten: {}", failed.len());
    let mut origins = BTreeSet::new();
    for tree in &trees {
        let broken: Vec<_> = tree.spans.iter().filter(|span| span.failure.is_some()).collect();
        let began: Vec<_> =
            broken.iter().filter(|span| span.failure.is_some_and(|failure| failure.origin)).collect();
        assert_eq!(began.len(), usize::from(!broken.is_empty()), "one origin where something failed");
        let Some(origin) = began.first() else { continue };
        origins.insert(origin.service);
        let mut way = vec![**origin];
        while let Some(above) = parent(tree, way[way.len() - 1]) {
            way.push(above);
        }
        assert_eq!(way.len(), broken.len(), "all on the way up failed, and nobody else");
        assert!(way.iter().all(|span| span.failure.is_some()));
        for span in encoded(&system, &shape, tree) {
            let status = span.status.as_ref().filter(|status| status.code == StatusCode::Error as i32);
            let fails = broken.iter().any(|draft| draft.id[..] == span.span_id);
            assert_eq!(status.is_some_and(|status| !status.message.is_empty()), fails, "{}", span.name);
            assert_eq!(span.events.iter().any(|event| event.name == "exception"), fails);
            let keys: Vec<_> = span.attributes.iter().map(|attribute| attribute.key.as_str()).collect();
            assert_eq!(keys.contains(&"error.type"), fails);
        }
    }
    assert!(origins.len() > 4, "it breaks in many services: {origins:?}");
}

#[test]
fn messages_are_taken_from_each_queue_and_joined_in_both_ways() {
    let shape = Shape { queues: 4, error_share: 0.0, ..usual() };
    let (system, trees) = trees(&shape, 1_500);
    let mut taken: BTreeMap<usize, u64> = BTreeMap::new();
    for tree in &trees {
        for draft in &tree.spans {
            let Role::Process { queue, message } = draft.role else { continue };
            *taken.entry(queue).or_default() += 1;
            let producer = tree.spans.iter().find(|span| span.id == message).expect("a producer");
            assert_eq!(producer.role, Role::Send { queue });
            let same_trace = producer.trace == draft.trace;
            match system.queues[queue].joined {
                Joined::Parent => assert!(same_trace && draft.link.is_none()),
                Joined::Link => {
                    assert!(!same_trace && draft.parent.is_none());
                    assert_eq!(draft.link, Some((producer.trace, producer.id)));
                }
            }
        }
    }
    assert_eq!(taken.len(), 4, "messages by queue: {taken:?}");
    assert!(system.queues.iter().all(|queue| queue.publisher != queue.consumer));
}

/// Each span has one of the sets of its kind.
const WANTED: &[(SpanKind, &[&str])] = &[
    (SpanKind::Server, &["http.request.method", "http.route", "http.response.status_code", "server.address"]),
    (SpanKind::Server, &["rpc.system.name", "rpc.method", "rpc.response.status_code", "server.address"]),
    (SpanKind::Client, &["http.request.method", "url.full", "server.address", "server.port"]),
    (SpanKind::Client, &["rpc.system.name", "rpc.method", "server.address"]),
    (SpanKind::Client, &["db.system.name", "db.operation.name", "db.query.text", "server.address"]),
    (SpanKind::Producer, &["messaging.system", "messaging.destination.name", "messaging.message.id"]),
    (SpanKind::Consumer, &["messaging.system", "messaging.destination.name", "correlation.id"]),
    (SpanKind::Internal, &["code.function.name"]),
];

#[test]
fn a_span_says_what_the_conventions_want_and_as_much_as_asked() {
    for attributes in [0, 10, 25] {
        let shape = Shape { attributes, cardinality: 5, ..usual() };
        let (system, trees) = trees(&shape, 200);
        let (mut kinds, mut users) = (BTreeSet::new(), BTreeSet::new());
        for span in trees.iter().flat_map(|tree| encoded(&system, &shape, tree)) {
            kinds.insert(span.kind);
            let keys: Vec<_> = span.attributes.iter().map(|attribute| attribute.key.as_str()).collect();
            assert_eq!(keys.iter().collect::<BTreeSet<_>>().len(), keys.len(), "no key twice: {keys:?}");
            assert!(keys.len() >= attributes, "{keys:?}");
            let mut sets = WANTED.iter().filter(|(kind, _)| *kind == span.kind());
            assert!(sets.any(|(_, set)| set.iter().all(|key| keys.contains(key))), "{span:?}");
            let user = span.attributes.iter().find(|attribute| attribute.key == "user.id");
            users.extend(user.map(|user| format!("{:?}", user.value)));
        }
        assert_eq!(kinds.len(), 5, "all kinds: {kinds:?}");
        assert_eq!(users.len(), if attributes == 0 { 0 } else { 5 });
    }
}

#[test]
fn shares_of_logs_and_correlation_ids_are_kept() {
    for share in [0.0, 0.3, 1.0] {
        let (_, trees) = trees(&Shape { log_share: share, correlation_share: share, ..usual() }, 1_000);
        let carry = trees.iter().filter(|tree| tree.correlation.is_some()).count() as f64 / 1_000.0;
        let spans: Vec<_> = trees.iter().flat_map(|tree| &tree.spans).collect();
        let logged = spans.iter().filter(|span| span.logged).count() as f64 / spans.len() as f64;
        assert!((carry - share).abs() < 0.05 && (logged - share).abs() < 0.05, "{share}: {carry}, {logged}");
    }
}

#[test]
fn requests_hold_what_was_put_in_and_a_span_has_its_usual_size() {
    let shape = usual();
    let (system, trees) = trees(&shape, 400);
    let resources = Resources::of(&system);
    for by_service in [false, true] {
        let mut batches = Batches::new(512, by_service);
        let mut parcels = Vec::new();
        let mut count = 0;
        for tree in &trees {
            for (draft, span) in tree.spans.iter().zip(encoded(&system, &shape, tree)) {
                count += 1;
                let full = batches.add((draft.service, draft.instance), span);
                parcels.extend(full.map(|groups| encode::traces(&resources, groups)));
            }
        }
        assert!(parcels.iter().all(|parcel| parcel.items == 512));
        parcels.extend(batches.rest().map(|groups| encode::traces(&resources, groups)));
        assert_eq!(parcels.iter().map(|parcel| parcel.items).sum::<u64>(), count);
        let bytes: usize = parcels.iter().map(|parcel| parcel.bytes.len()).sum();
        let mean = bytes as f64 / count as f64;
        assert!((400.0..480.0).contains(&mean), "{mean} bytes a span");
        for parcel in &parcels {
            let request = ExportTraceServiceRequest::decode(parcel.bytes.clone()).expect("OTLP");
            let names: BTreeSet<_> = request
                .resource_spans
                .iter()
                .map(|part| format!("{:?}", part.resource.as_ref().expect("a resource").attributes[0]))
                .collect();
            assert!(!by_service || names.len() == 1, "{names:?}");
            let inside: usize =
                request.resource_spans.iter().map(|part| part.scope_spans[0].spans.len()).sum();
            assert_eq!(inside as u64, parcel.items);
        }
    }
}
