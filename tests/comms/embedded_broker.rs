//! The contract of a broker on the embedded one, and what only a broker on a file has to keep.

use std::sync::Arc;
use std::time::Duration;

use crate::broker_contract::{self, Place};
use throughline::comms::queue::{Broker, BrokerError, EmbeddedBroker, QueueSpec};

const LEASE: Duration = Duration::from_millis(300);

/// A folder with the broker's file.
struct File {
    dir: tempfile::TempDir,
}

impl File {
    async fn new() -> Self {
        Self { dir: tempfile::tempdir().expect("a folder") }
    }
}

#[async_trait::async_trait]
impl Place for File {
    async fn handle(&self) -> Arc<dyn Broker> {
        let url = format!("sqlite://{}", self.dir.path().join("broker.db").display());
        Arc::new(EmbeddedBroker::open_with_lease(&url, LEASE).await.expect("the broker opens"))
    }
}

contract!(File::new());

#[tokio::test]
async fn the_last_declaration_of_a_queue_counts() {
    let broker = File::new().await.declared().await;
    broker.declare_queue(&QueueSpec::durable("mail").max_length(3)).await.expect("queue");
    for n in 0..10 {
        broker.publish("orders", "order.placed", &broker_contract::message(n)).await.expect("published");
    }
    assert_eq!(broker_contract::depth(broker.as_ref(), "mail").await, 3);
}

#[tokio::test]
async fn a_file_that_is_not_a_brokers_is_refused_and_kept() {
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("letters.db");
    let text = "not a database at all, ".repeat(400);
    std::fs::write(&path, &text).expect("written");
    let error = EmbeddedBroker::open(&format!("sqlite://{}", path.display())).await.err().expect("refused");
    assert!(matches!(error, BrokerError::Incompatible(_)), "{error}");
    assert_eq!(std::fs::read_to_string(&path).expect("still there"), text);
}
