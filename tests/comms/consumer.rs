//! The handling loop on the embedded broker: retries by the policy, gives up in order, survives a panicking
//! handler, and finishes what is at hand when it is told to stop.

use std::sync::Arc;
use std::time::Duration;

use throughline::comms::correlation;
use throughline::comms::names;
use throughline::comms::queue::{
    Broker, Consumer, EmbeddedBroker, Failure, Message, Publisher, QueueSpec, Received, RetryPolicy,
};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

const SOON: Duration = Duration::from_secs(10);

struct Mail {
    broker: Arc<dyn Broker>,
    publisher: Publisher,
    stop: CancellationToken,
    _dir: tempfile::TempDir,
}

impl Mail {
    async fn new() -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        let url = format!("sqlite://{}", dir.path().join("broker.db").display());
        let broker: Arc<dyn Broker> = Arc::new(EmbeddedBroker::open(&url).await.expect("opens"));
        broker.declare_exchange("shop").await.expect("exchange");
        broker.declare_queue(&QueueSpec::durable("dead")).await.expect("queue");
        broker.declare_queue(&QueueSpec::durable("mail").dead_letters_to("dead")).await.expect("queue");
        broker.bind("shop", "#", "mail").await.expect("binding");
        let publisher = Publisher::new(Arc::clone(&broker));
        Self { broker, publisher, stop: CancellationToken::new(), _dir: dir }
    }

    fn consumer(&self) -> Consumer {
        let policy = RetryPolicy { max_deliveries: 3, first_delay: Duration::from_millis(10) };
        Consumer::new(Arc::clone(&self.broker), "mail").policy(policy).timeout(Duration::from_millis(200))
    }

    async fn send(&self, text: &str) {
        let message = Message::json("letter", 1, &text).expect("a message");
        self.publisher.publish("shop", "letter", message).await.expect("published");
    }

    /// The reason and number of deliveries of the next dead letter.
    async fn dead_letter(&self) -> (String, String) {
        let mut dead = self.broker.consume("dead", 1).await.expect("a consumer");
        let letter = tokio::time::timeout(SOON, dead.next()).await.expect("in time").expect("a letter");
        let headers = letter.message.headers.clone();
        letter.ack().await.expect("ack");
        (headers[names::HEADER_DEATH_REASON].clone(), headers[names::HEADER_DEATH_DELIVERIES].clone())
    }
}

/// Fails in the way that the message's text names.
async fn handle(received: Received) -> Result<(), Failure> {
    let text: String = received.message.decode().map_err(|e| Failure::permanent("body", e.to_string()))?;
    match text.as_str() {
        "twice" if received.number < 3 => Err(Failure::transient("busy", "not yet")),
        "always" => Err(Failure::transient("busy", "never")),
        "bad" => Err(Failure::permanent("bad", "as such")),
        "panic" => panic!("the handler's own fault"),
        "stuck" => std::future::pending().await,
        _ => Ok(()),
    }
}

#[tokio::test]
async fn failures_are_retried_by_the_policy_or_given_up_at_once() {
    let mail = Mail::new().await;
    let running = tokio::spawn(mail.consumer().run(mail.stop.clone(), handle));
    for (text, reason, deliveries) in [
        ("always", "busy: never", "3"),
        ("bad", "bad: as such", "1"),
        ("panic", "panic: the handler panicked", "3"),
        ("stuck", "timeout: no result within 200ms", "3"),
    ] {
        mail.send(text).await;
        assert_eq!(mail.dead_letter().await, (reason.to_owned(), deliveries.to_owned()));
    }
    mail.stop.cancel();
    running.await.expect("the loop").expect("ends well");
}

#[tokio::test]
async fn what_a_handler_sends_belongs_to_what_it_received() {
    let mail = Mail::new().await;
    let (seen, mut received) = mpsc::channel(16);
    let publisher = mail.publisher.clone();
    let running = tokio::spawn(mail.consumer().run(mail.stop.clone(), move |got: Received| {
        let (seen, publisher) = (seen.clone(), publisher.clone());
        async move {
            handle(got.clone()).await?;
            if got.message.kind == "letter" {
                let reply = Message::json("reply", 1, &"fine").expect("a message");
                publisher.publish("shop", "reply", reply).await.expect("published");
            }
            seen.send((got, correlation::current())).await.expect("the test listens");
            Ok(())
        }
    }));
    mail.send("twice").await;
    let next = async |received: &mut mpsc::Receiver<_>| {
        tokio::time::timeout(SOON, received.recv()).await.expect("in time").expect("a message")
    };
    let (letter, current) = next(&mut received).await;
    assert_eq!((letter.number, letter.is_last), (3, true));
    assert_eq!(current.as_ref(), Some(&letter.message.correlation_id));
    let (reply, _) = next(&mut received).await;
    assert_eq!(reply.message.correlation_id, letter.message.correlation_id);
    assert_eq!(reply.message.causation_id, Some(letter.message.id));
    assert_eq!((reply.number, reply.is_last), (1, false));
    mail.stop.cancel();
    running.await.expect("the loop").expect("ends well");
}

#[tokio::test]
async fn stopping_lets_the_work_at_hand_finish() {
    let mail = Mail::new().await;
    let (begun, mut has_begun) = mpsc::channel(1);
    let finish = CancellationToken::new();
    let may_finish = finish.clone();
    let running = tokio::spawn(mail.consumer().timeout(SOON).run(mail.stop.clone(), move |_| {
        let (begun, finish) = (begun.clone(), may_finish.clone());
        async move {
            begun.send(()).await.expect("the test listens");
            finish.cancelled().await;
            Ok(())
        }
    }));
    mail.send("slow").await;
    tokio::time::timeout(SOON, has_begun.recv()).await.expect("in time").expect("begun");
    mail.stop.cancel();
    finish.cancel();
    tokio::time::timeout(SOON, running).await.expect("in time").expect("the loop").expect("ends well");
    let queues = mail.broker.queues().await.expect("queues");
    assert!(queues.iter().all(|q| q.ready + q.unsettled + q.delayed == 0), "{queues:?}");
}
