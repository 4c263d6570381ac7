//! How a tap is switched on: what the list of messages shows while there is none.

use askama::Template;

use super::{Connect, Language};
use crate::dashboard::view::PageState;
use crate::dashboard::view::frame::{Frame, Nav};
use crate::dashboard::view::html::{PageResult, page};
use crate::dashboard::view::visit::Visit;

static WAYS: [Language; 3] = [
    Language {
        word: "rabbitmq",
        name: "RabbitMQ",
        steps: &[
            (
                "Make a user that may have a queue of its own and read exchanges",
                "rabbitmqctl add_user throughline-tap 'SECRET'\n# for each virtual host whose messages are to be seen\nrabbitmqctl set_permissions -p / throughline-tap '^throughline\\.tap\\.' '^throughline\\.tap\\.' '.*'",
            ),
            (
                "Start Throughline with its address, and that of the management interface, which tells of exchanges",
                "export THROUGHLINE_TAP=amqp://throughline-tap:SECRET@127.0.0.1:5672/%2F\nexport THROUGHLINE_RABBITMQ_API=http://throughline:SECRET@127.0.0.1:15672\nthroughline dashboard",
            ),
        ],
        note: "Without the management interface, name the exchanges: --tap-exchange orders. What is nobody's business stays out with --tap-exclude.",
    },
    Language {
        word: "embedded",
        name: "The embedded broker",
        steps: &[(
            "Start Throughline with the broker's file",
            "export THROUGHLINE_TAP=sqlite://throughline-broker.db\nthroughline dashboard",
        )],
        note: "throughline demo does so by itself.",
    },
    Language {
        word: "otlp",
        name: "A tap of your own",
        steps: &[(
            "Send each message as a log record by OTLP",
            "scope.name = throughline.tap\nbody       = the message's body\nattributes = messaging.destination.name, messaging.message.id,\n             messaging.rabbitmq.destination.routing_key,\n             messaging.message.conversation_id, messaging.header.NAME\ntrace_id, span_id = of its traceparent",
        )],
        note: "So messages of any broker can be looked at here.",
    },
];

#[derive(Template)]
#[template(path = "messages_empty.html")]
struct EmptyPage {
    frame: Frame,
    connect: Connect,
}

/// The page that stands where messages would be; it looks again when something has come.
pub fn empty(visit: &Visit, state: &PageState) -> PageResult {
    let mut frame = visit.frame(Nav::Messages, "No messages seen");
    frame.refresh = true;
    page(&EmptyPage { connect: Connect::of(&WAYS, visit, state), frame })
}
