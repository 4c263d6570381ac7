//! What stands on the map: services, and what they call, send to and take from.

use crate::dashboard::store::{Destination, Node, OTHERS};

/// Systems whose destinations are named `exchange:routing key`, and `exchange:routing key:queue` where messages are taken
/// (<https://opentelemetry.io/docs/specs/semconv/messaging/rabbitmq/>). The demo's own broker does as RabbitMQ.
const WITH_ROUTING_KEYS: [&str; 2] = ["rabbitmq", "throughline"];

/// A node of the map. The order is that of the columns of a drawing: who calls, services, brokers, what is called.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Place {
    /// Who calls a server whose span has no parent.
    User,
    /// Whoever calls or sends without a span that was seen.
    Caller,
    Service(String),
    /// Messages are sent to it, and taken from something else.
    Exchange(Destination),
    /// A queue or a topic, or what an instrumentation that tells no more names at both ends.
    Queue(Destination),
    Database {
        system: String,
        /// May be empty.
        name: String,
    },
    Outside(String),
    /// What a call leads to whose span names nobody.
    Peer,
    /// Counted together, since the store keeps only so many apart.
    Others,
}

impl Place {
    /// Who calls or sends.
    pub(super) fn caller(node: Node) -> Self {
        match node {
            Node::Unknown => Place::Caller,
            node => Place::of(node),
        }
    }

    /// Who is called or takes.
    pub(super) fn callee(node: Node) -> Self {
        match node {
            Node::Unknown => Place::Peer,
            node => Place::of(node),
        }
    }

    fn of(node: Node) -> Self {
        match node {
            Node::Service(name) => Place::service(name),
            Node::Database { system, name } => Place::Database { system, name },
            Node::Outside(name) => Place::Outside(name),
            Node::User => Place::User,
            Node::Unknown => Place::Peer,
            Node::Others => Place::Others,
        }
    }

    /// A service by its name.
    pub fn service(name: String) -> Self {
        if name == OTHERS { Place::Others } else { Place::Service(name) }
    }

    /// What it is in an address: the same for the same place, another for another.
    pub fn id(&self) -> String {
        match self {
            Place::User => "user".to_owned(),
            Place::Caller => "caller".to_owned(),
            Place::Service(name) => format!("service:{name}"),
            Place::Exchange(to) => format!("exchange:{}:{}", to.system, to.name),
            Place::Queue(from) => format!("queue:{}:{}", from.system, from.name),
            Place::Database { system, name } => format!("database:{system}:{name}"),
            Place::Outside(name) => format!("outside:{name}"),
            Place::Peer => "peer".to_owned(),
            Place::Others => "others".to_owned(),
        }
    }

    /// Its name, as a person reads it.
    pub fn name(&self) -> &str {
        match self {
            Place::User => "user",
            Place::Caller => "unknown caller",
            Place::Service(name) | Place::Outside(name) => name,
            Place::Exchange(Destination { system, name })
            | Place::Queue(Destination { system, name })
            | Place::Database { system, name } => match (name.as_str(), system.as_str()) {
                ("", "") => "without a name",
                ("", system) => system,
                (name, _) => name,
            },
            Place::Peer => "unknown peer",
            Place::Others => "others",
        }
    }

    /// What it is, in a word or two: `service`, `queue`, `postgresql`.
    pub fn kind(&self) -> &str {
        match self {
            Place::User => "no parent span",
            Place::Caller => "span not seen",
            Place::Service(_) => "service",
            Place::Exchange(_) => "exchange",
            Place::Queue(Destination { system, .. }) if system == "kafka" => "topic",
            Place::Queue(_) => "queue",
            Place::Database { system, .. } if system.is_empty() => "database",
            Place::Database { system, .. } => system,
            Place::Outside(_) => "outside",
            Place::Peer => "not named",
            Place::Others => "counted together",
        }
    }

    /// The service that it is, if it is one.
    pub fn as_service(&self) -> Option<&str> {
        match self {
            Place::Service(name) => Some(name),
            _ => None,
        }
    }
}

/// The way of a message from where it was sent to where it was taken, as far as spans tell: an exchange, a queue or both.
pub(super) fn message_way(
    sent_to: Option<&Destination>,
    taken_from: Option<&Destination>,
) -> (Option<Place>, Option<Place>) {
    let system = [sent_to, taken_from].into_iter().flatten().map(|it| it.system.as_str());
    let system = system.max_by_key(|system| system.len()).unwrap_or_default().to_owned();
    let routed = WITH_ROUTING_KEYS.contains(&system.as_str());
    let of = |name: &str| Destination { system: system.clone(), name: name.to_owned() };
    let queue = taken_from.map(|it| of(if routed { last(&it.name) } else { &it.name }));
    let Some(sent_to) = sent_to else { return (None, queue.map(Place::Queue)) };
    let first = if routed { sent_to.name.split(':').next().unwrap_or_default() } else { &sent_to.name };
    match queue {
        Some(queue) if sent_to.name == queue.name || first == queue.name && !sent_to.name.contains(':') => {
            (None, Some(Place::Queue(queue)))
        }
        // By way of the default exchange, which has no name, the routing key is the queue's.
        Some(queue) if first.is_empty() => (None, Some(Place::Queue(queue))),
        Some(queue) => (Some(Place::Exchange(of(first))), Some(Place::Queue(queue))),
        None if routed && first.is_empty() => (None, Some(Place::Queue(of(last(&sent_to.name))))),
        None if routed && sent_to.name.contains(':') => (Some(Place::Exchange(of(first))), None),
        None => (None, Some(Place::Queue(of(&sent_to.name)))),
    }
}

fn last(name: &str) -> &str {
    name.rsplit(':').next().unwrap_or_default()
}

/// Whether a sender's destination tells which queues a message goes to: by its routing key.
pub(super) fn tells_routing(sent_to: &Destination) -> bool {
    sent_to.system == "kafka"
        || WITH_ROUTING_KEYS.contains(&sent_to.system.as_str()) && sent_to.name.contains(':')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ways_of_messages_are_read_as_the_conventions_and_older_ones_name_them() {
        let at = |text: &str| {
            let (system, name) = text.split_once(' ')?;
            Some(Destination { system: system.to_owned(), name: name.to_owned() })
        };
        for (sent_to, taken_from, expected) in [
            (
                "rabbitmq orders:order.placed",
                "rabbitmq orders:order.placed:billing",
                "exchange:rabbitmq:orders > queue:rabbitmq:billing",
            ),
            (
                "rabbitmq orders:billing",
                "rabbitmq orders:billing",
                "exchange:rabbitmq:orders > queue:rabbitmq:billing",
            ),
            ("rabbitmq billing", "rabbitmq billing", "- > queue:rabbitmq:billing"),
            ("rabbitmq :billing", "rabbitmq :billing:billing", "- > queue:rabbitmq:billing"),
            ("rabbitmq orders", "rabbitmq orders", "- > queue:rabbitmq:orders"),
            (
                "rabbitmq orders",
                " orders:order.placed:billing",
                "exchange:rabbitmq:orders > queue:rabbitmq:billing",
            ),
            ("rabbitmq orders:order.placed", "", "exchange:rabbitmq:orders > -"),
            ("", "rabbitmq orders:order.placed:billing", "- > queue:rabbitmq:billing"),
            ("kafka a:b", "kafka a:b", "- > queue:kafka:a:b"),
            ("aws_sqs in", "aws_sqs arn:aws:out", "exchange:aws_sqs:in > queue:aws_sqs:arn:aws:out"),
            (" jobs", "", "- > queue::jobs"),
        ] {
            let (first, second) = message_way(at(sent_to).as_ref(), at(taken_from).as_ref());
            let id = |place: Option<Place>| place.map_or("-".to_owned(), |place| place.id());
            assert_eq!(format!("{} > {}", id(first), id(second)), expected, "{sent_to} to {taken_from}");
        }
    }
}
