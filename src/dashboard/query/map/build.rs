//! Nodes and edges out of calls.
//!
//! A call is one edge. A message is up to three: to the exchange, to the queue, and out of it.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::place::{message_way, tells_routing};
use super::{Edge, EdgeKind, Map, Node, Place};
use crate::dashboard::store::{Call, Destination, Histogram, OperationRates, Rates, Way};

#[derive(Default)]
struct Sums {
    rates: Rates,
    waited: Histogram,
    ways: Vec<Way>,
}

impl Sums {
    fn add(&mut self, call: &Call, count: u64) {
        self.rates.count += count;
        self.waited.merge(&call.waited);
        self.ways.push(way(call));
    }

    fn time(&mut self, rates: &Rates) {
        self.rates.errors += rates.errors;
        self.rates.durations.merge(&rates.durations);
    }
}

fn way(call: &Call) -> Way {
    (call.caller.clone(), call.callee.clone(), call.sent_to.clone(), call.taken_from.clone())
}

/// Edges by their ends, while calls are added.
type Edges = BTreeMap<(Place, Place), (EdgeKind, Sums)>;

/// Messages on their way: those that one service sent to one place under one name, by who took them, and the exchanges that are
/// known as such.
#[derive(Default)]
struct Sent {
    by_name: HashMap<(Place, Place, Destination), HashMap<Place, u64>>,
    exchanges: HashSet<Place>,
}

/// Makes the map of some calls; operations say how services do.
pub fn build(mut calls: Vec<Call>, operations: &[OperationRates]) -> Map {
    // Those that were taken come first: they say which names are exchanges, which a message under way does not.
    calls.sort_by_key(|call| call.taken_from.is_none());
    let services = services(&calls, operations);
    let mut edges = Edges::new();
    let mut sent = Sent::default();
    for call in &calls {
        match call.sent_to.is_some() || call.taken_from.is_some() {
            true => message(&mut edges, &mut sent, call),
            false => {
                let callee = match Place::callee(call.callee.clone()) {
                    Place::Outside(name) if services.contains(name.as_str()) => Place::Service(name),
                    callee => callee,
                };
                let ends = (Place::caller(call.caller.clone()), callee);
                let kind =
                    if matches!(ends.1, Place::Database { .. }) { EdgeKind::Query } else { EdgeKind::Call };
                let (_, sums) = edges.entry(ends).or_insert_with(|| (kind, Sums::default()));
                sums.add(call, call.rates.count);
                sums.time(&call.rates);
            }
        }
    }
    publish(&mut edges, sent);
    finish(edges, operations)
}

/// Names of services. A call that nothing answered leads to an address; where that is the name of a service, as it is where
/// names of containers are, the call belongs on the way to that service: there one looks for it when the service is down.
fn services(calls: &[Call], operations: &[OperationRates]) -> HashSet<String> {
    let ends = calls.iter().flat_map(|call| [&call.caller, &call.callee]);
    let named = ends.filter_map(|end| match end {
        crate::dashboard::store::Node::Service(name) => Some(name),
        _ => None,
    });
    named.chain(operations.iter().map(|one| &one.service)).cloned().collect()
}

/// Adds a message's way.
fn message(edges: &mut Edges, sent: &mut Sent, call: &Call) {
    let (exchange, queue) = message_way(call.sent_to.as_ref(), call.taken_from.as_ref());
    // Sent to a name that is known as an exchange by others that were taken.
    let (exchange, queue) = match (exchange, queue) {
        (None, Some(Place::Queue(to))) if call.taken_from.is_none() => {
            let exchange = Place::Exchange(to.clone());
            if sent.exchanges.contains(&exchange) {
                (Some(exchange), None)
            } else {
                (None, Some(Place::Queue(to)))
            }
        }
        way => way,
    };
    let taken = call.taken_from.is_some();
    let stops: Vec<Place> = exchange.into_iter().chain(queue).collect();
    let count = call.rates.count;
    if let (Some(first), Some(sent_to)) = (stops.first(), &call.sent_to) {
        let caller = Place::caller(call.caller.clone());
        let taker = if tells_routing(sent_to) { taker(call, &stops) } else { Place::Others };
        let key = (caller.clone(), first.clone(), sent_to.clone());
        *sent.by_name.entry(key).or_default().entry(taker).or_default() += count;
        let (_, sums) =
            edges.entry((caller, first.clone())).or_insert_with(|| (EdgeKind::Send, Sums::default()));
        sums.add(call, 0);
        if !taken {
            sums.time(&call.rates);
        }
    }
    sent.exchanges.extend(stops.iter().filter(|stop| matches!(stop, Place::Exchange(_))).cloned());
    if let [exchange, queue] = stops.as_slice() {
        let ends = (exchange.clone(), queue.clone());
        edges.entry(ends).or_insert_with(|| (EdgeKind::Route, Sums::default())).1.add(call, count);
    }
    if let (Some(last), true) = (stops.last(), taken) {
        let ends = (last.clone(), Place::callee(call.callee.clone()));
        let (_, sums) = edges.entry(ends).or_insert_with(|| (EdgeKind::Take, Sums::default()));
        sums.add(call, count);
        sums.time(&call.rates);
    }
}

/// Who has a copy of a message of its own: each queue, and of a topic each service.
fn taker(call: &Call, stops: &[Place]) -> Place {
    match stops {
        [_, queue] => queue.clone(),
        _ => Place::callee(call.callee.clone()),
    }
}

/// How many messages were sent. The store counts one for each that took it. Where the name tells where messages go, each
/// queue (or service that reads a topic) has a copy of the same ones, so the most that one of them took were sent; what
/// nobody took stands beside it under [`Place::Peer`] and was sent too.
fn publish(edges: &mut Edges, sent: Sent) {
    for ((caller, first, _), takers) in sent.by_name {
        let untaken = takers.get(&Place::Peer).copied().unwrap_or_default();
        let taken = takers.iter().filter(|(taker, _)| **taker != Place::Peer).map(|(_, count)| *count).max();
        if let Some((_, sums)) = edges.get_mut(&(caller, first)) {
            sums.rates.count += untaken + taken.unwrap_or_default();
        }
    }
}

fn finish(edges: Edges, operations: &[OperationRates]) -> Map {
    let mut nodes: BTreeMap<Place, Node> = BTreeMap::new();
    let blank =
        |place: &Place| Node { place: place.clone(), rates: Rates::default(), waited: Histogram::default() };
    for operation in operations {
        let place = Place::service(operation.service.clone());
        let node = nodes.entry(place).or_insert_with_key(blank);
        add(&mut node.rates, &operation.rates);
    }
    let mut inner = Vec::new();
    for ((from, to), (kind, sums)) in edges {
        nodes.entry(from.clone()).or_insert_with_key(blank);
        let callee = nodes.entry(to.clone()).or_insert_with_key(blank);
        if callee.place.as_service().is_none() {
            add(&mut callee.rates, &sums.rates);
        }
        if kind == EdgeKind::Take
            && let Some(queue) = nodes.get_mut(&from)
        {
            queue.waited.merge(&sums.waited);
        }
        inner.push((from, to, kind, sums));
    }
    // Where nobody was seen sending, what was taken tells how much goes through.
    for (from, _, _, sums) in inner.iter().filter(|(_, _, kind, _)| *kind == EdgeKind::Take) {
        let sent = inner.iter().any(|(_, to, ..)| to == from);
        if let Some(queue) = nodes.get_mut(from).filter(|_| !sent) {
            queue.rates.count += sums.rates.count;
        }
    }
    let index: HashMap<Place, usize> = nodes.keys().cloned().zip(0..).collect();
    let edge = |(from, to, kind, sums): (Place, Place, EdgeKind, Sums)| Edge {
        from: index[&from],
        to: index[&to],
        kind,
        rates: sums.rates,
        waited: sums.waited,
        ways: sums.ways,
    };
    Map {
        edges: inner.into_iter().map(edge).collect(),
        nodes: nodes.into_values().collect(),
        ..Map::default()
    }
}

fn add(to: &mut Rates, rates: &Rates) {
    to.count += rates.count;
    to.errors += rates.errors;
    to.durations.merge(&rates.durations);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dashboard::store::Node as End;

    fn service(name: &str) -> End {
        End::Service(name.to_owned())
    }

    fn at(name: &str) -> Option<Destination> {
        let (system, name) = name.split_once(' ')?;
        Some(Destination { system: system.to_owned(), name: name.to_owned() })
    }

    fn call(caller: End, callee: End, sent_to: &str, taken_from: &str, count: u64) -> Call {
        let mut rates = Rates { count, errors: count / 10, ..Rates::default() };
        (0..count).for_each(|_| rates.durations.record(5_000_000));
        let mut waited = Histogram::default();
        if !sent_to.is_empty() && !taken_from.is_empty() {
            waited.record(1_000_000_000);
        }
        Call { caller, callee, sent_to: at(sent_to), taken_from: at(taken_from), rates, waited }
    }

    fn lines(map: &Map) -> Vec<String> {
        let line = |edge: &Edge| {
            let [from, to] = [edge.from, edge.to].map(|end| map.nodes[end].place.id());
            let timed = if edge.rates.durations.quantile(0.5).is_some() { " timed" } else { "" };
            format!("{from} > {to} {} {} !{}{timed}", edge.kind.word(), edge.rates.count, edge.rates.errors)
        };
        map.edges.iter().map(line).collect()
    }

    #[test]
    fn a_message_goes_by_exchange_and_queue_and_copies_are_sent_once() {
        let map = build(
            vec![
                call(
                    service("orders"),
                    service("billing"),
                    "rabbitmq orders:placed",
                    "rabbitmq orders:placed:bill",
                    20,
                ),
                call(
                    service("orders"),
                    service("mail"),
                    "rabbitmq orders:placed",
                    "rabbitmq orders:placed:mail",
                    18,
                ),
                call(service("orders"), End::Unknown, "rabbitmq orders:placed", "", 2),
                call(
                    service("orders"),
                    service("mail"),
                    "rabbitmq orders:failed",
                    "rabbitmq orders:failed:mail",
                    5,
                ),
                call(
                    service("orders"),
                    End::Database { system: "redis".into(), name: String::new() },
                    "",
                    "",
                    7,
                ),
            ],
            &[],
        );
        assert_eq!(
            lines(&map),
            [
                "service:orders > exchange:rabbitmq:orders send 27 !0 timed",
                "service:orders > database:redis: query 7 !0 timed",
                "exchange:rabbitmq:orders > queue:rabbitmq:bill route 20 !0",
                "exchange:rabbitmq:orders > queue:rabbitmq:mail route 23 !0",
                "queue:rabbitmq:bill > service:billing take 20 !2 timed",
                "queue:rabbitmq:mail > service:mail take 23 !1 timed",
            ]
        );
        let bill = &map.nodes[map.find("bill").unwrap()];
        assert_eq!((bill.rates.count, bill.waited.count()), (20, 1));
    }

    #[test]
    fn two_services_that_read_a_topic_have_the_same_messages() {
        let map = build(
            vec![
                call(service("shop"), service("a"), "kafka events", "kafka events", 30),
                call(service("shop"), service("b"), "kafka events", "kafka events", 29),
            ],
            &[],
        );
        assert_eq!(lines(&map)[0], "service:shop > queue:kafka:events send 30 !0");
    }

    #[test]
    fn what_waits_in_an_exchange_of_an_older_convention_is_not_another_queue() {
        let map = build(
            vec![
                call(service("shop"), End::Unknown, "rabbitmq orders", "", 3),
                call(service("shop"), service("mail"), "rabbitmq orders", "rabbitmq orders:k:mail", 4),
            ],
            &[],
        );
        assert_eq!(lines(&map)[0], "service:shop > exchange:rabbitmq:orders send 7 !0 timed");
        assert_eq!(map.nodes.len(), 4);
    }

    #[test]
    fn an_address_by_the_name_of_a_service_is_the_service() {
        let map = build(
            vec![
                call(service("orders"), End::Outside("payments".into()), "", "", 10),
                call(service("orders"), service("payments"), "", "", 30),
                call(service("orders"), End::Outside("card-processor".into()), "", "", 5),
            ],
            &[],
        );
        let expected = [
            "service:orders > service:payments call 40 !4 timed",
            "service:orders > outside:card-processor call 5 !0 timed",
        ];
        assert_eq!(lines(&map), expected);
    }

    #[test]
    fn a_queue_that_nobody_was_seen_filling_has_the_rate_of_what_was_taken() {
        let map = build(vec![call(End::Unknown, service("mail"), "", "rabbitmq mails", 6)], &[]);
        assert_eq!(lines(&map), ["queue:rabbitmq:mails > service:mail take 6 !0 timed"]);
        assert_eq!(map.nodes[map.find("mails").unwrap()].rates.count, 6);
    }

    #[test]
    fn both_halves_that_were_not_seen_are_two_places() {
        let map = build(
            vec![
                call(End::Unknown, service("a"), "", "", 1),
                call(service("a"), End::Unknown, "", "", 1),
                call(End::User, service("a"), "", "", 1),
                call(service("a"), service("a"), "", "", 1),
            ],
            &[],
        );
        let ids: Vec<_> = map.nodes.iter().map(|node| node.place.id()).collect();
        assert_eq!(ids, ["user", "caller", "service:a", "peer"]);
        assert_eq!(map.edges.len(), 4);
    }
}
