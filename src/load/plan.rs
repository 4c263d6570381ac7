//! The system that the traces come from: services in layers, what each operation does, queues.
//!
//! It is planned once, from the seed, so that an operation does the same each time, as a real one does. What must not
//! live here: times, IDs and anything else that differs from trace to trace.

use std::collections::BTreeSet;

use rand::rngs::Xoshiro256PlusPlus;
use rand::seq::IndexedRandom as _;
use rand::{RngExt as _, SeedableRng as _};

use super::names::{self, DATABASES, Database, WORK};

/// Instances of each service.
pub const INSTANCES: usize = 2;

/// What the system and its traces are to be like.
#[derive(Debug, Clone)]
pub struct Shape {
    pub services: usize,
    /// Of each service.
    pub operations: usize,
    /// Services that a call passes through from the first to the last; at most `services`.
    pub depth: usize,
    /// Services that an operation calls.
    pub fan_out: usize,
    pub queues: usize,
    /// Spans of a trace, whatever depth and fan-out would make it.
    pub spans_per_trace: Option<usize>,
    /// Share of the traces that fail.
    pub error_share: f64,
    /// Share of the traces that carry a correlation ID.
    pub correlation_share: f64,
    /// Share of the spans that write a log record.
    pub log_share: f64,
    /// Attributes of a span; those of the conventions are always there.
    pub attributes: usize,
    /// Different values of users and sessions.
    pub cardinality: u64,
    pub seed: u64,
}

/// All services and queues.
#[derive(Debug)]
pub struct System {
    pub services: Vec<Service>,
    pub queues: Vec<Queue>,
    /// Operations that customers call, by service and operation, the frequent ones first.
    pub doors: Vec<(usize, usize)>,
}

/// A service.
#[derive(Debug)]
pub struct Service {
    pub name: String,
    pub version: String,
    /// 0 is called by customers.
    pub layer: usize,
    pub speaks: Speaks,
    pub database: Database,
    pub operations: Vec<Operation>,
}

/// How a service is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Speaks {
    Http,
    Grpc,
}

/// What a service can be asked for.
#[derive(Debug)]
pub struct Operation {
    /// The name of its SERVER spans: `GET /orders/{id}`, `shop.orders.v1.Orders/Get`.
    pub name: String,
    pub method: &'static str,
    /// The route, or the RPC's method.
    pub route: String,
    /// One after the other, but for calls when `parallel`.
    pub steps: Vec<Step>,
    /// Whether its calls are made at the same time.
    pub parallel: bool,
    /// Factor on the time of its queries: some have an index and some have not.
    pub slowness: f64,
}

/// A thing that an operation does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Calls another service.
    Call { service: usize, operation: usize },
    /// Asks the service's database, or changes it.
    Query { writes: bool },
    /// Does something that is worth a span; an index into [`WORK`].
    Work(usize),
    /// Sends a message.
    Publish(usize),
}

/// A queue between two services.
#[derive(Debug)]
pub struct Queue {
    pub publisher: usize,
    pub consumer: usize,
    /// Exchange or topic.
    pub destination: String,
    pub routing_key: String,
    /// The queue, or the group of consumers.
    pub name: String,
    pub joined: Joined,
}

/// How a consumer's span is tied to the producer's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Joined {
    /// As its child: RabbitMQ here.
    Parent,
    /// By a link from a trace of its own: Kafka here.
    Link,
}

impl System {
    /// The system of a shape: the same for the same seed.
    pub fn plan(shape: &Shape) -> Self {
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(shape.seed);
        let mut services: Vec<_> = (0..shape.services).map(|n| service(shape, n, &mut rng)).collect();
        let layers = layers(&services);
        for (number, service) in services.iter_mut().enumerate() {
            let below = layers.get(service.layer + 1).map_or(&[][..], Vec::as_slice);
            for (at, operation) in service.operations.iter_mut().enumerate() {
                // One after the other, so that all below are called where there are enough calls.
                let turn = (number * shape.operations + at) * shape.fan_out;
                operation.steps = steps(shape, below, at, turn, &mut rng);
            }
        }
        name_doors(&mut services);
        let asked = asked(&services);
        let queues: Vec<_> = (0..shape.queues).map(|n| queue(n, &asked, &layers, &services)).collect();
        for (number, queue) in queues.iter().enumerate() {
            publish(number, queue.publisher, &asked, &mut services[queue.publisher].operations);
        }
        let doors =
            (0..shape.operations).flat_map(|operation| layers[0].iter().map(move |at| (*at, operation)));
        Self { doors: doors.collect(), services, queues }
    }

    /// One of the doors: the first as often as the second and third together, and so on.
    pub fn door(&self, rng: &mut Xoshiro256PlusPlus) -> (usize, usize) {
        let share: f64 = rng.random();
        self.doors[((share * share) * self.doors.len() as f64) as usize]
    }

    /// Most spans that a trace of this system has.
    pub fn most_spans(shape: &Shape) -> f64 {
        // Each service that is passed is two spans for the call, two of the database, one of its own work, and two
        // for a message.
        (0..shape.depth).map(|layer| (shape.fan_out as f64).powi(layer as i32) * 7.0).sum()
    }
}

/// The services of each layer.
fn layers(services: &[Service]) -> Vec<Vec<usize>> {
    let mut layers = Vec::new();
    for (at, service) in services.iter().enumerate() {
        layers.resize_with(layers.len().max(service.layer + 1), Vec::new);
        layers[service.layer].push(at);
    }
    layers
}

/// One service at the door, the others spread over the layers below.
fn layer(shape: &Shape, n: usize) -> usize {
    match n {
        _ if shape.depth <= 1 => 0,
        0 => 0,
        n => 1 + (n - 1) * (shape.depth - 1) / (shape.services - 1),
    }
}

fn service(shape: &Shape, n: usize, rng: &mut Xoshiro256PlusPlus) -> Service {
    let name = names::service(n);
    let layer = layer(shape, n);
    let speaks = if layer == 0 || rng.random_bool(0.6) { Speaks::Http } else { Speaks::Grpc };
    let version =
        format!("{}.{}.{}", rng.random_range(1..6), rng.random_range(0..20), rng.random_range(0..10));
    let operations = (0..shape.operations).map(|at| operation(&name, speaks, at, rng)).collect();
    let database = *DATABASES.choose(rng).expect("the table is not empty");
    Service { name, version, layer, speaks, database, operations }
}

fn operation(service: &str, speaks: Speaks, at: usize, rng: &mut Xoshiro256PlusPlus) -> Operation {
    let (form, version) = names::form(at);
    let (method, route) = match speaks {
        Speaks::Http if version == 1 => (form.method, format!("/{service}{}", form.path)),
        Speaks::Http => (form.method, format!("/v{version}/{service}{}", form.path)),
        Speaks::Grpc => {
            ("POST", format!("shop.{service}.v{version}.{}/{}", names::capital(service), form.rpc))
        }
    };
    let name = if speaks == Speaks::Http { format!("{method} {route}") } else { route.clone() };
    Operation {
        name,
        method,
        route,
        steps: Vec::new(),
        parallel: rng.random_bool(0.25),
        slowness: 2f64.powf(rng.random_range(-1.5..3.0)),
    }
}

/// What an operation of a service does: some work, a query where it has data, calls to the layer below. Who only
/// reads calls nobody to change something.
fn steps(
    shape: &Shape,
    below: &[usize],
    operation: usize,
    turn: usize,
    rng: &mut Xoshiro256PlusPlus,
) -> Vec<Step> {
    let changes = names::form(operation).0.changes;
    let mut steps = Vec::new();
    if rng.random_bool(0.4) {
        steps.push(Step::Work(rng.random_range(0..WORK.len())));
    }
    let may_ask: Vec<usize> =
        (0..shape.operations).filter(|at| changes || !names::form(*at).0.changes).collect();
    for call in 0..if below.is_empty() { 0 } else { shape.fan_out } {
        let service = below[(turn + call) % below.len()];
        let same = call == 0 && rng.random_bool(0.7);
        let asked = if same { operation } else { *may_ask.choose(rng).expect("the first form reads") };
        steps.push(Step::Call { service, operation: asked });
    }
    if below.is_empty() || rng.random_bool(0.5) {
        let at = rng.random_range(0..=steps.len());
        steps.insert(at, Step::Query { writes: false });
    }
    if changes && below.is_empty() {
        steps.push(Step::Query { writes: true });
    }
    steps
}

/// A door's route is that of the service behind it, below `/api`.
fn name_doors(services: &mut [Service]) {
    let routes: Vec<Vec<(usize, usize, String)>> = services
        .iter()
        .enumerate()
        .filter(|(_, service)| service.layer == 0)
        .map(|(at, service)| {
            let first = |(number, operation): (usize, &Operation)| {
                operation.steps.iter().find_map(|step| match step {
                    Step::Call { service, .. } => {
                        let (form, version) = names::form(number);
                        let behind = &services[*service].name;
                        let prefix =
                            if version == 1 { "/api".to_owned() } else { format!("/api/v{version}") };
                        Some((at, number, format!("{prefix}/{behind}{}", form.path)))
                    }
                    _ => None,
                })
            };
            service.operations.iter().enumerate().filter_map(first).collect()
        })
        .collect();
    for (service, number, route) in routes.into_iter().flatten() {
        let operation = &mut services[service].operations[number];
        operation.name = format!("{} {route}", operation.method);
        operation.route = route;
    }
}

/// Operations that some request comes to, by service.
fn asked(services: &[Service]) -> Vec<BTreeSet<usize>> {
    let mut asked = vec![BTreeSet::new(); services.len()];
    // Calls go to a deeper layer only.
    let mut by_layer: Vec<usize> = (0..services.len()).collect();
    by_layer.sort_by_key(|at| services[*at].layer);
    for at in by_layer {
        if services[at].layer == 0 {
            asked[at].extend(0..services[at].operations.len());
        }
        for operation in asked[at].clone() {
            for step in &services[at].operations[operation].steps {
                if let Step::Call { service, operation } = step {
                    asked[*service].insert(*operation);
                }
            }
        }
    }
    asked
}

/// The n-th queue: from a service near the door to one far from it.
fn queue(n: usize, asked: &[BTreeSet<usize>], layers: &[Vec<usize>], services: &[Service]) -> Queue {
    let near = layers.get(1).unwrap_or(&layers[0]);
    let busy: Vec<usize> = near.iter().copied().filter(|at| !asked[*at].is_empty()).collect();
    let publisher = busy.get(n % busy.len().max(1)).copied().unwrap_or_default();
    let consumer = (0..services.len())
        .rev()
        .cycle()
        .skip(n)
        .take(services.len())
        .find(|at| *at != publisher && (services[*at].layer > 0 || layers.len() == 1))
        .unwrap_or(publisher);
    let topic = &services[publisher].name;
    let joined = if n.is_multiple_of(2) { Joined::Parent } else { Joined::Link };
    let destination = if joined == Joined::Parent { topic.clone() } else { format!("{topic}.events") };
    Queue {
        publisher,
        consumer,
        destination,
        routing_key: format!("{topic}.changed"),
        name: format!("{}.{topic}", services[consumer].name),
        joined,
    }
}

/// Lets those operations of the publisher send a message that are asked for and change something; where there are
/// none, all that are asked for.
fn publish(queue: usize, publisher: usize, asked: &[BTreeSet<usize>], operations: &mut [Operation]) {
    let changes = |at: &&usize| names::form(**at).0.changes;
    let any = asked[publisher].iter().any(|at| changes(&at));
    for at in asked[publisher].iter().filter(|at| !any || changes(at)) {
        operations[*at].steps.push(Step::Publish(queue));
    }
}
