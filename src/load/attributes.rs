//! What a span says: its name, its kind and its attributes, in the words of the semantic conventions.
//!
//! What must not live here: which spans there are, and when.

use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;

use super::names::{AGENTS, BREAKAGES, Breakage, LIBRARY, REGIONS, WORK};
use super::plan::{Joined, Operation, Queue, Service, Shape, Speaks, System};
use super::tree::{Draft, Failure, Role, Tree};
use crate::comms::names;

const DB_SYSTEM_NAME: &str = "db.system.name";
const DB_NAMESPACE: &str = "db.namespace";
const DB_COLLECTION_NAME: &str = "db.collection.name";
const DB_OPERATION_NAME: &str = "db.operation.name";
const DB_QUERY_TEXT: &str = "db.query.text";
const CODE_FUNCTION_NAME: &str = "code.function.name";

/// A text attribute.
pub fn text(key: &str, value: impl Into<String>) -> KeyValue {
    attribute(key, Value::StringValue(value.into()))
}

fn number(key: &str, value: i64) -> KeyValue {
    attribute(key, Value::IntValue(value))
}

fn attribute(key: &str, value: Value) -> KeyValue {
    KeyValue { key: key.into(), value: Some(AnyValue { value: Some(value) }), ..Default::default() }
}

/// A span's name.
pub fn name(system: &System, draft: &Draft) -> String {
    let service = &system.services[draft.service];
    match draft.role {
        Role::Server { operation } => service.operations[operation].name.clone(),
        Role::Client { service, operation } => system.services[service].operations[operation].name.clone(),
        Role::Query { writes, .. } => {
            format!("{} {}", statement(service, writes).0, collection(service))
        }
        Role::Work(work) => WORK[work].to_owned(),
        Role::Send { queue } => format!("send {}", system.queues[queue].destination),
        Role::Process { queue, .. } => format!("process {}", system.queues[queue].name),
    }
}

/// A span's kind.
pub fn kind(role: Role) -> SpanKind {
    match role {
        Role::Server { .. } => SpanKind::Server,
        Role::Client { .. } | Role::Query { .. } => SpanKind::Client,
        Role::Work(_) => SpanKind::Internal,
        Role::Send { .. } => SpanKind::Producer,
        Role::Process { .. } => SpanKind::Consumer,
    }
}

/// All attributes of a span: those of the conventions, and others up to the number that was asked for.
pub fn of(system: &System, shape: &Shape, tree: &Tree, draft: &Draft) -> Vec<KeyValue> {
    let mut out = Vec::with_capacity(shape.attributes + 2);
    let service = &system.services[draft.service];
    let entity = u64::from_be_bytes(draft.id) % shape.cardinality;
    match draft.role {
        Role::Server { operation } => {
            let operation = &service.operations[operation];
            server(&mut out, service, operation, draft.failure, entity, tree.user);
        }
        Role::Client { service, operation } => {
            let called = &system.services[service];
            client(&mut out, called, &called.operations[operation], draft.failure, entity);
        }
        Role::Query { writes, .. } => query(&mut out, service, writes),
        Role::Work(work) => {
            let function = WORK[work].replace(' ', "_");
            out.push(text(CODE_FUNCTION_NAME, format!("{}::{function}", service.name)));
        }
        Role::Send { queue } => message(&mut out, &system.queues[queue], tree, draft.id, false),
        Role::Process { queue, message: id } => message(&mut out, &system.queues[queue], tree, id, true),
    }
    if let Some(failure) = draft.failure {
        out.push(text(names::ERROR_TYPE, error_type(system, draft.role, failure)));
    }
    let carries = matches!(draft.role, Role::Server { .. } | Role::Process { .. });
    if let (true, Some(id)) = (carries, &tree.correlation) {
        out.push(text(names::CORRELATION_ID, id.as_str()));
    }
    fill(&mut out, shape, tree.user, draft);
    out
}

/// What is answered: the status of a request.
fn answered(failure: Option<Failure>, operation: &Operation) -> i64 {
    match failure {
        Some(Failure { breakage, origin: true }) => BREAKAGES[breakage].http,
        Some(_) => 502,
        None if operation.method == "POST" && !operation.route.ends_with("/search") => 201,
        None => 200,
    }
}

fn grpc_status(failure: Option<Failure>) -> &'static str {
    failure.map_or("OK", |failure| BREAKAGES[failure.breakage].grpc)
}

/// The conventions' `error.type`: the exception where it broke, the answer elsewhere.
fn error_type(system: &System, role: Role, failure: Failure) -> String {
    match role {
        Role::Client { service, .. } if !failure.origin => match system.services[service].speaks {
            Speaks::Http => "502".to_owned(),
            Speaks::Grpc => BREAKAGES[failure.breakage].grpc.to_owned(),
        },
        _ => BREAKAGES[failure.breakage].kind.to_owned(),
    }
}

fn server(
    out: &mut Vec<KeyValue>,
    service: &Service,
    operation: &Operation,
    failure: Option<Failure>,
    entity: u64,
    user: u64,
) {
    match service.speaks {
        Speaks::Http => out.extend([
            text(names::HTTP_REQUEST_METHOD, operation.method),
            text(names::HTTP_ROUTE, operation.route.as_str()),
            number(names::HTTP_RESPONSE_STATUS_CODE, answered(failure, operation)),
            text(names::URL_PATH, path(operation, entity)),
            text(names::URL_SCHEME, "http"),
            text(names::USER_AGENT_ORIGINAL, agent(service, user)),
        ]),
        Speaks::Grpc => rpc(out, operation, failure),
    }
    out.push(text(names::SERVER_ADDRESS, host(&service.name)));
}

fn client(
    out: &mut Vec<KeyValue>,
    called: &Service,
    operation: &Operation,
    failure: Option<Failure>,
    entity: u64,
) {
    let address = host(&called.name);
    match called.speaks {
        Speaks::Http => {
            out.extend([
                text(names::HTTP_REQUEST_METHOD, operation.method),
                text(names::URL_TEMPLATE, operation.route.as_str()),
                text(names::URL_FULL, format!("http://{address}:8080{}", path(operation, entity))),
            ]);
            // Where the connection broke there is no answer.
            if failure.is_none_or(|failure| !failure.origin) {
                let status = number(names::HTTP_RESPONSE_STATUS_CODE, answered(failure, operation));
                out.push(status);
            }
        }
        Speaks::Grpc => rpc(out, operation, failure),
    }
    out.push(text(names::SERVER_ADDRESS, address));
    out.push(number(names::SERVER_PORT, if called.speaks == Speaks::Http { 8080 } else { 9090 }));
}

fn rpc(out: &mut Vec<KeyValue>, operation: &Operation, failure: Option<Failure>) {
    out.extend([
        text(names::RPC_SYSTEM_NAME, "grpc"),
        text(names::RPC_METHOD, operation.route.as_str()),
        text(names::RPC_RESPONSE_STATUS_CODE, grpc_status(failure)),
    ]);
}

/// Operation and text of a query.
fn statement(service: &Service, writes: bool) -> (&'static str, &'static str) {
    if writes { service.database.write } else { service.database.read }
}

fn collection(service: &Service) -> String {
    format!("shop.{}", service.name)
}

fn query(out: &mut Vec<KeyValue>, service: &Service, writes: bool) {
    let (operation, query) = statement(service, writes);
    let database = service.database;
    out.extend([
        text(DB_SYSTEM_NAME, database.system),
        text(DB_NAMESPACE, "shop"),
        text(DB_COLLECTION_NAME, collection(service)),
        text(DB_OPERATION_NAME, operation),
        text(DB_QUERY_TEXT, query.replacen("{}", &service.name, 1)),
        text(names::SERVER_ADDRESS, format!("{}-db.shop.internal", service.name)),
        number(names::SERVER_PORT, i64::from(database.port)),
    ]);
}

fn message(out: &mut Vec<KeyValue>, queue: &Queue, tree: &Tree, id: [u8; 8], takes: bool) {
    let operation = if takes { "process" } else { "send" };
    out.extend([
        text(names::MESSAGING_OPERATION_TYPE, operation),
        text(names::MESSAGING_OPERATION_NAME, operation),
        text(names::MESSAGING_MESSAGE_ID, hex(&id)),
        number(names::MESSAGING_BODY_SIZE, 200 + i64::from(id[0]) * 8),
    ]);
    // The conventions' names of a destination: `exchange:key` and `exchange:key:queue`, or the topic.
    let (exchange, key, name) = (&queue.destination, &queue.routing_key, &queue.name);
    match queue.joined {
        Joined::Parent => {
            let taken = if takes { format!(":{name}") } else { String::new() };
            out.push(text(names::MESSAGING_SYSTEM, "rabbitmq"));
            out.push(text(names::MESSAGING_DESTINATION_NAME, format!("{exchange}:{key}{taken}")));
            out.push(text(names::MESSAGING_ROUTING_KEY, key.as_str()));
        }
        Joined::Link => {
            out.push(text(names::MESSAGING_SYSTEM, "kafka"));
            out.push(text(names::MESSAGING_DESTINATION_NAME, exchange.as_str()));
            out.push(text("messaging.destination.partition.id", (id[1] % 12).to_string()));
            if takes {
                out.push(text("messaging.consumer.group.name", name.as_str()));
            }
        }
    }
    if let Some(id) = &tree.correlation {
        out.push(text(names::MESSAGING_CONVERSATION_ID, id.as_str()));
    }
}

/// Attributes of the application, until there are as many as were asked for.
fn fill(out: &mut Vec<KeyValue>, shape: &Shape, user: u64, draft: &Draft) {
    let chance = u64::from_be_bytes(draft.id);
    for at in 0..shape.attributes.saturating_sub(out.len()) {
        out.push(match at {
            0 => text("user.id", format!("user-{user:06}")),
            1 => text("session.id", format!("{:016x}", (user + 1).wrapping_mul(0x2545_f491_4f6c_dd1d))),
            2 => text("cloud.region", REGIONS[draft.service % REGIONS.len()]),
            3 => text("shop.tenant", format!("tenant-{}", user % 40)),
            4 => number("shop.items", (chance % 12) as i64),
            5 => attribute("shop.cache.hit", Value::BoolValue(chance.is_multiple_of(3))),
            6 => attribute("shop.total", Value::DoubleValue((chance % 50_000) as f64 / 100.0)),
            7 => text("shop.plan", ["free", "plus", "business"][(user % 3) as usize]),
            8 => text("feature_flag.key", format!("flag-{}", user % 7)),
            _ => text(&format!("shop.attribute.{at}"), format!("value-{}", chance % shape.cardinality)),
        });
    }
}

fn path(operation: &Operation, entity: u64) -> String {
    operation.route.replace("{id}", &format!("{entity:06}"))
}

fn host(service: &str) -> String {
    format!("{service}.shop.internal")
}

/// Customers have devices; services call each other with a library.
fn agent(service: &Service, user: u64) -> &'static str {
    if service.layer == 0 { AGENTS[user as usize % AGENTS.len()] } else { LIBRARY }
}

/// Bytes in hex.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What went wrong, and whom it came from where it did not begin here.
pub fn reason(system: &System, draft: &Draft, failure: Failure) -> (&'static Breakage, String) {
    let breakage = &BREAKAGES[failure.breakage];
    let message = match draft.role {
        _ if failure.origin => breakage.message.to_owned(),
        Role::Client { service, .. } => match system.services[service].speaks {
            Speaks::Http => format!("{} answered 502", system.services[service].name),
            Speaks::Grpc => format!("{} answered {}", system.services[service].name, breakage.grpc),
        },
        _ => format!("a service behind failed: {}", breakage.message),
    };
    (breakage, message)
}
