//! Taps: they see the messages that are published to a broker's exchanges, and keep them in the store.
//!
//! * [`address`]: a tap in the settings; [`sink`]: the bounded way into the store.
//! * [`rabbitmq`]: a queue of our own on RabbitMQ, behind the screen of [`crate::amqp`], as [`wire`] reads it; [`exchanges`]: what it is bound to, and which
//!   queues get a message too.
//! * [`embedded`]: the same on the embedded broker's file.
//!
//! A tap takes nothing from anybody: it has a queue of its own, which is bounded, drops its oldest and goes when the tap
//! does. It sees what is published while it listens, and nothing of the default exchange. When more comes than is kept, it
//! lets messages go and counts them; nobody waits for it. Why all this: decision 30.
//!
//! What must not live here: what a message means, HTML.

pub mod address;
mod embedded;
mod exchanges;
mod rabbitmq;
mod sink;
mod wire;

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::{Board, Broker};
use crate::dashboard::model::correlation::Keys;
use crate::dashboard::model::messages::{Source, TapStatus};
use crate::dashboard::model::now;
use crate::dashboard::store::Ingest;
use address::Way;
pub use address::{Exchange, Tap, WrongTap};
use sink::Sink;

/// The queue of a tap, or the beginning of its name.
pub const QUEUE: &str = crate::comms::names::QUEUE_TAP;
/// Messages that wait in the tap's own queue at most; the oldest go.
const WAITING: u32 = 10_000;
/// How often the state of a tap is told, and looked for new exchanges.
const TICK: Duration = Duration::from_secs(1);
/// After a loss, the first time and at most.
const PAUSE: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(5));

/// What is the same for all taps.
#[derive(Debug, Clone, Default)]
pub struct TapSettings {
    /// Exchanges that are not listened to; a `*` at the end stands for any rest.
    pub exclude: Vec<String>,
    /// Exchanges besides those that the broker tells of.
    pub exchanges: Vec<Exchange>,
    /// Bytes of a body that are kept.
    pub body: usize,
}

impl TapSettings {
    /// Whether an exchange may be listened to.
    fn allows(&self, exchange: &str) -> bool {
        !self.exclude.iter().any(|pattern| match pattern.strip_suffix('*') {
            Some(begin) => exchange.starts_with(begin),
            None => pattern == exchange,
        })
    }
}

/// Where taps bring what they see, and tell how they do.
#[derive(Clone)]
pub struct Place {
    pub ingest: Arc<dyn Ingest>,
    pub board: Arc<Board>,
    /// What carries a correlation ID.
    pub keys: Arc<Keys>,
}

/// Listens until `stop`. `apis` are the management interfaces that the settings name: the one of this broker tells of its
/// exchanges.
pub async fn watch(
    tap: Tap,
    settings: TapSettings,
    apis: Vec<Broker>,
    place: Place,
    stop: CancellationToken,
) {
    let source = tap.source();
    let mut teller = Teller { status: TapStatus::new(source.clone()), board: place.board.clone() };
    teller.tell();
    let (sink, keeper) = sink::open(source, settings.body, place.ingest, place.keys);
    teller.status.counts = sink.counts();
    let keeping = keeper.run(stop.clone());
    let listening = listen(tap, &settings, &apis, sink, &mut teller, &stop);
    tokio::join!(keeping, listening);
}

async fn listen(
    tap: Tap,
    settings: &TapSettings,
    apis: &[Broker],
    sink: Sink,
    teller: &mut Teller,
    stop: &CancellationToken,
) {
    let mut pause = PAUSE.0;
    let mut dead = None;
    loop {
        let listening = async {
            match &tap.way {
                Way::RabbitMq(way) => {
                    let api = tap.api(apis);
                    rabbitmq::session(way, settings, api, &sink, teller).await
                }
                Way::Embedded(url) => embedded::session(url, settings, &sink, teller, &mut dead, stop).await,
            }
        };
        let why = tokio::select! {
            () = stop.cancelled(), if !tap.ends_itself() => return,
            why = listening => why,
        };
        if stop.is_cancelled() {
            return;
        }
        if teller.status.listening.take().is_some() {
            pause = PAUSE.0;
        }
        teller.fails(why);
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(pause) => {}
        }
        pause = (pause * 2).min(PAUSE.1);
    }
}

/// Puts up how a tap does, and says in the log what changed.
struct Teller {
    status: TapStatus,
    board: Arc<Board>,
}

impl Teller {
    fn tell(&self) {
        self.board.put_tap(self.status.clone());
    }

    /// It listens from now on.
    fn listens(&mut self) {
        let Source { broker, server, .. } = &self.status.source;
        tracing::info!(broker, server, exchanges = self.status.exchanges.len(), "listening to messages");
        self.status.listening = Some(now());
        self.status.failing = None;
        self.tell();
    }

    fn fails(&mut self, why: String) {
        let same = self.status.failing.as_ref().is_some_and(|(before, _)| *before == why);
        if !same {
            let Source { broker, server, .. } = &self.status.source;
            tracing::warn!(broker, server, "messages are not seen: {why}");
        }
        let since = self.status.failing.as_ref().map_or_else(now, |(_, since)| *since);
        self.status.failing = Some((why, since));
        self.status.listening = None;
        self.tell();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exchanges_are_excluded_by_name_and_by_beginning() {
        let settings =
            TapSettings { exclude: vec!["audit".into(), "pii.*".into()], ..TapSettings::default() };
        for (exchange, allowed) in
            [("audit", false), ("audits", true), ("pii.", false), ("pii.users", false), ("orders", true)]
        {
            assert_eq!(settings.allows(exchange), allowed, "{exchange}");
        }
    }
}
