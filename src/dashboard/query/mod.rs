//! Queries: model in, model out. What a trace means is decided here; how it looks is not.
//!
//! * [`waterfall`]: the spans of a trace as rows: tree, times, waits in queues, critical path.
//! * [`semantics`]: what a span says in the conventions' words, old and new.
//! * [`facts`]: one span explained: a sentence, attributes in groups, what is hidden.
//! * [`finding`]: one trace explained: its title and its sentence.
//! * [`logs`]: one log explained: its one line.
//! * [`story`]: everything that carries one correlation ID, told in order.
//! * [`overview`], [`kept`] and [`outcome`]: what is wrong now, once for all who ask, and what became of what
//!   failed.
//! * [`breakers`]: circuit breakers out of metrics, spans and logs.
//! * [`queues`]: queues of brokers, how each does and what is to be done about it.
//! * [`map`](mod@map): services and what they call and send; [`services`](mod@services): how each does.
//! * [`messages`]: messages that a tap saw, and what their bodies say.
//! * [`growth`]: what counters and distributions grew by.
//! * [`redact`]: secrets that are not shown.
//! * [`prose`]: a sentence with services, codes and errors in it, without markup.
//! * [`search`]: what a text in the search box means; [`language`]: the query language;
//!   [`completion`]: what can stand where somebody is typing.
//! * [`export`]: a trace as OTLP JSON and as Jaeger JSON.
//!
//! What must not live here: HTML, colours, SQL, wire types.

pub mod breakers;
pub mod completion;
pub mod export;
pub mod facts;
pub mod finding;
pub mod growth;
pub mod kept;
pub mod language;
pub mod logs;
pub mod map;
pub mod messages;
pub mod outcome;
pub mod overview;
pub mod prose;
pub mod queues;
pub mod redact;
pub mod search;
pub mod semantics;
pub mod services;
pub mod story;
pub mod waterfall;
