//! What the broker says of one queue while its page is open: the age of its head, who takes from it, and what leads into it.

use std::sync::Arc;

use crate::dashboard::collect::Board;
use crate::dashboard::model::Nanos;
use crate::dashboard::model::queues::{Consumer, QueueDetail};
use crate::dashboard::query::queues::Key;
use crate::dashboard::view::format;

/// What a page shows of it.
pub enum Detail {
    /// Its broker is not one that is asked.
    NotAsked,
    /// Why nothing is known now.
    Untold(String),
    Told(Arc<QueueDetail>),
}

/// Asks the queue's broker.
pub async fn of(board: &Board, key: &Key) -> Detail {
    match board.detail(&key.broker, &key.virtual_host, &key.name).await {
        None => Detail::NotAsked,
        Some(Ok(detail)) => Detail::Told(detail),
        Some(Err(why)) => Detail::Untold(why),
    }
}

impl Detail {
    /// What is known.
    pub fn told(&self) -> Option<&QueueDetail> {
        match self {
            Self::Told(detail) => Some(detail),
            Self::NotAsked | Self::Untold(_) => None,
        }
    }

    /// What is said where nothing is known.
    pub fn untold(&self) -> String {
        match self {
            Self::Untold(why) => format!("The broker could not be asked: {why}."),
            _ => "Known only of brokers that Throughline asks itself.".to_owned(),
        }
    }

    /// When the message at the head was published.
    pub fn head(&self) -> Option<Nanos> {
        self.told()?.head
    }

    /// What leads into it: exchange and what has to fit, the text of each shortened.
    pub fn bindings(&self) -> Vec<(String, String)> {
        let bound = self.told().map_or(&[][..], |detail| &detail.bindings);
        let told = bound.iter().map(|one| {
            let arguments = one.arguments.iter().map(|(key, value)| format!("{key}={value}"));
            let fits: Vec<String> =
                Some(one.key.clone()).filter(|key| !key.is_empty()).into_iter().chain(arguments).collect();
            (format::shortened(&one.exchange, 80), format::shortened(&fits.join(", "), 120))
        });
        told.collect()
    }

    /// How many bindings and how many consumers are not listed, where some are not.
    pub fn more(&self) -> (Option<usize>, Option<usize>) {
        let beyond = |all: usize, listed: usize| all.checked_sub(listed).filter(|more| *more > 0);
        self.told().map_or((None, None), |detail| {
            (
                beyond(detail.all_bindings, detail.bindings.len()),
                beyond(detail.all_consumers, detail.consumers.len()),
            )
        })
    }

    /// Who takes from it: name, and how.
    pub fn consumers(&self) -> Vec<(String, String)> {
        let consumers = self.told().map_or(&[][..], |detail| &detail.consumers);
        consumers.iter().map(|one| (format::shortened(&one.tag, 60), how(one))).collect()
    }
}

/// `prefetch 10 · acknowledges · guest · 127.0.0.1:51442 -> 127.0.0.1:5672 (1)`.
fn how(consumer: &Consumer) -> String {
    let prefetch = match consumer.prefetch {
        Some(0) => Some("no limit of prefetch".to_owned()),
        Some(messages) => Some(format!("prefetch {messages}")),
        None => None,
    };
    let acknowledges =
        consumer.acknowledges.map(|does| if does { "acknowledges" } else { "does not acknowledge" });
    let idle = (consumer.active == Some(false)).then(|| "waits for its turn".to_owned());
    let cut = |text: &Option<String>| text.as_ref().map(|text| format::shortened(text, 80));
    let parts =
        [prefetch, acknowledges.map(str::to_owned), idle, cut(&consumer.user), cut(&consumer.channel)];
    parts.into_iter().flatten().collect::<Vec<_>>().join(" · ")
}
