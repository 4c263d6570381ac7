//! Which metrics are kept: those that pages show. One table; everything else is counted by name.
//!
//! A name is compared with its underscores read as dots, so that what came by way of Prometheus
//! (`jvm_memory_used_bytes`) is known like what OpenTelemetry and Micrometer send (`jvm.memory.used`).

/// What a metric is kept for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Topic {
    /// Depth, flow and lag of queues and topics.
    Queues,
    /// States and calls of circuit breakers.
    Breakers,
    /// How a process does: memory, processor, garbage, threads, event loop.
    Runtime,
    /// Asked for in the settings.
    Chosen,
}

/// A line of the table: names that begin with one text and, behind it, hold another.
struct Rule {
    topic: Topic,
    begins: &'static str,
    holds: &'static str,
    /// Nothing may stand behind `begins`.
    whole: bool,
}

const fn begins(topic: Topic, begins: &'static str) -> Rule {
    Rule { topic, begins, holds: "", whole: false }
}

const fn holds(topic: Topic, begins: &'static str, holds: &'static str) -> Rule {
    Rule { topic, begins, holds, whole: false }
}

/// What is kept, and who sends it.
///
/// Not in it, on purpose: durations of requests (`http.server.request.duration`, `rpc.server.call.duration`, and the
/// old names). Rates, errors and durations of operations are counted out of spans, with a histogram, and these metrics
/// have a series for each route, method and status. Who samples spans at the source may add them by setting.
const TABLE: &[Rule] = &[
    // The collector's receiver, RabbitMQ's Prometheus plugin, Spring's and RabbitMQ's Micrometer collectors.
    begins(Topic::Queues, "rabbitmq."),
    // Semantic conventions, MassTransit.
    begins(Topic::Queues, "messaging."),
    // Java's client by agent or Micrometer (`kafka.consumer.fetch.manager.records.lag`), the collector's receiver
    // (`kafka.consumer_group.lag`), kafka_exporter (`kafka_consumergroup_lag`). A client alone sends a hundred others.
    holds(Topic::Queues, "kafka.", ".lag"),
    // The rest of what the receiver and the exporter say of groups, and the ends of partitions.
    begins(Topic::Queues, "kafka.consumer.group."),
    begins(Topic::Queues, "kafka.consumergroup."),
    begins(Topic::Queues, "kafka.partition.current.offset"),
    begins(Topic::Queues, "kafka.topic.partition.current.offset"),
    // resilience4j, Spring Cloud.
    begins(Topic::Breakers, "resilience4j.circuitbreaker."),
    // Polly 8.
    begins(Topic::Breakers, "resilience.polly."),
    // failsafe (Java).
    begins(Topic::Breakers, "failsafe.circuit.breaker."),
    // opossum (Node), under the names of its Prometheus plugin.
    Rule { topic: Topic::Breakers, begins: "circuit", holds: "", whole: true },
    begins(Topic::Breakers, "circuit.perf"),
    // Hystrix by way of Micrometer.
    begins(Topic::Breakers, "hystrix.circuit.breaker."),
    // Envoy and Istio, by their own names and as Prometheus has them.
    holds(Topic::Breakers, "cluster.", ".circuit.breakers."),
    holds(Topic::Breakers, "cluster.", ".outlier.detection."),
    holds(Topic::Breakers, "envoy.cluster.", "circuit.breakers."),
    holds(Topic::Breakers, "envoy.cluster.", "outlier.detection."),
    // Ours.
    begins(Topic::Breakers, "circuit.breaker."),
    // Java; Micrometer's names begin alike.
    begins(Topic::Runtime, "jvm."),
    // Every language: `process.cpu.time`, `process.memory.usage`, and the old `process.runtime.*`.
    begins(Topic::Runtime, "process."),
    begins(Topic::Runtime, "nodejs."),
    begins(Topic::Runtime, "v8js."),
    begins(Topic::Runtime, "go."),
    begins(Topic::Runtime, "dotnet."),
    begins(Topic::Runtime, "python."),
    begins(Topic::Runtime, "cpython."),
];

/// What is kept: the table, and names that begin as the settings say.
#[derive(Debug, Clone, Default)]
pub struct Interest {
    chosen: Vec<String>,
}

impl Interest {
    /// The table and further beginnings of names.
    pub fn with(chosen: impl IntoIterator<Item = String>) -> Self {
        let chosen = chosen.into_iter().filter(|begin| !begin.is_empty());
        Self { chosen: chosen.map(|begin| dotted(begin.as_bytes())).collect() }
    }

    /// What a metric of this name is kept for; `None` where it is not.
    pub fn topic(&self, name: &[u8]) -> Option<Topic> {
        let name = dotted(name);
        let fits = |rule: &&Rule| {
            name.strip_prefix(rule.begins).is_some_and(|rest| match rule.whole {
                true => rest.is_empty(),
                false => rest.contains(rule.holds) || rule.begins.ends_with('.') && holds_at_once(rule, rest),
            })
        };
        let chosen = || self.chosen.iter().any(|begin| name.starts_with(begin.as_str()));
        TABLE.iter().find(fits).map(|rule| rule.topic).or_else(|| chosen().then_some(Topic::Chosen))
    }
}

/// `kafka.lag` holds `.lag` too, although its dot is the end of `kafka.`.
fn holds_at_once(rule: &Rule, rest: &str) -> bool {
    rule.holds.strip_prefix('.').is_some_and(|word| rest.starts_with(word))
}

fn dotted(name: &[u8]) -> String {
    String::from_utf8_lossy(name).replace('_', ".")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_what_each_source_sends_under_old_and_new_names() {
        let interest = Interest::with(["shop_orders".to_owned(), String::new()]);
        for (name, topic) in [
            ("rabbitmq.message.current", Topic::Queues),
            ("rabbitmq_queue_messages_ready", Topic::Queues),
            ("messaging.client.operation.duration", Topic::Queues),
            ("kafka.consumer.fetch.manager.records.lag.max", Topic::Queues),
            ("kafka.consumer.records_lag_max", Topic::Queues),
            ("kafka.consumer_group.lag_sum", Topic::Queues),
            ("kafka_consumergroup_lag", Topic::Queues),
            ("kafka_consumergroup_members", Topic::Queues),
            ("kafka.consumer_group.offset", Topic::Queues),
            ("kafka.partition.current_offset", Topic::Queues),
            ("kafka_topic_partition_current_offset", Topic::Queues),
            ("resilience4j.circuitbreaker.state", Topic::Breakers),
            ("resilience4j_circuitbreaker_calls_seconds", Topic::Breakers),
            ("resilience.polly.strategy.events", Topic::Breakers),
            ("failsafe.circuit_breaker.state_change.count", Topic::Breakers),
            ("circuit", Topic::Breakers),
            ("circuit_perf", Topic::Breakers),
            ("hystrix.circuit.breaker.open", Topic::Breakers),
            ("cluster.payments.eu.circuit_breakers.default.cx_open", Topic::Breakers),
            ("cluster.payments.outlier_detection.ejections_active", Topic::Breakers),
            ("envoy_cluster_circuit_breakers_default_rq_open", Topic::Breakers),
            ("circuit_breaker.state", Topic::Breakers),
            ("jvm.memory.used", Topic::Runtime),
            ("process.runtime.cpython.memory", Topic::Runtime),
            ("nodejs.eventloop.delay.p99", Topic::Runtime),
            ("v8js.memory.heap.used", Topic::Runtime),
            ("go.memory.used", Topic::Runtime),
            ("dotnet.gc.collections", Topic::Runtime),
            ("cpython.gc.collections", Topic::Runtime),
            ("shop.orders.open", Topic::Chosen),
        ] {
            assert_eq!(interest.topic(name.as_bytes()), Some(topic), "{name}");
        }
        for name in [
            "",
            "circuits",
            "http.server.request.duration",
            "http.server.duration",
            "kafka.consumer.flags",
            "kafka.producer.record.send.rate",
            "cluster.payments.upstream_rq_total",
            "jvmish",
            "shop.payments",
            "orders.rabbitmq.depth",
        ] {
            assert_eq!(interest.topic(name.as_bytes()), None, "{name}");
        }
        assert_eq!(interest.topic(&[b'j', b'v', b'm', b'.', 0xff]), Some(Topic::Runtime));
    }
}
