//! How brokers are connected: what the list of queues shows while there are none.

use askama::Template;

use super::{Connect, Language};
use crate::dashboard::view::PageState;
use crate::dashboard::view::frame::{Frame, Nav};
use crate::dashboard::view::html::{PageResult, page};
use crate::dashboard::view::visit::Visit;

static WAYS: [Language; 5] = [
    Language {
        word: "rabbitmq",
        name: "RabbitMQ, asked",
        steps: &[
            ("Switch its management interface on", "rabbitmq-plugins enable rabbitmq_management"),
            (
                "Make a user that can look and do nothing else",
                "rabbitmqctl add_user throughline 'SECRET'\nrabbitmqctl set_user_tags throughline monitoring\n# for each virtual host that is to be seen\nrabbitmqctl set_permissions -p / throughline '^$' '^$' '^$'",
            ),
            (
                "Start Throughline with its address",
                "export THROUGHLINE_RABBITMQ_API=http://throughline:SECRET@127.0.0.1:15672\nthroughline dashboard",
            ),
        ],
        note: "Several brokers stand behind one another with commas, each with a name: eu-1=http://…,eu-2=http://….",
    },
    Language {
        word: "amqp",
        name: "RabbitMQ without its management interface",
        steps: &[
            (
                "Make a user that can do nothing; what is asked takes no permission",
                "rabbitmqctl add_user throughline 'SECRET'\nrabbitmqctl set_permissions -p / throughline '^$' '^$' '^$'",
            ),
            (
                "Start Throughline with its address, and name queues",
                "export THROUGHLINE_RABBITMQ_AMQP=amqp://throughline:SECRET@127.0.0.1:5672/%2F\nthroughline dashboard --rabbitmq-queue orders --rabbitmq-queue orders.dead",
            ),
        ],
        note: "Messages that are ready and consumers are told, and no more. Queues that spans take messages from need no naming.",
    },
    Language {
        word: "collector",
        name: "OpenTelemetry Collector",
        steps: &[(
            "Let its rabbitmq receiver send here",
            "receivers:\n  rabbitmq:\n    endpoint: http://localhost:15672\n    username: throughline\n    password: ${env:RABBITMQ_PASSWORD}\nexporters:\n  otlp:\n    endpoint: {grpc}\n    tls: { insecure: true }\nservice:\n  pipelines:\n    metrics: { receivers: [rabbitmq], exporters: [otlp] }",
        )],
        note: "The Collector tells depths, rates and consumers; types, arguments and dead-lettering are known only where Throughline asks the broker itself.",
    },
    Language {
        word: "kafka",
        name: "Kafka, asked",
        steps: &[(
            "Start Throughline, built with the feature kafka, with the address of a server",
            "throughline dashboard --kafka-groups eu-1=127.0.0.1:9092",
        )],
        note: "Each consumer group is a row for each topic that it reads: its lag, how fast records come and are read, and its members. It only asks: no group is joined, nothing is committed, and Describe is all that it takes.",
    },
    Language {
        word: "kafka-collector",
        name: "Kafka, by a Collector",
        steps: &[(
            "Let its kafkametrics receiver send here",
            "receivers:\n  kafkametrics:\n    brokers: [localhost:9092]\n    cluster_alias: eu-1\n    scrapers: [brokers, topics, consumers]\n    collection_interval: 10s\nexporters:\n  otlp:\n    endpoint: {grpc}\n    tls: { insecure: true }\nservice:\n  pipelines:\n    metrics: { receivers: [kafkametrics], exporters: [otlp] }",
        )],
        note: "Each consumer group is a row for each topic that it reads: its lag, how fast records come and are read, and its members. What kafka_exporter tells is read alike.",
    },
];

#[derive(Template)]
#[template(path = "queues_empty.html")]
struct EmptyPage {
    frame: Frame,
    connect: Connect,
}

/// The page that stands where queues would be; it looks again when something has come.
pub fn empty(visit: &Visit, state: &PageState) -> PageResult {
    let mut frame = visit.frame(Nav::Queues, "No queues heard");
    frame.refresh = true;
    page(&EmptyPage { connect: Connect::of(&WAYS, visit, state), frame })
}
