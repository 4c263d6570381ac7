//! A message: what it is, what it belongs to, and its body.

use std::collections::BTreeMap;
use std::time::SystemTime;

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::comms::correlation::{self, CorrelationId};

/// A message as it is sent and received.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Unique; the same on every delivery.
    pub id: String,
    /// The application's name for what it says, such as `order.placed`.
    pub kind: String,
    /// The version of the body's shape; a consumer refuses what it does not know.
    pub version: u32,
    /// When it was made.
    pub time: SystemTime,
    pub correlation_id: CorrelationId,
    /// The message that led to this one, if any.
    pub causation_id: Option<String>,
    /// For the transport: trace context, baggage, what happened on the way.
    pub headers: BTreeMap<String, String>,
    pub content_type: String,
    pub body: Bytes,
}

impl Message {
    /// A message with a JSON body. It joins the correlation ID of the current task and names the message that
    /// the task handles as its cause; outside of both it begins a correlation ID of its own.
    ///
    /// # Errors
    /// The body cannot be written as JSON.
    pub fn json(kind: &str, version: u32, body: &impl Serialize) -> serde_json::Result<Self> {
        Ok(Self {
            id: uuid::Uuid::now_v7().to_string(),
            kind: kind.to_owned(),
            version,
            time: SystemTime::now(),
            correlation_id: correlation::current().unwrap_or_else(|| CorrelationId::generate(kind)),
            causation_id: correlation::current_cause(),
            headers: BTreeMap::new(),
            content_type: "application/json".to_owned(),
            body: serde_json::to_vec(body)?.into(),
        })
    }

    /// Gives it an ID made of its cause and its type, where it has a cause: whoever handles the cause twice then
    /// sends the same message twice, and an [inbox](super::inbox) counts it once. For handlers that send at most one
    /// message of each type.
    #[must_use]
    pub fn once_per_cause(mut self) -> Self {
        let id = self.causation_id.as_ref().map(|cause| format!("{cause}/{}", self.kind));
        // A chain of causes that has grown too long begins anew.
        if let Some(id) = id.filter(|id| id.len() <= super::broker::MAX_NAME) {
            self.id = id;
        }
        self
    }

    /// Reads the JSON body.
    ///
    /// # Errors
    /// The body is not JSON of that shape.
    pub fn decode<T: DeserializeOwned>(&self) -> serde_json::Result<T> {
        serde_json::from_slice(&self.body)
    }
}
