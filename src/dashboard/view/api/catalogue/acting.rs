//! Looks into queues, redrives, copies, purges, and the audit.

use serde_json::json;

use super::super::operation::{Answer, Group, Method, Operation, Param, path, query, range};
use super::super::schema::{Schema, flag, list, map, object, of, text, whole, word};
use crate::dashboard::keys::Role;
use crate::dashboard::model::audit::Action;

/// All of them.
pub fn all() -> Vec<Operation> {
    vec![
        Operation::post("/api/queues/{broker}/{vhost}/{name}/peek", "Look at a queue's first messages", Role::Operator, of("Peek"))
            .says("RabbitMQ counts a look as a delivery: on a quorum queue with a delivery limit it takes acceptCount. Secrets are \
                   masked unless reveal is true, which is written into the audit.")
            .example("/api/queues/eu-1/%2F/orders.dlq/peek")
            .with(place())
            .body(look(), json!({ "count": 10 })),
        Operation {
            answer: Answer::Json(202, of("Redrive")),
            ..Operation::post("/api/queues/{broker}/{vhost}/{name}/redrive", "Redrive messages", Role::Operator, of("Redrive"))
        }
        .says("Publishes each message again, waits for the broker's confirm, and only then takes it away. The answer comes at once; \
               /api/redrives/{id} tells how it goes. One at a time for a queue.")
        .example("/api/queues/eu-1/%2F/orders.dlq/redrive")
        .with(place())
        .body(order(), json!({ "reason": "rejected", "dryRun": true })),
        Operation::post(
            "/api/queues/{broker}/{vhost}/{name}/republish",
            "Publish a copy of one message of a look",
            Role::Operator,
            object(&[("audit", whole("Its row in the audit")), ("sent", whole("1"))]),
        )
        .says("“peek” and one of “marks” name the message; the original stays where it is.")
        .example("/api/queues/eu-1/%2F/orders.dlq/republish")
        .with(place())
        .body(order(), json!({ "peek": 1, "marks": ["8f2c"], "to": "origin" })),
        Operation::post(
            "/api/queues/{broker}/{vhost}/{name}/purge",
            "Remove all messages that are ready",
            Role::Admin,
            object(&[("removed", whole("Messages"))]),
        )
        .says("For good.")
        .example("/api/queues/eu-1/%2F/orders.dlq/purge")
        .with(place())
        .body(object(&[("confirm", text("The queue's name once more"))]), json!({ "confirm": "orders.dlq" })),
        Operation {
            role: Role::Operator,
            ..Operation::get(Group::Acting, "/api/redrives/{id}", "How a redrive goes", of("RedriveWithResults"))
        }
        .says("Known while this process runs; the audit has it for longer.")
        .example("/api/redrives/17")
        .with([path("id", "The number that the redrive's answer gave")]),
        Operation::post("/api/redrives/{id}/stop", "Stop a redrive after the messages at hand", Role::Operator, of("Redrive"))
            .example("/api/redrives/17/stop")
            .with([path("id", "The number that the redrive's answer gave")]),
        Operation { method: Method::Get, ..Operation::get(Group::Acting, "/api/audit", "What was done, newest first", of("Audit")) }
            .with([
                query("action", "Only deeds of this kind").one_of(&Action::ALL.map(Action::name)),
                query("who", "Only by this visitor"),
                query("broker", "Only at this broker"),
                query("vhost", "Only in this virtual host"),
                query("queue", "Only at this queue"),
                query("trouble", "Only what was not all done").switch(),
                query("before", "“before” of the page before"),
                query("limit", "Rows of an answer").number(1, 1_000, 100),
            ])
            .with(range()),
    ]
}

fn place() -> [Param; 3] {
    [
        path("broker", "The broker's name in the settings"),
        path("vhost", "Its virtual host; / is written %2F"),
        path("name", "The queue's name"),
    ]
}

fn look() -> Schema {
    object(&[
        ("count?", whole("Messages, 1 to 200; 20 unless said")),
        ("offset?", text("Of a stream: first, last, next or a number")),
        ("acceptCount?", flag("The look may count as a delivery")),
        ("reveal?", flag("Without masking")),
    ])
}

fn order() -> Schema {
    object(&[
        ("all?", flag("All messages; else one of the next six narrows")),
        ("marks?", list(text("A message of a look"))),
        ("text?", text("Body, headers or properties contain this")),
        ("header?", text("It has this header")),
        ("headerValue?", text("With this value")),
        ("reason?", text("It died of this: rejected, expired, maxlen, delivery_limit")),
        ("diedIn?", text("It died in this queue")),
        ("to?", word(&["origin", "queue", "other"])),
        ("exchange?", text("Of another target; empty for the default one")),
        ("key?", text("Of another target")),
        ("body?", text("The body in place of its own")),
        ("set?", map(text("A header to be set"))),
        ("remove?", list(text("A header to be left out"))),
        ("routingKey?", text("The routing key in place of its own")),
        ("keepCount?", flag("Keep the count of retries; it begins anew unless said")),
        ("dryRun?", flag("Only tell what would be done")),
        ("rate?", whole("Messages a second, at the most")),
        ("most?", whole("Messages, at the most")),
        ("peek?", whole("The look that “marks” are of")),
    ])
}
