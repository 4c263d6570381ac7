//! The map, services, queues, breakers.

use super::super::schema::{
    Schema, any, flag, list, map, maybe, number, object, of, text, time, whole, with, word,
};
use super::ranged;

const STATES: [&str; 10] = [
    "open",
    "forced_open",
    "partly_open",
    "half_open",
    "saturated",
    "closed",
    "closed_assumed",
    "disabled",
    "metrics_only",
    "unknown",
];
const VERDICTS: [&str; 12] = [
    "no_consumer",
    "growing",
    "dead_letters",
    "silent",
    "draining",
    "delays",
    "steady",
    "flowing",
    "unknown",
    "empty",
    "idle",
    "gone",
];

pub fn all() -> Vec<(&'static str, Schema)> {
    vec![
        ("Quantiles", quantiles()),
        ("Map", whole_map()),
        ("Services", services()),
        ("Service", service()),
        ("BreakerBrief", breaker_brief()),
        ("Breakers", breakers()),
        ("Breaker", breaker()),
        ("Queue", queue()),
        ("Queues", queues()),
        ("QueueOverTime", queue_over_time()),
    ]
}

fn quantiles() -> Schema {
    let ns = || maybe(whole("Nanoseconds; null where there is nothing to measure"));
    object(&[("p50", ns()), ("p95", ns()), ("p99", ns())])
}

/// Counts, rate, share of failures, durations, and other fields.
fn rated(fields: &[(&str, Schema)]) -> Schema {
    let rates = object(&[
        ("count", whole("")),
        ("errors", whole("Failed; a call that was refused did not")),
        ("perSecond", number("")),
        ("failing", maybe(number("A share from 0 to 1"))),
        ("durations", of("Quantiles")),
    ]);
    with(rates, fields)
}

fn whole_map() -> Schema {
    let queue = object(&[
        ("broker", text("")),
        ("vhost", text("")),
        ("name", text("")),
        ("ready", maybe(number(""))),
        ("verdict", word(&VERDICTS)),
    ]);
    let node = rated(&[
        ("id", text("Its kind and name, as “focus” takes it")),
        (
            "kind",
            word(&[
                "user",
                "unknownCaller",
                "service",
                "exchange",
                "queue",
                "database",
                "outside",
                "unknownPeer",
                "others",
            ]),
        ),
        ("name", text("")),
        ("system?", text("rabbitmq, postgresql and the like")),
        ("inQueue?", of("Quantiles")),
        ("queue?", queue),
    ]);
    let edge = rated(&[
        ("from", text("The ID of a node")),
        ("to", text("The ID of a node")),
        ("kind", word(&["call", "query", "send", "route", "take"])),
        ("breakers", list(of("BreakerBrief"))),
        ("inQueue?", of("Quantiles")),
    ]);
    ranged(&[
        ("nodes", list(node)),
        ("edges", list(edge)),
        ("nodesLeftOut", whole("")),
        ("edgesLeftOut", whole("")),
    ])
}

fn steps() -> Schema {
    list(object(&[
        ("time", time("Begin of the step")),
        ("count", whole("")),
        ("errors", whole("")),
        ("durations", of("Quantiles")),
    ]))
}

fn services() -> Schema {
    let line = rated(&[
        ("name", text("")),
        ("lastSeen", maybe(time(""))),
        ("instances", whole("")),
        ("versions", list(text(""))),
        ("steps", steps()),
    ]);
    ranged(&[("services", list(line)), ("leftOut", whole(""))])
}

fn service() -> Schema {
    let operation = rated(&[
        ("name", text("")),
        ("query", maybe(text("For /api/traces: its traces"))),
        ("othersTogether", flag("The rest, beyond the limit of names")),
    ]);
    let neighbour = rated(&[
        ("id", text("")),
        ("name", text("")),
        ("kind", text("")),
        ("inQueueP50", maybe(whole("Nanoseconds"))),
    ]);
    let instance = rated(&[
        ("instance", maybe(text(""))),
        ("version", maybe(text(""))),
        ("firstSeen", maybe(time(""))),
        ("lastSeen", maybe(time(""))),
        ("maybeEarlier", flag("It was there at the begin of the time already")),
    ]);
    let change = object(&[("time", time("")), ("version", text("")), ("again", flag("It was there before"))]);
    with(
        rated(&[
            ("from", time("Begin of the time")),
            ("to", time("End of the time")),
            ("name", text("")),
            ("lastSeen", maybe(time(""))),
            ("versions", list(text(""))),
            ("steps", steps()),
        ]),
        &[
            ("operations", list(operation)),
            ("operationsLeftOut", whole("")),
            ("callers", list(neighbour.clone())),
            ("callees", list(neighbour)),
            ("instances", list(instance)),
            ("instancesLeftOut", whole("")),
            ("versionChanges", list(change)),
            ("breakers", list(of("BreakerBrief"))),
            ("newestFailedTraces", list(text("A trace ID"))),
        ],
    )
}

fn rejection() -> Schema {
    object(&[
        ("time", time("")),
        ("traceId", maybe(text(""))),
        ("spanId", maybe(text(""))),
        ("what", any("What was rejected")),
        ("answered", any("What the caller was answered")),
    ])
}

fn breaker_brief() -> Schema {
    object(&[
        ("service", text("Where it is")),
        ("name", text("")),
        (
            "library",
            word(&["resilience4j", "polly", "failsafe", "opossum", "hystrix", "envoy", "convention"]),
        ),
        ("guards", maybe(text("Whom it guards"))),
        ("state", word(&STATES)),
        ("since", maybe(time(""))),
        ("sinceIsAtLeast", flag("It was so before the time began")),
        ("knownFrom", text("gauge, event, log, counter and the like")),
        ("instancesInState", whole("")),
        ("instancesHeard", whole("")),
        ("failureShare", maybe(number("From 0 to 1"))),
        ("rejectedPerSecond", maybe(number(""))),
        ("newestRejection", maybe(rejection())),
    ])
}

fn strip() -> Schema {
    list(object(&[("from", time("")), ("to", time("")), ("state", word(&STATES))]))
}

fn with_states() -> Schema {
    with(breaker_brief(), &[("states", strip())])
}

fn breakers() -> Schema {
    ranged(&[("complete", flag("")), ("leftOut", whole("")), ("breakers", list(with_states()))])
}

fn breaker() -> Schema {
    let instance = object(&[
        ("instance", text("")),
        ("state", word(&STATES)),
        ("since", maybe(time(""))),
        ("knownFrom", text("")),
        ("heard", time("")),
        ("states", strip()),
    ]);
    let cause = object(&[
        ("traceId", text("")),
        ("spanId", text("")),
        ("name", text("")),
        ("peer", maybe(text(""))),
        ("why", any("")),
        ("time", time("")),
        ("correlation", maybe(text(""))),
    ]);
    let transition = object(&[
        ("at", time("")),
        ("exact", flag("False where only samples tell, and it happened before")),
        ("from", word(&STATES)),
        ("to", word(&STATES)),
        ("instances", any("Which")),
        ("traceId", maybe(text("The span that told of it"))),
        ("spanId", maybe(text(""))),
        (
            "because",
            maybe(object(&[
                ("failedCalls?", whole("")),
                ("waited?", time("Nanoseconds")),
                ("trials?", word(&["passed", "failed"])),
            ])),
        ),
        ("reason", any("In the library's own words")),
        ("failedSpans", list(cause)),
    ]);
    let calls = object(&[
        ("result", text("succeeded, failed, rejected and the like")),
        ("perSecond", list(maybe(number("")))),
    ]);
    let rejected = with(
        rejection(),
        &[
            ("root", any("The request that it was part of")),
            ("rootAnswered", any("")),
            ("correlation", maybe(text(""))),
        ],
    );
    with(
        with_states(),
        &[
            ("from", time("Begin of the time")),
            ("to", time("End of the time")),
            ("instances", list(instance)),
            ("transitions", list(transition)),
            ("calls", list(calls)),
            ("settings", map(any(""))),
            ("rejectedCalls", list(rejected)),
        ],
    )
}

fn queue() -> Schema {
    let facts = object(&[
        ("type", maybe(text("classic, quorum, stream"))),
        ("node", maybe(text(""))),
        ("state", maybe(text(""))),
        ("durable", maybe(flag(""))),
        ("exclusive", maybe(flag(""))),
        ("autoDelete", maybe(flag(""))),
        ("policy", maybe(text(""))),
        ("arguments", map(text(""))),
        ("deadLetterExchange", maybe(text("Empty for the default one"))),
        ("deadLetterRoutingKey", maybe(text(""))),
        ("deadLetterQueues", list(text(""))),
        ("maxLength", maybe(whole(""))),
    ]);
    let figure = |says: &str| maybe(number(says));
    object(&[
        ("kind", word(&["queue", "consumer_group"])),
        ("broker", text("")),
        ("vhost", text("The virtual host; of a consumer group of Kafka its name")),
        ("name", text("Of a consumer group the topic that it reads; “ready” is then its lag")),
        ("verdict", word(&VERDICTS)),
        ("since", maybe(time("Since when it has no consumer"))),
        ("growthPerSecond", figure("Where it grows or drains")),
        ("secondsLeft", figure("Until it is full or empty, where the slope is steady")),
        ("ready", figure("Null is unknown, here and below")),
        ("unacknowledged", figure("")),
        ("delayed", figure("")),
        ("consumers", figure("")),
        ("inPerSecond", figure("")),
        ("outPerSecond", figure("")),
        ("heard", maybe(time("When its newest figure was taken"))),
        ("sentBy", maybe(text("Who sent the figures; null where the broker itself was asked"))),
        ("takesDeadLetters", flag("")),
        ("facts", maybe(facts)),
    ])
}

fn queues() -> Schema {
    let broker = object(&[
        ("name", text("")),
        ("address", text("Without user and password")),
        ("reached", maybe(time("When it answered last"))),
        ("failing", maybe(object(&[("why", text("")), ("since", time(""))]))),
        ("queuesLeftOut", whole("")),
    ]);
    ranged(&[
        ("complete", flag("")),
        ("leftOut", whole("")),
        ("brokers", list(broker)),
        ("queues", list(of("Queue"))),
    ])
}

fn queue_over_time() -> Schema {
    let values = || list(maybe(number("One of equal steps of the time")));
    let user = object(&[("service", text("")), ("messages", whole(""))]);
    with(
        queue(),
        &[
            ("from", time("Begin of the time")),
            ("to", time("End of the time")),
            (
                "overTime",
                object(&[
                    ("ready", values()),
                    ("unacknowledged", values()),
                    ("consumers", values()),
                    ("inPerSecond", values()),
                    ("outPerSecond", values()),
                    ("acknowledgedPerSecond", values()),
                ]),
            ),
            ("publishers", list(user.clone())),
            ("takers", list(user)),
        ],
    )
}
