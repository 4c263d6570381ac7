//! Which broker the shop's messages go over, by the settings: RabbitMQ, Kafka, or the embedded one. What is sent over it
//! does not belong here.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;

use crate::comms::queue::{Broker, EmbeddedBroker, RabbitMqBroker, rabbitmq as amqp};

/// What to look at when there is no RabbitMQ.
const NO_RABBITMQ: &str =
    "cannot send messages over RabbitMQ (--rabbitmq or THROUGHLINE_RABBITMQ; its CA: --rabbitmq-ca)";
/// What to look at when there is no Kafka.
const NO_KAFKA: &str = "cannot send messages over Kafka (--kafka or THROUGHLINE_KAFKA)";

/// A broker that is named in the settings.
pub enum Named {
    RabbitMq { url: String, ca: Option<PathBuf> },
    Kafka { servers: String },
    Embedded { file: String },
}

impl Named {
    /// Of what was given, an empty one being none.
    ///
    /// # Errors
    /// Two are named.
    pub fn of(
        rabbitmq: Option<&str>,
        ca: Option<PathBuf>,
        kafka: Option<&str>,
        file: &str,
    ) -> anyhow::Result<Self> {
        match (rabbitmq, kafka) {
            (Some(_), Some(_)) => anyhow::bail!(
                "messages go over one broker: give --rabbitmq (THROUGHLINE_RABBITMQ) or --kafka (THROUGHLINE_KAFKA), not both"
            ),
            (Some(url), None) => Ok(Self::RabbitMq { url: url.to_owned(), ca }),
            (None, Some(servers)) => Ok(Self::Kafka { servers: servers.to_owned() }),
            (None, None) => Ok(Self::Embedded { file: file.to_owned() }),
        }
    }

    /// Connects as `name`, waiting for a server as long as `patience` says or as is usual.
    ///
    /// # Errors
    /// It cannot be reached, or this build knows no Kafka.
    pub async fn connect(&self, name: &str, patience: Option<Duration>) -> anyhow::Result<Arc<dyn Broker>> {
        match self {
            Self::RabbitMq { url, ca } => {
                let usual = amqp::Settings::new(url, name);
                let patience = patience.unwrap_or(usual.patience);
                let settings = amqp::Settings { ca: ca.clone(), patience, ..usual };
                Ok(Arc::new(RabbitMqBroker::connect(settings).await.context(NO_RABBITMQ)?))
            }
            Self::Kafka { servers } => kafka(servers, name, patience).await.context(NO_KAFKA),
            Self::Embedded { file } => {
                let opened = EmbeddedBroker::open(file).await;
                Ok(Arc::new(
                    opened.with_context(|| format!("cannot open the broker's file {file} (--broker)"))?,
                ))
            }
        }
    }
}

#[cfg(feature = "kafka")]
async fn kafka(servers: &str, name: &str, patience: Option<Duration>) -> anyhow::Result<Arc<dyn Broker>> {
    use crate::comms::queue::kafka::{KafkaBroker, Settings};
    let usual = Settings::new(servers, name);
    let patience = patience.unwrap_or(usual.patience);
    Ok(Arc::new(KafkaBroker::connect(Settings { patience, ..usual }).await?))
}

#[cfg(not(feature = "kafka"))]
async fn kafka(_: &str, _: &str, _: Option<Duration>) -> anyhow::Result<Arc<dyn Broker>> {
    anyhow::bail!("this build has no Kafka in it; build one with `cargo install --path . --features kafka`")
}
