//! RabbitMQ's management interface: which queues there are, what each is, and its figures.
//!
//! Nothing here changes anything at the broker. An answer is bounded in time and size, redirects are not followed, and
//! fields that are missing or of another type are unknown: the interface leaves out what it has no figure for yet.

use std::collections::HashSet;
use std::time::Duration;

use serde_json::Value;

use super::address::Broker;
use crate::dashboard::model::queues::QueueFacts;

/// How long an answer may take.
const TIMEOUT: Duration = Duration::from_secs(4);
/// Bytes of an answer at most; a queue takes about one thousand.
const MOST_BYTES: usize = 32 << 20;
/// Bindings change seldom and are many: they are read again after so many answers.
const BINDINGS_EVERY: u32 = 12;
/// Queues that are named as the place of a queue's dead letters.
const MOST_TARGETS: usize = 5;
const COLUMNS: &str = "name,vhost,type,node,state,durable,exclusive,auto_delete,policy,effective_policy_definition,arguments,messages_ready,messages_unacknowledged,consumers,message_stats.publish,message_stats.deliver_get,message_stats.ack";

/// Why nothing is known; each for a person, without user's secrets.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("it cannot be reached: {0}")]
    Away(String),
    #[error("it did not answer within {0:?}")]
    TooSlow(Duration),
    #[error("it refuses the login of “{0}”: the password is wrong, or the user lacks the tag “monitoring”")]
    Login(String),
    #[error(
        "it answers {0}: this is not the address of RabbitMQ's management interface, which has port 15672 as a rule"
    )]
    Status(u16),
    #[error("what answers there is not RabbitMQ's management interface")]
    Other,
    /// What it does instead, over AMQP.
    #[error("it {0}")]
    Amqp(String),
    #[error("it refuses: {0}")]
    Denied(String),
    #[error("its answer is larger than 32 MiB")]
    TooLarge,
    #[error("it does not know the queue any more")]
    NoQueue,
}

/// A binding: source, virtual host, queue, key.
struct Binding {
    source: String,
    virtual_host: String,
    queue: String,
    key: String,
}

/// One broker's interface.
pub struct Management {
    broker: Broker,
    client: reqwest::Client,
    bindings: Vec<Binding>,
    answers: u32,
}

impl Management {
    pub fn new(broker: Broker) -> Self {
        Self { client: client(&broker), broker, bindings: Vec::new(), answers: 0 }
    }

    /// All queues with their figures.
    ///
    /// # Errors
    /// The broker is away, refuses, or is none.
    pub async fn queues(&mut self) -> Result<Vec<QueueFacts>, Refusal> {
        let listed = self.get(&format!("api/queues?columns={COLUMNS}")).await?;
        let mut queues = listed.iter().map(facts).collect::<Option<Vec<_>>>().ok_or(Refusal::Other)?;
        let by_exchange =
            |queue: &QueueFacts| matches!(&queue.dead_letters, Some((exchange, _)) if !exchange.is_empty());
        if queues.iter().any(by_exchange) {
            if self.answers.is_multiple_of(BINDINGS_EVERY) {
                let columns = "api/bindings?columns=source,vhost,destination,destination_type,routing_key";
                self.bindings = self.get(columns).await?.iter().filter_map(binding).collect();
            }
            self.answers = self.answers.wrapping_add(1);
        }
        follow_dead_letters(&mut queues, &self.bindings);
        Ok(queues)
    }

    /// What the interface answers under a path: a list.
    ///
    /// # Errors
    /// As [`Management::queues`].
    pub(super) async fn get(&self, path: &str) -> Result<Vec<Value>, Refusal> {
        let url = self.broker.at(path).ok_or(Refusal::Other)?;
        let answer = fetch(&self.client, &self.broker, url).await?;
        serde_json::from_slice(&answer).map_err(|_| Refusal::Other)
    }
}

/// A client for a broker that follows nobody and waits no longer than [`TIMEOUT`].
pub(super) fn client(broker: &Broker) -> reqwest::Client {
    // An error says that somebody else has chosen already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = reqwest::Client::builder().timeout(TIMEOUT).redirect(reqwest::redirect::Policy::none());
    let client = match broker.authorities.certificates() {
        Some(authorities) => client.tls_certs_only(authorities),
        None => client,
    };
    client.no_proxy().build().unwrap_or_default()
}

/// The body of an answer.
pub(super) async fn fetch(
    client: &reqwest::Client,
    broker: &Broker,
    url: reqwest::Url,
) -> Result<Vec<u8>, Refusal> {
    let mut answer = client.get(url).send().await.map_err(refusal)?;
    match answer.status().as_u16() {
        200 => {}
        401 | 403 => return Err(Refusal::Login(broker.user().to_owned())),
        status => return Err(Refusal::Status(status)),
    }
    let mut body = Vec::new();
    while let Some(part) = answer.chunk().await.map_err(refusal)? {
        if body.len() + part.len() > MOST_BYTES {
            return Err(Refusal::TooLarge);
        }
        body.extend_from_slice(&part);
    }
    Ok(body)
}

/// The innermost cause alone: what stands around it names the address.
fn refusal(error: reqwest::Error) -> Refusal {
    if error.is_timeout() {
        return Refusal::TooSlow(TIMEOUT);
    }
    let error = error.without_url();
    let mut cause: &dyn std::error::Error = &error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    Refusal::Away(cause.to_string())
}

fn text(value: &Value, key: &str) -> Option<String> {
    value[key].as_str().filter(|text| !text.is_empty()).map(str::to_owned)
}

/// A queue of the list; `None` where it has no name, so that it is no list of queues.
fn facts(queue: &Value) -> Option<QueueFacts> {
    let argument = |key: &str| {
        let own = &queue["arguments"][format!("x-{key}")];
        if own.is_null() { &queue["effective_policy_definition"][key] } else { own }
    };
    let exchange = argument("dead-letter-exchange").as_str();
    let key = argument("dead-letter-routing-key").as_str().map(str::to_owned);
    let stats = &queue["message_stats"];
    let arguments = queue["arguments"].as_object().into_iter().flatten();
    Some(QueueFacts {
        virtual_host: queue["vhost"].as_str()?.to_owned(),
        name: queue["name"].as_str()?.to_owned(),
        kind: text(queue, "type"),
        node: text(queue, "node"),
        state: text(queue, "state"),
        durable: queue["durable"].as_bool(),
        exclusive: queue["exclusive"].as_bool(),
        auto_delete: queue["auto_delete"].as_bool(),
        policy: text(queue, "policy"),
        arguments: arguments
            .map(|(key, value)| {
                (key.clone(), value.as_str().map_or_else(|| value.to_string(), str::to_owned))
            })
            .collect(),
        // Until it is known where it passes them on to.
        delays: exchange.is_some() && !argument("message-ttl").is_null(),
        dead_letters: exchange.map(|exchange| (exchange.to_owned(), key)),
        dead_letter_queues: Vec::new(),
        takes_dead_letters: false,
        limit: argument("max-length").as_u64(),
        delivery_limit: argument("delivery-limit").as_u64(),
        ready: queue["messages_ready"].as_u64(),
        unacknowledged: queue["messages_unacknowledged"].as_u64(),
        consumers: queue["consumers"].as_u64(),
        published: stats["publish"].as_u64(),
        delivered: stats["deliver_get"].as_u64(),
        acknowledged: stats["ack"].as_u64(),
    })
}

fn binding(binding: &Value) -> Option<Binding> {
    // A tap is nobody's queue.
    let is_tap = binding["destination"].as_str().is_some_and(|queue| queue.starts_with(super::tap::QUEUE));
    (binding["destination_type"] == "queue" && !is_tap).then_some(())?;
    Some(Binding {
        source: text(binding, "source")?,
        virtual_host: binding["vhost"].as_str()?.to_owned(),
        queue: binding["destination"].as_str()?.to_owned(),
        key: binding["routing_key"].as_str().unwrap_or_default().to_owned(),
    })
}

/// Fills in which queues dead letters come to, and which are such queues. A queue of delays keeps messages for a time and
/// then gives them to a queue that is worked on: one with consumers, or with dead letters of its own. What it passes on is
/// no dead letter.
fn follow_dead_letters(queues: &mut [QueueFacts], bindings: &[Binding]) {
    let mut takes: HashSet<(String, String)> = HashSet::new();
    for queue in queues.iter_mut() {
        let Some((exchange, key)) = &queue.dead_letters else { continue };
        queue.dead_letter_queues = match (exchange.as_str(), key) {
            ("", key) => key.iter().cloned().collect(),
            (exchange, key) => {
                let fits = |binding: &&Binding| {
                    let all = matches!(binding.key.as_str(), "" | "#");
                    binding.source == exchange
                        && binding.virtual_host == queue.virtual_host
                        && (all || key.as_ref().is_none_or(|key| *key == binding.key))
                };
                let mut all: Vec<String> =
                    bindings.iter().filter(fits).map(|one| one.queue.clone()).collect();
                all.sort_unstable();
                all.dedup();
                all.truncate(MOST_TARGETS);
                all
            }
        };
    }
    let worked_on: HashSet<(String, String)> = queues
        .iter()
        .filter(|queue| queue.consumers.is_some_and(|count| count > 0) || queue.dead_letters.is_some())
        .map(|queue| (queue.virtual_host.clone(), queue.name.clone()))
        .collect();
    for queue in queues.iter_mut() {
        let works = |to: &String| worked_on.contains(&(queue.virtual_host.clone(), to.clone()));
        queue.delays &= queue.dead_letter_queues.iter().any(works);
        if !queue.delays {
            takes.extend(queue.dead_letter_queues.iter().map(|to| (queue.virtual_host.clone(), to.clone())));
        }
    }
    for queue in queues.iter_mut().filter(|queue| !queue.delays) {
        queue.takes_dead_letters = takes.contains(&(queue.virtual_host.clone(), queue.name.clone()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn null_and_missing_figures_are_unknown_and_never_nothing() {
        let queue = json!({ "name": "q", "vhost": "/", "messages_ready": null, "consumers": "many", "arguments": [] });
        let facts = facts(&queue).expect("a queue");
        assert_eq!((facts.ready, facts.consumers, facts.published, facts.kind), (None, None, None, None));
        assert!(super::facts(&json!({ "name": "q" })).is_none() && super::facts(&json!("q")).is_none());
    }

    #[test]
    fn dead_letters_are_followed_by_argument_policy_key_and_binding() {
        let mut queues: Vec<QueueFacts> = [
            json!({ "name": "by-name", "vhost": "/", "arguments":
                { "x-dead-letter-exchange": "", "x-dead-letter-routing-key": "dead-1" } }),
            json!({ "name": "by-policy", "vhost": "/", "policy": "p", "effective_policy_definition":
                { "dead-letter-exchange": "dlx", "dead-letter-routing-key": "k", "max-length": 9 } }),
            json!({ "name": "later", "vhost": "/", "arguments":
                { "x-dead-letter-exchange": "", "x-dead-letter-routing-key": "by-name", "x-message-ttl": 1000 } }),
            json!({ "name": "dead-1", "vhost": "/" }),
            json!({ "name": "dead-2", "vhost": "/" }),
            json!({ "name": "dead-2", "vhost": "other" }),
        ]
        .iter()
        .map(|queue| facts(queue).expect("a queue"))
        .collect();
        let bindings: Vec<Binding> = [("dead-2", "k"), ("dead-3", "other")]
            .map(|(queue, key)| Binding {
                source: "dlx".into(),
                virtual_host: "/".into(),
                queue: queue.into(),
                key: key.into(),
            })
            .into();
        follow_dead_letters(&mut queues, &bindings);
        assert_eq!(queues[0].dead_letter_queues, ["dead-1"]);
        assert_eq!(
            (queues[1].dead_letter_queues.as_slice(), queues[1].limit),
            (&["dead-2".to_owned()][..], Some(9))
        );
        assert!(queues[2].delays && !queues[0].takes_dead_letters);
        let takes: Vec<bool> = queues.iter().map(|queue| queue.takes_dead_letters).collect();
        assert_eq!(takes, [false, false, false, true, true, false]);
    }
}
