//! The made-up metrics that benchmarks send, as requests of OTLP: breakers of services in several processes, and queues as
//! the OpenTelemetry Collector tells of them.

use crate::common::otlp::text_attribute;
use throughline::dashboard::model::proto::{put_bytes, put_fixed64, put_message, put_uint};

/// Breakers of a service.
pub const BREAKERS: u64 = 10;
/// Processes of a service.
pub const INSTANCES: u64 = 10;
/// Nanoseconds between two exports.
pub const MINUTE: u64 = 60_000_000_000;

const STATES: [&str; 3] = ["closed", "open", "half_open"];

/// The state of a breaker in one process: open for five minutes each four hours, then half-open for one.
fn state(service: u64, breaker: u64, instance: u64, minute: u64) -> &'static str {
    match (minute + 7 * service + 13 * breaker) % 240 {
        0..5 if instance < 3 => STATES[1],
        5 if instance < 3 => STATES[2],
        _ => STATES[0],
    }
}

fn text(out: &mut Vec<u8>, field: u32, key: &str, value: &str) {
    put_message(out, field, |out| text_attribute(out, key, value));
}

/// An export of breakers, of so many processes.
pub fn breakers(time: u64, minute: u64, processes: u64) -> Vec<u8> {
    let mut out = Vec::new();
    for (service, instance) in (0..processes).map(|process| (process / INSTANCES, process % INSTANCES)) {
        put_message(&mut out, 1, |out| {
            put_message(out, 1, |out| {
                text(out, 1, "service.name", &format!("service-{service}"));
                text(out, 1, "service.instance.id", &format!("service-{service}-{instance}"));
            });
            let points = |out: &mut Vec<u8>| {
                for (breaker, one) in (0..BREAKERS).flat_map(|breaker| STATES.map(move |one| (breaker, one)))
                {
                    let now = state(service, breaker, instance, minute);
                    put_message(out, 1, |out| {
                        text(out, 7, "circuit_breaker.name", &format!("breaker-{breaker}"));
                        text(out, 7, "circuit_breaker.state", one);
                        put_fixed64(out, 3, time);
                        put_fixed64(out, 4, f64::from(u8::from(one == now)).to_bits());
                    });
                }
            };
            put_message(out, 2, |out| metric(out, "circuit_breaker.state", 5, points));
        });
    }
    out
}

fn metric(out: &mut Vec<u8>, name: &str, kind: u32, points: impl FnOnce(&mut Vec<u8>)) {
    put_message(out, 2, |out| {
        put_bytes(out, 1, name.as_bytes());
        put_message(out, kind, points);
    });
}

/// An export of so many queues: messages that are ready and unacknowledged, and how many were published.
#[allow(dead_code, reason = "not every benchmark has queues")]
pub fn queues(time: u64, minute: u64, count: u64) -> Vec<u8> {
    /// As OTLP numbers it.
    const CUMULATIVE: u64 = 2;
    let mut out = Vec::new();
    for queue in 0..count {
        let depth = (minute + 37 * queue) % 600;
        let point = |out: &mut Vec<u8>, state: Option<&str>, value: u64| {
            put_message(out, 1, |out| {
                if let Some(state) = state {
                    text(out, 7, "state", state);
                }
                put_fixed64(out, 3, time);
                put_fixed64(out, 6, value);
            });
        };
        put_message(&mut out, 1, |out| {
            put_message(out, 1, |out| {
                text(out, 1, "rabbitmq.queue.name", &format!("queue-{queue}"));
                text(out, 1, "rabbitmq.vhost.name", "/");
                text(out, 1, "rabbitmq.node.name", "rabbit@bench");
            });
            put_message(out, 2, |out| {
                metric(out, "rabbitmq.message.current", 7, |out| {
                    point(out, Some("ready"), depth);
                    point(out, Some("unacknowledged"), queue % 10);
                    put_uint(out, 2, CUMULATIVE);
                });
                metric(out, "rabbitmq.message.published", 7, |out| {
                    point(out, None, minute * (10 + queue % 50));
                    put_uint(out, 2, CUMULATIVE);
                    put_uint(out, 3, 1);
                });
            });
        });
    }
    out
}
