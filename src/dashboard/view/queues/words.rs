//! Verdicts and figures of queues as text and marks. Unknown is `—`.

use crate::dashboard::model::queues::QueueFacts;
use crate::dashboard::query::queues::{Queue, Verdict};
use crate::dashboard::view::escape::{Html, escaped};
use crate::dashboard::view::format;
use crate::dashboard::view::frame::Frame;

/// What is not told.
pub fn unknown() -> Html {
    askama::filters::Safe(r#"<span class="none" title="not told">—</span>"#.to_owned())
}

/// A number of messages or consumers.
pub fn count(value: Option<f64>) -> Html {
    value.map_or_else(unknown, |value| askama::filters::Safe(format::count(value.max(0.0).round() as u64)))
}

/// Messages a second, or in the unit in which they are no tiny number.
pub fn rate(value: Option<f64>) -> Html {
    value.map_or_else(unknown, |value| {
        let (number, unit) = format::often_parts(value);
        askama::filters::Safe(format!(r#"{number}{}<span class="unit">{unit}</span>"#, format::NBSP))
    })
}

/// A queue's name as text; of Kafka `GROUP on TOPIC`.
pub fn shown(queue: &Queue) -> String {
    let named = |name: &str| {
        if name.trim().is_empty() { "(not named)".to_owned() } else { format::shortened(name, 80) }
    };
    let key = &queue.key;
    match queue.is_kafka {
        true => format!("{} on {}", named(&key.virtual_host), named(&key.name)),
        false => named(&key.name),
    }
}

/// Broker and virtual host: `eu-1 /shop`.
pub fn place(queue: &Queue) -> String {
    let key = &queue.key;
    let is_told = queue.is_kafka || key.virtual_host == "/";
    let host = if is_told { "" } else { key.virtual_host.as_str() };
    format!("{} {}", format::shortened(&key.broker, 40), format::shortened(host, 40)).trim_end().to_owned()
}

/// Where dead letters go.
pub fn dead_letters(facts: Option<&QueueFacts>) -> String {
    let Some(facts) = facts else { return "—".to_owned() };
    let Some((exchange, _)) = &facts.dead_letters else { return "none".to_owned() };
    match facts.dead_letter_queues.as_slice() {
        [] if exchange.is_empty() => "to its own routing key".to_owned(),
        [] => format!("exchange {}", format::shortened(exchange, 60)),
        [one] => format::shortened(one, 60),
        [one, more @ ..] => format!("{} and {} more", format::shortened(one, 60), more.len()),
    }
}

/// The verdict in words.
pub fn verdict(queue: &Queue, frame: &Frame) -> String {
    let seconds = |seconds: f64| format::duration((seconds.clamp(1.0, 1e9)) as u64 * 1_000_000_000);
    match &queue.verdict {
        Verdict::NoConsumer { since: Some(since) } => format!("no consumer for {}", frame.age(since)),
        Verdict::NoConsumer { since: None } => {
            format!("no consumer for more than {}", format::duration(frame.visit.range.length()))
        }
        Verdict::Growing { full_in: Some(left), .. } => format!("growing: full in {}", seconds(*left)),
        Verdict::Growing { per_second, .. } => format!("growing by {}", format::often(*per_second)),
        Verdict::DeadLetters => {
            format::counted(queue.ready.unwrap_or(0.0) as u64, "dead letter", "dead letters")
        }
        Verdict::Silent => format!("last heard {} ago", frame.age(&queue.heard)),
        Verdict::Draining { empty_in: Some(left), .. } => format!("draining: empty in {}", seconds(*left)),
        Verdict::Draining { per_second, .. } => format!("draining by {}", format::often(*per_second)),
        Verdict::Delays => "holds messages for a delay".to_owned(),
        Verdict::Steady => "steady".to_owned(),
        Verdict::Flowing => "flowing".to_owned(),
        Verdict::Empty => "empty".to_owned(),
        Verdict::Idle => "idle".to_owned(),
        Verdict::Unknown => "not known yet".to_owned(),
        Verdict::Gone => "gone from the broker".to_owned(),
    }
}

/// The verdict with its shape and colour.
pub fn badge(frame: &Frame, queue: &Queue) -> Html {
    let (class, icon) = match queue.verdict {
        Verdict::NoConsumer { .. } | Verdict::Growing { .. } => (" warn", "warn"),
        Verdict::DeadLetters => (" err", "err"),
        Verdict::Draining { .. } => ("", "down"),
        Verdict::Silent | Verdict::Unknown | Verdict::Gone => (" quiet", "unknown"),
        Verdict::Delays | Verdict::Steady | Verdict::Flowing | Verdict::Empty | Verdict::Idle => {
            (" quiet", "ok")
        }
    };
    let text = verdict(queue, frame);
    askama::filters::Safe(format!(
        r#"<span class="badge{class}">{}{}</span>"#,
        frame.icon(icon).0,
        escaped(&text)
    ))
}

/// A queue and its verdict as a sentence.
pub fn finding(queue: &Queue, frame: &Frame) -> String {
    let name = shown(queue);
    let says = verdict(queue, frame);
    match queue.verdict {
        Verdict::NoConsumer { .. } => {
            format!(
                "{name} has {says}, {} wait",
                format::counted(queue.ready.unwrap_or(0.0) as u64, "message", "messages")
            )
        }
        Verdict::DeadLetters => format!("{name} holds {says}"),
        Verdict::Silent => format!("{name} was {says}"),
        Verdict::Growing { .. } | Verdict::Draining { .. } if queue.is_kafka => {
            format!("The lag of {name} is {says}")
        }
        Verdict::Delays => format!("{name} {says}"),
        Verdict::Unknown => format!("How many messages wait in {name} is {says}"),
        _ => format!("{name} is {says}"),
    }
}

/// What is to be done, first.
pub fn headline(queues: &[Queue], frame: &Frame) -> String {
    let trouble: Vec<&Queue> = queues.iter().filter(|queue| queue.verdict.is_trouble()).collect();
    match trouble.as_slice() {
        [one] => finding(one, frame),
        [first, ..] => format!("{} queues need you, {} first", trouble.len(), shown(first)),
        [] if queues.is_empty() => "No queues".to_owned(),
        [] if queues.iter().all(|queue| matches!(queue.verdict, Verdict::Silent | Verdict::Gone)) => {
            "Nothing is known of any queue now".to_owned()
        }
        [] => "No queue needs you".to_owned(),
    }
}

/// How many are how.
pub fn lede(queues: &[Queue]) -> String {
    let kinds = [
        ("no_consumer", "without a consumer"),
        ("growing", "growing"),
        ("dead_letters", "with dead letters"),
        ("silent", "silent"),
        ("draining", "draining"),
        ("gone", "gone"),
    ];
    let counts = kinds.into_iter().filter_map(|(code, words)| {
        let count = queues.iter().filter(|queue| queue.verdict.code() == code).count();
        (count > 0).then(|| format!("{} {words}", format::count(count as u64)))
    });
    let counts: Vec<String> = counts.collect();
    let all = format::counted(queues.len() as u64, "queue", "queues");
    match (queues.len(), counts.as_slice()) {
        (0, _) => String::new(),
        (_, []) => format!("{all}, none grows, waits for a consumer or holds dead letters."),
        (_, counts) => format!("{all}: {}.", counts.join(", ")),
    }
}
