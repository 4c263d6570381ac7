//! What a span says of its other side: a database, a queue, an address outside. Which attributes tell is asked when
//! spans come, in [`Told::by`].

use std::borrow::Cow;

use crate::dashboard::model::answer;
use crate::dashboard::model::otlp::batch::{Batch, SpanRef};
use crate::dashboard::model::otlp::peer::{OLD_DESTINATION, Told};
use crate::dashboard::model::otlp::{span_field, text_of};
use crate::dashboard::model::proto::{Wire, fields};

/// Links of one span that are followed: a batch of messages has one for each.
const MAX_LINKS: usize = 64;

/// What attributes and links of one span say; texts are empty where they do not. In each group the first key that is
/// found in order of preference wins, wherever it stands in the span.
#[derive(Debug, Default)]
pub struct Peer<'a> {
    /// The peer by a name that somebody gave it.
    pub named: &'a [u8],
    pub address: Ranked<'a>,
    pub database: Ranked<'a>,
    pub namespace: Ranked<'a>,
    pub rpc: Ranked<'a>,
    pub messaging: &'a [u8],
    pub destination: Ranked<'a>,
    pub operation: Ranked<'a>,
    /// Whether the answer blames the request: then the call was refused and did not fail.
    pub refused: bool,
    /// Link targets: trace and span ID as they were sent.
    pub links: Vec<(&'a [u8], &'a [u8])>,
}

/// A text with the rank of the key that it was found under: a lower one is better.
#[derive(Debug, Default)]
pub struct Ranked<'a> {
    pub text: &'a [u8],
    rank: u8,
}

impl<'a> Ranked<'a> {
    fn offer(&mut self, rank: u8, text: &'a [u8]) {
        if !text.is_empty() && (self.text.is_empty() || rank < self.rank) {
            *self = Self { text, rank };
        }
    }
}

/// Reads what the walk found of a span of the batch. What cannot be read was refused on arrival.
pub fn read<'a>(batch: &'a Batch, span: &SpanRef) -> Peer<'a> {
    let mut peer = Peer::default();
    for (told, place) in batch.told(&span.told) {
        peer.told(*told, batch.at(place), span.failed);
    }
    if !span.links.is_empty() {
        peer.links(batch.at(&span.message));
    }
    peer
}

impl<'a> Peer<'a> {
    fn links(&mut self, message: &'a [u8]) {
        let links = fields(message).map_while(Result::ok).filter(|field| field.number == span_field::LINKS);
        for link in links.filter_map(|field| field.bytes().ok()).take(MAX_LINKS) {
            let bytes = |number: u32| {
                let field = fields(link).map_while(Result::ok).find(|field| field.number == number);
                field.and_then(|field| field.bytes().ok()).unwrap_or_default()
            };
            self.links.push((bytes(1), bytes(2)));
        }
    }

    fn told(&mut self, told: Told, value: &'a [u8], failed: bool) {
        let text = || text_of(value).ok().flatten().unwrap_or_default();
        match told {
            Told::Name => self.named = text(),
            Told::Address(rank) => self.address.offer(rank, text()),
            Told::Url(rank) => self.address.offer(rank, host(text())),
            Told::Database(rank) => self.database.offer(rank, text()),
            Told::Namespace(rank) => self.namespace.offer(rank, text()),
            Told::Rpc(rank) => self.rpc.offer(rank, text()),
            Told::Messaging => self.messaging = text(),
            Told::Destination(rank) => self.destination.offer(rank, text()),
            Told::Operation(rank) => self.operation.offer(rank, text()),
            Told::HttpStatus if failed => self.status(value, answer::http_refusal, |_| false),
            Told::RpcStatus if failed => self.status(value, answer::rpc_refusal, answer::rpc_refusal_named),
            Told::HttpStatus | Told::RpcStatus => {}
        }
    }

    /// Reads the status of a failed call, a number or its text: does it blame the request?
    fn status(&mut self, value: &[u8], refuses: fn(i64) -> bool, refuses_by_name: fn(&str) -> bool) {
        let Some(Ok(field)) = fields(value).next() else { return };
        let text = || std::str::from_utf8(field.bytes().ok()?).ok();
        let number = match field.value {
            Wire::Varint(number) => Some(number as i64),
            _ => text().and_then(|text| text.parse().ok()),
        };
        self.refused |= match number {
            Some(number) => refuses(number),
            None => text().is_some_and(refuses_by_name),
        };
    }

    /// The name of a database: its own where it has one that is more than a number (Redis counts them), else where
    /// it is.
    pub fn database_name(&self) -> &'a [u8] {
        let own = self.namespace.text;
        let says = !own.is_empty() && !own.iter().all(u8::is_ascii_digit);
        [self.named, if says { own } else { b"" }, self.address.text, own]
            .into_iter()
            .find(|it| !it.is_empty())
            .unwrap_or_default()
    }

    /// The name of any other peer; empty where it has none.
    pub fn outside_name(&self) -> &'a [u8] {
        [self.named, self.address.text, self.rpc.text]
            .into_iter()
            .find(|it| !it.is_empty())
            .unwrap_or_default()
    }

    /// What a consumer's span of this name takes from. Instrumentations of the old conventions name the exchange at both ends, and
    /// the queue in the span's name alone (amqplib: `mail process`): that is `exchange:queue`, as today's conventions write it.
    pub fn taken_from(&self, span: &'a [u8]) -> Cow<'a, [u8]> {
        let Ranked { text: exchange, rank } = self.destination;
        let by_name = self.messaging == b"rabbitmq" && (rank == OLD_DESTINATION || exchange.is_empty());
        let queue = span.strip_suffix(b" process").filter(|queue| by_name && !queue.is_empty());
        match queue {
            Some(queue) if queue != exchange && !exchange.is_empty() => {
                [exchange, b":", queue].concat().into()
            }
            Some(queue) => queue.into(),
            None => exchange.into(),
        }
    }

    /// Whether a CLIENT span sends a message, as the conventions allow; `None` where it is about no message.
    /// To receive one and to settle it are CLIENT spans too.
    pub fn sends(&self) -> Option<bool> {
        let about = !self.messaging.is_empty() || !self.destination.text.is_empty();
        about.then_some(matches!(self.operation.text, b"send" | b"publish" | b"create"))
    }
}

/// The host of a URL, without user, port and brackets.
fn host(url: &[u8]) -> &[u8] {
    let Some(scheme) = url.windows(3).position(|three| three == b"://") else { return b"" };
    let rest = &url[scheme + 3..];
    let end = rest.iter().position(|byte| matches!(byte, b'/' | b'?' | b'#')).unwrap_or(rest.len());
    let authority = &rest[..end];
    let host = match authority.iter().rposition(|byte| *byte == b'@') {
        Some(at) => &authority[at + 1..],
        None => authority,
    };
    if let Some(inner) = host.strip_prefix(b"[") {
        let end = inner.iter().position(|byte| *byte == b']').unwrap_or(inner.len());
        return &inner[..end];
    }
    match host.iter().rposition(|byte| *byte == b':') {
        Some(colon) => &host[..colon],
        None => host,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_queue_that_stands_in_the_name_of_a_span_alone_is_known_by_it() {
        let taken = |system: &'static str, rank, destination: &'static str, span: &'static str| {
            let destination = Ranked { text: destination.as_bytes(), rank };
            let peer = Peer { messaging: system.as_bytes(), destination, ..Peer::default() };
            String::from_utf8(peer.taken_from(span.as_bytes()).into_owned()).unwrap()
        };
        assert_eq!(taken("rabbitmq", OLD_DESTINATION, "orders", "mail process"), "orders:mail");
        assert_eq!(taken("rabbitmq", OLD_DESTINATION, "mail", "mail process"), "mail");
        assert_eq!(taken("rabbitmq", 0, "", "mail process"), "mail", "by the default exchange");
        assert_eq!(taken("rabbitmq", OLD_DESTINATION, "orders", "orders receive"), "orders", "pika");
        assert_eq!(taken("rabbitmq", 0, "orders:placed:mail", "job process"), "orders:placed:mail");
        assert_eq!(taken("kafka", OLD_DESTINATION, "orders", "mail process"), "orders");
    }

    #[test]
    fn a_url_gives_its_host_and_never_its_user() {
        for (url, expected) in [
            ("http://payments:8080/charge?x=1", "payments"),
            ("https://user:secret@api.example.com/v1", "api.example.com"),
            ("http://[::1]:4318/v1/traces", "::1"),
            ("amqp://broker", "broker"),
            ("/relative", ""),
            ("", ""),
        ] {
            assert_eq!(host(url.as_bytes()), expected.as_bytes(), "{url}");
        }
    }
}
