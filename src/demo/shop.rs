//! The shop as a whole: which services there are, and how their messages are routed.

use clap::ValueEnum;

use crate::comms::names::SYSTEM_KAFKA;
use crate::comms::queue::{Broker, BrokerError, QueueSpec};

/// A service of the shop.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, ValueEnum)]
pub enum ServiceName {
    Gateway,
    Orders,
    Users,
    Payments,
    Inventory,
    Notifications,
    Analytics,
    Bank,
}

/// A line of the table of services.
#[derive(Clone, Copy, Debug)]
pub struct Service {
    pub name: ServiceName,
    /// As it is called in telemetry and on the command line.
    pub text: &'static str,
    /// The default port on 127.0.0.1.
    pub port: u16,
    /// How it is spoken to.
    pub speaks: &'static str,
    pub does: &'static str,
}

/// All services, callers before those they call: the order in which they are ended.
pub const SERVICES: [Service; 8] = [
    Service {
        name: ServiceName::Gateway,
        text: "gateway",
        port: 7080,
        speaks: "REST",
        does: "the door for customers: orders and catalog",
    },
    Service {
        name: ServiceName::Orders,
        text: "orders",
        port: 7081,
        speaks: "REST, messages",
        does: "places orders and follows their payment",
    },
    Service {
        name: ServiceName::Users,
        text: "users",
        port: 7082,
        speaks: "gRPC",
        does: "knows the customers",
    },
    Service {
        name: ServiceName::Payments,
        text: "payments",
        port: 7083,
        speaks: "REST, messages",
        does: "authorizes and charges cards",
    },
    Service {
        name: ServiceName::Inventory,
        text: "inventory",
        port: 7084,
        speaks: "REST, gRPC, messages",
        does: "reserves, commits and releases stock",
    },
    Service {
        name: ServiceName::Notifications,
        text: "notifications",
        port: 7085,
        speaks: "messages",
        does: "writes to customers",
    },
    Service {
        name: ServiceName::Analytics,
        text: "analytics",
        port: 7086,
        speaks: "REST, messages",
        does: "counts what happens",
    },
    Service {
        name: ServiceName::Bank,
        text: "bank",
        port: 7087,
        speaks: "REST",
        does: "holds the customers' money; outside the shop, and flaky",
    },
];

impl ServiceName {
    fn line(self) -> &'static Service {
        // The table has a line for each name, in the order of the names; a test holds that.
        &SERVICES[self as usize]
    }

    pub fn text(self) -> &'static str {
        self.line().text
    }

    /// The default port.
    pub fn port(self) -> u16 {
        self.line().port
    }
}

/// The one exchange of the shop.
pub const EXCHANGE: &str = "orders";

/// Routing keys, which are also the types of the messages.
pub mod keys {
    pub const ORDER_PLACED: &str = "order.placed";
    pub const PAYMENT_CAPTURED: &str = "payment.captured";
    pub const PAYMENT_FAILED: &str = "payment.failed";
    /// Asks inventory to give back what was reserved; a step of cancelling an order.
    pub const STOCK_RELEASE: &str = "stock.release";
    pub const STOCK_RELEASED: &str = "stock.released";
    pub const ORDER_CANCELLED: &str = "order.cancelled";

    pub const ALL: [&str; 6] =
        [ORDER_PLACED, PAYMENT_CAPTURED, PAYMENT_FAILED, STOCK_RELEASE, STOCK_RELEASED, ORDER_CANCELLED];
}

/// Queues, each named after the service that consumes it and what for.
pub mod queues {
    pub const PAYMENTS_CHARGE: &str = "payments.charge";
    pub const INVENTORY_COMMIT: &str = "inventory.commit";
    pub const INVENTORY_RELEASE: &str = "inventory.release";
    pub const NOTIFICATIONS_EMAIL: &str = "notifications.email";
    pub const ANALYTICS_EVENTS: &str = "analytics.events";
    pub const ORDERS_PAYMENTS: &str = "orders.payments";
    pub const ORDERS_CANCELLING: &str = "orders.cancelling";
    /// The dead letters of all of them.
    pub const DEAD_LETTERS: &str = "orders.dlq";
}

/// Which queue gets the messages of which keys.
pub const BINDINGS: [(&str, &str); 9] = [
    (queues::PAYMENTS_CHARGE, keys::ORDER_PLACED),
    (queues::INVENTORY_COMMIT, keys::ORDER_PLACED),
    (queues::INVENTORY_RELEASE, keys::STOCK_RELEASE),
    (queues::NOTIFICATIONS_EMAIL, keys::ORDER_PLACED),
    (queues::NOTIFICATIONS_EMAIL, keys::PAYMENT_FAILED),
    (queues::NOTIFICATIONS_EMAIL, keys::ORDER_CANCELLED),
    (queues::ANALYTICS_EVENTS, "#"),
    (queues::ORDERS_PAYMENTS, "payment.*"),
    (queues::ORDERS_CANCELLING, keys::STOCK_RELEASED),
];

/// Declares exchange, queues and bindings. Every service does so at its start: whichever comes first, no
/// message is refused because its consumer is not there yet.
///
/// # Errors
/// The broker is not available.
pub async fn declare(broker: &dyn Broker) -> Result<(), BrokerError> {
    broker.declare_exchange(EXCHANGE).await?;
    // Kafka bounds by bytes and time, as its operator says.
    let is_bounded = broker.system() != SYSTEM_KAFKA;
    let of = |spec: QueueSpec, messages| if is_bounded { spec.max_length(messages) } else { spec };
    broker.declare_queue(&of(QueueSpec::durable(queues::DEAD_LETTERS), 10_000)).await?;
    for (queue, pattern) in BINDINGS {
        let spec = QueueSpec::durable(queue).dead_letters_to(queues::DEAD_LETTERS);
        broker.declare_queue(&of(spec, 100_000)).await?;
        broker.bind(EXCHANGE, pattern, queue).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_in_the_order_of_the_names() {
        for (index, name) in ServiceName::value_variants().iter().enumerate() {
            assert_eq!(SERVICES[index].name, *name);
            let value = name.to_possible_value().expect("a value");
            assert_eq!(value.get_name(), name.text());
        }
    }
}
