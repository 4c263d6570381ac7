//! How Kafka's client library is set up, what its errors mean, and what a name may be.

use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};

use super::{Settings, register};
use crate::comms::queue::broker::BrokerError;

/// The longest name of a topic, in bytes: Kafka's own limit, since a topic is a folder.
const MAX_TOPIC: usize = 249;
/// What [`check_name`] calls the prefix when it is checked.
pub(super) const PREFIX: &str = "the prefix";
/// The largest record that is taken, in bytes: a body of 1 MiB with its headers.
pub(super) const MAX_RECORD: &str = "2097152";
/// After this long without a word a consumer counts as gone, and another gets what it had.
const SESSION: Duration = Duration::from_secs(10);
/// How much of each partition the client library holds ahead of us, in KiB.
const FETCHED_KIB: u32 = 8192;

/// What all clients of a handle have in common.
pub(super) fn common(settings: &Settings) -> ClientConfig {
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", &settings.servers)
        .set("client.id", &settings.name)
        .set("socket.keepalive.enable", "true")
        .set("reconnect.backoff.ms", "50")
        .set("reconnect.backoff.max.ms", "1000");
    config
}

/// A client that sends: all replicas confirm, and what is sent again after an error is kept once.
pub(super) fn producer(settings: &Settings) -> ClientConfig {
    let mut config = common(settings);
    config
        .set("acks", "all")
        .set("enable.idempotence", "true")
        .set("linger.ms", "1")
        .set("message.max.bytes", MAX_RECORD)
        .set("message.timeout.ms", settings.patience.as_millis().max(1000).to_string());
    config
}

/// A client that receives as one of `group`, and tells by itself what is done.
pub(super) fn consumer(settings: &Settings, group: &str) -> ClientConfig {
    let mut config = common(settings);
    config
        .set("group.id", group)
        .set("enable.auto.commit", "false")
        .set("enable.auto.offset.store", "false")
        // A partition whose place was lost is read again from what is still there: twice rather than never.
        .set("auto.offset.reset", "earliest")
        // Those that stay are not taken away while others move.
        .set("partition.assignment.strategy", "cooperative-sticky")
        .set("session.timeout.ms", SESSION.as_millis().to_string())
        .set("heartbeat.interval.ms", "1000")
        .set("allow.auto.create.topics", "false")
        .set("fetch.message.max.bytes", MAX_RECORD)
        .set("queued.max.messages.kbytes", FETCHED_KIB.to_string());
    config
}

/// Host and port of the first server.
///
/// # Errors
/// One of them has no port.
pub(super) fn first_server(servers: &str) -> Result<(String, u16), BrokerError> {
    let parsed = |server: &str| {
        let (host, port) = server.trim().rsplit_once(':')?;
        let port = port.parse::<u16>().ok().filter(|port| *port > 0)?;
        let host = host.trim_start_matches('[').trim_end_matches(']');
        (!host.is_empty() && !host.contains(['/', '@', ' '])).then(|| (host.to_owned(), port))
    };
    let all: Option<Vec<_>> = servers.split(',').map(parsed).collect();
    all.and_then(|all| all.into_iter().next()).ok_or_else(|| BrokerError::Invalid {
        what: "the address of Kafka (`servers`)",
        why: "is none: write HOST:PORT, or several of them with commas between".to_owned(),
    })
}

/// Refuses what Kafka does not take as the name of a topic or a group.
pub(super) fn check_name(what: &'static str, prefix: &str, name: &str) -> Result<(), BrokerError> {
    let invalid = |why: String| Err(BrokerError::Invalid { what, why });
    let size = prefix.len() + name.len();
    if size > MAX_TOPIC {
        return invalid(format!("has {size} bytes with its prefix, above Kafka's limit of {MAX_TOPIC}"));
    }
    if name == register::TOPIC && what != PREFIX {
        return invalid(format!("is `{name}`, where the list of queues is kept"));
    }
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    if name.is_empty() || !prefix.chars().chain(name.chars()).all(is_plain) || matches!(name, "." | "..") {
        return invalid(
            "may have letters, digits, dots, underscores and dashes alone, as Kafka's topics".to_owned(),
        );
    }
    Ok(())
}

/// What an error of the client library means to a service.
pub(super) fn meaning(error: KafkaError) -> BrokerError {
    use RDKafkaErrorCode as Code;
    match error.rdkafka_error_code() {
        Some(
            Code::TopicAuthorizationFailed
            | Code::GroupAuthorizationFailed
            | Code::ClusterAuthorizationFailed
            | Code::SaslAuthenticationFailed
            | Code::Authentication,
        ) => BrokerError::Denied(error.to_string()),
        _ => BrokerError::Unavailable(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::{check_name, first_server};

    #[test]
    fn addresses_have_a_host_and_a_port() {
        let first = |servers| first_server(servers).ok();
        assert_eq!(first("a:9092"), Some(("a".to_owned(), 9092)));
        assert_eq!(first("[::1]:9092,b:1"), Some(("::1".to_owned(), 9092)));
        for wrong in ["", "a", "a:", ":1", "a:0", "a:9092,", "a:9092,b", "http://a:1", "u:p@a:1", "a:70000"] {
            assert_eq!(first(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn names_are_those_of_topics() {
        assert!(check_name("the name", "p-", &"x".repeat(247)).is_ok());
        assert!(check_name(super::PREFIX, "p-", super::register::TOPIC).is_ok());
        for wrong in ["", ".", "..", "a b", "ü", "a/b", "throughline.queues", &"x".repeat(248)] {
            assert!(check_name("the name", "p-", wrong).is_err(), "{wrong}");
        }
    }
}
