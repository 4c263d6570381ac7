//! Messages, looks into queues, redrives, the audit.

use super::super::schema::{Schema, any, flag, list, maybe, object, of, text, time, whole, with, word};
use super::{ranged, values};

pub fn all() -> Vec<(&'static str, Schema)> {
    vec![
        ("SeenMessage", seen()),
        ("Messages", messages()),
        ("MessageWay", way()),
        ("Peek", peek()),
        ("Redrive", redrive()),
        ("RedriveWithResults", with_results()),
        ("Audit", audit()),
    ]
}

fn seen() -> Schema {
    let body = object(&[
        ("text", maybe(text("Secrets are masked"))),
        ("hex", maybe(text("Where it is no text"))),
        ("masked", any("How much of it was masked")),
        ("kept", whole("Bytes of it that were kept")),
        ("troubles", list(any("Why it could not be read as what it says it is"))),
        ("steps", any("How it was read: gzip, JSON, Protocol Buffers and the like")),
    ]);
    object(&[
        ("id", text("")),
        ("seen", time("")),
        ("deadLetter", flag("")),
        ("broker", text("")),
        ("vhost", text("")),
        ("exchange", text("")),
        ("routingKey", text("")),
        ("queues", list(text("Where its bindings lead"))),
        ("correlation", maybe(text(""))),
        ("type", maybe(text(""))),
        ("properties", values("")),
        ("headers", values("")),
        ("headersLeftOut", whole("")),
        ("trace", maybe(text(""))),
        ("span", maybe(text("The span that sent it"))),
        ("size", whole("Bytes of the whole body")),
        ("body", body),
    ])
}

fn messages() -> Schema {
    let tap = object(&[
        ("name", text("")),
        ("broker", text("")),
        ("vhost", text("")),
        ("listeningSince", maybe(time(""))),
        ("failing", maybe(object(&[("why", text("")), ("since", time(""))]))),
        ("exchanges", list(text(""))),
        ("leftOut", list(object(&[("exchange", text("")), ("why", text(""))]))),
        ("seen", whole("Messages")),
        ("letGo", whole("Messages that came faster than they can be kept")),
        ("last", maybe(time(""))),
    ]);
    ranged(&[
        ("complete", flag("")),
        ("next", maybe(text("“after” of the next request"))),
        ("taps", list(tap)),
        ("messages", list(of("SeenMessage"))),
    ])
}

fn way() -> Schema {
    let stop = object(&[
        ("kind", word(&["service", "exchange", "queue", "other"])),
        ("name", text("")),
        ("what", text("")),
        ("bad", flag("")),
        ("waitedNanos", maybe(time("Nanoseconds"))),
        ("at", maybe(time(""))),
        ("trace", maybe(text(""))),
        ("span", maybe(text(""))),
        ("note", text("")),
    ]);
    let death = object(&[
        ("what", text("")),
        ("times", maybe(whole(""))),
        ("queue", any("")),
        ("first", maybe(time(""))),
        ("means", text("")),
    ]);
    object(&[
        ("id", text("")),
        ("title", text("")),
        ("says", text("Where it is now, or what became of it")),
        ("state", word(&["published", "taken", "failing", "dead", "unknown"])),
        ("correlation", maybe(text(""))),
        ("way", list(stop)),
        ("deaths", list(death)),
        ("traces", list(text(""))),
        ("seen", list(of("SeenMessage"))),
    ])
}

fn peek() -> Schema {
    let letter = object(&[
        ("mark", text("Names the message in redrives and copies")),
        ("exchange", text("")),
        ("routingKey", text("")),
        ("redelivered", flag("")),
        ("properties", values("")),
        ("headers", values("")),
        ("origin", maybe(object(&[("exchange", text("")), ("routingKey", text(""))]))),
        ("diedIn", maybe(text("The queue that it died in"))),
        ("reason", maybe(text(""))),
        ("bytes", whole("Of the whole body")),
        ("altered", flag("Its headers were nested too deep and are shown as bytes")),
        ("bodyCut", flag("")),
        ("body", maybe(text(""))),
        ("bodyBase64", maybe(text("Where it is no text"))),
    ]);
    object(&[
        ("peek", whole("Names the look")),
        ("at", time("")),
        ("broker", text("")),
        ("vhost", text("")),
        ("queue", text("")),
        ("masked", flag("")),
        ("messages", list(letter)),
    ])
}

fn redrive() -> Schema {
    object(&[
        ("id", whole("Its row in the audit too")),
        ("broker", text("")),
        ("vhost", text("")),
        ("queue", text("")),
        ("what", text("What was asked for, in words")),
        ("dryRun", flag("")),
        ("who", text("")),
        ("started", time("")),
        ("ended", maybe(time(""))),
        ("state", word(&["running", "done", "stopped", "failed"])),
        ("why", maybe(text("Why it failed"))),
        ("ready", maybe(whole("Messages in the queue when it began; null until that is known"))),
        ("lookedAt", whole("")),
        ("meant", whole("Messages that it was for")),
        ("sent", whole("Published and confirmed, then taken away")),
        ("kept", whole("Left where they were")),
        ("unknown", whole("Perhaps published; left where they were")),
        ("perhapsTwice", whole("Published, and perhaps still where they were")),
        ("resultsLeftOut", whole("")),
    ])
}

fn with_results() -> Schema {
    let row = object(&[
        ("number", whole("")),
        ("messageId", maybe(text(""))),
        ("correlationId", maybe(text(""))),
        ("mark", text("")),
        ("exchange", maybe(text("Where it was published to"))),
        ("routingKey", maybe(text(""))),
        ("outcome", word(&["sent", "sent_perhaps_twice", "would_be_sent", "kept", "unknown"])),
        ("why", maybe(text(""))),
    ]);
    with(redrive(), &[("results", list(row))])
}

fn audit() -> Schema {
    let row = object(&[
        ("id", whole("")),
        ("at", time("When it was written, before it was done")),
        ("action", text("")),
        ("role", text("")),
        ("who", text("")),
        ("session", any("")),
        ("broker", text("")),
        ("vhost", text("")),
        ("queue", text("")),
        ("detail", text("What was meant")),
        ("ended", maybe(time(""))),
        ("done", maybe(flag("All of it"))),
        ("messages", maybe(whole(""))),
        ("outcome", maybe(text("What came of it"))),
    ]);
    object(&[("rows", list(row)), ("before", maybe(whole("“before” of the next request")))])
}
