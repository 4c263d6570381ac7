//! Attribute keys and header names, in one place, each with its source.
//!
//! "semconv" is OpenTelemetry's semantic conventions, 1.44. The toolkit writes these names and the dashboard
//! reads them. Nothing but constants lives here, so it builds without any dependency.

/// The correlation ID on spans, log records and in baggage. Set by convention among applications.
pub const CORRELATION_ID: &str = "correlation.id";
/// What a request, a call or a message came with in place of a valid correlation ID, escaped and cut; on the span that
/// took it, which has a new ID. Ours.
pub const REFUSED_CORRELATION_ID: &str = "throughline.refused_correlation_id";
/// The correlation ID in HTTP headers, gRPC metadata and message headers; lower case as HTTP/2 wants it.
pub const X_CORRELATION_ID: &str = "x-correlation-id";
/// The calling service's name in HTTP headers and gRPC metadata.
pub const X_SERVICE_NAME: &str = "x-service-name";
/// How long the caller will wait for the answer, in milliseconds; gRPC has `grpc-timeout` for it. Ours: HTTP has none.
pub const X_REQUEST_TIMEOUT_MS: &str = "x-request-timeout-ms";
/// gRPC's own header for the same: at most eight digits and a unit.
pub const GRPC_TIMEOUT: &str = "grpc-timeout";
/// W3C Trace Context, the header that names trace and parent span.
pub const TRACEPARENT: &str = "traceparent";
/// W3C Trace Context, the header of what tracing systems add to it.
pub const TRACESTATE: &str = "tracestate";
/// W3C Baggage.
pub const BAGGAGE: &str = "baggage";

// HTTP, semconv (stable).
pub const HTTP_REQUEST_METHOD: &str = "http.request.method";
/// The method as it was sent, where it is none that HTTP knows.
pub const HTTP_REQUEST_METHOD_ORIGINAL: &str = "http.request.method_original";
/// Which retry of a request it is, from 1; on the span of each.
pub const HTTP_REQUEST_RESEND_COUNT: &str = "http.request.resend_count";
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

/// On the span of a request to an interface that will end: true. Ours.
pub const API_DEPRECATED: &str = "throughline.api.deprecated";

// Peers and errors, semconv (stable but for the peer's name).
pub const SERVER_ADDRESS: &str = "server.address";
pub const SERVER_PORT: &str = "server.port";
/// The logical name of the called service; semconv 1.40 and later (development).
pub const SERVICE_PEER_NAME: &str = "service.peer.name";
/// What [`SERVICE_PEER_NAME`] was called before.
pub const PEER_SERVICE: &str = "peer.service";
/// Who makes a request, by its token: a service's name; semconv (development).
pub const ENDUSER_ID: &str = "enduser.id";
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
/// The value of [`MESSAGING_SYSTEM`] for Kafka; semconv.
pub const SYSTEM_KAFKA: &str = "kafka";
/// Kafka's group, which is the queue; semconv.
pub const MESSAGING_CONSUMER_GROUP_NAME: &str = "messaging.consumer.group.name";

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

pub const OUTCOME_ACK: &str = "ack";
pub const OUTCOME_RETRY: &str = "retry";
pub const OUTCOME_DEAD_LETTER: &str = "dead_letter";

/// On an answer, of HTTP and gRPC: the name of the open breaker because of which there is no better one. Who passes it
/// on says that it is well itself, so that one outage opens one breaker and not all on the way.
pub const X_CIRCUIT_BREAKER: &str = "x-circuit-breaker";

/// Span event on a consumer span: the message will be delivered again.
pub const EVENT_RETRIED: &str = "message.retried";
/// Span event on a consumer span: the message went to the dead letters.
pub const EVENT_DEAD_LETTERED: &str = "message.dead_lettered";
/// On both events: why.
pub const EVENT_REASON: &str = "reason";

// Circuit breakers: semconv has no names for them.
/// The breaker's name on metrics, events, and the span of a call that it guards: as a rule the called service's.
pub const BREAKER_NAME: &str = "circuit_breaker.name";
/// One of [`BREAKER_STATES`], on the gauge of the same name and on the span of a guarded call.
pub const BREAKER_STATE: &str = "circuit_breaker.state";
/// The values of [`BREAKER_STATE`].
pub const BREAKER_STATES: [&str; 4] = ["closed", "open", "half_open", "forced_open"];
/// How a call ended, on [`METRIC_BREAKER_CALLS`]: one of [`BREAKER_RESULTS`].
pub const BREAKER_RESULT: &str = "circuit_breaker.result";
/// The values of [`BREAKER_RESULT`]. `slow` succeeded, but too late; `rejected` was not made.
pub const BREAKER_RESULTS: [&str; 4] = ["success", "failure", "slow", "rejected"];
/// On [`EVENT_BREAKER_STATE_CHANGE`]: why, in words.
pub const BREAKER_REASON: &str = "circuit_breaker.reason";
/// On [`EVENT_BREAKER_STATE_CHANGE`]: the breaker's settings in words.
pub const BREAKER_POLICY: &str = "circuit_breaker.policy";

/// Gauge with [`BREAKER_NAME`] and [`BREAKER_STATE`]: 1 for the state that the breaker is in, 0 for the others.
pub const METRIC_BREAKER_STATE: &str = "circuit_breaker.state";
/// Counter with [`BREAKER_NAME`], [`BREAKER_RESULT`] and, where known, [`SERVICE_PEER_NAME`].
pub const METRIC_BREAKER_CALLS: &str = "circuit_breaker.calls";
/// Gauge with [`BREAKER_NAME`]: the share of failed calls in the window, from 0 to 1; none where it is empty.
pub const METRIC_BREAKER_FAILURE_RATE: &str = "circuit_breaker.failure_rate";
/// The same for calls that took too long.
pub const METRIC_BREAKER_SLOW_RATE: &str = "circuit_breaker.slow_rate";

// Queues: the names of the OpenTelemetry Collector's RabbitMQ receiver, which no convention has.
/// Gauge with [`QUEUE_NAME`], [`QUEUE_BROKER`] and [`QUEUE_MESSAGE_STATE`]: messages in a queue.
pub const METRIC_QUEUE_MESSAGES: &str = "rabbitmq.message.current";
pub const QUEUE_NAME: &str = "rabbitmq.queue.name";
/// `ready`, `unacknowledged`, or `delayed` until a retry.
pub const QUEUE_MESSAGE_STATE: &str = "state";
/// Which broker, where it is no RabbitMQ node; ours.
pub const QUEUE_BROKER: &str = "throughline.broker";
/// The queue by which a dashboard sees messages, or the beginning of its name. It is nobody's, so it neither makes a message
/// routable nor counts among queues.
pub const QUEUE_TAP: &str = "throughline.tap";

/// Span event and log record: a breaker went from one state to another. Holds [`BREAKER_NAME`], [`EVENT_FROM`],
/// [`EVENT_TO`], [`BREAKER_REASON`], [`BREAKER_POLICY`] and, where known, [`SERVICE_PEER_NAME`].
pub const EVENT_BREAKER_STATE_CHANGE: &str = "circuit_breaker.state_change";
/// Span event: a breaker let a call not through. Holds [`BREAKER_NAME`], [`BREAKER_STATE`] and, where known,
/// [`SERVICE_PEER_NAME`].
pub const EVENT_BREAKER_REJECTED: &str = "circuit_breaker.rejected";
/// Span event: a call was not made again, because too many calls fail. Holds [`EVENT_REASON`].
pub const EVENT_RETRY_BUDGET_EXHAUSTED: &str = "retry.budget_exhausted";
/// Span event: a call was ended by a timeout, a bulkhead or a rate limit. Holds [`EVENT_REASON`].
pub const EVENT_REFUSED: &str = "call.refused";
/// Span event: an old answer was given, because there is no new one. Holds [`EVENT_REASON`].
pub const EVENT_STALE_ANSWER: &str = "cache.stale_answer";
/// The state before; one of [`BREAKER_STATES`].
pub const EVENT_FROM: &str = "from";
/// The state after.
pub const EVENT_TO: &str = "to";
/// The value of [`ERROR_TYPE`] for a call that a breaker rejected.
pub const ERROR_BREAKER_OPEN: &str = "circuit_breaker.open";

// What is refused: semconv has no names for it.
/// Counter with [`REFUSED_REASON`] and, where known, [`REFUSED_TRANSPORT`], [`HTTP_ROUTE`] or [`RPC_METHOD`], and [`REFUSED_BY`]:
/// requests that a server of the toolkit did not serve or of which it did not take the correlation ID, and calls that
/// a limit kept from being made. What a breaker rejects is in [`METRIC_BREAKER_CALLS`].
pub const METRIC_REQUESTS_REFUSED: &str = "throughline.requests.refused";
/// Counter with [`QUEUE`] and [`REFUSED_REASON`]: messages that no handler got to see, and those of which the correlation ID was not
/// taken.
pub const METRIC_MESSAGES_REFUSED: &str = "throughline.messages.refused";
/// Why, low in cardinality. Of requests: `token_missing`, `token_expired`, `token_early`, `token_foreign`, `token_forged`,
/// `token_malformed`, `token_invalid`, `scope_missing`; `media_type`, `malformed_body`, `unreadable_body`, `schema`, `body_too_large`;
/// `rate_limited`, `bulkhead_full`, `retry_budget_exhausted`; `no_route`, `method_not_allowed`, `malformed_path`; `correlation_id`. Of
/// messages: `deliveries`, `body_size`, `unknown_type`, `unknown_version`, `malformed_message`, `schema`, `upcast`, `correlation_id`.
pub const REFUSED_REASON: &str = "reason";
/// How a refused request came: `http` or `grpc`.
pub const REFUSED_TRANSPORT: &str = "throughline.transport";
/// The name of the limit, the bulkhead or the retries that refused a call.
pub const REFUSED_BY: &str = "throughline.refused.by";

// Message headers.
/// The `traceparent` of the first process span that failed; what a retry's new trace links to.
pub const HEADER_FIRST_FAILURE: &str = "x-first-failure";
/// Why a message was dead-lettered.
pub const HEADER_DEATH_REASON: &str = "x-death-reason";
/// The queue that a dead letter came from.
pub const HEADER_DEATH_QUEUE: &str = "x-death-queue";
/// How often a dead letter had been delivered.
pub const HEADER_DEATH_DELIVERIES: &str = "x-death-deliveries";

// Message headers that our transports over AMQP and Kafka write for themselves; a handler does not see them.
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

// Events within one process ([`crate::comms::bus`]): semconv has no names for them.
/// The name of an event's type, on spans, metrics and span events of a bus.
pub const BUS_EVENT: &str = "throughline.event.name";
/// Who handles it.
pub const BUS_SUBSCRIBER: &str = "throughline.event.subscriber";
/// Histogram in seconds with [`BUS_EVENT`], [`BUS_SUBSCRIBER`] and, where it failed, [`ERROR_TYPE`].
pub const METRIC_EVENT_DURATION: &str = "throughline.event.process.duration";
/// Counter with [`BUS_EVENT`] and [`BUS_SUBSCRIBER`]: events for which a subscriber had no room.
pub const METRIC_EVENT_MISSED: &str = "throughline.event.missed";
/// Span event: a subscriber had no room for an event. Holds [`BUS_EVENT`] and [`BUS_SUBSCRIBER`].
pub const EVENT_MISSED: &str = "event.missed";
