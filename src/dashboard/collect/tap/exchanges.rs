//! Which exchanges a tap is bound to and how, and which queues get a message beside it.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde_json::Value;

use super::super::Broker;
use super::super::management::{Management, Refusal};
use super::{QUEUE, TapSettings};

/// Exchanges that are bound, and keys of a direct one.
const MOST_EXCHANGES: usize = 1_000;
const MOST_KEYS: usize = 1_000;
/// Queues that are named of one message.
const MOST_QUEUES: usize = 16;
/// Answers that are remembered.
const REMEMBERED: usize = 8_192;
/// What the broker itself publishes, or only an administrator may see.
const INNER: [&str; 3] = ["amq.rabbitmq.trace", "amq.rabbitmq.log", "amq.rabbitmq.event"];

/// How an exchange routes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Routing {
    /// By patterns of words.
    Topic,
    All,
    /// By equal keys.
    Direct,
    /// By headers, or as a plugin does: not foreseen here.
    Other,
}

/// What is known of a virtual host.
#[derive(Debug, Default)]
pub struct Plan {
    /// Exchanges with the routing keys that the tap is bound by.
    pub bind: BTreeMap<String, BTreeSet<String>>,
    /// Exchanges that are not listened to, and why.
    pub left_out: Vec<(String, String)>,
    pub routes: Routes,
}

/// The queues that messages come to.
#[derive(Debug, Default)]
pub struct Routes {
    by_exchange: HashMap<String, (Routing, Vec<(String, String)>)>,
    known: HashMap<(String, String), Vec<String>>,
}

impl Routes {
    /// Notes a binding.
    pub fn add(&mut self, exchange: &str, routing: Routing, pattern: &str, queue: &str) {
        let entry = self.by_exchange.entry(exchange.to_owned()).or_insert((routing, Vec::new()));
        entry.1.push((pattern.to_owned(), queue.to_owned()));
    }

    /// The queues that a message comes to, as far as bindings tell: each once, by name.
    pub fn of(&mut self, exchange: &str, key: &str) -> Vec<String> {
        let Some((routing, bindings)) = self.by_exchange.get(exchange) else { return Vec::new() };
        let asked = (exchange.to_owned(), key.to_owned());
        if let Some(known) = self.known.get(&asked) {
            return known.clone();
        }
        let fits = |pattern: &str| match routing {
            Routing::Topic => matches(pattern, key),
            Routing::All => true,
            Routing::Direct => pattern == key,
            Routing::Other => false,
        };
        let queues: BTreeSet<&String> =
            bindings.iter().filter(|(pattern, _)| fits(pattern)).map(|(_, queue)| queue).collect();
        let queues: Vec<String> = queues.into_iter().take(MOST_QUEUES).cloned().collect();
        if self.known.len() >= REMEMBERED {
            self.known.clear();
        }
        self.known.insert(asked, queues.clone());
        queues
    }
}

/// Whether a routing key matches a topic's pattern (AMQP 0-9-1 §3.1.3.3): `*` is one word, `#` any number of them.
pub fn matches(pattern: &str, key: &str) -> bool {
    let words = |text: &str| -> Vec<String> {
        if text.is_empty() { Vec::new() } else { text.split('.').map(str::to_owned).collect() }
    };
    let (pattern, key) = (words(pattern), words(key));
    let (mut p, mut k) = (0, 0);
    // The last `#` seen, and how much of the key it has taken.
    let mut hash: Option<(usize, usize)> = None;
    loop {
        if p < pattern.len() && pattern[p] == "#" {
            hash = Some((p, k));
            p += 1;
        } else if k == key.len() {
            return p == pattern.len();
        } else if p < pattern.len() && (pattern[p] == "*" || pattern[p] == key[k]) {
            (p, k) = (p + 1, k + 1);
        } else if let Some((at, taken)) = hash {
            hash = Some((at, taken + 1));
            (p, k) = (at + 1, taken + 1);
        } else {
            return false;
        }
    }
}

impl Plan {
    /// Asks the broker's management interface, and adds what the settings name.
    ///
    /// # Errors
    /// It cannot be asked; then nothing is known but the settings.
    pub async fn of(
        api: Option<&Broker>,
        virtual_host: &str,
        settings: &TapSettings,
    ) -> Result<Self, Refusal> {
        let mut plan = Self::default();
        if let Some(api) = api {
            let management = Management::new(api.clone());
            let host = encoded(virtual_host);
            let exchanges = management.get(&format!("api/exchanges/{host}?columns=name,type")).await?;
            let columns = "columns=source,destination,destination_type,routing_key";
            let bindings = management.get(&format!("api/bindings/{host}?{columns}")).await?;
            plan.learn(&exchanges, &bindings, settings);
        }
        for exchange in &settings.exchanges {
            if settings.allows(&exchange.name) {
                let keys = plan.bind.entry(exchange.name.clone()).or_default();
                keys.insert(exchange.key.clone().unwrap_or_else(|| "#".to_owned()));
            }
        }
        Ok(plan)
    }

    fn learn(&mut self, exchanges: &[Value], bindings: &[Value], settings: &TapSettings) {
        let text = |value: &Value, key: &str| value[key].as_str().unwrap_or_default().to_owned();
        let mut routings = HashMap::new();
        for exchange in exchanges {
            let (name, kind) = (text(exchange, "name"), text(exchange, "type"));
            if name.is_empty() || INNER.contains(&name.as_str()) {
                continue;
            }
            let routing = match kind.as_str() {
                "topic" => Routing::Topic,
                "fanout" => Routing::All,
                "direct" => Routing::Direct,
                _ => Routing::Other,
            };
            routings.insert(name.clone(), routing);
            let leave = |plan: &mut Self, why: &str| plan.left_out.push((name.clone(), why.to_owned()));
            if !settings.allows(&name) {
                leave(self, "excluded by --tap-exclude");
            } else if self.bind.len() >= MOST_EXCHANGES {
                leave(self, "beyond the limit of 1 000 exchanges");
            } else {
                match kind.as_str() {
                    "topic" | "fanout" | "headers" | "x-delayed-message" => {
                        self.bind.entry(name).or_default().insert("#".to_owned());
                    }
                    "direct" => {
                        self.bind.entry(name).or_default();
                    }
                    other => leave(self, &format!("nothing is known of exchanges of type {other}")),
                }
            }
        }
        for binding in bindings {
            let (source, to) = (text(binding, "source"), text(binding, "destination"));
            let key = text(binding, "routing_key");
            if to.starts_with(QUEUE) {
                continue;
            }
            let Some(routing) = routings.get(&source) else { continue };
            if *routing == Routing::Direct
                && let Some(keys) = self.bind.get_mut(&source)
                && keys.len() < MOST_KEYS
            {
                keys.insert(key.clone());
            }
            if binding["destination_type"] == "queue" {
                self.routes.add(&source, *routing, &key, &to);
            }
        }
        // A direct exchange that nothing is bound to sends nowhere.
        self.bind.retain(|_, keys| !keys.is_empty());
    }
}

/// A name as one part of a path.
fn encoded(name: &str) -> String {
    let mut out = String::new();
    for byte in name.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn exchanges_are_bound_by_their_type_and_routes_are_foreseen() {
        let exchanges = [
            json!({ "name": "", "type": "direct" }),
            json!({ "name": "amq.rabbitmq.trace", "type": "topic" }),
            json!({ "name": "orders", "type": "topic" }),
            json!({ "name": "all", "type": "fanout" }),
            json!({ "name": "by-header", "type": "headers" }),
            json!({ "name": "jobs", "type": "direct" }),
            json!({ "name": "lonely", "type": "direct" }),
            json!({ "name": "secret", "type": "topic" }),
            json!({ "name": "ring", "type": "x-consistent-hash" }),
        ];
        let binding = |source: &str, queue: &str, key: &str| json!({ "source": source, "destination": queue, "destination_type": "queue", "routing_key": key });
        let bindings = [
            binding("", "payments", "payments"),
            binding("orders", "payments", "order.*"),
            binding("orders", "audit", "#"),
            binding("orders", &format!("{QUEUE}.1"), "#"),
            binding("all", "a", ""),
            binding("jobs", "work", "go"),
        ];
        let settings = TapSettings { exclude: vec!["secret".into()], ..TapSettings::default() };
        let mut plan = Plan::default();
        plan.learn(&exchanges, &bindings, &settings);
        let bound: Vec<_> = plan
            .bind
            .iter()
            .map(|(name, keys)| format!("{name}:{}", keys.iter().cloned().collect::<Vec<_>>().join(",")))
            .collect();
        assert_eq!(bound, ["all:#", "by-header:#", "jobs:go", "orders:#"]);
        assert_eq!(plan.left_out.len(), 2, "{:?}", plan.left_out);
        assert_eq!(plan.routes.of("orders", "order.placed"), ["audit", "payments"]);
        assert_eq!(plan.routes.of("orders", "user.made"), ["audit"]);
        assert_eq!(
            (plan.routes.of("all", "x"), plan.routes.of("jobs", "x")),
            (vec!["a".to_owned()], Vec::new())
        );
        assert_eq!(encoded("/"), "%2F");
    }

    #[test]
    fn patterns_match_as_the_broker_matches_them() {
        for (pattern, key, expected) in [
            ("order.*", "order.placed", true),
            ("order.*", "order.placed.late", false),
            ("#", "", true),
            ("#.late", "order.placed.late", true),
            ("*", "", false),
            ("a.#.b.#.c", "a.x.b.y.b.z.c", true),
            ("a.*.#.c", "a.b.c", true),
            ("", "a", false),
        ] {
            assert_eq!(matches(pattern, key), expected, "{pattern} against {key}");
        }
    }
}
