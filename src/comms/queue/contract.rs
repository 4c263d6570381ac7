//! What messages a consumer takes: for each type its versions, each with a JSON Schema, and the way from one to the next.
//!
//! A service that has learned version 2 still gets version 1, from the queue and from services that are older. It says
//! once how a body of version 1 becomes one of version 2 (an upcast), and its handler knows the newest version alone.
//! What does not fit its schema, has an unknown version or is no JSON can never be handled: it goes to the dead letters,
//! and the reason says which field of which version is wrong.
//!
//! ```
//! # fn main() -> anyhow::Result<()> {
//! use serde_json::json;
//! use throughline::comms::queue::{Contracts, Message};
//!
//! let placed = Contracts::default()
//!     .first("order.placed", 1, &json!({"type": "object", "required": ["cents"]}))?
//!     .next("order.placed", 2, &json!({"type": "object", "required": ["amount", "currency"]}), |old| {
//!         Ok(json!({"amount": old["cents"], "currency": "EUR"}))
//!     })?;
//! let old = Message::json("order.placed", 1, &json!({"cents": 250}))?;
//! let new = placed.accept(old).expect("it fits");
//! assert_eq!((new.version, new.decode::<serde_json::Value>()?["currency"].as_str()), (2, Some("EUR")));
//! # Ok(())
//! # }
//! ```

use std::collections::BTreeMap;
use std::sync::Arc;

use jsonschema::Validator;
use serde::Serialize;
use serde_json::Value;

use super::consumer::{Failure, Received};
use super::given_up::Refusals;
use super::message::Message;

/// How many of a body's faults a reason tells, and how long the text of each may be, in characters.
const MOST_FAULTS: usize = 3;
const LONGEST_FAULT: usize = 160;

/// How a body becomes one of the next version; an error says why it cannot.
type Upcast = Arc<dyn Fn(Value) -> Result<Value, String> + Send + Sync>;

#[derive(Clone)]
struct Version {
    schema: Arc<Validator>,
    /// From the version before; none for the first.
    upcast: Option<Upcast>,
}

/// The messages that a consumer takes; cheap to clone.
#[derive(Clone, Default)]
pub struct Contracts {
    types: BTreeMap<String, BTreeMap<u32, Version>>,
}

impl Contracts {
    /// A type and its oldest version.
    ///
    /// # Errors
    /// The schema is none, refers to another document, or the type has versions already.
    pub fn first(self, kind: &str, version: u32, schema: &Value) -> anyhow::Result<Self> {
        anyhow::ensure!(!self.types.contains_key(kind), "`{kind}` has a first version already");
        self.with(kind, version, schema, None)
    }

    /// The next version of a type, and how a body of the version before becomes one of it.
    ///
    /// # Errors
    /// The schema is none, refers to another document, or the version does not follow the newest by one.
    pub fn next(
        self,
        kind: &str,
        version: u32,
        schema: &Value,
        upcast: impl Fn(Value) -> Result<Value, String> + Send + Sync + 'static,
    ) -> anyhow::Result<Self> {
        let newest = self.types.get(kind).and_then(|versions| versions.keys().next_back().copied());
        let follows = newest.and_then(|newest| newest.checked_add(1)) == Some(version);
        anyhow::ensure!(follows, "`{kind}` version {version} does not follow its newest, {newest:?}");
        self.with(kind, version, schema, Some(Arc::new(upcast)))
    }

    fn with(
        mut self,
        kind: &str,
        version: u32,
        schema: &Value,
        upcast: Option<Upcast>,
    ) -> anyhow::Result<Self> {
        let schema = jsonschema::validator_for(schema)
            .map_err(|error| anyhow::anyhow!("the schema of `{kind}` version {version}: {error}"))?;
        let version_of = self.types.entry(kind.to_owned()).or_default();
        version_of.insert(version, Version { schema: Arc::new(schema), upcast });
        Ok(self)
    }

    /// The types that are taken, each with its versions, oldest first.
    pub fn versions(&self) -> impl Iterator<Item = (&str, u32)> {
        self.types
            .iter()
            .flat_map(|(kind, versions)| versions.keys().map(|version| (kind.as_str(), *version)))
    }

    /// The message in the newest version of its type.
    ///
    /// # Errors
    /// A permanent failure: `unknown_type`, `unknown_version`, `malformed_message` (no JSON), `schema` (it does not fit)
    /// or `upcast`. Its text names type, version and field, and no value of the body.
    pub fn accept(&self, message: Message) -> Result<Message, Failure> {
        let (body, newest) = self.read(&message)?;
        if newest == message.version {
            return Ok(message);
        }
        let bytes = serde_json::to_vec(&body).map_err(|e| Failure::permanent("upcast", e.to_string()))?;
        Ok(Message { version: newest, body: bytes.into(), ..message })
    }

    /// Whether a message may be sent: what is refused here would be by who gets it.
    ///
    /// # Errors
    /// As [`Self::accept`].
    pub fn check(&self, message: &Message) -> Result<(), Failure> {
        self.read(message).map(drop)
    }

    /// A message of a type's newest version, which is sure to fit: see [`Message::json`].
    ///
    /// # Errors
    /// As [`Self::accept`]: the mistake is the sender's own.
    pub fn message(&self, kind: &str, body: &impl Serialize) -> Result<Message, Failure> {
        let newest = self.types.get(kind).and_then(|versions| versions.keys().next_back());
        let message = Message::json(kind, newest.copied().unwrap_or(0), body)
            .map_err(|error| Failure::permanent("malformed_message", error.to_string()))?;
        self.check(&message)?;
        Ok(message)
    }

    /// A handler for [`super::Consumer::run`] that gets what fits alone, in its newest version. What does not is counted
    /// ([`METRIC_MESSAGES_REFUSED`](crate::comms::names::METRIC_MESSAGES_REFUSED)), with the kind of its failure as the reason.
    pub fn guard<H, Fut>(
        self,
        handler: H,
    ) -> impl Fn(Received) -> futures_util::future::BoxFuture<'static, Result<(), Failure>>
    + Clone
    + Send
    + Sync
    + 'static
    where
        H: Fn(Received) -> Fut + Clone + Send + Sync + 'static,
        Fut: Future<Output = Result<(), Failure>> + Send + 'static,
    {
        let refusals = Refusals::default();
        move |mut received: Received| match self.accept(received.message) {
            Ok(message) => {
                received.message = message;
                Box::pin(handler(received))
            }
            Err(failure) => {
                refusals.count(&received.queue, failure.kind.clone());
                Box::pin(std::future::ready(Err(failure)))
            }
        }
    }

    /// The body in the newest version, and which that is.
    fn read(&self, message: &Message) -> Result<(Value, u32), Failure> {
        let Message { kind, version, .. } = message;
        let Some(versions) = self.types.get(kind) else {
            let known = self.types.keys().map(String::as_str).collect::<Vec<_>>().join(", ");
            return Err(Failure::permanent(
                "unknown_type",
                format!("`{kind}` is unknown here; known: {known}"),
            ));
        };
        let Some(own) = versions.get(version) else {
            let known = versions.keys().map(u32::to_string).collect::<Vec<_>>().join(", ");
            let text = format!("`{kind}` version {version} is unknown here; known: {known}");
            return Err(Failure::permanent("unknown_version", text));
        };
        let mut body: Value = serde_json::from_slice(&message.body).map_err(|error| {
            Failure::permanent("malformed_message", format!("`{kind}` version {version} is no JSON: {error}"))
        })?;
        fits(kind, *version, own, &body)?;
        let mut newest = *version;
        for (next, step) in versions.range(version.saturating_add(1)..) {
            let Some(upcast) = &step.upcast else { continue };
            body = upcast(body).map_err(|why| {
                let text = format!("`{kind}` version {newest} does not become version {next}: {why}");
                Failure::permanent("upcast", text)
            })?;
            // An upcast that makes nonsense is found here and not by the handler.
            fits(kind, *next, step, &body)?;
            newest = *next;
        }
        Ok((body, newest))
    }
}

fn fits(kind: &str, version: u32, of: &Version, body: &Value) -> Result<(), Failure> {
    let mut faults = of.schema.iter_errors(body).map(|fault| {
        let path = fault.instance_path().to_string();
        let at = if path.is_empty() { "the body".to_owned() } else { path };
        // Without the value, which may be anything and anybody's.
        format!("{at}: {}", fault.masked()).chars().take(LONGEST_FAULT).collect::<String>()
    });
    let told: Vec<String> = faults.by_ref().take(MOST_FAULTS).collect();
    if told.is_empty() {
        return Ok(());
    }
    let more = if faults.next().is_some() { "; and more" } else { "" };
    let text = format!("`{kind}` version {version} does not fit its schema: {}{more}", told.join("; "));
    Err(Failure::permanent("schema", text))
}
