//! Failures that can be switched on while the shop runs, to see what they look like.
//!
//! A scenario is data: a line of [`SCENARIOS`] with its effects. A new one that is made of the effects that are there
//! needs nothing else; a new effect needs a place that reads it.
//!
//! Which are on stands in a file that all processes of the shop share (`--scenarios`). The gateway writes it, by its
//! door `/scenarios`; the supervisor does at the start. Each process looks at it a few times a second.
//!
//! | file | what lives there |
//! |---|---|
//! | `mod.rs` | the table, and what effects there are |
//! | `switches.rs` | which are on: the file |

mod switches;

use std::time::Duration;

pub use self::switches::{Running, Switches};
use super::shop::{ServiceName, keys, queues};

/// Something that goes wrong, and where to watch it.
#[derive(Debug)]
pub struct Scenario {
    /// As it is called in addresses and on the command line.
    pub name: &'static str,
    pub title: &'static str,
    /// What happens to the shop.
    pub does: &'static str,
    /// What to look at in the dashboard.
    pub look: &'static str,
    /// The page of the dashboard to begin with, as path and query.
    pub page: &'static str,
    /// It ends by itself after this long, unless told otherwise.
    pub lasts: Duration,
    pub effects: &'static [Effect],
}

/// What a scenario changes. Each is read by what is named behind it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Effect {
    /// A share of the requests to a service, of one of its versions or of all, is answered late and with this status of
    /// HTTP, or over gRPC with the code that says the same (`faults`).
    Fault {
        service: ServiceName,
        version: Option<&'static str>,
        /// From 0 to 1.
        share: f64,
        after: Duration,
        status: u16,
    },
    /// The bank declines a share of what it is to charge, although it has authorized it (`bank`).
    Decline {
        /// From 0 to 1.
        share: f64,
    },
    /// Each message of a queue takes so much longer (`Shared::consumer`).
    SlowConsumer { queue: &'static str, by: Duration },
    /// With a share of the messages of a key comes another that nobody can read (`Shared::publish`).
    Poison { key: &'static str, share: f64 },
    /// No service reaches the broker (`service::broker`). The broker itself goes on.
    BrokerLost,
    /// So many times as many customers (`load`).
    Load { factor: f64 },
    /// Customers who are sent away with an error ask again at once, so many times (`load`).
    Impatience { times: u32 },
    /// A service runs as another version (`supervisor`): it is ended and started again.
    Deployment { service: ServiceName, version: &'static str },
}

const fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// The version that a bad deployment brings.
const BAD_VERSION: &str = "2.0.0";

pub static SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "payment-outage",
        title: "Payment outage",
        does: "The bank gives no answer. Payments times out, the breaker before it in orders opens, and orders are turned \
               away at once; when the bank is back, the breaker half-opens, tries, and closes.",
        look: "Breakers: `payments` in orders. Traces: service.name = orders and error.type = circuit_breaker.open. A \
               story of such an order ends at the open breaker.",
        page: "/map?focus=service%3Aorders&caller=service%3Aorders&callee=service%3Apayments",
        lasts: seconds(90),
        effects: &[Effect::Fault {
            service: ServiceName::Bank,
            version: None,
            share: 1.0,
            after: seconds(3),
            status: 503,
        }],
    },
    Scenario {
        name: "traffic-spike",
        title: "Traffic spike",
        does: "Fifteen times as many customers. The gateway takes what the shop can bear and answers the others 429.",
        look: "Traces: service.name = gateway and http.response.status_code = 429. Queues: what waits for inventory and \
               notifications.",
        page: "/traces?query=service.name%20%3D%20gateway%20and%20http.response.status_code%20%3D%20429",
        lasts: seconds(60),
        effects: &[Effect::Load { factor: 15.0 }],
    },
    Scenario {
        name: "retry-storm",
        title: "Retry storm",
        does: "Inventory fails nearly half of its requests, and customers who get an error ask again at once, up to four \
               times. The breakers before inventory open, so that most of the storm does not reach it.",
        look: "Breakers: `inventory` in gateway and in orders, and their calls by result. Traces: \
               http.request.resend_count > 0 has the gateway's own retries, which are few.",
        page: "/breakers",
        lasts: seconds(60),
        effects: &[
            Effect::Fault {
                service: ServiceName::Inventory,
                version: None,
                share: 0.45,
                after: seconds(0),
                status: 503,
            },
            Effect::Impatience { times: 4 },
        ],
    },
    Scenario {
        name: "bad-deployment",
        title: "Bad deployment",
        does: "Inventory is deployed as 2.0.0, and a third of its answers are errors. The end of it is the way back.",
        look: "Traces: service.name = inventory and service.version = 2.0.0 and status = error. Of the version before there are \
               none.",
        page: "/services/inventory",
        lasts: seconds(120),
        effects: &[
            Effect::Deployment { service: ServiceName::Inventory, version: BAD_VERSION },
            Effect::Fault {
                service: ServiceName::Inventory,
                version: Some(BAD_VERSION),
                share: 0.33,
                after: Duration::from_millis(40),
                status: 500,
            },
        ],
    },
    Scenario {
        name: "slow-consumer",
        title: "Slow consumer",
        does: "Each letter takes two seconds longer to send, so that the queue of letters grows.",
        look: "Queues: `notifications.email`. Stories: the time that a letter waits.",
        page: "/map?node=notifications.email",
        lasts: seconds(180),
        effects: &[Effect::SlowConsumer { queue: queues::NOTIFICATIONS_EMAIL, by: seconds(2) }],
    },
    Scenario {
        name: "poison-message",
        title: "Poison message",
        does: "With every fifth order comes a message that no consumer can read. None is retried; all end in the dead \
               letters with the reason.",
        look: "Queues: `orders.dlq`. Traces: error.type = schema.",
        page: "/traces?query=error.type%20%3D%20schema",
        lasts: seconds(60),
        effects: &[Effect::Poison { key: keys::ORDER_PLACED, share: 0.2 }],
    },
    Scenario {
        name: "lost-broker",
        title: "Lost broker",
        does: "No service reaches the broker. Orders are taken all the same: their messages wait in the outbox, and nobody works \
               on them. When the broker is back everything is sent and worked on, once each, and no order is lost.",
        look: "Traces: error.type = unavailable, the tries to send. A story of such an order: a gap between the order and its \
               payment, as long as the broker was away. Logs: messages wait in the outbox.",
        page: "/traces?query=error.type%20%3D%20unavailable",
        lasts: seconds(45),
        effects: &[Effect::BrokerLost],
    },
    Scenario {
        name: "late-decline",
        title: "Late decline",
        does: "The bank authorizes every card and declines it when it is charged, after the order was accepted. Each such order \
               is taken back: its stock is released, then it is cancelled and the customer told.",
        look: "A story of such an order: payment.failed, stock.release, stock.released, order.cancelled. Queues: \
               `orders.cancelling`.",
        page: "/map?node=orders.cancelling",
        lasts: seconds(60),
        effects: &[Effect::Decline { share: 1.0 }],
    },
];

/// The scenario of that name.
pub fn named(name: &str) -> Option<&'static Scenario> {
    SCENARIOS.iter().find(|scenario| scenario.name == name)
}

/// All names, in the order of the table.
pub fn names() -> impl Iterator<Item = &'static str> {
    SCENARIOS.iter().map(|scenario| scenario.name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http;

    #[test]
    fn each_has_a_name_of_its_own_that_fits_an_address_and_something_that_happens() {
        for (index, scenario) in SCENARIOS.iter().enumerate() {
            assert!(scenario.name.bytes().all(|b| b.is_ascii_lowercase() || b == b'-'), "{}", scenario.name);
            assert_eq!(names().position(|name| name == scenario.name), Some(index));
            for text in [scenario.title, scenario.does, scenario.look] {
                assert!(!text.trim().is_empty(), "{}", scenario.name);
            }
            let page: http::uri::PathAndQuery = scenario.page.parse().expect(scenario.name);
            assert!(page.as_str() == scenario.page && !page.path().starts_with("//"), "{}", scenario.name);
            assert!(!scenario.effects.is_empty() && !scenario.lasts.is_zero(), "{}", scenario.name);
            assert_eq!(named(scenario.name).map(|found| found.title), Some(scenario.title));
            for effect in scenario.effects {
                if let Effect::Fault { share, .. }
                | Effect::Poison { share, .. }
                | Effect::Decline { share } = effect
                {
                    assert!((0.0..=1.0).contains(share), "{}", scenario.name);
                }
            }
        }
        assert!(named("nonsense").is_none());
    }
}
