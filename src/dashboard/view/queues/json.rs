//! `GET /api/queues` and `GET /api/queues/one`: queues as JSON, for programs. Times are nanoseconds since the Unix epoch as
//! decimal strings, as in OTLP/JSON; what is not known is null.

use axum::Json;
use axum::extract::State as From;
use serde_json::{Value, json};

use super::{Asked, of, one};
use crate::dashboard::model::queues::{BrokerStatus, QueueFacts};
use crate::dashboard::query::queues::{Queue, Verdict, one as query};
use crate::dashboard::view::PageState;
use crate::dashboard::view::error::PageError;
use crate::dashboard::view::format::ns;
use crate::dashboard::view::visit::Visit;

/// Handler of `GET /api/queues`: `find`, `broker`, `trouble`, `limit` (at most 1 000) and the time range as on the page.
pub async fn list(From(state): From<PageState>, visit: Visit) -> Result<Json<Value>, PageError> {
    let asked = Asked::read(&visit)?;
    let listed = of(&state, &visit).await?;
    let wanted: Vec<&Queue> = listed.queues.iter().filter(|queue| asked.wants(queue)).collect();
    Ok(Json(json!({
        "from": ns(listed.from),
        "to": ns(listed.to),
        "complete": listed.complete,
        "leftOut": wanted.len().saturating_sub(asked.limit),
        "brokers": listed.brokers.iter().map(|broker| of_broker(broker)).collect::<Vec<_>>(),
        "queues": wanted.iter().take(asked.limit).map(|queue| of_queue(queue)).collect::<Vec<_>>(),
    })))
}

/// Handler of `GET /api/queues/one`: `broker`, `vhost`, `name`.
pub async fn show(From(state): From<PageState>, visit: Visit) -> Result<Json<Value>, PageError> {
    let listed = of(&state, &visit).await?;
    let queue = one::wanted(&visit, &listed)?;
    let over = query::one(&*state.reader, queue, listed.from, listed.to).await?;
    let mut out = of_queue(queue);
    out["from"] = json!(ns(listed.from));
    out["to"] = json!(ns(listed.to));
    out["overTime"] = json!({
        "ready": over.ready,
        "unacknowledged": over.unacknowledged,
        "consumers": over.consumers,
        "inPerSecond": over.incoming,
        "outPerSecond": over.outgoing,
        "acknowledgedPerSecond": over.acknowledged,
    });
    let users = |all: &[(String, u64)]| -> Value {
        all.iter().map(|(service, messages)| json!({ "service": service, "messages": messages })).collect()
    };
    out["publishers"] = users(&over.publishers);
    out["takers"] = users(&over.takers);
    Ok(Json(out))
}

fn of_broker(broker: &BrokerStatus) -> Value {
    json!({
        "name": broker.name,
        "address": broker.address,
        "reached": broker.reached.map(ns),
        "failing": broker.failing.as_ref().map(|(why, since)| json!({ "why": why, "since": ns(*since) })),
        "queuesLeftOut": broker.left_out,
    })
}

/// A queue of a list.
pub fn of_queue(queue: &Queue) -> Value {
    let (per_second, seconds_left, since) = match &queue.verdict {
        Verdict::Growing { per_second, full_in } => (Some(*per_second), *full_in, None),
        Verdict::Draining { per_second, empty_in } => (Some(-per_second), *empty_in, None),
        Verdict::NoConsumer { since } => (None, None, since.map(ns)),
        _ => (None, None, None),
    };
    json!({
        "kind": if queue.is_kafka { "consumer_group" } else { "queue" },
        "broker": queue.key.broker,
        "vhost": queue.key.virtual_host,
        "name": queue.key.name,
        "verdict": queue.verdict.code(),
        "since": since,
        "growthPerSecond": per_second,
        "secondsLeft": seconds_left,
        "ready": queue.ready,
        "unacknowledged": queue.unacknowledged,
        "delayed": queue.delayed,
        "consumers": queue.consumers,
        "inPerSecond": queue.incoming,
        "outPerSecond": queue.outgoing,
        "heard": (queue.heard > 0).then(|| ns(queue.heard)),
        "sentBy": queue.sent_by,
        "takesDeadLetters": queue.takes_dead_letters,
        "facts": queue.facts.as_ref().map(of_facts),
    })
}

fn of_facts(facts: &QueueFacts) -> Value {
    json!({
        "type": facts.kind,
        "node": facts.node,
        "state": facts.state,
        "durable": facts.durable,
        "exclusive": facts.exclusive,
        "autoDelete": facts.auto_delete,
        "policy": facts.policy,
        "arguments": facts.arguments.iter().cloned().collect::<std::collections::BTreeMap<_, _>>(),
        "deadLetterExchange": facts.dead_letters.as_ref().map(|(exchange, _)| exchange),
        "deadLetterRoutingKey": facts.dead_letters.as_ref().and_then(|(_, key)| key.as_ref()),
        "deadLetterQueues": facts.dead_letter_queues,
        "maxLength": facts.limit,
    })
}
