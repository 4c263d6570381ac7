//! The handling loop: takes deliveries from a queue, runs the handler in a CONSUMER span, settles.
//!
//! A first delivery is a child of the span that sent the message. A delivery after a retry begins a trace of
//! its own, since the first may be long over, and links to the process span that failed first; the correlation
//! ID holds them together.

use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use opentelemetry::context::FutureExt as _;
use opentelemetry::metrics::Histogram;
use opentelemetry::trace::{Status, TraceContextExt as _};
use opentelemetry::{Context, KeyValue};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::broker::{Broker, BrokerError, Deliveries, Delivery, Outcome, Settled};
use super::given_up::Refusals;
use super::message::Message;
use super::process_span::ProcessSpan;
use crate::comms::handling::{self, Stopped};
use crate::comms::retry::Backoff;
use crate::comms::{Tracer, correlation, metrics, names};

/// Why a handler did not handle a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The kind of failure, low in cardinality: `exception.type` and `error.type`.
    pub kind: String,
    pub message: String,
    /// Whether another delivery may succeed.
    pub transient: bool,
}

impl Failure {
    /// May succeed later: the message is retried by the policy.
    pub fn transient(kind: impl Into<String>, message: impl Into<String>) -> Self {
        Self { kind: kind.into(), message: message.into(), transient: true }
    }

    /// Can never succeed: the message goes to the dead letters at once.
    pub fn permanent(kind: impl Into<String>, message: impl Into<String>) -> Self {
        Self { kind: kind.into(), message: message.into(), transient: false }
    }

    /// In one line: what is told of it in events, dead letters and logs.
    pub fn reason(&self) -> String {
        format!("{}: {}", self.kind, self.message)
    }

    /// Marks the span of a context as failed with this, and records it there as an exception.
    pub fn record_in(&self, context: &Context) {
        let span = context.span();
        span.add_event(
            names::EXCEPTION,
            vec![
                KeyValue::new(names::EXCEPTION_TYPE, self.kind.clone()),
                KeyValue::new(names::EXCEPTION_MESSAGE, self.reason()),
            ],
        );
        span.set_attribute(KeyValue::new(names::ERROR_TYPE, self.kind.clone()));
        span.set_status(Status::error(self.reason()));
    }
}

/// How often a message is delivered before it is given up, and how long it waits between.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RetryPolicy {
    /// Deliveries in all, the first included.
    pub max_deliveries: u32,
    /// The wait after the first failure; each further one doubles.
    pub first_delay: Duration,
}

impl Default for RetryPolicy {
    /// Three deliveries, with 2 s and 4 s between.
    fn default() -> Self {
        Self { max_deliveries: 3, first_delay: Duration::from_secs(2) }
    }
}

impl RetryPolicy {
    /// The wait after delivery `number` failed; none when it was the last.
    pub fn delay_after(&self, number: u32) -> Option<Duration> {
        let doublings = number.saturating_sub(1).min(16);
        (number < self.max_deliveries).then(|| self.first_delay.saturating_mul(1 << doublings))
    }
}

/// A message as a handler sees it.
#[derive(Clone, Debug)]
pub struct Received {
    pub message: Message,
    pub queue: String,
    pub routing_key: String,
    /// 1 for the first delivery.
    pub number: u32,
    /// Whether a transient failure now means the dead letters.
    pub is_last: bool,
}

/// A consumer of one queue.
pub struct Consumer {
    broker: Arc<dyn Broker>,
    queue: String,
    policy: RetryPolicy,
    prefetch: usize,
    timeout: Duration,
    duration: Histogram<f64>,
    refusals: Refusals,
    tracer: Tracer,
}

impl Consumer {
    /// A consumer with the default policy, eight messages at a time and 30 s for each.
    pub fn new(broker: Arc<dyn Broker>, queue: &str) -> Self {
        let duration = metrics::durations("messaging.process.duration", "Duration of handling messages");
        Self {
            broker,
            queue: queue.to_owned(),
            policy: RetryPolicy::default(),
            prefetch: 8,
            timeout: Duration::from_secs(30),
            duration,
            refusals: Refusals::default(),
            tracer: Tracer::default(),
        }
    }

    pub fn policy(self, policy: RetryPolicy) -> Self {
        Self { policy, ..self }
    }

    /// How many messages are handled at the same time, at least one.
    pub fn prefetch(self, prefetch: usize) -> Self {
        Self { prefetch: prefetch.max(1), ..self }
    }

    /// How long a handler may take; then its work is dropped and counts as a transient failure.
    pub fn timeout(self, timeout: Duration) -> Self {
        Self { timeout, ..self }
    }

    /// Handles messages until `stop` is cancelled, then finishes those at hand.
    ///
    /// An outage of the broker is waited out. A handler that panics has failed transiently.
    ///
    /// # Errors
    /// The queue does not exist.
    pub async fn run<H, Fut>(self, stop: CancellationToken, handler: H) -> Result<(), BrokerError>
    where
        H: Fn(Received) -> Fut + Clone + Send + Sync + 'static,
        Fut: Future<Output = Result<(), Failure>> + Send + 'static,
    {
        let mut deliveries = self.broker.consume(&self.queue, self.prefetch).await?;
        let this = Arc::new(self);
        let mut at_hand = JoinSet::new();
        while let Some(delivery) = this.next(deliveries.as_mut(), &stop).await {
            let (this, handler) = (Arc::clone(&this), handler.clone());
            at_hand.spawn(async move { this.handle(delivery, handler).await });
            while at_hand.try_join_next().is_some() {}
        }
        while at_hand.join_next().await.is_some() {}
        Ok(())
    }

    /// The next delivery; none when it is time to stop.
    async fn next(&self, deliveries: &mut dyn Deliveries, stop: &CancellationToken) -> Option<Delivery> {
        let backoff =
            Backoff { first: Duration::from_millis(100), longest: Duration::from_secs(2), retries: 10 };
        let mut waits = backoff.delays();
        loop {
            let error = tokio::select! {
                biased;
                () = stop.cancelled() => return None,
                next = deliveries.next() => match next {
                    Ok(delivery) => return Some(delivery),
                    Err(error) => error,
                },
            };
            let wait = waits.next().unwrap_or(backoff.longest);
            tracing::warn!(queue = %self.queue, %error, "no messages from the broker; trying again");
            tokio::select! {
                () = stop.cancelled() => return None,
                () = tokio::time::sleep(wait) => {}
            }
        }
    }

    async fn handle<H, Fut>(&self, delivery: Delivery, handler: H)
    where
        H: Fn(Received) -> Fut,
        Fut: Future<Output = Result<(), Failure>> + Send,
    {
        let started = Instant::now();
        let span = ProcessSpan::start(self.tracer.get(), self.broker.as_ref(), &delivery);
        // Once for each message: later deliveries still have what the first one had.
        if delivery.number == 1 && delivery.message.headers.contains_key(names::HEADER_REFUSED_CORRELATION_ID)
        {
            self.refusals.count(&self.queue, "correlation_id");
        }
        let received = Received {
            message: delivery.message.clone(),
            queue: delivery.queue.clone(),
            routing_key: delivery.routing_key.clone(),
            number: delivery.number,
            is_last: self.policy.delay_after(delivery.number).is_none(),
        };
        let (id, message_id) = (delivery.message.correlation_id.clone(), delivery.message.id.clone());
        let whole = async {
            let result = match handling::run(self.timeout, || handler(received)).await {
                Ok(result) => result,
                Err(Stopped::TimedOut) => {
                    Err(Failure::transient("timeout", format!("no result within {:?}", self.timeout)))
                }
                Err(Stopped::Panicked) => Err(Failure::transient("panic", "the handler panicked")),
            };
            self.settle(delivery, result.as_ref().err(), &span).await;
            result
        };
        let result =
            correlation::scope_caused_by(id, message_id, whole.with_context(span.context().clone())).await;
        let mut measured = vec![
            KeyValue::new(names::MESSAGING_SYSTEM, self.broker.system()),
            KeyValue::new(names::MESSAGING_OPERATION_NAME, "process"),
            KeyValue::new(names::QUEUE, self.queue.clone()),
        ];
        measured.extend(result.err().map(|failure| KeyValue::new(names::ERROR_TYPE, failure.kind)));
        self.duration.record(started.elapsed().as_secs_f64(), &measured);
        span.end();
    }

    async fn settle(&self, delivery: Delivery, failure: Option<&Failure>, span: &ProcessSpan) {
        let delay = self.policy.delay_after(delivery.number);
        let (outcome, delay) = match (failure, delay) {
            (None, _) => (Outcome::Ack, None),
            (Some(failure), Some(delay)) if failure.transient => {
                let mut headers = delivery.message.headers.clone();
                span.mark_first_failure(&mut headers);
                (Outcome::Retry { delay, headers }, Some(delay))
            }
            (Some(failure), _) => (Outcome::DeadLetter { reason: failure.reason() }, None),
        };
        if let Some(failure) = failure {
            failure.record_in(span.context());
        }
        let (queue, number) = (delivery.queue.clone(), delivery.number);
        match delivery.settle(outcome).await {
            Ok(settled) => {
                span.settled(&settled, delay, failure);
                log_settled(&queue, number, &settled, delay, failure);
            }
            Err(error) => {
                span.not_settled(&error);
                tracing::warn!(%queue, delivery = number, %error, "a message will be delivered again");
            }
        }
    }
}

fn log_settled(
    queue: &str,
    number: u32,
    settled: &Settled,
    delay: Option<Duration>,
    failure: Option<&Failure>,
) {
    let reason = failure.map(Failure::reason).unwrap_or_default();
    match settled {
        Settled::Acked => tracing::debug!(queue, delivery = number, "message handled"),
        Settled::Retried { .. } => {
            let delay_ms = delay.unwrap_or_default().as_millis() as u64;
            tracing::warn!(queue, delivery = number, delay_ms, reason, "message will be retried");
        }
        Settled::DeadLettered { queue: Some(to) } => {
            tracing::error!(queue, delivery = number, reason, dead_letters = %to, "message dead-lettered");
        }
        Settled::DeadLettered { queue: None } => {
            tracing::error!(queue, delivery = number, reason, "message dropped: no dead-letter queue");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_policy_doubles_and_ends() {
        let policy = RetryPolicy::default();
        assert_eq!(policy.delay_after(1), Some(Duration::from_secs(2)));
        assert_eq!(policy.delay_after(2), Some(Duration::from_secs(4)));
        assert_eq!(policy.delay_after(3), None);
        assert_eq!(policy.delay_after(u32::MAX), None);
    }
}
