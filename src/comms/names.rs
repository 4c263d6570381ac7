//! Attribute keys and header names, in one place, each with its source.
//!
//! "semconv" is OpenTelemetry's semantic conventions, 1.44. The toolkit writes these names and the dashboard
//! reads them. Nothing but constants lives here, so it builds without any dependency.

/// The correlation ID on spans, log records and in baggage. Set by convention among applications.
pub const CORRELATION_ID: &str = "correlation.id";
/// The correlation ID in HTTP headers, gRPC metadata and message headers; lower case as HTTP/2 wants it.
pub const X_CORRELATION_ID: &str = "x-correlation-id";
/// The calling service's name in HTTP headers and gRPC metadata.
pub const X_SERVICE_NAME: &str = "x-service-name";
/// W3C Trace Context, the header that names trace and parent span.
pub const TRACEPARENT: &str = "traceparent";

// HTTP, semconv (stable).
pub const HTTP_REQUEST_METHOD: &str = "http.request.method";
pub const HTTP_RESPONSE_STATUS_CODE: &str = "http.response.status_code";
pub const HTTP_ROUTE: &str = "http.route";
pub const URL_FULL: &str = "url.full";
pub const URL_PATH: &str = "url.path";
pub const URL_QUERY: &str = "url.query";
pub const URL_SCHEME: &str = "url.scheme";
/// The route as the caller knows it, such as `/orders/{id}`; semconv (development).
pub const URL_TEMPLATE: &str = "url.template";
pub const USER_AGENT_ORIGINAL: &str = "user_agent.original";
/// The caller's name as captured from [`X_SERVICE_NAME`]; a string array, as semconv captures headers.
pub const HTTP_REQUEST_HEADER_X_SERVICE_NAME: &str = "http.request.header.x-service-name";
pub const NETWORK_PROTOCOL_VERSION: &str = "network.protocol.version";

// Peers and errors, semconv (stable but for the peer's name).
pub const SERVER_ADDRESS: &str = "server.address";
pub const SERVER_PORT: &str = "server.port";
/// The logical name of the called service; semconv 1.40 and later (development).
pub const SERVICE_PEER_NAME: &str = "service.peer.name";
/// What [`SERVICE_PEER_NAME`] was called before.
pub const PEER_SERVICE: &str = "peer.service";
pub const ERROR_TYPE: &str = "error.type";
pub const EXCEPTION: &str = "exception";
pub const EXCEPTION_TYPE: &str = "exception.type";
pub const EXCEPTION_MESSAGE: &str = "exception.message";

// gRPC, semconv (release candidate).
pub const RPC_SYSTEM_NAME: &str = "rpc.system.name";
/// `package.Service/Method`.
pub const RPC_METHOD: &str = "rpc.method";
/// A gRPC code by name, such as `NOT_FOUND`.
pub const RPC_RESPONSE_STATUS_CODE: &str = "rpc.response.status_code";

// Messaging, semconv (development).
pub const MESSAGING_SYSTEM: &str = "messaging.system";
pub const MESSAGING_OPERATION_TYPE: &str = "messaging.operation.type";
pub const MESSAGING_OPERATION_NAME: &str = "messaging.operation.name";
/// `exchange:key` on the producer, `exchange:key:queue` on the consumer.
pub const MESSAGING_DESTINATION_NAME: &str = "messaging.destination.name";
pub const MESSAGING_ROUTING_KEY: &str = "messaging.rabbitmq.destination.routing_key";
pub const MESSAGING_MESSAGE_ID: &str = "messaging.message.id";
/// The message's correlation ID.
pub const MESSAGING_CONVERSATION_ID: &str = "messaging.message.conversation_id";
/// In bytes.
pub const MESSAGING_BODY_SIZE: &str = "messaging.message.body.size";

/// The value of [`MESSAGING_SYSTEM`] for the embedded broker.
pub const SYSTEM_THROUGHLINE: &str = "throughline";
/// The value of [`MESSAGING_SYSTEM`] for RabbitMQ; semconv.
pub const SYSTEM_RABBITMQ: &str = "rabbitmq";

// Our own, on consumer spans: semconv has no names for them.
/// The queue that a message was taken from.
pub const QUEUE: &str = "throughline.queue";
/// Which delivery of this message it is; the first is 1.
pub const DELIVERY_NUMBER: &str = "throughline.delivery.number";
/// How the delivery ended: one of [`OUTCOME_ACK`], [`OUTCOME_RETRY`], [`OUTCOME_DEAD_LETTER`].
pub const SETTLE_OUTCOME: &str = "throughline.settle.outcome";
/// The queue that the message went to: its own on a retry, the dead letters', none on success.
pub const SETTLE_DESTINATION: &str = "throughline.settle.destination";
/// How long a retry waits, in milliseconds.
pub const SETTLE_DELAY_MS: &str = "throughline.settle.delay_ms";
/// The application's type and version of a message.
pub const MESSAGE_TYPE: &str = "throughline.message.type";
pub const MESSAGE_VERSION: &str = "throughline.message.version";
/// The ID of the message that led to this one being sent.
pub const MESSAGE_CAUSATION_ID: &str = "throughline.message.causation_id";

/// What a message came with in place of a valid correlation ID, escaped and cut.
pub const REFUSED_CORRELATION_ID: &str = "throughline.message.refused_correlation_id";

pub const OUTCOME_ACK: &str = "ack";
pub const OUTCOME_RETRY: &str = "retry";
pub const OUTCOME_DEAD_LETTER: &str = "dead_letter";

/// Span event on a consumer span: the message will be delivered again.
pub const EVENT_RETRIED: &str = "message.retried";
/// Span event on a consumer span: the message went to the dead letters.
pub const EVENT_DEAD_LETTERED: &str = "message.dead_lettered";
/// On both events: why.
pub const EVENT_REASON: &str = "reason";

// Message headers.
/// The `traceparent` of the first process span that failed; what a retry's new trace links to.
pub const HEADER_FIRST_FAILURE: &str = "x-first-failure";
/// Why a message was dead-lettered.
pub const HEADER_DEATH_REASON: &str = "x-death-reason";
/// The queue that a dead letter came from.
pub const HEADER_DEATH_QUEUE: &str = "x-death-queue";
/// How often a dead letter had been delivered.
pub const HEADER_DEATH_DELIVERIES: &str = "x-death-deliveries";

// Message headers that our transport over AMQP writes for itself; a handler does not see them.
/// The version of the body's shape; a number.
pub const HEADER_VERSION: &str = "x-message-version";
/// The ID of the message that led to this one.
pub const HEADER_CAUSATION_ID: &str = "x-causation-id";
/// When the message was made, in milliseconds since 1970; AMQP's own property has seconds. The name is that of
/// RabbitMQ's plugin for timestamps.
pub const HEADER_TIMESTAMP_MS: &str = "timestamp_in_ms";
/// On a retry: how often it has been delivered before.
pub const HEADER_DELIVERIES: &str = "x-deliveries";
/// On a retry or a dead letter: the exchange and the routing key that it was first sent with.
pub const HEADER_ORIGIN_EXCHANGE: &str = "x-origin-exchange";
pub const HEADER_ORIGIN_KEY: &str = "x-origin-routing-key";

/// What a message came with in place of a valid correlation ID, escaped and cut. A handler sees it.
pub const HEADER_REFUSED_CORRELATION_ID: &str = "x-refused-correlation-id";
