//! A broker that can be lost and found again, to see what a service does meanwhile.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;

use crate::comms::queue::broker::{Deliveries, Delivery, Outcome, QueueStats, Settle, Settled};
use crate::comms::queue::{Broker, BrokerError, Message, QueueSpec};

/// How often a consumer that waits looks whether the broker is lost.
const LOOK: Duration = Duration::from_millis(100);

type IsLost = Arc<dyn Fn() -> bool + Send + Sync>;

/// A broker behind a connection that can be cut. While it is lost everything fails as with a server that refuses
/// connections ([`BrokerError::Unavailable`]); what consumers had in their hands is delivered again when it is found.
pub struct LosableBroker {
    inner: Arc<dyn Broker>,
    is_lost: IsLost,
}

impl LosableBroker {
    /// Asks `is_lost` before each deed, and some times a second while a consumer waits: it should be quick.
    pub fn new(inner: Arc<dyn Broker>, is_lost: impl Fn() -> bool + Send + Sync + 'static) -> Self {
        Self { inner, is_lost: Arc::new(is_lost) }
    }

    fn check(&self) -> Result<(), BrokerError> {
        check(&self.is_lost)
    }
}

fn check(is_lost: &IsLost) -> Result<(), BrokerError> {
    if is_lost() { Err(BrokerError::Unavailable("the connection to it is cut".into())) } else { Ok(()) }
}

impl Broker for LosableBroker {
    fn system(&self) -> &'static str {
        self.inner.system()
    }

    fn server(&self) -> Option<(&str, u16)> {
        self.inner.server()
    }

    fn declare_exchange<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<(), BrokerError>> {
        Box::pin(async move {
            self.check()?;
            self.inner.declare_exchange(name).await
        })
    }

    fn declare_queue<'a>(&'a self, spec: &'a QueueSpec) -> BoxFuture<'a, Result<(), BrokerError>> {
        Box::pin(async move {
            self.check()?;
            self.inner.declare_queue(spec).await
        })
    }

    fn bind<'a>(
        &'a self,
        exchange: &'a str,
        pattern: &'a str,
        queue: &'a str,
    ) -> BoxFuture<'a, Result<(), BrokerError>> {
        Box::pin(async move {
            self.check()?;
            self.inner.bind(exchange, pattern, queue).await
        })
    }

    fn publish<'a>(
        &'a self,
        exchange: &'a str,
        routing_key: &'a str,
        message: &'a Message,
    ) -> BoxFuture<'a, Result<(), BrokerError>> {
        Box::pin(async move {
            self.check()?;
            self.inner.publish(exchange, routing_key, message).await
        })
    }

    fn consume<'a>(
        &'a self,
        queue: &'a str,
        prefetch: usize,
    ) -> BoxFuture<'a, Result<Box<dyn Deliveries>, BrokerError>> {
        Box::pin(async move {
            // Who begins while it is lost waits for it as all the others do.
            let under_way = match self.check() {
                Ok(()) => Some(self.inner.consume(queue, prefetch).await?),
                Err(_) => None,
            };
            let (inner, is_lost) = (self.inner.clone(), self.is_lost.clone());
            let subscription = Subscription { inner, is_lost, queue: queue.to_owned(), prefetch, under_way };
            Ok(Box::new(subscription) as Box<dyn Deliveries>)
        })
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        self.inner.close()
    }

    fn queues(&self) -> BoxFuture<'_, Result<Vec<QueueStats>, BrokerError>> {
        Box::pin(async move {
            self.check()?;
            self.inner.queues().await
        })
    }
}

/// A consumer that begins again each time the broker was lost.
struct Subscription {
    inner: Arc<dyn Broker>,
    is_lost: IsLost,
    queue: String,
    prefetch: usize,
    under_way: Option<Box<dyn Deliveries>>,
}

impl Subscription {
    async fn take(&mut self) -> Result<Delivery, BrokerError> {
        let deliveries = match &mut self.under_way {
            Some(deliveries) => deliveries,
            None => {
                check(&self.is_lost)?;
                self.under_way.insert(self.inner.consume(&self.queue, self.prefetch).await?)
            }
        };
        let lost = async {
            while !(self.is_lost)() {
                tokio::time::sleep(LOOK).await;
            }
        };
        let taken = tokio::select! {
            biased;
            () = lost => None,
            taken = deliveries.next() => Some(taken),
        };
        match taken {
            Some(taken) => taken,
            None => {
                self.under_way = None;
                check(&self.is_lost).and_then(|()| Err(BrokerError::Unavailable("it was lost".into())))
            }
        }
    }
}

impl Deliveries for Subscription {
    fn next(&mut self) -> BoxFuture<'_, Result<Delivery, BrokerError>> {
        Box::pin(async move {
            let delivery = self.take().await?;
            let settle = Box::new(Cut { inner: delivery.settle, is_lost: self.is_lost.clone() });
            Ok(Delivery { settle, ..delivery })
        })
    }
}

/// The end of a delivery, which needs the connection as well.
struct Cut {
    inner: Box<dyn Settle>,
    is_lost: IsLost,
}

impl Settle for Cut {
    fn settle(self: Box<Self>, outcome: Outcome) -> BoxFuture<'static, Result<Settled, BrokerError>> {
        // Dropped unsettled, the delivery comes again.
        match check(&self.is_lost) {
            Ok(()) => self.inner.settle(outcome),
            Err(lost) => Box::pin(async move { Err(lost) }),
        }
    }
}
