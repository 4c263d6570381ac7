//! What a broker says of one queue, asked while somebody looks at it: consumers, bindings, the age of its head.
//!
//! However many pages are open, a queue is asked for once in some seconds, a broker for a few queues at a time, and
//! answers are kept for few queues. Nothing is asked of queues that nobody looks at.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::sync::{Mutex, Semaphore};

use super::address::Broker;
use super::management::{Refusal, client, fetch};
use crate::dashboard::model::now;
use crate::dashboard::model::queues::{Bound, Consumer, MOST_LISTED, QueueDetail};

/// How long an answer serves everybody.
const KEPT: Duration = Duration::from_secs(5);
/// A page does not wait longer. That there was no answer serves everybody too.
const PATIENCE: Duration = Duration::from_millis(1_500);
/// Queues whose answers are kept.
const MOST_KEPT: usize = 64;
/// Queues of one broker asked for at the same time.
const AT_ONCE: usize = 2;
/// Arguments of one binding that are told.
const MOST_ARGUMENTS: usize = 10;

/// An answer, or why there is none.
pub type Told = Result<Arc<QueueDetail>, Refusal>;

/// Answers by virtual host and name; each is locked while it is asked for.
type Kept = HashMap<(String, String), Arc<Mutex<Option<(Instant, Told)>>>>;

/// Who asks one broker for single queues.
#[derive(Debug)]
pub struct Clerk {
    broker: Broker,
    client: reqwest::Client,
    kept: std::sync::Mutex<Kept>,
    room: Semaphore,
}

impl Clerk {
    pub fn new(broker: Broker) -> Self {
        Self { client: client(&broker), broker, kept: Default::default(), room: Semaphore::new(AT_ONCE) }
    }

    /// The broker's name in the settings.
    pub fn broker(&self) -> &str {
        &self.broker.name
    }

    /// What is known of a queue now.
    ///
    /// # Errors
    /// The broker does not answer, or does not know the queue.
    pub async fn detail(&self, virtual_host: &str, name: &str) -> Told {
        let slot = self.slot(virtual_host, name);
        let mut kept = slot.lock().await;
        if let Some((asked, told)) = &*kept
            && asked.elapsed() < KEPT
        {
            return told.clone();
        }
        let asking = async {
            // Nobody closes it.
            let _turn = self.room.acquire().await.map_err(|_| Refusal::Other)?;
            self.ask(virtual_host, name).await.map(Arc::new)
        };
        let told = tokio::time::timeout(PATIENCE, asking).await;
        let told = told.unwrap_or(Err(Refusal::TooSlow(PATIENCE)));
        *kept = Some((Instant::now(), told.clone()));
        told
    }

    fn slot(&self, virtual_host: &str, name: &str) -> Arc<Mutex<Option<(Instant, Told)>>> {
        let mut kept = self.kept.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if kept.len() >= MOST_KEPT {
            let fresh = |slot: &Arc<Mutex<Option<(Instant, Told)>>>| match slot.try_lock() {
                Ok(told) => told.as_ref().is_some_and(|(asked, _)| asked.elapsed() < KEPT),
                Err(_) => true,
            };
            kept.retain(|_, slot| fresh(slot));
        }
        // Where even fresh ones are too many, those are asked for again by who comes next.
        if kept.len() >= MOST_KEPT {
            kept.clear();
        }
        kept.entry((virtual_host.to_owned(), name.to_owned())).or_default().clone()
    }

    async fn ask(&self, virtual_host: &str, name: &str) -> Result<QueueDetail, Refusal> {
        let queue = self
            .get(virtual_host, name, &[], Some("columns=head_message_timestamp,consumer_details"))
            .await?;
        let bindings = self.get(virtual_host, name, &["bindings"], None).await?;
        let (queue, bindings) =
            (queue.as_object().ok_or(Refusal::Other)?, bindings.as_array().ok_or(Refusal::Other)?);
        let consumers = queue.get("consumer_details").and_then(Value::as_array);
        let consumers = consumers.map_or(&[][..], Vec::as_slice);
        let bound = |binding: &&Value| binding["source"].as_str().is_some_and(|source| !source.is_empty());
        let bound = bindings.iter().filter(bound);
        Ok(QueueDetail {
            asked: now(),
            // AMQP's timestamps are whole seconds, of the publisher's clock.
            head: queue
                .get("head_message_timestamp")
                .and_then(Value::as_u64)
                .map(|s| s.saturating_mul(1_000_000_000)),
            all_consumers: consumers.len(),
            consumers: consumers.iter().take(MOST_LISTED).map(consumer).collect(),
            all_bindings: bound.clone().count(),
            bindings: bound.take(MOST_LISTED).map(binding).collect(),
        })
    }

    async fn get(
        &self,
        virtual_host: &str,
        name: &str,
        more: &[&str],
        query: Option<&str>,
    ) -> Result<Value, Refusal> {
        let mut url = self.broker.at("api/queues").ok_or(Refusal::Other)?;
        url.path_segments_mut().map_err(|()| Refusal::Other)?.extend([virtual_host, name]).extend(more);
        url.set_query(query);
        let body = match fetch(&self.client, &self.broker, url).await {
            Err(Refusal::Status(404)) => return Err(Refusal::NoQueue),
            body => body?,
        };
        serde_json::from_slice(&body).map_err(|_| Refusal::Other)
    }
}

fn text(value: &Value) -> Option<String> {
    value.as_str().filter(|text| !text.is_empty()).map(str::to_owned)
}

fn consumer(told: &Value) -> Consumer {
    let channel = &told["channel_details"];
    Consumer {
        tag: told["consumer_tag"].as_str().unwrap_or_default().to_owned(),
        channel: text(&channel["name"]),
        user: text(&channel["user"]),
        prefetch: told["prefetch_count"].as_u64(),
        acknowledges: told["ack_required"].as_bool(),
        active: told["active"].as_bool(),
    }
}

fn binding(told: &Value) -> Bound {
    let arguments = told["arguments"].as_object().into_iter().flatten().take(MOST_ARGUMENTS);
    let written = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    Bound {
        exchange: told["source"].as_str().unwrap_or_default().to_owned(),
        key: told["routing_key"].as_str().unwrap_or_default().to_owned(),
        arguments: arguments.map(|(key, value)| (key.clone(), written(value))).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::address::Authorities;
    use super::*;
    use serde_json::json;

    #[test]
    fn what_is_missing_or_of_another_type_is_unknown() {
        let told = consumer(&json!({ "consumer_tag": 7, "prefetch_count": "many", "channel_details": [] }));
        assert_eq!(told, Consumer::default());
        let told = binding(&json!({ "source": "orders", "arguments": { "x-match": "all", "n": 1 } }));
        assert_eq!(told.arguments, [("n".into(), "1".into()), ("x-match".into(), "all".into())]);
    }

    #[tokio::test]
    async fn answers_of_few_queues_are_kept() {
        let address: super::super::Address = "nobody=http://127.0.0.1:1".parse().unwrap();
        let clerk = Clerk::new(Broker::read(&[address], &Authorities::default()).unwrap().remove(0));
        for number in 0..2 * MOST_KEPT {
            clerk.slot("/", &format!("q{number}"));
        }
        assert!(clerk.kept.lock().unwrap().len() <= MOST_KEPT);
        let why = clerk.detail("/", "q").await.unwrap_err();
        assert!(matches!(why, Refusal::Away(_)), "{why}");
    }

    #[tokio::test]
    async fn a_broker_that_hangs_is_asked_once_for_all_who_look() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("hangs=http://{}", listener.local_addr().unwrap());
        let asked = Arc::new(std::sync::atomic::AtomicU32::new(0));
        let counted = asked.clone();
        tokio::spawn(async move {
            let mut held = Vec::new();
            while let Ok((stream, _)) = listener.accept().await {
                counted.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
                held.push(stream);
            }
        });
        let address: super::super::Address = address.parse().unwrap();
        let clerk = Clerk::new(Broker::read(&[address], &Authorities::default()).unwrap().remove(0));
        for _ in 0..3 {
            assert_eq!(clerk.detail("/", "q").await, Err(Refusal::TooSlow(PATIENCE)));
        }
        assert_eq!(asked.load(std::sync::atomic::Ordering::SeqCst), 1);
    }
}
