//! Which attributes carry a correlation ID, and how much each is to be trusted.
//!
//! The keys are those that instrumentations, frameworks and applications were seen to send; a value matches
//! exactly. `x-request-id` is often made anew on each hop, so it ranks below all others.

/// A correlation ID with the key that it came from.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Correlation {
    pub value: String,
    pub origin: Origin,
}

/// Where a correlation ID was found, best evidence first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Origin {
    /// Set by the application, or named in the settings.
    Application,
    /// A captured HTTP, RPC or message header.
    Header,
    /// The conversation ID of a message.
    Message,
    /// A request ID: often one per hop.
    Request,
}

/// Longest value taken for a correlation ID, in bytes. Longer values are users' input gone astray.
pub const MAX_LEN: usize = 256;

/// The keys that the user adds to the known ones, already folded by [`fold`].
#[derive(Debug, Clone, Default)]
pub struct Keys {
    extra: Vec<String>,
}

impl Keys {
    /// Takes the keys of the user's settings.
    pub fn with(extra: impl IntoIterator<Item = String>) -> Self {
        Self { extra: extra.into_iter().map(|key| fold(&key)).collect() }
    }

    /// Tells whether `key` carries a correlation ID. Called for every attribute of every span, so the common
    /// case, "no", is decided by the length and one look at the end.
    pub fn origin(&self, key: &[u8]) -> Option<Origin> {
        if !self.extra.is_empty()
            && let Ok(text) = std::str::from_utf8(key)
            && self.extra.contains(&fold(text))
        {
            return Some(Origin::Application);
        }
        known(key)
    }
}

/// Lower case, with `_` for `-`: header names are captured both ways.
fn fold(key: &str) -> String {
    key.to_ascii_lowercase().replace('-', "_")
}

/// The known keys. All of them end in `id`.
fn known(key: &[u8]) -> Option<Origin> {
    if !(key.len() >= 10 && key.len() <= 64 && key[key.len() - 2..].eq_ignore_ascii_case(b"id")) {
        return None;
    }
    let folded = fold(std::str::from_utf8(key).ok()?);
    match folded.as_str() {
        "correlation.id" | "correlation_id" | "correlationid" => Some(Origin::Application),
        "messaging.message.conversation_id"
        | "messaging.conversation_id"
        | "nservicebus.conversation_id"
        | "nservicebus.correlation_id"
        | "messaging.masstransit.correlation_id" => Some(Origin::Message),
        "request_id" | "x_request_id" | "http.request.header.x_request_id" => Some(Origin::Request),
        "x_correlation_id" => Some(Origin::Header),
        other => {
            let header = ["http.request.header.", "rpc.request.metadata.", "messaging.header."]
                .iter()
                .find_map(|prefix| other.strip_prefix(prefix))?;
            match header {
                "x_correlation_id" | "correlation_id" => Some(Origin::Header),
                "x_request_id" => Some(Origin::Request),
                _ => None,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_the_keys_that_real_services_send() {
        let keys = Keys::default();
        for (key, origin) in [
            ("correlation.id", Origin::Application),
            ("correlation_id", Origin::Application),
            ("http.request.header.x-correlation-id", Origin::Header),
            ("http.request.header.x_correlation_id", Origin::Header),
            ("rpc.request.metadata.x-correlation-id", Origin::Header),
            ("messaging.header.X-Correlation-ID", Origin::Header),
            ("messaging.conversation_id", Origin::Message),
            ("messaging.message.conversation_id", Origin::Message),
            ("http.request.header.x-request-id", Origin::Request),
        ] {
            assert_eq!(keys.origin(key.as_bytes()), Some(origin), "{key}");
        }
        for key in ["order.id", "messaging.message.id", "user.id", "id", "", "http.request.header.x-user-id"]
        {
            assert_eq!(keys.origin(key.as_bytes()), None, "{key}");
        }
    }

    #[test]
    fn takes_keys_from_the_settings() {
        let keys = Keys::with(["Shop-Order.Ref".to_owned()]);
        assert_eq!(keys.origin(b"shop_order.ref"), Some(Origin::Application));
        assert_eq!(keys.origin(b"correlation.id"), Some(Origin::Application));
    }
}
